"""Take a record out of what is derived from the landing: the warehouse, Dagster's history, logs, artifacts.

DuckDB and SQLite leave deleted values in free blocks, so a file is written anew, or vacuumed.
"""

import json
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import duckdb

from dagster_project.extract.inflight import sync_file, sync_folder
from dagster_project.extract.purged import RecordName
from dagster_project.settings import Paths
from dagster_project.transform.dbt_runner import DBT_PROJECT

MARK = "(purged)"
# The row of forecast_changes that is no single deal's.
_NO_DEAL = "(none)"
_SHORTEST_ID = 5
_IMAGE = re.compile(r"data:image/[\w.+-]+;base64,[A-Za-z0-9+/=]+")
_CHANGES = "forecast_changes"
_CHANGES_KEY = ("as_of", "kind", "prior_as_of", "period", "part", "deal_key")
_CHANGES_SUMS = ("delta", "expected_before", "expected_after")
_ABOUT_DEAL = (
    "source_relation",
    "deal_id",
    "open_amount_before",
    "open_amount_after",
    "stage_before",
    "stage_after",
)
_DERIVED = ("dbt_target", "docs")


class HistoryBusy(Exception):
    """Dagster's own files are in use; the text says what to stop."""


def redactor(name: RecordName, texts: Sequence[str]) -> Callable[[str], str]:
    """What replaces a record's own texts, and its id where it stands alone and is no common number."""
    parts = []
    for text in texts:
        plain, ascii_only = _json_text(text, ascii_only=False), _json_text(text, ascii_only=True)
        parts += [re.escape(form) for form in dict.fromkeys((text, plain, ascii_only))]
    if len(name.record_id) >= _SHORTEST_ID:
        parts.append(rf"(?<![\w.-]){re.escape(name.record_id)}(?![\w-])")
    if not parts:
        return lambda text: text
    pattern = re.compile("|".join(parts))
    return lambda text: pattern.sub(MARK, text)


def redact_files(folder: Path, redact: Callable[[str], str]) -> int:
    """Rewrite the logs of a folder without the record; how many changed."""
    changed = 0
    for path in sorted(folder.rglob("*")) if folder.exists() else []:
        if not path.is_file() or path.suffix in (".db", ".db-wal", ".db-shm"):
            continue
        before = path.read_text(encoding="utf-8", errors="surrogateescape")
        after = redact(before)
        if after != before:
            draft = path.with_name(path.name + ".draft")
            draft.write_text(after, encoding="utf-8", errors="surrogateescape")
            os.replace(draft, path)
            changed += 1
    return changed


def redact_history(home: Path, redact: Callable[[str], str]) -> int:
    """Redact every text of Dagster's SQLite files, and rewrite those that changed; how many did.

    Charts of single deals are removed: a name that is drawn cannot be found.
    Errors: HistoryBusy while a process writes to them.
    """

    def clean(value: object) -> object:
        if not isinstance(value, str):
            return value
        drawn = _IMAGE.sub(MARK, value) if _CHANGES in value else value
        return redact(drawn)

    changed = 0
    for path in sorted(home.rglob("*.db")):
        try:
            changed += _redact_database(path, clean)
        except sqlite3.OperationalError as error:
            raise HistoryBusy(
                f"{path} cannot be written ({error}); stop Dagster's webserver and daemon, then purge again"
            ) from error
    return changed


def remove_derived(paths: Paths) -> None:
    """Remove what the next build or command writes anew: dbt's artifacts, the documentation."""
    for name in _DERIVED:
        shutil.rmtree(paths.root / name, ignore_errors=True)


def rewrite_warehouse(
    warehouse: Path, name: RecordName, redact: Callable[[str], str], memory_limit: str
) -> dict[str, int]:
    """A new file with the tables that no build makes (runs, stored forecasts), without the record.

    Returns the rows taken out, by table. What dbt builds is left out: it has to be built whole afterwards.
    In `forecast_changes` the share of a purged deal is told without a deal, so that changes still add up.
    """
    built = {path.stem for path in (DBT_PROJECT / "models").rglob("*.sql")}
    draft = warehouse.with_name(warehouse.name + ".purging")
    for old in (draft, draft.with_name(draft.name + ".wal")):
        old.unlink(missing_ok=True)
    taken: dict[str, int] = {}
    with closing(duckdb.connect(str(draft))) as connection:
        connection.execute(f"set memory_limit = '{memory_limit}'")
        connection.create_function("redact", redact, ["VARCHAR"], "VARCHAR")
        connection.execute(f"attach {_literal(str(warehouse))} as old (read_only)")
        for schema, table in _tables(connection):
            if table not in built:
                taken[f"{schema}.{table}"] = _copy_table(connection, schema, table, name)
        for schema, view, sql in _views(connection):
            if view not in built:
                connection.execute(f'create schema if not exists "{schema}"')
                connection.execute(sql)
        connection.execute("detach old")
        connection.execute("checkpoint")
    os.chmod(draft, warehouse.stat().st_mode)
    sync_file(draft)
    os.replace(draft, warehouse)
    warehouse.with_name(warehouse.name + ".wal").unlink(missing_ok=True)
    sync_folder(warehouse.parent)
    return {table: rows for table, rows in taken.items() if rows}


def _copy_table(connection: duckdb.DuckDBPyConnection, schema: str, table: str, name: RecordName) -> int:
    columns = dict(
        connection.execute(
            "select column_name, data_type from duckdb_columns() "
            "where database_name = 'old' and schema_name = ? and table_name = ? order by column_index",
            [schema, table],
        ).fetchall()
    )
    is_own = "false"
    if name.kind == "deal" and {"deal_id", "source_relation"} <= columns.keys():
        is_own = f"source_relation = {_literal(name.source)} and deal_id = {_literal(name.record_id)}"
    place = f'"{schema}"."{table}"'
    connection.execute(f'create schema if not exists "{schema}"')
    before = connection.execute(f"select count(*) from old.{place} where {is_own}").fetchone()
    own_rows = int(before[0]) if before else 0
    if table == _CHANGES and own_rows:
        query = _changes_without(columns, place, is_own)
    else:
        told = ", ".join(
            f'redact("{column}") as "{column}"' if kind == "VARCHAR" else f'"{column}"'
            for column, kind in columns.items()
        )
        query = f"select {told} from old.{place} where not coalesce({is_own}, false)"
    connection.execute(f"create table {place} as {query}")
    return own_rows


def _changes_without(columns: Mapping[str, str], place: str, is_own: str) -> str:
    """Rows of forecast_changes with those of one deal added to the row that is no deal's."""
    own = {"deal_key": f"'{_NO_DEAL}'", **dict.fromkeys(_ABOUT_DEAL, "null")}
    marked = ", ".join(
        f'case when coalesce({is_own}, false) then {own[column]} else "{column}" end as "{column}"'
        if column in own
        else f'"{column}"'
        for column in columns
    )
    told = ", ".join(
        f'"{column}"'
        if column in _CHANGES_KEY
        else f'cast(sum("{column}") as {kind}) as "{column}"'
        if column in _CHANGES_SUMS
        else f'first("{column}" order by is_added) as "{column}"'
        for column, kind in columns.items()
    )
    keys = ", ".join(f'"{column}"' for column in _CHANGES_KEY)
    source = f"select {marked}, coalesce({is_own}, false) as is_added from old.{place}"
    return f"select {told} from ({source}) as changes group by {keys}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _tables(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return connection.execute(
        "select schema_name, table_name from duckdb_tables() where database_name = 'old' order by 1, 2"
    ).fetchall()


def _views(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    return connection.execute(
        "select schema_name, view_name, sql from duckdb_views() "
        "where database_name = 'old' and not internal order by 1, 2"
    ).fetchall()


def _redact_database(path: Path, clean: Callable[[object], object]) -> int:
    with closing(sqlite3.connect(path, timeout=30.0)) as connection:
        connection.create_function("clean", 1, clean)
        before = connection.total_changes
        for table, column in list(_text_columns(connection)):
            connection.execute(
                f'update "{table}" set "{column}" = clean("{column}") '
                f'where typeof("{column}") = \'text\' and clean("{column}") <> "{column}"'
            )
        connection.commit()
        if connection.total_changes == before:
            return 0
        connection.execute("vacuum")
        connection.execute("pragma wal_checkpoint(truncate)")
    return 1


def _text_columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
    for (table,) in tables:
        for _, column, kind, *_ in connection.execute(f'pragma table_info("{table}")').fetchall():
            if any(sign in kind.upper() for sign in ("CHAR", "TEXT", "CLOB", "JSON")) or not kind:
                yield table, column


def _json_text(text: str, *, ascii_only: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]
