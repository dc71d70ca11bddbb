"""Which bytes were read, and how: the memory that keeps the same file from landing twice.

The memory is the landing itself: the batches of the entity `reads`, one per file read, written last. The
same bytes under a better mapping are a new reading of what is known since the first one: its batches keep the
first one's `extracted_at` and replace it.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from dagster_project.extract.files.results import FileReport, Reject, UnknownValue
from dagster_project.extract.files.snapshot_day import SnapshotDay, snapshot_day
from dagster_project.extract.landing import Batch, Landing, Stamp


@dataclass(frozen=True)
class Reading:
    """One file as one configuration reads it. `look` identifies the file on disk without its bytes."""

    table: str
    file: str
    sha256: str
    fingerprint: str
    look: str = ""
    name_date: date | None = None
    data_as_of: date | None = None

    def origin(self, report: FileReport | None = None, snapshot: SnapshotDay | None = None) -> dict[str, Any]:
        """What a manifest says of the reading; with the report in the batch of `reads`."""
        origin: dict[str, Any] = {
            "table": self.table,
            "file": self.file,
            "sha256": self.sha256,
            "look": self.look,
            "name_date": self.name_date and self.name_date.isoformat(),
        }
        if snapshot:
            origin["snapshot_on"] = snapshot.day.isoformat()
        return {**origin, "report": report_to_json(report)} if report else origin


class ReadLog:
    """The readings of one source, and the batches they gave."""

    def __init__(self, landing: Landing, source: str, zone: ZoneInfo) -> None:
        self._landing = landing
        self._source = source
        self._zone = zone
        self._batches = landing.batches(source)
        self.written: list[str] = []

    def report_of(self, reading: Reading) -> FileReport | None:
        """The report of an earlier reading of the same bytes in the same way."""
        found = self._same_bytes(reading, "reads")
        return report_from_json(found[0].manifest.origin["report"]) if found else None

    def land(
        self,
        reading: Reading,
        entity: str,
        now: datetime,
        is_initial_load: bool,
        fill: Callable[[Stamp], Callable[[Path], None]],
        **manifest: Any,
    ) -> None:
        """Land one batch of a reading, unless a killed extraction has landed it before."""
        if self._of(reading, entity):
            return
        first = self._first(reading)
        at = first.extracted_at if first else now
        stamp = Stamp(
            self._source,
            entity,
            batch_id(self._source, entity, reading, at),
            at,
            first.is_initial_load if first else is_initial_load,
        )
        origin = manifest.pop("origin", None) or reading.origin()
        batch = self._landing.write(
            stamp, fill(stamp), fingerprint=reading.fingerprint, origin=origin, **manifest
        )
        self._batches.append(batch)
        self.written.append(batch.folder.name)

    def land_read(self, reading: Reading, report: FileReport, now: datetime, is_initial_load: bool) -> None:
        """Note that a file was read, as the last of its batches, and replace readings of other mappings."""
        first = self._first(reading)
        read_on = (first.extracted_at if first else now).astimezone(self._zone).date()
        newest = report.newest_event_on
        snapshot = (
            snapshot_day(reading.name_date, reading.data_as_of, newest, read_on)
            if reading.table == "deals"
            else None
        )
        payload = {
            "file": reading.file,
            "entity": reading.table,
            "sha256": reading.sha256,
            "rows_read": str(report.rows_read),
            "rows_kept": str(report.rows_kept),
            "rows_rejected": str(report.rows_rejected),
            "rows_duplicate": str(report.rows_duplicate),
            "columns_unmapped": list(report.columns_unmapped),
            "data_as_of": _text(reading.name_date or newest),
            "snapshot_on": _text(snapshot and snapshot.day),
            "snapshot_basis": snapshot and snapshot.basis,
        }
        row = {
            "record_id": f"{reading.table}:{reading.file}",
            "payload": json.dumps(payload, ensure_ascii=False),
        }
        self.land(
            reading,
            "reads",
            now,
            is_initial_load,
            lambda stamp: self._landing.rows_writer(stamp, [row]),
            origin=reading.origin(report, snapshot),
            oldest_event_on=report.oldest_event_on,
            newest_event_on=newest,
            covered_until=reading.name_date or newest,
        )
        for batch in list(self._batches):
            origin = batch.manifest.origin
            same_bytes = (origin.get("table"), origin.get("sha256")) == (reading.table, reading.sha256)
            if same_bytes and batch.manifest.fingerprint != reading.fingerprint:
                self._landing.retire(batch)
                self._batches.remove(batch)

    def note_again(self, reading: Reading, report: FileReport, now: datetime, is_initial_load: bool) -> None:
        """Note bytes that came again under another date: every row is known, and stood so that day, too."""
        noted = {batch.manifest.origin.get("name_date") for batch in self._same_bytes(reading, "reads")}
        if reading.name_date is None or _text(reading.name_date) in noted:
            return
        known = replace(
            report, file=reading.file, rows_kept=0, rows_rejected=0, rejects=(), unknown_values=()
        )
        self.land_read(reading, replace(known, rows_duplicate=report.rows_read), now, is_initial_load)

    def _of(self, reading: Reading, entity: str) -> list[Batch]:
        found = self._same_bytes(reading, entity)
        if entity == "reads":
            found = [b for b in found if b.manifest.origin.get("name_date") == _text(reading.name_date)]
        return found

    def _same_bytes(self, reading: Reading, entity: str) -> list[Batch]:
        return [
            batch
            for batch in self._batches
            if batch.manifest.stamp.entity == entity
            and batch.manifest.fingerprint == reading.fingerprint
            and batch.manifest.origin.get("table") == reading.table
            and batch.manifest.origin.get("sha256") == reading.sha256
        ]

    def _first(self, reading: Reading) -> Stamp | None:
        """Stamp of the batch in which these bytes first arrived, under another mapping."""
        stamps = [
            batch.manifest.stamp
            for batch in self._batches
            if batch.manifest.origin.get("table") == reading.table
            and batch.manifest.origin.get("sha256") == reading.sha256
            and batch.manifest.fingerprint != reading.fingerprint
        ]
        return min(stamps, key=lambda stamp: stamp.extracted_at, default=None)


def batch_id(source: str, entity: str, reading: Reading, at: datetime) -> str:
    """Name of a batch: its instant, so that names sort by time, the date its file names, and what it is."""
    parts = (
        source,
        entity,
        reading.table,
        reading.sha256,
        reading.fingerprint,
        _text(reading.name_date) or "",
    )
    digest = hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]
    day = f"{reading.name_date:%Y%m%d}" if reading.name_date else "00000000"
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S%fZ}-{day}-{digest}"


def report_to_json(report: FileReport) -> dict[str, Any]:
    """A report as JSON values."""
    return {
        **asdict(report),
        "oldest_event_on": _text(report.oldest_event_on),
        "newest_event_on": _text(report.newest_event_on),
    }


def report_from_json(data: Mapping[str, Any]) -> FileReport:
    """A report from JSON values."""
    return FileReport(
        **{
            **data,
            "columns_unmapped": tuple(data["columns_unmapped"]),
            "columns_missing": tuple(data["columns_missing"]),
            "oldest_event_on": _day(data["oldest_event_on"]),
            "newest_event_on": _day(data["newest_event_on"]),
            "rejects": tuple(Reject(**reject) for reject in data["rejects"]),
            "unknown_values": tuple(UnknownValue(**value) for value in data["unknown_values"]),
        }
    )


def _text(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
