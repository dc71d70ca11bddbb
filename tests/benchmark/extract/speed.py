"""How many deals with their histories land per CPU second of the client, beside what others would use.

    python -m tests.benchmark.extract.speed [--deals 30000] [--rounds 3] [--dlt .venv-dlt]

One local server (prepared_hubspot.py, a process of its own) answers everyone. Contestants run in turn, each
in a process of its own, so many rounds after one that is not counted:
  ours             connector and engine as in a night, paced under a high limit: landing, checkpoints, checks
  plain loops      requests, json and pandas as an analyst writes it, rows built by hand
  plain normalize  the same with pandas.json_normalize
  dlt              dlt's REST source into DuckDB, on a tenth of the deals because of the time it takes
CPU is user + system of a process and its children, from its start to its end; memory its largest resident
size. What each of them landed must be the same: deals, values in histories, and the sum of amounts.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import duckdb

from dagster_project.extract.crm.hubspot_objects import HISTORY, OBJECTS
from dagster_project.settings import REPOSITORY
from tests.benchmark.extract.prepared_hubspot import COUNTS
from tests.simulators.hubspot_server import TOKEN

OURS, LOOPS, NORMALIZE, DLT = "ours", "plain loops", "plain normalize", "dlt"
PLAIN_BAR, DLT_BAR, MEMORY_BAR = 2.0, 5.0, 1.5
TENTH = 10
_MONEY = "decimal(20, 2)"


class Content(NamedTuple):
    """What a contestant landed: deals, values in their histories, and the sum of the deals' amounts."""

    deals: int
    values: int
    amount: Decimal


class ContentDiffers(Exception):
    """A contestant landed something else than ours did, so its time tells nothing."""


@dataclass(frozen=True)
class Measured:
    """One process: CPU seconds, largest memory in megabytes, and the requests that the server counted."""

    cpu: float
    megabytes: float
    requests: int


@dataclass(frozen=True)
class Contestant:
    """`command` is given the question and a folder; `content` reads what it left there."""

    command: tuple[str, ...]
    content: Callable[[Path], Content]


@dataclass(frozen=True)
class Result:
    """All counted rounds of one contestant on so many deals."""

    name: str
    deals: int
    runs: Sequence[Measured]

    @property
    def cpu(self) -> float:
        """Median CPU seconds."""
        return statistics.median(run.cpu for run in self.runs)

    @property
    def speed(self) -> float:
        """Deals per CPU second."""
        return self.deals / self.cpu

    @property
    def megabytes(self) -> float:
        """The largest memory of any round."""
        return max(run.megabytes for run in self.runs)


def contestants(dlt: Path) -> dict[str, Contestant]:
    """Who runs. `dlt`: the environment that it is installed in."""
    here = f"{__package__}."
    plain = (sys.executable, "-m", here + "plainly")
    script = str(Path(__file__).with_name("with_dlt.py"))
    return {
        OURS: Contestant((sys.executable, "-m", here + "ours"), landed),
        LOOPS: Contestant((*plain, "loops"), plainly_written),
        NORMALIZE: Contestant((*plain, "normalize"), plainly_written),
        DLT: Contestant((str(dlt / "bin" / "python"), script), loaded),
    }


def landed(folder: Path) -> Content:
    """The content of a landing, read from the payloads."""
    values = " + ".join(f"json_array_length(payload, '$.propertiesWithHistory.{name}')" for name in HISTORY)
    return _content(
        f"select count(*), sum((payload ->> '$.properties.amount')::{_MONEY}) "
        f"from '{folder}/landing/hubspot/*/deals/*/*.parquet'",
        f"select sum({values}) from '{folder}/landing/hubspot/*/deal_history/*/*.parquet'",
    )


def plainly_written(folder: Path) -> Content:
    """The content of the two files of an analyst."""
    return _content(
        f"select count(*), sum(amount::{_MONEY}) from '{folder}/deals.parquet'",
        f"select count(*) from '{folder}/history.parquet'",
    )


def loaded(folder: Path) -> Content:
    """The content of the database that dlt filled: a table for each property that has a history."""
    database = str(folder / "loaded.duckdb")
    with duckdb.connect(database) as connection:
        found = connection.execute(
            "select table_name from duckdb_tables() "
            "where starts_with(table_name, 'deals__properties_with_history__')"
        ).fetchall()
    tables = " union all ".join(f"select count(*) as n from crm.{name}" for (name,) in found)
    return _content(
        f"select count(*), sum(properties__amount::{_MONEY}) from crm.deals",
        f"select sum(n) from ({tables})",
        database,
    )


def _content(deals: str, values: str, database: str = ":memory:") -> Content:
    with duckdb.connect(database) as connection:
        connection.execute("set enable_progress_bar = false")
        ((number, amount),) = connection.execute(deals).fetchall()
        ((known,),) = connection.execute(values).fetchall()
    return Content(number, int(known), amount)


@contextmanager
def serving(deals: int, folder: Path) -> Iterator[Path]:
    """A server for so many deals; the file with the question that contestants are given."""
    command = [sys.executable, "-m", f"{__package__}.prepared_hubspot", str(deals)]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    question = {
        "address": address,
        "path": f"/crm/objects/2026-09/{OBJECTS['deals'].number}",
        "token": TOKEN,
        "properties": OBJECTS["deals"].properties,
        "history": HISTORY,
    }
    path = folder / f"question-{deals}.json"
    path.write_text(json.dumps(question), encoding="utf-8")
    try:
        yield path
    finally:
        process.stdin.close()
        process.wait()


def measure(contestant: Contestant, question: Path, folder: Path) -> tuple[Measured, Content]:
    """Run a contestant to its end. Raises SystemExit when it fails."""
    address = json.loads(question.read_text(encoding="utf-8"))["address"]
    asked_since(address)
    # A shell that forbids compiled modules would have every process compile them anew: that is not warm.
    inherited = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    log = folder / "log.txt"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*contestant.command, str(question), str(folder)],
            cwd=REPOSITORY,
            env=inherited,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(contestant.command)} failed:\n{log.read_text()[-2000:]}")
    # Linux counts kilobytes, macOS bytes.
    megabytes = used.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    run = Measured(used.ru_utime + used.ru_stime, megabytes, asked_since(address))
    # Read elsewhere: a process is charged with the memory of the one that starts it, so this one stays small.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return run, pool.apply(contestant.content, (folder,))


def asked_since(address: str) -> int:
    """The requests that the server had since it was asked last."""
    with urlopen(address + COUNTS, timeout=60) as answer:
        return int(json.load(answer)["asked"])


def require_equal(contents: Mapping[str, Content]) -> None:
    """Errors: ContentDiffers, which names who landed what."""
    if len(set(contents.values())) > 1:
        told = "; ".join(f"{name}: {content}" for name, content in contents.items())
        raise ContentDiffers(f"the contestants landed different things, so nothing was measured: {told}")


def race(field: Mapping[str, Contestant], question: Path, deals: int, rounds: int) -> list[Result]:
    """Run all contestants in turn, once to warm up and then so many rounds. Errors: ContentDiffers."""
    runs: dict[str, list[Measured]] = {name: [] for name in field}
    for _ in range(rounds + 1):
        contents: dict[str, Content] = {}
        for name, contestant in field.items():
            with tempfile.TemporaryDirectory(dir=question.parent) as folder:
                run, contents[name] = measure(contestant, question, Path(folder))
            runs[name].append(run)
        require_equal(contents)
    return [Result(name, deals, counted[1:]) for name, counted in runs.items()]


def table(results: Sequence[Result]) -> list[str]:
    """One line for each contestant and number of deals."""
    lines = [f"{'':16}{'deals':>9}{'requests':>10}{'CPU s':>8}{'deals per CPU s':>17}{'MB':>7}"]
    for result in results:
        requests = result.runs[0].requests
        lines.append(
            f"{result.name:16}{result.deals:>9,}{requests:>10,}{result.cpu:>8.2f}{result.speed:>17,.0f}"
            f"{result.megabytes:>7,.0f}"
        )
    return lines


def verdicts(large: Sequence[Result], small: Sequence[Result]) -> list[str]:
    """What the bars say. `large` and `small`: results on all deals, and on a tenth."""
    many, few = ({result.name: result for result in results} for results in (large, small))
    lines = [
        _at_least(f"ours beside {name}", many[OURS].speed / many[name].speed, PLAIN_BAR)
        for name in many
        if name != OURS
    ]
    lines.append(_at_least(f"ours beside {DLT}", few[OURS].speed / few[DLT].speed, DLT_BAR))
    growth = many[OURS].megabytes / few[OURS].megabytes
    deals = many[OURS].deals / few[OURS].deals
    bar = f"≤ {MEMORY_BAR}: {_word(growth <= MEMORY_BAR)}"
    return [*lines, f"memory of ours when deals grow {deals:.0f} times: {growth:.2f} times ({bar})"]


def _at_least(what: str, ratio: float, bar: float) -> str:
    return f"{what}: {ratio:.2f} times as many deals per CPU s (≥ {bar:g}: {_word(ratio >= bar)})"


def _word(is_met: bool) -> str:
    return "met" if is_met else "missed"


def main() -> int:
    """Measure, print the table and the verdicts, and write all rounds as JSON beside the logs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--deals", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dlt", type=Path, default=REPOSITORY / ".venv-dlt")
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "stageledger-benchmark")
    options = parser.parse_args()
    options.data.mkdir(parents=True, exist_ok=True)
    field = contestants(options.dlt.absolute())
    large_field = {name: field[name] for name in (OURS, LOOPS, NORMALIZE)}
    small_field = {name: field[name] for name in (OURS, DLT)}
    few = options.deals // TENTH
    with serving(few, options.data) as question:
        small = race(small_field, question, few, options.rounds)
    with serving(options.deals, options.data) as question:
        large = race(large_field, question, options.deals, options.rounds)
    lines = [*table([*large, *small]), *verdicts(large, small)]
    sys.stdout.write("\n".join(lines) + "\n")
    figures = [asdict(result) for result in (*large, *small)]
    (options.data / "extract_speed.json").write_text(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
