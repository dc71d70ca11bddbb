"""Whether the combination is served: by completed origins only, against the baseline chosen at each of them.

The baseline of every origin is the one that was chosen before its outcome: beating the baseline that turned
out best would be luck, and losing to it no shame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dagster_project.forecast.baselines import RUN_RATE, Remaining
from dagster_project.forecast.combination import COMBINATION
from dagster_project.forecast.gate import BLENDED, CHOSEN, DRIFT, PASSED, Choice, words

Array = np.ndarray

BLEND = "combination_and_baseline"
"""The mean of the combination and the baseline."""

FEWEST_ORIGINS = 6
FEWEST_QUARTERS = 2
"""Origins of one quarter share one outcome, so six of them could be one piece of luck."""

PASSES_AT = 0.95
BLENDS_AT = 1.10
DRIFT_LOW = 0.7
DRIFT_HIGH = 1.4


@dataclass(frozen=True)
class Record:
    """Completed origins at which both answered: relative errors, quantile losses, weights and quarters.

    own, own_loss: of the combination; other, other_loss: of the baselines chosen ex ante. weight: 1 for a
    whole quarter of the same horizon, divided by the usual error of each horizon. actual, own_error: what was
    booked and how far off the combination was, in thousandths. Arrays of equal length.
    """

    own: Array
    other: Array
    own_loss: Array
    other_loss: Array
    weight: Array
    quarters: int
    actual: Array
    own_error: Array
    blend_error: Array


def is_drifting(wins_against_expected: float | None) -> bool:
    """Whether the wins of the last 13 weeks are not what hazards expected of them."""
    return wins_against_expected is not None and not DRIFT_LOW <= wins_against_expected <= DRIFT_HIGH


def challenge(baseline: Choice, record: Record) -> Choice:
    """The baseline's choice, or the combination, or the mean of both.

    The combination is served when both its error and its quantile loss are at most 0.95 times those of the
    baselines chosen ex ante, on at least six completed origins of two quarters; up to 1.1 times the mean of
    both is served; beyond, the baseline. A baseline that only stands in is kept.
    """
    if baseline.status != CHOSEN:
        return baseline
    origins = len(record.own)
    if origins < FEWEST_ORIGINS or record.quarters < FEWEST_QUARTERS:
        return _kept(
            baseline,
            f"the combination has {origins} completed origins of {record.quarters} quarters, "
            "too few to be compared",
        )
    other, other_loss = _sum(record.weight, record.other), _sum(record.weight, record.other_loss)
    booked = float(np.abs(record.actual).sum())
    if min(other, other_loss, booked) <= 0:
        return _kept(baseline, "the combination cannot be compared with baselines that never erred")
    error_ratio = _sum(record.weight, record.own) / other
    loss_ratio = _sum(record.weight, record.own_loss) / other_loss
    found = (
        f"the combination errs {error_ratio:.2f} × as much as the baselines chosen at {origins} completed "
        f"origins of {record.quarters} quarters, and its ranges lose {loss_ratio:.2f} × as much"
    )
    worse = max(error_ratio, loss_ratio)
    if worse <= PASSES_AT:
        return Choice(COMBINATION, PASSED, found, origins, float(record.own_error.sum()) / booked)
    if worse <= BLENDS_AT:
        reason = f"{found}: the mean of the combination and {words(baseline.method)} is served"
        return Choice(BLEND, BLENDED, reason, origins, float(record.blend_error.sum()) / booked)
    return _kept(baseline, f"{found}: not served")


def while_drifting(baseline: Choice, wins_against_expected: float) -> Choice:
    """The shortest memory there is: what deals did before the last weeks says little about the next ones."""
    return Choice(
        RUN_RATE,
        DRIFT,
        f"wins of the last 13 weeks are {wins_against_expected:.2f} × what deals like these were expected to "
        f"win: run rate is served instead of {words(baseline.method)}",
        baseline.origins,
        None,
    )


def mean_of(one: Remaining, other: Remaining) -> Remaining:
    """The mean of both parts."""
    return Remaining((one.from_open + other.from_open) / 2, (one.from_new + other.from_new) / 2)


def _sum(weight: Array, values: Array) -> float:
    return float((weight * values).sum())


def _kept(baseline: Choice, finding: str) -> Choice:
    return replace(baseline, reason=f"{baseline.reason}; {finding}")
