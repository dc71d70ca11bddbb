"""How an alert gets out: the command that tries it, the sensors of the daemon, and a night that fails."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_project import automation
from dagster_project.__main__ import main
from dagster_project.cli.run import RunFailed, run_nightly
from dagster_project.settings import Settings, load_settings
from tests.pipeline.nightly_bench import Business
from tests.pipeline.test_alerts import CANARY, Hook

CONFIG = """
business: {name: Test Ltd, time_zone: Europe/Amsterdam, currency: EUR}
sources:
  - name: export
    type: files
    data_as_of: 2999-12-31
    deals: {path: "nowhere/deals*.csv", columns: {deal_id: Id, stage: Stage}}
    stages: [{name: Lead, order: 1}, {name: Won, outcome: won}]
"""
ALERTS = 'alerts: {webhook: "${ALERT_WEBHOOK}"}\n'


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    with Hook() as server:
        monkeypatch.setenv("ALERT_WEBHOOK", server.url)
        yield server


@pytest.fixture
def settings(hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "pipeline.yaml").write_text(CONFIG + ALERTS)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("STAGELEDGER_CONFIG", str(tmp_path / "pipeline.yaml"))
    monkeypatch.setenv("STAGELEDGER_DATA", str(tmp_path / "data"))
    return load_settings()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


def texts(hook: Hook) -> list[str]:
    return [asked.body["text"] for asked in hook.asked]


def test_the_command_sends_one_message_that_says_it_is_a_test(
    settings: Settings, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["alert-test"]) == 0
    assert "the webhook took the message" in capsys.readouterr().out
    (text,) = texts(hook)
    assert text.startswith("Test Ltd: a test of the alerts")
    # It is no alert: nothing is noted as told.
    assert not list(settings.paths.root.rglob("alerts_told.json"))


def test_the_command_fails_in_words_without_the_address(
    settings: Settings, hook: Hook, capsys: pytest.CaptureFixture[str]
) -> None:
    hook.always = lambda path: (404, {}, b"no_service")
    assert main(["alert-test"]) == 1
    said = capsys.readouterr()
    assert "failed after 1 attempt: the webhook refused the message (404)" in said.err
    assert CANARY not in said.err + said.out and len(hook.asked) == 1


def test_the_command_without_a_webhook_says_what_to_write(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.config_path.write_text(CONFIG)
    assert main(["alert-test"]) == 2
    assert "write alerts: {webhook: ${ALERT_WEBHOOK}} into the configuration" in capsys.readouterr().err


CHECKED = dg.AssetCheckKey(dg.AssetKey("figures"), "add_up")


@dg.asset(check_specs=[dg.AssetCheckSpec("add_up", asset="figures")])
def figures() -> dg.MaterializeResult:
    """Something whose check does not hold, which fails no run."""
    warned = dg.AssetCheckResult(
        check_name="add_up", passed=False, severity=dg.AssetCheckSeverity.WARN, description="7 of 9 do"
    )
    return dg.MaterializeResult(check_results=[warned])


def ended(
    instance: dg.DagsterInstance, job_name: str, *, fails: bool, **tags: str
) -> tuple[dg.DagsterRun, dg.DagsterEvent]:
    """A run of a job of that name, and the event with which it ended."""

    @dg.op
    def build() -> None:
        raise ValueError(f"disk is full at 0x{id(instance):x}")

    @dg.job(name=job_name)
    def failing() -> None:
        build()

    job = failing
    if not fails:
        made = dg.Definitions(assets=[figures], jobs=[dg.define_asset_job(job_name)])
        job = made.resolve_job_def(job_name)
    result = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
    over = "PIPELINE_FAILURE" if fails else "PIPELINE_SUCCESS"
    (event,) = [one for one in result.all_events if one.event_type_value == over]
    return instance.get_run_by_id(result.run_id), event


def tick(
    settings: Settings, instance: dg.DagsterInstance, over: tuple[dg.DagsterRun, dg.DagsterEvent]
) -> None:
    """What the daemon does when a run has ended: the sensor of its status looks at it."""

    @dg.job(name="nightly")
    def nightly() -> None:
        figures()

    run, event = over
    sensor = automation.build_alert_sensor(settings, nightly, [CHECKED])
    if event.event_type_value == "PIPELINE_FAILURE":
        sensor = automation.build_failure_sensor(settings, [CHECKED])
    context = dg.build_run_status_sensor_context(sensor.name, event, instance, run)
    sensor(context.for_run_failure() if sensor.name == "failure_alert" else context)


def test_a_night_that_failed_is_told_once_and_nights_that_fail_alike_are_not_told_again(
    settings: Settings, hook: Hook, instance: dg.DagsterInstance
) -> None:
    for _ in range(2):
        tick(settings, instance, ended(instance, "nightly", fails=True))
    (text,) = texts(hook)
    assert "Test Ltd: 1 new alert" in text and "The run of nightly that started" in text
    assert "build: disk is full" in text


@pytest.mark.parametrize(
    ("job", "tags"),
    [("forecast_backfill", {}), ("reextract", {}), ("nightly", {automation.MANUAL_TAG: "true"})],
)
def test_of_a_failure_that_somebody_watches_nothing_is_told(
    settings: Settings, hook: Hook, instance: dg.DagsterInstance, job: str, tags: dict[str, str]
) -> None:
    ended(instance, "nightly", fails=False)  # its check that fails is for the end of the next night
    tick(settings, instance, ended(instance, job, fails=True, **tags))
    assert texts(hook) == []


def test_after_a_night_that_went_well_what_is_new_is_told_once(
    settings: Settings, hook: Hook, instance: dg.DagsterInstance
) -> None:
    manual = {automation.MANUAL_TAG: "true"}
    tick(settings, instance, ended(instance, "nightly", fails=False, **manual))
    assert texts(hook) == []
    for _ in range(2):
        tick(settings, instance, ended(instance, "nightly", fails=False))
    (text,) = texts(hook)
    assert "A check failed, figures: add_up: 7 of 9 do" in text


def test_a_nightly_run_that_fails_sends_exactly_one_message(
    business: Business, hook: Hook, tmp_path: Path
) -> None:
    shutil.copytree(business.data, tmp_path / "data", symlinks=True)
    config = tmp_path / "pipeline.yaml"
    config.write_text(business.config.read_text(encoding="utf-8") + ALERTS, encoding="utf-8")
    broken = load_settings(config, tmp_path / "data", {"ALERT_WEBHOOK": hook.url})
    broken.paths.warehouse.write_bytes(b"this is no database" * 1000)
    for _ in range(2):  # the second night fails as the first did
        with pytest.raises(RunFailed, match="run_context"):
            run_nightly(broken, rebuild=True)
    (text,) = texts(hook)
    assert text.count("The run of nightly that started") == 1 and "run_context: " in text
    assert "land_files" not in text
