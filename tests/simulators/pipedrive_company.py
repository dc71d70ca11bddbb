"""A Pipedrive company that does not exist: its records, its fields, and the log of its deals' changes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

PRIVATE = "whisky with the boss"
CUSTOM = {  # name in the company, type, our field
    "Region": ("enum", "region"),
    "Country": ("varchar", "country"),
    "Lead Source": ("enum", "source"),
    "Deal_Type": ("varchar", "deal_type"),
    "Forecast category": ("enum", "forecast_category"),
    "Competitor": ("set", "competitor"),
    "Next Step": ("text", "next_step"),
    "Product": ("varchar", "product"),
    "Personal notes": ("text", "notes"),
}
STANDARD = {
    "title": "varchar",
    "value": "monetary",
    "stage_id": "stage",
    "status": "status",
    "expected_close_date": "date",
    "lost_reason": "varchar_options",
}


def code(name: str) -> str:
    """The 40 hexadecimal digits of a custom field."""
    return hashlib.sha1(name.encode()).hexdigest()


def v1_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S")


def v2_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Company:
    """All records by id, instants as the interface's text. `log`: entries of a deal, oldest first."""

    zone: str = "Europe/Amsterdam"
    users: dict[int, dict[str, Any]] = field(default_factory=dict)
    pipelines: dict[int, dict[str, Any]] = field(default_factory=dict)
    stages: dict[int, dict[str, Any]] = field(default_factory=dict)
    organizations: dict[int, dict[str, Any]] = field(default_factory=dict)
    products: dict[int, dict[str, Any]] = field(default_factory=dict)
    deals: dict[int, dict[str, Any]] = field(default_factory=dict)
    lines: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    log: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    options: dict[str, list[str]] = field(default_factory=dict)
    extra_fields: list[dict[str, Any]] = field(default_factory=list)

    def add_deal(self, deal_id: int, at: datetime, **values: Any) -> None:
        """A deal by hand, in stage 1 unless told."""
        self.deals[deal_id] = deal_record(deal_id, at) | values
        self.log.setdefault(deal_id, [])

    def change(
        self, deal_id: int, at: datetime, actor: int = 1, is_bulk: bool = False, **values: Any
    ) -> None:
        """Change fields of a deal now, and log it as Pipedrive does."""
        deal = self.deals[deal_id]
        for name, new in values.items():
            if deal.get(name) != new:
                self.log[deal_id].append(log_entry(name, deal.get(name), new, at, actor, is_bulk))
        if "stage_id" in values:
            deal["stage_change_time"] = v2_time(at)
        if values.get("status") in ("won", "lost"):
            deal |= {f"{values['status']}_time": v2_time(at), "close_time": v2_time(at)}
        elif values.get("status") == "open":
            deal |= {"won_time": None, "lost_time": None, "close_time": None, "lost_reason": None}
        deal |= values | {"update_time": v2_time(at)}

    def archive(self, deal_id: int, at: datetime, is_archived: bool = True) -> None:
        changed = {"is_archived": is_archived, "archive_time": v2_time(at) if is_archived else None}
        self.deals[deal_id] |= changed | {"update_time": v2_time(at)}

    def delete(self, deal_id: int, at: datetime) -> None:
        self.deals[deal_id] |= {"is_deleted": True, "update_time": v2_time(at)}

    def merge(self, deal_id: int, into: int, at: datetime) -> None:
        """The deal is removed, its survivor changes; the interface does not say who survived it."""
        self.delete(deal_id, at)
        self.deals[into]["update_time"] = v2_time(at)

    def fields(self, entity: str) -> list[dict[str, Any]]:
        """The field metadata of deals, organizations or products."""
        if entity == "products":
            return [_field("name", "Name", "varchar", None), *self.extra_fields_of(entity)]
        if entity == "organizations":
            found = [_field("industry", "Industry", "enum", self._options("industry"))]
            found.append(_field(code("org region"), "Region", "enum", self._options("org region"), True))
            return found + self.extra_fields_of(entity)
        found = [_field(name, name.title(), kind, None) for name, kind in STANDARD.items()]
        for name, (kind, _) in CUSTOM.items():
            options = self._options(name) if kind in ("enum", "set") else None
            found.append(_field(code(name), name, kind, options, True))
        return found + self.extra_fields_of(entity)

    def extra_fields_of(self, entity: str) -> list[dict[str, Any]]:
        return [one["field"] for one in self.extra_fields if one["entity"] == entity]

    def option(self, name: str, label: str) -> int:
        """The number of an option, made when it is first used."""
        known = self.options.setdefault(name, [])
        if label not in known:
            known.append(label)
        return known.index(label) + 31

    def _options(self, name: str) -> list[dict[str, Any]]:
        return [{"id": place + 31, "label": label} for place, label in enumerate(self.options.get(name, []))]


def deal_record(deal_id: int, at: datetime) -> dict[str, Any]:
    """A new deal as version 2 shows it."""
    now = v2_time(at)
    return {
        "id": deal_id, "title": f"Deal {deal_id}", "creator_user_id": 1, "owner_id": 1, "person_id": None,
        "org_id": None, "stage_id": 1, "pipeline_id": 1, "value": Decimal(0), "currency": "EUR",
        "add_time": now, "update_time": now, "stage_change_time": now, "status": "open",
        "is_archived": False, "archive_time": None, "is_deleted": False, "probability": None,
        "lost_reason": None, "visible_to": 7, "close_time": None, "won_time": None, "lost_time": None,
        "expected_close_date": None, "label_ids": [], "origin": "ManuallyCreated", "origin_id": None,
        "channel": None, "channel_id": None, "acv": None, "arr": None, "mrr": None, "custom_fields": {},
    }  # fmt: skip


def log_entry(name: str, old: Any, new: Any, at: datetime, actor: int, is_bulk: bool) -> dict[str, Any]:
    key = "user_id" if name == "owner_id" else name
    return {
        "field_key": key, "old_value": None if old is None else str(old),
        "new_value": None if new is None else str(new), "actor_user_id": actor, "time": v1_time(at),
        "change_source": "app", "change_source_user_agent": "Mozilla/5.0", "is_bulk_update_flag": is_bulk,
    }  # fmt: skip


def _field(
    key: str, name: str, kind: str, options: list[dict[str, Any]] | None, is_custom: bool = False
) -> dict[str, Any]:
    return {"field_name": name, "field_code": key, "description": "", "field_type": kind, "options": options,
            "subfields": None, "is_custom_field": is_custom, "is_optional_response_field": False}  # fmt: skip
