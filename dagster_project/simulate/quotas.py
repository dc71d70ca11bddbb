"""Quotas as a sensible planner of the simulated business would have set them."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd

from dagster_project.simulate.company import Company
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.hazards import date_of, day_number, quarter_starts


def plan_quotas(
    bookings: np.ndarray, quarters: np.ndarray, config: SimulationConfig, company: Company
) -> pd.DataFrame:
    """Quotas per fiscal quarter and team, as a sensible planner would have set them.

    `bookings` (teams × quarters, EUR) are won amounts per quarter that begins on the day numbers `quarters`.
    Each team's quota is the straight line through its full quarters after the ramp-up, plus 2 %; in the
    ramp-up it is the bookings plus 2 %. Planned for whole fiscal years, recorded 15 days before each.
    Returns period (2026Q1), segment_type (total, team), segment, amount, currency, recorded_on.
    """
    ramp = 3
    last_full = np.searchsorted(quarters, day_number(config.end_on) - 84, side="right")
    fitted = np.arange(min(ramp, last_full - 1), last_full)
    rows = []
    day, place = int(quarters[0]), 0
    year_end = day_number(date(config.end_on.year + 2, 1, 1))
    while day < year_end:
        label, recorded = _fiscal_quarter(day, config)
        amounts = []
        for team in range(len(bookings)):
            line = bookings[team, fitted]
            slope, level = np.polyfit(fitted, line, 1) if len(fitted) > 3 else (0.0, line.mean())
            expected = level + slope * place
            if place < ramp and place < last_full:
                expected = bookings[team, place]
            amounts.append(max(25_000.0, round(1.02 * expected / 25_000) * 25_000.0))
        rows.append((label, "total", "all", sum(amounts), recorded))
        rows += [
            (label, "team", name, amount, recorded)
            for name, amount in zip(company.teams["team"], amounts, strict=True)
        ]
        day = int(quarter_starts(np.array([day + 100]), config.fiscal_year_start_month)[0])
        place += 1
    quotas = pd.DataFrame(rows, columns=["period", "segment_type", "segment", "amount", "recorded_on"])
    quotas["recorded_on"] = pd.to_datetime(quotas["recorded_on"])
    quotas.insert(4, "currency", "EUR")
    return quotas


def _fiscal_quarter(first_day: int, config: SimulationConfig) -> tuple[str, date]:
    """Label of the fiscal quarter that begins on a day, and the day its year's plan was recorded."""
    begin = date_of(first_day)
    months_in = (begin.month - config.fiscal_year_start_month) % 12
    year_begin = begin.year - (1 if begin.month < config.fiscal_year_start_month else 0)
    fiscal_year = year_begin if config.fiscal_year_start_month == 1 else year_begin + 1
    planned = date(year_begin, config.fiscal_year_start_month, 1) - timedelta(days=15)
    return f"{fiscal_year}Q{months_in // 3 + 1}", max(planned, config.start_on)
