"""What the ledger says about segments: on the days to forecast, and on the origins of their ranges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from dagster_project.forecast.fiscal_quarters import FiscalQuarters
from dagster_project.forecast.hazard_queries import CURVES
from dagster_project.forecast.refused_fields import RefusedField
from dagster_project.forecast.segment_queries import (
    ANY_DAY,
    booked_by_segment,
    has_segments,
    open_by_segment,
    week_ends_of_months,
)
from dagster_project.warehouse import Warehouse

HISTORY_QUARTERS = 8
"""Origins of two years: what a segment was like before says little about it."""


@dataclass(frozen=True)
class SegmentFacts:
    """Open deals (`open_by_segment`), bookings (`booked_by_segment`), and a week's end per month."""

    open: pd.DataFrame
    booked: pd.DataFrame
    origins: tuple[date, ...] = ()


def read_segments(
    warehouse: Warehouse,
    quarters: FiscalQuarters,
    days: Sequence[date],
    dates_won: str,
    is_scored: bool,
    refused: Sequence[RefusedField] = (),
) -> SegmentFacts | None:
    """Facts about the segments of `days`; None without days, or where the ledger does not say whose deals
    are.

    `is_scored`: whether dbt has built the evidence of hazards.
    """
    if not days or not has_segments(warehouse):
        return None
    origins = _origins_for(week_ends_of_months(warehouse), days, quarters)
    others = sorted(set(days) - set(origins))
    opened = [
        open_by_segment(warehouse, origins, CURVES if is_scored else None, refused),
        open_by_segment(warehouse, others, ANY_DAY if is_scored else None, refused),
    ]
    return SegmentFacts(
        pd.concat([rows for rows in opened if len(rows)] or opened[:1], ignore_index=True),
        booked_by_segment(warehouse, _booking_pairs(origins, days, quarters), dates_won),
        tuple(origins),
    )


def _origins_for(week_ends: Iterable[date], days: Sequence[date], quarters: FiscalQuarters) -> list[date]:
    """The week ends whose forecasts of segments tell something about forecasts of `days`."""
    asked = sorted(set(days))
    if not asked:
        return []
    firsts = sorted({quarters.position_of(day) - HISTORY_QUARTERS for day in asked})
    return [
        week_end
        for week_end in week_ends
        if week_end <= asked[-1]
        and any(first <= quarters.position_of(week_end) <= first + HISTORY_QUARTERS for first in firsts)
    ]


def _booking_pairs(
    origins: Sequence[date], days: Sequence[date], quarters: FiscalQuarters
) -> list[tuple[date, int]]:
    """Which quarters' bookings are asked about on which days: the current one, and outcomes once final."""
    pairs = [(day, quarters[quarters.position_of(day)].number) for day in (*origins, *days)]
    if origins:
        first, last = quarters.position_of(min(origins)), quarters.completed_by(max(days))
        pairs += [
            (quarter.known_on, quarter.number)
            for quarter in quarters.quarters[first:last]
            if quarter.known_on is not None
        ]
    return pairs
