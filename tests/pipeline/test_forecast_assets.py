"""The forecast assets in Dagster: a range of days is one run, each day a partition; one writer at a time."""

from collections.abc import Iterator
from datetime import date, timedelta
from logging import WARNING
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from dagster_project import run_lock
from dagster_project.forecast.assets import COHERENCE_CHECK, build_forecast_assets
from dagster_project.forecast.review_assets import build_review_assets
from dagster_project.forecast.review_tables import REVIEW_TABLES
from dagster_project.forecast.scenario_assets import build_scenario_assets
from dagster_project.forecast.scenario_tables import SCENARIO_TABLES
from dagster_project.forecast.tables import TABLES
from dagster_project.warehouse import Warehouse
from tests.pipeline.forecast_bench import (
    END,
    EXTRACT_KEY,
    NIGHTLY_RUN,
    PARTITIONS,
    forecast_settings,
    ledger_since,
    run_days,
)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ledger_since(date(2024, 1, 1), tmp_path_factory.mktemp("ledger") / "warehouse.duckdb")


@pytest.fixture
def settings(tmp_path: Path, ledger: Path) -> SimpleNamespace:
    return forecast_settings(tmp_path, ledger)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def assets_of(settings: SimpleNamespace) -> list[dg.AssetsDefinition]:
    return build_forecast_assets(settings, PARTITIONS, [EXTRACT_KEY])  # type: ignore[arg-type]


def run(
    settings: SimpleNamespace,
    instance: dg.DagsterInstance,
    first: date,
    last: date,
    run_id: str | None = None,
) -> dg.ExecuteInProcessResult:
    return run_days(assets_of(settings), instance, first, last, run_id)


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    return event.step_failure_data.error.message if event.step_failure_data.error else ""


def days_of(settings: SimpleNamespace, kind: str) -> list[date]:
    rows = Warehouse(settings.paths.warehouse).query(
        "select distinct as_of from forecast.forecast_bookings where kind = ? order by as_of", [kind]
    )
    return [stamp.date() for stamp in rows["as_of"]]


def test_thirty_days_are_one_run_and_every_partition_is_materialized(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    first = END - timedelta(days=29)
    result = run(settings, instance, first, END)
    assert result.success
    assert len(instance.get_runs()) == 1
    expected = {(first + timedelta(days=step)).isoformat() for step in range(30)}
    for table in TABLES:
        assert instance.get_materialized_partitions(dg.AssetKey(table.name)) == expected
    assert len(days_of(settings, "backfill")) == 30
    assert days_of(settings, "live") == []


def test_only_the_run_that_built_the_ledger_writes_a_live_forecast_and_only_once(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    assert run(settings, instance, END - timedelta(days=1), END, run_id=NIGHTLY_RUN).success
    assert days_of(settings, "live") == [END]
    assert days_of(settings, "backfill") == [END - timedelta(days=1)]
    assert run(settings, instance, END, END).success
    assert days_of(settings, "live") == [END]
    assert days_of(settings, "backfill") == [END - timedelta(days=1), END]


def test_a_day_after_the_data_is_refused_in_words(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    result = run(settings, instance, END + timedelta(days=1), END + timedelta(days=1))
    assert not result.success
    assert "no forecast for 2025-07-01: the data end at 2025-06-30" in failure(result)
    assert not Warehouse(settings.paths.warehouse).has_table("forecast.forecast_bookings")


def test_a_range_past_the_data_forecasts_what_it_can_and_says_what_it_left_out(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    result = run(settings, instance, END, END + timedelta(days=3))
    assert result.success
    assert days_of(settings, "backfill") == [END]
    materialization = result.asset_materializations_for_node("forecast")[-1]
    assert "left out 3 days after the end of the data" in str(materialization.metadata["days"].value)


def test_every_table_and_the_log_name_the_days_after_the_data(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    assets = [
        asset
        for build in (build_forecast_assets, build_review_assets, build_scenario_assets)
        for asset in build(settings, PARTITIONS, [EXTRACT_KEY])
    ]
    result = run_days(assets, instance, END, END + timedelta(days=3))
    assert result.success
    told = {
        event.asset_key.path[-1]: str(event.materialization.metadata["left out"].value)
        for event in result.all_events
        if event.event_type_value == "ASSET_MATERIALIZATION"
    }
    assert set(told) == {table.name for table in (*TABLES, *REVIEW_TABLES, *SCENARIO_TABLES)}
    assert set(told.values()) == {
        "3 days after the end of the data, 2025-07-01 to 2025-07-03: nothing was made for them"
    }
    warned = [entry.user_message for entry in instance.all_logs(result.run_id) if entry.level == WARNING]
    assert len([text for text in warned if "2025-07-01 to 2025-07-03" in text]) == 3


def test_a_backfill_waits_for_nobody_and_names_who_writes(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    with run_lock.hold(settings.paths.run_lock, "somebody", "nightly run"):
        result = run(settings, instance, END, END)
    assert not result.success
    assert "nightly run (run somebody" in failure(result)
    assert run(settings, instance, END, END).success


def test_the_run_that_holds_the_lock_may_forecast(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    with run_lock.hold(settings.paths.run_lock, NIGHTLY_RUN, "nightly run"):
        assert run(settings, instance, END, END, run_id=NIGHTLY_RUN).success


def test_without_a_ledger_the_refusal_says_what_to_run(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    settings.paths.warehouse.unlink()
    result = run(settings, instance, END, END)
    assert not result.success
    assert "run the nightly job" in failure(result)


def test_the_newest_forecast_is_shown_beside_the_asset_and_checked(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    result = run(settings, instance, END - timedelta(days=1), END)
    metadata = result.asset_materializations_for_node("forecast")[-1].metadata
    assert metadata["as_of"].value == "2025-06-30"
    table = str(metadata["forecast"].value).splitlines()
    assert table[0].startswith("| quarter | won (EUR) | open | not yet created | mean | p10 to p90 |")
    assert [line.split(" | ")[0] for line in table[2:]] == [
        "| 2025Q2",
        "| 2025Q3",
        "| 2025Q4",
        "| 2026Q1",
        "| 2026Q2",
    ]
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == (COHERENCE_CHECK, True)


def test_every_forecast_asset_is_described_owned_and_fed_by_extraction(settings: SimpleNamespace) -> None:
    specs = [spec for asset in assets_of(settings) for spec in asset.specs]
    assert {spec.key.to_user_string() for spec in specs} == {table.name for table in TABLES}
    for spec in specs:
        assert spec.description
        assert spec.owners
        assert spec.kinds == {"python", "duckdb"}
        assert spec.group_name == "forecast"
        assert spec.partitions_def == PARTITIONS
        upstream = {dep.asset_key for dep in spec.deps}
        assert {EXTRACT_KEY, dg.AssetKey("fct_deal_versions")} <= upstream
