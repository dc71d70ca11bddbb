"""Write the simulated CRM as the files that a CRM's export button gives."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from dagster_project.simulate.known import Known, known_at
from dagster_project.simulate.world import World

DEALS = {
    "deal_id": "Deal ID",
    "name": "Deal Name",
    "pipeline": "Pipeline",
    "stage": "Deal Stage",
    "status": "Status",
    "amount": "Amount",
    "currency": "Currency",
    "created_at": "Create Date",
    "close_date": "Close Date",
    "closed_at": "Closed At",
    "modified_at": "Last Modified",
    "owner": "Owner ID",
    "account": "Company ID",
    "product": "Main Product",
    "region": "Region",
    "country": "Country",
    "source": "Lead Source",
    "deal_type": "Deal Type",
    "forecast_category": "Forecast Category",
    "probability": "Probability",
    "lost_reason": "Closed Lost Reason",
    "competitor": "Competitor",
    "next_step": "Next Step",
    "last_activity_at": "Last Activity",
    "deal_url": "Link",
    "deleted_at": "Deleted At",
    "merged_into": "Merged Into",
    "merged_at": "Merged At",
}
STAGE_HISTORY = {
    "event_id": "Change ID",
    "deal_id": "Deal ID",
    "changed_at": "Changed At",
    "from_stage": "From Stage",
    "stage": "To Stage",
    "from_pipeline": "From Pipeline",
    "pipeline": "Pipeline",
    "amount": "Amount",
    "currency": "Currency",
    "close_date": "Close Date",
    "owner": "Owner ID",
    "changed_by": "Changed By",
    "sequence": "Sequence",
}
ACCOUNTS = {
    "account_id": "Company ID",
    "name": "Company Name",
    "industry": "Industry",
    "region": "Region",
    "country": "Country",
}
PRODUCTS = {
    "product_id": "Product Code",
    "name": "Product Name",
    "family": "Product Family",
    "list_price": "List Price",
    "currency": "Currency",
}
OWNERS = {
    "owner_id": "User ID",
    "name": "Full Name",
    "email": "Email",
    "team": "Team",
    "manager": "Manager",
    "region": "Region",
    "started_on": "Start Date",
    "ended_on": "End Date",
    "is_active": "Active",
}
LINE_ITEMS = {
    "line_item_id": "Line Item ID",
    "deal_id": "Deal ID",
    "product": "Product Code",
    "quantity": "Quantity",
    "unit_price": "Unit Price",
    "amount": "Net Amount",
    "currency": "Currency",
}
PIPELINES = {"pipeline_id": "Pipeline ID", "name": "Pipeline Name", "type": "Type"}
STAGES = {
    "stage_id": "Stage ID",
    "name": "Stage Name",
    "pipeline": "Pipeline ID",
    "order": "Display Order",
    "outcome": "Outcome",
    "probability": "Probability",
    "forecast_category": "Forecast Category",
    "valid_from": "Valid From",
}
BUSINESS_TABLES = ("fx_rates", "quotas", "holidays", "teams")
EXPORTS = {
    "deals": DEALS,
    "stage_history": STAGE_HISTORY,
    "accounts": ACCOUNTS,
    "products": PRODUCTS,
    "owners": OWNERS,
    "line_items": LINE_ITEMS,
    "pipelines": PIPELINES,
    "stages": STAGES,
}
"""Per entity, the export's header for each of our fields, in file order."""

DATE_COLUMNS = (
    *("close_date", "started_on", "ended_on", "valid_from", "rate_date", "recorded_on", "date"),
    "submitted_on",
)
DEAL_URL = "https://crm.example.com/deals/"


def write_crm_export(world: World, folder: Path, as_of: date) -> dict[str, int]:
    """Write the CSV files of a CRM as it is at the end of `as_of`; returns the rows per file.

    Files: deals, stage_history, accounts, products, owners, line_items, pipelines, stages with CRM headers
    (EXPORTS), and the business's own fx_rates, quotas, holidays, teams under our field names. UTF-8, comma,
    instants UTC. Each file appears at once under its name (written beside it, then renamed). The same world
    and day give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = known_at(world, as_of)
    rows = {}
    for entity, frame in text_frames(known).items():
        headers = EXPORTS.get(entity)
        table = frame if headers is None else frame[list(headers)].rename(columns=headers)
        path = folder / f"{entity}.csv"
        rows[path.name] = _write(table, path)
    return rows


def write_table(frame: pd.DataFrame, path: Path) -> int:
    """Write a table of the business beside the export, in the same way; returns its rows."""
    return _write(_as_text(frame), path)


def _write(table: pd.DataFrame, path: Path) -> int:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    table.to_csv(beside, index=False, encoding="utf-8", lineterminator="\n")
    os.replace(beside, path)
    return len(table)


def text_frames(known: Known) -> dict[str, pd.DataFrame]:
    """Every entity with its values as an export writes them (instants and dates ISO, amounts plain)."""
    frames = {entity: getattr(known, entity) for entity in (*EXPORTS, *BUSINESS_TABLES)}
    frames["deals"] = frames["deals"].assign(deal_url=DEAL_URL + frames["deals"]["deal_id"].astype("str"))
    frames["stage_history"] = frames["stage_history"].drop(columns="recorded_at")
    return {entity: _as_text(frame) for entity, frame in frames.items()}


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Instants as 'YYYY-MM-DD HH:MM:SS', dates as 'YYYY-MM-DD', money with two decimals; blank if unknown."""
    columns = {}
    for name, values in frame.items():
        if pd.api.types.is_datetime64_any_dtype(values):
            columns[name] = values.dt.strftime("%Y-%m-%d" if name in DATE_COLUMNS else "%Y-%m-%d %H:%M:%S")
        elif name in ("amount", "list_price"):
            columns[name] = _decimals(values, 2)
        elif name == "unit_price":
            columns[name] = _decimals(values, 4)
        elif pd.api.types.is_bool_dtype(values):
            columns[name] = values.map({True: "true", False: "false"})
        else:
            columns[name] = values
    return pd.DataFrame(columns)


def _decimals(values: pd.Series, places: int) -> pd.Series:
    """Numbers as text with fixed decimals; missing stays missing."""
    numbers = values.to_numpy(dtype=float)
    text = np.char.mod(f"%.{places}f", numbers).astype(object)
    text[np.isnan(numbers)] = None
    return pd.Series(text, index=values.index)
