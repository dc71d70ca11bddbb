"""Hazards as counted by hand, replayed deal by deal, and never knowing what happened later."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lifelines import AalenJohansenFitter

from dagster_project.forecast.deal_scores import deal_rows
from dagster_project.forecast.evidence import read_context, read_evidence
from dagster_project.forecast.forecaster import make_forecasts
from dagster_project.forecast.hazard_queries import expected_of_days, expected_of_weeks, scores_of_days
from dagster_project.forecast.shared_sql import MacroMissing, shared_sql
from dagster_project.warehouse import Warehouse
from tests.hazard_bench import build_hazards
from tests.synthetic_ledger import (
    Deal,
    LedgerTables,
    Move,
    cut_at,
    ledger_tables,
    open_deal,
    random_deals,
    won_deal,
    write_ledger,
)

LAST = date(2025, 12, 31)
CUT = date(2025, 5, 14)  # a Wednesday in the middle of a quarter and of a month
EVIDENCE = date(2025, 4, 30)


def built(folder: Path, tables: LedgerTables) -> Warehouse:
    return build_hazards(write_ledger(folder / "warehouse.duckdb", tables))


@pytest.fixture(scope="module")
def tables() -> LedgerTables:
    return ledger_tables(random_deals(date(2023, 12, 4), LAST, 10, 7), LAST)


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory, tables: LedgerTables) -> Warehouse:
    return built(tmp_path_factory.mktemp("whole"), tables)


def rows(warehouse: Warehouse, sql: str) -> list[tuple]:
    return [tuple(row) for row in warehouse.query(sql).itertuples(index=False)]


# --- by hand ---


def three_deals() -> LedgerTables:
    """Monday 6 January 2025 and after; weeks end on Sundays (12, 19, 26 January, 2 February)."""
    won = Deal(
        "a1",
        (
            Move(date(2025, 1, 6), "prospect", amount=100.0),
            Move(date(2025, 1, 15), "proposal", amount=100.0),
            Move(date(2025, 1, 28), "won", "won", 90.0, date(2025, 1, 28)),
        ),
    )
    lost = Deal(
        "b1",
        (Move(date(2025, 1, 8), "prospect", amount=50.0), Move(date(2025, 1, 20), "lost", "lost", 0.0)),
    )
    return ledger_tables([won, lost, open_deal("c1", date(2025, 1, 17), 70.0, "prospect")], date(2025, 2, 4))


def test_the_histogram_counts_each_open_deal_at_each_weeks_end(tmp_path: Path) -> None:
    found = rows(
        built(tmp_path, three_deals()),
        "select cast(origin as varchar), stage_key, weeks_class, weeks_followed, outcome, "
        "cast(deals as int), cast(deals_entering as int) from forecast.int_hazard_histogram order by all",
    )
    assert found == [
        # 12 January: two prospects in their first week; one is lost in week 2, the other is won in week 3
        ("2025-01-12", "prospect", 0, 2, "lost", 1, 1),
        ("2025-01-12", "prospect", 0, 3, "won", 1, 1),
        # 19 January: the lost one is in its second week, the won one has moved on, a third one has come
        ("2025-01-19", "proposal", 0, 2, "won", 1, 1),
        ("2025-01-19", "prospect", 0, 2, "open", 1, 1),
        ("2025-01-19", "prospect", 1, 1, "lost", 1, 1),
        ("2025-01-26", "proposal", 1, 1, "won", 1, 1),
        ("2025-01-26", "prospect", 1, 1, "open", 1, 1),
        # 2 February is the last complete week: nothing is known after it
        ("2025-02-02", "prospect", 2, 0, "open", 1, 1),
    ]


def test_a_deal_won_within_a_day_was_never_open_but_is_new_business(tmp_path: Path) -> None:
    day = date(2025, 1, 8)
    deal = Deal("a1", (Move(day, "proposal"), Move(day, "won", "won", 100.0, day)))
    warehouse = built(tmp_path, ledger_tables([deal, open_deal("b1", day)], date(2025, 2, 28)))
    assert rows(warehouse, "select count(*) from forecast.int_hazard_histogram where outcome = 'won'") == [
        (0,)
    ]
    won = "select age_weeks, deals_followed, deals_won from forecast.int_new_business where deals_won > 0"
    assert rows(warehouse, f"{won} and evidence_on = date '2025-01-31'") == [(0, 2, 1)]


def test_a_deal_is_followed_while_metrics_count_it(tmp_path: Path) -> None:
    """The first leaves the scope on 14 January and is won outside of it, the second was never in it."""
    left_out = {"excluded_by": "owners: Eve"}
    leaves = (
        Move(date(2025, 1, 6), "prospect"),
        Move(date(2025, 1, 14), "prospect", **left_out),
        Move(date(2025, 1, 20), "won", "won", 100.0, date(2025, 1, 20), **left_out),
    )
    outside = (
        Move(date(2025, 1, 6), "prospect", **left_out),
        Move(date(2025, 1, 21), "won", "won", 100.0, date(2025, 1, 21), **left_out),
    )
    deals = [Deal("a1", leaves), Deal("b1", outside), open_deal("c1", date(2025, 1, 28))]
    warehouse = built(tmp_path, ledger_tables(deals, date(2025, 2, 28)))
    spans = "select cast(valid_from_date as varchar), coalesce(cast(closed_on as varchar), ''), outcome"
    assert rows(warehouse, f"{spans} from forecast.int_open_spans order by all") == [
        ("2025-01-06", "2025-01-14", "lost"),
        ("2025-01-28", "", "open"),
    ]


def test_a_reopened_deal_arrives_again_and_counts_its_own_end(tmp_path: Path) -> None:
    moves = (
        Move(date(2025, 1, 6), "prospect"),
        Move(date(2025, 1, 14), "lost", "lost", 0.0),
        Move(date(2025, 1, 22), "proposal"),
        Move(date(2025, 1, 29), "won", "won", 80.0, date(2025, 1, 29)),
    )
    warehouse = built(tmp_path, ledger_tables([Deal("a1", moves)], date(2025, 2, 4)))
    assert rows(
        warehouse,
        "select arrival_number, cast(arrived_on as varchar), cast(closed_on as varchar), outcome "
        "from forecast.int_open_spans order by arrival_number",
    ) == [(1, "2025-01-06", "2025-01-14", "lost"), (2, "2025-01-22", "2025-01-29", "won")]


# --- by an independent route ---


def replayed(tables: LedgerTables, evidence_on: date) -> Counter:
    """(stage, week ahead, what) → deals, counted deal by deal and week by week from the versions."""
    counts: Counter = Counter()
    for _, versions in tables.versions.groupby("deal_key"):
        lines = list(versions.sort_values("version_number").itertuples())
        states = {}
        for line in lines:  # the last version of a day is how the day ends
            is_open = line.status == "open" and not line.is_deleted
            states[line.valid_from_date] = (line.stage_key if is_open else None, line.status)
        days = sorted(states)
        sunday = days[0] + timedelta(days=6 - days[0].weekday())
        while sunday <= evidence_on:
            stage = states[max(day for day in days if day <= sunday)][0] if days[0] <= sunday else None
            if stage is not None:
                end = next((day for day in days if day > sunday and states[day][0] is None), None)
                for step in range(1, 27):
                    if sunday + timedelta(weeks=step) > evidence_on:
                        break
                    counts[stage, step, "at_risk"] += 1
                    if end is not None and end <= sunday + timedelta(weeks=step):
                        is_won = states[end][1] == "won" and not any(
                            line.is_deleted and line.valid_from_date == end for line in lines
                        )
                        counts[stage, step, "won" if is_won else "lost"] += 1
                        break
            sunday += timedelta(weeks=1)
    return counts


def test_cells_count_what_a_replay_of_every_deal_counts(warehouse: Warehouse, tables: LedgerTables) -> None:
    expected = replayed(tables, EVIDENCE)
    found: Counter = Counter()
    for row in warehouse.query(
        "select stage_key, step_number, at_risk, won, lost from forecast.int_hazard_cell "
        f"where evidence_on = date '{EVIDENCE}' and cell_level = 'stage' and step_number <= 26"
    ).itertuples():
        for what in ("at_risk", "won", "lost"):
            found[row.stage_key, row.step_number, what] = getattr(row, what)
    assert +found == +expected
    assert sum(count for (_, step, what), count in expected.items() if (step, what) == (1, "won")) > 100


def test_an_overall_hazard_is_its_share_with_forty_deals_of_any_week(warehouse: Warehouse) -> None:
    cells = warehouse.query(
        "select step_number, at_risk, won, win_hazard from forecast.int_hazard_cell "
        f"where evidence_on = date '{EVIDENCE}' and cell_level = 'overall' order by step_number"
    )
    weeks = np.array([1] * 26 + [4] * 10 + [13] * 3)
    any_week = cells["won"].sum() / (cells["at_risk"] * weeks).sum()
    expected = (cells["won"] + 40 * np.minimum(any_week * weeks, 0.5)) / (cells["at_risk"] + 40)
    assert np.allclose(cells["win_hazard"], expected, rtol=1e-12)


def test_a_finer_hazard_lies_between_its_own_share_and_the_coarser_one_moved_by_its_ratio(
    tmp_path: Path,
) -> None:
    """The rule, written again with pandas for the level of stages."""
    tables = ledger_tables(random_deals(date(2024, 12, 2), CUT, 10, 3), CUT)
    cells = built(tmp_path, tables).query(
        f"select * from forecast.int_hazard_cell where evidence_on = date '{EVIDENCE}'"
    )
    overall = cells[cells["cell_level"] == "overall"].set_index("step_number")["win_hazard"]
    stages = cells[cells["cell_level"] == "stage"].copy()
    stages["coarser"] = stages["step_number"].map(overall)
    stages["group"] = np.select([stages["step_number"] <= 4, stages["step_number"] <= 13], [1, 2], 3)
    stages["expected"] = stages["at_risk"] * stages["coarser"]
    pooled = stages.groupby("group")[["won", "expected"]].sum() + 10
    own = stages.groupby(["stage_key", "group"])[["won", "expected"]].sum().reset_index()
    ratio = {
        (row.stage_key, row.group): (
            row.won + 10 * pooled.loc[row.group, "won"] / pooled.loc[row.group, "expected"]
        )
        / (row.expected + 10)
        for row in own.itertuples()
    }
    moved = np.array([ratio[pair] for pair in zip(stages["stage_key"], stages["group"], strict=True)])
    prior = np.minimum(stages["coarser"] * moved, 0.9)
    assert np.allclose(
        stages["win_hazard"], (stages["won"] + 40 * prior) / (stages["at_risk"] + 40), rtol=1e-9
    )


def curve_of(hazards: pd.DataFrame, folder: Path, ends: date) -> float:
    """P(won by `ends`) from the macro, for one cell with these weekly hazards and no calendar."""
    warehouse = Warehouse(folder / "curve.duckdb")
    warehouse.append("hazards.cells", hazards, {name: kind for name, kind in CELL_COLUMNS.items()})
    asked = date(2025, 1, 5)
    weeks = (ends - asked).days // 7
    exposures = " union all ".join(
        f"select date '{asked}' as as_of, {step} as step_number, "
        f"{0 if step <= weeks else 5} as quarter_offset, "
        "1e0 as win_exposure, 1e0 as plain_exposure"
        for step in range(1, len(hazards) + 1)
    )
    sql = f"""with exposures as ({exposures}),
    book as (
      select
        date '{asked}' as as_of, date '2024-12-31' as evidence_on,
        'proposal' as stage_key, 0 as time_bin, 1 as amount_tier
    ),
    cells as ({shared_sql("numbered_cells", "book")}),
    cell_hazards as ({shared_sql("open_cell_hazards", "cells", "hazards.cells")}),
    curves as ({shared_sql("win_curves", "exposures", "cells", "cell_hazards")})
    select p_win_0 from curves"""
    return float(warehouse.query(sql).iloc[0, 0])


CELL_COLUMNS = {
    "evidence_on": "date",
    "cell_level": "string",
    "stage_key": "string",
    "time_bin": "int",
    "amount_tier": "int",
    "step_number": "int",
    "win_hazard": "double",
    "loss_hazard": "double",
}


def test_the_win_curve_is_that_of_aalen_and_johansen(tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    weeks = chance.integers(1, 21, size=400)
    outcome = chance.choice([0, 1, 2], p=[0.2, 0.35, 0.45], size=400)  # censored, won, lost
    table = []
    for week in range(1, 21):
        # A deal followed to the end of a week without an outcome counts in that week.
        at_risk = int((weeks >= week).sum())
        table.append(
            {
                "evidence_on": date(2024, 12, 31),
                "cell_level": "overall",
                "stage_key": "(all)",
                "time_bin": -2,
                "amount_tier": -1,
                "step_number": week,
                "win_hazard": ((weeks == week) & (outcome == 1)).sum() / at_risk,
                "loss_hazard": ((weeks == week) & (outcome == 2)).sum() / at_risk,
            }
        )
    found = curve_of(pd.DataFrame(table), tmp_path, date(2025, 1, 5) + timedelta(weeks=12))
    fitter = AalenJohansenFitter(calculate_variance=False, seed=1)
    fitter.fit(weeks, outcome, event_of_interest=1)
    reference = fitter.cumulative_density_.loc[:12.5].iloc[-1, 0]
    # The reference breaks ties by chance; to the product of weekly shares it agrees within that.
    assert found == pytest.approx(reference, abs=0.005)
    assert 0.1 < found < 0.5


# --- as of a day ---


def of_past(warehouse: Warehouse) -> Iterator[pd.DataFrame]:
    """All that a forecast of the cut may look at."""
    yield warehouse.query(
        f"select * from forecast.int_hazard_cell where evidence_on <= date '{CUT}' "
        "order by evidence_on, cell_level, stage_key, time_bin, amount_tier, step_number"
    )
    for table, key in (
        ("int_calendar_index", "week_of_quarter"),
        ("int_win_amounts", "stage_key"),
        ("int_new_business", "age_weeks"),
        ("int_amount_tiers", "evidence_on"),
    ):
        yield warehouse.query(
            f"select * from forecast.{table} where evidence_on <= date '{CUT}' order by evidence_on, {key}"
        )
    yield warehouse.query(
        f"select * from forecast.int_hazard_forecast where as_of <= date '{CUT}' "
        "order by as_of, quarter_number"
    )
    yield expected_of_days(warehouse, [CUT])
    scores = scores_of_days(warehouse, [CUT])
    yield scores


def assert_same(left: Warehouse, right: Warehouse) -> None:
    for one, other in zip(of_past(left), of_past(right), strict=True):
        assert len(one) > 0
        pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=1e-12)


def test_evidence_and_scores_of_a_day_are_those_of_the_ledger_cut_at_it(
    tmp_path: Path, warehouse: Warehouse, tables: LedgerTables
) -> None:
    cut = built(tmp_path, cut_at(tables, CUT))
    assert_same(warehouse, cut)
    whole, known = (make_forecasts(read_evidence(ledger, [CUT]), [CUT], 1) for ledger in (warehouse, cut))
    for table in ("gate", "deals"):
        pd.testing.assert_frame_equal(getattr(whole, table), getattr(known, table), rtol=1e-9)
    # Products and regions of a past day are those of today, and say so; nothing else may differ.
    of_today = known.bookings["segment_type"].isin(["product", "region"])
    assert set(whole.bookings.loc[of_today, "asof_quality"]) == {"current_values"}
    left, right = (
        made.bookings.assign(asof_quality=made.bookings["asof_quality"].mask(of_today, "of today"))
        for made in (whole, known)
    )
    pd.testing.assert_frame_equal(left, right, rtol=1e-9)
    assert "hazards" in set(known.backtest["method"])
    assert known.gate["reason"].str.contains("the combination errs").any()


def test_turning_every_later_outcome_round_changes_nothing_before(
    tmp_path: Path, warehouse: Warehouse, tables: LedgerTables
) -> None:
    versions = tables.versions.copy()
    later = (versions["valid_from_date"] > CUT) & versions["status"].isin(["won", "lost"])
    assert later.sum() > 100
    turned = versions.loc[later, "status"].map({"won": "lost", "lost": "won"})
    versions.loc[later, "status"] = turned
    versions.loc[later, "amount_base"] = 999_999.0
    assert_same(warehouse, built(tmp_path, replace(tables, versions=versions)))


def test_amounts_known_only_today_are_not_used(tmp_path: Path) -> None:
    """Where an amount is empty while a deal is open and filled when it is won, it tells the outcome."""
    deals = random_deals(date(2024, 9, 2), CUT, 8, 5)
    today = ledger_tables(deals, CUT, quality="current_values")
    hidden = today.versions.copy()
    hidden.loc[hidden["status"] == "open", "amount_base"] = None
    one = built(tmp_path / "a", today)
    other = built(tmp_path / "b", replace(today, versions=hidden))
    assert_same(one, other)
    assert rows(one, "select distinct amount_tier from forecast.int_hazard_histogram") == [(0,)]


def test_an_amount_typed_in_at_closing_is_unknown_of_every_earlier_day(tmp_path: Path) -> None:
    """With a real history it tells no outcome: an open deal is worth the average booking, then as now."""
    deals = [
        won_deal(f"{number:04x}", opened, opened + timedelta(days=40), 300.0)
        for number, opened in enumerate(date(2024, 1, 1) + timedelta(days=2 * n) for n in range(200))
    ]
    deals = [Deal(deal.key, (replace(deal.moves[0], amount=None), deal.moves[1])) for deal in deals]
    last = date(2025, 1, 31)
    kept = [Deal(deal.key, tuple(move for move in deal.moves if move.day <= last)) for deal in deals]
    found = built(tmp_path, ledger_tables([deal for deal in kept if deal.moves], last))
    assert rows(found, "select count(open_amount) from forecast.int_open_spans") == [(0,)]
    assert rows(found, "select distinct amount_tier from forecast.int_hazard_histogram") == [(0,)]
    # Day 396 of 2024-01-01 on: deals of the last 40 days are open, opened on every second of them.
    scores = scores_of_days(found, [last])
    assert len(scores) == 20
    assert set(scores["amount_tier"]) == {0}
    assert scores["expected_ever"].to_numpy() == pytest.approx(300.0 * scores["p_win_ever"].to_numpy())


# --- the two ways to ask ---


def test_a_weeks_end_is_answered_alike_by_the_model_and_by_the_query(warehouse: Warehouse) -> None:
    days = [date(2024, 9, 29), date(2025, 3, 30), date(2025, 6, 22)]
    model = expected_of_weeks(warehouse)
    model = model[model["as_of"].isin([pd.Timestamp(day) for day in days])].reset_index(drop=True)
    assert len(model) == 15
    pd.testing.assert_frame_equal(model, expected_of_days(warehouse, days), check_exact=False, rtol=1e-9)


def test_the_scores_of_the_deals_add_up_to_the_expected_bookings(warehouse: Warehouse) -> None:
    expected = expected_of_days(warehouse, [CUT])["open_expected"]
    scores = scores_of_days(warehouse, [CUT])
    assert scores["expected_this_quarter"].sum() == pytest.approx(expected[0], abs=0.01)
    assert scores["expected_next_quarter"].sum() == pytest.approx(expected[1], abs=0.01)
    assert not scores.duplicated(["deal_key"]).any()


def test_the_factors_of_a_deal_multiply_to_its_chance(warehouse: Warehouse) -> None:
    scores = scores_of_days(warehouse, [CUT])
    factors = ["p_overall", "factor_stage", "factor_time", "factor_size", "factor_calendar"]
    assert np.allclose(scores[factors].prod(axis=1), scores["p_win_this_quarter"], rtol=1e-12)
    chances = scores[["p_win_this_quarter", "p_win_by_next_quarter", "p_win_ever"]].to_numpy()
    assert (np.diff(chances, axis=1) >= 0).all() and (chances >= 0).all() and (chances <= 1).all()
    behind = scores[["deals_overall", "deals_stage", "deals_time", "n_similar_deals"]].to_numpy()
    assert (np.diff(behind, axis=1) <= 0).all() and (behind[:, 0] > 300).all()


def test_on_the_last_day_of_a_quarter_nothing_more_is_expected_of_it(warehouse: Warehouse) -> None:
    expected = expected_of_days(warehouse, [date(2025, 3, 31)])
    assert expected.loc[0, ["open_expected", "new_expected"]].tolist() == [0.0, 0.0]
    assert (expected.loc[1:, "new_expected"] > 0).all()


def due_on(days: dict[str, date | None]) -> LedgerTables:
    """The random business, and deals of one size and age that are open on `CUT`, each due on its day."""
    deals = [
        Deal(key, (Move(date(2025, 5, 1), "proposal", amount=3000.0, close_date=day),))
        for key, day in days.items()
    ]
    return ledger_tables([*random_deals(date(2023, 12, 4), LAST, 10, 7), *deals], LAST)


def test_a_deal_slips_unless_the_curve_wins_it_by_its_close_date(tmp_path: Path) -> None:
    """On Wednesday 14 May 2025; a week's step ends on Wednesday 21 May and has five business days."""
    days = {
        "aa1": date(2025, 5, 16),
        "aa2": date(2025, 5, 21),
        "aa3": date(2025, 6, 30),
        "aa4": date(2025, 9, 30),
        "aa5": date(2028, 12, 31),
        "aa6": date(2025, 5, 14),
        "aa7": None,
    }
    ledger = built(tmp_path, due_on(days))
    scores = scores_of_days(ledger, [CUT])
    found = deal_rows(scores, read_context(ledger)).set_index("deal_id").loc[list(days)]
    chances = found[["p_win_this_quarter", "p_win_by_next_quarter", "p_win_ever"]].drop_duplicates()
    this_quarter, next_quarter, ever = chances.iloc[0]
    assert len(chances) == 1
    index = ledger.query(
        f"select week_of_quarter, win_index from forecast.int_calendar_index "
        f"where evidence_on = date '{EVIDENCE}' and week_of_quarter in (7, 8)"
    ).set_index("week_of_quarter")["win_index"]
    slip = found["p_slip"]
    assert slip["aa3"] == pytest.approx(1 - this_quarter)
    assert slip["aa4"] == pytest.approx(1 - next_quarter)
    assert slip["aa5"] == pytest.approx(1 - ever)
    # 13 to 19 May are week 7 of the quarter (Thursday, Friday, Monday are ahead); then comes week 8.
    week = 3 * index[7] + 2 * index[8]
    assert (1 - slip["aa1"]) / (1 - slip["aa2"]) == pytest.approx(2 * index[7] / week)
    assert slip["aa1"] > slip["aa2"] > slip["aa3"] > slip["aa4"]
    reasons = found["p_slip_reason"]
    assert reasons[["aa6", "aa7"]].tolist() == ["the close date is over", "no close date"]
    assert reasons.iloc[:5].isna().all()
    assert slip[["aa6", "aa7"]].isna().all()


def test_a_close_date_that_has_no_history_tells_no_slip(tmp_path: Path) -> None:
    tables = due_on({"aa1": date(2025, 6, 16)})
    no_history = tables.versions["deal_key"] == "aa1"
    tables.versions.loc[no_history, "close_date_asof_quality"] = "current_values"
    ledger = built(tmp_path, tables)
    found = deal_rows(scores_of_days(ledger, [CUT]), read_context(ledger)).set_index("deal_id").loc["aa1"]
    assert pd.isna(found["p_slip"])
    assert found["p_slip_reason"] == "the close date is known only as it is today"


def test_before_half_a_year_of_deals_hazards_say_nothing(warehouse: Warehouse) -> None:
    first = expected_of_weeks(warehouse)["as_of"].min()
    assert pd.Timestamp("2024-06-01") < first < pd.Timestamp("2024-08-01")
    assert expected_of_days(warehouse, [date(2024, 3, 10)]).empty


def test_fewer_than_thirty_wins_tell_no_chance(tmp_path: Path) -> None:
    few = [won_deal(f"a{n}", date(2025, 1, 6), date(2025, 2, 4)) for n in range(29)]
    last = date(2025, 3, 31)
    with_29 = ledger_tables([*few, open_deal("b1", date(2025, 3, 3))], last)
    assert scores_of_days(built(tmp_path / "29", with_29), [last]).empty
    one_more = won_deal("a29", date(2025, 1, 6), date(2025, 2, 4))
    with_30 = ledger_tables([*few, one_more, open_deal("b1", date(2025, 3, 3))], last)
    assert len(scores_of_days(built(tmp_path / "30", with_30), [last])) == 1


def test_a_macro_that_does_not_exist_is_named() -> None:
    with pytest.raises(MacroMissing, match="no macro 'hazards_of_mars'"):
        shared_sql("hazards_of_mars")
