"""A field that is filled in at closing, and shown as if it had been there before, is no evidence."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dagster_project.forecast.evidence import read_evidence
from dagster_project.forecast.forecaster import Forecasts, make_forecasts
from dagster_project.forecast.refused_fields import (
    AMOUNT_FIELD,
    CLOSE_DATE_FIELD,
    RefusedField,
    is_known_then,
    read_refused_fields,
    without_history,
)
from dagster_project.warehouse import Warehouse
from tests.hazard_bench import build_hazards, rendered
from tests.synthetic_ledger import Deal, LedgerTables, Move, ledger_tables, write_ledger

LAST = date(2025, 6, 30)
LOOK = LAST - timedelta(days=28)


def compared(folder: Path, tables: LedgerTables) -> pd.DataFrame:
    """Rows of int_refused_fields by source and field."""
    folder.mkdir(exist_ok=True)
    warehouse = write_ledger(folder / "warehouse.duckdb", tables)
    return warehouse.query(rendered("int_refused_fields")).set_index(["source_relation", "field_name"])


def filled_at_closing(number: int) -> list[Deal]:
    """`number` deals a week old on `LOOK` that close later and show an amount, as many that do not close, and
    as many a week old on `LAST`."""
    first, later = LOOK - timedelta(days=7), LOOK + timedelta(days=14)
    kinds = (
        (Move(first, "proposal"), Move(later, "lost", "lost", 0.0)),
        (Move(first, "proposal", amount=None),),
        (Move(LAST - timedelta(days=7), "proposal", amount=None),),
    )
    return [Deal(f"{kind}{place:03x}", moves) for kind, moves in enumerate(kinds) for place in range(number)]


def test_both_comparisons_are_those_of_a_calculation_by_hand(tmp_path: Path) -> None:
    row = compared(tmp_path, ledger_tables(filled_at_closing(25), LAST)).loc[("crm", AMOUNT_FIELD)]
    assert row["looked_on"] == pd.Timestamp(LOOK)
    assert (row["deals_closed"], row["deals_still_open"]) == (25, 25)
    assert (row["share_closed"], row["share_still_open"]) == (1.0, 0.0)
    # 25 and 25 of one stage and age: weight 12.5, half of them filled. 12.5 / sqrt(12.5 / 4).
    assert row["standard_errors_by_fate"] == pytest.approx(7.0711, abs=1e-4)
    # 50, half of them filled, against 25 of the same age: weight 16.67, a third. 8.33 / sqrt(16.67 x 2 / 9).
    assert (row["share_then"], row["share_now"]) == (0.5, 0.0)
    assert row["standard_errors_by_day"] == pytest.approx(4.3301, abs=1e-4)
    assert row["is_refused"]


def test_few_deals_may_differ_by_chance(tmp_path: Path) -> None:
    row = compared(tmp_path, ledger_tables(filled_at_closing(10), LAST)).loc[("crm", AMOUNT_FIELD)]
    # 5 / sqrt(5 / 4) would do; 3.33 / sqrt(6.67 x 2 / 9) does not.
    assert row["standard_errors_by_fate"] == pytest.approx(4.4721, abs=1e-4)
    assert row["standard_errors_by_day"] == pytest.approx(2.7386, abs=1e-4)
    assert not row["is_refused"]


def business(
    seed: int,
    deal: Callable[[str, date, np.random.Generator], Deal],
    deals_a_week: int = 10,
    weeks: int = 104,
) -> LedgerTables:
    """New deals every week up to the last day."""
    chance = np.random.default_rng(seed)
    deals = []
    for day in pd.date_range(LAST - timedelta(weeks=weeks), LAST, freq="W-TUE").date:
        for _ in range(deals_a_week):
            made = deal(f"{len(deals):04x}", day, chance)
            deals.append(Deal(made.key, tuple(move for move in made.moves if move.day <= LAST), source="crm"))
    return ledger_tables(deals, LAST)


def closing(key: str, opened: date, days: float, before: float | None, at_end: float) -> Deal:
    """Open at one amount until it is won."""
    closed = opened + timedelta(days=1 + int(days))
    return Deal(key, (Move(opened, "proposal", amount=before), Move(closed, "won", "won", at_end, closed)))


def worked_on_or_forgotten(key: str, opened: date, chance: np.random.Generator) -> Deal:
    """Half of the deals have an amount from the start and close soon; the others lie about for years."""
    if chance.random() < 0.5:
        return closing(key, opened, chance.exponential(40), 100.0, 100.0)
    return closing(key, opened, chance.exponential(600), None, 100.0)


def priced_in_the_last_stage(key: str, opened: date, chance: np.random.Generator) -> Deal:
    """Nobody has an amount before the proposal."""
    proposal = opened + timedelta(days=1 + int(chance.exponential(60)))
    deal = closing(key, proposal, chance.exponential(20), 100.0, 100.0)
    return Deal(key, (Move(opened, "prospect", amount=None), *deal.moves))


def typed_in_at_closing(key: str, opened: date, chance: np.random.Generator) -> Deal:
    """The amount comes with the win, on its day."""
    return closing(key, opened, chance.exponential(60), None, 100.0)


def given_up(key: str, opened: date, chance: np.random.Generator) -> Deal:
    """Two months ago people stopped typing amounts in."""
    shown = 100.0 if opened < LAST - timedelta(days=60) else None
    return closing(key, opened, chance.exponential(60), shown, 100.0)


def dated_back(key: str, opened: date, chance: np.random.Generator) -> Deal:
    """Amounts are typed in when the deal closes, as if they had been there from the start."""
    days = chance.exponential(60)
    is_closed = opened + timedelta(days=1 + int(days)) <= LAST
    return closing(key, opened, days, 100.0 if is_closed else None, 100.0)


def mostly_dated_back(key: str, opened: date, chance: np.random.Generator) -> Deal:
    """The same, but a third of the amounts are there from the start."""
    if chance.random() < 1 / 3:
        return closing(key, opened, chance.exponential(60), 100.0, 100.0)
    return dated_back(key, opened, chance)


@pytest.mark.parametrize(
    ("deal", "differs"),
    [
        (worked_on_or_forgotten, "standard_errors_by_fate"),
        (priced_in_the_last_stage, None),
        (typed_in_at_closing, None),
        (given_up, "standard_errors_by_day"),
    ],
)
def test_honest_amounts_are_kept_whatever_they_have_to_do_with_closing(
    tmp_path: Path, deal: Callable[[str, date, np.random.Generator], Deal], differs: str | None
) -> None:
    row = compared(tmp_path, business(1, deal)).loc[("crm", AMOUNT_FIELD)]
    assert not row["is_refused"]
    for name in ("standard_errors_by_fate", "standard_errors_by_day"):
        assert (row[name] > 4) == (name == differs)


def test_amounts_dated_back_are_refused_though_some_were_known(tmp_path: Path) -> None:
    row = compared(tmp_path, business(1, mostly_dated_back, 25)).loc[("crm", AMOUNT_FIELD)]
    assert row["is_refused"]
    assert 0.2 < row["share_still_open"] < 0.5
    assert row["share_closed"] == 1.0


def test_only_the_source_that_leaks_is_refused(tmp_path: Path) -> None:
    leaks = [replace(deal, source="import") for deal in business(1, dated_back).deals]
    honest = [Deal(f"f{deal.key}", deal.moves) for deal in business(1, worked_on_or_forgotten).deals]
    rows = compared(tmp_path, ledger_tables([*leaks, *honest], LAST))["is_refused"]
    assert rows["import", AMOUNT_FIELD]
    assert not rows["crm", AMOUNT_FIELD]


def forecasts(folder: Path, tables: LedgerTables) -> tuple[Warehouse, Forecasts]:
    folder.mkdir()
    warehouse = build_hazards(write_ledger(folder / "warehouse.duckdb", tables, probability=None))
    return warehouse, make_forecasts(read_evidence(warehouse, [LAST]), [LAST], 1)


def test_a_forecast_does_without_a_refused_amount_and_says_why(tmp_path: Path) -> None:
    tables = business(1, mostly_dated_back, 25, weeks=45)
    warehouse, told = forecasts(tmp_path / "told", tables)
    versions = tables.versions.copy()
    is_open = versions["status"] == "open"
    versions.loc[is_open, ["amount_native", "amount_base"]] = None
    versions["amount_asof_quality"] = "current_values"
    _, untold = forecasts(tmp_path / "untold", replace(tables, versions=versions))
    reason = told.bookings["fallback_reason"]
    same = told.bookings.assign(fallback_reason=untold.bookings["fallback_reason"])
    pd.testing.assert_frame_equal(same, untold.bookings, check_exact=True)
    for name in ("gate", "backtest", "accuracy"):
        pd.testing.assert_frame_equal(getattr(told, name), getattr(untold, name), check_exact=True)
    # Engines add floats in any order: chances of single deals agree to their last digits.
    pd.testing.assert_frame_equal(told.deals, untold.deals)
    assert set(told.bookings["measure_form"]) == {"count"}
    (refused,) = [one for one in read_refused_fields(warehouse) if one.field == AMOUNT_FIELD]
    assert reason.str.contains("amounts of crm are not used").all()
    assert "100% of those closed since" in refused.reason
    assert refused.reason in told.notes


def test_a_refused_field_counts_as_known_only_today(tmp_path: Path) -> None:
    warehouse = write_ledger(tmp_path / "warehouse.duckdb", ledger_tables(filled_at_closing(1), LAST))
    rows = (
        "select * from (values ('o''hara', 'history', 'history'), ('crm', 'history', 'history')) "
        "as _ (source_relation, amount_asof_quality, close_date_asof_quality)"
    )
    refused = [RefusedField("o'hara", AMOUNT_FIELD, "2025-06-02", 1.0, 0.0)]
    marked = warehouse.query(f"{without_history(rows, refused)} order by all")
    assert marked.to_numpy().tolist() == [
        ["crm", "history", "history"],
        ["o'hara", "current_values", "history"],
    ]
    assert without_history(rows, []) == rows
    known = f"select source_relation from ({rows}) as versions where "
    assert len(warehouse.query(known + is_known_then(CLOSE_DATE_FIELD, refused))) == 2
    assert len(warehouse.query(known + is_known_then(AMOUNT_FIELD, refused))) == 1
