"""The nightly path from CRM files to the published file, as `make run` walks it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dbt.cli.main import dbtRunner

from dagster_project import run_lock
from dagster_project.automation import MANUAL_TAG, RANGE_END_TAG, RANGE_START_TAG
from dagster_project.cli.instance import open_instance
from dagster_project.cli.run import RunFailed, execute, run_backfill
from dagster_project.cli.status import status_lines
from dagster_project.cli.summary import summary_lines
from dagster_project.definitions import build_definitions
from dagster_project.forecast.scenario_tables import SCENARIO_TABLES
from dagster_project.publish.versions import current_file
from dagster_project.settings import REPOSITORY
from dagster_project.transform.dbt_runner import (
    DBT_PROJECT,
    dbt_arguments,
    dbt_environment,
    environment_set,
)
from dagster_project.warehouse import Warehouse
from tests.pipeline.nightly_bench import (
    AS_OF,
    Business,
    differing_rows,
    published,
    runs,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(business: Business, tmp_path: Path) -> Iterator[Business]:
    """The same business in a folder of its own, for tests that change something."""
    shutil.copytree(business.data, tmp_path / "data", symlinks=True)
    yield Business(business.export, business.config, tmp_path / "data")


def version(business: Business) -> Path:
    path = current_file(business.settings().paths.published_dir)
    assert path is not None
    return path


def steps(business: Business, run_id: str) -> dict[str, str]:
    """Step → how it ended (`success`, `skipped`, `failure`) in one run."""
    endings = {
        dg.DagsterEventType.STEP_SUCCESS: "success",
        dg.DagsterEventType.STEP_SKIPPED: "skipped",
        dg.DagsterEventType.STEP_FAILURE: "failure",
    }
    with open_instance(business.settings()) as instance:
        events = [entry.dagster_event for entry in instance.all_logs(run_id)]
    return {
        event.step_key: endings[event.event_type]
        for event in events
        if event and event.step_key and event.event_type in endings
    }


def test_the_published_file_speaks_of_the_day_of_the_export(business: Business) -> None:
    with published(business.settings()) as connection:
        as_of, tables = connection.execute("select max(as_of), count(*) from _publish").fetchone()
        empty = connection.execute("select table_name from _publish where row_count = 0").fetchall()
    assert as_of == AS_OF
    assert tables >= 20
    # One export is one delivery: nothing of it came late. It has no leads, no rates of a plan, and nobody
    # planned; the first forecast has none before it, and no quarter of it is over.
    of_leads = {"fct_leads", "fct_lead_transitions", "bridge_lead_deal", "mart_lead_conversion"}
    of_plans = {table.name for table in SCENARIO_TABLES}
    of_time = {
        "fct_deal_versions_as_was",
        "forecast_accuracy_live",
        "forecast_changes",
        "forecast_changes_by_segment",
    }
    assert {name for (name,) in empty} == {"dim_plan_rate", *of_leads, *of_plans, *of_time}


def test_the_open_deals_of_the_summary_are_those_of_the_export(business: Business) -> None:
    deals = pd.read_csv(business.export / "deals.csv", dtype=str)
    is_open = (deals["Status"] == "open") & deals["Deleted At"].isna() & deals["Merged Into"].isna()
    lines = summary_lines(business.settings())
    (line,) = [text for text in lines if "Open pipeline" in text]
    assert f"{is_open.sum():,} deals" in line
    assert any("Forecast 2026Q2" in text and "8 times in 10 between" in text for text in lines)
    assert any("Slowest stage" in text for text in lines)
    assert any(str(business.settings().paths.published_file) in text for text in lines)


def test_the_status_names_the_day_the_last_run_and_a_free_lock(business: Business) -> None:
    lines = status_lines(business.settings())
    assert any(f"as of {AS_OF}" in line for line in lines)
    assert any("nightly success" in line for line in lines)
    assert any("Run lock" in line and "free" in line for line in lines)


def test_the_first_run_landed_the_files_and_then_covered_one_day(business: Business) -> None:
    records = [record.dagster_run for record in runs(business.settings())]
    first = [run for run in reversed(records)][:2]
    assert [run.job_name for run in first] == ["land_files", "nightly"]
    assert {first[1].tags[RANGE_START_TAG], first[1].tags[RANGE_END_TAG]} == {AS_OF.isoformat()}
    assert "dagster/partition" not in first[1].tags


def test_no_lock_outlives_the_run(business: Business) -> None:
    assert run_lock.holder(business.settings().paths.run_lock) is None


def test_nothing_of_a_night_makes_dbt_parse_the_next_night(business: Business) -> None:
    settings = business.settings()
    names: set[str] = set()
    with environment_set(dbt_environment(settings)):
        runner = dbtRunner(callbacks=[lambda event: names.add(event.info.name)])
        assert runner.invoke(dbt_arguments(settings, "parse")).success
    assert "PartialParsingSkipParsing" in names


def test_a_second_run_on_unchanged_input_does_nothing(copy: Business) -> None:
    settings = copy.settings()
    before = version(copy)
    landed = sorted(path for path in settings.paths.landing.rglob("*.parquet"))
    copy.nightly()
    newest = runs(settings)[0].dagster_run
    assert newest.status == dg.DagsterRunStatus.SUCCESS
    ended = steps(copy, newest.run_id)
    assert ended["extract_crm_export"] == ended["run_context"] == "success"
    assert ended["dbt_build"] == ended["forecast"] == ended["published_marts"] == "skipped"
    assert sorted(path for path in settings.paths.landing.rglob("*.parquet")) == landed
    assert version(copy) == before


def test_a_look_back_is_marked_and_does_not_count_as_a_night(copy: Business) -> None:
    looked_at = AS_OF.replace(day=8)
    copy.nightly(as_of=looked_at)
    settings = copy.settings()
    assert runs(settings)[0].dagster_run.tags[MANUAL_TAG] == "true"
    with published(settings) as connection:
        assert connection.execute("select max(as_of) from _publish").fetchone() == (looked_at,)
    context = Warehouse(settings.paths.warehouse).query(
        "select run_kind, as_of from ops.run_context order by run_order"
    )
    assert list(context["run_kind"]) == ["nightly", "manual"]
    copy.nightly()
    with published(settings) as connection:
        assert connection.execute("select max(as_of) from _publish").fetchone() == (AS_OF,)


def test_a_failing_data_test_fails_the_run_and_nothing_is_published(copy: Business, tmp_path: Path) -> None:
    project = tmp_path / "dbt"
    shutil.copytree(DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    (project / "tests" / "no_deal_is_ever_won.sql").write_text(
        "{{ config(meta={'dagster': {'ref': {'name': 'fct_deals'}}}) }}\n"
        "select deal_key from {{ ref('fct_deals') }} where status = 'won'"
    )
    settings, before = copy.settings(), version(copy)
    definitions = build_definitions(settings, project)
    tags = {RANGE_START_TAG: AS_OF.isoformat(), RANGE_END_TAG: AS_OF.isoformat()}
    options = {"ops": {"run_context": {"config": {"rebuild": True}}}}
    with (
        open_instance(settings) as instance,
        pytest.raises(RunFailed, match=r"dbt_build: .*no_deal_is_ever_won: Got \d+ results"),
    ):
        execute(definitions, instance, "nightly", tags, options)
    ended = steps(copy, runs(settings)[0].dagster_run.run_id)
    assert ended["dbt_build"] == "failure"
    assert "published_marts" not in ended
    assert version(copy) == before
    assert run_lock.holder(settings.paths.run_lock) is None
    build = Warehouse(settings.paths.warehouse).query("select * from ops.build order by build_order")
    assert list(build["finished_at"].isna()) == [False, True]


def test_a_run_interrupted_in_dbt_leaves_no_lock_and_the_next_builds_the_same_rows(copy: Business) -> None:
    settings, before = copy.settings(), version(copy)
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster_project", "run", "--rebuild"],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "STAGELEDGER_CONFIG": str(copy.config),
            "STAGELEDGER_DATA": str(copy.data),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while not (line := process.stdout.readline()).startswith("  staging"):
        assert line, "the run ended before dbt had built the staging layer"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.startswith("stopped") and "Traceback" not in said
    assert run_lock.holder(settings.paths.run_lock) is None
    assert version(copy) == before
    assert runs(settings)[0].dagster_run.status == dg.DagsterRunStatus.FAILURE
    copy.nightly()
    assert version(copy) != before
    assert differing_rows(before, version(copy)) == {}


def test_a_run_beside_a_running_one_ends_with_the_name_of_the_holder(copy: Business) -> None:
    settings = copy.settings()
    with (
        run_lock.hold(settings.paths.run_lock, "another-run", "forecast backfill"),
        pytest.raises(run_lock.RunLocked, match="forecast backfill"),
    ):
        copy.nightly(rebuild=True)


def test_a_backfill_of_past_days_is_one_run_without_dbt_and_is_published(copy: Business) -> None:
    settings = copy.settings()
    run_backfill(settings, AS_OF.replace(day=1), AS_OF.replace(day=10))
    publish, backfill = (record.dagster_run for record in runs(settings)[:2])
    assert (backfill.job_name, publish.job_name) == ("forecast_backfill", "publish")
    assert set(steps(copy, backfill.run_id)) == {"forecast_days_again"}
    with published(settings) as connection:
        days = connection.execute(
            "select kind, count(distinct as_of) from forecast_bookings group by kind order by kind"
        ).fetchall()
    assert days == [("backfill", 10), ("live", 1)]
