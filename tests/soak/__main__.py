"""`make soak`: disturb the product in every way that a night can bring, for as long as asked, and report.

The report is kept in the repository; it is written by this command alone.
"""

import argparse
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.soak.fuzzing import fuzz
from tests.soak.nightly_kills import kill_nights
from tests.soak.odd_nights import many_nights, spoil_nights
from tests.soak.outcome import Outcome, timed
from tests.soak.readers import read_while_publishing

KILLS = 100
READERS = 8


def say(line: str) -> None:
    """Tell how far it has come."""
    sys.stdout.write(f"{datetime.now(UTC):%H:%M:%S} {line}\n")
    sys.stdout.flush()


def parts(folder: Path, minutes: float, seed: int, niceness: int) -> Mapping[str, Callable[[], Outcome]]:
    """The parts by name, each with its share of the time."""
    seconds = minutes * 60
    return {
        "kills": lambda: kill_nights(folder / "kills", KILLS, seconds * 0.85, seed, 1, niceness, say),
        "readers": lambda: read_while_publishing(folder / "readers", seconds / 6, READERS, niceness),
        "fuzz": lambda: fuzz(seconds / 6, seed, niceness),
        "odd": lambda: spoil_nights(folder / "odd", seconds / 6, seed, niceness, say),
        "nights": lambda: many_nights(folder / "nights", seconds / 3, niceness, say),
    }


def soak(chosen: Mapping[str, Callable[[], Outcome]], lanes: int) -> list[Outcome]:
    """The outcomes of the parts; so many of them run side by side, in their order."""
    waiting, done, guard = list(chosen.items()), dict.fromkeys(chosen, Outcome("")), threading.Lock()

    def work() -> None:
        while True:
            with guard:
                if not waiting:
                    return
                name, part = waiting.pop(0)
            say(f"{name} begins")
            try:
                done[name] = timed(part)
            except Exception as error:
                done[name] = Outcome(name, failures=[f"ended early: {type(error).__name__}: {error}"])
            say(f"{name} is done, {len(done[name].failures)} failures")

    threads = [threading.Thread(target=work) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(done.values())


def report(outcomes: list[Outcome], minutes: float, seed: int, seconds: float, only: list[str]) -> str:
    """The text of the report."""
    failures = sum(len(outcome.failures) for outcome in outcomes)
    head = [
        f"make soak MINUTES={minutes:g} SEED={seed}: {'passed' if not failures else f'{failures} FAILURES'}",
        f"{datetime.now(UTC):%Y-%m-%d}, {seconds / 60:.0f} minutes; {os.cpu_count()} cores, "
        f"{platform.system()}, Python {platform.python_version()}, DuckDB {version('duckdb')}, "
        f"load {os.getloadavg()[0]:.0f}, dbt {version('dbt-core')}, "
        f"Dagster {version('dagster')}",
    ]
    if only:
        head.append(f"parts: {', '.join(only)}; the others were not run")
    return "\n\n".join(["\n".join(head), *(outcome.text() for outcome in outcomes)]) + "\n"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.strftime("%Y%m%d")))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="*", help="names of parts")
    parser.add_argument("--lanes", type=int, default=2, help="parts side by side")
    parser.add_argument("--nice", type=int, default=10)
    parser.add_argument("--folder", type=Path, help="where the businesses are made; kept afterwards")
    asked = parser.parse_args(arguments)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="stageledger-soak-"))
    try:
        chosen = parts(folder, asked.minutes, asked.seed, asked.nice)
        if asked.only:
            chosen = {name: chosen[name] for name in asked.only}
        began = time.monotonic()
        outcomes = soak(chosen, asked.lanes)
        text = report(outcomes, asked.minutes, asked.seed, time.monotonic() - began, asked.only or [])
    finally:
        if asked.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(text)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    return 1 if any(outcome.failures for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
