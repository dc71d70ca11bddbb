"""Bring the tables of a PostgreSQL schema into the shape of the published ones, without losing what stands
on them: grants, policies, views, indexes of the users.

A table is made once and never dropped. On most nights nothing here changes anything, so that no reader has
to wait: only a changed shape takes a lock that readers notice.
"""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from dagster_project.publish.errors import PublishRefused
from dagster_project.publish.published_file import Relation

logger = logging.getLogger(__name__)

# Names of the tables that the publisher has made: no other table of the schema is ever touched.
REGISTRY = "_publish_tables"
LONGEST_NAME = 63
_NOT_PUBLISHED = "No longer published; kept empty for the grants and views that stand on it"
_TYPES = {
    "VARCHAR": "text",
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "SMALLINT": "smallint",
    "TINYINT": "smallint",
    "HUGEINT": "numeric(38,0)",
    "UBIGINT": "numeric(20,0)",
    "DOUBLE": "double precision",
    "FLOAT": "real",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIMESTAMP": "timestamp without time zone",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
    "UUID": "uuid",
}
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")


@dataclass(frozen=True)
class Column:
    """A column as the server has it: its type as `format_type` spells it, whether null is refused, words."""

    kind: str
    is_not_null: bool
    comment: str


def server_type(table: str, column: str, kind: str) -> str:
    """The type of the server for a type of the file, as `format_type` spells it.

    Raises:
        PublishRefused: a type that has no counterpart.
    """
    decimal = _DECIMAL.fullmatch(kind)
    if decimal:
        return f"numeric({decimal[1]},{decimal[2]})"
    if kind not in _TYPES:
        raise PublishRefused(
            f"{table}.{column} has type {kind}, which PostgreSQL has no type for: cast it in the dbt model"
        )
    return _TYPES[kind]


def ensure_schema(connection: psycopg.Connection, schema: str) -> None:
    """Make the schema, and the list of our tables in it, unless they are there."""
    # `if not exists` would ask for the right to create even where there is nothing to create
    found = connection.execute("select 1 from pg_namespace where nspname = %s", [schema]).fetchone()
    if found is None:
        connection.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
    if not _columns(connection, schema, REGISTRY):
        registry = sql.Identifier(schema, REGISTRY)
        connection.execute(sql.SQL("create table {} (table_name text primary key)").format(registry))
        _comment(
            connection, sql.SQL("table {}").format(registry), "Tables that the publisher fills, and no others"
        )


def our_tables(connection: psycopg.Connection, schema: str) -> set[str]:
    """Names of the tables that earlier publishes made."""
    query = sql.SQL("select table_name from {}").format(sql.Identifier(schema, REGISTRY))
    return {name for (name,) in connection.execute(query).fetchall()}


def ensure_table(
    connection: psycopg.Connection, schema: str, relation: Relation, key: Sequence[str], ours: set[str]
) -> tuple[str, ...]:
    """Make or change one table so that the relation's rows fit into it; returns what was changed, in words.

    Columns that are new are added, others get their new type (the table must hold no rows by now), and
    columns that are published no longer stay, empty. Words are written where they differ.

    Raises:
        PublishRefused: the name belongs to somebody else's table, a name is too long, or a view stands in
            the way of a type's change.
    """
    _refuse_long_names(relation)
    wanted = {name: server_type(relation.name, name, kind) for name, kind in relation.columns.items()}
    target = sql.Identifier(schema, relation.name)
    if relation.name not in ours:
        _create(connection, schema, relation.name, wanted)
    _drop_other_key(connection, schema, relation.name, key)
    present = _columns(connection, schema, relation.name)
    changes = [
        *_release(connection, target, relation, key, present),
        *_reshape(connection, target, relation.name, wanted, present),
    ]
    _write_words(connection, schema, relation, _columns(connection, schema, relation.name))
    return tuple(changes)


def ensure_keys(
    connection: psycopg.Connection,
    schema: str,
    relation: Relation,
    key: Sequence[str],
    indexed: Sequence[str],
) -> None:
    """Give the table its primary key, and an index for each column of `indexed`; after the rows are in.

    Raises:
        PublishRefused: rows break the key.
    """
    target = sql.Identifier(schema, relation.name)
    if key and not _primary_key(connection, schema, relation.name)[1]:
        columns = sql.SQL(", ").join(map(sql.Identifier, key))
        try:
            connection.execute(sql.SQL("alter table {} add primary key ({})").format(target, columns))
        except (psycopg.errors.UniqueViolation, psycopg.errors.NotNullViolation) as error:
            raise PublishRefused(
                f"{relation.name} breaks its primary key ({', '.join(key)}): {error.diag.message_primary}"
            ) from None
    for column in indexed:
        connection.execute(
            sql.SQL("create index if not exists {} on {} ({})").format(
                sql.Identifier(_index_name(relation.name, column)), target, sql.Identifier(column)
            )
        )


def retire(connection: psycopg.Connection, schema: str, table: str) -> None:
    """Empty a table that is published no longer, and say so in its comment."""
    target = sql.Identifier(schema, table)
    connection.execute(sql.SQL("delete from {}").format(target))
    _comment(connection, sql.SQL("table {}").format(target), _NOT_PUBLISHED)


def _create(connection: psycopg.Connection, schema: str, table: str, wanted: Mapping[str, str]) -> None:
    found = connection.execute(
        "select 1 from pg_class where relnamespace = %s::regnamespace and relname = %s",
        [_quoted(schema), table],
    ).fetchone()
    if found is not None:
        raise PublishRefused(
            f"schema {schema} has a {table} that was not made by publishing: rename it, or name another "
            "schema in `publish: {postgres_schema: …}`"
        )
    body = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in wanted.items()
    )
    connection.execute(sql.SQL("create table {} ({})").format(sql.Identifier(schema, table), body))
    connection.execute(
        sql.SQL("insert into {} values (%s)").format(sql.Identifier(schema, REGISTRY)), [table]
    )


def _drop_other_key(connection: psycopg.Connection, schema: str, table: str, key: Sequence[str]) -> None:
    name, columns = _primary_key(connection, schema, table)
    if columns and columns != tuple(key):
        connection.execute(
            sql.SQL("alter table {} drop constraint {}").format(
                sql.Identifier(schema, table), sql.Identifier(name)
            )
        )


def _release(
    connection: psycopg.Connection,
    target: sql.Identifier,
    relation: Relation,
    key: Sequence[str],
    present: Mapping[str, Column],
) -> list[str]:
    """Columns outside the key take nulls; those that are published no longer say so."""
    changes = []
    for name in present:
        column = sql.Identifier(name)
        if present[name].is_not_null and name not in key:
            connection.execute(sql.SQL("alter table {} alter column {} drop not null").format(target, column))
        if name not in relation.columns and present[name].comment != _NOT_PUBLISHED:
            _comment(connection, sql.SQL("column {}.{}").format(target, column), _NOT_PUBLISHED)
            changes.append(f"{relation.name}.{name} is published no longer")
    return changes


def _reshape(
    connection: psycopg.Connection,
    target: sql.Identifier,
    table: str,
    wanted: Mapping[str, str],
    present: Mapping[str, Column],
) -> list[str]:
    changes = []
    for name, kind in wanted.items():
        column, new = sql.Identifier(name), sql.SQL(kind)
        if name not in present:
            connection.execute(sql.SQL("alter table {} add column {} {}").format(target, column, new))
            changes.append(f"{table}.{name} is new")
        elif present[name].kind != kind:
            try:
                # the table is empty by now, so there are no values to convert
                connection.execute(
                    sql.SQL("alter table {} alter column {} type {} using null").format(target, column, new)
                )
            except (psycopg.errors.FeatureNotSupported, psycopg.errors.DependentObjectsStillExist) as error:
                stands = (error.diag.message_detail or "a view or policy stands on it").rstrip(".")
                raise PublishRefused(
                    f"{table}.{name} changes from {present[name].kind} to {kind}, but {stands}: drop that, "
                    "publish again, then create it again"
                ) from None
            changes.append(f"{table}.{name} is {kind} now, was {present[name].kind}")
    return changes


def _write_words(
    connection: psycopg.Connection, schema: str, relation: Relation, present: Mapping[str, Column]
) -> None:
    target = sql.Identifier(schema, relation.name)
    row = connection.execute(
        "select obj_description(%s::regclass, 'pg_class')",
        [f"{_quoted(schema)}.{_quoted(relation.name)}"],
    ).fetchone()
    if relation.description != ((row and row[0]) or ""):
        _comment(connection, sql.SQL("table {}").format(target), relation.description)
    for column in relation.columns:
        text = relation.comments.get(column, "")
        if text != present[column].comment:
            _comment(connection, sql.SQL("column {}.{}").format(target, sql.Identifier(column)), text)


def _comment(connection: psycopg.Connection, what: sql.Composable, text: str) -> None:
    connection.execute(sql.SQL("comment on {} is {}").format(what, sql.Literal(text)))


def _columns(connection: psycopg.Connection, schema: str, table: str) -> dict[str, Column]:
    rows = connection.execute(
        "select attname, format_type(atttypid, atttypmod), attnotnull, "
        "coalesce(col_description(attrelid, attnum), '') from pg_attribute "
        "join pg_class on pg_class.oid = attrelid join pg_namespace on pg_namespace.oid = relnamespace "
        "where nspname = %s and relname = %s and attnum > 0 and not attisdropped order by attnum",
        [schema, table],
    ).fetchall()
    return {name: Column(*about) for name, *about in rows}


def _primary_key(connection: psycopg.Connection, schema: str, table: str) -> tuple[str, tuple[str, ...]]:
    """Name and columns, in the key's order, of a table's primary key; empty where it has none."""
    rows = connection.execute(
        "select conname, attname from pg_constraint "
        "cross join unnest(conkey) with ordinality as k(attnum, n) "
        "join pg_attribute as a on a.attrelid = conrelid and a.attnum = k.attnum "
        "where contype = 'p' and conrelid = %s::regclass order by n",
        [f"{_quoted(schema)}.{_quoted(table)}"],
    ).fetchall()
    return (rows[0][0], tuple(column for _, column in rows)) if rows else ("", ())


def _refuse_long_names(relation: Relation) -> None:
    for name in (relation.name, *relation.columns):
        if len(name.encode()) > LONGEST_NAME:
            raise PublishRefused(f"{name} is longer than the {LONGEST_NAME} bytes that PostgreSQL allows")


def _index_name(table: str, column: str) -> str:
    name = f"{table}_{column}_idx"
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 13]}_{digest}_idx"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
