"""Pages of the journal as Arrow, and what they become in the landing's Parquet file."""

from array import array
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Protocol

import pyarrow as pa

from dagster_project.extract.landing import SCHEMA
from dagster_project.extract.manifest import Stamp

# Rows of a row group are held in memory at once: a group ends at either of these.
_GROUP_ROWS = 20_000
_GROUP_BYTES = 16 * 1024 * 1024

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
PAGE_SCHEMA = pa.schema(
    [SCHEMA.field(name) for name in ("record_id", "modified_at", "is_deleted", "payload")]
)


class JournalRow(Protocol):
    """What a row of the journal is made of."""

    record_id: str
    payload: str
    modified_at: datetime | None
    is_deleted: bool


def page_of(rows: Sequence[JournalRow]) -> pa.RecordBatch:
    """One page of rows."""
    columns = [
        _texts([row.record_id for row in rows]),
        _instants([row.modified_at for row in rows]),
        _flags([row.is_deleted for row in rows]),
        _texts([row.payload for row in rows]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PAGE_SCHEMA)


def groups(pages: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Pages put together to row groups."""
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


def stamped(group: pa.Table, stamp: Stamp) -> pa.Table:
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
