"""Do the chances hold? Open deals of past quarters by decile of their chance: predicted wins against actual.

The chance of each deal is that of its day, from evidence of the month before; outcomes come from quarters
whose bookings are final, so no deal is judged by what its own chance was learned from.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from dagster_project.forecast.fiscal_quarters import FiscalQuarters
from dagster_project.forecast.ledger_queries import THOUSANDTHS
from dagster_project.forecast.situations import horizon_of

QUARTERS = 8
"""Completed quarters that are looked at: two years hold each season twice."""

DAYS_LEFT = (75, 45, 15)
"""Three days of each quarter, one per horizon of a running quarter: early, middle and late."""

MOST_DEALS = 50_000
"""More are told by a sample: of 5,000 in a decile, a share is known to a percentage point."""

DECILES = 10
CHANCE_DIGITS = 9
MONEY_DIGITS = 3
ALL_HORIZONS = "this quarter"


def calibration_origins(quarters: FiscalQuarters, through: date) -> list[date]:
    """The days that are looked at: three of each of the last eight quarters that are final by `through`."""
    completed = quarters.completed_by(through)
    return [
        quarters[position].ends_on - timedelta(days=days)
        for position in range(max(0, completed - QUARTERS), completed)
        for days in DAYS_LEFT
    ]


def calibration_rows(
    scores: pd.DataFrame, booked: pd.DataFrame, quarters: FiscalQuarters, as_of: date, currency: str
) -> Iterator[dict[str, Any]]:
    """One row per horizon and decile of the chance, the horizons of a running quarter also together.

    `scores`: as_of, deal_key, p_win_this_quarter, expected_this_quarter (amount; nothing without one).
    `booked`: quarter_number, deal_key, thousandths: what the quarters booked. A deal won without an amount
    is an actual win and no actual amount.
    """
    if scores.empty:
        return
    deals = _with_outcomes(scores, booked, quarters)
    for horizon, rows in (*deals.groupby("horizon", sort=True), (ALL_HORIZONS, deals)):
        ordered = rows.sort_values(["p_win_this_quarter", "as_of", "deal_key"], ignore_index=True)
        decile = ordered.index.to_numpy() * DECILES // len(ordered) + 1
        for number, deals_of_decile in ordered.groupby(decile, sort=True):
            yield {
                "as_of": as_of,
                "segment_type": "total",
                "segment": "all",
                "horizon": horizon,
                "decile": int(number),
                **_compared(deals_of_decile),
                "currency": currency,
            }


def _with_outcomes(scores: pd.DataFrame, booked: pd.DataFrame, quarters: FiscalQuarters) -> pd.DataFrame:
    days = {stamp: stamp.date() for stamp in scores["as_of"].unique()}
    quarter = {stamp: quarters[quarters.position_of(day)] for stamp, day in days.items()}
    horizon = {stamp: horizon_of(0, (quarter[stamp].ends_on - day).days) for stamp, day in days.items()}
    # The last bits of a chance depend on the order of a sum; deals of one cell must not be parted by them.
    deals = scores[["as_of", "deal_key"]].assign(
        p_win_this_quarter=scores["p_win_this_quarter"].round(CHANCE_DIGITS),
        expected_this_quarter=scores["expected_this_quarter"].astype(float).round(MONEY_DIGITS),
        horizon=scores["as_of"].map(horizon),
        quarter_number=scores["as_of"].map({stamp: found.number for stamp, found in quarter.items()}),
    )
    outcomes = booked.assign(is_won=True)
    deals = deals.merge(outcomes, how="left", on=["quarter_number", "deal_key"])
    deals["is_won"] = deals["is_won"].notna()
    return deals


def _compared(deals: pd.DataFrame) -> dict[str, Any]:
    chance = deals["p_win_this_quarter"].to_numpy()
    return {
        "origins": deals["as_of"].nunique(),
        "first_origin": deals["as_of"].min(),
        "last_origin": deals["as_of"].max(),
        "deals": len(deals),
        "p_from": float(chance.min()),
        "p_to": float(chance.max()),
        "predicted_wins": float(chance.sum()),
        "actual_wins": int(deals["is_won"].sum()),
        "predicted_amount": float(np.nansum(deals["expected_this_quarter"].to_numpy(dtype=float))),
        "actual_amount": float(np.nansum(deals["thousandths"].to_numpy(dtype=float))) / THOUSANDTHS,
    }
