"""A simulated business on its whole way: exported as CSV, read by the files connector, built by dbt.

What the tests expect is told by the exported files (`Export`, read by pandas, without the ledger) and by the
law that the simulation drew from (`world`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

import duckdb
import pandas as pd

from dagster_project.extract.files.connector import extract_files
from dagster_project.extract.landing import Landing
from dagster_project.settings import REPOSITORY, load_settings
from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.crm_export import EXPORTS, write_crm_export
from dagster_project.simulate.world import World, simulate
from dagster_project.transform.dbt_runner import DBT_PROJECT, dbt_environment
from dagster_project.transform.run_context import Landed, append_run_context, run_context_row
from dagster_project.warehouse import Warehouse
from tests.marts.marts_bench import Marts
from tests.pipeline.nightly_bench import settle

DEALS = 5_000
AS_OF = date(2026, 5, 15)  # simulated until the end of June: deals are cut off in the middle of things
ZONE = "Europe/Amsterdam"
END = pd.Timestamp("2026-05-15 22:00:00")  # end of AS_OF in that zone, as naive UTC
DAY = pd.Timedelta(days=1)
TRANSIENT = pd.Timedelta(seconds=60)
BUILT_AT = datetime(2026, 5, 16, 3, tzinfo=UTC)
MARTS = (
    "mart_pipeline_daily",
    "mart_stage_conversion",
    "mart_stage_durations",
    "mart_sales_performance",
    "mart_win_rate_cohorts",
    "mart_bottlenecks",
    "mart_deal_health",
    "mart_loss_reasons",
    "mart_rep_scorecard",
    "mart_forecast_category_daily",
)


def business_day(instants: pd.Series) -> pd.Series:
    """The day in the business's time zone of naive UTC instants."""
    return instants.dt.tz_localize("UTC").dt.tz_convert(ZONE).dt.tz_localize(None).dt.normalize()


def quarter(days: pd.Series) -> pd.Series:
    """Fiscal quarter label (the fiscal year is the calendar's)."""
    return days.dt.year.astype("Int64").astype(str) + "Q" + days.dt.quarter.astype("Int64").astype(str)


@dataclass(frozen=True)
class Export:
    """The exported CSV files as frames with our field names; ids are text."""

    folder: Path

    def read(self, entity: str, *instants: str, **types: str) -> pd.DataFrame:
        """One file, its headers translated to our field names, `instants` parsed."""
        frame = pd.read_csv(self.folder / f"{entity}.csv", dtype={"Deal ID": str, "Merged Into": str} | types)
        names = {header: field for field, header in EXPORTS.get(entity, {}).items()}
        frame = frame.rename(columns=names)
        for column in instants:
            frame[column] = pd.to_datetime(frame[column])
        return frame

    @cached_property
    def deals(self) -> pd.DataFrame:
        """Deals in their state of the export; `gone_at`: when a deal was deleted or merged away."""
        deals = self.read("deals", "created_at", "close_date", "closed_at", "deleted_at", "merged_at")
        return deals.assign(gone_at=deals["deleted_at"].fillna(deals["merged_at"]))

    @cached_property
    def history(self) -> pd.DataFrame:
        """History rows in their order."""
        rows = self.read("stage_history", "changed_at", "close_date")
        return rows.sort_values(["deal_id", "changed_at", "sequence"], ignore_index=True)

    @cached_property
    def moves(self) -> pd.DataFrame:
        """Entries to stages (deal_id, stage, at): the creation, then each change that lasted a minute.

        A creation that the CRM lost shows in the old value of the first row, or in the record of a deal
        without rows. A stage left for the one before it within a minute is a slip of the mouse.
        """
        rows = self.history
        first = rows.drop_duplicates("deal_id").set_index("deal_id")
        created = self.deals[["deal_id", "stage", "created_at"]].rename(columns={"created_at": "at"})
        told = created["deal_id"].map(first["from_stage"].fillna(first["stage"]))
        created["stage"] = told.fillna(created["stage"])
        changed = rows[rows["from_stage"].notna() & (rows["from_stage"] != rows["stage"])]
        changed = changed[["deal_id", "stage", "changed_at"]].rename(columns={"changed_at": "at"})
        moves = pd.concat([created, changed]).sort_values(["deal_id", "at"], kind="stable", ignore_index=True)
        by_deal = moves.groupby("deal_id")
        is_slip = (by_deal["at"].shift(-1) - moves["at"] < TRANSIENT) & (
            by_deal["stage"].shift(1) == by_deal["stage"].shift(-1)
        )
        kept = moves[~is_slip]
        return kept[kept["stage"] != kept.groupby("deal_id")["stage"].shift(1)].reset_index(drop=True)


@dataclass(frozen=True)
class Simulated:
    """The simulated world, what it exported, and the marts that dbt built from the export."""

    world: World
    export: Export
    marts: Marts

    @cached_property
    def stages(self) -> pd.DataFrame:
        """stage_id → pipeline, order, outcome as of today."""
        stages = self.export.read("stages").sort_values("valid_from")
        return stages.drop_duplicates("stage_id", keep="last").set_index("stage_id")

    @cached_property
    def visits(self) -> pd.DataFrame:
        """Visits of deals that still exist, from the export.

        Columns: deal_id, stage, pipeline, outcome (of the stage), entered_at, left_at (NaT: goes on),
        entered_on, days (so far), segment (of the law), entered_day (day number), is_passed_through: a skip
        that the CRM logged as two moves at one instant is no visit of the law.
        """
        moves = self.export.moves
        visits = moves.rename(columns={"at": "entered_at"})
        visits["left_at"] = moves.groupby("deal_id")["at"].shift(-1)
        visits["next_stage"] = moves.groupby("deal_id")["stage"].shift(-1)
        alive = self.export.deals.loc[self.export.deals["gone_at"].isna(), "deal_id"]
        visits = visits[visits["deal_id"].isin(alive)].reset_index(drop=True)
        truth = self.world.truth.outcomes.set_index(self.world.truth.outcomes["deal_id"].astype(str))
        entered_on = business_day(visits["entered_at"])
        return visits.assign(
            pipeline=visits["stage"].map(self.stages["pipeline"]),
            outcome=visits["stage"].map(self.stages["outcome"]),
            entered_on=entered_on,
            entered_day=(entered_on - pd.Timestamp(0)) // DAY,
            days=(visits["left_at"].fillna(END) - visits["entered_at"]) / DAY,
            segment=visits["deal_id"].map(truth["segment"]),
            is_passed_through=visits["left_at"] == visits["entered_at"],
        )

    @cached_property
    def reached(self) -> pd.DataFrame:
        """Each deal's first visit to a stage (`target`) or above it, in the order of that day.

        Columns of visits, target, is_touch (the visit is to the target itself), period (of the entry).
        """
        visits = self.visits[self.visits["outcome"] == "open"]
        is_after = visits["entered_on"] >= pd.Timestamp(self.world.config.reorganised_on)
        now = {stage.stage_id: stage.order for stage in cat.STAGES}
        before = {stage.stage_id: stage.order_before for stage in cat.STAGES}
        rank = visits["stage"].map(now).where(is_after, visits["stage"].map(before))
        parts = []
        for target in cat.STAGES:
            if target.outcome == "open":
                order = is_after.map({True: now[target.stage_id], False: before[target.stage_id]})
                here = visits[(visits["pipeline"] == target.pipeline_id) & (rank >= order)]
                parts.append(here.drop_duplicates("deal_id").assign(target=target.stage_id))
        every = pd.concat(parts)
        return every.assign(is_touch=every["stage"] == every["target"], period=quarter(every["entered_on"]))

    def touched(self, stage: str) -> pd.DataFrame:
        """Each deal's first visit to the stage itself, with the columns of `reached`."""
        visits = self.visits[self.visits["stage"] == stage].drop_duplicates("deal_id")
        return visits.assign(target=stage, is_touch=True, period=quarter(visits["entered_on"]))


def build_simulated(folder: Path, deals: int = DEALS, seed: int = 29) -> Simulated:
    """Simulate, export, extract and build; one dbt run."""
    export, config = folder / "export", folder / "pipeline.yaml"
    world = simulate(SimulationConfig(seed=seed, n_deals=deals))
    write_crm_export(world, export, AS_OF)
    settle(export)
    text = (REPOSITORY / "pipeline.yaml").read_text(encoding="utf-8")
    config.write_text(text.replace("data/example/", f"{export}/"), encoding="utf-8")
    settings = load_settings(config, folder / "data", {})
    for source in settings.file_sources():
        extract_files(settings, source, BUILT_AT, pause=lambda _: None)
    landing = Landing(settings.paths.landing)
    landed = Landed(AS_OF, landing.landed_through(), digest="")
    row = run_context_row(
        settings, run_id="truth", run_order=1, kind="nightly", landed=landed, recorded_at=BUILT_AT
    )
    warehouse = Warehouse(settings.paths.warehouse)
    append_run_context(warehouse, row)
    _run_dbt(settings.paths.dbt_target, dbt_environment(settings))
    marts = Marts(duckdb.connect(str(settings.paths.warehouse), read_only=True))
    return Simulated(world, Export(export), marts)


def _run_dbt(target: Path, environment: Mapping[str, str]) -> None:
    call = [sys.executable, "-m", "dbt.cli.main", "run", "--select", *(f"+{mart}" for mart in MARTS)]
    options = {"--project-dir": DBT_PROJECT, "--profiles-dir": DBT_PROJECT, "--target-path": target}
    call += [str(part) for option in options.items() for part in option]
    call += ["--log-path", str(target / "logs"), "--quiet", "--no-use-colors", "--no-version-check"]
    done = subprocess.run(call, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"dbt run failed:\n{done.stdout}\n{done.stderr}"
