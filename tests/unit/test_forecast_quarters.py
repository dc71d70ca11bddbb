"""Fiscal quarters: when bookings are final, and the day with the same distance from a quarter's end."""

from datetime import date

import pandas as pd
import pytest

from dagster_project.forecast.fiscal_quarters import CalendarTooShort, FiscalQuarters


def calendar(
    first: str = "2025-01-01", last: str = "2025-12-31", holidays: tuple[str, ...] = ()
) -> pd.DataFrame:
    days = pd.DataFrame({"calendar_day": pd.date_range(first, last)})
    days["quarter_number"] = days["calendar_day"].dt.year * 4 + days["calendar_day"].dt.quarter
    days["quarter_label"] = days["calendar_day"].dt.to_period("Q").astype(str)
    days["is_business_day"] = (days["calendar_day"].dt.day_of_week < 5) & ~days["calendar_day"].isin(
        pd.to_datetime(list(holidays))
    )
    return days


def test_bookings_are_final_three_business_days_after_the_quarter() -> None:
    quarters = FiscalQuarters.from_days(calendar(), 3)
    # 31 March 2025 is a Monday; 30 June a Monday; 30 September a Tuesday.
    assert [quarter.known_on for quarter in quarters.quarters[:3]] == [
        date(2025, 4, 3),
        date(2025, 7, 3),
        date(2025, 10, 3),
    ]


def test_weekends_and_holidays_do_not_count_as_grace() -> None:
    quarters = FiscalQuarters.from_days(calendar(holidays=("2025-04-02",)), 4)
    # Tue 1, (Wed 2 holiday), Thu 3, Fri 4, (weekend), Mon 7 April.
    assert quarters[0].known_on == date(2025, 4, 7)


def test_a_quarter_whose_grace_runs_past_the_calendar_is_never_final() -> None:
    quarters = FiscalQuarters.from_days(calendar(), 3)
    assert quarters[3].known_on is None
    assert quarters.completed_by(date(2025, 12, 31)) == 3


def test_a_quarter_is_completed_on_its_final_day_and_not_before() -> None:
    quarters = FiscalQuarters.from_days(calendar(), 3)
    assert quarters.completed_by(date(2025, 4, 2)) == 0
    assert quarters.completed_by(date(2025, 4, 3)) == 1


def test_the_day_at_the_same_distance_never_leaves_its_quarter() -> None:
    quarters = FiscalQuarters.from_days(calendar(), 3)
    assert quarters.same_distance_from_end(0, 46) == date(2025, 2, 13)
    # The third quarter has 92 days, the first only 90: 91 days before its end would be in December.
    assert quarters.same_distance_from_end(0, 91) == date(2025, 1, 1)


def test_a_day_outside_the_calendar_is_refused_by_name() -> None:
    quarters = FiscalQuarters.from_days(calendar(), 3)
    with pytest.raises(CalendarTooShort, match="2026-01-01 lies outside"):
        quarters.position_of(date(2026, 1, 1))
