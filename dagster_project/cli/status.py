"""What is published, which days lack a forecast, what ran last, and who holds the lock."""

from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg
import duckdb

from dagster_project import freshness, run_lock
from dagster_project.cli.instance import open_instance
from dagster_project.cli.summary import fact, many
from dagster_project.publish.versions import current_file
from dagster_project.settings import Settings

LOOK_BACK_DAYS = 31


def status_lines(settings: Settings) -> list[str]:
    """The state of one data folder, one line per question."""
    return [
        f"{settings.business.name} in {settings.paths.root}",
        *published(settings),
        *last_runs(settings),
        fact("Run lock", holder(settings)),
    ]


def published(settings: Settings) -> list[str]:
    """The version that readers see, and the days before it that have no forecast."""
    path, as_of = current_file(settings.paths.published_dir), freshness.published_as_of(settings)
    if path is None or as_of is None:
        return [fact("Published", "nothing yet: `make run` publishes")]
    with duckdb.connect(str(path), read_only=True) as connection:
        when = many(connection, "select max(published_at) as published_at from _publish")[0]["published_at"]
        forecast = {row["as_of"] for row in many(connection, "select distinct as_of from forecast_bookings")}
    return [
        fact("Published", f"as of {as_of} ({path.name}, {when:%Y-%m-%d %H:%M} UTC)"),
        fact("Forecast gaps", gaps_in_words(missing_days(forecast, as_of))),
    ]


def missing_days(present: set[date], as_of: date, look_back: int = LOOK_BACK_DAYS) -> list[date]:
    """Days among the last `look_back` up to `as_of` that are not in `present`, from the first one that is."""
    first = max(min(present, default=as_of), as_of - timedelta(days=look_back - 1))
    days = [first + timedelta(days=step) for step in range((as_of - first).days + 1)]
    return [day for day in days if day not in present]


def gaps_in_words(days: Sequence[date]) -> str:
    """Which days are missing, and the command that fills them."""
    if not days:
        return "none"
    return (
        f"{len(days)} days of the last {LOOK_BACK_DAYS} have no forecast; "
        f"make backfill FROM={days[0]} TO={days[-1]}"
    )


def last_runs(settings: Settings) -> list[str]:
    """The newest run, and the newest failed one when it is not the same."""
    if not settings.paths.dagster_home.exists():
        return [fact("Last run", "none yet")]
    with open_instance(settings) as instance:
        newest = instance.get_run_records(limit=1)
        failed = instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]), limit=1)
    lines = [fact("Last run", run_in_words(record)) for record in newest]
    lines += [fact("Last failure", run_in_words(record)) for record in failed if record not in newest]
    return lines or [fact("Last run", "none yet")]


def run_in_words(record: dg.RunRecord) -> str:
    """Job, outcome and start of a run."""
    run = record.dagster_run
    return f"{run.job_name} {run.status.value.lower()}, started {record.create_timestamp:%Y-%m-%d %H:%M} UTC"


def holder(settings: Settings) -> str:
    """Who is writing now."""
    current = run_lock.holder(settings.paths.run_lock)
    return f"held by {current.describe()}" if current else "free"
