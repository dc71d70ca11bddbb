"""Charts as pictures that Dagster's metadata show: Markdown with the picture inside, no file, no network."""

from __future__ import annotations

import base64
import json
import logging
import re

from dagster_project.charts.chart_spec import BLUE, HATCHED_FILL, Spec

logger = logging.getLogger(__name__)

MOST_BYTES = 60_000
MOST_DAYS = 31
NO_CHART = "nothing to draw yet"
# For readers of the page's own tree, which a picture inside an image has not: a third of its size.
UNSEEN = re.compile(r' (?:class|role|aria-[a-z]+|pointer-events)="[^"]*"| opacity="1"')


def chart_markdown(spec: Spec | None, says: str, days: int = 1) -> str:
    """The chart as Markdown with an SVG data URI; `says` is its text for who cannot see it.

    Dagster keeps it once for each of the run's `days`, for good: a picture above 60 kB, or of a run of more
    days than a nightly run catches up, is a sentence instead, as is one that cannot be drawn.
    """
    if spec is None:
        return NO_CHART
    if days > MOST_DAYS:
        return f"not drawn in a run of more than {MOST_DAYS} days"
    try:
        picture = UNSEEN.sub("", svg_of(spec))
    except ValueError as error:
        logger.warning("chart %r was not drawn: %s", says, error)
        return f"the chart could not be drawn: {error}"
    encoded = base64.b64encode(picture.encode()).decode()
    if len(encoded) > MOST_BYTES:
        logger.warning("chart %r has %s bytes and was left out", says, len(encoded))
        return f"the chart is too large to be kept with the run ({len(encoded):,} bytes)"
    return f"![{says}](data:image/svg+xml;base64,{encoded})"


def svg_of(spec: Spec) -> str:
    """The chart as SVG, drawn by Vega-Lite inside this process.

    Raises:
        ValueError: the specification is wrong.
    """
    # Half a second of CPU and 84 MB of library: only a run that draws loads it.
    import vl_convert

    return _with_hatching(vl_convert.vegalite_to_svg(json.dumps(spec), vl_version="5.21"))


_HATCHING = (
    '<defs><pattern id="hatching" width="5" height="5" patternUnits="userSpaceOnUse" '
    f'patternTransform="rotate(45)"><path d="M0,0V5" stroke="{BLUE}" stroke-width="3"/></pattern></defs>'
)


def _with_hatching(picture: str) -> str:
    fill = f'fill="{HATCHED_FILL}"'
    if fill not in picture:
        return picture
    start = picture.index(">") + 1
    return picture[:start] + _HATCHING + picture[start:].replace(fill, 'fill="url(#hatching)"')
