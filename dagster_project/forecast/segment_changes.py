"""What moved the forecast of each segment: the changes of its deals by cause, and what was shared out anew.

The forecast of a segment is its part of the whole, so the changes of its deals do not add up to its own.
What they leave is one row per part with the cause `shared out anew`: over all segments of a type it adds up
to what the whole has without a deal. A product gets of a deal's change what it has of its amount. Money is in
whole thousandths of the reporting currency.
"""

from __future__ import annotations

import pandas as pd

from dagster_project.forecast.change_causes import SHARED_OUT
from dagster_project.forecast.changes import PARTS
from dagster_project.forecast.compared_pairs import Pair, Stored
from dagster_project.forecast.review_tables import CHANGES, CHANGES_BY_SEGMENT, NO_DEAL
from dagster_project.forecast.segment_labels import (
    OWNER,
    TEAM,
    by_segment,
    labelled,
    number_of_deal,
    owners_on,
    places,
    products,
)
from dagster_project.forecast.segment_queries import has_segments
from dagster_project.forecast.shared_sql import shared_sql
from dagster_project.forecast.tables import BOOKINGS
from dagster_project.warehouse import Warehouse

_GROUP = ["period", "part", "cause"]
_SEGMENT = ["segment_type", "segment"]
_MEASURES = ("moved", "deals")


def segment_changes(warehouse: Warehouse, pair: Pair) -> pd.DataFrame:
    """Rows of `forecast_changes_by_segment` of a pair whose changes are stored, without version and run id.

    No row where the ledger does not say whose deals are, or a forecast was stored without its segments.
    """
    before, after = _stored_parts(warehouse, pair.prior), _stored_parts(warehouse, pair.now)
    if before.empty or after.empty or not has_segments(warehouse):
        return pd.DataFrame(columns=list(CHANGES_BY_SEGMENT.columns))
    return segment_change_rows(pair, before, after, moves_by_segment(warehouse, pair.now))


def segment_change_rows(
    pair: Pair, before: pd.DataFrame, after: pd.DataFrame, moves: pd.DataFrame
) -> pd.DataFrame:
    """The changes of deals by segment and cause, and the rest of each segment's own difference.

    `before`, `after`: period, quarter_offset, currency, segment_type, segment, part, amount, as stored.
    `moves`: period, part, cause, segment_type, segment, moved, deals.
    """
    key = ["period", "part", *_SEGMENT]
    periods = after.drop_duplicates("period").set_index("period")[["quarter_offset", "currency"]]
    shared = set(before["period"]) & set(after["period"])
    moves = moves[moves["period"].isin(shared)]
    amounts = pd.concat([before.assign(sign=-1), after.assign(sign=1)])
    amounts = amounts[amounts["period"].isin(shared)]
    rest = (
        pd.concat(
            [
                amounts[key].assign(moved=amounts["amount"] * amounts["sign"]),
                moves[key].assign(moved=-moves["moved"]),
            ]
        )
        .groupby(key, as_index=False)["moved"]
        .sum()
    )
    rest = rest[rest["moved"] != 0].assign(cause=SHARED_OUT, deals=0)
    rows = pd.concat([moves, rest], ignore_index=True).join(periods, on="period")
    rows = rows.assign(
        as_of=pd.Timestamp(pair.now.as_of),
        kind=pair.now.kind,
        prior_as_of=pd.Timestamp(pair.prior.as_of),
        prior_kind=pair.prior.kind,
        delta=rows["moved"].astype("float64") / 1000.0,
        deals=rows["deals"].astype("int64"),
    )
    ordered = rows.sort_values([*key, "cause"], ignore_index=True)
    kept = [name for name in CHANGES_BY_SEGMENT.columns if name not in ("definition_version", "run_id")]
    return ordered[kept]


def moves_by_segment(warehouse: Warehouse, now: Stored) -> pd.DataFrame:
    """Stored changes of deals by segment: period, part, cause, segment_type, segment, moved, deals.

    A deal belongs to the owner and pipeline that it has on the as-of day, a closed one to whoever closed it.
    """
    changes = f"{CHANGES.full_name} where as_of = date '{now.as_of}' and kind = '{now.kind}'"
    changes += f" and deal_key <> '{NO_DEAL}'"
    listed = ", ".join(_GROUP)
    groups = warehouse.query(f"select distinct {listed} from {changes} order by {listed}")
    if groups.empty:
        return pd.DataFrame(columns=[*_GROUP, *_SEGMENT, *_MEASURES])
    steps = (
        f"with days as (select date '{now.as_of}' as as_of)",
        owners_on(),
        places(),
        products(),
        f"""changes as (
  select
    changes.*,
    dense_rank() over (order by {listed}) - 1 as group_number
  from (select * from {changes}) as changes
)""",
        f"""measured as (
  select
    changes.as_of,
    changes.group_number as quarter_number,
    {number_of_deal("changes")} as deal_hash,
    coalesce(
      case when versions.status = 'open' then versions.owner_key else versions.credit_owner_key end,
      {shared_sql("none_key")}
    ) as owner_key,
    versions.pipeline_key,
    cast(changes.delta * 1000 as bigint) as moved,
    1 as deals
  from changes
  left join ledger.fct_deal_versions as versions
    on changes.deal_key = versions.deal_key
      and versions.valid_from_date <= changes.as_of
      and (versions.valid_to_date is null or versions.valid_to_date > changes.as_of)
)""",
        labelled(_MEASURES),
    )
    rows = warehouse.query(",\n".join(steps) + by_segment(_MEASURES, counts=("deals",)))
    rows = rows.join(groups, on="quarter_number")
    teams = rows[rows["segment_type"] == OWNER].assign(
        segment_type=TEAM, segment=lambda owners: owners["team"]
    )
    every = pd.concat([rows, teams], ignore_index=True)
    summed = every.groupby([*_GROUP, *_SEGMENT], as_index=False)[list(_MEASURES)].sum()
    return summed[(summed["moved"] != 0) | (summed["deals"] != 0)]


def _stored_parts(warehouse: Warehouse, stored: Stored) -> pd.DataFrame:
    """The parts of a stored forecast by segment, one row per part."""
    parts = ", ".join(f"cast({part} * 1000 as bigint) as {part}" for part in PARTS)
    names = ["period", "quarter_offset", "currency", *_SEGMENT]
    wide = warehouse.query(
        f"select {', '.join(names)}, {parts} from {BOOKINGS.full_name} "
        f"where segment_type <> 'total' and as_of = date '{stored.as_of}' and kind = '{stored.kind}'"
    )
    return wide.melt(id_vars=names, value_vars=list(PARTS), var_name="part", value_name="amount")
