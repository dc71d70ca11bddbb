"""The event log that keeps its engines stores what Dagster's own storage stores, in the same files."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from dagster_project.cli.instance import INSTANCE_FILE
from dagster_project.instance.event_log import KEPT, KeptEngineEventLog


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(INSTANCE_FILE.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@dg.asset(check_specs=[dg.AssetCheckSpec("is_good", asset="deals")])
def deals() -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    yield dg.MaterializeResult(metadata={"rows": 3})
    yield dg.AssetCheckResult(passed=True, check_name="is_good")


def test_the_shipped_instance_uses_it(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.event_log_storage, KeptEngineEventLog)


def test_dagsters_own_storage_reads_every_event_that_it_wrote(
    home: Path, instance: dg.DagsterInstance
) -> None:
    result = dg.materialize([deals], instance=instance)
    written = instance.all_logs(result.run_id)
    own = SqliteEventLogStorage(str(home / "history" / "runs"))
    assert own.get_logs_for_run(result.run_id) == written
    assert len(written) > 8
    assert own.get_latest_materialization_events([deals.key])[deals.key].run_id == result.run_id
    check = own.get_latest_asset_check_execution_by_key([deals.check_specs_by_output_name.popitem()[1].key])
    assert [record.run_id for record in check.values()] == [result.run_id]


def test_another_instance_on_the_same_files_sees_what_was_stored(
    home: Path, instance: dg.DagsterInstance
) -> None:
    with dg.DagsterInstance.from_config(str(home)) as other:
        result = dg.materialize([deals], instance=instance)
        event = other.get_latest_materialization_event(deals.key)
    assert event is not None and event.run_id == result.run_id


def test_reading_many_runs_does_not_keep_all_their_files_open(instance: dg.DagsterInstance) -> None:
    ids = [dg.materialize([deals], instance=instance).run_id for _ in range(KEPT + 4)]
    for run_id in ids:
        assert instance.all_logs(run_id)
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("this system does not list open files")
    open_files = {os.path.realpath(path) for path in descriptors.iterdir() if path.exists()}
    logs = {file for file in open_files if "/history/runs/" in file and file.endswith(".db")}
    assert len(logs) <= KEPT


def test_what_the_schema_has_is_asked_until_its_first_yes(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, asked, answers = instance.event_log_storage, [], iter([False, True])

    def ask(self: SqliteEventLogStorage, name: str) -> bool:
        asked.append(name)
        return next(answers)

    monkeypatch.setattr(SqliteEventLogStorage, "has_table", ask)
    assert [log.has_table("runs_of_tomorrow") for _ in range(4)] == [False, True, True, True]
    assert asked == ["runs_of_tomorrow"] * 2
