"""What each CRM says over HTTP in its own way: credentials, errors, rate and quota headers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar
from zoneinfo import ZoneInfo

from dagster_project.extract.api.exchange import Reply

if TYPE_CHECKING:
    from dagster_project.extract.api.http import Client

_LONGEST_REASON = 200
_TRANSIENT = {408, 420, 425, 429}


class Kind(Enum):
    """What an answer means for the one who asked."""

    GOOD = "good"
    RETRY = "ask again"
    QUOTA = "daily quota is used up"
    UNAUTHORIZED = "credential refused"
    FORBIDDEN = "may not read"
    ABSENT = "is not there"
    RETIRED = "version retired"
    REFUSED = "request refused"


@dataclass(frozen=True)
class Verdict:
    """`wait`: seconds the CRM asks us to wait before asking again; None when it names none."""

    kind: Kind
    reason: str = ""
    wait: float | None = None


@dataclass(frozen=True)
class Rate:
    """`remaining` requests are allowed within the next `seconds`."""

    remaining: int
    seconds: float


@dataclass(frozen=True)
class Quota:
    """The account's daily allowance as the CRM counts it: what all its users have spent, of how much."""

    used: int
    limit: int


class Dialect:
    """Plain HTTP. A connector overrides what its vendor does otherwise."""

    title = "the CRM"
    # Whether the daily allowance begins anew at midnight of the business (else of UTC), unless the source
    # names a `quota_time_zone`.
    day_is_local: ClassVar[bool] = False
    day_zone: ZoneInfo = ZoneInfo("UTC")

    def day_began(self, now: datetime) -> datetime:
        """Since when the vendor counts towards the daily allowance at `now`: the last midnight."""
        local = now.astimezone(self.day_zone)
        return datetime.combine(local.date(), time(), self.day_zone).astimezone(UTC)

    def credentials(self, client: "Client") -> Mapping[str, str]:
        """Headers that identify us. Called before the first request, and once more after a 401.

        A login goes through `client` with `Request(needs_credentials=False)`.
        """
        return {}

    def judge(self, reply: Reply) -> Verdict:
        """What an answer's status and headers mean; the body of a good answer is looked at later."""
        status = reply.status
        if 200 <= status < 300:
            return Verdict(Kind.GOOD)
        kinds = {401: Kind.UNAUTHORIZED, 403: Kind.FORBIDDEN, 404: Kind.ABSENT, 410: Kind.ABSENT}
        if status in _TRANSIENT or status >= 500:
            return Verdict(Kind.RETRY, self.reason(reply), retry_after(reply))
        return Verdict(kinds.get(status, Kind.REFUSED), self.reason(reply))

    def envelope(self, value: Any, reply: Reply) -> Any:
        """The parsed body, or Malformed where a good status carries an error inside."""
        return value

    def rate(self, reply: Reply) -> Rate | None:
        """The vendor's own count of requests left in the current short period, if the answer tells."""
        return None

    def quota(self, reply: Reply) -> Quota | None:
        """The vendor's own count of the daily allowance, if the answer tells."""
        return None

    def remedy(self, kind: Kind, entity: str) -> str:
        """What to do about an answer of this kind."""
        return {
            Kind.UNAUTHORIZED: "put a valid credential into the variable that pipeline.yaml names",
            Kind.FORBIDDEN: f"give the credential the right to read {entity}",
            Kind.ABSENT: f"look whether {self.title} still offers {entity} to this account",
            Kind.RETIRED: "set `api_version:` of the source to a version that is still served",
            Kind.QUOTA: "nothing is lost: the next run goes on from here",
            Kind.RETRY: "run again later: what was read so far is kept and not asked for again",
        }.get(kind, "this is a defect of the connector, or of a setting of the source; report the text")

    def reason(self, reply: Reply) -> str:
        """The CRM's own words about an error, at most 200 characters."""
        try:
            body = json.loads(reply.body)
        except ValueError:
            return ""
        first = body[0] if isinstance(body, list) and body else body
        words = first.get("message") or first.get("error") if isinstance(first, dict) else None
        return str(words)[:_LONGEST_REASON] if words else ""


def retry_after(reply: Reply) -> float | None:
    """Seconds that the header Retry-After asks for; a date counts from the answer's own `Date`."""
    text = reply.headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        until = http_date(text)
    since = http_date(reply.headers.get("Date", ""))
    return max(0.0, (until - since).total_seconds()) if until and since else None


def http_date(text: str) -> datetime | None:
    """An HTTP date as an instant (UTC); None when it is none."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (TypeError, ValueError):
        return None
