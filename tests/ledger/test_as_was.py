"""What was known then: as-was keeps it, restated does not."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.ledger.book import STAGES, Book, Change, Run
from tests.ledger.ledger_bench import LedgerBench, LedgerTables
from tests.ledger.random_books import FIRST_LOAD, random_book

TABLES = ("fct_deal_versions", "fct_deal_versions_as_was")
COLUMNS = "pipeline_id, stage_id, status, amount_native, close_date, owner_id, is_deleted"
CREATED = datetime(2025, 3, 3, 8)
FIRST_NIGHT = Run(date(2025, 4, 7), datetime(2025, 4, 8, 1))
SECOND_NIGHT = Run(date(2025, 4, 8), datetime(2025, 4, 9, 1))
NIGHTLY: dict[str, Any] = {"extracted_at": datetime(2025, 4, 9), "is_initial_load": False}
TWENTY = settings(
    max_examples=8,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


def restated(tables: LedgerTables, day: date) -> dict[str, tuple[Any, ...]]:
    """Deal → its state at the end of a day, as known now."""
    rows = tables.query(
        f"select deal_key, {COLUMNS} from ledger.fct_deal_versions where valid_from_date <= $1 "
        "and (valid_to_date is null or valid_to_date > $1)",
        [day],
    )
    return {key: tuple(state) for key, *state in rows}


def as_was(tables: LedgerTables, day: date) -> dict[str, tuple[Any, ...]]:
    """Deal → its state at the end of a day, as known that evening."""
    late = {
        key
        for (key,) in tables.query(
            "select distinct deal_key from ledger.fct_deal_versions where has_late_changes"
        )
    }
    states = {key: state for key, state in restated(tables, day).items() if key not in late}
    rows = tables.query(
        f"select deal_key, {COLUMNS} from ledger.fct_deal_versions_as_was where as_was_from <= $1 "
        "and (as_was_to is null or as_was_to > $1)",
        [day],
    )
    return states | {key: tuple(state) for key, *state in rows}


def test_a_late_event_changes_what_is_told_of_a_past_day_and_not_what_was_known_on_it(
    bench: LedgerBench,
) -> None:
    """In the night after 8 April it becomes known that the deal was quoted on 20 March, for 500."""
    on_time = Change("1", CREATED, "lead", amount=Decimal(100), **FIRST_LOAD)
    late = Change("1", datetime(2025, 3, 20, 8), "quote", amount=Decimal(500), **NIGHTLY)
    tables = bench.build(Book(STAGES, (), (on_time, late), (FIRST_NIGHT, SECOND_NIGHT)), TABLES)
    before, after = ("new", "lead", "open", Decimal(100)), ("new", "quote", "open", Decimal(500))
    for day, then, now in (
        (date(2025, 3, 19), before, before),
        (date(2025, 3, 20), before, after),
        (date(2025, 3, 31), before, after),
        (date(2025, 4, 8), after, after),
    ):
        was, is_ = as_was(tables, day), restated(tables, day)
        assert [state[:4] for state in was.values()] == [then], f"as was on {day}"
        assert [state[:4] for state in is_.values()] == [now], f"restated on {day}"


def test_a_late_event_older_than_what_is_known_is_never_shown_as_was(bench: LedgerBench) -> None:
    """Won on 9 March, known at once; a quote of 5 March, told in April, never was the state of an evening."""
    changes = (
        Change("1", CREATED, "lead", amount=Decimal(100), **FIRST_LOAD),
        Change("1", datetime(2025, 3, 9, 8), "won", **FIRST_LOAD),
        Change("1", datetime(2025, 3, 5, 8), "quote", **NIGHTLY),
    )
    tables = bench.build(Book(STAGES, (), changes, (FIRST_NIGHT, SECOND_NIGHT)), TABLES)
    rows = tables.rows("fct_deal_versions_as_was", "as_was_from", "as_was_to", "stage_id", "closed_on")
    assert [row[2] for row in rows] == ["lead", "won", "won"]
    assert {row[3] for row in rows if row[2] == "won"} == {date(2025, 3, 9)}


def by_brute_force(tables: LedgerTables, book: Book, day: date) -> dict[str, tuple[Any, ...]]:
    """For each field the newest by its own time of the rows known by the end of the day."""
    fields = (
        "pipeline_id, stage_id, stage_outcome, status, amount_native, close_date, owner_id, removed_reason"
    )
    zone = ZoneInfo(book.settings.time_zone)
    states: dict[str, dict[str, Any]] = {}
    names = fields.split(", ")
    for key, placed_at, known_on, *values in tables.query(
        f"""
        select d.deal_key, l.placed_at, l.known_on, {", ".join(f"l.{name}" for name in names)}
        from ledger.int_deal_time_line as l join ledger.int_deals as d using (deal_sk)
        order by d.deal_key, l.placed_at, l.line_part, l.recorded_at, l.place_in_instant
        """
    ):
        local = placed_at.replace(tzinfo=ZoneInfo("UTC")).astimezone(zone).date()
        if local <= day and known_on <= day:
            state = states.setdefault(key, dict.fromkeys(names))
            state |= {name: value for name, value in zip(names, values, strict=True) if value is not None}
    expected = {}
    for key, state in states.items():
        if state["stage_id"] is None:
            continue
        closed = ("won", "lost", "closed_other")
        stage, status = state["stage_id"], "open"
        if state["stage_outcome"] in closed:
            status = state["stage_outcome"]
        elif state["status"] in closed:
            stage, status = f"({state['status']})", state["status"]
        told = (state["pipeline_id"], stage, status, state["amount_native"], state["close_date"])
        expected[key] = (*told, state["owner_id"], state["removed_reason"] is not None)
    return expected


@TWENTY
@given(seed=st.integers(0, 2**32), days=st.integers(-2, 300))
@example(seed=80303, days=193)  # removed on the day before its first stage, known much later
def test_as_was_is_what_a_search_among_the_known_rows_finds(bench: LedgerBench, seed: int, days: int) -> None:
    book = random_book(seed)
    tables = bench.build(book, TABLES)
    day = date(2025, 3, 28) + timedelta(days=days)
    told = {
        key: flags
        for key, *flags in tables.query(
            "select deal_key, has_amount, has_close_date, has_owner from ledger.int_deal_starts as s "
            "join ledger.int_deals as d using (deal_sk)"
        )
    }
    found, expected = as_was(tables, day), by_brute_force(tables, book, day)
    assert found.keys() == expected.keys()
    for key, state in expected.items():
        # a field without a history comes from the record alone, by a rule of its own
        has_history = (True, True, True, *told[key], True)
        kept = [value for value, has in zip(state, has_history, strict=True) if has]
        assert [value for value, has in zip(found[key], has_history, strict=True) if has] == kept, key
