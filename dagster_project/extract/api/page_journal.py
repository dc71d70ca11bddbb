"""Pages on their way to becoming a batch: appended one by one, so that a killed process loses at most one.

The folder holds `pages.arrows` (an Arrow stream that grows), `checkpoints.jsonl` (how much of it counts, and
where to go on; a line for each page, the first with the plan), perhaps `asked_for.txt` (ids to ask for) and
perhaps `companion.arrows` (pages of another entity that came in the same answers). A line is written after
its page is on disk: bytes behind the offsets of the last whole line are a page that was never confirmed, and
are cut off, as is a line that was cut short.
"""

import json
import os
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.extract.api.journal_pages import PAGE_SCHEMA, JournalRow, groups, page_of, stamped
from dagster_project.extract.landing import SCHEMA
from dagster_project.extract.manifest import MANIFEST, PART, Stamp

PAGES = "pages.arrows"
CHECKPOINTS = "checkpoints.jsonl"
ASKED_FOR = "asked_for.txt"
COMPANION = "companion.arrows"

_REPEATED = ["source_relation", "extracted_at", "batch_id"]
_PROGRESS = ("cursor", "offset", "rows", "rows_beyond", "companion_offset", "spent", "is_complete")


@dataclass(frozen=True)
class Checkpoint:
    """Where an unfinished batch stands. `plan`: what it reads, fixed when it began; `cursor`: how far it is.

    `spent`: requests, bytes and so on of all processes that worked on it. `is_complete`: no page is missing.
    `companion_offset`: how much of the companion's pages counts, 0 where there is none.
    """

    plan: Mapping[str, Any]
    cursor: Mapping[str, Any] | None = None
    offset: int = 0
    rows: int = 0
    rows_beyond: int = 0
    companion_offset: int = 0
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

    def begin(
        self, plan: Mapping[str, Any], todo: Sequence[str] = (), *, has_companion: bool = False
    ) -> None:
        """Start a new batch; whatever lies here is thrown away."""
        self.clear()
        if todo:
            (self._folder / ASKED_FOR).write_text("\n".join(todo), encoding="utf-8")
        self._start(plan, has_companion)

    def restart(self) -> None:
        """Start the same batch again, without the pages read so far."""
        self._start(self.confirmed.plan, self.confirmed.companion_offset > 0)

    def _start(self, plan: Mapping[str, Any], has_companion: bool) -> None:
        _close(self._open)
        (self._folder / CHECKPOINTS).unlink(missing_ok=True)
        schema = PAGE_SCHEMA.serialize().to_pybytes()
        for name in (PAGES, COMPANION) if has_companion else (PAGES,):
            (self._folder / name).write_bytes(schema)
        (self._folder / CHECKPOINTS).touch()
        self._log_length = 0
        beside = len(schema) if has_companion else 0
        self._confirm(Checkpoint(plan, offset=len(schema), companion_offset=beside), {"plan": plan})

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
        companions: Sequence[JournalRow] = (),
    ) -> None:
        """Confirm one page: from then on it is not asked for again. No `cursor`: it was the last."""
        before = self.confirmed
        self._confirm(
            replace(
                before,
                cursor=cursor,
                offset=self._add(PAGES, before.offset, rows),
                companion_offset=self._add(COMPANION, before.companion_offset, companions),
                rows=before.rows + len(rows),
                rows_beyond=before.rows_beyond + beyond,
                spent=spent,
                is_complete=cursor is None,
            )
        )

    def write_parquet(self, stamp: Stamp) -> None:
        """Turn the confirmed pages into the batch's Parquet file; memory holds one row group."""
        self._write_parquet(PAGES, self.confirmed.offset, stamp, self._folder / PART)

    def write_companion(self, stamp: Stamp, path: Path) -> None:
        """Turn the companion's confirmed pages into a Parquet file at `path`; they stay."""
        self._write_parquet(COMPANION, self.confirmed.companion_offset, stamp, path)

    def clear_pages(self) -> None:
        """Remove what only an unfinished batch needs."""
        _close(self._open)
        for name in (CHECKPOINTS, PAGES, COMPANION, ASKED_FOR):
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

    def _write_parquet(self, pages: str, end: int, stamp: Stamp, path: Path) -> None:
        _close(self._open)
        with (
            (self._folder / pages).open("r+b") as stream,
            # Payloads and ids hardly repeat: looking for a dictionary of them took a third of the writing.
            pq.ParquetWriter(
                path,
                SCHEMA,
                compression="zstd",
                use_dictionary=_REPEATED,
                write_statistics=[name for name in SCHEMA.names if name != "payload"],
            ) as writer,
        ):
            stream.truncate(end)
            for group in groups(pa.ipc.open_stream(stream)):
                writer.write_table(stamped(group, stamp))

    def _add(self, name: str, offset: int, rows: Sequence[JournalRow]) -> int:
        """Write a page behind `offset`; where it ends."""
        if not rows:
            return offset
        message = page_of(rows).serialize()
        self._write(name, offset, message)
        return offset + message.size

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
            if name != CHECKPOINTS:
                os.fsync(stream.fileno())
        except OSError:
            _close(self._open)
            raise

    def _read(self) -> Checkpoint | None:
        """The last checkpoint that is whole, and its pages, too; None: the batch begins again."""
        try:
            lines = (self._folder / CHECKPOINTS).read_bytes().split(b"\n")[:-1]
            size = (self._folder / PAGES).stat().st_size
            beside = self._folder / COMPANION
            companion_size = beside.stat().st_size if beside.exists() else 0
        except FileNotFoundError:
            return None
        found: Checkpoint | None = None
        for line in lines:
            try:
                data = json.loads(line)
                checkpoint = Checkpoint(**data) if found is None else replace(found, **data)
            except (ValueError, TypeError):
                break
            if checkpoint.offset > size or checkpoint.companion_offset > companion_size:
                break
            found = checkpoint
            self._log_length += len(line) + 1
        return found


def _close(streams: dict[str, BinaryIO]) -> None:
    while streams:
        # What a full disk left in a buffer belongs to a page that was never confirmed.
        with suppress(OSError):
            streams.popitem()[1].close()
