"""The Dagster skin of scenarios and submissions: they read the stored forecasts, and change none of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd

from dagster_project.forecast.assets import MEMORY_SHARE, beyond_data
from dagster_project.forecast.evidence import read_context
from dagster_project.forecast.scenario_changes import CHANGES
from dagster_project.forecast.scenario_tables import (
    SCENARIO_DEALS,
    SCENARIO_TABLES,
    SCENARIOS,
    SUBMISSION_ACCURACY,
    SUBMISSIONS,
    ensure_scenario_tables,
)
from dagster_project.forecast.scenarios import WhatIf, ask_scenarios
from dagster_project.forecast.submissions import SUBMITTED, accuracy_of_persons, submission_rows
from dagster_project.forecast.table_specs import (
    holding_the_warehouse,
    naming_left_out,
    requested_days,
    table_spec,
)
from dagster_project.forecast.tables import BOOKINGS
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

_DESCRIPTIONS = {
    SCENARIOS: """The forecast with and without each scenario of `tables: scenarios`, side by side.

Asked anew by every run for its days; the forecasts themselves are not touched.
""",
    SCENARIO_DEALS: "The deals behind what a scenario changes of the open part, quarter by quarter.",
    SUBMISSIONS: """What reps and managers said they would book, beside the model and the outcome.

Rebuilt by every run; the outcome stays empty until the bookings of the period are final.
""",
    SUBMISSION_ACCURACY: "How far each person was off, in which direction, and how the model did beside.",
}


@dataclass(frozen=True)
class Planning:
    """What a run has answered."""

    what_if: WhatIf
    submissions: pd.DataFrame
    accuracy: pd.DataFrame


def build_scenario_assets(
    settings: Settings,
    partitions_def: dg.PartitionsDefinition,
    extract_keys: Sequence[dg.AssetKey] = (),
) -> list[dg.AssetsDefinition]:
    """Scenarios and submissions as one multi-asset after the forecast, on the same partitions.

    `extract_keys`: the partitioned extract assets, direct upstreams as for the forecast.
    """
    deps = [
        BOOKINGS.name,  # for all tables of the forecast: see review_assets
        *(dg.AssetKey(name.split(".")[1]) for name in (CHANGES, SUBMITTED)),
        *extract_keys,
    ]

    @dg.multi_asset(
        name="forecast_planning",
        specs=[
            table_spec(table, description, deps, partitions_def)
            for table, description in _DESCRIPTIONS.items()
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def forecast_planning(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        days = requested_days(context)
        warehouse = Warehouse(settings.paths.warehouse, settings.memory_share(MEMORY_SHARE), settings.threads)
        with holding_the_warehouse(context, settings, "scenarios and submissions"):
            planning = plan(warehouse, days)
            beyond = beyond_data(warehouse, days)
        yield from naming_left_out(context, beyond, describe(planning))

    return [forecast_planning]


def plan(warehouse: Warehouse, days: Sequence[date]) -> Planning:
    """Answer the scenarios for the stored forecasts of `days`, and judge all submissions; store both.

    Raises:
        LedgerNotBuilt: there is no ledger yet.
    """
    context = read_context(warehouse)
    ensure_scenario_tables(warehouse)
    what_if = ask_scenarios(warehouse, days)
    submissions = submission_rows(warehouse, context)
    accuracy = pd.DataFrame(
        list(accuracy_of_persons(submissions, context)), columns=list(SUBMISSION_ACCURACY.columns)
    )
    for table, rows in ((SUBMISSIONS, submissions), (SUBMISSION_ACCURACY, accuracy)):
        warehouse.execute(f"delete from {table.full_name}")
        if not rows.empty:
            warehouse.append(table.full_name, rows[list(table.columns)], table.columns)
    return Planning(what_if, submissions, accuracy)


def describe(planning: Planning) -> Iterator[dg.MaterializeResult]:
    """What a reader of the UI wants to see beside each table."""
    frames = (
        planning.what_if.scenarios,
        planning.what_if.deals,
        planning.submissions,
        planning.accuracy,
    )
    words = {
        SCENARIOS: ("side_by_side", scenarios_markdown(planning.what_if.scenarios)),
        SUBMISSION_ACCURACY: ("by_person", persons_markdown(planning.accuracy)),
    }
    for table, frame in zip(SCENARIO_TABLES, frames, strict=True):
        metadata: dict[str, Any] = {"rows": dg.MetadataValue.int(len(frame))}
        if table in words:
            name, text = words[table]
            metadata[name] = dg.MetadataValue.md(text)
        yield dg.MaterializeResult(asset_key=table.name, metadata=metadata)


def scenarios_markdown(scenarios: pd.DataFrame) -> str:
    """The newest day's scenarios as a markdown table, one line per scenario and quarter that it changes."""
    if scenarios.empty:
        return "no scenario is set: name a file under tables: scenarios"
    newest = scenarios[scenarios["as_of"] == scenarios["as_of"].max()]
    newest = newest[newest["kind"] == newest["kind"].max()]
    lines = [
        "| scenario | quarter | without | with | difference | what is changed |",
        "|---|---|--:|--:|--:|---|",
    ]
    for row in newest.sort_values(["scenario", "quarter_offset"]).itertuples():
        lines.append(
            f"| {row.scenario} | {row.period} | {row.without_amount:,.0f} | {row.with_amount:,.0f} "
            f"| {row.difference_amount:+,.0f} | {row.overrides} |"
        )
    return "\n".join(lines)


def persons_markdown(accuracy: pd.DataFrame) -> str:
    """The last word of each person and period against the outcome, as a markdown table."""
    latest = accuracy[accuracy["counted"] == "latest"]
    if latest.empty:
        return "no submission of a period that is final"
    lines = [
        "| person | role | category | periods | WAPE | bias | WAPE of the model |",
        "|---|---|---|--:|--:|--:|--:|",
    ]
    for row in latest.sort_values(["person", "category"]).itertuples():
        shares = ["" if pd.isna(value) else f"{value:.0%}" for value in (row.wape, row.bias, row.model_wape)]
        lines.append(
            f"| {row.person} | {row.person_role} | {row.category} | {row.periods} | {' | '.join(shares)} |"
        )
    return "\n".join(lines)
