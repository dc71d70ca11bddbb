"""Readers in processes of their own that never stop while versions are published one after the other.

The readers and the small warehouse are those of tests/reliability: each row carries its generation, so that a
mixture is seen at once.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from dagster_project.settings import REPOSITORY
from tests.reliability.publish_scenario import Scenario
from tests.soak.outcome import Outcome

KINDS = ("open per query", "held connection", "explicit transaction")
ROWS = 2_000
_PROGRAM = REPOSITORY / "tests" / "reliability" / "publish_scenario.py"


def read_while_publishing(folder: Path, seconds: float, readers: int = 8, niceness: int = 10) -> Outcome:
    """So many readers for so many seconds, and as many publishes as fit beside them."""
    outcome = Outcome(f"{readers} readers of the published file during publishes")
    scenario = Scenario(folder, rows=ROWS)
    scenario.build(1)
    scenario.publish(1)
    announce(scenario, 1)
    kinds = [KINDS[number % len(KINDS)] for number in range(readers)]
    processes = [
        subprocess.Popen(
            [
                "nice",
                "-n",
                str(niceness),
                sys.executable,
                str(_PROGRAM),
                "read",
                str(folder),
                kind,
                str(ROWS),
            ],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for kind in kinds
    ]
    generation, until = 1, time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            generation += 1
            scenario.build(generation)
            scenario.publish(generation)
            announce(scenario, generation)
        (folder / "stop").touch()
        answers = [_answer(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for kind, answer in zip(kinds, answers, strict=True):
        outcome.failures += [f"{kind}: {problem}" for problem in answer["problems"][:3]]
        outcome.require(answer["generations"] >= 3, f"{kind}: no publish happened while it read")
    queries = sum(answer["queries"] for answer in answers)
    outcome.say(
        f"{generation - 1:,} publishes, {queries:,} reads of all tables; {len(outcome.failures)} problems"
    )
    return outcome


def announce(scenario: Scenario, generation: int) -> None:
    """Tell the readers, in one step, which generation has been published for certain."""
    temporary = scenario.root / "newest.tmp"
    temporary.write_text(str(generation))
    os.replace(temporary, scenario.root / "newest")


def _answer(process: subprocess.Popen[str]) -> dict[str, list[str] | int]:
    output, errors = process.communicate(timeout=120)
    if process.returncode != 0:
        return {
            "problems": [f"ended with {process.returncode}: {errors[-300:]}"],
            "queries": 0,
            "generations": 0,
        }
    told: dict[str, list[str] | int] = json.loads(output)
    return told
