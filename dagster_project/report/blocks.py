"""What a page is made of: sentences, charts and tables, each with its source and the choice it belongs to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dagster_project.report.words import text_of

Row = Mapping[str, Any]
NUMBERS = frozenset({"amount", "count", "share", "days", "ratio"})


@dataclass(frozen=True)
class Cell:
    """One value of a table: as read, as sorted, and where it leads."""

    text: str
    sort: str
    url: str | None = None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    `key`: of the rows; `kind`: words.text_of; `source`: table.column of the published file whose definition
    is one click away; `told`: makes the text of a row, where it is more than the value; `sorts`: the key to
    sort by, where it is another; `link`: the key of an address.
    """

    key: str
    label: str
    kind: str = "text"
    source: str | None = None
    told: Callable[[Row], str] | None = None
    sorts: str | None = None
    link: str | None = None

    @property
    def is_number(self) -> bool:
        """Whether it is set to the right."""
        return self.kind in NUMBERS

    def cell(self, row: Row) -> Cell:
        """What a row shows in this column."""
        value = row.get(self.key)
        text = self.told(row) if self.told else text_of(value, self.kind)
        by = row.get(self.sorts) if self.sorts else value
        return Cell(text, "" if by is None else str(by), safe_url(row.get(self.link)) if self.link else None)


@dataclass(frozen=True)
class Table:
    """A table with its source. `name`: of its CSV file; `left_out`: rows that the source has besides."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    source: str
    note: str = ""
    kind: str = field(default="table", init=False)

    def cells(self) -> list[list[Cell]]:
        """Rows as cells."""
        return [[column.cell(row) for column in self.columns] for row in self.rows]


@dataclass(frozen=True)
class Chart:
    """A chart as an element of the page, its words, and the table behind it."""

    picture: str
    title: str
    reading: str
    table: Table
    kind: str = field(default="chart", init=False)


@dataclass(frozen=True)
class Sentence:
    """A finding in words: its kind, the text, and the figures it rests on (table.column)."""

    label: str
    text: str
    sources: Sequence[str] = ()


@dataclass(frozen=True)
class Words:
    """Sentences or remarks. `tone`: plain, key (the page's own findings) or empty (why nothing is shown)."""

    sentences: Sequence[Sentence]
    tone: str = "plain"
    kind: str = field(default="words", init=False)


@dataclass(frozen=True)
class Figure:
    """A number in the head of the page, with what it was before."""

    label: str
    value: str
    detail: str
    source: str


@dataclass(frozen=True)
class Figures:
    """Numbers side by side."""

    figures: Sequence[Figure]
    kind: str = field(default="figures", init=False)


@dataclass(frozen=True)
class Fold:
    """Tables behind one line that opens: the deals behind the bars of a chart."""

    title: str
    tables: Sequence[Table]
    kind: str = field(default="fold", init=False)


Part = Table | Chart | Words | Figures | Fold


@dataclass(frozen=True)
class Shown:
    """A part, and the choices of the reader for which it is shown (slice, compare, measure, list)."""

    part: Part
    when: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """Something a reader can choose in the page: `options` are (value, label); the first is the default."""

    key: str
    label: str
    options: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """One question of the page, with its answer."""

    number: int
    title: str
    question: str
    parts: Sequence[Shown]
    choices: Sequence[Choice] = ()


def nothing(text: str) -> Words:
    """Why there is nothing to show, in words."""
    return Words((Sentence("", text),), "empty")


def safe_url(value: Any) -> str | None:
    """An address that a page may lead to: http or https with a host, else nothing."""
    text = str(value or "").strip()
    if not text or any(ord(sign) <= 32 for sign in text):
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    return text if parts.scheme in ("http", "https") and parts.netloc else None
