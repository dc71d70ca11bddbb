"""Hazards asked about any day: the expected bookings of five quarters, and every open deal with its reasons.

The evidence (how deals like these went on) is built by dbt for every month's end; the macros that read it are
those of the dbt models, so that a week's end asked about here is answered as dbt answers it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pandas as pd

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


def scores_of_days(warehouse: Warehouse, days: Sequence[date]) -> pd.DataFrame:
    """Every open deal of some days with chances, expected amounts and factors (macro `deal_scores`).

    Also the label of its stage and the ids of the deal.
    """
    return warehouse.query(_scores_sql(days))


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
        f"from ({_scores_sql(days)}) where deal_number % {max(1, every)} = 0 order by as_of, deal_key"
    )


def _given_days(days: Sequence[date]) -> str:
    listed = ", ".join(f"date '{day}'" for day in sorted(set(days)))
    asked = shared_sql("days_asked", CALENDAR, f"asked.date_day in ({listed})")
    return f"with days as ({asked}),\n{_open_book()}"


def _open_book() -> str:
    exposures = shared_sql("hazard_exposures", "days", CALENDAR, CALENDAR_INDEX)
    return (
        f"exposures as ({exposures}),\n"
        f"open_deals as ({shared_sql('open_deals_on', 'days', SPANS, TIERS, HAZARDS)}),\n"
        f"book as ({shared_sql('book_of_cells', 'open_deals')}),\n"
        f"cells as ({shared_sql('numbered_cells', 'book')})"
    )


def _expected_sql(days: Sequence[date]) -> str:
    steps = (
        ("cell_hazards", shared_sql("open_cell_hazards", "cells", HAZARDS)),
        ("curves", shared_sql("win_curves", "exposures", "cells", "cell_hazards")),
        ("from_open", shared_sql("expected_from_open", "book", "curves", WIN_AMOUNTS)),
        ("arrivals", shared_sql("expected_arrivals", "days", SPANS, CALENDAR)),
        ("from_new", shared_sql("expected_from_new", "days", "exposures", "arrivals", NEW_BUSINESS)),
        (
            "expected",
            shared_sql("expected_bookings", "days", "from_open", "from_new", CALENDAR_INDEX, NEW_BUSINESS),
        ),
    )
    return _given_days(days) + "".join(f",\n{name} as ({sql})" for name, sql in steps)


def _scores_sql(days: Sequence[date]) -> str:
    hazards = shared_sql("open_cell_hazards", "cells", HAZARDS, with_reasons=True)
    curves = shared_sql("win_curves", "exposures", "cells", "cell_hazards", with_reasons=True)
    scores = shared_sql("deal_scores", "open_deals", "curves", HAZARDS, WIN_AMOUNTS, CALENDAR_INDEX)
    return f"""{_given_days(days)},
cell_hazards as ({hazards}),
curves as ({curves}),
scores as ({scores}),
deals as (
  select {shared_sql("number_of_key", "deal_key")} as deal_number, deal_key, source_relation, deal_id
  from ledger.dim_deal
)
select scores.*, deals.deal_key, deals.source_relation, deals.deal_id, stages.stage
from scores
inner join deals on scores.deal_number = deals.deal_number
left join ledger.dim_stage as stages on scores.stage_key = stages.stage_key
order by scores.as_of, deals.deal_key"""
