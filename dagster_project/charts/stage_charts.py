"""Charts of stages and of segments: who goes on, how long it takes, dots with their intervals, plain bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagster_project.charts.chart_spec import BLUE, GREY, INK, Spec, framed, layer

Row = Mapping[str, Any]
LABELS = 118


def _stages(names: Sequence[str], *, is_shown: bool = True) -> Spec:
    axis = {"labelLimit": LABELS, "domain": False, "ticks": False} if is_shown else None
    return {"field": "stage", "type": "ordinal", "title": None, "sort": list(names), "axis": axis}


def conversion_chart(rows: Sequence[Row], width: int = 440) -> Spec | None:
    """Per stage the deals decided in the newest quarter, and the share that went on in up to four quarters.

    `rows`: stage, period, rate, low, high, decided; oldest quarter first within a stage. None without any.
    """
    told = [row for row in rows if row["rate"] is not None]
    if not told:
        return None
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    periods = sorted({row["period"] for row in rows})
    newest = [row for row in rows if row["period"] == periods[-1]]
    height = len(stages) * (9 * len(periods) + 8)
    bars = {
        "width": width * 0.28,
        "height": height,
        "layer": [
            layer(
                [{"stage": row["stage"], "decided": row["decided"]} for row in newest],
                {"type": "bar", "color": GREY, "height": 14},
                y=_stages(stages),
                x={
                    "field": "decided",
                    "type": "quantitative",
                    "axis": {"title": f"deals, {periods[-1]}", "tickCount": 2, "grid": False},
                },
            )
        ],
    }
    dots = [
        {
            "stage": row["stage"],
            "period": row["period"],
            "rate": row["rate"],
            "low": row["low"],
            "high": row["high"],
            "newest": row["period"] == periods[-1],
        }
        for row in told
    ]
    offset = {"field": "period", "type": "ordinal", "sort": periods, "scale": {"paddingOuter": 0.5}}
    x: Spec = {
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "axis": {"format": ".0%", "title": "share that goes on", "values": [0, 0.5, 1]},
    }
    y = _stages(stages, is_shown=False)
    colour: Spec = {
        "condition": {"test": "datum.newest", "value": BLUE},
        "value": GREY,
    }
    rates = {
        "width": width * 0.62,
        "height": height,
        "layer": [
            layer(
                dots,
                {"type": "rule", "strokeWidth": 2},
                x=x | {"field": "low"},
                x2={"field": "high"},
                y=y,
                yOffset=offset,
                color=colour,
            ),
            layer(
                dots,
                {"type": "point", "filled": True, "size": 45},
                x=x | {"field": "rate"},
                y=y,
                yOffset=offset,
                color=colour,
            ),
        ],
    }
    return framed(
        "How many go on from each stage",
        f"dots with their 95 % ranges, one per quarter, {periods[0]} on top, {periods[-1]} blue below",
        {"hconcat": [bars, rates], "spacing": 10, "resolve": {"scale": {"y": "independent"}}},
    )


def duration_chart(rows: Sequence[Row], width: int = 440) -> Spec | None:
    """Per stage the days within which a quarter, half and three quarters of the deals leave it.

    `rows`: stage, p25, median, p75 in days; what is never reached is null. None without a median.
    """
    told = [row for row in rows if row["median"] is not None]
    if not told:
        return None
    stages = [row["stage"] for row in rows]
    top = max(row["p75"] or row["median"] for row in told)
    marks = [
        {
            "stage": row["stage"],
            "low": row["p25"] if row["p25"] is not None else 0,
            "median": row["median"],
            "high": row["p75"] if row["p75"] is not None else row["median"],
            "label": f"{row['median']:,.0f}",
        }
        for row in told
    ]
    x: Spec = {
        "type": "quantitative",
        "scale": {"domain": [0, top * 1.15 or 1.0], "nice": False},
        "axis": {"title": "days in the stage", "tickCount": 4},
    }
    y = _stages(stages)
    layers = [
        layer(
            marks,
            {"type": "bar", "color": GREY, "height": 9},
            x=x | {"field": "low"},
            x2={"field": "high"},
            y=y,
        ),
        layer(
            marks, {"type": "tick", "color": INK, "thickness": 4, "size": 18}, x=x | {"field": "median"}, y=y
        ),
        layer(
            marks,
            {"type": "text", "align": "left", "dx": 6, "color": INK},
            x=x | {"field": "high"},
            y=y,
            text={"field": "label"},
        ),
    ]
    return framed(
        "How long deals stay in each stage",
        "bar: the middle half of the deals leaves in it; tick and figure: half have left",
        {"layer": layers, "width": width, "height": {"step": 24}},
    )


def survival_chart(rows: Sequence[Row], columns: int = 3, width: int = 120) -> Spec | None:
    """Per stage the share of deals still in it, day by day, drawn through the published quantiles.

    `rows`: stage, p25, median, p75, p90 in days. None where no stage has two of them.
    """
    panels = []
    last = max((row[key] or 0 for row in rows for key in ("p25", "median", "p75", "p90")), default=0)
    for row in rows:
        points = [{"day": 0.0, "left": 1.0}] + [
            {"day": row[key], "left": left}
            for key, left in (("p25", 0.75), ("median", 0.5), ("p75", 0.25), ("p90", 0.1))
            if row[key] is not None
        ]
        if len(points) < 3:
            continue
        x: Spec = {
            "field": "day",
            "type": "quantitative",
            "scale": {"domain": [0, last]},
            "axis": {"title": None, "tickCount": 3},
        }
        y: Spec = {
            "field": "left",
            "type": "quantitative",
            "scale": {"domain": [0, 1]},
            "axis": {"title": None, "format": ".0%", "values": [0, 0.5, 1]},
        }
        panels.append(
            {
                "title": {
                    "text": row["stage"],
                    "fontSize": 11,
                    "fontWeight": "normal",
                    "anchor": "start",
                    "limit": width + 30,
                },
                "width": width,
                "height": 70,
                "layer": [
                    layer(points, {"type": "line", "color": BLUE, "strokeWidth": 2}, x=x, y=y),
                    layer(points[1:], {"type": "point", "filled": True, "color": BLUE, "size": 35}, x=x, y=y),
                ],
            }
        )
    if not panels:
        return None
    return framed(
        "How many are still in the stage, day by day",
        "dots: the days after which a quarter, half, three quarters and nine tenths have left",
        {"concat": panels, "columns": columns, "spacing": 14},
    )


def interval_chart(rows: Sequence[Row], total: float | None, title: str, width: int = 440) -> Spec | None:
    """A dot with its 95 % range per member, against a line for the whole. None without any range.

    `rows`: name, rate (null below the sample floor), low, high.
    """
    told = [row for row in rows if row["low"] is not None]
    if not told:
        return None
    names = [row["name"] for row in told]
    x: Spec = {
        "type": "quantitative",
        "scale": {"domain": [0, min(1.0, max(row["high"] for row in told) * 1.1)], "nice": False},
        "axis": {"format": ".0%", "title": "win rate", "tickCount": 4},
    }
    y: Spec = {
        "field": "name",
        "type": "ordinal",
        "title": None,
        "sort": names,
        "axis": {"labelLimit": LABELS, "domain": False, "ticks": False},
    }
    values = [dict(row) for row in told]
    layers = [
        layer(
            values,
            {"type": "rule", "color": BLUE, "strokeWidth": 2},
            x=x | {"field": "low"},
            x2={"field": "high"},
            y=y,
        ),
        layer(
            [row for row in values if row["rate"] is not None],
            {"type": "point", "filled": True, "color": BLUE, "size": 70},
            x=x | {"field": "rate"},
            y=y,
        ),
    ]
    if total is not None:
        layers.append(
            layer(
                [{"total": total}],
                {"type": "rule", "color": INK, "strokeDash": [5, 4]},
                x=x | {"field": "total"},
            )
        )
    return framed(
        title,
        "dot: share of closed deals that were won; line: its 95 % range; dashed: all together; "
        "no dot: too few deals for a rate",
        {"layer": layers, "width": width, "height": {"step": 22}},
    )


def bar_chart(rows: Sequence[Row], title: str, axis: str, colour: str, width: int = 440) -> Spec | None:
    """Plain horizontal bars with their label. `rows`: name, value, label. None without any."""
    if not rows:
        return None
    y: Spec = {
        "field": "name",
        "type": "ordinal",
        "title": None,
        "sort": [row["name"] for row in rows],
        "axis": {"labelLimit": 140, "domain": False, "ticks": False},
    }
    x: Spec = {
        "field": "value",
        "type": "quantitative",
        "scale": {"domain": [0, max(row["value"] for row in rows) * 1.3 or 1], "nice": False},
        "axis": {"title": axis, "tickCount": 4},
    }
    values = [dict(row) for row in rows]
    layers = [
        layer(values, {"type": "bar", "color": colour, "height": 14}, x=x, y=y),
        layer(
            values,
            {"type": "text", "align": "left", "dx": 5, "color": INK},
            x=x,
            y=y,
            text={"field": "label"},
        ),
    ]
    return framed(title, "", {"layer": layers, "width": width, "height": {"step": 22}})
