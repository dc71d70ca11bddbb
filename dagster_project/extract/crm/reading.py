"""Rows of a file as text, with the line each begins in. Nothing is interpreted here.

CSV is cut into values by the standard library's parser, because only it tells the line of every record, also
after quoted line breaks, and goes on after a broken one (400,000 rows of 10 columns a second).
"""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.settings import Format

DELIMITERS = (",", ";", "\t", "|")
_ROWS_PER_BATCH = 20_000
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

    Errors: FileUnreadable here and while the batches are read; FileUnfinished at the end of the batches.
    """
    encoding = _encoding(path, options)
    if path.stat().st_size == 0:
        raise FileUnreadable("is empty (0 bytes); export it again")
    delimiter = options.delimiter or _delimiter(path, encoding, wanted)
    rows = _records(path, encoding, delimiter)
    header = next(rows, None)
    if header is None:
        raise FileUnreadable("holds only blank lines; export it again")
    headers = tuple(name.strip().strip("\ufeff") for name in header[1])
    return TextRows(headers, _batches(path, rows, len(headers)))


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


def _batches(path: Path, rows: Iterator[tuple[int, list[str] | str]], width: int) -> Iterator[pa.RecordBatch]:
    schema = rows_schema(width)
    lines: list[int] = []
    values: list[Sequence[str | None]] = []
    broken: dict[int, str] = {}
    short = False
    for line, row in rows:
        short = False
        if isinstance(row, str):
            broken[len(lines)] = row
            row = [""] * width
        elif len(row) != width:
            short = len(row) < width
            broken[len(lines)] = f"has {len(row)} values where the header has {width}"
            row = [", ".join(row)[:500]] + [""] * (width - 1)
        lines.append(line)
        values.append(row)
        if len(lines) == _ROWS_PER_BATCH:
            yield _batch(schema, lines, values, broken)
            lines, values, broken = [], [], {}
    if short and not _ends_with_newline(path):
        raise FileUnfinished(f"ends in the middle of line {lines[-1] if lines else '?'}")
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
        if start.count(b"\x00") > len(start) // 10:
            return "is no text file; export it as CSV"
        stream.seek(0)
        for number, line in enumerate(stream, start=1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError as error:
                return f"is not {encoding} text (line {number}, byte {error.start + 1}); {remedy}"
    return f"is not {encoding} text; {remedy}"
