"""What tests of Pipedrive share: one company behind one server, one landing, a clock that stands still.

Run as a program it extracts into a folder: `python -m tests.simulators.pipedrive_bench <address> <landing>
<end>`.
"""

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dagster_project.api_settings import PipedriveSource
from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.api_report import EntityReport, Status
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.api.pacing import Clock
from dagster_project.extract.crm.pipedrive import PipedriveConnector
from dagster_project.extract.landing import PART, Landing
from tests.extract.api_bench import StillClock
from tests.simulators.pipedrive_company import Company
from tests.simulators.pipedrive_server import TOKEN, PipedriveServer

DAY = datetime(2026, 3, 31, tzinfo=UTC)
EARLIER = DAY - timedelta(days=30)


def pipedrive_source(address: str, **more: Any) -> PipedriveSource:
    """The source as pipeline.yaml would give it."""
    values = {"name": "hq", "type": "pipedrive", "token": TOKEN, "base_url": address, **more}
    return PipedriveSource.model_validate(values)


def small_company() -> Company:
    """One pipeline with three stages, one user, no deals."""
    company = Company()
    begin = "2025-01-01T00:00:00Z"
    company.pipelines[1] = {
        "id": 1, "name": "Sales", "order_nr": 1, "is_deleted": False, "is_deal_probability_enabled": True,
        "add_time": begin, "update_time": begin,
    }  # fmt: skip
    for number, name in enumerate(("Lead", "Offer", "Contract"), 1):
        company.stages[number] = {
            "id": number, "order_nr": number, "name": name, "is_deleted": False, "deal_probability": 50,
            "pipeline_id": 1, "is_deal_rot_enabled": False, "days_to_rotten": None, "add_time": begin,
            "update_time": begin,
        }  # fmt: skip
    company.users[1] = {"id": 1, "name": "Anna", "email": "anna@example.com", "phone": "0000-0001",
                        "active_flag": True, "is_deleted": False, "created": "2025-01-01 00:00:00",
                        "modified": "2025-01-01 00:00:00", "last_login": "2026-01-01 00:00:00"}  # fmt: skip
    return company


@dataclass
class PipedriveBench:
    """The server's clock says 04:00 on the night after DAY, and moves only when someone sleeps."""

    root: Path
    company: Company = field(default_factory=small_company)
    clock: StillClock = field(default_factory=lambda: StillClock(DAY + timedelta(hours=28)))

    def __post_init__(self) -> None:
        self.server = PipedriveServer(self.company)
        self.server.clock = self.clock.now

    def connector(self, clock: Clock | None = None, **settings: Any) -> PipedriveConnector:
        return PipedriveConnector(pipedrive_source(self.server.address, **settings), clock or self.clock)

    def run(self, day: datetime = DAY, **options: Any) -> dict[str, EntityReport]:
        """Extract the day; the reports by entity."""
        settings = {name: options.pop(name) for name in list(options) if name not in ("entities", "reread")}
        source = pipedrive_source(self.server.address, **settings)
        span = Span(day, day + timedelta(days=1))
        connector = PipedriveConnector(source, self.clock)
        reports = extract_api(self.root, source, span, connector=connector, **options)
        return {report.entity: report for report in reports}

    def next_night(self, nights: int = 1) -> datetime:
        """Let so many days pass; the day that is over then."""
        self.clock.start += timedelta(days=nights)
        return DAY + (self.clock.start - (DAY + timedelta(hours=28)))

    def rows(self, entity: str) -> list[dict[str, Any]]:
        """All landed rows of an entity, batch by batch."""
        found = []
        for batch in Landing(self.root).batches("hq", entity):
            for row in pq.read_table(batch.folder / PART).to_pylist():
                found.append({**row, "payload": json.loads(row["payload"])})
        return found

    def ids(self, entity: str) -> list[str]:
        return [row["record_id"] for row in self.rows(entity)]

    def newest(self, entity: str) -> dict[str, dict[str, Any]]:
        """The last landed row of each record."""
        return {row["record_id"]: row for row in self.rows(entity)}

    def fill(self, deals: int) -> None:
        """So many deals, one a minute, a month ago."""
        for number in range(1, deals + 1):
            self.company.add_deal(number, EARLIER + timedelta(minutes=number))


def main(address: str, landing: str, end: str) -> int:
    source = pipedrive_source(address)
    until = datetime.fromisoformat(end)
    connector = PipedriveConnector(source, _HastyClock())
    reports = extract_api(Path(landing), source, Span(until - timedelta(days=1), until), connector=connector)
    return 0 if all(report.status is not Status.FAILED for report in reports) else 1


class _HastyClock(Clock):
    """Real time, but nobody waits: pacing is tested elsewhere."""

    def sleep(self, seconds: float) -> None:
        self.skipped = getattr(self, "skipped", 0.0) + seconds

    def monotonic(self) -> float:
        return super().monotonic() + getattr(self, "skipped", 0.0)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
