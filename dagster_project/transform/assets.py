"""The one set of dbt assets: every dbt model is an asset, every data test an asset check, one `dbt build`."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, dbt_assets
from dagster_dbt.asset_utils import get_subset_selection_for_context
from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage

from dagster_project.settings import Settings
from dagster_project.transform import build_record
from dagster_project.transform.dbt_runner import (
    DBT_PROJECT,
    DbtInvocation,
    DbtMessage,
    count_rows,
    dbt_arguments,
    dbt_environment,
)
from dagster_project.transform.run_context import FULL_REFRESH_JOB, RUN_CONTEXT_KEY
from dagster_project.warehouse import Warehouse

log = logging.getLogger(__name__)

LANDING_SOURCE_PREFIX = "landing_"


class LayerTranslator(DagsterDbtTranslator):
    """Asset keys are model names, groups are layers, landing sources are the assets that fill them.

    `feeds` maps `type/entity` of the landing (files/deals, …) to the assets that land it. An entity
    that no configured source delivers reads the landing's empty batch and has no upstream asset.
    """

    def __init__(self, feeds: Mapping[str, Sequence[dg.AssetKey]]) -> None:
        super().__init__()
        self._feeds = feeds

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """The model's name; for a source a key of two parts, which `get_asset_spec` resolves."""
        if dbt_resource_props["resource_type"] == "source":
            return dg.AssetKey([dbt_resource_props["source_name"], dbt_resource_props["name"]])
        return dg.AssetKey(dbt_resource_props["name"])

    def get_group_name(self, dbt_resource_props: Mapping[str, Any]) -> str | None:
        """The folder under `models/`, which is the layer."""
        fqn = dbt_resource_props["fqn"]
        return fqn[1] if len(fqn) > 2 else None

    def get_description(self, dbt_resource_props: Mapping[str, Any]) -> str:
        """The yml description alone: Dagster's default repeats the whole SQL in every snapshot."""
        return dbt_resource_props.get("description") or ""

    def get_metadata(self, dbt_resource_props: Mapping[str, Any]) -> Mapping[str, Any]:
        """Column schema and table name from the manifest, and the file to open."""
        return {
            **super().get_metadata(dbt_resource_props),
            "file": f"dbt/{dbt_resource_props['original_file_path']}",
            "materialized": dbt_resource_props.get("config", {}).get("materialized") or "source",
        }

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: Any) -> dg.AssetSpec:
        """Dagster's spec with sources replaced by the assets that fill them."""
        spec = super().get_asset_spec(manifest, unique_id, project)
        if unique_id.startswith("source."):
            return spec
        deps: dict[dg.AssetKey, dg.AssetDep] = {}
        for dep in spec.deps:
            for key in self._upstream(dep.asset_key):
                deps.setdefault(key, dep if key == dep.asset_key else dg.AssetDep(key))
        return spec.replace_attributes(deps=list(deps.values()))

    def _upstream(self, key: dg.AssetKey) -> Sequence[dg.AssetKey]:
        if len(key.path) == 2 and key.path[0].startswith(LANDING_SOURCE_PREFIX):
            # The run context stands between extraction and dbt: it fixes what this run has landed.
            source_type = key.path[0].removeprefix(LANDING_SOURCE_PREFIX)
            return [*self._feeds.get(f"{source_type}/{key.path[-1]}", ()), RUN_CONTEXT_KEY]
        if key.path == ["ops", "run_context"]:
            return [RUN_CONTEXT_KEY]
        return [key]


def build_transform_assets(
    settings: Settings,
    manifest: Mapping[str, Any],
    feeds: Mapping[str, Sequence[dg.AssetKey]],
    project: Path = DBT_PROJECT,
) -> dg.AssetsDefinition:
    """All models of the dbt project as one asset function that runs one `dbt build`."""
    translator = LayerTranslator(feeds)

    @dbt_assets(
        manifest=manifest,
        dagster_dbt_translator=translator,
        name="dbt_build",
        required_resource_keys={"run_hold"},
    )
    def dbt_build(context: dg.AssetExecutionContext) -> Iterator[Any]:
        context.resources.run_hold.take(f"dbt build of {context.job_name}")
        yield from build(context, settings, manifest, translator, project)

    return dbt_build


def build(
    context: dg.AssetExecutionContext,
    settings: Settings,
    manifest: Mapping[str, Any],
    translator: LayerTranslator,
    project: Path,
) -> Iterator[Any]:
    """Run `dbt build` on the selected models, yield Dagster's events as they happen, and record the build.

    Unit tests of models are for `make test`: they read no data, so a nightly run learns nothing from them.
    """
    warehouse = Warehouse(settings.paths.warehouse, settings.memory_limit, settings.threads)
    selection, indirect = get_subset_selection_for_context(
        context=context,
        manifest=manifest,
        select=None,
        exclude=None,
        selector=None,
        dagster_dbt_translator=translator,
        current_dbt_indirect_selection_env=None,
    )
    is_whole = context.job_name == FULL_REFRESH_JOB or rebuild_is_asked(context.run.run_config)
    invocation = DbtInvocation(
        arguments=[
            *dbt_arguments(settings, "build", project=project),
            "--exclude-resource-type",
            "unit_test",
            *selection,
            *(["--indirect-selection", indirect] if indirect else []),
            *(["--full-refresh"] if is_whole else []),
        ],
        environment=dbt_environment(settings),
        log_file=settings.paths.dbt_target / "logs" / "dbt.log",
    )
    started_at = datetime.now(UTC)
    build_record.open_build(warehouse, context.run_id, started_at, is_complete_selection=not selection)
    counts: Counter[str] = Counter()
    for message in invocation.messages():
        if not message.is_result:
            (context.log.error if message.level == "error" else context.log.debug)(message.text)
            continue
        if message.unique_id not in manifest["nodes"]:
            context.log.warning(f"{message.unique_id} is newer than the loaded definitions: reload them")
            continue
        counts[f"{message.unique_id.split('.', 1)[0]}_{message.raw['data'].get('status', '').lower()}"] += 1
        yield from to_dagster_events(context, message, manifest, translator)
    invocation.raise_for_errors()
    build_record.close_build(warehouse, context.run_id, datetime.now(UTC), counts)


def rebuild_is_asked(run_config: Mapping[str, Any]) -> bool:
    """Whether the run's configuration asks `run_context` to rebuild: dbt then builds every table whole."""
    asked = run_config.get("ops", {}).get(RUN_CONTEXT_KEY.path[-1], {}).get("config", {})
    return bool(asked.get("rebuild", False))


def to_dagster_events(
    context: dg.AssetExecutionContext,
    message: DbtMessage,
    manifest: Mapping[str, Any],
    translator: LayerTranslator,
) -> Iterator[Any]:
    """Dagster's own translation of a dbt result, with the row count of a freshly built table added."""
    event = DbtCoreCliEventMessage(raw_event=dict(message.raw), event_history_metadata={})
    for translated in event.to_default_asset_events(manifest, translator, context):
        if isinstance(translated, dg.Output):
            translated = _with_row_count(translated, manifest["nodes"][message.unique_id])
        yield translated


def _with_row_count(output: dg.Output[None], node: Mapping[str, Any]) -> dg.Output[None]:
    if node["config"].get("materialized") == "view":
        return output
    rows = count_rows(node["schema"], node.get("alias") or node["name"])
    if rows is None:
        return output
    return dg.Output(
        value=None,
        output_name=output.output_name,
        metadata={**output.metadata, "dagster/row_count": rows},
    )
