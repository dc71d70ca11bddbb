"""Books by chance: few deals, few instants, so that rows collide, precede creation, repeat and contradict."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from tests.ledger.book import FIRST_EXTRACTION, STAGES, Book, Change, Record, Run, Settings, stages_in

START = datetime(2025, 3, 28, 21, 30)
SECOND_EXTRACTION = datetime(2026, 1, 5, 2)
RUNS = (
    Run(date(2025, 12, 31), datetime(2026, 1, 1, 1)),
    Run(date(2026, 1, 2), datetime(2026, 1, 3, 1)),
    Run(date(2026, 1, 3), datetime(2026, 1, 4, 1)),
    Run(date(2026, 1, 8), datetime(2026, 1, 4, 2), "manual"),
    Run(date(2026, 1, 4), datetime(2026, 1, 5, 3)),
)
# The third pipeline shares stage ids with the first; its stages "opp" and "lead" stand the other way round.
SHARED_STAGES = STAGES + stages_in("alt", "opp", "lead", "deep")
SECONDS = (-86400, -600, 0, 2, 30, 59, 60, 61, 95, 600, 3600, 86400, 86430, 86466, 259200, 2592000, 34560000)
INSTANTS = tuple(START + timedelta(seconds=seconds) for seconds in SECONDS)
STATES = (
    *(("new", stage) for stage in ("lead", "prospect", "opp", "quote", "nego", "won", "lost", "4711")),
    ("ren", "r1"),
    ("ren", "r2"),
    ("ren", "rwon"),
    ("alt", "opp"),
    ("alt", "deep"),
    ("alt", "won"),
)
AMOUNTS = (None, None, Decimal("10"), Decimal("20"), Decimal("0"))
CLOSE_DATES = (None, None, date(2025, 4, 30), date(2025, 6, 30), date(2026, 2, 1))
OWNERS = (None, None, "ann", "bob")
ZONES = ("UTC", "Europe/Amsterdam", "America/Phoenix", "Pacific/Auckland")


@st.composite
def changes_of_a_deal(draw: st.DrawFn, deal_id: str) -> list[Change]:
    """Up to seven rows; old values told truly, told at random, or not at all."""
    instants = sorted(draw(st.lists(st.sampled_from(INSTANTS), max_size=7)))
    old_values = draw(st.sampled_from(("none", "true", "random")))
    has_sequence = draw(st.booleans())
    has_status = draw(st.integers(0, 4)) == 0
    told: list[Change] = []
    state: tuple[str, str] | None = None
    for number, at in enumerate(instants):
        if draw(st.integers(0, 5)) == 0:
            row = Change(deal_id, at, pipeline=None)
        else:
            entered = draw(st.sampled_from(STATES))
            left = {"none": None, "true": state, "random": draw(st.sampled_from((None, *STATES)))}[old_values]
            row = Change(
                deal_id,
                at,
                entered[1],
                left[1] if left else None,
                entered[0],
                left[0] if left else None,
            )
            state = entered
        told.append(
            replace(
                row,
                amount=draw(st.sampled_from(AMOUNTS)),
                close_date=draw(st.sampled_from(CLOSE_DATES)),
                owner=draw(st.sampled_from(OWNERS)),
                status=draw(st.sampled_from((None, "open", "won", "lost"))) if has_status else None,
                sequence=number if has_sequence else None,
                **draw(st.sampled_from(DELIVERED)),
            )
        )
    return told


DELIVERED = (
    {},
    {},
    {"extracted_at": datetime(2026, 1, 3, 2), "is_initial_load": False},
    {"extracted_at": SECOND_EXTRACTION, "is_initial_load": False},
)


@st.composite
def records_of_a_deal(draw: st.DrawFn, deal_id: str) -> list[Record]:
    """None, one or two deliveries of the current record."""
    created_at = draw(st.sampled_from((None, START, START, START + timedelta(seconds=2))))
    found = []
    for number in range(draw(st.sampled_from((0, 1, 1, 1, 2)))):
        pipeline, stage = draw(st.sampled_from((("new", None), (None, None), *STATES)))
        removal = draw(st.integers(0, 9))
        removed_at = draw(st.sampled_from(INSTANTS))
        found.append(
            Record(
                deal_id,
                created_at,
                stage,
                pipeline,
                status=draw(st.sampled_from((None, None, None, "open", "won", "lost"))),
                amount=draw(st.sampled_from(AMOUNTS)),
                close_date=draw(st.sampled_from(CLOSE_DATES)),
                closed_at=draw(st.sampled_from((None, None, *INSTANTS[:-1]))),
                modified_at=draw(st.sampled_from((None, *INSTANTS[2:-1]))),
                owner=draw(st.sampled_from(OWNERS)),
                deleted_at=removed_at if removal == 0 else None,
                merged_into="other" if removal == 1 else None,
                merged_at=removed_at if removal == 1 else None,
                **draw(st.sampled_from(DELIVERED[2:])) if number else {},
            )
        )
    return found


@st.composite
def books(draw: st.DrawFn, most_deals: int = 4) -> Book:
    """One to four deals of two sources, in a business of some time zone."""
    records: list[Record] = []
    changes: list[Change] = []
    for number in range(draw(st.integers(1, most_deals))):
        source = "crm" if number % 3 else "other_crm"
        deal_id = f"deal {number // 2}"
        records += [replace(row, source=source) for row in draw(records_of_a_deal(deal_id))]
        changes += [replace(row, source=source) for row in draw(changes_of_a_deal(deal_id))]
    stages = SHARED_STAGES + tuple(replace(stage, source="other_crm") for stage in SHARED_STAGES)
    settings = Settings(time_zone=draw(st.sampled_from(ZONES)))
    return Book(stages, tuple(records), tuple(changes), RUNS, settings)


def delivered_again(book: Book, rows: list[int]) -> Book:
    """The same book with some rows of the history delivered a second time, later."""
    again = [
        replace(book.changes[index], extracted_at=FIRST_EXTRACTION + timedelta(days=30)) for index in rows
    ]
    return replace(book, changes=(*book.changes, *again))
