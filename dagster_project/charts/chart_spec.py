"""What all charts share: colours, numbers for people, and the frame of a Vega-Lite specification.

A specification holds its data, so that one and the same makes a picture here and a live chart in a page.
Colours are those of Okabe and Ito, told apart without colour vision, and at least 3 : 1 against the ground;
what is expected and not yet so is hatched. The ground is white, so that a picture reads in light and dark;
the report puts its own colours in their place (page_charts).
"""

from __future__ import annotations

from datetime import date
from typing import Any

Spec = dict[str, Any]

BLUE, ORANGE, GREY, INK, GRID = "#0072B2", "#D55E00", "#767676", "#222222", "#e5e5e5"
# Vega has no hatching: chart_images puts a pattern where this fill stands.
HATCHED_FILL = "#0072b1"
HATCHED: Spec = {"type": "bar", "color": HATCHED_FILL, "stroke": BLUE, "strokeWidth": 1}


def unit_of(top: float) -> tuple[float, str]:
    """The unit in which an amount is shown, and its word with a blank before it."""
    for size, word in ((1e9, " billion"), (1e6, " million"), (1e3, " thousand")):
        if abs(top) >= 2 * size:
            return size, word
    return 1.0, ""


def amount_axis(field: str, title: str) -> Spec:
    """A vertical channel of amounts."""
    return {"field": field, "type": "quantitative", "axis": {"title": title, "tickCount": 5}}


def day_in_words(day: date) -> str:
    """A day such as 5 May 2026."""
    return f"{day.day} {day:%B %Y}"


def layer(rows: list[dict[str, Any]], mark: Spec, **encoding: Spec) -> Spec:
    """One mark over rows of its own."""
    return {"data": {"values": rows}, "mark": mark, "encoding": encoding}


def framed(title: str, subtitle: str, body: Spec) -> Spec:
    """A whole specification: what is seen, how to read it, and the marks."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "title": {
            "text": title,
            "subtitle": subtitle,
            "anchor": "start",
            "fontSize": 14,
            "subtitleFontSize": 11,
        },
        "background": "white",
        "padding": 10,
        "config": {"view": {"stroke": None}, "axis": {"gridColor": GRID, "domainColor": GREY}},
        **body,
    }
