"""dbt itself, night after night: what a killed and repeated night leaves is what a full refresh builds."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import duckdb
import pytest

from dagster_project.transform.assets import rebuild_is_asked
from dagster_project.transform.dbt_runner import DBT_PROJECT
from tests.ledger.book import STAGES, Book, Change, Record, Run
from tests.ledger.deliveries import land
from tests.ledger.ledger_bench import create_run_context, dbt_call, fill_run_context, run_dbt
from tests.ledger.nights_bench import OF_THE_BUILD
from tests.ledger.random_books import random_book

LAYERS = ("staging", "ledger", "marts")
NIGHT = {"extracted_at": datetime(2026, 1, 7, 1), "is_initial_load": False}
KILLED_AFTER = "int_deal_states"


def second_night(book: Book) -> Book:
    """Late, repeated, corrected, deleted and merged rows, and a new deal."""
    late = Change("deal 01", datetime(2025, 3, 29, 4), "quote", amount=None, **NIGHT)
    new = Change("new deal", datetime(2026, 1, 6, 12), "lead", **NIGHT)
    corrected = Record("deal 02", datetime(2025, 3, 28), "opp", modified_at=datetime(2026, 1, 6, 9), **NIGHT)
    deleted = replace(corrected, deal_id="deal 03", deleted_at=datetime(2026, 1, 6, 9))
    merged = replace(corrected, deal_id="deal 04", merged_into="deal 02", merged_at=datetime(2026, 1, 6, 9))
    again = tuple(replace(row, **NIGHT) for row in book.changes[:9])
    return Book(
        (),
        (corrected, deleted, merged),
        (late, new, *again),
        (*book.runs, Run(date(2026, 1, 6), datetime(2026, 1, 7, 2))),
        book.settings,
    )


def tables_of(database: Path) -> dict[str, list[tuple]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        names = connection.execute(
            "select schema_name, table_name from duckdb_tables() where schema_name in ('ledger', 'marts')"
        ).fetchall()
        return {
            f"{schema}.{name}": sorted(connection.execute(f'from {schema}."{name}"').fetchall(), key=repr)
            for schema, name in names
            if name not in OF_THE_BUILD
        }


def kill_dbt_after(model: str, database: Path, landing: Path, target: Path) -> None:
    """Kill -9 as soon as dbt's log tells the end of a model."""
    log = target / "logs" / "dbt.log"
    log.unlink(missing_ok=True)
    call, environment = dbt_call("run", database, landing, target, LAYERS)
    process = subprocess.Popen(call, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ended = f"Finished running node model.stageledger.{model}"
    try:
        while process.poll() is None and not (log.exists() and ended in log.read_text(encoding="utf-8")):
            time.sleep(0.02)
        assert process.poll() is None, "dbt ended before it could be killed"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("run_config", "is_asked"),
    [
        ({}, False),
        ({"ops": {"run_context": {"config": {"rebuild": False}}}}, False),
        ({"ops": {"run_context": {"config": {"rebuild": True}}}}, True),
    ],
)
def test_a_run_that_is_to_rebuild_builds_every_table_whole(run_config: dict, is_asked: bool) -> None:
    assert rebuild_is_asked(run_config) is is_asked


def code_digest(project: Path, database: Path, folder: Path) -> str:
    """The digest of the code as dbt compiles it into int_ledger_inputs."""
    target = folder / "target"
    call, environment = dbt_call("compile", database, folder / "landing", target, ["int_ledger_inputs"])
    call = [part if part != str(DBT_PROJECT) else str(project) for part in call]
    subprocess.run(call, env=environment, capture_output=True, check=True)
    compiled = (target / "compiled/stageledger/models/ledger/int_ledger_inputs.sql").read_text(
        encoding="utf-8"
    )
    (digest,) = re.findall(r"concat\('([0-9a-f]{32})'", compiled)
    return digest


@pytest.mark.slow
def test_a_changed_macro_or_model_is_a_reason_to_build_all_anew(tmp_path: Path) -> None:
    project, database = tmp_path / "dbt", tmp_path / "warehouse.duckdb"
    shutil.copytree(DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    with duckdb.connect(str(database)) as connection:
        create_run_context(connection, Book(stages=()))
    found = [code_digest(project, database, tmp_path), code_digest(project, database, tmp_path)]
    for path in ("macros/engine/time.sql", "models/ledger/int_stage_moves.sql"):
        text = (project / path).read_text(encoding="utf-8")
        (project / path).write_text(text.replace("cast(", "cast( "), encoding="utf-8")
        found.append(code_digest(project, database, tmp_path))
    assert found[0] == found[1]
    assert len(set(found)) == 3


@pytest.mark.slow
def test_a_killed_and_repeated_night_is_what_a_full_refresh_builds(tmp_path: Path) -> None:
    book = replace(random_book(11), stages=STAGES)
    landing, target, database = tmp_path / "landing", tmp_path / "target", tmp_path / "warehouse.duckdb"
    land(book, landing)
    with duckdb.connect(str(database)) as connection:
        create_run_context(connection, book)
    run_dbt("run", database, landing, target, LAYERS)
    first = tables_of(database)

    night = second_night(book)
    land(night, landing)
    with duckdb.connect(str(database)) as connection:
        fill_run_context(connection, night)
    kill_dbt_after(KILLED_AFTER, database, landing, target)
    killed = tables_of(database)
    with duckdb.connect(str(database), read_only=True) as connection:
        unknown = connection.execute(
            "select item from ledger.int_ledger_applied where digest is null order by item"
        ).fetchall()
        replaced = connection.execute(
            "select deal_key from ledger.int_touched_deals order by deal_key"
        ).fetchall()
    assert unknown == replaced != []
    assert killed[f"ledger.{KILLED_AFTER}"] != first[f"ledger.{KILLED_AFTER}"]
    assert killed["ledger.fct_deal_versions"] == first["ledger.fct_deal_versions"]

    run_dbt("run", database, landing, target, LAYERS)
    with duckdb.connect(str(database), read_only=True) as connection:
        assert connection.execute("from ledger.int_ledger_rebuild").fetchall() == []
        assert connection.execute("from marts.int_marts_rebuild").fetchall() == []
        touched = connection.execute("select count(*) from ledger.int_touched_deals").fetchone()
    nightly = tables_of(database)
    assert touched is not None
    assert 0 < touched[0] < len(nightly["ledger.int_deals"]) / 2

    whole = tmp_path / "whole" / "warehouse.duckdb"
    whole.parent.mkdir()
    shutil.copy(database, whole)
    refused, environment = dbt_call("run", whole, landing, target, ["fct_deal_versions", "--full-refresh"])
    answer = subprocess.run(refused, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "its layer is built whole together (dbt build --full-refresh)" in answer.stdout
    run_dbt("run", whole, landing, target, [*LAYERS, "--full-refresh"])
    with duckdb.connect(str(whole), read_only=True) as connection:
        reasons = connection.execute("from ledger.int_ledger_rebuild").fetchall()
    assert reasons == [("asked for by --full-refresh",)]
    assert len(nightly) > 60
    for name, rows in tables_of(whole).items():
        assert nightly[name] == rows, name
