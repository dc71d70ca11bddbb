"""Reps and their deals, worked out by hand: a rep is credited with what was his at the time.

v: Ann's since 20 December, 80, due 31 March; on 25 March pushed to 30 June; open.
x: Ann's since 10 January, 100, due 15 March; Bob's from 1 February, won on 10 March; Cid's from 5 April.
y: Bob's since 15 January; lost on 15 February.
z: Ann's since 1 February, 300, due 30 June; Bob's from 20 April; open.
g: Ann's since 1 January, 70, due 30 June; deleted on 10 April.
Ann and Bob are the team north. Dan has a quota and no deal.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.ledger.book import STAGES, Book, Change, Record, Run
from tests.marts.marts_bench import MartSettings
from tests.marts.waterfall_bench import WaterfallBench

AS_OF = date(2025, 5, 7)
READ_ON = datetime(2025, 5, 8, 1)
OWNERS = [
    ("crm", name, name.title(), None, team, None, "EU", None, None, True)
    for name, team in (("ann", "north"), ("bob", "north"), ("cid", "south"), ("dan", "south"))
]
QUOTAS = [
    ("business", "2025Q1", "owner", name, Decimal(amount), "EUR", None)
    for name, amount in (("Ann", 400), ("Bob", 50), ("Dan", 500))
]


def at(month: int, day: int, year: int = 2025) -> datetime:
    return datetime(year, month, day, 12)


CHANGES = (
    Change("old", at(6, 1, 2023), "lead", owner="ann"),
    Change("old", at(6, 2, 2023), "lost", close_date=date(2023, 6, 2)),
    Change("v", at(12, 20, 2024), "lead", amount=Decimal(80), close_date=date(2025, 3, 31), owner="ann"),
    Change("v", at(3, 25), close_date=date(2025, 6, 30), pipeline=None),
    Change("x", at(1, 10), "lead", amount=Decimal(100), close_date=date(2025, 3, 15), owner="ann"),
    Change("x", at(2, 1), owner="bob", pipeline=None),
    Change("x", at(3, 10), "won", close_date=date(2025, 3, 10)),
    Change("x", at(4, 5), owner="cid", pipeline=None),
    Change("y", at(1, 15), "lead", owner="bob"),
    Change("y", at(2, 15), "lost", close_date=date(2025, 2, 15)),
    Change("z", at(2, 1), "lead", amount=Decimal(300), close_date=date(2025, 6, 30), owner="ann"),
    Change("z", at(4, 20), owner="bob", pipeline=None),
    Change("g", at(1, 1), "lead", amount=Decimal(70), close_date=date(2025, 6, 30), owner="ann"),
)
BOOK = Book(
    STAGES,
    (Record("g", stage=None, pipeline=None, deleted_at=at(4, 10), extracted_at=READ_ON),),
    tuple(replace(change, extracted_at=READ_ON) for change in CHANGES),
    (Run(AS_OF, READ_ON),),
    MartSettings(),
)
Rows = dict[tuple[str, str, str], dict[str, Any]]


def build(bench: WaterfallBench, book: Book) -> Rows:
    """Rows by credit, period and owner."""
    staged = {"stg_quotas": QUOTAS, "stg_owners": OWNERS, "stg_fx_rates": []}
    tables = bench.build(book, staged, ["mart_rep_scorecard"])
    names = [name for name, *_ in tables.query("describe marts.mart_rep_scorecard")]
    rows = [dict(zip(names, values, strict=True)) for values in tables.query("from marts.mart_rep_scorecard")]
    return {(row["credit"], row["period"], row["owner"]): row for row in rows}


@pytest.fixture(scope="module")
def scorecard(waterfall_bench: WaterfallBench) -> Rows:
    return build(waterfall_bench, BOOK)


def of(rows: Rows, credit: str, period: str, owner: str, columns: str) -> tuple[Any, ...]:
    values = (rows[credit, period, owner][name] for name in columns.split(", "))
    return tuple(float(value) if isinstance(value, Decimal) else value for value in values)


@pytest.mark.parametrize(
    ("credit", "period", "owner", "expected"),
    [
        # created, won, lost, won amount, open at the end, its amount
        ("at_the_time", "2025Q1", "Ann", (2, 0, 0, 0, 3, 450)),
        ("at_the_time", "2025Q1", "Bob", (1, 1, 1, 100, 0, 0)),
        ("current_owner", "2025Q1", "Ann", (0, 0, 0, 0, 2, 150)),
        ("current_owner", "2025Q1", "Bob", (2, 0, 1, 0, 1, 300)),
        ("current_owner", "2025Q1", "Cid", (1, 1, 0, 100, 0, 0)),
        ("at_the_time", "2025Q2", "Ann", (0, 0, 0, 0, 1, 80)),
        ("at_the_time", "2025Q2", "Bob", (0, 0, 0, 0, 1, 300)),
    ],
)
def test_a_rep_is_credited_with_what_was_his_at_the_time(
    scorecard: Rows, credit: str, period: str, owner: str, expected: tuple[float, ...]
) -> None:
    """T22. A deal that was deleted later was in the pipeline of then, and is created and won by nobody."""
    columns = "deals_created, deals_won, deals_lost, won_amount, deals_open, open_amount"
    assert of(scorecard, credit, period, owner, columns) == expected


def test_a_rep_who_took_over_a_won_deal_has_no_part_in_it(scorecard: Rows) -> None:
    assert ("at_the_time", "2025Q1", "Cid") not in scorecard


def test_quota_attainment_and_the_coverage_that_the_quarter_began_with(scorecard: Rows) -> None:
    """Due at the start of the quarter: v, 80 of 400. Bob won 100 of 50, Dan nothing of 500."""
    columns = "quota_attainment, due_at_start_amount, pipeline_coverage_start"
    assert of(scorecard, "at_the_time", "2025Q1", "Ann", columns) == (0.0, 80, 0.2)
    assert of(scorecard, "at_the_time", "2025Q1", "Bob", columns)[0] == 2.0
    assert of(scorecard, "at_the_time", "2025Q1", "Dan", "quota_attainment, deals_created, won_amount") == (
        0.0, 0, 0,
    )  # fmt: skip
    assert of(scorecard, "current_owner", "2025Q1", "Bob", "quota_amount, quota_attainment") == (None, None)


def test_a_deal_pushed_out_of_the_quarter_counts_for_who_had_it(scorecard: Rows) -> None:
    columns = "push_rate, push_rate_numerator, push_rate_denominator"
    assert of(scorecard, "at_the_time", "2025Q1", "Ann", columns) == (1.0, 1, 1)


def test_the_median_of_the_team_stands_beside_each_figure(scorecard: Rows) -> None:
    """North won none and one, 0 and 100, and created two and one."""
    columns = "reps_in_team, team_median_deals_won, team_median_won_amount, team_median_deals_created"
    for owner in ("Ann", "Bob"):
        assert of(scorecard, "at_the_time", "2025Q1", owner, columns) == (2, 0.5, 50, 1.5)
    # Dan is alone in his
    assert of(scorecard, "at_the_time", "2025Q1", "Dan", columns) == (1, None, None, None)


def test_without_a_closed_deal_there_is_no_rate_and_with_two_there_is_its_interval(scorecard: Rows) -> None:
    """T45. Wilson for 1 of 2, from the formula with z = 1.96: 0.0945 to 0.9055."""
    columns = "win_rate_count, win_rate_count_denominator, rate_low, rate_high"
    assert of(scorecard, "at_the_time", "2025Q1", "Ann", columns) == (None, 0, None, None)
    rate, closed, low, high = of(scorecard, "at_the_time", "2025Q1", "Bob", columns)
    assert (rate, closed) == (0.5, 2)
    assert (low, high) == pytest.approx((0.0945, 0.9055), abs=5e-5)


def test_hygiene_is_told_where_the_period_reaches_to_as_of_only(scorecard: Rows) -> None:
    assert scorecard["at_the_time", "2025Q1", "Ann"]["hygiene_score"] is None
    assert scorecard["at_the_time", "2025Q2", "Ann"]["hygiene_score_denominator"] > 0
    assert scorecard["at_the_time", "2025-04", "Ann"]["hygiene_score"] is None


def test_a_day_in_the_past_looks_as_it_did_on_that_day(waterfall_bench: WaterfallBench) -> None:
    """What a rep did later is not in the scorecard of then: neither a win, nor who has the deal now."""
    early = date(2025, 3, 20)
    runs = (Run(early, READ_ON),)
    whole = build(waterfall_bench, replace(BOOK, runs=runs, records=()))
    until = tuple(change for change in BOOK.changes if change.changed_at.date() <= early)
    assert build(waterfall_bench, replace(BOOK, runs=runs, records=(), changes=until)) == whole
    assert of(whole, "current_owner", "2025Q1", "Bob", "deals_won, deals_open") == (1, 0)
