"""What a file looks like before anybody has said what it means: its columns, their kinds and their values."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.extract.crm.reading import DELIMITERS, FileUnreadable, read_csv
from dagster_project.settings import Format

ColumnKind = Literal["empty", "date", "instant", "number", "boolean", "text"]
DateOrder = Literal["ymd", "dmy", "mdy"]

# More rows than that say nothing new about a column, and would not fit the memory of a laptop.
MOST_ROWS = 200_000
_SAMPLES = 4
_AGREEING = 0.98  # share of the values that must look alike; a few odd ones do not change what a column is
_ISO = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
_LOCAL = re.compile(r"(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4})")
_CLOCK = re.compile(r"[T ,]+\d{1,2}:\d{2}")
_NUMBER = re.compile(r"(?:[A-Z]{3} |[$€£¥] ?)?[+-]?\d[\d.,' \u00a0\u202f]*(?: ?[A-Z]{3}| ?[$€£¥%])?")
_CODE = re.compile(r"\b([A-Z]{3})\b")
_SYMBOLS = {"€": "EUR", "£": "GBP", "$": "USD", "¥": "JPY"}


@dataclass(frozen=True)
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
        return to_days(self.values, self.date_order)

    @cached_property
    def numbers(self) -> pd.Series:
        """The numbers of a numeric column; missing where blank or unreadable."""
        text = self.values.astype("string").str.replace(r"[^\d.,+\-]", "", regex=True)
        if self.decimal == ",":
            text = text.str.replace(".", "").str.replace(",", ".")
        else:
            text = text.str.replace(",", "")
        return pd.to_numeric(text, errors="coerce").astype("float64")

    @property
    def span(self) -> tuple[date, date] | None:
        """First and last day of a dated column."""
        days = self.days.dropna() if self.is_dated else pd.Series(dtype="datetime64[us]")
        return (days.min().date(), days.max().date()) if len(days) else None


@dataclass(frozen=True)
class FileProfile:
    """One file: how it is written, and its columns. `broken_rows` do not have the header's width."""

    path: Path
    delimiter: str | None
    encoding: str | None
    rows: int
    broken_rows: int
    columns: tuple[Column, ...]

    def column(self, header: str) -> Column:
        """The column of a header."""
        return next(column for column in self.columns if column.header == header)

    @property
    def date_order(self) -> DateOrder | None:
        """The order of local dates in the file; None when all are ISO, or nobody knows."""
        orders = {column.date_order for column in self.columns} & {"dmy", "mdy"}
        return next(iter(orders)) if len(orders) == 1 else None

    @property
    def decimal(self) -> Literal[".", ","] | None:
        """The decimal mark of the file; None when digits alone are used, or nobody knows."""
        marks = {column.decimal for column in self.columns} & {".", ","}
        return next(iter(marks)) if len(marks) == 1 else None

    @property
    def currency(self) -> str | None:
        """The currency that headers or amounts name, when they name a single one."""
        texts = [column.header for column in self.columns if column.kind == "number"]
        texts += [value for column in self.columns if column.kind == "number" for value in column.samples]
        found = {code for text in texts for code in _CODE.findall(text) if code not in ("ACV", "ARR", "TCV")}
        found |= {code for text in texts for symbol, code in _SYMBOLS.items() if symbol in text}
        return next(iter(found)) if len(found) == 1 else None


def profile_file(
    path: Path, date_order: DateOrder | None = None, decimal: Literal[".", ","] | None = None
) -> FileProfile:
    """Read a file as text and describe its columns; at most `MOST_ROWS` rows are looked at.

    `date_order` and `decimal` decide columns that do not tell it themselves.
    Errors: FileUnreadable, FileUnfinished.
    """
    if path.suffix.lower() == ".parquet":
        return _profile(path, None, None, *_parquet(path), date_order, decimal)
    encoding = find_encoding(path)
    delimiter = find_delimiter(path, encoding)
    options = Format(delimiter=delimiter, encoding=None if encoding == "utf-16" else encoding)
    rows = read_csv(path, (), options)
    batches: list[pa.RecordBatch] = []
    seen = 0
    for batch in rows.batches:
        batches.append(batch)
        seen += batch.num_rows
        if seen >= MOST_ROWS:
            break
    frame = pa.Table.from_batches(batches, rows.schema).to_pandas()
    whole = frame[frame["broken"].isna()]
    cells = [whole[f"c{index}"] for index in range(len(rows.headers))]
    broken = len(frame) - len(whole)
    return _profile(path, delimiter, encoding, rows.headers, cells, broken, date_order, decimal)


def find_encoding(path: Path) -> str:
    """`utf-16` by its mark, `utf-8` when the bytes are, else `cp1252`. Errors: FileUnreadable."""
    data = path.read_bytes()[:4_000_000]
    if not data.strip():
        raise FileUnreadable("is empty; export it again")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\x00" in data[:4096]:
        raise FileUnreadable("is no text file; export it as CSV")
    try:
        # A character may be cut in two where the sample ends.
        data[: len(data) - 4 if len(data) == 4_000_000 else None].decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        return "cp1252"


def find_delimiter(path: Path, encoding: str) -> str:
    """The delimiter that parts the first rows into most columns of equal number."""
    with path.open(encoding=encoding, newline="", errors="replace") as stream:
        start = stream.read(200_000).splitlines(keepends=True)[:200]

    def fitness(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in csv.reader(start, delimiter=delimiter) if row]
        if not widths or widths[0] < 2:
            return 0.0, 0
        return round(widths.count(widths[0]) / len(widths), 1), widths[0]

    return max(DELIMITERS, key=fitness)


def to_days(values: pd.Series, order: str | None) -> pd.Series:
    """Texts as naive instants: ISO, or local dates in `order` (day first unless it is mdy)."""
    text = values.astype("string")
    iso = text.str.extract(r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})")
    local = text.str.extract(r"^(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{4})")
    first, second = (0, 1) if order == "mdy" else (1, 0)
    stamp = (iso[0] + "-" + iso[1] + "-" + iso[2]).fillna(local[2] + "-" + local[first] + "-" + local[second])
    days = pd.to_datetime(stamp, format="%Y-%m-%d", errors="coerce")
    clock = text.str.extract(r"[T ,]+(\d{1,2}:\d{2}(?::\d{2})?)\s?([AaPp][Mm])?")
    since = pd.to_timedelta(clock[0].where(clock[0].str.count(":") == 2, clock[0] + ":00"), errors="coerce")
    half = clock[1].str.lower()
    noon = pd.Timedelta(hours=12)
    since = since.where(half.isna() | (since < noon), since - noon)
    since = since.where(half.ne("pm").fillna(True), since + noon)
    return days + since.fillna(pd.Timedelta(0))


def _parquet(path: Path) -> tuple[tuple[str, ...], list[pd.Series], int]:
    try:
        table = pq.read_table(path).slice(0, MOST_ROWS)
    except (pa.ArrowException, OSError) as error:
        raise FileUnreadable(f"is no readable Parquet file ({error}); write it anew") from None
    cells = [table.column(index).cast(pa.string()).to_pandas() for index in range(table.num_columns)]
    return tuple(table.column_names), cells, 0


def _profile(
    path: Path,
    delimiter: str | None,
    encoding: str | None,
    headers: Sequence[str],
    cells: Sequence[pd.Series],
    broken: int,
    date_order: DateOrder | None,
    decimal: Literal[".", ","] | None,
) -> FileProfile:
    columns = tuple(
        _column(header, index, values, date_order, decimal)
        for index, (header, values) in enumerate(zip(headers, cells, strict=True))
    )
    rows = len(cells[0]) if cells else 0
    return FileProfile(path, delimiter, encoding, rows, broken, _agreed(columns))


def _column(
    header: str,
    index: int,
    cells: pd.Series,
    date_order: DateOrder | None,
    decimal: Literal[".", ","] | None,
) -> Column:
    text = cells.astype("object").map(lambda cell: cell.strip() or None if isinstance(cell, str) else None)
    values = text.where(text.notna(), None).reset_index(drop=True)
    known = list(dict.fromkeys(values.dropna()))[:5_000]
    if not known:
        return Column(header, index, values, "empty")
    if _share(known, lambda v: bool(_ISO.match(v) or _LOCAL.match(v))) >= _AGREEING:
        kind: ColumnKind = "instant" if _share(known, lambda v: bool(_CLOCK.search(v))) > 0.5 else "date"
        order = order_of(known)
        return Column(header, index, values, kind, date_order or order if order == "unknown" else order)
    if all(value.casefold() in ("true", "false", "yes", "no") for value in known):
        return Column(header, index, values, "boolean")
    if _share(known, lambda v: bool(_NUMBER.fullmatch(v))) >= _AGREEING:
        mark = decimal_of(known)
        return Column(header, index, values, "number", decimal=decimal or mark if mark == "unknown" else mark)
    return Column(header, index, values, "text")


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
    if not any("," in value or re.search(r"\d[.' ]\d{3}[.,' ]", value) for value in values):
        return None
    comma = sum(bool(re.search(r",\d{1,2}(\D|$)|,\d{4,}|\.\d{3},", value)) for value in values)
    point = sum(bool(re.search(r"\.\d{1,2}(\D|$)|\.\d{4,}|,\d{3}\.|,\d{3},", value)) for value in values)
    if bool(comma) == bool(point):
        return "unknown"
    return "," if comma else "."


def _agreed(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Columns that cannot tell their date order take that of the columns which can: one program wrote all."""
    order = {column.date_order for column in columns} & {"dmy", "mdy"}
    mark = {column.decimal for column in columns} & {".", ","}
    return tuple(
        Column(
            column.header,
            column.index,
            column.values,
            column.kind,
            next(iter(order)) if column.date_order == "unknown" and len(order) == 1 else column.date_order,
            next(iter(mark)) if column.decimal == "unknown" and len(mark) == 1 else column.decimal,
        )
        for column in columns
    )


def _share(values: Sequence[str], test: object) -> float:
    return sum(map(test, values)) / len(values)  # type: ignore[arg-type]
