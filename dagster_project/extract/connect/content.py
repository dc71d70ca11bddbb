"""What columns are by their content alone, where headers say nothing: key, stage, amount, references."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import pandas as pd

from dagster_project.extract.connect.joins import Join
from dagster_project.extract.connect.profile import Column, FileProfile

_MOST_STAGES = 40
Match = TypeVar("Match")


def deals_by_content(
    profile: FileProfile,
    fields: Mapping[str, Match],
    joins: Sequence[Join],
    make: Callable[[str, Column, str, str], Match],
) -> dict[str, Match]:
    """The fields of the deals with key, stage and amount added from the content, where words found none.

    `make` builds a match from field, column, evidence and confidence.
    """
    found = dict(fields)
    used = {match.column.index for match in found.values()}  # type: ignore[attr-defined]
    referring = {join.column.index for join in joins if join.source is profile}
    free = [column for column in profile.columns if column.index not in used | referring]
    if "deal_id" not in found:
        keys = [column for column in free if column.is_key and column.kind in ("text", "number")]
        if keys:
            found["deal_id"] = make("deal_id", keys[0], f"unique in all {profile.rows:,} rows", "medium")
            free.remove(keys[0])
    if "stage" not in found and (stage := find_stage(free, profile.columns)):
        column, share = stage
        why = f"its {len(column.distinct)} values tell {share:.0%} of which dates and amounts are filled"
        found["stage"] = make("stage", column, why, "medium")
        free.remove(column)
    if "amount" not in found:
        numbers = [c for c in free if c.kind == "number" and not c.is_key and len(c.distinct) > 20]
        if numbers:
            column = max(numbers, key=lambda c: len(c.distinct))
            found["amount"] = make("amount", column, "the number with the most different values", "low")
    return found


def find_stage(free: Sequence[Column], columns: Sequence[Column]) -> tuple[Column, float] | None:
    """The column of few values that best tells which dates and numbers are filled, and how well (0 to 1)."""
    sparse = [c for c in columns if (c.is_dated or c.kind == "number") and 0.02 < c.fill_share < 0.98]
    ranked = [
        (explained(column, sparse), column)
        for column in free
        if column.kind == "text" and 2 <= len(column.distinct) <= _MOST_STAGES and column.fill_share > 0.95
    ]
    if not ranked:
        return None
    share, column = max(ranked, key=lambda item: item[0])
    return (column, share) if share > 0.2 else None


def explained(column: Column, sparse: Sequence[Column]) -> float:
    """Mean share of the variance of "is filled" of some columns that lies between the values of one."""
    shares: list[float] = []
    for other in sparse:
        filled = other.values.notna().astype(float)
        total = float(filled.var(ddof=0))
        means = filled.groupby(column.values.fillna("")).transform("mean")
        shares.append(float(pd.Series(means).var(ddof=0)) / total if total else 0.0)
    return sum(shares) / len(shares) if shares else 0.0


def fields_by_content(entity: str, join: Join, amount: Column | None) -> float:
    """How much the content of a file speaks for an entity, 0 to 0.5; a tie-break where words are silent.

    Products have a price near the amounts of their deals; every deal has an owner, and owners have teams.
    """
    numbers = [column for column in join.target.columns if column.kind == "number"]
    if entity == "products" and amount is not None:
        return 0.5 * max((_price_fit(join, column, amount) for column in numbers), default=0.0)
    if entity == "owners":
        has_teams = any(2 <= len(c.distinct) <= join.target.rows / 2 for c in join.target.columns)
        return 0.3 * (join.column.fill_share > 0.99) * has_teams * (not numbers)
    if entity == "accounts":
        return 0.2 * (join.target.rows >= 30) + 0.1 * (join.column.fill_share < 0.99)
    return 0.0


def price_column(join: Join, amount: Column | None) -> Column | None:
    """The column of a products file that most deals' amounts are near, if there is one."""
    numbers = [column for column in join.target.columns if column.kind == "number"]
    if amount is None or not numbers:
        return None
    best = max(numbers, key=lambda column: _price_fit(join, column, amount))
    return best if _price_fit(join, best, amount) > 0.5 else None


def _price_fit(join: Join, price: Column, amount: Column) -> float:
    """Share of the deals whose amount is within half and double the price of what they name."""
    prices = dict(zip(join.key.values, price.numbers, strict=True))
    named = join.column.values.map(prices).astype("float64")
    both = named.gt(0) & amount.numbers.gt(0)
    ratio = (amount.numbers[both] / named[both]).between(0.5, 2.0)
    return float(ratio.mean()) if len(ratio) else 0.0
