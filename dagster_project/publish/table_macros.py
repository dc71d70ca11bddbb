"""Table macros of the published file: questions with a parameter, such as `pipeline_as_of(day)`.

dbt renders their text from the rules of the marts (model `int_table_macros`): they cannot drift apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from dagster_project.publish.errors import PublishFailed
from dagster_project.publish.table_copy import first_line, quoted_name

_SCHEMA, _TABLE = "marts", "int_table_macros"


@dataclass(frozen=True)
class TableMacro:
    """A macro over published tables; `sample_arguments` are arguments it can be tried with."""

    name: str
    parameters: str
    body: str
    sample_arguments: str


def read_table_macros(connection: duckdb.DuckDBPyConnection) -> tuple[TableMacro, ...]:
    """The macros that the warehouse names, sorted by name; none where dbt has built none."""
    is_there = connection.execute(
        "select count(*) from information_schema.tables where table_schema = ? and table_name = ? "
        "and table_catalog = current_database()",
        [_SCHEMA, _TABLE],
    ).fetchone()
    if not is_there or not is_there[0]:
        return ()
    rows = connection.execute(
        f"select macro_name, parameters, body, sample_arguments from {_SCHEMA}.{_TABLE} order by macro_name"
    ).fetchall()
    return tuple(TableMacro(*row) for row in rows)


def create_table_macros(
    connection: duckdb.DuckDBPyConnection, macros: Sequence[TableMacro], catalog: str
) -> None:
    """Create the macros beside the published tables of `catalog`."""
    row = connection.execute("select current_database(), current_schema()").fetchone()
    if row is None:
        raise RuntimeError("a query without a table returned no row")
    # the engine looks for the tables of a macro where it stands
    connection.execute(f"use {catalog}.main")
    for macro in macros:
        connection.execute(
            f"create macro {quoted_name(macro.name)}({macro.parameters}) as table {macro.body}"
        )
    connection.execute(f"use {quoted_name(row[0])}.{quoted_name(row[1])}")


def try_table_macros(connection: duckdb.DuckDBPyConnection, macros: Sequence[TableMacro]) -> None:
    """Call each macro once, as a reader would.

    Raises:
        PublishFailed: a macro is missing, or names a table or column that is not published.
    """
    for macro in macros:
        try:
            connection.execute(
                f"select * from {quoted_name(macro.name)}({macro.sample_arguments})"
            ).fetchall()
        except duckdb.Error as error:
            raise PublishFailed(
                f"the macro {macro.name} cannot be called: {first_line(error)}. "
                f"Correct its text in the dbt model {_TABLE}"
            ) from error
