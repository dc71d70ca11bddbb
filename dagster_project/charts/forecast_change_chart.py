"""The chart of what moved a forecast: from the one before to this one, by deal and by cause."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pandas as pd

from dagster_project.charts.bridge_chart import bridge_chart
from dagster_project.charts.chart_spec import Spec, day_in_words, unit_of

# What is no single deal's, in the rows of forecast_changes.
NO_DEAL = "(none)"
MOST_DEALS = 8
MOST_LETTERS = 34

_PART_WORDS = {
    "already_won": "already won",
    "open_expected": "open deals",
    "not_yet_created_expected": "deals not yet created",
}


def waterfall_steps(changes: pd.DataFrame, before: float, names: Mapping[str, str]) -> pd.DataFrame:
    """Steps from the forecast before to this one: deals that moved most, other deals by cause, the rest.

    `changes`: deal_key, cause, part, delta of one quarter; a deal's parts are taken together, so that a won
    deal shows what it brought beyond what was expected of it. `names`: deal_key → name for a reader.
    A label begins with the cause, because a narrow chart cuts its end.
    Columns: label, delta, before, after (amounts), is_total.
    """
    deals = _by_deal(changes)
    first = _largest(deals)
    told = _apart([f"{deals.loc[key, 'cause']}: {_short(names.get(key, key))}" for key in first])
    moves = list(zip(told, deals.loc[first, "delta"], strict=True))
    others = [
        (f"{cause}: {len(rows):,} other {'deal' if len(rows) == 1 else 'deals'}", rows["delta"].sum())
        for cause, rows in deals.drop(index=first).groupby("cause", sort=True)
    ]
    moves += sorted(others, key=lambda move: -abs(move[1]))
    loose = changes[changes["deal_key"] == NO_DEAL].groupby(["part", "cause"], sort=True)["delta"].sum()
    moves += [(f"{cause}: {_PART_WORDS[part]}", delta) for (part, cause), delta in loose.items()]
    steps = pd.DataFrame(moves, columns=["label", "delta"])
    steps["after"] = before + steps["delta"].cumsum()
    steps["before"] = steps["after"] - steps["delta"]
    steps["is_total"] = False
    after = before + float(steps["delta"].sum())
    ends = pd.DataFrame(
        [("forecast before", 0.0, before, before, True), ("forecast now", 0.0, after, after, True)],
        columns=["label", "delta", "before", "after", "is_total"],
    )
    return pd.concat([ends.iloc[:1], steps[list(ends.columns)], ends.iloc[1:]], ignore_index=True)


def largest_deals(changes: pd.DataFrame) -> list[str]:
    """Keys of the deals that have a step of their own in `waterfall_steps`, the largest first."""
    return _largest(_by_deal(changes))


def _by_deal(changes: pd.DataFrame) -> pd.DataFrame:
    return (
        changes[changes["deal_key"] != NO_DEAL]
        .groupby("deal_key", sort=True)
        .agg(delta=("delta", "sum"), cause=("cause", "first"))
    )


def _largest(deals: pd.DataFrame) -> list[str]:
    return list(deals["delta"].abs().sort_values(ascending=False, kind="stable").index[:MOST_DEALS])


def waterfall_chart(
    steps: pd.DataFrame, currency: str, period: str, prior: date, now: date, width: int = 440
) -> Spec:
    """The steps as a bridge from one forecast to the next, without those that would have no length."""
    # What is a thousandth of the greatest step would be a bar without length.
    steps = steps[steps["is_total"] | (steps["delta"].abs() > steps["delta"].abs().max() / 1000)]
    _, word = unit_of(float(steps["delta"].abs().max()))
    return bridge_chart(
        steps,
        f"What moved the forecast of {period} from {day_in_words(prior)} to {day_in_words(now)}",
        f"changes in {currency}{word}: blue adds, orange takes away",
        f"forecast of {period} ({currency}%s)",
        width,
    )


def _apart(labels: list[str]) -> list[str]:
    """Equal labels would be one bar: the second is numbered."""
    return [
        label if (number := labels[:place].count(label)) == 0 else f"{label} ({number + 1})"
        for place, label in enumerate(labels)
    ]


def _short(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1].rstrip() + "…"
