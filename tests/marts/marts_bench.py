"""Marts on a bench: dbt builds them once, from books written by hand and a simulated CRM in one landing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd

from dagster_project.extract.landing import Landing
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.landing_batches import write_landing
from dagster_project.simulate.world import simulate
from tests.ledger.book import Book, Settings
from tests.ledger.deliveries import land
from tests.ledger.ledger_bench import DBT_PROJECT, LedgerTables, create_run_context

SIMULATED = "crm_export"
SIMULATED_DEALS = 2_500


@dataclass(frozen=True)
class MartSettings(Settings):
    """The settings of the business, with sample floors low enough for books of a few deals."""

    min_sample: int = 1
    min_sample_median: int = 1
    qualified_stage: str | None = None


class Marts(LedgerTables):
    """Marts and ledger as dbt built them."""

    def frame(self, sql: str) -> pd.DataFrame:
        """The result of a query as a frame."""
        return self._connection.execute(sql).df()


def build_marts(book: Book, folder: Path, as_of: date, marts: Sequence[str]) -> Marts:
    """Land the book beside a simulated CRM and let dbt build the marts up to `as_of`."""
    landing, database, target = folder / "landing", folder / "warehouse.duckdb", folder / "target"
    land(book, landing)
    world = simulate(SimulationConfig(n_deals=SIMULATED_DEALS, time_zone=book.settings.time_zone))
    write_landing(world, Landing(landing), as_of)
    with duckdb.connect(str(database)) as connection:
        create_run_context(connection, book)
    environment = os.environ | {
        "STAGELEDGER_WAREHOUSE": str(database),
        "STAGELEDGER_LANDING": str(landing),
    }
    options = {"--project-dir": DBT_PROJECT, "--profiles-dir": DBT_PROJECT, "--target-path": target}
    call = [sys.executable, "-m", "dbt.cli.main", "run", "--select", *(f"+{mart}" for mart in marts)]
    call += [str(part) for option in options.items() for part in option]
    call += ["--log-path", str(target / "logs"), "--quiet", "--no-use-colors", "--no-version-check"]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"dbt run failed:\n{done.stdout}\n{done.stderr}"
    return Marts(duckdb.connect(str(database), read_only=True))
