"""What a scenario makes of one day's forecast. No clock, no warehouse: frames and numbers in, rows out.

Every open deal has its part of the open business of each quarter: its own expected amount, scaled so that all
deals together give the part that was served. A change multiplies, sets or moves such parts. What is not yet
created is a curve over days; reps and growth add shifted copies of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd

from dagster_project.forecast import scenario_changes as kinds
from dagster_project.forecast.scenario_changes import Change, Scenario, in_words

Array = np.ndarray

PLACES = 3
"""Decimals of money that are kept."""

_AN_INSTANT = 1e-6
"""Days that a quarter has left on its last day: none, but what moves must start somewhere."""


@dataclass(frozen=True)
class Period:
    """A forecast quarter: its label, its last day in days after the as-of day, and what was served for it."""

    label: str
    last_day: int
    open_expected: float
    not_yet_created_expected: float


@dataclass(frozen=True)
class StageRole:
    """What a stage means for others: its keys, those before it, and how many wins pass through it.

    share_of_pipeline: of the wins of its pipelines; share_of_all: of all wins; win_rate: won / (won + lost)
    of the deals closed that had been in it; all of the last year.
    """

    keys: frozenset[str]
    keys_before: frozenset[str]
    share_of_pipeline: float
    share_of_all: float
    win_rate: float


@dataclass(frozen=True)
class DayForecast:
    """What a scenario may change.

    periods: consecutive quarters from the one of `day`, at least one. later_share: per period the share of
    what is won after the next quarter (0 for the first two); deals: columns of `forecast_deals`.
    """

    day: date
    periods: Sequence[Period]
    later_share: Array
    deals: pd.DataFrame
    stages: Mapping[str, StageRole] = field(default_factory=dict)
    active_reps: int = 0


@dataclass(frozen=True)
class Outcome:
    """With a scenario: change of the open and of the new part per period, and the deals behind the first.

    deal_parts: columns deal (position), period (position), without_amount, with_amount, overrides.
    """

    open_change: Array
    new_change: Array
    deal_parts: pd.DataFrame
    deals_changed: Array
    overrides: str
    changes_without_effect: int


def apply_scenario(scenario: Scenario, forecast: DayForecast) -> Outcome:
    """The effect of all changes of a scenario together.

    Stages come first, then what is said of single deals (amount, chance, outcome), and slips last, since they
    move whatever the others have left.
    """
    book = _Book(forecast)
    words: list[str] = []
    idle = 0
    for change in sorted(scenario.changes, key=lambda change: _ORDER.index(change.kind)):
        why_not = book.apply(change)
        words.append(in_words(change) + (f" (no effect: {why_not})" if why_not else ""))
        idle += bool(why_not)
    return book.outcome("; ".join(words), idle)


_ORDER = (
    kinds.STAGE_WIN_FACTOR,
    kinds.STAGE_WIN_CHANCE,
    kinds.DEAL_AMOUNT,
    kinds.DEAL_WIN_CHANCE,
    kinds.DEAL_WON,
    kinds.DEAL_LOST,
    kinds.DEAL_SLIPS,
    kinds.NEW_BUSINESS,
    kinds.HIRE_REPS,
)


class _Book:
    """The parts of one day while a scenario acts on them. The last column is whatever comes after."""

    def __init__(self, forecast: DayForecast) -> None:
        deals = forecast.deals
        self.forecast = forecast
        self.place = {key: place for place, key in enumerate(deals["deal_key"])}
        self.stage_keys = deals["stage_key"].to_numpy(dtype=object)
        self.chance_ever = deals["p_win_ever"].to_numpy(dtype=float)
        self.amounts = deals["amount_if_won"].fillna(0).to_numpy(dtype=float).copy()
        self.chances = _chances(forecast)
        served = np.array([period.open_expected for period in forecast.periods])
        raw = (self.chances * self.amounts[:, None])[:, :-1]
        total = raw.sum(axis=0)
        scale = np.divide(served, total, out=np.ones_like(served), where=total > 0)
        self.before = np.column_stack((raw * scale, self.chances[:, -1] * self.amounts))
        self.after = self.before.copy()
        self.new_factor = 1.0
        self.new_added = np.zeros(len(served))
        self.said: dict[int, list[str]] = {}
        self.stage_said: list[tuple[Array, str]] = []

    def apply(self, change: Change) -> str | None:
        """Let a change act; returns why it could not."""
        if change.kind in (kinds.NEW_BUSINESS, kinds.HIRE_REPS):
            return self._create_more(change)
        if not self.place:
            return "no open deal has a chance on that day"
        if change.kind in (kinds.STAGE_WIN_FACTOR, kinds.STAGE_WIN_CHANCE):
            return self._change_stage(change)
        if change.deal_key not in self.place:
            return f"the deal is not open on {self.forecast.day}, or in no metric"
        return self._change_deal(change, self.place[change.deal_key])

    def outcome(self, overrides: str, idle: int) -> Outcome:
        """What has changed, per period and per deal, in money of `PLACES` decimals."""
        before, after = (np.round(parts[:, :-1], PLACES) for parts in (self.before, self.after))
        deal, period = np.nonzero(np.abs(after - before) >= 0.5 * 10**-PLACES)
        parts = pd.DataFrame(
            {
                "deal": deal,
                "period": period,
                "without_amount": before[deal, period],
                "with_amount": after[deal, period],
                "overrides": [self._words_of(place) for place in deal],
            }
        )
        new = np.array([p.not_yet_created_expected for p in self.forecast.periods])
        new_change = np.maximum(self.new_factor * (new + self.new_added), 0.0) - new
        return Outcome(
            open_change=np.round((after - before).sum(axis=0), PLACES),
            new_change=np.round(new_change, PLACES),
            deal_parts=parts,
            deals_changed=np.bincount(period, minlength=len(new)),
            overrides=overrides,
            changes_without_effect=idle,
        )

    def _words_of(self, place: int) -> str:
        of_stage = [words for touched, words in self.stage_said if touched[place]]
        return "; ".join([*of_stage, *self.said.get(place, [])])

    def _change_stage(self, change: Change) -> str | None:
        role = self.forecast.stages.get(change.stage or "")
        if role is None:
            return f"the stage is not known on {self.forecast.day}"
        inside = np.isin(self.stage_keys, list(role.keys))
        ahead = np.isin(self.stage_keys, list(role.keys_before))
        factor = change.amount
        if change.kind == kinds.STAGE_WIN_CHANCE:
            # against what the stage wins as a rule: its deals of today may be the slow ones that were left
            if role.win_rate <= 0:
                return "no deal that had been in the stage was won in the year before"
            factor = change.amount / role.win_rate
        passing = 1 + (factor - 1) * role.share_of_pipeline
        factors = np.where(inside, factor, np.where(ahead, passing, 1.0))
        certain = np.divide(1.0, self.chance_ever, out=np.ones_like(factors), where=self.chance_ever > 0)
        self.after *= np.minimum(factors, np.maximum(certain, 1.0))[:, None]
        self.new_factor *= max(0.0, 1 + (factor - 1) * role.share_of_all)
        self.stage_said.append((factors != 1.0, in_words(change)))
        return None

    def _change_deal(self, change: Change, place: int) -> str | None:
        parts, chances = self.after[place], self.chances[place]
        match change.kind:
            case kinds.DEAL_AMOUNT:
                parts[:] = (
                    parts * change.amount / self.amounts[place]
                    if self.amounts[place] > 0
                    else chances * change.amount
                )
                self.amounts[place] = change.amount
            case kinds.DEAL_WIN_CHANCE:
                timing = chances / chances.sum() if chances.sum() > 0 else np.eye(len(chances))[0]
                parts[:] = change.amount * self.amounts[place] * timing
            case kinds.DEAL_WON | kinds.DEAL_SLIPS if change.to_period:
                target = self._position(change.to_period)
                if target is None:
                    return f"{change.to_period} is over on {self.forecast.day}"
                if change.kind == kinds.DEAL_WON:
                    parts[:] = 0.0
                    parts[target] = self.amounts[place]
                else:
                    parts[target] += parts[:target].sum()
                    parts[:target] = 0.0
            case kinds.DEAL_WON:
                parts[:] = 0.0
                parts[0] = self.amounts[place]
            case kinds.DEAL_LOST:
                parts[:] = 0.0
            case kinds.DEAL_SLIPS:
                ends = np.array([period.last_day for period in self.forecast.periods], dtype=float)
                parts[:] = moved_by_days(parts, ends, change.amount)
        self.said.setdefault(place, []).append(in_words(change))
        return None

    def _position(self, label: str) -> int | None:
        labels = [period.label for period in self.forecast.periods]
        if label in labels:
            return labels.index(label)
        return len(labels) if label > labels[-1] else None

    def _create_more(self, change: Change) -> str | None:
        reps = self.forecast.active_reps
        if change.kind == kinds.HIRE_REPS and not reps:
            return "no rep has created a deal in the half year before"
        start = (change.starts_on - self.forecast.day).days - 1 if change.starts_on else 0
        share, ramp = (
            (change.amount, 0)
            if change.kind == kinds.NEW_BUSINESS
            else (change.amount / reps, change.ramp_days)
        )
        ends = np.array([period.last_day for period in self.forecast.periods], dtype=float)
        new = np.array([period.not_yet_created_expected for period in self.forecast.periods])
        self.new_added += share * started_later(new, ends, max(0, start), ramp)
        return None


def _chances(forecast: DayForecast) -> Array:
    """P(won in each period, and after the last). Later ones than the next are spread as all deals are."""
    deals = forecast.deals
    this_quarter = deals["p_win_this_quarter"].to_numpy(dtype=float)
    by_next = deals["p_win_by_next_quarter"].to_numpy(dtype=float)
    later = np.maximum(deals["p_win_ever"].to_numpy(dtype=float) - by_next, 0.0)
    columns = [this_quarter, np.maximum(by_next - this_quarter, 0.0)][: len(forecast.periods)]
    columns += [later * share for share in forecast.later_share[2:]]
    columns.append(np.maximum(later * (1 - forecast.later_share[2:].sum()), 0.0))
    return np.column_stack(columns)


def moved_by_days(parts: Array, ends: Array, days: float) -> Array:
    """Amounts per period after each of their days has moved `days` later.

    `parts`: per period, and after the last; within a period every day is alike. `ends`: the last day of each
    period, counted from the as-of day. What leaves the last period is added to what comes after.
    """
    starts = np.concatenate(([0.0], ends[:-1]))
    moved = np.zeros_like(parts)
    for amount, start, end in zip(parts, starts, ends, strict=False):
        end = max(end, start + _AN_INSTANT)
        overlap = np.minimum(ends, end + days) - np.maximum(starts, start + days)
        shares = np.clip(overlap, 0.0, None) / (end - start)
        moved[:-1] += amount * shares
        moved[-1] += amount * max(0.0, 1.0 - shares.sum())
    moved[-1] += parts[-1]
    return moved


def started_later(new: Array, ends: Array, start: float, ramp: float) -> Array:
    """What business like the new one brings per period when it starts `start` days later and ramps up.

    `new`: not-yet-created business per period, from the as-of day on. Its running sum C(t) is taken as
    straight within a period. From `start` on it is C(t - start); with a ramp it is the mean of such curves
    over all starts within the ramp, since productivity that rises evenly is a stream of equal small starts.
    """
    knots = np.concatenate(([0.0], ends))
    heights = np.concatenate(([0.0], np.cumsum(new)))
    since = np.maximum(ends - start, 0.0)
    if ramp <= 0:
        reached = np.interp(since, knots, heights)
    else:
        reached = (_area(since, knots, heights) - _area(np.maximum(since - ramp, 0.0), knots, heights)) / ramp
    return np.diff(reached, prepend=0.0)


def _area(until: Array, knots: Array, heights: Array) -> Array:
    """Area under the straight line through the knots, from 0 to each of `until`."""
    pieces = np.diff(knots) * (heights[1:] + heights[:-1]) / 2
    whole = np.concatenate(([0.0], np.cumsum(pieces)))
    place = np.clip(np.searchsorted(knots, until, side="right") - 1, 0, len(knots) - 1)
    height = np.interp(until, knots, heights)
    return whole[place] + (until - knots[place]) * (heights[place] + height) / 2
