"""Whether hazards are served: on their record against the baselines chosen before each outcome."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from dagster_project.forecast.baselines import Remaining
from dagster_project.forecast.challenge import BLEND, Record, challenge, with_blend
from dagster_project.forecast.gate import BLENDED, CHOSEN, FALLBACK, PASSED, Choice
from dagster_project.forecast.intervals import Range, quantile_loss
from dagster_project.forecast.situations import HAZARDS, Outlook

BASELINE = Choice("yield", CHOSEN, "yield erred least: WAPE 0.20 over 8 completed origins", 8, 0.2)
ACTUAL = np.full(8, 100.0)
QUARTERS = np.array([1, 1, 2, 2, 2, 2, 3, 3])


def record(error_ratio: float, loss_ratio: float = 0.5) -> Record:
    """Eight origins at which the baseline was 20 too high and hazards `error_ratio` times as much too low."""
    return Record(
        hazards=ACTUAL - 20 * error_ratio,
        baseline=ACTUAL + 20,
        hazards_loss=np.full(8, 10 * loss_ratio),
        baseline_loss=np.full(8, 10.0),
        actual=ACTUAL,
        quarter=QUARTERS,
    )


@pytest.mark.parametrize(
    ("error_ratio", "loss_ratio", "method", "status"),
    [
        (0.5, 0.5, HAZARDS, PASSED),
        (0.95, 0.95, HAZARDS, PASSED),
        (0.96, 0.5, BLEND, BLENDED),
        (0.5, 1.05, BLEND, BLENDED),
        (1.10, 1.10, BLEND, BLENDED),
        (1.11, 0.5, "yield", CHOSEN),
        (0.5, 1.5, "yield", CHOSEN),
    ],
)
def test_hazards_are_served_by_error_and_by_ranges(
    error_ratio: float, loss_ratio: float, method: str, status: str
) -> None:
    choice = challenge(BASELINE, record(error_ratio, loss_ratio), None)
    assert (choice.method, choice.status) == (method, status)


def test_the_reason_tells_both_ratios_and_the_origins() -> None:
    choice = challenge(BASELINE, record(0.5, 0.75), None)
    assert choice.reason == (
        "hazards err 0.50 × as much as the baselines chosen at 8 completed origins, "
        "and their ranges lose 0.75 × as much"
    )
    assert choice.fallback_reason is None
    # 8 errors of 10 on 8 outcomes of 100
    assert choice.wape == pytest.approx(0.1)


def test_the_mean_of_both_has_its_own_error() -> None:
    # hazards 20 too low, the baseline 20 too high
    assert challenge(BASELINE, record(1.0), None).wape == pytest.approx(0.0)


def test_a_refusal_keeps_the_choice_of_the_baseline_and_says_why() -> None:
    choice = challenge(BASELINE, record(1.4), None)
    assert (choice.method, choice.wape, choice.origins) == ("yield", 0.2, 8)
    assert choice.reason.startswith(
        "yield erred least: WAPE 0.20 over 8 completed origins; hazards err 1.40 ×"
    )
    assert choice.reason.endswith(": not served")


def test_five_origins_or_two_quarters_are_too_few() -> None:
    few = record(0.1)
    few.hazards[[1, 2, 3]] = np.nan
    assert challenge(BASELINE, few, None).method == "yield"
    assert "5 completed origins of 3 quarters, too few" in challenge(BASELINE, few, None).reason
    two_quarters = replace(record(0.1), quarter=np.minimum(QUARTERS, 2))
    assert challenge(BASELINE, two_quarters, None).method == "yield"


def test_a_baseline_that_only_stands_in_is_kept() -> None:
    stands_in = replace(BASELINE, status=FALLBACK)
    assert challenge(stands_in, record(0.1), None) is stands_in


def test_only_origins_that_both_answered_are_compared() -> None:
    # At the first origin the baseline had no answer; hazards were far off there.
    some = record(0.5)
    some.hazards[0], some.baseline[0] = 10_000.0, np.nan
    assert challenge(BASELINE, some, None).status == PASSED


def test_the_blend_halves_each_part() -> None:
    seen = Outlook(
        day=date(2026, 1, 4),
        quarter_position=3,
        quarter_offset=0,
        horizon="this quarter, early",
        measure_form="amount",
        already_won=0,
        already_won_without_amount=0,
        typical_booking=1.0,
        remaining={HAZARDS: Remaining(100.0, 40.0), "yield": Remaining(60.0, 80.0)},
    )
    assert with_blend(seen, BASELINE).remaining[BLEND] == Remaining(80.0, 60.0)
    assert (
        BLEND not in with_blend(replace(seen, remaining={HAZARDS: Remaining(1.0, 1.0)}), BASELINE).remaining
    )


def test_a_range_loses_what_falls_outside_by_its_quantiles() -> None:
    # 120 against p10 = 50, p50 = 100, p90 = 110: 0.1 × 70, 0.5 × 20, 0.9 × 10
    assert Range(50.0, 100.0, 110.0, "calibrated").loss(120.0) == pytest.approx((7 + 10 + 9) / 3)
    assert quantile_loss(110.0, 100.0, 0.9) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("wins_against_expected", "method"),
    [(0.69, "yield"), (0.70, HAZARDS), (None, HAZARDS), (1.40, HAZARDS), (1.41, "yield")],
)
def test_while_wins_are_not_what_was_expected_the_baseline_stays(
    wins_against_expected: float | None, method: str
) -> None:
    choice = challenge(BASELINE, record(0.5), wins_against_expected)
    assert choice.method == method
    if method == "yield":
        assert f"are {wins_against_expected:.2f} × what hazards expected" in choice.reason
