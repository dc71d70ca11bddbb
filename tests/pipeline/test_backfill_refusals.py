"""What a backfill refuses, in words; each refusal says what to do."""

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pandas as pd
import pytest

from dagster_project.backfills.full_refresh import difference_markdown, differences
from dagster_project.backfills.reextract_job import refuse_loss
from dagster_project.backfills.refusals import (
    BackfillRefused,
    days_between,
    refuse_changed_definitions,
    refuse_gaps_in_landing,
    refuse_missing_warehouse,
)
from dagster_project.definition_changes import changed_settings
from dagster_project.extract.landing import Landing, Stamp
from dagster_project.warehouse import Warehouse

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)


def test_an_empty_range_is_the_newest_day_and_a_range_has_both_its_ends() -> None:
    assert days_between("", "", FIRST, LAST) == (LAST,)
    days = days_between("2026-03-29", "", FIRST, LAST)
    assert days == (date(2026, 3, 29), date(2026, 3, 30), date(2026, 3, 31))


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("2026-03-31", "2026-04-01", "2026-04-01 is not over, or the data end before it"),
        ("2026-02-28", "2026-03-02", "the history begins on 2026-03-01"),
        ("2026-03-05", "2026-03-02", "lies before first_day"),
        ("5 March", "2026-03-09", "write a date such as 2026-03-31"),
    ],
)
def test_days_that_are_not_there_are_refused(first: str, last: str, words: str) -> None:
    with pytest.raises(BackfillRefused, match=words):
        days_between(first, last, FIRST, LAST)


def test_changed_definitions_are_named_setting_by_setting() -> None:
    before = '{"metrics": {"min_sample": 20, "win_rate": {"population": "all"}}, "business": {"name": "B"}}'
    after = (
        '{"metrics": {"min_sample": 20, "win_rate": {"population": "qualified"}}, "business": {"name": "B"}}'
    )
    assert changed_settings(before, after) == ["metrics.win_rate.population: all → qualified"]
    assert changed_settings(before, before) == []


def test_changed_definitions_need_consent(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "warehouse.duckdb")
    columns = {"definition_version": "string", "settings_json": "string", "run_order": "bigint"}
    row = {"definition_version": "a1", "settings_json": '{"metrics": {"min_sample": 20}}', "run_order": 1}
    warehouse.append("ops.run_context", pd.DataFrame([row]), columns)
    now = '{"metrics": {"min_sample": 30}}'
    with pytest.raises(
        BackfillRefused, match=r"metrics.min_sample: 20 → 30.*accept_changed_definitions: true"
    ):
        refuse_changed_definitions(warehouse, ["a1", "b2"], "b2", now, is_accepted=False)
    assert len(refuse_changed_definitions(warehouse, ["a1", "b2"], "b2", now, is_accepted=True)) == 1
    assert refuse_changed_definitions(warehouse, ["b2"], "b2", now, is_accepted=False) == []


def folder(tmp_path: Path) -> SimpleNamespace:
    paths = SimpleNamespace(
        warehouse=tmp_path / "warehouse.duckdb",
        landing=tmp_path / "landing",
        published_dir=tmp_path / "published",
    )
    return SimpleNamespace(paths=paths)


def test_a_landing_that_lacks_what_the_ledger_was_built_from_is_refused(tmp_path: Path) -> None:
    settings, warehouse = folder(tmp_path), Warehouse(tmp_path / "warehouse.duckdb")
    kept, gone = datetime(2026, 3, 1, 4, tzinfo=UTC), datetime(2026, 3, 2, 4, tzinfo=UTC)
    with pytest.raises(BackfillRefused, match="nothing is landed"):
        refuse_gaps_in_landing(settings, warehouse)
    Landing(settings.paths.landing).write_rows(Stamp("hq", "deals", "b1", kept, True), [], fingerprint="x")
    known = pd.DataFrame({"first_extracted_at": [kept.replace(tzinfo=None)]})
    warehouse.append("ledger.int_known_on", known, {"first_extracted_at": "timestamp"})
    refuse_gaps_in_landing(settings, warehouse)
    known = pd.DataFrame({"first_extracted_at": [gone.replace(tzinfo=None)]})
    warehouse.append("ledger.int_known_on", known, {"first_extracted_at": "timestamp"})
    with pytest.raises(BackfillRefused, match=r"1 of 2 extractions .*2026-03-02 04:00:00 UTC"):
        refuse_gaps_in_landing(settings, warehouse)


def test_deals_that_are_gone_are_missed_though_their_extraction_left_other_entities(tmp_path: Path) -> None:
    settings, warehouse = folder(tmp_path), Warehouse(tmp_path / "warehouse.duckdb")
    at = datetime(2026, 3, 1, 4, tzinfo=UTC)
    landing = Landing(settings.paths.landing)
    landing.write_rows(Stamp("hq", "stage_history", "b1", at, True), [], fingerprint="x")
    landing.write_rows(Stamp("other", "deals", "b1", at, True), [], fingerprint="x")
    instant = {"first_extracted_at": at.replace(tzinfo=None)}
    warehouse.append("ledger.int_known_on", pd.DataFrame([instant]), {"first_extracted_at": "timestamp"})
    columns = {"source_relation": "string", "first_extracted_at": "timestamp"}
    for source in ("other", "hq"):
        staged = pd.DataFrame([{"source_relation": source, **instant}])
        warehouse.append("staging.stg_deals", staged, columns)
        if source == "other":
            refuse_gaps_in_landing(settings, warehouse)
    with pytest.raises(BackfillRefused, match=r"2026-03-01 04:00:00 UTC.*Restore them"):
        refuse_gaps_in_landing(settings, warehouse)
    landing.write_rows(Stamp("hq", "deals", "b1", at, True), [], fingerprint="x")
    refuse_gaps_in_landing(settings, warehouse)


def table(path: Path, rows: str) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            f"create table deals as select * from (values {rows}) as t(deal_id, amount, run_id)"
        )


def test_the_difference_of_two_versions_is_in_their_rows_and_not_in_the_ids_of_runs(tmp_path: Path) -> None:
    first, same, other = (tmp_path / f"{name}.duckdb" for name in ("first", "same", "other"))
    table(first, "('1', 10, 'r1'), ('2', 20, 'r1')")
    table(same, "('2', 20, 'r2'), ('1', 10, 'r2')")
    table(other, "('1', 10, 'r3'), ('2', 21, 'r3')")
    with duckdb.connect(str(other)) as connection:
        connection.execute("create table quotas as select 1 as amount")
    assert differences(first, same) == [("deals", 2, 2, False)]
    assert differences(first, other) == [("deals", 2, 2, True), ("quotas", None, 1, True)]
    assert "| quotas | no table | 1 |" in difference_markdown(differences(first, other))


def test_a_missing_warehouse_is_not_made_anew_where_one_was_published_from(tmp_path: Path) -> None:
    settings = folder(tmp_path)
    with pytest.raises(BackfillRefused, match="nothing has been built yet"):
        refuse_missing_warehouse(settings)
    settings.paths.published_dir.mkdir()
    (settings.paths.published_dir / "marts-1.duckdb").touch()
    (settings.paths.published_dir / "marts.duckdb").symlink_to("marts-1.duckdb")
    with pytest.raises(BackfillRefused, match="Restore it from a backup"):
        refuse_missing_warehouse(settings)


def test_a_reextraction_that_lost_a_batch_or_moved_back_says_so() -> None:
    early, late = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)
    standing = ({"b1": "x"}, {"deals": late})
    refuse_loss(standing, ({"b1": "x", "b2": "y"}, {"deals": late}))
    with pytest.raises(BackfillRefused, match="b1"):
        refuse_loss(standing, ({"b2": "y"}, {"deals": late}))
    with pytest.raises(BackfillRefused, match=r"less is covered than before .deals"):
        refuse_loss(standing, ({"b1": "x"}, {"deals": early}))
