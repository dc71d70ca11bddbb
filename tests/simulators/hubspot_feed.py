"""Fills a simulated HubSpot portal, day by day, from the simulated business."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from dagster_project.simulate.crm_export import text_frames
from dagster_project.simulate.known import known_at
from dagster_project.simulate.world import World
from tests.simulators.hubspot_portal import Portal, text

FIRST_PRODUCT, FIRST_MERGED = 7_000_001, 90_000_001
_TOLD = {
    "stage": "dealstage",
    "pipeline": "pipeline",
    "amount": "amount",
    "currency": "deal_currency_code",
    "close_date": "closedate",
    "owner": "hubspot_owner_id",
}
_ATTRIBUTES = {
    "name": "dealname",
    "deal_type": "dealtype",
    "source": "hs_analytics_source",
    "forecast_category": "hs_manual_forecast_category",
    "probability": "hs_deal_stage_probability",
    "lost_reason": "closed_lost_reason",
    "next_step": "hs_next_step",
    "last_activity_at": "notes_last_updated",
}

Row = dict[str, Any]
Deed = tuple[datetime, int, Callable[[], None]]


class Feed:
    """One world on its way into one portal. `current`: deal of the world → its id in the portal now.

    `has_ends`: whether the world's deletions and merges happen, too. Nobody changes a deal that is gone.
    """

    def __init__(self, world: World, portal: Portal, has_ends: bool = True) -> None:
        self.world = world
        self.portal = portal
        self.has_ends = has_ends
        self.current: dict[str, str] = {}
        self._events: set[str] = set()
        self._gone: set[str] = set()

    def load(self, day: date) -> None:
        """Everything that the business has recorded by the end of a day."""
        known = known_at(self.world, day)
        frames = text_frames(known)
        recorded = dict(
            zip(known.stage_history["event_id"].astype(str), known.stage_history["recorded_at"], strict=True)
        )
        since = datetime.combine(day, datetime.min.time(), UTC)
        self._owners(frames["owners"])
        self._pipelines(frames["pipelines"], frames["stages"])
        self._companies(frames["accounts"], since)
        self._products(frames["products"], since)
        deals = {row["deal_id"]: row for row in _rows(frames["deals"])}
        deeds: list[Deed] = []
        for row in _rows(frames["stage_history"]):
            if row["event_id"] not in self._events:
                self._events.add(row["event_id"])
                at = recorded[row["event_id"]].to_pydatetime().replace(tzinfo=UTC)
                deeds.append((at, int(row["sequence"]), self._change(row, deals[row["deal_id"]], at)))
        for deal_id, row in deals.items():
            if (
                self.has_ends
                and deal_id not in self._gone
                and (row.get("deleted_at") or row.get("merged_into"))
            ):
                self._gone.add(deal_id)
                at = _utc(row.get("merged_at") or row["deleted_at"])
                deeds.append((at, 10_000, self._end(row, at)))
        for _, _, deed in sorted(deeds, key=lambda deed: deed[:2]):
            deed()
        self._line_items(frames["line_items"], since)

    def _change(self, row: Row, deal: Row, committed: datetime) -> Callable[[], None]:
        at = _utc(row["changed_at"])

        def do() -> None:
            deal_id = self.current.setdefault(row["deal_id"], row["deal_id"])
            deal_id = self.current[row["deal_id"]] = self.portal.aliases.get(deal_id, deal_id)
            if self.portal.is_gone("deals", deal_id):
                return
            values = {_TOLD[name]: _told(name, row[name]) for name in _TOLD if row.get(name)}
            thing = self.portal.things["deals"].get(deal_id)
            history = thing.history if thing else {}
            news = {name: value for name, value in values.items() if _at(history, name, at) != value}
            self.portal.change(
                "deals", deal_id, at, news, source=_source(row["changed_by"]),
                seen_at=max(committed, at), created_at=_utc(deal["created_at"]),
            )  # fmt: skip
            properties = self.portal.things["deals"][deal_id].properties
            for name, target in _ATTRIBUTES.items():
                if (value := deal.get(name)) is not None:
                    properties[target] = str(value)
            if deal.get("account"):
                self.portal.associate("deals", deal_id, "companies", deal["account"], 5)
                self.portal.associate("deals", deal_id, "companies", deal["account"], 341)
            self.portal.touch("deals", deal_id, max(committed, at))

        return do

    def _end(self, row: Row, at: datetime) -> Callable[[], None]:
        def do() -> None:
            deal_id = self.current[row["deal_id"]]
            if not row.get("merged_into"):
                self.portal.archive("deals", deal_id, at)
                return
            winner = self.current[row["merged_into"]]
            new_id = str(FIRST_MERGED + len(self.portal.aliases))
            self.portal.merge(winner, deal_id, at, new_id)
            for known, now in self.current.items():
                if now in (winner, deal_id):
                    self.current[known] = new_id

        return do

    def _owners(self, frame: pd.DataFrame) -> None:
        self.portal.owners = [
            {
                "id": row["owner_id"],
                "email": row["email"],
                "type": "PERSON",
                "firstName": row["name"].split(" ")[0],
                "lastName": row["name"].split(" ", 1)[-1],
                "userId": user_number(row["owner_id"]),
                "createdAt": f"{row['started_on']}T08:00:00Z",
                "updatedAt": f"{row.get('ended_on') or row['started_on']}T08:00:00Z",
                "archived": row["is_active"] != "true",
                "teams": [{"id": row["team"], "name": row["team"], "primary": True}],
            }
            for row in _rows(frame)
        ]

    def _pipelines(self, pipelines: pd.DataFrame, stages: pd.DataFrame) -> None:
        newest = stages.sort_values("valid_from").drop_duplicates("stage_id", keep="last")
        changed = stages["valid_from"].max()
        told = {"archived": False, "createdAt": "1970-01-01T00:00:00Z", "updatedAt": f"{changed}T00:00:00Z"}
        self.portal.pipelines = [
            {
                "id": row["pipeline_id"],
                "label": row["name"],
                "displayOrder": number,
                **told,
                "stages": [
                    {
                        "id": stage["stage_id"],
                        "label": stage["name"],
                        "displayOrder": int(stage["order"]),
                        "metadata": {
                            "isClosed": "false" if stage["outcome"] == "open" else "true",
                            "probability": str(stage["probability"]),
                        },
                        "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
                        **told,
                    }
                    for stage in _rows(newest[newest["pipeline"] == row["pipeline_id"]])
                ],
            }
            for number, row in enumerate(_rows(pipelines))
        ]

    def _companies(self, frame: pd.DataFrame, since: datetime) -> None:
        for row in _rows(frame):
            if row["account_id"] not in self.portal.things["companies"]:
                values = {"name": row["name"], "industry": row["industry"], "state": row["region"],
                          "country": row["country"]}  # fmt: skip
                self.portal.change("companies", row["account_id"], since, values)

    def _products(self, frame: pd.DataFrame, since: datetime) -> None:
        for number, row in enumerate(_rows(frame), start=FIRST_PRODUCT):
            if str(number) not in self.portal.things["products"]:
                values = {"name": row["name"], "hs_product_type": row["family"], "price": row["list_price"],
                          "hs_sku": row["product_id"]}  # fmt: skip
                self.portal.change("products", str(number), since, values)

    def _line_items(self, frame: pd.DataFrame, since: datetime) -> None:
        skus = {thing.properties["hs_sku"]: thing.id for thing in self.portal.things["products"].values()}
        for row in _rows(frame):
            values = {"hs_product_id": skus[row["product"]], "quantity": str(row["quantity"]),
                      "price": row["unit_price"], "amount": row["amount"],
                      "hs_line_item_currency_code": row["currency"]}  # fmt: skip
            known = self.portal.things["line_items"].get(row["line_item_id"])
            if known is None or any(known.properties.get(name) != value for name, value in values.items()):
                self.portal.change("line_items", row["line_item_id"], since, values)
                self.portal.associate(
                    "line_items", row["line_item_id"], "deals", self.current[row["deal_id"]], 20
                )


def user_number(owner_id: str) -> int:
    """The user behind an owner: another number."""
    return 4_000 + int(owner_id.lstrip("u"))


def _source(changed_by: str) -> Mapping[str, Any]:
    if changed_by == "sales-ops":
        return {"sourceType": "AUTOMATION_PLATFORM", "sourceId": "sales-ops"}
    return {"sourceType": "CRM_UI", "sourceId": f"userId:{user_number(changed_by)}",
            "updatedByUserId": user_number(changed_by)}  # fmt: skip


def _told(name: str, value: str) -> str:
    return f"{value}T00:00:00Z" if name == "close_date" else str(value)


def _at(history: Mapping[str, list[dict[str, Any]]], name: str, at: datetime) -> str | None:
    """The value of a property at an instant."""
    items = history.get(name, [])
    return next((item["value"] for item in items if item["timestamp"] <= text(at)), None)


def _utc(told: str) -> datetime:
    return datetime.fromisoformat(told).replace(tzinfo=UTC)


def _rows(frame: pd.DataFrame) -> list[Row]:
    """Rows as texts; what is missing is None."""
    plain = frame.astype(object).where(frame.notna(), None)
    return [
        {name: None if value is None or value == "" else str(value) for name, value in row.items()}
        for row in plain.to_dict("records")
    ]
