"""May the warehouse be published? Only when all its dbt tables come from builds that ran to their end."""

from dataclasses import dataclass
from datetime import date

import duckdb

from dagster_project.publish.errors import PublishRefused
from dagster_project.warehouse import Warehouse, WarehouseMissing

_REMEDY = "repair what stopped it and run again"


@dataclass(frozen=True)
class BuildState:
    """The build that the warehouse holds: run that built it, as-of day, version of the metric definitions."""

    built_by: str
    as_of: date
    definition_version: str


def read_build_state(warehouse: Warehouse) -> BuildState:
    """The newest finished build and the run context it was made for.

    A complete build replaces every table. So an unfinished build only matters when no complete build has
    finished after it; `ops.build` keeps `finished_at` null for a build that failed or was killed.

    Raises:
        PublishRefused: no complete build yet, or the last one failed, or a newer run has not been built.
    """
    try:
        with warehouse.connect(read_only=True) as connection:
            _refuse_unfinished(connection)
            newest = connection.execute(
                "select run_id from ops.build where finished_at is not null order by build_order desc limit 1"
            ).fetchone()
            context = connection.execute(
                "select run_id, as_of, definition_version, recorded_at from ops.run_context "
                "order by run_order desc limit 1"
            ).fetchone()
            last_finish = connection.execute("select max(finished_at) from ops.build").fetchone()
    except WarehouseMissing as error:
        raise PublishRefused(f"nothing to publish: {error}") from error
    except duckdb.CatalogException as error:
        raise PublishRefused(
            "the warehouse has never been built completely: `make run` builds it, then publishes"
        ) from error
    if newest is None or context is None or last_finish is None:
        raise PublishRefused(
            "the warehouse has never been built completely: `make run` builds it, then publishes"
        )
    run_id, as_of, definition_version, recorded_at = context
    if recorded_at > last_finish[0]:
        raise PublishRefused(
            f"run {run_id} (as of {as_of}) has started but its tables have not been built: {_REMEDY}"
        )
    return BuildState(newest[0], as_of, definition_version)


def _refuse_unfinished(connection: duckdb.DuckDBPyConnection) -> None:
    complete = connection.execute(
        "select max(build_order) from ops.build where finished_at is not null and is_full_selection"
    ).fetchone()
    if complete is None or complete[0] is None:
        raise PublishRefused(f"no complete build of the warehouse has succeeded yet: {_REMEDY}")
    unfinished = connection.execute(
        "select run_id, started_at from ops.build where finished_at is null and build_order > ? "
        "order by build_order desc limit 1",
        [complete[0]],
    ).fetchone()
    if unfinished is not None:
        run_id, started_at = unfinished
        raise PublishRefused(
            f"the last build failed (run {run_id}, started {started_at:%Y-%m-%d %H:%M} UTC): {_REMEDY}"
        )
