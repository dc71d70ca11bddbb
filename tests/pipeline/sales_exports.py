"""Two small exports for the marts of sales performance and data quality, and dbt's build of each.

`date_columns_export` is an export as teams often have it: two date columns and no stage log, lost deals set
to zero, open deals without amounts, a product spelled two ways. `crm_with_odd_deals` has created dates, three
currencies and a deal for each way in which a closed deal can be odd.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import duckdb

from tests.ledger.book import Book, Change, Record, Run, Settings, Stage
from tests.ledger.deliveries import land
from tests.ledger.ledger_bench import DBT_PROJECT, LedgerTables, create_run_context

AS_OF = date(2025, 6, 30)
RUNS = (Run(AS_OF, datetime(2026, 1, 1, 1)),)
STAGES = (
    Stage("Prospecting", 1),
    Stage("Engaging", 2),
    Stage("Won", 3, "won"),
    Stage("Lost", 4, "lost"),
    Stage("Dropped", 5, "closed_other"),
)
MARTS = (
    "mart_sales_performance",
    "mart_data_quality",
    "mart_data_readiness",
    "mart_metric_definitions",
)


@dataclass(frozen=True)
class SalesSettings(Settings):
    """The settings of the business, with sample floors that a dozen deals can reach."""

    min_sample: int = 4
    min_sample_median: int = 3
    velocity_basis: str = "closed"
    win_rate_min_amount: Decimal | None = None
    settings_json: str = "{}"


def date_columns_export() -> Book:
    """Ten deals: five won, three lost for zero, one in Engaging, one in Prospecting without any date."""
    deals = [
        # id, owner, product, account, engaged, stage, closed, amount
        ("w1", "Ada", "GTX Pro", "Acme", "2024-10-20", "Won", "2025-03-01", 100),
        ("w2", "Ada", "GTXPro", "Acme", "2024-12-01", "Won", "2025-03-11", 200),
        ("w3", "Bo", "GTX Pro", "Acme", "2025-02-01", "Won", "2025-04-10", 300),
        ("w4", "Bo", "GTXPro", None, "2025-02-10", "Won", "2025-05-10", 400),
        ("w5", "Ada", "GTX Pro", "Acme", "2025-03-01", "Won", "2025-06-20", 1000),
        ("l1", "Ada", "GTX Pro", "Acme", "2025-02-01", "Lost", "2025-04-01", 0),
        ("l2", "Bo", "GTX Pro", "Acme", "2025-02-15", "Lost", "2025-05-05", 0),
        ("l3", "Bo", "GTX Pro", "Acme", "2025-03-10", "Lost", "2025-06-05", 0),
        ("o1", "Ada", "GTX Pro", None, "2025-05-01", "Engaging", None, None),
        ("o2", "Bo", "GTX Pro", None, None, "Prospecting", None, None),
    ]
    records, changes = [], []
    for deal_id, owner, product, account, engaged, stage, closed, amount in deals:
        closed_at = datetime.fromisoformat(closed) if closed else None
        records.append(
            Record(
                deal_id,
                stage=stage,
                amount=None if amount is None else Decimal(amount),
                currency="EUR",
                close_date=closed_at.date() if closed_at else None,
                closed_at=closed_at,
                owner=owner,
                account=account,
                product=product,
            )
        )
        for at, entered in ((engaged and datetime.fromisoformat(engaged), "Engaging"), (closed_at, stage)):
            if at:
                changes.append(
                    Change(deal_id, at, entered, time_precision="day", change_source="date_column")
                )
    reads = {
        "rows_kept": "10",
        "rows_rejected": "2",
        "rows_duplicate": "1",
        "columns_unmapped": '["Mood","Fax"]',
    }
    reject = {
        "file": "deals.csv",
        "sha256": "1",
        "entity": "deals",
        "column": "close_value",
        "reason": "not a number",
    }
    facts = (
        (
            "owners",
            ({"owner_id": "Ada", "team": "North", "region": "East"}, {"owner_id": "Bo", "team": "South"}),
        ),
        ("products", ({"product_id": "GTX Pro", "name": "GTX Pro", "list_price": "500"},)),
        ("accounts", ({"account_id": "Acme", "industry": "retail", "country": "NL"},)),
        ("reads", ({"file": "deals.csv", "entity": "deals", "sha256": "1", "rows_read": "14"} | reads,)),
        ("rejects", (reject | {"row": "9", "value": "n/a"}, reject | {"row": "4", "value": "lots"})),
    )
    return Book(STAGES, tuple(records), tuple(changes), RUNS, SalesSettings(), facts)


def crm_with_odd_deals() -> Book:
    """Deals with created dates: `first` and `dated` closed in the first quarter, all others later."""
    created = datetime(2025, 4, 1)
    records = (
        _closed("first", "Won", datetime(2025, 1, 1), datetime(2025, 3, 2), "100"),
        # the close date was edited back into March; the deal was closed in April
        _closed("dated", "Won", datetime(2025, 1, 10), datetime(2025, 4, 2), "400", date(2025, 3, 31)),
        _closed("dated_lost", "Lost", datetime(2025, 1, 10), datetime(2025, 4, 3), "200", date(2025, 3, 30)),
        # won in June, and dated after the as-of day
        _closed("ahead", "Won", datetime(2025, 5, 1), datetime(2025, 6, 20), "900", date(2025, 7, 15)),
        _closed("import", "Won", datetime(2025, 4, 5), datetime(2025, 4, 5), "500"),
        _closed("unpriced", "Won", created, datetime(2025, 5, 1), None),
        _closed("free", "Won", created, datetime(2025, 5, 2), "0"),
        _closed("refund", "Won", created, datetime(2025, 5, 3), "-50"),
        _closed("no_rate", "Won", created, datetime(2025, 5, 4), "70", currency="USD"),
        _closed("pounds", "Won", created, datetime(2025, 5, 5), "100", currency="GBP"),
        _closed("lost_one", "Lost", datetime(2025, 4, 15), datetime(2025, 5, 20), "300"),
        _closed("lost_two", "Lost", datetime(2025, 4, 15), datetime(2025, 5, 21), "100"),
        _closed("dropped", "Dropped", created, datetime(2025, 6, 1), "10"),
        replace(
            _closed("deleted", "Won", created, datetime(2025, 5, 6), "8000"), deleted_at=datetime(2025, 6, 1)
        ),
        Record("still_open", datetime(2025, 6, 1), "Engaging", amount=Decimal(60), currency="EUR"),
    )
    rates = ({"source": "business", "currency": "GBP", "rate_date": "2025-01-01", "rate": "2"},)
    # a line for 60 of the 100 of the deal `first`
    lines = ({"line_item_id": "1", "deal_id": "first", "product": "Seat", "amount": "60", "currency": "EUR"},)
    facts = (("fx_rates", rates), ("line_items", lines))
    return Book(STAGES, records, (), RUNS, SalesSettings(), facts)


def _closed(
    deal_id: str,
    stage: str,
    created_at: datetime,
    closed_at: datetime,
    amount: str | None,
    close_date: date | None = None,
    currency: str = "EUR",
) -> Record:
    return Record(
        deal_id,
        created_at,
        stage,
        amount=None if amount is None else Decimal(amount),
        currency=currency,
        close_date=close_date or closed_at.date(),
        closed_at=closed_at,
    )


class MartsBench:
    """dbt builds the first book; the SQL it compiled builds any other in memory, in a second or two."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._landing = folder / "landing"

    def build_with_dbt(self, book: Book) -> LedgerTables:
        """Land the book and let dbt build the marts and all they need."""
        database, target = self._folder / "warehouse.duckdb", self._folder / "target"
        land(book, self._landing)
        with duckdb.connect(str(database)) as connection:
            create_run_context(connection, book)
        environment = os.environ | {
            "STAGELEDGER_WAREHOUSE": str(database),
            "STAGELEDGER_LANDING": str(self._landing),
        }
        options = {"--project-dir": DBT_PROJECT, "--profiles-dir": DBT_PROJECT, "--target-path": target}
        call = [sys.executable, "-m", "dbt.cli.main", "run", "--select", *(f"+{mart}" for mart in MARTS)]
        call += [str(part) for option in options.items() for part in option]
        call += ["--log-path", str(target / "logs"), "--quiet", "--no-use-colors", "--no-version-check"]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"dbt run failed:\n{done.stdout}\n{done.stderr}"
        return LedgerTables(duckdb.connect(str(database), read_only=True))

    def build(self, book: Book, folder: Path) -> LedgerTables:
        """Land another book and run the compiled models on it."""
        land(book, folder)
        connection = duckdb.connect()
        for setting in ("TimeZone = 'UTC'", "threads = 1", "preserve_insertion_order = false"):
            connection.execute(f"set {setting}")
        connection.execute("attach ':memory:' as warehouse")
        connection.execute("use warehouse")
        create_run_context(connection, book)
        for schema in ("staging", "ledger", "marts"):
            connection.execute(f"create schema {schema}")
        for node in self.compiled_models():
            kind = "view" if node["config"]["materialized"] == "view" else "table"
            sql = node["compiled_code"].replace(str(self._landing), str(folder))
            connection.execute(f"create {kind} {node['relation_name']} as {sql}")
        return LedgerTables(connection)

    def compiled_models(self) -> list[dict[str, Any]]:
        manifest = json.loads((self._folder / "target" / "manifest.json").read_text(encoding="utf-8"))
        models = {
            key: node
            for key, node in manifest["nodes"].items()
            if node["resource_type"] == "model" and node.get("compiled_code")
        }
        parents = {
            key: [parent for parent in node["depends_on"]["nodes"] if parent in models]
            for key, node in models.items()
        }
        return [models[key] for key in TopologicalSorter(parents).static_order()]
