"""What HubSpot says over HTTP in its own way: bursts and days in one status, errors inside good answers."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from dagster_project.extract.api.api_errors import Malformed
from dagster_project.extract.api.dialect import Dialect, Kind, Quota, Rate, Verdict, retry_after
from dagster_project.extract.api.exchange import Reply
from dagster_project.extract.api.http import Client

# Seconds after which a burst limit lets requests through again, where the answer does not tell.
_BURST_WAITS = {"SECONDLY": 1.0, "TEN_SECONDLY_ROLLING": 10.0}
_UNFINISHED = ("error", "PENDING", "PROCESSING", "CANCELED")
_GONE = "OBJECT_NOT_FOUND"
# Below this share of a burst, others use the account, too.
_CROWDED = 0.25

_SCOPES = {
    "probe": "crm.objects.owners.read",
    "owners": "crm.objects.owners.read",
    "companies": "crm.objects.companies.read",
    "products": "crm.objects.products.read",
    "line_items": "crm.objects.line_items.read",
    "company_currency": "settings.currencies.read",
    "exchange_rates": "settings.currencies.read",
    "deal_splits": "crm.dealsplits.read_write",
}
_DEALS_SCOPE = "crm.objects.deals.read"


class HubSpotDialect(Dialect):
    """The token travels in `Authorization` and nowhere else."""

    title = "HubSpot"
    day_is_local = True  # midnight of the portal's time zone

    def __init__(self, token: SecretStr) -> None:
        self._token = token

    def credentials(self, client: Client) -> Mapping[str, str]:
        """A token of a private app or a service key does not expire; a new one comes by configuration."""
        return {"Authorization": f"Bearer {self._token.get_secret_value()}"}

    def judge(self, reply: Reply) -> Verdict:
        """429 is a burst or the day, by its policy; 530 is a malformed token; 410 a retired version."""
        if reply.status == 429:
            policy = str(_body(reply).get("policyName", ""))
            if "DAILY" in policy:
                return Verdict(Kind.QUOTA, self.reason(reply))
            wait = retry_after(reply)
            return Verdict(Kind.RETRY, self.reason(reply), _BURST_WAITS.get(policy) if wait is None else wait)
        if reply.status == 530:
            return Verdict(Kind.UNAUTHORIZED, "the token is malformed")
        if reply.status in (423, 477):
            return Verdict(Kind.RETRY, self.reason(reply), retry_after(reply))
        if reply.status == 410:
            return Verdict(Kind.RETIRED, self.reason(reply))
        return super().judge(reply)

    def envelope(self, value: Any, reply: Reply) -> Any:
        """A batch may be unfinished, or have failed in part; records that are gone are no failure."""
        if not isinstance(value, dict):
            raise Malformed("the answer is no object")
        if value.get("status") in _UNFINISHED:
            raise Malformed(f"its status is {value['status']} ({value.get('message', 'no message')})")
        for error in value.get("errors") or ():
            if error.get("category") != _GONE and error.get("subCategory") != _GONE:
                raise Malformed(f"a part of the batch failed: {error.get('message')}")
        return value

    def rate(self, reply: Reply) -> Rate | None:
        """Only when little is left of the ten seconds: then others spend from the same burst."""
        most = reply.headers.get("X-HubSpot-RateLimit-Max", "")
        left = reply.headers.get("X-HubSpot-RateLimit-Remaining", "")
        if not (most.isdigit() and left.isdigit()) or int(left) > _CROWDED * int(most):
            return None
        interval = reply.headers.get("X-HubSpot-RateLimit-Interval-Milliseconds", "")
        return Rate(int(left), int(interval) / 1000 if interval.isdigit() else 10.0)

    def quota(self, reply: Reply) -> Quota | None:
        """The account's day, as private apps are told it (answers to OAuth apps have no such headers)."""
        limit = reply.headers.get("X-HubSpot-RateLimit-Daily", "")
        left = reply.headers.get("X-HubSpot-RateLimit-Daily-Remaining", "")
        return Quota(int(limit) - int(left), int(limit)) if limit.isdigit() and left.isdigit() else None

    def remedy(self, kind: Kind, entity: str) -> str:
        """Names the scope where one is missing."""
        if kind is Kind.FORBIDDEN:
            return f"add the scope {_SCOPES.get(entity, _DEALS_SCOPE)} to the private app or service key"
        return super().remedy(kind, entity)


def _body(reply: Reply) -> dict[str, Any]:
    try:
        found = json.loads(reply.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
