"""The ledger on a bench: dbt builds the contract's cases once, and its compiled SQL serves all tests here."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ledger.book import Book
from tests.ledger.contract_cases import case_book
from tests.ledger.ledger_bench import LedgerBench, LedgerTables, build_with_dbt


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
