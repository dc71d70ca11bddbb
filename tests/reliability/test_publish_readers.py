"""Three kinds of readers, in processes of their own, while the file is published over and over."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from publish_scenario import Scenario

from tests.long_tests import LONG

REPOSITORY = Path(__file__).parents[2]
PROGRAM = str(Path(__file__).with_name("publish_scenario.py"))
KINDS = ("open per query", "held connection", "explicit transaction")
ROWS = 2_000


def announce(scenario: Scenario, generation: int) -> None:
    """Tell the readers, in one step, which generation has been published for certain."""
    temporary = scenario.root / "newest.tmp"
    temporary.write_text(str(generation))
    os.replace(temporary, scenario.root / "newest")


@pytest.mark.parametrize("publishes", [12, pytest.param(50, marks=LONG)])
def test_readers_see_no_error_no_mixture_and_always_the_newest_version(
    tmp_path: Path, publishes: int
) -> None:
    scenario = Scenario(tmp_path, rows=ROWS)
    scenario.build(1)
    scenario.publish(1)
    announce(scenario, 1)
    readers = {
        kind: subprocess.Popen(
            [sys.executable, PROGRAM, "read", str(tmp_path), kind, str(ROWS)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for kind in KINDS
    }
    try:
        deadline = time.monotonic() + 30
        while not all((tmp_path / f"reading {kind}").exists() for kind in KINDS):
            assert time.monotonic() < deadline, "the readers never started"
            assert all(reader.poll() is None for reader in readers.values())
            time.sleep(0.02)
        for generation in range(2, publishes + 2):
            scenario.build(generation)
            scenario.publish(generation)
            announce(scenario, generation)
        (tmp_path / "stop").touch()
        answers = {}
        for kind, reader in readers.items():
            output, errors = reader.communicate(timeout=30)
            assert reader.returncode == 0, errors
            answers[kind] = json.loads(output)
    finally:
        for reader in readers.values():
            reader.kill()
            reader.wait()

    for kind, answer in answers.items():
        assert answer["problems"] == [], kind
        assert answer["queries"] >= publishes, f"{kind}: too few reads to show anything"
        assert answer["generations"] >= 3, f"{kind}: no publish happened while it read"
