"""After a purge nothing old is left of what was published: pages, folders, versions."""

from pathlib import Path

import pytest

from dagster_project.cli import purge_published
from dagster_project.publish.errors import PublishFailed
from dagster_project.report.errors import ReportNotWritten
from dagster_project.settings import Settings
from tests.extract.small_business import STAGES, Business

DEALS = "    deals:\n      path: deals*\n      columns: {deal_id: ID, stage: Stage}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = Business(tmp_path, DEALS + STAGES).settings().paths.published_dir
    (folder / "parquet-4").mkdir(parents=True)
    (folder / "parquet-5.building").mkdir()
    (folder / "parquet").symlink_to("parquet-4")
    for name in (
        "report.html",
        "report-team-a.html",
        "report-board.html",
        "marts-3.duckdb",
        "marts-4.duckdb",
    ):
        (folder / name).write_text("a name")
    (folder / "marts.duckdb").symlink_to("marts-4.duckdb")
    return folder


@pytest.fixture
def settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(purge_published, "publish_settings", lambda *_: None)
    settings = Business(folder.parents[1], DEALS + STAGES).settings()
    assert settings.paths.published_dir == folder
    return settings


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.is_symlink() or path.exists())


def test_where_no_run_was_built_nothing_that_was_published_stays(folder: Path) -> None:
    purge_published.remove_published(folder)
    assert names(folder) == []


def test_pages_and_parquet_that_are_not_asked_for_any_more_go(folder: Path, settings: Settings) -> None:
    report = settings.report.model_copy(update={"pages": ()})
    purge_published.publish_anew(settings.model_copy(update={"report": report}), "run")
    assert names(folder) == ["marts-4.duckdb", "marts.duckdb"]


def test_a_page_that_cannot_be_written_is_not_left_as_it_was(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Settings) -> None:
        raise ReportNotWritten("no room")

    monkeypatch.setattr(purge_published, "write_settings_report", broken)
    with pytest.raises(ReportNotWritten):
        purge_published.publish_anew(settings, "run")
    assert not list(folder.glob("report*"))


def test_a_parquet_folder_that_cannot_be_written_takes_the_older_ones_with_it(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise PublishFailed("no room")

    monkeypatch.setattr(purge_published.parquet_folder, "publish_parquet", broken)
    asked = {
        "report": settings.report.model_copy(update={"pages": ()}),
        "publish": settings.publish.model_copy(update={"parquet": True}),
    }
    with pytest.raises(PublishFailed):
        purge_published.publish_anew(settings.model_copy(update=asked), "run")
    assert names(folder) == ["marts-4.duckdb", "marts.duckdb"]
