"""What a simulation is told: how many deals, between which days, with which seed and which blemishes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class SimulationError(Exception):
    """A simulation was asked for something impossible; the text names the setting and the remedy."""


@dataclass(frozen=True)
class SimulationConfig:
    """Size, span and blemishes of a simulated business; two equal configurations give equal bytes.

    `n_deals` deals are created between `start_on` and `end_on` (days of `time_zone`); moves are recorded
    until `end_on`, and each deal is followed `tail_days` longer to learn its true outcome. All `…_share`
    values are shares between 0 and 1.
    """

    seed: int = 20230401
    n_deals: int = 9_400
    start_on: date = date(2023, 4, 1)
    end_on: date = date(2026, 6, 30)
    time_zone: str = "Europe/Amsterdam"
    fiscal_year_start_month: int = 1
    reorganised_on: date = date(2025, 1, 1)
    """The day on which the partner pipeline was renamed and two of its stages changed places."""
    tail_days: int = 900
    deals_per_part: int = 100_000
    late_share: float = 0.015
    """History rows that reach the CRM half a day to six days after the change."""
    mis_drag_share: float = 0.003
    """Deals once dragged to a wrong stage and back within a minute."""
    same_instant_share: float = 0.2
    """Skips that the CRM recorded as two moves at one instant."""
    missing_first_row_share: float = 0.004
    import_share: float = 0.003
    """Deals typed in after they were won."""
    no_amount_share: float = 0.06
    """Deals created without an amount; most get one when they qualify."""
    no_account_share: float = 0.012
    no_close_date_share: float = 0.006
    careless_share: float = 0.12
    """Deals whose close date is rarely maintained."""

    def __post_init__(self) -> None:
        if self.n_deals < 1:
            raise SimulationError(f"n_deals is {self.n_deals}: simulate at least one deal")
        if self.end_on <= self.start_on:
            raise SimulationError(
                f"end_on {self.end_on} is not after start_on {self.start_on}: choose a later end"
            )
        if not 1 <= self.fiscal_year_start_month <= 12:
            raise SimulationError(
                f"fiscal_year_start_month is {self.fiscal_year_start_month}: choose a month from 1 to 12"
            )
        if self.deals_per_part < 1:
            raise SimulationError(f"deals_per_part is {self.deals_per_part}: choose at least 1")
        for name, value in vars(self).items():
            if name.endswith("_share") and not 0 <= value <= 1:
                raise SimulationError(f"{name} is {value}: choose a share between 0 and 1")
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise SimulationError(
                f"time_zone {self.time_zone!r} is unknown: write it like Europe/Amsterdam"
            ) from error
