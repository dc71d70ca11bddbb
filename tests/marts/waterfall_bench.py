"""The waterfall's SQL on a bench: compiled by dbt once, then run on as many random books as a test likes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tests.ledger.book import Book
from tests.ledger.deliveries import land
from tests.ledger.ledger_bench import (
    LedgerBench,
    LedgerTables,
    Model,
    compiled_models,
    create_run_context,
    run_dbt,
)

TABLES = (
    "mart_pipeline_waterfall",
    "fct_pipeline_movements",
    "mart_pipeline_daily",
    "mart_sales_performance",
)
OUTLOOK_TABLES = (
    "mart_pipeline_generation",
    "mart_restatements",
    "mart_close_date_slippage",
    "mart_pipeline_coverage",
    "fct_pipeline_snapshot",
    "fct_pipeline_movements",
)
STATISTICS_TABLES = (
    "mart_win_rate_cohorts",
    "mart_bottlenecks",
    "mart_stage_conversion",
    "mart_lead_conversion",
)
SCOPE_TABLES = ("int_exclusion_findings",)
DEAL_TABLES = (
    "mart_deal_health",
    "mart_loss_reasons",
    "mart_rep_scorecard",
    "mart_forecast_category_daily",
)
MACRO_TABLES = (*TABLES, "int_table_macros", "dim_deal", "dim_stage", "dim_fx_rate")
INVARIANTS = (
    "waterfall_adds_up",
    "waterfall_ends_where_the_next_one_starts",
    "waterfall_segments_add_up",
    "waterfall_equals_the_open_pipeline",
    "waterfall_gross_adds_up_over_time",
    "waterfall_won_equals_the_bookings",
)


@dataclass(frozen=True)
class WaterfallBench:
    """The bench, the consistency tests as dbt compiled them, by name, and all compiled models."""

    bench: LedgerBench
    invariants: dict[str, str]
    models: dict[str, Model]

    def build(
        self, book: Book, staged: dict[str, Sequence[tuple[Any, ...]]], wanted: Sequence[str] = TABLES
    ) -> LedgerTables:
        """Run all that the waterfall needs on a book, with rows put into staging tables by their name."""
        tables = LedgerTables(self.bench.connection)
        for name, rows in staged.items():
            tables.query(f"delete from staging.{name}")
            for row in rows:
                tables.query(f"insert into staging.{name} values ({', '.join('?' * len(row))})", row)
        return self.bench.build(book, wanted)


def compile_waterfall(folder: Path) -> WaterfallBench:
    """Let dbt compile the waterfall with its tests, and the marts of statistics, with all that they read."""
    landing, database, target = folder / "landing", folder / "warehouse.duckdb", folder / "target"
    land(Book(stages=()), landing)
    with duckdb.connect(str(database)) as connection:
        create_run_context(connection, Book(stages=()))
    wanted = sorted({*MACRO_TABLES, *OUTLOOK_TABLES, *STATISTICS_TABLES, *DEAL_TABLES, *SCOPE_TABLES})
    run_dbt("compile", database, landing, target, [f"+{table}" for table in wanted])
    models = compiled_models(target, ("staging", "ledger", "marts"))
    nodes = json.loads((target / "manifest.json").read_text(encoding="utf-8"))["nodes"].values()
    compiled = {node["name"]: node.get("compiled_code") for node in nodes if node["name"] in INVARIANTS}
    return WaterfallBench(
        LedgerBench(models, landing, folder / "empty"),
        {name: compiled[name] for name in INVARIANTS},
        {model.name: model for model in models},
    )
