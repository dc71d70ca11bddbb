"""What a scenario makes of a forecast, worked out by hand on a book of four deals and three quarters.

On the day there are 10 days left of the quarter; the next two have 90 each. Served: open 200, 100, 50 and new
business 30, 90, 120. The hazards expect half of the served open part, so every deal's part is scaled by two.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from dagster_project.forecast.scenario_changes import Change, Scenario, in_words
from dagster_project.forecast.what_if import (
    DayForecast,
    Outcome,
    Period,
    StageRole,
    apply_scenario,
    moved_by_days,
    started_later,
)

DAY = date(2026, 6, 20)
PERIODS = (
    Period("2026Q2", 10, 200.0, 30.0),
    Period("2026Q3", 100, 100.0, 90.0),
    Period("2026Q4", 190, 50.0, 120.0),
)
# stage, amount if won, P(this quarter), P(by next), P(ever); expected: 60, 20, 20 and 100 alike in the sum
DEALS = pd.DataFrame(
    [
        ("a", "demo", 100.0, 0.60, 0.70, 0.80),
        ("b", "demo", 200.0, 0.10, 0.20, 0.20),
        ("c", "lead", 100.0, 0.20, 0.30, 0.40),
        ("d", "quote", 0.0, 0.50, 0.50, 0.50),
    ],
    columns=[
        "deal_key",
        "stage_key",
        "amount_if_won",
        "p_win_this_quarter",
        "p_win_by_next_quarter",
        "p_win_ever",
    ],
)
STAGES = {"Demo": StageRole(frozenset({"demo"}), frozenset({"lead"}), 0.5, 0.25, win_rate=0.5)}
FORECAST = DayForecast(DAY, PERIODS, np.array([0.0, 0.0, 0.6]), DEALS, STAGES, active_reps=3)


def outcome_of(*changes: Change, forecast: DayForecast = FORECAST) -> Outcome:
    return apply_scenario(Scenario("s", changes), forecast)


def part(outcome: Outcome, deal: str, period: int) -> tuple[float, float]:
    rows = outcome.deal_parts
    position = list(DEALS["deal_key"]).index(deal)
    found = rows[(rows["deal"] == position) & (rows["period"] == period)]
    return float(found["without_amount"].iloc[0]), float(found["with_amount"].iloc[0])


def test_nothing_asked_changes_nothing() -> None:
    outcome = outcome_of()
    assert outcome.open_change.tolist() == outcome.new_change.tolist() == [0, 0, 0]
    assert outcome.deal_parts.empty


def test_a_lost_deal_takes_its_part_of_every_quarter() -> None:
    """Expected by hazards this quarter 60 + 20 + 20 = 100, served 200; next 10 + 20 + 10 = 40, served 100.

    After the next quarter 10 and 10 are left, six tenths of them in the third: 6 + 6 = 12, served 50.
    """
    outcome = outcome_of(Change("deal_lost", "a", "a"))
    assert outcome.open_change == pytest.approx([-120, -25, -25])
    assert part(outcome, "a", 0) == (120, 0)
    assert outcome.deals_changed.tolist() == [1, 1, 1]


def test_a_deal_that_is_won_brings_its_amount_once_and_is_not_scaled() -> None:
    assert outcome_of(Change("deal_won", "b", "b")).open_change == pytest.approx([200 - 40, -50, 0])
    later = outcome_of(Change("deal_won", "b", "b", to_period="2026Q3"))
    assert later.open_change == pytest.approx([-40, 200 - 50, 0])
    beyond = outcome_of(Change("deal_won", "b", "b", to_period="2027Q1"))
    assert beyond.open_change == pytest.approx([-40, -50, 0])


def test_a_chance_that_is_set_keeps_the_deals_timing() -> None:
    """Deal c is won ever with 40 %: half of that this quarter, a quarter next, 0.15 in the third."""
    outcome = outcome_of(Change("deal_win_chance", "c", "c", number=0.8))
    assert outcome.open_change == pytest.approx([40 - 40, 20 - 25, 12 - 25])


def test_an_amount_that_is_set_scales_the_part() -> None:
    outcome = outcome_of(Change("deal_amount", "a", "a", number=150))
    assert outcome.open_change == pytest.approx([60, 12.5, 12.5])


def test_the_chance_of_a_deal_counts_with_the_amount_that_is_set_whatever_the_order_of_the_rows() -> None:
    changes = (Change("deal_won", "d", "d"), Change("deal_amount", "d", "d", number=70))
    assert outcome_of(*changes).open_change == pytest.approx([70, 0, 0])
    assert outcome_of(*reversed(changes)).open_change == pytest.approx([70, 0, 0])


def test_a_slip_to_a_quarter_moves_all_that_was_expected_before_it() -> None:
    outcome = outcome_of(Change("deal_slips", "a", "a", to_period="2026Q4"))
    assert outcome.open_change == pytest.approx([-120, -25, 145])
    assert outcome_of(Change("deal_slips", "a", "a", to_period="2026Q2")).deal_parts.empty


def test_a_slip_by_days_moves_what_falls_over_the_end_of_the_quarter() -> None:
    """By 5 days half of the ten days left move on, and 5 of 90 days of each later quarter."""
    outcome = outcome_of(Change("deal_slips", "a", "a", number=5))
    assert outcome.open_change == pytest.approx([-60, 60 - 25 * 5 / 90, 25 * 5 / 90 - 25 * 5 / 90], abs=1e-3)


def test_nothing_is_lost_by_a_slip_but_what_leaves_the_last_quarter() -> None:
    parts = np.array([10.0, 20.0, 30.0, 5.0])
    ends = np.array([10.0, 100.0, 190.0])
    for days in (1, 9.5, 95, 180, 400):
        moved = moved_by_days(parts, ends, days)
        assert moved.sum() == pytest.approx(65)
        assert moved.min() >= 0
    assert moved_by_days(parts, ends, 400) == pytest.approx([0, 0, 0, 65])


def test_on_the_last_day_of_a_quarter_a_slip_leads_into_the_next() -> None:
    assert moved_by_days(np.array([8.0, 0, 0]), np.array([0.0, 90.0]), 30) == pytest.approx([0, 8, 0])


def test_a_stage_that_wins_more_lifts_its_deals_those_before_it_and_new_business() -> None:
    """Twice as often: a is certain at 1 / 0.8, b doubles, c gains half of that, new business a quarter."""
    outcome = outcome_of(Change("stage_win_factor", "Demo", stage="Demo", number=2))
    assert outcome.open_change[0] == pytest.approx(120 * 0.25 + 40 * 1 + 40 * 0.5)
    assert outcome.new_change == pytest.approx([7.5, 22.5, 30])
    assert set(outcome.deal_parts["deal"]) == {0, 1, 2}


def test_a_stages_chance_is_set_against_what_the_stage_wins_as_a_rule() -> None:
    """The stage won half of the deals that had been in it; a quarter is half of that, whoever is there."""
    outcome = outcome_of(Change("stage_win_chance", "Demo", stage="Demo", number=0.25))
    assert part(outcome, "a", 0) == (120, 60)
    assert part(outcome, "b", 0) == (40, 20)
    assert part(outcome, "c", 0) == (40, 30)
    assert outcome.new_change == pytest.approx([-3.75, -11.25, -15])


def test_a_stage_that_never_won_has_no_rate_to_be_set_against() -> None:
    stages = {"Demo": StageRole(frozenset({"demo"}), frozenset(), 1.0, 1.0, win_rate=0.0)}
    forecast = DayForecast(DAY, PERIODS, np.zeros(3), DEALS, stages, active_reps=3)
    outcome = outcome_of(Change("stage_win_chance", "Demo", stage="Demo", number=0.25), forecast=forecast)
    assert outcome.changes_without_effect == 1
    assert "no deal that had been in the stage was won" in outcome.overrides


def test_new_business_grows_from_the_next_day_or_from_a_later_one() -> None:
    """From day 55 on: by day 100 what all bring in 45 days (30 + 35), by day 190 in 135 (120 + 140/3)."""
    assert outcome_of(Change("new_business", number=0.1)).new_change == pytest.approx([3, 9, 12])
    later = outcome_of(Change("new_business", number=0.1, starts_on=date(2026, 8, 15)))
    assert later.new_change == pytest.approx([0, 6.5, 16.667 - 6.5], abs=1e-3)


def test_a_rep_brings_what_each_of_the_active_ones_does() -> None:
    """Three reps make 30, 90, 120; one more makes a third of that, and two and a ramp less."""
    assert outcome_of(Change("hire_reps", number=1, ramp_days=0)).new_change == pytest.approx([10, 30, 40])
    ramped = outcome_of(Change("hire_reps", number=3, ramp_days=10)).new_change
    # the mean of starts on days 0 to 10: until day 10 half of 30 days' even stream
    assert ramped[0] == pytest.approx(15)
    assert ramped.sum() < 240


def test_a_ramp_is_the_mean_of_evenly_spread_starts() -> None:
    new, ends = np.array([30.0, 90.0, 120.0]), np.array([10.0, 100.0, 190.0])
    starts = np.linspace(7 + 0.005, 67 - 0.005, 6000)
    mean = np.mean([started_later(new, ends, start, 0) for start in starts], axis=0)
    assert started_later(new, ends, 7, 60) == pytest.approx(mean, abs=1e-3)


def test_changes_that_cannot_act_say_why_and_are_counted() -> None:
    gone = outcome_of(Change("deal_lost", "z", "z"), Change("new_business", number=-0.1))
    assert gone.changes_without_effect == 1
    assert (
        gone.overrides
        == "z is lost (no effect: the deal is not open on 2026-06-20, or in no metric); -10% new business"
    )
    alone = DayForecast(DAY, PERIODS, np.zeros(3), DEALS.iloc[:0], {}, active_reps=0)
    nobody = outcome_of(Change("hire_reps", number=1), Change("deal_lost", "a", "a"), forecast=alone)
    assert nobody.changes_without_effect == 2
    assert "no rep has created a deal" in nobody.overrides
    assert "no open deal has a chance on that day" in nobody.overrides
    over = outcome_of(Change("deal_won", "a", "a", to_period="2026Q1"))
    assert "2026Q1 is over on 2026-06-20" in over.overrides


def test_rows_of_one_scenario_act_together() -> None:
    """The deal that is certain slips as a certain one; the other quarter is lost to both."""
    together = outcome_of(Change("deal_slips", "b", "b", to_period="2026Q3"), Change("deal_won", "b", "b"))
    assert together.open_change == pytest.approx([-40, 200 - 50, 0])
    assert together.deal_parts["overrides"].unique().tolist() == [
        "b is won in this quarter; b slips to 2026Q3"
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change("deal_slips", "D-1", number=1), "D-1 slips by 1 day"),
        (Change("deal_win_chance", "D-1", number=0.6), "D-1 is won with a chance of 60%"),
        (Change("deal_amount", "D-1", number=250000), "D-1 brings 250,000"),
        (Change("stage_win_factor", stage="Demo", number=1.2), "Demo wins 1.2 times as often"),
        (
            Change("hire_reps", number=2, starts_on=date(2026, 7, 1)),
            "2 reps more from 2026-07-01, with a ramp of 90 days",
        ),
        (Change("new_business", number=0.05), "+5% new business"),
    ],
)
def test_a_change_is_said_in_words(change: Change, words: str) -> None:
    assert in_words(change) == words
