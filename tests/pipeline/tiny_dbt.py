"""A dbt project of three models over one table, for tests of the runner that need no ledger."""

from pathlib import Path
from types import SimpleNamespace

import duckdb

PROJECT = """
name: stageledger
version: "1.0"
config-version: 2
profile: stageledger
models:
  stageledger:
    staging: {+schema: staging, +materialized: view}
    marts: {+schema: marts, +materialized: table}
"""
PROFILE = """
stageledger:
  target: duckdb
  outputs:
    duckdb:
      type: duckdb
      path: "{{ env_var('STAGELEDGER_WAREHOUSE') }}"
      schema: main
      threads: 1
"""
SCHEMA_NAME = """
{% macro generate_schema_name(custom_schema_name, node) -%}
  {{ custom_schema_name or target.schema }}
{%- endmacro %}
"""
SOURCES = """
version: 2
sources:
  - name: landing_files
    schema: landing
    tables: [{name: deals}]
  - name: ops
    schema: ops
    tables: [{name: run_context}]
"""
MODELS = """
version: 2
models:
  - name: stg_deals
    description: One row per deal.
    columns: [{name: deal_id, data_tests: [not_null]}]
  - name: stg_run_context
    description: One row per run.
  - name: mart_deals
    description: One row per stage.
    columns: [{name: stage, data_tests: [not_null, unique]}]
"""
# Some hundred billion rows: no machine ends this while a test looks on. It waits for stg_run_context.
SLOW_SQL = """
select count(*) as deals, 'open' as stage
from range(1000000) as a, range(1000000) as b, {{ ref('stg_run_context') }} as c
where a.range > b.range
"""


def write_project(folder: Path) -> Path:
    """The project, ready to be parsed: `deals` in the landing, one mart that counts them by stage."""
    files = {
        "dbt_project.yml": PROJECT,
        "profiles.yml": PROFILE,
        "macros/generate_schema_name.sql": SCHEMA_NAME,
        "models/sources.yml": SOURCES,
        "models/models.yml": MODELS,
        "models/staging/stg_deals.sql": "select * from {{ source('landing_files', 'deals') }}",
        "models/staging/stg_run_context.sql": "select * from {{ source('ops', 'run_context') }}",
        "models/marts/mart_deals.sql": (
            "select stage, count(*) as deals from {{ ref('stg_deals') }} group by stage"
        ),
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def write_warehouse(folder: Path) -> SimpleNamespace:
    """A warehouse with four deals in two stages, and as much of the settings as the runner reads."""
    settings = SimpleNamespace(
        sources=(),
        paths=SimpleNamespace(
            root=folder,
            warehouse=folder / "warehouse.duckdb",
            landing=folder / "landing",
            dbt_target=folder / "dbt_target",
            run_lock=folder / "run.lock",
        ),
        threads=2,
        memory_limit="500MB",
    )
    with duckdb.connect(str(settings.paths.warehouse)) as connection:
        connection.execute("create schema landing; create schema ops")
        connection.execute(
            "create table landing.deals as select * from "
            "(values ('d1', 'Lead'), ('d2', 'Lead'), ('d3', 'Lead'), ('d4', 'Quote')) as t(deal_id, stage)"
        )
        connection.execute("create table ops.run_context as select date '2026-03-31' as as_of")
    return settings
