"""One Tryton for all tests of this folder. Without `make test-tryton` they are skipped, and say why."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest

from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.landing import Landing
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerTables, create_run_context, run_dbt
from tests.tryton.independent import Truth
from tests.tryton.landed import extract
from tests.tryton.tryton_office import ENVIRONMENT, Office, tryton_environment

ZONE = "Europe/Amsterdam"
FIRST_DAY = date(2025, 1, 6)
AS_OF = date(2025, 5, 16)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if tryton_environment() is None:
        reason = f"needs a real Tryton: run `make test-tryton` (it sets {ENVIRONMENT})"
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=reason))


def end_of(day: date) -> datetime:
    """The end of a business day as an instant."""
    return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(ZONE)).astimezone(UTC)


@dataclass(frozen=True)
class Months:
    """Months of work, extracted in one go at the end of AS_OF, and built by dbt."""

    office: Office
    landing: Path
    truth: Truth
    tables: LedgerTables


def build(landing: Path, folder: Path, as_of: date) -> LedgerTables:
    """All models and their data tests, by dbt, over a landing with Tryton's batches."""
    folder.mkdir(parents=True, exist_ok=True)
    Landing(landing).ensure_empty_batches(api_entities())
    database = folder / "warehouse.duckdb"
    runs = (Run(as_of, datetime(2999, 1, 1)),)
    with duckdb.connect(str(database)) as connection:
        create_run_context(connection, Book(stages=(), runs=runs, settings=Settings(time_zone=ZONE)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAGELEDGER_SOURCE_TYPES", "files,tryton")
        # Unit tests of models bring rows of their own.
        patch.setenv("DBT_EXCLUDE_RESOURCE_TYPES", "unit_test")
        run_dbt("build", database, landing, folder / "target", ("staging", "ledger", "marts"))
    return LedgerTables(duckdb.connect(str(database), read_only=True))


def truth_of(office: Office) -> Truth:
    """The history table as it is now."""
    return Truth(
        office.rows("select * from sale_opportunity__history"), office.rows("select id, name from res_user")
    )


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    environment = tryton_environment()
    assert environment is not None
    office = Office(tmp_path_factory.mktemp("tryton"), environment)
    office.found()
    office.work(FIRST_DAY, AS_OF, new_deals=0.45, seed=7)
    return office


@pytest.fixture(scope="session")
def address(office: Office) -> Iterator[str]:
    """The server. `office` is only read; `busy` is a copy whose deals tests may change."""
    office.path("busy").write_bytes(office.path().read_bytes())
    with office.server(("office", "busy")) as address:
        yield address


@pytest.fixture(scope="session")
def landing(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one undisturbed extraction lands."""
    landing = tmp_path_factory.mktemp("calm") / "landing"
    extract(address, landing, end_of(AS_OF))
    return landing


@pytest.fixture(scope="session")
def months(office: Office, landing: Path, tmp_path_factory: pytest.TempPathFactory) -> Months:
    tables = build(landing, tmp_path_factory.mktemp("build"), AS_OF)
    return Months(office, landing, truth_of(office), tables)
