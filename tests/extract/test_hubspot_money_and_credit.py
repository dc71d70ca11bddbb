"""HubSpot's exchange rates and deal splits, from the portal to the ledger."""

from collections.abc import Iterator
from datetime import UTC, date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dagster_project.extract.api.api_report import Status
from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.landing import Landing
from tests.extract.api_bench import DAY
from tests.extract.hubspot_bench import NIGHT, HubSpotBench
from tests.ledger.book import Book, Run
from tests.ledger.deliveries import land
from tests.ledger.ledger_bench import LedgerBench, LedgerTables

EARLY = DAY - timedelta(days=20)
JANUARY, MARCH = date(2026, 1, 1), date(2026, 3, 10)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[HubSpotBench]:
    bench = HubSpotBench(tmp_path / "landing")
    Landing(bench.root).ensure_empty_batches(api_entities())
    yield bench
    bench.server.close()
    assert not bench.server.defects


def build(bench: HubSpotBench, ledger: LedgerBench) -> LedgerTables:
    now = bench.clock.now().astimezone(UTC).replace(tzinfo=None) + timedelta(hours=1)
    runs = (Run(now.date() - timedelta(days=1), now),)
    return ledger.build_folder(Book(stages=(), runs=runs), bench.root)


def put_rates(bench: HubSpotBench, home: str, *rates: tuple[str, float, str]) -> None:
    """Currency, units of `home` for one, first day."""
    bench.portal.exchange_rates = [
        {"id": str(number), "fromCurrencyCode": currency, "toCurrencyCode": home, "conversionRate": rate,
         "effectiveAt": f"{day}T00:00:00Z", "createdAt": f"{day}T00:00:00Z",
         "updatedAt": f"{day}T00:00:00Z", "visibleInUI": True}
        for number, (currency, rate, day) in enumerate(rates, 1)
    ]  # fmt: skip


def spans(tables: LedgerTables, currency: str) -> list[tuple[Any, ...]]:
    columns = ("valid_from_date", "round(rate, 6) as rate")
    return tables.rows("int_fx_rates", *columns, where=f"currency = '{currency}'", order="valid_from_date")


def test_rates_to_the_reporting_currency_are_taken_as_they_are(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    put_rates(bench, "EUR", ("USD", 0.8, "2026-01-01"), ("USD", 0.9, "2026-03-10"))
    bench.deal(1, EARLY, amount="1000", deal_currency_code="USD")
    bench.run()
    tables = build(bench, hubspot_ledger)
    # The first rate stands for the days before it, too.
    assert spans(tables, "USD") == [(date(1900, 1, 1), 0.8), (MARCH, 0.9)]
    assert tables.one("fct_deals", "amount_base") == Decimal("900.000")


def test_rates_to_another_currency_are_crossed(bench: HubSpotBench, hubspot_ledger: LedgerBench) -> None:
    # A pound is 1.50 dollars, a euro 1.25, since 10 March 1.20: a pound is 1.2 euros, then 1.25.
    put_rates(
        bench, "USD", ("GBP", 1.5, "2026-01-01"), ("EUR", 1.25, "2026-01-01"), ("EUR", 1.2, "2026-03-10")
    )
    bench.run()
    tables = build(bench, hubspot_ledger)
    assert spans(tables, "GBP") == [(date(1900, 1, 1), 1.2), (MARCH, 1.25)]
    assert spans(tables, "USD") == [(date(1900, 1, 1), 0.8), (MARCH, round(1 / 1.2, 6))]
    assert spans(tables, "EUR") == [(date(1900, 1, 1), 1)]


def test_a_corrected_rate_is_known_from_the_night_that_read_it(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    put_rates(bench, "EUR", ("USD", 0.8, "2026-01-01"))
    bench.run()
    put_rates(bench, "EUR", ("USD", 0.85, "2026-01-01"))
    bench.run(bench.next_night())
    bench.run(bench.next_night())
    tables = build(bench, hubspot_ledger)
    told = tables.rows("staging.stg_fx_rates", "rate", "recorded_on", where="currency = 'USD'")
    read = (DAY + NIGHT).date()
    assert told == [(0.8, read), (0.85, read + timedelta(days=1))]
    assert spans(tables, "USD") == [(date(1900, 1, 1), 0.85)]


def test_the_business_s_own_rates_win_currency_by_currency(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    put_rates(bench, "EUR", ("USD", 0.8, "2026-01-01"), ("GBP", 1.2, "2026-01-01"))
    bench.run()
    own = {"source": "business", "currency": "usd", "rate_date": JANUARY, "rate": Decimal("0.7"), "file": "r"}
    land(Book(stages=(), facts=(("fx_rates", (own,)),)), bench.root)
    tables = build(bench, hubspot_ledger)
    assert spans(tables, "USD") == [(JANUARY, 0.7)]
    assert spans(tables, "GBP") == [(date(1900, 1, 1), 1.2)]


def test_a_rate_of_more_pages_comes_whole(bench: HubSpotBench) -> None:
    put_rates(bench, "EUR", *((f"C{number:02d}", 1.0, "2026-01-01") for number in range(101)))
    bench.run(entities=["exchange_rates"])
    assert len(set(bench.ids("exchange_rates"))) == 101


def test_splits_are_asked_for_with_the_deals_that_changed_and_go_when_they_are_taken_back(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    bench.deals(150)
    for deal in ("1", "2"):
        bench.deal(int(deal), EARLY, hubspot_owner_id="7")
        bench.portal.splits[deal] = {"7": "0.6", "8": "0.4"}
    bench.run()
    assert len(bench.server.paths("deal-splits")) == 2  # a hundred deals a request
    del bench.portal.splits["2"]
    bench.deal(2, DAY + NIGHT + timedelta(hours=3), amount="5")
    bench.run(bench.next_night())
    assert len(bench.server.paths("deal-splits")) == 3
    tables = build(bench, hubspot_ledger)
    assert tables.rows("staging.stg_deal_splits", "deal_id", "owner_id", "share") == [
        ("1", "7", Decimal("0.6")),
        ("1", "8", Decimal("0.4")),
    ]
    shares = tables.query(
        "select deals.deal_id, owners.owner_id, bridge.share from ledger.bridge_deal_owner as bridge "
        "join ledger.dim_owner as owners using (owner_key) join ledger.fct_deals as deals using (deal_key) "
        "where deals.deal_id in ('1', '2') order by all"
    )
    assert shares == [("1", "7", Decimal("0.6")), ("1", "8", Decimal("0.4")), ("2", "7", 1)]


def test_a_portal_without_splits_or_currencies_goes_without_them(bench: HubSpotBench) -> None:
    bench.deals(2)
    bench.server.refused_scopes = ("deal-splits", "exchange-rates")
    reports = bench.run()
    assert {name for name, report in reports.items() if report.status is Status.SKIPPED} == {
        "deal_splits",
        "exchange_rates",
    }
    assert "add the scope crm.dealsplits.read_write" in reports["deal_splits"].reason
    assert "add the scope settings.currencies.read" in reports["exchange_rates"].reason
