"""The Dagster instance as it is shipped."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from dagster_project.cli.instance import INSTANCE_FILE


@pytest.fixture(scope="module")
def shipped() -> dict:
    return yaml.safe_load(INSTANCE_FILE.read_text(encoding="utf-8"))


def test_nothing_is_sent_to_anybody(shipped: dict) -> None:
    assert shipped["telemetry"] == {"enabled": False}


def test_one_run_at_a_time(shipped: dict) -> None:
    assert shipped["concurrency"]["runs"]["max_concurrent_runs"] == 1


def test_a_run_that_takes_too_long_is_ended(shipped: dict) -> None:
    assert shipped["run_monitoring"]["enabled"] is True
    assert shipped["run_monitoring"]["max_runtime_seconds"] == 4 * 3600


def test_dagster_accepts_the_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(INSTANCE_FILE.read_text(encoding="utf-8"), encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_monitoring_enabled
        assert not instance.telemetry_enabled
        assert instance.get_tick_retention_settings(dg._core.scheduler.instigation.InstigatorType.SENSOR)


def test_the_workspace_names_the_code_without_an_install() -> None:
    root = INSTANCE_FILE.parents[2]
    (location,) = yaml.safe_load((root / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    assert location["python_module"]["module_name"] == "dagster_project.definitions"
    assert location["python_module"]["working_directory"] == "."
