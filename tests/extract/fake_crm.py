"""A CRM that belongs to no vendor: a small HTTP server with deals, and the connector that reads it.

Run as a program it extracts into a folder: `python -m tests.extract.fake_crm <address> <landing> <end>`.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from dagster_project.api_settings import ApiSource, PipedriveSource
from dagster_project.extract.api.api_errors import Malformed
from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.api.dialect import Dialect, Kind, Rate, Verdict
from dagster_project.extract.api.exchange import Reply, Request
from dagster_project.extract.api.http import Client
from dagster_project.extract.api.json_text import RawRecord
from dagster_project.extract.api.pacing import Clock
from dagster_project.extract.api.protocol import (
    Connector,
    Cursor,
    EntitySpec,
    IdPage,
    Page,
    Reading,
    Record,
    Window,
)
from tests.simulators.local_server import Answer, Asked, LocalServer

TOKEN = "canary-7d1f0e55aa"
PAGE = 10


class FakeServer(LocalServer):
    """The CRM."""

    def __init__(self) -> None:
        super().__init__()
        self.deals: dict[str, dict[str, Any]] = {}
        self.stages = [{"id": "s1", "name": "Open"}, {"id": "s2", "name": "Won"}]
        self.token = TOKEN
        self.ignores_until = False

    def put(self, deal_id: str, modified_at: datetime, stage: str = "s1", **more: Any) -> None:
        """Create or change a deal."""
        number = int(deal_id)
        self.deals[deal_id] = {"id": number, "modified": modified_at.isoformat(), "stage": stage, **more}

    def answer(self, asked: Asked) -> Answer:
        query = asked.query
        if asked.headers.get("x-api-token") != self.token:
            return 401, {}, {"message": "who are you"}
        if asked.place == "/me":
            return 200, {}, {"success": True}
        if asked.place == "/stages":
            return 200, {}, {"success": True, "data": self.stages}
        if asked.place == "/teams":
            return 200, {}, {"success": True, "data": []}
        if asked.place == "/history":
            wanted = query["ids"].split(",")
            rows = [{"deal": i, "stage": self.deals[i]["stage"]} for i in wanted if i in self.deals]
            return 200, {}, {"success": True, "data": rows}
        with self._lock:
            deals = sorted(self.deals.values(), key=lambda deal: deal["id"])
        low, high = query.get("since", ""), "9" if self.ignores_until else query.get("until", "9")
        if "ids" in query:
            deals = [deal for deal in deals if str(deal["id"]) in query["ids"].split(",")]
        matching = [deal for deal in deals if low <= deal["modified"] and deal["modified"] < high]
        rest = [deal for deal in matching if deal["id"] > int(query.get("after", 0))]
        page = rest[: int(query.get("limit", PAGE))]
        return 200, {}, {"success": True, "data": page, "total": len(matching), "more": len(rest) > len(page)}


class FakeDialect(Dialect):
    title = "Fake CRM"

    def __init__(self, token: str) -> None:
        self._token = token
        self.logins = 0

    def credentials(self, client: Client) -> Mapping[str, str]:
        self.logins += 1
        return {"x-api-token": self._token}

    def judge(self, reply: Reply) -> Verdict:
        if reply.status == 429 and b"daily" in reply.body:
            return Verdict(Kind.QUOTA, "daily limit")
        return super().judge(reply)

    def envelope(self, value: Any, reply: Reply) -> Any:
        if not value.get("success"):
            raise Malformed(f"success is {value.get('success')}")
        return value

    def rate(self, reply: Reply) -> Rate | None:
        left = reply.headers.get("x-left")
        return Rate(int(left), float(reply.headers["x-reset"])) if left is not None else None


class FakeConnector(Connector):
    TITLE = "Fake CRM"
    ENTITIES: ClassVar[tuple[EntitySpec, ...]] = (
        EntitySpec("stages", Reading.WHOLE, "Stages of {source}."),
        EntitySpec("deals", Reading.CHANGED, "Deals of {source}.", is_swept=True),
        EntitySpec(
            "stage_history",
            Reading.BY_DEAL,
            "Moves of {source}.",
            history_fields=("stage",),
            ids_per_request=1,
        ),
        EntitySpec("teams", Reading.WHOLE, "Teams of {source}.", is_core=False),
    )
    HOLDBACK = timedelta(0)
    described: ClassVar[dict[str, str]] = {}
    per_second: ClassVar[float] = 10_000.0
    attempts: ClassVar[int] = 4

    def __init__(self, source: ApiSource, clock: Clock | None = None) -> None:
        assert isinstance(source, PipedriveSource) and source.base_url
        self.api_version = source.api_version or "v2"
        self._asked = source.asked
        self.client = Client(
            source.name,
            source.base_url,
            FakeDialect(source.token.get_secret_value()),
            {"default": self.per_second},
            threads=source.threads,
            clock=clock,
            attempts=self.attempts,
        )

    def probe(self) -> None:
        self.client.json(Request("/me", "probe"))

    def read(self, entity: EntitySpec, window: Window, cursor: Cursor | None) -> Iterator[Page]:
        if entity.reading is Reading.WHOLE:
            found = self.client.listing(Request(f"/{entity.name}", entity.name), "data")
            yield Page([Record(raw.value["id"], raw.text) for raw in found.records], None)
            return
        after = (cursor or {}).get("after", 0)
        while True:
            params = {"after": after, "limit": PAGE, "until": window.end.isoformat()}
            if window.start:
                params["since"] = window.start.isoformat()
            found = self.client.listing(Request("/deals", "deals", f"after {after}", params=params), "data")
            records = [self._deal(raw) for raw in found.records]
            after = found.records[-1].value["id"] if records else after
            yield Page(records, {"after": after} if found.fields["more"] else None, found.fields["total"])
            if not found.fields["more"]:
                return

    def read_ids(self, entity: EntitySpec, ids: Sequence[str]) -> Sequence[Record]:
        if entity.name == "deals":
            params = {"ids": ",".join(ids), "limit": 100}
            found = self.client.listing(Request("/deals", "deals", f"{len(ids)} ids", params=params), "data")
            return [self._deal(raw) for raw in found.records]
        request = Request("/history", entity.name, f"deal {ids[0]}", params={"ids": ",".join(ids)})
        found = self.client.listing(request, "data")
        return [Record(f"{raw.value['deal']}/{raw.value['stage']}", raw.text) for raw in found.records]

    def ids(self, entity: EntitySpec, cursor: Cursor | None = None) -> Iterator[IdPage]:
        after = (cursor or {}).get("after", 0)
        while True:
            found = self.client.listing(
                Request("/deals", "deals", f"ids after {after}", params={"after": after}), "data"
            )
            after = found.records[-1].value["id"] if found.records else after
            is_last = not found.fields["more"]
            yield IdPage(
                [str(raw.value["id"]) for raw in found.records], None if is_last else {"after": after}
            )
            if is_last:
                return

    def schema(self, entity: EntitySpec) -> Mapping[str, str]:
        return self.described

    def properties(self, entity: EntitySpec) -> Sequence[str]:
        return self._asked.get(entity.name, ())

    def _deal(self, raw: RawRecord) -> Record:
        return Record(str(raw.value["id"]), raw.text, datetime.fromisoformat(raw.value["modified"]))


def fake_source(address: str, **more: Any) -> PipedriveSource:
    """The source as pipeline.yaml would give it."""
    values = {"name": "hq", "type": "pipedrive", "token": TOKEN, "base_url": address, **more}
    return PipedriveSource.model_validate(values)


def main(address: str, landing: str, end: str) -> int:
    source = fake_source(address)
    until = datetime.fromisoformat(end)
    span = Span(until - timedelta(days=1), until)
    reports = extract_api(Path(landing), source, span, connector=FakeConnector(source))
    return 0 if all(report.status.name != "FAILED" for report in reports) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
