"""What a file looks like before anybody has said what it means: its columns, their kinds and their values."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd

from dagster_project.extract.connect.tables import Table, open_tables
from dagster_project.extract.connect.values import bare_numbers, money_codes, read_instants, read_numbers
from dagster_project.extract.connect.vocabulary import words
from dagster_project.extract.files.money import CURRENCIES

ColumnKind = Literal["empty", "date", "instant", "number", "boolean", "text"]
DateOrder = Literal["ymd", "dmy", "mdy", "serial"]

_SAMPLES = 4
_AGREEING = 0.98  # share of the values that must look alike; a few odd ones do not change what a column is
_LOOKED_AT = 5_000  # different values of a column
_LOCAL = re.compile(r"(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4}|\d{2}\b)")
_DATES = (
    re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})"),
    _LOCAL,
    re.compile(r"\d{1,2}[ .-]+[A-Za-z]{3,9}\.?,?[ -]+(\d{4}|\d{2})\b"),
    re.compile(r"[A-Za-z]{3,9}\.? \d{1,2},? \d{4}\b"),
)
_CLOCK = re.compile(r"[T ,]+(\d{1,2}:\d{2}(?::\d{2}(?:\.0+)?)?)")
_MIDNIGHT = ("0:00", "00:00", "0:00:00", "00:00:00")
_DATE_WORDS = re.compile(r"\b(date|day|datum|fecha|on|at|time|created|closed|opened|entered|modified)\b")
_YMD = re.compile(r"20\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
# Days from 1982 to 2064.
_SERIAL = re.compile(r"[345]\d{4}(\.\d+)?")
_NUMBER = re.compile(r"[+-]?[\d.,][\d.,'\u2019 \u00a0\u202f]*([eE][+-]?\d+)?\s?%?")
_CODE = re.compile(r"\b([A-Z]{3})\b")


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a file: `values` are its texts in row order, None where a cell is blank."""

    header: str
    index: int
    values: pd.Series
    kind: ColumnKind
    date_order: DateOrder | Literal["unknown"] | None = None
    decimal: Literal[".", ",", "unknown"] | None = None

    @cached_property
    def filled(self) -> pd.Series:
        """The values that are not blank."""
        return self.values.dropna()

    @cached_property
    def distinct(self) -> frozenset[str]:
        """The different values."""
        return frozenset(self.filled)

    @property
    def fill_share(self) -> float:
        """Share of the rows in which the column is not blank, 0 to 1."""
        return len(self.filled) / len(self.values) if len(self.values) else 0.0

    @property
    def distinct_share(self) -> float:
        """Different values over values that are not blank, 0 to 1."""
        return len(self.distinct) / len(self.filled) if len(self.filled) else 0.0

    @property
    def is_key(self) -> bool:
        """Whether each row has a value of its own."""
        return len(self.values) > 0 and len(self.distinct) == len(self.values)

    @property
    def is_dated(self) -> bool:
        """Whether the column holds dates or instants."""
        return self.kind in ("date", "instant")

    @property
    def samples(self) -> tuple[str, ...]:
        """Some values: the most frequent first, then as they come."""
        counts = self.filled.value_counts(sort=len(self.distinct) <= 50)
        return tuple(str(value) for value in counts.index[:_SAMPLES])

    @cached_property
    def days(self) -> pd.Series:
        """The instants of a dated column (naive); missing where blank or unreadable."""
        return read_instants(self.values, self.date_order)

    @cached_property
    def numbers(self) -> pd.Series:
        """The numbers of a numeric column; missing where blank or unreadable."""
        return read_numbers(self.values, self.decimal)

    @property
    def span(self) -> tuple[date, date] | None:
        """First and last day of a dated column."""
        days = self.days.dropna() if self.is_dated else pd.Series(dtype="datetime64[us]")
        return (days.min().date(), days.max().date()) if len(days) else None


@dataclass(frozen=True, eq=False)
class FileProfile:
    """One table: how it is written, and its columns. `broken_rows` do not have the header's width.

    `member` and `sheet` tell where in the file it lies, where that has several tables. `is_cut` when it has
    more rows than were looked at.
    """

    path: Path
    delimiter: str | None
    encoding: str | None
    rows: int
    broken_rows: int
    columns: tuple[Column, ...]
    member: str | None = None
    sheet: str | None = None
    is_cut: bool = False

    @property
    def key(self) -> tuple[Path, str | None, str | None]:
        """Where the table lies: file, member and sheet."""
        return self.path, self.member, self.sheet

    @property
    def name(self) -> str:
        """The table for people: file, member and sheet."""
        return " · ".join(part for part in (self.path.name, self.member, self.sheet) if part)

    @property
    def title(self) -> str:
        """The words that name the table: of its sheet, its member or its file."""
        return self.sheet or Path(self.member or self.path.name.removesuffix(".gz")).stem

    @property
    def row_count(self) -> str:
        """The number of rows in words."""
        return f"{'the first ' if self.is_cut else ''}{self.rows:,} rows"

    def column(self, header: str) -> Column:
        """The column of a header."""
        return next(column for column in self.columns if column.header == header)

    @property
    def date_order(self) -> DateOrder | None:
        """The order of local dates in the file; None when all are ISO, or nobody knows."""
        return agreed_order(self.columns)

    @property
    def decimal(self) -> Literal[".", ","] | None:
        """The decimal mark of the file; None when digits alone are used, or nobody knows."""
        return agreed_mark(self.columns)

    @property
    def currency(self) -> str | None:
        """The currency that headers or amounts name, when they name a single one."""
        numbers = [column for column in self.columns if column.kind == "number"]
        found = {code for column in numbers for code in _CODE.findall(column.header)} & CURRENCIES
        found |= {code for column in numbers for code in money_codes(list(column.distinct)[:_LOOKED_AT])}
        return next(iter(found)) if len(found) == 1 else None


def profile_file(
    path: Path, date_order: DateOrder | None = None, decimal: Literal[".", ","] | None = None
) -> tuple[FileProfile, ...]:
    """Read every table of a file as text and describe its columns: sheets and members of a zip are tables.

    `date_order` and `decimal` decide columns that do not tell it themselves.
    Errors: FileUnreadable, FileUnfinished.
    """
    return tuple(_profile(table, date_order, decimal) for table in open_tables(path))


def _profile(table: Table, date_order: DateOrder | None, decimal: Literal[".", ","] | None) -> FileProfile:
    columns = tuple(
        profile_column(header, index, values, date_order, decimal)
        for index, (header, values) in enumerate(zip(table.headers, table.cells, strict=True))
        if header or values.notna().any()
    )
    return FileProfile(
        path=table.path,
        delimiter=table.delimiter,
        encoding=table.encoding,
        rows=len(table.cells[0]) if table.cells else 0,
        broken_rows=table.broken_rows,
        columns=agreed(columns),
        member=table.member,
        sheet=table.sheet,
        is_cut=table.is_cut,
    )


def profile_column(
    header: str,
    index: int,
    cells: pd.Series,
    date_order: DateOrder | None = None,
    decimal: Literal[".", ","] | None = None,
) -> Column:
    """Describe the texts of one column."""
    text = cells.astype("object").map(lambda cell: cell.strip() or None if isinstance(cell, str) else None)
    values = text.where(text.notna(), None).reset_index(drop=True)
    known = list(dict.fromkeys(values.dropna()))[:_LOOKED_AT]
    if not known:
        return Column(header, index, values, "empty")
    if _share(known, lambda v: any(shape.match(v) for shape in _DATES)) >= _AGREEING:
        clocks = [clock for value in known if (clock := _CLOCK.search(value))]
        is_instant = len(clocks) > 0.5 * len(known) and any(clock[1] not in _MIDNIGHT for clock in clocks)
        order = order_of(known)
        kind: ColumnKind = "instant" if is_instant else "date"
        return Column(header, index, values, kind, date_order or order if order == "unknown" else order)
    if (coded := _coded_days(header, known)) is not None:
        return Column(header, index, values, "date", coded)
    if all(value.casefold() in ("true", "false", "yes", "no") for value in known):
        return Column(header, index, values, "boolean")
    bare = [number for number in bare_numbers(known) if number and _NUMBER.fullmatch(number)]
    if len(bare) >= _AGREEING * len(known):
        mark = decimal_of(bare)
        return Column(header, index, values, "number", decimal=decimal or mark if mark == "unknown" else mark)
    return Column(header, index, values, "text")


def _coded_days(header: str, values: Sequence[str]) -> DateOrder | None:
    """Days written as 20260331 or counted as Excel does; only under a header that speaks of dates."""
    if not _DATE_WORDS.search(words(header)):
        return None
    if all(_YMD.fullmatch(value) for value in values):
        return "ymd"
    return "serial" if all(_SERIAL.fullmatch(value) for value in values) else None


def order_of(values: Sequence[str]) -> DateOrder | Literal["unknown"]:
    """The order of day, month and year: `unknown` when every date could be read in both ways."""
    parts = [match.groups() for value in values if (match := _LOCAL.match(value))]
    if not parts:
        return "ymd"
    day_first = any(int(first) > 12 for first, _, _ in parts)
    month_first = any(int(second) > 12 for _, second, _ in parts)
    if day_first == month_first:
        return "unknown"
    return "dmy" if day_first else "mdy"


def decimal_of(values: Sequence[str]) -> Literal[".", ",", "unknown"] | None:
    """The decimal mark: None when digits (and points) alone are used, `unknown` for 1,234 everywhere."""
    comma = sum(bool(re.search(r",\d{1,2}(\D|$)|,\d{4,}|\.\d{3}[,.]", value)) for value in values)
    point = sum(bool(re.search(r"\.\d{1,2}(\D|$)|\.\d{4,}|,\d{3}[.,]", value)) for value in values)
    if any("," in value for value in values) or comma:
        return "unknown" if bool(comma) == bool(point) else "," if comma else "."
    dotted = [value for value in values if "." in value]
    if dotted and all(re.fullmatch(r"\D*[1-9]\d{0,2}\.\d{3}\D*", value) for value in dotted):
        return "unknown"
    return "." if point and any(re.search(r"\d[' ]\d{3}", value) for value in values) else None


def agreed(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Columns that cannot tell their date order take that of the columns which can: one program wrote all."""
    order, mark = agreed_order(columns), agreed_mark(columns)
    return tuple(
        replace(
            column,
            date_order=order or "unknown" if column.date_order == "unknown" else column.date_order,
            decimal=mark or "unknown" if column.decimal == "unknown" else column.decimal,
        )
        for column in columns
    )


def agreed_order(columns: Iterable[Column]) -> DateOrder | None:
    """The one order of local dates that some columns tell."""
    orders = {column.date_order for column in columns} & {"dmy", "mdy", "serial"}
    return next(iter(orders)) if len(orders) == 1 else None


def agreed_mark(columns: Iterable[Column]) -> Literal[".", ","] | None:
    """The one decimal mark that some columns tell."""
    marks = {column.decimal for column in columns} & {".", ","}
    return next(iter(marks)) if len(marks) == 1 else None


def _share(values: Sequence[str], test: object) -> float:
    return sum(map(test, values)) / len(values)  # type: ignore[arg-type]
