"""The run context: as-of is data, not a clock. One row per run says which day it looks at."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

from dagster_project.settings import Settings
from dagster_project.transform.standing import FINGERPRINT, fingerprint, standing_run
from dagster_project.warehouse import Warehouse

TABLE = "ops.run_context"
RUN_CONTEXT_KEY = dg.AssetKey("run_context")

COLUMNS = {
    "run_id": "varchar",
    "run_order": "bigint",
    "run_kind": "varchar",
    "as_of": "date",
    "landed_through": "timestamp",
    "recorded_at": "timestamp",
    "business_name": "varchar",
    "time_zone": "varchar",
    "currency": "varchar",
    "fiscal_year_start_month": "int",
    "fiscal_calendar": "varchar",
    "fiscal_year_end": "varchar",
    "week_start": "int",
    "history_start": "date",
    "min_sample": "int",
    "min_sample_median": "int",
    "transient_seconds": "int",
    "entry_tolerance_seconds": "int",
    "bulk_deals": "int",
    "grace_business_days": "int",
    "qualified_stage": "varchar",
    "dates_won": "varchar",
    "dates_lost": "varchar",
    "cycle_from": "varchar",
    "velocity_basis": "varchar",
    "cycle_statistic": "varchar",
    "win_rate_population": "varchar",
    "win_rate_no_decision": "varchar",
    "win_rate_disqualified": "varchar",
    "win_rate_min_amount": "decimal(20,3)",
    "amount_measure": "varchar",
    "win_rate_stale_days": "int",
    "estimate_open_amounts": "boolean",
    "coverage_scope": "varchar",
    "coverage_include_past_due": "boolean",
    "coverage_exclude_dead": "boolean",
    "pace_slow": "double",
    "pace_stalled": "double",
    "pace_dead": "double",
    "activity_days": "int",
    "segments_region_from": "varchar",
    "definition_version": "varchar",
    "settings_json": "varchar",
    "data_as_of_warning": "varchar",
}
"""Columns of `ops.run_context` and their types, in order; see dbt's `stg_run_context` for their meaning."""


@dataclass(frozen=True)
class Landed:
    """What the landing holds when a run starts.

    The day it supports, its newest extraction (UTC), a hash over the names of its batches, and a warning.
    """

    as_of: date
    landed_through: datetime | None
    digest: str
    warning: str | None = None


INTRADAY_JOB = "intraday"
"""The job that looks at a day which is not over."""


FULL_REFRESH_JOB = "full_refresh"
"""The job that builds every table whole, for an analyst who asks for it."""


class RunContextConfig(dg.Config):
    """How a run begins; the last two are asked by the job `full_refresh` alone."""

    rebuild: bool = Field(
        False,
        description="Build every table whole, even when nothing has changed since the last nightly run.",
    )
    plan_only: bool = Field(False, description="full_refresh: show what would happen, and build nothing.")
    accept_changed_definitions: bool = Field(
        False, description="full_refresh: go on although settings have changed since the last run."
    )


class Refused(Exception):
    """A run that must not begin; the text says why and what to do."""


def run_kind(settings: Settings, job_name: str) -> str:
    """`manual` when a day or a full refresh was asked for, else by the job.

    Only nightly runs say what was known when.
    """
    if job_name == INTRADAY_JOB:
        return "intraday"
    if job_name == FULL_REFRESH_JOB:
        return "manual"
    return "manual" if settings.as_of_is_manual else "nightly"


def run_context_row(
    settings: Settings,
    *,
    run_id: str,
    run_order: int,
    kind: str,
    landed: Landed,
    recorded_at: datetime,
) -> dict[str, Any]:
    """One row of `ops.run_context` (columns and order of `COLUMNS`); instants become naive UTC."""
    business, metrics = settings.business, settings.metrics
    return {
        "run_id": run_id,
        "run_order": run_order,
        "run_kind": kind,
        "as_of": landed.as_of,
        "landed_through": _naive_utc(landed.landed_through),
        "recorded_at": _naive_utc(recorded_at),
        "business_name": business.name,
        "time_zone": business.time_zone,
        "currency": business.currency,
        "fiscal_year_start_month": business.fiscal_year_start_month,
        "fiscal_calendar": business.fiscal_calendar,
        "fiscal_year_end": business.fiscal_year_end,
        "week_start": business.week_start_number,
        "history_start": business.history_start,
        "min_sample": metrics.min_sample,
        "min_sample_median": metrics.min_sample_median,
        "transient_seconds": metrics.transient_seconds,
        "entry_tolerance_seconds": metrics.entry_tolerance_seconds,
        "bulk_deals": metrics.bulk_deals,
        "grace_business_days": metrics.grace_business_days,
        "qualified_stage": metrics.qualified_stage,
        "dates_won": metrics.dates.won,
        "dates_lost": metrics.dates.lost,
        "cycle_from": metrics.cycle.from_,
        "velocity_basis": metrics.velocity.basis,
        "cycle_statistic": metrics.cycle.statistic,
        "win_rate_population": metrics.win_rate.population,
        "win_rate_no_decision": metrics.win_rate.no_decision,
        "win_rate_disqualified": metrics.win_rate.disqualified,
        "win_rate_min_amount": metrics.win_rate.min_amount,
        "amount_measure": metrics.amount_measure,
        "win_rate_stale_days": metrics.win_rate.stale_days,
        "estimate_open_amounts": metrics.estimate_open_amounts_from_list_price,
        "coverage_scope": metrics.coverage.scope,
        "coverage_include_past_due": metrics.coverage.include_past_due,
        "coverage_exclude_dead": metrics.coverage.exclude_dead,
        "pace_slow": metrics.pace.slow,
        "pace_stalled": metrics.pace.stalled,
        "pace_dead": metrics.pace.dead,
        "activity_days": metrics.activity_days,
        "segments_region_from": metrics.segments.region_from,
        "definition_version": metrics.definition_version,
        "settings_json": json.dumps(
            {
                "business": business.model_dump(mode="json", by_alias=True, exclude={"hash_owner_emails"}),
                "metrics": metrics.model_dump(mode="json", by_alias=True),
                "fields": own_fields(settings),
            },
            sort_keys=True,
        ),
        "data_as_of_warning": landed.warning,
    }


def own_fields(settings: Settings) -> dict[str, dict[str, str]]:
    """Source → field of a deal → the property of the CRM that feeds it, where a source names any."""
    told = {source.name: getattr(source, "fields", {}) for source in settings.api_sources()}
    return {name: dict(fields) for name, fields in told.items() if fields}


def build_run_context_asset(
    settings: Settings,
    extract_keys: Sequence[dg.AssetKey],
    find_landed: Callable[[Settings, str], Landed],
    plan_refresh: Callable[[Settings, dict[str, Any], bool], str],
) -> dg.AssetsDefinition:
    """The asset between extraction and dbt; `find_landed` looks into the landing for a job.

    `plan_refresh` gets the row of a full refresh and whether changed definitions are accepted; it tells the
    plan, or raises `Refused`.
    """

    @dg.asset(
        key=RUN_CONTEXT_KEY,
        deps=list(extract_keys),
        group_name="staging",
        kinds={"python", "duckdb"},
        owners=["team:data-engineering"],
        description=(
            "One row per run, newest last: the business day it looks at (as_of), what had been landed, "
            "and the calendar, currency and settings it was made with. No model asks a clock; all ask this. "
            "When the nightly job finds nothing new since the last one, it writes no row and the steps "
            "after it are skipped: their results stand."
        ),
        output_required=False,
        required_resource_keys={"run_hold"},
    )
    def run_context(
        context: dg.AssetExecutionContext, config: RunContextConfig
    ) -> Iterator[dg.MaterializeResult]:
        context.resources.run_hold.take(f"{context.job_name} run")
        landed = find_landed(settings, context.job_name)
        mark = fingerprint(settings, str(landed.as_of), landed.digest)
        if context.job_name == "nightly" and not config.rebuild:
            stands = standing_run(context.instance, settings, RUN_CONTEXT_KEY, mark)
            if stands is not None:
                context.log.info(f"nothing is new since run {stands}: its tables and published file stand")
                return
        warehouse = Warehouse(settings.paths.warehouse, settings.memory_limit, settings.threads)
        is_refresh = context.job_name == FULL_REFRESH_JOB
        row = run_context_row(
            settings,
            run_id=context.run_id,
            run_order=0
            if is_refresh and not settings.paths.warehouse.exists()
            else next_run_order(warehouse),
            kind=run_kind(settings, context.job_name),
            landed=landed,
            recorded_at=datetime.now(UTC),
        )
        if is_refresh:
            try:
                plan = plan_refresh(settings, row, config.accept_changed_definitions or config.plan_only)
            except Refused as error:
                raise dg.Failure(str(error), allow_retries=False) from error
            about = {"plan": dg.MetadataValue.md(plan)}
            context.log_event(dg.AssetObservation(RUN_CONTEXT_KEY, description="The plan", metadata=about))
            if config.plan_only:
                context.log.info("plan only: nothing is built; set plan_only: false to do it")
                return
        append_run_context(warehouse, row)
        if landed.warning:
            context.log.warning(landed.warning)
        yield dg.MaterializeResult(
            metadata={
                "as_of": str(landed.as_of),
                "run_kind": row["run_kind"],
                "landed_through": str(landed.landed_through),
                "definition_version": row["definition_version"],
                "warning": landed.warning or "none",
                "dagster/row_count": row["run_order"],
                FINGERPRINT: mark,
            }
        )

    return run_context


def append_run_context(warehouse: Warehouse, row: dict[str, Any]) -> None:
    """Add one row to `ops.run_context`; earlier rows stay, because they say what was known when."""
    warehouse.append(TABLE, pd.DataFrame([row], columns=list(COLUMNS)), COLUMNS)


def next_run_order(warehouse: Warehouse) -> int:
    """One more than the largest run order so far, 1 for the first run."""
    warehouse.create_table(TABLE, COLUMNS)
    newest = warehouse.query(f"select coalesce(max(run_order), 0) as run_order from {TABLE}")
    return int(newest.loc[0, "run_order"]) + 1


def _naive_utc(instant: datetime | None) -> datetime | None:
    if instant is None or instant.tzinfo is None:
        return instant
    return instant.astimezone(UTC).replace(tzinfo=None)
