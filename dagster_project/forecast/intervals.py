"""Ranges: the wider of what chance alone does to so many deals and of what such forecasts have erred.

What is still to come, R, is bookings that come one by one: their sum varies by R × lumpiness (the variance of
a compound Poisson sum; a deal that is won with probability p and brings a has p(1 - p)a², which is less). On
top of it forecasts err by a share of R. The share is taken such that eight in ten ranges of completed origins
would have held; origins of neighbouring horizons count too, with less weight, and newer quarters count more.
Source of the quantile rule: split conformal prediction (Lei et al., JASA 2018) with weights (Barber et al.,
Conformal prediction beyond exchangeability, Annals of Statistics 2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

Array = np.ndarray

TAIL_ONE_IN = 10
"""One outcome in ten below the range and one in ten above it: an 80 % range."""

HELD = 1 - 2 / TAIL_ONE_IN
REACH = NormalDist().inv_cdf(0.5 + HELD / 2)
"""An 80 % range reaches 1.28 standard deviations to either side."""

PRIOR_ERROR = 0.15
PRIOR_QUARTERS = 2.0
"""Before any evidence forecasts are taken to err by 15 % of what is to come; this counts as two quarters."""

CALIBRATED_ORIGINS = 20
CALIBRATED_QUARTERS = 4
UNKNOWN_LOW = -0.6
UNKNOWN_HIGH = 1.2
"""Without any evidence what is to come may be 40 % to 220 % of what is expected."""

CALIBRATED = "calibrated"
NOT_CALIBRATED = "not calibrated"

_PRIOR_PLACES = 20
_PRIOR = np.array(
    [
        (NormalDist().inv_cdf(0.5 + (place + 0.5) / (2 * _PRIOR_PLACES)) / REACH) ** 2
        for place in range(_PRIOR_PLACES)
    ]
)


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


def needed_share(error: Array, scale: Array, lumpiness: Array) -> Array:
    """The square of the least share with which a range around each forecast would have held.

    A range holds when |error| ≤ 1.28 × √(scale × lumpiness + share² × scale²); 0 where chance alone suffices.
    """
    return np.maximum(0.0, ((error / REACH) ** 2 - scale * lumpiness) / scale**2)


def share_held(needed: Array, weight: Array) -> float:
    """The squared share with which eight in ten of past ranges, by weight, would have held.

    `needed`: needed_share of completed origins, `weight`: theirs, 1 for a whole quarter. A normal law with
    `PRIOR_ERROR` stands beside them with the weight of `PRIOR_QUARTERS`.
    """
    values = np.concatenate([needed, _PRIOR * PRIOR_ERROR**2])
    weights = np.concatenate([weight, np.full(_PRIOR_PLACES, PRIOR_QUARTERS / _PRIOR_PLACES)])
    order = np.argsort(values, kind="stable")
    middle = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(HELD, middle / weights.sum(), values[order]))


def range_of(
    already_won: float,
    expected: float,
    typical_booking: float,
    lumpiness: float,
    share_squared: float,
    origins: int,
    quarters: int,
) -> Range:
    """The 80 % range of a quarter's bookings around what is won and expected.

    `origins`, `quarters`: completed origins behind `share_squared`, and how many different quarters they come
    from; origins of one quarter share one outcome. With fewer than 20 of 4 quarters the range is widened
    towards what no evidence would say, and the status says so.
    """
    scale = float(error_scale(expected, typical_booking))
    half = REACH * (scale * lumpiness + share_squared * scale**2) ** 0.5
    missing = max(0.0, 1 - origins / CALIBRATED_ORIGINS, 1 - quarters / CALIBRATED_QUARTERS)
    low, high = min(-half, missing * UNKNOWN_LOW * scale), max(half, missing * UNKNOWN_HIGH * scale)
    return Range(
        p10=already_won + max(0.0, expected + low),
        p50=already_won + expected,
        p90=already_won + expected + high,
        status=NOT_CALIBRATED if missing > 0 else CALIBRATED,
    )
