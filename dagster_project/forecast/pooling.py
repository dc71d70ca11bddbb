"""What completed origins tell about a forecast of today: neighbouring horizons and newer quarters count most.

Origins of one quarter and horizon share one outcome, so together they count as one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

NEIGHBOUR = 0.5
"""An origin one step of `HORIZON_ORDER` away counts half, two steps a quarter; beyond that nothing."""

REACH_STEPS = 2
FORGET = 0.85
"""A quarter older than the newest completed one counts 0.85 times as much: after a year about half."""


@dataclass(frozen=True)
class Pool:
    """Completed origins that tell about one horizon.

    places: their numbers; weight: 1 = a whole quarter; quarter, step, share: as given to `pool_of`.
    """

    places: Array
    weight: Array
    quarter: Array
    step: Array
    share: Array

    def of(self, chosen: Array) -> Pool:
        """The part of the pool where `chosen` (aligned with `places`) holds."""
        return Pool(*(values[chosen] for values in vars(self).values()))

    @property
    def quarters(self) -> int:
        """Different quarters in the pool."""
        return len(np.unique(self.quarter))

    def even(self, size: Array) -> Array:
        """Weights divided by the mean `size` (of errors) of each horizon: far horizons err more."""
        divided = self.weight.copy()
        for step in np.unique(self.step):
            here = self.step == step
            mean = float((size[here] * self.share[here]).sum() / self.share[here].sum())
            divided[here] /= max(mean, 1e-9)
        return divided


def pool_of(completed: Array, horizon_step: int, step: Array, quarter: Array, share: Array) -> Pool:
    """The completed origins near one horizon.

    completed: which origins have a final outcome; step: place of each origin's horizon in `HORIZON_ORDER`;
    quarter: its target quarter; share: 1 / number of origins of that quarter and horizon.
    """
    away = np.abs(step - horizon_step)
    places = np.flatnonzero(completed & (away <= REACH_STEPS))
    if not len(places):
        return Pool(places, np.empty(0), places, places, np.empty(0))
    age = (quarter[completed].max() - quarter[places]).astype(float)
    weight = share[places] * NEIGHBOUR ** away[places].astype(float) * FORGET**age
    return Pool(places, weight, quarter[places], step[places], share[places])
