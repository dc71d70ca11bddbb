"""A forecast of day D from the whole ledger is, to the last bit, the forecast from the ledger cut at D."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dagster_project.forecast.evidence import read_evidence
from dagster_project.forecast.forecaster import Forecasts, make_forecasts
from tests.synthetic_ledger import (
    Deal,
    LedgerTables,
    Move,
    cut_at,
    ledger_tables,
    random_deals,
    won_deal,
    write_ledger,
)

LAST = date(2026, 3, 31)
DAYS = (
    date(2024, 1, 20),  # before the first booking is three weeks old
    date(2024, 9, 30),  # the last day of a quarter
    date(2024, 10, 2),  # inside the grace of the quarter before
    date(2025, 5, 14),
    date(2026, 1, 7),
    date(2026, 3, 30),
)


@pytest.fixture(scope="module", params=[True, False], ids=["open amounts", "no open amounts"])
def tables(request: pytest.FixtureRequest) -> LedgerTables:
    return ledger_tables(random_deals(date(2023, 12, 4), LAST, 12, 7, request.param), LAST)


def forecast(folder: Path, tables: LedgerTables, *days: date) -> Forecasts:
    return make_forecasts(read_evidence(write_ledger(folder / "warehouse.duckdb", tables), days), days, 1)


def of_day(frame: pd.DataFrame, day: date) -> pd.DataFrame:
    return frame[frame["as_of"] == pd.Timestamp(day)].reset_index(drop=True)


def assert_identical(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left.reset_index(drop=True), right.reset_index(drop=True), check_exact=True)


def test_every_row_is_the_row_of_the_ledger_cut_at_its_day(tmp_path: Path, tables: LedgerTables) -> None:
    whole = forecast(tmp_path, tables, *DAYS)
    methods = set()
    for day in DAYS:
        cut = forecast(tmp_path, cut_at(tables, day), day)
        assert_identical(of_day(whole.bookings, day), cut.bookings)
        assert_identical(of_day(whole.gate, day), cut.gate)
        known = whole.backtest[whole.backtest["known_at"] <= pd.Timestamp(day)]
        order = ["origin", "quarter_offset", "method"]
        assert_identical(known.sort_values(order), cut.backtest.sort_values(order))
        methods |= set(cut.bookings["served_method"])
    # The days are worth comparing: from nothing known to choices by evidence.
    assert len(whole.bookings) == 5 * len(DAYS)
    assert len(methods) >= 3


def test_the_same_days_twice_are_identical(tmp_path: Path, tables: LedgerTables) -> None:
    first = forecast(tmp_path, tables, *DAYS)
    shuffled = LedgerTables(
        tables.versions.sample(frac=1, random_state=3),
        tables.transitions.sample(frac=1, random_state=4),
        tables.as_of,
    )
    again = forecast(tmp_path, shuffled, *reversed(DAYS), DAYS[0])
    for name in ("bookings", "gate", "backtest", "accuracy"):
        assert_identical(getattr(first, name), getattr(again, name))


def test_every_forecast_adds_up_and_its_range_starts_at_what_is_won(
    tmp_path: Path, tables: LedgerTables
) -> None:
    days = [LAST - timedelta(days=13 * step) for step in range(60)]
    rows = forecast(tmp_path, tables, *days).bookings
    parts = rows["already_won"] + rows["open_expected"] + rows["not_yet_created_expected"]
    assert np.allclose(parts, rows["mean"], atol=0.002, rtol=0)
    assert (rows["p10"] >= rows["already_won"]).all()
    assert (rows["mean"] >= rows["already_won"]).all()
    assert ((rows["p10"] <= rows["p50"]) & (rows["p50"] <= rows["p90"])).all()
    assert ((rows["p10"] <= rows["mean"]) & (rows["mean"] <= rows["p90"])).all()
    assert (rows["fallback_reason"].isna() == (rows["gate_status"] == "chosen")).all()


def growing_business() -> list[Deal]:
    """Two percent more deals every week; every second one is won after 45 days, the others are lost."""
    deals: list[Deal] = []
    for week in range(120):
        opened = date(2023, 12, 4) + timedelta(weeks=week)
        closed = opened + timedelta(days=45)
        for number in range(round(4 * 1.02**week)):
            key = f"{week}-{number}"
            lost = Deal(key, (Move(opened, "proposal"), Move(closed, "lost", "lost", 0.0, closed)))
            deals.append(lost if number % 2 else won_deal(key, opened, closed))
    return [
        Deal(deal.key, tuple(move for move in deal.moves if move.day <= LAST))
        for deal in deals
        if deal.moves[0].day <= LAST
    ]


def test_on_a_growing_business_the_choice_leaves_the_run_rate_behind(tmp_path: Path) -> None:
    made = forecast(tmp_path, ledger_tables(growing_business(), LAST), date(2026, 1, 10))
    assert made.bookings.loc[0, "served_method"] in ("yield", "stage_share")
    accuracy = made.accuracy.set_index(["horizon", "method"])
    # The open pipeline of a day tells the next 45 days; the last 91 days lag behind the growth.
    assert accuracy.loc[("this quarter, early", "run_rate"), "ratio_to_best_baseline"] > 1.5
    assert accuracy.loc[("this quarter, early", "run_rate"), "bias"] < -0.05


def test_calibrated_ranges_hold_about_as_often_as_they_promise(tmp_path: Path) -> None:
    held = made = 0
    for seed in (7, 8, 9):
        tables = ledger_tables(random_deals(date(2023, 12, 4), LAST, 12, seed), LAST)
        accuracy = forecast(tmp_path, tables, LAST).accuracy
        served = accuracy[accuracy["method"] == "served"]
        held += served["interval_numerator"].sum()
        made += served["interval_denominator"].sum()
    # 80 % nominal. The origins share some twelve quarters: twelve independent outcomes err by 12 points.
    assert made >= 200
    assert 0.57 <= held / made <= 0.97


def test_accuracy_is_what_a_plain_computation_on_the_backtest_gives(
    tmp_path: Path, tables: LedgerTables
) -> None:
    made = forecast(tmp_path, tables, LAST)
    rows = made.backtest[(made.backtest["horizon"] == "quarter+1") & (made.backtest["method"] == "yield")]
    accuracy = made.accuracy[(made.accuracy["horizon"] == "quarter+1") & (made.accuracy["method"] == "yield")]
    error = [forecast - actual for forecast, actual in zip(rows["forecast"], rows["actual"], strict=True)]
    (row,) = accuracy.itertuples()
    assert row.origins == len(error)
    assert row.wape == pytest.approx(sum(abs(value) for value in error) / sum(rows["actual"]))
    assert row.bias == pytest.approx(sum(error) / sum(rows["actual"]))


def test_the_choice_of_a_day_has_the_least_error_on_origins_final_by_that_day(
    tmp_path: Path, tables: LedgerTables
) -> None:
    day = date(2026, 1, 7)
    made = forecast(tmp_path, tables, day)
    chosen = 0
    for gate in made.gate[made.gate["gate_status"] == "chosen"].itertuples():
        known = made.backtest[
            (made.backtest["horizon"] == gate.horizon) & (made.backtest["known_at"] <= pd.Timestamp(day))
        ]
        wide = known.pivot(index=["origin", "period"], columns="method", values="forecast")
        enough = wide.count()[lambda counts: (counts >= 3) & (counts * 2 >= counts.max())].index
        shared = wide[list(enough)].dropna()
        actual = known.drop_duplicates(["origin", "period"]).set_index(["origin", "period"])["actual"]
        actual = actual.loc[shared.index]
        errors = shared.sub(actual, axis=0).abs().sum() / actual.abs().sum()
        assert gate.wape == pytest.approx(errors.min(), abs=0.0006)
        assert errors[gate.method] == pytest.approx(errors.min(), abs=0.0011)
        assert gate.compared_origins == len(shared)
        chosen += 1
    assert chosen >= 3
