"""The database on disk in which the rows of one file are judged before they land."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from dagster_project.extract.files.scratch import literal
from dagster_project.extract.inflight import InFlight

_ROW_GROUP = 16_384


@contextmanager
def scratch_database(
    landing_root: Path, memory_limit: str, threads: int
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database under the landing that is gone after the block."""
    with InFlight(landing_root).folder("scratch") as folder:
        options = {
            "memory_limit": memory_limit,
            "threads": threads,
            "temp_directory": str(folder / "spill"),
        }
        with duckdb.connect(config=options) as connection:
            # Small row groups leave memory early: with long texts, a default one takes 150 MB.
            connection.execute(
                f"attach {literal(str(folder / 'scratch.duckdb'))} as scratch (row_group_size {_ROW_GROUP})"
            )
            connection.execute("use scratch")
            connection.execute("set enable_progress_bar = false")
            yield connection
