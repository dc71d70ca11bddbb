"""The same simulated deals, by days, written in every layout that a CRM or a report gives them.

Each layout is made from the change log alone, by plain replay: one row per deal and day on which something
changed, with all values after it. A layout is a folder of files and the block of the source that maps them.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from dagster_project.simulate import SimulationConfig, simulate, write_crm_export
from dagster_project.simulate.crm_export import STAGES

Row = dict[str, str]
START, AS_OF = date(2025, 12, 1), date(2025, 12, 31)
ZONE = "Europe/Amsterdam"
# What a record tells that does not change, then what a change log tells as well.
FIXED = {
    "deal_id": "Deal ID", "name": "Deal Name", "created_at": "Create Date", "account": "Company ID",
    "product": "Main Product", "region": "Region", "country": "Country", "source": "Lead Source",
    "deal_type": "Deal Type",
}  # fmt: skip
VALUES = {
    "stage": "To Stage", "pipeline": "Pipeline", "amount": "Amount", "currency": "Currency",
    "close_date": "Close Date", "owner": "Owner ID",
}  # fmt: skip
AT_CLOSING = {"closed_at": "Closed At", "lost_reason": "Closed Lost Reason"}
DEAL_COLUMNS = FIXED | VALUES | AT_CLOSING


def table(rows: Sequence[Row], headers: Sequence[str], delimiter: str = ",") -> str:
    """Rows as the text of a CSV file with these columns."""
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(headers), delimiter=delimiter, lineterminator="\n", extrasaction="ignore"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read(path: Path) -> list[Row]:
    """The rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@dataclass(frozen=True)
class Deals:
    """Simulated deals by days: `log` in order of deal and day, all values told; `facts` per deal id."""

    folder: Path
    log: tuple[Row, ...]
    facts: Mapping[str, Row]

    def on(self, day: date) -> list[Row]:
        """Every deal created by the end of a day, with its values of then."""
        newest: dict[str, Row] = {}
        closed_on: dict[str, str] = {}
        for row in self.log:
            if row["Changed On"] > day.isoformat():
                continue
            deal = row["Deal ID"]
            if row["To Stage"].endswith(("_won", "_lost")):
                closed_on.setdefault(deal, row["Changed On"])
            newest[deal] = row
        return [
            {**self.facts[deal], **row, "Closed At": closed_on.get(deal, ""),
             "Closed Lost Reason": self.facts[deal]["Closed Lost Reason"] if deal in closed_on else ""}
            for deal, row in newest.items()
        ]  # fmt: skip


def simulated_deals(folder: Path) -> Deals:
    """A few hundred deals that every layout can tell: no removals, no stage entered twice.

    The simulation is free of blemishes; none of its deals changes twice on one day (asserted).
    """
    blemishes = (
        "late_share",
        "mis_drag_share",
        "same_instant_share",
        "missing_first_row_share",
        "import_share",
    )
    config = SimulationConfig(
        n_deals=260, start_on=START, end_on=AS_OF, time_zone=ZONE, **dict.fromkeys(blemishes, 0.0)
    )
    write_crm_export(simulate(config), folder, AS_OF)
    deals = {row["Deal ID"]: row for row in read(folder / "deals.csv")}
    entered: dict[str, list[str]] = defaultdict(list)
    log: list[Row] = []
    for row in sorted(read(folder / "stage_history.csv"), key=lambda r: (r["Deal ID"], r["Changed At"])):
        row["Changed On"] = row["Changed At"][:10]
        if row["From Stage"] != row["To Stage"]:
            entered[row["Deal ID"]].append(row["To Stage"])
        log.append(row)
    fit = {
        deal
        for deal, stages in entered.items()
        if len(stages) == len(set(stages))
        and not deals[deal]["Deleted At"]
        and not deals[deal]["Merged Into"]
    }
    log = [row for row in log if row["Deal ID"] in fit]
    assert len({(row["Deal ID"], row["Changed On"]) for row in log}) == len(log) > 300
    first = {row["Deal ID"]: row["Changed On"] for row in reversed(log)}
    facts = {deal: {**deals[deal], "Create Date": first[deal]} for deal in sorted(fit)}
    return Deals(folder, tuple(log), facts)


def _deals_file(
    deals: Deals, folder: Path, extra: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, Any]:
    """The export of the last day; `extra` columns per deal beside it."""
    rows = [{**row, **(extra or {}).get(row["Deal ID"], {})} for row in deals.on(AS_OF)]
    added = sorted({header for columns in (extra or {}).values() for header in columns})
    (folder / "deals.csv").write_text(table(rows, [*DEAL_COLUMNS.values(), *added]), encoding="utf-8")
    return {"path": "deals.csv", "columns": DEAL_COLUMNS}


def _history(folder: Path, rows: Sequence[Row], columns: Mapping[str, str]) -> dict[str, Any]:
    (folder / "changes.csv").write_text(table(rows, list(columns.values())), encoding="utf-8")
    return {"path": "changes.csv", "columns": dict(columns)}


def stage_log(deals: Deals, folder: Path) -> dict[str, Any]:
    """One row per change: old and new stage, all values after it, who made it."""
    told = {
        "deal_id": "Deal ID", "changed_at": "Changed On", "from_stage": "From Stage",
        "from_pipeline": "From Pipeline", **VALUES, "changed_by": "Changed By", "event_id": "Change ID",
    }  # fmt: skip
    return {"deals": _deals_file(deals, folder), "stage_history": _history(folder, deals.log, told)}


def opportunity_history(deals: Deals, folder: Path) -> dict[str, Any]:
    """One row per change with all values, and no word of the values before, who or which change."""
    told = {"deal_id": "Deal ID", "changed_at": "Changed On", **VALUES}
    return {"deals": _deals_file(deals, folder), "stage_history": _history(folder, deals.log[::-1], told)}


def field_history(deals: Deals, folder: Path) -> dict[str, Any]:
    """One row per field that changed, with its old and new value."""
    before: dict[tuple[str, str], str] = {}
    rows: list[Row] = []
    for change in deals.log:
        for name in VALUES.values():
            old, new = before.get((change["Deal ID"], name), ""), change[name]
            if new and new != old:
                rows.append(
                    {
                        "Deal": change["Deal ID"],
                        "Field": name,
                        "Old": old,
                        "New": new,
                        "On": change["Changed On"],
                    }
                )
                before[change["Deal ID"], name] = new
    (folder / "fields.csv").write_text(table(rows, ["Deal", "Field", "Old", "New", "On"]), encoding="utf-8")
    columns = {
        "deal_id": "Deal",
        "field": "Field",
        "old_value": "Old",
        "new_value": "New",
        "changed_at": "On",
    }
    fields = {header: field for field, header in VALUES.items()}
    return {
        "deals": _deals_file(deals, folder),
        "field_history": {"path": "fields.csv", "columns": columns, "fields": fields},
    }


def snapshots(deals: Deals, folder: Path) -> dict[str, Any]:
    """The deals file of every night, from the one before the first deal; delivered in no order."""
    days = (AS_OF - START).days + 2
    for number in range(days):
        day = START + timedelta(days=number - 1)
        text = table(deals.on(day), list(DEAL_COLUMNS.values()))
        (folder / f"deals_{day:%Y%m%d}.csv").write_text(text, encoding="utf-8")
    return {"deals": {"path": "deals_*.csv", "columns": DEAL_COLUMNS}}


def moves_log(deals: Deals, folder: Path) -> dict[str, Any]:
    """A log of moves that tells the stage and nothing else."""
    told = {"deal_id": "Deal ID", "changed_at": "Changed On", "stage": "To Stage", "pipeline": "Pipeline"}
    return {"deals": _deals_file(deals, folder), "stage_history": _history(folder, _moves(deals), told)}


def date_columns(deals: Deals, folder: Path) -> dict[str, Any]:
    """A deals file with one column per stage, which holds the day of its entry."""
    entered: dict[str, dict[str, str]] = defaultdict(dict)
    for row in _moves(deals):
        entered[row["Deal ID"]][f"Entered {row['To Stage']}"] = row["Changed On"]
    stages = {row["To Stage"]: f"Entered {row['To Stage']}" for row in deals.log}
    return {"deals": _deals_file(deals, folder, entered), "stage_entered": stages}


def deals_alone(deals: Deals, folder: Path) -> dict[str, Any]:
    """The deals file of the last day, and nothing that tells how they came there."""
    return {"deals": _deals_file(deals, folder)}


def stages_of(deals: Deals) -> dict[str, Any]:
    """The block of the file of stages, which every layout has."""
    return {"path": str(deals.folder / "stages.csv"), "columns": STAGES}


def _moves(deals: Deals) -> list[Row]:
    return [row for row in deals.log if row["From Stage"] != row["To Stage"]]
