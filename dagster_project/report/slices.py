"""Whom a page is for (its edition), and the parts of the business that a reader can choose in it."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from dagster_project.report.published import Published, Row

SLICED = ("pipeline", "region", "team")
MOST_PER_TYPE = 8
NONE = "(none)"


@dataclass(frozen=True)
class Slice:
    """The whole business, or one pipeline, region or team of it."""

    segment_type: str = "total"
    segment: str = "all"

    @property
    def key(self) -> str:
        """Its name in the page's address."""
        return "all" if self.segment_type == "total" else f"{self.segment_type}:{self.segment}"

    @property
    def label(self) -> str:
        """Its name for people."""
        return "Whole business" if self.segment_type == "total" else self.segment

    def own(self, rows: Iterable[Row]) -> list[Row]:
        """The rows of this slice in a mart whose segments know pipelines."""
        return [
            row for row in rows if row["segment_type"] == self.segment_type and row["segment"] == self.segment
        ]

    def own_stages(self, rows: Iterable[Row]) -> list[Row]:
        """The rows of this slice in a mart of stages, where a pipeline is a column and not a segment."""
        if self.segment_type == "pipeline":
            return [r for r in rows if r["segment_type"] == "total" and r["pipeline"] == self.segment]
        return self.own(rows)

    def own_deals(self, rows: Iterable[Row]) -> list[Row]:
        """The deals of this slice, in rows with the columns pipeline, region and team."""
        if self.segment_type == "total":
            return list(rows)
        return [row for row in rows if (row.get(self.segment_type) or NONE) == self.segment]


@dataclass(frozen=True)
class Edition:
    """One file: `kind` full, team or board; `base` is the slice it opens with; `others` can be chosen."""

    kind: str
    base: Slice
    others: Sequence[Slice] = ()
    suffix: str = ""

    @property
    def slices(self) -> Sequence[Slice]:
        """All slices of the page, the first is shown at first."""
        return (self.base, *self.others)

    @property
    def has_names(self) -> bool:
        """Whether deals and reps may be named."""
        return self.kind != "board"

    @property
    def file_name(self) -> str:
        """Where it is written, beside the published file."""
        return f"report-{self.suffix}.html" if self.suffix else "report.html"

    @property
    def title(self) -> str:
        """What kind of page it is, for its head."""
        return {"full": "Sales pipeline", "board": "Sales pipeline for the board"}.get(
            self.kind, f"Sales pipeline of {self.base.segment}"
        )


def editions(published: Published, pages: Sequence[str]) -> list[Edition]:
    """The files that the setting report.pages asks for: one per team that has deals, one for the others."""
    found = []
    for page in pages:
        if page == "team":
            teams = _members(published, "team", 500)
            parts = Counter(file_part(name) for name in teams)
            found += [
                Edition("team", Slice("team", name), (), "team-" + _unique(name, parts)) for name in teams
            ]
        else:
            found.append(Edition(page, Slice(), _others(published), "board" if page == "board" else ""))
    return found


def file_part(name: str) -> str:
    """A name as a part of a file's name: lower-case letters, digits and hyphens, at most 40."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].rstrip("-") or "unnamed"


def _unique(name: str, parts: Counter[str]) -> str:
    part = file_part(name)
    mark = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return part if parts[part] == 1 else f"{part}-{mark}"


def _others(published: Published) -> list[Slice]:
    found = []
    for segment_type in SLICED:
        names = _members(published, segment_type, MOST_PER_TYPE)
        # One member is the whole under another name.
        found += [Slice(segment_type, name) for name in names] if len(names) > 1 else []
    return found


def _members(published: Published, segment_type: str, most: int) -> list[str]:
    if not published.has("mart_pipeline_waterfall"):
        return []
    rows = published.query(
        "select segment, max(greatest(deals_start, deals_end, deals_won)) as deals, "
        "max(abs(coalesce(end_amount, 0))) as amount from mart_pipeline_waterfall "
        "where segment_type = ? and mode = 'net' and scope = 'rolling' and period_type = 'quarter' "
        "and period_end >= as_of - interval 100 day and segment <> ? "
        "group by segment having max(greatest(deals_start, deals_end, deals_won)) > 0 "
        "order by amount desc, deals desc, segment limit ?",
        [segment_type, NONE, most],
    )
    return [row["segment"] for row in rows]
