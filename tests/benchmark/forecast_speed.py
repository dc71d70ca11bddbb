"""What the forecast costs at a million deals: `make bench-forecast` writes the text.

    python -m tests.benchmark.forecast_speed --out report.txt [--warehouse built.duckdb] [--deals 1000000]

Each round of the SQL core, and each night, is a process of its own. A night is what the assets of a run
call: the forecast, its review, scenarios and submissions, with the charts. The day before has a forecast.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from dagster_project.forecast import review_assets, scenario_assets
from dagster_project.forecast.assets import MEMORY_SHARE, describe, forecast_days
from dagster_project.forecast.evidence import read_context
from dagster_project.forecast.hazard_queries import scores_of_days
from dagster_project.settings import REPOSITORY, load_settings
from dagster_project.warehouse import Warehouse
from tests.benchmark.grown_ledger import grow
from tests.hazard_bench import BUILD_ORDER, rendered

ROUNDS = 3
SCORES = "deal scores of one day"
CORE_BAR, NIGHT_BAR, MEMORY_BAR = 15.0, 60.0, 1000.0
WHOLE = "whole process"
HEADER = """Speed report of the forecast: CPU seconds (user + system) and peak resident memory, on 2 cores.

The ledger is that of the bundled example, grown: each deal is copied with a key, an amount and an owner of
its own, moved back by up to twelve weeks. Medians of {rounds} processes each; in brackets the least and
the most.
"""
SHARED = """load average of five minutes: {before:.1f} before, {after:.1f} after. Above 2 the machine was
shared with other work, and CPU seconds read higher than on an idle one.
"""


def measure_core(warehouse: Warehouse) -> dict[str, list[float]]:
    """Build every model of the hazards, score one day's deals: name → CPU seconds, peak megabytes."""
    found = {}
    with warehouse.connect() as connection:
        for name in BUILD_ORDER:
            sql = f"create or replace table forecast.{name} as {rendered(name)}"
            found[name] = _measured(lambda sql=sql: connection.execute(sql))
    day = read_context(warehouse).as_of
    found[SCORES] = _measured(lambda: scores_of_days(warehouse, [day]))
    return found


def measure_night(warehouse: Warehouse, day: date, with_challenger: bool) -> dict[str, list[float]]:
    """Forecast a day as the nightly run does: step → CPU seconds and peak megabytes so far."""
    context = read_context(warehouse)
    week_start = load_settings().business.week_start_number

    def forecast() -> None:
        plan, forecasts, broken = forecast_days(
            warehouse, [day], {context.run_id}, week_start, with_challenger
        )
        list(describe(plan, forecasts, broken))

    def review() -> None:
        reviewed = review_assets.review_forecasts(warehouse, [day])
        list(review_assets.describe(warehouse, reviewed, [day]))

    found = {
        "forecast": _measured(forecast),
        "review": _measured(review),
        "scenarios and submissions": _measured(
            lambda: list(scenario_assets.describe(scenario_assets.plan(warehouse, [day])))
        ),
    }
    # Imports are part of a night, too.
    return found | {WHOLE: [time.process_time(), _peak()]}


def _measured(step: Callable[[], object]) -> list[float]:
    started = time.process_time()
    step()
    return [time.process_time() - started, _peak()]


def _peak() -> float:
    """Peak resident megabytes. What getrusage tells on Linux starts from that of the parent process."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    )


def forget(warehouse: Warehouse, day: date) -> None:
    """Take the stored forecasts of a day away, so that its night can be measured again."""
    with warehouse.connect() as connection:
        tables = connection.execute(
            "select table_name from duckdb_columns() where schema_name = 'forecast' "
            "and column_name = 'as_of' and starts_with(table_name, 'forecast_') "
            "and table_name in (select table_name from duckdb_tables())"
        ).fetchall()
        for (table,) in tables:
            connection.execute(f"delete from forecast.{table} where as_of = $day", {"day": day})


def _in_own_process(database: Path, step: str) -> dict[str, list[float]]:
    command = [
        sys.executable,
        "-m",
        "tests.benchmark.forecast_speed",
        "--measure",
        step,
        "--warehouse",
        str(database),
    ]
    done = subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _table(
    title: str, rounds: Sequence[dict[str, list[float]]], whole: dict[str, float], bars: str
) -> list[str]:
    lines = [title, f"  {'':32}{'CPU s':>8}  {'least-most':>13}{'peak MB':>10}"]
    for name in rounds[0]:
        cpu = [one[name][0] for one in rounds]
        peak = statistics.median(one[name][1] for one in rounds)
        lines.append(
            f"  {name:32}{statistics.median(cpu):8.2f}  ({min(cpu):5.2f}-{max(cpu):5.2f}){peak:10,.0f}"
        )
    lines += [f"  {name:32}{seconds:8.2f}" for name, seconds in whole.items()]
    return [*lines, f"  {bars}", ""]


def write_report(database: Path, out: Path, deals: int, rounds: int) -> None:
    """Measure a grown ledger and write the report."""
    lines = [HEADER.format(rounds=rounds), f"deals: {deals:,}", ""]
    load_before = os.getloadavg()[1]
    core = [_in_own_process(database, "core") for _ in range(rounds)]
    sums = [sum(cpu for cpu, _ in one.values()) for one in core]
    all_of_it = {
        "all of it": statistics.median(sums),
        "without open spans, their input": statistics.median(
            whole - one["int_open_spans"][0] for whole, one in zip(sums, core, strict=True)
        ),
    }
    bar = f"bar: {CORE_BAR:.0f} CPU s for histogram, cells, curves and deal scores"
    lines += _table(
        "SQL core: models of dbt/models/forecast, and the query of deal scores", core, all_of_it, bar
    )
    bar = f"bar: {NIGHT_BAR:.0f} CPU s, {MEMORY_BAR:,.0f} MB for the whole process, imports included"
    _in_own_process(database, "the night before")
    for challenger in ("off", "on"):
        nights = [_in_own_process(database, challenger) for _ in range(rounds)]
        lines += _table(f"Python layer of one night, forecast: challenger {challenger}", nights, {}, bar)
    lines.insert(2, SHARED.format(before=load_before, after=os.getloadavg()[1]))
    out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _measure(step: str, database: Path) -> dict[str, list[float]]:
    settings = load_settings()
    if step == "core":
        return measure_core(Warehouse(database, settings.memory_limit, settings.threads))
    warehouse = Warehouse(database, settings.memory_share(MEMORY_SHARE), settings.threads)
    day = read_context(warehouse).as_of
    if step == "the night before":
        return measure_night(warehouse, day - timedelta(days=1), False)
    forget(warehouse, day)
    return measure_night(warehouse, day, step == "on")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--warehouse", type=Path, help="a warehouse that a nightly run has built; else the example is"
    )
    parser.add_argument("--deals", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        sys.stdout.write(json.dumps(_measure(asked.measure, asked.warehouse)) + "\n")
        return
    with TemporaryDirectory() as folder:
        source = asked.warehouse
        if source is None:
            source = Path(folder) / "warehouse.duckdb"
            environment = {**os.environ, "STAGELEDGER_DATA": folder}
            subprocess.run(
                [sys.executable, "-m", "dagster_project", "run"], cwd=REPOSITORY, env=environment, check=True
            )
        grown = Path(folder) / "grown.duckdb"
        write_report(grown, asked.out, grow(source, grown, asked.deals), asked.rounds)


if __name__ == "__main__":
    main()
