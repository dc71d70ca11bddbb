"""The published tables as Parquet: whole folders behind a link, replaced in one step."""

import os
from pathlib import Path

import duckdb
import pytest
from publish_scenario import Scenario

from dagster_project.publish import parquet_folder
from dagster_project.publish.errors import PublishFailed, PublishRefused
from dagster_project.publish.parquet_folder import publish_parquet


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    return Scenario(tmp_path, rows=50)


def bring(scenario: Scenario, generation: int) -> None:
    scenario.build(generation)
    scenario.publish(generation)


def generation_of(folder: Path) -> list[tuple[int, int]]:
    return duckdb.sql(
        f"select generation, count(*) from '{folder}/mart_pipeline.parquet' group by all"
    ).fetchall()


def test_each_table_is_a_file_of_the_newest_version(scenario: Scenario) -> None:
    bring(scenario, 1)
    result = publish_parquet(scenario.published)

    assert sorted(path.name for path in (scenario.published / "parquet").iterdir()) == [
        "_publish.parquet",
        "forecast_bookings.parquet",
        "mart_pipeline.parquet",
        "mart_stages.parquet",
    ]
    assert os.readlink(scenario.published / "parquet") == "parquet-1"
    assert result.rows == {"_publish": 3, "forecast_bookings": 2, "mart_pipeline": 50, "mart_stages": 3}
    assert generation_of(scenario.published / "parquet") == [(1, 50)]
    file = scenario.published / "parquet" / "mart_stages.parquet"
    about = duckdb.sql(
        f"select value from parquet_kv_metadata('{file}') where key = 'description'"
    ).fetchall()
    assert about == [(b"One row per pipeline of mart_stages.",)]


def test_older_folders_are_kept_for_their_readers_and_then_removed(scenario: Scenario) -> None:
    for generation in (1, 2, 3):
        bring(scenario, generation)
        publish_parquet(scenario.published, keep=2)

    assert [name for name in scenario.folder() if name.startswith("parquet")] == [
        "parquet",
        "parquet-2",
        "parquet-3",
    ]
    assert generation_of(scenario.published / "parquet-2") == [(2, 50)]
    assert generation_of(scenario.published / "parquet") == [(3, 50)]


def test_a_write_that_fails_leaves_the_folder_before(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(scenario, 1)
    publish_parquet(scenario.published)
    bring(scenario, 2)

    def full_disk(connection: object, folder: Path) -> None:
        (folder / "mart_pipeline.parquet").write_text("half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet_folder, "_write", full_disk)
    with pytest.raises(PublishFailed, match=r"No space left on device.*keeps serving"):
        publish_parquet(scenario.published)

    assert generation_of(scenario.published / "parquet") == [(1, 50)]
    assert "parquet-2.building" not in scenario.folder()


def test_what_a_dead_writer_left_is_removed(scenario: Scenario) -> None:
    bring(scenario, 1)
    (scenario.published / "parquet-1.building").mkdir()
    publish_parquet(scenario.published)

    assert "parquet-1.building" not in scenario.folder()


def test_nothing_published_is_said(tmp_path: Path) -> None:
    with pytest.raises(PublishRefused, match="nothing is published"):
        publish_parquet(tmp_path)
