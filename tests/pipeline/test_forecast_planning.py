"""Scenarios and submissions in Dagster: after the forecasts, on the same days, and the forecasts stay."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest

from dagster_project import run_lock
from dagster_project.forecast.assets import build_forecast_assets
from dagster_project.forecast.scenario_assets import build_scenario_assets
from dagster_project.forecast.scenario_tables import SCENARIO_DEALS, SCENARIO_TABLES, SCENARIOS
from dagster_project.warehouse import Warehouse
from tests.pipeline.forecast_bench import (
    END,
    EXTRACT_KEY,
    PARTITIONS,
    forecast_settings,
    ledger_since,
    run_days,
)

CHANGES = {
    "source_relation": "string",
    "file_name": "string",
    "row_number_in_file": "bigint",
    "scenario": "string",
    "change_kind": "string",
    "subject": "string",
    "deal_key": "string",
    "stage": "string",
    "number_value": "double",
    "to_period": "string",
    "starts_on": "date",
    "ramp_days": "int",
    "is_usable": "boolean",
}
MORE_BUSINESS = ("business", "s.csv", 2, "More", "new_business", *[None] * 3, 0.5, *[None] * 3, True)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = ledger_since(date(2024, 1, 1), tmp_path_factory.mktemp("ledger") / "warehouse.duckdb")
    warehouse = Warehouse(path)
    warehouse.append(
        "marts.int_scenario_changes", pd.DataFrame([MORE_BUSINESS], columns=list(CHANGES)), CHANGES
    )
    owners = {"owner_key": "string", "ended_on": "date"}
    warehouse.append("ledger.dim_owner", pd.DataFrame([("ann", None)], columns=list(owners)), owners)
    return path


@pytest.fixture
def settings(tmp_path: Path, ledger: Path) -> SimpleNamespace:
    return forecast_settings(tmp_path, ledger)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def planning_assets(settings: SimpleNamespace) -> list[dg.AssetsDefinition]:
    return build_scenario_assets(settings, PARTITIONS, [EXTRACT_KEY])  # type: ignore[arg-type]


def run(settings: SimpleNamespace, instance: dg.DagsterInstance, first: date) -> dg.ExecuteInProcessResult:
    forecasts = build_forecast_assets(settings, PARTITIONS, [EXTRACT_KEY])  # type: ignore[arg-type]
    return run_days([*forecasts, *planning_assets(settings)], instance, first, END)


def test_a_scenario_is_asked_of_every_day_of_the_run_and_shown_side_by_side(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    result = run(settings, instance, END - timedelta(days=2))
    assert result.success
    expected = {(END - timedelta(days=step)).isoformat() for step in range(3)}
    for table in SCENARIO_TABLES:
        assert instance.get_materialized_partitions(dg.AssetKey(table.name)) == expected
    wrong = Warehouse(settings.paths.warehouse).query(
        """
        select * from forecast.forecast_bookings
        left join forecast.forecast_scenarios using (as_of, kind, period)
        where segment_type = 'total' and not_yet_created_expected > 0 and (
            without_amount is distinct from mean
            or abs(difference_amount - not_yet_created_expected / 2) > 0.002
        )
        """
    )
    assert wrong.empty
    asked = Warehouse(settings.paths.warehouse).query(
        "select distinct as_of from forecast.forecast_scenarios"
    )
    assert {stamp.date().isoformat() for stamp in asked["as_of"]} == expected
    shown = {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    assert "| More | 2025Q2 |" in str(shown[SCENARIOS.name]["side_by_side"].value)
    assert shown[SCENARIOS.name]["rows"].value > 0
    assert shown[SCENARIO_DEALS.name]["rows"].value == 0


def test_a_writer_that_holds_the_warehouse_is_named(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    run(settings, instance, END)
    with run_lock.hold(settings.paths.run_lock, "f00d", "publishing"):
        result = run_days(planning_assets(settings), instance, END, END)
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert "publishing" in event.step_failure_data.error.message


def test_every_table_is_described_owned_and_fed_by_extraction_and_the_forecast(
    settings: SimpleNamespace,
) -> None:
    (assets,) = planning_assets(settings)
    specs = {spec.key.to_user_string(): spec for spec in assets.specs}
    assert set(specs) == {table.name for table in SCENARIO_TABLES}
    for spec in specs.values():
        assert spec.description and spec.owners and spec.group_name == "forecast"
        assert {EXTRACT_KEY, dg.AssetKey("forecast_bookings")} <= {dep.asset_key for dep in spec.deps}
