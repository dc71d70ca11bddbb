"""What the published file holds, what it says about itself, and what is kept of earlier versions."""

import json
import shutil
from datetime import date, datetime
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import duckdb
import pandas as pd
import pytest
from publish_scenario import AS_OF, MANIFEST, Scenario, model

from dagster_project.publish import table_copy, versions
from dagster_project.publish.assets import build_publish_assets, is_warehouse_newer
from dagster_project.publish.build_state import read_build_state
from dagster_project.publish.errors import PublishFailed, PublishRefused
from dagster_project.publish.published_tables import read_published_tables
from dagster_project.publish.versions import current_file

BUILD_COLUMNS = {
    "build_order": "bigint",
    "run_id": "string",
    "started_at": "timestamp",
    "finished_at": "timestamp",
    "is_full_selection": "boolean",
}
CONTEXT_COLUMNS = {
    "run_id": "string",
    "run_order": "bigint",
    "as_of": "date",
    "definition_version": "string",
    "recorded_at": "timestamp",
}


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    scenario = Scenario(tmp_path)
    scenario.build(1)
    return scenario


def rows(scenario: Scenario, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(scenario.link), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def record_builds(scenario: Scenario, *builds: tuple[str, int, int | None, bool]) -> None:
    """Builds as (run, start hour, finish hour or None, is complete), each an hour after its run context."""
    for order, (run, start, finish, is_complete) in enumerate(builds, start=1):
        begun = datetime(2026, 4, 1, start)
        ended = None if finish is None else datetime(2026, 4, 1, finish)
        build = (order, run, begun, ended, is_complete)
        context = (run, order, AS_OF, "default", datetime(2026, 4, 1, start - 1))
        scenario.warehouse.append(
            "ops.build", pd.DataFrame([build], columns=list(BUILD_COLUMNS)), BUILD_COLUMNS
        )
        scenario.warehouse.append(
            "ops.run_context", pd.DataFrame([context], columns=list(CONTEXT_COLUMNS)), CONTEXT_COLUMNS
        )


def test_public_tables_and_forecast_tables_are_published_without_prefix_and_nothing_else(
    scenario: Scenario,
) -> None:
    scenario.publish(1)

    assert rows(scenario, "select table_schema, table_name from information_schema.tables order by all") == [
        ("main", "_publish"),
        ("main", "forecast_bookings"),
        ("main", "mart_pipeline"),
        ("main", "mart_stages"),
    ]


def test_rows_and_types_are_those_of_the_warehouse(scenario: Scenario) -> None:
    scenario.publish(1)

    with scenario.warehouse.connect(read_only=True) as connection:
        connection.execute(f"attach '{scenario.link}' as published (read_only)")
        for there, here in (
            ("marts.mart_pipeline", "mart_pipeline"),
            ("marts.mart_stages", "mart_stages"),
            ("forecast.forecast_bookings", "forecast_bookings"),
        ):
            for left, right in ((there, f"published.{here}"), (f"published.{here}", there)):
                assert connection.execute(f"from {left} except all from {right}").fetchall() == []
            described = [
                [row[:2] for row in connection.execute(f"describe {table}").fetchall()]
                for table in (there, f"published.{here}")
            ]
            assert described[0] == described[1]


def test_keys_are_declared_so_that_bi_tools_find_them(scenario: Scenario) -> None:
    scenario.publish(1)

    keys = rows(
        scenario,
        "select table_name, constraint_column_names from duckdb_constraints() "
        "where constraint_type = 'PRIMARY KEY' order by all",
    )
    assert keys == [
        ("_publish", ["table_name"]),
        ("forecast_bookings", ["as_of"]),
        ("mart_pipeline", ["day_number"]),
        ("mart_stages", ["pipeline", "stage"]),
    ]


def test_a_table_too_large_for_an_index_keeps_its_key_by_name(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_copy, "LARGEST_TABLE_WITH_KEY", 100)
    scenario.publish(1)

    declared = rows(
        scenario, "select table_name from duckdb_constraints() where constraint_type = 'PRIMARY KEY'"
    )
    assert ("mart_pipeline",) not in declared
    assert ("mart_stages",) in declared
    named = rows(scenario, "select primary_key from _publish where table_name = 'mart_pipeline'")
    assert named == [("day_number",)]


def test_a_key_of_many_columns_is_named_and_not_indexed(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_copy, "WIDEST_KEY", 1)
    scenario.publish(1)

    declared = rows(
        scenario, "select table_name from duckdb_constraints() where constraint_type = 'PRIMARY KEY'"
    )
    assert ("mart_pipeline",) in declared
    assert ("mart_stages",) not in declared
    named = rows(scenario, "select primary_key from _publish where table_name = 'mart_stages'")
    assert named == [("pipeline, stage",)]


def test_comments_come_from_the_manifest(scenario: Scenario) -> None:
    scenario.publish(1)

    assert rows(scenario, "select comment from duckdb_tables() where table_name = 'mart_stages'") == [
        ("One row per pipeline of mart_stages.",)
    ]
    comments = rows(
        scenario,
        "select column_name, comment from duckdb_columns() where table_name = 'mart_pipeline' "
        "order by column_index",
    )
    assert comments == [
        ("day_number", "Day, counted from 1"),
        ("generation", "It's the generation"),
        ("amount", "Reporting currency"),
    ]
    without = "select table_name from duckdb_columns() where table_name = '_publish' and comment is null"
    assert rows(scenario, without) == []


def test_the_file_says_which_runs_made_it(scenario: Scenario) -> None:
    scenario.warehouse.execute(
        "update forecast.forecast_bookings set run_id = concat('forecast run of ', as_of)"
    )
    result = scenario.publish(7)

    assert rows(
        scenario,
        "select table_name, row_count, primary_key, warehouse_table from _publish order by table_name",
    ) == [
        ("forecast_bookings", 2, "as_of", "forecast.forecast_bookings"),
        ("mart_pipeline", 500, "day_number", "marts.mart_pipeline"),
        ("mart_stages", 3, "pipeline, stage", "marts.mart_stages"),
    ]
    assert rows(scenario, "select table_name, built_by from _publish order by table_name") == [
        ("forecast_bookings", "forecast run of 2026-03-31"),
        ("mart_pipeline", "run-7"),
        ("mart_stages", "run-7"),
    ]
    assert rows(scenario, "select distinct run_id, as_of, definition_version, version from _publish") == [
        ("run-7", date(2026, 3, 31), "default", 1)
    ]
    assert rows(scenario, "select distinct published_at from _publish") == [(result.published_at,)]


def test_older_engines_can_read_the_file(scenario: Scenario) -> None:
    """Storage version 64 is the format of DuckDB 0.9 to 1.1; the newest format has a larger number."""
    path = scenario.publish(1).path

    header = path.read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    assert int.from_bytes(header[12:20], "little") == 64


def test_a_missing_forecast_table_is_left_out_and_named(scenario: Scenario) -> None:
    scenario.warehouse.execute("drop table forecast.forecast_bookings")

    result = scenario.publish(1)

    assert result.absent == ("forecast.forecast_bookings",)
    assert [copy.name for copy in result.tables] == ["mart_pipeline", "mart_stages", "_publish"]


def test_the_last_versions_are_kept_and_numbers_only_grow(scenario: Scenario) -> None:
    for generation in range(1, 6):
        scenario.publish(generation, keep=2)
    assert scenario.folder() == ["marts-4.duckdb", "marts-5.duckdb", "marts.duckdb"]

    for name in ("marts-4.duckdb", "marts-5.duckdb", "marts.duckdb"):
        (scenario.published / name).unlink()
    assert scenario.publish(6).version == 6


def test_the_folder_can_be_moved(scenario: Scenario, tmp_path: Path) -> None:
    scenario.publish(1)
    scenario.published.rename(tmp_path / "elsewhere")

    with duckdb.connect(str(tmp_path / "elsewhere" / "marts.duckdb"), read_only=True) as connection:
        assert connection.execute("select count(*) from mart_stages").fetchone() == (3,)


def test_without_symbolic_links_a_pointer_file_names_the_newest_version(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(versions.os, "symlink", refuse)
    scenario.publish(1)
    result = scenario.publish(2, keep=1)

    assert (scenario.published / "marts.current").read_text() == "marts-2.duckdb\n"
    assert current_file(scenario.published) == scenario.published / "marts-2.duckdb" == result.path
    assert scenario.folder() == ["marts-2.duckdb", "marts.current"]


def test_nothing_is_current_before_the_first_publish(tmp_path: Path) -> None:
    assert current_file(tmp_path / "published") is None


def add_views(scenario: Scenario, reads: str = "marts.mart_stages") -> None:
    """A public model that is a view in the warehouse, and a listed view of the published file."""
    words = {"stage": "Label", "pipelines": "Pipelines with the stage"}
    manifest = {**MANIFEST, "nodes": {**MANIFEST["nodes"], "bi": model("bi_stages", words, ["stage"])}}
    (scenario.root / "manifest.json").write_text(json.dumps(manifest))
    scenario.warehouse.execute(
        "create or replace view marts.bi_stages as "
        f"select stage, count(*) as pipelines from {reads} group by stage"
    )
    scenario.warehouse.execute(
        "create or replace table marts.int_published_views as select 'mart_stages_by_pipeline' as view_name, "
        "'One row per pipeline: its stages.' as description, 'mart_stages' as words_like, "
        """'{"stages": "Stages, it''s a count"}' as column_words, """
        "'select pipeline, count(*) as stages from mart_stages group by pipeline' as body"
    )


def test_views_are_published_over_the_published_tables_whatever_the_file_is_called(
    scenario: Scenario, tmp_path: Path
) -> None:
    add_views(scenario)
    result = scenario.publish(1)

    expected = [("Lead", 2), ("Quote", 1)]
    with duckdb.connect() as connection:
        shutil.copy(result.path, tmp_path / "copy.duckdb")
        connection.execute(f"attach '{tmp_path / 'copy.duckdb'}' as anything (read_only)")
        found = connection.execute("select stage, pipelines from anything.bi_stages order by all").fetchall()
        assert found == expected
        found = connection.execute("select * from anything.mart_stages_by_pipeline order by all").fetchall()
        assert found == [("New", 2), ("Old", 1)]
    assert rows(scenario, "select row_count, primary_key from _publish where table_name = 'bi_stages'") == [
        (2, "stage")
    ]
    assert [copy.name for copy in result.tables if copy.is_view] == ["bi_stages"]


def test_views_and_their_columns_carry_comments(scenario: Scenario) -> None:
    add_views(scenario)
    scenario.publish(1)

    assert rows(
        scenario, "select view_name, comment from duckdb_views() where not internal order by all"
    ) == [
        ("bi_stages", "One row per stage of bi_stages."),
        ("mart_stages_by_pipeline", "One row per pipeline: its stages."),
    ]
    assert rows(
        scenario,
        "select column_name, comment from duckdb_columns() "
        "where table_name in ('bi_stages', 'mart_stages_by_pipeline') order by table_name, column_index",
    ) == [
        ("stage", "Label"),
        ("pipelines", "Pipelines with the stage"),
        ("pipeline", "Label"),
        ("stages", "Stages, it's a count"),
    ]


def test_a_view_that_reads_what_is_not_published_is_refused(scenario: Scenario) -> None:
    scenario.publish(1)
    scenario.warehouse.execute("create table marts.int_stages as from marts.mart_stages")
    add_views(scenario, reads="marts.int_stages")

    with pytest.raises(PublishRefused, match=r"the view bi_stages reads marts\.int_stages, which is not"):
        scenario.publish(2)
    assert current_file(scenario.published) == scenario.published / "marts-1.duckdb"


def test_a_listed_view_that_cannot_be_read_is_not_published(scenario: Scenario) -> None:
    scenario.publish(1)
    add_views(scenario)
    scenario.warehouse.execute(
        "update marts.int_published_views set body = replace(body, 'pipeline', 'wipeline')"
    )

    with pytest.raises(PublishFailed, match=r"the view mart_stages_by_pipeline cannot be read.*wipeline"):
        scenario.publish(2)
    assert current_file(scenario.published) == scenario.published / "marts-1.duckdb"


def test_manifest_words_keys_and_access_are_read(scenario: Scenario) -> None:
    tables = read_published_tables(
        scenario.root / "manifest.json", ["forecast.forecast_bookings", "forecast.new"]
    )

    assert [(table.source, table.primary_key, table.is_built_by_dbt) for table in tables] == [
        ("forecast.forecast_bookings", ("as_of",), False),
        ("marts.mart_pipeline", ("day_number",), True),
        ("marts.mart_stages", ("pipeline", "stage"), True),
        ("forecast.new", (), False),
    ]
    assert tables[0].description == "One row per as_of."


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no dbt manifest at .*manifest\.json: `make run` writes it"),
        ("{", "cannot be read"),
        (json.dumps({"nodes": {}, "sources": {}}), "access: public"),
        (
            json.dumps(
                {
                    "nodes": {
                        **MANIFEST["nodes"],
                        "other": {**MANIFEST["nodes"]["model.stageledger.mart_stages"], "schema": "ledger"},
                    },
                    "sources": {},
                }
            ),
            "two published tables are called mart_stages",
        ),
    ],
)
def test_a_manifest_that_does_not_do_is_refused_with_a_remedy(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(PublishRefused, match=message):
        read_published_tables(path)


def test_a_key_that_names_no_column_is_refused(scenario: Scenario) -> None:
    scenario.warehouse.execute("alter table marts.mart_stages drop column stage")

    with pytest.raises(PublishRefused, match="the primary key of mart_stages names stage"):
        scenario.publish(1)


def test_the_newest_finished_build_is_what_is_published(scenario: Scenario) -> None:
    record_builds(scenario, ("run-1", 2, 3, True), ("run-2", 4, 5, True))

    state = read_build_state(scenario.warehouse)

    assert (state.built_by, state.as_of, state.definition_version) == ("run-2", AS_OF, "default")


@pytest.mark.parametrize(
    ("builds", "message"),
    [
        (
            [("run-1", 2, 3, True), ("run-2", 4, None, True)],
            r"the last build failed \(run run-2, started 2026-04-01 04",
        ),
        ([("run-1", 2, 3, True), ("run-2", 4, None, True), ("run-3", 6, 7, False)], "run run-2"),
        ([("run-1", 2, None, True)], "no complete build"),
        ([("run-1", 2, 3, False)], "no complete build"),
    ],
    ids=[
        "last failed",
        "a part built after a failure repairs nothing",
        "never succeeded",
        "only a part was built",
    ],
)
def test_a_mixed_warehouse_is_refused(
    scenario: Scenario, builds: list[tuple[str, int, int | None, bool]], message: str
) -> None:
    record_builds(scenario, *builds)

    with pytest.raises(PublishRefused, match=message):
        read_build_state(scenario.warehouse)


def test_a_complete_build_repairs_an_earlier_failure(scenario: Scenario) -> None:
    record_builds(scenario, ("run-1", 2, None, True), ("run-2", 4, 5, True), ("run-3", 6, 7, False))

    assert read_build_state(scenario.warehouse).built_by == "run-3"


def test_a_run_that_has_started_but_not_built_is_refused(scenario: Scenario) -> None:
    record_builds(scenario, ("run-1", 2, 3, True))
    context = ("run-2", 2, date(2026, 4, 1), "default", datetime(2026, 4, 2, 2))
    scenario.warehouse.append("ops.run_context", pd.DataFrame([context], columns=list(CONTEXT_COLUMNS)))

    with pytest.raises(PublishRefused, match=r"run run-2 \(as of 2026-04-01\) has started"):
        read_build_state(scenario.warehouse)


def test_a_warehouse_that_was_never_built_is_refused(tmp_path: Path) -> None:
    empty = Scenario(tmp_path / "new").warehouse
    with pytest.raises(PublishRefused, match="make run"):
        read_build_state(empty)

    empty.create_schema("ops")
    with pytest.raises(PublishRefused, match="never been built completely"):
        read_build_state(empty)


def settings_of(scenario: Scenario) -> SimpleNamespace:
    (scenario.root / "dbt_target").mkdir()
    (scenario.root / "dbt_target" / "manifest.json").write_text(json.dumps(MANIFEST))
    return SimpleNamespace(
        paths=SimpleNamespace(
            warehouse=scenario.root / "warehouse.duckdb",
            published_dir=scenario.published,
            dbt_target=scenario.root / "dbt_target",
            run_lock=scenario.root / "run.lock",
        ),
        publish=SimpleNamespace(keep_versions=2),
        memory_share=lambda share: "500MB",
        threads=1,
    )


def test_the_asset_publishes_and_shows_what_it_published(scenario: Scenario) -> None:
    record_builds(scenario, ("run-1", 2, 3, True))
    assets = build_publish_assets(
        settings_of(scenario),  # type: ignore[arg-type]
        [dg.AssetKey("mart_stages"), dg.AssetKey("mart_pipeline")],
        ["forecast.forecast_bookings"],
    )

    result = dg.materialize(assets, raise_on_error=True)

    metadata = result.asset_materializations_for_node("published_marts")[0].metadata
    assert metadata["path"].value == str(scenario.link)
    assert metadata["version"].value == 1
    assert metadata["as_of"].value == "2026-03-31"
    assert {record.data["table"]: record.data["rows"] for record in metadata["tables"].value.records} == {
        "_publish": 3,
        "forecast_bookings": 2,
        "mart_pipeline": 500,
        "mart_stages": 3,
    }
    assert scenario.generation() == 1
    spec = next(iter(assets[0].specs))
    assert {dep.asset_key for dep in spec.deps} == {dg.AssetKey("mart_stages"), dg.AssetKey("mart_pipeline")}
    assert (spec.group_name, spec.owners, spec.kinds) == ("publish", ["team:data-engineering"], {"duckdb"})
    assert spec.description


def test_a_warehouse_is_newer_until_it_is_published(scenario: Scenario) -> None:
    settings = settings_of(scenario)
    assert is_warehouse_newer(settings)  # type: ignore[arg-type]

    scenario.publish(1)
    assert not is_warehouse_newer(settings)  # type: ignore[arg-type]

    scenario.build(2)
    assert is_warehouse_newer(settings)  # type: ignore[arg-type]

    settings.paths.warehouse.unlink()
    assert not is_warehouse_newer(settings)  # type: ignore[arg-type]


def test_the_asset_fails_without_a_retry_when_the_last_build_failed(scenario: Scenario) -> None:
    record_builds(scenario, ("run-1", 2, 3, True))
    scenario.publish(1)
    record_builds(scenario, ("run-1", 2, 3, True), ("run-2", 4, None, True))
    settings = settings_of(scenario)

    result = dg.materialize(build_publish_assets(settings, []), raise_on_error=False)  # type: ignore[arg-type]

    assert not result.success
    assert not [event for event in result.all_events if event.event_type_value == "STEP_UP_FOR_RETRY"]
    failure = result.failure_data_for_node("published_marts")
    assert failure is not None and failure.user_failure_data is not None
    assert "the last build failed" in (failure.user_failure_data.description or "")
    assert scenario.generation() == 1
