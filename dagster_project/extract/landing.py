"""The landing: immutable batches of raw records, each visible as a whole or not at all.

A batch is a folder `<source_type>/<source>/<entity>/<batch_id>/` with one Parquet file and its manifest. It
is built in `.inflight/`, synced to disk and made visible by one rename, so a killed process leaves nothing
that a reader could see. Every entity also has an empty batch, so that a glob over it always matches.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.contract import ENTITIES
from dagster_project.extract.email_hashing import hash_batch, require_same_key
from dagster_project.extract.inflight import InFlight, sync_file, sync_folder
from dagster_project.extract.landing_purge import without
from dagster_project.extract.manifest import (
    FILES,
    MANIFEST,
    PART,
    ApiReading,
    Batch,
    LandingError,
    Manifest,
    Stamp,
    file_sha256,
    manifest_text,
    read_manifest,
    verify,
)
from dagster_project.extract.purged import PurgeList, is_about_records, names_of
from dagster_project.owner_emails import OwnerEmails

__all__ = [
    "EMPTY",
    "FILES",
    "MANIFEST",
    "PART",
    "SCHEMA",
    "Batch",
    "Damaged",
    "Landing",
    "LandingError",
    "Manifest",
    "Stamp",
    "file_sha256",
    "read_manifest",
    "verify",
]

logger = logging.getLogger(__name__)

INITIAL_LOADS = "_initial_loads.json"
EMPTY = "_empty"
_SPARE_BYTES = 50 * 1024 * 1024

SCHEMA = pa.schema(
    [
        ("source_relation", pa.string()),
        ("record_id", pa.string()),
        ("modified_at", pa.timestamp("us")),
        ("extracted_at", pa.timestamp("us")),
        ("batch_id", pa.string()),
        ("is_initial_load", pa.bool_()),
        ("is_deleted", pa.bool_()),
        ("payload", pa.string()),
    ]
)


@dataclass(frozen=True)
class Damaged:
    """A folder that looks like a batch and is none; it was moved out of the readers' sight to `folder`."""

    folder: Path
    reason: str


class Landing:
    """The batches under one folder, usually `settings.paths.landing`.

    `emails`: what makes pseudonyms of e-mail addresses in all that is written, where the settings ask for it.
    """

    def __init__(self, root: Path, emails: OwnerEmails | None = None) -> None:
        self.root = root
        self.emails = emails

    def write(
        self,
        stamp: Stamp,
        fill: Callable[[Path], None],
        *,
        fingerprint: str,
        origin: Mapping[str, Any] | None = None,
        covered_until: date | None = None,
        oldest_event_on: date | None = None,
        newest_event_on: date | None = None,
        reading: ApiReading | None = None,
    ) -> Batch:
        """Land one batch: `fill` writes the Parquet file (columns of SCHEMA) at the path it is given.

        Errors: LandingError when the disk is full, or the file does not have the landing's columns.
        """
        target = self._folder(stamp)
        if target.exists():
            return Batch(target, read_manifest(target))
        with self._inflight(stamp.batch_id) as folder:
            fill(folder / PART)
            self.seal(
                folder,
                stamp,
                fingerprint=fingerprint,
                covered_until=covered_until,
                oldest_event_on=oldest_event_on,
                newest_event_on=newest_event_on,
                origin=origin or {},
                reading=reading,
            )
            return self.show(folder)

    def seal(self, folder: Path, stamp: Stamp, *, fingerprint: str, **facts: Any) -> Manifest:
        """Make an in-flight folder that holds its Parquet file a whole batch, which nobody sees yet.

        `facts`: further fields of Manifest. Errors: LandingError when the columns are not those of SCHEMA.
        """
        part = folder / PART
        self._hash_emails(part)
        self._leave_out_purged(part, stamp)
        parquet = pq.ParquetFile(part)
        if parquet.schema_arrow.names != SCHEMA.names:
            raise LandingError(
                f"{stamp.entity} of {stamp.source} has the columns {parquet.schema_arrow.names}; "
                f"the landing needs {SCHEMA.names}"
            )
        lowest, highest = _range(parquet)
        manifest = Manifest(
            stamp,
            rows=parquet.metadata.num_rows,
            bytes=part.stat().st_size,
            sha256=file_sha256(part),
            fingerprint=fingerprint,
            min_modified_at=lowest,
            max_modified_at=highest,
            **facts,
        )
        sync_file(part)
        (folder / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
        sync_file(folder / MANIFEST)
        sync_folder(folder)
        return manifest

    def show(self, folder: Path) -> Batch:
        """Move a sealed in-flight folder to where readers see it."""
        manifest = read_manifest(folder)
        target = self._folder(manifest.stamp)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(folder, target)
        sync_folder(target.parent)
        return Batch(target, manifest)

    def write_rows(self, stamp: Stamp, rows: Sequence[Mapping[str, Any]], **manifest: Any) -> Batch:
        """Land a small batch from rows with `record_id`, `payload` (text) and perhaps `modified_at`."""
        return self.write(stamp, self.rows_writer(stamp, rows), **manifest)

    @staticmethod
    def rows_writer(stamp: Stamp, rows: Sequence[Mapping[str, Any]]) -> Callable[[Path], None]:
        """What `write` needs to land such rows."""
        table = pa.table(
            {
                "source_relation": [stamp.source] * len(rows),
                "record_id": [row["record_id"] for row in rows],
                "modified_at": [row.get("modified_at") for row in rows],
                "extracted_at": [_naive_utc(stamp.extracted_at)] * len(rows),
                "batch_id": [stamp.batch_id] * len(rows),
                "is_initial_load": [stamp.is_initial_load] * len(rows),
                "is_deleted": [False] * len(rows),
                "payload": [row["payload"] for row in rows],
            },
            schema=SCHEMA,
        )
        return lambda path: pq.write_table(table, path, compression="zstd")

    def batches(self, source: str | None = None, entity: str | None = None) -> list[Batch]:
        """The complete batches, in order of batch id; damaged ones are left out and logged."""
        found = []
        for folder in self._batch_folders(source, entity):
            try:
                found.append(Batch(folder, read_manifest(folder)))
            except LandingError as error:
                logger.warning("ignored: %s", error)
        return sorted(found, key=lambda batch: batch.folder.name)

    def landed_through(self) -> datetime | None:
        """The newest extraction of any batch (UTC), None while the landing is empty."""
        return max((batch.manifest.stamp.extracted_at for batch in self.batches()), default=None)

    def set_aside_damaged(self) -> list[Damaged]:
        """Move folders without a valid manifest to `.damaged/`: one broken file breaks a whole glob."""
        moved = []
        for folder in self._batch_folders():
            try:
                read_manifest(folder)
            except LandingError as error:
                moved.append(Damaged(self._move(folder, ".damaged"), str(error)))
                logger.warning("set aside: %s", error)
        return moved

    def retire(self, batch: Batch) -> None:
        """Move a batch out of the readers' sight: the same bytes were read anew, with a better mapping."""
        self._move(batch.folder, ".retired")

    def sweep(self) -> int:
        """Remove the in-flight folders of processes that are gone; the number removed."""
        return InFlight(self.root).sweep()

    def ensure_empty_batches(self, api_entities: Mapping[str, Iterable[str]] | None = None) -> None:
        """Give every entity of the contract its empty batch, and every entity of each type of CRM."""
        wanted = {FILES: tuple(ENTITIES), **(api_entities or {})}
        for source_type, entity in ((kind, name) for kind, names in wanted.items() for name in names):
            at = datetime(1970, 1, 1, tzinfo=UTC)
            stamp = Stamp(EMPTY, entity, EMPTY, at, is_initial_load=False, source_type=source_type)
            if not (self._folder(stamp) / MANIFEST).exists():
                self.write_rows(stamp, [], fingerprint="empty")

    def initial_load_done(self, source: str, entity: str) -> bool:
        """Whether the first load of an entity has ended; until then a resumed load is still the first."""
        return entity in self._initial_loads(source)

    def end_initial_load(self, source: str, entities: Iterable[str], at: datetime) -> None:
        """Note that all entities named here have been loaded once."""
        loads = self._initial_loads(source)
        new = [entity for entity in entities if entity not in loads]
        if not new:
            return
        loads |= {entity: at.astimezone(UTC).isoformat() for entity in new}
        path = self.root / FILES / source / INITIAL_LOADS
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(loads, indent=1, sort_keys=True), encoding="utf-8")
        sync_file(draft)
        os.replace(draft, path)
        sync_folder(path.parent)

    def require_space(self, needed_bytes: int) -> None:
        """Errors: LandingError when the disk has less than `needed_bytes` and a reserve of 50 MB free."""
        self.root.mkdir(parents=True, exist_ok=True)
        free, needed = shutil.disk_usage(self.root).free, needed_bytes + _SPARE_BYTES
        if free < needed:
            raise LandingError(
                f"only {free / 1e6:,.0f} MB are free at {self.root}, and this extraction may need "
                f"{needed / 1e6:,.0f} MB; free some space, or name a data folder elsewhere with DATA=path"
            )

    def require_same_emails(self) -> None:
        """Addresses are written as they were before. Errors: LandingError, which says what to do."""
        held = (batch for batch in self.batches() if batch.manifest.rows)
        require_same_key(self.root, self.emails, held)

    def _hash_emails(self, part: Path) -> None:
        if not pq.ParquetFile(part).metadata.num_rows:
            return
        self.require_same_emails()
        if self.emails is not None:
            hash_batch(part, self.emails)

    def _leave_out_purged(self, part: Path, stamp: Stamp) -> None:
        purged = PurgeList.read(self.root)
        if not purged or not is_about_records(stamp.source_type, stamp.entity):
            return

        def is_purged(row: Mapping[str, Any]) -> bool:
            whose = (stamp.source_type, stamp.source, stamp.entity, row["record_id"], row["payload"])
            return any(purged.has(name) for name in names_of(*whose))

        if lost := without(part, is_purged):
            logger.info("%s of %s: %d rows of purged records left out", stamp.entity, stamp.source, lost)

    def _folder(self, stamp: Stamp) -> Path:
        return self.root / stamp.source_type / stamp.source / stamp.entity / stamp.batch_id

    def _batch_folders(self, source: str | None = None, entity: str | None = None) -> Iterator[Path]:
        for folder in self.root.glob(f"[!.]*/{source or '*'}/{entity or '*'}/*/"):
            if folder.parents[1].name != EMPTY:
                yield folder

    def _initial_loads(self, source: str) -> dict[str, str]:
        path = self.root / FILES / source / INITIAL_LOADS
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def _move(self, folder: Path, room: str) -> Path:
        target = self.root / room / folder.relative_to(self.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)
        os.rename(folder, target)
        sync_folder(folder.parent)
        return target

    @contextmanager
    def _inflight(self, name: str) -> Iterator[Path]:
        try:
            with InFlight(self.root).folder(name) as folder:
                yield folder
        except OSError as error:
            raise LandingError(
                f"a batch could not be written to {self.root}: {error.strerror or error}; nothing of it is "
                "visible. Free some space or mend the folder's rights, then run again"
            ) from error


def _range(parquet: pq.ParquetFile) -> tuple[datetime | None, datetime | None]:
    index = SCHEMA.get_field_index("modified_at")
    groups = (parquet.metadata.row_group(i).column(index) for i in range(parquet.metadata.num_row_groups))
    known = [g.statistics for g in groups if g.statistics is not None and g.statistics.has_min_max]
    if not known:
        return None, None
    return min(s.min for s in known), max(s.max for s in known)


def _naive_utc(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)
