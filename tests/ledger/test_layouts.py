"""The same simulated deals, exported in different layouts and formats, give the same transitions.

What a layout cannot tell is left out of the comparison: ids of changes, and with them of transitions.
"""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from dagster_project.extract.files.connector import extract_files
from dagster_project.settings import load_settings
from dagster_project.simulate import SimulationConfig, simulate, write_crm_export
from dagster_project.simulate.crm_export import DEALS, STAGES
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerBench, LedgerTables

AS_OF = date(2025, 12, 31)
ZONE = "Europe/Amsterdam"
COMPARED = (
    "deal_id", "transition_number", "transitioned_at", "exited_at", "business_date", "from_pipeline_id",
    "from_stage_id", "to_pipeline_id", "to_stage_id", "from_status", "to_status", "transition_type",
    "visit_number", "is_current", "amount_native", "currency", "close_date", "owner_id", "inference_rule",
    "is_transient", "is_clamped", "is_left_truncated", "changed_by", "change_source", "time_precision",
)  # fmt: skip
TOLD = {"Pipeline": "pipeline", "To Stage": "stage", "Amount": "amount", "Currency": "currency",
        "Close Date": "close_date", "Owner ID": "owner"}  # fmt: skip
STAGE_LOG: dict[str, Any] = {
    "path": "stage_history.csv",
    "columns": {
        "deal_id": "Deal ID", "changed_at": "Changed At", "from_stage": "From Stage", "stage": "To Stage",
        "from_pipeline": "From Pipeline", "pipeline": "Pipeline", "amount": "Amount", "currency": "Currency",
        "close_date": "Close Date", "owner": "Owner ID", "changed_by": "Changed By", "sequence": "Sequence",
    },
}  # fmt: skip

Row = dict[str, str]
Layout = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few hundred deals as a CRM exports them."""
    folder = tmp_path_factory.mktemp("exports")
    config = SimulationConfig(n_deals=250, start_on=date(2025, 1, 1), end_on=AS_OF, time_zone=ZONE)
    write_crm_export(simulate(config), folder, AS_OF)
    return folder


def read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def table(rows: list[Row], delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_exported(folder: Path) -> dict[str, Any]:
    return {"deals": {"path": "deals.csv", "columns": DEALS}, "stage_history": STAGE_LOG}


def field_by_field(folder: Path) -> dict[str, Any]:
    """One row per field that changed, with its old value."""
    before: dict[tuple[str, str], str] = {}
    rows: list[Row] = []
    log = read(folder / "stage_history.csv")
    for change in sorted(log, key=lambda row: (row["Deal ID"], row["Changed At"], int(row["Sequence"] or 0))):
        deal = change["Deal ID"]
        for name in TOLD:
            old = {"To Stage": change["From Stage"], "Pipeline": change["From Pipeline"]}.get(name, "")
            new = change[name]
            if new and (before.get((deal, name)) != new or old):
                rows.append(
                    {"Deal": deal, "Field": name, "Old": old, "New": new, "At": change["Changed At"],
                     "By": change["Changed By"], "No": change["Sequence"]}
                )  # fmt: skip
                before[deal, name] = new
    (folder / "fields.csv").write_text(table(rows), encoding="utf-8")
    columns = {"deal_id": "Deal", "field": "Field", "old_value": "Old", "new_value": "New",
               "changed_at": "At", "changed_by": "By", "sequence": "No"}  # fmt: skip
    return {
        "deals": {"path": "deals.csv", "columns": DEALS},
        "field_history": {"path": "fields.csv", "columns": columns, "fields": TOLD},
    }


def in_odd_formats(folder: Path) -> dict[str, Any]:
    """Deals in UTF-16 with titles, totals, decimal commas and days first; changes as JSON lines in a zip."""
    deals = read(folder / "deals.csv")
    for row in deals:
        if row["Amount"]:
            row["Amount"] = f"{float(row['Amount']):,.2f}".translate(str.maketrans(",.", ".,"))
        row["Probability"] = row["Probability"].replace(".", ",")
        row["Close Date"] = "/".join(reversed(row["Close Date"].split("-")))
    text = "All deals\nFilter: none\n\n" + table(deals, "\t") + "\nGrand Total\n"
    (folder / "deals.txt").write_bytes(text.encode("utf-16"))
    lines = (json.dumps(row) for row in read(folder / "stage_history.csv"))
    with zipfile.ZipFile(folder / "changes.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("changes.jsonl", "\n".join(lines))
    odd = {"decimal": ",", "date_order": "dmy"}
    return {
        "deals": {"path": "deals.txt", "columns": DEALS, "format": odd},
        "stage_history": {**STAGE_LOG, "path": "changes.zip"},
    }


def transitions(exports: Path, layout: Layout, bench: LedgerBench, folder: Path) -> list[tuple]:
    source = {
        "name": "crm",
        "type": "files",
        "time_zone": "UTC",
        "data_as_of": AS_OF.isoformat(),
        "stages": {"path": "stages.csv", "columns": STAGES},
        **layout(exports),
    }
    business = {"name": "B", "time_zone": ZONE, "currency": "EUR"}
    config = exports / f"{layout.__name__}.yaml"
    config.write_text(json.dumps({"business": business, "sources": [source]}), encoding="utf-8")
    settings = load_settings(config, folder, {})
    landed_at = datetime(2026, 1, 1, 3, tzinfo=UTC)
    result = extract_files(settings, settings.sources[0], landed_at, pause=lambda _: None)
    assert [(report.status, report.rows_rejected) for report in result.files] == [("read", 0)] * 3
    book = Book(
        stages=(),
        runs=(Run(AS_OF, landed_at.replace(tzinfo=None)),),
        settings=Settings(time_zone=ZONE),
    )
    tables: LedgerTables = bench.build_landed(book, folder / "landing")
    return tables.rows("fct_stage_transitions", *COMPARED)


@pytest.mark.slow
@pytest.mark.parametrize("layout", [field_by_field, in_odd_formats])
def test_a_layout_gives_the_transitions_of_the_stage_log(
    exports: Path, bench: LedgerBench, tmp_path: Path, layout: Layout
) -> None:
    plain = transitions(exports, as_exported, bench, tmp_path / "plain")
    other = transitions(exports, layout, bench, tmp_path / "other")
    assert len(plain) > 500
    assert other == plain
