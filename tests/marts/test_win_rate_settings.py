"""What each setting of win rates, cycle and coverage does to the figures of one quarter, worked out by hand.

All deals of 2025Q1 were created on 6 January and spent two days in each stage but for w3 (twenty in lead).
Won: w1 over quote, w2 and w3 from lead. Lost: c1 over quote to a competitor, n1 over quote without a
decision, p1 from lead to a competitor, d1 from lead as a duplicate. Open and due on 31 March: s1 in quote
since 8 January, s2 in lead with a call on 20 March, s3 in lead and never touched. Ann has w1, c1 and s1, Bob
the rest.

Before: old, so that history is whole; alive, in lead from 20 December, won on 31 December for 9; dead, in
lead from 1 October for 7, due on 31 December and lost then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.ledger.book import STAGES, Book, Change, Record, Run
from tests.ledger.ledger_bench import fill_run_context
from tests.marts.marts_bench import MartSettings
from tests.marts.waterfall_bench import WaterfallBench

AS_OF = date(2025, 3, 31)
READ_ON = datetime(2025, 4, 1, 1)
CREATED = datetime(2025, 1, 6, 8)
DEALS = {
    # id: days in each stage, end, reason, amount, owner
    "w1": ((("lead", 2), ("quote", 2)), "won", None, 10, "ann"),
    "w2": ((("lead", 2),), "won", None, 10, "bob"),
    "w3": ((("lead", 20),), "won", None, 40, "bob"),
    "c1": ((("lead", 2), ("quote", 2)), "lost", "Lost to Competition", 40, "ann"),
    "n1": ((("lead", 2), ("quote", 2)), "lost", "No decision", 30, "bob"),
    "p1": ((("lead", 2),), "lost", "lost to competition", 20, "bob"),
    "d1": ((("lead", 2),), "lost", "Duplicate", 5, "bob"),
    "s1": ((("lead", 2), ("quote", 0)), None, None, 50, "ann"),
    "s2": ((("lead", 0),), None, None, 6, "bob"),
    "s3": ((("lead", 0),), None, None, 8, "bob"),
}
CALLS = {"s2": datetime(2025, 3, 20, 9)}
OWNERS = [
    ("crm", name, name.title(), None, "north", None, "EU", None, None, True) for name in ("ann", "bob")
]  # fmt: skip
QUOTAS = [("business", "2025Q1", "total", "all", Decimal(160), "EUR", None)]
REBUILT = (
    "stg_run_context",
    "fct_rated_deals",
    "int_sales_cells",
    "mart_sales_performance",
    "int_rep_figures",
    "mart_rep_scorecard",
    "mart_loss_reasons",
    "int_win_incidence",
    "mart_win_rate_cohorts",
    "mart_stage_conversion",
    "int_pipeline_close_rates",
    "mart_pipeline_coverage",
)
"""What reads the settings, in the order in which it is built; the rest of a build stands."""


@dataclass(frozen=True)
class Chosen(MartSettings):
    """Settings of the business that are chosen here; dead is what takes longer than three of four winners."""

    qualified_stage: str | None = "quote"
    pace_slow: float = 0.25
    pace_stalled: float = 0.5
    pace_dead: float = 0.75
    velocity_basis: str = "closed"
    cycle_statistic: str | None = None
    win_rate_population: str = "all"
    win_rate_no_decision: str = "loss"
    win_rate_disqualified: str = "excluded"
    win_rate_stale_days: int | None = None
    coverage_exclude_dead: bool = False


SETTINGS = {
    "default": Chosen(),
    "from_stage": Chosen(win_rate_population="from_stage"),
    "from_stage_created": Chosen(win_rate_population="from_stage", velocity_basis="created"),
    "no_decision": Chosen(win_rate_no_decision="excluded"),
    "disqualified": Chosen(win_rate_disqualified="loss"),
    "stale_40": Chosen(win_rate_stale_days=40),
    "stale_84": Chosen(win_rate_stale_days=84),
    "stale_from_stage": Chosen(win_rate_stale_days=40, win_rate_population="from_stage"),
    "mean": Chosen(cycle_statistic="mean"),
    "median": Chosen(cycle_statistic="median"),
    "without_dead": Chosen(coverage_exclude_dead=True),
}
Rows = Mapping[str, list[dict[str, Any]]]


def book() -> Book:
    """The deals with their changes, and the call that only the record tells."""
    changes = [
        Change("old", datetime(2023, 1, 1), "lead"),
        Change("old", datetime(2023, 1, 2), "lost", close_date=date(2023, 1, 2)),
        Change("alive", datetime(2024, 12, 20, 8), "lead", amount=Decimal(9), close_date=date(2024, 12, 31)),
        Change("alive", datetime(2024, 12, 31, 8), "won"),
        Change("dead", datetime(2024, 10, 1, 8), "lead", amount=Decimal(7), close_date=date(2024, 12, 31)),
        Change("dead", datetime(2024, 12, 31, 8), "lost"),
    ]  # fmt: skip
    records = []
    for deal_id, (path, end, reason, amount, owner) in DEALS.items():
        at = CREATED
        for stage, days in path:
            due = date(2025, 3, 31)
            changes.append(Change(deal_id, at, stage, amount=Decimal(amount), close_date=due, owner=owner))
            at += timedelta(days=days)
        if end:
            changes.append(Change(deal_id, at, end, close_date=at.date()))
        records.append(
            Record(
                deal_id, CREATED, end or path[-1][0], amount=Decimal(amount), owner=owner,
                close_date=at.date() if end else date(2025, 3, 31),
                lost_reason=reason, last_activity_at=CALLS.get(deal_id),
            )
        )  # fmt: skip
    return Book(
        STAGES,
        tuple(replace(record, extracted_at=READ_ON) for record in records),
        tuple(replace(change, extracted_at=READ_ON) for change in changes),
        (Run(AS_OF, READ_ON),),
        Chosen(),
    )


@pytest.fixture(scope="module")
def built(waterfall_bench: WaterfallBench) -> Mapping[str, Rows]:
    """Name of the settings → mart → its rows."""
    staged = {"stg_quotas": QUOTAS, "stg_owners": OWNERS, "stg_fx_rates": []}
    waterfall_bench.build(book(), staged, REBUILT)
    connection, found = waterfall_bench.bench.connection, {}
    for name, settings in SETTINGS.items():
        fill_run_context(connection, replace(book(), settings=settings))
        for table in REBUILT:
            model = waterfall_bench.models[table]
            connection.execute(f"create or replace table {model.relation} as {model.sql}")
        tables = [table for table in REBUILT if table.startswith(("mart_", "fct_"))]
        found[name] = {
            table: connection.execute(f"from marts.{table}").df().to_dict("records") for table in tables
        }
    return found


def of(rows: Rows, mart: str, columns: str, **where: str) -> tuple[Any, ...]:
    """Columns of the one row of a mart that has these values."""
    found = [row for row in rows[mart] if all(row[name] == value for name, value in where.items())]
    assert len(found) == 1, (len(found), where)
    values = (found[0][name] for name in columns.split(", "))
    return tuple(float(value) if isinstance(value, Decimal) else value for value in values)


QUARTER = {"period": "2025Q1", "segment_type": "total"}
COUNTS = (
    "win_rate_count_numerator, win_rate_count_denominator, deals_won, deals_lost, deals_excluded, "
    "deals_stale_open"
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # won and decided in the rate; all won, all lost, left out, open that count as lost
        ("default", (3, 6, 3, 4, 1, 0)),  # without d1
        ("disqualified", (3, 7, 3, 4, 0, 0)),
        ("no_decision", (3, 5, 3, 4, 2, 0)),  # nor n1
        ("from_stage", (1, 3, 3, 4, 4, 0)),  # w1 of w1, c1, n1
        ("stale_40", (3, 8, 3, 4, 1, 2)),  # s1 on 17 February, s3 on 15 February
        ("stale_84", (3, 7, 3, 4, 1, 1)),  # s3 on 31 March, s1 would be on 2 April
        ("stale_from_stage", (1, 4, 3, 4, 4, 1)),  # s3 never was in quote
    ],
)
def test_a_setting_moves_deals_between_the_sides_and_drops_none(
    built: Mapping[str, Rows], name: str, expected: tuple[int, ...]
) -> None:
    assert of(built[name], "mart_sales_performance", COUNTS, **QUARTER) == expected
    won, decided, *_ = expected
    assert of(built[name], "mart_sales_performance", "win_rate_count", **QUARTER) == (won / decided,)


def test_a_stale_deal_counts_in_the_month_in_which_it_became_stale_and_for_who_has_it(
    built: Mapping[str, Rows],
) -> None:
    columns = "win_rate_count_numerator, win_rate_count_denominator, deals_stale_open, deals_lost"
    february = {"period": "2025-02", "segment_type": "total"}
    assert of(built["stale_40"], "mart_sales_performance", columns, **february) == (0, 2, 2, 0)
    assert of(built["default"], "mart_sales_performance", columns, **february) == (0, 0, 0, 0)
    ann = {"period": "2025Q1", "credit": "at_the_time", "owner": "Ann"}
    assert of(built["stale_40"], "mart_rep_scorecard", columns, **ann) == (1, 3, 1, 1)
    assert of(built["stale_40"], "mart_rep_scorecard", "deals_open", **ann) == (1,)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("default", (2, 4, 2, 3, 1, 0)),  # w2, w3 of these, n1 and p1
        ("disqualified", (2, 5, 2, 3, 0, 0)),
        ("no_decision", (2, 3, 2, 3, 2, 0)),
        ("from_stage", (0, 1, 2, 3, 4, 0)),
        ("stale_40", (2, 5, 2, 3, 1, 1)),
    ],
)
def test_the_scorecard_of_a_rep_follows(
    built: Mapping[str, Rows], name: str, expected: tuple[int, ...]
) -> None:
    bob = {"period": "2025Q1", "owner": "Bob"}
    for credit in ("at_the_time", "current_owner"):
        assert of(built[name], "mart_rep_scorecard", COUNTS, credit=credit, **bob) == expected


def test_the_win_rate_by_amount_counts_the_deals_of_the_one_by_count(built: Mapping[str, Rows]) -> None:
    """Won 10 + 10 + 40; lost 40 + 30 + 20, with the duplicate 5 more, with the stale ones 50 + 8."""
    columns = "win_rate_amount_numerator, win_rate_amount_denominator, win_rate_amount"
    for name, won, closed in (
        ("default", 60, 150),
        ("disqualified", 60, 155),
        ("no_decision", 60, 120),
        ("from_stage", 10, 80),
        ("stale_40", 60, 208),
    ):
        found = of(built[name], "mart_sales_performance", columns, **QUARTER)
        assert found == pytest.approx((won, closed, won / closed)), name
    columns = "won_amount, lost_amount"
    for rows in built.values():
        assert of(rows, "mart_sales_performance", columns, **QUARTER) == (60, 95)


@pytest.mark.parametrize(
    ("name", "narrow", "broad"),
    [
        ("default", (3, 5), (3, 6)),
        ("disqualified", (3, 5), (3, 7)),
        ("no_decision", (3, 5), (3, 6)),  # broad is the one with the undecided
        ("from_stage", (1, 2), (1, 3)),
        ("stale_40", (3, 5), (3, 8)),
    ],
)
def test_narrow_and_broad_keep_their_classes(
    built: Mapping[str, Rows], name: str, narrow: tuple[int, int], broad: tuple[int, int]
) -> None:
    for rate, expected in (("narrow", narrow), ("broad", broad)):
        columns = f"win_rate_{rate}_numerator, win_rate_{rate}_denominator, win_rate_{rate}"
        found = of(built[name], "mart_loss_reasons", columns, **QUARTER, breakdown="total")
        assert found == (*expected, expected[0] / expected[1])
    columns = "deals_won, deals_lost, lost_share_denominator"
    assert of(built[name], "mart_loss_reasons", columns, **QUARTER, breakdown="total") == (3, 4, 4)


@pytest.mark.parametrize(
    ("name", "quote", "lead"),
    [
        # won, decided, left out, open that count as lost
        ("default", (1, 3, 0, 0), (3, 6, 1, 0)),
        ("disqualified", (1, 3, 0, 0), (3, 7, 0, 0)),
        ("no_decision", (1, 2, 1, 0), (3, 5, 2, 0)),
        ("from_stage", (1, 3, 0, 0), (3, 6, 1, 0)),  # the stage is the population
        ("stale_40", (1, 4, 0, 1), (3, 8, 1, 2)),
    ],
)
def test_of_the_deals_that_had_reached_a_stage_the_same_ones_are_counted(
    built: Mapping[str, Rows], name: str, quote: tuple[int, ...], lead: tuple[int, ...]
) -> None:
    columns = "conversion_numerator, conversion_denominator, deals_excluded, deals_stale_open"
    for stage, expected in (("quote", quote), ("lead", lead)):
        where = QUARTER | {"metric": "stage_to_won", "stage_id": stage}
        assert of(built[name], "mart_stage_conversion", columns, **where) == expected
    # how deals left the stage is no win rate: six went on, p1 and d1 were lost there
    where = QUARTER | {"metric": "stage_conversion_next", "stage_id": "lead"}
    columns = "conversion_numerator, conversion_denominator"
    assert of(built[name], "mart_stage_conversion", columns, **where) == (6, 8)


def test_from_the_stage_on_the_win_rate_is_the_conversion_of_that_stage_to_won(
    built: Mapping[str, Rows],
) -> None:
    quote = {"metric": "stage_to_won", "stage_id": "quote", "segment_type": "total"}
    for name in ("from_stage", "stale_from_stage"):
        for period in ("2025-01", "2025-02", "2025Q1", "all"):
            rate = of(
                built[name], "mart_sales_performance", "win_rate_count_numerator, win_rate_count_denominator",
                period=period, segment_type="total",
            )  # fmt: skip
            told = [
                (row["conversion_numerator"], row["conversion_denominator"])
                for row in built[name]["mart_stage_conversion"]
                if row["period"] == period and all(row[key] == value for key, value in quote.items())
            ]
            assert told == ([rate] if rate != (0, 0) else []), (name, period)


@pytest.mark.parametrize(
    ("name", "closed"),
    [("default", 6), ("disqualified", 7), ("no_decision", 5), ("from_stage", 6), ("stale_40", 8)],
)
def test_a_cohort_keeps_all_that_came_in_and_its_biased_rate_follows(
    built: Mapping[str, Rows], name: str, closed: int
) -> None:
    """Ten deals were created in the quarter, three were won."""
    cohort = QUARTER | {"cohort_by": "created", "horizon": "to_date"}
    columns = "biased_win_rate_numerator, biased_win_rate_denominator, won_to_date_rate, deals_open"
    assert of(built[name], "mart_win_rate_cohorts", columns, **cohort) == (3, closed, 0.3, 3)
    columns = "win_incidence, win_incidence_low, win_incidence_high, bias_in_words"
    found = of(built[name], "mart_win_rate_cohorts", columns, **cohort)
    assert found == of(built["default"], "mart_win_rate_cohorts", columns, **cohort)


def test_velocity_is_the_product_of_its_factors_whatever_the_settings(built: Mapping[str, Rows]) -> None:
    """Cycles of 4, 2 and 20 days; amounts of 10, 10 and 40."""
    factors = (
        "velocity_deals, velocity_avg_won_amount, velocity_win_rate, velocity_cycle_days, sales_velocity"
    )
    for name, expected in (
        ("default", (6, 20, 0.5, 26 / 3)),
        ("mean", (6, 20, 0.5, 26 / 3)),
        ("median", (6, 20, 0.5, 4)),
        ("from_stage", (3, 10, 1 / 3, 4)),  # of w1, c1, n1: one win, over 10 after 4 days
        ("from_stage_created", (4, 10, 1 / 3, 4)),  # and s1 is on its way
        ("stale_40", (8, 20, 3 / 8, 26 / 3)),
    ):
        *found, velocity = of(built[name], "mart_sales_performance", factors, **QUARTER)
        assert found == pytest.approx(expected), name
        deals, amount, rate, cycle = expected
        assert velocity == pytest.approx(deals * amount * rate / cycle), name


def test_the_cycle_to_quote_is_the_median_unless_the_mean_is_asked_for(built: Mapping[str, Rows]) -> None:
    """With the win of December, after 11 days, over all: 2, 4, 11, 20."""
    columns = "sales_cycle_days, sales_cycle_statistic, velocity_cycle_statistic"
    for name, expected in (
        ("default", (4, "median", "mean")),
        ("median", (4, "median", "median")),
        ("mean", (26 / 3, "mean", "mean")),
    ):
        assert of(built[name], "mart_sales_performance", columns, **QUARTER) == expected
    for name, by in (("default", date(2025, 3, 23)), ("mean", date(2025, 3, 21))):
        (told,) = of(built[name], "mart_pipeline_coverage", "create_by_date", **QUARTER)
        assert told.date() == by


def test_dead_deals_stand_apart_and_cover_nothing_when_asked_to(built: Mapping[str, Rows]) -> None:
    """Winners left lead within 2, 2, 11, 20 days: s2 and s3 have been there for 84. 100 are left to get."""
    columns = "deals_open, open_amount, deals_dead, dead_amount, deals_qualified, pipeline_coverage"
    assert of(built["default"], "mart_pipeline_coverage", columns, **QUARTER) == (3, 64, 2, 14, 1, 0.64)
    assert of(built["without_dead"], "mart_pipeline_coverage", columns, **QUARTER) == (1, 50, 2, 14, 1, 0.5)


def test_what_was_dead_then_is_not_held_against_the_pipeline_of_now(built: Mapping[str, Rows]) -> None:
    """On 29 December 9 and 7 were open, the 7 for 89 days; 9 were won by the end of the quarter."""
    columns = "close_rate_denominator, close_rate_numerator, required_coverage"
    assert of(built["default"], "mart_pipeline_coverage", columns, **QUARTER) == (16, 9, 16 / 9)
    assert of(built["without_dead"], "mart_pipeline_coverage", columns, **QUARTER) == (9, 9, 1)
