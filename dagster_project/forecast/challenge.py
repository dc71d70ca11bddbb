"""Whether hazards are served: only on the record of completed origins, against the baseline chosen then.

The baseline of every origin is the one that was chosen before its outcome: beating the baseline that turned
out best would be luck, and losing to it no shame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dagster_project.forecast.baselines import Remaining
from dagster_project.forecast.gate import BLENDED, CHOSEN, PASSED, Choice, words
from dagster_project.forecast.situations import HAZARDS, Outlook

Array = np.ndarray

BLEND = "hazards_and_baseline"
"""The mean of hazards and the baseline."""

FEWEST_ORIGINS = 6
FEWEST_QUARTERS = 3
"""Origins of one quarter share one outcome, so six of them could be one piece of luck."""

PASSES_AT = 0.95
BLENDS_AT = 1.10
DRIFT_LOW = 0.7
DRIFT_HIGH = 1.4


@dataclass(frozen=True)
class Record:
    """Completed origins, oldest first: both forecasts, their quantile losses, the outcome and its quarter.

    Arrays of equal length; nan where a method had no answer. Losses are in the unit of the forecasts.
    """

    hazards: Array
    baseline: Array
    hazards_loss: Array
    baseline_loss: Array
    actual: Array
    quarter: Array


def challenge(baseline: Choice, record: Record, wins_against_expected: float | None) -> Choice:
    """The baseline's choice, or that of hazards, or of the mean of both.

    Hazards are served when both their error (Σ|forecast - actual|) and their quantile loss are at most 0.95
    times those of the baselines chosen ex ante, on at least six completed origins of three quarters; up to
    1.1 times the mean of both is served; beyond, the baseline. A baseline that only stands in is kept, and so
    is any baseline while the wins of the last weeks are not what hazards expected of them: deals go on
    otherwise than they used to.
    """
    if baseline.status != CHOSEN:
        return baseline
    drift = wins_against_expected
    if drift is not None and not DRIFT_LOW <= drift <= DRIFT_HIGH:
        return _kept(
            baseline, f"wins of the last 13 weeks are {drift:.2f} × what hazards expected of them: not served"
        )
    both = np.isfinite(record.hazards) & np.isfinite(record.baseline)
    origins, quarters = int(both.sum()), len(np.unique(record.quarter[both]))
    if origins < FEWEST_ORIGINS or quarters < FEWEST_QUARTERS:
        return _kept(
            baseline,
            f"hazards have {origins} completed origins of {quarters} quarters, too few to be compared",
        )
    own = float(np.abs(record.hazards[both] - record.actual[both]).sum())
    other = float(np.abs(record.baseline[both] - record.actual[both]).sum())
    loss, other_loss = float(record.hazards_loss[both].sum()), float(record.baseline_loss[both].sum())
    booked = float(np.abs(record.actual[both]).sum())
    if min(other, other_loss, booked) <= 0:
        return _kept(baseline, "hazards cannot be compared with baselines that never erred")
    error_ratio, loss_ratio = own / other, loss / other_loss
    found = (
        f"hazards err {error_ratio:.2f} × as much as the baselines chosen at {origins} completed origins, "
        f"and their ranges lose {loss_ratio:.2f} × as much"
    )
    worse = max(error_ratio, loss_ratio)
    if worse <= PASSES_AT:
        return Choice(HAZARDS, PASSED, found, origins, own / booked)
    if worse <= BLENDS_AT:
        blend = (record.hazards[both] + record.baseline[both]) / 2
        reason = f"{found}: the mean of hazards and {words(baseline.method)} is served"
        return Choice(
            BLEND, BLENDED, reason, origins, float(np.abs(blend - record.actual[both]).sum()) / booked
        )
    return _kept(baseline, f"{found}: not served")


def with_blend(seen: Outlook, baseline: Choice) -> Outlook:
    """The outlook with the mean of hazards and of the chosen baseline, where both have an answer."""
    hazards, other = seen.remaining.get(HAZARDS), seen.remaining.get(baseline.method)
    if hazards is None or other is None:
        return seen
    mean = Remaining(
        (hazards.from_open + other.from_open) / 2,
        (hazards.from_new + other.from_new) / 2,
    )
    return replace(seen, remaining={**seen.remaining, BLEND: mean})


def _kept(baseline: Choice, finding: str) -> Choice:
    return replace(baseline, reason=f"{baseline.reason}; {finding}")
