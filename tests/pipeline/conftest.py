"""One dbt build and three on its compiled SQL serve the sales and data marts, one nightly run its results."""

from dataclasses import replace

import pytest

from tests.ledger.ledger_bench import LedgerTables
from tests.pipeline.nightly_bench import Business, simulated_business
from tests.pipeline.sales_exports import (
    MartsBench,
    SalesSettings,
    crm_with_odd_deals,
    date_columns_export,
)


@pytest.fixture(scope="session")
def sales_bench(tmp_path_factory: pytest.TempPathFactory) -> MartsBench:
    return MartsBench(tmp_path_factory.mktemp("sales"))


@pytest.fixture(scope="session")
def export(sales_bench: MartsBench) -> LedgerTables:
    return sales_bench.build_with_dbt(date_columns_export())


@pytest.fixture(scope="session")
def bench(export: LedgerTables, sales_bench: MartsBench) -> MartsBench:
    """The bench with its SQL compiled."""
    return sales_bench


@pytest.fixture(scope="session")
def crm(bench: MartsBench, tmp_path_factory: pytest.TempPathFactory) -> LedgerTables:
    return bench.build(crm_with_odd_deals(), tmp_path_factory.mktemp("crm"))


@pytest.fixture(scope="session")
def crm_by_event(bench: MartsBench, tmp_path_factory: pytest.TempPathFactory) -> LedgerTables:
    told = '{"metrics": {"win_rate": {"disqualified": "loss", "min_amount": null}}}'
    settings = SalesSettings(
        dates_won="event", dates_lost="event", velocity_basis="worked", settings_json=told
    )
    book = replace(crm_with_odd_deals(), settings=settings)
    return bench.build(book, tmp_path_factory.mktemp("crm-by-event"))


@pytest.fixture(scope="session")
def business(tmp_path_factory: pytest.TempPathFactory) -> Business:
    """A business after its first nightly run."""
    business = simulated_business(tmp_path_factory.mktemp("business"))
    business.nightly()
    return business
