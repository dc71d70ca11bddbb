"""A small business whose nights are run as a user runs them: by the command, in a process of its own.

The folder of a business is filled from a copy before each disturbance, so that every one starts alike.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from dagster_project.publish.versions import current_file
from dagster_project.settings import REPOSITORY
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.crm_export import write_crm_export
from dagster_project.simulate.world import World, simulate
from tests.pipeline.nightly_bench import AS_OF, Business, settle, simulated_business
from tests.soak.published import Fingerprint, fingerprint

DEALS = 100
# What a run that is over leaves nowhere: unfinished versions, logs of a writer, half-landed batches.
_LEFTOVERS = (
    "published/*.building*",
    "published/*.wal",
    "published/*.new",
    "landing/.inflight/*",
    "warehouse.duckdb.wal",
    "**/*.tmp",
)


@dataclass
class Ended:
    """How one run ended: exit code (negative: the signal), seconds, and what it printed."""

    code: int
    seconds: float
    said: str
    complained: str

    @property
    def last_step(self) -> str:
        """The step that was the last to be told as done; `start` before the first."""
        steps = [
            line.split()[0] for line in self.said.splitlines() if line.startswith("  ") and line[2:3] != " "
        ]
        return steps[-1] if steps else "start"


@dataclass
class Nights:
    """One business in a folder, the copies it is put back to."""

    folder: Path
    business: Business
    world: World
    niceness: int = 10

    @classmethod
    def create(
        cls, folder: Path, deals: int = DEALS, first_day: date = AS_OF - timedelta(days=5)
    ) -> "Nights":
        """The business before its first night, with the export of `first_day`."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        business = simulated_business(folder, deals=deals)
        text = business.config.read_text(encoding="utf-8")
        # files that arrive every night tell their day themselves
        told = [line for line in text.splitlines() if not line.strip().startswith("data_as_of:")]
        business.config.write_text("\n".join(told) + "\n", encoding="utf-8")
        nights = cls(folder, business, simulate(SimulationConfig(n_deals=deals)))
        nights.deliver(first_day)
        return nights

    def deliver(self, day: date) -> None:
        """Put the export of a day in the place of the one before."""
        write_crm_export(self.world, self.business.export, day)
        settle(self.business.export)

    def start(self, arguments: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[str]:
        """The nightly command, in a process group of its own."""
        command = [sys.executable, "-m", "dagster_project", "run", *arguments]
        return subprocess.Popen(
            ["nice", "-n", str(self.niceness), *command],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "STAGELEDGER_CONFIG": str(self.business.config),
                "STAGELEDGER_DATA": str(self.business.data),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self, *, kill_after: float | None = None, arguments: tuple[str, ...] = (), **environment: str
    ) -> Ended:
        """One night, killed with everything it started after so many seconds unless it has ended."""
        began = time.monotonic()
        process = self.start(arguments, **environment)
        try:
            said, complained = process.communicate(timeout=kill_after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, complained = process.communicate()
        return Ended(process.returncode, time.monotonic() - began, said, complained)

    def keep(self, name: str) -> None:
        """Keep a copy of the data folder as it is now."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(self.business.data, self.folder / name, symlinks=True)

    def put_back(self, name: str | None) -> None:
        """Make the data folder what was kept under a name; None: as before the first night."""
        shutil.rmtree(self.business.data, ignore_errors=True)
        if name is not None:
            shutil.copytree(self.folder / name, self.business.data, symlinks=True)

    def published(self) -> Fingerprint | None:
        """What readers see now, read in full; None where nothing was ever published."""
        path = current_file(self.business.data / "published")
        return None if path is None else fingerprint(path)

    def leftovers(self) -> list[str]:
        """Files that a person would have to clean away."""
        data = self.business.data
        return sorted(str(path.relative_to(data)) for glob in _LEFTOVERS for path in data.glob(glob))
