"""An extraction of Pipedrive that is killed again and again ends like one that nobody disturbed."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from dagster_project.settings import REPOSITORY
from tests.simulators.pipedrive_bench import PipedriveBench

END = "2026-04-01T00:00:00+00:00"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[PipedriveBench]:
    made = PipedriveBench(tmp_path / "landing")
    made.server.clock = lambda: datetime.now(UTC)
    made.fill(40)
    for number in range(1, 41):
        begin = datetime(2026, 3, 2, 9, tzinfo=UTC) + timedelta(minutes=number)
        made.company.change(number, begin, stage_id=2)
        made.company.change(number, begin + timedelta(days=2), value=Decimal(number), status="won")
        if number % 7 == 0:
            made.company.archive(number, begin + timedelta(days=3))
        if number % 11 == 0:
            made.company.lines[number] = [{"id": number, "deal_id": number, "product_id": 1}]
    yield made
    made.server.close()
    assert not made.server.violations


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_extraction_goes_on_and_ends_like_an_undisturbed_one(
    bench: PipedriveBench, tmp_path: Path, seed: int
) -> None:
    server, chance = bench.server, random.Random(seed)

    def extract(landing: Path, kill_at: int | None = None) -> int:
        command = [sys.executable, "-m", "tests.simulators.pipedrive_bench", server.address, landing, END]
        process = subprocess.Popen([str(part) for part in command], cwd=REPOSITORY)
        begun = len(server.asked)

        def kill(number: int, path: str) -> None:
            if kill_at is not None and number == begun + kill_at:
                os.kill(process.pid, signal.SIGKILL)

        server.before = kill
        code = process.wait(60)
        server.before = lambda number, path: None
        return code

    def content(landing: Path) -> dict[str, list[tuple[str, str]]]:
        seen = PipedriveBench(landing, bench.company)
        seen.server.close()
        entities = ("users", "stages", "deals", "line_items", "changelog", "deal_fields")
        return {one: sorted((r["record_id"], str(r["payload"])) for r in seen.rows(one)) for one in entities}

    assert extract(tmp_path / "calm") == 0
    undisturbed = len(server.asked)
    server.asked.clear()
    kills = 0
    while (code := extract(tmp_path / "shaken", chance.randint(1, 20))) != 0:
        assert code == -signal.SIGKILL
        kills += 1
    assert kills >= 3
    assert content(tmp_path / "shaken") == content(tmp_path / "calm")
    assert len(content(tmp_path / "calm")["changelog"]) == 40
    # A kill costs the pages under way (two threads), the question for the time and the list of fields.
    assert len(server.asked) <= undisturbed + 5 * kills
