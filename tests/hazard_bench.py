"""The hazard models on a ledger made by hand, without dbt: their SQL is rendered as dbt would render it.

Keys of deals must be hexadecimal, as hashes are.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import jinja2

from dagster_project.forecast.shared_sql import FOLDERS, MACROS, shared_sql
from dagster_project.warehouse import Warehouse

MODELS = Path(__file__).resolve().parents[1] / "dbt" / "models" / "forecast"
BUILD_ORDER = (
    "int_refused_fields",
    "int_open_spans",
    "int_amount_tiers",
    "int_hazard_histogram",
    "int_hazard_cell",
    "int_calendar_index",
    "int_win_amounts",
    "int_new_business",
    "int_hazard_exposures",
    "int_open_cells",
    "int_open_cell_hazards",
    "int_win_curves",
    "int_hazard_forecast",
)
SCHEMAS = {"stg_run_context": "staging"} | dict.fromkeys(BUILD_ORDER, "forecast")


def build_hazards(warehouse: Warehouse) -> Warehouse:
    """Build all hazard models in the warehouse, in their order."""
    assert set(BUILD_ORDER) == {path.stem for path in MODELS.glob("*.sql")}
    with warehouse.connect() as connection:
        connection.execute("create schema if not exists forecast")
        for name in BUILD_ORDER:
            connection.execute(f"create or replace table forecast.{name} as {rendered(name)}")
    return warehouse


def rendered(name: str) -> str:
    """The SQL of a hazard model, by its name."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, extensions=["jinja2.ext.do"])
    for folder in FOLDERS:
        for path in (MACROS / folder).glob("*.sql"):
            text = path.read_text(encoding="utf-8")
            for macro in vars(environment.from_string(text).module):
                if not macro.startswith("_"):
                    environment.globals[macro] = lambda *given, macro=macro: shared_sql(macro, *given)
    environment.globals["ref"] = lambda model: f"{SCHEMAS.get(model, 'ledger')}.{model}"
    environment.globals["dbt"] = SimpleNamespace(type_string=lambda: "varchar")
    return environment.from_string((MODELS / f"{name}.sql").read_text(encoding="utf-8")).render()
