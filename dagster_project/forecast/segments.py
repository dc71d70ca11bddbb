"""The forecast of the whole divided among its segments, so that every kind of segment adds up to it.

What is already won is known. The expected part of open deals goes to segments as hazards expect it of their open
deals, else as their open amounts are. Business not yet created goes to them by their bookings of the last year,
drawn towards their part of the open book: few bookings say little about who will win the next one. Owners share
what their team gets, and whoever has left gets no new business. Amounts are whole thousandths of the currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from dagster_project.forecast.segment_evidence import SegmentFacts
from dagster_project.forecast.segment_queries import OWNER, QUARTERS_AHEAD, SEGMENT_TYPES, TEAM

Array = np.ndarray

NONE = "(none)"
PRIOR_WINS = 8.0
"""Bookings a year of a member at which its own share and that of the open book weigh the same: amounts vary by
about their mean (variance of a year's sum = 2 n), members of a group by about half of it (variance n² / 4)."""


@dataclass(frozen=True)
class Whole:
    """What the forecast of the whole says about one quarter: thousandths, and whether hazards answered."""

    quarter_offset: int
    from_open: int
    from_new: int
    has_hazards: bool


@dataclass(frozen=True)
class Parts:
    """The segments of one type on one day for one quarter; arrays in the order of `segments`.

    wins: bookings of the last year; missing: won deals of the quarter without an amount.
    """

    segment_type: str
    quarter_offset: int
    segments: Array
    already_won: Array
    from_open: Array
    from_new: Array
    open_deals: Array
    unpriced: Array
    wins: Array
    missing: Array


@dataclass(frozen=True)
class DayMoney:
    """What bookings of the last year are like: mean amount, and what one of them adds to the variance per amount.

    lumpiness = Σ amount² / Σ amount: the variance of a sum of bookings over its expectation.
    """

    mean: float
    lumpiness: float


class SegmentBook:
    """Facts by day, and the division of a day's forecast."""

    def __init__(self, facts: SegmentFacts) -> None:
        self._open = _by_day(facts.open, ["as_of"])
        self._booked = _by_day(facts.booked, ["as_of", "quarter_number"])

    def money_on(self, day: date, quarter_number: int) -> DayMoney | None:
        """Bookings of the year before `day`; None without any amount."""
        rows = self._booked.get((day, quarter_number, OWNER))
        if rows is None:
            return None
        total, priced = float(rows["year_thousandths"].sum()), int(rows["year_priced"].sum())
        if total <= 0 or priced <= 0:
            return None
        return DayMoney(total / priced, float(rows["year_squares"].sum()) / total)

    def booked_in(self, day: date, quarter_number: int, segment_type: str) -> dict[str, int]:
        """Bookings of a quarter by segment as known at the end of `day`."""
        label = TEAM if segment_type == TEAM else "segment"
        rows = self._booked.get((day, quarter_number, _unit_type(segment_type)))
        if rows is None:
            return {}
        return {str(name): int(value) for name, value in rows.groupby(label)["booked"].sum().items()}

    def divide(self, day: date, quarter_number: int, wholes: Iterable[Whole]) -> Iterator[Parts]:
        """All segment types of a day whose quarter is `quarter_number`, for each of `wholes`."""
        wholes = tuple(wholes)
        for unit_type in (kind for kind in SEGMENT_TYPES if kind != TEAM):
            units = self._units(day, quarter_number, unit_type)
            new_shares = shares_of_new(units)
            for whole in wholes:
                parts = _divided(units, unit_type, whole, new_shares)
                if unit_type == OWNER:
                    yield _summed(parts, OWNER, units["segment"].to_numpy())
                    yield _summed(parts, TEAM, units["team"].to_numpy())
                else:
                    yield parts

    def _units(self, day: date, quarter_number: int, unit_type: str) -> pd.DataFrame:
        """All that is divided: owners by key, other segments by name; those of open deals and of bookings."""
        opened = self._open.get((day, unit_type), _EMPTY)
        booked = self._booked.get((day, quarter_number, unit_type), _EMPTY)
        named = pd.concat([opened, booked])[["unit", "segment", "team", "has_left"]]
        named = named.drop_duplicates("unit").set_index("unit").sort_index()
        if named.empty:
            named = pd.DataFrame({"segment": [NONE], "team": [NONE], "has_left": [False]}, index=[NONE])
        for rows, measures in ((opened, _OPEN), (booked, _BOOKED)):
            found = rows.set_index("unit").reindex(named.index)
            for measure in measures:
                named[measure] = found[measure].fillna(0).to_numpy() if measure in found else 0
        return named


_OPEN = ("deals", "unpriced", "thousandths", *(f"expected_{n}" for n in range(QUARTERS_AHEAD)))
_BOOKED = ("booked", "booked_without_amount", "year_deals", "year_priced", "year_thousandths")
_EMPTY = pd.DataFrame({"unit": [], "segment": [], "team": [], "has_left": []})


def _unit_type(segment_type: str) -> str:
    return OWNER if segment_type == TEAM else segment_type


def _by_day(rows: pd.DataFrame, key: list[str]) -> Mapping[tuple[object, ...], pd.DataFrame]:
    found = {}
    for (stamp, *rest), part in rows.groupby([*key, "segment_type"], sort=False):
        found[(pd.Timestamp(stamp).date(), *rest)] = part
    return found


def apportion(total: int, weights: Array) -> Array:
    """Whole thousandths of `total` by weight, by largest remainder; earlier ones first where remainders tie.

    `weights`: not negative, at least one positive. The pieces add up to `total` exactly.
    """
    if total < 0:
        return -apportion(-total, weights)
    exact = weights * (total / weights.sum())
    pieces = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - pieces), kind="stable")
    order = order[weights[order] > 0]
    left = total - int(pieces.sum())
    # More than one each, or too much, only where floats end: amounts beyond 2^53 thousandths.
    each, rest = divmod(left, len(order))
    pieces[order] += each
    pieces[order[:rest]] += 1
    return pieces


def shares_of_new(units: pd.DataFrame) -> Array:
    """Each unit's share of business not yet created: its team's share times its share in the team."""
    own = np.maximum(units["year_thousandths"].to_numpy(dtype=float), 0.0)
    if own.sum() <= 0:
        own = units["year_deals"].to_numpy(dtype=float)
    wins = units["year_deals"].to_numpy(dtype=float)
    open_book = _open_weights(units)
    present = ~units["has_left"].to_numpy(dtype=bool)
    if not present.any():
        present = np.ones(len(units), dtype=bool)
    teams, team_of = np.unique(units["team"].to_numpy(dtype=str), return_inverse=True)

    def by_team(values: Array) -> Array:
        return np.bincount(team_of, weights=values, minlength=len(teams))

    staffed = by_team(present.astype(float)) > 0
    team_shares = _blended(by_team(own), by_team(open_book), by_team(wins), staffed)
    shares = np.zeros(len(units))
    for team, team_share in enumerate(team_shares):
        if team_share > 0:
            members = np.flatnonzero(team_of == team)
            inside = _blended(own[members], open_book[members], wins[members], present[members])
            shares[members] = team_share * inside
    return shares


def _blended(own: Array, prior: Array, wins: Array, present: Array) -> Array:
    """Own shares drawn towards those of the prior; equal shares where neither knows anything."""
    own, prior, wins = (np.where(present, values, 0.0) for values in (own, prior, wins))
    a_member = wins.sum() / present.sum()
    weight = a_member / (a_member + PRIOR_WINS)
    if prior.sum() <= 0:
        weight = 1.0
    if own.sum() <= 0:
        weight = 0.0
    if own.sum() <= 0 and prior.sum() <= 0:
        return present / present.sum()
    shares = np.zeros(len(own))
    if weight > 0:
        shares += weight * own / own.sum()
    if weight < 1:
        shares += (1 - weight) * prior / prior.sum()
    return shares


def _open_weights(units: pd.DataFrame, quarter_offset: int | None = None) -> Array:
    """What the open book gives each unit: expected by hazards (of one quarter, or of all), else open amounts.

    Deals without an amount count for the average booking of the year, else for one each.
    """
    offsets = range(QUARTERS_AHEAD) if quarter_offset is None else (quarter_offset,)
    expected = sum(units[f"expected_{n}"].to_numpy(dtype=float) for n in offsets)
    expected = np.maximum(expected, 0.0)
    return expected if expected.sum() > 0 else _open_amounts(units)


def _open_amounts(units: pd.DataFrame) -> Array:
    amounts = np.maximum(units["thousandths"].to_numpy(dtype=float), 0.0)
    unpriced = units["unpriced"].to_numpy(dtype=float)
    booked, priced = float(units["year_thousandths"].sum()), int(units["year_priced"].sum())
    if booked > 0 and priced > 0:
        return amounts + unpriced * booked / priced
    return amounts if amounts.sum() > 0 else units["deals"].to_numpy(dtype=float)


def _divided(units: pd.DataFrame, unit_type: str, whole: Whole, new_shares: Array) -> Parts:
    weights = _open_weights(units, whole.quarter_offset) if whole.has_hazards else _open_amounts(units)
    is_current = whole.quarter_offset == 0
    zero = np.zeros(len(units), dtype=np.int64)
    return Parts(
        segment_type=unit_type,
        quarter_offset=whole.quarter_offset,
        segments=units["segment"].to_numpy(dtype=object),
        already_won=units["booked"].to_numpy(dtype=np.int64) if is_current else zero,
        from_open=apportion(whole.from_open, weights if weights.sum() > 0 else new_shares),
        from_new=apportion(whole.from_new, new_shares),
        open_deals=units["deals"].to_numpy(dtype=np.int64),
        unpriced=units["unpriced"].to_numpy(dtype=np.int64),
        wins=units["year_deals"].to_numpy(dtype=np.int64),
        missing=units["booked_without_amount"].to_numpy(dtype=np.int64) if is_current else zero,
    )


def _summed(parts: Parts, segment_type: str, labels: Array) -> Parts:
    """Units of one name together: two owners of one name are one segment, a team is its owners."""
    segments, place = np.unique(labels.astype(str), return_inverse=True)

    def total(values: Array) -> Array:
        sums = np.zeros(len(segments), dtype=np.int64)
        np.add.at(sums, place, values)
        return sums

    return Parts(
        segment_type=segment_type,
        quarter_offset=parts.quarter_offset,
        segments=segments.astype(object),
        **{
            name: total(getattr(parts, name))
            for name in (
                "already_won",
                "from_open",
                "from_new",
                "open_deals",
                "unpriced",
                "wins",
                "missing",
            )
        },
    )
