"""Pipedrive over HTTP: the token's header, two limits behind one status, and errors inside good answers."""

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from dagster_project.extract.api.api_errors import Malformed
from dagster_project.extract.api.dialect import Dialect, Kind, Quota, Rate, Verdict, http_date, retry_after
from dagster_project.extract.api.exchange import Reply
from dagster_project.extract.api.http import Client

# The burst limit is counted over two seconds: who is still refused after three such periods has no tokens
# left for today. Going on asking ends in a block by the firewall in front of the interface.
BURST_SECONDS = 2.0
_LONGEST_BURST_SECONDS = 3 * BURST_SECONDS


class PipedriveDialect(Dialect):
    """Tells the burst limit (wait two seconds) from the daily limit (stop for today): both are a 429."""

    title = "Pipedrive"

    def __init__(self, token: str) -> None:
        self._token = token
        self._lock = threading.Lock()
        self._refused_since: datetime | None = None

    def credentials(self, client: Client) -> Mapping[str, str]:
        """The token in its header; never in an address, where logs and errors would show it."""
        return {"x-api-token": self._token}

    def judge(self, reply: Reply) -> Verdict:
        if reply.status == 429:
            return self._too_many(reply)
        with self._lock:
            self._refused_since = None
        if reply.status == 403 and not reply.body.lstrip().startswith(b"{"):
            return Verdict(Kind.QUOTA, "blocked for asking too often: the answer is a page of the firewall")
        if reply.status == 402:
            return Verdict(Kind.FORBIDDEN, self.reason(reply) or "the company's account is not open")
        if reply.status == 415:
            return Verdict(Kind.ABSENT, self.reason(reply) or "the feature is not enabled")
        return super().judge(reply)

    def envelope(self, value: Any, reply: Reply) -> Any:
        """Errors: Malformed unless the answer says that it is a success."""
        if not isinstance(value, dict) or value.get("success") is not True:
            words = value.get("error") if isinstance(value, dict) else None
            raise Malformed(f"the answer is no success: {words or 'it says nothing'}")
        return value

    def rate(self, reply: Reply) -> Rate | None:
        left, seconds = _number(reply, "x-ratelimit-remaining"), _number(reply, "x-ratelimit-reset")
        return Rate(left, min(float(seconds), BURST_SECONDS)) if left is not None and seconds else None

    def quota(self, reply: Reply) -> Quota | None:
        limit = _number(reply, "x-daily-ratelimit-token-limit")
        left = _number(reply, "x-daily-ratelimit-token-remaining")
        return Quota(limit - left, limit) if limit and left is not None else None

    def remedy(self, kind: Kind, entity: str) -> str:
        texts = {
            Kind.UNAUTHORIZED: "put the API token of Pipedrive's personal preferences (tab API) into the "
            "variable that pipeline.yaml names; a new token makes the old one void",
            Kind.FORBIDDEN: f"let the user of the token see {entity}, or take the token of an administrator",
            Kind.QUOTA: "nothing is lost: the next run goes on from here. The company's tokens of a day are "
            "30,000 × plan factor × seats; `budget: {daily: …}` of the source sets our part of them",
        }
        return texts.get(kind) or super().remedy(kind, entity)

    def _too_many(self, reply: Reply) -> Verdict:
        asked, left_today = retry_after(reply), _number(reply, "x-daily-ratelimit-token-remaining")
        left_now, seconds = _number(reply, "x-ratelimit-remaining"), _number(reply, "x-ratelimit-reset")
        words = self.reason(reply)
        if (left_today is not None and left_today < reply.request.price) or (left_now or 0) > 0:
            return Verdict(Kind.QUOTA, words or "no tokens are left for today")
        if self._is_refused_for_long(http_date(reply.headers.get("Date", ""))):
            return Verdict(Kind.QUOTA, words or f"refused for more than {_LONGEST_BURST_SECONDS:.0f} s")
        return Verdict(Kind.RETRY, words, asked if asked is not None else float(seconds or BURST_SECONDS))

    def _is_refused_for_long(self, now: datetime | None) -> bool:
        if now is None:
            return False
        with self._lock:
            since = self._refused_since = self._refused_since or now
        return (now - since).total_seconds() > _LONGEST_BURST_SECONDS


def _number(reply: Reply, header: str) -> int | None:
    text = reply.headers.get(header, "").strip()
    return int(text) if text.lstrip("-").isdigit() else None
