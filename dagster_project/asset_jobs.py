"""The jobs: what is run together. When they run is said in automation.py."""

from dataclasses import dataclass, fields

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as Job

from dagster_project.extract.api_assets import API_KIND
from dagster_project.settings import Settings
from dagster_project.transform.run_context import INTRADAY_JOB

__all__ = ["Job", "Jobs", "build_jobs"]


@dataclass(frozen=True)
class Jobs:
    """All jobs. Those that land are None where no source is of their kind."""

    nightly: Job
    forecast_backfill: Job
    publish: Job
    land_files: Job | None
    land_crm: Job | None
    intraday: Job | None

    def all(self) -> list[Job]:
        """Those that there are."""
        found = (getattr(self, name.name) for name in fields(self))
        return [job for job in found if job is not None]


def build_jobs(settings: Settings, partitions: dg.DailyPartitionsDefinition) -> Jobs:
    """The jobs of a configuration."""
    nightly = dg.define_asset_job(
        "nightly",
        selection=dg.AssetSelection.all(),
        partitions_def=partitions,
        description="Land, transform, forecast, publish, report. The schedule and the file sensors start it.",
    )
    backfill = dg.define_asset_job(
        "forecast_backfill",
        selection=dg.AssetSelection.groups("forecast") - dg.AssetSelection.kind("dbt"),
        partitions_def=partitions,
        tags={"dagster/max_runtime": str(24 * 3600)},
        description="Forecast past days again from the ledger as it is, in one run and without dbt.",
    )
    publish = dg.define_asset_job(
        "publish",
        selection=dg.AssetSelection.groups("publish", "report"),
        description="Publish the warehouse as it is, and write the report.",
    )
    has_crm = bool(settings.api_sources())
    return Jobs(
        nightly,
        backfill,
        publish,
        land_files_job() if settings.file_sources() else None,
        land_crm_job(partitions) if has_crm else None,
        intraday_job(partitions) if has_crm else None,
    )


def land_files_job() -> Job:
    """Extraction from files alone. What it lands decides which days the nightly run after it covers."""
    return dg.define_asset_job(
        "land_files",
        selection=dg.AssetSelection.groups("extract") - dg.AssetSelection.kind(API_KIND),
        description="Read new files into the landing. The file sensor starts it, and `nightly` follows.",
    )


def land_crm_job(partitions: dg.DailyPartitionsDefinition) -> Job:
    """Extraction from CRMs alone, for a range of days. What it lands decides likewise."""
    return dg.define_asset_job(
        "land_crm",
        selection=dg.AssetSelection.groups("extract") & dg.AssetSelection.kind(API_KIND),
        partitions_def=partitions,
        tags={"dagster/max_runtime": str(24 * 3600)},
        description="Read what changed in the CRMs into the landing. `nightly` follows.",
    )


def intraday_job(partitions: dg.DailyPartitionsDefinition) -> Job:
    """Everything but files and forecasts, for the partition of a day that is not over."""
    everything = dg.AssetSelection.all()
    forecasts = dg.AssetSelection.groups("forecast") - dg.AssetSelection.kind("dbt")
    files = dg.AssetSelection.groups("extract") - dg.AssetSelection.kind(API_KIND)
    return dg.define_asset_job(
        INTRADAY_JOB,
        selection=everything - forecasts - files,
        partitions_def=partitions,
        description="Land and publish today so far. No forecast: the day is not over.",
    )
