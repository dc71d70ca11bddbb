"""Publish the marts as one DuckDB file that BI tools open read-only: never blocked, never torn.

A copy is written under a name that was never used, closed, opened again, compared with what was
written, and only then put behind the link `marts.duckdb`. Whatever goes wrong before, readers keep
the version they have.
"""

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb

from dagster_project import run_lock
from dagster_project.publish.errors import PublishFailed, PublishRefused
from dagster_project.publish.published_tables import PublishedTable, read_published_tables
from dagster_project.publish.published_views import (
    PublishedView,
    carried_view,
    create_listed_views,
    read_listed_views,
    try_views,
    view_query,
)
from dagster_project.publish.table_copy import (
    TableCopy,
    column_types,
    copy_table,
    fingerprint,
    first_line,
    newest_run,
    quoted_name,
    quoted_text,
    write_info,
)
from dagster_project.publish.table_macros import (
    TableMacro,
    create_table_macros,
    read_table_macros,
    try_table_macros,
)
from dagster_project.publish.versions import Versions, current_file
from dagster_project.warehouse import Warehouse, WarehouseError, WarehouseMissing

logger = logging.getLogger(__name__)

# BI tools bundle older engines: this format is read by every DuckDB from 1.1 on.
STORAGE_VERSION = "v1.0.0"
_CATALOG = "published"
_SPARE_BYTES = 32 * 1024 * 1024
_GROWTH = 1.5


@dataclass(frozen=True)
class PublishRun:
    """Which run publishes, and what the warehouse holds: as-of day, definitions, the run that built it."""

    run_id: str
    as_of: date
    definition_version: str
    built_by: str


@dataclass(frozen=True)
class PublishResult:
    """What readers see now. `path` is the version, `link` the name that readers open.

    `published_at` is UTC. `tables` holds `_publish` too. `absent` names extra tables that do not exist
    in the warehouse yet.
    """

    path: Path
    link: Path
    version: int
    published_at: datetime
    tables: tuple[TableCopy, ...]
    absent: tuple[str, ...]
    removed: tuple[Path, ...]
    size_bytes: int
    seconds: float


@dataclass(frozen=True)
class WrittenCopy:
    """What was written into a copy: tables and carried views (`_publish` included), listed views, macros.

    `absent` names extra tables that do not exist in the warehouse yet.
    """

    tables: tuple[TableCopy, ...]
    absent: tuple[str, ...] = ()
    views: tuple[PublishedView, ...] = ()
    macros: tuple[TableMacro, ...] = ()


def publish(
    warehouse: Warehouse,
    published_dir: Path,
    manifest_path: Path,
    run: PublishRun,
    extra_tables: Sequence[str] = (),
    keep: int = 3,
) -> PublishResult:
    """Publish the public dbt models and the `extra_tables` ("schema.name"); keep the last `keep` versions.

    Raises:
        PublishRefused: the warehouse lacks a table or breaks a key, or the disk has too little room.
        PublishFailed: the copy could not be written, or is not what was written.
        RunLocked: another process is publishing into the same folder.
    """
    if keep < 1:
        raise ValueError("keep at least one version: readers need it")
    started = time.monotonic()
    published_at = datetime.now(UTC).replace(tzinfo=None)
    versions = Versions(published_dir)
    with run_lock.hold(published_dir / ".publish.lock", run.run_id, "publishing"):
        try:
            tables = read_published_tables(manifest_path, extra_tables)
            refuse_full_disk(warehouse.path, versions)
            with versions.new() as number:
                unfinished = versions.unfinished_path(number)
                written = write_copy(warehouse, unfinished, tables, run, number, published_at)
                verify_copy(warehouse, unfinished, written)
                accepted = versions.accept(number)
                link = versions.flip(number)
        except (PublishRefused, WarehouseMissing) as error:
            raise PublishRefused(f"not published: {error}. {_still_serving(published_dir)}") from error
        except (PublishFailed, WarehouseError, duckdb.Error, OSError) as error:
            raise PublishFailed(
                f"not published: {first_line(error)}. {_still_serving(published_dir)}"
            ) from error
        removed = versions.prune(keep)
    return PublishResult(
        path=accepted,
        link=link,
        version=number,
        published_at=published_at,
        tables=written.tables,
        absent=written.absent,
        removed=tuple(removed),
        size_bytes=accepted.stat().st_size,
        seconds=time.monotonic() - started,
    )


def write_copy(
    warehouse: Warehouse,
    path: Path,
    tables: Sequence[PublishedTable],
    run: PublishRun,
    number: int,
    published_at: datetime,
) -> WrittenCopy:
    """Write `path` from one snapshot of the warehouse, checkpoint it and close it."""
    copies: list[TableCopy] = []
    absent: list[str] = []
    info: list[tuple[object, ...]] = []
    published = {table.source for table in tables}

    def note(copy: TableCopy, table: PublishedTable, built_by: str) -> None:
        about_table = (copy.name, copy.rows, ", ".join(table.primary_key), table.source, built_by)
        info.append((*about_table, run.run_id, run.as_of, published_at, run.definition_version, number))
        copies.append(copy)

    with warehouse.connect(read_only=True) as connection:
        connection.execute(
            f"attach {quoted_text(str(path))} as {_CATALOG} "
            f"(type duckdb, read_write, storage_version {quoted_text(STORAGE_VERSION)})"
        )
        connection.begin()
        queries = {table.name: view_query(connection, table) for table in tables}
        for table in tables:
            if queries[table.name] is not None:
                continue
            types = column_types(connection, table)
            if not types:
                if table.is_built_by_dbt:
                    raise PublishRefused(f"{table.source} is not in the warehouse: `make run` builds it")
                logger.warning("%s does not exist yet and is left out of the published file", table.source)
                absent.append(table.source)
                continue
            copy = copy_table(connection, table, types, _CATALOG)
            note(copy, table, run.built_by if table.is_built_by_dbt else newest_run(connection, table, types))
        # views stand on tables, so they come when these are there
        for table in tables:
            query = queries[table.name]
            if query is not None:
                note(carried_view(connection, table, query, published, _CATALOG), table, run.built_by)
        copies.append(write_info(connection, info, _CATALOG))
        views = read_listed_views(connection, tables)
        create_listed_views(connection, views, _CATALOG)
        macros = read_table_macros(connection)
        create_table_macros(connection, macros, _CATALOG)
        connection.commit()
        connection.execute(f"checkpoint {_CATALOG}")
        connection.execute(f"detach {_CATALOG}")
    return WrittenCopy(tuple(copies), tuple(absent), views, macros)


def verify_copy(warehouse: Warehouse, path: Path, expected: WrittenCopy) -> None:
    """Open the closed file read-only, read every value of it, read every view and call every macro.

    Raises:
        PublishFailed: a write-ahead log was left, a table is missing, rows differ from what was written, or
            a view or macro cannot be read.
    """
    wal = path.with_name(path.name + ".wal")
    if wal.exists():
        raise PublishFailed(f"{wal.name} was left beside the copy, which is therefore incomplete")
    connection = duckdb.connect(str(path), read_only=True, config={"enable_external_access": False})
    try:
        connection.execute(f"set memory_limit = {quoted_text(warehouse.memory_limit)}")
        connection.execute(f"set threads = {warehouse.threads}")
        rows = connection.execute(
            "select table_name from information_schema.tables where table_schema = 'main'"
        ).fetchall()
        missing = sorted({copy.name for copy in expected.tables} - {name for (name,) in rows})
        if missing:
            raise PublishFailed(f"the copy lacks {', '.join(missing)}")
        for copy in expected.tables:
            count, checksum = fingerprint(connection, quoted_name(copy.name))
            if count != copy.rows:
                raise PublishFailed(f"{copy.name} has {count} rows in the copy, {copy.rows} were written")
            if checksum != copy.checksum:
                raise PublishFailed(f"{copy.name} reads back other values than were written")
        try_views(connection, expected.views)
        try_table_macros(connection, expected.macros)
    finally:
        connection.close()


def refuse_full_disk(warehouse_path: Path, versions: Versions) -> None:
    """Refuse before anything is written when the copy would hardly fit.

    The last version tells the size; for the first one the whole warehouse is the upper bound.

    Raises:
        PublishRefused: too little room; says how much is needed and how much there is.
    """
    current = current_file(versions.folder)
    if current is not None:
        needed = int(current.stat().st_size * _GROWTH) + _SPARE_BYTES
    else:
        needed = (warehouse_path.stat().st_size if warehouse_path.exists() else 0) + _SPARE_BYTES
    free = shutil.disk_usage(versions.folder).free
    if free < needed:
        raise PublishRefused(
            f"{versions.folder} has {free / 1e6:.0f} MB free and the copy may take {needed / 1e6:.0f} MB: "
            "make room, or lower `publish.keep_versions`"
        )


def _still_serving(published_dir: Path) -> str:
    current = current_file(published_dir)
    if current is None:
        return "Nothing has been published before"
    return f"The earlier version ({current.name}) keeps serving"
