"""The SQL of `dbt build` without dbt: its models and data tests in their order, in one process.

    python -m tests.benchmark.bare_sql <dbt target folder> <warehouse> <new database>

The new database gets what dbt does not build (the run context and the forecasts) from the warehouse.
"""

import json
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.settings import load_settings

NOT_BUILT_BY_DBT = ("ops", "forecast")
APPLIED = ("int_ledger_applied", "int_marts_applied")
"""What the last build left is read before this one replaces it."""


def ordered_nodes(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Models and data tests, each after what it reads; a test comes before what depends on its models."""
    nodes = {
        name: node
        for name, node in manifest["nodes"].items()
        if node["resource_type"] in ("model", "test") and node.get("compiled_code")
    }
    needed = {
        name: [parent for parent in node["depends_on"]["nodes"] if parent in nodes]
        for name, node in nodes.items()
    }
    return [nodes[name] for name in TopologicalSorter(needed).static_order()]


def run(target: Path, warehouse: Path, database: Path) -> int:
    """Run everything on the new database and return how many statements that were."""
    manifest = json.loads((target / "manifest.json").read_text())
    settings = load_settings()
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"set memory_limit = '{settings.memory_limit}'")
        connection.execute(f"set threads = {settings.threads}")
        connection.execute("set preserve_insertion_order = false")
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(f"attach '{warehouse}' as before (read_only)")
        kept = connection.execute(
            "select schema_name, table_name from duckdb_tables() where database_name = 'before'"
        ).fetchall()
        nodes = ordered_nodes(manifest)
        # dbt builds some of the tables of the forecast, and the forecast itself the others
        built = {(node["schema"], node.get("alias")) for node in nodes if node["resource_type"] == "model"}
        for schema, table in kept:
            if (schema in NOT_BUILT_BY_DBT and (schema, table) not in built) or table in APPLIED:
                connection.execute(f"create schema if not exists {schema}")
                connection.execute(f"create table {schema}.{table} as from before.{schema}.{table}")
        connection.execute("detach before")
        for node in nodes:
            if node["resource_type"] == "test":
                query = f"select count(*) from ({node['compiled_code']}) as failures"
                connection.execute(query.replace('"warehouse".', "")).fetchone()
                continue
            kind = "view" if node["config"]["materialized"] == "view" else "table"
            connection.execute(f"create schema if not exists {node['schema']}")
            name = f"{node['schema']}.{node['alias']}"
            sql = node["compiled_code"].replace('"warehouse".', "")
            connection.execute(f"create or replace {kind} {name} as {sql}")
    return len(nodes)


if __name__ == "__main__":
    if Path(sys.argv[3]).exists():
        Path(sys.argv[3]).unlink()
    sys.stdout.write(f"{run(*map(Path, sys.argv[1:4]))} statements\n")
