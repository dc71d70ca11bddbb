"""The baselines, each on numbers small enough to work out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from dagster_project.forecast.baselines import (
    BASELINES,
    PastWindow,
    Situation,
    crm_probability,
    pipeline_yield,
    run_rate,
    same_window_last_quarter,
    same_window_last_year,
    stage_share,
)

# Two stages. In the past window 1,000 were open (10 deals), 300 of them won; 400 were booked in all.
WINDOW = PastWindow(
    open_by_stage=np.array([600, 400]),
    open_deals_by_stage=np.array([6, 4]),
    won_by_stage=np.array([60, 240]),
    booked=400.0,
)
TODAY = Situation(
    open_by_stage=np.array([200, 300]),
    window_days=30,
    is_current_quarter=True,
    daily_rate=5.0,
    last_quarter=400.0,
    last_year=200.0,
    past=(WINDOW,),
    closing=120.0,
)
NOTHING_KNOWN = Situation(np.array([0, 0]), 30, True, None, None, None, (), None)


def parts(answer: object) -> tuple[float, float]:
    return pytest.approx((answer.from_open, answer.from_new))  # type: ignore[attr-defined]


def test_run_rate_is_the_daily_rate_times_the_days_to_come_split_as_in_the_past() -> None:
    # 5 × 30 = 150; three quarters of past bookings came from deals open at the origin.
    assert parts(run_rate(TODAY)) == (112.5, 37.5)


def test_yield_is_what_a_unit_of_open_pipeline_brought() -> None:
    # 400 booked / 1,000 open × 500 open = 200.
    assert parts(pipeline_yield(TODAY)) == (150.0, 50.0)


def test_same_window_repeats_what_was_booked_then() -> None:
    assert parts(same_window_last_quarter(TODAY)) == (300.0, 100.0)
    assert parts(same_window_last_year(TODAY)) == (150.0, 50.0)


def test_stage_shares_are_drawn_towards_the_overall_share() -> None:
    # Prior: 40 deals × 100 = 4,000 at 0.3. Stage 1: (60 + 1200) / (600 + 4000); stage 2: (240 + 1200) / 4400.
    expected = 200 * 1260 / 4600 + 300 * 1440 / 4400
    assert parts(stage_share(TODAY)) == (expected, 100.0)


def test_a_stage_with_many_deals_keeps_its_own_share() -> None:
    many = replace(
        WINDOW,
        open_by_stage=WINDOW.open_by_stage * 10_000,
        open_deals_by_stage=WINDOW.open_deals_by_stage * 10_000,
        won_by_stage=WINDOW.won_by_stage * 10_000,
    )
    answer = stage_share(replace(TODAY, past=(many,)))
    assert answer is not None
    assert answer.from_open == pytest.approx(200 * 0.1 + 300 * 0.6, rel=0.001)


def test_crm_probability_adds_the_new_business_of_past_windows() -> None:
    assert parts(crm_probability(TODAY)) == (120.0, 100.0)


def test_on_the_first_day_the_crm_probability_of_open_deals_is_all_there_is() -> None:
    first_day = replace(NOTHING_KNOWN, closing=120.0)
    assert parts(crm_probability(first_day)) == (120.0, 0.0)
    assert crm_probability(replace(first_day, is_current_quarter=False)) is None


def test_several_past_windows_count_by_their_size() -> None:
    small = PastWindow(np.array([100, 0]), np.array([1, 0]), np.array([0, 0]), 30.0)
    answer = pipeline_yield(replace(TODAY, past=(WINDOW, small)))
    # (400 + 30) / (1,000 + 100) × 500, and 300 of 430 came from open deals.
    assert parts(answer) == (430 / 1100 * 500 * 300 / 430, 430 / 1100 * 500 * 130 / 430)


def test_without_open_deals_everything_to_come_is_new() -> None:
    assert parts(run_rate(replace(TODAY, open_by_stage=np.array([0, 0])))) == (0.0, 150.0)


@pytest.mark.parametrize(("is_current", "expected"), [(True, (150.0, 0.0)), (False, (0.0, 150.0))])
def test_without_past_windows_the_split_follows_the_quarter(
    is_current: bool, expected: tuple[float, float]
) -> None:
    assert parts(run_rate(replace(TODAY, past=(), is_current_quarter=is_current))) == expected


@pytest.mark.parametrize("method", list(BASELINES))
def test_a_baseline_without_its_evidence_has_no_answer(method: str) -> None:
    assert BASELINES[method](NOTHING_KNOWN) is None


@pytest.mark.parametrize("method", list(BASELINES))
def test_no_baseline_expects_less_than_nothing(method: str) -> None:
    shrinking = replace(TODAY, daily_rate=-1.0, last_quarter=-5.0, last_year=-5.0, closing=-3.0)
    answer = BASELINES[method](shrinking)
    assert answer is not None
    assert min(answer.from_open, answer.from_new) >= 0
