"""What the Dagster UI and its daemon do, without a browser: GraphQL, and the daemon's rounds."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg
import yaml
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.backfill import execute_backfill_iteration
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from dagster_graphql.test.utils import execute_dagster_graphql

from dagster_project.cli.instance import open_instance
from dagster_project.settings import REPOSITORY, Settings

LAUNCH_BACKFILL = """
mutation LaunchPartitionBackfill($backfillParams: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $backfillParams) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
LAUNCH_RUN = """
mutation LaunchRun($executionParams: ExecutionParams!) {
  launchRun(executionParams: $executionParams) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
LAUNCHPAD = """
query Launchpad($selector: PipelineSelector!) {
  runConfigSchemaOrError(selector: $selector) { ... on RunConfigSchema { rootDefaultYaml } }
  pipelineOrError(params: $selector) { ... on Pipeline { description } }
}
"""
ASSET_NODES = "query { assetNodes { assetKey { path } groupName isPartitioned partitionKeys } }"
OVER = (
    BulkActionStatus.COMPLETED_SUCCESS,
    BulkActionStatus.COMPLETED_FAILED,
    BulkActionStatus.FAILED,
    BulkActionStatus.CANCELED,
)


@dataclass(frozen=True)
class DagsterUi:
    """A workspace with its instance, as `dagster dev` has them."""

    workspace: WorkspaceProcessContext
    instance: dg.DagsterInstance

    def query(self, text: str, variables: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """The data of a GraphQL answer."""
        context = self.workspace.create_request_context()
        result = execute_dagster_graphql(context, text, dict(variables or {}))
        assert not result.errors, result.errors
        return result.data

    def launch_backfill(self, assets: Sequence[str], partitions: Sequence[str] | None) -> str:
        """Press "Materialize" for these assets and days (None: all days); returns the backfill's id."""
        wanted: dict[str, Any] = {"assetSelection": [{"path": name.split("/")} for name in assets]}
        wanted |= {"allPartitions": True} if partitions is None else {"partitionNames": list(partitions)}
        answer = self.query(LAUNCH_BACKFILL, {"backfillParams": wanted})["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return answer["backfillId"]

    def wait(self, backfill_id: str, seconds: float = 900) -> PartitionBackfill:
        """Let the daemon do its rounds until the backfill is over."""
        log = logging.getLogger("daemon")
        queue = QueuedRunCoordinatorDaemon(interval_seconds=1)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            list(execute_backfill_iteration(self.workspace, log))
            list(queue.run_iteration(self.workspace))
            backfill = self.instance.get_backfill(backfill_id)
            assert backfill is not None
            if backfill.status in OVER:
                return backfill
            time.sleep(1)
        raise AssertionError(f"backfill {backfill_id} was not over after {seconds:g} s")

    def launchpad(self, job: str) -> tuple[Mapping[str, Any], str]:
        """What the launchpad of a job shows at first, and the job's description."""
        found = self.query(LAUNCHPAD, {"selector": selector(job)})
        config = yaml.safe_load(found["runConfigSchemaOrError"]["rootDefaultYaml"])
        return config, found["pipelineOrError"]["description"]

    def launch(self, job: str, config: Mapping[str, Any], seconds: float = 600) -> dg.DagsterRun:
        """Press "Launch run" and let the daemon do its rounds until the run is over."""
        wanted = {"selector": selector(job), "runConfigData": config}
        answer = self.query(LAUNCH_RUN, {"executionParams": wanted})["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        queue = QueuedRunCoordinatorDaemon(interval_seconds=1)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            list(queue.run_iteration(self.workspace))
            run = self.instance.get_run_by_id(answer["run"]["runId"])
            assert run is not None
            if run.is_finished:
                return run
            time.sleep(0.5)
        raise AssertionError(f"the run of {job} was not over after {seconds:g} s")

    def told(self, run: dg.DagsterRun) -> Mapping[str, Any]:
        """What the outputs of a run say of themselves: name of metadata → text."""
        kinds = {dg.DagsterEventType.STEP_OUTPUT}
        events = [log.dagster_event for log in self.instance.all_logs(run.run_id, of_type=kinds)]
        return {
            name: entry.value
            for event in events
            if event is not None
            for name, entry in event.step_output_data.metadata.items()
        }

    def runs_of(self, backfill_id: str) -> list[dg.DagsterRun]:
        """The runs that a backfill launched."""
        return list(self.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill_id})))


def selector(job: str) -> Mapping[str, str]:
    """A job as GraphQL names it."""
    return {
        "pipelineName": job,
        "repositoryName": "__repository__",
        "repositoryLocationName": "stageledger",
    }


@contextmanager
def dagster_ui(settings: Settings, environment: Any) -> Iterator[DagsterUi]:
    """The workspace of the repository on one data folder. `environment`: pytest's monkeypatch."""
    environment.setenv("STAGELEDGER_CONFIG", str(settings.config_path))
    environment.setenv("STAGELEDGER_DATA", str(settings.paths.root))
    environment.setenv("DAGSTER_HOME", str(settings.paths.dagster_home))
    environment.chdir(REPOSITORY)
    target = WorkspaceFileTarget([str(REPOSITORY / "workspace.yaml")])
    with open_instance(settings) as instance, WorkspaceProcessContext(instance, target) as workspace:
        yield DagsterUi(workspace, instance)
