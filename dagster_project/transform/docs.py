"""The dbt documentation as one page that opens without a server."""

import shutil
from pathlib import Path

from dagster_project import run_lock
from dagster_project.settings import Settings
from dagster_project.transform.dbt_runner import (
    DBT_PROJECT,
    DbtInvocation,
    dbt_arguments,
    dbt_environment,
)


def write_docs(settings: Settings, project: Path = DBT_PROJECT) -> Path:
    """Run `dbt docs generate --static` and return the page, `<data>/docs/index.html`.

    Reads the warehouse's catalogue, hence under the run lock. Raises `DbtError` when dbt fails.
    """
    command, *options = dbt_arguments(settings, "docs", project=project)
    invocation = DbtInvocation(
        arguments=[command, "generate", "--static", *options],
        environment=dbt_environment(settings),
        log_file=settings.paths.dbt_target / "logs" / "dbt.log",
    )
    with run_lock.hold(settings.paths.run_lock, "docs", "writing the documentation"):
        for _ in invocation.messages():
            pass
        invocation.raise_for_errors()
    page = settings.paths.root / "docs" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(settings.paths.dbt_target / "static_index.html", page)
    return page
