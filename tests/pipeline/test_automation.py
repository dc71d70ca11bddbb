"""When what runs: which days a nightly run covers, what is due, and what old logs are deleted."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from dagster_project import automation, freshness, run_hold, run_lock


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def business(as_of: date | str = "latest", *data_as_of: date | None) -> SimpleNamespace:
    """As much of the settings as automation looks at; business time is New York's."""
    return SimpleNamespace(
        business=SimpleNamespace(
            as_of=as_of,
            zone=ZoneInfo("America/New_York"),
            time_zone="America/New_York",
            history_start=None,
        ),
        sources=tuple(SimpleNamespace(data_as_of=day) for day in data_as_of),
    )


def finished_nightly(instance: dg.DagsterInstance, last_day: str, **tags: str) -> None:
    """Put a successful nightly run that covered days up to `last_day` into the instance."""

    @dg.job(name="nightly")
    def nightly() -> None:
        pass

    run = instance.create_run_for_job(nightly, tags={automation.RANGE_END_TAG: last_day, **tags})
    instance.report_run_failed(run) if tags.get("failed") else instance.handle_new_event(success_of(run))


def success_of(run: dg.DagsterRun) -> dg.EventLogEntry:
    event = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.RUN_SUCCESS.value, job_name=run.job_name, message="done"
    )
    return dg.EventLogEntry(
        error_info=None,
        level=20,
        user_message="",
        run_id=run.run_id,
        timestamp=datetime.now(UTC).timestamp(),
        job_name=run.job_name,
        dagster_event=event,
    )


def test_the_first_nightly_run_covers_the_newest_day_alone() -> None:
    day = date(2026, 3, 31)
    assert automation.nightly_range(day, None) == (day, day)


def test_a_nightly_run_begins_on_the_day_after_the_last_success() -> None:
    assert automation.nightly_range(date(2026, 3, 31), date(2026, 3, 27)) == (
        date(2026, 3, 28),
        date(2026, 3, 31),
    )


def test_a_run_for_a_day_that_was_done_covers_that_day_again() -> None:
    day = date(2026, 3, 31)
    assert automation.nightly_range(day, day) == (day, day)
    assert automation.nightly_range(day, date(2026, 4, 2)) == (day, day)


def test_a_nightly_run_never_asks_for_more_than_31_days() -> None:
    first, last = automation.nightly_range(date(2026, 3, 31), date(2025, 1, 1))
    assert (first, last) == (date(2026, 3, 1), date(2026, 3, 31))


def test_the_request_names_a_range_and_no_partition_key(instance: dg.DagsterInstance) -> None:
    finished_nightly(instance, "2026-03-29")
    request = automation.nightly_request(instance, date(2026, 3, 31))
    assert request.partition_key is None
    assert request.tags == {
        "dagster/asset_partition_range_start": "2026-03-30",
        "dagster/asset_partition_range_end": "2026-03-31",
    }


def test_a_look_back_and_a_failed_run_do_not_count_as_the_last_success(
    instance: dg.DagsterInstance,
) -> None:
    finished_nightly(instance, "2026-03-20")
    finished_nightly(instance, "2026-04-15", **{automation.MANUAL_TAG: "true"})
    finished_nightly(instance, "2026-03-25", failed="yes")
    assert automation.last_nightly_success(instance) == date(2026, 3, 20)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-03-31T12:00", "2026-03-30"),  # Tuesday at 08:00 in New York: Monday is due
        ("2026-03-31T10:00", "2026-03-27"),  # Tuesday at 06:00: the night's run may still come
        ("2026-03-30T12:00", "2026-03-27"),  # Monday at 08:00: Friday
        ("2026-03-29T12:00", "2026-03-27"),  # Sunday: Friday
        ("2026-04-01T02:00", "2026-03-30"),  # 22:00 on Tuesday in New York, though Wednesday in UTC
    ],
)
def test_the_day_that_is_due_is_the_last_weekday_before_today(now: str, due: str) -> None:
    instant = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert freshness.due_day(business(), instant) == date.fromisoformat(due)


def test_an_export_that_does_not_grow_is_never_late() -> None:
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)
    assert freshness.due_day(business("latest", date(2017, 12, 31)), now) == date(2017, 12, 31)
    assert freshness.due_day(business(date(2025, 6, 30)), now) == date(2025, 6, 30)
    assert freshness.due_day(business("latest", None), now) == date(2026, 3, 30)


def test_partitions_are_business_days_from_the_start_of_history_and_include_today() -> None:
    partitions = automation.build_partitions(business(), date(2026, 3, 1))
    keys = partitions.get_partition_keys(current_time=datetime(2026, 3, 4, 1, tzinfo=UTC))
    # 01:00 UTC on the 4th is still the 3rd in New York; that unfinished day is a partition of its own
    assert keys == ["2026-03-01", "2026-03-02", "2026-03-03"]


@pytest.fixture
def folder(tmp_path: Path) -> SimpleNamespace:
    """Settings of a data folder whose published file is older than its warehouse."""
    paths = SimpleNamespace(warehouse=tmp_path / "warehouse.duckdb", published_dir=tmp_path / "published")
    paths.published_dir.mkdir()
    for path, age_seconds in ((paths.published_dir / "marts-1.duckdb", 60), (paths.warehouse, 0)):
        path.touch()
        then = datetime.now(UTC).timestamp() - age_seconds
        os.utime(path, (then, then))
    (paths.published_dir / "marts.duckdb").symlink_to("marts-1.duckdb")
    return SimpleNamespace(paths=paths)


def publish_tick(settings: SimpleNamespace, instance: dg.DagsterInstance) -> dg.RunRequest | dg.SkipReason:
    """One look of the publish sensor after a successful run."""

    @dg.job(name="forecast_backfill")
    def finished() -> None:
        pass

    @dg.job(name="publish")
    def publish() -> None:
        pass

    sensor = automation.build_publish_sensor(settings, publish)
    run = instance.create_run_for_job(finished, status=dg.DagsterRunStatus.SUCCESS)
    event = success_of(run).dagster_event
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor.name, dagster_instance=instance, dagster_run=run, dagster_event=event
    )
    return sensor(context)


def test_a_run_that_left_the_warehouse_newer_is_followed_by_publishing(
    folder: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    assert isinstance(publish_tick(folder, instance), dg.RunRequest)


def test_nothing_is_published_again_when_the_published_file_is_newer(
    folder: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    later = datetime.now(UTC).timestamp() + 60
    os.utime(folder.paths.published_dir / "marts-1.duckdb", (later, later))
    assert isinstance(publish_tick(folder, instance), dg.SkipReason)


def test_nothing_is_published_while_another_run_works(
    folder: SimpleNamespace, instance: dg.DagsterInstance
) -> None:
    @dg.job(name="nightly")
    def nightly() -> None:
        pass

    instance.create_run_for_job(nightly, status=dg.DagsterRunStatus.STARTED)
    assert isinstance(publish_tick(folder, instance), dg.SkipReason)


def test_the_hold_of_the_run_lock_ends_with_the_run_also_when_the_run_fails(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    settings = SimpleNamespace(paths=SimpleNamespace(run_lock=path))
    seen: list[str] = []

    @dg.op(required_resource_keys={"run_hold"})
    def write(context: dg.OpExecutionContext) -> None:
        context.resources.run_hold.take("a test")
        context.resources.run_hold.take("the same run again")
        held = run_lock.holder(path)
        seen.append(held.run_id if held else "nobody")
        raise dg.Failure("the step failed")

    @dg.job(resource_defs={"run_hold": run_hold.build_run_hold(settings)})
    def broken() -> None:
        write()

    result = broken.execute_in_process(raise_on_error=False)
    assert not result.success
    assert seen == [result.run_id]
    assert run_lock.holder(path) is None


def test_event_logs_of_old_runs_are_deleted_and_the_index_stays(tmp_path: Path) -> None:
    now = datetime(2026, 3, 31, tzinfo=UTC)
    runs = tmp_path / "history" / "runs"
    runs.mkdir(parents=True)
    for name, age_days in (("old", 91), ("new", 89), ("index", 400)):
        path = runs / f"{name}.db"
        path.touch()
        then = (now - timedelta(days=age_days)).timestamp()
        os.utime(path, (then, then))
    assert automation.prune_run_logs(tmp_path, now) == 1
    assert sorted(path.stem for path in runs.iterdir()) == ["index", "new"]
