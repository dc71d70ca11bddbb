"""Has the CRM changed its fields? The schema lies beside the batch with which it was first seen."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dagster_project.extract.landing import Batch

SCHEMA_FILE = "_schema.json"
_SHOWN = 10


def fingerprint(schema: Mapping[str, str]) -> str:
    """A short hash of field names and types; empty for an unknown schema."""
    text = json.dumps(dict(schema), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16] if schema else ""


def known_schema(batches: Sequence[Batch]) -> dict[str, str]:
    """The schema that was noted last; empty before the first."""
    for batch in reversed(batches):
        path = batch.folder / SCHEMA_FILE
        if path.exists():
            found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
            return found
    return {}


def write_schema(folder: Path, schema: Mapping[str, str]) -> None:
    """Note a schema beside the batch that is being built; nothing where it is unknown."""
    if schema:
        text = json.dumps(dict(schema), indent=1, sort_keys=True, ensure_ascii=False)
        (folder / SCHEMA_FILE).write_text(text, encoding="utf-8")


def settle(folder: Path, earlier: Sequence[Batch]) -> tuple[str, list[str]]:
    """The fingerprint of a batch's schema, and what changed. Where nothing did, the earlier note stands."""
    path = folder / SCHEMA_FILE
    if not path.exists():
        return "", []
    now, before = json.loads(path.read_text(encoding="utf-8")), known_schema(earlier)
    if now == before:
        path.unlink()
    return fingerprint(now), drift(before, now)


def drift(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """One sentence per way in which fields changed; none while either side is unknown."""
    if not before or not now:
        return []
    changes = {
        "new fields, kept in the payload": [name for name in now if name not in before],
        "fields are gone, their columns turn empty": [name for name in before if name not in now],
        "fields changed their type": [
            f"{name} ({before[name]} → {now[name]})"
            for name in now
            if name in before and before[name] != now[name]
        ],
    }
    return [
        f"{len(names)} {what}: {', '.join(sorted(names)[:_SHOWN])}"
        for what, names in changes.items()
        if names
    ]
