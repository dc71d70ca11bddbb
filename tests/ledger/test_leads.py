"""Leads that become deals: one path, the stages of the lead first. Expected values are worked out by hand.

Every test writes its own leads and deals down beside it; all of them are landed and built together.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from tests.ledger.book import FIRST_EXTRACTION, STAGES, Book, Change, Record, Run
from tests.ledger.ledger_bench import DBT_PROJECT, LedgerBench, LedgerTables

CREATED = datetime(2025, 3, 3, 9)
NEXT_NIGHT = FIRST_EXTRACTION + timedelta(days=1)
NAMES = """(
    select lead_key as key, lead_id as id from ledger.int_leads
    union all select deal_key, deal_id from ledger.int_deals
)"""
Told = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """What a test lands: a deal is its id, and the day and stage of each of its moves."""

    leads: Sequence[Told]
    history: Sequence[Told] = ()
    deals: Sequence[tuple[Any, ...]] = ()


CASES: list[Case] = []


def after(days: float) -> datetime:
    return CREATED + timedelta(days=days)


def lead(lead_id: str, deal: str | None = None, stage: str | None = None, **told: Any) -> Told:
    return {"lead_id": lead_id, "deal_id": deal, "stage": stage, "created_at": CREATED, **told}


def moved(lead_id: str, day: float, stage: str, **told: Any) -> Told:
    return {"lead_id": lead_id, "changed_at": after(day), "stage": stage, **told}


def worked(lead_id: str) -> tuple[Told, ...]:
    """New on day 0, Working on day 4, Qualified on day 8."""
    return tuple(moved(lead_id, day, stage) for day, stage in ((0, "New"), (4, "Working"), (8, "Qualified")))


def book(cases: Sequence[Case], as_of: date = date(2025, 12, 31)) -> Book:
    """All that the cases land."""
    deals = [deal for case in cases for deal in case.deals]
    records = [Record(deal, after(moves[0][0])) for deal, *moves in deals]
    changes = [Change(deal, after(day), stage) for deal, *moves in deals for day, stage in moves]
    records.append(Record("merged", after(3), "lead", merged_into="survivor", merged_at=after(11)))
    words = {"source": "business", "entity": "lead_status", "alias": "kein interesse", "name": "disqualified"}
    facts = (
        ("leads", tuple(row for case in cases for row in case.leads)),
        ("lead_history", tuple(row for case in cases for row in case.history)),
        ("aliases", (words,)),
    )
    runs = (Run(as_of, datetime(2026, 1, 1, 1)),)
    return Book(STAGES, tuple(records), tuple(changes), runs=runs, facts=facts)


@pytest.fixture(scope="module")
def tables(bench: LedgerBench, tmp_path_factory: pytest.TempPathFactory) -> LedgerTables:
    return bench.build_landed(book(CASES), tmp_path_factory.mktemp("leads"))


def path(tables: LedgerTables, of: str) -> list[tuple[str, str, float]]:
    """The path named by a deal or lead: whose step it is, the stage, and its day from CREATED on."""
    rows = tables.query(
        "select names.id, steps.to_stage, steps.transitioned_at from ledger.fct_path_steps as steps "
        f"join {NAMES} as names on names.key = if(step_of = 'lead', steps.lead_key, steps.deal_key) "
        f"where path_id = (select key from {NAMES} where id = ?) order by step_number",
        [of],
    )
    return [(who, stage, (at - CREATED) / timedelta(days=1)) for who, stage, at in rows]


def moves(tables: LedgerTables, lead_id: str) -> list[tuple[str, str, float]]:
    """Stage, state and day of the transitions of a lead."""
    columns = ("to_stage", "to_status", "transitioned_at")
    where = f"lead_id = '{lead_id}'"
    rows = tables.rows("fct_lead_transitions", *columns, where=where, order="transition_number")
    return [(stage, status, (at - CREATED) / timedelta(days=1)) for stage, status, at in rows]


def told(tables: LedgerTables, lead_id: str, *columns: str) -> Any:
    return tables.one("fct_leads", *columns, where=f"lead_id = '{lead_id}'")


# -- paths --

CASES.append(
    Case(
        [lead("L1", "D1", "Qualified", converted_at=after(10))],
        [*worked("L1"), moved("L1", 6, "Working")],
        [("D1", (10, "prospect"), (30, "won")), ("alone", (20, "lead"))],
    )
)


def test_t46_the_stages_of_a_lead_precede_those_of_its_deal_on_one_path(tables: LedgerTables) -> None:
    assert path(tables, "D1") == [
        ("L1", "New", 0),
        ("L1", "Working", 4),
        ("L1", "Qualified", 8),
        ("L1", "(converted)", 10),
        ("D1", "prospect", 10),
        ("D1", "won", 30),
    ]
    in_the_ledger = tables.rows("fct_stage_transitions", "distinct path_id", where="deal_id = 'D1'")
    assert in_the_ledger == tables.rows(
        "fct_path_steps",
        "distinct path_id",
        where="lead_key = (select lead_key from ledger.int_leads where lead_id = 'L1')",
    )
    columns = ("status", "days_to_conversion", "deals_won", "days_to_won")
    assert told(tables, "L1", *columns) == ("converted", 10, 1, 30)


def test_t46_a_deal_without_a_lead_starts_at_its_own_stage(tables: LedgerTables) -> None:
    assert path(tables, "alone") == [("alone", "lead", 20)]


CASES.append(Case([lead("open", None, "Qualified")], worked("open")))


def test_a_lead_without_a_deal_is_a_path_of_its_own(tables: LedgerTables) -> None:
    assert path(tables, "open") == [("open", "New", 0), ("open", "Working", 4), ("open", "Qualified", 8)]
    censored = tables.rows("fct_lead_transitions", "to_stage", where="is_censored and lead_id = 'open'")
    assert censored == [("Qualified",)]
    assert told(tables, "open", "status", "converted_on", "deals_became") == ("open", None, 0)


CASES.append(
    Case(
        [lead("both", deal, "New", converted_at=after(10)) for deal in ("second", "first")],
        deals=[("first", (10, "prospect"), (30, "won")), ("second", (20, "lead"))],
    )
)


def test_a_lead_that_became_two_deals_stands_in_both_paths_and_counts_once(tables: LedgerTables) -> None:
    began = [("both", "(open)", 0), ("both", "New", 10)]
    assert path(tables, "first") == [*began, ("first", "prospect", 10), ("first", "won", 30)]
    assert path(tables, "second") == [*began, ("second", "lead", 20)]
    assert told(tables, "both", "deals_became", "deals_won") == (2, 1)
    first = "select deal_id from ledger.fct_leads join ledger.fct_deals using (deal_key) where lead_id = ?"
    assert tables.query(first, ["both"]) == [("first",)]


CASES.append(
    Case(
        [
            lead("L2", "D2", "Working", converted_at=after(10)),
            lead("L3", "D2", "Merged", created_at=after(-2), converted_at=after(9)),
        ],
        [*worked("L2")[:2], moved("L3", -2, "New"), moved("L3", 5, "Merged")],
        [("D2", (10, "prospect"))],
    )
)


def test_two_leads_of_one_deal_precede_it_together_and_it_counts_for_the_first(tables: LedgerTables) -> None:
    assert path(tables, "D2") == [
        ("L3", "New", -2),
        ("L2", "New", 0),
        ("L2", "Working", 4),
        ("L3", "Merged", 5),
        ("L3", "(converted)", 9),
        ("L2", "(converted)", 10),
        ("D2", "prospect", 10),
    ]
    where = "deal_id = 'D2'"
    assert tables.rows("bridge_lead_deal", "lead_id", "lead_number", where=where) == [("L2", 2), ("L3", 1)]


CASES.append(
    Case([lead("L4", "D4", "Qualified", converted_at=after(9))], worked("L4"), [("D4", (5, "lead"))])
)


def test_a_lead_joined_to_a_deal_that_was_there_precedes_it_and_its_later_steps_are_flagged(
    tables: LedgerTables,
) -> None:
    assert [stage for _, stage, _ in path(tables, "D4")] == [
        "New",
        "Working",
        "Qualified",
        "(converted)",
        "lead",
    ]
    flagged = "select to_stage from ledger.fct_path_steps join ledger.int_leads using (lead_key) "
    flagged += "where is_after_deal_start and lead_id = 'L4' order by step_number"
    assert tables.query(flagged) == [("Qualified",), ("(converted)",)]


CASES.append(
    Case(
        [
            lead("again", "earlier", converted_at=after(10)),
            lead("again", "later", converted_at=after(19), extracted_at=NEXT_NIGHT),
        ],
        worked("again"),
        [("earlier", (10, "lead")), ("later", (20, "lead"))],
    )
)


def test_a_lead_converted_again_belongs_to_the_deal_that_its_newest_delivery_names(
    tables: LedgerTables,
) -> None:
    assert path(tables, "earlier") == [("earlier", "lead", 10)]
    assert path(tables, "later")[2:] == [
        ("again", "Qualified", 8),
        ("again", "(converted)", 19),
        ("later", "lead", 20),
    ]


CASES.append(
    Case(
        [lead("L5", "D5", "Nurturing", converted_at=after(8))],
        [*worked("L5"), moved("L5", 9, "Nurturing")],
        [("D5", (8, "lead"))],
    )
)


def test_changes_after_the_conversion_stay_on_the_path_as_converted(tables: LedgerTables) -> None:
    assert moves(tables, "L5")[2:] == [("Qualified", "converted", 8), ("Nurturing", "converted", 9)]


CASES.append(
    Case([lead("L6", "merged", converted_at=after(3))], deals=[("survivor", (10, "prospect"), (30, "won"))])
)


def test_the_leads_of_a_deal_that_was_merged_away_went_where_it_went(tables: LedgerTables) -> None:
    assert [who for who, _, _ in path(tables, "survivor")] == ["L6", "L6", "survivor", "survivor"]
    assert [who for who, _, _ in path(tables, "merged")] == ["merged"]
    assert told(tables, "L6", "deals_won") == 1


# -- when --

CASES.append(Case([lead("L7", "D7", "Qualified", converted_at=datetime(2025, 3, 11))], worked("L7")))


def test_where_only_the_day_of_a_conversion_is_told_its_changes_came_before(tables: LedgerTables) -> None:
    """The lead was qualified on that day, 11 March, at 9 o'clock."""
    assert moves(tables, "L7") == [("New", "open", 0), ("Working", "open", 4), ("Qualified", "converted", 8)]
    assert told(tables, "L7", "converted_on") == date(2025, 3, 11)


CASES.append(
    Case(
        [
            lead("told", "D8", converted_at=after(9)),
            lead("stage", None, "New"),
            lead("deal", "D8"),
            lead("unknown deal", "gone", modified_at=after(12)),
            lead("status", None, status="Converted", modified_at=after(13)),
        ],
        [moved("stage", 7, "Converted")],
        [("D8", (10, "lead"))],
    )
)


@pytest.mark.parametrize(
    ("lead_id", "basis", "day"),
    [
        ("told", "told", 9),
        ("stage", "lead_history", 7),
        ("deal", "deal_created", 10),
        ("unknown deal", "last_seen", 12),
        ("status", "last_seen", 13),
    ],
)
def test_the_conversion_is_dated_by_the_best_that_is_told(
    tables: LedgerTables, lead_id: str, basis: str, day: int
) -> None:
    found = told(tables, lead_id, "status", "conversion_basis", "converted_at", "days_to_conversion")
    assert found == ("converted", basis, after(day), None if basis == "last_seen" else day)


CASES.append(Case([lead("L8", None, "Working"), lead("L9", "D9", "Qualified", converted_at=after(10))]))


def test_a_lead_known_by_its_record_alone_begins_at_its_creation(tables: LedgerTables) -> None:
    assert moves(tables, "L8") == [("Working", "open", 0)]
    assert moves(tables, "L9") == [("(open)", "open", 0), ("Qualified", "converted", 10)]


CASES.append(
    Case(
        [lead("old value", None, "B"), lead("truncated", None, "B"), lead("at once", None, "B")],
        [
            moved("old value", 3, "B", from_stage="A"),
            moved("truncated", 3, "B"),
            moved("at once", 30 / 86400, "B"),
        ],
    )
)


def test_a_history_that_begins_after_the_creation_begins_with_the_stage_left(tables: LedgerTables) -> None:
    assert moves(tables, "old value") == [("A", "open", 0), ("B", "open", 3)]
    assert moves(tables, "truncated") == [("B", "open", 3)]
    assert moves(tables, "at once") == [("B", "open", 0)]


CASES.append(
    Case(
        [
            lead("newer", None, "Called", modified_at=after(9)),
            lead("older", None, "Called", modified_at=after(7)),
        ],
        [*worked("newer"), *worked("older")],
    )
)


def test_a_record_newer_than_the_history_adds_a_move_and_an_older_one_does_not(tables: LedgerTables) -> None:
    assert moves(tables, "newer")[-1] == ("Called", "open", 9)
    assert moves(tables, "older")[1:] == [("Working", "open", 4), ("Qualified", "open", 8)]


CASES.append(
    Case(
        [
            lead("X1", None, "Unqualified"),
            lead("X2", None, "Kein Interesse"),
            lead("X3", None, "New", status="Lost"),
            lead("X4", None, "New", status="KEIN INTERESSE"),
            lead("X5", None, "Called"),
        ],
        [
            moved("X2", 0, "New"),
            moved("X2", 5, "Kein Interesse"),
            moved("X5", 0, "Kein Interesse"),
            moved("X5", 6, "Called"),
        ],
    )
)


def test_a_disqualified_lead_is_known_by_usual_words_or_by_the_businesss_own(tables: LedgerTables) -> None:
    assert moves(tables, "X2") == [("New", "open", 0), ("Kein Interesse", "disqualified", 5)]
    assert tables.rows("fct_leads", "lead_id", "disqualified_on", where="status = 'disqualified'") == [
        ("X1", date(2025, 3, 3)),
        ("X2", date(2025, 3, 8)),
        ("X3", date(2025, 3, 3)),
        ("X4", date(2025, 3, 3)),
    ]
    assert moves(tables, "X5") == [("Kein Interesse", "disqualified", 0), ("Called", "open", 6)]


CASES.append(
    Case(
        [
            lead("said early", "unread", converted_at=after(5)),
            lead("before creation", "unread", converted_at=after(-1)),
            lead("future", None, "New"),
            lead("late history", None, "Called", modified_at=after(9)),
        ],
        [
            moved("said early", 3, "Converted"),
            moved("future", 0, "New"),
            moved("future", 400, "Called"),
            *(row | {"extracted_at": NEXT_NIGHT} for row in worked("late history")),
        ],
    )
)


def test_what_cannot_be_is_set_to_the_nearest_instant_that_can(tables: LedgerTables) -> None:
    """A stage says converted before the day that is told, a conversion precedes creation, a move is ahead."""
    assert moves(tables, "said early") == [("Converted", "open", 3), ("(converted)", "converted", 5)]
    assert moves(tables, "before creation") == [("(open)", "open", 0), ("(converted)", "converted", 0)]
    read_after = (FIRST_EXTRACTION - CREATED) / timedelta(days=1)
    assert moves(tables, "future")[1:] == [("Called", "open", read_after)]


def test_a_history_that_arrives_after_the_record_has_the_last_word(tables: LedgerTables) -> None:
    assert moves(tables, "late history")[-1] == ("Qualified", "open", 8)


# -- builds of their own --


def test_a_late_row_of_a_lead_takes_its_place_and_the_ids_of_the_others_stay(
    tables: LedgerTables, bench: LedgerBench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    row = moved("L1", 6, "Called", extracted_at=NEXT_NIGHT)
    late = Case([lead("L1", "D1", "Qualified", converted_at=after(10))], [*worked("L1"), row])
    columns = ("transition_id", "to_stage", "to_status")
    where = "lead_id = 'L1'"
    before = tables.rows("fct_lead_transitions", *columns, where=where, order="transition_number")
    later = bench.build_landed(book([late]), tmp_path_factory.mktemp("late"))
    since = later.rows("fct_lead_transitions", *columns, order="transition_number")
    assert [stage for _, stage, _ in since] == ["New", "Working", "Called", "Qualified", "(converted)"]
    assert [row for row in since if row[1] != "Called"] == before


def test_on_a_past_day_a_lead_is_what_it_was(
    bench: LedgerBench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    past = bench.build_landed(book(CASES[:1], after(5).date()), tmp_path_factory.mktemp("past"))
    columns = ("lead_id", "stage", "status", "converted_on", "deals_became")
    assert past.rows("fct_leads", *columns) == [("L1", "Working", "open", None, 0)]


def test_no_table_of_deals_reads_leads() -> None:
    """So none of them can change by a row where there are leads; readiness says whether there are any."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (DBT_PROJECT / "models").rglob("*.sql")}
    reads = {name: set(re.findall(r"ref\('(\w+)'\)", text)) for name, text in texts.items()}
    of_leads = {"stg_leads", "stg_lead_events"}
    while more := {name for name, parents in reads.items() if parents & of_leads} - of_leads:
        of_leads |= more
    assert of_leads == {
        "stg_leads",
        "stg_lead_events",
        "bridge_lead_deal",
        "int_leads",
        "fct_lead_transitions",
        "fct_leads",
        "fct_path_steps",
        "mart_lead_conversion",
        "int_source_coverage",
        "mart_data_readiness",
    }
