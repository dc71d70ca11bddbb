"""What the review asks of stored forecasts and of the ledger. Money is in whole thousandths throughout."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pandas as pd

from dagster_project.forecast.compared_pairs import Pair, Stored
from dagster_project.forecast.fiscal_quarters import Quarter
from dagster_project.forecast.ledger_queries import won_spans_sql
from dagster_project.forecast.review_tables import CHANGES
from dagster_project.forecast.tables import BACKTEST, BOOKINGS, DEALS, LIVE
from dagster_project.warehouse import Warehouse


def stored_forecasts(warehouse: Warehouse) -> list[Stored]:
    """All stored forecasts of the whole business, by day and kind."""
    rows = warehouse.query(
        f"select distinct as_of, kind from {BOOKINGS.full_name} where segment_type = 'total' "
        "order by as_of, kind"
    )
    return [Stored(row.as_of.date(), row.kind) for row in rows.itertuples()]


def totals_of(warehouse: Warehouse, stored: Sequence[Stored]) -> pd.DataFrame:
    """The parts of some stored forecasts of the whole business, per quarter, in thousandths.

    Columns: as_of, kind, period, quarter_offset, already_won, open_expected, not_yet_created_expected,
    served_method, currency.
    """
    parts = ", ".join(
        f"cast({part} * 1000 as bigint) as {part}"
        for part in ("already_won", "open_expected", "not_yet_created_expected")
    )
    return warehouse.query(
        f"select as_of, kind, period, quarter_offset, {parts}, served_method, currency "
        f"from {BOOKINGS.full_name} where segment_type = 'total' and {_is_one_of(stored)} "
        "order by as_of, kind, period"
    )


def deals_of(warehouse: Warehouse, stored: Stored) -> pd.DataFrame:
    """The open deals of a stored forecast: keys, stage, amounts and expected amounts, in currency."""
    return warehouse.query(
        "select deal_key, source_relation, deal_id, stage_key, stage, open_amount, amount_if_won, "
        f"expected_this_quarter, expected_next_quarter, evidence_on from {DEALS.full_name} "
        f"where {_is_one_of([stored])} order by deal_key"
    )


def touched_deals(warehouse: Warehouse, days: Sequence[tuple[date, date]]) -> pd.DataFrame:
    """Deals that have a new version between two days, with their state at the end of each.

    `days`: (as_of, prior_as_of). Columns: as_of, prior_as_of, deal_key, source_relation, deal_id,
    state_before (null: unknown then) and state_after: open, won, lost, closed_other, merged, deleted, or
    left out (by the settings); is_same_amount: the amount in its own currency did not change.
    """
    return warehouse.query(
        TOUCHED.format(pairs=_pairs(days), before=_state("earlier"), after=_state("later"))
    )


def moved_bookings(warehouse: Warehouse, days: Sequence[tuple[date, date]], dates_won: str) -> pd.DataFrame:
    """Bookings that appeared, disappeared or changed between two days, per deal and quarter.

    `days`: (as_of, prior_as_of). Columns: as_of, prior_as_of, deal_key, source_relation, deal_id, period,
    was_booked, is_booked (0 or 1), before, after (thousandths).
    """
    return warehouse.query(won_spans_sql(dates_won) + MOVED_BOOKINGS.format(pairs=_pairs(days)))


def booked_deals(warehouse: Warehouse, quarters: Sequence[Quarter], dates_won: str) -> pd.DataFrame:
    """The deals that completed quarters booked, as known when they were final.

    Columns: quarter_number, deal_key, thousandths (null: no amount).
    """
    rows = "\n  union all ".join(
        f"select {quarter.number} as quarter_number, date '{quarter.starts_on}' as starts_on, "
        f"date '{quarter.ends_on}' as ends_on, date '{quarter.known_on}' as known_on"
        for quarter in quarters
    )
    return warehouse.query(won_spans_sql(dates_won) + BOOKED_DEALS.format(quarters=rows))


def live_forecasts(warehouse: Warehouse) -> pd.DataFrame:
    """Live forecasts of quarters whose bookings are final, beside what was then booked.

    The outcome of a quarter and segment is that of the backtest. Columns: as_of, period, period_end,
    quarter_offset, segment_type, segment, method, forecast, p10, p90, interval_status, actual.
    """
    return warehouse.query(LIVE_FORECASTS)


def newest_changes(warehouse: Warehouse, pair: Pair) -> tuple[pd.DataFrame, float]:
    """The stored changes of the quarter that runs on a pair's day, and what was forecast before."""
    changes = warehouse.query(
        f"select deal_key, deal_id, part, cause, delta, period, currency from {CHANGES.full_name} "
        f"where {_is_one_of([pair.now])} and quarter_offset = 0 order by part, deal_key"
    )
    before = warehouse.query(
        f"select mean from {BOOKINGS.full_name} where segment_type = 'total' and {_is_one_of([pair.prior])} "
        "and period = $period",
        {"period": "" if changes.empty else str(changes["period"].iloc[0])},
    )
    return changes, float(before["mean"].iloc[0]) if len(before) else 0.0


def deal_names(warehouse: Warehouse, changes: pd.DataFrame) -> dict[str, str]:
    """Key of each changed deal → its name, or its id where it has none."""
    keys = changes["deal_key"].unique().tolist()
    rows = warehouse.query(
        "select deal_key, coalesce(deal_name, deal_id) as name from ledger.dim_deal "
        "where deal_key in (select unnest($keys)) order by deal_key",
        {"keys": keys},
    )
    return dict(zip(rows["deal_key"], rows["name"], strict=True))


def _is_one_of(stored: Sequence[Stored]) -> str:
    listed = ", ".join(f"(date '{one.as_of}', '{one.kind}')" for one in stored)
    return f"(as_of, kind) in ({listed})"


def _pairs(days: Sequence[tuple[date, date]]) -> str:
    return "\n  union all ".join(
        f"select date '{as_of}' as as_of, date '{prior}' as prior_as_of" for as_of, prior in sorted(set(days))
    )


def _state(versions: str) -> str:
    return (
        f"case when {versions}.merged_into_deal_id is not null then 'merged' "
        f"when {versions}.is_deleted then 'deleted' "
        f"when {versions}.excluded_by is not null then 'left out' else {versions}.status end"
    )


TOUCHED = """
with pairs as (
  {pairs}
),

touched as (
  select distinct pairs.as_of, pairs.prior_as_of, versions.deal_key
  from pairs
  inner join ledger.fct_deal_versions as versions
    on versions.valid_from_date > pairs.prior_as_of and versions.valid_from_date <= pairs.as_of
)

select
  touched.as_of,
  touched.prior_as_of,
  touched.deal_key,
  deals.source_relation,
  deals.deal_id,
  case when earlier.deal_key is not null then {before} end as state_before,
  case when later.deal_key is not null then {after} else 'deleted' end as state_after,
  earlier.amount_native is not distinct from later.amount_native
  and earlier.currency is not distinct from later.currency as is_same_amount
from touched
left join ledger.dim_deal as deals on touched.deal_key = deals.deal_key
left join ledger.fct_deal_versions as earlier
  on touched.deal_key = earlier.deal_key
  and earlier.valid_from_date <= touched.prior_as_of
  and (earlier.valid_to_date is null or earlier.valid_to_date > touched.prior_as_of)
left join ledger.fct_deal_versions as later
  on touched.deal_key = later.deal_key
  and later.valid_from_date <= touched.as_of
  and (later.valid_to_date is null or later.valid_to_date > touched.as_of)
order by touched.as_of, touched.prior_as_of, touched.deal_key
"""

MOVED_BOOKINGS = """,

pairs as (
  {pairs}
),

seen as (
  select
    pairs.as_of,
    pairs.prior_as_of,
    won_spans.deal_key,
    won_spans.won_on,
    won_spans.thousandths,
    case
      when won_spans.visible_on <= pairs.prior_as_of
        and (won_spans.hidden_on is null or won_spans.hidden_on > pairs.prior_as_of) then 1 else 0
    end as was_booked,
    case
      when won_spans.visible_on <= pairs.as_of
        and (won_spans.hidden_on is null or won_spans.hidden_on > pairs.as_of) then 1 else 0
    end as is_booked
  from pairs
  inner join won_spans
    on (won_spans.visible_on > pairs.prior_as_of and won_spans.visible_on <= pairs.as_of)
    or (won_spans.hidden_on > pairs.prior_as_of and won_spans.hidden_on <= pairs.as_of)
)

select
  seen.as_of,
  seen.prior_as_of,
  seen.deal_key,
  deals.source_relation,
  deals.deal_id,
  won_days.quarter_label as period,
  max(seen.was_booked) as was_booked,
  max(seen.is_booked) as is_booked,
  cast(sum(seen.was_booked * coalesce(seen.thousandths, 0)) as bigint) as before,
  cast(sum(seen.is_booked * coalesce(seen.thousandths, 0)) as bigint) as after
from seen
inner join ledger.dim_date as won_days on seen.won_on = won_days.date_day
left join ledger.dim_deal as deals on seen.deal_key = deals.deal_key
group by all
having max(seen.was_booked) + max(seen.is_booked) > 0
order by all
"""

BOOKED_DEALS = """,

quarters as (
  {quarters}
)

select quarters.quarter_number, won_spans.deal_key, cast(sum(won_spans.thousandths) as bigint) as thousandths
from won_spans
inner join quarters on won_spans.won_on between quarters.starts_on and quarters.ends_on
where won_spans.visible_on <= quarters.known_on
  and (won_spans.hidden_on is null or won_spans.hidden_on > quarters.known_on)
group by quarters.quarter_number, won_spans.deal_key
order by quarters.quarter_number, won_spans.deal_key
"""

LIVE_FORECASTS = f"""
with outcomes as (
  select period, segment_type, segment, max(actual) as actual
  from {BACKTEST.full_name}
  group by period, segment_type, segment
)

select
  bookings.as_of,
  bookings.period,
  bookings.period_end,
  bookings.quarter_offset,
  bookings.segment_type,
  bookings.segment,
  bookings.served_method as method,
  bookings.mean as forecast,
  bookings.p10,
  bookings.p90,
  bookings.interval_status,
  outcomes.actual
from {BOOKINGS.full_name} as bookings
inner join outcomes
  on bookings.period = outcomes.period
  and bookings.segment_type = outcomes.segment_type
  and bookings.segment = outcomes.segment
where bookings.kind = '{LIVE}'
order by bookings.segment_type, bookings.segment, bookings.period, bookings.as_of
"""
