"""Businesses whose law is known, easy and hard ones, as ledgers: what `make forecast-report` measures on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd

from tests.synthetic_ledger import Deal, LedgerTables, Move, ledger_tables, won_deal

FIRST = date(2023, 1, 2)
LAST = date(2026, 3, 31)
CHANGE_ON = date(2025, 1, 1)


@dataclass(frozen=True)
class BadWorld:
    """A business in which a model may well be worse than a plain baseline."""

    name: str
    title: str
    ledger: Callable[[int], LedgerTables]


def regime_change(seed: int) -> LedgerTables:
    """Two stages; from `CHANGE_ON` deals that come in are won half as often and take twice as long."""

    def law(day: date) -> tuple[float, float]:
        return (2, 0.25) if day >= CHANGE_ON else (1, 0.5)

    return ledger_tables(list(_two_stages((seed, 1), 5, 15, 25, law)), LAST)


def small_business(seed: int) -> LedgerTables:
    """Five deals a week in two stages."""
    return ledger_tables(list(_two_stages((seed, 2), 1, 20, 30, lambda day: (1, 0.4))), LAST)


def single_stage(seed: int) -> LedgerTables:
    """One stage, won after about six weeks or never heard of again: no losses, so the book only grows."""
    chance = np.random.default_rng((seed, 3))
    deals: list[Deal] = []
    for day in _business_days():
        for _ in range(chance.poisson(5)):
            amount = _amount(chance)
            closed = day + timedelta(days=1 + int(chance.gamma(2, 20)))
            if chance.random() < 0.4 and closed <= LAST:
                deals.append(won_deal(f"{len(deals):016x}", day, closed, amount))
            else:
                deals.append(Deal(f"{len(deals):016x}", (Move(day, "proposal", amount=amount),)))
    return ledger_tables(deals, LAST)


def no_loss_dates(seed: int) -> LedgerTables:
    """Nobody dates a loss: all of them are found as lost on the day of the export."""
    deals = [
        Deal(
            deal.key,
            tuple(
                replace(move, day=LAST, close_date=None) if move.status == "lost" else move
                for move in deal.moves
            ),
        )
        for deal in _two_stages((seed, 4), 5, 15, 25, lambda day: (1, 0.4))
    ]
    return ledger_tables(deals, LAST)


def leak(seed: int) -> LedgerTables:
    """Amounts are typed in when a deal closes, and the export shows them at every earlier move too."""
    return ledger_tables(_leaking(seed), LAST, quality="current_values")


def dressed_leak(seed: int) -> LedgerTables:
    """The same, in an export that calls what it shows a history."""
    return ledger_tables(_leaking(seed), LAST)


def _leaking(seed: int) -> list[Deal]:
    deals = []
    for deal in _two_stages((seed, 5), 5, 15, 25, lambda day: (1, 0.4)):
        is_closed = deal.moves[-1].status != "open"
        final = deal.moves[0].amount if is_closed else None
        deals.append(Deal(deal.key, tuple(replace(move, amount=final) for move in deal.moves)))
    return deals


BAD_WORLDS = (
    BadWorld("small", "Five deals a week", small_business),
    BadWorld(
        "drift", "Regime change: from 2025 on deals are won half as often, twice as slow", regime_change
    ),
    BadWorld("single", "One stage, no losses recorded", single_stage),
    BadWorld("undated", "Losses without a date: all found on the day of the export", no_loss_dates),
    BadWorld("leak", "Leak: amounts of closed deals alone, shown at all their moves", leak),
    BadWorld("dressed", "The same leak in an export that calls it a history", dressed_leak),
)


def _two_stages(
    seed: tuple[int, int],
    deals_a_day: float,
    first_days: float,
    last_days: float,
    law: Callable[[date], tuple[float, float]],
) -> Iterator[Deal]:
    """Prospect, proposal, won or lost after exponential times; `law`: day created → slowness, win rate."""
    chance = np.random.default_rng(seed)
    number = 0
    for day in _business_days():
        for _ in range(chance.poisson(deals_a_day)):
            slow, wins = law(day)
            proposal = day + timedelta(days=int(chance.exponential(first_days * slow)))
            closed = proposal + timedelta(days=1 + int(chance.exponential(last_days * slow)))
            amount = _amount(chance)
            won = Move(closed, "won", "won", amount, closed)
            lost = Move(closed, "lost", "lost", 0.0, closed)
            moves = (
                Move(day, "prospect", amount=amount),
                Move(proposal, "proposal", amount=amount),
                won if chance.random() < wins else lost,
            )
            yield Deal(f"{number:016x}", tuple(move for move in moves if move.day <= LAST))
            number += 1


def _amount(chance: np.random.Generator) -> float:
    return float(np.round(np.exp(chance.normal(9, 0.7)), 2))


def _business_days() -> list[date]:
    return list(pd.date_range(FIRST, LAST, freq="B").date)
