"""What the report costs at a million deals: `make bench-report`.

    python -m tests.benchmark.report_at_scale [--published marts.duckdb] [--deals 1000000] [--keep FOLDER]

No nightly run of a million deals stands behind it: the tables of a published file that have rows per deal,
customer or rep, as far as pages read them, are grown to what such a business would publish. Copies of deals
have keys, names and amounts of their own. Tables per quarter, stage, product, region and team do not grow.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from dagster_project.report.report_file import write_report
from dagster_project.settings import load_settings

PER_DEAL = ("dim_deal", "fct_pipeline_movements", "forecast_changes", "forecast_deals", "mart_deal_health")
REPS = 500
EDITIONS = ("full", "team", "board")


def grow(published: Path, target: Path, deals: int) -> int:
    """Write a copy of a published file with at least `deals` deals; returns how many it has."""
    with duckdb.connect(str(target)) as connection:
        connection.execute("set memory_limit = '3GB'; set threads = 2; set preserve_insertion_order = false")
        connection.execute(f"attach '{published}' as small (read_only)")
        there = connection.execute("select count(*) from small.dim_deal").fetchone()[0]
        copies = -(-deals // there)
        reps = connection.execute("select count(*) from small.dim_owner").fetchone()[0]
        owners = -(-REPS // reps)
        tables = connection.execute(
            "select table_name from duckdb_tables() where database_name = 'small' union all "
            "select view_name from duckdb_views() where database_name = 'small' and not internal"
        ).fetchall()
        for (name,) in tables:
            columns = {row[0] for row in connection.execute(f'describe small."{name}"').fetchall()}
            if name in PER_DEAL:
                connection.execute(_of_deals(name, columns, copies))
            elif name == "dim_owner":
                connection.execute(
                    f"create table dim_owner as select rows.* replace (concat(owner_key, c) as owner_key, "
                    f"concat(owner, ' ', c) as owner) from small.dim_owner as rows, range({owners}) as t (c)"
                )
            elif {"segment_type", "segment"} <= columns:
                connection.execute(
                    f'create table "{name}" as select * from small."{name}" union all '
                    "select rows.* replace (concat(segment, ' ', c) as segment) "
                    f'from small."{name}" as rows, range(1, {max(copies, owners)}) as t (c) '
                    f"where (segment_type = 'account' and c < {copies}) "
                    f"or (segment_type = 'owner' and c < {owners})"
                )
            elif name.startswith(("mart_", "forecast_", "dim_", "alerts", "_publish")):
                connection.execute(f'create table "{name}" as from small."{name}"')
        return connection.execute("select count(*) from dim_deal").fetchone()[0]


def _of_deals(name: str, columns: set[str], copies: int) -> str:
    changed = [
        "case when c = 0 or deal_key = '(none)' then deal_key else md5(concat(deal_key, c)) end as deal_key"
    ]
    if "deal_name" in columns:
        changed.append("concat(deal_name, ' ', c) as deal_name")
    if "deal_amount" in columns:
        changed.append(f"cast(deal_amount * (0.75 + 0.5 * c / {copies}) as decimal(20, 3)) as deal_amount")
    replaced = ", ".join(changed)
    whole = "where c = 0 or deal_key <> '(none)'"
    return (
        f'create table "{name}" as select rows.* replace ({replaced}) '
        f'from small."{name}" as rows, range({copies}) as t (c) {whole}'
    )


def measure(published: Path, folder: Path) -> dict[str, object]:
    """Write all editions: seconds, CPU seconds, the process's peak of megabytes, megabytes of each page."""
    started = time.perf_counter()
    report = write_report(published, folder, "Example Ltd", "EUR", EDITIONS)
    pages = {page.path.name: round(page.size_bytes / 1e6, 2) for page in report.pages}
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(report.cpu_seconds, 1),
        "peak_megabytes": _peak(),
        "pages": pages,
    }


def _peak() -> int:
    # Of this program alone: what getrusage says is that of the process it was started from, too.
    (line,) = [row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM")]
    return round(int(line.split()[1]) / 1024)


def main() -> int:
    """Grow, and write the pages of both files, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--published", type=Path, default=load_settings().paths.published_file)
    parser.add_argument("--deals", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        if asked.measure:
            sys.stdout.write(json.dumps(measure(asked.measure, folder)) + "\n")
            return 0
        folder.mkdir(parents=True, exist_ok=True)
        grown = folder / "marts-grown.duckdb"
        if not grown.exists():
            grow(asked.published.resolve(), grown, asked.deals)
        for file in (asked.published, grown):
            command = [sys.executable, "-m", "tests.benchmark.report_at_scale", "--measure", str(file)]
            done = subprocess.run(
                [*command, "--keep", str(folder)], capture_output=True, text=True, check=True
            )
            sys.stdout.write(f"{file.name}: {done.stdout}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
