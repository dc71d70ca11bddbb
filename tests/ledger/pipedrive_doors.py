"""One simulated business, read through Pipedrive's interface and from exported files, in one ledger.

What Pipedrive cannot tell is taken out of the business beforehand, or left out of comparisons:
- the close date of a closed deal is the day of its closing (`closing_on_the_day`);
- won and lost are no stages but a status: `(won)` and `(lost)` in the ledger;
- a merged deal is a deleted one, and a deal deleted more than 30 days before the first load is unknown;
- the log has no row for a creation, so none can be missing (`missing_first_row_share` is 0);
- a value of 0 is no value; team, manager, last activity and the deal's address are unknown.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd

from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.api_report import EntityReport
from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.crm.pipedrive import PipedriveConnector
from dagster_project.extract.files.connector import extract_files
from dagster_project.extract.landing import Landing
from dagster_project.settings import load_settings
from dagster_project.simulate import SimulationConfig, simulate, write_crm_export
from dagster_project.simulate.crm_export import ACCOUNTS, DEALS, LINE_ITEMS, OWNERS, PRODUCTS, STAGES
from dagster_project.simulate.world import World
from tests.extract.api_bench import StillClock
from tests.ledger.book import Book
from tests.ledger.ledger_bench import (
    DBT_PROJECT,
    LedgerTables,
    Model,
    _new_warehouse,
    compiled_models,
    create_run_context,
    fill_run_context,
)
from tests.simulators.pipedrive_bench import pipedrive_source
from tests.simulators.pipedrive_company import v2_time
from tests.simulators.pipedrive_server import PipedriveServer
from tests.simulators.pipedrive_world import SimulatedCompany

ZONE = "Europe/Amsterdam"
HISTORY = {
    "deal_id": "Deal ID", "changed_at": "Changed At", "from_stage": "From Stage", "stage": "To Stage",
    "from_pipeline": "From Pipeline", "pipeline": "Pipeline", "amount": "Amount", "currency": "Currency",
    "close_date": "Close Date", "owner": "Owner ID", "changed_by": "Changed By", "sequence": "Sequence",
}  # fmt: skip
ENTITIES = {
    "deals": DEALS, "stage_history": HISTORY, "stages": STAGES, "accounts": ACCOUNTS, "products": PRODUCTS,
    "owners": OWNERS, "line_items": LINE_ITEMS,
}  # fmt: skip


class VendorLedger:
    """Staging and ledger with Pipedrive among the sources: built by dbt, or by the SQL that it compiled."""

    def __init__(self, folder: Path) -> None:
        self._database = folder / "warehouse.duckdb"
        self._target = folder / "target"
        self._landing = ""
        self._models: list[Model] = []

    def build_with_dbt(self, landing: Path, book: Book) -> LedgerTables:
        """Run dbt on a landing, and the data tests and unit tests of Pipedrive's models."""
        self._landing = str(landing)
        with duckdb.connect(str(self._database)) as connection:
            create_run_context(connection, book)
        self._dbt("run", "staging", "ledger")
        self._models = compiled_models(self._target)
        self._dbt("test", "staging.pipedrive")
        return LedgerTables(duckdb.connect(str(self._database), read_only=True))

    def compile(self) -> None:
        """Let dbt compile the SQL for `build`, without running it."""
        self._landing = str(self._target.parent / "landing")
        self._dbt("compile", "staging", "ledger")
        self._models = compiled_models(self._target)

    def build(self, landing: Path, book: Book) -> LedgerTables:
        """Run the compiled SQL on another landing, in memory."""
        models = {model.name: model for model in self._models}
        Landing(landing).ensure_empty_batches(api_entities())
        connection = _new_warehouse()
        fill_run_context(connection, book)
        for name in TopologicalSorter({m.name: set(m.parents) for m in models.values()}).static_order():
            model = models[name]
            kind = "view" if model.is_view else "table"
            sql = model.sql.replace(self._landing, str(landing))
            connection.execute(f"create {kind} {model.relation} as {sql}")
        return LedgerTables(connection)

    def _dbt(self, command: str, *selected: str) -> None:
        environment = os.environ | {
            "STAGELEDGER_WAREHOUSE": str(self._database),
            "STAGELEDGER_LANDING": self._landing,
            "STAGELEDGER_SOURCE_TYPES": "files,pipedrive",
            "STAGELEDGER_THREADS": "1",
        }
        call = [sys.executable, "-m", "dbt.cli.main", command, "--select", *selected]
        options = {"--project-dir": DBT_PROJECT, "--profiles-dir": DBT_PROJECT, "--target-path": self._target}
        call += [str(part) for option in options.items() for part in option]
        call += ["--log-path", str(self._target / "logs"), "--quiet", "--no-use-colors", "--no-version-check"]
        if command == "test":
            call += ["--indirect-selection", "cautious"]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"dbt {command} failed:\n{done.stdout}\n{done.stderr}"


def business(deals: int, days: int, **options: Any) -> World:
    """A business whose log is whole, and whose closed deals have the day of their closing as close date."""
    start = date(2025, 6, 1)
    config = SimulationConfig(
        n_deals=deals,
        start_on=start,
        end_on=start + timedelta(days=days),
        reorganised_on=start - timedelta(days=1),
        time_zone=ZONE,
        missing_first_row_share=0.0,
        **options,
    )
    return closing_on_the_day(simulate(config))


def closing_on_the_day(world: World) -> World:
    """The same business, but a closed deal's close date is the day of the change that closed it."""
    outcomes = dict(zip(world.stages["stage_id"], world.stages["outcome"], strict=True))
    dates, expected, deal, closed_as, closed_on = [], pd.NaT, None, "open", pd.NaT
    for row in world.events.itertuples():
        if row.deal_id != deal:
            deal, closed_as = row.deal_id, "open"
        outcome = outcomes[row.stage]
        if outcome == "open":
            expected = row.close_date
        elif outcome != closed_as:
            local = row.changed_at.tz_localize("UTC").tz_convert(ZONE)
            closed_on = local.tz_localize(None).normalize()
        closed_as = outcome
        dates.append(expected if outcome == "open" else closed_on)
    column = pd.Series(dates, index=world.events.index).astype(world.events["close_date"].dtype)
    return replace(world, events=world.events.assign(close_date=column))


class Doors:
    """Both doors to one business: an export's files, and Pipedrive's interface."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.landing = folder / "data" / "landing"
        self.company = SimulatedCompany(world)
        self.server = PipedriveServer(self.company)
        self.clock = StillClock()
        self._before: dict[int, dict[str, Any]] = {}
        self.server.clock = self.clock.now
        Landing(self.landing).ensure_empty_batches(api_entities())

    def close(self) -> None:
        self.server.close()

    def night_of(self, day: date) -> datetime:
        """03:00 after a business day."""
        return datetime.combine(day, datetime.min.time(), ZoneInfo(ZONE)).astimezone(UTC) + timedelta(
            hours=27
        )

    def load(self, day: date) -> None:
        """Let the company come to the end of a day, and the clock to the night after it."""
        self._before = dict(self.company.deals)
        self.company.load(day)
        self.clock.start, self.clock.passed = self.night_of(day), 0.0

    def hold_back_some_changes(self, day: date, chance: random.Random) -> int:
        """Some of a day's changes are committed only after the night's extraction, with a time before it."""
        midnight = self.night_of(day) - timedelta(hours=3)
        end, begin = v2_time(midnight), v2_time(midnight - timedelta(days=1))
        today = [n for n, deal in self.company.deals.items() if begin <= deal["update_time"] < end]
        held = [number for number in today if chance.random() < 0.4]
        for number in held:
            self.company.late[number] = v2_time(midnight - timedelta(minutes=2))
            self.server.held_back[number] = (
                self.night_of(day) + timedelta(hours=3),
                self._before.get(number),
            )
        return len(held)

    def extract(self, day: date, **settings: Any) -> dict[str, EntityReport]:
        """Read Pipedrive's interface into the landing, as source `pd`."""
        source = pipedrive_source(self.server.address, name="pd", **settings)
        connector = PipedriveConnector(source, self.clock)
        span = Span.of_days(day, day, ZoneInfo(ZONE))
        reports = extract_api(self.landing, source, span, connector=connector)
        return {report.entity: report for report in reports}

    def export(self, day: date) -> None:
        """The same day as files, as source `crm`."""
        folder = self.folder / "export"
        write_crm_export(self.world, folder, day)
        entities = {name: {"path": f"{name}.csv", "columns": columns} for name, columns in ENTITIES.items()}
        source = {
            "name": "crm",
            "type": "files",
            "time_zone": "UTC",
            "data_as_of": day.isoformat(),
            **entities,
        }
        business = {"name": "B", "time_zone": ZONE, "currency": "EUR"}
        config = folder / "pipeline.yaml"
        config.write_text(json.dumps({"business": business, "sources": [source]}), encoding="utf-8")
        settings = load_settings(config, self.folder / "data", {})
        result = extract_files(settings, settings.sources[0], self.night_of(day), pause=lambda _: None)
        assert {(report.status, report.rows_rejected) for report in result.files} == {("read", 0)}
