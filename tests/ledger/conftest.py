"""The ledger on a bench: dbt builds the contract's cases once, and its compiled SQL serves all tests here."""

from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.landing import Landing
from tests.ledger.book import Book
from tests.ledger.contract_cases import case_book
from tests.ledger.ledger_bench import (
    LedgerBench,
    LedgerTables,
    build_with_dbt,
    compiled_models,
    create_run_context,
    run_dbt,
)


@pytest.fixture(scope="session")
def built_by_dbt(tmp_path_factory: pytest.TempPathFactory) -> tuple[LedgerTables, LedgerBench]:
    return build_with_dbt(case_book(), tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="session")
def cases_by_dbt(built_by_dbt: tuple[LedgerTables, LedgerBench]) -> LedgerTables:
    return built_by_dbt[0]


@pytest.fixture(scope="session")
def bench(built_by_dbt: tuple[LedgerTables, LedgerBench]) -> LedgerBench:
    return built_by_dbt[1]


@pytest.fixture
def build_landed(bench: LedgerBench, tmp_path: Path) -> Callable[[Book], LedgerTables]:
    """Builds a book the whole way, through the landing and all models."""
    return lambda book: bench.build_landed(book, tmp_path / f"landing-{len(list(tmp_path.iterdir()))}")


@pytest.fixture(scope="session")
def vendor_ledger(tmp_path_factory: pytest.TempPathFactory) -> LedgerBench:
    """Staging and ledger where HubSpot, Pipedrive and Salesforce are among the sources."""
    folder = tmp_path_factory.mktemp("vendor-ledger")
    for landing in ("landing", "empty"):
        Landing(folder / landing).ensure_empty_batches(api_entities())
    database = folder / "warehouse.duckdb"
    with duckdb.connect(str(database)) as connection:
        create_run_context(connection, Book(stages=()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAGELEDGER_SOURCE_TYPES", "files,hubspot,pipedrive,salesforce")
        run_dbt("run", database, folder / "landing", folder / "target")
    return LedgerBench(compiled_models(folder / "target"), folder / "landing", folder / "empty")
