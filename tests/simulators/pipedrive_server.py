"""Pipedrive's interface on 127.0.0.1: its paging, limits, prices and errors over a company's records.

It answers only what the interface offers: an operation, parameter or format that it does not have is a 400
or 404, and is remembered in `violations`.
"""

from __future__ import annotations

import base64
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.simulators.local_server import Answer, Asked, LocalServer
from tests.simulators.pipedrive_company import Company
from tests.simulators.pipedrive_contract import Refused, Route, check_request
from tests.simulators.pipedrive_statistics import movement_statistics

TOKEN = "canary-3b9e51c07d"
BURST = 20
MAX_PAGE = 500


class PipedriveServer(LocalServer):
    """`tokens`: what the company may spend on each of the server's days. `held_back`: deals whose last change
    cannot be seen before an instant (its transaction is still open), and what is seen until then (None: no
    such deal yet)."""

    def __init__(self, company: Company) -> None:
        super().__init__()
        self.company = company
        self.token = TOKEN
        self.tokens: int | None = None
        self.tells_tokens = True
        self.limits_bursts = False
        self.held_back: dict[int, tuple[datetime, dict[str, Any] | None]] = {}
        self.cost: Counter[str] = Counter()
        self.spent: Counter[date] = Counter()
        self.violations: list[str] = []
        self.answers: list[tuple[Route, dict[str, str], Any]] | None = None
        self._recent: deque[float] = deque()

    def as_bytes(self, body: Any) -> bytes:
        return as_json(body)

    def answer(self, asked: Asked) -> Answer:
        with self._lock:
            return self._answer(asked)

    def _answer(self, asked: Asked) -> Answer:
        query = asked.query
        if asked.headers.get("x-api-token") != self.token:
            return 401, {}, {"success": False, "error": "unauthorized access", "errorCode": 401}
        try:
            route, number = check_request(asked.method, asked.place, query)
        except Refused as error:
            self.violations.append(f"{asked.path}: {error}")
            return error.status, {}, {"success": False, "error": str(error), "errorCode": error.status}
        headers, refusal = self._charge(route)
        if refusal:
            return refusal[0], headers, refusal[1]
        try:
            body = self._body(route, number, query)
        except Refused as error:
            return error.status, headers, {"success": False, "error": str(error), "errorCode": error.status}
        if self.answers is not None:
            self.answers.append((route, query, body))
        return 200, headers, body

    def _charge(self, route: Route) -> tuple[dict[str, str], tuple[int, Any] | None]:
        now, today = time.monotonic(), self.clock().date()
        while self._recent and self._recent[0] <= now - 2:
            self._recent.popleft()
        left = BURST - len(self._recent)
        headers = {"x-ratelimit-limit": str(BURST)}
        if self.limits_bursts:
            headers |= {"x-ratelimit-remaining": str(max(0, left - 1)), "x-ratelimit-reset": "2"}
            if left <= 0:
                return headers, (429, {"success": False, "error": "request over limit", "errorCode": 429})
        if self.tokens is not None:
            is_short = self.spent[today] + route.tokens > self.tokens
            if not is_short:
                self.spent[today] += route.tokens
            if self.tells_tokens:
                headers["x-daily-ratelimit-token-limit"] = str(self.tokens)
                headers["x-daily-ratelimit-token-remaining"] = str(self.tokens - self.spent[today])
            if is_short:
                return headers, (429, {"success": False, "error": "request over limit", "errorCode": 429})
        self._recent.append(now)
        self.cost[route.path] += route.tokens
        return headers, None

    def _body(self, route: Route, number: int, query: Mapping[str, str]) -> dict[str, Any]:
        company = self.company
        whole = {"/users": company.users, "/currencies": _CURRENCIES}
        if route.path == "/users/me":
            return {"success": True, "data": {"id": 1, "name": "Admin", "company_domain": "example"}}
        if route.path in whole:
            return {"success": True, "data": list(whole[route.path].values())}
        if route.path == "/pipelines/{id}/movement_statistics":
            return {"success": True, "data": movement_statistics(company, number, query)}
        if route.path == "/deals/{id}/changelog":
            if number not in company.deals or self._is_purged(company.deals[number]):
                raise Refused(404, "Deal not found")
            # Newest first, and a cursor that counts: the log only grows at its head.
            entries = sorted(company.log[number], key=lambda entry: entry["time"], reverse=True)
            return _page(entries, query, lambda entry: entry["time"], by_place=True)
        if route.path == "/deals/products":
            asked = {int(one) for one in query["deal_ids"].split(",")}
            lines = [line for deal in sorted(asked) for line in company.lines.get(deal, [])]
            return _page(sorted(lines, key=lambda line: line["id"]), query, lambda line: line["id"])
        if route.path.endswith("Fields"):
            entity = {"deal": "deals", "organization": "organizations", "product": "products"}
            fields = company.fields(entity[route.path[1 : -len("Fields")]])
            return _page(fields, query, lambda one: one["field_code"], by_place=True)
        return self._records(route, query)

    def _records(self, route: Route, query: Mapping[str, str]) -> dict[str, Any]:
        company, path = self.company, route.path
        source: Mapping[int, dict[str, Any]] = {
            "/pipelines": company.pipelines, "/stages": company.stages, "/products": company.products,
            "/organizations": company.organizations, "/deals": company.deals,
            "/deals/archived": company.deals,
        }[path]  # fmt: skip
        rows = list(source.values())
        if source is company.deals:
            rows = [deal for deal in map(self._seen, rows) if deal is not None]
        if path.startswith("/deals"):
            rows = [deal for deal in rows if deal["is_archived"] == path.endswith("archived")]
            rows = [deal for deal in rows if self._is_asked_for(deal, query)]
        if "ids" in query:
            asked = set(query["ids"].split(","))
            rows = [row for row in rows if str(row["id"]) in asked]
        rows = [row for row in rows if query.get("updated_since", "") <= row["update_time"]]
        rows = [row for row in rows if row["update_time"] < query.get("updated_until", "9")]
        if "custom_fields" in query:
            codes = query["custom_fields"].split(",")
            rows = [row | {"custom_fields": _chosen(row["custom_fields"], codes)} for row in rows]
        order = query.get("sort_by", "id")
        rows.sort(key=lambda row: (row[order], row["id"]), reverse=query.get("sort_direction") == "desc")
        return _page(rows, query, lambda row: row["id"])

    def _seen(self, deal: dict[str, Any]) -> dict[str, Any] | None:
        until, before = self.held_back.get(deal["id"], (self.clock(), None))
        return before if self.clock() < until else deal

    def _is_asked_for(self, deal: Mapping[str, Any], query: Mapping[str, str]) -> bool:
        asked = query.get("status", "open,won,lost").split(",")
        if deal["is_deleted"]:
            return "deleted" in asked and not self._is_purged(deal)
        return deal["status"] in asked

    def _is_purged(self, deal: Mapping[str, Any]) -> bool:
        gone = datetime.fromisoformat(deal["update_time"])
        return deal["is_deleted"] and self.clock() - gone > timedelta(days=30)


_CURRENCIES = {
    number: {"id": number, "code": name, "name": name, "decimal_points": 2, "symbol": name,
             "active_flag": True, "is_custom_flag": False}
    for number, name in enumerate(("EUR", "USD"), 1)
}  # fmt: skip


def _chosen(values: Mapping[str, Any] | None, codes: list[str]) -> dict[str, Any] | None:
    return None if values is None else {code: value for code, value in values.items() if code in codes}


def _page(
    rows: list[dict[str, Any]],
    query: Mapping[str, str],
    key: Callable[[dict[str, Any]], Any],
    by_place: bool = False,
) -> dict[str, Any]:
    """One page after the cursor: the record with which the next page begins, by its key or its place."""
    limit = min(int(query.get("limit", 100)), MAX_PAGE)
    start = 0
    if "cursor" in query:
        try:
            marker = json.loads(base64.urlsafe_b64decode(query["cursor"] + "=="))["from"]
        except (ValueError, KeyError):
            raise Refused(400, "cursor is not valid") from None
        start = marker if by_place else sum(1 for row in rows if key(row) < marker)
    page, rest = rows[start : start + limit], rows[start + limit :]
    following = None
    if rest:
        text = json.dumps({"from": start + limit if by_place else key(rest[0])})
        following = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    return {"success": True, "data": page, "additional_data": {"next_cursor": following}}


def as_json(body: Any) -> bytes:
    """JSON in which a Decimal is a number with all its digits."""
    text = json.dumps(body, default=lambda value: f"<{value}>" if isinstance(value, Decimal) else str(value))
    return text.replace('"<', "").replace('>"', "").encode()
