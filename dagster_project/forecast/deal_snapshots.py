"""Open deals of past and asked days with what was known of them then: what the challenger learns from.

Every week's end of the history and every asked day shows at most `MOST_DEALS` of its open deals; which ones
depends on the deal and the day alone, so a day is seen alike in every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from dagster_project.forecast.hazard_queries import (
    CALENDAR,
    CALENDAR_INDEX,
    CURVES,
    HAZARDS,
    SPANS,
    TIERS,
    WIN_AMOUNTS,
)
from dagster_project.forecast.refused_fields import RefusedField, without_history
from dagster_project.forecast.shared_sql import shared_sql
from dagster_project.warehouse import Warehouse

VERSIONS = "ledger.fct_deal_versions"
TRANSITIONS = "ledger.fct_stage_transitions"
HISTOGRAM = "forecast.int_hazard_histogram"
WEEK_START = "(select week_start from staging.stg_run_context)"
AS_OF = "(select as_of from staging.stg_run_context)"

MOST_DEALS = 2000
CURVE_COLUMNS = ("as_of", "stage_key", "time_bin", "amount_tier", *(f"p_win_{n}" for n in range(5)))


@dataclass(frozen=True)
class Snapshots:
    """Open deals as they were seen, ordered by day and deal, and the closings of owners.

    deals: columns of macro `challenger_features`; the last two, closed_on and outcome, lie in the future of
        their row and are for labels. every_nth: the row stands for so many open deals.
    closings: owner_key, closed_on, won, closed, ordered by day.
    """

    deals: pd.DataFrame
    closings: pd.DataFrame


def read_snapshots(
    warehouse: Warehouse, days: Sequence[date], refused: Sequence[RefusedField] = ()
) -> Snapshots:
    """Snapshots of every week's end of the history, and of `days`, without the `refused` fields.

    The evidence of hazards must be built.
    """
    return Snapshots(warehouse.query(_snapshots_sql(days, refused)), warehouse.query(_closings_sql()))


def _snapshots_sql(days: Sequence[date], refused: Sequence[RefusedField]) -> str:
    is_week = f"asked.date_day = asked.week_end_on and asked.date_day <= {AS_OF}"
    listed = ", ".join(f"date '{day}'" for day in sorted(set(days))) or "date '1900-01-01'"
    is_other = f"asked.date_day in ({listed}) and asked.date_day <> asked.week_end_on"
    curve_columns = ", ".join(CURVE_COLUMNS)
    steps = (
        ("weeks", shared_sql("days_asked", CALENDAR, is_week)),
        ("days", shared_sql("days_asked", CALENDAR, is_other)),
        ("every_day", "select * from weeks union all select * from days"),
        ("counted_weeks", shared_sql("open_deals_of_weeks", HISTOGRAM)),
        ("counted_days", shared_sql("open_deals_of_days", "days", SPANS)),
        ("sampled_weeks", shared_sql("sampled_days", "weeks", "counted_weeks", MOST_DEALS)),
        ("sampled_others", shared_sql("sampled_days", "days", "counted_days", MOST_DEALS)),
        ("sampled", "select * from sampled_weeks union all select * from sampled_others"),
        ("seen_weeks", shared_sql("sampled_spans_of_weeks", "sampled_weeks", SPANS, WEEK_START)),
        ("seen_days", shared_sql("sampled_spans_of_days", "sampled_others", SPANS, WEEK_START)),
        ("seen", "select * from seen_weeks union all select * from seen_days"),
        ("cut_spans", _cut_to_their_day("seen")),
        ("open_deals", shared_sql("open_deals_on", "every_day", "cut_spans", TIERS, HAZARDS)),
        (
            "open_on_days",
            "select open_deals.* from open_deals inner join days on open_deals.as_of = days.as_of",
        ),
        ("book", shared_sql("book_of_cells", "open_on_days")),
        ("exposures", shared_sql("hazard_exposures", "days", CALENDAR, CALENDAR_INDEX)),
        ("cells", shared_sql("numbered_cells", "book")),
        ("cell_hazards", shared_sql("open_cell_hazards", "cells", HAZARDS)),
        ("curves_of_days", shared_sql("win_curves", "exposures", "cells", "cell_hazards")),
        (
            "curves",
            f"select {curve_columns} from {CURVES} union all select {curve_columns} from curves_of_days",
        ),
        ("seen_versions", without_history(_of_seen_deals(VERSIONS), refused)),
        ("seen_moves", _of_seen_deals(TRANSITIONS)),
        ("versions", shared_sql("version_features", "seen_versions")),
        ("moves", shared_sql("move_features", "seen_moves")),
        (
            "features",
            shared_sql(
                "challenger_features",
                "seen",
                "sampled",
                "open_deals",
                "curves",
                "versions",
                "moves",
                WIN_AMOUNTS,
                CALENDAR,
            ),
        ),
    )
    named = ",\n".join(f"{name} as ({sql})" for name, sql in steps)
    return f"with {named}\nselect * from features order by as_of, deal_number"


def _cut_to_their_day(seen: str) -> str:
    """Each seen span as one that is there on the day it is seen, and on no other."""
    day_after = shared_sql("add_days", "as_of", 1)
    return f"select *, as_of as valid_from_date, {day_after} as valid_to_date from {seen}"


def _of_seen_deals(table: str) -> str:
    """All rows of the deals that are looked at: windows over those of all deals took most of the time."""
    number = shared_sql("number_of_key", "deal_key")
    return f"select * from {table} where {number} in (select deal_number from seen)"


def _closings_sql() -> str:
    return (
        f"with versions as ({shared_sql('version_features', VERSIONS)}),\n"
        f"closings as ({shared_sql('closings_of_owners', SPANS, 'versions')})\n"
        "select * from closings order by closed_on, owner_key"
    )
