"""The same charts as parts of a page: colours of the page's own, and words for who cannot see them."""

from __future__ import annotations

import html
import re

from dagster_project.charts.chart_images import UNSEEN, svg_of
from dagster_project.charts.chart_spec import BLUE, GREY, GRID, INK, ORANGE, Spec

# Inside a figure of this width a chart is legible on a phone of 360 pixels.
PAGE_WIDTH = 340

_COLOURS = {
    BLUE: "var(--gain)",
    ORANGE: "var(--loss)",
    GREY: "var(--grey)",
    GRID: "var(--grid)",
    INK: "currentColor",
    "#000": "currentColor",
    "black": "currentColor",
    "#888": "var(--grey)",
    "#ddd": "var(--grid)",
}
_PAINT = re.compile(r'(fill|stroke)="([^"]+)"')
_FONT = re.compile(r' font-family="[^"]*"')
_TAG = re.compile(r"<[^>]*>")
_DECIMALS = re.compile(r"(\d\.\d)\d+")
_OPENING = re.compile(r"<svg[^>]*>")
_VIEW_BOX = re.compile(r'viewBox="([^"]+)"')
_IDENTIFIER = re.compile(r'(id="|url\(#|xlink:href="#|href="#)([A-Za-z][\w-]*)')
_NOTHING = re.compile(
    r'<path d="" display="none"/>|<path d="M0,0h0v0h0Z"/>|<g></g>|<g/>| transform="translate\(0,0\)"'
)


def title_of(spec: Spec) -> tuple[str, str]:
    """What the chart shows, and how to read it: in a page they stand above it."""
    return str(spec["title"]["text"]), str(spec["title"].get("subtitle") or "")


def inline_svg(spec: Spec, name: str, description: str) -> str:
    """The chart as an element of a page. `name`: unique in the page; `description`: it in words.

    Without a ground or a title of its own, in the page's colours (--gain, --loss, --grey, --grid and the
    current text colour), as wide as its place. Raises ValueError as `svg_of` does.
    """
    bare = {key: value for key, value in spec.items() if key != "title"}
    width = {"autosize": {"type": "fit-x", "contains": "padding"}} if "layer" in spec else {}
    picture = UNSEEN.sub("", svg_of({**bare, **width, "background": None, "padding": 4}))
    picture = _FONT.sub("", picture)
    picture = _PAINT.sub(lambda found: f'{found[1]}="{_COLOURS.get(found[2], found[2])}"', picture)
    picture = _IDENTIFIER.sub(lambda found: f"{found[1]}{name}-{found[2]}", picture)
    for _ in range(2):
        picture = _NOTHING.sub("", picture)
    picture = _TAG.sub(lambda found: _DECIMALS.sub(r"\1", found[0]), picture)
    view = _VIEW_BOX.search(picture)
    if view is None:
        raise ValueError("the chart has no extent")
    across, down = view[1].split()[2:]
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view[1]}" width="{across}" height="{down}" '
        f'role="img" aria-labelledby="{name}-t {name}-d" font-family="Helvetica, Arial, sans-serif">'
        f'<title id="{name}-t">{html.escape(title_of(spec)[0])}</title>'
        f'<desc id="{name}-d">{html.escape(description)}</desc>'
    )
    return _OPENING.sub(lambda _: opening, picture, count=1)
