"""Fuzzing of all that comes from outside, each target in a process of its own: a library may fall, too."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence

from dagster_project.settings import REPOSITORY
from tests.soak.crm_answers import CRMS
from tests.soak.fuzz_targets import CONFIGURATION, TARGETS
from tests.soak.outcome import Outcome

FILES = "files connector, whole files"
WANTED_INPUTS = 1_000_000
# Where atheris is installed by itself: it has wheels for some systems only.
FUZZER = REPOSITORY / ".venv-fuzz"
# Shares of the time. Coverage guides where inputs are cheap and structure decides.
_SHARES = {
    "answers of CRMs, as listings": 8,
    "answers of CRMs, as a whole": 6,
    "JSON Lines files": 3,
    "CSV files": 4,
    "archives": 2,
    "Excel workbooks": 2,
    "Parquet files": 2,
    CONFIGURATION: 4,
    **dict.fromkeys(CRMS, 3),
    FILES: 6,
}
_GUIDED = ("answers of CRMs, as listings", "JSON Lines files", "CSV files", CONFIGURATION)
_GUIDED_SHARE = 3


def fuzz(seconds: float, seed: int = 1, niceness: int = 10) -> Outcome:
    """Fuzz every target for its share of the seconds, some of them a second time guided by coverage."""
    outcome = Outcome("Fuzzing")
    has_atheris = (FUZZER / "atheris").is_dir()
    whole = sum(_SHARES.values()) + (_GUIDED_SHARE * len(_GUIDED) if has_atheris else 0)
    inputs = rows = 0
    for name, share in _SHARES.items():
        answered = _call(
            [name, f"{seconds * share / whole:.0f}", str(seed)], seconds * share / whole, niceness
        )
        if answered.returncode != 0:
            outcome.failures.append(
                f"{name}: the process fell ({answered.returncode}): {answered.stderr[-400:]}"
            )
            continue
        told = json.loads(answered.stdout)
        inputs, rows = inputs + told["inputs"], rows + told["rows"]
        of_rows = f" with {told['rows']:,} rows" if told["rows"] else ""
        outcome.say(f"{name}: {told['inputs']:,} inputs{of_rows}, {len(told['defects'])} defects")
        outcome.failures += [f"{name}: {kind}: {words}" for kind, words in told["defects"].items()]
    if has_atheris:
        for name in _GUIDED:
            given = seconds * _GUIDED_SHARE / whole
            inputs += _guided(outcome, name, given, seed, niceness)
    else:
        outcome.say(f"atheris is not installed in {FUZZER.name}: nothing was guided by coverage")
    outcome.say(
        f"{inputs:,} inputs in all, and {rows:,} rows of tables; {len(TARGETS) + len(CRMS) + 1} targets"
    )
    if seconds >= 300:
        outcome.require(inputs >= WANTED_INPUTS, f"{inputs:,} inputs are less than {WANTED_INPUTS:,}")
    return outcome


def _guided(outcome: Outcome, name: str, seconds: float, seed: int, niceness: int) -> int:
    answered = _call([name, f"{seconds:.0f}", str(seed), "--coverage"], seconds, niceness)
    told = answered.stdout + answered.stderr
    units = re.search(r"number_of_executed_units: (\d+)", told)
    covered = re.findall(r"cov: (\d+)", told)
    if answered.returncode != 0 or units is None:
        outcome.failures.append(f"{name}, guided by coverage: {told[-1500:]}")
        return 0
    outcome.say(
        f"{name}, guided by coverage (atheris): {int(units[1]):,} inputs, {covered[-1]} edges, 0 defects"
    )
    return int(units[1])


def _call(arguments: Sequence[str], seconds: float, niceness: int) -> subprocess.CompletedProcess[str]:
    command = ["nice", "-n", str(niceness), sys.executable, "-m", "tests.soak.fuzz_run", *arguments]
    paths = os.pathsep.join([str(REPOSITORY), str(FUZZER), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=seconds * 4 + 300,
        errors="replace",
    )
