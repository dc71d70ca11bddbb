"""The combination: models and baselines weighted by what each has erred on completed origins.

Combining beats picking a champion (Bates and Granger, The combination of forecasts, 1969; Timmermann,
Forecast combinations, Handbook of Economic Forecasting, 2006). Weights are those of Bayesian model averaging
(Hoeting et al., Statistical Science 1999): how likely a member's errors are, were they Laplace with a scale
of their own. That is the inverse error to the power of the quarters it was seen in: evidence sharpens them.
Models together begin with the weight of the baselines together: baselines are much alike, the chosen one is
often one of the others besides, and a view that is told four times is still one view. Yield and last year's
window take part only where they were chosen: in a growing book they err many times as much as the others, and
no weight is small enough before that is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dagster_project.forecast.baselines import RUN_RATE, SAME_WINDOW_LAST_QUARTER, STAGE_SHARE, Remaining
from dagster_project.forecast.pooling import Pool
from dagster_project.forecast.situations import MODELS

Array = np.ndarray

COMBINATION = "combination"
"""The weighted mean of the models, of three baselines and of the baseline chosen ex ante."""

BEST_BASELINE = "best_baseline"
"""Stands for the baseline that was chosen at each origin."""

MEMBERS = (BEST_BASELINE, RUN_RATE, STAGE_SHARE, SAME_WINDOW_LAST_QUARTER, *MODELS)

PRIOR_QUARTERS = 0.5
"""Before any evidence a member is taken to err as all do; this counts as half a quarter."""

LARGEST_ERROR = 3.0
"""In expected quarters: one absurd forecast must not outweigh all others."""


def relative_error(forecast: Array, actual: Array, scale: Array) -> Array:
    """|forecast - actual| / scale, at most `LARGEST_ERROR`; nan where there was no forecast."""
    return np.minimum(np.abs(forecast - actual) / scale, LARGEST_ERROR)


def member_weights(errors: Mapping[str, Array], pool: Pool, available: Sequence[str]) -> dict[str, float]:
    """Weights, summing to 1, of the members that answer today.

    errors: member → relative_error at each origin of the pool. A member's error is taken over the mean error
    of all members at the same origins, with half a quarter of evidence that it errs like them. Its likelihood
    is the inverse of that to the power of the quarters behind it; models and baselines have half of the prior
    weight each, in equal parts.
    """
    table = np.array([errors[member] for member in errors])
    made = np.isfinite(table)
    answered = made.any(axis=0)
    field = np.where(made, table, 0.0).sum(axis=0) / np.maximum(made.sum(axis=0), 1)
    weight = np.zeros(len(answered))
    weight[answered] = pool.of(answered).even(field[answered])
    is_model = {member: member in MODELS for member in available}
    posterior = {}
    for member, row, own in zip(errors, table, made, strict=True):
        if member in available:
            erred, usual = float((weight * row)[own].sum()), float((weight * field)[own].sum())
            quarters = PRIOR_QUARTERS + float(pool.weight[own].sum())
            likelihood = ((usual + PRIOR_QUARTERS) / (erred + PRIOR_QUARTERS)) ** quarters
            posterior[member] = likelihood / list(is_model.values()).count(is_model[member])
    total = sum(posterior.values())
    return {member: value / total for member, value in posterior.items()}


def combined(answers: Mapping[str, Remaining], weights: Mapping[str, float]) -> Remaining:
    """The weighted mean of both parts."""
    return Remaining(
        sum(weight * answers[member].from_open for member, weight in weights.items()),
        sum(weight * answers[member].from_new for member, weight in weights.items()),
    )
