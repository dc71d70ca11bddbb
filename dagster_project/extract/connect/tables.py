"""Every table in a file, opened by the readers that a run uses: sheets of a workbook, members of a zip."""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.extract.files.archives import Member, unpacked
from dagster_project.extract.files.arrivals import ends_in_the_middle
from dagster_project.extract.files.json_lines import read_json_lines
from dagster_project.extract.files.loading import JSON_LINES, MEMBER_SUFFIXES, WORKBOOKS
from dagster_project.extract.files.reading import (
    NotThisEncoding,
    find_delimiter,
    find_encoding,
    first_rows,
    parquet_headers,
    read_csv,
)
from dagster_project.extract.files.rows import FileUnfinished, FileUnreadable, TextRows, Wanted
from dagster_project.extract.files.workbook import first_rows_by_sheet, read_workbook
from dagster_project.settings import Format

# More rows than that say nothing new about a column, and would not fit the memory of a laptop.
MOST_ROWS = 200_000
_BATCH = 20_000
_WINDOWS = "cp1252"

_Rows = Sequence[tuple[int, Sequence[str | None] | str]]


@dataclass(frozen=True)
class Table:
    """One table of a file: where it lies, how it is written, and its cells as text, a series per column.

    `member` and `sheet` are None unless they are needed to find it. `broken_rows` do not have the header's
    width and are left out of `cells`; `lines_beside` are titles above the header and totals at the end.
    """

    path: Path
    headers: tuple[str, ...]
    cells: tuple[pd.Series, ...]
    member: str | None = None
    sheet: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    broken_rows: int = 0
    lines_beside: int = 0
    is_cut: bool = False


def open_tables(path: Path) -> Iterator[Table]:
    """The tables of a file; at most `MOST_ROWS` rows of each.

    Errors: FileUnreadable, FileUnfinished.
    """
    with tempfile.TemporaryDirectory(prefix="stageledger-connect-") as folder:
        members = unpacked(path, Path(folder))
        readable = [member for member in members if member.suffix in MEMBER_SUFFIXES]
        if not readable:
            names = ", ".join(member.name for member in members[:20])
            raise FileUnreadable(
                f"is no file of a kind that is read ({', '.join(MEMBER_SUFFIXES[1:])}): {names}"
            )
        for member in readable:
            name = PurePosixPath(member.name).name if path.suffix.lower() == ".zip" else None
            yield from _tables(path, member, name if len(members) > 1 else None)


def _tables(path: Path, member: Member, name: str | None) -> Iterator[Table]:
    if member.suffix in WORKBOOKS:
        yield from _sheets(path, member.path, name)
    elif member.suffix == ".parquet":
        yield _parquet(path, member.path, name)
    elif member.suffix in JSON_LINES:
        yield _table(path, read_json_lines(member.path, None), member=name)
    else:
        yield _csv(path, member.path, name)


def _csv(path: Path, file: Path, member: str | None) -> Table:
    encoding = find_encoding(file, Format())
    try:
        return _csv_in(path, file, member, encoding)
    except NotThisEncoding:
        return _csv_in(path, file, member, _WINDOWS)


def _csv_in(path: Path, file: Path, member: str | None, encoding: str) -> Table:
    delimiter = find_delimiter(file, encoding)
    headers, required = guess_header(first_rows(file, encoding, delimiter))
    options = Format(delimiter=delimiter, encoding=encoding if encoding == _WINDOWS else None)
    rows = read_csv(file, headers, options, required=required)
    plain = {"utf-8-sig": "utf-8", "utf-16-le": "utf-16", "utf-16-be": "utf-16"}.get(encoding, encoding)
    return _table(path, rows, member=member, encoding=plain, delimiter=delimiter)


def _sheets(path: Path, file: Path, member: str | None) -> Iterator[Table]:
    sheets = first_rows_by_sheet(file)
    if not sheets:
        raise FileUnreadable("has no sheet with cells; save it as .csv")
    for sheet, first in sheets.items():
        headers, required = guess_header(first)
        rows = read_workbook(file, Wanted(headers, required), sheet, None)
        yield _table(path, rows, member=member, sheet=sheet if len(sheets) > 1 else None)


def _parquet(path: Path, file: Path, member: str | None) -> Table:
    if ends_in_the_middle(file):
        raise FileUnfinished("has no end")
    headers = parquet_headers(file)
    try:
        reader = pq.ParquetFile(file)
        batches = list(islice(reader.iter_batches(_BATCH), MOST_ROWS // _BATCH))
        table = pa.Table.from_batches(batches, reader.schema_arrow)
        cells = tuple(_as_text(table.column(place)) for place in range(table.num_columns))
    except (pa.ArrowException, OSError) as error:
        raise FileUnreadable(f"is no readable Parquet file ({error}); write it anew") from None
    return Table(path, headers, cells, member, is_cut=reader.metadata.num_rows > table.num_rows)


def _as_text(column: pa.ChunkedArray) -> pd.Series:
    if pa.types.is_nested(column.type):
        return pd.Series(
            [None if value is None else str(value) for value in column.to_pylist()], dtype="object"
        )
    return column.cast(pa.string()).to_pandas()


def _table(
    path: Path,
    rows: TextRows,
    *,
    member: str | None,
    sheet: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
) -> Table:
    batches: list[pa.RecordBatch] = []
    seen = 0
    for batch in rows.batches:
        batches.append(batch)
        seen += batch.num_rows
        if seen >= MOST_ROWS:
            break
    frame = pa.Table.from_batches(batches, rows.schema).slice(0, MOST_ROWS).to_pandas()
    whole = frame[frame["broken"].isna()]
    cells = tuple(whole[f"c{place}"] for place in range(len(rows.headers)))
    return Table(
        path, rows.headers, cells, member, sheet, encoding, delimiter,
        broken_rows=len(frame) - len(whole), lines_beside=rows.lines_beside, is_cut=seen >= MOST_ROWS,
    )  # fmt: skip


def guess_header(rows: _Rows) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The header among a file's first rows, when nobody says what it holds, and what every row fills.

    It is the first row as wide as most rows, as full as any below it, and without a number.
    """
    told = [row for _, row in rows if not isinstance(row, str)]
    if not told:
        return (), ()
    usual = statistics.mode(len(row) for row in told)
    place = next((n for n, row in enumerate(told) if len(row) == usual and _is_header(row, told[n + 1 :])), 0)
    header, body = told[place], [row for row in told[place + 1 :] if len(row) == usual]
    headers = tuple((cell or "").strip() for cell in header)
    # Totals at the end lack them, so the last rows are no witnesses.
    witnesses = body[: max(1, len(body) - 5)]
    filled = [
        name
        for column, name in enumerate(headers)
        if name and witnesses and all(column < len(row) and (row[column] or "").strip() for row in witnesses)
    ]
    return tuple(name for name in headers if name), tuple(filled)


def _is_header(row: Sequence[str | None], below: Sequence[Sequence[str | None]]) -> bool:
    texts = [cell.strip() for cell in row if cell and cell.strip()]
    fullest = max((sum(bool(cell and cell.strip()) for cell in other) for other in below), default=0)
    is_full = len(texts) >= fullest
    return (
        bool(texts)
        and is_full
        and not any(text.replace(".", "").replace(",", "").isdigit() for text in texts)
    )
