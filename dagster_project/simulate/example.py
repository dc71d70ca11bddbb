"""The bundled example: Example Ltd, three years of deals, exported on a day in the middle of a quarter."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.crm_export import write_crm_export
from dagster_project.simulate.world import simulate

EXAMPLE_AS_OF = date(2026, 5, 15)


def write_example(folder: Path) -> dict[str, int]:
    """Write the CSV files that the repository's pipeline.yaml reads; returns the rows per file."""
    return write_crm_export(simulate(SimulationConfig()), folder, EXAMPLE_AS_OF)
