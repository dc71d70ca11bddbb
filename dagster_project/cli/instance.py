"""The Dagster instance of a data folder: set up from the product's own dagster.yaml, swept of dead runs."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from dagster_project import run_lock
from dagster_project.settings import Settings

INSTANCE_FILE = Path(__file__).resolve().parents[1] / "instance" / "dagster.yaml"
PROCESS_TAG = "stageledger/process"
UNFINISHED = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def prepare_home(settings: Settings) -> Path:
    """Make the instance folder, with the newest dagster.yaml of the product, and return it.

    STAGELEDGER_INSTANCE names another dagster.yaml, such as one that keeps runs in PostgreSQL.
    """
    home = settings.paths.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    source, target = Path(os.environ.get("STAGELEDGER_INSTANCE") or INSTANCE_FILE), home / "dagster.yaml"
    if not target.exists() or target.read_bytes() != source.read_bytes():
        shutil.copyfile(source, target)
    return home


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance of the data folder, as the UI sees it. DAGSTER_HOME names it while it is open."""
    home = prepare_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def fail_dead_runs(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Mark runs as failed whose process is gone, and return their ids.

    A run is known to be dead when it left its name in a run lock that nobody holds, or when it was started
    from this command line by a process that no longer exists.
    """
    dead: list[str] = []
    abandoned = abandoned_lock_run(settings.paths.run_lock)
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        run = record.dagster_run
        process = run.tags.get(PROCESS_TAG)
        if run.run_id == abandoned or (process is not None and not process_lives(int(process))):
            instance.report_run_failed(run, "The process of this run ended without saying so (killed?).")
            dead.append(run.run_id)
    return dead


def abandoned_lock_run(path: Path) -> str | None:
    """The run named in a lock that nobody holds; None when the lock is held, absent or was given back."""
    if run_lock.holder(path) is not None or not path.exists():
        return None
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["run_id"])
    except (ValueError, KeyError, TypeError):
        return None


def process_lives(pid: int) -> bool:
    """Whether a process with this id exists on this machine."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
