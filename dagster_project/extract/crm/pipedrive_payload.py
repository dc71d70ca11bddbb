"""What is kept of Pipedrive's records: all of a deal but custom fields nobody asked for, little of people."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dagster_project.extract.api.json_text import RawRecord
from dagster_project.extract.api.protocol import Record

# A custom field of this name fills the column of the ledger that Pipedrive itself has no field for.
NAMED_FIELDS: Mapping[str, frozenset[str]] = {
    "deals": frozenset(
        {
            "region",
            "country",
            "source",
            "lead source",
            "deal type",
            "forecast category",
            "competitor",
            "next step",
            "product",
        }
    ),
    "organizations": frozenset({"industry", "region", "country"}),
    "products": frozenset({"family"}),
}

# Of these records only these fields are kept: the rest is about people, or about nothing we use.
KEPT: Mapping[str, frozenset[str]] = {
    "users": frozenset(
        {"id", "name", "email", "active_flag", "is_deleted", "created", "modified", "timezone_name"}
    ),
    "organizations": frozenset(
        {
            "id",
            "name",
            "owner_id",
            "add_time",
            "update_time",
            "is_deleted",
            "industry",
            "address",
            "custom_fields",
        }
    ),
    "changelog": frozenset(
        {
            "field_key",
            "old_value",
            "new_value",
            "actor_user_id",
            "time",
            "change_source",
            "is_bulk_update_flag",
        }
    ),
}

# The changes that make a deal's history. Version 1 names some fields otherwise than version 2.
FOLLOWED_FIELDS = frozenset(
    {
        "stage_id",
        "pipeline_id",
        "pipeline",
        "status",
        "value",
        "currency",
        "expected_close_date",
        "owner_id",
        "user_id",
    }
)

_DECODER = json.JSONDecoder()


def field_name(text: str) -> str:
    """A field's name as it is compared: `Lead_Source ` is `lead source`."""
    return " ".join(text.replace("_", " ").lower().split())


def wanted_codes(fields: Iterable[Mapping[str, Any]], entity: str, asked: Collection[str]) -> list[str]:
    """Codes of the custom fields to ask for: those with a name of ours, and those the settings name."""
    names = NAMED_FIELDS.get(entity, frozenset()) | {field_name(name) for name in asked}
    return sorted(
        field["field_code"]
        for field in fields
        if field.get("is_custom_field")
        and (field["field_code"] in asked or field_name(field["field_name"]) in names)
    )


def record(entity: str, raw: RawRecord, codes: Collection[str]) -> Record:
    """A record of a list; its text loses nothing but what KEPT and `codes` leave out."""
    value, text = raw.value, raw.text
    if entity in KEPT:
        text = only(text, KEPT[entity])
    custom = value.get("custom_fields")
    if isinstance(custom, dict) and not custom.keys() <= set(codes):
        text = _with_custom_fields(text, codes)
    changed = value.get("update_time") or value.get("modified") or value.get("add_time")
    is_deleted = value.get("is_deleted") is True or value.get("status") == "deleted"
    key = value["field_code"] if "field_code" in value else value["id"]
    return Record(str(key), text, instant(changed), is_deleted and entity == "deals")


def changelog_record(deal_id: str, entries: Sequence[RawRecord]) -> Record:
    """The whole history of one deal, newest change first as Pipedrive lists it; also when it has none."""
    followed = [entry for entry in entries if entry.value.get("field_key") in FOLLOWED_FIELDS]
    times = [instant(entry.value.get("time")) for entry in followed]
    texts = [only(entry.text, KEPT["changelog"]) for entry in followed]
    newest = max((time for time in times if time is not None), default=None)
    return Record(deal_id, '{"changes": [' + ", ".join(texts) + "]}", newest)


def products_record(deal_id: str, lines: Sequence[RawRecord]) -> Record:
    """All products attached to one deal; also when there are none, so that a removed line is known."""
    return Record(deal_id, '{"products": [' + ", ".join(line.text for line in lines) + "]}")


def instant(text: str | None) -> datetime | None:
    """An instant of either version; one without a zone is UTC. None for none."""
    if not text:
        return None
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def only(text: str, names: Collection[str]) -> str:
    """A JSON object with these members alone, each with its own text."""
    kept = [f"{json.dumps(name)}: {value}" for name, value in _members(text) if name in names]
    return "{" + ", ".join(kept) + "}"


def _with_custom_fields(text: str, codes: Collection[str]) -> str:
    members = [
        f"{json.dumps(name)}: {only(value, codes) if name == 'custom_fields' else value}"
        for name, value in _members(text)
    ]
    return "{" + ", ".join(members) + "}"


def _members(text: str) -> Iterable[tuple[str, str]]:
    """Name and text of each member of a JSON object that is known to be well formed."""
    at = _skip(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        _, end = _DECODER.raw_decode(text, at)
        yield name, text[at:end]
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at
