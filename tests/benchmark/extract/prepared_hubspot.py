"""A HubSpot account whose answers are prepared: each is made once by the simulator, and sent as bytes after.

    python -m tests.benchmark.extract.prepared_hubspot <deals>

Prints its address when it is ready, and ends when its standard input is closed. `GET /asked` tells how many
questions were asked since the last time, and how many of their answers were not prepared yet.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.extract.hubspot_bench import pipeline
from tests.simulators.hubspot_portal import Portal, Thing
from tests.simulators.hubspot_server import HubSpotServer

NOW = datetime(2026, 4, 1, 4, tzinfo=UTC)
STAGES = ("new", "qualified", "demo", "quote", "verbal", "won", "lost")
_OWNERS = ("4001", "4002", "4003", "4004")
COUNTS = "/asked"
_KEPT = ("X-HubSpot-RateLimit-", "Content-Type")

Question = tuple[str, str, str, bytes]


class StillPortal(Portal):
    """A portal in which nothing happens any more once it is asked: its lists are made once."""

    def __init__(self) -> None:
        super().__init__(lambda: NOW)
        self._listed: dict[tuple[str, bool], list[Thing]] = {}

    def living(self, kind: str, *, archived: bool = False) -> list[Thing]:
        if (kind, archived) not in self._listed:
            self._listed[kind, archived] = super().living(kind, archived=archived)
        return self._listed[kind, archived]


def portal_of(deals: int) -> Portal:
    """So many deals with about 18 values in their histories each, all made and moved before NOW."""
    portal = StillPortal()
    portal.pipelines = [pipeline("default", [(name, "false", "0.5") for name in STAGES])]
    for number in range(1, deals + 1):
        _live(portal, number)
    return portal


def _live(portal: Portal, number: int) -> None:
    """One deal from its creation to where it stands now; every thirtieth is in the recycle bin."""
    deal_id, at = str(10_000_000 + number), NOW - timedelta(days=400, minutes=number)
    owner = _OWNERS[number % 4]
    portal.change("deals", deal_id, at, {
        "dealname": f"Deal {number} with company {number % 997}",
        "dealstage": STAGES[0],
        "pipeline": "default",
        "amount": f"{1000 + number * 37 % 90_000}.{number % 100:02}",
        "deal_currency_code": "EUR",
        "closedate": f"{at + timedelta(days=90):%Y-%m-%d}T00:00:00Z",
        "hubspot_owner_id": owner,
        "dealtype": "newbusiness",
        "hs_analytics_source": "PAID_SEARCH",
        "hs_manual_forecast_category": "PIPELINE",
        "hs_deal_stage_probability": "0.2",
        "hs_next_step": "Call back about the offer, then send the contract",
    })  # fmt: skip
    portal.associate("deals", deal_id, "companies", str(500_000 + number % 997), 5)
    for step in range(1, 3 + number % 5):
        at += timedelta(days=9 + number % 7, hours=step, milliseconds=number % 1000)
        changed: dict[str, str | None] = {"dealstage": STAGES[step]}
        if step % 2:
            changed["amount"] = f"{1000 + number * 41 * step % 90_000}.{number % 100:02}"
        if step % 3:
            changed["closedate"] = f"{at + timedelta(days=60):%Y-%m-%d}T00:00:00Z"
        if step == 2:
            changed["hubspot_owner_id"] = _OWNERS[(number + 1) % 4]
            changed["hs_manual_forecast_category"] = "BEST_CASE"
        told = {"sourceType": "CRM_UI", "sourceId": f"userId:{owner}", "updatedByUserId": int(owner)}
        portal.change("deals", deal_id, at, changed, source=told)
    if number % 30 == 0:
        portal.archive("deals", deal_id, NOW - timedelta(days=20))


class PreparedServer:
    """Stands before a simulator whose limits are high; its clients may ask in several threads."""

    def __init__(self, deals: int) -> None:
        self._origin = HubSpotServer(portal_of(deals))
        self._origin.burst = self._origin.daily = 10_000_000
        self._prepared: dict[Question, tuple[bytes, bytes]] = {}
        self._lock = threading.Lock()
        self._asked = self._unprepared = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                outer._serve(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()
        self._origin.close()

    def counts(self) -> dict[str, int]:
        """What was asked since the counts were told last."""
        with self._lock:
            told = {"asked": self._asked, "unprepared": self._unprepared}
            self._asked = self._unprepared = 0
        return told

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path == COUNTS:
            status, rest = b"200 OK", _rest((), json.dumps(self.counts()).encode())
        else:
            body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
            question = (handler.command, handler.path, handler.headers.get("Authorization", ""), body)
            with self._lock:
                self._asked += 1
                known = self._prepared.get(question)
            status, rest = known or self._prepare(question)
        date = formatdate(usegmt=True).encode()
        handler.wfile.write(b"HTTP/1.1 %s\r\nDate: %s\r\n%s" % (status, date, rest))

    def _prepare(self, question: Question) -> tuple[bytes, bytes]:
        method, path, authorization, body = question
        line = HTTPConnection(urlsplit(self._origin.address).netloc)
        line.request(method, path, body or None, {"Authorization": authorization})
        answer = line.getresponse()
        content = answer.read()
        line.close()
        status = f"{answer.status} {answer.reason}".encode()
        prepared = status, _rest(answer.getheaders(), content)
        with self._lock:
            self._unprepared += 1
            self._prepared[question] = prepared
        return prepared


def _rest(headers: Iterable[tuple[str, str]], content: bytes) -> bytes:
    """An answer behind its status and date."""
    told = "".join(f"{name}: {value}\r\n" for name, value in headers if name.startswith(_KEPT))
    return told.encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content


def main(deals: str) -> int:
    """Serve until nobody is there any more to close the standard input."""
    server = PreparedServer(int(deals))
    sys.stdout.write(server.address + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
