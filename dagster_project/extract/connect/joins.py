"""Content against content: which column of one file names the rows of another, and which names nearly do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from dagster_project.extract.connect.profile import Column, FileProfile

# Two columns belong together when most values of the one are found in the other.
CONTAINED = 0.6
_NEAR = 0.9


@dataclass(frozen=True)
class Join:
    """`source`.`column` names rows of `target`.`key`; `share` of its different values are found there."""

    source: FileProfile
    column: Column
    target: FileProfile
    key: Column
    share: float


@dataclass(frozen=True)
class Alias:
    """A name that is not known and the one known name it means; `is_sure` when only marks and case differ."""

    alias: str
    name: str
    rows: int
    is_sure: bool


def find_joins(files: Sequence[FileProfile]) -> list[Join]:
    """Every column that names the rows of another file by their unique key, the closest first."""
    found: list[Join] = []
    for target in files:
        for key in target.columns:
            if not key.is_key or len(key.distinct) < 2 or not _is_name(key):
                continue
            for source in files:
                if source is target:
                    continue
                for column in source.columns:
                    share = containment(column, key)
                    if share >= CONTAINED and _is_name(column):
                        found.append(Join(source, column, target, key, share))
    return sorted(found, key=lambda join: (-join.share, -len(join.column.distinct)))


def containment(column: Column, key: Column) -> float:
    """Share of the different values of a column that are values of a key."""
    if len(column.distinct) < 2:
        return 0.0
    return len(column.distinct & key.distinct) / len(column.distinct)


def find_aliases(column: Column, key: Column, names: Column | None = None) -> list[Alias]:
    """Values of a column that the key does not have, with the one value they nearly are."""
    known = key.distinct | (names.distinct if names else frozenset())
    counts = column.filled.value_counts()
    by_letters: dict[str, set[str]] = {}
    for name in sorted(known):
        by_letters.setdefault(letters(name), set()).add(name)
    found: list[Alias] = []
    for text in sorted(column.distinct - known):
        same = by_letters.get(letters(text), set())
        if len(same) == 1:
            found.append(Alias(text, next(iter(same)), int(counts[text]), True))
        elif not same and len(known) <= 5_000:
            near = [name for name in sorted(known) if _ratio(text, name) >= _NEAR]
            if len(near) == 1:
                found.append(Alias(text, near[0], int(counts[text]), False))
    return found


def letters(name: str) -> str:
    """A name without case, blanks and marks."""
    return re.sub(r"[\W_]+", "", name).casefold()


def _ratio(one: str, other: str) -> float:
    # Names that differ in a digit are two things (Plan 1, Plan 2), never a slip of the pen.
    if re.sub(r"\D", "", one) != re.sub(r"\D", "", other):
        return 0.0
    return SequenceMatcher(None, one.casefold(), other.casefold()).ratio()


def _is_name(column: Column) -> bool:
    """Names and whole-number ids; a price or a date that happens to occur elsewhere is no reference."""
    if column.kind == "text":
        return True
    return column.kind == "number" and all(value.isdigit() for value in list(column.distinct)[:200])
