"""The engine seam: the one place that opens the private warehouse, reads a query and writes a table.

Everything else speaks SQL and data frames. DuckDB stands behind it; another engine would replace
this file and nothing else.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

Columns = Mapping[str, str]
"""Column name → contract type: string, bigint, int, date, timestamp, decimal(p,s), double or boolean."""

Params = Sequence[Any] | Mapping[str, Any]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOCK_HOLDER = re.compile(r"held in (?P<program>.+?) \(PID (?P<pid>\d+)\)")
_LOCK_SIGNS = ("could not set lock", "conflicting lock", "being used by another process")
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0


class WarehouseError(RuntimeError):
    """Base of everything this module raises on purpose; the message carries the remedy."""


class WarehouseBusy(WarehouseError):
    """Somebody else has the warehouse open, and kept it open for as long as we were ready to wait."""


class WarehouseMissing(WarehouseError):
    """The warehouse, or a table of it, does not exist yet."""


class FrameMismatch(WarehouseError):
    """A frame does not fit the table it should be written to."""


@dataclass(frozen=True)
class Warehouse:
    """The private warehouse file. Cheap to make: nothing is opened before it is used.

    `wait_seconds` bounds how long an open retries while another process holds the file.

    Example:
        >>> warehouse = Warehouse(Path("data/warehouse.duckdb"))
        >>> warehouse.replace_rows("forecast.daily", frame, ["as_of"], {"as_of": "date", "mean": "double"})
        >>> warehouse.query("select * from forecast.daily where as_of = $day", {"day": day})
    """

    path: Path
    memory_limit: str = "1GB"
    threads: int = 2
    wait_seconds: float = 10.0

    @contextmanager
    def connect(self, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the warehouse, retry while it is locked, and close it on the way out.

        Instants are UTC in every connection, whatever the machine's time zone. A read-only connect
        inside a process that is writing shares the writer's connection settings.

        Raises:
            WarehouseMissing: read-only and there is no file yet.
            WarehouseBusy: still locked after `wait_seconds`; names the process that holds it.
        """
        if read_only and not self.path.exists():
            raise WarehouseMissing(f"no warehouse at {self.path} yet: `make run` builds it")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._open(read_only)
        try:
            connection.execute(f"set memory_limit = '{self.memory_limit}'")
            connection.execute(f"set threads = {self.threads}")
            connection.execute("set TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()

    def query(self, sql: str, params: Params | None = None) -> pd.DataFrame:
        """Rows of one query. Decimals arrive as double, dates as midnight timestamps.

        `params` fills `?` (a sequence) or `$name` (a mapping).
        """
        with self.connect(read_only=True) as connection:
            return connection.execute(sql, params).df()

    def execute(self, sql: str, params: Params | None = None) -> None:
        """Run one statement that returns nothing."""
        with self.connect() as connection:
            connection.execute(sql, params)

    def append(self, table: str, frame: pd.DataFrame, columns: Columns | None = None) -> int:
        """Add the rows of `frame` to `table` ("schema.name") and return how many.

        With `columns` a missing schema, table or column is made first, and the frame must have
        exactly these columns. Time-zone-aware instants are stored in UTC.

        Raises:
            WarehouseMissing: the table does not exist and `columns` was not given.
            FrameMismatch: a column is missing, unknown, or of a type that cannot be cast.
        """
        return self._write(table, frame, columns, {})

    def replace_rows(
        self,
        table: str,
        frame: pd.DataFrame,
        where_columns: Sequence[str] | Mapping[str, Any],
        columns: Columns | None = None,
    ) -> int:
        """Delete and insert in one transaction; readers see the old rows or the new, never a mixture.

        `where_columns` as names deletes every row that shares these columns' values with a row of
        `frame` (nulls equal nulls); as a mapping it deletes the rows with these values, so that an
        empty frame clears its place too. Otherwise like `append`.
        """
        if not where_columns:
            raise ValueError(f"replace_rows on {table} needs the columns that say which rows to replace")
        return self._write(table, frame, columns, where_columns)

    def create_schema(self, schema: str) -> None:
        """Make a schema unless it is there."""
        self.execute(f"create schema if not exists {_quoted(schema)}")

    def create_table(self, table: str, columns: Columns) -> None:
        """Make schema and table unless they are there; add the columns that the table lacks.

        Raises:
            FrameMismatch: an existing column has another type.
        """
        with self.connect() as connection:
            _ensure_table(connection, table, columns)

    def has_table(self, table: str) -> bool:
        """Whether `table` ("schema.name", table or view) exists; False while there is no warehouse."""
        if not self.path.exists():
            return False
        with self.connect(read_only=True) as connection:
            return bool(_table_columns(connection, table))

    def table_columns(self, table: str) -> dict[str, str]:
        """Column names and engine types of a table or view in order; empty when it does not exist."""
        with self.connect(read_only=True) as connection:
            return _table_columns(connection, table)

    def tables(self, schema: str) -> list[str]:
        """Names of the tables and views of a schema, sorted."""
        with self.connect(read_only=True) as connection:
            found = connection.execute(
                "select table_name from information_schema.tables where table_schema = ? "
                "and table_catalog = current_database() order by table_name",
                [schema],
            ).fetchall()
        return [name for (name,) in found]

    def _open(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + self.wait_seconds
        pause = _FIRST_PAUSE_SECONDS
        announced = False
        while True:
            try:
                return _connect_once(self.path, read_only)
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                if not _is_lock(error):
                    raise
                left = deadline - time.monotonic()
                if left <= 0:
                    raise WarehouseBusy(_busy_message(self.path, error, self.wait_seconds)) from error
                if not announced:
                    logger.info("waiting for the warehouse, held by %s", _holder(error))
                    announced = True
                time.sleep(min(pause, left))
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _write(
        self,
        table: str,
        frame: pd.DataFrame,
        columns: Columns | None,
        replace: Sequence[str] | Mapping[str, Any],
    ) -> int:
        with self.connect() as connection:
            connection.begin()
            try:
                if columns is not None:
                    _ensure_table(connection, table, columns)
                targets = _table_columns(connection, table)
                if not targets:
                    raise WarehouseMissing(
                        f"{table} does not exist in {self.path}: pass its columns to create it"
                    )
                _check_frame(table, frame, list(columns or targets), targets)
                connection.register("incoming_rows", frame)
                _delete_matching(connection, table, targets, replace)
                _insert(connection, table, frame, targets)
                connection.unregister("incoming_rows")
                connection.commit()
            except BaseException:
                _roll_back(connection)
                raise
        return len(frame)


def _connect_once(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(path), read_only=read_only)
    except duckdb.ConnectionException as error:
        # DuckDB refuses a read-only connection beside a writing one of the same process; join that one.
        if read_only and _is_lock(error):
            return duckdb.connect(str(path))
        raise


def _is_lock(error: duckdb.Error) -> bool:
    text = str(error).lower()
    return "different configuration" in text or any(sign in text for sign in _LOCK_SIGNS)


def _holder(error: duckdb.Error) -> str:
    found = _LOCK_HOLDER.search(str(error))
    if found:
        return f"process {found['pid']} ({found['program']})"
    if "different configuration" in str(error):
        return "another connection of this same process, opened with other settings"
    return "another process"


def _busy_message(path: Path, error: duckdb.Error, waited: float) -> str:
    return (
        f"the warehouse {path} is open in {_holder(error)}; waited {waited:g} s. "
        "Close it or let it finish, then run again. BI tools and notebooks belong on published/marts.duckdb"
    )


def _quoted(name: str) -> str:
    """A schema, table or dotted name in double quotes; anything else than plain names is refused."""
    parts = name.split(".")
    for part in parts:
        if not _IDENTIFIER.fullmatch(part):
            raise ValueError(f"{name!r} is not a name of a schema, table or column")
    return ".".join(f'"{part}"' for part in parts)


def _split(table: str) -> tuple[str, str]:
    schema, dot, name = table.partition(".")
    if not dot or "." in name:
        raise ValueError(f"{table!r}: name a table as schema.table")
    return schema, name


def _table_columns(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    schema, name = _split(table)
    rows = connection.execute(
        "select column_name, data_type from information_schema.columns where table_schema = ? "
        "and table_name = ? and table_catalog = current_database() order by ordinal_position",
        [schema, name],
    ).fetchall()
    return dict(rows)


def _ensure_table(connection: duckdb.DuckDBPyConnection, table: str, columns: Columns) -> None:
    schema, _ = _split(table)
    connection.execute(f"create schema if not exists {_quoted(schema)}")
    body = ", ".join(f"{_quoted(name)} {kind}" for name, kind in columns.items())
    connection.execute(f"create table if not exists {_quoted(table)} ({body})")
    present = _table_columns(connection, table)
    for name, kind in columns.items():
        if name not in present:
            connection.execute(f"alter table {_quoted(table)} add column {_quoted(name)} {kind}")
            continue
        wanted = connection.execute(f"select typeof(cast(null as {kind}))").fetchone()
        if wanted is not None and wanted[0] != present[name]:
            raise FrameMismatch(
                f"{table}.{name} is {present[name]} in the warehouse but should be {kind}: "
                "it was made by another version; drop the table or migrate the column"
            )


def _check_frame(table: str, frame: pd.DataFrame, wanted: list[str], targets: Columns) -> None:
    given = [str(name) for name in frame.columns]
    unknown = [name for name in given if name not in targets or name not in wanted]
    missing = [name for name in wanted if name not in given]
    doubled = sorted({name for name in given if given.count(name) > 1})
    problems = [
        f"{what} {', '.join(names)}"
        for what, names in (("unknown", unknown), ("missing", missing), ("given twice:", doubled))
        if names
    ]
    if problems:
        raise FrameMismatch(
            f"the frame does not fit {table}: {'; '.join(problems)}; the table takes {', '.join(wanted)}"
        )


def _delete_matching(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    targets: Columns,
    replace: Sequence[str] | Mapping[str, Any],
) -> None:
    if not replace:
        return
    unknown = [name for name in replace if name not in targets]
    if unknown:
        raise FrameMismatch(f"{table} has no column {', '.join(unknown)} to replace rows by")
    if isinstance(replace, Mapping):
        places = " and ".join(
            f"{_quoted(name)} is not distinct from cast(? as {targets[name]})" for name in replace
        )
        connection.execute(f"delete from {_quoted(table)} where {places}", list(replace.values()))
        return
    same = " and ".join(
        f"stored.{_quoted(name)} is not distinct from cast(incoming.{_quoted(name)} as {targets[name]})"
        for name in replace
    )
    keys = ", ".join(_quoted(name) for name in replace)
    connection.execute(
        f"delete from {_quoted(table)} as stored where exists "
        f"(select 1 from (select distinct {keys} from incoming_rows) as incoming where {same})"
    )


def _insert(connection: duckdb.DuckDBPyConnection, table: str, frame: pd.DataFrame, targets: Columns) -> None:
    names = [str(name) for name in frame.columns]
    into = ", ".join(_quoted(name) for name in names)
    values = ", ".join(f"cast({_quoted(name)} as {targets[name]})" for name in names)
    try:
        connection.execute(f"insert into {_quoted(table)} ({into}) select {values} from incoming_rows")
    except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
        raise FrameMismatch(f"a value of the frame does not fit {table}: {error}") from error


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    try:
        connection.rollback()
    except duckdb.Error as error:
        # A failed commit has already rolled back; the first error is the one worth showing.
        logger.debug("nothing left to roll back: %s", error)
