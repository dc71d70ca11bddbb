"""One writer at a time: the second taker gets one clear line, and a dead holder holds nothing."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dagster_project.run_lock import RunLocked, acquire, hold, holder

REPOSITORY = Path(__file__).parents[2]

TAKE_AND_SLEEP = """
import sys, time
from pathlib import Path
from dagster_project.run_lock import acquire
acquire(Path(sys.argv[1]), sys.argv[2], "nightly run")
print("held", flush=True)
time.sleep(float(sys.argv[3]))
"""


@pytest.fixture
def lock_file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "run.lock"


def take_in_another_process(path: Path, run_id: str, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE_AND_SLEEP, str(path), run_id, str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_holder_is_written_down_and_forgotten_after_release(lock_file: Path) -> None:
    assert holder(lock_file) is None

    with hold(lock_file, "run-1", "nightly run"):
        written = json.loads(lock_file.read_text())
        found = holder(lock_file)
        assert found is not None
        assert (found.pid, found.run_id, found.what) == (os.getpid(), "run-1", "nightly run")
        assert abs(datetime.now(UTC) - found.started_at) < timedelta(minutes=1)
        assert written["pid"] == os.getpid()
        assert written["run_id"] == "run-1"

    assert holder(lock_file) is None


def test_a_second_process_is_refused_with_one_line_that_names_the_holder(lock_file: Path) -> None:
    process = take_in_another_process(lock_file, "run-1", 30)
    try:
        found = holder(lock_file)
        with pytest.raises(RunLocked) as refused:
            acquire(lock_file, "run-2", "intraday run")
    finally:
        process.kill()
        process.wait()

    message = str(refused.value)
    assert "\n" not in message
    assert f"nightly run (run run-1, process {process.pid}, started 20" in message
    assert "make status" in message
    assert refused.value.holder == found
    assert found is not None and found.pid == process.pid


def test_the_same_run_id_in_another_process_is_refused_too(lock_file: Path) -> None:
    process = take_in_another_process(lock_file, "run-1", 30)
    try:
        with pytest.raises(RunLocked):
            acquire(lock_file, "run-1", "nightly run")
    finally:
        process.kill()
        process.wait()


def test_a_killed_holder_frees_the_lock_at_once(lock_file: Path) -> None:
    process = take_in_another_process(lock_file, "run-1", 30)
    process.kill()
    process.wait()

    assert "run-1" in lock_file.read_text(), "the dead holder's text is still there, and must not matter"
    assert holder(lock_file) is None
    with hold(lock_file, "run-2", "nightly run") as now:
        assert now.run_id == "run-2"


def test_a_patient_taker_waits_for_the_holder_to_end(lock_file: Path) -> None:
    process = take_in_another_process(lock_file, "run-1", 0.8)
    started = time.monotonic()
    with hold(lock_file, "run-2", "nightly run", wait_seconds=20):
        waited = time.monotonic() - started
    process.wait()
    assert 0.1 < waited < 15


def test_a_taker_gives_up_after_its_timeout_and_says_how_long_it_waited(lock_file: Path) -> None:
    process = take_in_another_process(lock_file, "run-1", 30)
    try:
        started = time.monotonic()
        with pytest.raises(RunLocked, match=r"after waiting 0\.6 s"):
            acquire(lock_file, "run-2", "nightly run", wait_seconds=0.6)
        assert 0.6 <= time.monotonic() - started < 5
    finally:
        process.kill()
        process.wait()


def test_one_run_may_take_it_again_and_keeps_it_until_the_last_release(lock_file: Path) -> None:
    outer = acquire(lock_file, "run-1", "nightly run")
    inner = acquire(lock_file, "run-1", "publish")

    inner.release()
    inner.release()
    assert holder(lock_file) == outer.holder
    with pytest.raises(RunLocked):
        acquire(lock_file, "run-2", "nightly run")

    outer.release()
    with hold(lock_file, "run-2", "nightly run"):
        pass


def test_another_spelling_of_the_path_is_the_same_lock(
    lock_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock_file.parent.mkdir()
    monkeypatch.chdir(lock_file.parent)
    with hold(lock_file, "run-1", "nightly run"):
        found = holder(Path("run.lock"))
        assert found is not None and found.run_id == "run-1"


def test_asking_who_holds_it_never_gets_in_the_way_of_a_taker(lock_file: Path) -> None:
    ask = (
        "import sys, time; from pathlib import Path; from dagster_project.run_lock import holder\n"
        "print('asking', flush=True); end = time.monotonic() + 1.0\n"
        "while time.monotonic() < end: holder(Path(sys.argv[1]))"
    )
    with hold(lock_file, "run-0", "nightly run"):
        pass
    process = subprocess.Popen(
        [sys.executable, "-c", ask, str(lock_file)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert process.stdout is not None
    process.stdout.readline()
    for number in range(30):
        with hold(lock_file, f"run-{number}", "nightly run"):
            pass
    assert process.wait() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_neither_holds_the_lock_nor_keeps_it_alive(lock_file: Path) -> None:
    lock = acquire(lock_file, "run-1", "nightly run")
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            acquire(lock_file, "run-1", "nightly run")
            os.write(tell, b"taken")
        except RunLocked:
            os.write(tell, b"refused")
        time.sleep(30)
        os._exit(0)
    try:
        assert os.read(told, 10) == b"refused"
        lock.release()
        with hold(lock_file, "run-2", "nightly run"):
            pass
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_a_holder_that_left_no_readable_name_is_still_a_holder(lock_file: Path) -> None:
    process = take_in_another_process(lock_file, "run-1", 30)
    try:
        lock_file.write_text("{broken")
        with pytest.raises(RunLocked, match="another process"):
            acquire(lock_file, "run-2", "nightly run")
    finally:
        process.kill()
        process.wait()
