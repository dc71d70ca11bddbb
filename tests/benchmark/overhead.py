"""What dbt costs on top of its SQL, and Dagster on top of dbt, warm, on the bundled example.

    python -m tests.benchmark.overhead [--rounds 5] [--data folder]

These run in turn, each in a process of its own, `rounds` times:
  bare SQL    models and data tests of dbt's manifest, in one DuckDB process without dbt
  dbt start   dbt with nothing to build: its own start
  dbt alone   the dbt command line with the arguments of the nightly run
  dbt step    the dbt assets (and the run context) alone through Dagster, on the real instance
  nightly     the command line's whole run, rebuilt: extraction, dbt, forecast, publishing, summary
CPU is user + system of the process and its children; memory is the largest sum over the process tree.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from dagster_project.settings import REPOSITORY, Settings, load_settings
from dagster_project.transform.dbt_runner import dbt_arguments, dbt_environment

SAMPLE_SECONDS = 0.05
DBT_STEP = """
import gc
gc.set_threshold(100_000, 50, 100)  # as the command line does

import dagster as dg

from dagster_project.cli.instance import open_instance
from dagster_project.cli.run import open_log
from dagster_project.definitions import build_definitions
from dagster_project.settings import load_settings

settings = load_settings()
open_log(settings, "benchmark")
definitions = build_definitions(settings)
keys = [spec.key for spec in definitions.resolve_all_asset_specs() if "dbt" in spec.kinds]
keys.append(dg.AssetKey("run_context"))  # it takes the wish to build all of them whole
with open_instance(settings) as instance:
    definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        asset_selection=keys,
        run_config={
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "ops": {"run_context": {"config": {"rebuild": True}}},
        },
    )
"""


@dataclass(frozen=True)
class Measured:
    """One process: CPU and wall seconds, and the largest memory of its tree in megabytes."""

    cpu: float
    wall: float
    megabytes: float


def measure(command: Sequence[str], environment: Mapping[str, str]) -> Measured:
    """Run a command to its end and measure it. Raises when it fails."""
    started = time.monotonic()
    before = os.times()
    # A shell that forbids compiled modules would have every process compile them anew: that is not warm.
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env={**inherited, **environment}, stdout=subprocess.DEVNULL
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, tree_bytes(process.pid))
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"{' '.join(command[:4])} … ended with {process.returncode}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Measured(cpu, time.monotonic() - started, peak / 1e6)


def tree_bytes(pid: int) -> int:
    """Resident memory of a process and all its descendants."""
    try:
        parent = psutil.Process(pid)
        members = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in members:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def commands(settings: Settings) -> dict[str, list[str]]:
    """Name → command line of what is compared."""
    # Whole builds all of them: a night that finds nothing to replace would compare little with all.
    dbt = [*dbt_arguments(settings, "build"), "--exclude-resource-type", "unit_test", "--full-refresh"]
    paths = settings.paths
    bare = [paths.dbt_target, paths.warehouse, paths.root / "bare.duckdb"]
    return {
        "bare SQL": [sys.executable, "-m", "tests.benchmark.bare_sql", *map(str, bare)],
        "dbt start": [sys.executable, "-m", "dbt.cli.main", *dbt, "--select", "no_such_model"],
        "dbt alone": [sys.executable, "-m", "dbt.cli.main", *dbt],
        "dbt step": [sys.executable, "-c", DBT_STEP],
        "nightly": [sys.executable, "-m", "dagster_project", "run", "--rebuild"],
    }


def report(results: Mapping[str, Sequence[Measured]]) -> list[str]:
    """The figures as lines: medians, and what each layer adds to the one below."""
    cpu = {name: statistics.median(run.cpu for run in runs) for name, runs in results.items()}
    lines = [f"{'':12}{'CPU s':>9}{'wall s':>9}{'MB':>8}   (medians; memory: largest)"]
    for name, runs in results.items():
        wall = statistics.median(run.wall for run in runs)
        lines.append(f"{name:12}{cpu[name]:9.1f}{wall:9.1f}{max(run.megabytes for run in runs):8.0f}")
    bare, start, alone, step = (cpu[name] for name in ("bare SQL", "dbt start", "dbt alone", "dbt step"))
    lines.append(f"dbt build without its start is {(alone - start) / bare:.2f} times its SQL run bare")
    lines.append(f"Dagster adds {step - alone:.1f} CPU s to dbt build alone ({step / alone:.2f} times)")
    return lines


def main() -> int:
    """Prepare a data folder, measure, print the report, and write the figures as JSON beside the logs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "stageledger-benchmark")
    options = parser.parse_args()
    settings = load_settings(data=options.data)
    environment = {
        **dbt_environment(settings),
        "STAGELEDGER_DATA": str(settings.paths.root),
        "STAGELEDGER_CONFIG": str(settings.config_path),
    }
    compared = commands(settings)
    measure(compared["nightly"], environment)  # warm: landed, parsed, compiled
    results: dict[str, list[Measured]] = {name: [] for name in compared}
    for _ in range(options.rounds):
        for name, command in compared.items():
            results[name].append(measure(command, environment))
    sys.stdout.write("\n".join(report(results)) + "\n")
    figures = {name: [vars(run) for run in runs] for name, runs in results.items()}
    (settings.paths.root / "logs" / "overhead.json").write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
