"""Rolling-origin backtest: what each method would have said every week, and how wrong it would have been.

An origin sees only the ledger as of its day. Its outcome counts from the day the quarter's bookings are
final, so a forecast of day D learns from the origins whose outcome was final by D, and from no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property

import numpy as np

from dagster_project.forecast.baselines import BASELINES
from dagster_project.forecast.challenge import BLEND, Record, challenge, with_blend
from dagster_project.forecast.daily_book import DailyBook
from dagster_project.forecast.gate import Choice, Maturity, choose
from dagster_project.forecast.intervals import CALIBRATED, Range, conformal_range, error_scale
from dagster_project.forecast.situations import HAZARDS, HORIZONS, MODELS, Outlook, outlook

Array = np.ndarray


@dataclass(frozen=True)
class Origin:
    """One completed forecast: what was seen, what then was booked (thousandths), and when that was final."""

    outlook: Outlook
    actual: int
    known_on: date


@dataclass(frozen=True)
class Track:
    """The completed origins of one horizon, oldest first; their outcomes became final in the same order.

    baselines: the baseline that would have been chosen at each of them.
    """

    origins: tuple[Origin, ...]
    baselines: tuple[Choice, ...] = ()

    @cached_property
    def actual(self) -> Array:
        """What was booked, per origin."""
        return np.array([origin.actual for origin in self.origins], dtype=float)

    @cached_property
    def forecasts(self) -> dict[str, Array]:
        """Method → its forecast of the quarter's bookings per origin, nan where it had no evidence."""
        return {
            method: np.array([_forecast(origin.outlook, method) for origin in self.origins], dtype=float)
            for method in (*BASELINES, *MODELS, BLEND)
        }

    @cached_property
    def errors(self) -> dict[str, Array]:
        """Method → relative error of what was still to come, per origin."""
        already = np.array([origin.outlook.already_won for origin in self.origins], dtype=float)
        typical = np.array([origin.outlook.typical_booking for origin in self.origins], dtype=float)
        return {
            method: (self.actual - forecast) / error_scale(forecast - already, typical)
            for method, forecast in self.forecasts.items()
        }

    @cached_property
    def _quarters(self) -> Array:
        return np.array([origin.outlook.quarter_position for origin in self.origins], dtype=np.int64)

    @cached_property
    def _known_ordinals(self) -> Array:
        return np.array([origin.known_on.toordinal() for origin in self.origins], dtype=np.int64)

    def completed_by(self, day: date) -> int:
        """How many origins, from the oldest, have an outcome that is final on `day`."""
        return int(np.searchsorted(self._known_ordinals, day.toordinal(), side="right"))

    def choice_for(self, seen: Outlook, maturity: Maturity) -> Choice:
        """The baseline to serve for `seen`, by the origins completed on its day."""
        known = self.completed_by(seen.day)
        completed = {method: self.forecasts[method][:known] for method in BASELINES}
        available = [method for method in seen.remaining if method in BASELINES]
        return choose(completed, self.actual[:known], available, maturity)

    def challenged(self, seen: Outlook, baseline: Choice, maturity: Maturity) -> Choice:
        """The method to serve for `seen`: the baseline chosen for it, unless hazards have done better."""
        if HAZARDS not in seen.remaining:
            return baseline
        known = self.completed_by(seen.day)
        chosen, chosen_loss = self._best_baseline
        return challenge(
            baseline,
            Record(
                hazards=self.forecasts[HAZARDS][:known],
                baseline=chosen[:known],
                hazards_loss=self._hazards_loss[:known],
                baseline_loss=chosen_loss[:known],
                actual=self.actual[:known],
                quarter=self._quarters[:known],
            ),
            maturity.wins_against_expected,
        )

    @cached_property
    def _best_baseline(self) -> tuple[Array, Array]:
        """Forecast and quantile loss of the baseline chosen ex ante, per origin."""
        pairs = zip(self.origins, self.baselines, strict=True)
        methods = [(origin, choice.method) for origin, choice in pairs]
        forecasts = [_forecast(origin.outlook, method) for origin, method in methods]
        return np.array(forecasts, dtype=float), np.array(
            [self._loss(*pair) for pair in methods], dtype=float
        )

    @cached_property
    def _hazards_loss(self) -> Array:
        return np.array([self._loss(origin, HAZARDS) for origin in self.origins], dtype=float)

    def _loss(self, origin: Origin, method: str) -> float:
        """Quantile loss of a method's range at an origin, made from what was known there."""
        if method not in origin.outlook.remaining:
            return float("nan")
        return self.range_for(origin.outlook, method)[0].loss(origin.actual)

    def range_for(self, seen: Outlook, method: str) -> tuple[Range, int]:
        """The range around one method's answer, and the number of completed origins behind it."""
        expected = seen.remaining[method].total if method in seen.remaining else 0.0
        known = self.completed_by(seen.day)
        errors = self.errors.get(method, np.empty(0))[:known]
        made = np.isfinite(errors)
        quarters = len(np.unique(self._quarters[:known][made])) if known else 0
        spread = conformal_range(errors[made], quarters, seen.already_won, expected, seen.typical_booking)
        return spread, int(made.sum())


@dataclass(frozen=True)
class Served:
    """One forecast as it is, or would have been, published."""

    seen: Outlook
    choice: Choice
    range: Range
    evidence_origins: int


@dataclass(frozen=True)
class TrackRecord:
    """All completed origins by horizon, and the forecasts that would have been served at each of them."""

    tracks: dict[str, Track]
    served: dict[str, tuple[Served, ...]] = field(default_factory=dict)

    def serve(self, seen: Outlook, maturity: Maturity) -> Served:
        """The forecast to publish for `seen`."""
        track = self.tracks.get(seen.horizon, Track(()))
        baseline = track.choice_for(seen, maturity)
        seen = with_blend(seen, baseline)
        choice = track.challenged(seen, baseline, maturity)
        spread, origins = track.range_for(seen, choice.method)
        return Served(seen, choice, spread, origins)

    def coverage_by(self, day: date, horizon: str) -> tuple[float | None, int]:
        """Share of calibrated served ranges that held, over outcomes known by `day`; their number.

        Ranges that were widened for want of evidence hold too easily and would flatter the rest.
        """
        track = self.tracks.get(horizon)
        if track is None:
            return None, 0
        known = track.completed_by(day)
        held = [
            forecast.range.p10 <= origin.actual <= forecast.range.p90
            for forecast, origin in zip(self.served[horizon][:known], track.origins[:known], strict=True)
            if forecast.range.status == CALIBRATED
        ]
        return (sum(held) / len(held) if held else None), len(held)


def maturity_on(book: DailyBook, day: date) -> Maturity:
    """How much history stands behind forecasts of `day`."""
    number = book.number_of(day)
    won = book.bookings[book.bookings["visible_on"] <= number]["deals"].sum()
    history = (day - book.first_event_on).days + 1 if book.first_event_on else 0
    return Maturity(int(won), max(0, history), book.mean_cycle_days(number), book.wins_against_expected(day))


def weekly_origins(book: DailyBook, week_starts_on: int) -> list[date]:
    """The last day of each business week from the first booking on (week starts on 1 Monday … 7 Sunday)."""
    first_booking = book.first_booking()
    if first_booking is None:
        return []
    day = book.quarters.first_day + timedelta(days=max(0, first_booking))
    last_of_week = (week_starts_on - 2) % 7 + 1
    day += timedelta(days=(last_of_week - day.isoweekday()) % 7)
    days = []
    while day <= book.through:
        days.append(day)
        day += timedelta(days=7)
    return days


def build_track_record(book: DailyBook, week_starts_on: int) -> TrackRecord:
    """Run every weekly origin whose outcome is known, and serve each as if it were that day."""
    completed = book.quarters.completed_by(book.through)
    by_horizon: dict[str, list[Origin]] = {}
    for day in weekly_origins(book, week_starts_on):
        current = book.quarters.position_of(day)
        for quarter_offset in range(min(HORIZONS, completed - current)):
            seen = outlook(book, day, quarter_offset)
            known_on = book.quarters[seen.quarter_position].known_on
            assert known_on is not None  # a completed quarter has one
            actual = int(book.amount.won[seen.quarter_position, book.number_of(known_on)])
            by_horizon.setdefault(seen.horizon, []).append(Origin(seen, actual, known_on))
    maturity = {
        day: maturity_on(book, day)
        for day in sorted({origin.outlook.day for origins in by_horizon.values() for origin in origins})
    }
    record = TrackRecord(
        {horizon: _with_baselines(origins, maturity) for horizon, origins in by_horizon.items()}
    )
    served = {
        horizon: tuple(record.serve(origin.outlook, maturity[origin.outlook.day]) for origin in track.origins)
        for horizon, track in record.tracks.items()
    }
    return TrackRecord(record.tracks, served)


def _with_baselines(origins: Sequence[Origin], maturity: Mapping[date, Maturity]) -> Track:
    """A track whose origins know the baseline that would have been chosen, and its mean with hazards."""
    track = Track(tuple(origins))
    choices = tuple(track.choice_for(origin.outlook, maturity[origin.outlook.day]) for origin in origins)
    blended = (
        replace(origin, outlook=with_blend(origin.outlook, choice))
        for origin, choice in zip(origins, choices, strict=True)
    )
    return Track(tuple(blended), choices)


def _forecast(seen: Outlook, method: str) -> float:
    answer = seen.remaining.get(method)
    return seen.already_won + answer.total if answer is not None else float("nan")
