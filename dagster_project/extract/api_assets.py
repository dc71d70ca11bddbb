"""The extract assets of CRMs: one per source and entity, partitioned by day, filled window by window."""

from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg

from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.api_report import EntityReport, Reconciled, Status
from dagster_project.extract.api.connectors import api_entities, connector_class
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.api.protocol import EntitySpec, Reading
from dagster_project.extract.assets import GROUP, OWNER, RETRY, landing_key
from dagster_project.extract.landing import Landing, LandingError
from dagster_project.settings import ApiSource, Settings

API_KIND = "api"
COMPLETE = "the_day_is_covered"
AGREES = "every_history_ends_in_the_current_stage"
_SAMPLE = 10

_HOW = {
    Reading.WHOLE: "Read as a whole each time.",
    Reading.CHANGED: (
        "A partition is a day of changes (modified-at), never of creation. What is covered is not asked for "
        "again; set `reread` to do so. Re-reading a past day does not return records that have changed "
        "since: they are in later windows."
    ),
    Reading.BY_DEAL: "Asked for deal by deal, of the deals that changed; the rest of a first load waits.",
}


class ApiExtractConfig(dg.Config):
    """`reread`: ask for the days of this run again, although they are covered."""

    reread: bool = False


def api_keys(settings: Settings) -> list[dg.AssetKey]:
    """The partitioned extract assets."""
    return [
        landing_key(source.name, spec.name)
        for source in settings.api_sources()
        for spec in connector_class(source.type).ENTITIES
    ]


def build_api_assets(
    settings: Settings, partitions_def: dg.PartitionsDefinition
) -> list[dg.AssetsDefinition]:
    """One multi-asset per CRM; a retry reads only what is not covered yet."""
    return [_source_assets(settings, source, partitions_def) for source in settings.api_sources()]


def _source_assets(
    settings: Settings, source: ApiSource, partitions_def: dg.PartitionsDefinition
) -> dg.AssetsDefinition:
    connector = connector_class(source.type)
    entities = connector.ENTITIES

    @dg.multi_asset(
        name=f"extract_{source.name}",
        specs=[
            dg.AssetSpec(
                landing_key(source.name, spec.name),
                group_name=GROUP,
                description=f"{spec.description.format(source=source.name)}\n\n{_HOW[spec.reading]}",
                owners=[OWNER],
                kinds={API_KIND, "parquet"},
                partitions_def=partitions_def,
                metadata={"read from": connector.TITLE},
            )
            for spec in entities
        ],
        check_specs=[check for spec in entities for check in _check_specs(source, spec)],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
        retry_policy=RETRY,
    )
    def extract(
        context: dg.AssetExecutionContext, config: ApiExtractConfig
    ) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        wanted = [s.name for s in entities if landing_key(source.name, s.name) in context.selected_asset_keys]
        days = context.partition_key_range
        span = Span.of_days(
            date.fromisoformat(days.start), date.fromisoformat(days.end), settings.business.zone
        )
        try:
            _tidy(Landing(settings.paths.landing))
            reports = extract_api(
                settings.paths.landing,
                source,
                span,
                wanted,
                reread=config.reread,
                emails=settings.owner_emails(),
            )
        except LandingError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        selected = {(key.asset_key, key.name) for key in context.selected_asset_check_keys}
        for report in reports:
            yield from _results(context, source, report, selected)
        failed = [report for report in reports if report.status is Status.FAILED]
        if failed:
            raise dg.Failure(
                "; ".join(report.reason for report in failed),
                allow_retries=all(report.is_passing for report in failed),
            )

    return extract


def _tidy(landing: Landing) -> None:
    landing.sweep()
    landing.set_aside_damaged()
    landing.ensure_empty_batches(api_entities())


def _results(
    context: dg.AssetExecutionContext,
    source: ApiSource,
    report: EntityReport,
    selected: set[tuple[dg.AssetKey, str]],
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    key = landing_key(source.name, report.entity)
    for note in report.news:
        context.log.warning(f"{source.name}, {report.entity}: {note}")
    if report.status is not Status.FAILED:
        yield dg.MaterializeResult(key, metadata=report_metadata(report))
    if (key, COMPLETE) in selected:
        yield dg.AssetCheckResult(
            check_name=COMPLETE,
            asset_key=key,
            passed=not report.news,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join([*([f"{report.status.value}: {report.reason}"] if report.reason else []),
                                   *report.notes]) or None,
            metadata={"progress": report.progress},
        )  # fmt: skip
    if (key, AGREES) in selected:
        yield reconciliation_result(key, report.reconciled)


def reconciliation_result(key: dg.AssetKey, found: Reconciled | None) -> dg.AssetCheckResult:
    """Whether all histories end in the current stage, with counts and sample ids."""
    if found is None:
        return dg.AssetCheckResult(
            check_name=AGREES,
            asset_key=key,
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description="Nothing was compared: the histories are not landed yet.",
        )
    count = len(found.disagreeing)
    texts = [
        f"{count:,} of {found.deals:,} deals end in another stage than their record shows; "
        "the ledger infers their last move"
        if count
        else "",
        found.problem,
    ]
    return dg.AssetCheckResult(
        check_name=AGREES,
        asset_key=key,
        passed=not count,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(text for text in texts if text) or None,
        metadata={
            "deals": found.deals,
            "read again": found.read_again,
            "disagreeing": count,
            "such as": ", ".join(found.disagreeing[:_SAMPLE]) or "none",
        },
    )


def _check_specs(source: ApiSource, spec: EntitySpec) -> Iterator[dg.AssetCheckSpec]:
    key = landing_key(source.name, spec.name)
    yield dg.AssetCheckSpec(
        COMPLETE,
        asset=key,
        description="All changes up to the end of the run's days are landed, and nothing strange was seen.",
    )
    telling = connector_class(source.type).TELLING
    if telling is not None and telling.history == spec.name:
        yield dg.AssetCheckSpec(
            AGREES,
            asset=key,
            description="Every deal's history ends in the stage of its record; else both were read again.",
        )


def report_metadata(report: EntityReport) -> dict[str, dg.MetadataValue]:
    """What the UI shows of one entity after an extraction."""
    numbers: Sequence[tuple[str, int]] = (
        ("new rows", report.rows),
        ("new batches", len(report.batches)),
        ("requests", report.usage.requests),
        ("requests asked again", report.usage.retries),
        ("bytes received", report.usage.bytes),
        ("cost in the vendor's units", report.usage.cost),
    )
    return {
        "outcome": dg.MetadataValue.text(f"{report.status.value} {report.reason}".strip()),
        "progress": dg.MetadataValue.text(report.progress),
        "covered until": dg.MetadataValue.text(str(report.covered_until or "nothing yet")),
        "seconds": dg.MetadataValue.float(round(report.seconds, 1)),
        "seconds waited for the rate limit": dg.MetadataValue.float(round(report.usage.seconds_waited, 1)),
        "warnings": dg.MetadataValue.text("; ".join(report.notes) or "none"),
        "warnings of the interface": dg.MetadataValue.text("; ".join(report.api_warnings) or "none"),
        "upkeep": dg.MetadataValue.text("; ".join(report.upkeep) or "nothing was due"),
        **{name: dg.MetadataValue.int(number) for name, number in numbers},
    }
