"""The chart of what moved a forecast: from the one before to this one, by deal and by cause."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pandas as pd

from dagster_project.forecast.chart_spec import (
    BLUE,
    INK,
    ORANGE,
    Spec,
    day_in_words,
    framed,
    layer,
    unit_of,
)
from dagster_project.forecast.review_tables import NO_DEAL

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


def waterfall_chart(steps: pd.DataFrame, currency: str, period: str, prior: date, now: date) -> Spec:
    """Each bar begins where the one above ends; the scale does not begin at zero, so the ends are ticks."""
    unit, word = unit_of(float(steps[["before", "after"]].abs().max().max()))
    small, small_word = unit_of(float(steps["delta"].abs().max()))
    rows = [
        {
            "step": row.label,
            "from": row.before / unit,
            "to": row.after / unit,
            "right": max(row.before, row.after) / unit,
            "kind": "total" if row.is_total else ("up" if row.delta >= 0 else "down"),
            "label": f"{row.after / unit:,.2f}" if row.is_total else f"{row.delta / small:+,.1f}",
        }
        for row in steps.itertuples()
    ]
    low, high = min(min(row["from"], row["to"]) for row in rows), max(row["right"] for row in rows)
    margin = (high - low) * 0.16 or abs(high) * 0.05 or 1.0
    x = {
        "type": "quantitative",
        "scale": {"domain": [low - margin / 4, high + margin], "zero": False, "nice": False},
        "axis": {"title": f"forecast of {period} ({currency}{word})", "tickCount": 5, "format": ",.2f"},
    }
    y = {
        "field": "step",
        "type": "ordinal",
        "title": None,
        "sort": [row["step"] for row in rows],
        "axis": {"labelLimit": 330},
    }
    colour = {
        "field": "kind",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": ["up", "down"], "range": [BLUE, ORANGE]},
    }
    layers = [
        layer(
            [row for row in rows if row["kind"] != "total"],
            {"type": "bar", "height": 13},
            x=x | {"field": "from"},
            x2={"field": "to"},
            y=y,
            color=colour,
        ),
        layer(
            [row for row in rows if row["kind"] == "total"],
            {"type": "tick", "color": INK, "thickness": 4, "size": 18},
            x=x | {"field": "to"},
            y=y,
        ),
        layer(
            rows,
            {"type": "text", "align": "left", "dx": 6, "color": INK},
            x=x | {"field": "right"},
            y=y,
            text={"field": "label"},
        ),
    ]
    return framed(
        f"What moved the forecast of {period} from {day_in_words(prior)} to {day_in_words(now)}",
        f"changes in {currency}{small_word}: blue adds, orange takes away",
        {"layer": layers, "width": 440, "height": {"step": 22}},
    )


def _short(name: str) -> str:
    return name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1].rstrip() + "…"
