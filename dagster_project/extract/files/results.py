"""What an extraction of files found, for people, checks and metadata."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

Status = Literal["read", "unchanged", "waiting", "failed"]


@dataclass(frozen=True)
class Reject:
    """One row that was not kept: `row` is its line in the file (the number of the record in Parquet)."""

    file: str
    row: int
    column: str | None
    value: str | None
    reason: str
    hint: str | None


@dataclass(frozen=True)
class UnknownValue:
    """A value that the configuration does not know. The rows are kept; `paste` is the line that names it."""

    entity: str
    column: str
    value: str
    rows: int
    paste: str


@dataclass(frozen=True)
class FileReport:
    """What became of one file.

    `read`: landed now. `unchanged`: the same bytes were landed before; the counts are those of that time.
    `waiting`: still being written, next time. `failed`: not readable as configured; `problem` says why and
    what to do. rows_read = rows_kept + rows_rejected + rows_duplicate.
    """

    file: str
    entity: str
    status: Status
    problem: str | None = None
    rows_read: int = 0
    rows_kept: int = 0
    rows_rejected: int = 0
    rows_duplicate: int = 0
    lines_beside: int = 0
    """Titles above the header, totals below the last row, changes of fields that are not mapped: no rows."""
    columns_unmapped: tuple[str, ...] = ()
    columns_missing: tuple[str, ...] = ()
    oldest_event_on: date | None = None
    newest_event_on: date | None = None
    rejects: tuple[Reject, ...] = ()
    unknown_values: tuple[UnknownValue, ...] = ()

    @property
    def adds_up(self) -> bool:
        """Whether every row read is accounted for."""
        return self.rows_read == self.rows_kept + self.rows_rejected + self.rows_duplicate


@dataclass(frozen=True)
class ExtractResult:
    """What an extraction of one source did. `notes` are sentences about anything else worth knowing."""

    source: str
    files: tuple[FileReport, ...]
    batches: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def of(self, entity: str) -> tuple[FileReport, ...]:
        """The files that deliver an entity."""
        return tuple(report for report in self.files if report.entity == entity)

    @property
    def unknown_values(self) -> tuple[UnknownValue, ...]:
        """Unknown values of all files, the most frequent first."""
        found = [value for report in self.files for value in report.unknown_values]
        return tuple(sorted(found, key=lambda value: -value.rows))

    @property
    def newest_event_on(self) -> date | None:
        """The newest day, not in the future, on which something happened to a deal."""
        return newest(report.newest_event_on for report in self.files)


def oldest(days: Iterable[date | None]) -> date | None:
    """The least of some days, of which any may be unknown."""
    return min((day for day in days if day is not None), default=None)


def newest(days: Iterable[date | None]) -> date | None:
    """The greatest of some days, of which any may be unknown."""
    return max((day for day in days if day is not None), default=None)
