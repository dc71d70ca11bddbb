"""CSV files, and Parquet files where that is asked for, as rows of text. Nothing is interpreted here.

CSV is surveyed by the standard library's parser, because only it tells the line of every record, also after
quoted line breaks, and goes on after a broken one. Files without broken rows get their values from Arrow.
"""

import csv
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from dagster_project.extract.files.rows import (
    HEADER_WITHIN,
    FileUnfinished,
    FileUnreadable,
    Footer,
    TextRows,
    header_place,
    plain,
    row_batches,
    rows_schema,
)
from dagster_project.settings import Format

DELIMITERS = (",", ";", "\t", "|")
# Arrow reads up to 32 blocks ahead; with blocks of 8 MB that was 260 MB of memory.
_ARROW_BLOCK_BYTES = 2 * 1024 * 1024
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_FOREIGN = {
    b"PK\x03\x04": "is an Excel workbook or a zip archive under another name; name it .xlsx or .zip",
    b"\x1f\x8b": "is compressed with gzip under another name; add .gz to its name",
    b"PAR1": "is a Parquet file under another name; name it .parquet",
    b"%PDF": "is a PDF; export the data as CSV",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook (.xls); save it as .xlsx or .csv",
}
_LARGEST_VALUE = 1_000_000


class NotThisEncoding(FileUnreadable):
    """The bytes of a file are not text in the encoding they were read with."""


def parquet_headers(path: Path) -> tuple[str, ...]:
    """The columns of a Parquet file. Errors: FileUnreadable."""
    try:
        return tuple(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FileUnreadable(f"is no readable Parquet file ({error}); write it anew") from None


def read_parquet_texts(path: Path) -> TextRows:
    """The rows of a Parquet file as text: instants and dates in ISO form, UTC where they carry a zone.

    Errors: FileUnreadable.
    """
    headers = parquet_headers(path)
    total = pq.read_metadata(path).num_rows
    return TextRows(headers, _parquet_texts(path, len(headers), total), total=total)


def _parquet_texts(path: Path, width: int, total: int) -> Iterator[pa.RecordBatch]:
    line = 1
    try:
        for batch in pq.ParquetFile(path).iter_batches():
            lines = pa.array(range(line, line + batch.num_rows), pa.int64())
            texts = [column.cast(pa.string()) for column in batch.columns]
            broken = pa.nulls(batch.num_rows, pa.string())
            texts_batch = pa.RecordBatch.from_arrays([lines, broken, *texts], schema=rows_schema(width))
            texts_batch.validate(full=True)
            yield texts_batch
            line += batch.num_rows
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FileUnreadable(f"is a damaged Parquet file ({error}); write it anew") from None
    if line - 1 != total:
        raise FileUnreadable(f"is a damaged Parquet file (it tells {total} rows, {line - 1} are there)")


def read_csv(path: Path, wanted: Sequence[str], options: Format, *, required: Sequence[str] = ()) -> TextRows:
    """Open a CSV file.

    `wanted` headers find the header below the titles of a report, and the delimiter where the configuration
    does not name it; `required` ones tell rows from the totals at a report's end.
    Errors: FileUnreadable; FileUnfinished.
    """
    encoding = find_encoding(path, options)
    delimiter = options.delimiter or find_delimiter(path, encoding, wanted)
    survey = _survey(path, encoding, delimiter, wanted, required)
    batches = _batches(path, encoding, delimiter, survey)
    return TextRows(survey.headers, batches, survey.rows_above + survey.rows_below, len(survey.lines))


def find_encoding(path: Path, options: Format) -> str:
    """What the file's own mark says, else the configuration, else utf-8. Errors: FileUnreadable."""
    with path.open("rb") as stream:
        start = stream.read(512)
    if not start:
        raise FileUnreadable("is empty (0 bytes); export it again")
    for mark, problem in _FOREIGN.items():
        if start.startswith(mark):
            raise FileUnreadable(problem)
    marked = next((name for mark, name in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), None)
    return marked or options.encoding or _unmarked_utf16(start) or "utf-8"


def _unmarked_utf16(start: bytes) -> str | None:
    """UTF-16 without its mark shows in that every second byte of a Latin header is 0."""
    even, odd = start[0::2], start[1::2]
    if b"\x00" not in start or len(start) < 4:
        return None
    if not any(odd) and b"\x00" not in even:
        return "utf-16-le"
    if not any(even) and b"\x00" not in odd:
        return "utf-16-be"
    raise FileUnreadable("is no text file; export it as CSV")


def first_rows(path: Path, encoding: str, delimiter: str) -> list[tuple[int, list[str] | str]]:
    """Line and values of a file's first rows, among which its header stands. Errors: FileUnreadable."""
    rows: list[tuple[int, list[str] | str]] = []
    try:
        for line, row in islice(_records(path, encoding, delimiter), 2 * HEADER_WITHIN):
            if row and len(rows) < HEADER_WITHIN:
                rows.append((line, row))
    except FileUnfinished:
        # The survey, which reads on, says so of the delimiter that is chosen.
        return rows
    return rows


def find_delimiter(path: Path, encoding: str, wanted: Sequence[str] = ()) -> str:
    """The delimiter that shows most of the wanted headers, then parts the first rows most evenly."""
    names = {plain(name) for name in wanted}

    def fitness(delimiter: str) -> tuple[int, float, int, float]:
        rows = [row for _, row in first_rows(path, encoding, delimiter)]
        if not rows:
            return 0, 0.0, 0, 0.0
        header = rows[header_place(rows, wanted)]
        shown = len(names & {plain(name) for name in header})
        width, count = Counter(1 if isinstance(row, str) else len(row) for row in rows).most_common(1)[0]
        if width < 2:
            return shown, 0.0, 0, 0.0
        share = count / len(rows)
        return shown, round(share, 1), width, share

    return max(DELIMITERS, key=fitness)


def _records(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Line and values of each record; a complaint in place of values that cannot be told apart.

    A blank line has no values.
    """
    csv.field_size_limit(_LARGEST_VALUE)
    with path.open(encoding=encoding, newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        line = 1
        while True:
            try:
                for row in reader:
                    yield line, row
                    line = reader.line_num + 1
                return
            except csv.Error as error:
                if "unexpected end of data" in str(error):
                    raise FileUnfinished(f"ends inside the quotes that begin in line {line}") from None
                yield line, f"its quotes or its length are not those of a CSV row ({error})"
                line = reader.line_num + 1
            except UnicodeError:
                raise NotThisEncoding(_bad_bytes(path, encoding)) from None


@dataclass(frozen=True)
class _Survey:
    """What a first pass over a file found: its header, the line of each row, and whether a row is broken.

    Rows above the header and below the last row are counted apart; they hold titles and totals.
    """

    headers: tuple[str, ...]
    header_line: int
    header_ends_in: int
    lines: "array[int]"
    has_broken_rows: bool
    rows_above: int
    rows_below: int


def _survey(
    path: Path, encoding: str, delimiter: str, wanted: Sequence[str], required: Sequence[str]
) -> _Survey:
    """Read the file once without keeping its values (a million rows a second)."""
    first = first_rows(path, encoding, delimiter)
    if not first:
        # Nothing but blank lines, or quotes that never end: reading on tells which.
        if any(row for _, row in _records(path, encoding, delimiter)):
            raise FileUnreadable("begins with many blank lines; export it again")
        raise FileUnreadable("holds only blank lines; export it again")
    above = header_place([row for _, row in first], wanted)
    header_line, header = first[above]
    if isinstance(header, str):
        raise FileUnreadable(f"has a header that is no CSV row: {header}; export it again")
    headers = tuple(name.strip().strip("\ufeff") for name in header)
    width, lines, broken, last = len(header), array("q"), 0, len(header)
    footer, odd_widths = Footer(headers, required), array("q")
    for line, row in _records(path, encoding, delimiter):
        if line <= header_line:
            continue
        footer.add(row)
        if not row:
            continue
        lines.append(line)
        last = width if isinstance(row, str) else len(row)
        if isinstance(row, str):
            broken += 1
        elif last != width:
            odd_widths.append(line)
    below = footer.rows
    if last < width and not below and not _ends_with_newline(path):
        raise FileUnfinished(f"ends in the middle of line {lines[-1]}")
    del lines[len(lines) - below :]
    end = lines[-1] if lines else 0
    return _Survey(
        headers=headers,
        header_line=header_line,
        header_ends_in=header_line + sum(cell.count("\n") for cell in header),
        lines=lines,
        has_broken_rows=broken > 0 or below > 0 or any(line <= end for line in odd_widths),
        rows_above=above,
        rows_below=below,
    )


def _batches(path: Path, encoding: str, delimiter: str, survey: _Survey) -> Iterator[pa.RecordBatch]:
    """The rows of a surveyed file. Values come from Arrow, 15 times as fast, unless a row is broken."""
    width = len(survey.headers)
    if survey.lines and not survey.has_broken_rows:
        every_line = np.frombuffer(survey.lines, dtype=np.int64)
        done = 0
        for batch in _arrow_batches(path, encoding, delimiter, survey):
            lines = pa.array(every_line[done : done + batch.num_rows])
            if len(lines) < batch.num_rows:
                break
            columns = [lines, pa.nulls(batch.num_rows, pa.string()), *batch.columns]
            done += batch.num_rows
            yield pa.RecordBatch.from_arrays(columns, schema=rows_schema(width))
        if done != len(survey.lines):
            raise FileUnreadable(
                f"is quoted so that it can be read as {done} or {len(survey.lines)} rows; export it again"
            )
    else:
        end = survey.lines[-1] if survey.lines else 0
        rows = _records(path, encoding, delimiter)
        yield from row_batches(
            ((line, row) for line, row in rows if row and survey.header_line < line <= end), width
        )


def _arrow_batches(path: Path, encoding: str, delimiter: str, survey: _Survey) -> Iterator[pa.RecordBatch]:
    names = [f"c{index}" for index in range(len(survey.headers))]
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
        if "straddling" in str(error):
            longest = _ARROW_BLOCK_BYTES // 1024**2
            raise FileUnreadable(
                f"has a row of more than {longest} MB; export it without that text"
            ) from None
        raise FileUnreadable(f"is quoted in a way that cannot be read ({error}); export it again") from None


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
