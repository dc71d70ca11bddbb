"""CRMs in Dagster: assets from pipeline.yaml, days in one run, and a budget that ends without failing."""

import logging
import textwrap
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from dagster_project import api_settings, automation
from dagster_project.asset_jobs import build_jobs
from dagster_project.cli.instance import open_instance
from dagster_project.cli.run import open_log
from dagster_project.definitions import landing_definitions, newest_as_of
from dagster_project.extract import api_assets
from dagster_project.extract.api_assets import COMPLETE, api_keys, build_api_assets
from dagster_project.extract.as_of import AsOfError, resolve_as_of
from dagster_project.extract.landing import SCHEMA, Landing
from dagster_project.forecast.assets import build_forecast_assets
from dagster_project.settings import ConfigError, Settings, load_settings
from tests.extract.fake_crm import TOKEN, FakeServer

CONFIG = """
business: {{name: Example, time_zone: Europe/Amsterdam, currency: EUR, history_start: 2026-01-01}}
sources:
  - {{name: hq, type: pipedrive, token: "${{HQ_TOKEN}}", base_url: "{address}"{more}}}
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    monkeypatch.setitem(api_settings.CONNECTORS, "pipedrive", "tests.extract.fake_crm:FakeConnector")
    server = FakeServer()
    for number in range(1, 36):
        server.put(str(number), datetime(2026, 2, 1, tzinfo=UTC) + timedelta(hours=number))
    yield server
    server.close()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def settings(server: FakeServer, folder: Path, more: str = "") -> Settings:
    path = folder / "pipeline.yaml"
    path.write_text(textwrap.dedent(CONFIG.format(address=server.address, more=more)), encoding="utf-8")
    return load_settings(path, folder / "data", {"HQ_TOKEN": TOKEN})


def land(
    configured: Settings, instance: dg.DagsterInstance, first: date, last: date
) -> dg.ExecuteInProcessResult:
    job = landing_definitions(configured).resolve_job_def("land_crm")
    return job.execute_in_process(
        instance=instance, tags=automation.range_tags(first, last), raise_on_error=False
    )


def yesterday(settings: Settings) -> date:
    return automation.yesterday(settings, datetime.now(UTC))


def test_one_run_lands_a_range_of_days_and_marks_each_partition(
    server: FakeServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    configured = settings(server, tmp_path)
    last = yesterday(configured)
    result = land(configured, instance, last - timedelta(days=2), last)
    assert result.success
    for key in api_keys(configured):
        days = instance.get_materialized_partitions(key)
        assert days == {str(last - timedelta(days=back)) for back in range(3)}
    deals = dg.AssetKey(["landing", "hq", "deals"])
    (newest,) = instance.fetch_materializations(deals, limit=1).records
    metadata = newest.asset_materialization.metadata
    assert (metadata["new rows"].value, metadata["requests"].value) == (35, 4)
    assert metadata["outcome"].value == "landed"
    assert newest_as_of(configured) == last
    assert TOKEN not in "".join(str(event) for event in instance.all_logs(result.run_id))


def test_the_same_days_again_ask_for_nothing(
    server: FakeServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    configured = settings(server, tmp_path)
    last = yesterday(configured)
    land(configured, instance, last, last)
    asked = len(server.asked)
    assert land(configured, instance, last - timedelta(days=20), last).success
    assert len(server.asked) == asked


def test_a_spent_budget_ends_the_run_well_and_says_what_is_missing(
    server: FakeServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    configured = settings(server, tmp_path, ", budget: {daily: 4}")
    last = yesterday(configured)
    result = land(configured, instance, last, last)
    assert result.success
    checks = {check.asset_key.path[-1]: check for check in result.get_asset_check_evaluations()}
    assert not checks["deals"].passed and checks["stages"].passed
    assert "partial, goes on with the next run" in (checks["deals"].description or "")
    assert "20 of about 35 records read; about 1 more night like this" in str(checks["deals"].metadata)
    with pytest.raises(AsOfError, match="first load of a CRM may take several runs"):
        newest_as_of(configured)


def test_a_crm_that_is_down_fails_the_run_and_keeps_what_was_landed(
    server: FakeServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    server.always = lambda path: (400, {}, {"message": "bad"}) if path.startswith("/deals") else None
    configured = settings(server, tmp_path)
    last = yesterday(configured)
    assert not land(configured, instance, last, last).success
    assert len([path for path in server.paths() if path.startswith("/deals")]) == 1
    assert Landing(configured.paths.landing).batches("hq", "stages")
    assert not Landing(configured.paths.landing).batches("hq", "deals")


def test_the_token_is_in_no_file_that_nights_of_every_kind_leave(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Landing, run store, event logs, the log of the command, a failing night and one of odd answers."""
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("HQ_TOKEN", TOKEN)
    monkeypatch.setattr(api_assets, "RETRY", None)  # nobody waits for the second attempt
    configured = settings(server, tmp_path)
    last, root = yesterday(configured), logging.getLogger()
    handlers, level = root.handlers, root.level
    log_file = open_log(configured, "run")
    try:
        with open_instance(configured) as home:
            assert land(configured, home, last - timedelta(days=9), last - timedelta(days=8)).success
            server.always = lambda path: (401, {}, {"message": f"{TOKEN} is no token"})
            assert not land(configured, home, last - timedelta(days=7), last - timedelta(days=6)).success
            server.always = lambda path: (200, {}, {"success": True, "data": [TOKEN], "more": False})
            assert not land(configured, home, last - timedelta(days=5), last).success
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers = handlers
        root.setLevel(level)
        logging.captureWarnings(False)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert log_file in files and any(path.suffix == ".db" for path in files)
    assert [str(path) for path in files if TOKEN.encode() in path.read_bytes()] == []


def test_a_feature_that_the_account_lacks_warns_in_its_first_night_only(
    server: FakeServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    server.always = lambda path: (403, {}, {"message": "not in your plan"}) if path == "/teams" else None
    configured = settings(server, tmp_path)
    last, passed = yesterday(configured), []
    for day in (last - timedelta(days=1), last):
        result = land(configured, instance, day, day)
        assert result.success
        checks = {check.asset_key.path[-1]: check for check in result.get_asset_check_evaluations()}
        passed.append(checks["teams"].passed)
        assert "not in your plan" in (checks["teams"].description or "")
    assert passed == [False, True]
    (newest,) = instance.fetch_materializations(dg.AssetKey(["landing", "hq", "teams"]), limit=1).records
    assert "not in your plan" in str(newest.asset_materialization.metadata["outcome"].value)


def test_warnings_of_the_interface_and_upkeep_stand_beside_the_asset(
    server: FakeServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    body = {"success": True, "data": server.stages}
    server.always = lambda path: (200, {"Deprecation": "@1"}, body) if path == "/stages" else None
    configured = settings(server, tmp_path)
    land(configured, instance, yesterday(configured), yesterday(configured))
    more = ', properties: {deals: ["region"]}'
    land(settings(server, tmp_path, more), instance, yesterday(configured), yesterday(configured))

    def metadata(entity: str, newest: int) -> dict[str, dg.MetadataValue]:
        key = dg.AssetKey(["landing", "hq", entity])
        records = instance.fetch_materializations(key, limit=2).records
        return records[newest].asset_materialization.metadata

    assert metadata("stages", 1)["warnings of the interface"].value == "hq: stages: Deprecation: @1"
    assert metadata("deals", 1)["warnings of the interface"].value == "none"
    assert metadata("deals", 0)["upkeep"].value == "full refresh: 35 records read once more"


def test_every_entity_of_every_type_of_crm_has_an_empty_batch(
    server: FakeServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    import pyarrow.parquet as pq

    configured = settings(server, tmp_path)
    land(configured, instance, yesterday(configured), yesterday(configured))
    for entity in ("stages", "deals", "stage_history", "teams"):
        part = configured.paths.landing / f"pipedrive/_empty/{entity}/_empty/part-00000.parquet"
        assert pq.read_schema(part).equals(SCHEMA)


def test_the_day_of_a_crm_is_the_last_one_that_is_landed_whole(
    server: FakeServer, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    configured = settings(server, tmp_path)
    last = yesterday(configured)
    land(configured, instance, last - timedelta(days=3), last - timedelta(days=2))
    found = resolve_as_of(configured, datetime.now(UTC))
    assert (found.day, found.basis) == (last - timedelta(days=2), "covered_until")
    # Today so far is no day to speak of while days before it are missing.
    assert resolve_as_of(configured, datetime.now(UTC), is_intraday=True).day == last - timedelta(days=2)
    land(configured, instance, last, last)
    today = resolve_as_of(configured, datetime.now(UTC), is_intraday=True)
    assert (today.day, today.basis) == (last + timedelta(days=1), "intraday")


def test_forecasts_stand_directly_below_every_partitioned_extract_asset(
    server: FakeServer, tmp_path: Path
) -> None:
    configured = settings(server, tmp_path)
    partitions = automation.build_partitions(configured, date(2026, 1, 1))
    extracts = build_api_assets(configured, partitions)
    (forecast,) = build_forecast_assets(configured, partitions, api_keys(configured))
    for spec in forecast.specs:
        assert {dep.asset_key for dep in spec.deps} >= {key for asset in extracts for key in asset.keys}
        assert spec.partitions_def is partitions
    assert all(spec.partitions_def is partitions for asset in extracts for spec in asset.specs)
    assert {spec.name for asset in extracts for spec in asset.check_specs} == {COMPLETE}


def test_a_configuration_without_files_has_no_job_for_them(server: FakeServer, tmp_path: Path) -> None:
    configured = settings(server, tmp_path)
    jobs = build_jobs(configured, automation.build_partitions(configured, date(2026, 1, 1)))
    assert {job.name for job in jobs.all()} == {
        "nightly",
        "full_refresh",
        "publish",
        "land_crm",
        "intraday",
    }
    intraday = automation.build_intraday_schedule(configured, jobs.intraday)
    assert intraday.default_status is dg.DefaultScheduleStatus.STOPPED
    nightly = automation.build_nightly_schedule(configured, jobs, newest_as_of)
    assert nightly.job_name == "land_crm"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (", tokn: x", "unknown key 'tokn'; did you mean 'token'?"),
        (", base_url: 'http://crm.example.com'", "is given twice"),
        (", threads: 20", "it must be at most 8"),
        (", budget: {dayly: 5}", "did you mean 'daily'?"),
    ],
)
def test_a_wrong_setting_is_told_with_its_remedy(
    server: FakeServer, tmp_path: Path, more: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(server, tmp_path, more)
    assert told in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_secret_in_the_file_is_refused_and_not_repeated(server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(CONFIG.format(address=server.address, more="").replace("${HQ_TOKEN}", "open-secret"))
    with pytest.raises(ConfigError, match="a secret must not stand in the file") as caught:
        load_settings(path, tmp_path, {})
    assert "open-secret" not in str(caught.value)
    assert "open-secret" not in repr(caught.value)


def test_a_crm_over_plain_http_is_refused(server: FakeServer, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(CONFIG.format(address="http://crm.example.com", more=""))
    with pytest.raises(ConfigError, match="https only"):
        load_settings(path, tmp_path, {"HQ_TOKEN": TOKEN})


def test_a_type_without_a_connector_is_not_in_this_version(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(api_settings.CONNECTORS, "pipedrive")
    with pytest.raises(ConfigError, match="reading pipedrive directly is not in this version"):
        settings(server, tmp_path)
