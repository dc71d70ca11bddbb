"""Why deals were lost: ten closed deals of a quarter, worked out by hand.

Won: three. Lost: two to a competitor, one for its price, one without a decision, one a duplicate. Ended
otherwise: one cancelled project. One more was lost, came back, and is open.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.ledger.book import STAGES, Book, Change, Record, Run, Stage
from tests.marts.marts_bench import MartSettings
from tests.marts.waterfall_bench import WaterfallBench

AS_OF = date(2025, 3, 31)
READ_ON = datetime(2025, 4, 1, 1)
CLOSED = {
    # id: stages with the days spent in them, end, reason, amount, owner
    "w1": ((("lead", 3),), "won", None, 10, "ann"),
    "w2": ((("lead", 3),), "won", None, 10, "ann"),
    "w3": ((("lead", 3),), "won", None, 10, "bob"),
    "c1": ((("lead", 2), ("quote", 6)), "lost", "Lost to Competition", 40, "ann"),
    "c2": ((("lead", 2), ("quote", 10)), "lost", "lost to competition", 20, "bob"),
    "p1": ((("lead", 4),), "lost", "Too expensive", 0, "bob"),
    "n1": ((("lead", 8),), "lost", "No decision", 30, "bob"),
    "d1": ((("lead", 1),), "lost", "Duplicate", 10, "bob"),
    "o1": ((("lead", 1),), "dropped", "Project cancelled", 5, "bob"),
}
OWNERS = [
    ("crm", name, name, None, "north", None, "EU", None, None, True) for name in ("ann", "bob")
]  # fmt: skip
Rows = dict[tuple[str, ...], dict[str, Any]]


def written(**reasons: str | None) -> Book:
    """The deals, with other reasons where `reasons` tells them by deal."""
    records, changes = [], [
        Change("old", datetime(2023, 1, 1), "lead"),
        Change("old", datetime(2023, 1, 2), "lost", close_date=date(2023, 1, 2)),
        Change("back", datetime(2025, 1, 10), "lead", amount=Decimal(99), owner="ann"),
        Change("back", datetime(2025, 1, 20), "lost", close_date=date(2025, 1, 20)),
        Change("back", datetime(2025, 2, 1), "lead", close_date=date(2025, 6, 30)),
    ]  # fmt: skip
    records.append(Record("back", datetime(2025, 1, 10), "lead", lost_reason="Lost to Competition"))
    for deal_id, (path, end, reason, amount, owner) in CLOSED.items():
        at = datetime(2025, 1, 6)
        for stage, days in path:
            changes.append(Change(deal_id, at, stage, amount=Decimal(amount), owner=owner))
            at += timedelta(days=days)
        changes.append(Change(deal_id, at, end, close_date=at.date()))
        told = reasons.get(deal_id, reason)
        records.append(
            Record(
                deal_id, datetime(2025, 1, 6), end, amount=Decimal(amount), close_date=at.date(),
                owner=owner, lost_reason=told, competitor="Acme" if deal_id in ("c1", "w1") else None,
            )
        )  # fmt: skip
    return Book(
        (*STAGES, Stage("dropped", 8, "closed_other")),
        tuple(replace(record, extracted_at=READ_ON) for record in records),
        tuple(replace(change, extracted_at=READ_ON) for change in changes),
        runs=(Run(AS_OF, READ_ON),),
        settings=MartSettings(min_sample=2),
    )


def build(bench: WaterfallBench, book: Book) -> Rows:
    """Rows of 2025Q1 by segment_type, segment, breakdown and item."""
    tables = bench.build(
        book, {"stg_quotas": [], "stg_owners": OWNERS, "stg_fx_rates": []}, ["mart_loss_reasons"]
    )
    names = [name for name, *_ in tables.query("describe marts.mart_loss_reasons")]
    found = [
        dict(zip(names, values, strict=True))
        for values in tables.query("from marts.mart_loss_reasons where period = '2025Q1'")
    ]
    return {tuple(row[key] for key in ("segment_type", "segment", "breakdown", "item")): row for row in found}


@pytest.fixture(scope="module")
def losses(waterfall_bench: WaterfallBench) -> Rows:
    return build(waterfall_bench, written())


def of(rows: Rows, *key: str, columns: str) -> tuple[Any, ...]:
    values = (rows[key][name] for name in columns.split(", "))
    return tuple(float(value) if isinstance(value, Decimal) else value for value in values)


def breakdown(rows: Rows, name: str) -> dict[str, tuple[Any, ...]]:
    columns = "deals_lost, lost_share_rate, lost_amount, median_days_in_stage_lost_at"
    return {key[3]: of(rows, *key, columns=columns) for key in rows if key[:3] == ("total", "all", name)}


def test_each_breakdown_counts_each_loss_once(losses: Rows) -> None:
    """The deal that came back is no loss; the cancelled one is none either; zero is no amount."""
    assert breakdown(losses, "class") == {
        "competitor": (2, 0.4, 60, 8),
        "price": (1, 0.2, None, 4),
        "no_decision": (1, 0.2, 30, 8),
        "disqualified": (1, 0.2, 10, 1),
    }
    assert breakdown(losses, "reason") == {
        "Lost to Competition": (2, 0.4, 60, 8),
        "Too expensive": (1, 0.2, None, 4),
        "No decision": (1, 0.2, 30, 8),
        "Duplicate": (1, 0.2, 10, 1),
    }
    assert breakdown(losses, "stage") == {"quote": (2, 0.4, 60, 8), "lead": (3, 0.6, 40, 4)}
    assert breakdown(losses, "competitor") == {"Acme": (1, 0.2, 40, 6), "(none)": (4, 0.8, 60, 6)}
    assert breakdown(losses, "total") == {"all": (5, 1.0, 100, 6)}


def test_win_rates_by_class_leave_out_what_they_say(losses: Rows) -> None:
    """Narrow: 3 of 3 + 2. Broad: 3 of 3 + 4 lost (the duplicate is no sale) + 1 cancelled."""
    columns = "win_rate_narrow, win_rate_narrow_denominator, win_rate_broad, win_rate_broad_denominator"
    assert of(losses, "total", "all", "total", "all", columns=columns) == (0.6, 5, 0.375, 8)
    assert of(losses, "owner", "ann", "total", "all", columns=columns) == (2 / 3, 3, 2 / 3, 3)
    assert of(losses, "owner", "bob", "class", "price", columns=columns) == (None, None, None, None)


def test_too_many_losses_without_a_class_and_there_is_no_rate_by_class(
    waterfall_bench: WaterfallBench, losses: Rows
) -> None:
    """One of five without a class is as much as may be; two are too many, and said so."""
    columns = "win_rate_narrow, win_rate_null_reason"
    one = build(waterfall_bench, written(p1=None))
    assert of(one, "total", "all", "total", "all", columns=columns) == (0.6, None)
    two = build(waterfall_bench, written(p1=None, n1="The moon"))
    assert of(two, "total", "all", "total", "all", columns=columns) == (None, "losses_not_classified")
    assert of(two, "total", "all", "class", "unknown", columns="deals_lost, lost_share_rate") == (1, 0.2)
    assert of(two, "total", "all", "class", "other", columns="deals_lost, lost_share_rate") == (1, 0.2)


def test_a_rate_of_too_few_is_not_shown_and_its_counts_are(losses: Rows) -> None:
    """T45. Ann lost one deal; two are asked for."""
    columns = "lost_share_rate, lost_share_numerator, lost_share_denominator, sample_too_small"
    assert of(losses, "owner", "ann", "class", "competitor", columns=columns) == (None, 1, 1, True)


def test_a_book_without_amounts_of_lost_deals_has_no_lost_amount(waterfall_bench: WaterfallBench) -> None:
    """T51. A zero is what the CRM wrote when the deal was lost, and no amount of it."""
    book = written()
    lost = {deal_id for deal_id, (_, end, *_) in CLOSED.items() if end == "lost"}
    zeroed = replace(
        book,
        records=tuple(
            replace(record, amount=Decimal(0)) if record.deal_id in lost else record
            for record in book.records
        ),
        changes=tuple(
            replace(change, amount=Decimal(0)) if change.deal_id in lost else change
            for change in book.changes
        ),
    )
    rows = build(waterfall_bench, zeroed)
    columns = "deals_lost, lost_amount, lost_amount_share"
    assert of(rows, "total", "all", "class", "competitor", columns=columns) == (2, None, None)
