"""The job `reextract` against a simulated Pipedrive: past days add what was missed, and nothing else."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pandas as pd
import pyarrow.parquet as pq
import pytest

from dagster_project import automation
from dagster_project.alerts.standing_alerts import failure_reason
from dagster_project.backfills.reextract_job import build_reextract_job
from dagster_project.definitions import landing_definitions
from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.api_report import Status
from dagster_project.extract.api.coverage import Coverage, Span, coverage
from dagster_project.extract.crm.pipedrive import PipedriveConnector
from dagster_project.extract.landing import PART, Landing
from dagster_project.settings import Settings, load_settings
from dagster_project.warehouse import Warehouse
from tests.extract.api_bench import StillClock
from tests.simulators.pipedrive_bench import PipedriveBench
from tests.simulators.pipedrive_server import TOKEN

CONFIG = """
business: {{name: Example, time_zone: Europe/Amsterdam, currency: EUR, history_start: {begin}}}
sources:
  - {{name: hq, type: pipedrive, token: "${{HQ_TOKEN}}", base_url: "{address}"}}
"""
DEALS = 3
LATE = 2
"""The deal that changed five days ago, which the CRM shows only after it was read."""


@dataclass
class Office:
    """A CRM on the machine's clock, a configuration that reads it, and a Dagster instance."""

    folder: Path
    instance: dg.DagsterInstance
    today: date = field(default_factory=lambda: datetime.now(ZoneInfo("Europe/Amsterdam")).date())

    def __post_init__(self) -> None:
        self.bench = PipedriveBench(self.folder / "data" / "landing")
        self.bench.server.clock = lambda: datetime.now(UTC)
        path = self.folder / "pipeline.yaml"
        text = CONFIG.format(begin=self.day(60), address=self.bench.server.address)
        path.write_text(text, encoding="utf-8")
        self.settings: Settings = load_settings(path, self.folder / "data", {"HQ_TOKEN": TOKEN})
        for number in range(1, DEALS + 1):
            self.bench.company.add_deal(number, self.noon(30), value=Decimal(100 * number))

    def day(self, ago: int) -> date:
        return self.today - timedelta(days=ago)

    def noon(self, ago: int) -> datetime:
        return datetime.combine(self.day(ago), datetime.min.time(), UTC) + timedelta(hours=12)

    def land(self) -> None:
        """A night as the schedule has it, and a ledger that was built from it."""
        yesterday = automation.yesterday(self.settings, datetime.now(UTC))
        job = landing_definitions(self.settings).resolve_job_def("land_crm")
        tags = automation.range_tags(yesterday, yesterday)
        assert job.execute_in_process(instance=self.instance, tags=tags).success
        batches = Landing(self.settings.paths.landing).batches()
        instants = sorted({batch.manifest.stamp.extracted_at.replace(tzinfo=None) for batch in batches})
        known = pd.DataFrame({"first_extracted_at": instants})
        columns = {"first_extracted_at": "timestamp"}
        Warehouse(self.settings.paths.warehouse).append("ledger.int_known_on", known, columns)

    def change_late(self) -> None:
        """The change bears an instant that the night's reading had behind it."""
        self.bench.company.change(LATE, self.noon(5), stage_id=3, value=Decimal(950))

    def reextract(self, **config: Any) -> dg.ExecuteInProcessResult:
        job = build_reextract_job(self.settings, self.day(60))
        return job.execute_in_process(
            instance=self.instance,
            run_config={"ops": {"ask_again": {"config": config}}},
            raise_on_error=False,
        )

    def told(self, result: dg.ExecuteInProcessResult) -> Mapping[str, Any]:
        (event,) = [one for one in result.all_events if one.event_type_value == "STEP_OUTPUT"]
        return {name: entry.value for name, entry in event.step_output_data.metadata.items()}

    def next_night(self, landing: Path) -> list[str]:
        """What the reading of a day later asks for, where this is what has been landed."""
        clock = StillClock(self.noon(-1))
        self.bench.server.clock = clock.now
        asked = len(self.bench.server.asked)
        (source,) = self.settings.api_sources()
        span = Span.of_days(self.today, self.today, self.settings.business.zone)
        reports = extract_api(landing, source, span, connector=PipedriveConnector(source, clock))
        assert {report.status for report in reports} == {Status.LANDED}
        return sorted(one.path for one in self.bench.server.asked[asked:])

    def facts(self) -> set[tuple[str, str, str]]:
        """Entity, record and content of all that has been landed."""
        return {(entity, row["record_id"], row["payload"]) for entity, row in self.rows()}

    def newest(self) -> dict[tuple[str, str], str]:
        """The content of each record that was landed last."""
        return {(entity, row["record_id"]): row["payload"] for entity, row in self.rows()}

    def rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for batch in Landing(self.settings.paths.landing).batches("hq"):
            for row in pq.read_table(batch.folder / PART).to_pylist():
                yield batch.manifest.stamp.entity, row

    def files(self) -> dict[str, bytes]:
        """Every file of every batch that holds a row."""
        batches = [one for one in Landing(self.settings.paths.landing).batches("hq") if one.manifest.rows]
        return {str(path): path.read_bytes() for one in batches for path in one.folder.iterdir()}

    def progress(self) -> dict[str, tuple[datetime | None, ...]]:
        """How far each entity is covered, listed and read whole."""
        found = {spec.name: self.covered(spec.name) for spec in PipedriveConnector.ENTITIES}
        return {name: (one.until, one.swept_at, one.read_whole_until) for name, one in found.items()}

    def covered(self, entity: str) -> Coverage:
        return coverage(Landing(self.settings.paths.landing), "hq", entity)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with dg.instance_for_test() as instance:
        made = Office(tmp_path, instance)
        yield made
        made.bench.server.close()
        assert not made.bench.server.violations


def test_past_days_once_more_add_what_was_missed_and_repeat_or_lose_nothing(office: Office) -> None:
    office.land()
    office.change_late()
    files, facts, progress = office.files(), office.facts(), office.progress()
    untouched = office.folder / "untouched"
    shutil.copytree(office.settings.paths.landing, untouched)

    asked = len(office.bench.server.asked)
    days = {"first_day": str(office.day(6)), "last_day": str(office.day(4))}
    result = office.reextract(**days)
    assert result.success and len(office.bench.server.asked) == asked
    assert office.told(result)["outcome"] == "plan only: nothing was asked for"
    assert "| hq | deals | what was changed last on these days |" in office.told(result)["plan"]

    result = office.reextract(**days, plan_only=False)
    assert result.success, failure_reason(office.instance, result.run_id)
    assert office.files().items() >= files.items()
    # One deal is another one than before, and so is its log; all else that came again is what it was.
    added = office.facts() - facts
    assert {(entity, record) for entity, record, _ in added} == {("deals", "2"), ("changelog", "2")}
    deals = [row["record_id"] for entity, row in office.rows() if entity == "deals"]
    assert sorted(deals) == ["1", "2", "2", "3"]
    told = office.told(result)["difference"]
    assert "| hq | deals | 1 | 1 | landed |" in told and "| hq | changelog | 1 | 1 | landed |" in told
    for entity in ("deals", "stages", "changelog"):
        found = office.instance.get_materialized_partitions(dg.AssetKey(["landing", "hq", entity]))
        assert {str(office.day(ago)) for ago in (6, 5, 4)} <= found

    # Nothing is read anew that was covered, and nothing is left out: the next night asks for the same.
    assert office.progress() == progress
    ours = office.settings.paths.landing
    assert office.next_night(untouched) == office.next_night(ours) != []


def test_after_it_the_landing_tells_what_a_first_reading_would_tell(office: Office) -> None:
    office.land()
    office.change_late()
    # Up to yesterday, and twice: the second time there is nothing that is not known.
    for _ in range(2):
        before = office.progress()
        result = office.reextract(first_day=str(office.day(6)), plan_only=False)
        assert result.success, failure_reason(office.instance, result.run_id)
        after = office.progress()
        pairs = [pair for name in before for pair in zip(after[name], before[name], strict=True)]
        assert all(now == then or now > then for now, then in pairs)
    values = {record: json.loads(text)["value"] for (entity, record), text in office.newest().items()
              if entity == "deals"}  # fmt: skip
    assert values == {"1": 100, "2": 950, "3": 300}
    facts, newest = office.facts(), office.newest()
    shutil.rmtree(office.settings.paths.landing)
    office.land()
    assert office.newest() == newest
    # Beside those stand only the deal and its log as they were at first.
    assert len(facts) == len(office.facts()) + 2


def test_a_crm_that_fails_fails_the_run_and_what_was_landed_stays(office: Office) -> None:
    office.land()
    files = office.files()
    office.bench.server.always = lambda path: (400, {}, b"{}") if path.startswith("/api/v2/deals") else None
    result = office.reextract(plan_only=False)
    assert not result.success
    assert "hq, deals: " in failure_reason(office.instance, result.run_id)
    assert office.files().items() >= files.items()


def test_a_source_that_is_none_is_named_with_those_that_there_are(office: Office) -> None:
    office.land()
    result = office.reextract(sources=["hubspot"])
    assert not result.success
    assert "hubspot is no CRM source; there are hq" in failure_reason(office.instance, result.run_id)
