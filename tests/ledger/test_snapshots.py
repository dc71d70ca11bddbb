"""Repeated exports of the same deals: moves, new values and absences are found by comparing day with day."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import permutations

import pytest

from tests.ledger.book import STAGES, Book, Change, Record, Run, Snapshot
from tests.ledger.ledger_bench import LedgerBench, LedgerTables

RUNS = (Run(date(2025, 3, 31), datetime(2025, 4, 1, 1)),)
OLD = datetime(2025, 1, 7, 9)
MOVE = ("to_stage_id", "transition_type", "transitioned_at", "inference_rule")


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2025, 3, day, hour)


def exported(day: int, *records: Record, **delivery: object) -> Snapshot:
    return Snapshot(date(2025, 3, day), records, **delivery)


def deal(
    stage: str = "lead", created_at: datetime | None = OLD, deal_id: str = "1", **values: object
) -> Record:
    return Record(deal_id, created_at, stage, **values)


def built(bench: LedgerBench, *snapshots: Snapshot, changes: tuple[Change, ...] = ()) -> LedgerTables:
    tables = ("fct_deal_versions", "fct_stage_transitions", "int_stage_visits", "int_deal_absences")
    return bench.build(Book(STAGES, (), changes, snapshots=snapshots, runs=RUNS), tables)


def moves(tables: LedgerTables, *columns: str) -> list[tuple]:
    return tables.rows("fct_stage_transitions", *(columns or MOVE), order="deal_id, transition_number")


def versions(tables: LedgerTables, *columns: str, deal_id: str = "1") -> list[tuple]:
    return tables.rows(
        "fct_deal_versions", "valid_from_at", *columns, where=f"deal_id = '{deal_id}'", order="version_number"
    )


def crowd(*absent: int, of: int = 40) -> tuple[Record, ...]:
    """Deals 1 to `of` in stage lead, created on 7 January, without those named."""
    return tuple(deal(deal_id=str(number)) for number in range(1, of + 1) if number not in absent)


def test_a_move_is_dated_by_the_snapshot_that_first_shows_it(bench: LedgerBench) -> None:
    tables = built(bench, exported(3, deal()), exported(4, deal()), exported(5, deal("opp")))
    assert moves(tables)[-1] == ("opp", "skip", at(5), None)
    assert moves(tables, "change_source", "time_precision", "business_date")[-1] == (
        "snapshot", "day", date(2025, 3, 5),
    )  # fmt: skip


def test_the_first_snapshot_tells_only_that_the_stage_was_entered_by_then(bench: LedgerBench) -> None:
    """The deal was open since its creation, in whatever stage; the visit to lead is no measured duration."""
    tables = built(bench, exported(3, deal()), exported(6, deal("opp")))
    assert moves(tables) == [
        ("(open)", "entry", OLD, "created_at_unrecorded_stage"),
        ("lead", "unknown_stage", at(3), "snapshot_first_seen"),
        ("opp", "skip", at(6), None),
    ]
    assert tables.rows("int_stage_visits", "stage_id", "is_entry_unknown", order="visit_seq") == [
        ("(open)", False),
        ("lead", True),
        ("opp", False),
    ]


def test_without_a_created_date_the_first_snapshot_begins_the_deal_and_a_later_one_dates_it(
    bench: LedgerBench,
) -> None:
    known, new = deal(created_at=None), deal(created_at=None, deal_id="2")
    tables = built(bench, exported(3, known), exported(4, known, new))
    assert moves(tables) == [
        ("lead", "entry", at(3), "snapshot_first_seen"),
        ("lead", "entry", at(4), None),
    ]


@pytest.mark.parametrize(
    ("created_at", "entry"),
    [
        (at(5, 15), [("lead", "entry", at(5, 15), None)]),
        # created in the evening of the 3rd, after the export of that day
        (at(3, 22), [("lead", "entry", at(3, 22), None)]),
        # older than the snapshot before, which lacked it: nobody knows where it was
        (
            at(2, 9),
            [
                ("(open)", "entry", at(2, 9), "created_at_unrecorded_stage"),
                ("lead", "unknown_stage", at(5), "snapshot_first_seen"),
            ],
        ),
    ],
)
def test_a_deal_new_since_the_snapshot_before_is_entered_at_its_creation(
    bench: LedgerBench, created_at: datetime, entry: list[tuple]
) -> None:
    other = deal(deal_id="0", created_at=None)
    tables = built(bench, exported(3, other), exported(5, other, deal(created_at=created_at)))
    assert moves(tables)[1:] == entry


@pytest.mark.parametrize(
    ("values", "closed_at"),
    [
        ({"closed_at": at(5, 16)}, at(5, 16)),
        ({"close_date": date(2025, 3, 5)}, at(5)),
        # told as closed before the last export that showed it open, or in the future: when it was seen
        ({"close_date": date(2025, 2, 20)}, at(6)),
        ({"close_date": date(2025, 9, 1)}, at(6)),
        ({}, at(6)),
    ],
)
def test_a_closing_between_two_snapshots_is_dated_by_what_the_row_says(
    bench: LedgerBench, values: dict, closed_at: datetime
) -> None:
    tables = built(bench, exported(3, deal()), exported(6, deal("won", **values)))
    assert moves(tables)[-1] == ("won", "won", closed_at, None)


def test_a_deal_first_seen_closed_is_dated_by_its_own_dates_as_without_snapshots(bench: LedgerBench) -> None:
    record = deal("won", close_date=date(2025, 2, 3), amount=Decimal(70))
    tables = built(bench, exported(3, record), exported(4, record))
    assert moves(tables) == [
        ("(open)", "entry", OLD, "created_at_unrecorded_stage"),
        ("won", "won", datetime(2025, 2, 3), "closed_at"),
    ]
    assert moves(tables, "to_stage_id", "amount_native")[-1] == ("won", Decimal(70))


def test_a_status_that_closes_is_a_move_and_one_that_opens_again_a_reopening(bench: LedgerBench) -> None:
    tables = built(
        bench,
        exported(3, deal("opp", status="open")),
        exported(4, deal("opp", status="lost")),
        exported(5, deal("opp", status="open")),
    )
    assert moves(tables)[2:] == [("(lost)", "lost", at(4), None), ("opp", "reopen", at(5), None)]


def test_other_values_are_versions_and_no_moves(bench: LedgerBench) -> None:
    first = deal(amount=Decimal(10), close_date=date(2025, 4, 1), owner="ann", forecast_category="pipeline")
    second = replace(first, amount=Decimal(20), close_date=date(2025, 5, 1))
    third = replace(second, owner="bob", forecast_category="commit")
    tables = built(bench, exported(3, first), exported(4, first), exported(5, second), exported(6, third))
    columns = ("amount_native", "close_date", "owner_id", "forecast_category", "push_count_so_far")
    assert versions(tables, *columns) == [
        (OLD, None, None, "ann", None, 0),
        (at(3), Decimal(10), date(2025, 4, 1), "ann", "pipeline", 0),
        (at(5), Decimal(20), date(2025, 5, 1), "ann", "pipeline", 1),
        (at(6), Decimal(20), date(2025, 5, 1), "bob", "commit", 1),
    ]
    assert len(moves(tables)) == 2


def test_a_missing_deal_is_gone_from_that_day_and_never_lost(bench: LedgerBench) -> None:
    tables = built(bench, exported(3, *crowd()), exported(4, *crowd(7)), exported(5, *crowd(7)))
    assert versions(tables, "status", "is_deleted", "deleted_reason", deal_id="7") == [
        (OLD, "open", False, None),
        (at(3), "open", False, None),
        (at(4), "open", True, "vanished"),
    ]
    assert tables.rows("fct_deal_versions", "deal_id", where="is_deleted") == [("7",)]
    assert {row[0] for row in moves(tables, "to_status")} == {"open"}


def test_a_deal_that_comes_back_is_deleted_no_more(bench: LedgerBench) -> None:
    tables = built(bench, exported(3, *crowd()), exported(4, *crowd(7)), exported(6, *crowd()))
    assert versions(tables, "deleted_reason", deal_id="7")[1:] == [
        (at(3), None),
        (at(4), "vanished"),
        (at(6), None),
    ]


@pytest.mark.parametrize(("gone", "believed"), [(2, True), (3, False)])
def test_a_snapshot_without_more_than_one_deal_in_twenty_is_not_whole(
    bench: LedgerBench, gone: int, believed: bool
) -> None:
    """Of 40 deals, 2 are five per cent."""
    tables = built(bench, exported(3, *crowd()), exported(4, *crowd(*range(1, gone + 1))))
    deleted = tables.rows("fct_deal_versions", "deal_id", where="is_deleted")
    assert deleted == ([("1",), ("2",)] if believed else [])


def test_after_a_part_of_an_export_only_deals_still_missing_from_the_whole_one_are_gone(
    bench: LedgerBench,
) -> None:
    tables = built(
        bench,
        exported(3, *crowd()),
        exported(4, *crowd(*range(1, 21))),
        exported(5, *crowd(*range(1, 21))),
        exported(6, *crowd(7)),
    )
    assert tables.rows("fct_deal_versions", "deal_id", "valid_from_at", where="is_deleted") == [("7", at(6))]


def test_a_single_missing_deal_is_gone_however_few_there_are(bench: LedgerBench) -> None:
    tables = built(bench, exported(3, *crowd(of=3)), exported(4, *crowd(2, of=3)))
    assert tables.rows("fct_deal_versions", "deal_id", where="is_deleted") == [("2",)]


def test_a_removal_that_the_record_tells_itself_is_no_vanishing(bench: LedgerBench) -> None:
    deleted = replace(deal(deal_id="41"), deleted_at=at(4, 8))
    tables = built(bench, exported(3, *crowd()), exported(4, *crowd(), deleted), exported(5, *crowd()))
    assert {row[1] for row in versions(tables, "deleted_reason", deal_id="41")} == {None, "deleted"}


def test_any_order_of_arrival_gives_the_same_ledger(bench: LedgerBench) -> None:
    """Three exports, read on three nights in all orders; only when a row could be known may differ."""
    days = (
        (3, (deal(amount=Decimal(10)), deal(deal_id="2"))),
        (4, (deal("opp", amount=Decimal(10)), deal(deal_id="2"))),
        (5, (deal("won", amount=Decimal(30), close_date=date(2025, 3, 5)),)),
    )
    nights = [datetime(2025, 3, 29, 3), datetime(2025, 3, 30, 3), datetime(2025, 3, 31, 3)]
    columns = "deal_id, valid_from_at, stage_id, amount_native, close_date, is_deleted, deleted_reason"
    told = []
    for order in permutations(nights):
        tables = built(
            bench,
            *(
                exported(day, *records, extracted_at=night, is_initial_load=night == nights[0])
                for (day, records), night in zip(days, order, strict=True)
            ),
        )
        told.append((moves(tables, "transition_id", *MOVE), tables.rows("fct_deal_versions", columns)))
    assert told[0][0][-2:] and all(story == told[0] for story in told)
    assert [row[1:] for row in told[0][0]][1:4] == [
        ("lead", "unknown_stage", at(3), "snapshot_first_seen"),
        ("opp", "skip", at(4), None),
        ("won", "won", at(5), None),
    ]


def test_a_snapshot_that_arrives_late_is_known_late(bench: LedgerBench) -> None:
    runs = (Run(date(2025, 3, 5), datetime(2025, 3, 6, 1)), Run(date(2025, 3, 9), datetime(2025, 3, 10, 1)))
    first = exported(3, deal(), extracted_at=datetime(2025, 3, 4, 0, 30))
    late = exported(4, deal("opp"), extracted_at=datetime(2025, 3, 9, 0, 30), is_initial_load=False)
    book = Book(STAGES, snapshots=(first, late), runs=runs)
    tables = bench.build(book)
    assert moves(tables, "business_date", "known_on")[-1] == (date(2025, 3, 4), date(2025, 3, 6))


def test_the_moves_of_a_log_win_and_snapshots_add_the_values_it_does_not_tell(bench: LedgerBench) -> None:
    changes = (Change("1", OLD, "lead"), Change("1", at(4, 10), "opp"))
    tables = built(
        bench,
        exported(3, deal(amount=Decimal(10))),
        exported(5, deal("opp", amount=Decimal(20))),
        exported(6, deal("opp", amount=Decimal(30))),
        changes=changes,
    )
    assert moves(tables, "to_stage_id", "transitioned_at", "change_source") == [
        ("lead", OLD, "history"),
        ("opp", at(4, 10), "history"),
    ]
    assert versions(tables, "stage_id", "amount_native", "amount_asof_quality") == [
        (OLD, "lead", None, "history"),
        (at(3), "lead", Decimal(10), "history"),
        (at(4, 10), "opp", Decimal(10), "history"),
        (at(5), "opp", Decimal(20), "history"),
        (at(6), "opp", Decimal(30), "history"),
    ]


def test_a_deal_closed_before_it_was_seen_has_its_amount_from_the_closing_that_the_log_tells(
    bench: LedgerBench,
) -> None:
    changes = (Change("1", OLD, "lead"), Change("1", datetime(2025, 2, 3, 12), "won"))
    record = deal("won", amount=Decimal(70), close_date=date(2025, 2, 28))
    tables = built(bench, exported(3, record), exported(4, record), changes=changes)
    assert moves(tables, "to_stage_id", "amount_native", "change_source") == [
        ("lead", None, "history"),
        ("won", Decimal(70), "history"),
    ]


def test_deals_of_a_log_that_leave_the_exports_are_gone_as_well(bench: LedgerBench) -> None:
    changes = tuple(Change(str(number), OLD, "lead") for number in range(1, 41))
    tables = built(bench, exported(3, *crowd()), exported(4, *crowd(7)), changes=changes)
    assert tables.rows("fct_deal_versions", "deal_id", "valid_from_at", where="is_deleted") == [("7", at(4))]


def test_one_export_is_a_record_and_no_series(bench: LedgerBench) -> None:
    assert moves(built(bench, exported(3, deal()))) == [("lead", "entry", OLD, "created_at_current_stage")]


def test_days_are_business_days(bench: LedgerBench) -> None:
    """The 5th of March begins in Auckland at 11:00 UTC of the 4th."""
    settings = replace(Book(STAGES).settings, time_zone="Pacific/Auckland")
    snapshots = (exported(4, deal()), exported(5, deal("opp")))
    tables = bench.build(Book(STAGES, snapshots=snapshots, runs=RUNS, settings=settings))
    assert moves(tables)[-1] == ("opp", "skip", at(5) - timedelta(hours=13), None)


def test_changes_are_stored_and_not_days(bench: LedgerBench) -> None:
    """Thirty exports of forty deals in which nothing happens: first and last sighting of each."""
    tables = built(bench, *(exported(day, *crowd()) for day in range(1, 31)))
    assert tables.query("select count(*) from ledger.int_snapshot_changes") == [(80,)]
    assert tables.query("select count(*) from ledger.fct_deal_versions") == [(80,)]
