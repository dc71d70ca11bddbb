"""What HubSpot's objects are, which of their properties are read, and what an answer about one means."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from dagster_project.extract.api.json_text import Listing, RawRecord
from dagster_project.extract.api.protocol import Record, Window

MODIFIED = "hs_lastmodifieddate"
MERGED = "hs_merged_object_ids"
HISTORIES = "propertiesWithHistory"
# What is asked for with every value it had.
HISTORY = (
    "dealstage", "pipeline", "amount", "deal_currency_code", "closedate", "hubspot_owner_id",
    "hs_manual_forecast_category", MERGED,
)  # fmt: skip
# Associations in batch answers have numbers where lists have names (the vendor's table of type ids).
_ASSOCIATION_NAMES = {5: "deal_to_company", 341: "deal_to_company_unlabeled", 20: "line_item_to_deal"}
# Of the associations, behind the histories of a listed record.
_MOST_LISTS_BEHIND = 4


@dataclass(frozen=True)
class ObjectType:
    """A type of object: its number, the properties read by default, and the type it is associated with.

    `has_archive`: archived records are read, because a sum that still holds them would be wrong.
    """

    number: str
    properties: tuple[str, ...]
    associated: str = ""
    associated_name: str = ""
    has_archive: bool = False


OBJECTS: dict[str, ObjectType] = {
    "deals": ObjectType(
        "0-3",
        (
            "dealname", "dealstage", "pipeline", "amount", "deal_currency_code", "closedate", "createdate",
            "hubspot_owner_id", "dealtype", "hs_analytics_source", "hs_manual_forecast_category",
            "hs_deal_stage_probability", "closed_lost_reason", "hs_next_step", "notes_last_updated", MERGED,
            MODIFIED,
        ),
        associated="0-2",
        associated_name="companies",
        has_archive=True,
    ),
    "companies": ObjectType("0-2", ("name", "industry", "state", "country", MODIFIED)),
    "products": ObjectType("0-7", ("name", "hs_product_type", "price", "hs_sku", MODIFIED)),
    "line_items": ObjectType(
        "0-8",
        ("hs_product_id", "quantity", "price", "amount", "hs_line_item_currency_code", MODIFIED),
        associated="0-3",
        associated_name="deals",
        has_archive=True,
    ),
}  # fmt: skip


def instant(text: str) -> datetime:
    """An instant as HubSpot writes it (`2026-03-31T10:00:00.123Z`)."""
    return datetime.fromisoformat(text)


def modified_at(value: Mapping[str, Any]) -> datetime:
    """When a record changed last; to be archived is a change."""
    texts = [value.get("archivedAt"), value.get("properties", {}).get(MODIFIED) or value["updatedAt"]]
    return max(instant(text) for text in texts if text)


def is_archived_since(value: Mapping[str, Any], start: datetime | None) -> bool:
    """Whether an archived record is news of a window: archives list all that they hold."""
    at = value.get("archivedAt")
    return start is None or at is None or instant(at) >= start


def merged_ids(value: Mapping[str, Any]) -> list[str]:
    """The records that a record was merged from."""
    text = value["properties"].get(MERGED) or ""
    return [part.strip() for part in text.split(";") if part.strip()]


def merged_at(value: Mapping[str, Any]) -> datetime:
    """When a record with its history was merged; when it was created, where the history does not say."""
    told = value.get(HISTORIES, {}).get(MERGED) or ()
    return max([instant(item["timestamp"]) for item in told] or [instant(value["createdAt"])])


def next_after(found: Listing) -> str | None:
    """The cursor of the page behind this one."""
    after = found.fields.get("paging", {}).get("next", {}).get("after")
    return None if after is None else str(after)


def once(raws: Iterable[RawRecord]) -> list[RawRecord]:
    """Each record once: those merged into one are all answered with it."""
    return list({raw.value["id"]: raw for raw in raws}.values())


def associations_of(raw: RawRecord, name: str) -> dict[str, Any]:
    """The associations in a batch answer, in the shape that lists have."""
    results = []
    for to in raw.value["to"]:
        for kind in to["associationTypes"]:
            named = _ASSOCIATION_NAMES.get(kind["typeId"], str(kind["typeId"]))
            results.append({"id": str(to["toObjectId"]), "type": named})
    return {name: {"results": results}} if results else {}


def to_record(raw: RawRecord, window: Window | None, associations: Mapping[str, Any] | None) -> Record:
    """A landed record; `associations` are added where the answer itself has none.

    What changed again after the window is landed without an instant: the state is newer than the window, and
    the next one will see it again.
    """
    at: datetime | None = modified_at(raw.value)
    if window is not None and at is not None and at >= window.end:
        at = None
    text = raw.text
    if associations:
        told = json.dumps(associations, separators=(",", ":"))
        text = f'{text.rstrip()[:-1]},"associations":{told}}}'
    return Record(raw.value["id"], text, at, is_deleted=bool(raw.value["archived"]))


def without_histories(raw: RawRecord) -> RawRecord:
    """A listed record as it would be listed alone: its text without the histories.

    Where the text is not written as expected (blanks between its brackets), it is left as it is.
    """
    start, end = raw.text.find(f'"{HISTORIES}"'), len(raw.text)
    if start < 1:
        return raw
    # From the end: what stands behind the histories is short.
    for _ in range(_MOST_LISTS_BEHIND):
        end = raw.text.rfind("]}", start, end)
        rest = raw.text[end + 2 :]
        if end < 0:
            break
        if rest.count("}") == rest.count("{") + 1:
            text = raw.text[:start].rstrip().removesuffix(",") + rest
            value = {name: told for name, told in raw.value.items() if name != HISTORIES}
            return RawRecord(value, text) if _is(text, value) else raw
    return raw


def _is(text: str, value: Mapping[str, Any]) -> bool:
    try:
        return bool(orjson.loads(text) == value)
    except orjson.JSONDecodeError:
        return False


def flag(value: bool) -> str:
    """A boolean in an address."""
    return "true" if value else "false"


def is_in_order(found: Listing, after: str) -> bool:
    """Whether a page of a search has ascending ids above `after`."""
    numbers: Sequence[int] = [int(raw.value["id"]) for raw in found.records]
    return list(numbers) == sorted(set(numbers)) and (not numbers or numbers[0] > int(after))
