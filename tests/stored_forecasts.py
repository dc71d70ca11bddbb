"""Forecasts written by hand into a warehouse, as the forecast asset would have stored them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd

from dagster_project.forecast.tables import BACKTEST, BOOKINGS, DEALS, Table, ensure_tables
from dagster_project.warehouse import Warehouse

_BLANK = {
    "string": "",
    "date": date(2025, 1, 1),
    "int": 0,
    "bigint": 0,
    "double": 0.0,
    "boolean": False,
}
_WHOLE = {"segment_type": "total", "segment": "all", "currency": "EUR"}


def store(warehouse: Warehouse, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows; what a row does not name is blank."""
    ensure_tables(warehouse)
    blank = {name: _BLANK.get(kind, 0.0) for name, kind in table.columns.items()}
    whole = {name: value for name, value in _WHOLE.items() if name in table.columns}
    frame = pd.DataFrame([{**blank, **whole, **row} for row in rows], columns=list(table.columns))
    warehouse.append(table.full_name, frame, table.columns)


def booking(
    as_of: date, period: str, offset: int, won: float, open_part: float, new: float, **more: Any
) -> dict[str, Any]:
    """A row of forecast_bookings, live and by hazards unless told otherwise."""
    parts = {"already_won": won, "open_expected": open_part, "not_yet_created_expected": new}
    mean = won + open_part + new
    row = {"as_of": as_of, "kind": "live", "period": period, "quarter_offset": offset, **parts, "mean": mean}
    return {**row, "p10": mean, "p50": mean, "p90": mean, "served_method": "hazards", **more}


def scored(
    as_of: date, key: str, this_quarter: float, next_quarter: float = 0.0, **more: Any
) -> dict[str, Any]:
    """A row of forecast_deals: an open deal of 1,000 in stage proposal, unless told otherwise."""
    row = {
        "as_of": as_of,
        "kind": "live",
        "deal_key": key,
        "source_relation": "crm",
        "deal_id": key,
        "stage_key": "proposal",
        "stage": "proposal",
        "open_amount": 1000.0,
        "expected_this_quarter": this_quarter,
        "expected_next_quarter": next_quarter,
        "evidence_on": date(2025, 4, 30),
    }
    amount = more.get("open_amount", row["open_amount"])
    return {**row, "amount_if_won": amount, **more}


def store_bookings(warehouse: Warehouse, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows of forecast_bookings."""
    store(warehouse, BOOKINGS, rows)


def store_deals(warehouse: Warehouse, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows of forecast_deals."""
    store(warehouse, DEALS, rows)


def store_backtest(warehouse: Warehouse, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows of forecast_backtest."""
    store(warehouse, BACKTEST, rows)
