"""How far live forecasts were off: as published on their day, against what was then booked.

Kept apart from the backtest, which replays the same days with today's methods and today's ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pandas as pd

from dagster_project.forecast.accuracy import SERVED, errors_of
from dagster_project.forecast.situations import horizon_of


def live_accuracy_rows(forecasts: pd.DataFrame, as_of: date) -> Iterator[dict[str, Any]]:
    """One row per segment, horizon and method, and one per segment and horizon for all that was served.

    `forecasts`: review_queries.live_forecasts. WAPE = Σ|forecast - actual| / Σ|actual|, bias =
    Σ(forecast - actual) / Σ|actual|; coverage counts calibrated ranges alone.
    """
    if forecasts.empty:
        return
    days_left = (forecasts["period_end"] - forecasts["as_of"]).dt.days
    told = forecasts.assign(
        horizon=[
            horizon_of(int(offset), int(days))
            for offset, days in zip(forecasts["quarter_offset"], days_left, strict=True)
        ]
    )
    both = pd.concat([told.assign(method=SERVED), told], ignore_index=True)
    for (kind, segment, horizon, method), rows in both.groupby(
        ["segment_type", "segment", "horizon", "method"], sort=True
    ):
        yield {
            "as_of": as_of,
            "segment_type": kind,
            "segment": segment,
            "horizon": horizon,
            "method": method,
            "forecasts": len(rows),
            "quarters": rows["period"].nunique(),
            "first_as_of": rows["as_of"].min(),
            "last_as_of": rows["as_of"].max(),
            **errors_of(rows),
        }
