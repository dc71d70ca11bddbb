"""Publish anew after a purge: the file, the report and the optional targets; what was there before goes.

Each holds names from the CRM. Readers keep what there was until the new one is there; a page or folder that
cannot be written is removed all the same. The error is raised, and the same command ends the purge.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from dagster_project.alerts.alert_table import TABLE as ALERTS_TABLE
from dagster_project.forecast.review_tables import REVIEW_NAMES
from dagster_project.forecast.scenario_tables import SCENARIO_NAMES
from dagster_project.forecast.tables import PUBLISHED_NAMES
from dagster_project.publish import parquet_folder
from dagster_project.publish.assets import publish_settings
from dagster_project.publish.errors import PublishFailed
from dagster_project.publish.versions import Versions
from dagster_project.report.assets import write_settings_report
from dagster_project.report.errors import ReportNotWritten
from dagster_project.report.report_file import OWN_FILES
from dagster_project.settings import Settings


def publish_anew(settings: Settings, run_id: str) -> str:
    """Publish the warehouse as it is now to all that the settings ask for; in words, what was written.

    Errors: PublishRefused, PublishFailed, ReportNotWritten.
    """
    folder = settings.paths.published_dir
    extra = (*PUBLISHED_NAMES, *REVIEW_NAMES, *SCENARIO_NAMES, ALERTS_TABLE)
    publish_settings(settings, run_id, extra)
    removed = Versions(folder).prune(1)
    written = [f"a new version; {len(removed)} older ones removed"]
    if settings.report.pages:
        try:
            written.append(f"{len(write_settings_report(settings).pages)} pages of the report")
        except ReportNotWritten:
            _remove(folder.glob(OWN_FILES))
            raise
    else:
        _remove(folder.glob(OWN_FILES))
    if settings.publish.parquet:
        try:
            parquet_folder.publish_parquet(folder, 1, settings.memory_limit, settings.threads)
        except PublishFailed:
            _remove_parquet(folder)
            raise
        written.append("a Parquet folder")
    else:
        _remove_parquet(folder)
    if settings.publish.postgres is not None:
        # psycopg is installed where it is asked for: the extra `postgres`
        from dagster_project.publish.postgres import publish_postgres

        url, schema = settings.publish.postgres.get_secret_value(), settings.publish.postgres_schema
        publish_postgres(folder, url, schema, settings.memory_limit, settings.threads)
        written.append("the tables in PostgreSQL")
    return ", ".join(written)


def remove_published(folder: Path) -> str:
    """Remove all that was published, of a warehouse that has no run to publish; in words, what is left."""
    if not folder.exists():
        return "nothing yet"
    versions = Versions(folder)
    for number in versions.complete():
        versions.path(number).unlink(missing_ok=True)
    _remove(folder.glob(OWN_FILES))
    _remove_parquet(folder)
    return "all that there was has been removed; the next run publishes"


def _remove_parquet(folder: Path) -> None:
    for path in folder.glob("parquet-*"):
        shutil.rmtree(path, ignore_errors=True)
    _remove((folder / parquet_folder.LINK_NAME, folder / parquet_folder.POINTER_NAME))


def _remove(paths: Iterable[Path]) -> None:
    for path in list(paths):
        path.unlink(missing_ok=True)
