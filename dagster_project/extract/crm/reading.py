"""Rows of a file as text, with the line each begins in. Nothing is interpreted here.

CSV is surveyed by the standard library's parser, because only it tells the line of every record, also after
quoted line breaks, and goes on after a broken one. Files without broken rows get their values from Arrow.
"""

import csv
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from dagster_project.settings import Format

DELIMITERS = (",", ";", "\t", "|")
_ROWS_PER_BATCH = 20_000
_ARROW_BLOCK_BYTES = 8 * 1024 * 1024
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_LARGEST_VALUE = 1_000_000


class FileUnreadable(Exception):
    """A file cannot be read as configured; the text says what is wrong and what to do."""


class FileUnfinished(Exception):
    """A file ends in the middle of a row: somebody is still writing it, or its transfer broke off."""


@dataclass
class TextRows:
    """A file's columns and its rows in batches of text columns `line`, `broken`, `c0`, `c1`, ….

    `broken` holds the reason why a row has not the right number of values; `c0` then holds them as one text.
    """

    headers: tuple[str, ...]
    batches: Iterator[pa.RecordBatch]
    schema: pa.Schema = field(init=False)

    def __post_init__(self) -> None:
        self.schema = rows_schema(len(self.headers))


def rows_schema(columns: int) -> pa.Schema:
    """Schema of the batches of a file with so many columns."""
    names = [("line", pa.int64()), ("broken", pa.string())]
    return pa.schema(names + [(f"c{index}", pa.string()) for index in range(columns)])


def plain(header: str) -> str:
    """A header as it is compared: without case, blanks and the marks that exports put around it."""
    return re.sub(r"[\s\ufeff\u200b]+", "", header).casefold()


def parquet_headers(path: Path) -> tuple[str, ...]:
    """The columns of a Parquet file. Errors: FileUnreadable."""
    try:
        return tuple(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise FileUnreadable(f"is no readable Parquet file ({error}); write it anew") from None


def read_csv(path: Path, wanted: Sequence[str], options: Format) -> TextRows:
    """Open a CSV file. `wanted` headers decide the delimiter where the configuration does not name it.

    Errors: FileUnreadable; FileUnfinished.
    """
    encoding = _encoding(path, options)
    if path.stat().st_size == 0:
        raise FileUnreadable("is empty (0 bytes); export it again")
    delimiter = options.delimiter or _delimiter(path, encoding, wanted)
    survey = _survey(path, encoding, delimiter)
    headers = tuple(name.strip().strip("\ufeff") for name in survey.header)
    return TextRows(headers, _batches(path, encoding, delimiter, survey))


def _encoding(path: Path, options: Format) -> str:
    with path.open("rb") as stream:
        start = stream.read(3)
    marked = next((name for mark, name in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
    return marked or options.encoding or "utf-8"


def _delimiter(path: Path, encoding: str, wanted: Sequence[str]) -> str:
    names = {plain(name) for name in wanted}

    def matches(delimiter: str) -> int:
        row = next(_records(path, encoding, delimiter), None)
        return len(names & {plain(name) for name in row[1]}) if row else 0

    return max(DELIMITERS, key=matches)


def _records(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Line and values of each record; a complaint in place of values that cannot be told apart."""
    csv.field_size_limit(_LARGEST_VALUE)
    with path.open(encoding=encoding, newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        line = 1
        while True:
            try:
                for row in reader:
                    if row:
                        yield line, row
                    line = reader.line_num + 1
                return
            except csv.Error as error:
                if "unexpected end of data" in str(error):
                    raise FileUnfinished(f"ends inside the quotes that begin in line {line}") from None
                yield line, f"its quotes or its length are not those of a CSV row ({error})"
                line = reader.line_num + 1
            except UnicodeDecodeError:
                raise FileUnreadable(_bad_bytes(path, encoding)) from None


@dataclass(frozen=True)
class _Survey:
    """What a first pass over a file found: its header, the line of each row, and whether a row is broken."""

    header: list[str]
    header_ends_in: int
    lines: "array[int]"
    has_broken_rows: bool


def _survey(path: Path, encoding: str, delimiter: str) -> _Survey:
    """Read the file once without keeping its values (a million rows a second)."""
    rows = _records(path, encoding, delimiter)
    first = next(rows, None)
    if first is None:
        raise FileUnreadable("holds only blank lines; export it again")
    header = first[1]
    if isinstance(header, str):
        raise FileUnreadable(f"has a header that is no CSV row: {header}; export it again")
    width, lines, broken, last = len(header), array("q"), 0, len(header)
    for line, row in rows:
        lines.append(line)
        last = width if isinstance(row, str) else len(row)
        broken += isinstance(row, str) or last != width
    if last < width and not _ends_with_newline(path):
        raise FileUnfinished(f"ends in the middle of line {lines[-1]}")
    return _Survey(header, first[0] + sum(cell.count("\n") for cell in header), lines, broken > 0)


def _batches(path: Path, encoding: str, delimiter: str, survey: _Survey) -> Iterator[pa.RecordBatch]:
    """The rows of a surveyed file. Values come from Arrow, 15 times as fast, unless a row is broken."""
    if survey.lines and not survey.has_broken_rows:
        every_line = np.frombuffer(survey.lines, dtype=np.int64)
        done = 0
        for batch in _arrow_batches(path, encoding, delimiter, survey):
            lines = pa.array(every_line[done : done + batch.num_rows])
            if len(lines) < batch.num_rows:
                break
            columns = [lines, pa.nulls(batch.num_rows, pa.string()), *batch.columns]
            done += batch.num_rows
            yield pa.RecordBatch.from_arrays(columns, schema=rows_schema(len(survey.header)))
        if done != len(survey.lines):
            raise FileUnreadable(
                f"is quoted so that it can be read as {done} or {len(survey.lines)} rows; export it again"
            )
    else:
        yield from _checked_batches(path, encoding, delimiter, len(survey.header))


def _arrow_batches(path: Path, encoding: str, delimiter: str, survey: _Survey) -> Iterator[pa.RecordBatch]:
    names = [f"c{index}" for index in range(len(survey.header))]
    reading = arrow_csv.ReadOptions(
        use_threads=False,
        block_size=_ARROW_BLOCK_BYTES,
        skip_rows=survey.header_ends_in,
        column_names=names,
        encoding="utf-8" if encoding == "utf-8-sig" else encoding,
    )
    parsing = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    converting = arrow_csv.ConvertOptions(
        column_types={name: pa.string() for name in names}, strings_can_be_null=False
    )
    try:
        yield from arrow_csv.open_csv(path, reading, parsing, converting)
    except pa.ArrowInvalid as error:
        raise FileUnreadable(f"is quoted in a way that cannot be read ({error}); export it again") from None


def _checked_batches(path: Path, encoding: str, delimiter: str, width: int) -> Iterator[pa.RecordBatch]:
    schema = rows_schema(width)
    lines: list[int] = []
    values: list[Sequence[str | None]] = []
    broken: dict[int, str] = {}
    rows = _records(path, encoding, delimiter)
    next(rows)
    for line, row in rows:
        if isinstance(row, str):
            broken[len(lines)] = row
            row = [""] * width
        elif len(row) != width:
            broken[len(lines)] = f"has {len(row)} values where the header has {width}"
            row = [", ".join(row)[:500]] + [""] * (width - 1)
        lines.append(line)
        values.append(row)
        if len(lines) == _ROWS_PER_BATCH:
            yield _batch(schema, lines, values, broken)
            lines, values, broken = [], [], {}
    if lines:
        yield _batch(schema, lines, values, broken)


def _batch(
    schema: pa.Schema, lines: list[int], values: list[Sequence[str | None]], broken: dict[int, str]
) -> pa.RecordBatch:
    reasons = [broken.get(index) for index in range(len(lines))] if broken else [None] * len(lines)
    columns = [pa.array(lines, pa.int64()), pa.array(reasons, pa.string())]
    columns += [pa.array(column, pa.string()) for column in zip(*values, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-min(4, path.stat().st_size), 2)
        return stream.read().rstrip(b"\x00").endswith((b"\n", b"\r"))


def _bad_bytes(path: Path, encoding: str) -> str:
    remedy = "save it as UTF-8, or set `format: {encoding: cp1252}` if it comes from Excel on Windows"
    if encoding.startswith("utf-16"):
        return f"is not {encoding} text; {remedy}"
    with path.open("rb") as stream:
        start = stream.read(512)
        if b"\x00" in start:
            return "is no text file; export it as CSV"
        stream.seek(0)
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                return f"is not {encoding} text (line {number}, byte {error.start + 1}); {remedy}"
    return f"is not {encoding} text; {remedy}"
