"""Read the published file as any reader would: what the optional targets are filled from.

Tables and views are alike here: a target that knows no views, or whose row-level security wants tables,
gets rows for both.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from dagster_project.publish.errors import PublishRefused
from dagster_project.publish.table_copy import INFO_TABLE, quoted_text
from dagster_project.publish.versions import current_file


@dataclass(frozen=True)
class Relation:
    """A table or view of the published file.

    `columns` maps a column to its engine type, `comments` to its words. `primary_key` is the key of the
    contract, whether the file has an index for it or not. `is_listed`: it stands in `_publish`; views by
    segment and by role of a date do not.
    """

    name: str
    columns: Mapping[str, str]
    description: str = ""
    comments: Mapping[str, str] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    is_listed: bool = True


@contextmanager
def open_published(
    published_dir: Path, memory_limit: str = "1GB", threads: int = 2, may_write_files: bool = False
) -> Iterator[tuple[Path, duckdb.DuckDBPyConnection]]:
    """The newest version and a read-only connection to it: a version, not the link, so that it never moves.

    `may_write_files`: queries may write other files; without it the connection reaches this file only.

    Raises:
        PublishRefused: nothing has been published yet.
    """
    path = current_file(published_dir)
    if path is None:
        raise PublishRefused(f"nothing is published in {published_dir} yet: `make run` publishes it")
    connection = duckdb.connect(str(path), read_only=True)
    try:
        connection.execute(f"set memory_limit = {quoted_text(memory_limit)}")
        connection.execute(f"set threads = {threads}")
        # rows stream to the target in whatever order they come
        connection.execute("set preserve_insertion_order = false")
        if not may_write_files:
            connection.execute("set enable_external_access = false")
        yield path, connection
    finally:
        connection.close()


def read_relations(connection: duckdb.DuckDBPyConnection) -> tuple[Relation, ...]:
    """All tables and views of the file, `_publish` too, sorted by name."""
    words = dict(
        connection.execute(
            "select table_name, comment from duckdb_tables() where not internal union all "
            "select view_name, comment from duckdb_views() where not internal"
        ).fetchall()
    )
    types: dict[str, dict[str, str]] = {name: {} for name in sorted(words)}
    comments: dict[str, dict[str, str]] = {name: {} for name in words}
    for table, column, kind, comment in connection.execute(
        "select table_name, column_name, data_type, comment from duckdb_columns() where not internal "
        "order by table_name, column_index"
    ).fetchall():
        types[table][column] = kind
        comments[table][column] = comment or ""
    keys = {
        name: tuple(part for part in key.split(", ") if part)
        for name, key in connection.execute(f"select table_name, primary_key from {INFO_TABLE}").fetchall()
    }
    keys[INFO_TABLE] = ("table_name",)
    return tuple(
        Relation(name, columns, words[name] or "", comments[name], keys.get(name, ()), name in keys)
        for name, columns in types.items()
    )


def published_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rows of each table as `_publish` counted them when the file was verified."""
    return dict(connection.execute(f"select table_name, row_count from {INFO_TABLE}").fetchall())
