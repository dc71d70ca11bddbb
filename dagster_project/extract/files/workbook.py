"""Excel workbooks as rows of text: one sheet, its header found below titles, merged cells filled.

Cells are taken as last calculated; a formula that no program has calculated is empty.
"""

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import python_calamine as calamine

from dagster_project.extract.files.archives import check_inflation
from dagster_project.extract.files.rows import (
    HEADER_WITHIN,
    FileUnreadable,
    Footer,
    TextRows,
    Wanted,
    header_place,
    number_text,
    plain,
    row_batches,
)

# The reader holds a whole sheet: about 300,000 rows of 20 columns.
MAX_UNPACKED_BYTES = 500 * 1024 * 1024

_Row = list[str | None]


def read_workbook(path: Path, wanted: Wanted, sheet: str | None, decimal: str | None) -> TextRows:
    """Open a sheet of an .xlsx file: the one named, else the only one whose header has the required columns.

    Lines are the numbers of the sheet's rows. Numbers are written with `decimal`, the sign that texts of the
    file are read with. Rows without any value are no rows.
    Errors: FileUnreadable (no workbook, a bomb, no such sheet, several that fit, an empty one).
    """
    with _opened(path) as workbook:
        return _sheet_rows(workbook, wanted, sheet, decimal)


def first_rows_by_sheet(path: Path) -> dict[str, list[tuple[int, _Row]]]:
    """Visible sheet → its first rows that have a value, where there are any. Errors: FileUnreadable."""
    with _opened(path) as workbook:
        found = {name: list(_cells(workbook, name, None, HEADER_WITHIN)) for name in _shown(workbook)}
    return {name: rows for name, rows in found.items() if rows}


@contextmanager
def _opened(path: Path) -> Iterator[calamine.CalamineWorkbook]:
    if path.stat().st_size == 0:
        raise FileUnreadable("is empty (0 bytes); export it again")
    if not zipfile.is_zipfile(path):
        raise FileUnreadable("is no Excel workbook (.xlsx), whatever its name says; save it as .xlsx or .csv")
    check_inflation(path, MAX_UNPACKED_BYTES)
    try:
        with calamine.load_workbook(path) as workbook:
            yield workbook
    except (calamine.CalamineError, OSError) as error:
        raise FileUnreadable(f"is a damaged Excel workbook ({error}); save it anew") from None


def counts_from_1904(path: Path) -> bool:
    """Whether a workbook's serial dates count from 1904, as those of old Macs do."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("xl/workbook.xml") as stream:
            return re.search(rb'date1904\s*=\s*"(1|true)"', stream.read(1_000_000)) is not None
    except (LookupError, ValueError, zipfile.BadZipFile):
        return False


def _sheet_rows(
    workbook: calamine.CalamineWorkbook, wanted: Wanted, sheet: str | None, decimal: str | None
) -> TextRows:
    shown = _shown(workbook)
    if sheet is not None:
        matches = [name for name in workbook.sheet_names if plain(name) == plain(sheet)]
        if not matches:
            raise FileUnreadable(f"has no sheet {sheet!r}; its sheets are: {', '.join(workbook.sheet_names)}")
        return _rows_of(workbook, matches[0], wanted, decimal)
    fitting = [name for name in shown if _fits(workbook, name, wanted, decimal)] if len(shown) > 1 else shown
    if len(fitting) > 1:
        lines = " or ".join(f"`sheet: {name}`" for name in fitting)
        raise FileUnreadable(f"has several sheets that could be meant; write {lines} beside `path:`")
    if not (fitting or shown):
        raise FileUnreadable("has no sheet with cells; save it as .csv")
    return _rows_of(workbook, (fitting or shown)[0], wanted, decimal)


def _shown(workbook: calamine.CalamineWorkbook) -> list[str]:
    return [
        found.name
        for found in workbook.sheets_metadata
        if found.visible == calamine.SheetVisibleEnum.Visible
        and found.typ == calamine.SheetTypeEnum.WorkSheet
    ]


def _fits(workbook: calamine.CalamineWorkbook, name: str, wanted: Wanted, decimal: str | None) -> bool:
    rows = [row for _, row in _cells(workbook, name, decimal, HEADER_WITHIN)]
    header = {plain(cell) for cell in rows[header_place(rows, wanted.headers)] if cell} if rows else set()
    return {plain(required) for required in wanted.required} <= header


def _rows_of(workbook: calamine.CalamineWorkbook, name: str, wanted: Wanted, decimal: str | None) -> TextRows:
    rows = list(_cells(workbook, name, decimal))
    if not rows:
        raise FileUnreadable(f"has no cells in its sheet {name!r}; export it again")
    place = header_place([row for _, row in rows[:HEADER_WITHIN]], wanted.headers)
    header = rows[place][1]
    headers = tuple((cell or "").strip() for cell in header)
    # A title merged with the header below leaves the same words in both rows.
    start = place + 1
    while start < len(rows) and rows[start][1] == header:
        start += 1
    while headers and not headers[-1] and not any(row[len(headers) - 1] for _, row in rows[start:]):
        headers = headers[:-1]
    footer, previous = Footer(headers, wanted.required), rows[start - 1][0]
    for line, row in rows[start:]:
        if line > previous + 1:
            footer.add([])
        footer.add(row[: len(headers)])
        previous = line
    body = rows[start : len(rows) - footer.rows]
    batches = row_batches(iter([(line, row[: len(headers)]) for line, row in body]), len(headers))
    return TextRows(headers, batches, place + footer.rows)


def _cells(
    workbook: calamine.CalamineWorkbook, name: str, decimal: str | None, limit: int | None = None
) -> Iterator[tuple[int, _Row]]:
    """Number and texts of each row that has a value; merged cells all hold the value of their first."""
    sheet = workbook.get_sheet_by_name(name)
    if sheet.start is None:
        return
    top, left = sheet.start
    merged = _merged_by_row(sheet, left)
    carried: dict[tuple[int, int], str | None] = {}
    given = 0
    for offset, values in enumerate(sheet.iter_rows()):
        number = top + offset
        row = [_text(value, decimal) for value in values]
        for first_row, column in merged.get(number, ()):
            if column >= len(row):
                continue
            if number == first_row:
                carried[first_row, column] = row[column]
            else:
                row[column] = carried.get((first_row, column))
        if any(row):
            yield number + 1, row
            given += 1
            if given == limit:
                return


def _merged_by_row(sheet: calamine.CalamineSheet, left: int) -> dict[int, list[tuple[int, int]]]:
    """Row → (first row, column) of the cells merged over several rows. Merging over columns fills nothing."""
    found: dict[int, list[tuple[int, int]]] = {}
    for (first_row, first_column), (last_row, _) in sheet.merged_cell_ranges or ():
        if last_row > first_row and first_column >= left and last_row - first_row < 100_000:
            for number in range(first_row, last_row + 1):
                found.setdefault(number, []).append((first_row, first_column - left))
    return found


def _text(value: Any, decimal: str | None) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return number_text(value, decimal)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date | time | timedelta):
        return str(value)
    return str(value)
