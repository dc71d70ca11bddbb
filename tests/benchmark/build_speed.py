"""What a build costs beside the floor, and how it grows; what a night costs: `make bench-build` writes it.

    python -m tests.benchmark.build_speed --out report.txt [--deals 100000 1000000] [--rounds 3]

Businesses of these sizes are simulated and landed; dbt builds them in processes of their own. CPU is user +
system of the process and its children; memory is the largest sum over the process tree.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import duckdb

from dagster_project.settings import REPOSITORY, Settings
from dagster_project.transform.dbt_runner import dbt_arguments, dbt_environment
from tests.benchmark.landed_world import AS_OF, config_of, land, land_next_day
from tests.benchmark.overhead import Measured, measure

FIRST_SET = (
    "mart_pipeline_daily",
    "mart_pipeline_waterfall",
    "mart_stage_conversion",
    "mart_stage_durations",
    "mart_sales_performance",
    "mart_win_rate_cohorts",
)
FIRST_BAR, WHOLE_BAR, GROWTH_BAR, NIGHT_BAR = 3.5, 6.0, 1.1, 0.20
AS_OF_BAR, BI_BAR = 0.15, 0.03
MOST_SHOWN = 12
PAST = AS_OF - timedelta(days=400)
AS_OF_QUESTION = (
    "select stage_id, count(*), sum(amount_base) from ledger.fct_deal_versions "
    f"where valid_from_date <= date '{PAST}' and (valid_to_date is null or valid_to_date > date '{PAST}') "
    "and status = 'open' and not is_deleted group by stage_id"
)
BI_QUERIES = {
    "open pipeline by stage, one day": "select stage, sum(open_amount) from marts.mart_pipeline_daily "
    f"where period_type = 'day' and period_end = date '{AS_OF}' group by stage",
    "win rate by owner and quarter": "select period, segment, win_rate_count "
    "from marts.mart_sales_performance where segment_type = 'owner' and period_type = 'quarter'",
}


@dataclass(frozen=True)
class Build:
    """A whole build of a landed business: sizes, floor, and what dbt took."""

    deals: int
    changes: int
    landing_bytes: int
    floor: Mapping[str, float]
    first: Measured
    whole: Measured
    slowest: Sequence[tuple[str, float]]
    questions: Mapping[str, float]

    @property
    def f(self) -> float:
        return sum(self.floor.values())


@dataclass(frozen=True)
class Night:
    """A night after a build: what dbt took, what was delivered, and tables that differ."""

    took: Measured
    deals: int
    rows: int
    differing: Mapping[str, int]


def dbt_run(settings: Settings, selected: Sequence[str], full: bool = True) -> Measured:
    """Run dbt's models (without data tests) in a process of its own, with its start."""
    command = [sys.executable, "-m", "dbt.cli.main", *dbt_arguments(settings, "run")]
    command += ["--select", *selected, *(["--full-refresh"] if full else [])]
    return measure(command, dbt_environment(settings))


def slowest_models(settings: Settings) -> list[tuple[str, float]]:
    """Models of the last dbt run by their wall seconds, the slowest first."""
    results = json.loads((settings.paths.dbt_target / "run_results.json").read_text())["results"]
    times = [(one["unique_id"].split(".")[-1], one["execution_time"]) for one in results]
    return sorted(times, key=lambda one: -one[1])[:MOST_SHOWN]


def floor_of(settings: Settings, scratch: Path, rounds: int) -> dict[str, float]:
    """Step → median CPU seconds of the floor, each round in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmark.floor", str(settings.paths.landing), str(scratch)]
    found = [
        json.loads(subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout)
        for _ in range(rounds)
    ]
    return {step: statistics.median(one[step] for one in found) for step in found[0]}


def ask(database: Path, sql: str, rounds: int) -> float:
    """Median CPU seconds of a query on an open read-only connection, warm."""
    seconds = []
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("set threads = 2")
        for _ in range(rounds + 1):
            started = time.process_time()
            connection.execute(sql).fetchall()
            seconds.append(time.process_time() - started)
    return statistics.median(seconds[1:])


def build(folder: Path, deals: int, rounds: int) -> tuple[Settings, Build]:
    """Land a business of this size, measure the floor, build the first set, then everything."""
    world = land(folder, config_of(deals))
    settings = world.settings
    landing = settings.paths.landing
    floor = floor_of(settings, folder / "scratch", rounds)
    first = dbt_run(settings, [f"+{mart}" for mart in FIRST_SET])
    whole = dbt_run(settings, ["staging", "ledger", "marts", "forecast"])
    slowest = slowest_models(settings)
    questions = {
        "open pipeline by stage, 400 days ago": ask(settings.paths.warehouse, AS_OF_QUESTION, rounds),
        **{name: ask(settings.paths.warehouse, sql, rounds) for name, sql in BI_QUERIES.items()},
    }
    size = sum(path.stat().st_size for path in landing.rglob("*.parquet"))
    return settings, Build(world.deals, world.changes, size, floor, first, whole, slowest, questions)


def night(settings: Settings, deals: int) -> Night:
    """Land the day after, run dbt on it, and hold its tables beside those of a full build."""
    delivered, rows = land_next_day(settings, config_of(deals))
    layers = ["staging", "ledger", "marts", "forecast"]
    nightly = dbt_run(settings, layers, full=False)
    warehouse = settings.paths.warehouse
    kept = warehouse.with_name("nightly.duckdb")
    shutil.copy(warehouse, kept)
    dbt_run(settings, layers)
    return Night(nightly, delivered, rows, differing_tables(kept, warehouse))


def differing_tables(first: Path, second: Path) -> dict[str, int]:
    """Table → rows that only one of two warehouses has (EXCEPT ALL both ways), without notes of the build."""
    differing = {}
    with duckdb.connect() as connection:
        connection.execute(f"attach '{first}' as a (read_only); attach '{second}' as b (read_only)")
        tables = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'a' "
            "and schema_name in ('ledger', 'marts', 'forecast') "
            "and not regexp_matches(table_name, '(_applied|_rebuild|_inputs|int_touched.*|int_.*_digest.*)$')"
        ).fetchall()
        for schema, table in tables:
            one, other = (f"select * from {side}.{schema}.{table}" for side in "ab")
            (count,) = connection.execute(
                f"select (select count(*) from ({one} except all {other})) "
                f"+ (select count(*) from ({other} except all {one}))"
            ).fetchone() or (0,)
            if count:
                differing[f"{schema}.{table}"] = count
    return differing


def report(builds: Sequence[Build]) -> Iterator[str]:
    """The figures of the builds as lines."""
    for one in builds:
        size = f"{one.landing_bytes / 1e6:,.0f} MB of Parquet"
        yield f"{one.deals:,} deals, {one.changes:,} change rows, {size}"
        yield f"  floor F {one.f:26.1f} CPU s"
        yield from (f"    {step:28}{seconds:6.1f}" for step, seconds in one.floor.items())
        for name, took, bar in (("first set", one.first, FIRST_BAR), ("everything", one.whole, WHOLE_BAR)):
            yield (
                f"  {name:16}{took.cpu:18.1f} CPU s, {took.wall:.0f} s, {took.megabytes:,.0f} MB: "
                f"{took.cpu / one.f:.2f} x F (bar {bar})"
            )
        yield "  slowest models of everything, wall seconds"
        yield from (f"    {name:36}{seconds:6.1f}" for name, seconds in one.slowest)
        yield f"  questions, CPU s (bars {AS_OF_BAR} for the first, {BI_BAR} for the others)"
        yield from (f"    {name:44}{seconds:8.3f}" for name, seconds in one.questions.items())
        yield ""
    for small, large in itertools.pairwise(builds):
        exponent = math.log(large.whole.cpu / small.whole.cpu) / math.log(large.deals / small.deals)
        yield (
            f"growth from {small.deals:,} to {large.deals:,} deals: CPU as deals to the power of "
            f"{exponent:.2f} (bar {GROWTH_BAR})"
        )


def report_night(night: Night, whole: Build) -> Iterator[str]:
    """The figures of a night as lines."""
    touched, share = night.deals / whole.deals, night.took.cpu / whole.whole.cpu
    yield (
        f"a night with {night.deals:,} deals touched ({touched:.1%}), {night.rows:,} rows: "
        f"{night.took.cpu:.1f} CPU s, {share:.0%} of the full build (bar {NIGHT_BAR:.0%})"
    )
    yield f"  tables that differ from a full build: {dict(night.differing) or 'none'}"


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--deals", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, help="a folder to keep the businesses in")
    asked = parser.parse_args()
    load = os.getloadavg()[1]
    builds: list[Build] = []
    lines = ["Speed report of the build: CPU seconds (user + system), on 2 cores; dbt with its start."]
    with _folder(asked.data) as folder:
        for deals in asked.deals:
            settings, built = build(folder / str(deals), deals, asked.rounds)
            builds.append(built)
        nightly = list(report_night(night(settings, asked.deals[-1]), builds[-1]))
    lines.append(
        f"The floor is the median of {asked.rounds} processes, a build is one. Load average of five minutes: "
        f"{load:.1f} before, {os.getloadavg()[1]:.1f} after."
    )
    asked.out.write_text("\n".join([*lines, "", *report(builds), *nightly]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
