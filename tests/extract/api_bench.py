"""What tests of the engine share: an extraction of the fake CRM, and what has landed of it."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.api_report import EntityReport
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.api.pacing import Clock
from dagster_project.extract.landing import PART, Landing
from dagster_project.settings import REPOSITORY
from tests.extract.fake_crm import FakeConnector, FakeServer, fake_source

DAY = datetime(2026, 3, 31, tzinfo=UTC)
EARLIER = DAY - timedelta(days=30)


class StillClock(Clock):
    """A clock that only moves when someone sleeps."""

    def __init__(self, now: datetime = DAY + timedelta(hours=28)) -> None:
        self.start = now
        self.passed = 0.0
        self.naps: list[float] = []

    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.passed += seconds


@dataclass
class ApiBench:
    """One landing and one server. The CRM's clock says 04:00 on the night after DAY."""

    server: FakeServer
    root: Path
    clock: StillClock = field(default_factory=StillClock)

    def __post_init__(self) -> None:
        self.server.clock = self.clock.now

    def run(self, day: datetime = DAY, **options: Any) -> dict[str, EntityReport]:
        """Extract the day; the reports by entity."""
        settings = {name: options.pop(name) for name in list(options) if name not in ("entities", "reread")}
        source = fake_source(self.server.address, **settings)
        connector = FakeConnector(source, self.clock)
        span = Span(day, day + timedelta(days=1))
        reports = extract_api(self.root, source, span, connector=connector, **options)
        return {report.entity: report for report in reports}

    def run_program(self, landing: Path, end: str, kill_at: int | None = None) -> int:
        """Extract in a process of its own, killed at its request of that number; the exit code."""
        command = [sys.executable, "-m", "tests.extract.fake_crm", self.server.address, str(landing), end]
        process = subprocess.Popen(command, cwd=REPOSITORY)
        start = len(self.server.asked)

        def kill(number: int, path: str) -> None:
            if kill_at is not None and number == start + kill_at:
                os.kill(process.pid, signal.SIGKILL)

        self.server.before = kill
        code = process.wait(60)
        self.server.before = lambda number, path: None
        return code

    def rows(self, entity: str) -> list[dict[str, Any]]:
        """All landed rows of an entity, batch by batch."""
        found = []
        for batch in Landing(self.root).batches("hq", entity):
            for row in pq.read_table(batch.folder / PART).to_pylist():
                found.append({**row, "payload": json.loads(row["payload"])})
        return found

    def ids(self, entity: str) -> list[str]:
        return [row["record_id"] for row in self.rows(entity)]

    def fill(self, deals: int) -> None:
        """So many deals, one a minute, a month ago."""
        for number in range(1, deals + 1):
            self.server.put(str(number), EARLIER + timedelta(minutes=number), amount=number)
