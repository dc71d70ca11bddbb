"""A simulated business behind two doors, Salesforce and exported files, in one landing and one build."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb

from dagster_project.extract.crm.connectors import api_entities
from dagster_project.extract.crm.files import extract_files
from dagster_project.extract.landing import Landing
from dagster_project.settings import load_settings
from dagster_project.simulate import SimulationConfig, simulate, write_crm_export
from dagster_project.simulate.crm_export import EXPORTS
from dagster_project.simulate.world import World
from tests.extract.api_bench import StillClock
from tests.extract.salesforce_bench import SOURCE, SalesforceBench
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerBench, LedgerTables, _compiled_models, create_run_context, run_dbt
from tests.simulators.salesforce_crm import SalesforceCrm

ZONE = "Europe/Amsterdam"
FILES = "exported"
TYPES = {"STAGELEDGER_SOURCE_TYPES": "files,salesforce"}


def small_world(deals: int, start: date, end: date, seed: int = 11) -> World:
    """Deals as Salesforce can hold them: it stamps history itself, and wants a close date."""
    return simulate(
        SimulationConfig(
            seed=seed,
            n_deals=deals,
            start_on=start,
            end_on=end,
            time_zone=ZONE,
            reorganised_on=date(2020, 1, 1),
            late_share=0.0,
            no_close_date_share=0.0,
        )
    )


@dataclass(frozen=True)
class TwoDoors:
    """What dbt built, and what is needed to translate Salesforce's ids."""

    tables: LedgerTables
    bench: LedgerBench
    crm: SalesforceCrm

    def rows(
        self, table: str, columns: Sequence[str], source: str, where: str = "true"
    ) -> set[tuple[Any, ...]]:
        """Rows of one door, with the world's ids, each of them once."""
        found = self.tables.rows(table, *columns, where=f"source_relation = '{source}' and {where}")
        if source == SOURCE:
            kinds = ("deal", "owner", "pipeline", "account", "product")
            ids = {there: str(of) for kind in kinds for there, of in self.crm.world_ids(kind).items()}
            found = [tuple(ids.get(value, value) for value in row) for row in found]
        assert len(found) == len(set(found))
        return set(found)


def export_files(world: World, folder: Path, landing: Path, as_of: date, landed_at: datetime) -> None:
    """The same business as files, landed beside."""
    write_crm_export(world, folder, as_of)
    entities = (
        "deals",
        "stage_history",
        "stages",
        "pipelines",
        "accounts",
        "products",
        "owners",
        "line_items",
    )
    source = {"name": FILES, "type": "files", "time_zone": "UTC", "data_as_of": as_of.isoformat()}
    for entity in entities:
        source[entity] = {"path": f"{entity}.csv", "columns": EXPORTS[entity]}
    business = {"name": "B", "time_zone": ZONE, "currency": "EUR"}
    config = folder / "pipeline.yaml"
    config.write_text(json.dumps({"business": business, "sources": [source]}), encoding="utf-8")
    settings = load_settings(config, landing.parent, {})
    extract_files(settings, settings.sources[0], landed_at, pause=lambda _: None)


def two_doors(folder: Path, world: World, as_of: date) -> TwoDoors:
    """Extract over both doors on the night after `as_of`, and let dbt build staging and ledger."""
    landing = folder / "landing"
    night = datetime(as_of.year, as_of.month, as_of.day, 4, tzinfo=UTC) + timedelta(days=1)
    bench = SalesforceBench(landing, clock=StillClock(night))
    crm = SalesforceCrm(world, bench.org)
    crm.load(as_of)
    midnight = night.replace(hour=0)
    reports = bench.run(midnight - timedelta(days=1))
    bench.server.close()
    assert not [report.reason for report in reports.values() if report.status.name == "FAILED"]
    export_files(world, folder, landing, as_of, night)
    book = Book(stages=(), runs=(Run(as_of, night.replace(tzinfo=None) + timedelta(hours=1)),),
                settings=Settings(time_zone=ZONE))  # fmt: skip
    tables, ledger = build(folder, landing, book)
    return TwoDoors(tables, ledger, crm)


def build(folder: Path, landing: Path, book: Book) -> tuple[LedgerTables, LedgerBench]:
    """Staging and ledger by dbt; its compiled SQL goes on a bench."""
    empty = folder / "empty"
    for root in (landing, empty):
        Landing(root).ensure_empty_batches(api_entities())
    database = folder / "warehouse.duckdb"
    with duckdb.connect(str(database)) as connection:
        create_run_context(connection, book)
    with mock.patch.dict(os.environ, TYPES):
        run_dbt("run", database, landing, folder / "target")
    tables = LedgerTables(duckdb.connect(str(database), read_only=True))
    return tables, LedgerBench(_compiled_models(folder / "target"), landing, empty)
