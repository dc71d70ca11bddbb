"""Backfills as an analyst starts them in the Dagster UI. Each partition's own status counts."""

import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from dagster_project import automation
from dagster_project.alerts.standing_alerts import failure_reason
from dagster_project.backfills.full_refresh import DIFFERENCE_CHECK
from dagster_project.forecast.review_tables import REVIEW_TABLES
from dagster_project.forecast.scenario_tables import SCENARIO_TABLES
from dagster_project.publish.versions import current_file
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse
from tests.long_tests import LONG
from tests.pipeline.dagster_ui import ASSET_NODES, DagsterUi, dagster_ui
from tests.pipeline.nightly_bench import (
    AS_OF,
    Business,
    differing_rows,
    published_tables,
    settle,
    simulated_business,
)

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


@LONG
def test_a_forecast_backfill_shows_its_plan_first_and_the_difference_afterwards(
    copy: Business, ui: DagsterUi
) -> None:
    config, description = ui.launchpad("forecast_backfill")
    asked = config["ops"]["forecast_days_again"]["config"]
    assert asked == {
        "first_day": "", "last_day": "", "plan_only": True, "accept_changed_definitions": False,
    }  # fmt: skip
    assert "never replaced" in description

    settings, two_days = copy.settings(), {"first_day": "2026-05-14", "last_day": "2026-05-15"}
    before = forecasts(settings)
    run = ui.launch("forecast_backfill", {"ops": {"forecast_days_again": {"config": two_days}}})
    assert run.status == dg.DagsterRunStatus.SUCCESS
    told = ui.told(run)
    assert "| 2026-05-14 | none | none |" in told["plan"] and "| 2026-05-15 | stay | none |" in told["plan"]
    assert told["outcome"] == "plan only: nothing was written" and forecasts(settings) == before

    two_days |= {"plan_only": False}
    run = ui.launch("forecast_backfill", {"ops": {"forecast_days_again": {"config": two_days}}})
    assert run.status == dg.DagsterRunStatus.SUCCESS
    told = ui.told(run)
    # The ledger is what it was, so the last day comes out as its live row; the other had no forecast.
    assert told["outcome"] == "2 days were forecast; 0 differ from before"
    assert "| 2026-05-14 | 2026Q2 | none |" in told["difference"] and "| live |" in told["difference"]
    after = forecasts(settings)
    assert after[("live", AS_OF)] == before[("live", AS_OF)]
    assert set(after) - set(before) == {("backfill", AS_OF), ("backfill", AS_OF - timedelta(days=1))}
    for name in FORECAST:
        assert "2026-05-14" in ui.instance.get_materialized_partitions(dg.AssetKey(name)), name

    # The same days under other definitions need consent; live rows stay as they are in any case.
    Warehouse(settings.paths.warehouse).execute(
        "update forecast.forecast_bookings set definition_version = 'older' where kind = 'backfill'"
    )
    run = ui.launch("forecast_backfill", {"ops": {"forecast_days_again": {"config": two_days}}})
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert "made with definitions older, now default" in failure_of(ui, run)
    two_days |= {"last_day": "2026-05-16"}
    run = ui.launch("forecast_backfill", {"ops": {"forecast_days_again": {"config": two_days}}})
    assert "2026-05-16 is not over, or the data end before it" in failure_of(ui, run)


@LONG
def test_a_full_refresh_shows_its_plan_and_refuses_a_landing_with_gaps(copy: Business, ui: DagsterUi) -> None:
    config, description = ui.launchpad("full_refresh")
    asked = config["ops"]["run_context"]["config"]
    assert asked["plan_only"] is True and asked["rebuild"] is True
    assert "Landed" in description or "landed" in description
    settings = copy.settings()
    before = settings.paths.warehouse.read_bytes()
    run = ui.launch("full_refresh", config)
    assert run.status == dg.DagsterRunStatus.SUCCESS
    plans = [
        log.dagster_event.event_specific_data.asset_observation.metadata["plan"].value
        for log in ui.instance.all_logs(run.run_id, of_type={dg.DagsterEventType.ASSET_OBSERVATION})
    ]
    assert "| forecasts, live and backfill | stay |" in plans[0]
    assert settings.paths.warehouse.read_bytes() == before

    # The history of the same extraction stays: only the guard of full_refresh sees that the deals are gone.
    (deals,) = (settings.paths.landing / "files" / "crm_export" / "deals").iterdir()
    shutil.rmtree(deals)
    config["ops"]["run_context"]["config"]["plan_only"] = False
    run = ui.launch("full_refresh", config)
    assert run.status == dg.DagsterRunStatus.FAILURE
    assert "1 of 1 extractions that the ledger was built from are no longer in the" in failure_of(ui, run)
    rows = Warehouse(settings.paths.warehouse).query("select count(*) as runs from ops.run_context")
    assert rows.loc[0, "runs"] == 1


@LONG
def test_a_full_refresh_beyond_its_plan_publishes_the_same_and_keeps_what_was_known_when(
    business: Business, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(business.data, tmp_path / "data", symlinks=True)
    shutil.copytree(business.export, tmp_path / "export")
    text = business.config.read_text(encoding="utf-8").replace(str(business.export), str(tmp_path / "export"))
    (tmp_path / "pipeline.yaml").write_text(text, encoding="utf-8")
    apart = Business(tmp_path / "export", tmp_path / "pipeline.yaml", tmp_path / "data")
    deals = (apart.export / "deals.csv").read_text(encoding="utf-8").splitlines()
    (apart.export / "deals.csv").write_text("\n".join(deals[:-1]), encoding="utf-8")
    settle(apart.export)
    apart.nightly()  # a second delivery, so that one extraction was learned after a night

    settings = apart.settings()
    known = "select * from ledger.int_known_on order by 1"
    before, learned = (
        current_file(settings.paths.published_dir),
        Warehouse(settings.paths.warehouse).query(known),
    )
    made = forecasts(settings)
    assert len(learned) == 2 and learned["known_on"].notna().sum() == 1 and before is not None
    with dagster_ui(settings, monkeypatch) as ui:
        config, _ = ui.launchpad("full_refresh")
        config["ops"]["run_context"]["config"]["plan_only"] = False
        run = ui.launch("full_refresh", config)
        assert run.status == dg.DagsterRunStatus.SUCCESS
        kinds = {dg.DagsterEventType.ASSET_CHECK_EVALUATION}
        events = [log.dagster_event for log in ui.instance.all_logs(run.run_id, of_type=kinds)]
        checks = [event.asset_check_evaluation_data for event in events if event is not None]
    (told,) = [check.description for check in checks if check.check_name == DIFFERENCE_CHECK]
    after = current_file(settings.paths.published_dir)
    assert after is not None and after != before
    assert told == f"0 of {len(published_tables(after))} tables hold other rows than before"
    assert differing_rows(before, after) == {}
    warehouse = Warehouse(settings.paths.warehouse)
    assert warehouse.query(known).equals(learned) and forecasts(settings) == made
    runs = warehouse.query("select run_kind from ops.run_context order by run_order")
    assert list(runs["run_kind"]) == ["nightly", "nightly", "manual"]


def forecasts(settings: Settings) -> dict[tuple[str, date], list[float]]:
    """Kind and day → the stored totals of all quarters."""
    rows = Warehouse(settings.paths.warehouse).query(
        "select kind, as_of, mean from forecast.forecast_bookings where segment_type = 'total' order by all"
    )
    found: dict[tuple[str, date], list[float]] = {}
    for row in rows.itertuples():
        found.setdefault((row.kind, row.as_of.date()), []).append(row.mean)
    return found


def failure_of(ui: DagsterUi, run: dg.DagsterRun) -> str:
    """The first failure of a step, in words."""
    return failure_reason(ui.instance, run.run_id)


def materialized_at(ui: DagsterUi, name: str) -> float:
    """When an asset was materialized last; 0 when never."""
    event = ui.instance.get_latest_materialization_event(dg.AssetKey(name.split("/")))
    return event.timestamp if event else 0.0
