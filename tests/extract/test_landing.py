"""Batches: whole or invisible, and never counted when damaged."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dagster_project.contract import ENTITIES
from dagster_project.extract import landing as landing_module
from dagster_project.extract.landing import (
    MANIFEST,
    PART,
    SCHEMA,
    Landing,
    LandingError,
    Stamp,
    read_manifest,
    verify,
)

AT = datetime(2026, 4, 1, 2, 0, tzinfo=UTC)
ROWS = [
    {"record_id": "1", "payload": "{}", "modified_at": datetime(2026, 3, 30, 12)},
    {"record_id": "2", "payload": "{}", "modified_at": datetime(2026, 3, 31, 12)},
    {"record_id": "3", "payload": "{}", "modified_at": None},
]


def stamp(batch_id: str = "b1", source: str = "a", entity: str = "deals") -> Stamp:
    return Stamp(source, entity, batch_id, AT, is_initial_load=True)


def test_a_batch_lands_with_the_agreed_columns_and_a_manifest_that_describes_it(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    batch = landing.write_rows(
        stamp(), ROWS, fingerprint="f", origin={"file": "x"}, newest_event_on=date(2026, 3, 31)
    )
    assert batch.folder == tmp_path / "files/a/deals/b1"
    table = pq.read_table(batch.folder / PART)
    assert table.schema.equals(SCHEMA)
    assert table.column("source_relation").to_pylist() == ["a"] * 3
    manifest = read_manifest(batch.folder)
    assert manifest == batch.manifest
    assert manifest.rows == 3
    assert manifest.min_modified_at == datetime(2026, 3, 30, 12)
    assert manifest.max_modified_at == datetime(2026, 3, 31, 12)
    assert (manifest.stamp.extracted_at, manifest.newest_event_on) == (AT, date(2026, 3, 31))
    assert manifest.bytes == (batch.folder / PART).stat().st_size
    assert not list((tmp_path / ".inflight").iterdir())


def test_every_entity_has_an_empty_typed_batch_which_is_no_delivery(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    landing.ensure_empty_batches()
    for entity in ENTITIES:
        table = pq.read_table(tmp_path / f"files/_empty/{entity}/_empty/{PART}")
        assert (table.num_rows, table.schema.equals(SCHEMA)) == (0, True)
    assert landing.batches() == []
    assert landing.landed_through() is None


@pytest.mark.parametrize(
    "damage", ["no manifest", "broken manifest", "other manifest", "short part", "no part"]
)
def test_a_damaged_batch_is_ignored_and_set_aside(tmp_path: Path, damage: str) -> None:
    landing = Landing(tmp_path)
    good = landing.write_rows(stamp("b1"), ROWS, fingerprint="f")
    bad = landing.write_rows(stamp("b2"), ROWS, fingerprint="f").folder
    if damage == "no manifest":
        (bad / MANIFEST).unlink()
    elif damage == "broken manifest":
        (bad / MANIFEST).write_text("{")
    elif damage == "other manifest":
        (bad / MANIFEST).write_text(json.dumps({"rows": 1}))
    elif damage == "short part":
        (bad / PART).write_bytes((bad / PART).read_bytes()[:-10])
    else:
        (bad / PART).unlink()
    assert landing.batches() == [good]
    (found,) = landing.set_aside_damaged()
    assert str(bad) in found.reason
    assert [path.parent.name for path in (tmp_path / "files").glob("*/deals/*/*.parquet")] == ["b1"]
    assert landing.set_aside_damaged() == []


def test_changed_bytes_of_the_same_size_are_found_by_the_checksum(tmp_path: Path) -> None:
    batch = Landing(tmp_path).write_rows(stamp(), ROWS, fingerprint="f")
    verify(batch)
    content = bytearray((batch.folder / PART).read_bytes())
    content[20] ^= 1
    (batch.folder / PART).write_bytes(content)
    with pytest.raises(LandingError, match="has changed since it was landed"):
        verify(batch)


def test_a_failing_write_leaves_nothing_behind(tmp_path: Path) -> None:
    landing = Landing(tmp_path)

    def disk_full(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(LandingError, match=r"No space left on device.*nothing of it is visible"):
        landing.write(stamp(), disk_full, fingerprint="f")
    assert landing.batches() == []
    assert not list((tmp_path / ".inflight").iterdir())


def test_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LandingError, match="the landing needs"):
        Landing(tmp_path).write(
            stamp(), lambda path: pq.write_table(pa.table({"a": [1]}), path), fingerprint="f"
        )


def test_the_same_batch_is_not_written_twice(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    first = landing.write_rows(stamp(), ROWS, fingerprint="f")
    again = landing.write_rows(stamp(), ROWS[:1], fingerprint="f")
    assert again == first
    assert again.manifest.rows == 3


def test_too_little_space_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 60_000_000})
    monkeypatch.setattr(landing_module.shutil, "disk_usage", lambda _: usage)
    Landing(tmp_path).require_space(1_000_000)
    with pytest.raises(LandingError, match=r"only 60 MB are free.*DATA=path"):
        Landing(tmp_path).require_space(100_000_000)


def test_a_first_load_ends_once_per_entity(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    assert not landing.initial_load_done("a", "deals")
    landing.end_initial_load("a", ["deals"], AT)
    landing.end_initial_load("a", ["deals", "owners"], AT)
    assert landing.initial_load_done("a", "deals")
    assert landing.initial_load_done("a", "owners")
    assert not landing.initial_load_done("b", "deals")


def test_batches_come_in_order_and_by_source_and_entity(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    for source, entity, name in [("b", "deals", "2"), ("a", "deals", "3"), ("a", "owners", "1")]:
        landing.write_rows(stamp(name, source, entity), ROWS, fingerprint="f")
    assert [batch.folder.name for batch in landing.batches()] == ["1", "2", "3"]
    assert [batch.folder.name for batch in landing.batches("a")] == ["1", "3"]
    assert [batch.folder.name for batch in landing.batches("a", "deals")] == ["3"]


def test_a_retired_batch_is_kept_out_of_sight(tmp_path: Path) -> None:
    landing = Landing(tmp_path)
    batch = landing.write_rows(stamp(), ROWS, fingerprint="f")
    landing.retire(batch)
    assert landing.batches() == []
    assert (tmp_path / ".retired/files/a/deals/b1" / PART).exists()
