"""Questions about any day, asked of the published file: the same answers as the marts."""

from datetime import date
from pathlib import Path

import duckdb
import pytest

from dagster_project.publish.errors import PublishFailed
from dagster_project.publish.table_macros import (
    TableMacro,
    create_table_macros,
    read_table_macros,
    try_table_macros,
)
from tests.ledger.ledger_bench import LedgerTables
from tests.marts.random_pipelines import AS_OF, random_pipelines
from tests.marts.waterfall_bench import MACRO_TABLES, WaterfallBench

PUBLISHED = (
    "ledger.dim_deal",
    "ledger.dim_stage",
    "ledger.dim_fx_rate",
    "marts.fct_pipeline_states",
    "marts.mart_pipeline_waterfall",
    "marts.mart_pipeline_daily",
)


@pytest.fixture(scope="module")
def published(waterfall_bench: WaterfallBench, tmp_path_factory: pytest.TempPathFactory) -> LedgerTables:
    """A random book's marts in a file of their own, with the macros."""
    books = random_pipelines(1001)
    waterfall_bench.build(books.book, books.staged, MACRO_TABLES)
    path = tmp_path_factory.mktemp("published") / "marts.duckdb"
    connection = waterfall_bench.bench.connection
    connection.execute(f"attach '{path}' as published (storage_version 'v1.0.0')")
    for table in PUBLISHED:
        connection.execute(f"create table published.main.{table.split('.')[1]} as from {table}")
    connection.execute(f"create table published.main._publish as select date '{AS_OF}' as as_of")
    macros = read_table_macros(connection)
    create_table_macros(connection, macros, "published")
    assert connection.execute("select current_database()").fetchone() == ("warehouse",)
    connection.execute("detach published")
    reader = duckdb.connect(str(path), read_only=True, config={"enable_external_access": False})
    try_table_macros(reader, macros)
    return LedgerTables(reader)


def test_pipeline_changes_of_a_period_is_its_row_of_the_waterfall(published: LedgerTables) -> None:
    columns = ", ".join(
        name for name, *_ in published.query("describe from pipeline_changes('2025-01-01', '2025-03-31')")
    )
    for first_day, last_day, period in (
        ("2025-01-01", "2025-03-31", "2025Q1"),
        ("2025-04-01", "2025-06-30", "2025Q2"),
        ("2025-02-01", "2025-02-28", "2025-02"),
        ("2025-03-10", "2025-03-16", "2025-W11"),
    ):
        asked = published.query(
            f"select {columns} from pipeline_changes('{first_day}', '{last_day}') order by all"
        )
        told = published.query(
            f"select {columns} from mart_pipeline_waterfall "
            f"where mode = 'net' and period = '{period}' order by all"
        )
        assert len(told) > 50
        assert asked == told


def test_any_two_days_have_a_waterfall_that_starts_and_ends_at_their_pipelines(
    published: LedgerTables,
) -> None:
    where = "scope = 'rolling' and segment_type = 'total'"
    found = published.query(
        "select start_amount, end_amount, deals_start, deals_end "
        f"from pipeline_changes(date '2025-02-12', date '2025-04-03') where {where}"
    )
    before, after = (
        published.query(f"select coalesce(sum(open_amount), 0), count(*) from pipeline_as_of('{day}')")[0]
        for day in ("2025-02-11", "2025-04-03")
    )
    assert found == [(before[0], after[0], before[1], after[1])]


def test_the_pipeline_as_of_a_day_is_that_of_the_daily_mart_on_every_day(published: LedgerTables) -> None:
    days = published.query(
        "select period_start, sum(deals_open), sum(coalesce(open_amount, 0)) "
        "from mart_pipeline_daily group by all"
    )
    assert len(days) > 90
    for day, deals, amount in days:
        asked = published.query(
            f"select count(*), coalesce(sum(open_amount), 0) from pipeline_as_of('{day}')"
        )
        assert asked == [(deals, amount)]


def test_a_day_after_as_of_has_no_pipeline(published: LedgerTables) -> None:
    later = date(AS_OF.year, AS_OF.month, AS_OF.day + 1)
    assert published.query(f"select count(*) from pipeline_as_of(date '{later}')") == [(0,)]
    assert published.query(f"select count(*) > 0 from pipeline_as_of(date '{AS_OF}')") == [(True,)]


def test_a_macro_that_cannot_be_called_is_not_published(tmp_path: Path) -> None:
    connection = duckdb.connect(str(tmp_path / "marts.duckdb"))
    missing = TableMacro("pipeline_as_of", "as_of_day", "select 1", "date '2000-01-01'")
    with pytest.raises(PublishFailed, match=r"pipeline_as_of cannot be called.*int_table_macros"):
        try_table_macros(connection, [missing])
