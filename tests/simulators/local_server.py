"""What all servers of the tests share: HTTP on 127.0.0.1, a list of what was asked, and faults on order."""

from __future__ import annotations

import json
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, Mapping[str, str], Any]


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def place(self) -> str:
        """The path without its query."""
        return urlsplit(self.path).path

    @cached_property
    def query(self) -> dict[str, str]:
        """The query of the address."""
        return {name: ",".join(values) for name, values in parse_qs(urlsplit(self.path).query).items()}

    @cached_property
    def body(self) -> Any:
        """The JSON that was sent; None where nothing was."""
        return json.loads(self.raw) if self.raw else None


class LocalServer(ABC):
    """Answers on a thread of its own until `close`.

    `faults`: number of a request (from 1) → what happens to it instead: an answer (status, headers, body), a
    function that gives one, "reset" (the connection ends) or "truncated" (half of the body comes). `always`:
    the same by path. `before`: called with number and path of each request, before anything else happens to
    it. `defects`: what went wrong in the server itself.
    """

    def __init__(self) -> None:
        self.faults: dict[int, Any] = {}
        self.always: Callable[[str], Any] | None = None
        self.before: Callable[[int, str], None] = lambda number, path: None
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.asked: list[Asked] = []
        self.defects: list[BaseException] = []
        self._lock = threading.RLock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                outer._serve(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda request, address: self._note_defect()  # type: ignore[method-assign]
        self.address = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    @abstractmethod
    def answer(self, asked: Asked) -> Answer:
        """What the service says; a body that is not bytes is written by `as_bytes`."""

    def as_bytes(self, body: Any) -> bytes:
        """JSON."""
        return json.dumps(body).encode()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def paths(self, part: str = "") -> list[str]:
        """The addresses asked for so far that hold a part."""
        return [asked.path for asked in self.asked if part in asked.path]

    def _note_defect(self) -> None:
        # A client that was killed is none.
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            self.defects.append(error)

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        asked = Asked(time.monotonic(), handler.command, handler.path, dict(handler.headers), raw)
        with self._lock:
            self.asked.append(asked)
            number = len(self.asked)
        self.before(number, asked.path)
        fault = self.faults.pop(number, None) or (self.always(asked.path) if self.always else None)
        if fault == "reset":
            handler.connection.close()
            handler.close_connection = True
            return
        answered = fault(asked) if callable(fault) else fault
        status, headers, body = answered if isinstance(answered, tuple) else self.answer(asked)
        sent = body if isinstance(body, bytes) else self.as_bytes(body)
        handler.send_response_only(status)
        told = {"Date": format_datetime(self.clock(), usegmt=True), "Content-Type": "application/json"}
        for name, value in (told | dict(headers) | {"Content-Length": str(len(sent))}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(sent[: len(sent) // 2] if fault == "truncated" else sent)
        handler.close_connection = handler.close_connection or fault == "truncated"
