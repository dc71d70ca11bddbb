"""Ranges around segments, from how far earlier forecasts of segments like them were off.

A segment's error is measured against a scale that grows as chance does: variance = expected × lumpiness (as of a
compound Poisson sum) + (a quarter of what is expected)². Errors on that scale are alike for segments of one type
and size, so a segment takes the quantiles of all of its kind (split conformal prediction, normalised; Lei et al.,
JASA 2018), or its own where it has 30 wins in the year and enough completed origins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from dagster_project.forecast.intervals import (
    CALIBRATED,
    CALIBRATED_ORIGINS,
    CALIBRATED_QUARTERS,
    NOT_CALIBRATED,
    TAIL_ONE_IN,
    UNKNOWN_HIGH,
    UNKNOWN_LOW,
)
from dagster_project.forecast.segments import DayMoney

Array = np.ndarray

OWN_WINS = 30
RELATIVE_ERROR = 0.25
NORMAL_TAIL = 1.2816
"""Nine in ten normal outcomes lie above minus this many standard deviations."""
SMALLEST_SCALE = 0.01
"""Against nothing expected, an error is measured as if a hundredth of a booking were."""
SIZE_CLASSES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Limits of what is expected, in average bookings: errors of small sums are skewed, those of large ones not."""


@dataclass(frozen=True)
class Scores:
    """Completed forecasts of segments, one per row, by the day on which their outcomes became final.

    type, offset, segment, size: what was forecast (codes); wins: of the year before the origin; quarter: position
    of the quarter; origin, known: day ordinals; expected, scale, actual: thousandths still to come then.
    """

    rows: pd.DataFrame

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Scores:
        """Rows with type, offset, segment, wins, quarter, origin, known, expected, mean, lumpiness, actual."""
        rows = rows.assign(
            size=size_class(rows["expected"].to_numpy(dtype=float), rows["mean"].to_numpy(dtype=float)),
            scale=error_scale(
                rows["expected"].to_numpy(dtype=float), rows["lumpiness"].to_numpy(dtype=float)
            ),
        )
        rows["score"] = (rows["actual"] - rows["expected"]) / rows["scale"]
        return cls(rows.sort_values(["known", "type", "offset", "segment", "origin"], ignore_index=True))

    def within(self, first_quarter: int) -> Scores:
        """Those of origins in the quarter at position `first_quarter` or later."""
        return Scores(self.rows[self.rows["home"] >= first_quarter].reset_index(drop=True))

    def known_by(self, day: date) -> pd.DataFrame:
        """Those whose outcome was final at the end of `day`."""
        return self.rows.iloc[: np.searchsorted(self.rows["known"].to_numpy(), day.toordinal(), side="right")]


def size_class(expected: Array, mean: Array | float) -> Array:
    """Number of the size class of what is expected, in average bookings."""
    return np.searchsorted(SIZE_CLASSES, expected / mean, side="right")


def error_scale(expected: Array, lumpiness: Array | float) -> Array:
    """Standard deviation of what is still to come, if a sum of bookings by chance and a share erred by a quarter."""
    floored = np.maximum(expected, SMALLEST_SCALE * lumpiness)
    return np.sqrt(floored * lumpiness + (RELATIVE_ERROR * expected) ** 2)


@dataclass(frozen=True)
class Shape:
    """Quantiles of errors by kind: for segments of a type, quarter and size, and for each with enough of its own.

    pooled: index (type, offset, size); own: index (type, offset, segment). Columns low, middle, high (on the
    scale), scores, origins, quarters.
    """

    pooled: pd.DataFrame
    own: pd.DataFrame


def shape_of(known: pd.DataFrame) -> Shape:
    """Quantiles of completed forecasts (rows of `Scores`)."""
    own = _quantiles(known, ["type", "offset", "segment"])
    enough = (own["origins"] >= CALIBRATED_ORIGINS) & (own["quarters"] >= CALIBRATED_QUARTERS)
    return Shape(_quantiles(known, ["type", "offset", "size"]), own[enough])


def _quantiles(known: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Ranks as in `conformal_range`, which takes the errors of the whole."""
    ordered = known.sort_values([*key, "score"], ignore_index=True)
    groups = ordered.groupby(key, sort=True)
    found = groups.agg(
        scores=("score", "size"), origins=("origin", "nunique"), quarters=("quarter", "nunique")
    )
    score = ordered["score"].to_numpy()
    n = found["scores"].to_numpy(dtype=np.int64)
    first = np.concatenate([[0], np.cumsum(n)[:-1]]).astype(np.int64)
    below = (n + 1) // TAIL_ONE_IN
    few_quarters = 1 + 1 / found["quarters"].to_numpy(dtype=float)
    found["low"] = score[first + np.maximum(0, below - 1)] * few_quarters
    found["high"] = score[first + np.minimum(n - 1, n - below)] * few_quarters
    found["middle"] = (score[first + (n - 1) // 2] + score[first + n // 2]) / 2
    return found


def ranges(segments: pd.DataFrame, shape: Shape) -> pd.DataFrame:
    """p10, p50, p90 of what is still to come (thousandths), for rows with type, offset, segment, wins, expected, mean
    and lumpiness.

    Also `size`, `status` (as for the whole) and `origins` behind the range. With too little evidence the range is
    the wider of what the errors say and what no evidence would say, the latter fading as evidence grows.
    """
    expected = segments["expected"].to_numpy(dtype=float)
    lumpiness = segments["lumpiness"].to_numpy(dtype=float)
    size = size_class(expected, segments["mean"].to_numpy(dtype=float))
    scale = error_scale(expected, lumpiness)
    columns = ["low", "middle", "high", "scores", "origins", "quarters"]
    kinds = segments.assign(size=size)
    pooled = _looked_up(shape.pooled, kinds, ["type", "offset", "size"], columns)
    own = _looked_up(shape.own, kinds, ["type", "offset", "segment"], columns)
    is_own = own["scores"].notna().to_numpy() & (segments["wins"].to_numpy() >= OWN_WINS)
    chosen = own.where(pd.Series(is_own, index=own.index), pooled).fillna(0.0)
    missing = np.maximum.reduce(
        [
            np.zeros(len(segments)),
            1 - chosen["scores"].to_numpy() / CALIBRATED_ORIGINS,
            1 - chosen["quarters"].to_numpy() / CALIBRATED_QUARTERS,
        ]
    )
    chance = NORMAL_TAIL * np.sqrt(expected * lumpiness)
    low = np.minimum(chosen["low"].to_numpy() * scale, -missing * np.hypot(UNKNOWN_LOW * expected, chance))
    high = np.maximum(chosen["high"].to_numpy() * scale, missing * np.hypot(UNKNOWN_HIGH * expected, chance))
    # The point forecast lies inside its own range, also when past forecasts all erred to one side.
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    middle = np.clip(chosen["middle"].to_numpy() * scale, low, high)
    return pd.DataFrame(
        {
            **{
                name: np.rint(np.maximum(0.0, expected + error)).astype(np.int64)
                for name, error in (("p10", low), ("p50", middle), ("p90", high))
            },
            "size": size,
            "status": np.where(missing > 0, NOT_CALIBRATED, CALIBRATED),
            "origins": chosen["origins"].to_numpy().astype(np.int64),
        },
        index=segments.index,
    )


def _looked_up(
    table: pd.DataFrame, rows: pd.DataFrame, key: list[str], columns: Sequence[str]
) -> pd.DataFrame:
    return rows[key].merge(table[list(columns)].reset_index(), on=key, how="left")[list(columns)]


def held_of(scores: Scores) -> pd.DataFrame:
    """Whether the calibrated ranges of completed forecasts held, each made from what was known at its origin.

    Columns: type, offset, size, known, held.
    """
    parts = list(_held_by_origin(scores))
    if not parts:
        return pd.DataFrame(columns=["type", "offset", "size", "known", "held"])
    return pd.concat(parts, ignore_index=True)


def _held_by_origin(scores: Scores) -> Iterator[pd.DataFrame]:
    for origin, rows in scores.rows.groupby("origin", sort=True):
        known = scores.known_by(date.fromordinal(int(origin)))
        if known.empty:
            continue
        made = ranges(rows, shape_of(known))
        held = rows.assign(
            held=(made["p10"] <= rows["actual"]) & (rows["actual"] <= made["p90"]),
            size=made["size"],
        )
        yield held.loc[made["status"] == CALIBRATED, ["type", "offset", "size", "known", "held"]]


def money_or(money: DayMoney | None, typical_booking: float) -> DayMoney:
    """Last year's bookings, else one typical booking, else one unit of the currency."""
    return money or DayMoney(max(typical_booking, 1.0), max(typical_booking, 1.0))
