"""The same simulated deals give the same ledger and marts in every layout, as far as the layout tells them.

All layouts tell days here, because dates and nightly exports can tell no more. Compared is everything but the
ids of changes and of transitions, who made a change, and where it is known from.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dagster_project.extract.files.connector import extract_files
from dagster_project.settings import load_settings
from tests.ledger import day_layouts
from tests.ledger.book import Book, Run, Settings
from tests.ledger.contract_cases import case_book
from tests.ledger.day_layouts import AS_OF, ZONE, Deals
from tests.ledger.ledger_bench import LedgerBench, LedgerTables, build_with_dbt

LANDED_AT = datetime(2026, 1, 1, 3, tzinfo=UTC)
MARTS = ("mart_pipeline_daily", "mart_stage_conversion", "mart_stage_durations", "mart_sales_performance")
NOT_TOLD = (
    "transition_id", "source_event_id", "changed_by", "change_source", "reported_from_stage_id", "deal_key",
    "path_id",
)  # fmt: skip
Layout = Callable[[Deals, Path], dict[str, Any]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def deals(tmp_path_factory: pytest.TempPathFactory) -> Deals:
    return day_layouts.simulated_deals(tmp_path_factory.mktemp("simulated"))


@pytest.fixture(scope="module")
def marts_bench(tmp_path_factory: pytest.TempPathFactory) -> LedgerBench:
    layers = ("staging", "ledger", "marts")
    return build_with_dbt(case_book(), tmp_path_factory.mktemp("marts"), layers)[1]


class Built:
    """The tables that each layout became, built once."""

    def __init__(self, deals: Deals, bench: LedgerBench, root: Path) -> None:
        self._deals, self._bench, self._root = deals, bench, root
        self._tables: dict[str, LedgerTables] = {}

    def __getitem__(self, layout: Layout) -> LedgerTables:
        name = layout.__name__
        if name not in self._tables:
            self._tables[name] = self._build(layout)
        return self._tables[name]

    def _build(self, layout: Layout) -> LedgerTables:
        folder = self._root / layout.__name__
        folder.mkdir()
        source = {
            "name": "crm",
            "type": "files",
            "data_as_of": AS_OF.isoformat(),
            "stages": day_layouts.stages_of(self._deals),
            **layout(self._deals, folder),
        }
        business = {"name": "B", "time_zone": ZONE, "currency": "EUR"}
        (folder / "pipeline.yaml").write_text(
            json.dumps({"business": business, "sources": [source]}), encoding="utf-8"
        )
        settings = load_settings(folder / "pipeline.yaml", folder / "data", {})
        result = extract_files(settings, settings.sources[0], LANDED_AT, pause=lambda _: None)
        # the export of a day without a change has the bytes of the day before
        assert {report.status for report in result.files} <= {"read", "unchanged"}
        assert not any(report.rows_rejected for report in result.files)
        book = Book(
            stages=(),
            runs=(Run(AS_OF, LANDED_AT.replace(tzinfo=None)),),
            settings=Settings(time_zone=ZONE, dates_won="event", dates_lost="event"),
        )
        return self._bench.build_landed(book, folder / "data" / "landing")


@pytest.fixture(scope="module")
def built(
    deals: Deals, marts_bench: LedgerBench, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Built]:
    yield Built(deals, marts_bench, tmp_path_factory.mktemp("layouts"))


def rows(tables: LedgerTables, table: str, leave_out: tuple[str, ...] = NOT_TOLD) -> list[tuple]:
    """All rows of a table, without some columns."""
    described = tables.query(f"select column_name from (describe select * from {table})")
    columns = [f'"{name}"' for (name,) in described if name not in leave_out]
    return tables.query(f"select {', '.join(columns)} from {table} order by all")


def assert_equal(
    built: Built, one: Layout, other: Layout, table: str, leave_out: tuple[str, ...] = NOT_TOLD
) -> None:
    expected, found = rows(built[one], table, leave_out), rows(built[other], table, leave_out)
    assert len(expected) > 0
    assert found == expected, f"{other.__name__} differs from {one.__name__} in {table}"


@pytest.mark.parametrize(
    "table", ["ledger.fct_stage_transitions", "ledger.fct_deal_versions", "ledger.fct_deals"]
)
@pytest.mark.parametrize("layout", ["opportunity_history", "field_history", "snapshots"])
def test_layouts_that_tell_all_values_give_the_ledger_of_the_stage_log(
    built: Built, layout: str, table: str
) -> None:
    assert_equal(built, day_layouts.stage_log, getattr(day_layouts, layout), table)


@pytest.mark.parametrize("mart", MARTS)
@pytest.mark.parametrize("layout", ["opportunity_history", "field_history", "snapshots"])
def test_layouts_that_tell_all_values_give_the_marts_of_the_stage_log(
    built: Built, layout: str, mart: str
) -> None:
    assert_equal(built, day_layouts.stage_log, getattr(day_layouts, layout), f"marts.{mart}")


@pytest.mark.parametrize(
    "table", ["ledger.fct_stage_transitions", "ledger.fct_deals", *(f"marts.{mart}" for mart in MARTS)]
)
def test_one_date_column_per_stage_tells_what_a_log_of_stages_alone_tells(built: Built, table: str) -> None:
    assert_equal(built, day_layouts.moves_log, day_layouts.date_columns, table)


def test_deals_alone_tell_when_they_began_and_how_and_when_they_ended(built: Built) -> None:
    columns = (
        "deal_id", "pipeline_id", "stage_id", "status", "created_on", "close_date", "closed_on", "won_on",
        "lost_on", "sales_cycle_days", "is_import", "amount_native", "currency", "amount_base", "owner_id",
        "account_key", "product_key", "region", "country", "lead_source", "deal_type", "lost_reason",
    )  # fmt: skip
    told = built[day_layouts.stage_log].rows("fct_deals", *columns)
    assert built[day_layouts.deals_alone].rows("fct_deals", *columns) == told
    closings = ("deal_id", "to_status", "business_date", "amount_native")
    expected = built[day_layouts.stage_log].rows(
        "fct_stage_transitions", *closings, where="to_status <> 'open'"
    )
    assert len(expected) > 20
    found = built[day_layouts.deals_alone].rows(
        "fct_stage_transitions", *closings, where="to_status <> 'open'"
    )
    assert found == expected
