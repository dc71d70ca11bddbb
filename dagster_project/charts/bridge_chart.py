"""A waterfall lying on its side: from a figure then to the same figure now, step by step."""

from __future__ import annotations

from typing import Any

import pandas as pd

from dagster_project.charts.chart_spec import BLUE, INK, ORANGE, Spec, framed, layer, unit_of


def _kind(row: Any) -> str:
    if row.is_total:
        return "total"
    return "up" if row.delta >= 0 or getattr(row, "is_gain", False) else "down"


def bridge_chart(
    steps: pd.DataFrame, title: str, subtitle: str, axis: str, width: int = 440, digits: int = 1
) -> Spec:
    """Each bar begins where the one above ends; the scale does not begin at zero, so the ends are ticks.

    `steps`: label, delta, before, after, is_total, and is_gain where a step down is good news (what is won
    leaves the open pipeline). `axis`: its title, with %s where the unit's word goes.
    `digits`: decimal places of a step; 0 for counts.
    """
    unit, word = unit_of(float(steps[["before", "after"]].abs().max().max())) if digits else (1.0, "")
    small, _ = unit_of(float(steps["delta"].abs().max())) if digits else (1.0, "")
    rows = [
        {
            "step": row.label,
            "from": row.before / unit,
            "to": row.after / unit,
            "right": max(row.before, row.after) / unit,
            "kind": _kind(row),
            "label": f"{row.after / unit:,.{2 * digits}f}"
            if row.is_total
            else f"{row.delta / small:+,.{digits}f}",
        }
        for row in steps.itertuples()
    ]
    low, high = min(min(row["from"], row["to"]) for row in rows), max(row["right"] for row in rows)
    margin = (high - low) * (0.16 if width >= 440 else 0.3) or abs(high) * 0.05 or 1.0
    x = {
        "type": "quantitative",
        "scale": {"domain": [low - margin / 4, high + margin], "zero": False, "nice": False},
        "axis": {
            "title": axis.replace("%s", word),
            "tickCount": 5 if width >= 440 else 3,
            "format": f",.{2 * digits}f",
        },
    }
    y = {
        "field": "step",
        "type": "ordinal",
        "title": None,
        "sort": [row["step"] for row in rows],
        "axis": {"labelLimit": 330 if width >= 440 else 130},
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
    return framed(title, subtitle, {"layer": layers, "width": width, "height": {"step": 22}})
