"""A forecast of day D from the whole ledger is, to the last bit, the forecast from the ledger cut at D."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dagster_project.forecast.evidence import read_evidence
from dagster_project.forecast.forecaster import Forecasts, make_forecasts
from tests.synthetic_ledger import LedgerTables, cut_at, ledger_tables, random_deals, write_ledger

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
    return make_forecasts(read_evidence(write_ledger(folder / "warehouse.duckdb", tables)), days, 1)


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


def test_on_a_steady_business_the_forecast_beats_the_run_rate_and_its_ranges_hold(
    tmp_path: Path, tables: LedgerTables
) -> None:
    accuracy = forecast(tmp_path, tables, LAST).accuracy.set_index(["horizon", "method"])
    served = accuracy.xs("served", level="method")
    for horizon in ("this quarter, early", "this quarter, middle", "this quarter, late"):
        assert (
            served.loc[horizon, "absolute_error_sum"]
            < accuracy.loc[(horizon, "run_rate"), "absolute_error_sum"]
        )
        # 80 % nominal; some 30 origins of 8 quarters: a standard error of 7 points if they were independent.
        assert 0.6 <= served.loc[horizon, "interval_coverage"] <= 1.0
    assert served.loc["this quarter, late", "wape"] < served.loc["this quarter, early", "wape"]


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
