"""Ranges around segments, from how far earlier forecasts of segments like them were off.

A segment's error is measured against a scale that grows as chance does: variance = expected × lumpiness (as
of a compound Poisson sum) + (a quarter of what is expected)². Errors on that scale are alike for segments
of one type and size, so a segment takes the quantiles of all of its kind (split conformal prediction,
normalised; Lei et al., JASA 2018), or its own where it has 30 wins in the year and enough completed origins.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from dagster_project.forecast.intervals import (
    CALIBRATED,
    CALIBRATED_ORIGINS,
    CALIBRATED_QUARTERS,
    NOT_CALIBRATED,
    TAIL_ONE_IN,
    UNKNOWN_HIGH,
    UNKNOWN_LOW,
)

Array = np.ndarray

OWN_WINS = 30
RELATIVE_ERROR = 0.25
NORMAL_TAIL = 1.2816
"""Nine in ten normal outcomes lie above minus this many standard deviations."""
SMALLEST_SCALE = 0.01
"""Against nothing expected, an error is measured as if a hundredth of a booking were."""
SIZE_CLASSES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Limits of what is expected, in average bookings: errors of small sums are skewed, of large ones not."""


@dataclass(frozen=True)
class Forecasted:
    """What was forecast for segments, one per place of the arrays.

    kind: number of the segment type and quarter offset; segment: number of the kind's segment; wins:
    bookings of the year before; expected: thousandths still to come; mean, lumpiness: of the bookings of
    that year.
    """

    kind: Array
    segment: Array
    wins: Array
    expected: Array
    mean: Array
    lumpiness: Array

    @property
    def size(self) -> Array:
        """Number of the size class of what is expected, in average bookings, within the kind."""
        return self.kind * SIZES + np.searchsorted(SIZE_CLASSES, self.expected / self.mean, side="right")

    @property
    def scale(self) -> Array:
        """Standard deviation of what is still to come: chance, and a share that errs by a quarter."""
        floored = np.maximum(self.expected, SMALLEST_SCALE * self.lumpiness)
        return np.sqrt(floored * self.lumpiness + (RELATIVE_ERROR * self.expected) ** 2)


SIZES = len(SIZE_CLASSES) + 1


@dataclass(frozen=True)
class Scores:
    """Completed forecasts, ordered by the day on which their outcomes became final.

    quarter: position of the forecast quarter, home: of the origin's; origin, known: ordinals of days; actual:
    thousandths that came after the origin.
    """

    made: Forecasted
    quarter: Array
    home: Array
    origin: Array
    known: Array
    actual: Array

    @property
    def score(self) -> Array:
        """Errors on the scale of what was forecast."""
        return (self.actual - self.made.expected) / self.made.scale

    def take(self, places: Array | slice) -> Scores:
        """Those at `places`."""
        made = Forecasted(*(getattr(self.made, field.name)[places] for field in fields(Forecasted)))
        rest = (getattr(self, field.name)[places] for field in fields(Scores)[1:])
        return Scores(made, *rest)

    def in_order(self) -> Scores:
        """Ordered by the day on which the outcome was final."""
        return self.take(np.argsort(self.known, kind="stable"))

    def known_by(self, day: int) -> Scores:
        """Those whose outcome was final at the end of the day with that ordinal."""
        return self.take(slice(0, int(np.searchsorted(self.known, day, side="right"))))


@dataclass(frozen=True)
class Quantiles:
    """Quantiles of errors by group: arrays by the group's number, with what stands behind them."""

    low: Array
    middle: Array
    high: Array
    scores: Array
    origins: Array
    quarters: Array

    @property
    def missing(self) -> Array:
        """How much of the evidence of a calibrated range is missing, 0 to 1."""
        scores, quarters = self.scores / CALIBRATED_ORIGINS, self.quarters / CALIBRATED_QUARTERS
        return np.maximum(0.0, 1 - np.minimum(scores, quarters))

    def at(self, groups: Array) -> Quantiles:
        """The quantiles of each of `groups`; nothing behind them for groups without any."""
        inside = groups < len(self.scores)
        place = np.where(inside, groups, 0)
        values = (getattr(self, field.name) for field in fields(Quantiles))
        return Quantiles(
            *(np.where(inside, value[place], 0) if len(value) else inside * 0 for value in values)
        )


def quantiles_of(scores: Scores, group: Array, is_one_segment: bool = False) -> Quantiles:
    """Quantiles by group; the k-th of n from either end, k = (n + 1) / 10, widened for few outcomes.

    `is_one_segment`: the origins of a quarter share one outcome, so its ranks are those of as many errors as
    there are quarters: below nine quarters the range reaches from the lowest to the highest.
    """
    groups = int(group.max()) + 1 if len(group) else 0
    value = scores.score
    order = np.lexsort((value, group))
    value = value[order]
    n = np.bincount(group, minlength=groups)
    first = np.concatenate([[0], np.cumsum(n)[:-1]]).astype(np.int64) if groups else n
    last = len(value) - 1
    quarters = _distinct(group, scores.quarter, groups)
    below = (n + 1) // TAIL_ONE_IN
    if is_one_segment:
        below = np.where(quarters + 1 < TAIL_ONE_IN, 0, below)
    # Errors of one segment in one quarter are one error; different segments err for the most part apart.
    last_quarter = int(scores.quarter.max(initial=0))
    outcomes = _distinct(group, scores.made.segment * (last_quarter + 1) + scores.quarter, groups)
    few_outcomes = 1 + 1 / np.maximum(outcomes, 1)

    def ranked(rank: Array) -> Array:
        return np.where(n > 0, value[np.clip(first + rank, 0, last)], 0.0) if groups else n

    return Quantiles(
        low=ranked(np.maximum(0, below - 1)) * few_outcomes,
        middle=(ranked((n - 1) // 2) + ranked(n // 2)) / 2,
        high=ranked(np.minimum(n - 1, n - below)) * few_outcomes,
        scores=n,
        origins=_distinct(group, scores.origin, groups),
        quarters=quarters,
    )


def _distinct(group: Array, values: Array, groups: int) -> Array:
    """How many different values each group has."""
    if not len(group):
        return np.zeros(groups, dtype=np.int64)
    pairs = np.unique(group * (int(values.max()) + 1) + values)
    return np.bincount(pairs // (int(values.max()) + 1), minlength=groups)


@dataclass(frozen=True)
class SegmentRanges:
    """p10, p50, p90 of what is still to come (thousandths); whether calibrated; origins behind each."""

    p10: Array
    p50: Array
    p90: Array
    is_calibrated: Array
    origins: Array

    @property
    def status(self) -> Array:
        """As for the whole."""
        return np.where(self.is_calibrated, CALIBRATED, NOT_CALIBRATED)


def segment_ranges(forecasts: Forecasted, known: Scores) -> SegmentRanges:
    """Ranges of `forecasts` from completed ones.

    With too little evidence the range is the wider of what the errors say and what no evidence would say, the
    latter fading as evidence grows.
    """
    pooled = quantiles_of(known, known.made.size).at(forecasts.size)
    own = quantiles_of(known, known.made.segment, is_one_segment=True).at(forecasts.segment)
    is_own = (own.origins >= CALIBRATED_ORIGINS) & (own.missing <= 0) & (forecasts.wins >= OWN_WINS)
    chosen = Quantiles(
        *(
            np.where(is_own, getattr(own, field.name), getattr(pooled, field.name))
            for field in fields(Quantiles)
        )
    )
    expected, scale, missing = forecasts.expected, forecasts.scale, chosen.missing
    chance = NORMAL_TAIL * np.sqrt(expected * forecasts.lumpiness)
    low = np.minimum(chosen.low * scale, -missing * np.hypot(UNKNOWN_LOW * expected, chance))
    high = np.maximum(chosen.high * scale, missing * np.hypot(UNKNOWN_HIGH * expected, chance))
    # The point forecast lies inside its own range, also when past forecasts all erred to one side.
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    middle = np.clip(chosen.middle * scale, low, high)
    p10, p50, p90 = (
        np.rint(np.maximum(0.0, expected + error)).astype(np.int64) for error in (low, middle, high)
    )
    return SegmentRanges(p10, p50, p90, missing <= 0, chosen.origins.astype(np.int64))


@dataclass(frozen=True)
class Held:
    """Calibrated ranges of completed forecasts: size class, day on which the outcome was final, and whether
    it held."""

    size: Array
    known: Array
    held: Array

    def by(self, day: int, sizes: Array) -> tuple[Array, Array]:
        """For each size class the share that held of those final by `day` (nan without any), and their
        number."""
        done = self.known <= day
        groups = int(max(self.size.max(initial=0), sizes.max(initial=0))) + 1
        count = np.bincount(self.size[done], minlength=groups)
        held = np.bincount(self.size[done], weights=self.held[done].astype(float), minlength=groups)
        share = np.where(count > 0, held / np.maximum(count, 1), np.nan)
        return share[sizes], count[sizes]


def held_of(scores: Scores) -> Held:
    """Whether the calibrated ranges of completed forecasts held, each made from what was known at its
    origin."""
    size, known, held = [], [], []
    for origin in np.unique(scores.origin):
        then = scores.known_by(int(origin))
        at_origin = scores.take(np.flatnonzero(scores.origin == origin))
        made = segment_ranges(at_origin.made, then)
        counted = made.is_calibrated
        size.append(at_origin.made.size[counted])
        known.append(at_origin.known[counted])
        held.append(((made.p10 <= at_origin.actual) & (at_origin.actual <= made.p90))[counted])
    if not size:
        empty = np.empty(0, dtype=np.int64)
        return Held(empty, empty, empty.astype(bool))
    return Held(np.concatenate(size), np.concatenate(known), np.concatenate(held))
