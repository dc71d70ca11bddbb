"""Exact answers of the simulated law: how long a visit lasts, and how likely a deal is to be won.

Nothing here is sampled: survival is the product of daily hazards, win probability the backward recursion
V(day) = sum over causes of p(cause) V(day + 1, target, age 0) + (1 - sum p) V(day + 1, same stage, age + 1).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.hazards import OLDEST_AGE, Hazards, day_number


def visit_survival(
    hazards: Hazards,
    config: SimulationConfig,
    stage: str,
    segment: np.ndarray,
    entered_day: np.ndarray,
    horizon_days: int,
) -> np.ndarray:
    """P(still in the stage at the end of day entered + k), k = 0 … horizon_days, one row per visit.

    `segment` and `entered_day` (day numbers) are arrays of equal length. The mean over visits is what
    Kaplan-Meier estimates for them.
    """
    code = cat.STAGE_CODE[stage]
    last = int(entered_day.max()) + horizon_days
    first = int(entered_day.min())
    factors = hazards.day_factors(np.arange(first, last + 1), config)
    survival = np.ones((len(entered_day), horizon_days + 1))
    for age in range(1, horizon_days + 1):
        age_class = hazards.age_class[min(age, OLDEST_AGE)]
        chance = hazards.per_day[code, segment, age_class] * factors[entered_day - first + age]
        survival[:, age] = survival[:, age - 1] * (1 - chance.sum(axis=1))
    return survival


def win_probability_at_entry(
    hazards: Hazards, config: SimulationConfig, by: date | None = None
) -> np.ndarray:
    """P(won at the end of `by`) at the entry of a stage: [entry day since start_on, stage, segment].

    Without `by`: won at the end of the simulation's tail, which is won for good.
    """
    end = day_number(by) if by else day_number(config.end_on) + config.tail_days
    start = day_number(config.start_on)
    result = np.empty((end - start + 1, len(cat.STAGES), cat.N_SEGMENTS))
    for day, value in _backward(hazards, config, start, end):
        result[day - start] = value[:, :, 0]
    return result


def win_probability_on(
    hazards: Hazards, config: SimulationConfig, on: date, by: date | None = None
) -> np.ndarray:
    """P(won at the end of `by`) of a deal as it stands at the end of `on`: [stage, segment, age in days].

    The age (days since the stage was entered) ends at the start of the last age class: older is the same.
    """
    end = day_number(by) if by else day_number(config.end_on) + config.tail_days
    for _, value in _backward(hazards, config, day_number(on), end):
        result = value
    return result


def _backward(
    hazards: Hazards, config: SimulationConfig, first: int, last: int
) -> Iterator[tuple[int, np.ndarray]]:
    """(day, P(won at the end of `last`) by stage, segment, age) from the last day back to the first."""
    value = np.zeros((len(cat.STAGES), cat.N_SEGMENTS, OLDEST_AGE + 1))
    for code, stage in enumerate(cat.STAGES):
        if stage.outcome == "won":
            value[code] = 1.0
    next_class = hazards.age_class[np.minimum(np.arange(OLDEST_AGE + 1) + 1, OLDEST_AGE)]
    exits = [
        (code, cause, hazards.per_day[code][:, next_class, cause])
        for code in range(len(cat.STAGES))
        for cause in range(len(cat.CAUSES))
        if hazards.per_day[code, :, :, cause].any()
    ]
    yield last, value
    for day in range(last, first, -1):
        stayed = np.concatenate([value[:, :, 1:], value[:, :, -1:]], axis=2)
        factor = hazards.day_factors(np.array([day]), config)[0]
        if factor.any():
            targets = hazards.targets[hazards.regime(day, config)]
            before = stayed.copy()
            for code, cause, chance in exits:
                target = targets[code, cause]
                reached = value[target, :, :1] if target >= 0 else 0.0
                before[code] += factor[cause] * chance * (reached - stayed[code])
            value = before
        else:
            value = stayed
        yield day - 1, value


def win_probabilities_until(
    hazards: Hazards, config: SimulationConfig, by: date, first: date
) -> Iterator[tuple[int, np.ndarray]]:
    """(day number, P(won at the end of `by`): [stage, segment, age in days]) from `by` back to `first`."""
    return _backward(hazards, config, day_number(first), day_number(by))
