"""Run a job here and now against the instance of the data folder, with progress lines instead of logs."""

import json
import logging
import os
import uuid
import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project import automation, run_lock
from dagster_project.alerts.notify import tell
from dagster_project.cli.instance import PROCESS_TAG, fail_dead_runs, open_instance
from dagster_project.cli.progress import Clock, Progress, plain_line, write_line
from dagster_project.extract.file_drop import new_files
from dagster_project.extract.landing import Landing
from dagster_project.settings import Settings

log = logging.getLogger("stageledger.run")


class RunFailed(Exception):
    """A run ended without success; the text names the step and the reason in one line."""


class IndentingFormatter(logging.Formatter):
    """Only the first line of a record stands at the margin, so no name of a CRM can pass for a record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, further lines indented, other control signs as escapes."""
        return "\n  ".join(plain_line(line) for line in super().format(record).split("\n"))


def open_log(settings: Settings, name: str) -> Path:
    """Send all logging of this process, and Python's warnings, to a file of the data folder."""
    folder = settings.paths.root / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.log"
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(IndentingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    warnings.simplefilter("ignore", category=dg.BetaWarning)
    warnings.simplefilter("ignore", category=dg.PreviewWarning)
    prune_logs(folder)
    return path


def prune_logs(folder: Path, keep: int = 30) -> None:
    """Keep the newest logs only."""
    for old in sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)[:-keep]:
        old.unlink(missing_ok=True)


def refuse_when_locked(settings: Settings) -> None:
    """End at once, instead of after extraction, when another run is writing.

    Raises `run_lock.RunLocked`, which names the holder.
    """
    current = run_lock.holder(settings.paths.run_lock)
    if current is not None:
        raise run_lock.RunLocked(settings.paths.run_lock, current, 0.0)


def run_nightly(settings: Settings, *, rebuild: bool = False) -> Progress:
    """Land what is new, run the `nightly` job for the days that are due, then tell what is new to hear of.

    Raises `RunFailed`, `run_lock.RunLocked`, and `AsOfError` when there is no day to speak of.
    """
    refuse_when_locked(settings)
    with open_instance(settings) as instance:
        fail_dead_runs(settings, instance)
        try:
            progress, checks = land_and_run(settings, instance, rebuild)
        except (RunFailed, run_lock.RunLocked):
            tell_unless_manual(settings, instance)
            raise
        except Exception as error:
            # No run says it, because none could begin.
            tell_unless_manual(settings, instance, failure=("nightly", f"{error}"))
            raise
        tell_unless_manual(settings, instance, checks)
        automation.prune_run_logs(settings.paths.dagster_home, datetime.now(UTC))
    return progress


def land_and_run(
    settings: Settings, instance: dg.DagsterInstance, rebuild: bool
) -> tuple[Progress, list[dg.AssetCheckKey]]:
    """Execute the jobs of a night; what there was to see, and the checks that there are."""
    from dagster_project.definitions import build_definitions, landing_definitions, newest_as_of

    shown: set[str] = set()
    if settings.file_sources() and has_new_files(settings):
        # Only landed data say which days there are, and a run must know its days when it starts.
        shown |= execute(landing_definitions(settings), instance, "land_files", {}).shown
    if settings.api_sources():
        due = automation.yesterday(settings, datetime.now(UTC))
        last = automation.last_nightly_success(instance)
        days = automation.range_tags(*automation.nightly_range(due, last))
        shown |= execute(landing_definitions(settings), instance, "land_crm", days).shown
    as_of = newest_as_of(settings)
    if settings.as_of_is_manual:
        tags = {**automation.range_tags(as_of, as_of), automation.MANUAL_TAG: "true"}
    else:
        last = automation.last_nightly_success(instance)
        tags = automation.range_tags(*automation.nightly_range(as_of, last))
    options = {"ops": {"run_context": {"config": {"rebuild": True}}}} if rebuild else {}
    definitions = build_definitions(settings)
    progress = Progress(dbt_layers(definitions), write_line, shown)
    execute(definitions, instance, "nightly", tags, options, progress)
    return progress, list(definitions.resolve_asset_graph().asset_check_keys)


def tell_unless_manual(
    settings: Settings,
    instance: dg.DagsterInstance,
    checks: Sequence[dg.AssetCheckKey] = (),
    failure: tuple[str, str] | None = None,
) -> None:
    """Tell the webhook; of a look back at a past day somebody waits for the result anyway."""
    if not settings.as_of_is_manual:
        tell(settings, instance, checks, failure)


def has_new_files(settings: Settings) -> bool:
    """Whether a configured file has not been read yet, or nothing was ever landed.

    With an empty landing extraction runs in any case: it says best what is missing.
    """
    landing = Landing(settings.paths.landing)
    return not landing.batches() or json.loads(new_files(settings, landing).cursor) != []


def run_backfill(
    settings: Settings, first: date, last: date, *, plan_only: bool = False, accept: bool = False
) -> Progress:
    """Forecast the days from `first` to `last` again in one run, without dbt, and publish the result.

    `plan_only`: write nothing. `accept`: go on although definitions have changed.
    """
    from dagster_project.definitions import build_definitions

    refuse_when_locked(settings)
    definitions = build_definitions(settings)
    with open_instance(settings) as instance:
        fail_dead_runs(settings, instance)
        config = {
            "first_day": first.isoformat(),
            "last_day": last.isoformat(),
            "plan_only": plan_only,
            "accept_changed_definitions": accept,
        }
        options = {"ops": {"forecast_days_again": {"config": config}}}
        progress = execute(definitions, instance, "forecast_backfill", {}, options)
        if not plan_only:
            execute(definitions, instance, "publish", {}, progress=progress)
    return progress


def execute(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job_name: str,
    tags: Mapping[str, str],
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Progress:
    """Execute one job in this process; its events reach the instance, the log file and the progress lines."""
    job = definitions.resolve_job_def(job_name)
    progress = progress or Progress(dbt_layers(definitions), write_line)
    shown = progress

    def on_event(entry: dg.EventLogEntry) -> None:
        log.log(entry.level, "%s", entry.user_message if entry.dagster_event is None else entry.message)
        shown.on_event(entry)

    run_id = str(uuid.uuid4())
    instance.add_event_listener(run_id, on_event)
    clock = Clock()
    result = job.execute_in_process(
        instance=instance,
        run_id=run_id,
        tags={**tags, PROCESS_TAG: str(os.getpid())},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, **(options or {})},
        raise_on_error=False,
    )
    log.info("%s took %.1f s", job_name, clock.seconds)
    if any("ExecutionInterrupted" in reason for _, reason in progress.failures):
        # Dagster turns the interrupt into a failed step; for the person at the keyboard it is a stop.
        raise KeyboardInterrupt
    if not result.success:
        step, reason = progress.failures[0] if progress.failures else (job_name, "no step says why")
        raise RunFailed(f"{step}: {reason}")
    return progress


def dbt_layers(definitions: dg.Definitions) -> dict[dg.AssetKey, str]:
    """The dbt layer of every asset that dbt builds."""
    return {
        spec.key: spec.group_name
        for spec in definitions.resolve_all_asset_specs()
        if "dbt" in spec.kinds and spec.group_name is not None
    }
