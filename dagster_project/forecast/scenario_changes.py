"""The changes that scenarios ask for: read from the ledger, and said in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import pandas as pd

from dagster_project.warehouse import Warehouse

CHANGES = "marts.int_scenario_changes"

DEAL_SLIPS = "deal_slips"
DEAL_WON = "deal_won"
DEAL_LOST = "deal_lost"
DEAL_WIN_CHANCE = "deal_win_chance"
DEAL_AMOUNT = "deal_amount"
STAGE_WIN_FACTOR = "stage_win_factor"
STAGE_WIN_CHANCE = "stage_win_chance"
HIRE_REPS = "hire_reps"
NEW_BUSINESS = "new_business"

DEFAULT_RAMP_DAYS = 90
"""A new rep brings as much as the others after a quarter, where the row does not say otherwise."""


@dataclass(frozen=True)
class Change:
    """One usable row of a scenario.

    subject: deal or stage as written. number: days, a share of 1, an amount in the reporting currency, a
    factor, or reps. to_period: a fiscal quarter. starts_on: None from the day after the forecast on.
    """

    kind: str
    subject: str | None = None
    deal_key: str | None = None
    stage: str | None = None
    number: float | None = None
    to_period: str | None = None
    starts_on: date | None = None
    ramp_days: int = DEFAULT_RAMP_DAYS

    @property
    def amount(self) -> float:
        """The number, where the change must have one (the ledger refuses rows that lack it)."""
        assert self.number is not None
        return self.number


@dataclass(frozen=True)
class Scenario:
    """A name and the changes that act together under it."""

    name: str
    changes: tuple[Change, ...]

    @property
    def asks_about_deals(self) -> bool:
        """Whether any change is about deals or stages."""
        return any(change.kind.startswith(("deal_", "stage_")) for change in self.changes)


def read_scenarios(warehouse: Warehouse) -> list[Scenario]:
    """All scenarios with a usable row, by name; empty before dbt has built them."""
    if not warehouse.has_table(CHANGES):
        return []
    rows = warehouse.query(
        "select scenario, change_kind, subject, deal_key, stage, number_value, to_period, starts_on, "
        "ramp_days "
        f"from {CHANGES} where is_usable order by scenario, source_relation, file_name, row_number_in_file"
    )
    return [
        Scenario(str(name), tuple(_changes(of_name))) for name, of_name in rows.groupby("scenario", sort=True)
    ]


def _changes(rows: pd.DataFrame) -> Iterator[Change]:
    for row in rows.itertuples():
        yield Change(
            kind=str(row.change_kind),
            subject=None if pd.isna(row.subject) else str(row.subject),
            deal_key=None if pd.isna(row.deal_key) else str(row.deal_key),
            stage=None if pd.isna(row.stage) else str(row.stage),
            number=None if pd.isna(row.number_value) else float(row.number_value),
            to_period=None if pd.isna(row.to_period) else str(row.to_period),
            starts_on=None if pd.isna(row.starts_on) else row.starts_on.date(),
            ramp_days=DEFAULT_RAMP_DAYS if pd.isna(row.ramp_days) else int(row.ramp_days),
        )


def in_words(change: Change) -> str:
    """What the change says, such as `D-17 slips by 30 days`."""
    match change.kind:
        case "deal_slips":
            until = f"to {change.to_period}" if change.to_period else f"by {_count(change.amount, 'day')}"
            return f"{change.subject} slips {until}"
        case "deal_won":
            return f"{change.subject} is won in {change.to_period or 'this quarter'}"
        case "deal_lost":
            return f"{change.subject} is lost"
        case "deal_win_chance":
            return f"{change.subject} is won with a chance of {change.amount:.0%}"
        case "deal_amount":
            return f"{change.subject} brings {change.amount:,.0f}"
        case "stage_win_factor":
            return f"{change.stage} wins {change.amount:g} times as often"
        case "stage_win_chance":
            return f"{change.stage} wins {change.amount:.0%}"
        case "hire_reps":
            ramp = f"a ramp of {_count(change.ramp_days, 'day')}" if change.ramp_days else "no ramp"
            return f"{_count(change.amount, 'rep')} more{_from(change)}, with {ramp}"
        case _:
            return f"{change.amount:+.0%} new business{_from(change)}"


def _from(change: Change) -> str:
    return f" from {change.starts_on}" if change.starts_on else ""


def _count(number: float, unit: str) -> str:
    return f"{number:g} {unit}" if number == 1 else f"{number:g} {unit}s"
