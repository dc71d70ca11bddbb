"""Ranges: quantiles of past errors, bounded by what is won, wide and flagged while evidence is thin."""

import numpy as np
import pytest

from dagster_project.forecast.intervals import CALIBRATED, NOT_CALIBRATED, conformal_range

# 99 errors from -0.49 to +0.49: the 10th smallest is -0.40, the 90th is +0.40.
ERRORS = np.arange(-49, 50) / 100


def test_with_enough_origins_the_range_is_the_tenth_and_ninetieth_of_past_errors() -> None:
    spread = conformal_range(ERRORS, 10**9, already_won=1000, expected=500, typical_booking=10)
    assert (spread.p10, spread.p50, spread.p90) == pytest.approx((1300, 1500, 1700), abs=0.001)
    assert spread.status == CALIBRATED


def test_few_quarters_widen_the_range_as_students_t_does() -> None:
    # Student's t with 9 degrees of freedom over the normal at 90 %: 1.383 / 1.2816 = 1.08; here 1 + 1/10.
    spread = conformal_range(ERRORS, 10, already_won=0, expected=100, typical_booking=1)
    assert (spread.p10, spread.p90) == pytest.approx((56, 144))
    assert spread.status == CALIBRATED


def test_fewer_than_twenty_origins_are_widened_and_flagged() -> None:
    ten_small_errors = np.linspace(-0.01, 0.01, 10)
    spread = conformal_range(ten_small_errors, 5, already_won=0, expected=100, typical_booking=1)
    # Half of the evidence is missing: half of the -60 % … +120 % of no evidence.
    assert (spread.p10, spread.p90) == pytest.approx((70, 160))
    assert spread.status == NOT_CALIBRATED


def test_many_origins_of_two_quarters_are_not_calibrated() -> None:
    spread = conformal_range(ERRORS / 100, 2, already_won=0, expected=100, typical_booking=1)
    assert (spread.p10, spread.p90) == pytest.approx((70, 160))
    assert spread.status == NOT_CALIBRATED


def test_without_any_origin_the_range_is_as_wide_as_ignorance() -> None:
    spread = conformal_range(np.empty(0), 0, already_won=50, expected=100, typical_booking=1)
    assert (spread.p10, spread.p50, spread.p90) == pytest.approx((90, 150, 270))
    assert spread.status == NOT_CALIBRATED


def test_the_range_never_falls_below_what_is_won() -> None:
    spread = conformal_range(ERRORS * 10, 12, already_won=1000, expected=500, typical_booking=10)
    assert spread.p10 == 1000


def test_the_last_day_of_a_quarter_still_has_a_range_of_a_typical_booking() -> None:
    spread = conformal_range(ERRORS + 0.5, 10**9, already_won=1000, expected=0, typical_booking=200)
    # Errors 0.01 … 0.99 of one booking of 200; the 90th smallest is 0.90. The forecast itself stays inside.
    assert (spread.p10, spread.p90) == pytest.approx((1000, 1180), abs=0.001)


def test_a_forecast_that_was_always_too_low_stays_inside_its_range() -> None:
    spread = conformal_range(ERRORS * 0 + 0.3, 10**9, already_won=0, expected=100, typical_booking=1)
    assert spread.p10 == 100
    assert (spread.p50, spread.p90) == pytest.approx((130, 130), abs=0.001)
