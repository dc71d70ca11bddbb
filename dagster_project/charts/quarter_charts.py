"""Charts of the running quarter: won, forecast and quota in one bar, and the pace beside past quarters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagster_project.charts.chart_spec import BLUE, GREY, HATCHED, INK, Spec, framed, layer, unit_of

Row = Mapping[str, Any]


def quarter_bar(
    period: str,
    currency: str,
    won: float,
    forecast: tuple[float, float, float] | None,
    quota: float | None,
    width: int = 440,
) -> Spec:
    """Won so far as a bar, the forecast's range (P10, mean, P90) hatched beside it, the quota as a tick."""
    marks = [("won", won)]
    if forecast is not None:
        marks.append(("forecast", forecast[1]))
    if quota is not None:
        marks.append(("quota", quota))
    unit, word = unit_of(max(value for _, value in marks) or 1.0)
    top = max([value for _, value in marks] + ([forecast[2]] if forecast else [])) / unit
    x: Spec = {
        "type": "quantitative",
        "scale": {"domain": [0, top * 1.3 or 1.0], "nice": False},
        "axis": {"title": f"{currency}{word}", "tickCount": 4},
    }
    y: Spec = {"field": "what", "type": "ordinal", "title": None, "sort": [name for name, _ in marks]}
    rows = [{"what": name, "value": value / unit, "label": f"{value / unit:,.2f}"} for name, value in marks]
    layers = [
        layer(
            [row for row in rows if row["what"] == "won"],
            {"type": "bar", "color": BLUE, "height": 18},
            x=x | {"field": "value"},
            y=y,
        )
    ]
    if forecast is not None:
        low, mean, high = (value / unit for value in forecast)
        spread = [{"what": "forecast", "low": low, "high": high}]
        layers.append(
            layer(spread, HATCHED | {"height": 18}, x=x | {"field": "low"}, x2={"field": "high"}, y=y)
        )
        rows[1] = {"what": "forecast", "value": mean, "right": high, "label": f"{mean:,.2f}"}
    layers.append(
        layer(
            [row for row in rows if row["what"] != "won"],
            {"type": "tick", "color": INK, "thickness": 3, "size": 24},
            x=x | {"field": "value"},
            y=y,
        )
    )
    labels = [{**row, "right": row.get("right", row["value"])} for row in rows]
    layers.append(
        layer(
            labels,
            {"type": "text", "align": "left", "dx": 8, "color": INK},
            x=x | {"field": "right"},
            y=y,
            text={"field": "label"},
        )
    )
    return framed(
        f"{period}: won so far, forecast and quota",
        "hatched: where the quarter ends 8 times in 10; tick in it: the forecast",
        {"layer": layers, "width": width, "height": {"step": 34}},
    )


def pacing_chart(rows: Sequence[Row], currency: str, width: int = 440) -> Spec | None:
    """What was won by each business day: this quarter bold, the quarters before it thin, their mean dashed.

    `rows`: of `mart_bookings_pacing` for one segment. None without a day of the running quarter.
    """
    reached = [row for row in rows if row["won_amount"] is not None]
    now = sorted((row for row in reached if row["quarter_offset"] == 0), key=lambda r: r["business_day"])
    if not now:
        return None
    past = [row for row in reached if row["quarter_offset"] < 0 and row["history_status"] == "full"]
    unit, word = unit_of(max(float(row["won_amount"]) for row in reached) or 1.0)
    x: Spec = {
        "field": "day",
        "type": "quantitative",
        "scale": {"nice": False},
        "axis": {"title": "business day of the quarter", "tickCount": 6},
    }
    y: Spec = {
        "field": "won",
        "type": "quantitative",
        "axis": {"title": f"won ({currency}{word})", "tickCount": 5},
    }
    layers = []
    mean = [
        {"day": row["business_day"], "won": float(row["past_amount"]) / unit}
        for row in rows
        if row["quarter_offset"] == 0 and row["past_amount"] is not None
    ]
    if past:
        lines = [
            {"day": row["business_day"], "won": float(row["won_amount"]) / unit, "quarter": row["period"]}
            for row in sorted(past, key=lambda row: (row["period"], row["business_day"]))
        ]
        quarter = {"field": "quarter", "type": "nominal"}
        layers.append(
            layer(
                lines,
                {"type": "line", "color": GREY, "strokeWidth": 1},
                x=x,
                y=y,
                detail=quarter,
            )
        )
    if mean:
        layers.append(
            layer(mean, {"type": "line", "color": INK, "strokeDash": [6, 4], "strokeWidth": 2}, x=x, y=y)
        )
    current = [{"day": row["business_day"], "won": float(row["won_amount"]) / unit} for row in now]
    layers.append(layer(current, {"type": "line", "color": BLUE, "strokeWidth": 4}, x=x, y=y))
    layers.append(layer(current[-1:], {"type": "point", "filled": True, "size": 90, "color": BLUE}, x=x, y=y))
    return framed(
        f"Won in {now[0]['period']} by the business day",
        "thick: this quarter; thin: quarters before; dashed: their mean",
        {"layer": layers, "width": width, "height": 200},
    )
