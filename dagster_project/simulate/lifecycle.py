"""Day by day through the life of every deal: moves drawn from the hazards, and the edits that reps make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.company import Company
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.hazards import OLDEST_AGE, Hazards, day_number
from dagster_project.simulate.new_deals import NO_DATE, NewDeals, draw_amounts, snap_to_month_end

KINDS = ("created", *cat.CAUSES[:7], "edit", "hand_over", "mis_drag")
"""Why a history row exists: creation, one of the moves, an edit of fields only, an owner
who left, a drag by mistake."""

OUTCOMES = ("open", "won", "lost", "merged", "deleted")
OPEN, WON, LOST, MERGED, DELETED = range(len(OUTCOMES))
LOST_DAYS = 60  # hazards of a lost deal are zero from this age on
WON_DAYS = 30
PUSH_PAST_DUE, PUSH_NEAR, PUSH_ANY_DAY = 0.035, 0.09, 0.004
CARELESS_PUSH = 0.05
EDIT_AMOUNT, EDIT_OWNER, EDIT_CURRENCY = 0.005, 0.0007, 0.0002
CAUSE = {name: code for code, name in enumerate(cat.CAUSES)}
KIND_CREATED, KIND_EDIT, KIND_HAND_OVER = (KINDS.index(kind) for kind in ("created", "edit", "hand_over"))


@dataclass(frozen=True)
class Lives:
    """What happened to one part of the deals, as arrays.

    `rows`: one history row per entry, the values after it, keyed by deal (position in the part) and day:
    deal, day, kind, from_stage (-1 at creation), stage, amount, currency, close_day, owner.
    Per deal: `outcome` (OPEN … DELETED; OPEN = still open after the tail), `closed_day`, `ended_day`
    (merged or deleted), `merged_into` (position, -1).
    """

    rows: dict[str, np.ndarray]
    outcome: np.ndarray
    closed_day: np.ndarray
    ended_day: np.ndarray
    merged_into: np.ndarray


class _Book:
    """The state of all deals of a part on one day, and the rows written so far."""

    def __init__(self, deals: NewDeals) -> None:
        self.deals = deals
        self.stage = deals.stage.copy()
        self.entered = deals.created_day.copy()
        self.amount = deals.amount.copy()
        self.currency = deals.currency.copy()
        self.close_day = deals.close_day.copy()
        self.owner = deals.owner.copy()
        count = len(deals.deal_id)
        self.ended_day = np.full(count, NO_DATE, dtype=np.int64)
        self.merged_into = np.full(count, -1, dtype=np.int64)
        self.outcome = np.zeros(count, dtype=np.int8)
        self.is_recording = True
        self.written: list[tuple[np.ndarray, ...]] = []

    def write(self, deal: np.ndarray, day: int, kind: np.ndarray, from_stage: np.ndarray) -> None:
        """Note one row per deal with its present values, while the history is recorded."""
        if not self.is_recording:
            return
        self.written.append(
            (
                deal,
                np.full(len(deal), day, dtype=np.int32),
                kind.astype(np.int8),
                from_stage.astype(np.int8),
                self.stage[deal],
                self.amount[deal],
                self.currency[deal],
                self.close_day[deal],
                self.owner[deal],
            )
        )


def live(
    config: SimulationConfig, company: Company, hazards: Hazards, deals: NewDeals, rng: np.random.Generator
) -> Lives:
    """Follow the deals from `start_on` to `end_on` + `tail_days`; rows are written until `end_on`."""
    book = _Book(deals)
    start, end = day_number(config.start_on), day_number(config.end_on)
    days = np.arange(start, end + config.tail_days + 1)
    factors = hazards.day_factors(days, config)
    outcome_of = np.array([("open", "won", "lost").index(s.outcome) for s in cat.STAGES], dtype=np.int8)
    longest = np.array([2**31 - 1, WON_DAYS, LOST_DAYS], dtype=np.int64)[outcome_of]
    arrivals = np.searchsorted(deals.created_day, days, side="left")
    arrivals_end = np.searchsorted(deals.created_day, days, side="right")
    leaving_days = set(company.owner_days[:, 1].tolist())
    active = np.empty(0, dtype=np.int64)
    for place, day in enumerate(days.tolist()):
        book.is_recording = day <= end
        if day in leaving_days:
            _hand_over(book, company, active[outcome_of[book.stage[active]] == OPEN], day, rng)
        if factors[place].any():
            active = active[day - book.entered[active] < longest[book.stage[active]]]
            _one_day(book, company, hazards, active, day, factors[place], config, outcome_of, rng)
            active = active[book.ended_day[active] == NO_DATE]
        new = np.arange(arrivals[place], arrivals_end[place])
        if len(new):
            book.write(new, day, np.full(len(new), KIND_CREATED), np.full(len(new), -1))
            active = np.concatenate([active, new])
    gone = book.outcome
    outcome = np.where(gone > 0, gone, outcome_of[book.stage])
    closed = np.where((outcome == WON) | (outcome == LOST), book.entered, NO_DATE)
    names = ("deal", "day", "kind", "from_stage", "stage", "amount", "currency", "close_day", "owner")
    rows = {
        name: np.concatenate(parts)
        for name, parts in zip(names, zip(*book.written, strict=True), strict=True)
    }
    return Lives(rows, outcome, closed, book.ended_day, book.merged_into)


def _one_day(
    book: _Book,
    company: Company,
    hazards: Hazards,
    active: np.ndarray,
    day: int,
    factor: np.ndarray,
    config: SimulationConfig,
    outcome_of: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Draw the moves and edits of one working day."""
    stage = book.stage[active]
    age = np.minimum(day - book.entered[active], OLDEST_AGE)
    chance = hazards.per_day[stage, book.deals.segment[active], hazards.age_class[age]] * factor
    draw = rng.random(len(active))
    bounds = np.cumsum(chance, axis=1)
    moved = np.flatnonzero(draw < bounds[:, -1])
    cause = (draw[moved, None] >= bounds[moved]).sum(axis=1)
    is_open = outcome_of[stage] == OPEN
    edited = _edit(book, company, active, is_open, day, rng)
    leaves = (cause == CAUSE["merge"]) | (cause == CAUSE["delete"])
    gone, gone_cause = active[moved[leaves]], cause[leaves]
    edited[moved[leaves]] = False
    if len(gone):
        candidates = np.setdiff1d(active[is_open], gone, assume_unique=True)
        book.ended_day[gone] = day
        book.outcome[gone] = np.where(gone_cause == CAUSE["merge"], MERGED, DELETED)
        merged = gone[gone_cause == CAUSE["merge"]]
        if len(candidates):
            book.merged_into[merged] = candidates[rng.integers(0, len(candidates), size=len(merged))]
        else:
            book.outcome[merged] = DELETED
    moved, cause = moved[~leaves], cause[~leaves]
    _move(book, hazards, active[moved], cause, day, config, outcome_of, rng)
    _hand_over_reopened(book, company, active[moved[cause == CAUSE["reopen"]]], day, rng)
    kind = np.full(len(active), KIND_EDIT, dtype=np.int8)
    from_stage = stage.copy()
    kind[moved] = cause + 1
    edited[moved] = True
    book.write(active[edited], day, kind[edited], from_stage[edited])


def _move(
    book: _Book,
    hazards: Hazards,
    deal: np.ndarray,
    cause: np.ndarray,
    day: int,
    config: SimulationConfig,
    outcome_of: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Move deals to the stage their cause leads to, with the edits that come with a move."""
    target = hazards.targets[hazards.regime(day, config), book.stage[deal], cause]
    book.stage[deal] = target
    book.entered[deal] = day
    pricing = np.array([s.pricing for s in cat.STAGES])[target]
    draw, size = rng.random((4, len(deal))), rng.standard_normal(len(deal))
    amount = book.amount[deal]
    factor = np.ones(len(deal))
    quoted = (pricing == "quote") & (draw[0] < 0.5)
    factor[quoted] = np.exp(0.18 * size[quoted])
    discounted = (pricing == "discount") & (draw[0] < 0.4)
    factor[discounted] = 0.85 + 0.13 * draw[1][discounted]
    last_discount = (outcome_of[target] == WON) & (draw[0] < 0.1)
    factor[last_discount] = 0.92 + 0.08 * draw[1][last_discount]
    changed = factor != 1
    amount[changed] = np.round(amount[changed] * factor[changed], -1)
    missing = np.isnan(amount) & np.isin(pricing, ("estimate", "quote")) & (draw[1] < 0.85)
    missing &= ~book.deals.never_priced[deal]
    priced = deal[missing]
    amount[missing] = draw_amounts(
        rng, book.deals.tier[priced], book.deals.family[priced], book.currency[priced]
    )
    book.amount[deal] = amount
    close_day = book.close_day[deal]
    closes = outcome_of[target] != OPEN
    back_dated = closes & (draw[2] < 0.02) & (day - book.deals.created_day[deal] > 5)
    close_day[closes] = day
    close_day[back_dated] = day - 1 - (3 * draw[3][back_dated]).astype(np.int64)
    expects = ~closes & (draw[2] < np.where(book.deals.careless[deal], 0.1, 0.55)) & (close_day != NO_DATE)
    expects |= cause == CAUSE["reopen"]
    close_day[expects] = _expected_close(target[expects], day, rng)
    book.close_day[deal] = close_day


def _expected_close(stage: np.ndarray, day: int, rng: np.random.Generator) -> np.ndarray:
    """The close date a rep types in: the stage's usual remaining time, often a month's last day."""
    usual = np.array([s.days_to_close for s in cat.STAGES])[stage]
    wait = np.maximum(4, usual * rng.lognormal(0.05, 0.4, size=len(stage))).astype(np.int64)
    return snap_to_month_end(day + wait, rng.random(len(stage)) < 0.4)


def _edit(
    book: _Book,
    company: Company,
    active: np.ndarray,
    is_open: np.ndarray,
    day: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Edit close date, amount, owner and currency of open deals; returns which of `active` changed."""
    open_at = np.flatnonzero(is_open)
    deal = active[open_at]
    changed = np.zeros(len(active), dtype=bool)
    draw = rng.random((2, len(deal)))
    close_day = book.close_day[deal]
    has_date = close_day != NO_DATE
    gap = close_day - day
    chance = np.where(gap <= 0, PUSH_PAST_DUE, np.where(gap <= 5, PUSH_NEAR, PUSH_ANY_DAY))
    chance = np.where(book.deals.careless[deal], chance * CARELESS_PUSH, chance)
    pushed = np.flatnonzero(has_date & (draw[0] < chance))
    later = _expected_close(book.stage[deal[pushed]], day, rng)
    book.close_day[deal[pushed]] = np.maximum(later, close_day[pushed] + 7)
    changed[open_at[pushed]] = True
    repriced = np.flatnonzero((draw[1] < EDIT_AMOUNT) & ~np.isnan(book.amount[deal]))
    book.amount[deal[repriced]] = np.round(
        book.amount[deal[repriced]] * np.exp(0.15 * rng.standard_normal(len(repriced))), -1
    )
    changed[open_at[repriced]] = True
    top = 1 - draw[1]
    for at in np.flatnonzero(top < EDIT_OWNER):
        if _new_owner(book, company, deal[at], day, rng):
            changed[open_at[at]] = True
    edge = EDIT_OWNER + EDIT_CURRENCY * (book.deals.region[deal] == len(cat.REGIONS) - 1)
    switched = np.flatnonzero((top >= EDIT_OWNER) & (top < edge))
    to_usd = book.currency[deal[switched]] == 0
    book.currency[deal[switched]] = np.where(to_usd, 1, 0)
    book.amount[deal[switched]] = np.round(book.amount[deal[switched]] * np.where(to_usd, 1.08, 1 / 1.08), -1)
    changed[open_at[switched]] = True
    return changed


def _new_owner(book: _Book, company: Company, deal: int, day: int, rng: np.random.Generator) -> bool:
    """Give a deal to a teammate; False when there is none."""
    staff = company.active_owners(day, company.owner_team[book.owner[deal]])
    others = staff[staff != book.owner[deal]]
    if not len(others):
        return False
    book.owner[deal] = others[rng.integers(0, len(others))]
    return True


def _hand_over_reopened(
    book: _Book, company: Company, reopened: np.ndarray, day: int, rng: np.random.Generator
) -> None:
    """Give reopened deals whose owner has left meanwhile to a teammate."""
    for deal in reopened[company.owner_days[book.owner[reopened], 1] <= day]:
        _new_owner(book, company, deal, day, rng)


def _hand_over(
    book: _Book, company: Company, open_deals: np.ndarray, day: int, rng: np.random.Generator
) -> None:
    """Spread the open deals of owners who left over their teams; the manager does it, one by one."""
    left = open_deals[company.owner_days[book.owner[open_deals], 1] == day]
    handed = np.array([deal for deal in left if _new_owner(book, company, deal, day, rng)], dtype=np.int64)
    if len(handed):
        book.write(handed, day, np.full(len(handed), KIND_HAND_OVER), book.stage[handed])
