"""Extraction of a Tryton into a landing, and what has landed. Also a program that can be killed.

python -m tests.tryton.landed <address> <landing> <end of the span>
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.api_report import EntityReport, Status
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.api.pacing import Clock
from dagster_project.extract.crm.tryton import TrytonConnector
from dagster_project.extract.landing import PART, Landing
from tests.tryton.tryton_office import source


class HurriedClock(Clock):
    """Waits are noted, not slept. `ahead`: how far this machine's clock is wrong."""

    def __init__(self, ahead: timedelta = timedelta(0)) -> None:
        self.ahead = ahead
        self.naps: list[float] = []

    def now(self) -> datetime:
        return super().now() + self.ahead

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        super().sleep(min(seconds, 0.03))


def extract(
    address: str, landing: Path, end: datetime, clock: Clock | None = None, **settings: Any
) -> dict[str, EntityReport]:
    """One night that ends at an instant; reports by entity. `entities`, `reread`: as for `extract_api`."""
    options = {name: settings.pop(name) for name in ("entities", "reread") if name in settings}
    configured = source(address, **settings)
    connector = TrytonConnector(configured, clock or HurriedClock())
    span = Span(end - timedelta(days=1), end)
    reports = extract_api(landing, configured, span, connector=connector, **options)
    return {report.entity: report for report in reports}


def rows(landing: Path, entity: str) -> list[dict[str, Any]]:
    """All landed rows of an entity, batch by batch. `payload` is parsed; `text` has its keys in order.

    A server gives the keys of an object in an order of its own, another one after each start.
    """
    return [
        {**row, "payload": payload, "text": json.dumps(payload, sort_keys=True)}
        for batch in Landing(landing).batches("erp", entity)
        for row in pq.read_table(batch.folder / PART).to_pylist()
        if (payload := json.loads(row["payload"]))
    ]


def content(landing: Path, *entities: str) -> dict[str, list[tuple[Any, ...]]]:
    """What landed, whichever batch brought it, once each."""
    names = entities or tuple(spec.name for spec in TrytonConnector.ENTITIES)
    return {
        name: sorted({(r["record_id"], str(r["modified_at"]), r["is_deleted"], r["text"]) for r in found})
        for name in names
        if (found := rows(landing, name)) is not None
    }


def main(address: str, landing: str, end: str) -> int:
    reports = extract(address, Path(landing), datetime.fromisoformat(end).astimezone(UTC))
    return 0 if all(report.status is not Status.FAILED for report in reports.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
