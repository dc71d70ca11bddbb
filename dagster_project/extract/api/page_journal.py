"""Pages on their way to becoming a batch: appended one by one, so that a killed process loses at most one.

The folder holds `pages.arrows` (an Arrow stream that grows), `checkpoints.jsonl` (how much of it counts, and
where to go on; a line for each page, the first with the plan) and perhaps `asked_for.txt` (ids to ask for). A
line is written after its page is on disk: bytes behind the offset of the last whole line are a page that was
never confirmed, and are cut off, as is a line that was cut short.
"""

import json
import os
import weakref
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.extract.landing import SCHEMA
from dagster_project.extract.manifest import MANIFEST, PART, Stamp

PAGES = "pages.arrows"
CHECKPOINTS = "checkpoints.jsonl"
ASKED_FOR = "asked_for.txt"
# Rows of a row group are held in memory at once: a group ends at either of these.
_GROUP_ROWS = 20_000
_GROUP_BYTES = 16 * 1024 * 1024

_REPEATED = ["source_relation", "extracted_at", "batch_id"]
_PROGRESS = ("cursor", "offset", "rows", "rows_beyond", "spent", "is_complete")
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
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
        self._log_length = 0
        self.checkpoint = self._read()
        # Kept open between pages; closed with the journal at the latest.
        self._open: dict[str, BinaryIO] = {}
        weakref.finalize(self, _close, self._open)

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
        _close(self._open)
        (self._folder / CHECKPOINTS).unlink(missing_ok=True)
        schema = _PAGE_SCHEMA.serialize().to_pybytes()
        (self._folder / PAGES).write_bytes(schema)
        (self._folder / CHECKPOINTS).touch()
        self._log_length = 0
        self._confirm(Checkpoint(plan, offset=len(schema)), {"plan": plan})

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
            message = _page(rows).serialize()
            self._write(PAGES, offset, message)
            offset += message.size
        self._confirm(
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
        _close(self._open)
        with (
            (self._folder / PAGES).open("r+b") as stream,
            # Payloads and ids hardly repeat: looking for a dictionary of them took a third of the writing.
            pq.ParquetWriter(
                self._folder / PART,
                SCHEMA,
                compression="zstd",
                use_dictionary=_REPEATED,
                write_statistics=[name for name in SCHEMA.names if name != "payload"],
            ) as writer,
        ):
            stream.truncate(self.confirmed.offset)
            for group in _groups(pa.ipc.open_stream(stream)):
                writer.write_table(_stamped(group, stamp))

    def clear_pages(self) -> None:
        """Remove what only an unfinished batch needs."""
        _close(self._open)
        for name in (CHECKPOINTS, PAGES, ASKED_FOR):
            (self._folder / name).unlink(missing_ok=True)

    def unseal(self) -> None:
        """The process died while it sealed the batch: its pages are all here, and it is sealed anew."""
        for name in (PART, MANIFEST):
            (self._folder / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Throw the unfinished batch away."""
        _close(self._open)
        for path in self._folder.iterdir():
            path.unlink()
        self.checkpoint = None

    def _confirm(self, checkpoint: Checkpoint, first: Mapping[str, Any] | None = None) -> None:
        told = {name: getattr(checkpoint, name) for name in _PROGRESS}
        line = json.dumps({**(first or {}), **told}, ensure_ascii=False).encode() + b"\n"
        self._write(CHECKPOINTS, self._log_length, line)
        self._log_length += len(line)
        self.checkpoint = checkpoint

    def _write(self, name: str, offset: int, data: bytes | pa.Buffer) -> None:
        """Write behind what counts, and cut off what does not; pages are on disk afterwards."""
        try:
            stream = self._open.get(name)
            if stream is None:
                stream = self._open[name] = (self._folder / name).open("r+b")
                stream.truncate(offset)
                stream.seek(offset)
            stream.write(data)
            stream.flush()
            if name == PAGES:
                os.fsync(stream.fileno())
        except OSError:
            _close(self._open)
            raise

    def _read(self) -> Checkpoint | None:
        """The last checkpoint that is whole, and its pages, too; None: the batch begins again."""
        try:
            lines = (self._folder / CHECKPOINTS).read_bytes().split(b"\n")[:-1]
            size = (self._folder / PAGES).stat().st_size
        except FileNotFoundError:
            return None
        found: Checkpoint | None = None
        for line in lines:
            try:
                data = json.loads(line)
                checkpoint = Checkpoint(**data) if found is None else replace(found, **data)
            except (ValueError, TypeError):
                break
            if checkpoint.offset > size:
                break
            found = checkpoint
            self._log_length += len(line) + 1
        return found


def _close(streams: dict[str, BinaryIO]) -> None:
    while streams:
        # What a full disk left in a buffer belongs to a page that was never confirmed.
        with suppress(OSError):
            streams.popitem()[1].close()


def _page(rows: Sequence[JournalRow]) -> pa.RecordBatch:
    columns = [
        _texts([row.record_id for row in rows]),
        _instants([row.modified_at for row in rows]),
        _flags([row.is_deleted for row in rows]),
        _texts([row.payload for row in rows]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_PAGE_SCHEMA)


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
        "source_relation": _texts([stamp.source]),
        "extracted_at": _instants([stamp.extracted_at]),
        "batch_id": _texts([stamp.batch_id]),
        "is_initial_load": _flags([stamp.is_initial_load]),
    }
    columns = [
        pa.repeat(fixed[field.name][0], group.num_rows) if field.name in fixed else group.column(field.name)
        for field in SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


# Columns are put together from the parts that Arrow's format defines: `pa.array` and `pa.scalar` would import
# pandas first (0.25 s of CPU for nothing that is used here).
def _texts(texts: Sequence[str]) -> pa.Array:
    encoded = [text.encode() for text in texts]
    ends = array("i", accumulate(map(len, encoded), initial=0))
    return _column(pa.string(), len(texts), None, ends, b"".join(encoded))


def _instants(instants: Sequence[datetime | None]) -> pa.Array:
    """Aware instants as UTC."""
    known = _bits([at is not None for at in instants])
    micros = array("q", [(at - _EPOCH) // _MICROSECOND if at else 0 for at in instants])
    return _column(pa.timestamp("us"), len(instants), known, micros)


def _flags(flags: Sequence[bool]) -> pa.Array:
    return _column(pa.bool_(), len(flags), None, _bits(flags))


def _bits(flags: Sequence[bool]) -> bytes:
    """A bit for each flag, the lowest first."""
    number = sum(1 << place for place, flag in enumerate(flags) if flag)
    return number.to_bytes(len(flags) // 8 + 1, "little")


def _column(kind: pa.DataType, rows: int, *parts: "bytes | array[int] | None") -> pa.Array:
    return pa.Array.from_buffers(kind, rows, [None if part is None else pa.py_buffer(part) for part in parts])
