"""What every reader of a file gives: its headers, and its rows as text with the line each begins in."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

ROWS_PER_BATCH = 20_000
# Titles and filters above the header of a report fit in so many rows.
HEADER_WITHIN = 50
_MARKS = re.compile("[\\s\ufeff\u200b\"'`\u00b4\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb]+")
_TOTALS = re.compile(
    r"(grand\s*totals?|sub-?\s?totals?|totals?|gesamt\w*|summe|totaal|eindtotaal|record count|count|"
    r"copyright|confidential|generated (by|on|at)|report generated|exported (by|on|at)|as of)\b",
    re.IGNORECASE,
)


class FileUnreadable(Exception):
    """A file cannot be read as configured; the text says what is wrong and what to do."""


class FileUnfinished(Exception):
    """A file ends in the middle of a row: somebody is still writing it, or its transfer broke off."""


@dataclass
class TextRows:
    """A file's columns and its rows in batches of text columns `line`, `broken`, `c0`, `c1`, ….

    `broken` holds the reason why a row cannot be told apart into values; `c0` then holds what it has.
    `lines_beside` counts the lines above the header and below the last row that hold titles and totals.
    `total`: the number of rows, where it is known before they are read.
    """

    headers: tuple[str, ...]
    batches: Iterator[pa.RecordBatch]
    lines_beside: int = 0
    total: int | None = None
    schema: pa.Schema = field(init=False)

    def __post_init__(self) -> None:
        self.schema = rows_schema(len(self.headers))


@dataclass(frozen=True)
class Wanted:
    """The headers a table's files should have; those of `required` are filled in every row."""

    headers: tuple[str, ...] = ()
    required: tuple[str, ...] = ()


def rows_schema(columns: int) -> pa.Schema:
    """Schema of the batches of a file with so many columns."""
    names = [("line", pa.int64()), ("broken", pa.string())]
    return pa.schema(names + [(f"c{index}", pa.string()) for index in range(columns)])


def row_batches(
    rows: Iterator[tuple[int, Sequence[str | None] | str]], width: int
) -> Iterator[pa.RecordBatch]:
    """Batches of rows given with their lines; a text in place of values says why a row is broken."""
    schema = rows_schema(width)
    lines: list[int] = []
    values: list[Sequence[str | None]] = []
    broken: dict[int, str] = {}
    for line, row in rows:
        if isinstance(row, str):
            broken[len(lines)] = row
            # Its own line, so that no two rows that could not be read pass for equal.
            row = [f"(line {line})"] + [""] * (width - 1)
        elif len(row) != width:
            broken[len(lines)] = f"has {len(row)} values where the header has {width}"
            row = [", ".join(cell or "" for cell in row)[:500]] + [""] * (width - 1)
        lines.append(line)
        values.append(row)
        if len(lines) == ROWS_PER_BATCH:
            yield _batch(schema, lines, values, broken)
            lines, values, broken = [], [], {}
    if lines:
        yield _batch(schema, lines, values, broken)


def plain(header: str) -> str:
    """A header as it is compared: without case, blanks, quotes and the marks that exports put around it."""
    return _MARKS.sub("", unicodedata.normalize("NFKC", header)).casefold()


def header_place(rows: Sequence[Sequence[str | None] | str], wanted: Sequence[str]) -> int:
    """Place of the header among a file's first rows: the first row, unless a later one names more columns.

    One name alone makes no header of a later row, unless only one is wanted.
    """
    names = {plain(name) for name in wanted}
    found = [
        0 if isinstance(row, str) else len(names & {plain(cell) for cell in row if cell}) for row in rows
    ]
    best = max(found, default=0)
    if not found or best < min(2, len(names)) or best == found[0]:
        return 0
    return found.index(best)


class Footer:
    """Finds the lines of titles and totals after the last row of a report.

    Such a line lacks a required value or has another width, and it either begins with a word like
    "Grand Total", or stands after a blank line with one value alone.
    """

    def __init__(self, headers: Sequence[str], required: Sequence[str]) -> None:
        names = {plain(name) for name in required}
        self._width = len(headers)
        self._required = [index for index, header in enumerate(headers) if plain(header) in names]
        self._after_blank = False
        self._tail = 0
        self._has_words = False

    def add(self, row: Sequence[str | None] | str) -> None:
        """Look at the next row; an empty one is a blank line that is no row."""
        if self._is_whole(row):
            if self._tail or self._after_blank:
                self._forget()
            return
        if not row:
            self._after_blank = True
            return
        filled = [cell.strip() for cell in row if cell and cell.strip()]
        if not filled:
            self._after_blank = True
            self._tail += 1
        elif self._is_beside(row, filled):
            self._tail += 1
            self._has_words = True
        else:
            self._forget()

    @property
    def rows(self) -> int:
        """How many of the rows added last belong to the footer."""
        return self._tail if self._has_words else 0

    def _is_whole(self, row: Sequence[str | None] | str) -> bool:
        """Whether a row is no footer whatever it says: the way of almost all rows, hence quick."""
        if isinstance(row, str):
            return True
        if len(row) != self._width:
            return False
        for place in self._required:
            cell = row[place]
            if not cell or cell.isspace():
                return False
        return bool(self._required or row[0])

    def _is_beside(self, row: Sequence[str | None], filled: Sequence[str]) -> bool:
        lacks = len(row) != self._width or any(not (row[i] or "").strip() for i in self._required)
        alone = len(filled) == 1 and (self._after_blank or self._has_words)
        return lacks and (alone or _TOTALS.match(filled[0]) is not None)

    def _forget(self) -> None:
        self._after_blank, self._tail, self._has_words = False, 0, False


def number_text(value: float | int, decimal: str | None) -> str:
    """A number that a file holds as a number, written with the decimal sign its texts are read with."""
    text = str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)
    return text.replace(".", ",") if decimal == "," else text


def _batch(
    schema: pa.Schema, lines: list[int], values: list[Sequence[str | None]], broken: dict[int, str]
) -> pa.RecordBatch:
    reasons = [broken.get(index) for index in range(len(lines))] if broken else [None] * len(lines)
    columns = [pa.array(lines, pa.int64()), pa.array(reasons, pa.string())]
    columns += [pa.array(column, pa.string()) for column in zip(*values, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
