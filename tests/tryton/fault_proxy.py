"""A way to a server that can be disturbed: it passes requests on, counts them, and fails when told to."""

import http.client
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

PASSED_ON = ("Content-Type", "Accept", "Accept-Encoding", "Authorization")
Fault = tuple[int, Mapping[str, str], bytes] | str


class FaultProxy:
    """`faults`: number of a request (from 1) → an answer, or `reset`, `truncated`, `strange session`.

    `before` is called with the number of each request and its body, before anything else happens to it.
    """

    def __init__(self, target: str) -> None:
        self.faults: dict[int, Fault] = {}
        self.before: Callable[[int, bytes], None] = lambda number, body: None
        self.asked: list[bytes] = []
        self._target = urlsplit(target).netloc
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                outer.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        with self._lock:
            self.asked.append(body)
            number = len(self.asked)
        self.before(number, body)
        fault = self.faults.pop(number, None)
        if fault == "reset":
            handler.close_connection = True
            handler.connection.close()
            return
        headers = {name: handler.headers[name] for name in PASSED_ON if name in handler.headers}
        if fault == "strange session":
            headers["Authorization"] = "Session YWRtaW46MTpzdHJhbmdl"
        status, told, raw = fault if isinstance(fault, tuple) else self._ask(handler.path, headers, body)
        handler.send_response_only(status)
        for name, value in told.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw[: len(raw) // 2] if fault == "truncated" else raw)
        handler.close_connection = fault == "truncated"

    def _ask(
        self, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection = http.client.HTTPConnection(self._target, timeout=60)
        try:
            connection.request("POST", path, body, dict(headers))
            reply = connection.getresponse()
            kept = ("Content-Type", "Content-Encoding", "Date", "WWW-Authenticate")
            told = {name: reply.headers[name] for name in kept if name in reply.headers}
            return reply.status, told, reply.read()
        finally:
            connection.close()
