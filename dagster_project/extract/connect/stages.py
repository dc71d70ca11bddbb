"""Which stages there are, in which order, how they end a deal, and which date tells the entry into which.

The evidence, strongest first: a stage log, one date column per stage, which dates are filled in which stage,
a status or probability, the stages' names.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from dagster_project.extract.connect.profile import Column
from dagster_project.extract.connect.stage_facts import (
    NEARLY_ALL,
    NEARLY_NONE,
    Confidence,
    StageFacts,
    all_stages,
    fill_shares,
)
from dagster_project.extract.connect.stage_order import stage_places
from dagster_project.extract.connect.vocabulary import (
    ENTERED,
    dates_stage_change,
    is_about_stages,
    outcome_by_name,
    words,
)

_FEWEST, _MOSTLY = 5, 0.5


@dataclass(frozen=True)
class StageProposal:
    """One stage with its place, its outcome (open, won, lost, closed_other) and why."""

    name: str
    pipeline: str | None
    order: int
    outcome: str
    deals: int
    evidence: str
    confidence: Confidence


@dataclass(frozen=True)
class StageReading:
    """What was found out about the stages of a deals file.

    `entered`: stage → header of the column with the date of its entry. `closing`: header of the column that
    is filled in closed stages only. `created`: header of the earliest date, which every deal has.
    """

    stages: tuple[StageProposal, ...]
    entered: Mapping[str, str] = field(default_factory=dict)
    closing: str | None = None
    created: str | None = None
    notes: tuple[str, ...] = ()


def stage_columns(
    headers: Sequence[str], stages: Sequence[str], pipelines: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Stage → headers that date its entry by name, such as `Date entered "Quote (Sales)"`.

    A stage in quotes counts also when no deal is in it now; a pipeline in brackets after it is left out.
    """
    known = {words(stage): stage for stage in stages}
    found: dict[str, list[str]] = {}
    for header in headers:
        if not ENTERED.match(header):
            continue
        name = ENTERED.sub("", header).strip().strip("\"'“”")
        short, pipeline = re.fullmatch(r"(.*?)(?:\s*\(([^()]*)\))?", name).groups()
        stage = known.get(words(name)) or known.get(words(short))
        if stage is None and re.search(r"[\"“'].+[\"”']$", header):
            stage = short if pipeline in pipelines else name
            known[words(stage)] = stage
        if stage is not None:
            found.setdefault(stage, []).append(header)
    return found


def read_stages(facts: StageFacts) -> StageReading:
    """Infer order, outcomes and entry dates of the stages that deals are in (and a log has seen)."""
    several = facts.pipeline is not None and facts.pipeline.nunique() > 1
    fills = fill_shares(facts)
    closing = closing_column(facts, fills)
    pipelines = [] if facts.pipeline is None else list(facts.pipeline.dropna().unique())
    filled = {column.header: len(column.filled) for column in facts.dates}
    named = stage_columns(sorted(filled, key=lambda h: -filled[h]), all_stages(facts), pipelines)
    passed = [stage for stage in named if stage not in all_stages(facts)]
    closed = closed_stages(facts, fills, closing) | (
        ends_by_dates(facts, named) if closing is None else set()
    )
    closed |= {stage for stage in passed if outcome_by_name(stage)}
    proposals: list[StageProposal] = []
    for pipeline in sorted(pipelines) if several else [None]:
        own = facts.stage if pipeline is None else facts.stage[facts.pipeline == pipeline]
        mark = f"({pipeline})"
        here = {s: [h for h in hs if mark in h] or hs for s, hs in named.items()} if several else named
        names = [*all_stages(facts), *passed]
        if several:
            seen = set(own.dropna())
            names = [n for n in names if n in seen or any(mark in header for header in here.get(n, ()))]
        places, evidence, confidence = stage_places(names, facts, fills, here, closed)
        ends = {name: outcome_of(name, facts, closed) for name in names if name in closed}
        ordered = sorted(names, key=lambda n: (n in ends, _end_rank(ends, n), places[n], n))
        counts = own.value_counts()
        for order, name in enumerate(ordered, start=1):
            outcome, why, sure = ends.get(name, ("open", evidence, confidence))
            proposals.append(
                StageProposal(name, pipeline, order, outcome, int(counts.get(name, 0)), why, sure)
            )
    entered = entry_columns(proposals, facts, fills, named, closing)
    created = created_column(facts, closing)
    notes = tuple(
        f"CHECK: {stage} has {len(headers)} entry dates, one per pipeline; only that of most deals is used, "
        f"without {', '.join(headers[1:])}"
        for stage, headers in named.items()
        if len(headers) > 1
    )
    return StageReading(tuple(proposals), entered, closing, created, notes)


def closing_column(facts: StageFacts, fills: pd.DataFrame) -> str | None:
    """The dated column that some stages (at most all but one) nearly always fill and the others nearly never.

    Of several, the one whose filled stages are the fewest, and its dates the latest.
    """
    open_ones = set(fills.index) - closed_by_word(facts)
    found: list[tuple[int, float, str]] = []
    for column in facts.dates:
        if column.header not in fills or is_about_stages(column.header):
            continue
        shares = fills[column.header]
        full, none = shares >= NEARLY_ALL, shares <= NEARLY_NONE
        if not full.any() or not none.any() or not (full | none).all():
            continue
        days = column.days.dropna()
        found.append((int(full.sum()), -float(days.astype("int64").median()), column.header))
    found = [item for item in found if not closed_by_word(facts) or _leaves_open(fills[item[2]], open_ones)]
    return min(found)[2] if found else None


def _leaves_open(shares: pd.Series, open_ones: set[str]) -> bool:
    return all(shares[name] <= NEARLY_NONE for name in open_ones)


def closed_by_word(facts: StageFacts) -> set[str]:
    """Stages that are closed by status, by name, or because the log never leaves them."""
    found = {name for name in all_stages(facts) if outcome_by_name(name)}
    if facts.status is None:
        return found
    outcome = facts.status.map(lambda text: outcome_by_name(str(text)))
    return closed_by_status(facts.stage, outcome) if outcome.notna().any() else found


def closed_by_status(stage: pd.Series, outcome: pd.Series) -> set[str]:
    """Stages whose deals ended in one way, if they hold nearly all deals that did.

    Where the status alone ends a deal, its stage stays the one it ended in, and says nothing.
    """
    found: set[str] = set()
    for name in outcome.dropna().unique():
        ended = outcome == name
        shares = ended.groupby(stage).mean()
        own = set(shares[shares >= NEARLY_ALL].index)
        if stage[ended].isin(own).mean() >= NEARLY_ALL:
            found |= own
    return found


def closed_stages(facts: StageFacts, fills: pd.DataFrame, closing: str | None) -> set[str]:
    """Stages that end a deal: by status or name, else those that alone fill the closing date."""
    by_word = closed_by_word(facts)
    if facts.status is not None and facts.status.map(lambda t: outcome_by_name(str(t))).notna().any():
        return by_word
    if closing is not None:
        return by_word | set(fills.index[fills[closing] >= NEARLY_ALL])
    if by_word or facts.log is None or "from_stage" not in facts.log:
        return by_word
    left = facts.log["from_stage"].value_counts()
    entered = facts.log["stage"].value_counts()
    return {name for name in all_stages(facts) if left.get(name, 0) <= NEARLY_NONE * entered.get(name, 0)}


def ends_by_dates(facts: StageFacts, named: Mapping[str, Sequence[str]]) -> set[str]:
    """Stages that no deal leaves, by the columns that date the entries, where nothing else may name them.

    A stage beside ends that are known by their names, such as one of parked deals, needs a probability or a
    lost reason too.
    """
    if facts.status is not None:
        return set()
    columns = {column.header: column.values for column in facts.dates}
    found: set[str] = set()
    for name, headers in named.items():
        here = facts.stage == name
        entered = pd.concat([columns[header].notna() for header in headers], axis=1).any(axis=1) | here
        if here.sum() >= _FEWEST and (entered & ~here).sum() <= NEARLY_NONE * entered.sum():
            found.add(name)
    if not any(outcome_by_name(name) for name in all_stages(facts)):
        return found
    return {name for name in found if outcome_of(name, facts, found)[2] == "high"}


def outcome_of(name: str, facts: StageFacts, closed: set[str]) -> tuple[str, str, Confidence]:
    """How a closed stage ends a deal: outcome, evidence, confidence."""
    rows = facts.stage == name
    if facts.status is not None:
        told = facts.status[rows].map(lambda text: outcome_by_name(str(text))).dropna()
        if len(told):
            return str(told.mode().iloc[0]), "by the status of its deals", "high"
    if by_name := outcome_by_name(name):
        return by_name, "by its name", "high"
    if facts.probability is not None and facts.probability[rows].notna().any():
        mean = float(facts.probability[rows].mean())
        if mean in (0.0, 1.0, 100.0):
            return ("lost" if mean == 0 else "won"), f"its probability is {mean:g}", "high"
    if facts.has_lost_reason is not None:
        reasons = facts.has_lost_reason.groupby(facts.stage).mean()
        share, most = float(reasons.get(name, 0.0)), max(float(reasons.get(end, 0.0)) for end in closed)
        if share >= _MOSTLY:
            return "lost", f"{share:.0%} of its deals have a lost reason", "high"
        if most >= _MOSTLY and share <= NEARLY_NONE:
            return "won", "it ends deals, and none of them has a lost reason: look", "low"
    if facts.amount is not None:
        positive = (facts.amount > 0).groupby(facts.stage).mean()
        shares = {stage: float(positive.get(stage, 0.0)) for stage in closed}
        best, worst = max(shares, key=shares.__getitem__), min(shares, key=shares.__getitem__)
        if shares[best] - shares[worst] > 0.5 and name in (best, worst):
            other = worst if name == best else best
            why = f"{shares[name]:.0%} of its deals have an amount above zero; of {other} {shares[other]:.0%}"
            return ("won" if name == best else "lost"), why, "medium"
    return "closed_other", "it closes deals, but nothing tells whether won or lost", "low"


def entry_columns(
    proposals: Sequence[StageProposal],
    facts: StageFacts,
    fills: pd.DataFrame,
    named: Mapping[str, Sequence[str]],
    closing: str | None,
) -> dict[str, str]:
    """Stage → column with the date of its entry: by the header's words, else by where its filling begins.

    The date of the last change of stage dates the stage that a deal is in, where it has no other column.
    """
    if named:
        return {stage: headers[0] for stage, headers in named.items()}
    if facts.log is not None:
        return {}
    moved = next((column.header for column in facts.dates if dates_stage_change(column.header)), None)
    last = {stage.name: moved for stage in proposals} if moved else {}
    if facts.pipeline is not None and facts.pipeline.nunique() > 1:
        return last
    return last | _columns_by_filling(proposals, facts, fills, closing)


def _columns_by_filling(
    proposals: Sequence[StageProposal], facts: StageFacts, fills: pd.DataFrame, closing: str | None
) -> dict[str, str]:
    """Stage → column that is blank before it and filled from it on; ends → the column of their closing."""
    open_ones = [p.name for p in proposals if p.outcome == "open" and p.name in fills.index]
    ends = [p.name for p in proposals if p.outcome != "open" and p.name in fills.index]
    entered: dict[str, str] = {}
    for column in facts.dates:
        if column.header == closing or dates_stage_change(column.header):
            continue
        if not _may_be_entry(column, facts, closing):
            continue
        shares = fills[column.header]
        full = [shares[name] >= NEARLY_ALL for name in open_ones]
        none = [shares[name] <= NEARLY_NONE for name in open_ones]
        first = full.index(True) if True in full else len(open_ones)
        # Blank before the stage, filled from it on: that is how an entry date fills.
        if not 0 < first < len(open_ones) or not all(none[:first]) or not all(full[first:]):
            continue
        entered.setdefault(open_ones[first], column.header)
    if closing is not None:
        entered |= {name: closing for name in ends if fills[closing][name] >= NEARLY_ALL}
    return entered


def created_column(facts: StageFacts, closing: str | None) -> str | None:
    """The dated column that all deals fill and that lies before every other date of the deal."""
    full = [c for c in facts.dates if c.fill_share >= NEARLY_ALL]
    for column in full:
        later = [other for other in facts.dates if other is not column]
        if later and all(_share_before(column.days, other.days) >= NEARLY_ALL for other in later):
            return column.header
    return None


def _may_be_entry(column: Column, facts: StageFacts, closing: str | None) -> bool:
    end = next((c for c in facts.dates if c.header == closing), None)
    return end is None or _share_before(column.days, end.days) >= NEARLY_ALL


def _share_before(first: pd.Series, second: pd.Series) -> float:
    both = first.notna() & second.notna()
    return float((first[both].dt.normalize() <= second[both].dt.normalize()).mean()) if both.any() else 1.0


def _end_rank(ends: Mapping[str, tuple[str, str, Confidence]], name: str) -> int:
    return ("won", "lost", "closed_other").index(ends[name][0]) if name in ends else 0
