"""The whole pipeline on one screen: assets, checks, jobs, schedules, sensors, resource, executor."""

import hashlib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg

from dagster_project import automation, freshness, run_hold
from dagster_project.alerts.alert_table import TABLE as ALERTS_TABLE
from dagster_project.alerts.assets import build_alert_assets
from dagster_project.asset_jobs import build_jobs
from dagster_project.backfills.forecast_job import build_forecast_job
from dagster_project.backfills.full_refresh import build_difference_check, plan_refresh
from dagster_project.backfills.reextract_job import build_reextract_job
from dagster_project.extract.api_assets import api_keys, build_api_assets
from dagster_project.extract.as_of import resolve_as_of
from dagster_project.extract.assets import build_extract_assets, landing_keys
from dagster_project.extract.landing import Landing
from dagster_project.forecast.assets import build_forecast_assets
from dagster_project.forecast.review_assets import build_review_assets
from dagster_project.forecast.review_tables import REVIEW_NAMES
from dagster_project.forecast.scenario_assets import build_scenario_assets
from dagster_project.forecast.scenario_tables import SCENARIO_NAMES
from dagster_project.forecast.tables import PUBLISHED_NAMES
from dagster_project.publish.assets import PUBLISHED_MARTS_KEY, build_publish_assets
from dagster_project.publish.target_assets import build_target_assets
from dagster_project.report.assets import build_report_assets
from dagster_project.settings import Settings, load_settings
from dagster_project.transform.assets import build_transform_assets
from dagster_project.transform.dbt_runner import DBT_PROJECT
from dagster_project.transform.manifest import load_manifest
from dagster_project.transform.run_context import INTRADAY_JOB, Landed, build_run_context_asset

ALERTS_LOOK_AT = ("mart_bottlenecks", "forecast_bookings", "forecast_changes")


def build_definitions(settings: Settings, dbt_project: Path = DBT_PROJECT) -> dg.Definitions:
    """Everything that Dagster knows about one configuration and its data folder."""
    earliest = settings.business.history_start or earliest_day(settings)
    partitions = automation.build_partitions(settings, earliest)
    feeds = landing_keys(settings)
    extract_keys = sorted({key for keys in feeds.values() for key in keys})

    extract = [*build_extract_assets(settings), *build_api_assets(settings, partitions)]
    context = build_run_context_asset(settings, extract_keys, find_landed, plan_refresh)
    manifest = load_manifest(settings, dbt_project)
    transform = build_transform_assets(settings, manifest, feeds, dbt_project)
    forecast = [
        *build_forecast_assets(settings, partitions, api_keys(settings)),
        *build_review_assets(settings, partitions, api_keys(settings)),
        *build_scenario_assets(settings, partitions, api_keys(settings)),
    ]
    checks = [key for asset in (*extract, transform, *forecast) for key in asset.check_keys]
    alerts = build_alert_assets(settings, map(dg.AssetKey, ALERTS_LOOK_AT), checks)
    served = [*transform.keys, *(key for asset in (*forecast, *alerts) for key in asset.keys)]
    tables = (*PUBLISHED_NAMES, *REVIEW_NAMES, *SCENARIO_NAMES, ALERTS_TABLE)
    publish = [*build_publish_assets(settings, served, tables), *build_target_assets(settings)]
    report = build_report_assets(settings, PUBLISHED_MARTS_KEY)

    jobs = build_jobs(settings, partitions)
    reextraction = [build_reextract_job(settings, earliest)] if settings.api_sources() else []
    schedules = [automation.build_nightly_schedule(settings, jobs, newest_as_of)]
    if jobs.intraday is not None:
        schedules.append(automation.build_intraday_schedule(settings, jobs.intraday))
    file_sensors = [automation.build_file_sensor(settings, jobs.land_files)] if jobs.land_files else []
    return dg.Definitions(
        assets=freshness.with_freshness(
            settings, [*extract, context, transform, *forecast, *alerts, *publish, *report]
        ),
        asset_checks=[
            freshness.build_data_check(settings),
            freshness.build_source_check(settings),
            build_difference_check(settings),
        ],
        jobs=[*jobs.all(), build_forecast_job(settings, earliest), *reextraction],
        schedules=schedules,
        sensors=[
            *file_sensors,
            automation.build_landed_sensor(
                settings, [*jobs.landing(), *reextraction], jobs.nightly, newest_as_of
            ),
            automation.build_publish_sensor(settings, jobs.publish),
            automation.build_failure_sensor(settings, checks),
            automation.build_alert_sensor(settings, jobs.nightly, checks),
        ],
        resources={"run_hold": run_hold.build_run_hold(settings)},
        # One process for all steps: they share the run lock, and interpreters are dear to start.
        executor=dg.in_process_executor,
    )


def landing_definitions(settings: Settings) -> dg.Definitions:
    """Extraction alone: what a first run needs before it can know which days there are."""
    partitions = automation.build_partitions(settings, earliest_day(settings))
    jobs = build_jobs(settings, partitions)
    return dg.Definitions(
        assets=[*build_extract_assets(settings), *build_api_assets(settings, partitions)],
        jobs=[job for job in (jobs.land_files, jobs.land_crm) if job is not None],
        executor=dg.in_process_executor,
    )


def newest_as_of(settings: Settings) -> date:
    """The day that a run starting now would speak of. Raises `AsOfError` while nothing is landed."""
    return resolve_as_of(settings, datetime.now(UTC)).day


def find_landed(settings: Settings, job_name: str) -> Landed:
    """What the landing holds now: the as-of day, the newest extraction, a hash over its batches."""
    landing = Landing(settings.paths.landing, settings.owner_emails())
    landing.require_same_emails()
    as_of = resolve_as_of(settings, datetime.now(UTC), is_intraday=job_name == INTRADAY_JOB)
    names = "\n".join(sorted(str(batch.folder.relative_to(landing.root)) for batch in landing.batches()))
    digest = hashlib.sha256(names.encode()).hexdigest()
    return Landed(as_of.day, landing.landed_through(), digest, as_of.warning)


def earliest_day(settings: Settings) -> date:
    """The day of the earliest change that is landed; the start of 2020 while there is none.

    At most 20 years back: a single date of 1900 is no reason for forty thousand partitions.
    """
    manifests = [batch.manifest for batch in Landing(settings.paths.landing).batches()]
    first = min((m.oldest_event_on for m in manifests if m.oldest_event_on), default=date(2020, 1, 1))
    last = max((m.newest_event_on for m in manifests if m.newest_event_on), default=first)
    return max(first, last - timedelta(days=20 * 365))


@dg.definitions
def defs() -> dg.Definitions:
    """What Dagster loads. Built when it is asked for, so that importing this file reads no configuration."""
    return build_definitions(load_settings())
