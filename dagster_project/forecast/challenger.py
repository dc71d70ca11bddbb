"""The challenger of the hazards: learned from what was known of each deal, served only through the gate.

Time goes in fiscal quarters: of a deal that is open when a window begins, boosted trees tell how likely it is
won, lost or neither in it (a discrete-time hazard with competing risks). Windows chain to the chance of each
of five quarters, which is averaged with that of the win curves. A model is made once per fiscal quarter, from
the windows that had ended before it began: on a day, nothing is known that was not known then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dagster_project.forecast.deal_features import (
    CLASSES,
    NEITHER,
    WIN,
    WINDOWS,
    DealBook,
    deal_book,
    usable_features,
)
from dagster_project.forecast.deal_snapshots import Snapshots
from dagster_project.forecast.fiscal_quarters import FiscalQuarters

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

Array = np.ndarray

MODEL_VERSION = "1"
MOST_ROWS = 20_000
"""A model learns from so many windows of deals at most; more are thinned by a hash of deal and day."""

FEWEST_OF_A_KIND = 30
"""Wins, and windows without one, that a model must have seen; there may be no losses on record at all."""

WEEKS_BACK = 156
TREES = {
    "learning_rate": 0.15,
    "max_iter": 40,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 200,
    "l2_regularization": 20.0,
    "max_bins": 64,
}
"""Bins: quantiles of weighted rows took half of the time with 255 of them."""

WEIGHT = 0.5
"""Of the learned chance beside that of the curves."""

COLUMNS = ("as_of", "quarter_number", "open_expected", "new_expected")


@dataclass(frozen=True)
class Challenge:
    """What the challenger expects, and what it refused to learn from.

    expected: as_of, quarter_number, open_expected, new_expected (amounts), as `Evidence.by_hazards`.
    refused: a sentence per feature that the newest model did without.
    """

    expected: pd.DataFrame
    refused: tuple[str, ...]


NO_CHALLENGE = Challenge(pd.DataFrame(columns=list(COLUMNS)), ())


@dataclass(frozen=True)
class Model:
    """Trees and the features that they look at; `windows`: of how many windows they have seen the end."""

    trees: HistGradientBoostingClassifier
    names: tuple[str, ...]
    windows: int

    def chances(self, book: DealBook, rows: Array) -> Array:
        """[row, window] P(won in the window), averaged with the chance by the curves."""
        learned = book.chances[rows].copy()
        still_open = np.ones(len(rows))
        for window in range(self.windows):
            start, end = (edge[rows] for edge in book.window(window))
            told = np.zeros((len(rows), 3))
            with _one_thread():
                told[:, self.trees.classes_] = self.trees.predict_proba(book.inputs(window, rows, self.names))
            told[end <= start] = np.eye(3)[NEITHER]
            learned[:, window] = still_open * told[:, WIN]
            still_open = still_open * told[:, NEITHER]
        return WEIGHT * learned + (1 - WEIGHT) * book.chances[rows]


def challenge_hazards(snapshots: Snapshots, by_hazards: pd.DataFrame, quarters: FiscalQuarters) -> Challenge:
    """Expected bookings of all days that hazards have an answer for, once a model could be made.

    `by_hazards`: COLUMNS; the part of deals not yet created is taken from there. Where only some deals of a
    day were looked at, what they tell is scaled by what hazards expect of all. Equal for equal arguments to
    the last bit, however many threads there are.
    """
    if snapshots.deals.empty or by_hazards.empty:
        return NO_CHALLENGE
    book = deal_book(snapshots, quarters)
    chances = np.full(book.chances.shape, np.nan)
    judged: list[int] = []
    refused: list[str] = []
    for quarter in np.unique(book.quarter):
        model, found = train(book, quarter)
        if model is not None:
            rows = np.flatnonzero(book.quarter == quarter)
            chances[rows], refused = model.chances(book, rows), found
            judged.append(quarter)
    answered = by_hazards[[quarters.position_of(day.date()) in judged for day in by_hazards["as_of"]]]
    return Challenge(_combined(_expected(snapshots, book, chances), answered), tuple(refused))


def train(book: DealBook, quarter: int) -> tuple[Model | None, list[str]]:
    """The model for days of a fiscal quarter (its position), from windows that ended before it began.

    None with fewer than 30 wins, or 30 windows without one, to learn from. Also a sentence per
    refused feature.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    until = book.ends[quarter - 1] if quarter > 0 else -np.inf
    parts = list(_ended_windows(book, until))
    if not parts:
        return None, []
    outcomes = np.concatenate([outcome for _, _, outcome in parts])
    if np.bincount(outcomes, minlength=3)[[NEITHER, WIN]].min() < FEWEST_OF_A_KIND:
        return None, []
    names, refused = usable_features(book, np.unique(np.concatenate([rows for _, rows, _ in parts])), until)
    kept = [_thinned(book, window, rows, len(outcomes)) for window, rows, _ in parts]
    inputs = np.concatenate(
        [book.inputs(window, rows[keep], names) for (window, rows, _), keep in zip(parts, kept, strict=True)]
    )
    outcomes = np.concatenate([outcome[keep] for (_, _, outcome), keep in zip(parts, kept, strict=True)])
    weights = np.concatenate(
        [book.stands_for[rows[keep]] for (_, rows, _), keep in zip(parts, kept, strict=True)]
    )
    if not np.isin([NEITHER, WIN], outcomes).all():
        return None, []
    trees = HistGradientBoostingClassifier(
        **TREES,
        early_stopping=False,
        categorical_features=[place for place, name in enumerate(names) if name in CLASSES],
        random_state=_seed(until),
    )
    with _one_thread():
        trees.fit(inputs, outcomes, sample_weight=None if (weights == 1).all() else weights)
    return Model(trees, tuple(names), 1 + max(window for window, _, _ in parts)), refused


def _ended_windows(book: DealBook, until: float) -> Iterator[tuple[int, Array, Array]]:
    """Per window its number, the rows that were open when it began, and their outcomes; all ended by then."""
    for window in range(WINDOWS):
        _, end = book.window(window)
        outcome, was_open = book.outcome_in(window)
        rows = np.flatnonzero(was_open & (end <= until) & (book.day > until - 7 * WEEKS_BACK))
        if len(rows):
            yield window, rows, outcome[rows]


def _thinned(book: DealBook, window: int, rows: Array, all_rows: int) -> Array:
    """Which rows to keep: every n-th of all by a hash of deal, day and window."""
    every_nth = -(-all_rows // MOST_ROWS)
    with np.errstate(over="ignore"):
        mixed = book.deal[rows].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= (book.day[rows].astype(np.uint64) * np.uint64(8) + np.uint64(window)) * np.uint64(
            0xC2B2AE3D27D4EB4F
        )
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(32)) % np.uint64(every_nth) == 0


@contextmanager
def _one_thread() -> Iterator[None]:
    """Iterations are too short to be shared out: on busy cores, threads took five times the CPU seconds."""
    # The threads of a library can be limited once it is loaded, not before.
    import sklearn.ensemble  # noqa: F401
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def _seed(until: float) -> int:
    text = f"{until:.0f} {MODEL_VERSION}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def _expected(snapshots: Snapshots, book: DealBook, chances: Array) -> pd.DataFrame:
    """Per day and quarter what the looked-at deals tell, by the model and by the curves."""
    rows = np.flatnonzero(np.isfinite(chances).all(axis=1))
    as_of = snapshots.deals["as_of"].to_numpy()[rows]
    number = snapshots.deals["quarter_number"].to_numpy(dtype=np.int64)[rows]
    worth = book.amount_if_won[rows] * book.stands_for[rows]
    return pd.concat(
        pd.DataFrame(
            {
                "as_of": as_of,
                "quarter_number": number + window,
                "told": worth * chances[rows, window],
                "by_curves": worth * book.chances[rows, window],
                "stands_for": book.stands_for[rows],
            }
        )
        .groupby(["as_of", "quarter_number"], as_index=False)
        .agg(told=("told", "sum"), by_curves=("by_curves", "sum"), stands_for=("stands_for", "max"))
        for window in range(WINDOWS)
    )


def _combined(told: pd.DataFrame, by_hazards: pd.DataFrame) -> pd.DataFrame:
    """The answer of hazards with the open part told by the model; a day without open deals keeps it."""
    both = by_hazards[list(COLUMNS)].merge(told, on=["as_of", "quarter_number"], how="left")
    curves = both["by_curves"].to_numpy()
    ratio = np.divide(both["told"].to_numpy(), curves, out=np.ones(len(both)), where=curves > 0)
    of_all = np.where(both["stands_for"] == 1, both["told"], both["open_expected"] * ratio)
    both["open_expected"] = of_all.astype(float).round(2)
    return both[list(COLUMNS)].sort_values(["as_of", "quarter_number"], ignore_index=True)
