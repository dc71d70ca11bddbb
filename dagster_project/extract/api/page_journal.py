"""Pages on their way to becoming a batch: appended one by one, so that a killed process loses at most one.

The folder holds `pages.arrows` (an Arrow stream that grows), `checkpoint.json` (how much of it counts, and
where to go on) and perhaps `asked_for.txt` (ids to ask for). The checkpoint is replaced after its page is on
disk: bytes behind the checkpoint's offset are a page that was never confirmed, and are cut off.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.extract.landing import SCHEMA
from dagster_project.extract.manifest import MANIFEST, PART, Stamp

PAGES = "pages.arrows"
CHECKPOINT = "checkpoint.json"
ASKED_FOR = "asked_for.txt"
# Rows of a row group are held in memory at once: a group ends at either of these.
_GROUP_ROWS = 20_000
_GROUP_BYTES = 16 * 1024 * 1024

_PAGE_SCHEMA = pa.schema(
    [SCHEMA.field(name) for name in ("record_id", "modified_at", "is_deleted", "payload")]
)


class JournalRow(Protocol):
    """What a row of the journal is made of."""

    record_id: str
    payload: str
    modified_at: datetime | None
    is_deleted: bool


@dataclass(frozen=True)
class Checkpoint:
    """Where an unfinished batch stands. `plan`: what it reads, fixed when it began; `cursor`: how far it is.

    `spent`: requests, bytes and so on of all processes that worked on it. `is_complete`: no page is missing.
    """

    plan: Mapping[str, Any]
    cursor: Mapping[str, Any] | None = None
    offset: int = 0
    rows: int = 0
    rows_beyond: int = 0
    spent: Mapping[str, float] | None = None
    is_complete: bool = False


class PageJournal:
    """The unfinished batch in one in-flight folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.checkpoint = self._read()

    @property
    def confirmed(self) -> Checkpoint:
        """The checkpoint of the batch that was begun."""
        if self.checkpoint is None:
            raise ValueError(f"no batch was begun in {self._folder}")
        return self.checkpoint

    @property
    def is_sealed(self) -> bool:
        """Whether the batch is whole and only has to be shown."""
        return (self._folder / MANIFEST).exists()

    def begin(self, plan: Mapping[str, Any], todo: Sequence[str] = ()) -> None:
        """Start a new batch; whatever lies here is thrown away."""
        self.clear()
        if todo:
            (self._folder / ASKED_FOR).write_text("\n".join(todo), encoding="utf-8")
        self._start(plan)

    def restart(self) -> None:
        """Start the same batch again, without the pages read so far."""
        self._start(self.confirmed.plan)

    def _start(self, plan: Mapping[str, Any]) -> None:
        schema = _PAGE_SCHEMA.serialize().to_pybytes()
        (self._folder / PAGES).write_bytes(schema)
        self._save(Checkpoint(plan, offset=len(schema)))

    def todo(self) -> list[str]:
        """The ids to ask for, fixed when the batch began."""
        path = self._folder / ASKED_FOR
        return path.read_text(encoding="utf-8").split("\n") if path.exists() else []

    def append(
        self,
        rows: Sequence[JournalRow],
        cursor: Mapping[str, Any] | None,
        spent: Mapping[str, float],
        beyond: int,
    ) -> None:
        """Confirm one page: from then on it is not asked for again. No `cursor`: it was the last."""
        before = self.confirmed
        offset = before.offset
        if rows:
            message = _page(rows).serialize().to_pybytes()
            with (self._folder / PAGES).open("r+b") as stream:
                stream.truncate(offset)
                stream.seek(offset)
                stream.write(message)
                stream.flush()
                os.fsync(stream.fileno())
            offset += len(message)
        self._save(
            replace(
                before,
                cursor=cursor,
                offset=offset,
                rows=before.rows + len(rows),
                rows_beyond=before.rows_beyond + beyond,
                spent=spent,
                is_complete=cursor is None,
            )
        )

    def write_parquet(self, stamp: Stamp) -> None:
        """Turn the confirmed pages into the batch's Parquet file; memory holds one row group."""
        with (
            (self._folder / PAGES).open("r+b") as stream,
            pq.ParquetWriter(self._folder / PART, SCHEMA, compression="zstd") as writer,
        ):
            stream.truncate(self.confirmed.offset)
            for group in _groups(pa.ipc.open_stream(stream)):
                writer.write_table(_stamped(group, stamp))

    def clear_pages(self) -> None:
        """Remove what only an unfinished batch needs."""
        for name in (CHECKPOINT, CHECKPOINT + ".draft", PAGES, ASKED_FOR):
            (self._folder / name).unlink(missing_ok=True)

    def unseal(self) -> None:
        """The process died while it sealed the batch: its pages are all here, and it is sealed anew."""
        for name in (PART, MANIFEST):
            (self._folder / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Throw the unfinished batch away."""
        for path in self._folder.iterdir():
            path.unlink()
        self.checkpoint = None

    def _save(self, checkpoint: Checkpoint) -> None:
        draft = self._folder / (CHECKPOINT + ".draft")
        draft.write_text(json.dumps(asdict(checkpoint), ensure_ascii=False), encoding="utf-8")
        os.replace(draft, self._folder / CHECKPOINT)
        self.checkpoint = checkpoint

    def _read(self) -> Checkpoint | None:
        """The checkpoint, unless it or its pages are not whole (a power cut): then the batch begins again."""
        try:
            data = json.loads((self._folder / CHECKPOINT).read_text(encoding="utf-8"))
            checkpoint = Checkpoint(**data)
            size = (self._folder / PAGES).stat().st_size
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return checkpoint if size >= checkpoint.offset else None


def _page(rows: Sequence[JournalRow]) -> pa.RecordBatch:
    return pa.record_batch(
        {
            "record_id": [row.record_id for row in rows],
            "modified_at": [_naive_utc(row.modified_at) for row in rows],
            "is_deleted": [row.is_deleted for row in rows],
            "payload": [row.payload for row in rows],
        },
        schema=_PAGE_SCHEMA,
    )


def _groups(pages: pa.RecordBatchReader) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for page in pages:
        held.append(page)
        rows, size = rows + page.num_rows, size + page.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.Table.from_batches(held)
            held, rows, size = [], 0, 0
    if held:
        yield pa.Table.from_batches(held)


def _stamped(group: pa.Table, stamp: Stamp) -> pa.Table:
    """The landing's columns; what is the same in all rows is taken from the stamp."""
    fixed = {
        "source_relation": stamp.source,
        "extracted_at": _naive_utc(stamp.extracted_at),
        "batch_id": stamp.batch_id,
        "is_initial_load": stamp.is_initial_load,
    }
    columns = [
        pa.repeat(pa.scalar(fixed[field.name], field.type), group.num_rows)
        if field.name in fixed
        else group.column(field.name)
        for field in SCHEMA
    ]
    return pa.table(columns, schema=SCHEMA)


def _naive_utc(instant: datetime | None) -> datetime | None:
    return instant.astimezone(UTC).replace(tzinfo=None) if instant else None
