"""The job `full_refresh`: what it will and must not do, and how the new version differs from the old."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from dagster_project.backfills.refusals import (
    BackfillRefused,
    refuse_changed_definitions,
    refuse_gaps_in_landing,
    refuse_missing_warehouse,
)
from dagster_project.publish.assets import PUBLISHED_MARTS_KEY
from dagster_project.publish.versions import Versions, current_file
from dagster_project.settings import Settings
from dagster_project.transform.run_context import Refused
from dagster_project.warehouse import Warehouse

DIFFERENCE_CHECK = "difference_to_the_version_before"
TABLES_SHOWN = 80


def plan_refresh(settings: Settings, row: Mapping[str, Any], is_accepted: bool) -> str:
    """What a full refresh under the run context `row` will do. Errors: Refused."""
    warehouse = Warehouse(settings.paths.warehouse)
    try:
        refuse_missing_warehouse(settings)
        refuse_gaps_in_landing(settings, warehouse)
        newest = warehouse.query(
            "select definition_version, as_of from ops.run_context order by run_order desc limit 1"
        )
        if newest.empty:
            raise BackfillRefused("nothing has been built yet: run the nightly job first (`make run`)")
        changes = refuse_changed_definitions(
            warehouse,
            [str(newest.loc[0, "definition_version"])],
            str(row["definition_version"]),
            str(row["settings_json"]),
            is_accepted,
        )
    except BackfillRefused as error:
        raise Refused(str(error)) from None
    runs = warehouse.query("select count(*) as runs from ops.run_context where run_kind = 'nightly'")
    lines = [
        f"All tables of staging, ledger and marts are built whole from the landing, as of {row['as_of']} "
        f"(now {newest.loc[0, 'as_of']:%Y-%m-%d}), and published.",
        "",
        "| what | happens |",
        "|---|---|",
        "| landed batches | stay, and are read again |",
        f"| what was known when ({runs.loc[0, 'runs']} nightly runs) | stays |",
        "| forecasts, live and backfill | stay |",
        "| tables of dbt | are replaced |",
        f"| changed definitions | {' and '.join(changes) or 'none'} |",
    ]
    return "\n".join(lines)


def build_difference_check(settings: Settings) -> dg.AssetChecksDefinition:
    """Part of `full_refresh` alone: it compares the published version with the one before, table by table."""

    @dg.asset_check(
        asset=PUBLISHED_MARTS_KEY,
        name=DIFFERENCE_CHECK,
        description="Which tables of the published version hold other rows than the version before.",
    )
    def difference_to_the_version_before() -> dg.AssetCheckResult:
        folder = settings.paths.published_dir
        current = current_file(folder)
        kept = Versions(folder).complete() if folder.exists() else []
        earlier = [number for number in kept if Versions(folder).path(number) != current]
        if current is None or not earlier:
            return dg.AssetCheckResult(passed=True, description="there is no version before to compare with")
        rows = differences(Versions(folder).path(max(earlier)), current)
        changed = [row for row in rows if row[1] != row[2] or row[3]]
        return dg.AssetCheckResult(
            passed=True,
            description=f"{len(changed)} of {len(rows)} tables hold other rows than before",
            metadata={"difference": dg.MetadataValue.md(difference_markdown(changed))},
        )

    return difference_to_the_version_before


def differences(before: Path, after: Path) -> list[tuple[str, int | None, int | None, bool]]:
    """Table, rows before, rows after (None where it is not there), and whether their content differs."""
    contents = [_contents(path) for path in (before, after)]
    return [
        (
            name,
            contents[0].get(name, (None, None))[0],
            contents[1].get(name, (None, None))[0],
            contents[0].get(name) != contents[1].get(name),
        )
        for name in sorted({*contents[0], *contents[1]})
    ]


def difference_markdown(rows: list[tuple[str, int | None, int | None, bool]]) -> str:
    """Tables that differ, as a bounded markdown table."""
    if not rows:
        return "every table holds the same rows as before"
    lines = ["| table | rows before | rows after |", "|---|--:|--:|"]
    for name, before, after, _ in rows[:TABLES_SHOWN]:
        lines.append(f"| {name} | {_counted(before)} | {_counted(after)} |")
    rest = [f"\n{len(rows) - TABLES_SHOWN} more"] if len(rows) > TABLES_SHOWN else []
    return "\n".join([*lines, *rest])


def _counted(rows: int | None) -> str:
    return "no table" if rows is None else f"{rows:,}"


def _contents(path: Path) -> dict[str, tuple[int, int]]:
    """Table → rows, and a sum of row hashes without the ids of runs, which differ in each version."""
    with duckdb.connect(str(path), read_only=True) as connection:
        names = [name for (name,) in connection.execute("select table_name from duckdb_tables()").fetchall()]
        found = {}
        for name in names:
            if name == "_publish":
                continue
            columns = [row[0] for row in connection.execute(f'describe "{name}"').fetchall()]
            told = ", ".join(f'"{column}"' for column in columns if column != "run_id")
            row = connection.execute(
                f'select count(*), coalesce(sum(hash(t)), 0) from (select {told} from "{name}") as t'
            ).fetchone()
            assert row is not None
            found[name] = (int(row[0]), int(row[1]))
        return found
