"""In which order stages follow each other: by a log, by dates, by probability, by names, by age."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from dagster_project.extract.connect.stage_facts import NEARLY_ALL, Confidence, StageFacts
from dagster_project.extract.connect.vocabulary import outcome_by_name, progress_by_name, usual_pipeline

_FEWEST = 5


def stage_places(
    names: Sequence[str],
    facts: StageFacts,
    fills: pd.DataFrame,
    named: Mapping[str, Sequence[str]],
    closed: set[str],
) -> tuple[dict[str, float], str, Confidence]:
    """A number per stage to sort by, the evidence for it, and how sure it is."""
    open_ones = [name for name in names if name not in closed]
    if facts.log is not None and len(facts.log):
        return _by_log(names, facts.log), "by the order of the changes in the stage log", "high"
    if facts.snapshots is not None and facts.snapshots["deal"].duplicated().any():
        return _by_log(names, facts.snapshots), "by the order in which the exports show them", "medium"
    if sum(name in named for name in open_ones) >= 2:
        columns = {column.header: column for column in facts.dates}
        days = pd.DataFrame({n: columns[named[n][0]].days for n in names if n in named})
        return _by_pairs(names, days), "by the order of the entry dates", "high"
    counts = fills.ge(NEARLY_ALL).sum(axis=1)
    by_fill = {name: float(counts.get(name, 0)) for name in names}
    if len({by_fill[name] for name in open_ones}) == len(open_ones):
        return by_fill, "a later stage has more dates filled", "high" if len(open_ones) > 1 else "medium"
    if facts.probability is not None:
        mean = facts.probability.groupby(facts.stage).mean()
        if all(name in mean for name in open_ones) and mean[open_ones].nunique() == len(open_ones):
            return {n: float(mean.get(n, 1)) for n in names}, "by the probability of its deals", "high"
    if usual := usual_pipeline(open_ones):
        return dict.fromkeys(names, 99.0) | usual[1], f"by the order of {usual[0]}", "medium"
    by_name = {name: progress_by_name(name) for name in names}
    known = all(by_name[name] is not None for name in open_ones)
    if not known and (ages := ages_at_loss(open_ones, facts)):
        return dict.fromkeys(names, float("inf")) | ages, "later stages lose older deals: look", "low"
    if known:
        # The stage that wins has fewer dates of losing: names come first, and dates part equal ones.
        most = max(by_fill.values(), default=0) + 1
        places = {name: (by_name[name] or 0.0) + by_fill[name] / (1000 * most) for name in names}
    else:
        places = {name: by_fill[name] + (0.5 if by_name[name] is None else by_name[name]) for name in names}
    sure = "medium" if known and len({places[name] for name in open_ones}) == len(open_ones) else "low"
    why = "by the usual meaning of its name" if known else "a guess: nothing in the files tells the order"
    return places, why, sure


def ages_at_loss(names: Sequence[str], facts: StageFacts) -> dict[str, float] | None:
    """Stage → mean age in days of the deals that were lost in it; None unless five or more were in each."""
    if facts.lived is None or facts.status is None:
        return None
    is_lost = facts.status.map(lambda text: outcome_by_name(str(text)) == "lost") & facts.lived.notna()
    ages = facts.lived[is_lost].groupby(facts.stage[is_lost]).agg(["mean", "size"])
    if not len(names) or not all(name in ages.index and ages["size"][name] >= _FEWEST for name in names):
        return None
    return {name: float(ages["mean"][name]) for name in names}


def _by_log(names: Sequence[str], log: pd.DataFrame) -> dict[str, float]:
    """Stages by how often each was first entered before the other, over the deals that saw both."""
    first = log.dropna(subset=["stage"]).groupby(["deal", "stage"])["at"].min().unstack("stage")
    return _by_pairs(names, first)


def _by_pairs(names: Sequence[str], days: pd.DataFrame) -> dict[str, float]:
    """Number of stages that usually come before each stage; a column per stage, a row per deal."""
    before = {name: 0.0 for name in names}
    for one, other in combinations([name for name in names if name in days], 2):
        gap = (days[other] - days[one]).dropna()
        if gap.empty:
            continue
        ahead = float(np.sign(gap.dt.total_seconds()).mean())
        before[other if ahead > 0 else one] += 1
    return before
