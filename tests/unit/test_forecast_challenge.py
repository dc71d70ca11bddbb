"""Whether the combination is served: on its record against the baselines chosen before each outcome."""

from dataclasses import replace

import numpy as np
import pytest

from dagster_project.forecast.baselines import Remaining
from dagster_project.forecast.challenge import BLEND, Record, challenge, is_drifting, mean_of, while_drifting
from dagster_project.forecast.combination import COMBINATION
from dagster_project.forecast.gate import BLENDED, CHOSEN, DRIFT, FALLBACK, PASSED, Choice

BASELINE = Choice("yield", CHOSEN, "yield erred least: WAPE 0.20 over 8 completed origins", 8, 0.2)


def record(error_ratio: float, loss_ratio: float = 0.5, origins: int = 8, quarters: int = 3) -> Record:
    """Outcomes of 100; the baseline erred by 20, the combination by `error_ratio` times as much."""
    every = np.ones(origins)
    return Record(
        own=0.2 * error_ratio * every,
        other=0.2 * every,
        own_loss=0.1 * loss_ratio * every,
        other_loss=0.1 * every,
        weight=every,
        quarters=quarters,
        actual=100 * every,
        own_error=20 * error_ratio * every,
        blend_error=3 * every,
    )


@pytest.mark.parametrize(
    ("error_ratio", "loss_ratio", "method", "status"),
    [
        (0.5, 0.5, COMBINATION, PASSED),
        (0.95, 0.95, COMBINATION, PASSED),
        (0.96, 0.5, BLEND, BLENDED),
        (0.5, 1.05, BLEND, BLENDED),
        (1.09, 1.09, BLEND, BLENDED),
        (1.11, 0.5, "yield", CHOSEN),
        (0.5, 1.5, "yield", CHOSEN),
    ],
)
def test_the_combination_is_served_by_error_and_by_ranges(
    error_ratio: float, loss_ratio: float, method: str, status: str
) -> None:
    choice = challenge(BASELINE, record(error_ratio, loss_ratio))
    assert (choice.method, choice.status) == (method, status)


def test_the_reason_tells_both_ratios_the_origins_and_their_quarters() -> None:
    choice = challenge(BASELINE, record(0.5, 0.75))
    assert choice.reason == (
        "the combination errs 0.50 × as much as the baselines chosen at 8 completed origins of 3 quarters, "
        "and its ranges lose 0.75 × as much"
    )
    assert choice.fallback_reason is None
    # 8 errors of 10 on 8 outcomes of 100
    assert choice.wape == pytest.approx(0.1)


def test_the_mean_of_both_has_its_own_error() -> None:
    assert challenge(BASELINE, record(1.0)).wape == pytest.approx(0.03)


def test_a_refusal_keeps_the_choice_of_the_baseline_and_says_why() -> None:
    choice = challenge(BASELINE, record(1.4))
    assert (choice.method, choice.wape, choice.origins) == ("yield", 0.2, 8)
    assert choice.reason.startswith("yield erred least: WAPE 0.20 over 8 completed origins; the combination")
    assert choice.reason.endswith(": not served")


@pytest.mark.parametrize(("origins", "quarters"), [(5, 3), (8, 1)])
def test_five_origins_or_one_quarter_are_too_few(origins: int, quarters: int) -> None:
    choice = challenge(BASELINE, record(0.1, origins=origins, quarters=quarters))
    assert choice.method == "yield"
    assert f"{origins} completed origins of {quarters} quarters, too few" in choice.reason


def test_heavy_origins_decide() -> None:
    # Four origins at which it erred half as much weigh 1, four at which it erred twice as much weigh 0.1.
    some = record(1.0)
    own = np.array([0.1] * 4 + [0.4] * 4)
    weight = np.array([1.0] * 4 + [0.1] * 4)
    # (4 × 0.1 + 0.4 × 0.4) / (4.4 × 0.2) = 0.64; with equal weights it would be 1.25
    choice = challenge(BASELINE, replace(some, own=own, weight=weight))
    assert choice.status == PASSED
    assert "errs 0.64 ×" in choice.reason


def test_a_baseline_that_only_stands_in_is_kept() -> None:
    stands_in = replace(BASELINE, status=FALLBACK)
    assert challenge(stands_in, record(0.1)) is stands_in


def test_the_mean_halves_each_part() -> None:
    assert mean_of(Remaining(100.0, 40.0), Remaining(60.0, 80.0)) == Remaining(80.0, 60.0)


@pytest.mark.parametrize(
    ("wins_against_expected", "is_off"),
    [(0.69, True), (0.70, False), (None, False), (1.40, False), (1.41, True)],
)
def test_wins_far_from_what_was_expected_are_drift(wins_against_expected: float | None, is_off: bool) -> None:
    assert is_drifting(wins_against_expected) is is_off


def test_while_deals_go_on_otherwise_the_run_rate_is_served_and_the_reason_says_so() -> None:
    choice = while_drifting(BASELINE, 0.514)
    assert (choice.method, choice.status) == ("run_rate", DRIFT)
    assert choice.fallback_reason == (
        "wins of the last 13 weeks are 0.51 × what deals like these were expected to win: "
        "run rate is served instead of yield"
    )
