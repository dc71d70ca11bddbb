"""One landing and one simulated Salesforce org, and runs of the connector between them.

Run as a program it extracts: `python -m tests.extract.salesforce_bench <address> <landing> <end> <entities>`.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq

from dagster_project.api_settings import SalesforceSource
from dagster_project.extract.api.api_extract import Extraction, extract_api
from dagster_project.extract.api.api_report import EntityReport
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.api.pacing import Clock
from dagster_project.extract.crm.salesforce import SalesforceConnector
from dagster_project.extract.landing import PART, Landing
from tests.extract.api_bench import DAY, StillClock
from tests.simulators.salesforce_org import Org, Row, make_id, stamp
from tests.simulators.salesforce_server import CLIENT_ID, CLIENT_SECRET, SalesforceServer

SOURCE = "org"
EARLIER = DAY - timedelta(days=30)


class FastConnector(SalesforceConnector):
    """Without pacing, so that hundreds of requests fit into a test."""

    PER_SECOND: ClassVar[float] = 100_000.0


class BulkConnector(FastConnector):
    """Bulk from a few rows on, in small pieces."""

    BULK_ABOVE: ClassVar[int] = 20
    ROWS_PER_PIECE: ClassVar[int] = 10


def salesforce_source(address: str, **more: Any) -> SalesforceSource:
    """The source as pipeline.yaml would give it."""
    values: dict[str, Any] = {
        "name": SOURCE,
        "type": "salesforce",
        "base_url": address,
        "client_id": CLIENT_ID,
    }
    if "private_key" not in more:
        values["client_secret"] = CLIENT_SECRET
    return SalesforceSource.model_validate(values | more)


@dataclass
class SalesforceBench:
    """The org's clock says 04:00 on the night after DAY, and moves with the bench's."""

    root: Path
    server: SalesforceServer = field(default_factory=SalesforceServer)
    clock: StillClock = field(default_factory=StillClock)
    kind: type[SalesforceConnector] = FastConnector

    def __post_init__(self) -> None:
        self.server.clock = self.clock.now

    @property
    def org(self) -> Org:
        return self.server.org

    def connector(self, clock: Clock | None = None, **settings: Any) -> SalesforceConnector:
        return self.kind(salesforce_source(self.server.address, **settings), clock or self.clock)

    def run(self, day: datetime = DAY, *entities: str, **settings: Any) -> dict[str, EntityReport]:
        """Extract a day; the reports by entity."""
        connector = self.connector(**settings)
        span = Span(day, day + timedelta(days=1))
        source = salesforce_source(self.server.address, **settings)
        reports = extract_api(self.root, source, span, entities or None, connector=connector)
        return {report.entity: report for report in reports}

    def night(self, nights: int = 1, *entities: str, **settings: Any) -> dict[str, EntityReport]:
        """Move the clock by so many days, and extract up to yesterday."""
        self.clock.passed += nights * 24 * 3600
        today = self.clock.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return self.run(today - timedelta(days=1), *entities, **settings)

    def extraction(self, **settings: Any) -> Extraction:
        """A run from which single records can be read again."""
        source = salesforce_source(self.server.address, **settings)
        return Extraction(Landing(self.root), source, self.connector(**settings), Span(DAY, DAY))

    def deal_queries(self) -> list[str]:
        """All queries for deals, in their order."""
        return [query for query in self.server.queries if "FROM Opportunity " in query]

    def rows(self, entity: str) -> list[dict[str, Any]]:
        """All landed rows of an entity, batch by batch."""
        found = []
        for batch in Landing(self.root).batches(SOURCE, entity):
            for row in pq.read_table(batch.folder / PART).to_pylist():
                found.append({**row, "payload": json.loads(row["payload"])})
        return found

    def ids(self, entity: str) -> list[str]:
        return [row["record_id"] for row in self.rows(entity)]

    def put_deal(self, number: int, at: datetime, **values: Any) -> Row:
        """Create or change a deal."""
        deal = {"Id": deal_id(number), "Name": f"Deal {number}", "StageName": "Prospecting", "Amount": 1000.0,
                "CloseDate": "2026-06-30", "IsClosed": False, "IsWon": False, "OwnerId": make_id("005", 1),
                "CreatedDate": stamp(EARLIER), "SystemModstamp": stamp(at)}  # fmt: skip
        return self.org.put("Opportunity", deal | values)

    def put_history(self, number: int, deal: int, at: datetime, **values: Any) -> Row:
        """Add a history row of a deal."""
        row = {"Id": make_id("008", number), "OpportunityId": deal_id(deal), "StageName": "Prospecting",
               "Amount": 1000.0, "CloseDate": "2026-06-30", "CreatedDate": stamp(at),
               "CreatedById": make_id("005", 1), "SystemModstamp": stamp(at)}  # fmt: skip
        return self.org.put("OpportunityHistory", row | values)

    def fill(self, deals: int) -> None:
        """So many deals, one a minute, a month ago."""
        for number in range(1, deals + 1):
            self.put_deal(number, EARLIER + timedelta(minutes=number))

    def newest(self, entity: str = "deals") -> Mapping[str, dict[str, Any]]:
        """Record id → its newest landed row."""
        rows = sorted(self.rows(entity), key=lambda row: (row["modified_at"], row["extracted_at"]))
        return {row["record_id"]: row for row in rows}


def deal_id(number: int) -> str:
    return make_id("006", number)


def main(address: str, landing: str, end: str, *entities: str) -> int:
    source = salesforce_source(address)
    until = datetime.fromisoformat(end)
    span = Span(until - timedelta(days=1), until)
    reports = extract_api(Path(landing), source, span, entities, connector=BulkConnector(source))
    return 0 if all(report.status.name != "FAILED" for report in reports) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
