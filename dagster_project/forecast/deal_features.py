"""Snapshots of open deals as numbers: what a model may look at, what it is to learn, what it must not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dagster_project.forecast.deal_snapshots import Snapshots
from dagster_project.forecast.fiscal_quarters import FiscalQuarters

Array = np.ndarray

WINDOWS = 5
"""What is left of this fiscal quarter, and the next four quarters."""

NEITHER, WIN, LOSS = 0, 1, 2

PRIOR_CLOSINGS = 20.0
"""An owner's record counts beside that of all owners with the weight of so many closings."""

MOST_CODES = 200
"""Classes of a feature that a tree can tell apart; the rest are one class without a name."""

FEWEST_TO_COMPARE = 30
LEAK_RATIO = 0.1
"""A feature filled ten times less often on deals of one fate than of another tells the fate, not the deal."""

FEWEST_FILLED = 0.05
SMALLEST_CHANCE = 1e-6

CLASSES = ("stage", "pipeline", "forecast category")
"""Features that are classes; the others are numbers."""


@dataclass(frozen=True)
class DealBook:
    """Looked-at deals, one row per deal and day, ordered by day; days are ordinals.

    features: name → values, nan where unknown. chances: [row, window] P(won in the window) by the curves.
    closed_on (inf while open) and is_won lie in the future of their row. ends: last days of fiscal quarters.
    owner_changes_from: first day on which a deal was seen with another owner than before; inf without any.
    """

    day: Array
    quarter: Array
    deal: Array
    stands_for: Array
    amount_if_won: Array
    chances: Array
    features: dict[str, Array]
    closes_on: Array
    closed_on: Array
    is_won: Array
    ends: Array
    owner_changes_from: float

    def window(self, number: int) -> tuple[Array, Array]:
        """The day before a window and its last day, per row."""
        end = self.ends[np.minimum(self.quarter + number, len(self.ends) - 1)]
        return (self.day if number == 0 else self.ends[self.quarter + number - 1]), end

    def outcome_in(self, number: int) -> tuple[Array, Array]:
        """What became of each deal in a window (NEITHER, WIN, LOSS), and whether it was open before it."""
        start, end = self.window(number)
        closes = (self.closed_on > start) & (self.closed_on <= end)
        outcome = np.where(closes, np.where(self.is_won, WIN, LOSS), NEITHER)
        return outcome, (self.closed_on > start) & (end > start)

    def inputs(self, number: int, rows: Array, names: Sequence[str]) -> Array:
        """[row, column]: the named features of some rows, then what the window adds to them."""
        start, end = (edge[rows] for edge in self.window(number))
        day, closes_on = self.day[rows], self.closes_on[rows]
        earlier = self.chances[rows, :number].sum(axis=1)
        chance = self.chances[rows, number]
        due = [(closes_on - start) / 7, (closes_on - end) / 7] if "weeks to the close date" in names else []
        return np.column_stack(
            [
                *(self.features[name][rows] for name in names),
                np.full(len(day), number),
                (start - day) / 7,
                (end - day) / 7,
                np.log(np.maximum(chance, SMALLEST_CHANCE)),
                np.log(np.maximum(chance / np.maximum(1 - earlier, 0.01), SMALLEST_CHANCE)),
                *due,
            ]
        )


def deal_book(snapshots: Snapshots, quarters: FiscalQuarters) -> DealBook:
    """Snapshots as arrays; every feature is what was known on its day."""
    deals = snapshots.deals
    day, closes_on = _ordinals(deals["as_of"]), _ordinals(deals["close_date"])
    owner = pd.factorize(deals["owner_key"], sort=True)[0]
    number = deals["deal_number"].to_numpy(dtype=np.int64)
    until = deals[[f"p_win_{window}" for window in range(WINDOWS)]].to_numpy(dtype=float)
    closed_on = _ordinals(deals["closed_on"])
    amount = deals["amount"].to_numpy(dtype=float)
    return DealBook(
        day=day,
        quarter=deals["quarter_number"].to_numpy(dtype=np.int64) - quarters[0].number,
        deal=number,
        stands_for=deals["every_nth"].to_numpy(dtype=float),
        amount_if_won=deals["amount_if_won"].to_numpy(dtype=float),
        chances=np.diff(until, axis=1, prepend=0.0).clip(0.0, 1.0),
        features={
            "stage": _codes(deals["stage_key"]),
            "pipeline": _codes(deals["pipeline_key"]),
            "forecast category": _codes(deals["forecast_category"]),
            "probability": deals["probability"].to_numpy(dtype=float),
            "stage rank": deals["stage_rank"].to_numpy(dtype=float),
            "weeks in stage": deals["weeks_in_stage"].to_numpy(dtype=float),
            "weeks since it opened": deals["days_open"].to_numpy(dtype=float) / 7,
            "amount": np.log(amount, where=amount > 0, out=np.full(len(amount), np.nan)),
            "amount tier": deals["amount_tier"].to_numpy(dtype=float),
            "week of the quarter": (deals["day_of_quarter"].to_numpy(dtype=float) - 1) // 7,
            "pushes": deals["pushes"].to_numpy(dtype=float),
            "changes of the amount": deals["amount_changes"].to_numpy(dtype=float),
            "visit of the stage": deals["visit_number"].to_numpy(dtype=float),
            "stages skipped": deals["stages_skipped"].to_numpy(dtype=float),
            "weeks to the close date": (closes_on - day) / 7,
            "owner's record": owner_records(deals["owner_key"], day, snapshots.closings),
        },
        closes_on=closes_on,
        closed_on=np.where(np.isnan(closed_on), np.inf, closed_on),
        is_won=(deals["outcome"] == "won").to_numpy(),
        ends=np.array([quarter.ends_on.toordinal() for quarter in quarters.quarters], dtype=float),
        owner_changes_from=_first_owner_change(number, owner, day),
    )


def owner_records(owners: pd.Series, day: Array, closings: pd.DataFrame) -> Array:
    """Share won of what each row's owner had closed by the row's day, drawn towards that of all owners.

    `closings`: owner_key, closed_on, won, closed. nan before anything was closed.
    """
    won_of_all, closed_of_all = _sums_until(day, closings)
    overall = np.divide(won_of_all, closed_of_all, out=np.full(len(day), np.nan), where=closed_of_all > 0)
    records = overall.copy()
    places = owners.reset_index(drop=True).groupby(owners.to_numpy(), sort=True).indices
    for key, own in closings.groupby("owner_key", sort=True):
        rows = places.get(key)
        if rows is not None:
            won, closed = _sums_until(day[rows], own)
            records[rows] = (won + PRIOR_CLOSINGS * overall[rows]) / (closed + PRIOR_CLOSINGS)
    return records


def _sums_until(day: Array, closings: pd.DataFrame) -> tuple[Array, Array]:
    ordered = closings.sort_values("closed_on", kind="stable")
    places = np.searchsorted(_ordinals(ordered["closed_on"]), day, side="right")
    sums = (
        np.concatenate([[0.0], ordered[name].to_numpy(dtype=float).cumsum()]) for name in ("won", "closed")
    )
    won, closed = (total[places] for total in sums)
    return won, closed


def usable_features(book: DealBook, known: Array, until: float) -> tuple[list[str], list[str]]:
    """Names of the features that may be learned from on day `until`, and a sentence per refused one.

    `known`: rows to learn from. Refused is what has no value at all on past days (fields without a history
    arrive empty), what is filled on deals of one fate and hardly on those of another, and owners that never
    change: they may be those of today. What has one value only is left out without a word.
    """
    names, refused = [], []
    closed = book.closed_on[known] <= until
    won, lost = closed & book.is_won[known], closed & ~book.is_won[known]
    for name, values in book.features.items():
        seen = values[known]
        filled = ~np.isnan(seen)
        leak = _leak(filled, {"open": ~closed, "closed": closed, "won": won, "lost": lost})
        if not filled.any():
            refused.append(f"{name}: not known of past days")
        elif leak:
            refused.append(f"{name}: {leak}")
        elif name == "owner's record" and book.owner_changes_from > until:
            refused.append(f"{name}: no deal ever changes its owner, so it may be the owner of today")
        elif seen[filled].min() < seen[filled].max():
            names.append(name)
    return names, refused


def _leak(filled: Array, fates: dict[str, Array]) -> str | None:
    shares = {
        fate: float(filled[rows].mean()) for fate, rows in fates.items() if rows.sum() >= FEWEST_TO_COMPARE
    }
    for pair in (("open", "closed"), ("won", "lost")):
        if not all(fate in shares for fate in pair):
            continue
        low, high = sorted(pair, key=lambda fate: shares[fate])
        if shares[high] >= FEWEST_FILLED and shares[low] < LEAK_RATIO * shares[high]:
            return (
                f"filled on {shares[low]:.0%} of {low} deals and {shares[high]:.0%} of {high} ones, "
                "so it would tell the outcome"
            )
    return None


def _ordinals(dates: pd.Series) -> Array:
    """Ordinal days as floats, nan where there is no date."""
    stamps = pd.to_datetime(dates).to_numpy().astype("datetime64[D]")
    days = stamps.astype(np.int64).astype(float) + pd.Timestamp(0).toordinal()
    return np.where(np.isnat(stamps), np.nan, days)


def _codes(keys: pd.Series) -> Array:
    """Classes as numbers by the order of their keys; nan for none."""
    codes = pd.factorize(keys, sort=True)[0].astype(float)
    return np.where((codes < 0) | (codes >= MOST_CODES), np.nan, codes)


def _first_owner_change(deal: Array, owner: Array, day: Array) -> float:
    order = np.lexsort((day, deal))
    changed = (np.diff(deal[order]) == 0) & (np.diff(owner[order]) != 0)
    return float(day[order][1:][changed].min()) if changed.any() else float("inf")
