"""The tables of what-if and of judgement: scenarios, and forecasts of persons. Words: dbt/models/forecast."""

from __future__ import annotations

from dagster_project.forecast.tables import Table
from dagster_project.warehouse import Warehouse

_MONEY = "decimal(38,3)"
_OF_RUN = {"currency": "string", "definition_version": "string", "run_id": "string"}
_OF_FORECAST = {
    "as_of": "date",
    "kind": "string",
    "scenario": "string",
    "period": "string",
    "period_start": "date",
    "period_end": "date",
    "quarter_offset": "int",
}

SCENARIOS = Table(
    "forecast_scenarios",
    {
        **_OF_FORECAST,
        "already_won": _MONEY,
        "without_open_expected": _MONEY,
        "with_open_expected": _MONEY,
        "without_not_yet_created_expected": _MONEY,
        "with_not_yet_created_expected": _MONEY,
        "without_amount": _MONEY,
        "with_amount": _MONEY,
        "difference_amount": _MONEY,
        "difference_share": "double",
        "deals_changed": "bigint",
        "changes": "int",
        "changes_without_effect": "int",
        "overrides": "string",
        **_OF_RUN,
    },
    key=("as_of", "kind", "scenario", "period"),
)

SCENARIO_DEALS = Table(
    "forecast_scenario_deals",
    {
        **_OF_FORECAST,
        "deal_key": "string",
        "source_relation": "string",
        "deal_id": "string",
        "stage": "string",
        "without_amount": _MONEY,
        "with_amount": _MONEY,
        "difference_amount": _MONEY,
        "overrides": "string",
        **_OF_RUN,
    },
    key=("as_of", "kind", "scenario", "period", "deal_key"),
)

SUBMISSIONS = Table(
    "forecast_submissions",
    {
        "period": "string",
        "period_start": "date",
        "period_end": "date",
        "person": "string",
        "person_role": "string",
        "category": "string",
        "submitted_on": "date",
        "days_before_end": "int",
        "submission_number": "int",
        "is_latest": "boolean",
        "submitted_amount": "decimal(20,3)",
        "won_by_then_amount": _MONEY,
        "model_amount": _MONEY,
        "model_as_of": "date",
        "model_basis": "string",
        "is_final": "boolean",
        "final_on": "date",
        "actual_amount": _MONEY,
        "error_amount": _MONEY,
        "model_error_amount": _MONEY,
        "closer": "string",
        "as_of": "date",
        **_OF_RUN,
    },
    key=("period", "person", "person_role", "category", "submitted_on"),
)

SUBMISSION_ACCURACY = Table(
    "forecast_submission_accuracy",
    {
        "person": "string",
        "person_role": "string",
        "category": "string",
        "counted": "string",
        "submissions": "int",
        "periods": "int",
        "sample_too_small": "boolean",
        "first_period": "string",
        "last_period": "string",
        "submitted_sum": _MONEY,
        "actual_sum": _MONEY,
        "absolute_error_sum": _MONEY,
        "wape": "double",
        "bias": "double",
        "compared_submissions": "int",
        "compared_wape": "double",
        "compared_bias": "double",
        "model_wape": "double",
        "model_bias": "double",
        "closer_numerator": "int",
        "closer_share": "double",
        "as_of": "date",
        **_OF_RUN,
    },
    key=("person", "person_role", "category", "counted"),
)

SCENARIO_TABLES = (SCENARIOS, SCENARIO_DEALS, SUBMISSIONS, SUBMISSION_ACCURACY)
SCENARIO_NAMES = tuple(table.full_name for table in SCENARIO_TABLES)
"""What readers get, as schema.name."""


def ensure_scenario_tables(warehouse: Warehouse) -> None:
    """Make the tables unless they are there."""
    for table in SCENARIO_TABLES:
        warehouse.create_table(table.full_name, table.columns)
