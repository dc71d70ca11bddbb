"""Changes recorded at one instant: which came first, and when that cannot be known."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise, permutations

import pytest

from tests.ledger.book import STAGES, Book, Change, Record, stages_in
from tests.ledger.ledger_bench import LedgerBench

DAY = datetime(2025, 1, 1, 9)
LATER = DAY + timedelta(days=1)


def moves(bench: LedgerBench, *changes: Change, stages: tuple = STAGES) -> list[tuple]:
    """To-stage and order_uncertain of each transition of a deal created with its first stage."""
    book = Book(stages, (Record("1", DAY),), changes)
    tables = bench.build(book, ["fct_stage_transitions"])
    return tables.rows(
        "fct_stage_transitions", "to_stage_id", "order_uncertain", order="deal_id, transition_number"
    )


def test_a_row_without_a_stage_leaves_nothing_uncertain(bench: LedgerBench) -> None:
    told = moves(bench, Change("1", DAY, "lead"), Change("1", DAY, pipeline=None, amount=Decimal(10)))
    assert told == [("lead", False)]


def test_the_old_values_order_a_loop_that_starts_at_the_state_before(bench: LedgerBench) -> None:
    told = moves(
        bench,
        Change("1", DAY, "prospect"),
        Change("1", LATER, "prospect", "opp"),
        Change("1", LATER, "opp", "prospect"),
    )
    assert told == [("prospect", False), ("opp", False), ("prospect", False)]


def test_a_loop_after_an_instant_that_is_itself_disputed_is_said_to_be_uncertain(bench: LedgerBench) -> None:
    """opp -> quote -> opp or quote -> opp -> quote: where the day before ends is not taken for granted."""
    told = moves(
        bench,
        Change("1", DAY, "opp", "prospect"),
        Change("1", DAY, "prospect", "lead"),
        Change("1", LATER, "opp", "quote"),
        Change("1", LATER, "quote", "opp"),
    )
    assert told[:3] == [("lead", False), ("prospect", False), ("opp", False)]
    assert told[3:] and all(uncertain for _, uncertain in told[3:])


def test_the_row_equal_to_the_state_before_comes_first_where_no_old_value_is_told(bench: LedgerBench) -> None:
    told = moves(
        bench, Change("1", DAY, "quote"), Change("1", LATER, "prospect"), Change("1", LATER, "quote")
    )
    assert [stage for stage, _ in told] == ["quote", "prospect"]


def test_two_old_to_new_walks_fit_and_the_sequence_decides(bench: LedgerBench) -> None:
    """opp -> quote -> opp -> nego -> opp, or nego first: both use every row once."""
    rows = [("quote", "opp", 3), ("opp", "quote", 4), ("nego", "opp", 1), ("opp", "nego", 2)]
    changes = [Change("1", LATER, to, left, sequence=number) for to, left, number in rows]
    told = moves(bench, Change("1", DAY, "opp", sequence=0), *changes)
    assert told == [(stage, False) for stage in ("opp", "nego", "opp", "quote", "opp")]


def test_two_walks_fit_and_nothing_decides_so_the_order_is_uncertain(bench: LedgerBench) -> None:
    rows = [("quote", "opp"), ("opp", "quote"), ("nego", "opp"), ("opp", "nego")]
    changes = [Change("1", LATER, to, left) for to, left in rows]
    expected = moves(bench, Change("1", DAY, "opp"), *changes)
    assert [uncertain for _, uncertain in expected] == [False, True, True, True, True]
    for order in list(permutations(changes))[::5]:
        assert moves(bench, *order, Change("1", DAY, "opp")) == expected


def test_a_closed_stage_comes_after_one_nobody_knows(bench: LedgerBench) -> None:
    told = moves(bench, Change("1", DAY, "lead"), Change("1", LATER, "won"), Change("1", LATER, "4711"))
    assert [stage for stage, _ in told] == ["lead", "4711", "won"]


def test_an_amount_with_a_lower_sequence_holds_when_the_stage_changes(bench: LedgerBench) -> None:
    changes = (
        Change("1", DAY, "lead", amount=Decimal(5), sequence=0),
        Change("1", LATER, pipeline=None, amount=Decimal(10), sequence=1),
        Change("1", LATER, "opp", sequence=2),
        Change("1", LATER, pipeline=None, amount=Decimal(20), sequence=3),
    )
    tables = bench.build(Book(STAGES, (Record("1", DAY),), changes))
    assert tables.rows(
        "fct_stage_transitions", "to_stage_id", "amount_native", order="transition_number"
    ) == [
        ("lead", Decimal(5)),
        ("opp", Decimal(10)),
    ]
    assert tables.one("fct_deal_versions", "amount_native", where="valid_to_at is null") == Decimal(20)


def test_of_two_contents_of_one_change_the_one_delivered_later_holds(bench: LedgerBench) -> None:
    """The amount of a change is corrected downwards in the source and delivered again a month later."""
    told = Change("1", DAY, "lead", amount=Decimal(120), event_id="h1", sequence=1)
    later = datetime(2026, 2, 1)
    corrected = replace(told, amount=Decimal(100), extracted_at=later, is_initial_load=False)
    for changes in ((told, corrected), (corrected, told)):
        tables = bench.build(Book(STAGES, (), changes))
        assert tables.one("fct_stage_transitions", "to_stage_id") == "lead"
        assert tables.one("fct_deal_versions", "amount_native", where="valid_to_at is null") == Decimal(100)


def test_equal_stage_ids_of_two_pipelines_keep_one_order(bench: LedgerBench) -> None:
    """T49: nothing tells which came first, so any answer will do, as long as it is always the same."""
    stages = stages_in("a", "one", "two") + stages_in("b", "one", "two")
    changes = (Change("1", DAY, "one", pipeline="a"), Change("1", DAY, "one", pipeline="b"))
    told = [moves(bench, *order, stages=stages) for order in permutations(changes)]
    assert told[0] == told[1]
    assert [uncertain for _, uncertain in told[0]] == [True, True]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_more_than_six_rows_are_not_walked_but_ordered_and_said_to_be_uncertain(
    bench: LedgerBench, order: tuple[int, ...]
) -> None:
    names = ("lead", "prospect", "opp", "quote", "nego", "won", "lost", "4711")
    rows = [Change("1", DAY, to, left) for left, to in pairwise(names)]
    told = moves(bench, *(rows[index] for index in order), *rows[3:])
    # the rule after the walk: open stages by rank, unknown ones, closed ones
    stages = [stage for stage, _ in told]
    assert stages == ["lead", "prospect", "opp", "quote", "nego", "4711", "won", "lost"]
    assert all(uncertain for _, uncertain in told[1:])
