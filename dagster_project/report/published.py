"""The published file, read only: rows by column name, and what tables and columns mean."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.report.errors import NothingPublished

Row = dict[str, Any]


@dataclass(frozen=True)
class Definition:
    """What one figure means. `source` is table.column of the published file."""

    source: str
    name: str
    meaning: str
    formula: str | None = None
    unit: str | None = None
    caveats: str | None = None
    settings: str | None = None
    version: str = "default"

    @property
    def anchor(self) -> str:
        """Its place in the page."""
        return "d-" + self.source.replace(".", "-").replace("_", "-")


@dataclass(frozen=True)
class Stamp:
    """Which version of the file this is."""

    as_of: date
    published_at: datetime
    run_id: str
    version: int
    definition_version: str


class Published:
    """One open version of the published file. A table that is not in it has no rows."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        tables = "select table_name from duckdb_tables() union all select view_name from duckdb_views()"
        self._tables = {row[0] for row in connection.execute(tables).fetchall()}
        self._comments = {
            (table, column): comment
            for table, column, comment in connection.execute(
                "select table_name, column_name, comment from duckdb_columns() where not internal"
            ).fetchall()
        }
        self._metrics = {
            (row["table_name"], row["column_name"]): row for row in self.rows("mart_metric_definitions")
        }

    def rows(self, table: str, where: str = "true", values: Sequence[Any] = (), order: str = "") -> list[Row]:
        """Rows of one table by column name; numbers that are none, and missing tables, are nothing."""
        if table not in self._tables:
            return []
        ordered = f" order by {order}" if order else ""
        return self.query(f'select * from "{table}" where {where}{ordered}', values)

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Rows of a query by column name."""
        cursor = self._connection.execute(sql, list(values))
        names = [column[0] for column in cursor.description or ()]
        return [
            {name: _known(value) for name, value in zip(names, row, strict=True)} for row in cursor.fetchall()
        ]

    def values(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The one row of a query, by place."""
        row = self._connection.execute(sql, list(values)).fetchone()
        return () if row is None else row

    def has(self, *tables: str) -> bool:
        """Whether all these tables are in the file."""
        return set(tables) <= self._tables

    def stamp(self) -> Stamp:
        """Which version this is. Raises NothingPublished for a file that no publish has finished."""
        rows = self.rows("_publish", order="as_of desc")
        if not rows:
            raise NothingPublished("the published file holds no version: `make run` publishes one")
        row = rows[0]
        return Stamp(
            row["as_of"], row["published_at"], row["run_id"], row["version"], row["definition_version"]
        )

    def definition(self, source: str) -> Definition:
        """What table.column means: its metric's definition, else the column's comment."""
        table, _, column = source.partition(".")
        metric = self._metrics.get((table, column))
        if metric is None:
            comment = self._comments.get((table, column)) or f"Column {column} of {table}."
            return Definition(source, column.replace("_", " "), comment)
        return Definition(
            source,
            str(metric["name"]).replace("_", " "),
            metric["definition"] or "",
            metric["formula"],
            metric["unit"],
            metric["caveats"],
            metric["settings_in_force"],
            metric["definition_version"] or "default",
        )


@contextmanager
def open_published(file: Path) -> Iterator[Published]:
    """The file, read-only and shut off from everything else on the machine.

    Raises:
        NothingPublished: there is none yet.
    """
    if not file.exists():
        raise NothingPublished(f"there is no published file {file}: `make run` publishes one")
    config = {"enable_external_access": "false", "memory_limit": "300MB", "threads": "2"}
    with duckdb.connect(str(file.resolve()), read_only=True, config=config) as connection:
        yield Published(connection)


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
