"""Whatever happens to a publisher, readers keep a whole version, and the next publish cleans up."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from publish_scenario import Scenario

from dagster_project import run_lock
from dagster_project.publish import duckdb_file
from dagster_project.publish.errors import PublishFailed, PublishRefused
from dagster_project.run_lock import RunLocked

REPOSITORY = Path(__file__).parents[2]
SCENARIO = [sys.executable, str(Path(__file__).with_name("publish_scenario.py"))]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(REPOSITORY)}


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    """Generation 1 is published, generation 2 is built and waits."""
    scenario = Scenario(tmp_path)
    scenario.build(1)
    scenario.publish(1)
    scenario.build(2)
    return scenario


def run_scenario(*arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, *SCENARIO, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(
    ("moment", "serves"),
    [
        ("before the copy", 1),
        ("in the middle of the copy", 1),
        ("before the check", 1),
        ("before it gets its name", 1),
        ("before the flip", 1),
        ("in the flip", 1),
        ("after the flip", 2),
    ],
)
def test_a_publisher_killed_at_any_moment_leaves_a_whole_version(
    scenario: Scenario, moment: str, serves: int
) -> None:
    killed = run_scenario("publish and die", str(scenario.root), moment, "2")

    assert killed.returncode == -9, killed.stderr
    assert scenario.generation() == serves

    scenario.build(3)
    result = scenario.publish(3)

    assert result.version == 3, "the number of the dead publisher is never used again"
    assert scenario.generation() == 3
    left = [name for name in scenario.folder() if ".building" in name or ".wal" in name or ".new" in name]
    assert left == []


def test_a_publisher_killed_while_it_writes_is_cleaned_up_by_the_next(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path, rows=1_500_000)
    Scenario(tmp_path).build(1)
    Scenario(tmp_path).publish(1)
    scenario.build(2)
    process = subprocess.Popen([*SCENARIO, "publish", str(tmp_path), "2"], env=ENVIRONMENT)
    unfinished = scenario.published / "marts-2.duckdb.building"
    deadline = time.monotonic() + 30
    while not (unfinished.exists() and unfinished.stat().st_size > 1_000_000):
        assert process.poll() is None and time.monotonic() < deadline, "it was never seen writing"
        time.sleep(0.005)
    process.kill()
    process.wait()

    assert unfinished.exists()
    assert Scenario(tmp_path).generation() == 1
    Scenario(tmp_path).build(3)
    Scenario(tmp_path).publish(3)
    assert Scenario(tmp_path).generation() == 3
    assert scenario.folder() == ["marts-1.duckdb", "marts-3.duckdb", "marts.duckdb"]


def overwrite(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 4))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def change_one_value(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("update mart_pipeline set amount = amount + 0.001 where day_number = 77")


def lose_one_row(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("delete from mart_pipeline where day_number = 77")


def lose_one_table(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("drop table mart_stages")


def leave_a_log(path: Path) -> None:
    path.with_name(path.name + ".wal").write_bytes(b"left by a writer that died")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (overwrite, ""),
        (truncate, ""),
        (change_one_value, "mart_pipeline reads back other values"),
        (lose_one_row, "mart_pipeline has 499 rows in the copy, 500 were written"),
        (lose_one_table, "the copy lacks mart_stages"),
        (leave_a_log, r"marts-2\.duckdb\.building\.wal was left"),
    ],
)
def test_a_damaged_copy_is_found_before_the_flip(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None], message: str
) -> None:
    write_copy = duckdb_file.write_copy

    def write_and_damage(warehouse: Any, path: Path, *rest: Any) -> Any:
        written = write_copy(warehouse, path, *rest)
        damage(path)
        return written

    monkeypatch.setattr(duckdb_file, "write_copy", write_and_damage)
    with pytest.raises(
        PublishFailed, match=rf"not published: .*{message}.*\(marts-1\.duckdb\) keeps serving"
    ):
        scenario.publish(2)

    assert scenario.generation() == 1
    assert scenario.folder() == ["marts-1.duckdb", "marts.duckdb"]
    monkeypatch.undo()
    scenario.publish(2)
    assert scenario.generation() == 2


def test_what_a_dead_writer_did_to_the_published_file_never_reaches_the_next_version(
    scenario: Scenario,
) -> None:
    (scenario.published / "marts-1.duckdb").chmod(0o644)
    writer = run_scenario("write through the link and die", str(scenario.root))
    assert writer.returncode == -9, writer.stderr
    logs = [name for name in scenario.folder() if name.endswith(".wal")]
    assert logs == ["marts-1.duckdb.wal"], "without a log this test shows nothing"

    scenario.publish(2)
    assert scenario.generation() == 2

    scenario.publish(3, keep=1)
    assert scenario.folder() == ["marts-3.duckdb", "marts.duckdb"], "the log goes with its version"


def test_a_log_beside_the_link_is_dropped_before_the_flip(
    scenario: Scenario, caplog: pytest.LogCaptureFixture
) -> None:
    """DuckDB 1.1 names the log after the link, and replays it into whatever the link points at next."""
    (scenario.published / "marts.duckdb.wal").write_bytes(b"changes of a writer that used DuckDB 1.1")

    scenario.publish(2)

    assert scenario.generation() == 2
    assert scenario.folder() == ["marts-1.duckdb", "marts-2.duckdb", "marts.duckdb"]
    assert "opened the published file for writing" in caplog.text


def test_a_published_version_is_not_writable(scenario: Scenario) -> None:
    assert (scenario.published / "marts-1.duckdb").stat().st_mode & 0o222 == 0


def test_a_write_that_the_disk_refuses_leaves_the_old_version(scenario: Scenario) -> None:
    Scenario(scenario.root, rows=400_000).build(2)

    refused = run_scenario("publish with small files only", str(scenario.root), "2", "1000000")

    assert refused.returncode == 0, refused.stderr
    assert refused.stdout.startswith("PublishFailed not published: "), refused.stdout
    assert "marts-1.duckdb) keeps serving" in refused.stdout
    assert scenario.generation() == 1
    assert scenario.folder() == ["marts-1.duckdb", "marts.duckdb"]


def test_a_full_disk_is_foreseen_and_survived(tmp_path: Path) -> None:
    """On a real file system of six megabytes, in a mount namespace of its own."""
    in_namespace = ("unshare", "--map-root-user", "--mount", "sh", "-c")
    published = tmp_path / "published"
    published.mkdir()
    mount = f'mount -t tmpfs -o size=6m tmpfs "{published}"'
    if (
        shutil.which("unshare") is None
        or subprocess.run([*in_namespace, mount], capture_output=True).returncode
    ):
        pytest.skip("needs a mount namespace")

    ran = run_scenario("fill the disk", str(tmp_path), prefix=(*in_namespace, f'{mount} && exec "$@"', "sh"))

    assert ran.returncode == 0, ran.stderr
    answers = json.loads(ran.stdout)
    assert "MB free and the copy may take" in answers["preflight"]
    assert "Nothing has been published before" in answers["preflight"]
    assert "No space left on device" in answers["full"]
    assert "(marts-1.duckdb) keeps serving" in answers["full"]
    assert answers["generation"] == 1
    assert answers["folder"] == ["marts-1.duckdb", "marts.duckdb"]


def test_too_little_room_is_refused_before_anything_is_written(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil._ntuple_diskusage(total=10**9, used=10**9 - 10**6, free=10**6)
    monkeypatch.setattr(duckdb_file.shutil, "disk_usage", lambda _: free)

    with pytest.raises(PublishRefused, match=r"has 1 MB free and the copy may take \d+ MB: make room"):
        scenario.publish(2)

    assert scenario.generation() == 1


def test_two_publishers_at_once_get_one_clear_line(scenario: Scenario) -> None:
    with (
        run_lock.hold(scenario.published / ".publish.lock", "run-other", "publishing"),
        pytest.raises(RunLocked, match="run-other"),
    ):
        scenario.publish(2)
    assert scenario.generation() == 1


def test_a_table_that_breaks_its_key_is_refused_by_name(scenario: Scenario) -> None:
    scenario.warehouse.execute("insert into marts.mart_pipeline select * from marts.mart_pipeline limit 1")

    with pytest.raises(
        PublishRefused, match=r"marts\.mart_pipeline breaks its primary key \(day_number\).*keeps serving"
    ):
        scenario.publish(2)

    assert scenario.generation() == 1


def test_a_public_table_that_was_never_built_is_refused(scenario: Scenario) -> None:
    scenario.warehouse.execute("drop table marts.mart_stages")

    with pytest.raises(PublishRefused, match=r"marts\.mart_stages is not in the warehouse.*make run"):
        scenario.publish(2)

    assert scenario.generation() == 1
