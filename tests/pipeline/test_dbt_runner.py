"""dbt in this process: its results one by one, its failures in words, and nothing left open afterwards."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest
from dbt.cli.main import dbtRunner

from dagster_project.transform import manifest
from dagster_project.transform.dbt_runner import (
    DbtError,
    DbtInvocation,
    count_rows,
    dbt_arguments,
    dbt_environment,
    environment_set,
)
from tests.pipeline.tiny_dbt import SLOW_SQL, write_project, write_warehouse


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "dbt")


@pytest.fixture
def settings(tmp_path: Path) -> SimpleNamespace:
    return write_warehouse(tmp_path)


def invocation(settings: SimpleNamespace, project: Path, *options: str) -> DbtInvocation:
    return DbtInvocation(
        arguments=[*dbt_arguments(settings, "build", project=project), *options],
        environment=dbt_environment(settings),
        log_file=settings.paths.dbt_target / "logs" / "dbt.log",
    )


def opens_elsewhere(warehouse: Path) -> bool:
    """Whether another process can open the warehouse for writing: nothing here holds it any more."""
    code = (
        f"import duckdb; duckdb.connect({str(warehouse)!r}).execute('create or replace table t as select 1')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_results_come_one_by_one_and_a_new_table_can_be_counted_at_once(
    settings: SimpleNamespace, project: Path
) -> None:
    seen: list[str] = []
    rows: dict[str, int | None] = {}
    for message in (run := invocation(settings, project)).messages():
        if message.is_result:
            seen.append(message.unique_id.split(".")[2])
        if message.unique_id == "model.stageledger.mart_deals":
            rows["mart_deals"] = count_rows("marts", "mart_deals")
    run.raise_for_errors()
    assert rows == {"mart_deals": 2}  # two stages: Lead and Quote
    assert seen.index("stg_deals") < seen.index("not_null_stg_deals_deal_id") < seen.index("mart_deals")
    assert {"unique_mart_deals_stage", "not_null_mart_deals_stage", "stg_run_context"} <= set(seen)


def test_nothing_is_left_open_after_a_build(settings: SimpleNamespace, project: Path) -> None:
    run = invocation(settings, project)
    list(run.messages())
    run.raise_for_errors()
    assert opens_elsewhere(settings.paths.warehouse)
    with duckdb.connect(str(settings.paths.warehouse), config={"threads": 1}) as connection:
        found = connection.execute("select stage, deals from marts.mart_deals order by stage").fetchall()
    assert found == [("Lead", 3), ("Quote", 1)]


def test_the_environment_is_as_it_was_after_a_build(
    settings: SimpleNamespace, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGELEDGER_WAREHOUSE", "another")
    monkeypatch.delenv("STAGELEDGER_LANDING", raising=False)
    list(invocation(settings, project).messages())
    assert os.environ["STAGELEDGER_WAREHOUSE"] == "another"
    assert "STAGELEDGER_LANDING" not in os.environ


def test_a_failed_test_is_named_with_its_reason_and_the_log(settings: SimpleNamespace, project: Path) -> None:
    with duckdb.connect(str(settings.paths.warehouse)) as connection:
        connection.execute("insert into landing.deals values (null, 'Lead')")
    run = invocation(settings, project)
    list(run.messages())
    found = r"not_null_stg_deals_deal_id: Got 1 result.*shown by .*deal_id\.sql.*full log: .*dbt\.log"
    with pytest.raises(DbtError, match=found):
        run.raise_for_errors()


def test_sql_that_does_not_run_is_named_without_a_trail_of_macros(
    settings: SimpleNamespace, project: Path
) -> None:
    (project / "models/marts/mart_deals.sql").write_text("select no_such_column from {{ ref('stg_deals') }}")
    run = invocation(settings, project)
    list(run.messages())
    with pytest.raises(DbtError, match=r"model mart_deals: .*no_such_column") as caught:
        run.raise_for_errors()
    assert "> in macro" not in str(caught.value)


def test_a_project_that_does_not_parse_is_an_error_in_words(settings: SimpleNamespace, project: Path) -> None:
    (project / "models/marts/mart_deals.sql").write_text("select * from {{ ref('nowhere') }}")
    with pytest.raises(DbtError, match=r"mart_deals.*nowhere"):
        manifest.load_manifest(settings, project)


def test_a_cancelled_build_ends_its_queries_and_frees_the_warehouse(
    settings: SimpleNamespace, project: Path
) -> None:
    (project / "models/marts/mart_deals.sql").write_text(SLOW_SQL)
    run = invocation(settings, project)
    messages = run.messages()
    for message in messages:
        if message.unique_id.endswith("stg_run_context"):
            break  # the slow mart is next
    time.sleep(1.0)
    started = time.monotonic()
    messages.close()
    assert time.monotonic() - started < 20
    assert opens_elsewhere(settings.paths.warehouse)


def test_a_second_build_reads_the_parsed_project_instead_of_parsing_it(
    settings: SimpleNamespace, project: Path
) -> None:
    events: list[set[str]] = []
    for _ in range(2):
        names: set[str] = set()
        with environment_set(dbt_environment(settings)):
            runner = dbtRunner(callbacks=[lambda event, names=names: names.add(event.info.name)])
            assert runner.invoke(dbt_arguments(settings, "build", project=project)).success
        events.append(names)
    assert "PartialParsingSkipParsing" not in events[0]
    assert "PartialParsingSkipParsing" in events[1]


@pytest.fixture
def parsed(settings: SimpleNamespace, project: Path) -> Path:
    manifest.load_manifest(settings, project)
    return manifest.manifest_path(settings)


def test_a_manifest_is_fresh_until_a_file_of_the_project_changes(parsed: Path, project: Path) -> None:
    assert not manifest.is_stale(parsed, project)
    later = parsed.stat().st_mtime + 10
    os.utime(project / "models/marts/mart_deals.sql", (later, later))
    assert manifest.is_stale(parsed, project)


def test_a_deleted_model_makes_the_manifest_stale(parsed: Path, project: Path) -> None:
    (project / "models/marts/mart_deals.sql").unlink()
    later = parsed.stat().st_mtime + 10
    os.utime(project / "models/marts", (later, later))
    assert manifest.is_stale(parsed, project)


def test_what_dbt_writes_itself_makes_no_manifest_stale(parsed: Path, project: Path) -> None:
    (project / "target").mkdir()
    (project / "target" / "run_results.json").write_text("{}")
    (project / ".user.yml").write_text("id: x")
    assert not manifest.is_stale(parsed, project)


def test_a_stale_manifest_is_parsed_anew_when_it_is_asked_for(
    settings: SimpleNamespace, parsed: Path, project: Path
) -> None:
    (project / "models/marts/mart_more.sql").write_text("select 1 as one")
    later = parsed.stat().st_mtime + 10
    os.utime(project / "models/marts/mart_more.sql", (later, later))
    assert "model.stageledger.mart_more" in manifest.load_manifest(settings, project)["nodes"]
