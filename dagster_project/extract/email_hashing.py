"""Where `business.hash_owner_emails` is set, no e-mail address is landed: batches are sealed without them.

Addresses stand in ids of owners, owners of deals, submissions and columns that nothing maps, so every value
of every entity is looked at. A landing knows with which key it was begun (`_emails.json`), because what was
named in two ways would not meet.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.extract.inflight import sync_file, sync_folder
from dagster_project.extract.manifest import LandingError
from dagster_project.owner_emails import OwnerEmails

MARK = "_emails.json"
_ROWS = 20_000


def hash_batch(part: Path, emails: OwnerEmails) -> int:
    """Rewrite a Parquet file of the landing in place without addresses; the rows that changed."""
    staged = part.with_name(part.name + ".hashing")
    source, changed = pq.ParquetFile(part), 0
    with pq.ParquetWriter(staged, source.schema_arrow, compression="zstd") as writer:
        for group in source.iter_batches(_ROWS):
            table, rows = _hashed(pa.Table.from_batches([group]), emails)
            changed += rows
            writer.write_table(table)
    if changed:
        os.replace(staged, part)
    else:
        staged.unlink()
    return changed


def _hashed(table: pa.Table, emails: OwnerEmails) -> tuple[pa.Table, int]:
    payloads, ids = table["payload"].to_pylist(), table["record_id"].to_pylist()
    new_payloads = [emails.in_json(payload) for payload in payloads]
    is_changed = [old != new for old, new in zip(payloads, new_payloads, strict=True)]
    new_ids = [emails.record_id(i, is_changed=c) for i, c in zip(ids, is_changed, strict=True)]
    rows = sum(c or old != new for c, old, new in zip(is_changed, ids, new_ids, strict=True))
    return _with(_with(table, "payload", new_payloads), "record_id", new_ids), rows


def require_same_key(root: Path, emails: OwnerEmails | None, batches: Iterable[object]) -> None:
    """A landing keeps the way in which it was begun. `batches`: those that it holds.

    Errors: LandingError when the setting was turned on or off, or names another key, after something landed.
    """
    mark = root / MARK
    held = json.loads(mark.read_text(encoding="utf-8"))["check"] if mark.exists() else None
    if emails is None:
        if held is not None:
            raise LandingError(
                "this data folder was begun with business.hash_owner_emails, and the line is gone: addresses "
                "would be landed as they are, and meet no pseudonym. Put the line back, or begin an empty "
                "data folder (DATA=path)"
            )
    elif held is None:
        if any(True for _ in batches):
            raise LandingError(
                "business.hash_owner_emails is set, and this data folder holds addresses as they were "
                "written, in its landing, tables, logs and backups. Land everything anew into an empty data "
                "folder (DATA=path) and remove this one, or take the line out"
            )
        _write(mark, json.dumps({"version": 1, "check": emails.check}) + "\n")
    elif held != emails.check:
        raise LandingError(
            "the key of business.hash_owner_emails is not the one with which this data folder was begun, so "
            "no new pseudonym would meet an old one. Put the old key back, or begin an empty data folder "
            "(DATA=path)"
        )


def _with(table: pa.Table, name: str, values: list[str | None]) -> pa.Table:
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(name), pa.array(values, pa.string()))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    sync_file(draft)
    os.replace(draft, path)
    sync_folder(path.parent)
