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

from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.api_report import Status
from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.files.connector import extract_files
from dagster_project.extract.landing import Landing
from dagster_project.settings import Settings, load_settings
from dagster_project.simulate import SimulationConfig, simulate, write_crm_export
from dagster_project.simulate.crm_export import EXPORTS
from dagster_project.simulate.world import World
from dagster_project.transform.dbt_runner import dbt_environment
from tests.extract.salesforce_bench import SOURCE
from tests.ledger.book import Book, Run
from tests.ledger.book import Settings as BookSettings
from tests.ledger.ledger_bench import LedgerBench, LedgerTables, compiled_models, create_run_context, run_dbt
from tests.simulators.salesforce_crm import SalesforceCrm
from tests.simulators.salesforce_server import CLIENT_ID, CLIENT_SECRET, SalesforceServer

ZONE = "Europe/Amsterdam"
FILES = "exported"
EXPORTED = ("deals", "stage_history", "stages", "pipelines", "accounts", "products", "owners", "line_items")


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


def configured(folder: Path, address: str, as_of: date) -> Settings:
    """Both doors in one pipeline.yaml."""
    exported: dict[str, Any] = {"name": FILES, "type": "files", "time_zone": "UTC", "data_as_of": str(as_of)}
    for entity in EXPORTED:
        exported[entity] = {"path": f"export/{entity}.csv", "columns": EXPORTS[entity]}
    secrets = {"client_id": "${SF_CLIENT_ID}", "client_secret": "${SF_CLIENT_SECRET}"}
    salesforce = {"name": SOURCE, "type": "salesforce", "base_url": address, **secrets}
    business = {"name": "B", "time_zone": ZONE, "currency": "EUR"}
    config = folder / "pipeline.yaml"
    config.write_text(json.dumps({"business": business, "sources": [salesforce, exported]}), encoding="utf-8")
    return load_settings(
        config, folder / "data", {"SF_CLIENT_ID": CLIENT_ID, "SF_CLIENT_SECRET": CLIENT_SECRET}
    )


def two_doors(folder: Path, world: World, as_of: date) -> TwoDoors:
    """Extract over both doors on the night after `as_of`, and let dbt build staging and ledger."""
    night = datetime(as_of.year, as_of.month, as_of.day, 4, tzinfo=UTC) + timedelta(days=1)
    server = SalesforceServer(clock=lambda: night)
    crm = SalesforceCrm(world, server.org)
    crm.load(as_of)
    settings = configured(folder, server.address, as_of)
    (source,) = settings.api_sources()
    reports = extract_api(settings.paths.landing, source, Span.of_days(as_of, as_of, settings.business.zone))
    server.close()
    assert not [report.reason for report in reports if report.status is Status.FAILED]
    write_crm_export(world, folder / "export", as_of)
    extract_files(settings, settings.file_sources()[0], night, pause=lambda _: None)
    runs = (Run(as_of, night.replace(tzinfo=None) + timedelta(hours=1)),)
    book = Book(stages=(), runs=runs, settings=BookSettings(time_zone=ZONE))
    tables, ledger = build(folder, settings, book)
    return TwoDoors(tables, ledger, crm)


def build(folder: Path, settings: Settings, book: Book) -> tuple[LedgerTables, LedgerBench]:
    """Staging and ledger by dbt; its compiled SQL goes on a bench."""
    landing, empty = settings.paths.landing, folder / "empty"
    for root in (landing, empty):
        Landing(root).ensure_empty_batches(api_entities())
    database = settings.paths.warehouse
    with duckdb.connect(str(database)) as connection:
        create_run_context(connection, book)
    types = {"STAGELEDGER_SOURCE_TYPES": dbt_environment(settings)["STAGELEDGER_SOURCE_TYPES"]}
    with mock.patch.dict(os.environ, types):
        run_dbt("run", database, landing, folder / "target")
    tables = LedgerTables(duckdb.connect(str(database), read_only=True))
    return tables, LedgerBench(compiled_models(folder / "target"), landing, empty)
