"""Open deals and bookings of some days by segment: owner (with the team), region, pipeline and product.

Who a deal belonged to is read as it was on the day: owner and pipeline from the version of that day, name,
team and region of the owner as they had been told by the nightly run of that day, a booking with whoever
won it. Product (by line items), region of the deal and of its customer have no history: they are those of
today. Amounts are whole thousandths, so that sums are exact in any order and the pieces of a deal add up to
it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

import pandas as pd

from dagster_project.forecast.hazard_queries import (
    CURVES,
    WIN_AMOUNTS,
    curves_of_days,
    given_days,
)
from dagster_project.forecast.ledger_queries import won_spans_sql
from dagster_project.forecast.shared_sql import shared_sql
from dagster_project.warehouse import Warehouse

OWNER, TEAM, REGION, PIPELINE, PRODUCT = "owner", "team", "region", "pipeline", "product"
SEGMENT_TYPES = (OWNER, TEAM, REGION, PIPELINE, PRODUCT)
"""Owners come with their team; the team is the sum of its owners, and the others stand for themselves."""

NEEDED_TABLES = (
    "staging.stg_runs",
    "ledger.dim_owner_history",
    "ledger.dim_pipeline",
    "ledger.dim_account",
    "ledger.int_deals",
    "ledger.int_deal_segments",
)

YEAR_DAYS = 365
QUARTERS_AHEAD = 5
ANY_DAY = "any day"

OPEN_MEASURES = ("deals", "unpriced", "thousandths", *(f"expected_{n}" for n in range(QUARTERS_AHEAD)))
BOOKED_MEASURES = (
    "booked",
    "booked_without_amount",
    "year_deals",
    "year_priced",
    "year_thousandths",
    "year_squares",
)
SEGMENT_COLUMNS = ("segment_type", "unit", "segment", "team", "has_left")


def has_segments(warehouse: Warehouse) -> bool:
    """Whether the ledger says who deals belong to."""
    return all(warehouse.has_table(table) for table in NEEDED_TABLES)


def week_ends_of_months(warehouse: Warehouse) -> list[date]:
    """The last week's end in the first half of every month up to the as-of day, ascending."""
    rows = warehouse.query(
        "select max(days.date_day) as week_end from ledger.dim_date as days "
        "cross join staging.stg_run_context as context "
        "where days.date_day = days.week_end_on and days.date_day <= context.as_of "
        f"and days.date_day < {shared_sql('add_days', 'days.month_start_on', 15)} "
        "group by days.month_end_on order by week_end"
    )
    return [stamp.date() for stamp in rows["week_end"]]


def open_by_segment(warehouse: Warehouse, days: Sequence[date], curves: str | None) -> pd.DataFrame:
    """The open deals at the end of each day by segment.

    `curves`: `CURVES` for week ends, whose curves dbt has built; `ANY_DAY`; None without hazards.
    Returns: as_of, quarter_number (of the day), SEGMENT_COLUMNS, deals, unpriced (no positive amount known
    on the day), thousandths (of the priced ones), expected_0 to expected_4 (thousandths that hazards expect
    in this quarter and the next four).
    """
    if not days:
        return pd.DataFrame(columns=["as_of", "quarter_number", *SEGMENT_COLUMNS, *OPEN_MEASURES])
    steps = [
        given_days(days) if curves else f"with days as ({_days_asked(days)})",
        _owners_on(),
        _places(),
        _products(),
        _open_versions(curves is not None),
    ]
    if curves == CURVES:
        steps.append(f"{_expected(CURVES)}")
    elif curves:
        steps += [curves_of_days(), _expected("curves")]
    else:
        steps.append(_NOTHING_EXPECTED)
    values = (
        "1",
        "case when deals_open.thousandths is null then 1 else 0 end",
        "coalesce(deals_open.thousandths, 0)",
        *(f"coalesce(expected.expected_{n}, 0)" for n in range(QUARTERS_AHEAD)),
    )
    named = ", ".join(f"{value} as {name}" for value, name in zip(values, OPEN_MEASURES, strict=True))
    steps.append(
        f"""measured as (
  select deals_open.as_of, deals_open.quarter_number, deals_open.deal_hash, deals_open.owner_key,
  deals_open.pipeline_key, {named} from deals_open
  left join expected
    on deals_open.as_of = expected.as_of and deals_open.deal_number = expected.deal_number
)"""
    )
    steps.append(_labelled(OPEN_MEASURES))
    return warehouse.query(",\n".join(steps) + _by_segment(OPEN_MEASURES, counts=("deals", "unpriced")))


def booked_by_segment(
    warehouse: Warehouse, asked: Iterable[tuple[date, int]], dates_won: str
) -> pd.DataFrame:
    """Bookings by segment as known at the end of a day, for pairs of a day and a quarter's number.

    Returns: as_of, quarter_number, SEGMENT_COLUMNS, booked (thousandths of the quarter),
    booked_without_amount (deals), and of the last 365 days: year_deals, year_priced, year_thousandths,
    year_squares (sum of squares).
    """
    pairs = sorted(set(asked))
    if not pairs:
        return pd.DataFrame(columns=["as_of", "quarter_number", *SEGMENT_COLUMNS, *BOOKED_MEASURES])
    days = "\n  union all ".join(
        f"select date '{day}' as as_of, cast({number} as bigint) as quarter_number" for day, number in pairs
    )
    values = {
        "booked": "in_quarter * coalesce(thousandths, 0)",
        "booked_without_amount": "case when thousandths is null then in_quarter else 0 end",
        "year_deals": "in_year",
        "year_priced": "case when thousandths is null then 0 else in_year end",
        "year_thousandths": "in_year * coalesce(thousandths, 0)",
        "year_squares": "in_year * cast(coalesce(thousandths, 0) as hugeint) * coalesce(thousandths, 0)",
    }
    measures = ", ".join(f"{value} as {name}" for name, value in values.items())
    steps = [
        won_spans_sql(dates_won),
        f"days as (\n  {days}\n)",
        _owners_on(),
        _places(),
        _products(),
        f"""booked as (
  select
    days.as_of,
    days.quarter_number,
    {_deal("won_spans")} as deal_hash,
    won_spans.credit_owner_key as owner_key,
    won_spans.pipeline_key,
    won_spans.thousandths,
    case when calendar.quarter_index = days.quarter_number then 1 else 0 end as in_quarter,
    case when won_spans.won_on > {_years_start()} then 1 else 0 end as in_year
  from won_spans
  inner join ledger.dim_date as calendar on won_spans.won_on = calendar.date_day
  inner join days
    on won_spans.visible_on <= days.as_of
      and (won_spans.hidden_on is null or won_spans.hidden_on > days.as_of)
      and (won_spans.won_on > {_years_start()} or calendar.quarter_index = days.quarter_number)
)""",
        f"""measured as (
  select as_of, quarter_number, deal_hash, owner_key, pipeline_key, {measures} from booked
)""",
        _labelled(BOOKED_MEASURES),
    ]
    return warehouse.query(
        ",\n".join(steps)
        + _by_segment(
            BOOKED_MEASURES,
            counts=("booked_without_amount", "year_deals", "year_priced"),
            doubles=("year_squares",),
        )
    )


def _deal(relation: str) -> str:
    """A number for a deal inside of one query: joins on it cost less than on keys."""
    return shared_sql("row_hash", [f"{relation}.deal_key"])


def _years_start() -> str:
    return shared_sql("add_days", "days.as_of", -YEAR_DAYS)


def _days_asked(days: Sequence[date]) -> str:
    listed = ", ".join(f"date '{day}'" for day in sorted(set(days)))
    return shared_sql("days_asked", "ledger.dim_date", f"asked.date_day in ({listed})")


def _owners_on() -> str:
    """Owners as a nightly run of each day had been told of them; on the newest day, all that is known."""
    none = shared_sql("none_key")
    return f"""told_until as (
  select
    asked.as_of,
    case
      when asked.as_of >= context.as_of then timestamp '9999-12-31 00:00:00'
      else coalesce(min(runs.landed_through), timestamp '9999-12-31 00:00:00')
    end as told_at
  from (select distinct as_of from days) as asked
  cross join staging.stg_run_context as context
  left join staging.stg_runs as runs on runs.run_kind = 'nightly' and runs.as_of >= asked.as_of
  group by asked.as_of, context.as_of
),

owners_on as (
  select
    told_until.as_of,
    owners.owner_key,
    owners.owner,
    owners.team,
    owners.region,
    case
      when owners.owner_key = {none} then false
      when owners.ended_on is not null then owners.ended_on <= told_until.as_of
      else not owners.is_active
    end as has_left
  from told_until
  inner join ledger.dim_owner_history as owners
    on owners.valid_from_at <= told_until.told_at
      and (owners.valid_to_at is null or owners.valid_to_at > told_until.told_at)
)"""


def _places() -> str:
    return f"""places as (
  select
    {_deal("deals")} as deal_hash,
    deals.region as deal_region,
    accounts.region as account_region
  from ledger.int_deals as deals
  left join ledger.dim_account as accounts
    on deals.source_relation = accounts.source_relation and deals.account_id = accounts.account_id
  where coalesce(deals.region, accounts.region) is not null
)"""


def _products() -> str:
    """Where the pieces of a deal begin and end on a line as long as its amount: so they add up to it.

    Most deals have one product: no line is drawn for them.
    """
    return f"""pieces as (
  select {_deal("deals")} as deal_hash, deals.segment, deals.is_counted, deals.amount_base
  from ledger.int_deal_segments as deals
  where deals.segment_type = 'product'
),

shared_deals as (
  select deal_hash from pieces group by deal_hash having count(*) > 1
),

products as (
  select
    pieces.deal_hash,
    pieces.segment,
    pieces.is_counted,
    cast(sum(pieces.amount_base) over line_of_deal - pieces.amount_base as double) as piece_from,
    cast(sum(pieces.amount_base) over line_of_deal as double) as piece_to,
    cast(sum(pieces.amount_base) over (partition by pieces.deal_hash) as double) as whole
  from pieces
  inner join shared_deals on pieces.deal_hash = shared_deals.deal_hash
  window line_of_deal as (partition by pieces.deal_hash order by pieces.segment rows unbounded preceding)
  union all
  select pieces.deal_hash, pieces.segment, pieces.is_counted, null, null, null
  from pieces
  left join shared_deals on pieces.deal_hash = shared_deals.deal_hash
  where shared_deals.deal_hash is null
)"""


def _open_versions(is_numbered: bool) -> str:
    number = shared_sql("number_of_key", "versions.deal_key") if is_numbered else "cast(null as bigint)"
    return f"""deals_open as (
  select
    days.as_of,
    days.quarter_number,
    {_deal("versions")} as deal_hash,
    {number} as deal_number,
    versions.owner_key,
    versions.pipeline_key,
    case
      when versions.amount_asof_quality = 'history' and versions.amount_base > 0
        then cast(versions.amount_base * 1000 as bigint)
    end as thousandths
  from days
  inner join ledger.fct_deal_versions as versions
    on days.as_of >= versions.valid_from_date
      and (versions.valid_to_date is null or days.as_of < versions.valid_to_date)
  where versions.status = 'open'
    and not versions.is_deleted
    and versions.merged_into_deal_id is null
    and versions.excluded_by is null
)"""


def _expected(curves: str) -> str:
    """What hazards expect of each open deal by quarter; the chance is rounded so that sums never vary."""
    chances = [
        f"curves.p_win_{n}" if n == 0 else f"curves.p_win_{n} - curves.p_win_{n - 1}"
        for n in range(QUARTERS_AHEAD)
    ]
    expected = ",\n    ".join(
        f"cast(round(round({chance}, 9) * priced.thousandths_if_won) as bigint) as expected_{n}"
        for n, chance in enumerate(chances)
    )
    return f"""priced as (
  select
    deals.*,
    1000 * coalesce(
      case
        when deals.open_amount is not null
          then cast(deals.open_amount as double) * coalesce(of_stage.price_factor, of_all.price_factor)
        else of_all.average_won_amount
      end, 0e0
    ) as thousandths_if_won
  from open_deals as deals
  inner join {WIN_AMOUNTS} as of_all
    on deals.evidence_on = of_all.evidence_on and of_all.stage_key = '(all)'
  left join {WIN_AMOUNTS} as of_stage
    on deals.evidence_on = of_stage.evidence_on and deals.stage_key = of_stage.stage_key
),

expected as (
  select
    priced.as_of,
    priced.deal_number,
    {expected}
  from priced
  inner join {curves} as curves
    on priced.as_of = curves.as_of
      and priced.stage_key = curves.stage_key
      and priced.time_bin = curves.time_bin
      and priced.amount_tier = curves.amount_tier
)"""


_NOTHING_EXPECTED = f"""expected as (
  select
    as_of,
    deal_number,
    {", ".join(f"cast(0 as bigint) as expected_{n}" for n in range(QUARTERS_AHEAD))}
  from deals_open
  where 1 = 0
)"""


def _labelled(measures: Sequence[str]) -> str:
    """Deals that are alike as one row each, with the names of what they belong to."""
    region = shared_sql(
        "region_of",
        "context.segments_region_from",
        "alike.deal_region",
        "owners_on.region",
        "alike.account_region",
    )
    key = ("as_of", "quarter_number", "owner_key", "pipeline_key", "deal_region", "account_region")
    keys = ", ".join(key)
    return f"""alike as (
  select
    {keys},
    {", ".join(f"sum({measure}) as {measure}" for measure in measures)}
  from measured
  left join places on measured.deal_hash = places.deal_hash
  group by {keys}
),

labelled as (
  select
    alike.*,
    owners_on.owner,
    owners_on.team,
    owners_on.has_left,
    coalesce(pipelines.pipeline, '(none)') as pipeline,
    coalesce({region}, '(none)') as region
  from alike
  cross join staging.stg_run_context as context
  left join owners_on on alike.as_of = owners_on.as_of and alike.owner_key = owners_on.owner_key
  left join ledger.dim_pipeline as pipelines on alike.pipeline_key = pipelines.pipeline_key
)"""


def _by_segment(
    measures: Sequence[str],
    counts: Sequence[str],
    doubles: Sequence[str] = (),
) -> str:
    """Sums of `measures` by owner, region, pipeline and product.

    Of the products of a deal its own one takes `counts`; the others are shared as its amount is.
    """
    keys = "as_of, quarter_number"

    def sums(values: dict[str, str]) -> str:
        return ", ".join(
            f"cast(sum({value}) as {'double' if name in doubles else 'bigint'}) as {name}"
            for name, value in values.items()
        )

    plain = sums({name: name for name in measures})
    whole = {*counts, *doubles}
    counted = "case when coalesce(products.is_counted, true) then measured.{} else 0 end"
    pieces = sums(
        {name: counted.format(name) if name in whole else _piece(f"measured.{name}") for name in measures}
    )
    parts = [
        f"""select {keys}, '{OWNER}' as segment_type, owner_key as unit, coalesce(owner, '(none)') as segment,
  coalesce(team, '(none)') as team, coalesce(has_left, false) as has_left, {plain}
from labelled
group by {keys}, owner_key, owner, team, has_left"""
    ]
    parts += [
        f"""select {keys}, '{kind}' as segment_type, {kind} as unit, {kind} as segment,
  '(none)' as team, false as has_left, {plain}
from labelled
group by {keys}, {kind}"""
        for kind in (REGION, PIPELINE)
    ]
    product = "coalesce(products.segment, '(none)')"
    parts.append(
        f"""select {keys}, '{PRODUCT}' as segment_type, {product} as unit, {product} as segment,
  '(none)' as team, false as has_left, {pieces}
from measured
left join products on measured.deal_hash = products.deal_hash
group by {keys}, {product}"""
    )
    return "\n" + "\nunion all\n".join(parts) + f"\norder by {keys}, segment_type, unit"


def _piece(value: str) -> str:
    """The product's piece of a deal's value, in whole thousandths; all of it where the deal has no amount."""
    return (
        f"case when products.whole is null or products.whole = 0 "
        f"then case when coalesce(products.is_counted, true) then {value} else 0 end "
        f"else round({value} * products.piece_to / products.whole) "
        f"- round({value} * products.piece_from / products.whole) end"
    )
