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
from dagster_project.forecast.refused_fields import AMOUNT_FIELD, RefusedField, is_known_then
from dagster_project.forecast.segment_labels import (
    by_segment,
    labelled,
    number_of_deal,
    owners_on,
    places,
    products,
)
from dagster_project.forecast.shared_sql import shared_sql
from dagster_project.warehouse import Warehouse

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


def open_by_segment(
    warehouse: Warehouse,
    days: Sequence[date],
    curves: str | None,
    refused: Sequence[RefusedField] = (),
) -> pd.DataFrame:
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
        owners_on(),
        places(),
        products(),
        _open_versions(curves is not None, refused),
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
    steps.append(labelled(OPEN_MEASURES))
    return warehouse.query(",\n".join(steps) + by_segment(OPEN_MEASURES, counts=("deals", "unpriced")))


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
        owners_on(),
        places(),
        products(),
        f"""booked as (
  select
    days.as_of,
    days.quarter_number,
    {number_of_deal("won_spans")} as deal_hash,
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
        labelled(BOOKED_MEASURES),
    ]
    return warehouse.query(
        ",\n".join(steps)
        + by_segment(
            BOOKED_MEASURES,
            counts=("booked_without_amount", "year_deals", "year_priced"),
            doubles=("year_squares",),
        )
    )


def _years_start() -> str:
    return shared_sql("add_days", "days.as_of", -YEAR_DAYS)


def _days_asked(days: Sequence[date]) -> str:
    listed = ", ".join(f"date '{day}'" for day in sorted(set(days)))
    return shared_sql("days_asked", "ledger.dim_date", f"asked.date_day in ({listed})")


def _open_versions(is_numbered: bool, refused: Sequence[RefusedField]) -> str:
    number = shared_sql("number_of_key", "versions.deal_key") if is_numbered else "cast(null as bigint)"
    return f"""deals_open as (
  select
    days.as_of,
    days.quarter_number,
    {number_of_deal("versions")} as deal_hash,
    {number} as deal_number,
    versions.owner_key,
    versions.pipeline_key,
    case
      when {is_known_then(AMOUNT_FIELD, refused)} and versions.amount_base > 0
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
