"""Deals as of a past day are the deals of a landing that ends with that day: nothing later shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from tests.ledger.book import STAGES, Book, Change, Record, Run, Settings
from tests.ledger.ledger_bench import LedgerBench
from tests.ledger.reference import Reference

FIRST_DAY = datetime(2025, 1, 1, 4)
STAGE_NAMES = ("lead", "prospect", "opp", "quote", "nego", "won", "lost")


def complete_book(seed: int) -> Book:
    """Deals whose history tells everything from creation on: stage, amount, close date, owner, category."""
    rng = Random(seed)
    records: list[Record] = []
    changes: list[Change] = []
    for number in range(60):
        deal_id = f"deal {number:02}"
        at = FIRST_DAY + timedelta(hours=rng.randint(0, 24 * 80))
        created_at = at
        for step in range(rng.randint(1, 7)):
            only_values = step > 0 and rng.random() < 0.3
            changes.append(
                Change(
                    deal_id,
                    at,
                    None if only_values else rng.choice(STAGE_NAMES),
                    pipeline=None if only_values else "new",
                    amount=Decimal(rng.randint(0, 9)) if step == 0 or rng.random() < 0.4 else None,
                    currency="EUR",
                    close_date=date(2025, rng.randint(1, 12), 15)
                    if step == 0 or rng.random() < 0.4
                    else None,
                    owner=rng.choice(("ann", "bob")) if step == 0 or rng.random() < 0.2 else None,
                    forecast_category=rng.choice(("commit", "pipeline")) if step == 0 else None,
                    probability=rng.choice((0.1, 0.5)) if step == 0 else None,
                )
            )
            at += timedelta(minutes=rng.choice((0, 1, 30, 600, 3000, 20000)), seconds=rng.randint(0, 30))
        removal = rng.random()
        records.append(
            Record(
                deal_id,
                created_at,
                currency="EUR",
                deleted_at=at if removal < 0.15 else None,
                merged_into="deal 00" if removal > 0.9 else None,
                merged_at=at if removal > 0.9 else None,
            )
        )
    settings = Settings(time_zone="Europe/Amsterdam")
    return Book(STAGES, tuple(records), tuple(changes), (), settings)


def ended_with(book: Book, day: date) -> Book:
    """The book as the CRM would have told it at the end of a business day."""
    on = Reference(book).business_date
    records = []
    for row in book.records:
        if on(row.created_at) > day:
            continue
        if row.deleted_at is not None and on(row.deleted_at) > day:
            row = replace(row, deleted_at=None)
        if row.merged_at is not None and on(row.merged_at) > day:
            row = replace(row, merged_at=None, merged_into=None)
        records.append(row)
    changes = tuple(row for row in book.changes if on(row.changed_at) <= day)
    return replace(book, records=tuple(records), changes=changes)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("day", [date(2025, 1, 20), date(2025, 2, 28), date(2025, 3, 30)])
def test_deals_as_of_a_day_are_those_of_a_landing_cut_at_that_day(
    bench: LedgerBench, seed: int, day: date
) -> None:
    book = replace(complete_book(seed), runs=(Run(day, datetime(2026, 1, 1, 1)),))
    whole = bench.build(book, ["fct_deals"]).rows("fct_deals", "*")
    cut = bench.build(ended_with(book, day), ["fct_deals"]).rows("fct_deals", "*")
    assert len(cut) > 5
    assert whole == cut
