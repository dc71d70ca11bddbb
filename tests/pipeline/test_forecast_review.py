"""The review of forecasts in Dagster: after the forecasts, on the same days, with a check and charts."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
import yaml

from dagster_project.forecast.assets import build_forecast_assets
from dagster_project.forecast.review_assets import BALANCE_CHECK, build_review_assets
from dagster_project.forecast.review_tables import CHANGES, REVIEW_TABLES
from dagster_project.forecast.tables import Table
from dagster_project.warehouse import Warehouse
from tests.hazard_bench import build_hazards
from tests.pipeline.forecast_bench import (
    END,
    EXTRACT_KEY,
    NIGHTLY_RUN,
    PARTITIONS,
    forecast_settings,
    ledger_since,
    run_days,
)

WORDS = Path(__file__).parents[2] / "dbt" / "models" / "forecast" / "forecast_tables.yml"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "warehouse.duckdb"
    build_hazards(Warehouse(ledger_since(date(2023, 10, 2), path)))
    return path


@pytest.fixture
def settings(tmp_path: Path, ledger: Path) -> SimpleNamespace:
    return forecast_settings(tmp_path, ledger)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def run(
    settings: SimpleNamespace,
    instance: dg.DagsterInstance,
    first: date,
    last: date,
    run_id: str | None = None,
) -> dg.ExecuteInProcessResult:
    assets = [
        *build_forecast_assets(settings, PARTITIONS, [EXTRACT_KEY]),  # type: ignore[arg-type]
        *build_review_assets(settings, PARTITIONS, [EXTRACT_KEY]),  # type: ignore[arg-type]
    ]
    return run_days(assets, instance, first, last, run_id)


def balance(settings: SimpleNamespace) -> list[tuple]:
    """Sums of changes against differences of forecasts, in SQL of its own; what does not fit."""
    return (
        Warehouse(settings.paths.warehouse)
        .query(
            """
        with parts as (
          unpivot (
            select as_of, kind, period, already_won, open_expected, not_yet_created_expected
            from forecast.forecast_bookings where segment_type = 'total'
          ) on already_won, open_expected, not_yet_created_expected into name part value amount
        ),
        told as (
          select as_of, kind, prior_as_of, prior_kind, period, part, sum(delta) as delta
          from forecast.forecast_changes group by all
        ),
        compared as (select distinct as_of, kind, prior_as_of, prior_kind from told)
        select now.as_of, now.period, now.part, now.amount - before.amount as moved, told.delta
        from compared
        inner join parts as now using (as_of, kind)
        inner join parts as before
          on compared.prior_as_of = before.as_of and compared.prior_kind = before.kind
          and now.period = before.period and now.part = before.part
        left join told
          on now.as_of = told.as_of and now.kind = told.kind and now.period = told.period
          and now.part = told.part
        where now.amount - before.amount <> coalesce(told.delta, 0)
        """
        )
        .to_dict("records")
    )


def test_a_range_of_days_is_reviewed_in_one_run_and_adds_up(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    first = END - timedelta(days=9)
    result = run(settings, instance, first, END)
    assert result.success
    expected = {(first + timedelta(days=step)).isoformat() for step in range(10)}
    for table in REVIEW_TABLES:
        assert instance.get_materialized_partitions(dg.AssetKey(table.name)) == expected
    days = Warehouse(settings.paths.warehouse).query(
        "select count(distinct as_of) as days, count(distinct cause) as causes from forecast.forecast_changes"
    )
    assert days["days"].item() == 9
    assert days["causes"].item() >= 5
    assert balance(settings) == []
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    assert checks[BALANCE_CHECK].passed
    assert checks[BALANCE_CHECK].asset_key == dg.AssetKey(CHANGES.name)
    assert checks[BALANCE_CHECK].metadata["compared"].value == 9


def test_the_balance_holds_over_the_turn_of_a_quarter_and_between_live_and_backfill(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    quarter_end = date(2025, 3, 31)
    run(settings, instance, quarter_end - timedelta(days=1), quarter_end + timedelta(days=2))
    run(settings, instance, END, END, run_id=NIGHTLY_RUN)
    run(settings, instance, END - timedelta(days=1), END)
    rows = Warehouse(settings.paths.warehouse).query(
        "select distinct kind, prior_as_of, prior_kind from forecast.forecast_changes where as_of = ? "
        "order by all",
        [END],
    )
    assert [(row.kind, row.prior_as_of.date(), row.prior_kind) for row in rows.itertuples()] == [
        ("backfill", END - timedelta(days=1), "backfill"),
        ("live", END - timedelta(days=1), "backfill"),
    ]
    assert balance(settings) == []


def test_changes_that_do_not_add_up_fail_the_check(
    settings: SimpleNamespace, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_project.forecast.changes._rest", lambda *_: None)
    result = run(settings, instance, END - timedelta(days=1), END)
    check = next(one for one in result.get_asset_check_evaluations() if one.check_name == BALANCE_CHECK)
    assert not check.passed
    assert "2025Q2 open_expected: changes add up to 0.000" in str(check.metadata["broken"].value)


def test_charts_stand_beside_four_tables(settings: SimpleNamespace, instance: dg.DagsterInstance) -> None:
    result = run(settings, instance, END - timedelta(days=1), END)
    charts = {
        event.asset_key.to_user_string(): str(event.materialization.metadata["chart"].value)
        for event in result.get_asset_materialization_events()
        if "chart" in event.materialization.metadata
    }
    assert set(charts) == {
        "forecast_bookings",
        "forecast_accuracy",
        "forecast_changes",
        "forecast_calibration",
    }
    for text in charts.values():
        assert "](data:image/svg+xml;base64," in text
        assert len(text) < 60_000


def test_a_first_forecast_has_nothing_to_compare_and_says_so(
    settings: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    result = run(settings, instance, END, END)
    assert result.success
    shown = {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    assert shown["forecast_changes"]["chart"].value == "nothing to draw yet"
    assert shown["forecast_accuracy_live"]["served"].value == "no quarter of a live forecast is over yet"


def test_every_table_of_the_review_is_described_owned_and_fed_by_extraction(
    settings: SimpleNamespace,
) -> None:
    (assets,) = build_review_assets(settings, PARTITIONS, [EXTRACT_KEY])  # type: ignore[arg-type]
    specs = {spec.key.to_user_string(): spec for spec in assets.specs}
    assert set(specs) == {table.name for table in REVIEW_TABLES}
    for spec in specs.values():
        assert spec.description and spec.owners and spec.group_name == "forecast"
        upstream = {dep.asset_key for dep in spec.deps}
        assert {EXTRACT_KEY, dg.AssetKey("fct_deal_versions"), dg.AssetKey("forecast_bookings")} <= upstream


@pytest.mark.parametrize("table", REVIEW_TABLES, ids=lambda table: table.name)
def test_every_column_of_the_review_is_described_for_readers(table: Table) -> None:
    tables = yaml.safe_load(WORDS.read_text(encoding="utf-8"))["sources"][0]["tables"]
    described = next(entry for entry in tables if entry["name"] == table.name)
    assert {column["name"]: column["data_type"] for column in described["columns"]} == table.columns
    assert [column["name"] for column in described["columns"]] == list(table.columns)
    assert all(column["description"] for column in described["columns"])
    assert described["description"].startswith("One row per ")
    assert tuple(described["config"]["meta"]["primary_key"]) == table.key
