"""Night after night on a bench: tables whose touched deals are replaced, beside those built whole each night.

Both read the same staging tables and run the SQL that dbt compiled; what dbt's materialization and hooks do
with it is done here in the same words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import duckdb

from tests.ledger.book import Book
from tests.ledger.deliveries import land
from tests.ledger.ledger_bench import (
    LedgerBench,
    Model,
    compiled_models,
    create_run_context,
    run_dbt,
)

LAYERS = ("ledger", "marts")
# What one build says of itself; the two differ in it by their nature.
OF_THE_BUILD = (
    "int_ledger_rebuild",
    "int_touched_deals",
    "int_touched_facts",
    "int_marts_rebuild",
    "int_touched_states",
    "int_touched_periods",
    "int_waterfall_kept",
)


class Killed(Exception):
    """A night that was ended before its end."""


@dataclass(frozen=True)
class Night:
    """All that has been delivered by a night: a book, rows of further staging tables; and what is new."""

    book: Book
    staged: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    news: tuple[str, ...] = ()


@dataclass(frozen=True)
class Replacement:
    """How rows are replaced: by which list of deals and on which column, and by which list of periods."""

    layer: str
    touched_by: str
    deal_column: str
    touched_periods: str | None
    marks_the_build: bool


@dataclass(frozen=True)
class Compiled:
    """The models as dbt compiles them when nothing has been built, and when a ledger is there."""

    first: dict[str, Model]
    later: dict[str, Model]
    replaced: dict[str, Replacement]
    order: list[str]


def compile_nights(folder: Path, wanted: Sequence[str] | None = None) -> tuple[Compiled, LedgerBench]:
    """Let dbt compile all layers twice; of the marts only those `wanted`, and what they read, are built.

    The bench fills the staging tables.
    """
    land(Book(stages=()), folder / "landing")
    database, target = folder / "warehouse.duckdb", folder / "target"
    with duckdb.connect(str(database)) as connection:
        create_run_context(connection, Book(stages=()))
    first = _compile(database, folder / "landing", target)
    manifest = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    nodes = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    columns = {node["name"]: node["columns"].values() for node in nodes}
    replaced = {
        node["name"]: Replacement(
            node["schema"],
            node["config"].get("touched_by", "int_touched_deals"),
            node["config"].get("deal_column", "deal_sk"),
            node["config"].get("touched_periods"),
            any("mark_as_under_way" in hook["sql"] for hook in node["config"]["pre-hook"]),
        )
        for node in nodes
        if node["config"].get("materialized") == "by_touched_deal"
    }
    # what a later night finds: dbt compiles other SQL where these tables stand
    standing = {
        f"{model.layer}.{name}": ", ".join(f'"{c["name"]}" {c["data_type"]}' for c in columns[name])
        for name, model in first.items()
        if model.layer in LAYERS and not model.is_view
    }
    with duckdb.connect(str(database)) as connection:
        for layer in LAYERS:
            connection.execute(f"create schema if not exists {layer}")
        for table, names in standing.items():
            connection.execute(f"create table {table} ({names})")
    later = _compile(database, folder / "landing", target)
    needed = _needed(later, wanted)
    graph = {name: set(model.parents) & needed for name, model in later.items() if name in needed}
    order = list(TopologicalSorter(graph).static_order())
    return Compiled(first, later, replaced, order), LedgerBench(
        first.values(), folder / "landing", folder / "empty"
    )


def _compile(database: Path, landing: Path, target: Path) -> dict[str, Model]:
    run_dbt("compile", database, landing, target, ("staging", *LAYERS))
    return {model.name: model for model in compiled_models(target, ("staging", *LAYERS))}


def _needed(models: dict[str, Model], wanted: Sequence[str] | None) -> set[str]:
    """The whole ledger, the wanted marts and all that they read; every mart where none is named."""
    marts = {name for name, model in models.items() if model.layer == "marts"}
    needed = {name for name, model in models.items() if model.layer == "ledger"}
    waiting = list(wanted if wanted is not None else marts)
    while waiting:
        name = waiting.pop()
        if name in marts and name not in needed:
            needed.add(name)
            waiting += models[name].parents
    return needed


class NightsBench:
    """Two ledgers in the catalogs `nightly` and `whole` of the bench's database."""

    def __init__(self, compiled: Compiled, bench: LedgerBench) -> None:
        self._compiled = compiled
        self._bench = bench
        self._connection = bench.connection
        parents = {parent for name in compiled.order for parent in compiled.first[name].parents}
        self._staging = tuple(sorted(parents - set(compiled.order)))
        for catalog in ("nightly", "whole"):
            self._connection.execute(f"attach ':memory:' as {catalog}")
            for layer in LAYERS:
                self._connection.execute(f"create schema {catalog}.{layer}")

    def forget_everything(self) -> None:
        """Begin a new business."""
        for catalog in ("nightly", "whole"):
            for layer in LAYERS:
                self._connection.execute(f"drop schema {catalog}.{layer} cascade")
                self._connection.execute(f"create schema {catalog}.{layer}")

    def deliver(self, night: Night) -> None:
        """Fill the staging tables."""
        for table, rows in night.staged.items():
            self._connection.execute(f"delete from staging.{table}")
            for row in rows:
                marks = ", ".join("?" * len(row))
                self._connection.execute(f"insert into staging.{table} values ({marks})", list(row))
        self._bench.build(night.book, self._staging)

    def build_whole(self) -> None:
        """Build every table anew."""
        for name in self._compiled.order:
            self._create("whole", self._compiled.first[name])

    def build_nightly(self, models: int | None = None) -> None:
        """Build by touched deal; with `models` the night is killed after so many."""
        has_ledger = self._has_ledger()
        form = self._compiled.later if has_ledger else self._compiled.first
        for number, name in enumerate(self._compiled.order):
            if number == models:
                raise Killed(name)
            replacement = self._compiled.replaced.get(name)
            if replacement is not None and replacement.marks_the_build and has_ledger:
                self._mark_as_under_way(name)
            if replacement is None or self.reasons_to_rebuild(replacement.layer):
                self._create("nightly", form[name])
            else:
                self._replace(form[name], replacement)
            if name in ("int_touched_deals", "int_touched_facts") and has_ledger:
                self._forget_applied(name)

    def reasons_to_rebuild(self, layer: str = "ledger") -> list[str]:
        """Why the night builds a layer whole; none in a common one."""
        rows = self.rows(f"select reason from nightly.{layer}.int_{layer}_rebuild")
        return sorted(reason for (reason,) in rows)

    def replaced_at(self, layer: str) -> list[int]:
        """How many models have been built when each of a layer's replaced tables has just been."""
        replaced = {name for name, how in self._compiled.replaced.items() if how.layer == layer}
        return [n for n, name in enumerate(self._compiled.order, start=1) if name in replaced]

    def touched(self) -> int:
        """Deals whose versions and transitions the night replaced."""
        return self.rows("select count(*) from nightly.ledger.int_touched_facts")[0][0]

    def touched_in_marts(self) -> tuple[int, int]:
        """Deals and periods whose rows in the marts the night replaced."""
        deals, periods = ("nightly.marts.int_touched_states", "nightly.marts.int_touched_periods")
        return self.rows(f"select (select count(*) from {deals}), (select count(*) from {periods})")[0]

    def differences(self) -> dict[str, list[tuple[Any, ...]]]:
        """Rows that only one of the ledgers has, by table; their bags of rows are hashed first."""
        found = {}
        for name in self._compiled.order:
            is_inner_view = self._compiled.first[name].is_view and not name.startswith("fct_")
            if name in OF_THE_BUILD or is_inner_view:
                continue
            layer = self._compiled.first[name].layer
            nightly, whole = f"nightly.{layer}.{name}", f"whole.{layer}.{name}"
            if self._bag(nightly) != self._bag(whole):
                found[name] = self.rows(
                    f"(select 'nightly', * from (from {nightly} except all from {whole})) union all "
                    f"(select 'whole', * from (from {whole} except all from {nightly})) limit 6"
                )
        return found

    def _bag(self, table: str) -> Sequence[tuple[Any, ...]]:
        return self.rows(f"select count(*), sum(hash(each)), bit_xor(hash(each)) from {table} as each")

    def rows(self, sql: str) -> Sequence[tuple[Any, ...]]:
        """Rows of a query."""
        return self._connection.execute(sql).fetchall()

    def _has_ledger(self) -> bool:
        return bool(
            self.rows(
                "select 1 from duckdb_tables() where database_name = 'nightly' "
                "and table_name = 'int_ledger_applied'"
            )
        )

    def _create(self, catalog: str, model: Model) -> None:
        kind = "view" if model.is_view else "table"
        relation = f"{catalog}.{model.layer}.{model.name}"
        self._connection.execute(f"create or replace {kind} {relation} as {_in(catalog, model.sql)}")

    def _replace(self, model: Model, how: Replacement) -> None:
        touched = f"nightly.{how.layer}.{how.touched_by}"
        replaced = f"{how.deal_column} in (select {how.deal_column} from {touched})"
        if how.touched_periods:
            replaced += f" or period in (select period from nightly.{how.layer}.{how.touched_periods})"
        relation = f"nightly.{model.layer}.{model.name}"
        self._connection.execute("begin")
        self._connection.execute(f"delete from {relation} where {replaced}")
        self._connection.execute(f"insert into {relation} by name {_in('nightly', model.sql)}")
        self._connection.execute("commit")

    def _mark_as_under_way(self, name: str) -> None:
        self._connection.execute(
            "insert into nightly.marts.int_marts_applied values ('build', ?, null, null)", [name]
        )

    def _forget_applied(self, name: str) -> None:
        applied, touched = "nightly.ledger.int_ledger_applied", f"nightly.ledger.{name}"
        self._connection.execute(
            f"delete from {applied} where input = 'deal' and item in (select deal_key from {touched})"
        )
        self._connection.execute(f"insert into {applied} select 'deal', deal_key, null, null from {touched}")
        self._connection.execute(
            f"update {applied} set digest = null where input <> 'deal' "
            "and exists (select 1 from nightly.ledger.int_ledger_rebuild)"
        )


def _in(catalog: str, sql: str) -> str:
    for layer in LAYERS:
        sql = sql.replace(f'"warehouse"."{layer}".', f'"{catalog}"."{layer}".')
    return sql
