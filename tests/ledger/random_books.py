"""Books by chance: few instants and stages, so that rows collide, precede creation, repeat and contradict.

A book holds many deals, because deals do not touch each other and one build of many costs what one of few
does. It follows from one number, so a failing test names the number; `only` cuts the book down to the deal.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random

from tests.ledger.book import FIRST_EXTRACTION, STAGES, Book, Change, Record, Run, Settings, stages_in

DEALS = 40
START = datetime(2025, 3, 28, 21, 30)
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
CURRENCIES = (None, None, "EUR", "USD")
OWNERS = (None, None, "ann", "bob")
ZONES = ("UTC", "Europe/Amsterdam", "America/Phoenix", "Pacific/Auckland")
FIRST_LOAD = {"extracted_at": FIRST_EXTRACTION, "is_initial_load": True}
LATE = (
    {"extracted_at": datetime(2026, 1, 3, 2), "is_initial_load": False},
    {"extracted_at": datetime(2026, 1, 5, 2), "is_initial_load": False},
)
DELIVERED = (FIRST_LOAD, FIRST_LOAD, *LATE)


def random_book(seed: int) -> Book:
    """Forty deals of two sources with equal deal ids, in a business of some time zone."""
    rng = Random(seed)
    records: list[Record] = []
    changes: list[Change] = []
    for number in range(DEALS):
        source = ("crm", "other_crm")[number % 2]
        deal_id = f"deal {number // 2:02}"
        records += [replace(row, source=source) for row in _records(rng, deal_id)]
        changes += [replace(row, source=source) for row in _changes(rng, deal_id)]
    stages = SHARED_STAGES + tuple(replace(stage, source="other_crm") for stage in SHARED_STAGES)
    settings = Settings(time_zone=rng.choice(ZONES))
    return Book(stages, tuple(records), tuple(changes), RUNS, settings)


def only(book: Book, deal: tuple[str, str]) -> Book:
    """The book with no other deal than this one (source, deal_id)."""
    return replace(
        book,
        records=tuple(row for row in book.records if (row.source, row.deal_id) == deal),
        changes=tuple(row for row in book.changes if (row.source, row.deal_id) == deal),
    )


def shuffled_and_repeated(book: Book, seed: int) -> Book:
    """The same book: a third of the history delivered once more a month later, all rows in another order."""
    rng = Random(seed)
    later = FIRST_EXTRACTION + timedelta(days=30)
    again = rng.sample(book.changes, k=len(book.changes) // 3)
    rows = [*book.changes, *(replace(row, extracted_at=later, is_initial_load=False) for row in again)]
    return replace(
        book,
        changes=tuple(rng.sample(rows, k=len(rows))),
        records=tuple(rng.sample(book.records, k=len(book.records))),
        stages=tuple(rng.sample(book.stages, k=len(book.stages))),
    )


def late_rows(book: Book, seed: int) -> tuple[Change, ...]:
    """One more stage row for each deal that has any, delivered in the last night."""
    rng = Random(seed)
    rows = []
    for source, deal_id in sorted({(row.source, row.deal_id) for row in book.changes}):
        pipeline, stage = rng.choice(STATES)
        at = rng.choice(INSTANTS)
        rows.append(Change(deal_id, at, stage, pipeline=pipeline, source=source, **LATE[1]))
    return tuple(rows)


def _changes(rng: Random, deal_id: str) -> list[Change]:
    """Up to seven rows; old values told truly, told at random, or not at all."""
    old_values = rng.choice(("none", "true", "random"))
    has_sequence = rng.random() < 0.5
    has_status = rng.random() < 0.2
    currencies = CURRENCIES if rng.random() < 0.5 else (None,)
    told: list[Change] = []
    state: tuple[str, str] | None = None
    for number, at in enumerate(sorted(rng.choices(INSTANTS, k=rng.randint(0, 7)))):
        row = Change(deal_id, at, pipeline=None)
        if rng.random() < 0.83:
            entered = rng.choice(STATES)
            left = {"none": None, "true": state, "random": rng.choice((None, *STATES))}[old_values]
            from_pipeline, from_stage = left or (None, None)
            row = Change(deal_id, at, entered[1], from_stage, entered[0], from_pipeline)
            state = entered
        told.append(
            replace(
                row,
                amount=rng.choice(AMOUNTS),
                currency=rng.choice(currencies),
                close_date=rng.choice(CLOSE_DATES),
                owner=rng.choice(OWNERS),
                status=rng.choice((None, "open", "won", "lost")) if has_status else None,
                sequence=number if has_sequence else None,
                **rng.choice(DELIVERED),
            )
        )
    return told


def _records(rng: Random, deal_id: str) -> list[Record]:
    """None, one or two deliveries of the current record."""
    created_at = rng.choice((None, START, START, START + timedelta(seconds=2)))
    found = []
    for number in range(rng.choice((0, 1, 1, 1, 2))):
        pipeline, stage = rng.choice((("new", None), (None, None), (None, "opp"), *STATES))
        removal = rng.random()
        removed_at = rng.choice(INSTANTS)
        found.append(
            Record(
                deal_id,
                created_at,
                stage,
                pipeline,
                status=rng.choice((None, None, None, "open", "won", "lost")),
                amount=rng.choice(AMOUNTS),
                currency=rng.choice(CURRENCIES),
                close_date=rng.choice(CLOSE_DATES),
                closed_at=rng.choice((None, None, *INSTANTS)),
                modified_at=rng.choice((None, *INSTANTS[2:])),
                owner=rng.choice(OWNERS),
                deleted_at=removed_at if removal < 0.1 else None,
                merged_into="other" if removal > 0.9 else None,
                merged_at=removed_at if removal > 0.9 else None,
                **(LATE[1] if number else rng.choice(DELIVERED[:3])),
            )
        )
    return found
