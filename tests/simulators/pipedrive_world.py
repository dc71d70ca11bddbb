"""The simulated business as a Pipedrive company.

Pipedrive keeps status and stage apart: a deal that the business closes keeps its last open stage and gets a
status. It has no field for region, product and the like: the company has made custom fields for them. Its
log has changes only; how a deal began is nowhere but in the old values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pandas as pd

from dagster_project.simulate.crm_export import text_frames
from dagster_project.simulate.events import end_of_day
from dagster_project.simulate.hazards import day_number
from dagster_project.simulate.known import known_at
from dagster_project.simulate.world import World
from tests.simulators.pipedrive_company import (
    CUSTOM,
    PRIVATE,
    Company,
    code,
    deal_record,
    log_entry,
    v1_time,
    v2_time,
)


class SimulatedCompany(Company):
    """The simulated business as a Pipedrive company; `load` moves it to the end of a day.

    `late`: deals whose last change was committed later than it was made, and the time it then bore.
    """

    def __init__(self, world: World) -> None:
        super().__init__(zone=world.config.time_zone)
        self.world = world
        company = world.company
        self.stage_numbers = {name: n for n, name in enumerate(dict.fromkeys(world.stages["stage_id"]), 1)}
        self.pipeline_numbers = {name: n for n, name in enumerate(world.pipelines["pipeline_id"], 1)}
        owners = [*company.owners["owner_id"], "sales-ops"]
        self.user_numbers = {name: n for n, name in enumerate(owners, 1)}
        self.product_numbers = {name: n for n, name in enumerate(company.products["product_id"], 1)}
        self.outcomes = dict(zip(world.stages["stage_id"], world.stages["outcome"], strict=True))
        self._lives = self._all_lives()
        self._archived: dict[int, datetime] = {}
        self.late: dict[int, str] = {}

    def load(self, day: date) -> None:
        """All that the business knows at the end of a day."""
        frames = text_frames(known_at(self.world, day))
        end = end_of_day(self.world.config, day_number(day)).to_pydatetime()
        self._load_lists(frames, end)
        for row in frames["deals"].astype(object).where(frames["deals"].notna(), None).to_dict("records"):
            self._load_deal(row, end)
        lines: dict[int, list[dict[str, Any]]] = {}
        for row in frames["line_items"].to_dict("records"):
            lines.setdefault(int(row["deal_id"]), []).append(self._line(row))
        self.lines = lines

    def _load_lists(self, frames: Mapping[str, pd.DataFrame], end: datetime) -> None:
        begin = datetime.combine(self.world.config.start_on, datetime.min.time())
        for row in frames["owners"].to_dict("records"):
            number = self.user_numbers[row["owner_id"]]
            self.users[number] = user_record(
                number, row["name"], row["email"], row["is_active"] == "true", begin
            )
        ops = self.user_numbers["sales-ops"]
        self.users[ops] = user_record(ops, "sales-ops", "ops@example.com", True, begin)
        for place, row in enumerate(frames["pipelines"].to_dict("records"), 1):
            number = self.pipeline_numbers[row["pipeline_id"]]
            self.pipelines[number] = {
                "id": number, "name": row["name"], "order_nr": place, "is_deleted": False,
                "is_deal_probability_enabled": True, "add_time": v2_time(begin),
                "update_time": v2_time(begin),
            }  # fmt: skip
        for row in frames["stages"].sort_values("valid_from").to_dict("records"):
            if row["outcome"] == "open":
                number = self.stage_numbers[row["stage_id"]]
                self.stages[number] = {
                    "id": number, "order_nr": int(row["order"]), "name": row["name"], "is_deleted": False,
                    "deal_probability": round(float(row["probability"]) * 100),
                    "pipeline_id": self.pipeline_numbers[row["pipeline"]], "is_deal_rot_enabled": False,
                    "days_to_rotten": None, "add_time": v2_time(begin),
                    "update_time": v2_time(datetime.fromisoformat(row["valid_from"])),
                }  # fmt: skip
        made = end - timedelta(hours=6) if self.organizations else begin
        for row in frames["accounts"].to_dict("records"):
            self._load_organization(row, made)
        for row in frames["products"].to_dict("records"):
            self._load_product(row, begin)

    def _load_organization(self, row: Mapping[str, Any], made: datetime) -> None:
        number = int(row["account_id"])
        at = self.organizations.get(number, {}).get("add_time", v2_time(made))
        self.organizations[number] = {
            "id": number, "name": row["name"], "owner_id": 1, "add_time": at, "update_time": at,
            "is_deleted": False, "visible_to": 7, "label_ids": [], "website": None, "linkedin": None,
            "address": {"value": f"{row['country']}", "country": row["country"]},
            "industry": self.option("industry", row["industry"]), "annual_revenue": None,
            "employee_count": None,
            "custom_fields": {code("org region"): self.option("org region", row["region"])},
        }  # fmt: skip

    def _load_product(self, row: Mapping[str, Any], begin: datetime) -> None:
        number = self.product_numbers[row["product_id"]]
        price = {"product_id": number, "price": Decimal(row["list_price"]), "currency": row["currency"],
                 "cost": 0, "direct_cost": None, "notes": ""}  # fmt: skip
        self.products[number] = {
            "id": number, "name": row["name"], "code": row["product_id"], "unit": "", "tax": 0,
            "is_deleted": False, "is_linkable": True, "visible_to": 7, "owner_id": 1, "description": "",
            "category": row["family"], "add_time": v2_time(begin), "update_time": v2_time(begin),
            "custom_fields": {}, "prices": [price],
        }  # fmt: skip

    def _load_deal(self, row: Mapping[str, Any], end: datetime) -> None:
        number = int(row["deal_id"])
        known = [step for step in self._lives[number] if step.recorded_at < end]
        state = known[-1].state
        deal = deal_record(number, datetime.fromisoformat(row["created_at"]))
        gone_at = min((t for t in (row["deleted_at"], row["merged_at"]) if t), default=None)
        moved = [s.at for s, before in zip(known, [None, *known], strict=False) if s.moves_from(before)]
        closed = [s.at for s, before in zip(known, [None, *known], strict=False) if s.closes_from(before)]
        closed_at = v2_time(closed[-1]) if state["status"] != "open" else None
        deal |= {
            **state, "title": row["name"], "creator_user_id": known[0].actor,
            "org_id": int(row["account"]) if row["account"] is not None else None,
            "stage_change_time": v2_time(moved[-1]), "is_deleted": gone_at is not None,
            "update_time": v2_time(datetime.fromisoformat(row["modified_at"])),
            "close_time": closed_at, f"{state['status']}_time": closed_at, "lost_reason": row["lost_reason"],
            "probability": round(float(row["probability"]) * 100), "custom_fields": self._custom(row),
        }  # fmt: skip
        deal.pop("open_time", None)
        deal["owner_id"] = deal.pop("user_id")
        # What has long been closed is put away now and then: its number decides whether.
        last = datetime.fromisoformat(row["modified_at"])
        if closed_at and gone_at is None and number % 5 == 0 and end - last > timedelta(days=30):
            at = self._archived.setdefault(number, end - timedelta(hours=5))
            deal |= {"is_archived": True, "archive_time": v2_time(at), "update_time": v2_time(max(at, last))}
        deal["update_time"] = max(deal["update_time"], self.late.get(number, ""))
        self.deals[number] = deal
        self.log[number] = [entry for step in known for entry in step.entries]

    def _custom(self, row: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, (kind, ours) in CUSTOM.items():
            value = PRIVATE if ours == "notes" else row[ours]
            if ours == "product":
                value = self.products[self.product_numbers[value]]["name"]
            if value is None:
                values[code(name)] = None
            elif kind == "enum":
                values[code(name)] = self.option(name, value)
            else:
                values[code(name)] = [self.option(name, value)] if kind == "set" else value
        return values

    def _line(self, row: Mapping[str, Any]) -> dict[str, Any]:
        deal = self.deals[int(row["deal_id"])]
        return {
            "id": int(row["line_item_id"]), "sum": Decimal(row["amount"]), "tax": 0, "deal_id": deal["id"],
            "name": row["product"], "product_id": self.product_numbers[row["product"]],
            "product_variation_id": None, "order_nr": None, "add_time": deal["add_time"],
            "update_time": deal["update_time"], "comments": "", "currency": row["currency"], "discount": 0,
            "discount_type": "percentage", "quantity": int(row["quantity"]),
            "item_price": Decimal(row["unit_price"]), "tax_method": "none", "is_enabled": True,
            "billing_frequency": "one-time", "billing_frequency_cycles": None, "billing_start_date": None,
        }  # fmt: skip

    def _all_lives(self) -> dict[int, list[Step]]:
        """Each deal's whole life in steps, with what the log says of each."""
        lives: dict[int, list[Step]] = {}
        for row in self.world.events.to_dict("records"):
            steps = lives.setdefault(int(row["deal_id"]), [])
            before = steps[-1].state if steps else None
            state = self._state(row, before)
            actor = self.user_numbers[row["changed_by"]]
            at, is_bulk = row["changed_at"].to_pydatetime(), row["kind"] == "hand_over"
            entries = [
                log_entry(name, before[name], state[name], at, actor, is_bulk)
                for name in state
                if before is not None and before[name] != state[name]
            ]
            steps.append(Step(at, row["recorded_at"].to_pydatetime(), actor, state, entries))
        return lives

    def _state(self, row: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
        """Pipedrive's fields after an event of the business; closing leaves stage and expected date alone."""
        outcome = self.outcomes[row["stage"]]
        day = None if pd.isna(row["close_date"]) else f"{row['close_date']:%Y-%m-%d}"
        if outcome == "open":
            stage = self.stage_numbers[row["stage"]]
        else:
            stage = before["stage_id"] if before else self._last_open_stage(row["pipeline"])
            day = before["expected_close_date"] if before else day
        amount = row["amount"]
        return {
            "stage_id": stage,
            "pipeline_id": self.pipeline_numbers[row["pipeline"]],
            "status": outcome,
            "value": Decimal(0) if pd.isna(amount) else Decimal(f"{amount:.2f}"),
            "currency": row["currency"],
            "expected_close_date": day,
            "user_id": self.user_numbers[row["owner"]],
        }

    def _last_open_stage(self, pipeline: str) -> int:
        stages = self.world.stages
        here = stages[(stages["pipeline"] == pipeline) & (stages["outcome"] == "open")]
        return self.stage_numbers[here.sort_values("order")["stage_id"].iloc[-1]]


@dataclass(frozen=True)
class Step:
    """One event of the business in Pipedrive's terms."""

    at: datetime
    recorded_at: datetime
    actor: int
    state: dict[str, Any]
    entries: list[dict[str, Any]]

    def moves_from(self, before: Step | None) -> bool:
        return before is None or before.state["stage_id"] != self.state["stage_id"]

    def closes_from(self, before: Step | None) -> bool:
        was = "open" if before is None else before.state["status"]
        return self.state["status"] != "open" and was != self.state["status"]


def user_record(number: int, name: str, email: str, is_active: bool, at: datetime) -> dict[str, Any]:
    return {
        "id": number, "name": name, "default_currency": "EUR", "locale": "nl_NL", "lang": 1, "email": email,
        "phone": "0000-0001", "activated": True, "last_login": v1_time(at), "created": v1_time(at),
        "modified": v1_time(at), "has_created_company": number == 1, "access": [], "active_flag": is_active,
        "timezone_name": "Europe/Amsterdam", "timezone_offset": "+01:00", "role_id": 1, "icon_url": None,
        "is_you": number == 1, "is_deleted": False,
    }  # fmt: skip
