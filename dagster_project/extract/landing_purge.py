"""Take a record out of the landing: batches are rewritten one by one, each whole at any moment."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.extract.inflight import InFlight, sync_file, sync_folder
from dagster_project.extract.manifest import (
    MANIFEST,
    PART,
    STAGED_MANIFEST,
    Batch,
    Stamp,
    file_sha256,
    manifest_text,
)
from dagster_project.extract.purged import RecordName, is_about_records, names_of, own_texts

_ROWS = 20_000
_STAGED_PART = PART + ".purging"
_REPORTS = ("rejects", "reads")
_ASIDE = (".retired", ".damaged")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """What the landing holds of a record: rows by entity, and the texts that nothing else holds."""

    rows: Counter[str]
    texts: list[str]


def find(batches: list[Batch], name: RecordName) -> Found:
    """Rows that belong to a record, and its own texts (see `own_texts`)."""
    rows: Counter[str] = Counter()
    payloads: list[str] = []
    for batch in batches:
        for row in _rows(batch.folder / PART) if _may_hold(batch, name) else ():
            if belongs(batch.manifest.stamp, row, name):
                rows[batch.manifest.stamp.entity] += 1
                payloads.append(row["payload"])

    def others() -> Iterator[str]:
        for batch in batches:
            told = batch.manifest.stamp.entity not in _REPORTS
            for row in _rows(batch.folder / PART) if told else ():
                if not belongs(batch.manifest.stamp, row, name):
                    yield row["payload"]

    texts = own_texts(payloads, others())
    for batch in batches:
        stamp = batch.manifest.stamp
        if stamp.entity == "rejects" and texts and _may_hold(batch, name):
            rows["rejects"] += sum(
                _holds(row["payload"], texts) and not belongs(stamp, row, name)
                for row in _rows(batch.folder / PART)
            )
    return Found(+rows, texts)


def purge_batches(batches: list[Batch], name: RecordName, texts: list[str]) -> Counter[str]:
    """Rewrite the batches without the record; the rows taken out, by entity.

    A refused row is taken out, too, when it holds one of the record's texts: its key may be what was wrong.
    """
    taken: Counter[str] = Counter()
    # Reports first: what a killed purge leaves is found by the record's rows, and only they know the texts.
    for batch in sorted(batches, key=lambda one: one.manifest.stamp.entity not in _REPORTS):
        _end_staged(batch.folder)
        if not _may_hold(batch, name):
            continue
        stamp = batch.manifest.stamp

        def goes(row: Row, stamp: Stamp = stamp) -> bool:
            is_refused = stamp.entity == "rejects" and _holds(row["payload"], texts)
            return is_refused or belongs(stamp, row, name)

        origin = _without_texts(batch.manifest.origin, name, texts)
        lost = sum(1 for row in _rows(batch.folder / PART) if goes(row))
        if lost or origin != batch.manifest.origin:
            _rewrite(batch, goes, origin)
            taken[stamp.entity] += lost
    return taken


def drop_unfinished(root: Path, source_type: str, source: str) -> int:
    """Remove pages on their way and batches set aside of one source; the folders removed.

    Errors: inflight.InUse while another process reads the source.
    """
    inflight = InFlight(root)
    removed = inflight.sweep()
    for path in sorted(inflight.root.iterdir()) if inflight.root.exists() else []:
        if path.is_dir():
            inflight.remove(path)
            removed += 1
    for room in _ASIDE:
        folder = root / room / source_type / source
        if folder.exists():
            shutil.rmtree(folder)
            removed += 1
    return removed


def without(part: Path, goes: Callable[[Row], bool]) -> int:
    """Rewrite a Parquet file of the landing in place without some of its rows; the rows taken out."""
    if not any(goes(row) for row in _rows(part)):
        return 0
    lost = _copy_without(part, part.with_name(_STAGED_PART), goes)
    os.replace(part.with_name(_STAGED_PART), part)
    return lost


def belongs(stamp: Stamp, row: Row, name: RecordName) -> bool:
    """Whether a row of a batch belongs to a record."""
    return name in names_of(stamp.source_type, stamp.source, stamp.entity, row["record_id"], row["payload"])


def _may_hold(batch: Batch, name: RecordName) -> bool:
    stamp = batch.manifest.stamp
    return stamp.source == name.source and (
        is_about_records(stamp.source_type, stamp.entity) or stamp.entity == "reads"
    )


def _rewrite(batch: Batch, goes: Callable[[Row], bool], origin: Mapping[str, Any]) -> None:
    """The new manifest lies beside the old one before the file changes, so that one of them always fits."""
    part, staged = batch.folder / PART, batch.folder / _STAGED_PART
    lost = _copy_without(part, staged, goes)
    sync_file(staged)
    manifest = replace(
        batch.manifest,
        rows=batch.manifest.rows - lost,
        bytes=staged.stat().st_size,
        sha256=file_sha256(staged),
        origin=origin,
    )
    beside = batch.folder / STAGED_MANIFEST
    beside.write_text(manifest_text(manifest), encoding="utf-8")
    sync_file(beside)
    sync_folder(batch.folder)
    os.replace(staged, part)
    sync_folder(batch.folder)
    _end_staged(batch.folder)


def _end_staged(folder: Path) -> None:
    """Finish or undo what a killed purge left in a batch."""
    beside = folder / STAGED_MANIFEST
    (folder / _STAGED_PART).unlink(missing_ok=True)
    if not beside.exists():
        return
    try:
        fits = json.loads(beside.read_text(encoding="utf-8"))["sha256"] == file_sha256(folder / PART)
    except ValueError:
        fits = False
    if fits:
        os.replace(beside, folder / MANIFEST)
    else:
        beside.unlink()
    sync_folder(folder)


def _copy_without(part: Path, target: Path, goes: Callable[[Row], bool]) -> int:
    lost = 0
    source = pq.ParquetFile(part)
    with pq.ParquetWriter(target, source.schema_arrow, compression="zstd") as writer:
        for rows in source.iter_batches(batch_size=_ROWS):
            keep = [not goes(row) for row in rows.to_pylist()]
            lost += keep.count(False)
            writer.write_batch(rows.filter(pa.array(keep)))
    source.close()
    return lost


def _rows(part: Path) -> Iterator[Row]:
    for rows in pq.ParquetFile(part).iter_batches(batch_size=_ROWS, columns=["record_id", "payload"]):
        yield from rows.to_pylist()


def _without_texts(origin: Mapping[str, Any], name: RecordName, texts: list[str]) -> Mapping[str, Any]:
    """A manifest's origin without the samples of refused rows that hold the record's texts or id."""
    report = origin.get("report")
    if not report:
        return origin

    def is_clean(sample: Mapping[str, Any]) -> bool:
        value = str(sample.get("value") or "")
        return value != name.record_id and not _holds(json.dumps(sample, ensure_ascii=False), texts)

    cleaned = {
        key: [one for one in report.get(key, ()) if is_clean(one)] for key in ("rejects", "unknown_values")
    }
    return {**origin, "report": {**report, **cleaned}}


def _holds(text: str, texts: list[str]) -> bool:
    return any(one in text or json.dumps(one)[1:-1] in text for one in texts)
