"""What Dagster is told of each of the forecast's tables, and how its steps hold the warehouse."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date

import dagster as dg

from dagster_project import run_lock
from dagster_project.forecast.evidence import LedgerNotBuilt
from dagster_project.forecast.fiscal_quarters import CalendarTooShort
from dagster_project.forecast.tables import DayNotForecastable, Table
from dagster_project.settings import Settings

REFUSALS = (DayNotForecastable, LedgerNotBuilt, CalendarTooShort, run_lock.RunLocked)


def table_spec(
    table: Table,
    description: str,
    deps: Sequence[dg.AssetKey | str],
    partitions_def: dg.PartitionsDefinition,
) -> dg.AssetSpec:
    """The asset of one table in the private warehouse, with a partition per as-of day."""
    return dg.AssetSpec(
        table.name,
        deps=deps,
        description=description,
        group_name="forecast",
        owners=["team:sales-operations"],
        kinds={"python", "duckdb"},
        metadata={"dagster/table_name": table.full_name},
        partitions_def=partitions_def,
    )


def requested_days(context: dg.AssetExecutionContext) -> list[date]:
    """The as-of days of the run's partitions, in their order."""
    return [date.fromisoformat(key) for key in context.partition_keys]


def naming_left_out(
    context: dg.AssetExecutionContext, beyond_data: Sequence[date], results: Iterable[dg.MaterializeResult]
) -> Iterator[dg.MaterializeResult]:
    """The results; where days after the data were asked for, the log and each table say which.

    Dagster marks all days of the run as materialized, those too.
    """
    if not beyond_data:
        yield from results
        return
    days = f"{len(beyond_data)} days after the end of the data, {beyond_data[0]} to {beyond_data[-1]}"
    context.log.warning(f"nothing was made for {days}")
    for result in results:
        told = {"left out": dg.MetadataValue.text(f"{days}: nothing was made for them")}
        yield result._replace(metadata={**(result.metadata or {}), **told})


@contextmanager
def holding_the_warehouse(context: dg.AssetExecutionContext, settings: Settings, what: str) -> Iterator[None]:
    """Hold the run lock for `what`; a refusal fails the step in its own words, without another try."""
    try:
        with run_lock.hold(settings.paths.run_lock, context.run_id, what):
            yield
    except REFUSALS as error:
        raise dg.Failure(str(error), allow_retries=False) from error
