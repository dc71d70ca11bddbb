"""The asset `report` in Dagster: it shows where the page is, and where it fails nothing else does."""

from hashlib import sha256
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.publish.assets import PUBLISHED_MARTS_KEY
from dagster_project.report import report_file
from dagster_project.report.assets import build_report_assets
from dagster_project.settings import REPOSITORY, Settings, load_settings
from tests.report.small_published import business, write_published

REPORT = dg.AssetKey("report")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The bundled configuration on a data folder that holds the published file of a small business."""
    settings = load_settings(REPOSITORY / "pipeline.yaml", tmp_path, {})
    settings.paths.published_dir.mkdir(parents=True)
    write_published(settings.paths.published_file, business())
    return settings


def publish_and_report(settings: Settings, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    """A night's last two steps; the file is there already, as if it had just been published."""

    @dg.asset(key=PUBLISHED_MARTS_KEY)
    def published_marts() -> None: ...

    assets = [published_marts, *build_report_assets(settings, PUBLISHED_MARTS_KEY)]
    return dg.materialize(assets, instance=instance, raise_on_error=False)


def test_the_asset_says_where_the_page_is_and_draws_the_pace(settings: Settings) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = publish_and_report(settings, instance)
        assert result.success
        (event,) = result.asset_materializations_for_node("report")
    page = settings.paths.published_dir / "report.html"
    assert event.metadata["path"].value == str(page)
    assert event.metadata["link"].value == f"file://{page}"
    assert event.metadata["as_of"].value == "2026-05-15"
    assert f"[report.html](file://{page})" in event.metadata["files"].value
    assert event.metadata["megabytes"].value == pytest.approx(page.stat().st_size / 1e6, abs=0.01)
    assert "data:image/svg+xml" in event.metadata["pace"].value


def test_a_report_that_fails_is_seen_and_takes_nothing_with_it(settings: Settings) -> None:
    published, page = settings.paths.published_file, settings.paths.published_dir / "report.html"
    before = sha256(published.read_bytes()).hexdigest()
    page.mkdir()  # what stands in the way of the page
    with dg.DagsterInstance.ephemeral() as instance:
        failed = publish_and_report(settings, instance)
        assert not failed.success
        assert failed.asset_materializations_for_node("published_marts")
        assert sha256(published.read_bytes()).hexdigest() == before
        assert instance.get_latest_materialization_event(PUBLISHED_MARTS_KEY) is not None
        assert instance.get_latest_materialization_event(REPORT) is None
        record = instance.get_asset_records([REPORT])[0].asset_entry
        assert record.last_run_id == failed.run_id
        (step,) = [event for event in failed.all_events if event.is_step_failure]
        told = step.event_specific_data.error_display_string
        assert step.step_key == "report"
        assert "the report was not written (IsADirectoryError" in told
        assert "The published file is complete" in told

        page.rmdir()
        assert publish_and_report(settings, instance).success
        assert instance.get_latest_materialization_event(REPORT) is not None
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("error", [AttributeError("quarter"), RuntimeError("no picture"), MemoryError()])
def test_whatever_goes_wrong_in_a_page_is_told_in_the_same_words(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: object) -> str:
        raise error

    monkeypatch.setattr(report_file, "render_page", fails)
    with dg.DagsterInstance.ephemeral() as instance:
        failed = publish_and_report(settings, instance)
    (step,) = [event for event in failed.all_events if event.is_step_failure]
    told = step.event_specific_data.error_display_string
    assert f"the report was not written ({type(error).__name__}" in told


def test_without_a_published_file_the_asset_names_the_remedy(settings: Settings) -> None:
    settings.paths.published_file.unlink()
    with dg.DagsterInstance.ephemeral() as instance:
        failed = publish_and_report(settings, instance)
    (step,) = [event for event in failed.all_events if event.is_step_failure]
    assert "`make run` publishes one" in step.event_specific_data.error_display_string
