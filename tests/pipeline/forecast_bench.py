"""A ledger of two years, the settings that the forecast's steps read, and runs over a range of days."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import dagster as dg

from tests.synthetic_ledger import ledger_tables, random_deals, write_ledger

END = date(2025, 6, 30)
PARTITIONS = dg.DailyPartitionsDefinition(start_date="2025-01-01", end_date="2025-07-11")
EXTRACT_KEY = dg.AssetKey("some_partitioned_extract")
NIGHTLY_RUN = "6a1f2f0e-0b7d-4c8e-9d3a-5e2b7c4d1f00"


def ledger_since(first: date, path: Path) -> Path:
    """Six deals a week from `first` to `END`, as the nightly run `NIGHTLY_RUN` leaves them."""
    write_ledger(path, ledger_tables(random_deals(first, END, 6, seed=9), END), run_id=NIGHTLY_RUN)
    return path


def forecast_settings(folder: Path, ledger: Path) -> SimpleNamespace:
    """What the steps read of the settings, with a copy of the ledger of their own."""
    (folder / "warehouse.duckdb").write_bytes(ledger.read_bytes())
    return SimpleNamespace(
        paths=SimpleNamespace(warehouse=folder / "warehouse.duckdb", run_lock=folder / "run.lock"),
        business=SimpleNamespace(week_start_number=1),
        forecast=SimpleNamespace(challenger=False),
        memory_limit="500MB",
        memory_share=lambda share: "300MB",
        threads=2,
    )


def run_days(
    assets: Sequence[dg.AssetsDefinition],
    instance: dg.DagsterInstance,
    first: date,
    last: date,
    run_id: str | None = None,
) -> dg.ExecuteInProcessResult:
    """One run of all `assets` for the days from `first` to `last`; a failure is returned, not raised."""
    definitions = dg.Definitions(assets=assets, jobs=[dg.define_asset_job("forecast_backfill")])
    return definitions.resolve_job_def("forecast_backfill").execute_in_process(
        instance=instance,
        run_id=run_id,
        tags={
            "dagster/asset_partition_range_start": first.isoformat(),
            "dagster/asset_partition_range_end": last.isoformat(),
        },
        raise_on_error=False,
    )
