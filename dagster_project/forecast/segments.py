"""The forecast of the whole divided among its segments, so that every kind of segment adds up to it.

What is already won is known. The expected part of open deals goes to segments as hazards expect it of their
open deals, else as their open amounts are. Business not yet created goes to them by their bookings of the
last year, drawn towards their part of the open book as far as chance explains the difference. Owners share
what their team gets, and whoever has left gets no new business. Amounts are whole thousandths of the
currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from dagster_project.forecast.segment_evidence import SegmentFacts
from dagster_project.forecast.segment_labels import OWNER, SEGMENT_TYPES, TEAM
from dagster_project.forecast.segment_queries import BOOKED_MEASURES, OPEN_MEASURES, QUARTERS_AHEAD

Array = np.ndarray

NONE = "(none)"


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
    """What bookings of the last year are like: mean amount, and what one of them adds to the variance per
    amount.

    lumpiness = Σ amount² / Σ amount: the variance of a sum of bookings over its expectation.
    """

    mean: float
    lumpiness: float


@dataclass(frozen=True)
class Units:
    """All that a day's forecast is divided among, by name: owners by key, other segments by name.

    measures: those of `open_by_segment` and of `booked_by_segment`, by name.
    """

    segment: Array
    team: Array
    has_left: Array
    measures: Mapping[str, Array]

    def __getitem__(self, measure: str) -> Array:
        return self.measures[measure]

    def __len__(self) -> int:
        return len(self.segment)


class SegmentBook:
    """Facts by day, and the division of a day's forecast."""

    def __init__(self, facts: SegmentFacts) -> None:
        key = ["as_of", "quarter_number", "segment_type", "unit"]
        words = ["segment", "team", "has_left"]
        rows = facts.open.merge(facts.booked, on=key, how="outer", suffixes=("", "_booked"))
        for word in words:
            rows[word] = rows[word].where(rows[word].notna(), rows[f"{word}_booked"])
        rows = rows.sort_values(key, ignore_index=True)
        self._columns = {word: rows[word].to_numpy(dtype=object) for word in words}
        self._measures = {
            measure: rows[measure].fillna(0).to_numpy(dtype=np.int64 if measure != "year_squares" else float)
            for measure in (*OPEN_MEASURES, *BOOKED_MEASURES)
        }
        found = rows.groupby(key[:3], sort=False).indices
        self._places = {
            (stamp.date(), int(number), kind): slice(int(at[0]), int(at[-1]) + 1)
            for (stamp, number, kind), at in found.items()
        }

    def money_on(self, day: date, quarter_number: int) -> DayMoney | None:
        """Bookings of the year before `day`; None without any amount."""
        units = self._units(day, quarter_number, OWNER)
        total, priced = float(units["year_thousandths"].sum()), int(units["year_priced"].sum())
        if total <= 0 or priced <= 0:
            return None
        return DayMoney(total / priced, float(units["year_squares"].sum()) / total)

    def booked_in(self, day: date, quarter_number: int, segment_type: str) -> dict[str, int]:
        """Bookings of a quarter by segment as known at the end of `day`."""
        units = self._units(day, quarter_number, OWNER if segment_type == TEAM else segment_type)
        booked: dict[str, int] = {}
        names = units.team if segment_type == TEAM else units.segment
        for name, amount in zip(names, units["booked"].tolist(), strict=True):
            booked[name] = booked.get(name, 0) + amount
        return booked

    def divide(self, day: date, quarter_number: int, wholes: Iterable[Whole]) -> Iterator[Parts]:
        """All segment types of a day whose quarter is `quarter_number`, for each of `wholes`."""
        wholes = tuple(wholes)
        for unit_type in (kind for kind in SEGMENT_TYPES if kind != TEAM):
            units = self._units(day, quarter_number, unit_type)
            new_shares = shares_of_new(units)
            by_name = {OWNER: _names(units.segment), TEAM: _names(units.team)} if unit_type == OWNER else {}
            for whole in wholes:
                parts = _divided(units, unit_type, whole, new_shares)
                if not by_name:
                    yield parts
                for segment_type, names in by_name.items():
                    yield _summed(parts, segment_type, *names)

    def _units(self, day: date, quarter_number: int, unit_type: str) -> Units:
        place = self._places.get((day, quarter_number, unit_type))
        if place is None:
            nobody = np.array([NONE], dtype=object)
            zero = {name: np.zeros(1, dtype=values.dtype) for name, values in self._measures.items()}
            return Units(nobody, nobody, np.array([False]), zero)
        words = {word: values[place] for word, values in self._columns.items()}
        measures = {name: values[place] for name, values in self._measures.items()}
        return Units(words["segment"], words["team"], words["has_left"].astype(bool), measures)


def _names(labels: Array) -> tuple[Array, Array]:
    """Different labels in order, and for each place the number of its label."""
    names, places = np.unique(labels.astype(str), return_inverse=True)
    return names, places


def apportion(total: int, weights: Array) -> Array:
    """Whole thousandths of `total` by weight, by largest remainder; earlier ones first where remainders tie.

    `weights`: not negative, at least one positive. The pieces add up to `total` exactly.
    """
    if total < 0:
        return -apportion(-total, weights)
    shares = weights / weights.max()
    exact = total * (shares / shares.sum())
    pieces = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - pieces), kind="stable")
    order = order[weights[order] > 0]
    left = total - int(pieces.sum())
    # More than one each, or too much, only where floats end: amounts beyond 2^53 thousandths.
    each, rest = divmod(left, len(order))
    pieces[order] += each
    pieces[order[:rest]] += 1
    return pieces


def shares_of_new(units: Units) -> Array:
    """Each unit's share of business not yet created: its team's share times its share in the team."""
    own = np.maximum(units["year_thousandths"].astype(float), 0.0)
    lumpiness = float(units["year_squares"].sum()) / own.sum() if own.sum() > 0 else 1.0
    if own.sum() <= 0:
        own = units["year_deals"].astype(float)
    open_book = _open_weights(units)
    present = ~units.has_left
    if not present.any():
        present = np.ones(len(units), dtype=bool)
    teams, team_of = np.unique(units.team.astype(str), return_inverse=True)

    def by_team(values: Array) -> Array:
        return np.bincount(team_of, weights=values, minlength=len(teams))

    staffed = by_team(present.astype(float)) > 0
    team_shares = blended_shares(by_team(own), by_team(open_book), lumpiness, staffed)
    shares = np.zeros(len(units))
    for team, team_share in enumerate(team_shares):
        if team_share > 0:
            members = np.flatnonzero(team_of == team)
            inside = blended_shares(own[members], open_book[members], lumpiness, present[members])
            shares[members] = team_share * inside
    return shares


def blended_shares(own: Array, prior: Array, lumpiness: float, present: Array) -> Array:
    """Shares by own bookings, drawn towards those of the prior as far as chance explains their differences.

    Weight of the own ones: 1 - (n - 2) × variance by chance of one / Σ (own - prior)², not below 0; a sum of
    bookings varies by its amount × `lumpiness`. Source: James and Stein, Estimation with Quadratic Loss,
    1961. Equal shares where neither knows anything; those who are not `present` have none.
    """
    own, prior = (np.where(present, values, 0.0) for values in (own, prior))
    booked, n = own.sum(), int(present.sum())
    if booked <= 0:
        return prior / prior.sum() if prior.sum() > 0 else present / n
    if prior.sum() <= 0:
        return own / booked
    prior = prior / prior.sum()
    distance = float(np.square(own - booked * prior).sum())
    by_chance = max(0, n - 2) * booked * lumpiness / n
    weight = max(0.0, 1 - by_chance / distance) if distance > 0 else 1.0
    return weight * own / booked + (1 - weight) * prior


def _open_weights(units: Units, quarter_offset: int | None = None) -> Array:
    """What the open book gives each unit: expected by hazards (of one quarter, or of all), else open amounts.

    Deals without an amount count for the average booking of the year, else for one each.
    """
    offsets = range(QUARTERS_AHEAD) if quarter_offset is None else (quarter_offset,)
    expected = sum(units[f"expected_{n}"].astype(float) for n in offsets)
    expected = np.maximum(expected, 0.0)
    return expected if expected.sum() > 0 else _open_amounts(units)


def _open_amounts(units: Units) -> Array:
    amounts = np.maximum(units["thousandths"].astype(float), 0.0)
    unpriced = units["unpriced"].astype(float)
    booked, priced = float(units["year_thousandths"].sum()), int(units["year_priced"].sum())
    if booked > 0 and priced > 0:
        return amounts + unpriced * booked / priced
    return amounts if amounts.sum() > 0 else units["deals"].astype(float)


def _divided(units: Units, unit_type: str, whole: Whole, new_shares: Array) -> Parts:
    weights = _open_weights(units, whole.quarter_offset) if whole.has_hazards else _open_amounts(units)
    is_current = whole.quarter_offset == 0
    zero = np.zeros(len(units), dtype=np.int64)
    return Parts(
        segment_type=unit_type,
        quarter_offset=whole.quarter_offset,
        segments=units.segment,
        already_won=units["booked"] if is_current else zero,
        from_open=apportion(whole.from_open, weights if weights.sum() > 0 else new_shares),
        from_new=apportion(whole.from_new, new_shares),
        open_deals=units["deals"],
        unpriced=units["unpriced"],
        wins=units["year_deals"],
        missing=units["booked_without_amount"] if is_current else zero,
    )


def _summed(parts: Parts, segment_type: str, segments: Array, place: Array) -> Parts:
    """Units of one name together: two owners of one name are one segment, a team is its owners."""

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


def money_or(money: DayMoney | None, typical_booking: float) -> DayMoney:
    """Last year's bookings, else one typical booking, else one unit of the currency."""
    return money or DayMoney(max(typical_booking, 1.0), max(typical_booking, 1.0))
