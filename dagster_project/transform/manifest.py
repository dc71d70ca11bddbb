"""The dbt manifest: where it lies, and a new one whenever a dbt file is newer than it."""

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dagster_project import run_lock
from dagster_project.settings import Settings
from dagster_project.transform.dbt_runner import (
    DBT_PROJECT,
    DbtInvocation,
    dbt_arguments,
    dbt_environment,
)

log = logging.getLogger(__name__)

IGNORED_FOLDERS = frozenset({"target", "logs", "dbt_packages", "__pycache__"})
PARSE_WAIT_SECONDS = 300.0


def manifest_path(settings: Settings) -> Path:
    """The manifest of this data folder; sources name files, so two data folders never share one."""
    return settings.paths.dbt_target / "manifest.json"


def load_manifest(settings: Settings, project: Path = DBT_PROJECT) -> dict[str, Any]:
    """The manifest as plain data, parsed anew first when it is missing or older than the project.

    Several processes may ask at once (web server, daemon, run); one parses and the others wait.
    """
    path = manifest_path(settings)
    if is_stale(path, project):
        lock = path.parent / "parse.lock"
        with run_lock.hold(lock, f"parse-{os.getpid()}", "parsing the dbt project", PARSE_WAIT_SECONDS):
            if is_stale(path, project):
                parse(settings, project)
    return attach_singular_tests(json.loads(path.read_text(encoding="utf-8")))


def attach_singular_tests(manifest: dict[str, Any]) -> dict[str, Any]:
    """Give each test that compares several models to the one it names first.

    Dagster shows a test as an asset check only when it knows whose it is.
    """
    for node in manifest["nodes"].values():
        if node["resource_type"] == "test" and not node.get("attached_node"):
            models = [name for name in node["depends_on"]["nodes"] if name.startswith("model.")]
            node["attached_node"] = models[0] if models else None
    return manifest


def is_stale(manifest: Path, project: Path) -> bool:
    """True when the manifest is missing or any file or folder of the project changed after it.

    Folders count because a deleted file leaves no newer file behind.
    """
    if not manifest.exists():
        return True
    written = manifest.stat().st_mtime_ns
    return any(path.stat().st_mtime_ns > written for path in project_paths(project))


def project_paths(project: Path) -> Iterator[Path]:
    """Every file and folder of the dbt project except what dbt itself writes."""
    for folder, folders, files in os.walk(project):
        folders[:] = [name for name in folders if name not in IGNORED_FOLDERS]
        # dbt keeps a cookie file at the top, so that folder's own time says nothing.
        if Path(folder) != project:
            yield Path(folder)
        for name in files:
            if not name.startswith("."):
                yield Path(folder) / name


def parse(settings: Settings, project: Path = DBT_PROJECT) -> None:
    """Run `dbt parse` into the data folder.

    Raises `DbtError` when the project does not parse.
    """
    log.info("parsing the dbt project")
    started_ns = time.time_ns()
    settings.paths.dbt_target.mkdir(parents=True, exist_ok=True)
    invocation = DbtInvocation(
        arguments=dbt_arguments(settings, "parse", project=project),
        environment=dbt_environment(settings),
        log_file=settings.paths.dbt_target / "logs" / "dbt.log",
    )
    for message in invocation.messages():
        log.debug("%s", message.text)
    invocation.raise_for_errors()
    # A file saved while dbt was parsing must count as newer than the manifest.
    os.utime(manifest_path(settings), ns=(started_ns, started_ns))
