"""The bundled example: Example Ltd, three years of deals, exported on a day in the middle of a quarter."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.crm_export import write_crm_export, write_table
from dagster_project.simulate.known import known_at
from dagster_project.simulate.planning import example_scenarios, example_submissions
from dagster_project.simulate.world import simulate

EXAMPLE_AS_OF = date(2026, 5, 15)


def write_example(folder: Path) -> dict[str, int]:
    """Write the CSV files that the repository's pipeline.yaml reads; returns the rows per file."""
    world = simulate(SimulationConfig())
    rows = write_crm_export(world, folder, EXAMPLE_AS_OF)
    known = known_at(world, EXAMPLE_AS_OF)
    rows["scenarios.csv"] = write_table(example_scenarios(known), folder / "scenarios.csv")
    rows["submissions.csv"] = write_table(
        example_submissions(known, EXAMPLE_AS_OF), folder / "submissions.csv"
    )
    return rows
