"""The baselines: how much will still be booked in a window, each from one plain idea.

All are pure functions of a `Situation`, in money (thousandths) or in deals. They answer for what is not
yet won, in two parts: from deals open now, and from deals that do not exist yet (reopened ones count there).
A baseline that lacks its evidence answers None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Array = np.ndarray

RUN_RATE = "run_rate"
SAME_WINDOW_LAST_QUARTER = "same_window_last_quarter"
SAME_WINDOW_LAST_YEAR = "same_window_last_year"
YIELD = "yield"
STAGE_SHARE = "stage_share"
CRM_PROBABILITY = "crm_probability"

PRIOR_DEALS = 40
"""Weight of the overall share in a stage's share, in deals: a stage with few deals says little by itself."""


@dataclass(frozen=True)
class PastWindow:
    """The same window in an earlier, completed quarter.

    open_by_stage, open_deals_by_stage: the book at its origin. won_by_stage: what of that was booked in the
    window, at its final amount. booked: all that was booked in the window after the origin.
    """

    open_by_stage: Array
    open_deals_by_stage: Array
    won_by_stage: Array
    booked: float

    @property
    def new(self) -> float:
        """Booked in the window from deals that were not open at its origin."""
        return max(0.0, self.booked - float(self.won_by_stage.sum()))


@dataclass(frozen=True)
class Situation:
    """What is known at the end of one day about one fiscal quarter.

    open_by_stage: the book of the day. window_days: days of the quarter still to come. daily_rate: bookings
    per day of late. last_quarter, last_year: booked in the same window then. past: the same window in up to
    four completed quarters, newest first. closing: open × stage probability with a close date in the quarter,
    None where most open deals lack one of the two.
    """

    open_by_stage: Array
    window_days: int
    is_current_quarter: bool
    daily_rate: float | None
    last_quarter: float | None
    last_year: float | None
    past: tuple[PastWindow, ...]
    closing: float | None


@dataclass(frozen=True)
class Remaining:
    """Expected bookings still to come: from open deals, and from deals not yet created."""

    from_open: float
    from_new: float

    @property
    def total(self) -> float:
        """Both parts together."""
        return self.from_open + self.from_new


Baseline = Callable[[Situation], Remaining | None]


def run_rate(situation: Situation) -> Remaining | None:
    """Bookings go on at the daily rate of late."""
    if situation.daily_rate is None:
        return None
    return _split(situation, situation.daily_rate * situation.window_days)


def same_window_last_quarter(situation: Situation) -> Remaining | None:
    """What the last quarter booked in the same window."""
    return None if situation.last_quarter is None else _split(situation, situation.last_quarter)


def same_window_last_year(situation: Situation) -> Remaining | None:
    """What the same quarter of an earlier year booked in the same window."""
    return None if situation.last_year is None else _split(situation, situation.last_year)


def pipeline_yield(situation: Situation) -> Remaining | None:
    """Past bookings in the window / open pipeline then, times the open pipeline now."""
    open_then = float(sum(window.open_by_stage.sum() for window in situation.past))
    if open_then <= 0:
        return None
    booked = sum(window.booked for window in situation.past)
    return _split(situation, booked / open_then * float(situation.open_by_stage.sum()))


def stage_share(situation: Situation) -> Remaining | None:
    """Per stage the share that past windows won of what they had open; new business as on average then.

    Each stage's share is drawn towards the share of all stages with the weight of `PRIOR_DEALS` deals.
    """
    if not situation.past:
        return None
    open_then = sum(window.open_by_stage for window in situation.past)
    deals_then = float(sum(window.open_deals_by_stage.sum() for window in situation.past))
    won_then = sum(window.won_by_stage for window in situation.past)
    total_then = float(open_then.sum())
    if total_then <= 0 or deals_then <= 0:
        return None
    overall = float(won_then.sum()) / total_then
    prior = PRIOR_DEALS * total_then / deals_then
    shares = (won_then + prior * overall) / (open_then + prior)
    return Remaining(_product(shares, situation.open_by_stage), _mean_new(situation))


def crm_probability(situation: Situation) -> Remaining | None:
    """Open pipeline due in the quarter × the CRM's stage probability; new business as on average before.

    The only baseline that can answer on the first day, then for this quarter and without new business; later
    quarters live on new business, so there it waits for a past window.
    """
    if situation.closing is None or not (situation.past or situation.is_current_quarter):
        return None
    return Remaining(max(0.0, situation.closing), _mean_new(situation))


BASELINES: Mapping[str, Baseline] = {
    RUN_RATE: run_rate,
    SAME_WINDOW_LAST_QUARTER: same_window_last_quarter,
    SAME_WINDOW_LAST_YEAR: same_window_last_year,
    YIELD: pipeline_yield,
    STAGE_SHARE: stage_share,
    CRM_PROBABILITY: crm_probability,
}
"""All baselines, the simplest first: of two that err alike the earlier one is chosen."""


def _split(situation: Situation, total: float) -> Remaining:
    """Divide a total as past windows did; without any, this quarter is open deals and later ones are new."""
    total = max(0.0, total)
    booked = sum(window.booked for window in situation.past)
    if situation.open_by_stage.sum() <= 0:
        share = 0.0
    elif booked > 0:
        share = min(1.0, float(sum(window.won_by_stage.sum() for window in situation.past)) / booked)
    else:
        share = 1.0 if situation.is_current_quarter else 0.0
    return Remaining(total * share, total * (1.0 - share))


def _mean_new(situation: Situation) -> float:
    return sum(window.new for window in situation.past) / max(1, len(situation.past))


def _product(shares: Array, book: Array) -> float:
    # One stage after the other: a later stage without deals must not change the last bit of the sum.
    return float(sum(float(share) * float(value) for share, value in zip(shares, book, strict=True)))
