"""The history played again in order: what was chosen, combined and served at each origin, by what was known.

A lane is a row of forecasts, one per origin: a method's, the chosen baseline's, the combination's, what was
served. Lanes of origins whose outcome is final are the evidence for everything later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dagster_project.forecast.baselines import BASELINES, RUN_RATE, Remaining
from dagster_project.forecast.challenge import (
    BLEND,
    Record,
    challenge,
    is_drifting,
    mean_of,
    while_drifting,
)
from dagster_project.forecast.combination import (
    BEST_BASELINE,
    COMBINATION,
    MEMBERS,
    combined,
    member_weights,
    relative_error,
)
from dagster_project.forecast.gate import CHOSEN, Choice, Maturity, choose
from dagster_project.forecast.intervals import (
    CALIBRATED_ORIGINS,
    CALIBRATED_QUARTERS,
    Range,
    error_scale,
    needed_share,
    range_of,
    share_held,
)
from dagster_project.forecast.pooling import Pool, pool_of
from dagster_project.forecast.situations import HORIZON_ORDER, MODELS, Origin, Outlook

Array = np.ndarray

SERVED = "served"
LANES = (*BASELINES, *MODELS, BEST_BASELINE, COMBINATION, BLEND, SERVED)


@dataclass(frozen=True)
class Answered:
    """What one day says: the outlook with the combination and the mean, the baseline, and the choice."""

    seen: Outlook
    baseline: Choice
    choice: Choice

    @property
    def lanes(self) -> dict[str, Remaining]:
        """Lane → what was still expected there; a lane without an answer is absent."""
        found = dict(self.seen.remaining)
        if self.baseline.method in found:
            found[BEST_BASELINE] = found[self.baseline.method]
        if self.choice.method in found:
            found[SERVED] = found[self.choice.method]
        return found


class Replay:
    """The lanes of all origins, filled in the order of their days by `answer` and `note`.

    An origin's outcome is final after its day, so the lanes of completed origins are always filled.
    """

    def __init__(self, origins: Sequence[Origin]) -> None:
        seen = [origin.outlook for origin in origins]
        self._known = np.array([origin.known_on.toordinal() for origin in origins], dtype=np.int64)
        self._quarter = np.array([one.quarter_position for one in seen], dtype=np.int64)
        self._step = np.array([HORIZON_ORDER.index(one.horizon) for one in seen], dtype=np.int64)
        self._actual = np.array([origin.actual for origin in origins], dtype=float)
        self._already = np.array([one.already_won for one in seen], dtype=float)
        self._typical = np.array([one.typical_booking for one in seen], dtype=float)
        self._lumpiness = np.array([one.lumpiness for one in seen], dtype=float)
        cells, place, size = np.unique(
            self._quarter * len(HORIZON_ORDER) + self._step, return_inverse=True, return_counts=True
        )
        self._share = 1 / size[place] if len(cells) else np.empty(0)
        self._judged = np.zeros(len(origins), dtype=bool)
        self._scale = np.ones(len(origins))
        self._expected = {lane: np.full(len(origins), np.nan) for lane in LANES}
        self._loss = {lane: np.full(len(origins), np.nan) for lane in (BEST_BASELINE, COMBINATION)}
        self._pools: dict[tuple[int, int], Pool] = {}
        self._shares: dict[tuple[int, int, str], tuple[float, int, int]] = {}

    def answer(self, seen: Outlook, maturity: Maturity) -> Answered:
        """The baseline, the combination where a model has an answer, and what of them is served."""
        baseline = self._baseline(seen, maturity)
        best = seen.remaining.get(baseline.method)
        if best is None or not any(model in seen.remaining for model in MODELS):
            return Answered(seen, baseline, baseline)
        drift = maturity.wins_against_expected
        is_off = is_drifting(drift)
        members = {
            member: best if member == BEST_BASELINE else seen.remaining[member]
            for member in MEMBERS
            if member == BEST_BASELINE or (member in seen.remaining and not (is_off and member in MODELS))
        }
        combination = combined(members, self._weights(seen, tuple(members)))
        more = {COMBINATION: combination, BLEND: mean_of(combination, best)}
        seen = replace(seen, remaining={**seen.remaining, **more})
        if baseline.status == CHOSEN and drift is not None and is_off and RUN_RATE in seen.remaining:
            return Answered(seen, baseline, while_drifting(baseline, drift))
        return Answered(seen, baseline, challenge(baseline, self._record(seen)))

    def note(self, place: int, answered: Answered) -> None:
        """Enter what origin number `place` said; its ranges are made from what was known there."""
        seen = answered.seen
        lanes = answered.lanes
        for lane, answer in lanes.items():
            if lane in self._expected:
                self._expected[lane][place] = answer.total
        members = [lanes[member].total for member in MEMBERS if member in lanes]
        middle = float(np.median(members)) if members else 0.0
        self._scale[place] = seen.already_won + float(error_scale(middle, seen.typical_booking))
        self._judged[place] = answered.baseline.status == CHOSEN
        for lane, losses in self._loss.items():
            if lane in lanes:
                losses[place] = self._bare_range(seen, lanes[lane].total, lane).loss(self._actual[place])

    def range_for(self, seen: Outlook, method: str, lane: str) -> tuple[Range, int]:
        """The range around one method's answer by the errors of a lane, and the origins behind it."""
        expected = seen.remaining[method].total if method in seen.remaining else 0.0
        return self._range(seen, expected, lane)

    def range_of_served(self, answered: Answered) -> tuple[Range, int]:
        """The range around what is served, by what has been served before."""
        return self.range_for(answered.seen, answered.choice.method, SERVED)

    def _completed(self, seen: Outlook) -> Array:
        return self._known <= seen.day.toordinal()

    def _pool(self, seen: Outlook) -> tuple[Pool, tuple[int, int]]:
        completed = self._completed(seen)
        key = (int(completed.sum()), HORIZON_ORDER.index(seen.horizon))
        if key not in self._pools:
            self._pools[key] = pool_of(completed, key[1], self._step, self._quarter, self._share)
        return self._pools[key], key

    def _baseline(self, seen: Outlook, maturity: Maturity) -> Choice:
        """By the completed origins of the same horizon alone: the comparison is a plain one."""
        own = np.flatnonzero(self._completed(seen) & (self._step == HORIZON_ORDER.index(seen.horizon)))
        completed = {method: self._already[own] + self._expected[method][own] for method in BASELINES}
        available = [method for method in seen.remaining if method in BASELINES]
        return choose(completed, self._actual[own], available, maturity)

    def _weights(self, seen: Outlook, available: Sequence[str]) -> dict[str, float]:
        pool, _ = self._pool(seen)
        return member_weights(
            {member: self._error(member, pool.places) for member in MEMBERS}, pool, available
        )

    def _error(self, lane: str, places: Array) -> Array:
        forecast = self._already[places] + self._expected[lane][places]
        return relative_error(forecast, self._actual[places], self._scale[places])

    def _record(self, seen: Outlook) -> Record:
        pool, _ = self._pool(seen)
        own, other = self._error(COMBINATION, pool.places), self._error(BEST_BASELINE, pool.places)
        both = np.isfinite(own) & np.isfinite(other)
        pool, own, other = pool.of(both), own[both], other[both]
        places = pool.places
        return Record(
            own=own,
            other=other,
            own_loss=self._loss[COMBINATION][places] / self._scale[places],
            other_loss=self._loss[BEST_BASELINE][places] / self._scale[places],
            weight=pool.even(own + other),
            quarters=pool.quarters,
            actual=self._actual[places],
            own_error=self._off(COMBINATION, places),
            blend_error=self._off(BLEND, places),
        )

    def _off(self, lane: str, places: Array) -> Array:
        return np.abs(self._already[places] + self._expected[lane][places] - self._actual[places])

    def _bare_range(self, seen: Outlook, expected: float, lane: str) -> Range:
        """Without the widening for want of evidence, which would make all methods look alike."""
        share, _, _ = self._share_of(seen, lane)
        return range_of(
            seen.already_won,
            expected,
            seen.typical_booking,
            seen.lumpiness,
            share,
            CALIBRATED_ORIGINS,
            CALIBRATED_QUARTERS,
        )

    def _range(self, seen: Outlook, expected: float, lane: str) -> tuple[Range, int]:
        share, origins, quarters = self._share_of(seen, lane)
        spread = range_of(
            seen.already_won, expected, seen.typical_booking, seen.lumpiness, share, origins, quarters
        )
        return spread, origins

    def _share_of(self, seen: Outlook, lane: str) -> tuple[float, int, int]:
        pool, key = self._pool(seen)
        if (*key, lane) not in self._shares:
            pool = pool.of(np.isfinite(self._expected[lane][pool.places]) & self._judged[pool.places])
            places = pool.places
            expected = self._expected[lane][places]
            scale = error_scale(expected, self._typical[places])
            error = self._actual[places] - self._already[places] - expected
            needed = needed_share(error, scale, self._lumpiness[places])
            self._shares[*key, lane] = (share_held(needed, pool.weight), len(places), pool.quarters)
        return self._shares[*key, lane]
