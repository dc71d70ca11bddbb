"""The Dagster skins of the optional targets: PostgreSQL and Parquet, filled from the published file."""

import dagster as dg

from dagster_project.publish.assets import MEMORY_SHARE, PUBLISHED_MARTS_KEY
from dagster_project.publish.errors import PublishRefused
from dagster_project.publish.parquet_folder import publish_parquet
from dagster_project.settings import Settings

POSTGRES_KEY = dg.AssetKey("published_postgres")
PARQUET_KEY = dg.AssetKey("published_parquet")
_RETRY = dg.RetryPolicy(max_retries=2, delay=15, backoff=dg.Backoff.EXPONENTIAL)
_POSTGRES = """The published tables and views as tables of a PostgreSQL schema, for readers on other machines.

All rows are replaced in one transaction: grants, policies, comments and the users' own views stay, and no
reader sees half a version. When it fails, the DuckDB file is published all the same and the server keeps the
rows it had; launch the job `publish` once the server is back.
"""
_PARQUET = """The published tables as Parquet: `published/parquet`, one file for each table.

A link to the folder of the newest version. Who reads several files resolves the link once, and reads them
from the folder it leads to.
"""


def build_target_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The targets that `publish:` asks for, each downstream of the published file."""
    targets = []
    if settings.publish.postgres is not None:
        targets.append(_postgres_asset(settings))
    if settings.publish.parquet:
        targets.append(_parquet_asset(settings))
    return targets


def _postgres_asset(settings: Settings) -> dg.AssetsDefinition:
    # psycopg is installed where it is asked for: the extra `postgres`
    from dagster_project.publish.postgres import publish_postgres

    @dg.asset(
        key=POSTGRES_KEY,
        deps=[PUBLISHED_MARTS_KEY],
        group_name="publish",
        description=_POSTGRES,
        owners=["team:data-engineering"],
        kinds={"postgres"},
        retry_policy=_RETRY,
    )
    def published_postgres() -> dg.MaterializeResult:
        assert settings.publish.postgres is not None
        try:
            result = publish_postgres(
                settings.paths.published_dir,
                settings.publish.postgres.get_secret_value(),
                settings.publish.postgres_schema,
                settings.memory_share(MEMORY_SHARE),
                settings.threads,
            )
        except PublishRefused as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        return dg.MaterializeResult(
            metadata={
                "server": result.server,
                "schema": result.schema,
                "version": result.version,
                "tables": len(result.rows),
                "dagster/row_count": sum(result.rows.values()),
                "changes": ", ".join(result.changes) or "nothing",
                "megabytes": round(result.megabytes, 2),
                "seconds": round(result.seconds, 2),
            }
        )

    return published_postgres


def _parquet_asset(settings: Settings) -> dg.AssetsDefinition:
    @dg.asset(
        key=PARQUET_KEY,
        deps=[PUBLISHED_MARTS_KEY],
        group_name="publish",
        description=_PARQUET,
        owners=["team:data-engineering"],
        kinds={"parquet"},
        retry_policy=_RETRY,
    )
    def published_parquet() -> dg.MaterializeResult:
        try:
            result = publish_parquet(
                settings.paths.published_dir,
                settings.publish.keep_versions,
                settings.memory_share(MEMORY_SHARE),
                settings.threads,
            )
        except PublishRefused as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(result.link)),
                "version": result.version,
                "tables": len(result.rows),
                "dagster/row_count": sum(result.rows.values()),
                "megabytes": round(result.size_bytes / 1e6, 2),
                "seconds": round(result.seconds, 2),
            }
        )

    return published_parquet
