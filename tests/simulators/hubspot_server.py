"""A HubSpot account on 127.0.0.1: its paging, limits, headers, errors and moods, in all versions."""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

from tests.simulators.hubspot_answers import matches, picked, shown, sort_key
from tests.simulators.hubspot_portal import TYPES, Portal, Thing, text
from tests.simulators.local_server import Answer, Asked, LocalServer

TOKEN = "pat-eu1-canary-5f0c2d"
LONGEST_ADDRESS = 16_000
MOST_RESULTS = 10_000
_DATED = r"(?:/crm/objects/(?P<dated>\d{4}-\d{2})|/crm/v3/objects)"
_OBJECTS = re.compile(_DATED + r"/(?P<kind>[\w-]+)(?P<what>/search|/batch/read|/\d+)?")
_ASSOCIATIONS = re.compile(
    r"/crm/(?:associations/\d{4}-\d{2}|v4/associations)/(?P<kind>[\w-]+)/(?P<to>[\w-]+)/batch/read"
)
_PROPERTIES = re.compile(r"/crm/(?:properties/\d{4}-\d{2}|v3/properties)/(?P<kind>[\w-]+)")


class Refusal(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, category: str = "VALIDATION_ERROR", **more: Any) -> None:
        super().__init__(message)
        self.status = status
        body = {"status": "error", "message": message, "category": category, **more}
        self.body = {**body, "correlationId": str(uuid.uuid4())}


class HubSpotServer(LocalServer):
    """Serves one portal. `daily`: requests that a day allows; `burst`: those of ten seconds."""

    def __init__(self, portal: Portal) -> None:
        super().__init__()
        self.portal = portal
        self.clock = lambda: portal.clock()
        self.answers: list[tuple[Asked, int, Any]] = []
        self.keeps_answers = False
        self.refused_scopes: tuple[str, ...] = ()
        self.daily = 250_000
        self.burst = 100
        self.spent_today = 0

    def answer(self, asked: Asked) -> Answer:
        with self._lock:
            self.spent_today += 1
            headers = self._limits(asked.place)
            try:
                status, headers, body = self._route(asked, asked.place, headers)
            except Refusal as refusal:
                status, body = refusal.status, refusal.body
            if self.keeps_answers:
                self.answers.append((asked, status, body))
        return status, headers, body

    def _limits(self, path: str) -> dict[str, str]:
        """The rate headers; answers of the search have none."""
        if path.endswith("/search"):
            return {}
        recent = sum(1 for asked in self.asked[-self.burst :] if time.monotonic() - asked.at < 10)
        return {
            "X-HubSpot-RateLimit-Max": str(self.burst),
            "X-HubSpot-RateLimit-Remaining": str(max(0, self.burst - recent)),
            "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
            "X-HubSpot-RateLimit-Daily": str(self.daily),
            "X-HubSpot-RateLimit-Daily-Remaining": str(max(0, self.daily - self.spent_today)),
        }

    def _route(self, asked: Asked, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refusal(401, "Authentication credentials not found", "INVALID_AUTHENTICATION")
        if len(asked.path) > LONGEST_ADDRESS:
            raise Refusal(414, "URI Too Long")
        if self.spent_today > self.daily:
            raise Refusal(429, "You have reached your daily limit.", "RATE_LIMITS", policyName="DAILY")
        for part in self.refused_scopes:
            if part in path:
                raise Refusal(403, "This app hasn't been granted all required scopes.", "MISSING_SCOPES")
        if found := _OBJECTS.fullmatch(path):
            kind = TYPES.get(found["kind"], found["kind"])
            what = found["what"] or ""
            if what == "/search":
                return 200, headers, self._search(kind, asked.body)
            if what == "/batch/read":
                is_archived = _is_archived(asked)
                return (*self._batch(kind, asked.body, is_archived, headers),)
            if what:
                thing = self.portal.find(kind, what[1:], archived=_is_archived(asked))
                if thing is None:
                    raise Refusal(404, "resource not found", "OBJECT_NOT_FOUND")
                return 200, headers, shown(thing, _names(asked, "properties"), (), ())
            return 200, headers, self._list(kind, asked)
        if found := _ASSOCIATIONS.fullmatch(path):
            return (*self._associations(found["kind"], found["to"], asked.body, headers),)
        if found := _PROPERTIES.fullmatch(path):
            return 200, headers, {"results": self._properties(TYPES.get(found["kind"], found["kind"]))}
        if re.fullmatch(r"/crm/(pipelines/\d{4}-\d{2}|v3/pipelines)/(deals|0-3)", path):
            return 200, headers, {"results": self.portal.pipelines}
        if re.fullmatch(r"/crm/(owners/\d{4}-\d{2}|v3/owners/?)", path):
            return 200, headers, self._owners(asked)
        if re.fullmatch(r"/settings/(currencies/2026-03|v3/currencies)/company-currency", path):
            if self.portal.company_currency is None:
                raise Refusal(404, "no such feature", "OBJECT_NOT_FOUND")
            created = "2020-01-01T00:00:00Z"
            return 200, headers, {"id": self.portal.company_currency, "createdAt": created}
        if re.fullmatch(r"/settings/(currencies/2026-03|v3/currencies)/exchange-rates", path):
            return 200, headers, self._numbered(asked, self.portal.exchange_rates)
        if re.fullmatch(r"/(deal-splits/\d{4}-\d{2}|crm/v3/objects/deals/splits)/batch/read", path):
            return (*self._splits(asked.body, headers),)
        raise Refusal(404, f"no handler for {path}", "NOT_FOUND")

    def _list(self, kind: str, asked: Asked) -> dict[str, Any]:
        query = asked.query
        with_history = _names(asked, "propertiesWithHistory")
        limit = int(query.get("limit", 10))
        if limit > (50 if with_history else 100):
            raise Refusal(400, f"limit {limit} is too large")
        things = self.portal.living(kind, archived=_is_archived(asked))
        rest = [thing for thing in things if int(thing.id) > int(query.get("after", 0))]
        wanted = [TYPES.get(name, name) for name in _names(asked, "associations")]
        page = [shown(t, _names(asked, "properties"), with_history, wanted) for t in rest[:limit]]
        if len(rest) <= limit:
            return {"results": page}
        after = rest[limit - 1].id
        return {
            "results": page,
            "paging": {"next": {"after": after, "link": f"{self.address}?after={after}"}},
        }

    def _search(self, kind: str, body: Any) -> dict[str, Any]:
        missing = {"filterGroups", "sorts", "properties", "limit", "after"} - set(body)
        limit, start = int(body.get("limit", 10)), int(body.get("after") or 0)
        if missing or limit > 200 or start + limit > MOST_RESULTS:
            raise Refusal(400, f"limit {limit} after {start}, missing {sorted(missing)}")
        found = [pair for pair in self.portal.index(kind) if matches(pair[1], body["filterGroups"])]
        for order in reversed(body["sorts"]):
            name = order["propertyName"]
            found.sort(
                key=lambda pair: sort_key(pair[1].get(name)), reverse=order["direction"] != "ASCENDING"
            )
        page = [
            {**shown(thing, (), (), ()), "properties": picked(values, body["properties"])}
            for thing, values in found[start : start + limit]
        ]
        answer: dict[str, Any] = {"total": len(found), "results": page}
        if start + limit < len(found):
            answer["paging"] = {"next": {"after": str(start + limit)}}
        return answer

    def _batch(
        self, kind: str, body: Any, is_archived: bool, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], Any]:
        ids = [one["id"] for one in body["inputs"]]
        if len(ids) > (50 if body["propertiesWithHistory"] else 100):
            raise Refusal(400, f"{len(ids)} inputs are too many")
        found: dict[str, Thing] = {}
        gone = []
        for record_id in ids:
            thing = self.portal.find(kind, record_id, archived=is_archived)
            if thing is None:
                gone.append(record_id)
            else:
                found[thing.id] = thing
        found_now = [
            shown(thing, body["properties"], body["propertiesWithHistory"], ()) for thing in found.values()
        ]
        return self._batch_answer(found_now, gone, headers, "OBJECT_NOT_FOUND")

    def _associations(
        self, kind: str, to: str, body: Any, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], Any]:
        if len(body["inputs"]) > 1000:
            raise Refusal(400, "too many inputs")
        to_kind, linked, without = TYPES.get(to, to), [], []
        for one in body["inputs"]:
            thing = self.portal.find(TYPES.get(kind, kind), one["id"])
            links = thing.associations.get(to_kind, []) if thing else []
            if not links:
                without.append(one["id"])
                continue
            by_id: dict[str, list[dict[str, Any]]] = {}
            for to_id, type_id in links:
                by_id.setdefault(to_id, []).append({"category": "HUBSPOT_DEFINED", "typeId": type_id})
            told = [{"toObjectId": to_id, "associationTypes": types} for to_id, types in by_id.items()]
            linked.append({"from": {"id": one["id"]}, "to": told})
        return self._batch_answer(linked, without, headers, "crm.associations.NO_ASSOCIATIONS_FOUND")

    def _batch_answer(
        self, results: list[Any], gone: list[str], headers: dict[str, str], why: str
    ) -> tuple[int, dict[str, str], Any]:
        now = text(self.portal.clock())
        answer: dict[str, Any] = {
            "status": "COMPLETE",
            "results": results,
            "startedAt": now,
            "completedAt": now,
        }
        if not gone:
            return 200, headers, answer
        error = {
            "status": "error", "category": "OBJECT_NOT_FOUND", "message": f"{why}: {', '.join(gone)}",
            "context": {"ids": gone}, "errors": [], "links": {},
        }  # fmt: skip
        return 207, headers, answer | {"numErrors": len(gone), "errors": [error]}

    def _properties(self, kind: str) -> list[dict[str, Any]]:
        plain = {
            "label": "",
            "description": "",
            "groupName": "dealinformation",
            "fieldType": "text",
            "options": [],
        }
        return [{**plain, "name": name, "type": told} for name, told in self.portal.types[kind].items()]

    def _owners(self, asked: Asked) -> dict[str, Any]:
        owners = [owner for owner in self.portal.owners if owner["archived"] is _is_archived(asked)]
        return self._numbered(asked, owners)

    def _numbered(self, asked: Asked, things: list[dict[str, Any]]) -> dict[str, Any]:
        """A page of a list whose cursor counts."""
        start, limit = int(asked.query.get("after", 0)), int(asked.query.get("limit", 100))
        answer: dict[str, Any] = {"results": things[start : start + limit]}
        if start + limit < len(things):
            answer["paging"] = {"next": {"after": str(start + limit)}}
        return answer

    def _splits(self, body: Any, headers: dict[str, str]) -> tuple[int, dict[str, str], Any]:
        if len(body["inputs"]) > 100:
            raise Refusal(400, "too many inputs")
        now = text(self.portal.clock())
        results = []
        for one in body["inputs"]:
            shares = self.portal.splits.get(one["id"], {})
            splits = [
                {"id": f"{one['id']}{number}", "createdAt": now, "updatedAt": now, "archived": False,
                 "properties": {"hs_deal_split_percentage": share, "hubspot_owner_id": owner}}
                for number, (owner, share) in enumerate(shares.items(), 1)
            ]  # fmt: skip
            results.append({"id": one["id"], "splits": splits})
        return 200, headers, {"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now}


def _names(asked: Asked, key: str) -> list[str]:
    return [name for name in asked.query.get(key, "").split(",") if name]


def _is_archived(asked: Asked) -> bool:
    """Whether the recycle bin is asked for."""
    return asked.query.get("archived", "").lower() == "true"
