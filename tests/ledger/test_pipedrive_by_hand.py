"""What Pipedrive tells of single deals, worked out by hand: from its interface to the transitions."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerTables
from tests.ledger.pipedrive_doors import VendorLedger
from tests.simulators.pipedrive_bench import DAY, PipedriveBench

BEGIN = datetime(2026, 3, 2, 9)
NIGHT = date(2026, 3, 31)


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> VendorLedger:
    made = VendorLedger(tmp_path_factory.mktemp("sql"))
    made.compile()
    return made


@pytest.fixture
def read(tmp_path: Path, sql: VendorLedger) -> Callable[[PipedriveBench, int], LedgerTables]:
    """Builds staging and ledger from what the nights since DAY have landed."""

    def build(bench: PipedriveBench, nights: int = 1) -> LedgerTables:
        landed = datetime(2026, 4, 1, 5)
        runs = [Run(NIGHT + timedelta(days=n), landed + timedelta(days=n)) for n in range(nights)]
        return sql.build(bench.root, Book(stages=(), runs=tuple(runs), settings=Settings()))

    return build


def moves(tables: LedgerTables, deal: int) -> list[tuple]:
    return tables.rows(
        "fct_stage_transitions", "transition_type", "to_stage_id", "to_status", "business_date",
        where=f"deal_id = '{deal}'", order="transition_number",
    )  # fmt: skip


def test_won_reopened_lost_is_told_by_the_status_while_the_stage_stays(
    tmp_path: Path, read: Callable[[PipedriveBench, int], LedgerTables]
) -> None:
    bench = PipedriveBench(tmp_path / "landing")
    company = bench.company
    company.add_deal(1, BEGIN, value=Decimal(100))
    company.change(1, BEGIN + timedelta(days=1), stage_id=2)
    company.change(1, BEGIN + timedelta(days=3), status="won")
    company.change(1, BEGIN + timedelta(days=5), status="open", stage_id=1)
    company.change(1, BEGIN + timedelta(days=8), status="lost", value=Decimal(0))
    bench.run()
    bench.server.close()
    tables = read(bench, 1)
    assert moves(tables, 1) == [
        ("entry", "1", "open", date(2026, 3, 2)),
        ("forward", "2", "open", date(2026, 3, 3)),
        ("won", "(won)", "won", date(2026, 3, 5)),
        ("reopen", "1", "open", date(2026, 3, 7)),
        ("lost", "(lost)", "lost", date(2026, 3, 10)),
    ]
    amounts = tables.rows("fct_stage_transitions", "amount_native", order="transition_number")
    assert amounts == [(100,), (100,), (100,), (100,), (0,)]


def test_an_open_deal_that_is_archived_leaves_the_pipeline_and_a_won_one_stays_won(
    tmp_path: Path, read: Callable[[PipedriveBench, int], LedgerTables]
) -> None:
    bench = PipedriveBench(tmp_path / "landing")
    company = bench.company
    for number in (1, 2):
        company.add_deal(number, BEGIN)
    company.change(2, BEGIN + timedelta(days=3), status="won")
    company.archive(1, BEGIN + timedelta(days=10))
    company.archive(2, BEGIN + timedelta(days=10))
    bench.run()
    bench.server.close()
    tables = read(bench, 1)
    assert moves(tables, 1)[-1] == ("closed_other", "(closed_other)", "closed_other", date(2026, 3, 12))
    assert moves(tables, 2)[-1] == ("won", "(won)", "won", date(2026, 3, 5))


def test_deleted_restored_and_vanished_deals_count_once_each_as_what_they_are(
    tmp_path: Path, read: Callable[[PipedriveBench, int], LedgerTables]
) -> None:
    bench = PipedriveBench(tmp_path / "landing")
    company = bench.company
    for number in range(1, 41):
        company.add_deal(number, BEGIN, value=Decimal(10))
    company.delete(1, BEGIN + timedelta(days=20))
    company.delete(2, BEGIN + timedelta(days=20))
    bench.run()
    company.deals[2] |= {"is_deleted": False, "update_time": "2026-04-01T08:00:00Z"}
    del company.deals[3]
    for _ in range(8):  # the list of all ids comes after a week, and counts from the day it is seen
        bench.run(bench.next_night())
    bench.server.close()
    tables = read(bench, 9)
    kept = tables.rows("fct_deals", "deal_id", "is_deleted", "amount_native", "stage_id")
    assert len(kept) == 40
    told = {row[0]: row[1:] for row in kept}
    assert told["1"] == (True, 10, "1") and told["2"] == (False, 10, "1")
    assert told["3"] == (True, 10, "1"), "a tombstone keeps what was known of its deal"
    assert sum(row[1] for row in kept) == 2
    gone_at = tables.rows("fct_deal_versions", "valid_from_at", where="deal_id = '3' and is_deleted")
    assert gone_at[0][0].date() == (DAY + timedelta(days=8)).date()


def test_a_stage_that_was_renamed_and_one_that_is_gone_keep_their_labels(
    tmp_path: Path, read: Callable[[PipedriveBench, int], LedgerTables]
) -> None:
    bench = PipedriveBench(tmp_path / "landing")
    company = bench.company
    company.add_deal(1, BEGIN)
    company.change(1, BEGIN + timedelta(days=1), stage_id=2)
    bench.run()
    company.stages[1]["name"] = "First contact"
    del company.stages[2]
    company.change(1, datetime(2026, 4, 1, 9), stage_id=3)
    bench.run(bench.next_night())
    bench.server.close()
    tables = read(bench, 2)
    labels = dict(tables.rows("dim_stage", "stage_id", "stage", where="source_relation = 'hq'"))
    assert labels == {"1": "First contact", "2": "Offer", "3": "Contract"}
    assert [row[:2] for row in moves(tables, 1)] == [("entry", "1"), ("forward", "2"), ("forward", "3")]


def test_a_deal_touched_again_after_midnight_counts_as_it_stood_when_the_day_ended(
    tmp_path: Path, read: Callable[[PipedriveBench, int], LedgerTables]
) -> None:
    bench = PipedriveBench(tmp_path / "landing")
    company = bench.company
    company.add_deal(1, BEGIN, value=Decimal(100))
    company.change(1, datetime(2026, 3, 31, 14), stage_id=2)
    # The night runs at 04:00 and speaks of 31 March.
    company.change(1, datetime(2026, 4, 1, 1), stage_id=3, value=Decimal(900))
    company.add_deal(2, datetime(2026, 4, 1, 0, 30))
    bench.run()
    bench.server.close()
    tables = read(bench, 1)
    assert tables.rows("fct_deals", "deal_id", "stage_id", "amount_native") == [("1", "2", 100)]
    tables = read(bench, 2)  # the next day's figures, of the same landing
    found = tables.rows("fct_deals", "deal_id", "stage_id", "amount_native", order="deal_id")
    assert found[0] == ("1", "3", 900) and [row[0] for row in found] == ["1", "2"]
