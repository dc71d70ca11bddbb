"""Connectors fed with answers of the simulated CRMs in which something is disturbed, without any network.

Every answer passes the client that also reads real ones. Whatever an answer holds, a connector hands out
records that can be landed, or ends with an error of our own.
"""

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from dagster_project.api_settings import TrytonSource
from dagster_project.extract.api.api_errors import ApiError, CursorExpired
from dagster_project.extract.api.exchange import Reply, Request
from dagster_project.extract.api.protocol import Connector, EntitySpec, Reading, Record, Window
from dagster_project.extract.crm.tryton import TrytonConnector
from tests.extract.api_bench import StillClock
from tests.extract.hubspot_bench import HubSpotBench, HubSpotConnector, hubspot_source
from tests.extract.salesforce_bench import SalesforceBench
from tests.simulators.local_server import Asked, LocalServer
from tests.simulators.pipedrive_bench import PipedriveBench
from tests.soak.fuzz_targets import Defect
from tests.soak.odd_values import disturbed, disturbed_bytes, json_bytes

DAY = datetime(2026, 3, 31, tzinfo=UTC)
WINDOWS = (Window(None, DAY + timedelta(days=1)), Window(DAY - timedelta(days=40), DAY + timedelta(days=1)))
_MOST_PAGES = 4


@dataclass
class Disturbance:
    """Draws which answers are disturbed, and counts them."""

    chance: random.Random
    share: float = 0.3
    inputs: int = 0

    def of(self, status: int, told: bytes) -> tuple[int, bytes]:
        """An answer, perhaps another than the CRM gave."""
        if self.chance.random() > self.share:
            return status, told
        self.inputs += 1
        if self.chance.random() < 0.1:
            return self.chance.choice((200, 200, 204, 400, 403, 404, 500)), disturbed_bytes(told, self.chance)
        try:
            value = json.loads(told)
        except ValueError:
            return status, disturbed_bytes(told, self.chance)
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            value = disturbed(value, self.chance)
        return status, json_bytes(value, self.chance)


def feed(
    connector: Connector, server: Callable[[Asked], tuple[int, Any, Any]], disturbance: Disturbance
) -> None:
    """Let a connector ask `server` in this process; every answer is asked for once only."""

    def exchange(request: Request, headers: Mapping[str, str], place: object) -> Reply:
        query = f"?{urlencode(request.params)}" if request.params else ""
        if request.form is not None:
            raw = urlencode(request.form).encode()
        else:
            raw = b"" if request.body is None else json.dumps(request.body).encode()
        path = "/" + request.path.removeprefix(connector.client.base_url).lstrip("/")
        asked = Asked(0.0, request.method, path + query, {**request.headers, **headers}, raw)
        status, told_headers, told = server(asked)
        content = told if isinstance(told, bytes) else json.dumps(told, default=str).encode()
        status, content = disturbance.of(status, content)
        return Reply(request, status, dict(told_headers), content)

    connector.client._exchange = exchange  # type: ignore[method-assign]
    connector.client._attempts = 1


def read_everything(connector: Connector, ids: Mapping[str, list[str]]) -> None:
    """Ask a connector all that the engine asks; every record must be fit to be landed. Errors: Defect."""
    for spec in connector.ENTITIES:
        for work in _questions(connector, spec, ids.get(spec.name, ids["deals"])):
            with contextlib.suppress(ApiError, CursorExpired):
                work()


def _questions(connector: Connector, spec: EntitySpec, ids: list[str]) -> Iterator[Callable[[], Any]]:
    if spec.reading is Reading.BY_DEAL:
        yield lambda: _require_records(connector.read_ids(spec, ids[: spec.ids_per_request]))
        return
    for window in WINDOWS[: 1 if spec.reading is Reading.WHOLE else 2]:
        yield lambda window=window: [
            _require_records([*page.records, *page.companions])
            for page in islice(connector.read(spec, window, None), _MOST_PAGES)
        ]
    yield lambda: connector.schema(spec)
    yield lambda: connector.watermark(spec, WINDOWS[1].start)
    if spec.is_swept:
        yield lambda: [page.ids for page in islice(connector.ids(spec), _MOST_PAGES)]
        yield lambda: _require_records(connector.read_ids(spec, ids[:5]))


def _require_records(records: Any) -> None:
    for record in records:
        if not isinstance(record, Record) or not isinstance(record.record_id, str) or not record.record_id:
            raise Defect(f"a record without an id: {record!r:.200}")
        try:
            is_object = isinstance(json.loads(record.payload), dict)
        except ValueError:
            is_object = False
        if not is_object:
            raise Defect(f"a payload that is no JSON object: {record.payload!r:.200}")
        if record.modified_at is not None and record.modified_at.tzinfo is None:
            raise Defect("an instant without a zone")


class Crm:
    """A simulated CRM with a few records, and new connectors to it."""

    def __init__(
        self,
        server: Callable[[Asked], tuple[int, Any, Any]],
        connect: Callable[[], Connector],
        ids: dict[str, list[str]],
    ) -> None:
        self._server, self._connect, self._ids = server, connect, ids

    def read(self, disturbance: Disturbance) -> None:
        """One whole reading. Errors: Defect, and whatever a connector lets through."""
        connector = self._connect()
        feed(connector, self._server, disturbance)
        read_everything(connector, self._ids)


def hubspot(folder: Path) -> Crm:
    bench = HubSpotBench(folder)
    bench.deals(6)
    bench.deal(3, DAY, "won", amount="7")
    bench.portal.archive("deals", "5", DAY)
    bench.server.close()
    source = hubspot_source("http://127.0.0.1:1")
    return Crm(_calm(bench.server), lambda: HubSpotConnector(source, StillClock()), {"deals": list("123456")})


def pipedrive(folder: Path) -> Crm:
    bench = PipedriveBench(folder)
    bench.fill(6)
    bench.company.change(2, DAY, stage_id=2, status="won")
    bench.company.lines[3] = [{"id": 3, "deal_id": 3, "product_id": 1}]
    bench.server.close()
    return Crm(_calm(bench.server), bench.connector, {"deals": list("123456")})


def salesforce(folder: Path) -> Crm:
    bench = SalesforceBench(folder)
    rows = [bench.put_deal(number, DAY) for number in range(1, 6)]
    bench.put_history(1, 1, DAY)
    bench.server.close()
    return Crm(_calm(bench.server), bench.connector, {"deals": [str(row["Id"]) for row in rows]})


def _calm(server: LocalServer) -> Callable[[Asked], tuple[int, Any, Any]]:
    """What a server says to a connector that was misled by an earlier answer; it may not know what to say."""

    def answer(asked: Asked) -> tuple[int, Any, Any]:
        try:
            status, headers, told = server.answer(asked)
        except Exception:
            return 400, {}, {"message": "what is that?"}
        return status, headers, told if isinstance(told, bytes) else server.as_bytes(told)

    return answer


def tryton(folder: Path) -> Crm:
    source = TrytonSource.model_validate(
        {"name": "hq", "type": "tryton", "base_url": "http://127.0.0.1:1", "database": "d", "user": "u",
         "password": "canary-password"}
    )  # fmt: skip
    return Crm(_tryton_answer, lambda: TrytonConnector(source, StillClock()), {"deals": ["1", "2"]})


def _tryton_answer(asked: Asked) -> tuple[int, Any, Any]:
    """Just what each method gives back where there are two deals."""
    at = {"__class__": "datetime", "year": 2026, "month": 3, "day": 30, "hour": 8, "minute": 0, "second": 0,
          "microsecond": 5}  # fmt: skip
    method = str(asked.body["method"]).rpartition(".")[2]
    field = {"type": "char", "selection": [["lead", "Lead"], ["won", "Won"]]}
    row = {"id": 1, "create_date": at, "write_date": at, "state": "lead", "party": 1, "product": 1}
    names = ("number", "reference", "state", "party", "product", "create_date", "write_date", "code", "name")
    told: Any = {
        "login": [1, "session-canary"],
        "get_preferences": {"company": 1, "language": "en"},
        "fields_get": dict.fromkeys(names, field),
        "search": [1, 2],
        "search_read": [row, {**row, "id": 2}],
        "history_revisions": [[at, 1, "Ann"], [at, 2, None]],
    }.get(method, [])
    return 200, {}, {"id": 0, "result": told}


CRMS: Mapping[str, Callable[[Path], Crm]] = {
    "HubSpot": hubspot,
    "Salesforce": salesforce,
    "Pipedrive": pipedrive,
    "Tryton": tryton,
}
