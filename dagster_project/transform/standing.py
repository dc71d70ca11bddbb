"""Does the last nightly run still stand? When nothing new went in, nothing new can come out."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path

import dagster as dg

from dagster_project.settings import Settings
from dagster_project.transform import build_record
from dagster_project.transform.dbt_runner import DBT_PROJECT
from dagster_project.transform.manifest import project_paths
from dagster_project.warehouse import Warehouse

PACKAGE = Path(__file__).resolve().parents[1]
ENGINES = ("dagster", "dbt-core", "dbt-duckdb", "duckdb", "pandas")
FINGERPRINT = "fingerprint"


def fingerprint(
    settings: Settings, as_of: str, landed_digest: str, code: Iterable[Path] | None = None
) -> str:
    """A hash of all that a nightly run depends on: the day, what is landed, the settings, and the code."""
    digest = hashlib.sha256()
    parts = {
        "as_of": as_of,
        "is_manual": settings.as_of_is_manual,
        "landed": landed_digest,
        "settings": settings.model_dump(mode="json", by_alias=True, exclude={"config_path", "paths"}),
        "engines": {name: version(name) for name in ENGINES},
    }
    digest.update(json.dumps(parts, sort_keys=True, default=str).encode())
    for path in sorted(code_files() if code is None else code):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def code_files() -> Iterator[Path]:
    """Every file of the product whose change may change a result."""
    yield from PACKAGE.rglob("*.py")
    yield from (PACKAGE / "report" / "page").iterdir()
    yield from (path for path in project_paths(DBT_PROJECT) if path.is_file())


def standing_run(
    instance: dg.DagsterInstance, settings: Settings, run_context_key: dg.AssetKey, wanted: str
) -> str | None:
    """The id of the nightly run whose results are those that a run with this fingerprint would give.

    None unless the newest run context was written by a successful nightly run with the same fingerprint, the
    warehouse's newest build came to its end, and a published file is there.
    """
    event = instance.get_latest_materialization_event(run_context_key)
    if event is None or event.asset_materialization is None:
        return None
    found = event.asset_materialization.metadata.get(FINGERPRINT)
    run = instance.get_run_by_id(event.run_id)
    if found is None or found.value != wanted or run is None:
        return None
    is_whole = run.job_name == "nightly" and run.status == dg.DagsterRunStatus.SUCCESS
    has_results = settings.paths.warehouse.exists() and any(
        settings.paths.published_dir.glob("marts-*.duckdb")
    )
    if is_whole and has_results and build_record.is_finished(Warehouse(settings.paths.warehouse)):
        return event.run_id
    return None
