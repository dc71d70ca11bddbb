"""A business per test, on a landing that has its empty batches already."""

import shutil
from pathlib import Path

import pytest
from small_business import Business

from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.landing import Landing
from tests.ledger.book import Book
from tests.ledger.ledger_bench import LedgerBench, build_with_dbt


@pytest.fixture(scope="session")
def empty_landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("empty") / "landing"
    Landing(root).ensure_empty_batches()
    return root


@pytest.fixture
def business(tmp_path: Path, empty_landing: Path) -> Business:
    shutil.copytree(empty_landing, tmp_path / "data" / "landing")
    return Business(tmp_path)


@pytest.fixture(scope="session")
def hubspot_build(tmp_path_factory: pytest.TempPathFactory) -> tuple[LedgerBench, Path]:
    """Staging and ledger as dbt builds them where HubSpot is among the sources, and their folder."""
    folder = tmp_path_factory.mktemp("hubspot-ledger")
    for landing in ("landing", "empty_landing"):
        Landing(folder / landing).ensure_empty_batches(api_entities())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAGELEDGER_SOURCE_TYPES", "files,hubspot")
        return build_with_dbt(Book(stages=()), folder)[1], folder


@pytest.fixture(scope="session")
def hubspot_ledger(hubspot_build: tuple[LedgerBench, Path]) -> LedgerBench:
    return hubspot_build[0]
