"""What the simulated HubSpot shows of an object, and which objects a search finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.simulators.hubspot_portal import Thing, text

_NAMES = {5: "deal_to_company", 341: "deal_to_company_unlabeled", 20: "line_item_to_deal"}
_ALWAYS = ("createdate", "hs_lastmodifieddate", "hs_object_id")


def picked(values: Mapping[str, str | None], names: Sequence[str]) -> dict[str, str | None]:
    """The properties asked for, and those that are always there."""
    return {name: values.get(name) for name in (*_ALWAYS, *names)}


def shown(
    thing: Thing, names: Sequence[str], with_history: Sequence[str], associated: Sequence[str]
) -> dict[str, Any]:
    """An object as an answer shows it."""
    told: dict[str, Any] = {
        "id": thing.id,
        "properties": picked(thing.properties, names),
        "createdAt": text(thing.created_at),
        "updatedAt": text(thing.updated_at),
        "archived": thing.archived_at is not None,
    }
    if thing.archived_at is not None:
        told["archivedAt"] = text(thing.archived_at)
    if with_history:
        told["propertiesWithHistory"] = {name: thing.history.get(name, []) for name in with_history}
        told["properties"] |= picked(thing.properties, with_history)
    links = {
        kind: [{"id": to_id, "type": _NAMES[type_id]} for to_id, type_id in thing.associations[kind]]
        for kind in associated
        if thing.associations.get(kind)
    }
    if links:
        told["associations"] = {kind: {"results": found} for kind, found in links.items()}
    return told


def sort_key(value: str | None) -> tuple[int, Any]:
    """Numbers before texts."""
    return (0, int(value)) if value and value.isdigit() else (1, value or "")


def matches(values: Mapping[str, str | None], groups: Sequence[Any]) -> bool:
    """Whether a state in the index meets one of the groups of filters."""
    return any(all(_meets(values, one) for one in group["filters"]) for group in groups) or not groups


def _meets(values: Mapping[str, str | None], one: Mapping[str, Any]) -> bool:
    value, limit = values.get(one["propertyName"]), one["value"]
    if value is None:
        return False
    number = int(value) if value.isdigit() else int(datetime.fromisoformat(value).timestamp() * 1000)
    compare = {"GT": number > int(limit), "GTE": number >= int(limit), "LT": number < int(limit)}
    return compare[one["operator"]]
