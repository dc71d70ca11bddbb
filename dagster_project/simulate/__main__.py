"""Command line: python -m dagster_project.simulate --deals 9400 --seed 1 --out folder --as-of 2026-05-15."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import date
from pathlib import Path

from dagster_project.simulate.config import SimulationConfig, SimulationError
from dagster_project.simulate.crm_export import write_crm_export
from dagster_project.simulate.example import EXAMPLE_AS_OF
from dagster_project.simulate.world import simulate


def main(arguments: list[str] | None = None) -> int:
    """Simulate a CRM and write its export files; returns the exit code."""
    default = SimulationConfig()
    parser = argparse.ArgumentParser(
        prog="python -m dagster_project.simulate",
        description="Simulate a CRM and write its export files.",
    )
    parser.add_argument("--deals", type=int, default=default.n_deals, help="deals created in the whole span")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--from", dest="start_on", type=date.fromisoformat, default=default.start_on)
    parser.add_argument("--to", dest="end_on", type=date.fromisoformat, default=default.end_on)
    parser.add_argument("--as-of", type=date.fromisoformat, default=EXAMPLE_AS_OF)
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        config = SimulationConfig(
            seed=options.seed, n_deals=options.deals, start_on=options.start_on, end_on=options.end_on
        )
        rows = write_crm_export(simulate(config), options.out, options.as_of)
    except SimulationError as error:
        print(error, file=sys.stderr)
        return 2
    for name, count in rows.items():
        print(f"{name:<20} {count:>12,} rows")
    print(f"{time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
