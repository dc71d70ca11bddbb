"""Fiscal quarters as the ledger's calendar has them, and the day on which their bookings are final."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pandas as pd


class CalendarTooShort(ValueError):
    """The ledger's calendar does not cover a day or quarter that a forecast needs."""


@dataclass(frozen=True)
class Quarter:
    """One fiscal quarter. `known_on` is the day its bookings count as final: its last day plus the grace.

    `known_on` is None where the calendar ends before the grace is over.
    """

    number: int
    label: str
    starts_on: date
    ends_on: date
    known_on: date | None

    @property
    def days(self) -> int:
        """Length in days, both ends included."""
        return (self.ends_on - self.starts_on).days + 1


@dataclass(frozen=True)
class FiscalQuarters:
    """Consecutive fiscal quarters; a position is a place in this sequence."""

    quarters: tuple[Quarter, ...]

    @classmethod
    def from_days(cls, days: pd.DataFrame, grace_business_days: int) -> FiscalQuarters:
        """Build from one row per calendar day.

        `days`: calendar_day (timestamp), quarter_number (consecutive), quarter_label, is_business_day.
        The grace counts business days after the last day of the quarter.
        """
        ordered = days.sort_values("calendar_day")
        dates = [stamp.date() for stamp in ordered["calendar_day"]]
        business = [day for day, works in zip(dates, ordered["is_business_day"], strict=True) if works]
        quarters = []
        for number, rows in ordered.groupby("quarter_number", sort=True):
            last = rows["calendar_day"].iloc[-1].date()
            quarters.append(
                Quarter(
                    int(number),
                    str(rows["quarter_label"].iloc[0]),
                    rows["calendar_day"].iloc[0].date(),
                    last,
                    _after_business_days(business, last, grace_business_days),
                )
            )
        if not quarters:
            raise CalendarTooShort("the ledger's calendar (dim_date) is empty: build the ledger first")
        return cls(tuple(quarters))

    @property
    def first_day(self) -> date:
        """First day of the first quarter."""
        return self.quarters[0].starts_on

    @property
    def last_day(self) -> date:
        """Last day of the last quarter."""
        return self.quarters[-1].ends_on

    def __len__(self) -> int:
        return len(self.quarters)

    def __getitem__(self, position: int) -> Quarter:
        return self.quarters[position]

    def position_of(self, day: date) -> int:
        """Position of the quarter that holds `day`.

        Raises:
            CalendarTooShort: the day lies outside the calendar.
        """
        if not self.first_day <= day <= self.last_day:
            raise CalendarTooShort(
                f"{day} lies outside the ledger's calendar ({self.first_day} to {self.last_day})"
            )
        return bisect_right([quarter.starts_on for quarter in self.quarters], day) - 1

    def completed_by(self, day: date) -> int:
        """How many quarters, from the first, are final on `day`."""
        count = 0
        for quarter in self.quarters:
            if quarter.known_on is None or quarter.known_on > day:
                break
            count += 1
        return count

    def same_distance_from_end(self, position: int, days_left: int) -> date:
        """The day of the quarter at `position` with `days_left` days after it; at the earliest its first."""
        quarter = self.quarters[position]
        return max(quarter.starts_on, quarter.ends_on - timedelta(days=days_left))


def _after_business_days(business: Sequence[date], day: date, count: int) -> date | None:
    if count == 0:
        return day
    place = bisect_right(business, day) + count - 1
    return business[place] if place < len(business) else None
