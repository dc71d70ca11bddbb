"""Rolling-origin backtest: what each method would have said every week, and how wrong it would have been.

An origin sees only the ledger as of its day. Its outcome counts from the day the quarter's bookings are
final, so a forecast of day D learns from the origins whose outcome was final by D, and from no other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from dagster_project.forecast.daily_book import DailyBook
from dagster_project.forecast.gate import Choice, Maturity
from dagster_project.forecast.intervals import CALIBRATED, Range
from dagster_project.forecast.replay import Answered, Replay
from dagster_project.forecast.situations import HORIZONS, Origin, Outlook, outlook

Array = np.ndarray


@dataclass(frozen=True)
class Track:
    """The completed origins of one horizon, oldest first; their outcomes became final in the same order.

    baselines: the baseline that would have been chosen at each of them.
    """

    origins: tuple[Origin, ...]
    baselines: tuple[Choice, ...] = ()

    def completed_by(self, day: date) -> int:
        """How many origins, from the oldest, have an outcome that is final on `day`."""
        return sum(origin.known_on <= day for origin in self.origins)


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
    replay: Replay
    served: dict[str, tuple[Served, ...]] = field(default_factory=dict)

    def serve(self, seen: Outlook, maturity: Maturity) -> Served:
        """The forecast to publish for `seen`."""
        return _served(self.replay, self.replay.answer(seen, maturity))

    def range_for(self, seen: Outlook, method: str) -> tuple[Range, int]:
        """The range around one method's answer, and the number of completed origins behind it."""
        return self.replay.range_for(seen, method, method)

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


def completed_origins(book: DailyBook, week_starts_on: int) -> Iterable[Origin]:
    """Every weekly origin of every quarter whose bookings are final, oldest first."""
    completed = book.quarters.completed_by(book.through)
    for day in weekly_origins(book, week_starts_on):
        current = book.quarters.position_of(day)
        for quarter_offset in range(min(HORIZONS, completed - current)):
            seen = outlook(book, day, quarter_offset)
            known_on = book.quarters[seen.quarter_position].known_on
            assert known_on is not None  # a completed quarter has one
            actual = int(book.amount.won[seen.quarter_position, book.number_of(known_on)])
            yield Origin(seen, actual, known_on)


def build_track_record(book: DailyBook, week_starts_on: int) -> TrackRecord:
    """Run every weekly origin whose outcome is known, and serve each as if it were that day."""
    origins = tuple(completed_origins(book, week_starts_on))
    maturity = {
        day: maturity_on(book, day) for day in dict.fromkeys(origin.outlook.day for origin in origins)
    }
    replay = Replay(origins)
    by_horizon: dict[str, list[tuple[Origin, Choice, Served]]] = {}
    for place, origin in enumerate(origins):
        answered = replay.answer(origin.outlook, maturity[origin.outlook.day])
        served = _served(replay, answered)
        replay.note(place, answered)
        lived = Origin(answered.seen, origin.actual, origin.known_on)
        by_horizon.setdefault(origin.outlook.horizon, []).append((lived, answered.baseline, served))
    tracks, all_served = {}, {}
    for horizon, rows in by_horizon.items():
        lived, baselines, served = zip(*rows, strict=True)
        tracks[horizon], all_served[horizon] = Track(lived, baselines), served
    return TrackRecord(tracks, replay, all_served)


def _served(replay: Replay, answered: Answered) -> Served:
    spread, origins = replay.range_of_served(answered)
    return Served(answered.seen, answered.choice, spread, origins)
