"""The Dagster skin of alerts: one asset, which notes what stands before the run publishes."""

from collections.abc import Iterable

import dagster as dg

from dagster_project import run_lock
from dagster_project.alerts.alert import by_severity
from dagster_project.alerts.alert_table import TABLE, bottlenecks, moved_forecasts, write_alerts
from dagster_project.alerts.notify import secrets_of
from dagster_project.alerts.standing_alerts import WATCHED_JOBS, failed_checks, failed_runs, late_sources
from dagster_project.extract.api import redaction
from dagster_project.forecast.evidence import read_context
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

ALERTS_KEY = dg.AssetKey("alerts")

_DESCRIPTION = """What somebody should hear of: failed runs and checks, late sources, forecasts, bottlenecks.

One row per as-of day and alert; `is_new` where it was not there on the day before. At the end of the run one
message tells what is new, if `alerts: {webhook: …}` is set. A failed run stands in the table of the next.
"""


def build_alert_assets(
    settings: Settings, upstream: Iterable[dg.AssetKey], checks: Iterable[dg.AssetCheckKey]
) -> list[dg.AssetsDefinition]:
    """`alerts`, downstream of all that it looks at; `checks` are those whose failures it tells."""
    watched = sorted(checks, key=lambda key: (key.asset_key, key.name))

    @dg.asset(
        key=ALERTS_KEY,
        deps=sorted(upstream),
        group_name="publish",
        description=_DESCRIPTION,
        owners=["team:data-engineering"],
        kinds={"python", "duckdb"},
        metadata={"dagster/table_name": TABLE},
    )
    def alerts(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        try:
            return note_alerts(settings, context.instance, context.run_id, watched)
        except Exception as error:
            # Alerts are no reason not to publish.
            context.log.warning(f"alerts could not be noted: {type(error).__name__}")
            return dg.MaterializeResult(metadata={"problem": type(error).__name__})

    return [alerts]


def note_alerts(
    settings: Settings, instance: dg.DagsterInstance, run_id: str, checks: Iterable[dg.AssetCheckKey]
) -> dg.MaterializeResult:
    """Find and store the alerts of the ledger's as-of day. A look back at a past day stores none."""
    redaction.SECRETS.add(*secrets_of(settings))
    warehouse = Warehouse(settings.paths.warehouse, settings.memory_limit, settings.threads)
    with run_lock.hold(settings.paths.run_lock, run_id, "noting alerts"):
        context = read_context(warehouse)
        found = [] if context.run_kind == "manual" else by_severity([
            *failed_runs(instance, other_jobs(instance, run_id)),
            *late_sources(settings),
            *failed_checks(instance, checks),
            *moved_forecasts(warehouse, context.as_of),
            *bottlenecks(warehouse),
        ])  # fmt: skip
        if context.run_kind == "manual":
            return dg.MaterializeResult(metadata={"as_of": str(context.as_of), "alerts": "a look back"})
        rows = write_alerts(warehouse, context.as_of, run_id, found)
    return dg.MaterializeResult(
        metadata={
            "as_of": str(context.as_of),
            "dagster/row_count": len(rows),
            "new": int(rows["is_new"].sum()) if len(rows) else 0,
            "alerts": dg.MetadataValue.md(alerts_markdown(rows.to_dict("records"))),
        }
    )


def other_jobs(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """The watched jobs without the one that is running: what it publishes mends the one that failed."""
    run = instance.get_run_by_id(run_id)
    return [job for job in WATCHED_JOBS if run is None or job != run.job_name]


def alerts_markdown(rows: list[dict[str, object]], shown: int = 30) -> str:
    """The alerts of a day as a markdown table, the gravest first."""
    if not rows:
        return "nothing stands"
    lines = ["| severity | since | what |", "|---|---|---|"]
    for row in rows[:shown]:
        text = redaction.SECRETS.clean(str(row["sentence"])).replace("|", "\\|").replace("<", "&lt;")
        lines.append(f"| {row['severity']} | {row['first_seen_on']} | {text} |")
    rest = [f"\n{len(rows) - shown} more in the table"] if len(rows) > shown else []
    return "\n".join([*lines, *rest])
