"""The bundled example: its files are written where the bundled pipeline.yaml looks for them."""

import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

from dagster_project.settings import Settings

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLED_CONFIG = REPOSITORY / "pipeline.yaml"
EXAMPLE_FOLDER = REPOSITORY / "data" / "example"
NEWEST_EXAMPLE_FILE = "submissions.csv"
EXAMPLE_TIME = datetime(2026, 5, 16, tzinfo=UTC).timestamp()


def write_example_if_missing(settings: Settings) -> None:
    """Write the files that the bundled pipeline.yaml reads; any other configuration is left alone.

    An example that an older version wrote gets the files that it lacks; those it has stay as they are.
    """
    if settings.config_path != BUNDLED_CONFIG or (EXAMPLE_FOLDER / NEWEST_EXAMPLE_FILE).exists():
        return
    from dagster_project.simulate.example import write_example

    sys.stdout.write(f"Writing the bundled example into {EXAMPLE_FOLDER}\n")
    sys.stdout.flush()
    unfinished = EXAMPLE_FOLDER.with_name("example.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    write_example(unfinished)
    for path in unfinished.iterdir():
        # The reader waits for files that were written a moment ago, lest they grow; these do not.
        os.utime(path, (EXAMPLE_TIME, EXAMPLE_TIME))
    if not EXAMPLE_FOLDER.exists():
        unfinished.rename(EXAMPLE_FOLDER)
        return
    for path in sorted(unfinished.iterdir()):
        if not (EXAMPLE_FOLDER / path.name).exists():
            path.rename(EXAMPLE_FOLDER / path.name)
    shutil.rmtree(unfinished)
