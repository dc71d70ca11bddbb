"""The published tables once more, as Parquet: a folder for each version, one file for each table.

`parquet-<n>/` is written from `marts-<n>.duckdb`, made durable, and only then put behind the link `parquet`.
"""

import logging
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dagster_project.publish.errors import PublishFailed
from dagster_project.publish.published_file import open_published, published_rows, read_relations
from dagster_project.publish.table_copy import first_line, quoted_name, quoted_text
from dagster_project.publish.versions import point_at, sync_folder, target_of

logger = logging.getLogger(__name__)

LINK_NAME = "parquet"
POINTER_NAME = "parquet.current"
_UNFINISHED = ".building"
_VERSION = re.compile(r"parquet-(\d+)")


@dataclass(frozen=True)
class ParquetResult:
    """What readers see now: the folder of the version, the link to it, and rows by table."""

    folder: Path
    link: Path
    version: int
    rows: dict[str, int]
    size_bytes: int
    seconds: float


def publish_parquet(
    published_dir: Path, keep: int = 3, memory_limit: str = "1GB", threads: int = 2
) -> ParquetResult:
    """Write the newest published version as Parquet; keep the last `keep` folders.

    Holds what `_publish` lists, and `_publish` itself; views by segment are a filter for their readers.

    Raises:
        PublishRefused: nothing is published yet.
        PublishFailed: a file could not be written, or holds other rows; the folder before keeps serving.
    """
    started = time.monotonic()
    with open_published(published_dir, memory_limit, threads, may_write_files=True) as (path, connection):
        version = int(path.stem.rpartition("-")[2])
        folder = published_dir / f"parquet-{version}"
        unfinished = published_dir / f"{folder.name}{_UNFINISHED}"
        for leftover in published_dir.glob(f"parquet-*{_UNFINISHED}"):
            shutil.rmtree(leftover)
        try:
            if not folder.exists():
                unfinished.mkdir()
                _write(connection, unfinished)
                sync_folder(unfinished)
                os.replace(unfinished, folder)
                sync_folder(published_dir)
        except (duckdb.Error, OSError) as error:
            raise PublishFailed(
                f"Parquet was not written: {first_line(error)}. The file {path.name} is published, and the "
                "Parquet folder before keeps serving"
            ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        rows = {relation.name: 0 for relation in read_relations(connection) if relation.is_listed}
        rows |= {**published_rows(connection), "_publish": len(rows) - 1}
    link = point_at(published_dir, LINK_NAME, POINTER_NAME, folder.name)
    _prune(published_dir, keep)
    return ParquetResult(
        folder=folder,
        link=link,
        version=version,
        rows=rows,
        size_bytes=sum(file.stat().st_size for file in folder.iterdir()),
        seconds=time.monotonic() - started,
    )


def _write(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    expected = published_rows(connection)
    for relation in read_relations(connection):
        if not relation.is_listed:
            continue
        file = folder / f"{relation.name}.parquet"
        connection.execute(
            f"copy {quoted_name(relation.name)} to {quoted_text(str(file))} (format parquet, "
            f"compression zstd, kv_metadata {{description: {quoted_text(relation.description)}}})"
        )
        query = f"select count(*) from read_parquet({quoted_text(str(file))})"
        ((count,),) = connection.execute(query).fetchall()
        if count != expected.get(relation.name, count):
            raise PublishFailed(
                f"{file.name} does not hold the {expected[relation.name]} rows that were published"
            )
        with file.open("rb") as written:
            os.fsync(written.fileno())


def _prune(published_dir: Path, keep: int) -> None:
    current = target_of(published_dir, LINK_NAME, POINTER_NAME)
    numbered = sorted(
        (int(found[1]), path)
        for path in published_dir.iterdir()
        if (found := _VERSION.fullmatch(path.name)) and path.is_dir()
    )
    for _, path in numbered[:-keep]:
        if path != current:
            shutil.rmtree(path, ignore_errors=True)
