"""The interface in short, written from Pipedrive's OpenAPI documents of 2026-08-18: what may be asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_LISTED = ("limit", "cursor", "sort_by", "sort_direction")
_BETWEEN = ("updated_since", "updated_until")


class Refused(Exception):
    """The interface would not answer this."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True)
class Route:
    """One operation: its version, path, price in tokens and parameters."""

    version: str
    path: str
    tokens: int
    parameters: tuple[str, ...] = ()
    sorts: tuple[str, ...] = ("id", "update_time", "add_time")


ROUTES = (
    Route("v1", "/users/me", 2),
    Route("v1", "/users", 20),
    Route("v1", "/currencies", 20, ("term",)),
    Route("v1", "/deals/{id}/changelog", 20, ("cursor", "limit")),
    Route("v1", "/pipelines/{id}/movement_statistics", 40, ("start_date", "end_date", "user_id")),
    Route("v2", "/deals", 10, (*_LISTED, *_BETWEEN, "ids", "status", "custom_fields")),
    Route("v2", "/deals/archived", 20, (*_LISTED, *_BETWEEN, "ids", "status", "custom_fields")),
    Route("v2", "/deals/products", 10, (*_LISTED, "deal_ids")),
    Route("v2", "/dealFields", 10, ("limit", "cursor")),
    Route("v2", "/organizationFields", 10, ("limit", "cursor")),
    Route("v2", "/productFields", 10, ("limit", "cursor")),
    Route("v2", "/stages", 5, (*_LISTED, "pipeline_id"), ("id", "update_time", "add_time", "order_nr")),
    Route("v2", "/pipelines", 5, _LISTED),
    Route("v2", "/organizations", 10, (*_LISTED, *_BETWEEN, "ids", "custom_fields")),
    Route("v2", "/products", 10, (*_LISTED, "updated_since", "ids", "custom_fields"), ("id", "name")),
)


def check_request(method: str, path: str, query: Mapping[str, str]) -> tuple[Route, int]:
    """The operation, and the id in its path. Errors: Refused for what the interface does not offer."""
    if method != "GET":
        raise Refused(405, "nothing is ever written")
    if "api_token" in query:
        raise Refused(400, "a token has no place in an address")
    for route in ROUTES:
        pattern = f"/api/{route.version}" + route.path.replace("{id}", r"(\d+)")
        if match := re.fullmatch(pattern, path):
            _check_query(route, query)
            return route, int(match.group(1)) if match.groups() else 0
    raise Refused(404, "unknown method")


def _check_query(route: Route, query: Mapping[str, str]) -> None:
    unknown = query.keys() - set(route.parameters)
    if unknown:
        raise Refused(400, f"{route.path} has no parameter {', '.join(sorted(unknown))}")
    if not 1 <= int(query.get("limit", 1)) <= 500:
        raise Refused(400, "limit is 500 at most")
    for name in _BETWEEN:
        if name in query and not _INSTANT.fullmatch(query[name]):
            raise Refused(400, f"{name} must be RFC 3339 without fractions")
    for name in ("ids", "deal_ids"):
        if len(query.get(name, "").split(",")) > 100:
            raise Refused(400, f"{name} are 100 at most")
    if len(query.get("custom_fields", "").split(",")) > 15:
        raise Refused(400, "custom_fields are 15 at most")
    if query.get("sort_by", "id") not in route.sorts:
        raise Refused(400, f"sort_by is one of {route.sorts}")
    if route.path == "/deals/products" and "deal_ids" not in query:
        raise Refused(400, "deal_ids is required")
    if not set(query.get("status", "open").split(",")) <= {"open", "won", "lost", "deleted"}:
        raise Refused(400, "status is one of open, won, lost, deleted")


# What is read of each answer, and as what: i integer, n number, b boolean, s text, t instant of version 2,
# v instant of version 1, d date, l list, o object; ? where it may be null.
_DEAL = (
    "id i, title s, owner_id i, org_id i?, stage_id i, pipeline_id i, value n, currency s, add_time t, "
    "update_time t, stage_change_time t, status s, is_deleted b, is_archived b, probability n?, "
    "lost_reason s?, close_time t?, won_time t?, lost_time t?, expected_close_date d?, channel i?, "
    "custom_fields o?"
)
_FIELD = "field_code s, field_name s, field_type s, is_custom_field b, options l?"
ANSWERS: Mapping[str, str] = {
    "/users": "id i, name s, email s, active_flag b, is_deleted b, created v, modified v?",
    "/currencies": "id i, code s, decimal_points i",
    "/deals/{id}/changelog": (
        "field_key s, old_value s?, new_value s?, actor_user_id i, time v, change_source s?, "
        "is_bulk_update_flag b"
    ),
    "/deals": _DEAL,
    "/deals/archived": _DEAL,
    "/deals/products": (
        "id i, deal_id i, product_id i, quantity n, item_price n, sum n, currency s, is_enabled b"
    ),
    "/stages": "id i, name s, pipeline_id i, order_nr i, deal_probability i, is_deleted b, add_time t",
    "/pipelines": "id i, name s, is_deleted b",
    "/organizations": "id i, name s, industry i?, address o?, update_time t, custom_fields o?",
    "/products": "id i, name s, category s?, prices l, update_time t, custom_fields o?",
    "/dealFields": _FIELD,
    "/organizationFields": _FIELD,
    "/productFields": _FIELD,
}
_V1_INSTANT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_SHAPES = {
    "i": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "n": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "b": lambda value: isinstance(value, bool),
    "s": lambda value: isinstance(value, str),
    "t": lambda value: isinstance(value, str) and bool(_INSTANT.fullmatch(value)),
    "v": lambda value: isinstance(value, str) and bool(_V1_INSTANT.fullmatch(value)),
    "d": lambda value: isinstance(value, str) and bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value)),
    "l": lambda value: isinstance(value, list),
    "o": lambda value: isinstance(value, dict),
}


def answered_fields(path: str) -> dict[str, str]:
    """Name → shape of what is read of an answer's records; empty where nothing is read."""
    pairs = (part.split() for part in ANSWERS.get(path, "").split(",") if part.strip())
    return dict(pairs)


def check_answer(route: Route, body: Mapping[str, Any]) -> list[str]:
    """What an answer says otherwise than the interface would."""
    wrong = [] if body.get("success") is True else ["no success"]
    fields = answered_fields(route.path)
    for record in body["data"] if fields else ():
        for name, shape in fields.items():
            value = record.get(name)
            is_right = shape.endswith("?") if value is None else _SHAPES[shape[0]](value)
            if not is_right:
                wrong.append(f"{route.path}: {name} is {value!r}, not {shape}")
    if fields and route.version == "v2" and "next_cursor" not in body.get("additional_data", {}):
        wrong.append(f"{route.path}: no next_cursor")
    return wrong
