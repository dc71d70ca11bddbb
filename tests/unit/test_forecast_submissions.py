"""Forecasts of persons against model and outcome, on three won deals of two owners, worked out by hand.

Ann (team North, led by Max) won 100 on 10 February and 50 on 20 March, of which 30 were taken back after the
quarter was final; Bo (team South, led by Eva) won 200 on 31 March, entered on 2 April. The quarter is final
on 6 April.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from dagster_project.forecast.evidence import LedgerContext, read_context
from dagster_project.forecast.submissions import accuracy_of_persons, submission_rows
from dagster_project.forecast.tables import ensure_tables
from dagster_project.warehouse import Warehouse
from tests.synthetic_ledger import Deal, Move, ledger_tables, write_ledger

END = date(2026, 4, 30)
FINAL = date(2026, 4, 6)


def won(key: str, amount: float, won_on: date, entered_on: date | None = None, *more: Move) -> Deal:
    opened = Move(date(2026, 1, 5), "proposal", amount=amount, close_date=won_on)
    return Deal(key, (opened, Move(entered_on or won_on, "won", "won", amount, won_on), *more))


DEALS = [
    won("one", 100, date(2026, 2, 10)),
    won(
        "two",
        50,
        date(2026, 3, 20),
        None,
        Move(date(2026, 4, 20), "won", "won", 20.0, date(2026, 3, 20)),
    ),
    won("three", 200, date(2026, 3, 31), date(2026, 4, 2)),
]
OWNERS = {"one": "Ann", "two": "Ann", "three": "Bo"}
SUBMITTED = [
    # person, role, submitted on, period, amount
    ("Ann", "rep", date(2026, 2, 15), "2026Q1", 180.0),
    ("Ann", "rep", date(2026, 3, 25), "2026Q1", 120.0),
    ("Max", "manager", date(2026, 3, 1), "2026Q1", 100.0),
    ("Board", "company", date(2026, 3, 10), "2026Q1", 280.0),
    ("Bo", "rep", date(2026, 4, 15), "2026Q2", 90.0),
]
ENDS = {
    "2026Q1": (date(2026, 1, 1), date(2026, 3, 31), FINAL),
    "2026Q2": (date(2026, 4, 1), date(2026, 6, 30), date(2026, 7, 3)),
}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = write_ledger(tmp_path / "warehouse.duckdb", ledger_tables(DEALS, END))
    ensure_tables(made)
    owners = pd.DataFrame(
        [("Ann", "North", "Max"), ("Bo", "South", "Eva")], columns=["owner", "team", "manager"]
    )
    text = dict.fromkeys(("owner_key", "owner", "team", "manager"), "string")
    made.append("ledger.dim_owner", owners.assign(owner_key=owners["owner"])[list(text)], text)
    made.append(
        "ledger.dim_team",
        owners[["team", "manager"]],
        {"team": "string", "manager": "string"},
    )
    made.append(
        "ledger.fct_deals",
        pd.DataFrame({"deal_key": list(OWNERS), "credit_owner_key": list(OWNERS.values())}).assign(
            excluded_by=None
        ),
        dict.fromkeys(("deal_key", "credit_owner_key", "excluded_by"), "string"),
    )
    rows = pd.DataFrame(
        [
            (period, *ENDS[period], who, role, "commit", on, amount, True)
            for who, role, on, period, amount in SUBMITTED
        ],
        columns=list(COLUMNS),
    )
    made.append("marts.int_submissions", rows, COLUMNS)
    return made


COLUMNS = {
    "period": "string",
    "period_start": "date",
    "period_end": "date",
    "final_on": "date",
    "person": "string",
    "person_role": "string",
    "category": "string",
    "submitted_on": "date",
    "submitted_amount": "decimal(20,3)",
    "is_usable": "boolean",
}


def model_said(
    warehouse: Warehouse, origin: date, amount: float, kind: str = "backtest", segment: str = "all"
) -> None:
    segment_type = "total" if segment == "all" else "team"
    if kind == "backtest":
        warehouse.execute(
            "insert into forecast.forecast_backtest "
            "(origin, period, segment_type, segment, forecast, is_served) "
            "values ($day, '2026Q1', $type, $segment, $amount, true)",
            {"day": origin, "type": segment_type, "segment": segment, "amount": amount},
        )
        return
    warehouse.execute(
        "insert into forecast.forecast_bookings (as_of, kind, period, segment_type, segment, mean) "
        "values ($day, $kind, '2026Q1', $type, $segment, $amount)",
        {"day": origin, "kind": kind, "type": segment_type, "segment": segment, "amount": amount},
    )


def rows_of(warehouse: Warehouse, context: LedgerContext | None = None) -> pd.DataFrame:
    return submission_rows(warehouse, context or read_context(warehouse)).set_index(
        ["person", "submitted_on"]
    )


def test_the_outcome_is_what_was_known_when_it_was_final(warehouse: Warehouse) -> None:
    """Ann 100 + 50, whatever was taken back later; Bo's deal was entered in time; the company all of it."""
    rows = rows_of(warehouse)
    actual = rows["actual_amount"].to_dict()
    assert actual[("Ann", pd.Timestamp("2026-02-15"))] == 150
    assert actual[("Max", pd.Timestamp("2026-03-01"))] == 150
    assert actual[("Board", pd.Timestamp("2026-03-10"))] == 350
    assert rows["error_amount"].dropna().tolist() == [30, -50, -70, -30]


def test_what_was_won_on_the_day_of_the_submission_stands_beside_it(warehouse: Warehouse) -> None:
    assert rows_of(warehouse)["won_by_then_amount"].tolist() == [100, 100, 100, 150, 0]


def test_before_the_quarter_is_final_there_is_no_outcome(warehouse: Warehouse) -> None:
    rows = rows_of(warehouse)
    assert rows.loc["Bo", "is_final"].tolist() == [False]
    assert rows.loc["Bo", ["actual_amount", "error_amount", "closer"]].isna().all().all()
    context = read_context(warehouse)
    day_before = LedgerContext(**{**vars(context), "as_of": date(2026, 4, 5)})
    assert rows_of(warehouse, day_before)["actual_amount"].isna().all()


def test_later_words_of_a_person_are_counted_and_the_last_is_marked(warehouse: Warehouse) -> None:
    rows = rows_of(warehouse).loc["Ann"]
    assert rows["submission_number"].tolist() == [1, 2]
    assert rows["is_latest"].tolist() == [False, True]
    assert rows["days_before_end"].tolist() == [44, 6]


def test_the_model_is_the_forecast_of_the_day_or_the_newest_origin_of_the_week_before(
    warehouse: Warehouse,
) -> None:
    model_said(warehouse, date(2026, 3, 3), 999)
    assert pd.isna(rows_of(warehouse).loc["Board"].iloc[0]["model_amount"])
    model_said(warehouse, date(2026, 3, 5), 777)
    model_said(warehouse, date(2026, 3, 8), 320)
    model_said(warehouse, date(2026, 3, 6), 777)
    model_said(warehouse, date(2026, 3, 9), 5, "backfill")
    model_said(warehouse, date(2026, 3, 11), 1)
    board = rows_of(warehouse).loc["Board"].iloc[0]
    assert (board["model_amount"], board["model_basis"], board["closer"]) == (320, "backtest", "model")
    model_said(warehouse, date(2026, 3, 10), 250, "backfill")
    assert rows_of(warehouse).loc["Board"].iloc[0]["model_amount"] == 250
    model_said(warehouse, date(2026, 3, 10), 420, "live")
    board = rows_of(warehouse).loc["Board"].iloc[0]
    assert (board["model_amount"], board["model_basis"], board["model_as_of"].date()) == (
        420,
        "live",
        date(2026, 3, 10),
    )
    # 280 and 420 are both 70 away from 350
    assert (board["model_error_amount"], board["closer"]) == (70, "both")


def test_a_manager_is_compared_with_the_forecast_of_the_teams(warehouse: Warehouse) -> None:
    model_said(warehouse, date(2026, 3, 1), 160, "backfill", "North")
    model_said(warehouse, date(2026, 3, 1), 500, "backfill", "South")
    rows = rows_of(warehouse)
    assert rows.loc["Max"]["model_amount"].tolist() == [160]
    assert rows.loc["Ann"]["model_amount"].isna().all()


def test_a_persons_accuracy_counts_final_periods_by_first_last_and_every_word(warehouse: Warehouse) -> None:
    """Ann said 180 and 120 of 150: too high by a fifth at first, too low by a fifth at last."""
    context = read_context(warehouse)
    rows = pd.DataFrame(list(accuracy_of_persons(submission_rows(warehouse, context), context)))
    ann = rows[rows["person"] == "Ann"].set_index("counted")
    assert ann["submissions"].to_dict() == {"first": 1, "latest": 1, "all": 2}
    assert ann["bias"].to_dict() == pytest.approx({"first": 0.2, "latest": -0.2, "all": 0.0})
    assert ann["wape"].to_dict() == pytest.approx({"first": 0.2, "latest": 0.2, "all": 0.2})
    assert ann["sample_too_small"].all()
    assert "Bo" not in set(rows["person"])


def test_person_and_model_are_judged_on_the_same_submissions(warehouse: Warehouse) -> None:
    model_said(warehouse, date(2026, 3, 10), 385, "backfill")
    context = read_context(warehouse)
    rows = pd.DataFrame(list(accuracy_of_persons(submission_rows(warehouse, context), context)))
    board = rows[(rows["person"] == "Board") & (rows["counted"] == "all")].iloc[0]
    assert board["compared_submissions"] == 1
    assert (board["compared_wape"], board["model_wape"]) == pytest.approx((0.2, 0.1))
    assert (board["compared_bias"], board["model_bias"]) == pytest.approx((-0.2, 0.1))
    assert board["closer_share"] == 0
    ann = rows[(rows["person"] == "Ann") & (rows["counted"] == "all")].iloc[0]
    assert ann["compared_submissions"] == 0
    assert pd.isna(ann["model_wape"])


def test_a_submission_without_a_model_is_in_no_comparison(warehouse: Warehouse) -> None:
    """Ann's first word, a fifth too high, had a model beside it, a tenth too low; her second had none."""
    context = read_context(warehouse)
    rows = submission_rows(warehouse, context)
    first = (rows["person"] == "Ann") & (rows["submission_number"] == 1)
    rows.loc[first, ["model_error_amount", "closer"]] = [-15.0, "model"]
    accuracy = pd.DataFrame(list(accuracy_of_persons(rows, context)))
    ann = accuracy[(accuracy["person"] == "Ann") & (accuracy["counted"] == "all")].iloc[0]
    assert (ann["submissions"], ann["compared_submissions"], ann["closer_share"]) == (2, 1, 0)
    assert (ann["bias"], ann["compared_bias"], ann["model_bias"]) == pytest.approx((0, 0.2, -0.1))


def test_before_dbt_has_read_submissions_there_are_none(tmp_path: Path) -> None:
    made = write_ledger(tmp_path / "warehouse.duckdb", ledger_tables(DEALS, END))
    assert submission_rows(made, read_context(made)).empty
