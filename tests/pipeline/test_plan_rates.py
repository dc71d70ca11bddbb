"""Amounts at the rates of the plan, beside those at the rates of the day; expected values by hand."""

from dataclasses import replace
from decimal import Decimal

import pytest

from tests.ledger.ledger_bench import LedgerTables
from tests.pipeline.sales_exports import MartsBench, crm_with_odd_deals

PERFORMANCE = "marts.mart_sales_performance"
QUALITY = "marts.mart_data_quality"
# period, currency, rate, recorded on; the marts are as of 30 June 2025
RATES = (
    ("2025", "GBP", "1.5", None),
    ("2025Q2", "gbp", "1.8", None),
    ("2025-05", "GBP", "1.7", "2024-12-01"),
    ("2025-05", "GBP", "1.9", "2025-01-10"),
    ("2025-05", "GBP", "9", "2025-07-01"),
    ("2025-Q2", "USD", "0.9", None),
)


@pytest.fixture(scope="module")
def planned(bench: MartsBench, tmp_path_factory: pytest.TempPathFactory) -> LedgerTables:
    """The deals of `crm` with a plan: pounds are worth 2 on every day of the year, dollars have no rate."""
    rows = tuple(
        {"source": "business", "period": period, "currency": currency, "rate": rate, "recorded_on": recorded}
        for period, currency, rate, recorded in RATES
    )
    book = crm_with_odd_deals()
    book = replace(book, facts=(*book.facts, ("plan_rates", rows)))
    return bench.build(book, tmp_path_factory.mktemp("planned"))


def test_a_month_has_its_own_rate_or_that_of_its_quarter_or_year_in_the_newest_plan_known(
    planned: LedgerTables,
) -> None:
    columns = ("strftime(valid_from_date, '%Y-%m')", "period", "plan_rate")
    where = "currency = 'GBP' and valid_from_date between '2025-03-01' and '2025-07-01'"
    assert planned.rows("dim_plan_rate", *columns, where=where) == [
        ("2025-03", "2025", 1.5),
        ("2025-04", "2025Q2", 1.8),
        ("2025-05", "2025-05", 1.9),
        ("2025-06", "2025Q2", 1.8),
        ("2025-07", "2025", 1.5),
    ]
    outside = "currency = 'GBP' and extract(year from valid_from_date) <> 2025"
    assert planned.rows("dim_plan_rate", "period", where=outside) == []


def test_t23_a_deal_has_its_amount_at_the_plans_rate_or_none_and_never_a_guess(planned: LedgerTables) -> None:
    columns = ("deal_id", "amount_base", "amount_plan", "is_plan_rate_missing")
    assert planned.rows(
        "fct_deals", *columns, where="deal_id in ('pounds', 'no_rate', 'free', 'unpriced')"
    ) == [
        ("free", 0, 0, False),
        ("no_rate", None, None, True),
        ("pounds", 200, 190, False),
        ("unpriced", None, None, False),
    ]


def test_bookings_at_plan_rates_stand_beside_the_others_and_count_what_they_lack(
    planned: LedgerTables,
) -> None:
    """Second quarter: 500 + 0 - 50, and 100 pounds at 2 or at 1.9; 70 dollars have no rate in the plan."""
    columns = ("won_amount", "won_amount_plan", "deals_won_without_plan_rate")
    totals = planned.rows(
        PERFORMANCE, "period", *columns, where="segment_type = 'total' and period_type = 'quarter'"
    )
    assert totals == [("2025Q1", 500, 500, 0), ("2025Q2", 650, 640, 1)]


def test_a_product_has_its_share_of_the_deal_at_plan_rates_too(planned: LedgerTables) -> None:
    where = "segment_type = 'product' and period = '2025Q1'"
    assert planned.rows(PERFORMANCE, "segment", "won_amount_plan", where=where) == [
        ("(none)", Decimal(440)),
        ("Seat", Decimal(60)),
    ]


def test_what_the_plan_lacks_and_what_it_has_in_vain_is_said(planned: LedgerTables) -> None:
    lacks = planned.rows(
        QUALITY, "subject", "deals_affected", where="rule = 'plan_rate_missing' and deals_affected > 0"
    )
    assert lacks == [("USD", 1)]
    unused = planned.one(QUALITY, "subject", "message", where="rule = 'plan_rate_unused'")
    assert unused == (
        "USD 2025-Q2",
        "The plan rate of USD for 2025-Q2 is not used: the calendar has no such fiscal period.",
    )


def test_without_a_plan_nothing_is_made_up_and_readiness_says_what_to_give(crm: LedgerTables) -> None:
    columns = ("count(amount_plan)", "count(is_plan_rate_missing)")
    assert crm.one("fct_deals", *columns) == (0, 0)
    assert crm.one(PERFORMANCE, "count(won_amount_plan)", "sum(deals_won_without_plan_rate)") == (0, 0)
    where = "metric = 'won_amount_plan'"
    status, unlock = crm.one("marts.mart_data_readiness", "status", "how_to_unlock", where=where)
    assert status == "unavailable"
    assert "tables: plan_rates" in unlock
