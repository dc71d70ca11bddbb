"""Ranges around a forecast from the errors that such forecasts have made: split conformal prediction.

An error is measured on what was still to come, relative to what was expected to come (at least one typical
booking, so that the last days of a quarter have a scale). What is already won bounds the range from below.
Source of the quantile rule: Vovk, Gammerman, Shafer, Algorithmic Learning in a Random World, 2005;
Lei et al., Distribution-Free Predictive Inference for Regression, JASA 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

TAIL_ONE_IN = 10
"""One outcome in ten below the range and one in ten above it: an 80 % range."""

CALIBRATED_ORIGINS = 20
CALIBRATED_QUARTERS = 4
UNKNOWN_LOW = -0.6
UNKNOWN_HIGH = 1.2
"""Without any evidence what is to come may be 40 % to 220 % of what is expected."""

CALIBRATED = "calibrated"
NOT_CALIBRATED = "not calibrated"


@dataclass(frozen=True)
class Range:
    """p10, p50, p90 of a quarter's bookings and whether enough completed origins stand behind them."""

    p10: float
    p50: float
    p90: float
    status: str

    def loss(self, actual: float) -> float:
        """Mean quantile loss of p10, p50 and p90."""
        return float(
            np.mean([quantile_loss(getattr(self, name), actual, level) for name, level in QUANTILES.items()])
        )


QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}


def quantile_loss(forecast: Array | float, actual: Array | float, level: float) -> Array:
    """Pinball loss of a quantile: falling short of the outcome costs `level`, exceeding it 1 - level."""
    short = np.asarray(actual, dtype=float) - forecast
    return np.maximum(level * short, (level - 1) * short)


def error_scale(expected: Array | float, typical_booking: Array | float) -> Array | float:
    """What an error is measured against: the expected remainder, at least one typical booking."""
    return np.maximum(np.maximum(expected, typical_booking), 1.0)


def conformal_range(
    errors: Array, quarters: int, already_won: float, expected: float, typical_booking: float
) -> Range:
    """The 80 % range and median of a quarter's bookings.

    `errors`: relative errors (actual - expected) / scale of completed origins. `quarters`: how many different
    quarters they come from; origins of one quarter share one outcome, so few quarters are little evidence
    however many origins there are. With too little of either the range is the wider of what the errors say
    and what no evidence would say, the latter fading as evidence grows, and the status says so.
    """
    scale = float(error_scale(expected, typical_booking))
    ordered = np.sort(errors)
    n = len(ordered)
    missing = max(0.0, 1 - n / CALIBRATED_ORIGINS, 1 - quarters / CALIBRATED_QUARTERS)
    # Whole numbers: a rank that is off by one for the sake of 0.1 in binary would move the range.
    below = (n + 1) // TAIL_ONE_IN
    low = float(ordered[max(0, below - 1)]) if n else 0.0
    high = float(ordered[min(n - 1, n - below)]) if n else 0.0
    middle = float(np.median(ordered)) if n else 0.0
    if quarters:
        # Close to Student's t (quarters - 1) over the normal, at 90 %: 1.28 at 4 quarters, 1.06 at 12.
        few_quarters = 1 + 1 / quarters
        low, high = low * few_quarters, high * few_quarters
    if missing > 0:
        low = min(low, missing * UNKNOWN_LOW)
        high = max(high, missing * UNKNOWN_HIGH)
    # The point forecast lies inside its own range, also when past forecasts all erred to one side.
    low, high = min(low, 0.0), max(high, 0.0)

    def at(error: float) -> float:
        return already_won + max(0.0, expected + error * scale)

    return Range(at(low), at(middle), at(high), NOT_CALIBRATED if missing > 0 else CALIBRATED)
