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
    Columns: label, delta, before, after (amounts), is_total.
    """
    deals = (
        changes[changes["deal_key"] != NO_DEAL]
        .groupby("deal_key", sort=True)
        .agg(delta=("delta", "sum"), cause=("cause", "first"))
    )
    order = deals["delta"].abs().sort_values(ascending=False, kind="stable").index
    first = list(order[:MOST_DEALS])
    moves = [
        (f"{_short(names.get(key, key))}: {deals.loc[key, 'cause']}", deals.loc[key, "delta"])
        for key in first
    ]
    others = [
        (f"{len(rows):,} other {'deal' if len(rows) == 1 else 'deals'}: {cause}", rows["delta"].sum())
        for cause, rows in deals.drop(index=first).groupby("cause", sort=True)
    ]
    moves += sorted(others, key=lambda move: -abs(move[1]))
    loose = changes[changes["deal_key"] == NO_DEAL].groupby(["part", "cause"], sort=True)["delta"].sum()
    moves += [(f"{_PART_WORDS[part]}: {cause}", delta) for (part, cause), delta in loose.items()]
    steps = pd.DataFrame(moves, columns=["label", "delta"])
    steps["after"] = before + steps["delta"].cumsum()
    steps["before"] = steps["after"] - steps["delta"]
    steps["is_total"] = False
    after = before + float(steps["delta"].sum())
    ends = pd.DataFrame(
        [("forecast before", 0.0, before, before, True), ("forecast now", 0.0, after, after, True)],
        columns=["label", "delta", "before", "after", "is_total"],
    )
    # What is a thousandth of the greatest step would be a bar without length.
    shown = steps[steps["delta"].abs() > steps["delta"].abs().max() / 1000]
    return pd.concat([ends.iloc[:1], shown[list(ends.columns)], ends.iloc[1:]], ignore_index=True)


def waterfall_chart(
    steps: pd.DataFrame, currency: str, period: str, prior: date, now: date, width: int = 440
) -> Spec:
    """The steps as a bridge from one forecast to the next."""
    _, word = unit_of(float(steps["delta"].abs().max()))
    return bridge_chart(
        steps,
        f"What moved the forecast of {period} from {day_in_words(prior)} to {day_in_words(now)}",
        f"changes in {currency}{word}: blue adds, orange takes away",
        f"forecast of {period} ({currency}%s)",
        width,
    )


def _short(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1].rstrip() + "…"
