"""Fuzz one target for some seconds in this process, and print what came of it as JSON.

`python -m tests.soak.fuzz_run <target> <seconds> <seed>`: inputs are good ones with something disturbed,
drawn from the seed. With `--coverage` atheris looks for inputs that reach new code instead (`make soak`
installs it). A defect is told with the input that shows it, in the form in which a test can hold it.
"""

import argparse
import json
import logging
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import yaml

MOST_DEFECTS = 10


@dataclass
class Fuzzed:
    """How many inputs a target got, how many rows were in them, and the defects: kind → words and input."""

    target: str
    inputs: int = 0
    rows: int = 0
    defects: dict[str, str] = field(default_factory=dict)

    def note(self, error: BaseException, content: object) -> None:
        """Remember a defect once for each place in the code."""
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
        if kind not in self.defects and len(self.defects) < MOST_DEFECTS:
            self.defects[kind] = f"{error!s:.200} | input {content!r:.600}"


def fuzz_bytes(name: str, seconds: float, seed: int, inputs: int | None = None) -> Fuzzed:
    """Disturb the seeds of a target until time or `inputs` are used up."""
    from tests.soak.fuzz_targets import CONFIGURATION, SMALL_CONFIGURATION, TARGETS
    from tests.soak.odd_values import disturbed, disturbed_bytes, yaml_bytes

    target, chance, found = TARGETS[name], random.Random(seed), Fuzzed(name)
    parsed = yaml.safe_load(SMALL_CONFIGURATION) if name == CONFIGURATION else None
    until = time.monotonic() + seconds
    pool = list(target.seeds)
    while found.inputs != inputs and time.monotonic() < until:
        if parsed is not None and chance.random() < 0.7:
            content = yaml_bytes(disturbed(parsed, chance))
        else:
            content = disturbed_bytes(chance.choice(pool), chance, target.tokens)
        if len(content) < 4_000 and chance.random() < 0.02:
            # what was disturbed once is disturbed further
            pool[len(target.seeds) :] = [*pool[len(target.seeds) :][-200:], content]
        found.inputs += 1
        _try(found, target.one, content)
    return found


def fuzz_crm(name: str, seconds: float, seed: int, inputs: int | None = None) -> Fuzzed:
    """Read a simulated CRM over and over whose answers are disturbed."""
    from tests.soak.crm_answers import CRMS, Disturbance

    found, until = Fuzzed(name), time.monotonic() + seconds
    disturbance = Disturbance(random.Random(seed))
    with tempfile.TemporaryDirectory() as folder:
        crm = CRMS[name](Path(folder))
        while (inputs is None or disturbance.inputs < inputs) and time.monotonic() < until:
            before = disturbance.chance.getstate()
            _try(found, lambda _: crm.read(disturbance), f"seed {seed}, reading {hash(before)}")
    found.inputs = disturbance.inputs
    return found


def fuzz_tables(name: str, seconds: float, seed: int, inputs: int | None = None) -> Fuzzed:
    """Read files of odd rows through the whole files connector; every row has one fate."""
    from tests.soak.odd_tables import OddTables

    found, until, number = Fuzzed(name), time.monotonic() + seconds, 0
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        tables = OddTables(Path(folder))
        while found.inputs != inputs and time.monotonic() < until:
            number += 1
            found.inputs += 1
            try:
                found.rows += tables.read(random.Random(seed * 100_000 + number))
            except Exception as error:
                found.note(error, f"seed {seed * 100_000 + number}")
    return found


def _try(found: Fuzzed, one: Callable[[bytes], None], content: object) -> None:
    try:
        one(content)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic of a library in Rust is no Exception
        found.note(error, content)


def fuzz_coverage(name: str, seconds: float, seed: int) -> None:
    """Let atheris look for inputs that reach new code; it ends the process at the first defect."""
    import atheris

    with atheris.instrument_imports(include=["dagster_project"]):
        from tests.soak.fuzz_targets import TARGETS
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, content in enumerate(target.seeds):
            (Path(corpus) / str(number)).write_bytes(content)
        limits = [f"-max_total_time={max(1, int(seconds))}", f"-seed={seed}", "-max_len=2000", "-timeout=20"]
        atheris.Setup([sys.argv[0], corpus, *limits, "-print_final_stats=1", "-verbosity=1"], target.one)
        atheris.Fuzz()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("seconds", type=float)
    parser.add_argument("seed", type=int)
    parser.add_argument("--coverage", action="store_true")
    asked = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    if asked.coverage:
        fuzz_coverage(asked.target, asked.seconds, asked.seed)
        return 0
    from tests.soak.crm_answers import CRMS
    from tests.soak.fuzz_targets import TARGETS

    work = fuzz_bytes if asked.target in TARGETS else fuzz_crm if asked.target in CRMS else fuzz_tables
    sys.stdout.write(json.dumps(asdict(work(asked.target, asked.seconds, asked.seed))) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
