"""The lineage as the UI shows it: it reads as the way of the data, and every asset says what it is."""

import re
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.definitions import build_definitions
from dagster_project.settings import Settings
from dagster_project.transform.manifest import load_manifest
from tests.pipeline.nightly_bench import simulated_business

GROUPS = ("extract", "staging", "ledger", "marts", "forecast", "publish", "report")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return simulated_business(tmp_path_factory.mktemp("lineage"), deals=50).settings()


@pytest.fixture(scope="module")
def definitions(settings: Settings) -> dg.Definitions:
    return build_definitions(settings)


@pytest.fixture(scope="module")
def specs(definitions: dg.Definitions) -> dict[dg.AssetKey, dg.AssetSpec]:
    return {spec.key: spec for spec in definitions.resolve_all_asset_specs()}


@pytest.fixture(scope="module")
def manifest(settings: Settings, definitions: dg.Definitions) -> dict:
    return load_manifest(settings)


def test_every_asset_belongs_to_a_step_of_the_way(specs: dict[dg.AssetKey, dg.AssetSpec]) -> None:
    assert {spec.group_name for spec in specs.values()} == set(GROUPS)


def test_no_asset_reaches_back_against_the_way(specs: dict[dg.AssetKey, dg.AssetSpec]) -> None:
    place = {key: GROUPS.index(spec.group_name or "") for key, spec in specs.items()}
    against = {
        f"{dep.asset_key.to_user_string()} -> {key.to_user_string()}"
        for key, spec in specs.items()
        for dep in spec.deps
        if place[dep.asset_key] > place[key]
    }
    assert not against


def test_no_asset_stands_outside_of_the_lineage(specs: dict[dg.AssetKey, dg.AssetSpec]) -> None:
    used = {dep.asset_key for spec in specs.values() for dep in spec.deps}
    assert used <= set(specs)
    rootless = [key.to_user_string() for key, spec in specs.items() if not spec.deps]
    assert {specs[dg.AssetKey.from_user_string(name)].group_name for name in rootless} == {"extract"}


def test_every_asset_has_a_description_owners_and_kinds(specs: dict[dg.AssetKey, dg.AssetSpec]) -> None:
    bare = {
        key.to_user_string()
        for key, spec in specs.items()
        if not (spec.description or "").strip() or not spec.owners or not spec.kinds
    }
    assert not bare


def test_every_dbt_asset_starts_with_its_grain_and_names_its_file(
    specs: dict[dg.AssetKey, dg.AssetSpec],
) -> None:
    for spec in specs.values():
        if "dbt" in spec.kinds:
            assert (spec.description or "").startswith("One row"), spec.key
            file = Path(__file__).resolve().parents[2] / spec.metadata["file"]
            assert file.exists(), spec.key
            assert spec.metadata["dagster/column_schema"].columns, spec.key


def test_every_dbt_data_test_is_an_asset_check(definitions: dg.Definitions, manifest: dict) -> None:
    checks = {key.name for key in definitions.resolve_asset_graph().asset_check_keys}
    tests = {
        node["name"]
        for node in manifest["nodes"].values()
        if node["resource_type"] == "test" and node["config"]["enabled"]
    }
    assert len(tests) > 50
    assert sorted(tests - checks) == []


def test_every_model_that_reads_the_landing_follows_the_extraction_and_the_run_context(
    specs: dict[dg.AssetKey, dg.AssetSpec],
) -> None:
    deps = {dep.asset_key.to_user_string() for dep in specs[dg.AssetKey("files_deal_events")].deps}
    assert {"landing/crm_export/stage_history", "run_context"} <= deps
    settings = {"run_context", "stg_run_context"}
    assert all(name in settings or name.startswith("landing/") for name in deps)


def test_schedule_and_sensors_are_on_by_default(definitions: dg.Definitions) -> None:
    schedules = definitions.resolve_schedule_def("nightly_schedule")
    assert schedules.default_status == dg.DefaultScheduleStatus.RUNNING
    assert schedules.execution_timezone == "Europe/Amsterdam"
    sensors = definitions.get_repository_def().sensor_defs
    assert {sensor.name for sensor in sensors} == {
        "file_drop_sensor",
        "landed_sensor",
        "publish_sensor",
        "failure_alert",
        "alert_sensor",
    }
    assert all(sensor.default_status == dg.DefaultSensorStatus.RUNNING for sensor in sensors)


def test_every_asset_is_due_each_morning(specs: dict[dg.AssetKey, dg.AssetSpec]) -> None:
    policies = {spec.freshness_policy for spec in specs.values()}
    (policy,) = policies
    assert policy.deadline_cron == "0 7 * * *"
    assert policy.timezone == "Europe/Amsterdam"


def test_all_partitioned_assets_share_one_definition(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    partitioned = {
        key.to_user_string(): node.partitions_def
        for key in graph.materializable_asset_keys
        if (node := graph.get(key)).partitions_def is not None
    }
    assert {re.sub(r"_.*", "", name) for name in partitioned} == {"forecast"}
    assert len(set(partitioned.values())) == 1


def test_a_range_of_days_is_one_run(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    nodes = [graph.get(key) for key in graph.materializable_asset_keys]
    policies = {node.backfill_policy for node in nodes if node.partitions_def is not None}
    assert policies == {dg.BackfillPolicy.single_run()}
