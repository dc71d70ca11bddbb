"""Forecast categories day by day, worked out by hand.

a: Ann's since 3 March, 100, due 31 March, "Best Case"; on 10 March "Commit"; Bob's from 20 March, who won it
   on the 25th.
b: Ann's since 5 March, 1000 francs (0.90, from April on 1.10), due 15 June; its stage says pipeline; on
   12 March in quote, which says best case; on 20 April pushed to 10 July.
c: Bob's since 6 March, no amount, due 9 March and never moved; "Most Likely".
d: Bob's since 7 March, 40, no close date, in a stage without a category; deleted on 14 March.
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

AS_OF = date(2026, 5, 15)
READ_ON = datetime(2026, 5, 16, 1)
SAID = {"lead": "Pipeline", "quote": "Best Case"}
MAPPED = tuple(
    replace(stage, forecast_category=SAID.get(stage.stage_id)) if stage.pipeline == "new" else stage
    for stage in STAGES
)
OWNERS = [
    ("crm", name, name.title(), None, team, None, "EU", None, None, True)
    for name, team in (("ann", "north"), ("bob", "south"))
]
RATES = [
    ("business", "CHF", date(2026, 1, 1), Decimal("0.90"), None),
    ("business", "CHF", date(2026, 4, 1), Decimal("1.10"), None),
]


def at(month: int, day: int, year: int = 2026) -> datetime:
    return datetime(year, month, day, 12)


CHANGES = (
    Change("old", at(1, 2, 2025), "lead"),
    Change("old", at(1, 3, 2025), "lost", close_date=date(2025, 1, 3)),
    Change("a", at(3, 3), "lead", amount=Decimal(100), currency="EUR", close_date=date(2026, 3, 31),
           owner="ann", forecast_category="Best Case"),
    Change("a", at(3, 10), forecast_category="Commit", pipeline=None),
    Change("a", at(3, 20), owner="bob", pipeline=None),
    Change("a", at(3, 25), "won", close_date=date(2026, 3, 25)),
    Change("b", at(3, 5), "lead", amount=Decimal(1000), currency="CHF", close_date=date(2026, 6, 15),
           owner="ann"),
    Change("b", at(3, 12), "quote"),
    Change("b", at(4, 20), close_date=date(2026, 7, 10), pipeline=None),
    Change("c", at(3, 6), "lead", close_date=date(2026, 3, 9), owner="bob", forecast_category="Most Likely"),
    Change("d", at(3, 7), "opp", amount=Decimal(40), currency="EUR", owner="bob"),
)  # fmt: skip
BOOK = Book(
    MAPPED,
    (Record("d", stage=None, pipeline=None, deleted_at=at(3, 14), extracted_at=READ_ON),),
    tuple(replace(change, extracted_at=READ_ON) for change in CHANGES),
    (Run(AS_OF, READ_ON),),
    MartSettings(),
)
Day = dict[tuple[str, str], tuple[int, float | None]]


def build(bench: WaterfallBench, book: Book) -> list[dict[str, Any]]:
    staged = {"stg_quotas": [], "stg_owners": OWNERS, "stg_fx_rates": RATES}
    tables = bench.build(book, staged, ["mart_forecast_category_daily"])
    names = [name for name, *_ in tables.query("describe marts.mart_forecast_category_daily")]
    found = tables.query("from marts.mart_forecast_category_daily order by all")
    return [dict(zip(names, values, strict=True)) for values in found]


@pytest.fixture(scope="module")
def rows(waterfall_bench: WaterfallBench) -> list[dict[str, Any]]:
    return build(waterfall_bench, BOOK)


def on(rows: list[dict[str, Any]], day: str, segment: str = "all") -> Day:
    """Deals and amount by category and target quarter."""
    return {
        (row["forecast_category"], row["target_quarter"]): (
            row["deals"],
            None if row["category_amount"] is None else float(row["category_amount"]),
        )
        for row in rows
        if (row["period"], row["segment"]) == (day, segment)
    }


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2026-03-03", {("best_case", "2026Q1"): (1, 100)}),
        ("2026-03-05", {("best_case", "2026Q1"): (1, 100), ("pipeline", "2026Q2"): (1, 900)}),
        (
            "2026-03-07",
            {
                ("best_case", "2026Q1"): (1, 100),
                ("pipeline", "2026Q2"): (1, 900),
                ("most_likely", "2026Q1"): (1, None),  # nobody knows its amount
                ("(none)", "(none)"): (1, 40),
            },
        ),
        (
            "2026-03-12",  # a is called commit since the 10th, b is in quote since today
            {
                ("commit", "2026Q1"): (1, 100),
                ("best_case", "2026Q2"): (1, 900),
                ("most_likely", "2026Q1"): (1, None),
                ("(none)", "(none)"): (1, 40),
            },
        ),
        (
            "2026-03-31",  # a is won, d is gone
            {
                ("closed", "2026Q1"): (1, 100),
                ("best_case", "2026Q2"): (1, 900),
                ("most_likely", "2026Q1"): (1, None),
            },
        ),
        (
            "2026-04-01",  # a new rate; the quarter of a is over; c is past due in the quarter of its date
            {("best_case", "2026Q2"): (1, 1100), ("most_likely", "2026Q1"): (1, None)},
        ),
        ("2026-05-15", {("best_case", "2026Q3"): (1, 1100), ("most_likely", "2026Q1"): (1, None)}),
    ],
)
def test_categories_are_those_of_the_day(rows: list[dict[str, Any]], day: str, expected: Day) -> None:
    assert on(rows, day) == expected


def test_nothing_is_told_of_days_before_the_first_change_and_after_as_of(rows: list[dict[str, Any]]) -> None:
    days = {row["period"] for row in rows if row["segment"] == "all"}
    assert min(days) == "2025-01-02"
    assert "2026-03-02" not in days  # nothing was open, and nothing won
    assert max(days) == "2026-05-15"


def test_an_owner_has_a_deal_while_it_is_his_and_the_win_is_of_the_one_who_closed(
    rows: list[dict[str, Any]],
) -> None:
    """T22. Owners are told at week ends (Sundays) and at the ends of quarters; Bob has a from 20 March on."""
    assert on(rows, "2026-03-15", "Ann") == {
        ("commit", "2026Q1"): (1, 100),
        ("best_case", "2026Q2"): (1, 900),
    }
    assert on(rows, "2026-03-22", "Ann") == {("best_case", "2026Q2"): (1, 900)}
    assert on(rows, "2026-03-22", "Bob") == {
        ("commit", "2026Q1"): (1, 100),
        ("most_likely", "2026Q1"): (1, None),
    }
    assert on(rows, "2026-03-31", "Bob")["closed", "2026Q1"] == (1, 100)
    assert on(rows, "2026-03-17", "Ann") == {}
    assert on(rows, "2026-03-17", "north") == {
        ("commit", "2026Q1"): (1, 100), ("best_case", "2026Q2"): (1, 900),
    }  # fmt: skip


def test_the_target_quarter_is_counted_from_the_quarter_of_the_day(rows: list[dict[str, Any]]) -> None:
    offsets = {
        (row["period"], row["target_quarter"]): row["target_quarter_offset"]
        for row in rows
        if row["segment"] == "all"
    }
    assert offsets["2026-03-12", "2026Q2"] == 1
    assert offsets["2026-04-01", "2026Q2"] == 0
    assert offsets["2026-04-01", "2026Q1"] == -1
    assert offsets["2026-03-12", "(none)"] is None


def test_a_past_day_is_the_same_whatever_happened_since(
    waterfall_bench: WaterfallBench, rows: list[dict[str, Any]]
) -> None:
    """Built as of 17 March, and read from today's build: the same rows of total and teams up to that day."""
    early = date(2026, 3, 17)
    known = tuple(change for change in BOOK.changes if change.changed_at.date() <= early)
    then = build(waterfall_bench, replace(BOOK, changes=known, runs=(Run(early, READ_ON),)))

    def of_days(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [row for row in found if row["period_start"] <= early and row["segment_type"] != "owner"]

    assert of_days(then) == of_days(rows)
    assert of_days(then)
