"""The public holidays of the simulated business."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd


def dutch_holidays(first_year: int, last_year: int) -> pd.DataFrame:
    """Dutch public holidays, first_year … last_year: date, name, region (blank: everywhere)."""
    rows: list[tuple[date, str]] = []
    for year in range(first_year, last_year + 1):
        easter = _easter_sunday(year)
        kings_day = date(year, 4, 27)
        if kings_day.weekday() == 6:
            kings_day = date(year, 4, 26)
        rows += [
            (date(year, 1, 1), "New Year's Day"),
            (easter + timedelta(days=1), "Easter Monday"),
            (kings_day, "King's Day"),
            (easter + timedelta(days=39), "Ascension Day"),
            (easter + timedelta(days=50), "Whit Monday"),
            (date(year, 12, 25), "Christmas Day"),
            (date(year, 12, 26), "Second Christmas Day"),
        ]
    days, names = zip(*sorted(rows), strict=True)
    return pd.DataFrame({"date": pd.to_datetime(list(days)), "name": list(names), "region": ""})


def _easter_sunday(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (anonymous algorithm, Nature 1876)."""
    a, b, c = year % 19, year // 100, year % 100
    d, e = b // 4, b % 4
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = c // 4, c % 4
    j = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * j) // 451
    month = (h + j - 7 * m + 114) // 31
    day = (h + j - 7 * m + 114) % 31 + 1
    return date(year, month, day)
