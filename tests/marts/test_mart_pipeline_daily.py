"""The daily pipeline: days worked out by hand, and every day of a simulated CRM by a query of its own."""

from datetime import date

import pandas as pd
import pytest

from tests.marts.marts_bench import SIMULATED, Marts
from tests.marts.stage_cases import AS_OF

COLUMNS = (
    "deals_open",
    "open_amount",
    "deals_without_amount",
    "weighted_amount",
    "deals_in_quarter",
    "in_quarter_amount",
    "deals_past_due",
    "past_due_amount",
)


def on(
    marts: Marts, day: str, pipeline: str = "daily", stage: str = "lead", *columns: str
) -> tuple[object, ...]:
    found = marts.query(
        f"select {', '.join(columns or COLUMNS)} from marts.mart_pipeline_daily "
        f"where period = '{day}' and pipeline_id = '{pipeline}' and stage_id = '{stage}'"
    )
    assert len(found) == 1
    return tuple(value if value is None or isinstance(value, str) else float(value) for value in found[0])


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        # euro 100, franc 1000 x 0.90, gone 70; euro closes in March; weights 100 x 0.2 + 900 x 0.5 + none
        ("2026-03-02", (3, 1070, 0, 470, 1, 100, 0, 0)),
        # blank: no amount, its close date was yesterday; past due, for an amount that nobody knows
        ("2026-03-05", (4, 1070, 1, 470, 2, 100, 1, None)),
        # euro was 999 at noon and 150 at the end of the day
        ("2026-03-10", (4, 1120, 1, 480, 2, 150, 1, None)),
        # gone was deleted at the first instant of the 20th
        ("2026-03-19", (4, 1120, 1, 480, 2, 150, 1, None)),
        ("2026-03-20", (3, 1050, 1, 480, 2, 150, 1, None)),
        # a deal that closes today is not late
        ("2026-03-31", (3, 1050, 1, 480, 2, 150, 1, None)),
        # new quarter, new rate: franc 1100 closes in it; euro and blank are late
        ("2026-04-01", (3, 1250, 1, 580, 1, 1100, 2, 150)),
        # euro was moved to 10 May
        ("2026-04-08", (3, 1250, 1, 580, 2, 1250, 1, None)),
        ("2026-05-10", (3, 1250, 1, 580, 2, 1250, 1, None)),
        ("2026-05-11", (3, 1250, 1, 580, 2, 1250, 2, 150)),
        ("2026-05-15", (3, 1250, 1, 580, 2, 1250, 2, 150)),
    ],
)
def test_the_pipeline_at_the_end_of_a_day(marts: Marts, day: str, expected: tuple[float | None, ...]) -> None:
    assert on(marts, day) == pytest.approx(expected)


def test_a_currency_without_rate_is_counted_and_never_priced(marts: Marts) -> None:
    told = on(
        marts,
        "2026-05-15",
        "daily",
        "quote",
        "deals_open",
        "deals_without_rate",
        "open_amount",
        "amount_known_rate",
    )
    assert told == (1, 1, None, 0)


def test_an_amount_known_only_since_the_win_does_not_leak_into_the_days_before(marts: Marts) -> None:
    """A record without a log: 500, won on 10 April."""
    columns = (
        "deals_open",
        "deals_without_amount",
        "deals_amount_unknown",
        "open_amount",
        "amount_asof_quality",
    )
    assert on(marts, "2026-04-09", "unlogged", "(open)", *columns) == (1, 1, 1, None, "none")
    assert on(marts, "2026-04-10", "unlogged", "(open)", *columns) == (0, 0, 0, 0, "history")


def test_close_dates_that_nobody_knows_are_neither_in_the_quarter_nor_late_nor_zero(marts: Marts) -> None:
    columns = (
        "deals_without_close_date",
        "deals_in_quarter",
        "in_quarter_amount",
        "deals_past_due",
        "past_due_amount",
    )
    assert on(marts, "2026-05-15", "daily", "quote", *columns) == (1, None, None, None, None)


def test_each_stage_has_a_row_for_every_day_from_its_first_deal_to_as_of(marts: Marts) -> None:
    gaps = marts.query(
        """
        select stage_key, count(*), min(period_start), max(period_start)
        from marts.mart_pipeline_daily
        group by stage_key
        having count(*) <> max(period_start) - min(period_start) + 1 or max(period_start) <> ?
        """,
        [AS_OF],
    )
    assert gaps == []
    first = "select min(period_start) from marts.mart_pipeline_daily where pipeline_id = 'daily'"
    assert marts.query(first) == [(date(2026, 3, 2),)]


def test_pandas_finds_the_same_pipeline_on_every_day(marts: Marts) -> None:
    """Deal by deal: each state is spread over its days and priced at the rate of each day."""
    states = marts.frame(
        f"""
        select stage_key, valid_from_date, coalesce(valid_to_date, date '{AS_OF}' + 1) as valid_to_date,
          cast(amount_native as double) as amount, currency, close_date
        from ledger.fct_deal_versions
        where source_relation = '{SIMULATED}' and status = 'open' and not is_deleted
          and valid_from_date < coalesce(valid_to_date, date '9999-12-31') and valid_from_date <= '{AS_OF}'
        """
    )
    last = pd.Timestamp(AS_OF)
    starts, ends = pd.to_datetime(states.valid_from_date), pd.to_datetime(states.valid_to_date)
    ends = ends.clip(upper=last + pd.Timedelta(days=1))
    lengths = (ends - starts).dt.days.to_numpy()
    rows = states.loc[states.index.repeat(lengths)].reset_index(drop=True)
    rows["day"] = starts.repeat(lengths).reset_index(drop=True) + pd.to_timedelta(
        rows.groupby(states.index.repeat(lengths)).cumcount().to_numpy(), unit="D"
    )
    rates = marts.frame("select currency, rate, valid_from_date from ledger.int_fx_rates")
    rates["day"] = pd.to_datetime(rates.valid_from_date).astype(rows.day.dtype)
    rows = pd.merge_asof(
        rows.sort_values("day"),
        rates.sort_values("day")[["day", "currency", "rate"]],
        on="day",
        by="currency",
    )
    close = pd.to_datetime(rows.close_date)
    rows["base"] = rows.amount * rows.rate
    rows["is_late"] = close < rows.day
    rows["is_in_quarter"] = (close.dt.year == rows.day.dt.year) & (close.dt.quarter == rows.day.dt.quarter)
    rows["late_base"] = rows.base.where(rows.is_late)
    rows["quarter_base"] = rows.base.where(rows.is_in_quarter)
    expected = rows.groupby(["day", "stage_key"]).agg(
        deals_open=("stage_key", "size"),
        deals_without_amount=("amount", lambda amounts: amounts.isna().sum()),
        deals_past_due=("is_late", "sum"),
        deals_in_quarter=("is_in_quarter", "sum"),
        open_amount=("base", "sum"),
        past_due_amount=("late_base", "sum"),
        in_quarter_amount=("quarter_base", "sum"),
    )
    mart = marts.frame(
        f"""
        select period_start as day, stage_key, {", ".join(expected.columns)}
        from marts.mart_pipeline_daily
        where source_relation = '{SIMULATED}' and deals_open > 0
        """
    )
    mart["day"] = pd.to_datetime(mart.day).astype(rows.day.dtype)
    found = mart.set_index(["day", "stage_key"])[list(expected.columns)].astype(float).fillna(0).sort_index()
    assert len(found) > 10_000
    pd.testing.assert_frame_equal(found, expected.astype(float).sort_index(), atol=0.01, rtol=0)
