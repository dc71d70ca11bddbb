"""Which baseline is served: the one that has erred least on completed origins, chosen before the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dagster_project.forecast.baselines import BASELINES, CRM_PROBABILITY, RUN_RATE, STAGE_SHARE, YIELD

Array = np.ndarray

FEWEST_ORIGINS = 3
FEWEST_WON_DEALS = 30
FEWEST_CYCLES = 2.0
FALLBACK_ORDER = (YIELD, RUN_RATE, STAGE_SHARE, CRM_PROBABILITY)

NO_METHOD = "none"
CHOSEN = "chosen"
FALLBACK = "fallback"
NO_EVIDENCE = "no evidence"
PASSED = "passed"
BLENDED = "blended"
DRIFT = "drift"
JUDGED = (CHOSEN, PASSED, BLENDED)
"""By their errors, all of them."""


@dataclass(frozen=True)
class Maturity:
    """How much history stands behind a day: won deals, days on record, mean sales cycle in days.

    `wins_against_expected`: wins of the last quarter of a year over what hazards had expected of it.
    """

    won_deals: int
    history_days: int
    mean_cycle_days: float | None
    wins_against_expected: float | None = None

    def shortfall(self) -> str | None:
        """What is missing for a choice by evidence, in words; None when nothing is."""
        if self.won_deals < FEWEST_WON_DEALS:
            return f"{self.won_deals} won deals on record ({FEWEST_WON_DEALS} needed)"
        if self.mean_cycle_days is not None and self.history_days < FEWEST_CYCLES * self.mean_cycle_days:
            return (
                f"{self.history_days} days of history are less than two sales cycles "
                f"of {self.mean_cycle_days:.0f} days"
            )
        return None


@dataclass(frozen=True)
class Choice:
    """The served method and why. `origins`: completed origins that it was compared on or knows about."""

    method: str
    status: str
    reason: str
    origins: int
    wape: float | None

    @property
    def fallback_reason(self) -> str | None:
        """The reason when the method was not chosen by its errors, else None."""
        return None if self.status in JUDGED else self.reason


def choose(
    completed: Mapping[str, Array], actual: Array, available: Sequence[str], maturity: Maturity
) -> Choice:
    """Choose among the methods that can answer today.

    `completed`: method → its forecasts of completed origins (nan where it had none), `actual`: what came.
    A method is compared when it has at least three completed origins and half as many as the method with
    most; all are compared on the origins they share, by WAPE = Σ|forecast - actual| / Σ|actual|. Of methods
    that err alike, to a tenth of a percent, the simpler one is taken. Without that evidence: yield if it has
    three completed origins, else run rate, else the stage table.
    """
    if not available:
        return Choice(
            NO_METHOD, NO_EVIDENCE, "no baseline has any evidence yet: only what is won is counted", 0, None
        )
    counts = {
        method: int(np.isfinite(completed[method]).sum()) if method in completed else 0
        for method in available
    }
    shortfall = maturity.shortfall()
    most = max(counts.values())
    candidates = [
        method
        for method in BASELINES
        if method in counts and counts[method] >= FEWEST_ORIGINS and 2 * counts[method] >= most
    ]
    if shortfall is None and candidates:
        choice = _least_error(completed, actual, candidates)
        if choice is not None:
            return choice
    if shortfall is None:
        shortfall = _origins_phrase(most)
    method = _fallback(counts)
    return Choice(method, FALLBACK, f"{shortfall}; {words(method)} stands in", counts[method], None)


def words(method: str) -> str:
    """A method's name for people."""
    return {"crm_probability": "CRM stage probability", "none": "no method"}.get(
        method, method.replace("_", " ")
    )


def wape(forecast: Array, actual: Array) -> float | None:
    """Σ|forecast - actual| / Σ|actual|; None when nothing was booked."""
    total = float(np.abs(actual).sum())
    return float(np.abs(forecast - actual).sum()) / total if total > 0 else None


def _least_error(completed: Mapping[str, Array], actual: Array, candidates: Sequence[str]) -> Choice | None:
    shared = np.all([np.isfinite(completed[method]) for method in candidates], axis=0)
    origins = int(shared.sum())
    if origins < FEWEST_ORIGINS:
        return None
    errors = {method: wape(completed[method][shared], actual[shared]) for method in candidates}
    ranked = sorted(
        (round(error, 3), place, method)
        for place, (method, error) in enumerate(errors.items())
        if error is not None
    )
    if not ranked:
        return None
    least, _, best = ranked[0]
    reason = f"{words(best)} erred least: WAPE {least:.2f} over {origins} completed origins"
    if len(ranked) > 1:
        second, _, runner_up = ranked[1]
        reason += f"; next {words(runner_up)} {second:.2f}"
    return Choice(best, CHOSEN, reason, origins, least)


def _origins_phrase(most: int) -> str:
    if most >= FEWEST_ORIGINS:
        return "the baselines share too few completed origins with bookings to be compared"
    origins = "origin" if most == 1 else "origins"
    return f"{most} completed {origins} for this horizon ({FEWEST_ORIGINS} needed)"


def _fallback(counts: Mapping[str, int]) -> str:
    if counts.get(YIELD, 0) >= FEWEST_ORIGINS:
        return YIELD
    for method in (*FALLBACK_ORDER[1:], *BASELINES):
        if method in counts:
            return method
    raise ValueError("a fallback needs at least one available method")
