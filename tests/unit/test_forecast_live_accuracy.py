"""Live forecasts against what was then booked, worked out by hand."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from dagster_project.forecast.live_accuracy import live_accuracy_rows
from dagster_project.forecast.reviewer import review_forecasts
from dagster_project.warehouse import Warehouse
from tests.stored_forecasts import booking, store_backtest, store_bookings
from tests.synthetic_ledger import ledger_tables, open_deal, write_ledger

END = date(2025, 3, 31)
AS_OF = date(2025, 4, 30)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    deals = [open_deal("a1", date(2025, 1, 6))]
    return write_ledger(tmp_path / "warehouse.duckdb", ledger_tables(deals, AS_OF))


def q1(as_of: date, mean: float, **more: object) -> dict:
    row = booking(as_of, "2025Q1", 0, 0, mean, 0, period_end=END, interval_status="calibrated")
    return {**row, "p10": mean - 10, "p90": mean + 10, **more}


def outcome(actual: float, **more: object) -> dict:
    return {"origin": date(2025, 2, 2), "period": "2025Q1", "method": "yield", "actual": actual, **more}


def live_rows(warehouse: Warehouse) -> pd.DataFrame:
    review_forecasts(warehouse, [AS_OF])
    return warehouse.query("select * from forecast.forecast_accuracy_live order by all")


def test_live_forecasts_are_judged_by_horizon_and_method(warehouse: Warehouse) -> None:
    store_backtest(warehouse, [outcome(100)])
    store_bookings(
        warehouse,
        [
            q1(date(2025, 1, 10), 130),
            q1(date(2025, 1, 11), 90, served_method="yield"),
            q1(date(2025, 3, 20), 104, p10=101),
        ],
    )
    rows = live_rows(warehouse).set_index(["horizon", "method"])
    early = rows.loc[("this quarter, early", "served")]
    # Errors +30 and -10 of 100 + 100 booked; the second range, 80 to 100, held.
    assert (early["forecasts"], early["quarters"]) == (2, 1)
    assert (early["wape"], early["bias"]) == pytest.approx((0.2, 0.1))
    assert (early["interval_numerator"], early["interval_denominator"]) == (1, 2)
    assert rows.loc[("this quarter, early", "yield"), "wape"] == pytest.approx(0.1)
    assert rows.loc[("this quarter, early", "hazards"), "bias"] == pytest.approx(0.3)
    assert rows.loc[("this quarter, late", "served"), "interval_coverage"] == 0.0
    assert len(rows) == 5


def test_backfills_and_quarters_that_are_not_final_are_left_out(warehouse: Warehouse) -> None:
    store_backtest(warehouse, [outcome(100)])
    store_bookings(
        warehouse,
        [
            q1(date(2025, 1, 10), 130, kind="backfill"),
            q1(date(2025, 1, 10), 130, period="2025Q2", quarter_offset=1),
        ],
    )
    assert live_rows(warehouse).empty


def test_each_segment_has_its_own_outcome(warehouse: Warehouse) -> None:
    north, south = ({"segment_type": "region", "segment": name} for name in ("North", "South"))
    store_backtest(warehouse, [outcome(100), outcome(60, **north), outcome(40, **south)])
    day = date(2025, 3, 20)
    store_bookings(warehouse, [q1(day, 100), q1(day, 30, **north), q1(day, 70, **south)])
    rows = live_rows(warehouse).query("method == 'served'").set_index("segment")
    assert rows["bias"].to_dict() == pytest.approx({"all": 0.0, "North": -0.5, "South": 0.75})


def test_a_range_that_was_widened_for_want_of_evidence_counts_for_nothing() -> None:
    forecasts = pd.DataFrame(
        [
            {
                "as_of": pd.Timestamp(2025, 3, 20),
                "period": "2025Q1",
                "period_end": pd.Timestamp(END),
                "quarter_offset": 0,
                "segment_type": "total",
                "segment": "all",
                "method": "yield",
                "forecast": 1.0,
                "p10": 0.0,
                "p90": 9.0,
                "interval_status": "not calibrated",
                "actual": 0.0,
            }
        ]
    )
    served, _ = live_accuracy_rows(forecasts, AS_OF)
    assert (served["interval_denominator"], served["interval_coverage"]) == (0, None)
    # Nothing was booked: a share of nothing is no number.
    assert served["bias"] is None
