"""Figures as people read them: money, counts, shares, days. What is not known is a dash, never a zero."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

UNKNOWN = "–"
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


def money(amount: Decimal | float | None, currency: str) -> str:
    """Money for reading: three figures, then million or thousand; `currency` a code such as EUR."""
    if amount is None:
        return UNKNOWN
    value = float(amount)
    if abs(value) >= 999_500_000:
        return f"{currency} {value / 1e9:,.2f} billion"
    if abs(value) >= 999_500:
        return f"{currency} {value / 1e6:,.2f} million"
    if abs(value) >= 999.5:
        return f"{currency} {value / 1e3:,.0f} thousand"
    return f"{currency} {value:,.0f}"


def exact(amount: Decimal | float | None) -> str:
    """An amount in full units with thousands separators, for a table."""
    return UNKNOWN if amount is None else f"{float(amount):,.0f}"


def count(number: float | None) -> str:
    """A whole number with thousands separators."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def share(value: float | None) -> str:
    """A share of 0 to 1 in percent; one that is neither nothing nor all is never told as such."""
    if value is None:
        return UNKNOWN
    if 0 < value < 0.005:
        return "< 1%"
    if 0.995 < value < 1:
        return "> 99%"
    return f"{value:.0%}"


def share_with_range(value: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval: 24% (17–34%); below the sample floor the interval alone."""
    if low is None or high is None:
        return share(value)
    span = f"{low:.0%}–{high:.0%}"
    return f"{share(value)} ({span})" if value is not None else f"{UNKNOWN} ({span})"


def days(value: float | None) -> str:
    """A number of days, without its unit."""
    if value is None:
        return UNKNOWN
    return f"{value:,.1f}" if 0 < value < 1 else f"{value:,.0f}"


def ratio(value: float | None) -> str:
    """How many times one thing covers another."""
    if value is not None and 0 < value < 0.05:
        return "< 0.1×"
    return UNKNOWN if value is None else f"{value:,.1f}×"


def long_date(day: date | None) -> str:
    """A date such as 15 May 2026, in any locale."""
    return UNKNOWN if day is None else f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def of_things(number: float, one: str, many: str | None = None) -> str:
    """A number with its noun: 1 deal, 2 deals, 1,200 deals."""
    return f"{number:,.0f} {one if number == 1 else many or one + 's'}"


def deals(number: float) -> str:
    """A number of deals in words."""
    return of_things(number, "deal")


def listed(parts: Sequence[str]) -> str:
    """Parts as a list in a sentence: a; a and b; a, b and c."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def text_of(value: Any, kind: str) -> str:
    """A value of a table's column as text; kinds: amount, count, share, days, ratio, date, text."""
    if value is None or value == "":
        return UNKNOWN
    if kind == "date":
        return value.isoformat() if hasattr(value, "isoformat") else str(value)
    tellers = {"amount": exact, "count": count, "share": share, "days": days, "ratio": ratio}
    return tellers[kind](value) if kind in tellers else str(value)
