"""PostgreSQL as a second target: all published tables replaced in one transaction.

The rows come from the file that has just been published, never from the warehouse, so both targets tell the
same. Tables are emptied and filled, never swapped: grants, policies, comments and the users' views stay, and
whoever reads in a transaction of isolation REPEATABLE READ sees one version, whole.
"""

import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import duckdb
import psycopg
import pyarrow.csv
from psycopg import sql

from dagster_project.publish.errors import PublishError, PublishFailed, PublishRefused
from dagster_project.publish.postgres_shape import (
    ensure_keys,
    ensure_schema,
    ensure_table,
    our_tables,
    retire,
)
from dagster_project.publish.published_file import Relation, open_published, published_rows, read_relations
from dagster_project.publish.table_copy import quoted_name

logger = logging.getLogger(__name__)

# A reader's open transaction may hold a lock that a changed shape needs; waiting longer would queue the
# readers behind us.
LOCK_SECONDS = 60
CONNECT_SECONDS = 15
BATCH_ROWS = 20_000
# An entry of a PostgreSQL index takes at most 2,704 bytes.
LONGEST_KEY_BYTES = 2_000
# The rows that BI tools join, and filter by for row-level security; long marts are small or read whole.
_INDEXED_PREFIXES = ("bi_", "fct_")


@dataclass(frozen=True)
class PostgresResult:
    """What readers of the server see now: rows by table, changes of shape in words, version of the file."""

    server: str
    schema: str
    version: int
    rows: dict[str, int]
    changes: tuple[str, ...]
    megabytes: float
    seconds: float


def publish_postgres(
    published_dir: Path, url: str, schema: str, memory_limit: str = "1GB", threads: int = 2
) -> PostgresResult:
    """Replace the tables of `schema` by those of the newest published file, in one transaction.

    Raises:
        PublishRefused: nothing is published yet, or the server's schema cannot take it; says what to do.
        PublishFailed: the server cannot be reached, is busy, or broke off; the rows before keep serving.
    """
    started = time.monotonic()
    try:
        with _connected(url) as connection:
            with connection.transaction():
                _take_turn(connection, schema)
                # opened after the turn is taken: whoever comes second publishes what is newest then
                with open_published(published_dir, memory_limit, threads) as (path, source):
                    result = _replace_all(connection, schema, source)
            _clean_up(connection, schema, result)
    except PublishError as error:
        raise type(error)(f"PostgreSQL was not filled: {error}. {_serving(published_dir)}") from None
    except (psycopg.Error, duckdb.Error, OSError) as error:
        # the cause is cut off: a driver's own words may repeat the address with its password
        raise _in_words(error, url, schema, published_dir) from None
    rows, changes, size = result
    return PostgresResult(
        server=address(url),
        schema=schema,
        version=int(path.stem.rpartition("-")[2]),
        rows=rows,
        changes=changes,
        megabytes=size / 1e6,
        seconds=time.monotonic() - started,
    )


def address(url: str) -> str:
    """Where a URL leads, without user, password and options: host, port and database."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "the local server", f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the server of the URL"
    return f"{host}{port}{parts.path}"


@contextmanager
def _connected(url: str) -> Iterator[psycopg.Connection]:
    try:
        connection = psycopg.connect(
            url, connect_timeout=CONNECT_SECONDS, application_name="stageledger publish", autocommit=True
        )
    except psycopg.ProgrammingError:
        raise PublishRefused(
            "the address is no PostgreSQL URL: write postgresql://user:password@host:5432/database into the "
            "environment variable"
        ) from None
    try:
        yield connection
    finally:
        connection.close()


def _take_turn(connection: psycopg.Connection, schema: str) -> None:
    # limits that a server sets for its users' queries are not meant for filling the tables
    for setting in (
        f"lock_timeout = '{LOCK_SECONDS}s'",
        "statement_timeout = 0",
        "idle_in_transaction_session_timeout = 0",
        # a policy that binds the tables' owner too must fail here, not hide rows from the delete
        "row_security = off",
        "datestyle = 'ISO, YMD'",
        "timezone = 'UTC'",
    ):
        connection.execute(f"set local {setting}")
    connection.execute(
        "select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"stageledger publishes {schema}"]
    )


def _replace_all(
    connection: psycopg.Connection, schema: str, source: duckdb.DuckDBPyConnection
) -> tuple[dict[str, int], tuple[str, ...], int]:
    """Rows by table, changes of shape, and bytes sent."""
    ensure_schema(connection, schema)
    relations, expected = read_relations(source), published_rows(source)
    ours = our_tables(connection, schema)
    for gone in sorted(ours - {relation.name for relation in relations}):
        retire(connection, schema, gone)
    rows: dict[str, int] = {}
    changes: list[str] = []
    size = 0
    for relation in relations:
        is_new = relation.name not in ours
        key = _affordable_key(source, relation)
        if not is_new:
            connection.execute(sql.SQL("delete from {}").format(sql.Identifier(schema, relation.name)))
        changes += ensure_table(connection, schema, relation, key, ours)
        copied, sent = _copy_rows(connection, schema, source, relation)
        if copied != expected.get(relation.name, copied):
            raise PublishFailed(
                f"{relation.name} has {copied} rows, but {expected[relation.name]} were published"
            )
        ensure_keys(connection, schema, relation, key, _indexed_columns(relation, key))
        rows[relation.name] = copied
        size += sent
    return rows, tuple(changes), size


def _copy_rows(
    connection: psycopg.Connection, schema: str, source: duckdb.DuckDBPyConnection, relation: Relation
) -> tuple[int, int]:
    """Stream the rows of one relation as CSV; returns rows and bytes. Memory holds one batch at a time."""
    names = sql.SQL(", ").join(map(sql.Identifier, relation.columns))
    command = sql.SQL("copy {} ({}) from stdin with (format csv)").format(
        sql.Identifier(schema, relation.name), names
    )
    # PostgreSQL has no character 0 in its texts
    values = ", ".join(
        f"replace({quoted_name(name)}, chr(0), '') as {quoted_name(name)}"
        if kind == "VARCHAR"
        else quoted_name(name)
        for name, kind in relation.columns.items()
    )
    reader = source.sql(f"select {values} from {quoted_name(relation.name)}").to_arrow_reader(BATCH_ROWS)
    options = pyarrow.csv.WriteOptions(include_header=False)
    rows = size = 0
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        for batch in reader:
            text = io.BytesIO()
            # a text is written in quotes and a null as nothing, which is what CSV means to the server too
            pyarrow.csv.write_csv(batch, text, options)
            copy.write(text.getbuffer())
            rows += batch.num_rows
            size += text.tell()
    return rows, size


def _affordable_key(source: duckdb.DuckDBPyConnection, relation: Relation) -> tuple[str, ...]:
    """The relation's key; none where some row's values are too long for an index."""
    texts = [name for name in relation.primary_key if relation.columns[name] == "VARCHAR"]
    if not texts:
        return relation.primary_key
    length = " + ".join(f"strlen({quoted_name(name)})" for name in texts)
    query = f"select coalesce(max({length}), 0) from {quoted_name(relation.name)}"
    ((longest,),) = source.execute(query).fetchall()
    if longest > LONGEST_KEY_BYTES:
        logger.warning("%s holds texts too long for an index: it gets no primary key", relation.name)
        return ()
    return relation.primary_key


def _indexed_columns(relation: Relation, key: tuple[str, ...]) -> list[str]:
    if not relation.name.startswith(_INDEXED_PREFIXES):
        return []
    return [name for name in relation.columns if name.endswith("_key") and name not in key[:1]]


def _clean_up(
    connection: psycopg.Connection, schema: str, result: tuple[dict[str, int], object, int]
) -> None:
    """Free the space of the rows before and renew the planner's statistics; readers are not held up."""
    for table in result[0]:
        try:
            connection.execute(
                sql.SQL("vacuum (analyze, skip_locked, truncate false) {}").format(
                    sql.Identifier(schema, table)
                )
            )
        except psycopg.Error as error:
            logger.warning("%s was filled, but not vacuumed: %s", table, error.diag.message_primary)


def _in_words(
    error: psycopg.Error | duckdb.Error | OSError, url: str, schema: str, published_dir: Path
) -> PublishError:
    serving = _serving(published_dir)
    server = address(url)
    said = redacted(error, url)
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return PublishFailed(
            f"PostgreSQL was not filled: schema {schema} on {server} stayed locked for {LOCK_SECONDS} s, by "
            f"another publish or a reader's open transaction (see pg_stat_activity). {serving}"
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return PublishRefused(
            f"PostgreSQL was not filled: {said} on {server}. Let an administrator run: create schema "
            f'"{schema}" authorization <the user of the URL>. {serving}'
        )
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return PublishFailed(
            f"PostgreSQL was not filled: {server} cannot be reached, or broke off ({said}). Start it, or "
            f"correct the URL in the environment, then launch the job `publish`. {serving}"
        )
    return PublishFailed(f"PostgreSQL was not filled: {said} (on {server}). {serving}")


def redacted(error: BaseException, url: str) -> str:
    """The first line of an error's text without what is secret in the URL."""
    text = " ".join(str(error).split("\n")[0].split()).rstrip(".") or type(error).__name__
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        password = ""
    for secret in sorted({url, password, unquote(password)}, key=len, reverse=True):
        if secret:
            text = text.replace(secret, "***")
    return text


def _serving(published_dir: Path) -> str:
    with_file = f"The file {published_dir / 'marts.duckdb'} is published"
    return f"{with_file}; PostgreSQL's readers keep the rows they had"
