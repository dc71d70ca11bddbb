"""The job `forecast_backfill`: forecasts of past days again, a plan before and the difference after."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

import dagster as dg
from pydantic import Field

from dagster_project import run_lock
from dagster_project.backfills.forecast_days import (
    changed_days,
    difference_markdown,
    plan_markdown,
    read_stored,
)
from dagster_project.backfills.refusals import (
    BackfillRefused,
    days_between,
    refuse_changed_definitions,
    refuse_missing_warehouse,
    settings_of,
)
from dagster_project.forecast import assets, review_assets, scenario_assets
from dagster_project.forecast.evidence import LedgerNotBuilt, read_context
from dagster_project.forecast.fiscal_quarters import CalendarTooShort
from dagster_project.forecast.reviewer import review_forecasts
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

JOB = "forecast_backfill"
LONGEST_SECONDS = 24 * 3600

_DESCRIPTION = """Makes the forecasts of past days again from the ledger as it is, in one run and without dbt.

Needs nothing but the days. What the nightly run wrote on its day (kind live) is never replaced; rows of an
earlier backfill of the same days are. With `plan_only` (on at first) nothing is written: the run shows which
days are affected, and what happens to the rows stored of them. Afterwards old and new forecast stand side by
side, day by day. Refused: days that are not over or lie before the history, another run that is writing, and
changed definitions nobody agreed to. The published file follows by itself.
"""


class ForecastBackfillConfig(dg.Config):
    """The launchpad of `forecast_backfill`."""

    first_day: str = Field("", description="First day, such as 2026-03-01; empty: the same as last_day.")
    last_day: str = Field("", description="Last day, such as 2026-03-31; empty: the newest day of the data.")
    plan_only: bool = Field(True, description="Show what would happen, and write nothing.")
    accept_changed_definitions: bool = Field(
        False, description="Go on although stored rows were made with other metric definitions."
    )


def build_forecast_job(settings: Settings, earliest: date) -> dg.JobDefinition:
    """The job; `earliest` is the first day of the history."""

    @dg.op(
        name="forecast_days_again",
        description="Plans the days, then forecasts, reviews and answers scenarios for them.",
    )
    def forecast_days_again(context: dg.OpExecutionContext, config: ForecastBackfillConfig) -> None:
        try:
            with run_lock.hold(settings.paths.run_lock, context.run_id, "forecast backfill"):
                metadata = forecast_again(settings, earliest, config, context)
        except (BackfillRefused, LedgerNotBuilt, CalendarTooShort, run_lock.RunLocked) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.add_output_metadata(metadata)

    @dg.job(
        name=JOB,
        description=_DESCRIPTION,
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": str(LONGEST_SECONDS)},
    )
    def forecast_backfill() -> None:
        forecast_days_again()

    return forecast_backfill


def forecast_again(
    settings: Settings, earliest: date, config: ForecastBackfillConfig, context: dg.OpExecutionContext
) -> dict[str, dg.MetadataValue]:
    """Plan, and unless that is all, do; what to show of it.

    Errors: BackfillRefused, LedgerNotBuilt, CalendarTooShort.
    """
    refuse_missing_warehouse(settings)
    warehouse = Warehouse(
        settings.paths.warehouse, settings.memory_share(assets.MEMORY_SHARE), settings.threads
    )
    ledger = read_context(warehouse)
    data_end = assets.last_finished_day(ledger)
    days = days_between(config.first_day, config.last_day, earliest, data_end)
    before = read_stored(warehouse, days)
    changes = refuse_changed_definitions(
        warehouse,
        before.definitions,
        ledger.definition_version,
        settings_of(warehouse, ledger.definition_version) or "{}",
        config.accept_changed_definitions or config.plan_only,
    )
    plan = plan_markdown(days, before, data_end)
    shown = {
        "plan": dg.MetadataValue.md(plan),
        "days": dg.MetadataValue.int(len(days)),
        "changed definitions": dg.MetadataValue.text(" | ".join(changes) or "none"),
    }
    context.log_event(dg.AssetObservation("forecast_bookings", description="The plan", metadata=shown))
    if config.plan_only:
        context.log.info("plan only: nothing was written; set plan_only: false to do it")
        return {**shown, "outcome": dg.MetadataValue.text("plan only: nothing was written")}
    for results in steps(settings, warehouse, days):
        record(context, results, days)
    after = read_stored(warehouse, days)
    return {
        **shown,
        "outcome": dg.MetadataValue.text(
            f"{len(days)} days were forecast; {changed_days(days, before, after)} differ from before"
        ),
        "difference": dg.MetadataValue.md(difference_markdown(days, before, after)),
    }


def steps(
    settings: Settings, warehouse: Warehouse, days: Sequence[date]
) -> Iterator[Iterable[dg.MaterializeResult]]:
    """What the assets of the forecast do for `days`, one after the other."""
    plan, forecasts, broken = assets.forecast_days(
        warehouse, days, set(), settings.business.week_start_number, settings.forecast.challenger
    )
    yield assets.describe(plan, forecasts, broken)
    yield review_assets.describe(warehouse, review_forecasts(warehouse, days), days)
    yield scenario_assets.describe(scenario_assets.plan(warehouse, days))


def record(
    context: dg.OpExecutionContext, results: Iterable[dg.MaterializeResult], days: Sequence[date]
) -> None:
    """Tell Dagster which days of which assets are there now. A check that does not hold fails the run."""
    for result in results:
        for check in result.check_results or ():
            if not check.passed:
                raise dg.Failure(f"{check.check_name} does not hold: {check.metadata}", allow_retries=False)
        for day in days:
            context.log_event(
                dg.AssetMaterialization(
                    asset_key=result.asset_key, partition=day.isoformat(), metadata=result.metadata
                )
            )
