"""What is written for which day: live once, backfill again and again, and nothing beyond the data."""

import re
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
import yaml

from dagster_project.forecast.assets import forecast_days, last_finished_day
from dagster_project.forecast.evidence import read_context
from dagster_project.forecast.report_tables import range_bar
from dagster_project.forecast.tables import (
    BOOKINGS,
    LATEST,
    TABLES,
    DayNotForecastable,
    incoherent_rows,
    plan_days,
)
from dagster_project.warehouse import Warehouse
from tests.synthetic_ledger import ledger_tables, random_deals, write_ledger

END = date(2025, 6, 30)
BEFORE = END - timedelta(days=1)
NIGHTLY = {"built-by-nightly"}
OTHER_RUN = {"another-run"}
WORDS = Path(__file__).parents[2] / "dbt" / "models" / "forecast" / "forecast_tables.yml"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    deals = random_deals(date(2024, 1, 1), END, 5, seed=5)
    return write_ledger(tmp_path / "warehouse.duckdb", ledger_tables(deals, END))


def stored(warehouse: Warehouse, table: str = BOOKINGS.full_name) -> pd.DataFrame:
    return warehouse.query(f"select * from {table} order by all")


def kinds(warehouse: Warehouse) -> dict[str, list[date]]:
    rows = stored(warehouse).groupby("kind")["as_of"].unique()
    return {kind: sorted(stamp.date() for stamp in days) for kind, days in rows.items()}


def test_the_nightly_run_that_built_the_ledger_writes_its_day_as_live() -> None:
    plan = plan_days([BEFORE, END], END, is_nightly=True, already_live=frozenset())
    assert (plan.live, plan.backfill, plan.days) == (END, (BEFORE,), (BEFORE, END))


def test_a_live_day_is_not_written_a_second_time() -> None:
    plan = plan_days([END], END, is_nightly=True, already_live=frozenset({END}))
    assert (plan.live, plan.kept_live, plan.days) == (None, END, ())


def test_a_backfill_never_writes_live_rows() -> None:
    plan = plan_days([END], END, is_nightly=False, already_live=frozenset())
    assert (plan.live, plan.backfill) == (None, (END,))


def test_days_after_the_data_are_left_out_of_a_range() -> None:
    plan = plan_days([END, END + timedelta(days=1)], END, is_nightly=False, already_live=frozenset())
    assert plan.days == (END,)
    assert plan.beyond_data == (END + timedelta(days=1),)


def test_a_day_after_the_data_alone_is_refused_with_the_last_possible_day() -> None:
    with pytest.raises(DayNotForecastable, match=re.escape("the data end at 2025-06-30. Choose a day up to")):
        plan_days([END + timedelta(days=1)], END, is_nightly=True, already_live=frozenset())


def test_the_day_of_an_intraday_ledger_is_not_over(tmp_path: Path) -> None:
    tables = ledger_tables(random_deals(date(2025, 1, 1), END, 2, seed=5), END)
    warehouse = write_ledger(tmp_path / "warehouse.duckdb", tables, run_kind="intraday")
    assert last_finished_day(read_context(warehouse)) == BEFORE


def test_a_backfill_stands_beside_the_live_row_and_does_not_touch_it(warehouse: Warehouse) -> None:
    forecast_days(warehouse, [END], NIGHTLY, 1)
    live = stored(warehouse)
    warehouse.execute("update forecast.forecast_bookings set mean = mean + 1")
    changed = stored(warehouse)
    assert not changed.equals(live)
    forecast_days(warehouse, [BEFORE, END], OTHER_RUN, 1)
    assert kinds(warehouse) == {"live": [END], "backfill": [BEFORE, END]}
    rows = stored(warehouse)
    pd.testing.assert_frame_equal(rows[rows["kind"] == "live"].reset_index(drop=True), changed)


def test_a_second_nightly_run_of_the_same_day_changes_no_table(warehouse: Warehouse) -> None:
    forecast_days(warehouse, [END], NIGHTLY, 1)
    before = {table.name: stored(warehouse, table.full_name) for table in TABLES}
    plan, forecasts, _ = forecast_days(warehouse, [END], NIGHTLY, 1)
    assert plan.kept_live == END
    assert forecasts.bookings.empty
    for table in TABLES:
        pd.testing.assert_frame_equal(
            before[table.name], stored(warehouse, table.full_name), check_exact=True
        )


def test_a_repeated_backfill_leaves_the_same_rows(warehouse: Warehouse) -> None:
    days = [END - timedelta(days=back) for back in range(3)]
    forecast_days(warehouse, days, OTHER_RUN, 1)
    before = stored(warehouse)
    forecast_days(warehouse, days[:1], OTHER_RUN, 1)
    pd.testing.assert_frame_equal(before, stored(warehouse), check_exact=True)
    assert not before.duplicated(list(BOOKINGS.key)).any()


def test_a_backfilled_row_is_the_live_row_of_its_day(warehouse: Warehouse) -> None:
    forecast_days(warehouse, [END], NIGHTLY, 1)
    forecast_days(warehouse, [END], OTHER_RUN, 1)
    rows = stored(warehouse)
    live, backfill = (
        rows[rows["kind"] == kind].drop(columns="kind").reset_index(drop=True)
        for kind in ("live", "backfill")
    )
    pd.testing.assert_frame_equal(live, backfill, check_exact=True)


def test_the_latest_view_shows_the_newest_day_and_prefers_live(warehouse: Warehouse) -> None:
    forecast_days(warehouse, [BEFORE, END], OTHER_RUN, 1)
    assert set(stored(warehouse, LATEST)["kind"]) == {"backfill"}
    forecast_days(warehouse, [END], NIGHTLY, 1)
    latest = stored(warehouse, LATEST)
    assert set(latest["kind"]) == {"live"}
    assert set(latest["as_of"]) == {pd.Timestamp(END)}
    of_whole = latest[latest["segment_type"] == "total"]
    assert sorted(of_whole["quarter_offset"]) == [0, 1, 2, 3, 4]


def test_incoherent_rows_are_named(warehouse: Warehouse) -> None:
    _, forecasts, broken = forecast_days(warehouse, [END], OTHER_RUN, 1)
    assert broken == []
    bad = forecasts.bookings[forecasts.bookings["segment_type"] == "total"].copy()
    bad.loc[0, "mean"] += 5
    bad.loc[1, "p10"] = bad.loc[1, "already_won"] - 1
    bad.loc[2, "p50"] = bad.loc[2, "p90"] + 1
    assert incoherent_rows(bad) == [
        "2025-06-30 2025Q2: the parts do not add up to the mean",
        "2025-06-30 2025Q3: p10 is below what is already won",
        "2025-06-30 2025Q4: p10, p50, p90 are not in order",
    ]


def test_a_segment_that_is_missing_from_the_sum_is_named(warehouse: Warehouse) -> None:
    _, forecasts, _ = forecast_days(warehouse, [END], OTHER_RUN, 1)
    bad = forecasts.bookings.copy()
    team = bad.index[(bad["segment_type"] == "team") & (bad["quarter_offset"] == 1)][0]
    bad.loc[team, ["open_expected", "mean"]] += 0.001
    assert incoherent_rows(bad) == ["2025-06-30 2025Q3: the segments of type team do not add up to the total"]


@pytest.mark.parametrize("table", [*TABLES, "latest"], ids=lambda table: getattr(table, "name", table))
def test_every_column_is_described_for_readers(table: object) -> None:
    described = {entry["name"]: entry for entry in yaml.safe_load(WORDS.read_text())["sources"][0]["tables"]}
    name = getattr(table, "name", "forecast_bookings_latest")
    columns = getattr(table, "columns", BOOKINGS.columns)
    assert [column["name"] for column in described[name]["columns"]] == list(columns)
    assert all(column["description"] for column in described[name]["columns"])
    assert described[name]["description"].startswith("One row per ")


def test_keys_of_the_published_tables_are_the_keys_of_the_writer() -> None:
    described = {entry["name"]: entry for entry in yaml.safe_load(WORDS.read_text())["sources"][0]["tables"]}
    for table in TABLES:
        assert tuple(described[table.name]["config"]["meta"]["primary_key"]) == table.key


def test_the_range_bar_shows_won_range_and_mean_on_one_scale() -> None:
    # 24 characters for 240: won 50 → 5, range 100 to 199 → places 10 to 19, mean 150 → place 15.
    assert range_bar(50, 100, 150, 199, 240) == "█████·····▒▒▒▒▒┃▒▒▒▒····"
