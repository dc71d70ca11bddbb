"""What was purged, and which rows of the landing belong to a record.

`_purged.json` at the root of the landing lists what must not come back as keyed hashes (HMAC-SHA-256 with the
key in `_purge.key`), never as ids. Each new batch is looked through before it is sealed, so neither the same
file under another mapping nor a CRM that still has the record brings it back.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dagster_project.contract import SOURCE_ENTITIES, Entity
from dagster_project.extract.inflight import sync_file, sync_folder

LIST = "_purged.json"
KEY = "_purge.key"
KINDS = ("deal", "lead", "account", "owner")

# Source type and entity → kind of record, and where a row names it (an empty path: it is the row's own id).
_OWN: tuple[str, ...] = ()
_BELONGS: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    **{
        ("files", entity): ("deal", ("deal_id",)) for entity in ("stage_history", "line_items", "deal_splits")
    },
    ("files", "deals"): ("deal", ("deal_id",)),
    ("files", "leads"): ("lead", ("lead_id",)),
    ("files", "lead_history"): ("lead", ("lead_id",)),
    ("files", "accounts"): ("account", ("account_id",)),
    ("files", "owners"): ("owner", ("owner_id",)),
    ("hubspot", "deals"): ("deal", _OWN),
    ("hubspot", "deal_history"): ("deal", _OWN),
    ("hubspot", "deal_splits"): ("deal", _OWN),
    ("hubspot", "line_items"): ("deal", ("associations", "deals", "results", "id")),
    ("hubspot", "companies"): ("account", _OWN),
    ("hubspot", "owners"): ("owner", _OWN),
    ("salesforce", "deals"): ("deal", _OWN),
    **{
        ("salesforce", entity): ("deal", ("OpportunityId",))
        for entity in ("stage_history", "field_history", "line_items", "deal_splits")
    },
    ("salesforce", "leads"): ("lead", _OWN),
    ("salesforce", "lead_history"): ("lead", ("LeadId",)),
    ("salesforce", "accounts"): ("account", _OWN),
    ("salesforce", "owners"): ("owner", _OWN),
    ("pipedrive", "deals"): ("deal", _OWN),
    ("pipedrive", "line_items"): ("deal", _OWN),
    ("pipedrive", "changelog"): ("deal", _OWN),
    ("pipedrive", "organizations"): ("account", _OWN),
    ("pipedrive", "users"): ("owner", _OWN),
    ("tryton", "deals"): ("deal", _OWN),
    ("tryton", "stage_history"): ("deal", ("deal",)),
    ("tryton", "line_items"): ("deal", ("opportunity",)),
    ("tryton", "accounts"): ("account", _OWN),
    ("tryton", "owners"): ("owner", _OWN),
}
_NONE = Entity("", {})


@dataclass(frozen=True)
class RecordName:
    """One record of one source: `kind` is one of KINDS, `record_id` the id that the source gives it."""

    source: str
    kind: str
    record_id: str


@dataclass
class PurgeList:
    """The purged records of one landing; `records` holds what is written, one entry per record."""

    root: Path
    key: bytes = b""
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> "PurgeList":
        """The list of a landing; empty where nothing was ever purged."""
        path = root / LIST
        if not path.exists():
            return cls(root)
        stored = json.loads(path.read_text(encoding="utf-8"))
        return cls(root, (root / KEY).read_bytes(), stored["records"])

    def __bool__(self) -> bool:
        return bool(self.records)

    def hash_of(self, name: RecordName) -> str:
        """The keyed hash under which a record stands in the list."""
        text = "\n".join((name.source, name.kind, _plain_id(name.record_id)))
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()

    def has(self, name: RecordName) -> bool:
        """Whether a record was purged, or its purge was begun."""
        return bool(self.records) and self.hash_of(name) in self.records

    def is_unfinished(self, name: RecordName) -> bool:
        """Whether the purge of a record was begun and did not come to its end."""
        return self.has(name) and self.records[self.hash_of(name)]["finished_at"] is None

    def begin(self, name: RecordName, rows: Mapping[str, int]) -> None:
        """Note a record, and the rows that go, before the first of them does; the key is made with the first.

        Of a purge that is begun again the rows of its first attempt count: part of them may be gone.
        """
        if not self.key:
            self.root.mkdir(parents=True, exist_ok=True)
            self.key = secrets.token_bytes(32)
            _write(self.root / KEY, self.key)
        asked = {"asked_at": _now(), "finished_at": None, "rows": {}}
        entry = self.records.setdefault(self.hash_of(name), asked)
        entry["finished_at"] = None
        entry["begun_rows"] = _most(entry.get("begun_rows", {}), rows)
        self._save()

    def finish(self, name: RecordName, rows: Mapping[str, int]) -> None:
        """Note the end of a purge, and how many rows of each entity went, those of killed attempts too."""
        entry = self.records[self.hash_of(name)]
        gone = _most(entry.pop("begun_rows", {}), rows)
        entry["rows"] = dict(sorted((Counter(entry["rows"]) + Counter(gone)).items()))
        entry["finished_at"] = _now()
        self._save()

    def _save(self) -> None:
        text = json.dumps({"version": 1, "records": self.records}, indent=1) + "\n"
        _write(self.root / LIST, text.encode())


def names_of(source_type: str, source: str, entity: str, record_id: str, payload: str) -> list[RecordName]:
    """The records that a row of the landing belongs to: none, one, or several (a line of several deals)."""
    if (source_type, entity) == ("files", "rejects"):
        told = json.loads(payload)
        kind, field = record_field(told.get("entity") or "") or ("", "")
        # Rows refused by an older version name their own key alone.
        own = told.get("key") if field in SOURCE_ENTITIES.get(told.get("entity"), _NONE).key[:1] else None
        record_id = told.get("record") or own
        return [RecordName(source, kind, str(record_id))] if kind and record_id else []
    rule = _BELONGS.get((source_type, entity))
    if rule is None:
        return []
    kind, path = rule
    ids = _at(json.loads(payload), path) if path else [record_id]
    return [RecordName(source, kind, str(found)) for found in ids if found not in (None, "")]


def record_field(entity: str) -> tuple[str, str] | None:
    """The kind of record that a row of a file belongs to, and the field that names it; None: to none."""
    rule = _BELONGS.get(("files", entity))
    return (rule[0], rule[1][0]) if rule else None


def is_about_records(source_type: str, entity: str) -> bool:
    """Whether rows of an entity can belong to a record that can be purged."""
    return (source_type, entity) in _BELONGS or (source_type, entity) == ("files", "rejects")


def own_texts(payloads: Sequence[str], others: Iterator[str]) -> list[str]:
    """The texts that only the record's own payloads hold, longest first: what logs and artifacts must lose.

    Dates, numbers and words of fewer than six characters are no text of a person or a deal.
    """
    own = {text for payload in payloads for text in _leaves(json.loads(payload)) if _tells(text)}
    for payload in others:
        if not own:
            break
        own -= set(_leaves(json.loads(payload)))
    return sorted(own, key=lambda text: (-len(text), text))


def _most(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """The greater number of each entity."""
    return {entity: max(one.get(entity, 0), other.get(entity, 0)) for entity in {*one, *other}}


def _plain_id(record_id: str) -> str:
    # Salesforce gives one id in 15 and in 18 characters; the last three only repeat the case of the others.
    if re.fullmatch(r"[A-Za-z0-9]{18}", record_id) and re.fullmatch(r"[A-Z0-5]{3}", record_id[15:]):
        return record_id[:15]
    return record_id


def _at(value: Any, path: Sequence[str]) -> list[Any]:
    if isinstance(value, list):
        return [found for item in value for found in _at(item, path)]
    if not path:
        return [value]
    return _at(value.get(path[0]), path[1:]) if isinstance(value, dict) else []


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)


def _tells(text: str) -> bool:
    return len(text) >= 6 and bool(re.search(r"[^\W\d_]{3}", text))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + ".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    sync_file(draft)
    os.replace(draft, path)
    sync_folder(path.parent)
