"""How Tryton speaks: JSON-RPC with typed values, a session in a header, errors inside good answers."""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from dagster_project.extract.api import redaction
from dagster_project.extract.api.api_errors import CredentialRefused, Malformed
from dagster_project.extract.api.dialect import Dialect, Kind, Verdict
from dagster_project.extract.api.exchange import Reply, Request

if TYPE_CHECKING:
    from dagster_project.extract.api.http import Client

# Errors that Tryton puts into a good answer, as [class, arguments]; any other one is like a 500.
_ERRORS = {"UserError": Kind.FORBIDDEN, "LoginException": Kind.UNAUTHORIZED}
_ERROR_WITHIN = 200  # an error stands first in an answer; records are never searched for the word


def rpc(
    database: str, method: str, params: Sequence[Any], entity: str, page: str = "1", **more: Any
) -> Request:
    """A call of one method; its parameters travel in the body only."""
    body = {"id": 0, "method": method, "params": list(params)}
    return Request(f"{database}/rpc/", entity, page, method="POST", body=body, **more)


def typed_instant(instant: datetime) -> dict[str, Any]:
    """An instant as Tryton writes it: UTC without a zone, microseconds."""
    utc = instant.astimezone(UTC)
    names = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return {"__class__": "datetime", **{name: getattr(utc, name) for name in names}}


def instant(value: Mapping[str, Any] | None) -> datetime | None:
    """The instant (UTC) of a typed value. Errors: Malformed when it is none."""
    if value is None:
        return None
    try:
        parts = [value[name] for name in ("year", "month", "day", "hour", "minute", "second", "microsecond")]
        return datetime(*parts, tzinfo=UTC)
    except (KeyError, TypeError, ValueError):
        raise Malformed(f"{value!r} is no instant") from None


class TrytonDialect(Dialect):
    """One session for all threads; a new one when the server no longer knows it."""

    title = "Tryton"

    def __init__(self, database: str, user: str, password: str) -> None:
        self._database = database
        self._user = user
        self._password = password
        self._refused: CredentialRefused | None = None

    def credentials(self, client: "Client") -> Mapping[str, str]:
        login = rpc(
            self._database,
            "common.db.login",
            [self._user, {"password": self._password}],
            "login",
            needs_credentials=False,
        )
        if self._refused is not None:
            raise self._refused  # every further attempt would lock the user out for longer
        try:
            user_id, session = client.send(login, _session)
        except CredentialRefused as error:
            self._refused = error
            raise
        redaction.SECRETS.add(session)
        token = base64.b64encode(f"{self._user}:{user_id}:{session}".encode()).decode()
        return {"Authorization": f"Session {token}"}

    def judge(self, reply: Reply) -> Verdict:
        is_login = not reply.request.needs_credentials
        if is_login and reply.status == 429:
            # Asking again is counted as one more failed attempt.
            return Verdict(Kind.UNAUTHORIZED, "too many failed logins lately")
        if reply.status == 200 and b'"error"' in reply.body[:_ERROR_WITHIN]:
            return self._judge_error(reply)
        return super().judge(reply)

    def envelope(self, value: Any, reply: Reply) -> Any:
        if not isinstance(value, dict) or "error" in value:
            raise Malformed("the answer is no result")
        return value

    def remedy(self, kind: Kind, entity: str) -> str:
        words = {
            Kind.UNAUTHORIZED: (
                "look at `user:` of the source and put the user's password into the variable that "
                "pipeline.yaml names"
            ),
            Kind.FORBIDDEN: f"give the user a group that may read {entity} (Sales, or Opportunity)",
            Kind.ABSENT: (
                "look whether `base_url:` and `database:` are right and the module sale_opportunity is "
                "activated in that database"
            ),
        }
        return words.get(kind) or super().remedy(kind, entity)

    def _judge_error(self, reply: Reply) -> Verdict:
        try:
            error = json.loads(reply.body)["error"]
            name, details = str(error[0]), error[1]
        except (ValueError, LookupError, TypeError):
            return Verdict(Kind.GOOD)  # the word stood elsewhere: the body is judged when it is read
        if name in _ERRORS:
            words = details[0] if isinstance(details, list) and details else details
            return Verdict(_ERRORS[name], str(words)[:200])
        model = str(reply.request.body["method"]).partition(".")[2].rpartition(".")[0]
        if name == repr(model):
            return Verdict(Kind.ABSENT, f"the database has no {model}")
        return Verdict(Kind.RETRY, f"an error in the server: {name[:150]}")


def _session(reply: Reply) -> tuple[int, str]:
    value = reply.json()
    try:
        user_id, session = value["result"][:2]
    except (LookupError, TypeError, ValueError):
        raise Malformed("the answer to the login holds no session") from None
    return int(user_id), str(session)
