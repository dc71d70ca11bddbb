"""Random sales books for the waterfall: deals pushed, pulled, re-priced, handed over, closed and reopened.

Many books share one build, because a build of many costs what one of few does. Each book is a region with
owners and teams of its own, so that its waterfall is that of its region and no other can hide a mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from tests.ledger.book import Book, Change, Record, Run, Settings, Stage, stages_in

FIRST_DAY = date(2025, 1, 27)
AS_OF = date(2025, 5, 7)
BOOKS = 25
DEALS = 8
STAGES = (
    *stages_in("new", "lead", "opp", "nego"),
    Stage("gone", 6, "closed_other", "new"),
    *stages_in("ren", "r1", "r2", won="rwon", lost="rlost"),
)
OPEN = {"new": ("lead", "opp", "nego"), "ren": ("r1", "r2")}
CLOSED = {"new": ("won", "won", "lost", "gone"), "ren": ("rwon", "rlost")}
OWNERS = ("ann", "bob", "eve")
TEAMS = {"ann": "north", "bob": "north", "eve": "south"}
# Rates and amounts whose products are exact in binary, so that no test hangs on rounding.
RATES = (0.5, 0.75, 0.875, 1.0, 1.25, 1.5)


@dataclass(frozen=True)
class RandomPipelines:
    """A book for the bench, rows for staging, and the rates as (currency, first day, rate)."""

    book: Book
    staged: dict[str, Sequence[tuple[Any, ...]]]
    rates: tuple[tuple[str, date, float], ...]


def random_pipelines(seed: int) -> RandomPipelines:
    """Twenty-five books of eight deals; CHF never has a rate, USD has one from some day on."""
    rng = Random(seed)
    records: list[Record] = []
    changes: list[Change] = []
    owners: list[tuple[Any, ...]] = []
    for number in range(BOOKS):
        region = f"book {number:02}"
        for owner in OWNERS:
            name = f"{owner} {number:02}"
            team = f"{TEAMS[owner]} {number:02}"
            owners.append(("crm", name, name, None, team, None, region, None, None, True))
        for deal in range(DEALS):
            deal_id = f"{number:02}-{deal}"
            changes += _changes(rng, deal_id, number)
            records += _records(rng, deal_id, region)
    first = FIRST_DAY + timedelta(days=rng.choice((-30, 0, 20)))
    days = (first, *(first + timedelta(days=rng.randint(1, 90)) for _ in range(rng.randint(2, 12))))
    rates = tuple(("USD", day, rng.choice(RATES)) for day in sorted(set(days)))
    settings = Settings(time_zone=rng.choice(("UTC", "Europe/Amsterdam", "America/Phoenix")))
    runs = (Run(AS_OF, datetime(2026, 1, 1, 1)),)
    staged = {
        "stg_owners": owners,
        "stg_fx_rates": [("business", currency, day, rate, None) for currency, day, rate in rates],
    }
    return RandomPipelines(Book(STAGES, tuple(records), tuple(changes), runs, settings), staged, rates)


def _instant(rng: Random, day: date) -> datetime:
    return datetime.combine(day, datetime.min.time()) + timedelta(hours=rng.choice((1, 9, 12, 23)))


def _changes(rng: Random, deal_id: str, number: int) -> list[Change]:
    """A deal's first row, often an open stage, and up to nine changes, some of them on one day."""
    pipeline = rng.choice(("new", "new", "ren"))
    stage = rng.choice(OPEN[pipeline] * 4 + CLOSED[pipeline])
    at = _instant(rng, FIRST_DAY + timedelta(days=rng.randint(0, 70)))
    currencies = ("EUR", "EUR", "EUR", "USD", "USD", "USD", "CHF")
    close_date = at.date() + timedelta(days=rng.randint(0, 90))
    first = Change(
        deal_id,
        at,
        stage,
        pipeline=pipeline,
        amount=Decimal(rng.randint(0, 40) * 8) if rng.random() < 0.9 else None,
        currency=rng.choice(currencies),
        close_date=close_date if rng.random() < 0.9 else None,
        owner=f"{rng.choice(OWNERS)} {number:02}" if rng.random() < 0.95 else None,
        sequence=0,
    )
    rows = [first]
    for sequence in range(1, rng.randint(1, 10)):
        at += timedelta(hours=rng.choice((1, 2, 8, 24, 24 * 5, 24 * 11, 24 * 30)))
        told: dict[str, Any] = {}
        for kind in rng.sample(
            ("stage", "close", "amount", "date", "owner", "currency", "pipeline"), k=rng.randint(1, 2)
        ):
            if kind == "stage":
                told |= {"stage": rng.choice(OPEN[pipeline]), "pipeline": pipeline}
            elif kind == "close":
                told |= {"stage": rng.choice(CLOSED[pipeline]), "pipeline": pipeline}
            elif kind == "pipeline":
                pipeline = "ren" if pipeline == "new" else "new"
                told |= {"stage": rng.choice(OPEN[pipeline]), "pipeline": pipeline}
            elif kind == "amount":
                told["amount"] = Decimal(rng.randint(0, 40) * 8)
            elif kind == "date":
                told["close_date"] = at.date() + timedelta(days=rng.randint(-20, 100))
            elif kind == "owner":
                told["owner"] = f"{rng.choice(OWNERS)} {number:02}"
            elif kind == "currency":
                told["currency"] = rng.choice(currencies)
        if "stage" in told and told["stage"] in CLOSED[pipeline] and rng.random() < 0.7:
            told["close_date"] = at.date()
        rows.append(Change(deal_id, at, sequence=sequence, **({"pipeline": None} | told)))
    return rows


def _records(rng: Random, deal_id: str, region: str) -> list[Record]:
    """The current record of most deals; some say that the deal was deleted, or merged into another."""
    fate = rng.random()
    if fate > 0.9:
        return []
    gone_at = _instant(rng, FIRST_DAY + timedelta(days=rng.randint(5, 100)))
    return [
        Record(
            deal_id,
            stage=None,
            pipeline=None,
            region=region,
            deleted_at=gone_at if fate < 0.1 else None,
            merged_into="another" if 0.1 <= fate < 0.2 else None,
            merged_at=gone_at if 0.1 <= fate < 0.2 else None,
        )
    ]
