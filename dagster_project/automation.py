"""When what runs: partitions, jobs, the nightly schedule, sensors, freshness, and the hold of the lock."""

import logging
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg

from dagster_project.alerts.notify import tell
from dagster_project.alerts.standing_alerts import WATCHED_JOBS
from dagster_project.asset_jobs import Job, Jobs
from dagster_project.extract.api.redaction import SECRETS
from dagster_project.extract.as_of import AsOfError
from dagster_project.extract.file_drop import new_files
from dagster_project.extract.landing import Landing
from dagster_project.publish.versions import current_file
from dagster_project.settings import Settings

log = logging.getLogger(__name__)

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
MANUAL_TAG = "stageledger/manual"
MAX_CATCH_UP_DAYS = 31
NIGHTLY_CRON = "0 4 * * *"
INTRADAY_CRON = "30 7-19 * * 1-5"
KEEP_RUN_LOGS_DAYS = 90


def build_partitions(settings: Settings, earliest: date) -> dg.DailyPartitionsDefinition:
    """The one partition definition that all daily assets share (two definitions cannot be in one job).

    `earliest` is used where the configuration names no `history_start`. The end offset makes today a
    partition of its own, although it is not over.
    """
    start = settings.business.history_start or earliest
    return dg.DailyPartitionsDefinition(
        start_date=start.isoformat(), timezone=settings.business.time_zone, end_offset=1
    )


def nightly_range(
    as_of: date, last_success: date | None, max_days: int = MAX_CATCH_UP_DAYS
) -> tuple[date, date]:
    """First and last day of one nightly run: from the day after the last success to `as_of`.

    At most `max_days`; older gaps are closed by the landing's watermark inside the newest window. The first
    run, and a run for a day that was done before, cover `as_of` alone.
    """
    if last_success is None or last_success >= as_of:
        return as_of, as_of
    return max(last_success + timedelta(days=1), as_of - timedelta(days=max_days - 1)), as_of


def range_tags(start: date, end: date) -> dict[str, str]:
    """Run tags of a range of days. Never send a partition key with them: a key silently wins over a range."""
    return {RANGE_START_TAG: start.isoformat(), RANGE_END_TAG: end.isoformat()}


def last_nightly_success(instance: dg.DagsterInstance) -> date | None:
    """The last day that a successful nightly run covered; None before the first. Manual days do not count."""
    records = instance.get_run_records(
        dg.RunsFilter(job_name="nightly", statuses=[dg.DagsterRunStatus.SUCCESS]), limit=50
    )
    days = [
        date.fromisoformat(record.dagster_run.tags[RANGE_END_TAG])
        for record in records
        if RANGE_END_TAG in record.dagster_run.tags and MANUAL_TAG not in record.dagster_run.tags
    ]
    return max(days, default=None)


def nightly_request(instance: dg.DagsterInstance, as_of: date, run_key: str | None = None) -> dg.RunRequest:
    """One run for all days that are due."""
    start, end = nightly_range(as_of, last_nightly_success(instance))
    return dg.RunRequest(run_key=run_key, tags=range_tags(start, end))


def build_nightly_schedule(
    settings: Settings, jobs: Jobs, newest_as_of: Callable[[Settings], date]
) -> dg.ScheduleDefinition:
    """Every night at 04:00 business time, on by default.

    With CRMs among the sources it starts `land_crm` up to yesterday, and `landed_sensor` starts `nightly`:
    how far the data reach is known only then (a daily budget may have ended early).
    """

    @dg.schedule(
        name="nightly_schedule",
        job=jobs.land_crm or jobs.nightly,
        cron_schedule=NIGHTLY_CRON,
        execution_timezone=settings.business.time_zone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="One run a night for every day since the last success, at most 31.",
    )
    def nightly_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if jobs.land_crm is not None:
            return nightly_request(context.instance, yesterday(settings, datetime.now(UTC)))
        try:
            return nightly_request(context.instance, newest_as_of(settings))
        except AsOfError as error:
            return dg.SkipReason(str(error))

    return nightly_schedule


def yesterday(settings: Settings, now: datetime) -> date:
    """The last business day that is over."""
    return now.astimezone(settings.business.zone).date() - timedelta(days=1)


def build_intraday_schedule(settings: Settings, job: Job) -> dg.ScheduleDefinition:
    """Every hour of the working day, off by default; it skips while another run is on its way."""

    @dg.schedule(
        name="intraday_schedule",
        job=job,
        cron_schedule=INTRADAY_CRON,
        execution_timezone=settings.business.time_zone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Keeps today fresh: lands what changed since, and publishes. Switch it on where needed.",
    )
    def intraday_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        if unfinished_run(context.instance) is not None:
            return dg.SkipReason("another run is on its way")
        today = yesterday(settings, datetime.now(UTC)) + timedelta(days=1)
        return dg.RunRequest(tags=range_tags(today, today))

    return intraday_schedule


def build_file_sensor(settings: Settings, job: Job) -> dg.SensorDefinition:
    """Starts `land_files` when a configured file has arrived or changed and is complete, on by default."""

    @dg.sensor(
        name="file_drop_sensor",
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Lands a new export as soon as it lies in one of the configured places.",
    )
    def file_drop_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        found = new_files(settings, Landing(settings.paths.landing), context.cursor)
        context.update_cursor(found.cursor)
        if found.fingerprint is None:
            return dg.SkipReason("no new file, or one that is still being written")
        # The key makes one drop one run, however often the sensor looks before the run has read it.
        return dg.RunRequest(run_key=found.fingerprint)

    return file_drop_sensor


def build_landed_sensor(
    settings: Settings,
    landing_jobs: Sequence[Job | dg.JobDefinition],
    nightly: Job,
    newest_as_of: Callable[[Settings], date],
) -> dg.SensorDefinition:
    """Starts `nightly` when extraction alone has ended: only now is it known which days there are."""

    @dg.run_status_sensor(
        name="landed_sensor",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=list(landing_jobs),
        request_job=nightly,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description="Runs the nightly job on what has just been landed.",
    )
    def landed_sensor(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        try:
            as_of = newest_as_of(settings)
        except AsOfError as error:
            return dg.SkipReason(str(error))
        return nightly_request(context.instance, as_of, f"landed-by-{context.dagster_run.run_id}")

    return landed_sensor


def build_publish_sensor(settings: Settings, job: Job) -> dg.SensorDefinition:
    """After any successful run, such as a forecast backfill: publish when the warehouse is newer."""

    @dg.run_status_sensor(
        name="publish_sensor",
        run_status=dg.DagsterRunStatus.SUCCESS,
        request_job=job,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=60,
        description="Publishes after a run that changed the warehouse without publishing it.",
    )
    def publish_sensor(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
        prune_run_logs(Path(context.instance.root_directory), datetime.now(UTC))
        if unfinished_run(context.instance) is not None:
            return dg.SkipReason("another run is on its way; its own end decides")
        if not is_warehouse_newer(settings):
            return dg.SkipReason("the published file is up to date")
        return dg.RunRequest(run_key=f"publish-after-{context.dagster_run.run_id}")

    return publish_sensor


def unfinished_run(instance: dg.DagsterInstance) -> str | None:
    """The id of a run that waits or works; None when there is none."""
    statuses = [
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
    ]
    return next((run.run_id for run in instance.get_runs(dg.RunsFilter(statuses=statuses), limit=1)), None)


def is_warehouse_newer(settings: Settings) -> bool:
    """Whether the warehouse was written after the published file. Files are compared, nothing is opened."""
    if not settings.paths.warehouse.exists():
        return False
    published = current_file(settings.paths.published_dir)
    return published is None or settings.paths.warehouse.stat().st_mtime > published.stat().st_mtime


def build_failure_sensor(settings: Settings, checks: Sequence[dg.AssetCheckKey]) -> dg.SensorDefinition:
    """After any failed run: one line in the log, and a message where nobody sits in front of the job."""

    @dg.run_failure_sensor(
        name="failure_alert",
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=60,
        description="Writes every failed run to the log, and tells the webhook of those nobody watches.",
    )
    def failure_alert(context: dg.RunFailureSensorContext) -> None:
        message = SECRETS.clean(context.failure_event.message or "")
        run = context.dagster_run
        log.error("run %s of %s failed: %s", run.run_id, run.job_name, message)
        if run.job_name in WATCHED_JOBS and MANUAL_TAG not in run.tags:
            tell(settings, context.instance, checks)

    return failure_alert


def build_alert_sensor(
    settings: Settings, job: Job, checks: Sequence[dg.AssetCheckKey]
) -> dg.SensorDefinition:
    """After a nightly run that succeeded: one message about what is new. `make run` tells by itself."""

    @dg.run_status_sensor(
        name="alert_sensor",
        run_status=dg.DagsterRunStatus.SUCCESS,
        monitored_jobs=[job],
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=60,
        description="Tells the webhook what is new after a night; each alert once while it lasts.",
    )
    def alert_sensor(context: dg.RunStatusSensorContext) -> None:
        if MANUAL_TAG not in context.dagster_run.tags:
            tell(settings, context.instance, checks)

    return alert_sensor


def prune_run_logs(dagster_home: Path, now: datetime, keep_days: int = KEEP_RUN_LOGS_DAYS) -> int:
    """Delete the event logs of runs older than `keep_days`, and return how many.

    Dagster keeps one file per run and never deletes it. What assets were materialized when lies in another
    file and stays.
    """
    oldest = (now - timedelta(days=keep_days)).timestamp()
    pruned = 0
    for path in (dagster_home / "history" / "runs").glob("*.db"):
        if path.name != "index.db" and path.stat().st_mtime < oldest:
            path.unlink()
            shutil.rmtree(dagster_home / "storage" / path.stem, ignore_errors=True)
            pruned += 1
    return pruned
