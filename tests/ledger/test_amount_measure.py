"""The money field that is the amount of all metrics: the same files read by amount, by ARR and by TCV.

d1: won the stage Offer on 10 February; its log tells amount and ARR of each row, and nobody tells the history
of its TCV. d2: won on 1 March, without an ARR. Lines of d1: Seat 60, Service 40.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from dagster_project.extract.files.connector import extract_files
from dagster_project.settings import load_settings
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerBench, LedgerTables

CONFIG = """\
business: {name: Example Ltd, time_zone: UTC, currency: EUR, as_of: 2025-03-31}
metrics: {amount_measure: ARR}
sources:
  - name: export
    type: files
    data_as_of: 2025-03-31
    deals:
      path: deals.csv
      columns: {deal_id: ID, stage: Stage, created_at: Created, modified_at: Modified, amount: Amount,
                arr: ARR, tcv: TCV, closed_at: Closed}
    stage_history:
      path: log.csv
      columns: {deal_id: ID, changed_at: At, stage: Stage, amount: Amount, arr: ARR}
    line_items: {path: lines.csv, columns: {line_item_id: Line, deal_id: ID, product: Product, amount: Price}}
    stages:
      - {name: Meeting, order: 1}
      - {name: Offer, order: 2}
      - {name: Won, outcome: won}
"""
FILES = {
    "deals.csv": "ID,Stage,Created,Modified,Amount,ARR,TCV,Closed\n"
    "d1,Offer,2025-01-10,2025-03-20 09:00,100,40,300,\n"
    "d2,Won,2025-01-05,2025-03-20 09:00,200,,500,2025-03-01\n",
    "log.csv": "ID,At,Stage,Amount,ARR\n"
    "d1,2025-01-10 09:00,Meeting,90,30\n"
    "d1,2025-02-10 09:00,Offer,100,40\n"
    "d2,2025-01-05 09:00,Meeting,200,\n"
    "d2,2025-03-01 09:00,Won,200,\n",
    "lines.csv": "Line,ID,Product,Price\n1,d1,Seat,60\n2,d1,Service,40\n",
}
LANDED_AT = datetime(2025, 4, 1, 3, tzinfo=UTC)


@dataclass(frozen=True)
class MeasureSettings(Settings):
    """The settings of the business with the choice of the amount."""

    amount_measure: str = "amount"


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measures")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    config = folder / "pipeline.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    settings = load_settings(config, folder / "data", {})
    assert settings.metrics.amount_measure == "arr"
    assert settings.metrics.definition_version != "default"
    result = extract_files(settings, settings.sources[0], LANDED_AT, pause=lambda _: None)
    assert {report.rows_rejected for report in result.files} == {0}
    return settings.paths.landing


def build(bench: LedgerBench, landing: Path, measure: str) -> LedgerTables:
    runs = (Run(date(2025, 3, 31), LANDED_AT.replace(tzinfo=None)),)
    return bench.build_folder(Book((), runs=runs, settings=MeasureSettings(amount_measure=measure)), landing)


@pytest.mark.parametrize(
    ("measure", "deals", "versions", "lines"),
    [
        (
            "amount",
            [("d1", 100, False), ("d2", 200, False)],
            [(90, "history"), (100, "history")],
            [("Seat", 60), ("Service", 40)],
        ),
        # d2 has no ARR: it is counted as without amount, and its amount does not stand in
        (
            "arr",
            [("d1", 40, False), ("d2", None, True)],
            [(30, "history"), (40, "history")],
            [("Seat", 24), ("Service", 16)],
        ),
        # the log tells no TCV: what it was before the record is not made up
        (
            "tcv",
            [("d1", 300, False), ("d2", 500, False)],
            [(None, "none"), (None, "none"), (300, "current_values")],
            [("Seat", 180), ("Service", 120)],
        ),
    ],
)
def test_the_chosen_money_field_is_the_amount(
    bench: LedgerBench,
    landing: Path,
    measure: str,
    deals: list[tuple[str, int | None, bool]],
    versions: list[tuple[int | None, str]],
    lines: list[tuple[str, int]],
) -> None:
    tables = build(bench, landing, measure)
    assert tables.rows("fct_deals", "deal_id", "amount_base", "is_amount_missing") == deals
    told = tables.rows(
        "fct_deal_versions",
        *("amount_native", "amount_asof_quality"),
        where="deal_id = 'd1'",
        order="version_number",
    )
    assert told == versions
    found = tables.query(
        "select product, fct_line_items.amount_base from ledger.fct_line_items "
        "join ledger.dim_product using (product_key) join ledger.fct_deals using (deal_key) "
        "where deal_id = 'd1' order by product"
    )
    assert found == [(product, Decimal(amount)) for product, amount in lines]
