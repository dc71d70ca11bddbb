"""`ops.build`: which dbt build the warehouse holds, and whether it ran to its end.

A build that was killed leaves a mixed warehouse and a row without an end; publishing asks here first.
"""

from collections.abc import Mapping
from datetime import datetime

import pandas as pd

from dagster_project.warehouse import Warehouse

TABLE = "ops.build"
COLUMNS = {
    "build_order": "bigint",
    "run_id": "varchar",
    "started_at": "timestamp",
    "finished_at": "timestamp",
    "is_full_selection": "boolean",
    "models_built": "int",
    "tests_passed": "int",
    "tests_warned": "int",
}
"""One row per dbt build; `finished_at` (UTC) stays null when the build failed or was killed."""


def open_build(
    warehouse: Warehouse, run_id: str, started_at: datetime, *, is_complete_selection: bool
) -> None:
    """Write the row of a build that starts now."""
    warehouse.create_table(TABLE, COLUMNS)
    order = int(warehouse.query(f"select coalesce(max(build_order), 0) + 1 as n from {TABLE}").loc[0, "n"])
    row = {
        "build_order": order,
        "run_id": run_id,
        "started_at": started_at,
        "finished_at": None,
        "is_full_selection": is_complete_selection,
        "models_built": None,
        "tests_passed": None,
        "tests_warned": None,
    }
    warehouse.append(TABLE, pd.DataFrame([row]), COLUMNS)


def close_build(warehouse: Warehouse, run_id: str, finished_at: datetime, counts: Mapping[str, int]) -> None:
    """Give the run's newest build its end and its counts (`model_success`, `test_pass`, `test_warn`)."""
    warehouse.execute(
        f"update {TABLE} set finished_at = $finished_at, models_built = $models, "
        "tests_passed = $passed, tests_warned = $warned "
        f"where build_order = (select max(build_order) from {TABLE} where run_id = $run_id)",
        {
            "finished_at": finished_at.replace(tzinfo=None),
            "models": counts.get("model_success", 0) + counts.get("seed_success", 0),
            "passed": counts.get("test_pass", 0),
            "warned": counts.get("test_warn", 0),
            "run_id": run_id,
        },
    )


def is_finished(warehouse: Warehouse) -> bool:
    """Whether there is a build and the newest one came to its end."""
    if not warehouse.has_table(TABLE):
        return False
    newest = warehouse.query(
        f"select finished_at is not null as is_finished from {TABLE} order by build_order desc limit 1"
    )
    return not newest.empty and bool(newest.loc[0, "is_finished"])
