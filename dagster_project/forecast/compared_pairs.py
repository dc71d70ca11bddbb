"""Which stored forecasts are compared with which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from dagster_project.forecast.tables import BACKFILL, LIVE


@dataclass(frozen=True, order=True)
class Stored:
    """A stored forecast: its day, and whether it is live or a backfill."""

    as_of: date
    kind: str


@dataclass(frozen=True, order=True)
class Pair:
    """A stored forecast and the one before it."""

    now: Stored
    prior: Stored


def pairs_to_compare(stored: Sequence[Stored], days: Sequence[date], done: Sequence[Pair]) -> list[Pair]:
    """Which stored forecasts to compare with the ones before them, now that `days` have been forecast.

    Those of `days`, and those whose prior forecast is of one of `days`: it may be another one now. The prior
    forecast is that of the newest earlier day that has any, live where there are two. A live forecast is
    compared once: again only if its prior forecast is another one, or a backfill made again (`done`: the
    pairs that are stored).
    """
    ordered = sorted({one.as_of for one in stored})
    kinds = {one.as_of: {other.kind for other in stored if other.as_of == one.as_of} for one in stored}
    asked, known = set(days), set(done)
    pairs = []
    for place, day in enumerate(ordered[1:]):
        prior = Stored(ordered[place], LIVE if LIVE in kinds[ordered[place]] else BACKFILL)
        if not {day, prior.as_of} & asked:
            continue
        for kind in sorted(kinds[day]):
            pair = Pair(Stored(day, kind), prior)
            is_settled = kind == LIVE and (prior.kind == LIVE or prior.as_of not in asked)
            if not (is_settled and pair in known):
                pairs.append(pair)
    return pairs
