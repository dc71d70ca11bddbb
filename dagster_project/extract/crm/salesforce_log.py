"""Salesforce's own log of changes: how far everything is committed, and what was deleted."""

import logging
from datetime import datetime, timedelta
from typing import Any

from dagster_project.extract.api.api_errors import NotThere, RequestRefused
from dagster_project.extract.api.exchange import Request
from dagster_project.extract.api.http import Client
from dagster_project.extract.api.protocol import Record, Watermark, Window, tombstone
from dagster_project.extract.crm.salesforce_objects import instant_of, literal, long_id

logger = logging.getLogger(__name__)

_MINUTE = timedelta(minutes=1)
_KEPT = timedelta(days=29)  # deletions are kept for 30 days at most, often for fewer
# Salesforce holds its watermark back while it works on its own instances: for hours, at times for days.
_PATIENCE = timedelta(hours=24)


class ReplicationLog:
    """`updated` and `deleted` of the objects of one org."""

    def __init__(self, client: Client, root: str) -> None:
        self._client = client
        self._root = root
        self._begins: dict[str, datetime] = {}

    def watermark(self, entity: str, name: str, start: datetime | None) -> Watermark | None:
        """`latestDateCovered`: while a long transaction runs, the instant it began.

        None, and with it the lookback, where Salesforce does not tell, or has not moved it for a day.
        """
        end = self._client.server_now()
        begin = max(start or end - 60 * _MINUTE, end - _PATIENCE)
        try:
            answer = self._ask(entity, name, "updated", begin, end)
        except (NotThere, RequestRefused) as error:
            logger.warning("%s: no watermark of %s: %s", self._client.account, name, error)
            return None
        covered = instant_of(answer.get("latestDateCovered"))
        if covered is None or end - covered > _PATIENCE:
            logger.warning(
                "%s: Salesforce vouches for %s only up to %s; the lookback is used instead",
                self._client.account,
                name,
                covered,
            )
            return None
        return Watermark(covered)

    def deletions(self, entity: str, name: str, window: Window) -> list[Record]:
        """Tombstones, also of what was emptied from the recycle bin since."""
        now = self._client.server_now()
        start = max(window.start or now - _KEPT, now - _KEPT)
        answer = self._ask(entity, name, "deleted", start, min(window.end, now))
        self._begins[name] = instant_of(answer.get("earliestDateAvailable")) or now - _KEPT
        return [
            tombstone(long_id(gone["id"]), "deleted", datetime.fromisoformat(gone["deletedDate"]))
            for gone in answer["deletedRecords"]
        ]

    def reaches(self, entity: str, name: str, start: datetime) -> bool:
        """Whether deletions since `start` are still in the log."""
        now = self._client.server_now()
        if start < now - _KEPT:
            return False
        if name not in self._begins:
            self.deletions(entity, name, Window(now - _MINUTE, now))
        return self._begins[name] <= start

    def _ask(self, entity: str, name: str, log: str, start: datetime, end: datetime) -> dict[str, Any]:
        # Seconds are ignored, and the end must lie after the start.
        start = start.replace(second=0, microsecond=0)
        end = max((end + _MINUTE).replace(second=0, microsecond=0), start + _MINUTE)
        params = {"start": literal(start), "end": literal(end)}
        request = Request(f"{self._root}/sobjects/{name}/{log}/", entity, log, params=params)
        answer: dict[str, Any] = self._client.json(request)
        return answer
