"""The tables of the review: what moved the forecast, how live forecasts did, whether chances hold.

Words: dbt/models/forecast. All are derived from stored forecasts and the ledger, and may be made again.
"""

from __future__ import annotations

from dagster_project.forecast.tables import Table
from dagster_project.warehouse import Warehouse

_MONEY = "decimal(38,3)"
_SEGMENT = {"segment_type": "string", "segment": "string"}

NO_DEAL = "(none)"
"""Key of a change that is no single deal's."""

CHANGES = Table(
    "forecast_changes",
    {
        "as_of": "date",
        "kind": "string",
        "prior_as_of": "date",
        "prior_kind": "string",
        "period": "string",
        "quarter_offset": "int",
        "part": "string",
        "deal_key": "string",
        "source_relation": "string",
        "deal_id": "string",
        "cause": "string",
        "delta": _MONEY,
        "expected_before": _MONEY,
        "expected_after": _MONEY,
        "open_amount_before": "decimal(20,3)",
        "open_amount_after": "decimal(20,3)",
        "stage_before": "string",
        "stage_after": "string",
        "method_before": "string",
        "method_after": "string",
        "currency": "string",
        "definition_version": "string",
        "run_id": "string",
    },
    key=("as_of", "kind", "prior_as_of", "period", "part", "deal_key"),
)

CHANGES_BY_SEGMENT = Table(
    "forecast_changes_by_segment",
    {
        "as_of": "date",
        "kind": "string",
        "prior_as_of": "date",
        "prior_kind": "string",
        "period": "string",
        "quarter_offset": "int",
        **_SEGMENT,
        "part": "string",
        "cause": "string",
        "deals": "int",
        "delta": _MONEY,
        "currency": "string",
        "definition_version": "string",
        "run_id": "string",
    },
    key=("as_of", "kind", "prior_as_of", "period", "segment_type", "segment", "part", "cause"),
)

LIVE_ACCURACY = Table(
    "forecast_accuracy_live",
    {
        "as_of": "date",
        **_SEGMENT,
        "horizon": "string",
        "method": "string",
        "forecasts": "int",
        "quarters": "int",
        "first_as_of": "date",
        "last_as_of": "date",
        "forecast_sum": _MONEY,
        "actual_sum": _MONEY,
        "absolute_error_sum": _MONEY,
        "wape": "double",
        "bias": "double",
        "interval_numerator": "int",
        "interval_denominator": "int",
        "interval_coverage": "double",
    },
    key=("segment_type", "segment", "horizon", "method"),
)

CALIBRATION = Table(
    "forecast_calibration",
    {
        "as_of": "date",
        **_SEGMENT,
        "horizon": "string",
        "decile": "int",
        "origins": "int",
        "first_origin": "date",
        "last_origin": "date",
        "deals": "int",
        "p_from": "double",
        "p_to": "double",
        "predicted_wins": "double",
        "actual_wins": "int",
        "predicted_amount": _MONEY,
        "actual_amount": _MONEY,
        "currency": "string",
    },
    key=("segment_type", "segment", "horizon", "decile"),
)

REVIEW_TABLES = (CHANGES, CHANGES_BY_SEGMENT, LIVE_ACCURACY, CALIBRATION)
REVIEW_NAMES = tuple(table.full_name for table in REVIEW_TABLES)
"""What readers get, as schema.name."""


def ensure_review_tables(warehouse: Warehouse) -> None:
    """Make the tables unless they are there."""
    for table in REVIEW_TABLES:
        warehouse.create_table(table.full_name, table.columns)
