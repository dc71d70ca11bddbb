"""A killed process leaves no run that looks alive for ever."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from dagster_project import run_lock
from dagster_project.alerts.assets import other_jobs
from dagster_project.alerts.standing_alerts import WATCHED_JOBS, failed_runs
from dagster_project.cli.instance import PROCESS_TAG, abandoned_lock_run, fail_dead_runs


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def settings(tmp_path: Path) -> SimpleNamespace:
    return SimpleNamespace(paths=SimpleNamespace(run_lock=tmp_path / "run.lock"))


@dg.job
def nightly() -> None:
    pass


def started(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    return instance.create_run_for_job(nightly, status=dg.DagsterRunStatus.STARTED, tags=tags)


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def dead_process() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_run_whose_process_is_gone_is_failed(
    instance: dg.DagsterInstance, settings: SimpleNamespace
) -> None:
    run = started(instance, **{PROCESS_TAG: str(dead_process())})
    assert fail_dead_runs(settings, instance) == [run.run_id]
    assert status(instance, run) == dg.DagsterRunStatus.FAILURE


def test_a_run_whose_process_lives_is_left_alone(
    instance: dg.DagsterInstance, settings: SimpleNamespace
) -> None:
    run = started(instance, **{PROCESS_TAG: str(os.getpid())})
    assert fail_dead_runs(settings, instance) == []
    assert status(instance, run) == dg.DagsterRunStatus.STARTED


def test_a_run_that_died_holding_the_lock_is_failed_although_nobody_knows_its_process(
    instance: dg.DagsterInstance, settings: SimpleNamespace
) -> None:
    dead, other = started(instance), started(instance)
    left = {"pid": 1, "started_at": "2026-03-31T04:00:00+00:00", "run_id": dead.run_id, "what": "nightly"}
    settings.paths.run_lock.write_text(json.dumps(left))
    assert fail_dead_runs(settings, instance) == [dead.run_id]
    assert status(instance, other) == dg.DagsterRunStatus.STARTED


def test_a_lock_that_is_held_or_was_given_back_names_no_dead_run(settings: SimpleNamespace) -> None:
    path = settings.paths.run_lock
    assert abandoned_lock_run(path) is None
    lock = run_lock.acquire(path, "a-run", "a test")
    assert abandoned_lock_run(path) is None
    lock.release()
    assert abandoned_lock_run(path) is None


def test_the_run_that_mends_a_killed_night_publishes_no_alert_of_it(instance: dg.DagsterInstance) -> None:
    """Its tables are then those of an undisturbed night; another job that failed is still told."""
    killed = started(instance)
    instance.report_run_failed(killed, "The process of this run ended without saying so (killed?).")
    mending = started(instance)
    assert [alert.subject for alert in failed_runs(instance)] == ["nightly"]
    assert failed_runs(instance, other_jobs(instance, mending.run_id)) == []
    assert other_jobs(instance, mending.run_id) == [job for job in WATCHED_JOBS if job != "nightly"]
    assert other_jobs(instance, "a run that nobody knows") == list(WATCHED_JOBS)
