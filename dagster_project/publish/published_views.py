"""Views of the published file: they show its tables in another shape and hold no rows of their own.

Two kinds come out of the warehouse. A public dbt model that is materialized as a view is carried over with
its own query. The views that dbt lists in `int_published_views` (a mart by one segment, the calendar in one
role) exist in the published file only.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import duckdb

from dagster_project.publish.errors import PublishFailed, PublishRefused
from dagster_project.publish.published_tables import PublishedTable
from dagster_project.publish.table_copy import (
    TableCopy,
    fingerprint,
    first_line,
    quoted_name,
    write_comments,
)

_SCHEMA, _TABLE = "marts", "int_published_views"
# A query as the engine prints it: what is read stands behind FROM or JOIN, with its schema.
_SOURCE = re.compile(r'\b(FROM|JOIN)( \(*)(?:"?\w+"?\.)?"?(\w+)"?\."?(\w+)"?')


@dataclass(frozen=True)
class PublishedView:
    """A view over published tables: its query, its words, and the words of its columns.

    `like` names the published table whose words its columns take where they have none of their own.
    """

    name: str
    body: str
    description: str = ""
    columns: Mapping[str, str] | None = None
    like: str | None = None


def view_query(connection: duckdb.DuckDBPyConnection, table: PublishedTable) -> str | None:
    """The query of a dbt model that is a view in the warehouse, None where it is a table."""
    if not table.is_built_by_dbt:
        return None
    row = connection.execute(
        "select sql from duckdb_views() where database_name = current_database() "
        "and schema_name = ? and view_name = ?",
        [table.schema, table.name],
    ).fetchone()
    return None if row is None else str(row[0]).partition(" AS ")[2].rstrip("; \n")


def carried_view(
    connection: duckdb.DuckDBPyConnection,
    table: PublishedTable,
    query: str,
    published: Collection[str],
    catalog: str,
) -> TableCopy:
    """Create a dbt model's view in `catalog`, over the `published` tables ("schema.name") instead of its own.

    Returns the rows and the checksum that the view has in the warehouse.

    Raises:
        PublishRefused: the view reads a table that is not published.
    """

    def renamed(found: re.Match[str]) -> str:
        keyword, opening, schema, name = found.groups()
        if f"{schema}.{name}" not in published:
            raise PublishRefused(
                f"the view {table.name} reads {schema}.{name}, which is not published: "
                "build the model as a table, or make the other one public"
            )
        return f"{keyword}{opening}{quoted_name(name)}"

    view = PublishedView(table.name, _SOURCE.sub(renamed, query), table.description, table.columns)
    _create(connection, view, catalog)
    rows, checksum = fingerprint(connection, f"{quoted_name(table.schema)}.{quoted_name(table.name)}")
    return TableCopy(table.name, rows, (), checksum, is_view=True)


def read_listed_views(
    connection: duckdb.DuckDBPyConnection, tables: Sequence[PublishedTable]
) -> tuple[PublishedView, ...]:
    """The views that dbt lists, with their words; none where dbt has built no list."""
    is_there = connection.execute(
        "select count(*) from information_schema.tables where table_schema = ? and table_name = ? "
        "and table_catalog = current_database()",
        [_SCHEMA, _TABLE],
    ).fetchone()
    if not is_there or not is_there[0]:
        return ()
    words = {table.name: table.columns for table in tables}
    rows = connection.execute(
        "select view_name, body, description, column_words, words_like "
        f"from {_SCHEMA}.{_TABLE} order by view_name"
    ).fetchall()
    views = (PublishedView(name, body, text, json.loads(own), like) for name, body, text, own, like in rows)
    return tuple(
        replace(view, columns={**words.get(view.like or "", {}), **(view.columns or {})}) for view in views
    )


def create_listed_views(
    connection: duckdb.DuckDBPyConnection, views: Sequence[PublishedView], catalog: str
) -> None:
    """Create the listed views beside the published tables of `catalog`, with their comments."""
    for view in views:
        _create(connection, view, catalog)


def try_views(connection: duckdb.DuckDBPyConnection, views: Sequence[PublishedView]) -> None:
    """Read each view once, as a reader would.

    Raises:
        PublishFailed: a view is missing, or names a table or column that is not published.
    """
    for view in views:
        try:
            connection.execute(f"select * from {quoted_name(view.name)} limit 1").fetchall()
        except duckdb.Error as error:
            raise PublishFailed(_unreadable(view, error)) from error


def _create(connection: duckdb.DuckDBPyConnection, view: PublishedView, catalog: str) -> None:
    row = connection.execute("select current_database(), current_schema()").fetchone()
    if row is None:
        raise RuntimeError("a query without a table returned no row")
    # the names in a view are looked for where it stands, whatever the file is called then
    connection.execute(f"use {catalog}.main")
    try:
        connection.execute(f"create view {quoted_name(view.name)} as {view.body}")
        names = [column for column, *_ in connection.execute(f"describe {quoted_name(view.name)}").fetchall()]
        write_comments(
            connection, quoted_name(view.name), view.description, view.columns or {}, names, "view"
        )
    except duckdb.Error as error:
        raise PublishFailed(_unreadable(view, error)) from error
    connection.execute(f"use {quoted_name(row[0])}.{quoted_name(row[1])}")


def _unreadable(view: PublishedView, error: duckdb.Error) -> str:
    return f"the view {view.name} cannot be read: {first_line(error)}. Correct its dbt model, or {_TABLE}"
