"""Backfills as an analyst starts them in the Dagster UI. Each partition's own status counts."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from dagster_project import automation
from dagster_project.forecast.review_tables import REVIEW_TABLES
from dagster_project.forecast.scenario_tables import SCENARIO_TABLES
from dagster_project.warehouse import Warehouse
from tests.pipeline.dagster_ui import ASSET_NODES, DagsterUi, dagster_ui
from tests.pipeline.nightly_bench import AS_OF, Business, simulated_business

pytestmark = pytest.mark.slow

FORECAST = (
    "forecast_bookings",
    "forecast_deals",
    "forecast_gate",
    "forecast_backtest",
    "forecast_accuracy",
    *(table.name for table in (*REVIEW_TABLES, *SCENARIO_TABLES)),
)
THIRTY_DAYS = [(AS_OF - timedelta(days=29 - step)).isoformat() for step in range(30)]


@pytest.fixture(scope="module")
def business(tmp_path_factory: pytest.TempPathFactory) -> Business:
    business = simulated_business(tmp_path_factory.mktemp("backfills"), deals=300)
    business.nightly()
    return business


@pytest.fixture
def copy(business: Business, tmp_path: Path) -> Business:
    shutil.copytree(business.data, tmp_path / "data", symlinks=True)
    return Business(business.export, business.config, tmp_path / "data")


@pytest.fixture
def ui(copy: Business, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterUi]:
    with dagster_ui(copy.settings(), monkeypatch) as ui:
        yield ui


def test_thirty_days_of_forecasts_are_one_run_without_dbt(copy: Business, ui: DagsterUi) -> None:
    backfill_id = ui.launch_backfill(FORECAST, THIRTY_DAYS)
    assert ui.wait(backfill_id).status == BulkActionStatus.COMPLETED_SUCCESS

    (run,) = ui.runs_of(backfill_id)
    assert run.tags[automation.RANGE_START_TAG] == THIRTY_DAYS[0]
    assert run.tags[automation.RANGE_END_TAG] == THIRTY_DAYS[-1]
    steps = {event.step_key for event in ui.instance.all_logs(run.run_id) if event.step_key}
    # The check that sources keep up goes with the bookings.
    assert steps == {
        "forecast",
        "forecast_bookings_sources_are_up_to_date",
        "forecast_planning",
        "forecast_review",
    }

    for name in FORECAST:
        assert set(THIRTY_DAYS) <= ui.instance.get_materialized_partitions(dg.AssetKey(name)), name
    settings = copy.settings()
    rows = Warehouse(settings.paths.warehouse).query(
        "select kind, count(distinct as_of) as days from forecast.forecast_bookings group by 1 order by 1"
    )
    # The last day has its live row from the nightly run, and a backfilled one beside it.
    assert rows.to_dict("list") == {"kind": ["backfill", "live"], "days": [30, 1]}
    assert automation.is_warehouse_newer(settings)


def test_a_backfill_of_everything_leaves_every_partition_of_every_asset_materialized(ui: DagsterUi) -> None:
    nodes = ui.query(ASSET_NODES)["assetNodes"]
    names = ["/".join(node["assetKey"]["path"]) for node in nodes]
    before = {name: materialized_at(ui, name) for name in names}
    backfill_id = ui.launch_backfill(names, None)
    assert ui.wait(backfill_id).status == BulkActionStatus.COMPLETED_SUCCESS

    partitioned = {
        "/".join(node["assetKey"]["path"]): set(node["partitionKeys"])
        for node in nodes
        if node["isPartitioned"]
    }
    assert set(partitioned) == set(FORECAST)
    for name, keys in partitioned.items():
        assert len(keys) > 30
        missing = keys - ui.instance.get_materialized_partitions(dg.AssetKey(name))
        assert not missing, f"{name} lacks {sorted(missing)[:3]} and more"
    not_again = [name for name in names if materialized_at(ui, name) <= before[name]]
    assert not not_again


def materialized_at(ui: DagsterUi, name: str) -> float:
    """When an asset was materialized last; 0 when never."""
    event = ui.instance.get_latest_materialization_event(dg.AssetKey(name.split("/")))
    return event.timestamp if event else 0.0
