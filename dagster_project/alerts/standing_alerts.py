"""What stands: jobs whose last run failed, checks whose last evaluation failed, sources that are late."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)

from dagster_project import freshness
from dagster_project.alerts.alert import Alert, one_line, same_failure
from dagster_project.cli.progress import reason
from dagster_project.settings import Settings

WATCHED_JOBS = ("nightly", "land_files", "land_crm", "intraday", "publish")
"""Jobs that nobody sits in front of."""

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
_MANUAL_TAG = "stageledger/manual"
# Both tell of sources that are behind, as the alerts of kind source_lags do, source by source.
_TOLD_BY_SOURCES = {"sources_are_up_to_date", "newest_day_is_published"}


def failed_runs(instance: dg.DagsterInstance, jobs: Sequence[str] = WATCHED_JOBS) -> list[Alert]:
    """Jobs whose newest run that is over has failed, with the reason."""
    alerts = []
    for job in jobs:
        records = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=_FINISHED), limit=20)
        watched = [record for record in records if _MANUAL_TAG not in record.dagster_run.tags]
        if watched and watched[0].dagster_run.status == dg.DagsterRunStatus.FAILURE:
            why = failure_reason(instance, watched[0].dagster_run.run_id)
            alerts.append(run_failure(job, why, watched[0].create_timestamp))
    return alerts


def run_failure(job: str, why: str, started: datetime) -> Alert:
    """The alert of a run that failed, or could not begin. What was published before keeps serving."""
    text = one_line(f"The run of {job} that started {started:%Y-%m-%d %H:%M} UTC failed: {why}")
    return Alert("run_failed", "critical", job, text, same_failure(why))


def failure_reason(instance: dg.DagsterInstance, run_id: str) -> str:
    """Step and innermost error of the first step that failed, else what Dagster says of the run."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    told = "no step says why"
    for record in instance.all_logs(run_id, of_type=kinds):
        event = record.dagster_event
        if event is None:
            continue
        if event.event_type == dg.DagsterEventType.STEP_FAILURE:
            return f"{event.step_key}: {reason(event.step_failure_data.error)}"
        told = event.message or told
    return told


def failed_checks(instance: dg.DagsterInstance, keys: Iterable[dg.AssetCheckKey]) -> list[Alert]:
    """Checks that failed when they were last evaluated; an error is graver than a warning."""
    alerts = []
    for key in keys:
        record = None if key.name in _TOLD_BY_SOURCES else last_evaluation(instance, key)
        if record is None or record.status != AssetCheckExecutionRecordStatus.FAILED:
            continue
        check = record.evaluation
        subject = f"{key.asset_key.to_user_string()}: {key.name}"
        rows = check.metadata.get("dagster_dbt/failed_row_count")
        said = check.description or (
            f"{rows.value:,} rows" if rows is not None else "the run's log says more"
        )
        is_error = check.severity == dg.AssetCheckSeverity.ERROR
        text = one_line(f"A check failed, {subject}: {said}")
        alerts.append(Alert("check_failed", "critical" if is_error else "warning", subject, text))
    return alerts


def last_evaluation(instance: dg.DagsterInstance, key: dg.AssetCheckKey) -> AssetCheckExecutionRecord | None:
    """The newest evaluation; a run that skipped the check has only planned it."""
    over = {AssetCheckExecutionRecordStatus.FAILED, AssetCheckExecutionRecordStatus.SUCCEEDED}
    found = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=over)
    return found[0] if found and found[0].evaluation is not None else None


def late_sources(settings: Settings, now: datetime | None = None) -> list[Alert]:
    """Sources that are further behind than the settings allow, or have delivered nothing dated yet."""
    due = freshness.last_weekday(settings, now or datetime.now(UTC))
    as_of = settings.business.as_of
    needed = min(due, as_of) if isinstance(as_of, date) else due
    reaches = freshness.source_reaches(settings)
    return [
        Alert(
            "source_lags",
            "critical" if late.is_read_by_us else "warning",
            late.source,
            one_line(f"{late.sentence}. {freshness.remedy(late.is_read_by_us)}"),
        )
        for late in freshness.late_sources(reaches, needed, settings.alerts.source_lag_business_days)
    ]
