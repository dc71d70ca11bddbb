"""Sales performance of two small exports, against figures worked out by hand from their deals."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.ledger.ledger_bench import LedgerTables
from tests.pipeline.sales_exports import MartsBench, SalesSettings, crm_with_odd_deals

MART = "marts.mart_sales_performance"


def cell(
    tables: LedgerTables, period: str, *columns: str, segment: str = "total", member: str = "all"
) -> Any:
    """Columns of the row of a period and a segment."""
    where = f"period = '{period}' and segment_type = '{segment}' and segment = '{member}'"
    return tables.one(MART, *columns, where=where)


def test_lost_deals_set_to_zero_neither_lift_the_win_rate_nor_give_one_by_amount(
    export: LedgerTables,
) -> None:
    """T51: five won and three lost are 62.5 %, not 100 %."""
    assert cell(
        export, "all", "win_rate_count", "win_rate_count_numerator", "win_rate_count_denominator"
    ) == (
        0.625,
        5,
        8,
    )
    assert cell(export, "2025Q2", "win_rate_count", "win_rate_amount", "win_rate_amount_reason") == (
        0.5,
        None,
        "lost_without_amount",
    )
    assert cell(export, "all", "win_rate_amount", "win_rate_amount_denominator", "lost_amount") == (None,) * 3


def test_no_segment_reads_100_percent_by_amount_because_it_happens_to_have_no_loss(
    export: LedgerTables,
) -> None:
    found = cell(
        export,
        "all",
        "deals_lost",
        "win_rate_amount",
        "win_rate_amount_reason",
        segment="product",
        member="GTXPro",
    )
    assert found == (0, None, "lost_without_amount")


def test_the_quarters_before_the_history_is_whole_are_left_truncated(export: LedgerTables) -> None:
    """T53: deals from October, closes from March; P90 of the cycles 68, 89, 100, 111, 132 is 123.6 days."""
    assert export.rows(
        MART, "period", "history_status", where="period_type = 'quarter' and segment_type = 'total'"
    ) == [("2024Q4", "left_truncated"), ("2025Q1", "left_truncated"), ("2025Q2", "full")]
    months = export.rows(
        MART,
        "period",
        where="period_type = 'month' and segment_type = 'total' and history_status = 'full'",
    )
    assert months == [("2025-04",), ("2025-05",), ("2025-06",)]


def test_nothing_closed_is_no_rate_and_too_little_closed_is_none_either(export: LedgerTables) -> None:
    """T45: null, never 0 % or 100 %; what the rate would be made of stays."""
    columns = ("win_rate_count", "win_rate_count_numerator", "win_rate_count_denominator", "sample_too_small")
    assert cell(export, "2024Q4", *columns, "rate_low") == (None, 0, 0, True, None)
    assert cell(export, "2025Q1", *columns) == (None, 2, 2, True)


def test_bookings_deal_size_cycle_and_velocity_of_a_quarter(export: LedgerTables) -> None:
    """Won in the second quarter: 300 after 68 days, 400 after 89, 1000 after 111; three lost."""
    assert cell(export, "2025Q2", "won_amount", "avg_deal_amount", "median_deal_amount") == (
        1700,
        Decimal("566.667"),
        400,
    )
    assert cell(export, "2025Q2", "sales_cycle_median_days", "sales_cycle_p25_days", "cycle_start_basis") == (
        89,
        78.5,
        "first_stage_entry",
    )
    assert cell(export, "2025Q2", "velocity_deals", "velocity_win_rate") == (6, 0.5)
    assert cell(
        export, "2025Q2", "sales_cycle_mean_days", "sales_velocity", "won_amount_per_day"
    ) == pytest.approx((268 / 3, 6 * (1700 / 3) * 0.5 / (268 / 3), 1700 / 91))


def test_below_five_deals_there_is_no_median_but_a_mean(export: LedgerTables) -> None:
    """The floor is 3 here; the first quarter has wins after 132 and 100 days, for 100 and 200."""
    columns = ("sales_cycle_mean_days", "sales_cycle_median_days", "avg_deal_amount", "median_deal_amount")
    assert cell(export, "2025Q1", *columns) == (116, None, 150, None)


def test_segments_hold_the_same_deals(export: LedgerTables) -> None:
    columns = ("deals_won", "deals_lost", "won_amount", "win_rate_count")
    assert cell(export, "all", *columns, segment="owner", member="Ada") == (3, 1, 1300, 0.75)
    assert cell(export, "all", *columns, segment="owner", member="Bo") == (2, 2, 700, 0.5)
    assert cell(export, "all", *columns, segment="team", member="North") == (3, 1, 1300, 0.75)
    assert cell(export, "all", *columns[:3], segment="region", member="(none)") == (2, 2, 700)
    assert cell(export, "all", *columns[:3], segment="industry", member="retail") == (4, 3, 1600)
    assert cell(export, "all", *columns[:3], segment="country", member="(none)") == (1, 0, 400)
    assert cell(export, "all", *columns[:3], segment="product", member="GTX Pro") == (3, 3, 1400)


def test_a_rep_without_a_win_has_a_row_that_says_so(export: LedgerTables) -> None:
    assert cell(
        export, "2025Q1", "deals_created", "deals_won", "won_amount", segment="owner", member="Bo"
    ) == (
        4,
        0,
        0,
    )


def test_a_deal_without_any_date_is_created_in_no_period(export: LedgerTables) -> None:
    assert export.rows(
        MART, "period", "deals_created", where="period_type = 'quarter' and segment_type = 'total'"
    ) == [("2024Q4", 2), ("2025Q1", 6), ("2025Q2", 1)]
    assert cell(export, "all", "deals_created") == 9


def test_a_quarter_is_compared_with_the_one_before_and_a_month_with_the_same_month_of_a_quarter(
    export: LedgerTables,
) -> None:
    columns = ("prior_period", "prior_period_value", "is_prior_period_comparable")
    assert cell(export, "2025Q2", *columns) == ("2025Q1", 300, False)
    assert cell(export, "2025-06", *columns) == ("2025-03", 300, False)
    # bookings before the first known close are unknown, not zero
    assert cell(export, "2025Q1", *columns) == ("2024Q4", None, False)


def test_amounts_missing_zero_negative_or_without_rate_are_counted_and_never_guessed(
    crm: LedgerTables,
) -> None:
    """T35, T23: 500 + 0 - 50 + 100 pounds at 2; one win has no amount, one a currency without a rate."""
    columns = ("deals_won", "won_amount", "deals_won_without_amount", "deals_won_without_rate")
    assert cell(crm, "2025Q2", *columns) == (6, 650, 1, 1)
    assert cell(crm, "2025Q2", "avg_deal_amount", "median_deal_amount") == (Decimal("162.5"), 100)
    assert cell(crm, "2025Q2", "win_rate_count", "win_rate_amount_reason") == (0.75, "won_without_amount")


def test_a_cycle_is_a_difference_of_dates(crm: LedgerTables) -> None:
    """T37: 1 January to 2 March 2025 is 60 days; 10 January to 31 March, as dated, is 80."""
    assert cell(crm, "2025Q1", "deals_in_cycle", "sales_cycle_mean_days", "cycle_start_basis") == (
        2,
        70,
        "created",
    )


def test_an_import_is_booked_and_is_in_no_cycle_and_no_velocity(crm: LedgerTables) -> None:
    """T14: six won and two lost in the quarter, one of them created as won."""
    assert cell(crm, "2025Q2", "deals_won", "deals_imported", "deals_in_cycle", "velocity_deals") == (
        6,
        1,
        5,
        7,
    )
    # 0, -50 and 200 without the import's 500
    assert cell(crm, "2025Q2", "velocity_avg_won_amount") == 50


def test_close_date_decides_the_period_unless_the_event_is_asked_for(
    crm: LedgerTables, crm_by_event: LedgerTables
) -> None:
    """T39: one win and one loss are dated March and happened in April."""
    columns = ("deals_won", "deals_lost", "won_amount", "lost_amount")
    assert cell(crm, "2025Q1", *columns) == (2, 1, 500, 200)
    assert cell(crm_by_event, "2025Q1", *columns) == (1, 0, 100, 0)
    # 650 + the 400 dated March + the 900 dated July
    assert cell(crm_by_event, "2025Q2", *columns) == (8, 3, 1950, 600)


def test_a_win_dated_after_the_as_of_day_is_not_booked(crm: LedgerTables) -> None:
    assert cell(crm, "all", "deals_won", "won_amount") == (8, 1150)
    assert not crm.rows(MART, "period", where="period_start > as_of")


def test_deals_closed_otherwise_are_in_no_win_rate_and_deleted_ones_nowhere(crm: LedgerTables) -> None:
    assert cell(crm, "2025Q2", "deals_closed_other", "win_rate_count_denominator") == (1, 8)
    assert cell(crm, "all", "deals_created") == 14


def test_worked_deals_count_in_every_period_they_are_open_in(crm_by_event: LedgerTables) -> None:
    """Three in the first quarter; in the second two of them, the ten that began later, and no import."""
    assert cell(crm_by_event, "2025Q1", "velocity_deals", "velocity_basis") == (3, "worked")
    assert cell(crm_by_event, "2025Q2", "velocity_deals") == 12


def test_the_minimum_amount_of_the_setting_filters_amounts_and_never_counts(
    bench: MartsBench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With only priced deals: won 100, 400, 500, 200 and lost 200, 300, 100; from 200 on 1100 of 1600."""
    book = crm_with_odd_deals()
    odd = {"unpriced", "free", "refund", "no_rate", "ahead", "deleted", "dropped", "still_open"}
    priced = tuple(record for record in book.records if record.deal_id not in odd)
    settings = SalesSettings(win_rate_min_amount=Decimal(200))
    tables = bench.build(replace(book, records=priced, settings=settings), tmp_path_factory.mktemp("priced"))
    assert cell(tables, "all", "win_rate_count_denominator", "win_rate_amount_denominator") == (7, 1600)
    assert cell(tables, "all", "win_rate_amount") == pytest.approx(1100 / 1600)


def test_line_items_part_the_amount_and_count_the_deal_where_it_has_a_product(crm: LedgerTables) -> None:
    """T47: 60 of the deal's 100 are a product's, 40 are nobody's; of the other wins none has a product."""
    columns = ("deals_won", "won_amount", "avg_deal_amount")
    assert cell(crm, "2025Q1", *columns, segment="product", member="Seat") == (1, 60, 60)
    assert cell(crm, "2025Q1", *columns, segment="product", member="(none)") == (1, 440, 400)
    assert cell(crm, "2025Q1", *columns) == (2, 500, 250)
