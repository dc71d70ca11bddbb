"""The real ledger SQL on a bench: compiled by dbt once, then run on small books as often as a test likes.

Two ways in. `build_landed` writes a book with the landing's own writer and runs every staging and ledger
model on it. `build` fills the typed delivery tables directly and runs only what the wanted tables need, so
that hundreds of random books are affordable.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from dagster_project.extract.landing import Landing
from dagster_project.transform.run_context import COLUMNS as CONTEXT_COLUMNS
from tests.ledger.book import Book
from tests.ledger.deliveries import (
    land,
    typed_changes,
    typed_records,
    typed_sightings,
    typed_snapshots,
    typed_stages,
)

DBT_PROJECT = Path(__file__).resolve().parents[2] / "dbt"
LAYERS = ("staging", "ledger")
FACTS = ("fct_deal_versions", "fct_stage_transitions", "int_stage_visits")
FILLED = ("files_deals", "files_deal_events", "stg_stages", "stg_snapshots")
CONTEXT_DEFAULTS = {
    "business_name": "Test",
    "min_sample": 20,
    "min_sample_median": 5,
    "grace_business_days": 3,
    "cycle_from": "created",
    "velocity_basis": "closed",
    "amount_measure": "amount",
    "win_rate_population": "all",
    "win_rate_no_decision": "loss",
    "win_rate_disqualified": "excluded",
    "estimate_open_amounts": False,
    "coverage_scope": "all",
    "coverage_include_past_due": True,
    "coverage_exclude_dead": False,
    "pace_slow": 0.80,
    "pace_stalled": 0.95,
    "pace_dead": 0.995,
    "activity_days": 14,
    "definition_version": "default",
    "settings_json": "{}",
}


@dataclass(frozen=True)
class Model:
    """A compiled model: its name, its relation in the warehouse, its SQL, and the models it reads."""

    name: str
    relation: str
    is_view: bool
    sql: str
    parents: tuple[str, ...]

    @property
    def layer(self) -> str:
        """The schema it is built in."""
        return self.relation.split(".")[1].strip('"')

    @property
    def reads_landing(self) -> bool:
        """True for a model whose SQL reads landed files."""
        return "read_parquet" in self.sql


class LedgerTables:
    """The tables that one book became; those of `build` are valid until the bench builds the next book."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query; tables are named schema.table."""
        return self._connection.execute(sql, list(parameters)).fetchall()

    def rows(self, table: str, *columns: str, where: str = "true", order: str = "all") -> list[tuple]:
        """Columns of a ledger table (`schema.table`, the schema ledger if none is named), sorted."""
        name = table if "." in table else f"ledger.{table}"
        return self.query(f"select {', '.join(columns)} from {name} where {where} order by {order}")

    def one(self, table: str, *columns: str, where: str = "true") -> Any:
        """The only row that meets the condition: a value for one column, a tuple for several."""
        found = self.rows(table, *columns, where=where)
        assert len(found) == 1, f"{len(found)} rows of {table} where {where}: {found}"
        return found[0][0] if len(columns) == 1 else found[0]


class LedgerBench:
    """Runs compiled models in in-memory databases attached as the catalog `warehouse`."""

    def __init__(self, models: Iterable[Model], landing: Path, empty_landing: Path) -> None:
        by_name = {model.name: model for model in models}
        graph = {name: set(model.parents) for name, model in by_name.items()}
        self._models = [by_name[name] for name in TopologicalSorter(graph).static_order()]
        self._landing = str(landing)
        self._fast_models: dict[tuple[str, ...], list[Model]] = {}
        self._fast = _new_warehouse()
        # every staging table once from the empty landing: right types, no rows; views become tables
        fill_run_context(self._fast, Book(stages=()))
        Landing(empty_landing).ensure_empty_batches()
        for model in self._models:
            # models of a CRM's staging read the time zone and the own fields, too
            if model.reads_landing or model.name in ("stg_run_context", "stg_own_fields"):
                sql = model.sql.replace(self._landing, str(empty_landing))
                self._fast.execute(f"create table {model.relation} as {sql}")
        self._schemas = {
            name: self._fast.sql(f"select * from staging.{name}").to_arrow_table().schema for name in FILLED
        }

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The database in which `build` works."""
        return self._fast

    def build_landed(self, book: Book, folder: Path, parts: int = 1) -> LedgerTables:
        """Land the book in a folder, each delivery in so many batches, and run all models on it."""
        land(book, folder, parts)
        return self.build_folder(book, folder)

    def build_folder(self, book: Book, folder: Path) -> LedgerTables:
        """Run all models on what a landing holds, with the book's settings and runs."""
        connection = _new_warehouse()
        fill_run_context(connection, book)
        for model in self._models:
            kind = "view" if model.is_view else "table"
            sql = model.sql.replace(self._landing, str(folder))
            connection.execute(f"create {kind} {model.relation} as {sql}")
        return LedgerTables(connection)

    def build(self, book: Book, tables: Sequence[str] = FACTS) -> LedgerTables:
        """Fill the typed deliveries with the book and run what the tables need; the book has no facts."""
        assert not book.facts, "facts need the whole way: build_landed"
        fill_run_context(self._fast, book)
        self._fill("files_deals", [*typed_records(book.records), *typed_sightings(book.snapshots)])
        self._fill("stg_snapshots", typed_snapshots(book.snapshots))
        self._fill("files_deal_events", typed_changes(book.changes))
        self._fill("stg_stages", typed_stages(book.stages))
        for model in self._needed_for(tuple(tables)):
            kind = "view" if model.is_view else "table"
            self._fast.execute(f"create or replace {kind} {model.relation} as {model.sql}")
        return LedgerTables(self._fast)

    def _fill(self, name: str, rows: list[dict[str, Any]]) -> None:
        self._fast.execute(f"delete from staging.{name}")
        self._fast.register("delivered", pa.Table.from_pylist(rows, schema=self._schemas[name]))
        self._fast.execute(f"insert into staging.{name} by name select * from delivered")
        self._fast.unregister("delivered")

    def _needed_for(self, tables: tuple[str, ...]) -> list[Model]:
        if tables not in self._fast_models:
            by_name = {model.name: model for model in self._models}
            needed: set[str] = set()
            waiting = list(tables)
            while waiting:
                model = by_name[waiting.pop()]
                if model.name not in needed and not model.reads_landing:
                    needed.add(model.name)
                    waiting.extend(model.parents)
            self._fast_models[tables] = [model for model in self._models if model.name in needed]
        return self._fast_models[tables]


def build_with_dbt(
    book: Book, folder: Path, layers: Sequence[str] = LAYERS
) -> tuple[LedgerTables, LedgerBench]:
    """Land a book and let dbt itself build the layers; the SQL it compiled goes on a bench."""
    land(book, folder / "landing")
    database = folder / "warehouse.duckdb"
    with duckdb.connect(str(database)) as connection:
        create_run_context(connection, book)
    run_dbt("run", database, folder / "landing", folder / "target", layers)
    tables = LedgerTables(duckdb.connect(str(database), read_only=True))
    models = compiled_models(folder / "target", layers)
    return tables, LedgerBench(models, folder / "landing", folder / "empty_landing")


def run_dbt(
    command: str, database: Path, landing: Path, target: Path, select: Sequence[str] = LAYERS
) -> None:
    """Run dbt on what is selected in a process of its own, so that none of its connections stays here."""
    call, environment = dbt_call(command, database, landing, target, select)
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"dbt {command} failed:\n{done.stdout}\n{done.stderr}"


def dbt_call(
    command: str, database: Path, landing: Path, target: Path, select: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """The call of dbt and its environment; further options may follow the names that are selected."""
    environment = os.environ | {
        "STAGELEDGER_WAREHOUSE": str(database),
        "STAGELEDGER_LANDING": str(landing),
        "STAGELEDGER_THREADS": "1",
    }
    options = {"--project-dir": DBT_PROJECT, "--profiles-dir": DBT_PROJECT, "--target-path": target}
    call = [sys.executable, "-m", "dbt.cli.main", command, "--select", *select]
    call += [str(part) for option in options.items() for part in option]
    call += ["--log-path", str(target / "logs"), "--quiet", "--no-use-colors", "--no-version-check"]
    return call, environment


def create_run_context(connection: duckdb.DuckDBPyConnection, book: Book) -> None:
    """Make `ops.run_context` in the current catalog, with the book's runs."""
    columns = ", ".join(f"{name} {kind}" for name, kind in CONTEXT_COLUMNS.items())
    connection.execute("create schema ops")
    connection.execute(f"create table ops.run_context ({columns})")
    fill_run_context(connection, book)


def fill_run_context(connection: duckdb.DuckDBPyConnection, book: Book) -> None:
    """Put the book's runs in the place of those that are there."""
    connection.execute("delete from ops.run_context")
    settings: Mapping[str, Any] = dict.fromkeys(CONTEXT_COLUMNS) | CONTEXT_DEFAULTS | vars(book.settings)
    for order, run in enumerate(book.runs, start=1):
        row = settings | {
            "run_id": f"run {order}",
            "run_order": order,
            "run_kind": run.kind,
            "as_of": run.as_of,
            "landed_through": run.landed_through,
            "recorded_at": run.landed_through,
        }
        marks = ", ".join("?" * len(CONTEXT_COLUMNS))
        values = [row[name] for name in CONTEXT_COLUMNS]
        connection.execute(f"insert into ops.run_context values ({marks})", values)


def _new_warehouse() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    for setting in ("TimeZone = 'UTC'", "threads = 1", "preserve_insertion_order = false"):
        connection.execute(f"set {setting}")
    connection.execute("attach ':memory:' as warehouse")
    connection.execute("use warehouse")
    for schema in ("staging", "ledger", "marts"):
        connection.execute(f"create schema {schema}")
    create_run_context(connection, Book(stages=()))
    return connection


def compiled_models(target: Path, schemas: Sequence[str] = LAYERS) -> list[Model]:
    """The models of these schemas with the SQL that dbt compiled into the target folder."""
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    nodes = {
        key: node
        for key, node in manifest["nodes"].items()
        if node["resource_type"] == "model" and node["schema"] in schemas and "compiled_code" in node
    }
    return [
        Model(
            node["name"],
            node["relation_name"],
            node["config"]["materialized"] == "view",
            node["compiled_code"],
            tuple(nodes[parent]["name"] for parent in node["depends_on"]["nodes"] if parent in nodes),
        )
        for node in nodes.values()
    ]
