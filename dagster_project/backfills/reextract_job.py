"""The job `reextract`: changes of past days are asked of the CRMs once more. Batches are only added."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg
from pydantic import Field

from dagster_project import run_lock
from dagster_project.backfills.refusals import (
    BackfillRefused,
    days_between,
    refuse_gaps_in_landing,
    refuse_missing_warehouse,
)
from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.api_report import EntityReport, Status
from dagster_project.extract.api.connectors import connector_class
from dagster_project.extract.api.coverage import Span, coverage
from dagster_project.extract.api.protocol import Reading
from dagster_project.extract.api_assets import report_metadata
from dagster_project.extract.assets import landing_key
from dagster_project.extract.landing import Landing, LandingError
from dagster_project.settings import ApiSource, Settings
from dagster_project.warehouse import Warehouse

JOB = "reextract"

_DESCRIPTION = """Asks the CRMs for the changes of past days once more, and lands the answers beside the rest.

Batches are added and none is replaced: what was known when stays, and new rows count as learned today. Where
the nightly reading goes on never moves back. A day is a day of changes: records that have changed since are
in later days, so choose the range up to yesterday to get all of them. Files need no such job: one that
arrives or changes is read by itself. With `plan_only` (on at first) nothing is asked for. The nightly job
follows.
Refused: days that are not over or lie before the history, a landing with gaps, another run that is writing.
"""

Progress = Mapping[str, datetime | None]


class ReextractConfig(dg.Config):
    """The launchpad of `reextract`."""

    first_day: str = Field("", description="First day, such as 2026-03-01; empty: the same as last_day.")
    last_day: str = Field("", description="Last day, such as 2026-03-31; empty: yesterday.")
    sources: list[str] = Field(
        default_factory=list, description="Names of CRM sources in pipeline.yaml; empty: all."
    )
    plan_only: bool = Field(True, description="Show what would happen, and ask nothing of the CRMs.")


def build_reextract_job(settings: Settings, earliest: date) -> dg.JobDefinition:
    """The job; `earliest` is the first day of the history."""

    @dg.op(name="ask_again", description="Plans the days, then reads them of every source, entity by entity.")
    def ask_again(context: dg.OpExecutionContext, config: ReextractConfig) -> None:
        try:
            with run_lock.hold(settings.paths.run_lock, context.run_id, "extraction of past days"):
                metadata = reextract(settings, earliest, config, context)
        except (BackfillRefused, LandingError, run_lock.RunLocked) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        context.add_output_metadata(metadata)

    @dg.job(
        name=JOB,
        description=_DESCRIPTION,
        executor_def=dg.in_process_executor,
        tags={"dagster/max_runtime": str(24 * 3600)},
    )
    def job() -> None:
        ask_again()

    return job


def reextract(
    settings: Settings, earliest: date, config: ReextractConfig, context: dg.OpExecutionContext
) -> dict[str, dg.MetadataValue]:
    """Plan, and unless that is all, read; what to show of it.

    Errors: BackfillRefused, LandingError (disk). A source that fails ends the run after the others.
    """
    refuse_missing_warehouse(settings)
    refuse_gaps_in_landing(settings, Warehouse(settings.paths.warehouse))
    today = datetime.now(UTC).astimezone(settings.business.zone).date()
    days = days_between(config.first_day, config.last_day, earliest, today - timedelta(days=1))
    sources = chosen(settings, config.sources)
    shown = {
        "plan": dg.MetadataValue.md(plan_markdown(sources, days)),
        "days": dg.MetadataValue.int(len(days)),
    }
    context.log_event(dg.AssetObservation("run_context", description="The plan", metadata=shown))
    if config.plan_only:
        context.log.info("plan only: nothing was asked for; set plan_only: false to do it")
        return {**shown, "outcome": dg.MetadataValue.text("plan only: nothing was asked for")}
    span = Span.of_days(days[0], days[-1], settings.business.zone)
    landing = Landing(settings.paths.landing)
    reports: dict[str, Sequence[EntityReport]] = {}
    for source in sources:
        before = standing(landing, source)
        reports[source.name] = extract_api(
            settings.paths.landing, source, span, reread=True, emails=settings.owner_emails()
        )
        refuse_loss(before, standing(landing, source))
        for report in reports[source.name]:
            if report.status is not Status.FAILED:
                for day in days:
                    context.log_event(
                        dg.AssetMaterialization(
                            landing_key(source.name, report.entity),
                            partition=day.isoformat(),
                            metadata=report_metadata(report),
                        )
                    )
    failed = [
        f"{name}, {report.entity}: {report.reason}"
        for name, found in reports.items()
        for report in found
        if report.status is Status.FAILED
    ]
    if failed:
        raise BackfillRefused("; ".join(failed))
    rows = sum(report.rows for found in reports.values() for report in found)
    return {
        **shown,
        "outcome": dg.MetadataValue.text(f"{rows:,} rows landed in new batches; earlier ones stay"),
        "difference": dg.MetadataValue.md(difference_markdown(reports)),
    }


def chosen(settings: Settings, names: Sequence[str]) -> list[ApiSource]:
    """The CRM sources of these names, all where none is named. Errors: BackfillRefused."""
    sources = {source.name: source for source in settings.api_sources()}
    unknown = [name for name in names if name not in sources]
    if unknown:
        raise BackfillRefused(f"{', '.join(unknown)} is no CRM source; there are {', '.join(sources)}")
    return [sources[name] for name in names or sources]


def plan_markdown(sources: Sequence[ApiSource], days: Sequence[date]) -> str:
    """Before the start: what is asked of whom, and what becomes of earlier batches."""
    lines = [
        f"{len(days)} days, {days[0]} to {days[-1]}. Earlier batches stay; new rows count as learned today.",
        "",
        "| source | entity | what is read |",
        "|---|---|---|",
    ]
    words = {
        Reading.WHOLE: "all records, as each night",
        Reading.CHANGED: "what was changed last on these days",
        Reading.BY_DEAL: "of the deals that come back changed",
    }
    for source in sources:
        for spec in connector_class(source.type).ENTITIES:
            lines.append(f"| {source.name} | {spec.name} | {words[spec.reading]} |")
    return "\n".join(lines)


def difference_markdown(reports: Mapping[str, Sequence[EntityReport]]) -> str:
    """Afterwards: what has come of each entity."""
    lines = ["| source | entity | new rows | new batches | outcome |", "|---|---|--:|--:|---|"]
    for name, found in reports.items():
        for report in found:
            outcome = f"{report.status.value} {report.reason}".strip().replace("|", "\\|")
            lines.append(
                f"| {name} | {report.entity} | {report.rows:,} | {len(report.batches)} | {outcome} |"
            )
    return "\n".join(lines)


def standing(landing: Landing, source: ApiSource) -> tuple[dict[str, str], Progress]:
    """The batches with rows (folder → hash), and how far each entity is covered."""
    batches = {
        str(batch.folder): batch.manifest.sha256
        for batch in landing.batches(source.name)
        if batch.manifest.rows
    }
    entities = [spec.name for spec in connector_class(source.type).ENTITIES]
    return batches, {name: coverage(landing, source.name, name).until for name in entities}


def refuse_loss(before: tuple[dict[str, str], Progress], after: tuple[dict[str, str], Progress]) -> None:
    """Say so if a batch is gone or changed, or the nightly reading would go on from an earlier instant.

    Errors: BackfillRefused.
    """
    lost = [folder for folder, digest in before[0].items() if after[0].get(folder) != digest]
    back = [
        name
        for name, until in before[1].items()
        if until is not None and ((now := after[1].get(name)) is None or now < until)
    ]
    if lost or back:
        raise BackfillRefused(
            f"landed batches have changed ({', '.join(lost[:3]) or 'none'}), or less is covered than before "
            f"({', '.join(back) or 'none'}): restore the landing from a backup and report this"
        )
