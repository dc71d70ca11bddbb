"""One message for all that is new, as Slack and what speaks like it understand it. CRM text is only text."""

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from dagster_project.alerts.alert import Alert, by_severity, one_line
from dagster_project.extract.api import redaction

SHOWN_PER_KIND = 8
_LONGEST_SECTION = 2900
_SIGNS = {"critical": "‼", "warning": "!", "info": "·"}
_TITLES = {
    "run_failed": "Runs that failed",
    "source_lags": "Sources that are behind",
    "check_failed": "Checks that failed",
    "forecast_moved": "Forecasts that left their range",
    "new_bottleneck": "New bottlenecks",
}
_CALLS = re.compile(r"@(?=channel|here|everyone)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def digest(business: str, fresh: Sequence[Alert], standing: int) -> dict[str, Any]:
    """The message: what is new by kind, at most `SHOWN_PER_KIND` of each, and how many others still stand.

    Blocks are plain text, so that no name of a deal is read as a mention, a link or a format.
    """
    kinds = list(_TITLES)
    ordered = sorted(by_severity(list(fresh)), key=lambda alert: kinds.index(alert.kind))
    heading = f"{business}: {len(ordered)} new alert{'' if len(ordered) == 1 else 's'}"
    sections = [_section(kind, list(alerts)) for kind, alerts in groupby(ordered, key=lambda a: a.kind)]
    if standing:
        sections.append(f"{standing} known before still stand{'s' if standing == 1 else ''}.")
    return message(heading, sections)


def message(heading: str, sections: Sequence[str]) -> dict[str, Any]:
    """A heading and sections, as `text` for what shows notifications and as blocks."""
    title = escaped(one_line(heading, 140))
    bodies = [escaped(section)[:_LONGEST_SECTION] for section in sections]
    return {
        "text": "\n\n".join([title, *bodies]),
        "mrkdwn": False,
        "blocks": [
            {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}},
            *(
                {"type": "section", "text": {"type": "plain_text", "text": body, "emoji": False}}
                for body in bodies
            ),
        ],
    }


def escaped(text: str) -> str:
    """The text with nothing in it that Slack reads as a tag, a mention or an entity, and with no secret."""
    clean = _CONTROL.sub("", redaction.SECRETS.clean(text))
    clean = clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _CALLS.sub("@\u200b", clean)


def _section(kind: str, alerts: list[Alert]) -> str:
    lines = [f"{_SIGNS[alert.severity]} {one_line(alert.sentence, 300)}" for alert in alerts[:SHOWN_PER_KIND]]
    rest = len(alerts) - SHOWN_PER_KIND
    more = [f"and {rest} more: table alerts of the published file"] if rest > 0 else []
    return "\n".join([_TITLES[kind], *lines, *more])
