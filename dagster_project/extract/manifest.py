"""The manifest of a batch: what the batch holds, where it came from, and how one tells that it is whole."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

PART = "part-00000.parquet"
MANIFEST = "_manifest.json"
# While a purge rewrites a batch, the manifest of its new file lies beside the old one.
STAGED_MANIFEST = "_manifest.purging.json"
FILES = "files"
MANIFEST_VERSION = 1


class LandingError(Exception):
    """A batch cannot be written; the text says why and what to do. What was landed before is untouched."""


@dataclass(frozen=True)
class Stamp:
    """Whose batch it is, and when its content was first extracted (UTC)."""

    source: str
    entity: str
    batch_id: str
    extracted_at: datetime
    is_initial_load: bool
    source_type: str = FILES


@dataclass(frozen=True)
class ApiReading:
    """How a batch was read from a CRM's interface; instants are UTC by the CRM's clock.

    `kind`: "window" (what changed from `window_from`, None: ever, to before `window_to`), "refresh" (all
    records once more), "records" (asked for by id) or "sweep" (tombstones of what vanished).
    `is_watermarked`: the CRM itself vouches that nothing before `window_to` can still appear.
    `follows_through`: the newest batch of deals whose changes are in. `left`: records still to be asked for.
    `requests`, `bytes`, `cost`, `seconds_waited`: what it took. `properties`: the fields asked for.
    """

    kind: str
    window_to: datetime
    window_from: datetime | None = None
    is_watermarked: bool = False
    follows_through: str | None = None
    left: int = 0
    api_version: str = ""
    requests: int = 0
    bytes: int = 0
    cost: int = 0
    retries: int = 0
    seconds_waited: float = 0.0
    rows_beyond_window: int = 0
    schema_fingerprint: str = ""
    properties: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """What a batch holds. `origin` says what it was read from; `fingerprint` how it was read."""

    stamp: Stamp
    rows: int
    bytes: int
    sha256: str
    fingerprint: str
    min_modified_at: datetime | None = None
    max_modified_at: datetime | None = None
    covered_until: date | None = None
    oldest_event_on: date | None = None
    newest_event_on: date | None = None
    history_is_complete: bool = False
    origin: Mapping[str, Any] = field(default_factory=dict)
    reading: ApiReading | None = None


@dataclass(frozen=True)
class Batch:
    """A complete batch on disk."""

    folder: Path
    manifest: Manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a batch. Errors: LandingError when it is missing, broken, or does not fit its file."""
    staged = folder / STAGED_MANIFEST
    if not staged.exists():
        return _read_manifest(folder, folder / MANIFEST)
    try:
        return _read_manifest(folder, folder / MANIFEST)
    except LandingError:
        return _read_manifest(folder, staged)


def _read_manifest(folder: Path, path: Path) -> Manifest:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        stamp = Stamp(
            source=data["source"],
            entity=data["entity"],
            batch_id=data["batch_id"],
            extracted_at=datetime.fromisoformat(data["extracted_at"]),
            is_initial_load=data["is_initial_load"],
            source_type=data["source_type"],
        )
        manifest = Manifest(
            stamp,
            rows=data["rows"],
            bytes=data["bytes"],
            sha256=data["sha256"],
            fingerprint=data["fingerprint"],
            min_modified_at=_instant(data["min_modified_at"]),
            max_modified_at=_instant(data["max_modified_at"]),
            covered_until=_day(data["covered_until"]),
            oldest_event_on=_day(data["oldest_event_on"]),
            newest_event_on=_day(data["newest_event_on"]),
            history_is_complete=data["history_is_complete"],
            origin=data["origin"],
            reading=_reading(data.get("reading")),
        )
        size = (folder / PART).stat().st_size
    except FileNotFoundError as error:
        raise LandingError(f"{folder} is no complete batch: {Path(error.filename).name} is missing") from None
    except (ValueError, KeyError, TypeError) as error:
        raise LandingError(f"{folder} is no complete batch: its manifest is broken ({error})") from None
    if size != manifest.bytes:
        raise LandingError(
            f"{folder} is damaged: {PART} has {size} bytes, its manifest says {manifest.bytes}"
        )
    return manifest


def verify(batch: Batch) -> None:
    """Errors: LandingError when the bytes of a batch are not those that were landed."""
    if file_sha256(batch.folder / PART) != batch.manifest.sha256:
        raise LandingError(f"{batch.folder} is damaged: {PART} has changed since it was landed")


def file_sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def manifest_text(manifest: Manifest) -> str:
    stamp = manifest.stamp
    data = {
        "manifest_version": MANIFEST_VERSION,
        "source_type": stamp.source_type,
        "source": stamp.source,
        "entity": stamp.entity,
        "batch_id": stamp.batch_id,
        "extracted_at": stamp.extracted_at.astimezone(UTC).isoformat(),
        "is_initial_load": stamp.is_initial_load,
        "history_is_complete": manifest.history_is_complete,
        "rows": manifest.rows,
        "bytes": manifest.bytes,
        "sha256": manifest.sha256,
        "fingerprint": manifest.fingerprint,
        "min_modified_at": manifest.min_modified_at and manifest.min_modified_at.isoformat(),
        "max_modified_at": manifest.max_modified_at and manifest.max_modified_at.isoformat(),
        "covered_until": manifest.covered_until and manifest.covered_until.isoformat(),
        "oldest_event_on": manifest.oldest_event_on and manifest.oldest_event_on.isoformat(),
        "newest_event_on": manifest.newest_event_on and manifest.newest_event_on.isoformat(),
        "origin": dict(manifest.origin),
        **({"reading": asdict(manifest.reading)} if manifest.reading else {}),
    }
    return json.dumps(data, indent=1, ensure_ascii=False, default=datetime.isoformat) + "\n"


def _reading(data: dict[str, Any] | None) -> ApiReading | None:
    if data is None:
        return None
    instants = {"window_from": _instant(data["window_from"]), "window_to": _instant(data["window_to"])}
    return ApiReading(**{**data, **instants, "properties": tuple(data["properties"])})


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None
