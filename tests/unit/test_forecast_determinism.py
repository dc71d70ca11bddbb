"""The same ledger gives the same forecasts by any number of threads, and no leak reaches them."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd

from dagster_project.forecast.evidence import read_evidence
from dagster_project.forecast.forecaster import Forecasts, make_forecasts
from tests.benchmark.forecast_worlds import LAST, leak, small_business
from tests.hazard_bench import build_hazards
from tests.synthetic_ledger import LedgerTables, write_ledger

DAYS = (date(2025, 5, 14), LAST)


def forecasts(folder: Path, tables: LedgerTables, threads: int) -> Forecasts:
    folder.mkdir()
    ledger = replace(write_ledger(folder / "warehouse.duckdb", tables, probability=None), threads=threads)
    return make_forecasts(read_evidence(build_hazards(ledger), DAYS), DAYS, 1)


def assert_equal(one: Forecasts, other: Forecasts) -> None:
    for name in ("bookings", "gate", "backtest", "accuracy"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name), check_exact=True)


def test_one_and_two_threads_give_equal_rows(tmp_path: Path) -> None:
    tables = small_business(1)
    one, two = (forecasts(tmp_path / str(threads), tables, threads) for threads in (1, 2))
    assert_equal(one, two)
    # Models, baselines and their combination are all among what is compared.
    assert {"hazards", "combination", "yield"} <= set(one.backtest["method"])
    assert {"passed", "chosen"} <= set(one.backtest["gate_status"])


def test_amounts_that_only_closed_deals_have_are_refused_and_reported(tmp_path: Path) -> None:
    tables = leak(1)
    told = forecasts(tmp_path / "told", tables, 2)
    versions = tables.versions.copy()
    is_open = versions["status"] == "open"
    assert versions.loc[is_open, "amount_base"].notna().mean() > 0.5
    versions.loc[is_open, ["amount_native", "amount_base"]] = None
    assert_equal(told, forecasts(tmp_path / "untold", replace(tables, versions=versions), 2))
    assert set(told.bookings["asof_quality"]) == {"current_values"}
    assert set(told.bookings["measure_form"]) == {"count"}
