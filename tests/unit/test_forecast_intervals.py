"""Ranges: chance and past errors, bounded by what is won, wide and flagged while evidence is thin."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.forecast.intervals import (
    CALIBRATED,
    NOT_CALIBRATED,
    Range,
    needed_share,
    quantile_loss,
    range_of,
    share_held,
)

Z = 1.2815515655446004
"""The 90th percentile of the normal law, from a table."""


def test_chance_alone_reaches_1_28_standard_deviations_of_a_compound_poisson_sum() -> None:
    # 25 bookings of 40 are expected: √(1000 × 40) = 200
    spread = range_of(500, 1000, 40, 40, share_squared=0.0, origins=20, quarters=4)
    assert (spread.p10, spread.p50, spread.p90) == pytest.approx((1500 - Z * 200, 1500, 1500 + Z * 200))
    assert spread.status == CALIBRATED


def test_errors_of_past_forecasts_add_to_chance_as_variances_do() -> None:
    # 200 by chance and 15 % of 1000: √(200² + 150²) = 250
    spread = range_of(0, 1000, 40, 40, share_squared=0.15**2, origins=20, quarters=4)
    assert (spread.p10, spread.p90) == pytest.approx((1000 - Z * 250, 1000 + Z * 250))


def test_the_needed_share_is_the_least_with_which_the_range_would_have_held() -> None:
    # An error of 1.28 × 250 needs √(250² - 200²) / 1000 = 15 %; one of 1.28 × 200 is chance alone.
    needed = needed_share(np.array([Z * 250, -Z * 250, Z * 200]), np.full(3, 1000.0), np.full(3, 40.0))
    assert needed == pytest.approx([0.0225, 0.0225, 0.0], abs=1e-9)


def test_eight_in_ten_of_many_past_ranges_would_have_held() -> None:
    needed = np.arange(1, 1001) / 1000
    assert share_held(needed, np.full(1000, 1e6)) == pytest.approx(0.8, abs=0.001)


def test_heavy_quarters_decide() -> None:
    # The middles of the two weights lie at 0.05 and 0.55 of all, or at 0.45 and 0.95: 0.7 of the way.
    needed = np.array([1.0, 4.0])
    assert share_held(needed, np.array([1e6, 9e6])) == pytest.approx(4.0)
    assert share_held(needed, np.array([9e6, 1e6])) == pytest.approx(1.0 + 0.7 * 3.0, rel=1e-4)


def test_without_any_evidence_forecasts_are_taken_to_err_by_fifteen_percent() -> None:
    assert share_held(np.empty(0), np.empty(0)) ** 0.5 == pytest.approx(0.15, abs=0.003)


@pytest.mark.parametrize(("origins", "quarters"), [(10, 5), (99, 2)])
def test_half_of_the_evidence_missing_widens_to_half_of_ignorance_and_says_so(
    origins: int, quarters: int
) -> None:
    # Ignorance is -60 % … +120 %.
    spread = range_of(0, 100, 1, 0, share_squared=0.0, origins=origins, quarters=quarters)
    assert (spread.p10, spread.p90) == pytest.approx((70, 160))
    assert spread.status == NOT_CALIBRATED


def test_without_any_origin_the_range_is_as_wide_as_ignorance() -> None:
    spread = range_of(50, 100, 1, 0, share_squared=0.0, origins=0, quarters=0)
    assert (spread.p10, spread.p50, spread.p90) == pytest.approx((90, 150, 270))


def test_the_last_day_of_a_quarter_still_has_a_range_of_a_typical_booking() -> None:
    # Nothing is expected; one booking of 200 may still come: √(200 × 200) = 200.
    spread = range_of(1000, 0, 200, 200, share_squared=0.0, origins=20, quarters=4)
    assert (spread.p10, spread.p50, spread.p90) == pytest.approx((1000, 1000, 1000 + Z * 200))


amounts = st.floats(0, 1e12, allow_nan=False)


@given(
    won=amounts,
    expected=amounts,
    typical=amounts,
    lumpiness=amounts,
    share=st.floats(0, 9),
    origins=st.integers(0, 60),
    quarters=st.integers(0, 9),
)
def test_ranges_are_ordered_hold_the_forecast_and_never_fall_below_what_is_won(
    won: float, expected: float, typical: float, lumpiness: float, share: float, origins: int, quarters: int
) -> None:
    spread = range_of(won, expected, typical, lumpiness, share, origins, quarters)
    assert won <= spread.p10 <= spread.p50 <= spread.p90
    assert spread.p10 <= won + expected <= spread.p90


def test_a_range_loses_what_falls_outside_by_its_quantiles() -> None:
    # 120 against p10 = 50, p50 = 100, p90 = 110: 0.1 × 70, 0.5 × 20, 0.9 × 10
    assert Range(50.0, 100.0, 110.0, "calibrated").loss(120.0) == pytest.approx((7 + 10 + 9) / 3)
    assert quantile_loss(110.0, 100.0, 0.9) == pytest.approx(1.0)
