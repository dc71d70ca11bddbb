"""The jobs: what is run together. When they run is said in automation.py."""

from dataclasses import dataclass, fields

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition as Job

from dagster_project.backfills.full_refresh import DIFFERENCE_CHECK
from dagster_project.extract.api_assets import API_KIND
from dagster_project.publish.assets import PUBLISHED_MARTS_KEY
from dagster_project.settings import Settings
from dagster_project.transform.run_context import FULL_REFRESH_JOB, INTRADAY_JOB, RUN_CONTEXT_KEY

__all__ = ["Job", "Jobs", "build_jobs"]


# What only a full refresh asks: the comparison reads two whole published versions.
COMPARED = dg.AssetSelection.checks(dg.AssetCheckKey(PUBLISHED_MARTS_KEY, DIFFERENCE_CHECK))

_FULL_REFRESH = """Builds every table of the warehouse whole from what is landed, and publishes.

A night replaces only what has changed; this trusts nothing that stands. Batches, forecasts and what
was known when stay. With `plan_only` (on at first) nothing is built: the run shows its plan. Afterwards
the check on `published_marts` tells which tables hold other rows than before. Refused: a landing that lacks
what the ledger was built from, a missing warehouse (live forecasts are nowhere else), another run that is
writing, and changed definitions nobody agreed to.
"""


@dataclass(frozen=True)
class Jobs:
    """All jobs. Those that land are None where no source is of their kind."""

    nightly: Job
    full_refresh: Job
    publish: Job
    land_files: Job | None
    land_crm: Job | None
    intraday: Job | None

    def landing(self) -> list[Job]:
        """Those that land and nothing else."""
        return [job for job in (self.land_files, self.land_crm) if job is not None]

    def all(self) -> list[Job]:
        """Those that there are."""
        found = (getattr(self, name.name) for name in fields(self))
        return [job for job in found if job is not None]


def build_jobs(settings: Settings, partitions: dg.DailyPartitionsDefinition) -> Jobs:
    """The jobs of a configuration."""
    nightly = dg.define_asset_job(
        "nightly",
        selection=dg.AssetSelection.all() - COMPARED,
        partitions_def=partitions,
        description="Land, transform, forecast, publish, report. The schedule and the file sensors start it.",
    )
    refresh = dg.define_asset_job(
        FULL_REFRESH_JOB,
        selection=dg.AssetSelection.keys(RUN_CONTEXT_KEY)
        | dg.AssetSelection.kind("dbt")
        | dg.AssetSelection.groups("publish", "report"),
        config={"ops": {RUN_CONTEXT_KEY.path[-1]: {"config": {"rebuild": True, "plan_only": True}}}},
        tags={"dagster/max_runtime": str(24 * 3600)},
        description=_FULL_REFRESH,
    )
    publish = dg.define_asset_job(
        "publish",
        selection=dg.AssetSelection.groups("publish", "report") - COMPARED,
        description="Publish the warehouse as it is, and write the report.",
    )
    has_crm = bool(settings.api_sources())
    return Jobs(
        nightly,
        refresh,
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
        selection=everything - forecasts - files - COMPARED,
        partitions_def=partitions,
        description="Land and publish today so far. No forecast: the day is not over.",
    )
