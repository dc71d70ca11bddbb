"""Whose region a deal's region is, by segments.region_from.

q: 100, of the North, for Acme (DACH); Ann's (EU) from 10 January, Bob's (US) from 10 February, who
   pushed it on 12 February.
p: 10, of no region and no account; Ann's from 11 January.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

import pytest

from tests.ledger.book import STAGES, Book, Change, Record, Run
from tests.ledger.ledger_bench import LedgerTables
from tests.marts.marts_bench import MartSettings
from tests.marts.waterfall_bench import WaterfallBench

READ_ON = datetime(2025, 5, 8, 1)
STAGED = {
    "stg_owners": [
        ("crm", name, name.title(), None, "one", None, region, None, None, True)
        for name, region in (("ann", "EU"), ("bob", "US"))
    ],
    "stg_accounts": [("crm", "acme", "Acme", "retail", "DACH", "DE")],
    "stg_fx_rates": [],
}
TABLES = ("mart_pipeline_waterfall", "int_close_date_changes", "dim_deal")


@dataclass(frozen=True)
class RegionSettings(MartSettings):
    """The settings of the business with the choice of the region."""

    segments_region_from: str | None = None


def at(month: int, day: int) -> datetime:
    return datetime(2025, month, day, 12)


CHANGES = (
    Change("q", at(1, 10), "lead", amount=Decimal(100), close_date=date(2025, 3, 31), owner="ann"),
    Change("q", at(2, 10), owner="bob", pipeline=None),
    Change("q", at(2, 12), close_date=date(2025, 6, 30), pipeline=None),
    Change("p", at(1, 11), "lead", amount=Decimal(10), close_date=date(2025, 3, 31), owner="ann"),
)
RECORDS = (
    Record("q", stage=None, pipeline=None, region="North", account="acme", extracted_at=READ_ON),
    Record("p", stage=None, pipeline=None, extracted_at=READ_ON),
)


def build(bench: WaterfallBench, region_from: str | None) -> LedgerTables:
    book = Book(
        STAGES,
        RECORDS,
        tuple(replace(change, extracted_at=READ_ON) for change in CHANGES),
        (Run(date(2025, 5, 7), READ_ON),),
        RegionSettings(segments_region_from=region_from),
    )
    return bench.build(book, STAGED, TABLES)


@pytest.mark.parametrize(
    ("region_from", "newest", "february"),
    [
        # start, transferred out, transferred in, end
        (None, ("EU", "North"), {"North": (100, 0, 0, 100), "EU": (10, 0, 0, 10)}),
        ("deal", ("(none)", "North"), {"North": (100, 0, 0, 100), "(none)": (10, 0, 0, 10)}),
        ("owner", ("EU", "US"), {"EU": (110, -100, 0, 10), "US": (0, 0, 100, 100)}),
        ("account", ("(none)", "DACH"), {"DACH": (100, 0, 0, 100), "(none)": (10, 0, 0, 10)}),
    ],
)
def test_the_region_is_the_one_that_the_setting_asks_for(
    waterfall_bench: WaterfallBench,
    region_from: str | None,
    newest: tuple[str, str],
    february: dict[str, tuple[int, ...]],
) -> None:
    tables = build(waterfall_bench, region_from)
    by_deal = list(zip(("p", "q"), newest, strict=True))
    assert tables.rows("fct_deals", "deal_id", "region") == by_deal
    assert tables.rows("dim_deal", "deal_id", "coalesce(region, '(none)')") == by_deal
    # q was pushed by Bob
    assert tables.rows("marts.int_close_date_changes", "region") == [newest[1:]]
    told = tables.rows(
        "marts.mart_pipeline_waterfall",
        *("segment", "start_amount", "transferred_out_amount", "transferred_in_amount", "end_amount"),
        where="mode = 'net' and scope = 'rolling' and segment_type = 'region' and period = '2025-02'",
    )
    assert {segment: tuple(map(float, amounts)) for segment, *amounts in told} == february
