"""Generation, slippage, coverage and restatements of a book of seven deals, worked out by hand.

one:    created 10 January for 100, due 15 February; on 20 February pushed to 10 April; qualified on 5 April
        at 120; won on 20 April.
two:    created qualified on 20 December for 200 by ann, due 15 March; bob's from 1 February; won on 10 March.
three:  created 21 December for 50, due 31 March; on 15 April pushed to 30 June; open.
four:   created 10 April for 300, due 15 June; open.
five:   created 22 December for 70, due 31 January; deleted on 10 February.
old:    lost in June 2023, so that history is whole from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.ledger.book import STAGES, Book, Change, Record, Run
from tests.ledger.ledger_bench import LedgerTables
from tests.marts.marts_bench import MartSettings
from tests.marts.waterfall_bench import OUTLOOK_TABLES, WaterfallBench

AS_OF = date(2025, 5, 7)
LANDED = datetime(2026, 1, 1, 1)
QUOTAS = [("business", "2025Q2", "total", "all", Decimal(1000), "EUR", None)]
OWNERS = [
    ("crm", "ann", "ann", None, "north", None, "EU", None, None, True),
    ("crm", "bob", "bob", None, "south", None, "EU", None, None, True),
]


def at(month: int, day: int, year: int = 2025) -> datetime:
    return datetime(year, month, day, 12)


CHANGES = (
    Change("old", at(6, 1, 2023), "lead", amount=Decimal(9), close_date=date(2023, 6, 10), owner="ann"),
    Change("old", at(6, 10, 2023), "lost"),
    Change("one", at(1, 10), "lead", amount=Decimal(100), close_date=date(2025, 2, 15), owner="ann"),
    Change("one", at(2, 20), close_date=date(2025, 4, 10), pipeline=None),
    Change("one", at(4, 5), "opp", amount=Decimal(120)),
    Change("one", at(4, 20), "won", close_date=date(2025, 4, 20)),
    Change("two", at(12, 20, 2024), "opp", amount=Decimal(200), close_date=date(2025, 3, 15), owner="ann"),
    Change("two", at(2, 1), owner="bob", pipeline=None),
    Change("two", at(3, 10), "won", close_date=date(2025, 3, 10)),
    Change("three", at(12, 21, 2024), "lead", amount=Decimal(50), close_date=date(2025, 3, 31), owner="bob"),
    Change("three", at(4, 15), close_date=date(2025, 6, 30), pipeline=None),
    Change("four", at(4, 10), "lead", amount=Decimal(300), close_date=date(2025, 6, 15), owner="ann"),
    Change("five", at(12, 22, 2024), "lead", amount=Decimal(70), close_date=date(2025, 1, 31), owner="ann"),
)
RECORDS = (Record("five", stage=None, pipeline=None, deleted_at=at(2, 10)),)
BOOK = Book(STAGES, RECORDS, CHANGES, (Run(AS_OF, LANDED),), MartSettings(qualified_stage="opp"))


@pytest.fixture
def outlook(waterfall_bench: WaterfallBench) -> LedgerTables:
    staged: dict[str, Sequence[tuple[Any, ...]]] = {
        "stg_quotas": QUOTAS,
        "stg_owners": OWNERS,
        "stg_fx_rates": [],
    }
    return waterfall_bench.build(BOOK, staged, OUTLOOK_TABLES)


def row(tables: LedgerTables, mart: str, columns: str, **where: str) -> tuple[Any, ...]:
    conditions = " and ".join(f"{name} = '{value}'" for name, value in where.items())
    found = tables.query(f"select {columns} from marts.{mart} where {conditions}")
    assert len(found) == 1, found
    return tuple(float(value) if isinstance(value, Decimal) else value for value in found[0])


def test_pushed_slipped_and_past_due_are_three_columns(outlook: LedgerTables) -> None:
    """Due in Q1 at its start: two and three (five was deleted); three is still open at its end."""
    columns = "deals_start, deals_start_pushed, deals_start_past_due, deals_start_slipped, slip_rate_start"
    amounts = "start_amount, start_slipped_amount, slip_rate_start_amount"
    any_columns = "deals_any, deals_any_pushed, deals_any_slipped, slip_rate_any"
    total = {"period": "2025Q1", "segment_type": "total"}
    assert row(outlook, "mart_close_date_slippage", columns, **total) == (2, 0, 0, 1, 0.5)
    assert row(outlook, "mart_close_date_slippage", amounts, **total) == (250, 50, 0.2)
    # one was due in it for a while, was pushed beyond it, and is still open
    assert row(outlook, "mart_close_date_slippage", any_columns, **total) == (3, 1, 2, pytest.approx(2 / 3))


def test_pushes_are_counted_when_the_date_moves_by_date_and_by_period(outlook: LedgerTables) -> None:
    columns = "date_pushes, period_pushes, deals_with_push, date_pulls, days_pushed"
    for period, expected in (
        ("2025Q1", (1, 1, 1, 0, 54)),
        ("2025-02", (1, 1, 1, 0, 54)),
        ("2025Q2", (1, 1, 1, 0, 91)),
        ("2024Q4", (0, 0, 0, 0, 0)),
    ):
        assert (
            row(outlook, "mart_close_date_slippage", columns, period=period, segment_type="total") == expected
        )


def test_a_running_period_has_no_slip_rate_yet(outlook: LedgerTables) -> None:
    columns = "deals_start_slipped, slip_rate_start, slip_rate_any, is_complete_period"
    assert row(outlook, "mart_close_date_slippage", columns, period="2025Q2", segment_type="total") == (
        None,
        None,
        None,
        False,
    )


def test_a_deal_that_was_due_counts_for_who_had_it_at_the_start(outlook: LedgerTables) -> None:
    columns = "deals_start, deals_start_slipped"
    for owner, expected in (("ann", (1, 0)), ("bob", (1, 1))):
        where = {"period": "2025Q1", "segment_type": "owner", "segment": owner}
        assert row(outlook, "mart_close_date_slippage", columns, **where) == expected


@pytest.mark.parametrize(
    ("basis", "period", "expected"),
    [
        # two and three; five counted when the quarter was frozen on 3 January, and is deleted since
        ("created", "2024Q4", (2, 250, 3, 320, 250)),
        # one: 100 as created and on 3 April, 120 now
        ("created", "2025Q1", (1, 100, 1, 100, 120)),
        ("created", "2025Q2", (1, 300, None, None, 300)),
        ("qualified", "2024Q4", (1, 200, 1, 200, 200)),
        ("qualified", "2025Q1", (0, 0, 0, 0, 0)),
        ("qualified", "2025Q2", (1, 120, None, None, 120)),
    ],
)
def test_generation_as_created_as_frozen_and_restated(
    outlook: LedgerTables, basis: str, period: str, expected: tuple[float | None, ...]
) -> None:
    columns = "deals_generated, as_created_amount, deals_frozen, frozen_amount, restated_amount"
    where = {"basis": basis, "period": period, "segment_type": "total"}
    assert row(outlook, "mart_pipeline_generation", columns, **where) == expected


def test_coverage_counts_what_is_open_for_what_is_left_to_get(outlook: LedgerTables) -> None:
    """Quota 1000, won 120 (one), open 350 (three and four), nothing of it qualified."""
    columns = "quota_amount, won_amount, left_to_get_amount, open_amount, qualified_amount, is_quota_met"
    rates = (
        "pipeline_coverage, pipeline_coverage_gross, pipeline_coverage_qualified, quota_attainment, pacing"
    )
    total = {"period": "2025Q2", "segment_type": "total"}
    assert row(outlook, "mart_pipeline_coverage", columns, **total) == (1000, 120, 880, 350, 0, False)
    # by this business day (the 27th) nothing of Q1 was won: two closed on the 49th
    assert row(outlook, "mart_pipeline_coverage", rates, **total) == pytest.approx(
        (350 / 880, 0.35, 0, 0.12, 0.12)
    )


def test_required_coverage_is_what_the_same_day_of_the_quarter_brought(outlook: LedgerTables) -> None:
    """6 February, the 37th day: one, two, three and five were due in Q1 with 420; two brought 200."""
    columns = (
        "close_rate_deals, close_rate_denominator, close_rate_numerator, required_coverage, to_create_amount"
    )
    total = {"period": "2025Q2", "segment_type": "total"}
    assert row(outlook, "mart_pipeline_coverage", columns, **total) == pytest.approx((4, 420, 200, 2.1, 1498))
    # cycles of 80 and 100 days: who is to be won by 30 June is created by 1 April
    assert row(outlook, "mart_pipeline_coverage", "create_by_date", **total) == (date(2025, 4, 1),)


def test_a_quota_that_is_met_has_no_coverage(waterfall_bench: WaterfallBench) -> None:
    quotas = [("business", "2025Q2", "total", "all", Decimal(100), "EUR", None)]
    tables = waterfall_bench.build(BOOK, {"stg_quotas": quotas}, OUTLOOK_TABLES)
    columns = "is_quota_met, left_to_get_amount, pipeline_coverage, to_create_amount, create_by_date"
    total = {"period": "2025Q2", "segment_type": "total"}
    assert row(tables, "mart_pipeline_coverage", columns, **total) == (True, -20, None, 0, None)


def test_the_newest_quota_recorded_by_as_of_counts(waterfall_bench: WaterfallBench) -> None:
    quotas = [
        ("business", "2025Q2", "total", "all", Decimal(1000), "EUR", date(2025, 1, 1)),
        ("business", "2025Q2", "total", "all", Decimal(1500), "EUR", date(2025, 4, 1)),
        ("business", "2025Q2", "total", "all", Decimal(2000), "EUR", date(2025, 5, 8)),
    ]
    tables = waterfall_bench.build(BOOK, {"stg_quotas": quotas}, OUTLOOK_TABLES)
    assert tables.query("select quota_amount, values_recorded from marts.fct_quota") == [(Decimal(1500), 2)]


def test_too_few_deals_have_no_rate(waterfall_bench: WaterfallBench) -> None:
    book = replace(BOOK, settings=MartSettings(qualified_stage="opp", min_sample=5))
    tables = waterfall_bench.build(book, {"stg_quotas": QUOTAS}, OUTLOOK_TABLES)
    total = {"period": "2025Q1", "segment_type": "total"}
    columns = (
        "slip_rate_start, slip_rate_start_numerator, slip_rate_start_denominator, start_sample_too_small"
    )
    assert row(tables, "mart_close_date_slippage", columns, **total) == (None, 1, 2, True)
    columns = "close_rate, required_coverage, to_create_amount, sample_too_small"
    assert row(tables, "mart_pipeline_coverage", columns, period="2025Q2", segment_type="total") == (
        None,
        None,
        None,
        True,
    )


def test_snapshots_are_the_open_deals_of_week_ends_quarter_starts_and_the_last_days(
    outlook: LedgerTables,
) -> None:
    days = "select distinct snapshot_on from marts.fct_pipeline_snapshot where {} order by 1"
    assert outlook.query(days.format("is_quarter_start")) == [(date(2025, 1, 1),), (date(2025, 4, 1),)]
    assert len(outlook.query(days.format("is_recent"))) == 35
    assert {day.isoweekday() for (day,) in outlook.query(days.format("is_week_end"))} == {7}
    told = outlook.query(
        "select count(*), sum(open_amount), count(case when is_past_due then 1 end) "
        f"from marts.fct_pipeline_snapshot where snapshot_on = '{date(2025, 4, 6)}'"
    )
    # one (120, due on the 10th) and three (50, due on 31 March)
    assert told == [(2, Decimal(170), 1)]


def test_a_deal_deleted_since_is_in_what_was_known_then_only(outlook: LedgerTables) -> None:
    columns = "deals_as_was, deals_restated, deals_changed, as_was_amount, restated_amount, difference_amount"
    of = {"period": "2024Q4"}
    assert row(outlook, "mart_restatements", columns, figure="generation_created", **of) == (
        3,
        2,
        1,
        320,
        250,
        -70,
    )
    assert row(outlook, "mart_restatements", columns, figure="open_pipeline", **of) == (3, 3, 0, 320, 320, 0)
    of = {"period": "2025Q1"}
    assert row(outlook, "mart_restatements", columns, figure="bookings", **of) == (1, 1, 0, 200, 200, 0)


def test_a_win_that_arrived_late_is_restated_and_not_as_was(waterfall_bench: WaterfallBench) -> None:
    """Won on 20 March, but delivered in the night after 8 April; the quarter was frozen on 3 April."""
    late: dict[str, Any] = {"extracted_at": datetime(2025, 4, 9), "is_initial_load": False}
    changes = (
        Change("1", at(1, 10), "lead", amount=Decimal(500), close_date=date(2025, 3, 31), owner="ann"),
        Change("1", at(3, 20), "won", close_date=date(2025, 3, 20), **late),
    )
    runs = (Run(date(2025, 4, 7), datetime(2025, 4, 8, 1)), Run(date(2025, 4, 8), datetime(2025, 4, 9, 1)))
    tables = waterfall_bench.build(Book(STAGES, (), changes, runs, MartSettings()), {}, OUTLOOK_TABLES)
    columns = "deals_as_was, deals_restated, deals_changed, as_was_amount, restated_amount"
    of = {"period": "2025Q1"}
    assert row(tables, "mart_restatements", columns, figure="bookings", **of) == (0, 1, 1, 0, 500)
    assert row(tables, "mart_restatements", columns, figure="open_pipeline", **of) == (1, 0, 1, 500, 0)


def test_a_rate_revised_later_changes_restated_figures_and_not_as_was(
    waterfall_bench: WaterfallBench,
) -> None:
    change = Change("1", at(1, 10), "lead", amount=Decimal(8), currency="USD", close_date=date(2025, 6, 30))
    rates = [
        ("business", "USD", date(2025, 1, 1), 0.5, date(2025, 1, 1)),
        ("business", "USD", date(2025, 1, 1), 0.75, date(2025, 4, 20)),
    ]
    book = Book(STAGES, (), (change,), (Run(AS_OF, LANDED),), MartSettings())
    tables = waterfall_bench.build(book, {"stg_fx_rates": rates}, OUTLOOK_TABLES)
    columns = "deals_as_was, deals_restated, deals_changed, as_was_amount, restated_amount"
    found = row(tables, "mart_restatements", columns, figure="open_pipeline", period="2025Q1")
    assert found == (1, 1, 1, 4, 6)
