"""Salesforce's currencies, dated rates and splits, from the org to the ledger."""

from datetime import UTC, date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.landing import Landing
from tests.extract.api_bench import DAY
from tests.extract.salesforce_bench import EARLIER, SalesforceBench, deal_id
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerBench, LedgerTables
from tests.ledger.salesforce_ledger import ZONE
from tests.simulators.salesforce_org import make_id, stamp

pytestmark = pytest.mark.slow

SINCE_EVER, MARCH = date(1900, 1, 1), date(2026, 3, 10)
OWNERS = (make_id("005", 1), make_id("005", 2))
KINDS = {"Revenue": True, "Overlay": False}


@pytest.fixture
def org(tmp_path: Path) -> SalesforceBench:
    """An org with several currencies whose own is the dollar, and with splits."""
    bench = SalesforceBench(tmp_path / "landing")
    bench.org.absent.clear()
    bench.put_deal(1, EARLIER, CurrencyIsoCode="GBP")
    bench.put_history(1, 1, EARLIER, CurrencyIsoCode="GBP")
    for number, (code, rate) in enumerate({"USD": 1.0, "EUR": 0.8, "GBP": 0.5}.items(), 1):
        put_currency(bench, number, code, rate)
    for number, (name, is_validated) in enumerate(KINDS.items(), 1):
        kind = {"Id": make_id("149", number), "DeveloperName": name, "MasterLabel": name, "IsActive": True,
                "IsTotalValidated": is_validated, "SplitField": "Amount"}  # fmt: skip
        bench.org.put("OpportunitySplitType", kind)
    return bench


def put_currency(bench: SalesforceBench, number: int, code: str, rate: float) -> None:
    row = {"Id": make_id("01L", number), "IsoCode": code, "ConversionRate": rate,
           "IsCorporate": code == "USD", "IsActive": True, "DecimalPlaces": 2,
           "SystemModstamp": stamp(bench.clock.now())}  # fmt: skip
    bench.org.put("CurrencyType", row)


def put_dated(bench: SalesforceBench, number: int, code: str, rate: float, start: str) -> None:
    row = {"Id": make_id("04w", number), "IsoCode": code, "ConversionRate": rate, "StartDate": start}
    bench.org.put("DatedConversionRate", row)


def put_split(bench: SalesforceBench, number: int, owner: str, percent: float, kind: int = 1) -> None:
    row = {"Id": make_id("1CE", number), "OpportunityId": deal_id(1), "SplitOwnerId": owner,
           "SplitPercentage": percent, "SplitAmount": percent * 10, "SplitTypeId": make_id("149", kind),
           "SystemModstamp": stamp(bench.clock.now() - timedelta(hours=5))}  # fmt: skip
    bench.org.put("OpportunitySplit", row)


def built(bench: SalesforceBench, ledger: LedgerBench) -> LedgerTables:
    bench.server.close()
    Landing(bench.root).ensure_empty_batches(api_entities())
    seen = bench.clock.now().astimezone(UTC).replace(tzinfo=None) + timedelta(hours=1)
    runs = (Run(seen.date() - timedelta(days=1), seen),)
    return ledger.build_folder(Book((), runs=runs, settings=Settings(time_zone=ZONE)), bench.root)


def spans(tables: LedgerTables, currency: str) -> list[tuple[Any, ...]]:
    columns = ("valid_from_date", "round(rate, 6) as rate")
    return tables.rows("int_fx_rates", *columns, where=f"currency = '{currency}'", order="valid_from_date")


def test_a_conversion_rate_is_turned_round_and_crossed(
    org: SalesforceBench, vendor_ledger: LedgerBench
) -> None:
    # A dollar buys 0.80 euros or half a pound: a dollar is 0.80 euros, a pound is two dollars or 1.60 euros.
    org.run()
    tables = built(org, vendor_ledger)
    assert spans(tables, "USD") == [(SINCE_EVER, 0.8)]
    assert spans(tables, "GBP") == [(SINCE_EVER, 1.6)]
    assert tables.one("fct_deals", "amount_base") == Decimal("1600.000")


def test_a_changed_rate_counts_from_the_day_of_its_change(
    org: SalesforceBench, vendor_ledger: LedgerBench
) -> None:
    org.run()
    org.clock.passed += 24 * 3600
    put_currency(org, 3, "GBP", 0.4)
    org.clock.passed -= 24 * 3600
    org.night()
    tables = built(org, vendor_ledger)
    changed = (DAY + timedelta(days=2)).date()
    assert spans(tables, "GBP") == [(SINCE_EVER, 1.6), (changed, 2.0)]


def test_dated_rates_stand_before_undated_ones(org: SalesforceBench, vendor_ledger: LedgerBench) -> None:
    put_dated(org, 1, "EUR", 0.75, "2026-01-01")
    put_dated(org, 2, "EUR", 1.0, "2026-03-10")
    put_dated(org, 3, "GBP", 0.5, "2026-01-01")
    org.run()
    tables = built(org, vendor_ledger)
    assert spans(tables, "USD") == [(SINCE_EVER, 0.75), (MARCH, 1.0)]
    assert spans(tables, "GBP") == [(SINCE_EVER, 1.5), (MARCH, 2.0)]


def test_revenue_splits_share_the_deal_and_overlay_does_not(
    org: SalesforceBench, vendor_ledger: LedgerBench
) -> None:
    put_split(org, 1, OWNERS[0], 70.0)
    put_split(org, 2, OWNERS[1], 30.0)
    put_split(org, 3, OWNERS[1], 100.0, kind=2)
    org.run()
    tables = built(org, vendor_ledger)
    told = tables.rows("staging.stg_deal_splits", "owner_id", "share", "amount_native", "split_type")
    assert told == [
        (OWNERS[0], Decimal("0.7"), 700, "revenue"),
        (OWNERS[1], Decimal("0.3"), 300, "revenue"),
        (OWNERS[1], 1, 1000, "overlay"),
    ]
    shares = "select owner_id, share from ledger.bridge_deal_owner join ledger.dim_owner using (owner_key)"
    assert tables.query(f"{shares} order by all") == [
        (OWNERS[0], Decimal("0.7")),
        (OWNERS[1], Decimal("0.3")),
    ]


def test_a_split_that_is_deleted_goes_back_to_the_owner(
    org: SalesforceBench, vendor_ledger: LedgerBench
) -> None:
    put_split(org, 1, OWNERS[1], 30.0)
    org.run()
    org.org.delete("OpportunitySplit", make_id("1CE", 1), org.clock.now() + timedelta(hours=2))
    org.night()
    tables = built(org, vendor_ledger)
    assert tables.rows("bridge_deal_owner", "share", "residual_share", "is_split") == [(1, 1, False)]
