"""What a business's own words for the state of a deal mean: by name, else by what such deals have filled."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from dagster_project.extract.connect.profile import Column
from dagster_project.extract.connect.stage_facts import NEARLY_ALL, NEARLY_NONE, Confidence
from dagster_project.extract.connect.values import known_statuses
from dagster_project.extract.connect.vocabulary import is_about_stages, outcome_by_name

_MOSTLY = 0.5
# More different texts are no states of a deal.
_MOST_WORDS = 12


@dataclass(frozen=True)
class StatusProposal:
    """One word for the state of a deal, what it means (open, won, lost, closed_other) and why."""

    word: str
    outcome: str
    deals: int
    evidence: str
    confidence: Confidence


@dataclass(frozen=True)
class StatusReading:
    """The words that need a line in the configuration. `closing`: header of the column of closed deals."""

    words: tuple[StatusProposal, ...] = ()
    closing: str | None = None

    def translated(self, status: pd.Series) -> pd.Series:
        """The states of deals in our words, as far as they are known."""
        return status.replace({one.word: one.outcome for one in self.words})


def read_statuses(
    status: pd.Series | None, dates: Sequence[Column], has_lost_reason: pd.Series | None
) -> StatusReading:
    """Say what each word of a status column means that a run would not know; the series share an index."""
    if status is None or not 0 < status.nunique() <= _MOST_WORDS:
        return StatusReading()
    counts = status.value_counts()
    known = known_statuses([str(word) for word in counts.index])
    closing = _closing_column(status, dates)
    closed = closing.values.notna().groupby(status).mean() if closing is not None else None
    reasons = has_lost_reason.groupby(status).mean() if has_lost_reason is not None else None
    found = []
    for word, ours in known.items():
        if ours is None and (told := _meaning(word, closed, reasons)) is not None:
            found.append(StatusProposal(word, told[0], int(counts[word]), told[1], told[2]))
    return StatusReading(tuple(found), closing.header if closing is not None else None)


def _closing_column(status: pd.Series, dates: Sequence[Column]) -> Column | None:
    """The dated column that some words nearly always fill and the others nearly never, the most words first.

    A column of won deals alone says less than one of all closed deals.
    """
    found: list[tuple[int, int, Column]] = []
    for column in dates:
        shares = column.values.notna().groupby(status).mean()
        full, none = shares >= NEARLY_ALL, shares <= NEARLY_NONE
        if full.any() and none.any() and (full | none).all() and not is_about_stages(column.header):
            found.append((-int(full.sum()), column.index, column))
    return min(found, key=lambda item: item[:2])[2] if found else None


def _meaning(
    word: str, closed: pd.Series | None, reasons: pd.Series | None
) -> tuple[str, str, Confidence] | None:
    if outcome := outcome_by_name(word):
        return outcome, "by its name", "high"
    if closed is not None and closed[word] <= NEARLY_NONE:
        return "open", f"{closed[word]:.0%} of its deals have a day of closing", "high"
    if reasons is not None and reasons[word] >= _MOSTLY:
        return "lost", f"{reasons[word]:.0%} of its deals have a lost reason", "high"
    if closed is None or closed[word] < NEARLY_ALL:
        return None
    if reasons is not None and reasons[word] <= NEARLY_NONE and reasons.max() >= _MOSTLY:
        return "won", "its deals are closed, and none has a lost reason: look", "low"
    return "closed_other", "its deals are closed, but nothing tells whether won or lost", "low"
