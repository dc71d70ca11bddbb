"""A simulated business as landing batches of any size, ready for dbt: where the build benchmarks start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from dagster_project.extract.landing import Landing
from dagster_project.settings import Settings, load_settings
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.landing_batches import write_landing
from dagster_project.simulate.world import World, simulate_in_parts
from dagster_project.transform.run_context import Landed, append_run_context, run_context_row
from dagster_project.warehouse import Warehouse

AS_OF = date(2026, 5, 14)
LATE_SHARE = 1 / 3
"""History rows that reach the CRM half a day to six days after the change, so that nights bring late ones."""


@dataclass(frozen=True)
class LandedWorld:
    """A data folder whose landing holds a business up to a day: deals and change rows that were landed."""

    settings: Settings
    deals: int
    changes: int


def config_of(deals: int, seed: int = 1, end_on: date = date(2026, 6, 30)) -> SimulationConfig:
    """The simulated business of the benchmarks with so many deals, created over three years."""
    return SimulationConfig(seed=seed, n_deals=deals, end_on=end_on, late_share=LATE_SHARE)


def land(folder: Path, config: SimulationConfig, as_of: date = AS_OF) -> LandedWorld:
    """Land all that the CRM knows at the end of `as_of`, part by part, and note the run that reads it."""
    settings = load_settings(data=folder, environ={})
    counts = write_landing(_parts(config), Landing(settings.paths.landing), as_of)
    note_run(settings, as_of, run_order=1)
    return LandedWorld(settings, counts["deals"], counts["stage_history"])


def land_next_day(settings: Settings, config: SimulationConfig, as_of: date = AS_OF) -> tuple[int, int]:
    """Land what changed on the day after `as_of`; returns deals and change rows delivered."""
    night = as_of + timedelta(days=1)
    counts = write_landing(_parts(config), Landing(settings.paths.landing), night, since=as_of)
    note_run(settings, night, run_order=2)
    return counts["deals"], counts["stage_history"]


def note_run(settings: Settings, as_of: date, run_order: int) -> None:
    """Append the run context that the nightly run would."""
    at = datetime(as_of.year, as_of.month, as_of.day, 3, tzinfo=UTC) + timedelta(days=1)
    landed = Landed(as_of, Landing(settings.paths.landing).landed_through(), digest="")
    row = run_context_row(
        settings,
        run_id=f"benchmark {run_order}",
        run_order=run_order,
        kind="nightly",
        landed=landed,
        recorded_at=at,
    )
    append_run_context(Warehouse(settings.paths.warehouse), row)


def _parts(config: SimulationConfig) -> Iterator[World]:
    yield from simulate_in_parts(config)
