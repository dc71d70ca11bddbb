"""Night after night on a bench: a ledger whose touched deals are replaced, beside one built whole each night.

Both read the same staging tables and run the SQL that dbt compiled; what dbt's materialization and hooks do
with it is done here in the same words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import duckdb

from tests.ledger.book import Book
from tests.ledger.deliveries import land
from tests.ledger.ledger_bench import (
    DBT_PROJECT,
    LedgerBench,
    Model,
    compiled_models,
    create_run_context,
    run_dbt,
)

APPLIED = "input varchar, item varchar, item_at timestamp, digest varchar"
# What one build says of itself; the two ledgers differ in it by their nature.
OF_THE_BUILD = ("int_ledger_rebuild", "int_touched_deals", "int_touched_facts")


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
    """How a table's rows are replaced: by which list of deals, and on which column."""

    touched_by: str
    deal_column: str


@dataclass(frozen=True)
class Compiled:
    """The models as dbt compiles them when nothing has been built, and when a ledger is there."""

    first: dict[str, Model]
    later: dict[str, Model]
    replaced: dict[str, Replacement]
    order: list[str]


def compile_nights(folder: Path) -> tuple[Compiled, LedgerBench]:
    """Let dbt compile staging and ledger twice; the bench fills the staging tables."""
    land(Book(stages=()), folder / "landing")
    forms = []
    for name in ("first", "later"):
        database = folder / f"{name}.duckdb"
        with duckdb.connect(str(database)) as connection:
            create_run_context(connection, Book(stages=()))
            connection.execute("create schema ledger")
            if name == "later":
                connection.execute(f"create table ledger.int_ledger_applied ({APPLIED})")
                for path in sorted((DBT_PROJECT / "models" / "ledger").glob("*.sql")):
                    if "by_touched_deal" in path.read_text(encoding="utf-8"):
                        connection.execute(f"create table ledger.{path.stem} (deal_key varchar)")
        catalog = folder / name / "warehouse.duckdb"
        catalog.parent.mkdir()
        os.replace(database, catalog)
        run_dbt("compile", catalog, folder / "landing", folder / name / "target")
        forms.append({model.name: model for model in compiled_models(folder / name / "target")})
    first, later = forms
    manifest = json.loads((folder / "later" / "target" / "manifest.json").read_text(encoding="utf-8"))
    replaced = {
        node["name"]: Replacement(
            node["config"].get("touched_by", "int_touched_deals"),
            node["config"].get("deal_column", "deal_sk"),
        )
        for node in manifest["nodes"].values()
        if node["config"].get("materialized") == "by_touched_deal"
    }
    graph = {name: set(model.parents) for name, model in later.items() if _is_ledger(model)}
    order = [name for name in TopologicalSorter(graph).static_order() if _is_ledger(later[name])]
    return Compiled(first, later, replaced, order), LedgerBench(
        first.values(), folder / "landing", folder / "empty"
    )


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
            self._connection.execute(f"create schema {catalog}.ledger")

    def forget_everything(self) -> None:
        """Begin a new business."""
        for catalog in ("nightly", "whole"):
            self._connection.execute(f"drop schema {catalog}.ledger cascade")
            self._connection.execute(f"create schema {catalog}.ledger")

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
            if replacement is None or self.reasons_to_rebuild():
                self._create("nightly", form[name])
            else:
                self._replace(form[name], replacement)
            if name in ("int_touched_deals", "int_touched_facts") and has_ledger:
                self._forget_applied(name)

    def reasons_to_rebuild(self) -> list[str]:
        """Why the night replaces every deal; none in a common one."""
        rows = self._connection.execute("select reason from nightly.ledger.int_ledger_rebuild").fetchall()
        return sorted(reason for (reason,) in rows)

    def replaced_at(self) -> list[int]:
        """How many models have been built when each of the replaced tables has just been."""
        return [n for n, name in enumerate(self._compiled.order, start=1) if name in self._compiled.replaced]

    def touched(self) -> int:
        """Deals whose versions and transitions the night replaced."""
        return self._connection.execute("select count(*) from nightly.ledger.int_touched_facts").fetchall()[
            0
        ][0]

    def differences(self) -> dict[str, list[tuple[Any, ...]]]:
        """Rows that only one of the ledgers has, by table; their bags of rows are hashed first."""
        found = {}
        for name in self._compiled.order:
            is_inner_view = self._compiled.first[name].is_view and not name.startswith("fct_")
            if name in OF_THE_BUILD or is_inner_view:
                continue
            nightly, whole = f"nightly.ledger.{name}", f"whole.ledger.{name}"
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
        relation = f"{catalog}.ledger.{model.name}"
        self._connection.execute(f"create or replace {kind} {relation} as {_in(catalog, model.sql)}")

    def _replace(self, model: Model, how: Replacement) -> None:
        touched = f"select {how.deal_column} from nightly.ledger.{how.touched_by}"
        relation = f"nightly.ledger.{model.name}"
        self._connection.execute("begin")
        self._connection.execute(f"delete from {relation} where {how.deal_column} in ({touched})")
        self._connection.execute(f"insert into {relation} by name {_in('nightly', model.sql)}")
        self._connection.execute("commit")

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


def _is_ledger(model: Model) -> bool:
    return '"ledger"' in model.relation


def _in(catalog: str, sql: str) -> str:
    return sql.replace('"warehouse"."ledger".', f'"{catalog}"."ledger".')
