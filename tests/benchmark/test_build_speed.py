"""The parts of the build benchmark, on a small business."""

import json
from pathlib import Path

import duckdb
import pandas as pd

from dagster_project.extract.landing import Landing
from tests.benchmark.build_speed import Build, differing_tables, report
from tests.benchmark.floor import floor_steps, measure_floor
from tests.benchmark.landed_world import config_of, land, land_next_day
from tests.benchmark.overhead import Measured


def payloads(landing: Path, entity: str) -> pd.DataFrame:
    files = sorted((landing / "files" / "crm_export" / entity).glob("*/*.parquet"))
    rows = [json.loads(text) for file in files for text in pd.read_parquet(file)["payload"]]
    return pd.DataFrame(rows)


def test_the_floor_reads_every_change_and_writes_each_once(tmp_path: Path) -> None:
    world = land(tmp_path / "data", config_of(200))
    landing = world.settings.paths.landing
    seconds = measure_floor(landing, tmp_path / "scratch")
    assert list(seconds) == list(floor_steps(landing, tmp_path))
    changes = payloads(landing, "stage_history")
    assert len(changes) == world.changes
    fields = ["deal_id", "changed_at", "stage", "pipeline", "amount", "close_date", "owner"]
    thin = pd.read_parquet(tmp_path / "scratch" / "thin.parquet")
    assert len(thin) == len(changes[fields].drop_duplicates())
    assert thin.equals(thin.sort_values(["deal_id", "changed_at"], kind="stable"))


def test_a_night_brings_what_changed_on_its_day_and_what_came_late(tmp_path: Path) -> None:
    config = config_of(2_000)
    world = land(tmp_path, config)
    landing = world.settings.paths.landing
    before = len(payloads(landing, "stage_history"))
    _, rows = land_next_day(world.settings, config)
    assert 0 < rows == len(payloads(landing, "stage_history")) - before
    nights = [batch for batch in Landing(landing).batches() if batch.manifest.stamp.entity == "stage_history"]
    assert sorted(batch.manifest.stamp.is_initial_load for batch in nights) == [False, True]


def test_tables_that_differ_are_told_with_the_rows_that_one_side_has(tmp_path: Path) -> None:
    for name, values in (("a", "(1), (2), (2)"), ("b", "(1), (2), (3)")):
        with duckdb.connect(str(tmp_path / f"{name}.duckdb")) as connection:
            connection.execute("create schema marts")
            connection.execute(f"create table marts.counted as select * from (values {values}) as rows (n)")
            connection.execute("create table marts.equal as select 1 as n")
    assert differing_tables(tmp_path / "a.duckdb", tmp_path / "b.duckdb") == {"marts.counted": 2}


def test_the_report_tells_multiples_of_the_floor_and_the_growth() -> None:
    def built(deals: int, cpu: float) -> Build:
        took = Measured(cpu, cpu, 100)
        return Build(deals, 4 * deals, 10, {"decode": 2.0, "sort": 3.0}, took, took, [], {})

    lines = "\n".join(report([built(1_000, 10.0), built(10_000, 200.0)]))
    assert "2.00 x F (bar 3.5)" in lines and "40.00 x F (bar 6.0)" in lines
    # ten times the deals, twenty times the CPU: log10(20) = 1.30
    assert "to the power of 1.30 (bar 1.1)" in lines
