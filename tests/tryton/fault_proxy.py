"""A way to a server that can be disturbed: it passes requests on, counts them, and fails when told to."""

import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit

from tests.simulators.local_server import Answer, Asked, LocalServer

PASSED_ON = ("Content-Type", "Accept", "Accept-Encoding", "Authorization")
STRANGE = "Session YWRtaW46MTpzdHJhbmdl"


class FaultProxy(LocalServer):
    """Passes on to `target`, an address."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self._target = urlsplit(target).netloc

    def answer(self, asked: Asked) -> Answer:
        return self._ask(asked, {})

    def in_a_strange_session(self, asked: Asked) -> Answer:
        """A fault: the server does not know the session."""
        return self._ask(asked, {"Authorization": STRANGE})

    def _ask(self, asked: Asked, changed: Mapping[str, str]) -> Answer:
        headers = {name: asked.headers[name] for name in PASSED_ON if name in asked.headers}
        connection = http.client.HTTPConnection(self._target, timeout=60)
        try:
            connection.request(asked.method, asked.path, asked.raw, {**headers, **changed})
            reply = connection.getresponse()
            kept = ("Content-Type", "Content-Encoding", "Date", "WWW-Authenticate")
            told = {name: reply.headers[name] for name in kept if name in reply.headers}
            return reply.status, told, reply.read()
        finally:
            connection.close()
