"""A small warehouse in generations, and processes that publish it or read it while something goes wrong.

Every row of every table carries the generation it belongs to, so that a mixture is seen at once.
Run as a program it is one of those processes: `publish_scenario.py <command> <folder> …`.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from dagster_project.publish import duckdb_file
from dagster_project.publish.duckdb_file import PublishResult, PublishRun, publish
from dagster_project.publish.errors import PublishError
from dagster_project.publish.versions import Versions
from dagster_project.warehouse import Warehouse

AS_OF = date(2026, 3, 31)


def model(
    name: str, columns: dict[str, str], primary_key: list[str], access: str = "public"
) -> dict[str, Any]:
    """A model as it stands in a dbt manifest, cut to the fields that publishing reads."""
    return {
        "resource_type": "model",
        "name": name,
        "alias": name,
        "schema": "marts",
        "access": access,
        "description": f"One row per {primary_key[0]} of {name}.",
        "columns": {column: {"name": column, "description": text} for column, text in columns.items()},
        "config": {"meta": {"primary_key": primary_key}},
        "constraints": [],
    }


MANIFEST = {
    "nodes": {
        "model.stageledger.mart_pipeline": model(
            "mart_pipeline",
            {
                "day_number": "Day, counted from 1",
                "generation": "It's the generation",
                "amount": "Reporting currency",
            },
            ["day_number"],
        ),
        "model.stageledger.mart_stages": model(
            "mart_stages", {"stage": "Label", "pipeline": "Label", "generation": ""}, ["pipeline", "stage"]
        ),
        "model.stageledger.int_secret": model("int_secret", {"x": "Private"}, ["x"], access="protected"),
        "test.stageledger.unique": {"resource_type": "test", "name": "unique"},
    },
    "sources": {
        "source.stageledger.forecast.forecast_bookings": {
            "resource_type": "source",
            "name": "forecast_bookings",
            "identifier": "forecast_bookings",
            "schema": "forecast",
            "description": "One row per as_of.",
            "columns": {"as_of": {"name": "as_of", "description": "Business day"}},
            "meta": {"primary_key": ["as_of"]},
            "config": {},
        }
    },
}


@dataclass(frozen=True)
class Scenario:
    """A folder with a warehouse, a manifest and a published folder; `rows` is the size of the large mart."""

    root: Path
    rows: int = 500

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.root / "warehouse.duckdb", wait_seconds=30)

    @property
    def published(self) -> Path:
        return self.root / "published"

    @property
    def link(self) -> Path:
        return self.published / "marts.duckdb"

    def build(self, generation: int) -> None:
        """Fill the warehouse with one generation, as one successful run would."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / "manifest.json").write_text(json.dumps(MANIFEST))
        with self.warehouse.connect() as connection:
            for schema in ("marts", "forecast", "ops"):
                connection.execute(f"create schema if not exists {schema}")
            connection.execute(
                "create or replace table marts.mart_pipeline as select i + 1 as day_number, "
                f"{generation} as generation, cast(hash(i) % 100000 as decimal(20,3)) as amount "
                f"from range({self.rows}) as t(i)"
            )
            connection.execute(
                f"create or replace table marts.mart_stages as select *, {generation} as generation from "
                "(values ('Lead', 'New'), ('Quote', 'New'), ('Lead', 'Old')) as t(stage, pipeline)"
            )
            connection.execute("create or replace table marts.int_secret as select 1 as x")
            connection.execute(
                "create or replace table forecast.forecast_bookings as select date '2026-03-30' as as_of, "
                f"'run-0' as run_id, {generation} as generation union all select date '2026-03-31', "
                f"'run-{generation}', {generation}"
            )

    def publish(self, generation: int, keep: int = 3) -> PublishResult:
        """Publish what the warehouse holds."""
        run = PublishRun(f"run-{generation}", AS_OF, "default", f"run-{generation}")
        return publish(
            self.warehouse,
            self.published,
            self.root / "manifest.json",
            run,
            ["forecast.forecast_bookings"],
            keep,
        )

    def generation(self) -> int:
        """The one generation that a new reader of the published file sees in all its tables."""
        with duckdb.connect(str(self.link), read_only=True) as connection:
            return one_generation(connection, self.rows)

    def folder(self) -> list[str]:
        """Names in the published folder, bookkeeping files left out."""
        return sorted(path.name for path in self.published.iterdir() if not path.name.startswith("."))


class Torn(AssertionError):
    """A reader saw rows of two generations, or not all rows."""


def one_generation(connection: duckdb.DuckDBPyConnection, rows: int, pause: float = 0.0) -> int:
    """The generation of every row; raises `Torn` when there is more than one or a row is missing."""
    large = connection.execute(
        "select count(*), min(generation), max(generation) from mart_pipeline"
    ).fetchone()
    time.sleep(pause)
    small = connection.execute(
        "select count(*), min(generation), max(generation) from mart_stages"
    ).fetchone()
    if large is None or small is None:
        raise Torn("no rows")
    if large[0] != rows or small[0] != 3 or len({*large[1:], *small[1:]}) != 1:
        raise Torn(f"{large} beside {small}")
    return int(large[1])


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _dying(function: Callable[..., Any], when: Callable[..., bool] = lambda *_: True) -> Callable[..., Any]:
    def die_or_call(*arguments: Any, **named: Any) -> Any:
        if when(*arguments):
            _die()
        return function(*arguments, **named)

    return die_or_call


def _arm(moment: str) -> None:
    """Make the publisher of this process kill itself at a named moment."""
    if moment == "before the copy":
        duckdb_file.write_copy = _dying(duckdb_file.write_copy)
    elif moment == "in the middle of the copy":
        duckdb_file.copy_table = _dying(
            duckdb_file.copy_table, lambda _, table, *__: table.name == "mart_stages"
        )
    elif moment == "before the check":
        duckdb_file.verify_copy = _dying(duckdb_file.verify_copy)
    elif moment == "before it gets its name":
        Versions.accept = _dying(Versions.accept)  # type: ignore[method-assign]
    elif moment == "before the flip":
        Versions.flip = _dying(Versions.flip)  # type: ignore[method-assign]
    elif moment == "in the flip":
        os.replace = _dying(os.replace, lambda _, target, *__: Path(target).name == "marts.duckdb")
    elif moment == "after the flip":
        Versions.prune = _dying(Versions.prune)  # type: ignore[method-assign]
    else:
        raise ValueError(moment)


def read_until_told(scenario: Scenario, kind: str) -> dict[str, Any]:
    """Read the published file in one of three manners until the file `stop` appears; count what went wrong.

    The file `newest` holds the generation whose publish has already returned: no reader that connects
    afterwards may see an older one.
    """
    seen: set[int] = set()
    problems: list[str] = []
    queries = 0
    held = duckdb.connect(str(scenario.link), read_only=True) if kind == "held connection" else None
    held_generation = one_generation(held, scenario.rows) if held else 0
    (scenario.root / f"reading {kind}").touch()
    while not (scenario.root / "stop").exists():
        newest = int((scenario.root / "newest").read_text() or 0)
        try:
            with duckdb.connect(str(scenario.link), read_only=True) as connection:
                if kind == "explicit transaction":
                    connection.execute("begin transaction")
                    generation = one_generation(connection, scenario.rows, pause=0.05)
                    connection.execute("commit")
                else:
                    generation = one_generation(connection, scenario.rows)
            if held and one_generation(held, scenario.rows) != held_generation:
                problems.append("the held connection changed under its reader")
            if generation < newest:
                problems.append(f"stale: {generation} after {newest} was published")
            seen.add(generation)
        except (duckdb.Error, Torn) as error:
            problems.append(f"{type(error).__name__}: {error}")
        queries += 1
        time.sleep(0.02)
    return {"queries": queries, "generations": len(seen), "problems": problems}


def fill_the_disk(scenario: Scenario) -> dict[str, Any]:
    """In a published folder of a few megabytes: publish a small version, then one that does not fit."""
    scenario.build(1)
    answers: dict[str, Any] = {}
    try:
        scenario.publish(1)
    except PublishError as error:
        answers["preflight"] = str(error)
    duckdb_file._SPARE_BYTES = 0
    scenario.publish(1)
    Scenario(scenario.root, rows=2_000_000).build(2)
    try:
        scenario.publish(2)
    except PublishError as error:
        answers["full"] = str(error)
    return {**answers, "generation": scenario.generation(), "folder": scenario.folder()}


def main(command: str, folder: str, *rest: str) -> None:
    scenario = Scenario(Path(folder))
    if command == "publish and die":
        _arm(rest[0])
        scenario.publish(int(rest[1]))
    elif command == "publish":
        scenario.publish(int(rest[0]))
    elif command == "read":
        print(json.dumps(read_until_told(Scenario(Path(folder), rows=int(rest[1])), rest[0])))
    elif command == "publish with small files only":
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (int(rest[1]), int(rest[1])))
        try:
            scenario.publish(int(rest[0]))
        except PublishError as error:
            print(type(error).__name__, error)
    elif command == "fill the disk":
        print(json.dumps(fill_the_disk(scenario)))
    elif command == "write through the link and die":
        connection = duckdb.connect(str(scenario.link))
        connection.execute("update mart_pipeline set generation = 666")
        _die()
    else:
        raise ValueError(command)


if __name__ == "__main__":
    main(*sys.argv[1:])
