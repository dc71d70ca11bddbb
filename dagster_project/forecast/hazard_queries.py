"""Hazards asked about any day: the expected bookings of five quarters, and every open deal with its reasons.

The evidence (how deals like these went on) is built by dbt for every month's end; the macros that read it are
those of the dbt models, so that a week's end asked about here is answered as dbt answers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pandas as pd

from dagster_project.forecast.refused_fields import CLOSE_DATE_FIELD, RefusedField, is_known_then
from dagster_project.forecast.shared_sql import shared_sql
from dagster_project.warehouse import Warehouse

CALENDAR = "ledger.dim_date"
SPANS = "forecast.int_open_spans"
TIERS = "forecast.int_amount_tiers"
HAZARDS = "forecast.int_hazard_cell"
CALENDAR_INDEX = "forecast.int_calendar_index"
WIN_AMOUNTS = "forecast.int_win_amounts"
NEW_BUSINESS = "forecast.int_new_business"
CURVES = "forecast.int_win_curves"
OF_WEEKS = "forecast.int_hazard_forecast"

EVIDENCE_TABLES = (SPANS, TIERS, HAZARDS, CALENDAR_INDEX, WIN_AMOUNTS, NEW_BUSINESS, CURVES, OF_WEEKS)
EVIDENCE_MODELS = tuple(name.split(".")[1] for name in EVIDENCE_TABLES)

EXPECTED_COLUMNS = ("as_of", "quarter_number", "open_expected", "new_expected")


def has_hazards(warehouse: Warehouse) -> bool:
    """Whether dbt has built all the evidence that hazards need."""
    return all(warehouse.has_table(table) for table in EVIDENCE_TABLES)


def expected_of_weeks(warehouse: Warehouse) -> pd.DataFrame:
    """Expected bookings as dbt has them: every week's end of the history (EXPECTED_COLUMNS, amounts)."""
    columns = ", ".join(EXPECTED_COLUMNS)
    return warehouse.query(f"select {columns} from {OF_WEEKS} order by as_of, quarter_number")


def wins_of_weeks(warehouse: Warehouse) -> pd.DataFrame:
    """Per week's end the wins of the next week: expected by the evidence of then, and observed.

    Columns: as_of, expected_wins, observed_wins; the newest week is not over and is left out.
    """
    return warehouse.query(
        f"select as_of, sum(deals * p_win_week) as expected_wins, sum(won_next_week) as observed_wins "
        f"from {CURVES} where as_of < (select max(as_of) from {CURVES}) group by as_of order by as_of"
    )


def expected_of_days(warehouse: Warehouse, days: Sequence[date]) -> pd.DataFrame:
    """Expected bookings of some days and five quarters each (EXPECTED_COLUMNS, amounts).

    A day whose evidence holds fewer than 30 wins, or no deal followed for half a year, has no rows.
    """
    columns = ", ".join(EXPECTED_COLUMNS)
    return warehouse.query(
        f"{_expected_sql(days)} select {columns} from expected order by as_of, quarter_number"
    )


def scores_of_days(
    warehouse: Warehouse, days: Sequence[date], refused: Sequence[RefusedField] = ()
) -> pd.DataFrame:
    """Every open deal of some days with chances, expected amounts and factors (macro `deal_scores`).

    Also the label of its stage, the ids of the deal, its close date, and p_win_by_close_date: the chance of
    being won by then, null where that day is over, missing, or further away than curves reach.
    """
    return warehouse.query(_scores_sql(days, refused=refused))


def chances_of_days(warehouse: Warehouse, days: Sequence[date], most_deals: int) -> pd.DataFrame:
    """Chance and expected amount of about `most_deals` open deals of some days, a sample by their keys.

    Columns: as_of, deal_key, p_win_this_quarter, expected_this_quarter. All deals, where they are fewer.
    """
    listed = ", ".join(f"date '{day}'" for day in sorted(set(days)))
    open_then = warehouse.query(
        f"select count(*) as deals from {CALENDAR} as days inner join {SPANS} as spans "
        "on days.date_day >= spans.valid_from_date "
        "and (days.date_day < spans.valid_to_date or spans.valid_to_date is null) "
        f"where days.date_day in ({listed})"
    )
    every = -(-int(open_then["deals"].iloc[0]) // most_deals)
    return warehouse.query(
        "select as_of, deal_key, p_win_this_quarter, expected_this_quarter "
        f"from ({_scores_sql(days, max(1, every))}) order by as_of, deal_key"
    )


def given_days(days: Sequence[date], every_nth: int = 1) -> str:
    """The start of a query about some days: `days`, `exposures`, `open_deals`, and their `cells`.

    Of the deals every `every_nth` by number: a cell's curve is the same however many of its deals are asked
    about.
    """
    listed = ", ".join(f"date '{day}'" for day in sorted(set(days)))
    asked = shared_sql("days_asked", CALENDAR, f"asked.date_day in ({listed})")
    spans = SPANS if every_nth == 1 else f"(select * from {SPANS} where deal_number % {every_nth} = 0)"
    return f"with days as ({asked}),\n{_open_book(spans)}"


def _open_book(spans: str) -> str:
    exposures = shared_sql("hazard_exposures", "days", CALENDAR, CALENDAR_INDEX)
    return (
        f"exposures as ({exposures}),\n"
        f"open_deals as ({shared_sql('open_deals_on', 'days', spans, TIERS, HAZARDS)}),\n"
        f"book as ({shared_sql('book_of_cells', 'open_deals')}),\n"
        f"cells as ({shared_sql('numbered_cells', 'book')})"
    )


def curves_of_days() -> str:
    """The steps `cell_hazards` and `curves`, the win curves of the cells of `given_days`."""
    hazards = shared_sql("open_cell_hazards", "cells", HAZARDS)
    curves = shared_sql("win_curves", "exposures", "cells", "cell_hazards")
    return f"cell_hazards as ({hazards}),\ncurves as ({curves})"


def _expected_sql(days: Sequence[date]) -> str:
    steps = (
        ("from_open", shared_sql("expected_from_open", "book", "curves", WIN_AMOUNTS)),
        ("arrivals", shared_sql("expected_arrivals", "days", SPANS, CALENDAR)),
        ("from_new", shared_sql("expected_from_new", "days", "exposures", "arrivals", NEW_BUSINESS)),
        (
            "expected",
            shared_sql("expected_bookings", "days", "from_open", "from_new", CALENDAR_INDEX, NEW_BUSINESS),
        ),
    )
    return f"{given_days(days)},\n{curves_of_days()}" + "".join(
        f",\n{name} as ({sql})" for name, sql in steps
    )


def _scores_sql(days: Sequence[date], every_nth: int = 1, refused: Sequence[RefusedField] = ()) -> str:
    hazards = shared_sql("open_cell_hazards", "cells", HAZARDS, with_reasons=True)
    curves = shared_sql("win_curves", "exposures", "cells", "cell_hazards", with_reasons=True)
    scores = shared_sql("deal_scores", "open_deals", "curves", HAZARDS, WIN_AMOUNTS, CALENDAR_INDEX)
    return f"""{given_days(days, every_nth)},
cell_hazards as ({hazards}),
curves as ({curves}),
curve_steps as ({shared_sql("win_curves", "exposures", "cells", "cell_hazards", by_step=True)}),
day_shares as ({shared_sql("days_within_steps", "days", CALENDAR, CALENDAR_INDEX)}),
scores as ({scores}),
deals as (
  select {shared_sql("number_of_key", "deal_key")} as deal_number, deal_key, source_relation, deal_id
  from ledger.dim_deal
),
due as (
  select
    scores.*,
    cells.cell_number,
    deals.deal_key,
    deals.source_relation,
    deals.deal_id,
    versions.close_date,
    {is_known_then(CLOSE_DATE_FIELD, refused)} as has_close_date_history
  from scores
  inner join cells
    on scores.as_of = cells.as_of
      and scores.stage_key = cells.stage_key
      and scores.time_bin = cells.time_bin
      and scores.amount_tier = cells.amount_tier
  inner join deals on scores.deal_number = deals.deal_number
  inner join ledger.fct_deal_versions as versions
    on deals.deal_key = versions.deal_key and scores.version_number = versions.version_number
),
cell_days as (
  select distinct as_of, cell_number, close_date
  from due
  where close_date > as_of
),
won_by_then as ({shared_sql("win_by_days", "cell_days", "day_shares", "curve_steps")})
select due.*, stages.stage, won_by_then.p_win as p_win_by_close_date
from due
left join ledger.dim_stage as stages on due.stage_key = stages.stage_key
left join won_by_then
  on due.cell_number = won_by_then.cell_number and due.close_date = won_by_then.close_date
order by due.as_of, due.deal_key"""
