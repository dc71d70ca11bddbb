"""The Dagster skin of publishing: one asset, `published_marts`."""

from collections.abc import Iterable, Sequence

import dagster as dg

from dagster_project import run_lock
from dagster_project.publish.build_state import read_build_state
from dagster_project.publish.duckdb_file import PublishResult, PublishRun, publish
from dagster_project.publish.errors import PublishRefused
from dagster_project.publish.versions import current_file
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

PUBLISHED_MARTS_KEY = dg.AssetKey("published_marts")
# Copying needs little; more would only be kept as a cache, beside what the process holds from the build.
MEMORY_SHARE = 0.4

_DESCRIPTION = """The file that BI tools open: `published/marts.duckdb`.

Copies every public model and the forecast tables out of the private warehouse into a new file, checks the
copy value by value, and only then points `marts.duckdb` at it. Open connections keep the version they have;
new connections see the new one. When the last build failed nothing is published and the earlier version
keeps serving. Table `_publish` in the file says what it holds and which runs made it.
"""


def build_publish_assets(
    settings: Settings, upstream_keys: Iterable[dg.AssetKey], extra_tables: Sequence[str] = ()
) -> list[dg.AssetsDefinition]:
    """`published_marts`, downstream of `upstream_keys`.

    `extra_tables` ("schema.name") are published beside the public dbt models: the forecast's tables.
    """

    @dg.asset(
        key=PUBLISHED_MARTS_KEY,
        deps=sorted(upstream_keys),
        group_name="publish",
        description=_DESCRIPTION,
        owners=["team:data-engineering"],
        kinds={"duckdb"},
        retry_policy=dg.RetryPolicy(max_retries=2, delay=15, backoff=dg.Backoff.EXPONENTIAL),
    )
    def published_marts(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        try:
            return publish_settings(settings, context.run_id, extra_tables)
        except (PublishRefused, run_lock.RunLocked) as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    return [published_marts]


def publish_settings(
    settings: Settings, run_id: str, extra_tables: Sequence[str] = ()
) -> dg.MaterializeResult:
    """Publish what the settings' warehouse holds, under the run lock, and describe it for the UI.

    Raises:
        PublishRefused: the last build failed, or the warehouse is not fit to be published.
        PublishFailed: writing or checking the copy failed.
        RunLocked: another run is writing.
    """
    memory = settings.memory_share(MEMORY_SHARE)
    warehouse = Warehouse(settings.paths.warehouse, memory, settings.threads)
    with run_lock.hold(settings.paths.run_lock, run_id, "publishing"):
        build = read_build_state(warehouse)
        result = publish(
            warehouse,
            settings.paths.published_dir,
            settings.paths.dbt_target / "manifest.json",
            PublishRun(run_id, build.as_of, build.definition_version, build.built_by),
            extra_tables,
            settings.publish.keep_versions,
        )
    return dg.MaterializeResult(metadata=describe(result, build.as_of.isoformat()))


def is_warehouse_newer(settings: Settings) -> bool:
    """Whether the warehouse was written after the version that readers see now was published."""
    warehouse, current = settings.paths.warehouse, current_file(settings.paths.published_dir)
    if not warehouse.exists():
        return False
    return current is None or warehouse.stat().st_mtime_ns > current.stat().st_mtime_ns


def describe(result: PublishResult, as_of: str) -> dict[str, dg.MetadataValue]:
    """What a reader of the UI wants to know about a published version."""
    rows = [
        dg.TableRecord({"table": copy.name, "rows": copy.rows, "primary_key": ", ".join(copy.primary_key)})
        for copy in result.tables
    ]
    schema = dg.TableSchema(
        columns=[
            dg.TableColumn("table", "string"),
            dg.TableColumn("rows", "int"),
            dg.TableColumn("primary_key", "string"),
        ]
    )
    return {
        "path": dg.MetadataValue.path(str(result.link)),
        "version": dg.MetadataValue.int(result.version),
        "as_of": dg.MetadataValue.text(as_of),
        "tables": dg.MetadataValue.table(rows, schema=schema),
        "dagster/row_count": dg.MetadataValue.int(
            sum(copy.rows for copy in result.tables if not copy.is_view)
        ),
        "megabytes": dg.MetadataValue.float(round(result.size_bytes / 1e6, 2)),
        "seconds": dg.MetadataValue.float(round(result.seconds, 2)),
        "left_out": dg.MetadataValue.text(", ".join(result.absent) or "nothing"),
    }
