"""The book of business on every day: open deals by stage and bookings by quarter, as running sums.

Arrays are indexed by day number (0 = first day of the ledger's calendar) and hold whole thousandths of the
reporting currency or deals, so that sums are exact; what is asked of a day reads nothing after that day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from dagster_project.forecast.baselines import Remaining
from dagster_project.forecast.evidence import Evidence
from dagster_project.forecast.fiscal_quarters import FiscalQuarters
from dagster_project.forecast.ledger_queries import THOUSANDTHS

AMOUNT = "amount"
COUNT = "count"
AVERAGE_AMOUNT_DAYS = 365
DRIFT_WEEKS = 13
FEWEST_EXPECTED_WINS = 10.0
GIVEN_UP_AFTER_DAYS = 365

Array = np.ndarray


@dataclass(frozen=True)
class Measure:
    """The book counted in one way, in money or in deals.

    won: [quarter, day] bookings of the quarter as known on the day. open: [stage, day].
    won_from_open: per completed quarter [stage, day] what the quarter's bookings had open on the day.
    closing: [close quarter, day] open × stage probability of deals due in the quarter.
    """

    won: Array
    open: Array
    won_from_open: dict[int, Array]
    closing: Array


@dataclass(frozen=True)
class DailyBook:
    """All measures by day, and the small answers that baselines and tables need."""

    quarters: FiscalQuarters
    through: date
    first_event_on: date | None
    amount: Measure
    count: Measure
    open_deals: Array
    open_priced_deals: Array
    open_trusted_deals: Array
    open_reconstructed_deals: Array
    open_forecastable_deals: Array
    bookings: pd.DataFrame
    cycles: pd.DataFrame
    event_days: tuple[Array, ...]
    by_hazards: Mapping[tuple[date, int], Remaining]
    wins_of_weeks: pd.DataFrame
    by_challenger: Mapping[tuple[date, int], Remaining]

    def number_of(self, day: date) -> int:
        """Day number of a date."""
        return (day - self.quarters.first_day).days

    def measure(self, form: str) -> Measure:
        """The book in `amount` or in `count`."""
        return self.amount if form == AMOUNT else self.count

    def form_on(self, day: int) -> str:
        """`count` when fewer than half of the day's open deals carry an amount known on that day."""
        return AMOUNT if 2 * self.open_priced_deals[day] >= self.open_deals[day] else COUNT

    def asof_quality(self, day: int) -> str:
        """How well most open deals of the day are known: history, reconstructed or current_values."""
        deals = self.open_deals[day]
        if 2 * self.open_trusted_deals[day] < deals:
            return "current_values"
        if 2 * self.open_reconstructed_deals[day] > deals:
            return "reconstructed"
        return "history"

    def booked_between(self, first: int, last: int, seen_on: int) -> tuple[int, int, int]:
        """Deals, priced deals and thousandths booked on days first..last, as known on `seen_on`."""
        won_on = self.bookings["won_on"].to_numpy()
        low, high = np.searchsorted(won_on, [first, last + 1])
        rows = self.bookings.iloc[low:high]
        seen = rows["visible_on"].to_numpy() <= seen_on
        return (
            int(rows["deals"].to_numpy()[seen].sum()),
            int(rows["priced_deals"].to_numpy()[seen].sum()),
            int(rows["thousandths"].to_numpy()[seen].sum()),
        )

    def first_booking(self) -> int | None:
        """Number of the first day on which any booking was on record."""
        return None if self.bookings.empty else int(self.bookings["visible_on"].min())

    def average_booking(self, day: int) -> float | None:
        """Mean thousandths of a priced booking of the last year, else of all time, as known on `day`."""
        for first in (day - AVERAGE_AMOUNT_DAYS + 1, _BEFORE_EVERYTHING):
            _, priced, thousandths = self.booked_between(first, day, day)
            if priced > 0 and thousandths > 0:
                return thousandths / priced
        return None

    def lumpiness(self, day: int) -> float:
        """Mean square of a booking / its mean over the last year as known on `day`, in thousandths.

        Bookings are on record by day: within a day of n the sum varies by n × the variance of one (unbiased).
        0.0 with fewer than two bookings.
        """
        won_on = self.bookings["won_on"].to_numpy()
        low, high = np.searchsorted(won_on, [day - AVERAGE_AMOUNT_DAYS + 1, day + 1])
        rows = self.bookings.iloc[low:high]
        seen = rows["visible_on"].to_numpy() <= day
        if not seen.any():
            return 0.0
        days, place = np.unique(won_on[low:high][seen], return_inverse=True)
        deals, thousandths = np.zeros(len(days), dtype=np.int64), np.zeros(len(days), dtype=np.int64)
        np.add.at(deals, place, rows["priced_deals"].to_numpy()[seen])
        np.add.at(thousandths, place, rows["thousandths"].to_numpy()[seen])
        booked = deals > 0
        bookings, money = int(deals[booked].sum()), int(thousandths[booked].sum())
        degrees = int(booked.sum()) - 1
        if degrees < 1 or money <= 0:
            return 0.0
        mean = money / bookings
        squares = float(((thousandths[booked] - deals[booked] * mean) ** 2 / deals[booked]).sum())
        return squares / degrees / mean + mean

    def mean_cycle_days(self, day: int) -> float | None:
        """Mean days from first known stage to won, over deals won by `day`; None without any."""
        known = self.cycles[self.cycles["won_on"] <= day]
        deals = int(known["deals"].sum())
        return int(known["days"].sum()) / deals if deals else None

    def wins_against_expected(self, day: date) -> float | None:
        """Wins of the last 13 complete weeks over what hazards expected of them; None where it is little."""
        weeks = self.wins_of_weeks
        known = (weeks["as_of"] <= pd.Timestamp(day - timedelta(days=7))) & (
            weeks["as_of"] > pd.Timestamp(day - timedelta(days=7 * (DRIFT_WEEKS + 1)))
        )
        expected = float(weeks.loc[known, "expected_wins"].sum())
        if known.sum() < DRIFT_WEEKS or expected < FEWEST_EXPECTED_WINS:
            return None
        return float(weeks.loc[known, "observed_wins"].sum()) / expected

    def fresh_on(self, day: int) -> date | None:
        """The day up to which every source tells of events: the oldest of their newest up to `day`.

        A source that has told nothing for a year is taken for one that was given up.
        """
        places = [(days, int(np.searchsorted(days, day, side="right"))) for days in self.event_days]
        newest = [int(days[place - 1]) for days, place in places if place]
        if not newest:
            return None
        kept = [number for number in newest if number > day - GIVEN_UP_AFTER_DAYS]
        return self.quarters.first_day + timedelta(days=min(kept, default=max(newest)))


_BEFORE_EVERYTHING = -1_000_000


def build_daily_book(evidence: Evidence, through: date) -> DailyBook:
    """Running sums of the evidence's changes for every day from the calendar's start to `through`."""
    quarters = evidence.quarters
    days = (through - quarters.first_day).days + 1
    start = pd.Timestamp(quarters.first_day)
    probability = evidence.stages.set_index("stage_key")["probability"]
    opened = _numbered(evidence.open_changes, "changed_on", start)
    stages = {key: place for place, key in enumerate(sorted(opened["stage_key"].unique()))}
    bookings = _numbered(_numbered(evidence.booking_changes, "visible_on", start), "won_on", start)
    booked_quarter = _quarter_positions(bookings["won_on"].to_numpy(), quarters)
    stage_of = opened["stage_key"].map(stages).to_numpy(dtype=np.int64)
    close = opened["close_quarter"] - quarters[0].number
    chance = opened["stage_key"].map(probability).to_numpy(dtype=float)
    forecastable = (close.notna() & (close >= 0) & (close < len(quarters))).to_numpy() & ~np.isnan(chance)
    changed_on = opened["changed_on"].to_numpy()

    def total(column: str, weight: Array | None = None) -> Array:
        values = opened[column].to_numpy() if weight is None else opened[column].to_numpy() * weight
        return _running((changed_on,), values, (), days)

    def measure(column: str) -> Measure:
        values = opened[column].to_numpy()
        closing = np.where(forecastable, values * np.nan_to_num(chance), 0.0)
        close_position = close.where(forecastable, 0).to_numpy(dtype=np.int64)
        known = booked_quarter >= 0
        return Measure(
            won=_running(
                (booked_quarter[known], bookings["visible_on"].to_numpy()[known]),
                bookings[column].to_numpy()[known],
                (len(quarters),),
                days,
            ),
            open=_running((stage_of, changed_on), values, (len(stages),), days),
            won_from_open=_won_from_open(evidence.won_from_open, column, quarters, stages, days),
            closing=_running((close_position, changed_on), closing, (len(quarters),), days),
        )

    return DailyBook(
        quarters=quarters,
        through=through,
        first_event_on=min((days[0] for days in evidence.event_days.values()), default=None),
        amount=measure("thousandths"),
        count=measure("deals"),
        open_deals=total("deals"),
        open_priced_deals=total("priced_deals"),
        open_trusted_deals=total("trusted_deals"),
        open_reconstructed_deals=total("reconstructed_deals"),
        open_forecastable_deals=total("deals", forecastable.astype(np.int64)),
        bookings=bookings.sort_values(["won_on", "visible_on"], ignore_index=True),
        cycles=_numbered(evidence.cycles, "won_on", start),
        event_days=tuple(
            np.array([(day - quarters.first_day).days for day in days], dtype=np.int64)
            for days in evidence.event_days.values()
        ),
        by_hazards=_remaining(evidence.by_hazards),
        wins_of_weeks=evidence.wins_of_weeks.astype({"as_of": "datetime64[us]"}),
        by_challenger=_remaining(evidence.by_challenger),
    )


def _remaining(expected: pd.DataFrame) -> dict[tuple[date, int], Remaining]:
    """Day and quarter number → what a model expects of them, in thousandths."""
    return {
        (row.as_of.date(), int(row.quarter_number)): Remaining(
            row.open_expected * THOUSANDTHS, row.new_expected * THOUSANDTHS
        )
        for row in expected.itertuples()
    }


def _numbered(frame: pd.DataFrame, column: str, start: pd.Timestamp) -> pd.DataFrame:
    return frame.assign(**{column: (pd.to_datetime(frame[column]) - start).dt.days.astype(np.int64)})


def _quarter_positions(day_numbers: Array, quarters: FiscalQuarters) -> Array:
    starts = np.array([(quarter.starts_on - quarters.first_day).days for quarter in quarters.quarters])
    positions = np.searchsorted(starts, day_numbers, side="right") - 1
    end = (quarters.last_day - quarters.first_day).days
    return np.where((day_numbers < 0) | (day_numbers > end), -1, positions)


def _running(places: tuple[Array, ...], values: Array, shape: tuple[int, ...], days: int) -> Array:
    """Sum changes into cells (last axis = day) and accumulate along the days; later changes are left out."""
    cells = np.zeros((*shape, days), dtype=values.dtype if values.dtype == float else np.int64)
    day = np.maximum(places[-1], 0)
    inside = day < days
    np.add.at(cells, tuple(place[inside] for place in (*places[:-1], day)), values[inside])
    return np.cumsum(cells, axis=-1)


def _won_from_open(
    changes: pd.DataFrame, column: str, quarters: FiscalQuarters, stages: dict[str, int], days: int
) -> dict[int, Array]:
    start = pd.Timestamp(quarters.first_day)
    numbered = _numbered(changes, "changed_on", start)
    found: dict[int, Array] = {}
    for number, rows in numbered.groupby("quarter_number", sort=True):
        stage = rows["stage_key"].map(stages).to_numpy(dtype=np.int64)
        found[int(number) - quarters[0].number] = _running(
            (stage, rows["changed_on"].to_numpy()), rows[column].to_numpy(), (len(stages),), days
        )
    return found
