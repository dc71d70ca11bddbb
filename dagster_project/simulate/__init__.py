"""A CRM that does not exist: seeded deals with known hazards, for example, tests and benchmark."""

from dagster_project.simulate.config import SimulationConfig, SimulationError
from dagster_project.simulate.crm_export import write_crm_export
from dagster_project.simulate.landing_batches import write_landing
from dagster_project.simulate.world import World, simulate, simulate_in_parts

__all__ = [
    "SimulationConfig",
    "SimulationError",
    "World",
    "simulate",
    "simulate_in_parts",
    "write_crm_export",
    "write_landing",
]
