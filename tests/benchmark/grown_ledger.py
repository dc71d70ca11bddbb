"""A ledger grown to any number of deals out of a small one, for measurements of the forecast.

Every deal of the small ledger is copied. A copy has a key, an amount and an owner of its own, and lies back
by none to twelve whole weeks, so that a day's deals are not all alike, and business days stay business days.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

WEEKS = 13
OWNER_COPIES = 16
"""Of each owner, however many copies there are of a deal: some 500 people sell a million deals."""

PER_DEAL = ("dim_deal", "fct_deal_versions", "fct_deals", "fct_stage_transitions", "int_deals")
PER_DEAL += ("int_deal_segments", "int_stage_visits")
PER_OWNER = ("dim_owner", "dim_owner_history")
PLANNING = ("int_scenario_changes", "int_submissions")
NONE_KEY = "md5('(none)')"


def grow(source: Path, target: Path, deals: int) -> int:
    """Write the tables that the forecast reads, with at least `deals` deals; returns how many there are.

    `source` is a warehouse that a nightly run has built; evidence of hazards and forecasts are left out.
    """
    with duckdb.connect(str(target)) as connection:
        connection.execute("set memory_limit = '4GB'")
        connection.execute("set threads = 2")
        connection.execute("set preserve_insertion_order = false")
        connection.execute(f"attach '{source}' as small (read_only)")
        for schema in ("ledger", "staging", "forecast", "marts"):
            connection.execute(f"create schema {schema}")
        there = _count(connection, "small.ledger.dim_deal")
        copies = -(-deals // there)
        connection.execute(
            f"create temp table copies as select cast(range as int) as copy, "
            f"cast(7 * (range % {WEEKS}) as int) as days_back, range % {OWNER_COPIES} as owner_copy, "
            f"cast(0.75 + 0.5 * range / {copies} as decimal(6, 4)) as factor from range({copies})"
        )
        connection.execute(f"create temp table owner_copies as from range({OWNER_COPIES}) as _ (owner_copy)")
        for table in _tables(connection, "ledger"):
            if table in PER_DEAL:
                sql = f"{_of_copies(connection, table)} from small.ledger.{table} as rows, copies"
            elif table in PER_OWNER:
                sql = (
                    f"select rows.* replace ({_owner('owner_key')} as owner_key, "
                    "case when owner = '(none)' then owner else concat(owner, ' ', owner_copy) end as owner) "
                    f"from small.ledger.{table} as rows, owner_copies "
                    "where owner <> '(none)' or owner_copy = 0"
                )
            elif table.startswith("dim_") or table == "int_fx_rates":
                sql = f"select * from small.ledger.{table}"
            else:
                continue
            connection.execute(f"create table ledger.{table} as {sql}")
        for table in ("stg_run_context", "stg_runs"):
            connection.execute(f"create table staging.{table} as from small.staging.{table}")
        for table in PLANNING:
            connection.execute(f"create table marts.{table} as from small.marts.{table}")
        return _count(connection, "ledger.dim_deal")


def _of_copies(connection: duckdb.DuckDBPyConnection, table: str) -> str:
    """The select list of a table with one row per deal, or several, for the copies of its rows."""
    changed = []
    described = connection.execute(f"describe small.ledger.{table}").fetchall()
    for name, kind in ((row[0], row[1]) for row in described):
        if name == "deal_key":
            changed.append("md5(concat(rows.deal_key, '|', copy)) as deal_key")
        elif name == "deal_id":
            changed.append("concat(rows.deal_id, '-', copy) as deal_id")
        elif name in ("owner_key", "credit_owner_key"):
            changed.append(f"{_owner(name)} as {name}")
        elif name in ("amount_base", "amount_native"):
            changed.append(f"cast(rows.{name} * factor as {kind}) as {name}")
        elif kind == "DATE" and name != "as_of":
            changed.append(f"rows.{name} - days_back as {name}")
        elif kind == "TIMESTAMP":
            changed.append(f"rows.{name} - to_days(days_back) as {name}")
    return f"select rows.* replace ({', '.join(changed)})"


def _owner(column: str) -> str:
    return (
        f"case when rows.{column} = {NONE_KEY} then rows.{column} "
        f"else md5(concat(rows.{column}, '|', owner_copy)) end"
    )


def _tables(connection: duckdb.DuckDBPyConnection, schema: str) -> list[str]:
    rows = connection.execute(
        "select table_name from duckdb_tables() where database_name = 'small' and schema_name = ? order by 1",
        [schema],
    ).fetchall()
    return [name for (name,) in rows]


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    found = connection.execute(f"select count(*) from {table}").fetchone()
    return int(found[0]) if found else 0
