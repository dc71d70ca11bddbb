"""Exports of the same deals on their whole way, from the files to the ledger."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.extract.small_business import STAGES, Business
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerBench, LedgerTables

NIGHT = datetime(2026, 4, 2, 1, tzinfo=UTC)
SOURCE = (
    STAGES
    + """\
    deals:
      path: deals*
      columns: {deal_id: ID, stage: Stage, amount: Amount, name: Name}
"""
)


@pytest.fixture
def business(tmp_path: Path) -> Business:
    return Business(tmp_path, source=SOURCE, zone="UTC")


def export(*rows: str, of: int = 0) -> str:
    """A file of these rows, and of so many other deals in stage Meeting."""
    others = [f"X{number},Meeting,1,x" for number in range(of)]
    return "\n".join(["ID,Stage,Amount,Name", *rows, *others]) + "\n"


def ledger(bench: LedgerBench, business: Business, nights: int = 1) -> LedgerTables:
    runs = tuple(
        Run(
            (NIGHT + timedelta(days=night - 1)).date(),
            (NIGHT + timedelta(days=night, hours=1)).replace(tzinfo=None),
        )
        for night in range(nights)
    )
    book = Book(stages=(), runs=runs, settings=Settings(time_zone="UTC"))
    return bench.build_landed(book, business.landing.root)


def versions(tables: LedgerTables, deal: str = "D1") -> list[tuple]:
    columns = ("valid_from_date", "stage_id", "deleted_reason")
    return tables.rows("fct_deal_versions", *columns, where=f"deal_id = '{deal}'", order="version_number")


def test_exports_of_one_night_tell_the_days_in_their_names(bench: LedgerBench, business: Business) -> None:
    business.write("deals_2026-03-30.csv", export("D1,Meeting,5,old"))
    business.write("deals_2026-03-31.csv", export("D1,Offer,5,new"))
    business.extract(now=NIGHT)
    tables = ledger(bench, business)
    assert versions(tables) == [(date(2026, 3, 30), "Meeting", None), (date(2026, 3, 31), "Offer", None)]
    assert tables.one("dim_deal", "deal_name") == "new"


def test_an_older_export_that_arrives_later_changes_nothing_of_today(
    bench: LedgerBench, business: Business
) -> None:
    business.write("deals_2026-03-31.csv", export("D1,Offer,5,new"))
    business.extract(now=NIGHT)
    business.write("deals_2026-03-30.csv", export("D1,Meeting,5,old"))
    business.extract(now=NIGHT + timedelta(days=1))
    tables = ledger(bench, business, nights=2)
    assert versions(tables) == [(date(2026, 3, 30), "Meeting", None), (date(2026, 3, 31), "Offer", None)]
    assert tables.one("dim_deal", "deal_name", "stage") == ("new", "Offer")


def test_one_name_overwritten_every_night_tells_the_eve_of_each(
    bench: LedgerBench, business: Business
) -> None:
    for night, stage in enumerate(("Meeting", "Meeting", "Offer")):
        business.write("deals.csv", export(f"D1,{stage},5,{night}"))
        business.extract(now=NIGHT + timedelta(days=night))
    assert versions(ledger(bench, business, nights=3)) == [
        (date(2026, 4, 1), "Meeting", None),
        (date(2026, 4, 3), "Offer", None),
    ]


def test_an_export_that_equals_the_one_before_shows_its_deals_for_that_day(
    bench: LedgerBench, business: Business
) -> None:
    same = export("D1,Meeting,5,a", of=40)
    business.write("deals_2026-03-29.csv", same)
    business.write("deals_2026-03-30.csv", same)
    business.write("deals_2026-03-31.csv", export(of=40))
    business.extract(now=NIGHT)
    assert versions(ledger(bench, business)) == [
        (date(2026, 3, 29), "Meeting", None),
        (date(2026, 3, 31), "Meeting", "vanished"),
    ]


def test_a_mended_export_takes_the_place_of_the_one_of_its_name(
    bench: LedgerBench, business: Business
) -> None:
    """The file of the 30th first said Offer, then Meeting: the deal never was in Offer before the 31st."""
    business.write("deals_2026-03-30.csv", export("D1,Offer,5,a"))
    business.extract(now=NIGHT)
    business.write("deals_2026-03-30.csv", export("D1,Meeting,5,a"))
    business.write("deals_2026-03-31.csv", export("D1,Offer,5,a"))
    business.extract(now=NIGHT + timedelta(days=1))
    assert versions(ledger(bench, business, nights=2)) == [
        (date(2026, 3, 30), "Meeting", None),
        (date(2026, 3, 31), "Offer", None),
    ]


def test_a_deal_whose_row_is_refused_is_there_all_the_same(bench: LedgerBench, business: Business) -> None:
    business.write("deals_2026-03-30.csv", export("D1,Meeting,5,a", of=40))
    business.write("deals_2026-03-31.csv", export("D1,Meeting,TBD,a", of=40))
    business.extract(now=NIGHT)
    assert versions(ledger(bench, business)) == [(date(2026, 3, 30), "Meeting", None)]


def test_beside_a_refused_row_that_names_no_deal_nothing_is_taken_for_gone(
    bench: LedgerBench, business: Business
) -> None:
    business.write("deals_2026-03-30.csv", export("D1,Meeting,5,a", of=40))
    business.write("deals_2026-03-31.csv", export("D1,Meeting", of=40))
    business.extract(now=NIGHT)
    assert versions(ledger(bench, business)) == [(date(2026, 3, 30), "Meeting", None)]


def test_several_files_make_one_export_and_an_undated_one_stands_until_it_is_replaced(
    bench: LedgerBench, business: Business
) -> None:
    """Of two files read every night one changes; the deals of the other are still there."""
    business.write("deals_north.csv", export("D1,Meeting,5,a"))
    business.write("deals_south.csv", export(of=40))
    business.extract(now=NIGHT)
    business.write("deals_south.csv", export("D2,Meeting,1,b", of=40))
    business.extract(now=NIGHT + timedelta(days=1))
    tables = ledger(bench, business, nights=2)
    assert versions(tables) == [(date(2026, 4, 1), "Meeting", None)]
    assert versions(tables, "D2") == [(date(2026, 4, 2), "Meeting", None)]
