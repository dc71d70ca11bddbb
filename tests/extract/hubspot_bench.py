"""What tests of the HubSpot connector share: a portal, its server, an extraction, and what has landed.

Run as a program it extracts into a folder: `python -m tests.extract.hubspot_bench <address> <landing> <end>`.
"""

import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dagster_project.api_settings import HubSpotSource
from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.api_report import EntityReport
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.crm.hubspot import HubSpotConnector
from dagster_project.extract.landing import PART, Landing
from tests.extract.api_bench import DAY, StillClock
from tests.simulators.hubspot_portal import Portal
from tests.simulators.hubspot_server import TOKEN, HubSpotServer

NIGHT = timedelta(days=1)


def hubspot_source(address: str, **more: Any) -> HubSpotSource:
    """The source as pipeline.yaml would give it."""
    values = {"name": "hq", "type": "hubspot", "token": TOKEN, "base_url": address, **more}
    return HubSpotSource.model_validate(values)


@dataclass
class HubSpotBench:
    """One portal, one server and one landing. The clock of all says 04:00 on the night after DAY."""

    root: Path
    clock: StillClock = field(default_factory=StillClock)

    def __post_init__(self) -> None:
        self.portal = Portal(lambda: self.clock.now())
        self.server = HubSpotServer(self.portal)
        stages = [
            ("new", "false", "0.2"),
            ("quote", "false", "0.5"),
            ("won", "true", "1.0"),
            ("lost", "true", "0.0"),
        ]
        self.portal.pipelines = [pipeline("default", stages)]

    def run(self, day: datetime = DAY, **options: Any) -> dict[str, EntityReport]:
        """Extract the day; the reports by entity."""
        own = ("entities", "reread", "emails")
        source = hubspot_source(self.server.address, **{n: v for n, v in options.items() if n not in own})
        connector = HubSpotConnector(source, self.clock)
        span = Span(day, day + NIGHT)
        told = {name: options[name] for name in own if name in options}
        reports = extract_api(self.root, source, span, connector=connector, **told)
        return {report.entity: report for report in reports}

    def next_night(self, nights: int = 1) -> datetime:
        """Let nights pass; the day that is due then."""
        self.clock.start += nights * NIGHT
        self.clock.passed = 0.0
        return self.clock.start - timedelta(hours=28)

    def rows(self, entity: str) -> list[dict[str, Any]]:
        """All landed rows of an entity, batch by batch."""
        found = []
        for batch in Landing(self.root).batches("hq", entity):
            for row in pq.read_table(batch.folder / PART).to_pylist():
                found.append({**row, "payload": json.loads(row["payload"])})
        return found

    def ids(self, entity: str) -> list[str]:
        return [row["record_id"] for row in self.rows(entity)]

    def deal(self, number: int, at: datetime, stage: str = "new", **values: str | None) -> str:
        """Create or change a deal; its id."""
        self.portal.change("deals", str(number), at, {"dealstage": stage, "pipeline": "default", **values})
        return str(number)

    def deals(self, count: int, at: datetime = DAY - timedelta(days=30)) -> None:
        """So many deals, a minute apart."""
        for number in range(1, count + 1):
            self.deal(number, at + timedelta(minutes=number), amount=str(number))


def pipeline(
    name: str, stages: list[tuple[str, str, str]], updated: str = "2025-01-01T00:00:00Z"
) -> dict[str, Any]:
    """A pipeline with its stages (id, isClosed, probability) as HubSpot tells it."""
    told = {"archived": False, "createdAt": "1970-01-01T00:00:00Z", "updatedAt": updated}
    return {
        "id": name,
        "label": name.title(),
        "displayOrder": 0,
        **told,
        "stages": [
            {
                "id": stage,
                "label": stage.title(),
                "displayOrder": number,
                "metadata": {"isClosed": closed, "probability": probability},
                "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
                **told,
            }
            for number, (stage, closed, probability) in enumerate(stages)
        ],
    }


def main(address: str, landing: str, end: str) -> int:
    source = hubspot_source(address)
    until = datetime.fromisoformat(end)
    # Unpaced: a test of kills is no test of the pace.
    connector = HubSpotConnector(source, StillClock(datetime.now(UTC)))
    reports = extract_api(Path(landing), source, Span(until - NIGHT, until), connector=connector)
    return 0 if all(report.status.name != "FAILED" for report in reports) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
