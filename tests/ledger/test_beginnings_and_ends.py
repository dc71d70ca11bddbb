"""What the history does not say of how a deal began, and what the current record adds at its end."""

from datetime import date, datetime, timedelta
from decimal import Decimal

from tests.ledger.book import STAGES, Book, Change, Record, Stage, stages_in
from tests.ledger.ledger_bench import LedgerBench, LedgerTables

CREATED = datetime(2025, 1, 1, 9)


def after(**time: float) -> datetime:
    return CREATED + timedelta(**time)


def line(tables: LedgerTables, *more: str) -> list[tuple]:
    columns = ("to_stage_id", "transition_type", "transitioned_at", "inference_rule", *more)
    return tables.rows("fct_stage_transitions", *columns, order="deal_id, transition_number")


def test_an_old_value_told_before_creation_still_begins_the_deal(bench: LedgerBench) -> None:
    """T40: the early change goes to creation, and the stage it left comes before it."""
    changes = (Change("1", after(hours=-1), "prospect", "lead", from_pipeline="new"),)
    told = line(bench.build(Book(STAGES, (Record("1", CREATED),), changes)), "is_clamped", "hours")
    assert told == [
        ("lead", "entry", CREATED, "created_at_from_old_value", False, 0.0),
        ("prospect", "forward", CREATED, "clamped", True, None),
    ]


def test_an_old_value_equal_to_the_new_one_says_where_the_deal_began(bench: LedgerBench) -> None:
    """The first row is an amount edit two days after creation: the stage was already the same."""
    changes = (Change("1", after(days=2), "opp", "opp", from_pipeline="new", amount=Decimal(10)),)
    tables = bench.build(Book(STAGES, (Record("1", CREATED),), changes))
    assert line(tables) == [("opp", "entry", CREATED, "created_at_from_old_value")]
    assert tables.rows("fct_deal_versions", "valid_from_at", "amount_native") == [
        (CREATED, None),
        (after(days=2), Decimal(10)),
    ]


def test_history_that_starts_more_than_a_minute_after_creation_is_left_truncated(bench: LedgerBench) -> None:
    """T16, T41: beyond the tolerance nothing is invented; the visit is no completed duration."""
    changes = tuple(
        Change(deal, after(seconds=seconds), "lead") for deal, seconds in (("1", 60), ("2", 61), ("3", 86400))
    )
    records = tuple(Record(deal, CREATED) for deal in "123")
    tables = bench.build(Book(STAGES, records, changes))
    assert line(tables, "is_left_truncated") == [
        ("lead", "entry", CREATED, "created_at_tolerance", False),
        ("lead", "entry", after(seconds=61), None, True),
        ("lead", "entry", after(days=1), None, True),
    ]
    unknown = tables.rows("int_stage_visits", "is_entry_unknown", order="entered_at")
    assert unknown == [(False,), (True,), (True,)]


def test_a_late_entry_that_a_date_column_tells_counts_the_days_in_its_stage_and_is_no_sample(
    bench: LedgerBench,
) -> None:
    """Only the last change of stage is told: when this one was entered is known, what came before is not."""
    entered = after(days=3)
    changes = (
        Change("1", entered, "lead", change_source="date_column"),
        Change("2", entered, "lead"),
    )
    records = tuple(Record(deal, CREATED, stage="lead") for deal in "12")
    tables = bench.build(Book(STAGES, records, changes), ["int_stage_visits", "fct_deals"])
    visits = tables.rows("int_stage_visits", "is_entry_unknown", "is_entry_dated")
    assert sorted(visits) == [(True, False), (True, True)]
    assert tables.rows("fct_deals", "deal_id", "stage_entered_on", "days_in_stage", order="deal_id") == [
        ("1", date(2025, 1, 4), 361),
        ("2", date(2025, 1, 4), None),
    ]


def test_future_changes_count_from_their_extraction_in_recorded_order_and_the_record_comes_last(
    bench: LedgerBench,
) -> None:
    """T40: two changes dated 2030 were extracted on 1 January 2026; the record of that day disagrees."""
    seen = datetime(2026, 1, 1)
    changes = (
        Change("1", CREATED, "lead"),
        Change("1", datetime(2030, 1, 2), "quote"),
        Change("1", datetime(2030, 1, 1), "opp"),
    )
    records = (Record("1", CREATED, "nego", modified_at=seen),)
    told = line(bench.build(Book(STAGES, records, changes)), "is_clamped")
    assert told == [
        ("lead", "entry", CREATED, None, False),
        ("opp", "skip", seen, "clamped", True),
        ("quote", "forward", seen, "clamped", True),
        ("nego", "forward", seen, "current_stage", False),
    ]


def test_a_record_that_names_no_pipeline_does_not_contradict_the_history(bench: LedgerBench) -> None:
    stages = STAGES + stages_in("alt", "lead", "opp")
    changes = (Change("1", CREATED, "lead"), Change("1", after(days=1), "opp"))
    records = (Record("1", CREATED, "opp", pipeline=None, modified_at=after(days=3)),)
    assert [row[0] for row in line(bench.build(Book(stages, records, changes)))] == ["lead", "opp"]


def test_the_record_moves_the_deal_when_it_disagrees_until_the_history_arrives(bench: LedgerBench) -> None:
    record = Record("1", CREATED, "quote", modified_at=after(days=5))
    known = (Change("1", CREATED, "lead"),)
    assert line(bench.build(Book(STAGES, (record,), known)))[1:] == [
        ("quote", "skip", after(days=5), "current_stage")
    ]
    arrived = (*known, Change("1", after(days=4), "quote", "lead", from_pipeline="new"))
    assert line(bench.build(Book(STAGES, (record,), arrived)))[1:] == [("quote", "skip", after(days=4), None)]


def test_won_by_status_while_the_stage_is_open_ends_in_a_virtual_stage(bench: LedgerBench) -> None:
    """T38: the outcome is the status; the terminal move is inferred at the instant the record gives."""
    changes = (Change("1", CREATED, "lead"), Change("1", after(days=2), "quote"))
    won_at = after(days=9)
    records = (Record("1", CREATED, "quote", status="won", closed_at=won_at, modified_at=after(days=20)),)
    tables = bench.build(Book(STAGES, records, changes), ["fct_stage_transitions", "dim_stage"])
    assert line(tables, "to_status", "from_stage_id")[-1] == (
        "(won)",
        "won",
        won_at,
        "closed_at",
        "won",
        "quote",
    )
    assert tables.one("dim_stage", "stage", "is_open", where="stage_id = '(won)'") == ("(won)", False)


def test_amounts_without_history_are_known_from_the_closing_on_and_never_before(bench: LedgerBench) -> None:
    """T16 and the leak rule: the only row, two seconds after creation, is the closing."""
    changes = (Change("1", after(seconds=2), "won"),)
    records = (
        Record(
            "1", CREATED, "won", amount=Decimal(70), close_date=date(2025, 1, 1), modified_at=after(days=30)
        ),
    )
    tables = bench.build(Book(STAGES, records, changes))
    told = tables.rows("fct_stage_transitions", "to_stage_id", "amount_native", "close_date")
    assert told == [("won", Decimal(70), date(2025, 1, 1))]


def test_open_amounts_without_history_hold_from_the_day_the_record_was_read(bench: LedgerBench) -> None:
    changes = (Change("1", CREATED, "lead"), Change("1", after(days=2), "opp"))
    records = (Record("1", CREATED, "opp", amount=Decimal(70), modified_at=after(days=30)),)
    tables = bench.build(Book(STAGES, records, changes))
    assert tables.rows("fct_deal_versions", "valid_from_at", "amount_native", "amount_asof_quality") == [
        (CREATED, None, "none"),
        (after(days=2), None, "none"),
        (after(days=30), Decimal(70), "current_values"),
    ]


def test_stages_told_without_a_pipeline_hold_in_pipelines_that_only_the_history_names(
    bench: LedgerBench,
) -> None:
    stages = (Stage("lead", 1, pipeline=None), Stage("opp", 2, pipeline=None), Stage("won", 3, "won", None))
    changes = (
        Change("1", CREATED, "lead", pipeline="old"),
        Change("1", after(days=1), "opp", pipeline="old"),
        Change("1", after(days=2), "won", pipeline="today"),
    )
    records = (Record("1", CREATED, "won", pipeline="today"),)
    tables = bench.build(Book(stages, records, changes))
    assert [row[1] for row in line(tables)] == ["entry", "forward", "pipeline_switch"]


def test_a_deal_never_moved_begins_at_creation_in_its_current_stage(bench: LedgerBench) -> None:
    tables = bench.build(Book(STAGES, (Record("1", CREATED, "opp", modified_at=after(days=3)),)))
    assert line(tables) == [("opp", "entry", CREATED, "created_at_current_stage")]


def test_a_deal_without_history_and_creation_is_first_seen_on_the_day_its_record_stands_for(
    bench: LedgerBench,
) -> None:
    tables = bench.build(Book(STAGES, (Record("1", None, "opp"),)))
    assert line(tables, "is_left_truncated") == [
        ("opp", "entry", datetime(2025, 12, 31), "snapshot_first_seen", False)
    ]
    assert tables.one("int_stage_visits", "is_entry_unknown") is True
