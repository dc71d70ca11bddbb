"""The floor F of a build: what any program must do with the same Parquet before it can tell anything.

    python -m tests.benchmark.floor <landing folder> <scratch folder>

Every column is decoded (its lengths are summed), the changes are parsed once, grouped by deal and field, made
distinct, sorted by deal and time, and written thin. Prints the CPU seconds of each step as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import duckdb

ENTITIES = ("deals", "stage_history", "line_items")
FIELDS = ("deal_id", "changed_at", "stage", "pipeline", "amount", "close_date", "owner")


def floor_steps(landing: Path, scratch: Path) -> dict[str, str]:
    """Name → SQL of each step, in order."""
    files = {entity: f"read_parquet('{landing}/files/*/{entity}/*/*.parquet')" for entity in ENTITIES}
    columns = ("source_relation", "record_id", "modified_at", "extracted_at", "batch_id", "payload")
    lengths = ", ".join(f"sum(length(cast({column} as varchar)))" for column in columns)
    decode = " union all ".join(f"select {lengths} from {source}" for source in files.values())
    shape = json.dumps(dict.fromkeys(FIELDS, "VARCHAR"))
    parsed = ", ".join(f"p.{field} as {field}" for field in FIELDS)
    counted = ", ".join(f"count({field})" for field in FIELDS[2:])
    thin = scratch / "thin.parquet"
    return {
        "decode all columns": decode,
        "parse the changes": f"create or replace temp table changes as select {parsed} from "
        f"(select from_json(payload, '{shape}') as p from {files['stage_history']})",
        "group by deal and field": f"create or replace temp table counts as select deal_id, {counted} "
        "from changes group by deal_id",
        "distinct events": "create or replace temp table events as select distinct * from changes",
        "sort and write thin": f"copy (select deal_id, cast(changed_at as timestamp) as changed_at, stage "
        f"from events order by deal_id, changed_at) to '{thin}' (format parquet)",
    }


def measure_floor(landing: Path, scratch: Path, threads: int = 2) -> dict[str, float]:
    """Name → CPU seconds (user + system) of each step."""
    scratch.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    with duckdb.connect() as connection:
        connection.execute(f"set threads = {threads}")
        connection.execute("set preserve_insertion_order = false")
        for name, sql in floor_steps(landing, scratch).items():
            started = time.process_time()
            connection.execute(sql).fetchall()
            seconds[name] = time.process_time() - started
    return seconds


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure_floor(Path(sys.argv[1]), Path(sys.argv[2]))) + "\n")
