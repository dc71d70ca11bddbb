"""Pipedrive's own count of movements in a pipeline, from the company's records and log.

The rules, in Pipedrive's terms: a movement is a logged change of stage within the pipeline or into it; a new
deal was added in the period and is in the pipeline; won and lost deals have their status since the period.
Days are the company's; deleted deals don't count; `user_id` is who owns the deal today (without it, the
token's user).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.simulators.pipedrive_company import Company


def movement_statistics(company: Company, pipeline: int, query: Mapping[str, str]) -> dict[str, Any]:
    first, last = date.fromisoformat(query["start_date"]), date.fromisoformat(query["end_date"])
    owner = int(query.get("user_id", 1))
    zone = ZoneInfo(company.zone)

    def is_within(text: str | None) -> bool:
        if text is None:
            return False
        at = datetime.fromisoformat(text.replace("Z", ""))
        return first <= at.replace(tzinfo=UTC).astimezone(zone).date() <= last

    deals = [d for d in company.deals.values() if d["owner_id"] == owner and not d["is_deleted"]]
    here = {number for number, stage in company.stages.items() if stage["pipeline_id"] == pipeline}
    moves = sum(
        1
        for deal in deals
        for entry in company.log[deal["id"]]
        if entry["field_key"] == "stage_id" and int(entry["new_value"]) in here and is_within(entry["time"])
    )
    mine = [deal for deal in deals if deal["pipeline_id"] == pipeline]
    new = [deal for deal in mine if is_within(deal["add_time"])]
    return {
        "movements_between_stages": {"count": moves},
        "new_deals": _count(new),
        "deals_left_open": _count([deal for deal in new if deal["status"] == "open"]),
        "won_deals": _count([d for d in mine if d["status"] == "won" and is_within(d["won_time"])]),
        "lost_deals": _count([d for d in mine if d["status"] == "lost" and is_within(d["lost_time"])]),
        "average_age_in_days": {"across_all_stages": 0, "by_stages": []},
    }


def _count(deals: list[dict[str, Any]]) -> dict[str, Any]:
    values: dict[str, int] = {}
    for deal in deals:
        values[deal["currency"]] = values.get(deal["currency"], 0) + int(deal["value"])
    return {
        "count": len(deals),
        "deals_ids": [deal["id"] for deal in deals],
        "values": values,
        "formatted_values": {currency: f"{currency} {value}" for currency, value in values.items()},
    }
