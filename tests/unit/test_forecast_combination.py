"""The combination: weights from errors of neighbouring horizons, newer quarters first, worked out by hand."""

import numpy as np
import pytest

from dagster_project.forecast.baselines import RUN_RATE, STAGE_SHARE, Remaining
from dagster_project.forecast.combination import (
    BEST_BASELINE,
    combined,
    member_weights,
    relative_error,
)
from dagster_project.forecast.pooling import Pool, pool_of
from dagster_project.forecast.situations import CHALLENGER, HAZARDS

NAN = float("nan")


def pool(*weights: float, step: tuple[int, ...] | None = None) -> Pool:
    """Origins of one quarter each, all of one horizon unless said otherwise."""
    places = np.arange(len(weights))
    steps = np.array(step) if step else np.zeros(len(weights), dtype=int)
    return Pool(places, np.array(weights), places, steps, np.ones(len(weights)))


def test_an_origin_counts_less_the_farther_its_horizon_and_the_older_its_quarter() -> None:
    found = pool_of(
        completed=np.array([True, True, True, True, True, False]),
        horizon_step=3,
        step=np.array([3, 4, 1, 0, 3, 3]),
        quarter=np.array([8, 8, 7, 8, 8, 9]),
        share=np.array([0.5, 1.0, 1.0, 1.0, 0.5, 1.0]),
    )
    # The fourth is three steps away, the last not completed; the third is two steps and a quarter away.
    assert list(found.places) == [0, 1, 2, 4]
    assert found.weight == pytest.approx([0.5, 0.5, 0.25 * 0.85, 0.5])
    assert found.quarters == 2


def test_far_horizons_that_err_twice_as_much_do_not_count_twice() -> None:
    found = pool(1.0, 1.0, 0.5, step=(0, 0, 1)).even(np.array([1.0, 3.0, 4.0]))
    # Means of the horizons: 2 and 4.
    assert found == pytest.approx([0.5, 0.5, 0.125])


def test_errors_are_shares_of_the_expected_quarter_and_absurd_ones_are_cut() -> None:
    found = relative_error(np.array([90.0, 900.0, NAN]), np.full(3, 100.0), np.full(3, 50.0))
    assert found[:2] == pytest.approx([0.2, 3.0])
    assert np.isnan(found[2])


def test_weights_are_likelihoods_that_sharpen_with_the_quarters_behind_them() -> None:
    # Over the mean error 0.2, hazards err 0.5 and the baseline 1.5 × as much, at one quarter of evidence;
    # half a quarter says that both err alike: (0.5 + 0.5) against (1.5 + 0.5), to the power of 1 + 0.5.
    errors = {BEST_BASELINE: np.array([0.3]), HAZARDS: np.array([0.1])}
    weights = member_weights(errors, pool(1.0), (BEST_BASELINE, HAZARDS))
    assert weights[HAZARDS] / weights[BEST_BASELINE] == pytest.approx(2**1.5)
    assert sum(weights.values()) == pytest.approx(1.0)
    # A second quarter alike: (1.0 + 0.5) against (3.0 + 0.5), to the power of 2 + 0.5.
    twice = {member: np.repeat(error, 2) for member, error in errors.items()}
    weights = member_weights(twice, pool(1.0, 1.0), (BEST_BASELINE, HAZARDS))
    assert weights[HAZARDS] / weights[BEST_BASELINE] == pytest.approx((3.5 / 1.5) ** 2.5)


def test_models_begin_with_the_weight_of_all_baselines_together() -> None:
    members = (BEST_BASELINE, RUN_RATE, STAGE_SHARE, HAZARDS)
    weights = member_weights({member: np.array([0.2]) for member in members}, pool(1.0), members)
    assert weights == pytest.approx(
        {BEST_BASELINE: 1 / 6, RUN_RATE: 1 / 6, STAGE_SHARE: 1 / 6, HAZARDS: 1 / 2}
    )


def test_without_a_model_the_baselines_share_the_whole_weight() -> None:
    errors = {BEST_BASELINE: np.array([0.2]), RUN_RATE: np.array([0.2]), HAZARDS: np.array([0.2])}
    weights = member_weights(errors, pool(1.0), (BEST_BASELINE, RUN_RATE))
    assert weights == pytest.approx({BEST_BASELINE: 0.5, RUN_RATE: 0.5})


def test_without_completed_origins_a_model_weighs_as_much_as_a_baseline() -> None:
    errors = {BEST_BASELINE: np.empty(0), HAZARDS: np.empty(0)}
    assert member_weights(errors, pool(), (BEST_BASELINE, HAZARDS)) == {BEST_BASELINE: 0.5, HAZARDS: 0.5}


def test_a_member_without_an_answer_today_has_no_weight_and_one_without_a_record_is_average() -> None:
    errors = {
        BEST_BASELINE: np.array([0.2]),
        HAZARDS: np.array([0.2]),
        CHALLENGER: np.array([NAN]),
    }
    assert member_weights(errors, pool(1.0), (BEST_BASELINE, HAZARDS)) == {BEST_BASELINE: 0.5, HAZARDS: 0.5}
    weights = member_weights(errors, pool(1.0), (BEST_BASELINE, HAZARDS, CHALLENGER))
    # The two models share what models weigh.
    assert weights[CHALLENGER] == pytest.approx(1 / 4)


def test_a_model_is_compared_only_where_it_answered() -> None:
    # At the second origin all others were far off; hazards did not answer and gain nothing by it.
    errors = {BEST_BASELINE: np.array([0.2, 3.0]), HAZARDS: np.array([0.2, NAN])}
    weights = member_weights(errors, pool(1.0, 1.0), (BEST_BASELINE, HAZARDS))
    assert weights[HAZARDS] == pytest.approx(0.5)


def test_both_parts_are_weighted_means() -> None:
    answers = {BEST_BASELINE: Remaining(100.0, 40.0), HAZARDS: Remaining(60.0, 80.0)}
    mean = combined(answers, {BEST_BASELINE: 0.25, HAZARDS: 0.75})
    assert mean == Remaining(pytest.approx(70.0), pytest.approx(70.0))
