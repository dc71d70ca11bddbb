"""The extract assets: one per source and entity, filled by one pass over the source's files."""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from dagster_project.extract.api.connectors import entities_of
from dagster_project.extract.checks import check_results, check_specs, rejects_table, unknown_table
from dagster_project.extract.files.connector import ExtractError, Source, extract_files
from dagster_project.extract.files.results import ExtractResult, newest
from dagster_project.extract.landing import FILES, Landing, LandingError
from dagster_project.settings import FileSource, Settings

GROUP = "extract"
OWNER = "team:data-engineering"
REPORTS = ("rejects", "reads")
# A network share that is away for a moment; a wrong file or a full disk is not tried again.
RETRY = dg.RetryPolicy(max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL)

_DESCRIPTIONS = {
    "deals": "Deals as {source} shows them, one record per deal and delivery.",
    "stage_history": "Stage changes of {source}: its stage log, or the entry dates in its deals file.",
    "stages": "Stages of {source}: order, outcome, and how each is spelled.",
    "pipelines": "Pipelines of {source}.",
    "accounts": "Accounts of {source} with industry, region and country.",
    "products": "Products of {source} with family and list price.",
    "owners": "Owners of deals in {source} with team, manager and region.",
    "line_items": "Line items of the deals of {source}.",
    "deal_splits": "Who shares the credit for deals of {source}, and how much of it.",
    "leads": "Leads of {source}, and the deals they became.",
    "lead_history": "Stage changes of leads of {source}.",
    "rejects": "Rows of {source} that could not be read: file, row, column, value, reason, remedy.",
    "reads": "Files read from {source}, with the number of rows read, kept, rejected and duplicate.",
}


def landing_key(source: str, entity: str) -> dg.AssetKey:
    """Key of the asset that lands an entity of a source."""
    return dg.AssetKey(["landing", source, entity])


def landed_entities(source: Source) -> tuple[str, ...]:
    """The entities that a source lands, rejected rows and read files included."""
    entities = list(source.files())
    if source.stage_lines():
        entities.append("stages")
    if source.stage_entered:
        entities.append("stage_history")
    return (*dict.fromkeys(entities), *REPORTS)


def landing_keys(settings: Settings) -> dict[str, tuple[dg.AssetKey, ...]]:
    """`type/entity` of the landing → the assets that land it, over all sources."""
    keys: dict[str, list[dg.AssetKey]] = {}
    for source in settings.file_sources():
        for entity in landed_entities(source):
            keys.setdefault(f"{FILES}/{entity}", []).append(landing_key(source.name, entity))
    for crm in settings.api_sources():
        for spec in entities_of(crm):
            keys.setdefault(f"{crm.type}/{spec.name}", []).append(landing_key(crm.name, spec.name))
    return {entity: tuple(found) for entity, found in keys.items()}


def build_extract_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """One multi-asset per source of files, and one for the business's own facts."""
    return [_source_assets(settings, source) for source in settings.file_sources()]


def _source_assets(settings: Settings, source: Source) -> dg.AssetsDefinition:
    entities = landed_entities(source)
    keys = {entity: landing_key(source.name, entity) for entity in entities}

    @dg.multi_asset(
        name=f"extract_{source.name}",
        specs=[_spec(settings, source, entity) for entity in entities],
        check_specs=[spec for entity in source.files() for spec in check_specs(keys[entity], entity)],
        retry_policy=RETRY,
    )
    def extract(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
        try:
            result = extract_files(settings, source, datetime.now(UTC), tell=context.log.info)
        except (ExtractError, LandingError) as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        landing = Landing(settings.paths.landing)
        _require_deals(source, landing, result)
        for note in result.notes:
            context.log.warning(note)
        for entity in entities:
            yield dg.MaterializeResult(keys[entity], metadata=entity_metadata(entity, result, landing))
        for entity in source.files():
            yield from check_results(keys[entity], entity, result)

    return extract


def _spec(settings: Settings, source: Source, entity: str) -> dg.AssetSpec:
    description = _DESCRIPTIONS.get(entity, f"The business's own {entity}, as the configuration names them.")
    table = source.files().get(entity)
    where = table.path if table else str(settings.config_path)
    return dg.AssetSpec(
        landing_key(source.name, entity),
        group_name=GROUP,
        description=description.format(source=source.name),
        owners=[OWNER],
        kinds={"parquet"} if entity in REPORTS else {"file", "parquet"},
        metadata={} if entity in REPORTS else {"read from": where},
    )


def entity_metadata(entity: str, result: ExtractResult, landing: Landing) -> dict[str, dg.MetadataValue]:
    """What the UI shows of one landed entity after an extraction."""
    batches = landing.batches(result.source, entity)
    landed = {
        "batches": dg.MetadataValue.int(len(batches)),
        "new batches": dg.MetadataValue.int(sum(b.folder.name in result.batches for b in batches)),
        "dagster/row_count": dg.MetadataValue.int(sum(b.manifest.rows for b in batches)),
    }
    reports = result.of(entity)
    if not reports:
        return landed
    counts = {
        "rows read": sum(report.rows_read for report in reports),
        "rows kept": sum(report.rows_kept for report in reports),
        "rows rejected": sum(report.rows_rejected for report in reports),
        "rows duplicate": sum(report.rows_duplicate for report in reports),
    }
    unmapped = sorted({name for report in reports for name in report.columns_unmapped})
    missing = sorted({name for report in reports for name in report.columns_missing})
    newest_event = newest(report.newest_event_on for report in reports)
    texts = {
        "files": ", ".join(f"{report.file} ({report.status})" for report in reports[:20]),
        "columns not mapped": ", ".join(unmapped) or "none",
        "columns missing": ", ".join(missing) or "none",
        "newest event": newest_event.isoformat() if newest_event else "none",
    }
    tables = {
        "rejected rows": rejects_table(reject for report in reports for reject in report.rejects),
        "unknown values": unknown_table(value for report in reports for value in report.unknown_values),
    }
    return (
        landed
        | {name: dg.MetadataValue.int(value) for name, value in counts.items()}
        | {name: dg.MetadataValue.text(value) for name, value in texts.items()}
        | {name: dg.MetadataValue.md(value) for name, value in tables.items()}
    )


def _require_deals(source: Source, landing: Landing, result: ExtractResult) -> None:
    """A source of deals that has never delivered any stops the run: there is nothing to show."""
    if not isinstance(source, FileSource) or landing.batches(source.name, "deals"):
        return
    problems = [f"{report.file} {report.problem}" for report in result.of("deals") if report.problem]
    raise dg.Failure(f"{source.name} has delivered no deals: {'; '.join(problems)}", allow_retries=False)
