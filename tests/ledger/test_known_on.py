"""From which day on a row could be known: the day after the last nightly run that lacked it."""

from dataclasses import replace
from datetime import date, datetime

from tests.ledger.book import STAGES, Book, Change, Record, Run
from tests.ledger.ledger_bench import LedgerBench

CREATED = datetime(2025, 3, 3, 9)
# The nights after 9, 10 and 11 March; by hand on the 10th someone looked at the end of the year.
RUNS = (
    Run(date(2025, 3, 9), datetime(2025, 3, 10, 1)),
    Run(date(2025, 12, 31), datetime(2025, 3, 10, 14), "manual"),
    Run(date(2025, 3, 10), datetime(2025, 3, 11, 1)),
    Run(date(2025, 3, 11), datetime(2025, 3, 12, 1)),
)
FIRST_LOAD = {"extracted_at": datetime(2025, 3, 10, 0, 30), "is_initial_load": True}


def nightly(day: int) -> dict:
    return {"extracted_at": datetime(2025, 3, day, 0, 30), "is_initial_load": False}


def known(bench: LedgerBench, changes: tuple = (), records: tuple = ()) -> list[tuple]:
    tables = bench.build(Book(STAGES, records, changes, RUNS))
    return tables.rows(
        "fct_stage_transitions", "to_stage_id", "business_date", "known_on", order="transition_number"
    )


def test_rows_of_the_first_load_were_known_on_their_day(bench: LedgerBench) -> None:
    changes = (Change("1", CREATED, "lead", **FIRST_LOAD),)
    assert known(bench, changes) == [("lead", date(2025, 3, 3), date(2025, 3, 3))]


def test_a_row_of_last_night_was_known_on_its_day(bench: LedgerBench) -> None:
    """A change of 11 March, extracted in the night after: the run for the 10th lacked it."""
    changes = (
        Change("1", CREATED, "lead", **FIRST_LOAD),
        Change("1", datetime(2025, 3, 11, 15), "opp", **nightly(12)),
    )
    assert known(bench, changes)[1] == ("opp", date(2025, 3, 11), date(2025, 3, 11))


def test_a_late_row_is_known_the_day_after_the_last_nightly_run_without_it(bench: LedgerBench) -> None:
    """Dated 5 March, extracted in the night after the 11th: readers of the 10th did not have it."""
    changes = (
        Change("1", CREATED, "lead", **FIRST_LOAD),
        Change("1", datetime(2025, 3, 5, 15), "opp", **nightly(12)),
    )
    assert known(bench, changes)[1] == ("opp", date(2025, 3, 5), date(2025, 3, 11))


def test_a_late_row_delivered_again_keeps_the_day_of_its_first_delivery(bench: LedgerBench) -> None:
    late = Change("1", datetime(2025, 3, 5, 15), "opp", **nightly(11))
    changes = (Change("1", CREATED, "lead", **FIRST_LOAD), late, replace(late, **nightly(12)))
    assert known(bench, changes)[1] == ("opp", date(2025, 3, 5), date(2025, 3, 10))


def test_a_deal_that_arrives_late_without_history_was_not_known_before(bench: LedgerBench) -> None:
    """Created on 3 March, never moved, first delivered in the night after the 11th."""
    records = (Record("1", CREATED, "opp", modified_at=CREATED, **nightly(12)),)
    assert known(bench, records=records) == [("opp", date(2025, 3, 3), date(2025, 3, 11))]


def test_a_later_edit_of_the_record_does_not_make_the_deal_unknown(bench: LedgerBench) -> None:
    first = Record("1", CREATED, "opp", name="A", modified_at=CREATED, **FIRST_LOAD)
    edited = replace(first, name="B", modified_at=datetime(2025, 3, 11, 12), **nightly(12))
    assert known(bench, records=(first, edited)) == [("opp", date(2025, 3, 3), date(2025, 3, 3))]


def test_a_move_inferred_from_the_record_is_known_when_that_record_is(bench: LedgerBench) -> None:
    """The record says quote since 5 March, but said so first in the night after the 11th."""
    changes = (Change("1", CREATED, "lead", **FIRST_LOAD),)
    records = (
        Record("1", CREATED, "lead", modified_at=CREATED, **FIRST_LOAD),
        Record("1", CREATED, "quote", modified_at=datetime(2025, 3, 5, 8), **nightly(12)),
    )
    assert known(bench, changes, records)[1] == ("quote", date(2025, 3, 5), date(2025, 3, 11))


def test_an_entry_told_by_a_late_old_value_is_known_with_that_row(bench: LedgerBench) -> None:
    changes = (Change("1", datetime(2025, 3, 5), "opp", "lead", from_pipeline="new", **nightly(12)),)
    records = (Record("1", CREATED, "opp", modified_at=CREATED, **FIRST_LOAD),)
    assert known(bench, changes, records) == [
        ("lead", date(2025, 3, 3), date(2025, 3, 11)),
        ("opp", date(2025, 3, 5), date(2025, 3, 11)),
    ]


def test_the_first_load_is_called_reconstructed_and_what_came_after_history(bench: LedgerBench) -> None:
    changes = (
        Change("1", CREATED, "lead", **FIRST_LOAD),
        Change("1", datetime(2025, 3, 5, 15), "opp", **nightly(12)),
    )
    tables = bench.build(Book(STAGES, (), changes, RUNS))
    columns = ("stage_id", "asof_quality", "has_late_changes")
    assert tables.rows("fct_deal_versions", *columns, order="version_number") == [
        ("lead", "reconstructed", True),
        ("opp", "history", True),
    ]
