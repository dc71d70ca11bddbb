"""The run lock as a Dagster resource: taken by the first step that writes, given back when the run ends."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from dagster_project import run_lock
from dagster_project.settings import Settings


@dataclass
class RunHold:
    """The run lock, taken by the first step that writes and given back when the run ends, however it ends."""

    path: Path
    run_id: str
    locks: list[run_lock.RunLock] = field(default_factory=list)

    def take(self, what: str) -> None:
        """Take the lock for this run unless it holds it.

        Raises `run_lock.RunLocked`, which names the holder.
        """
        if not self.locks:
            self.locks.append(run_lock.acquire(self.path, self.run_id, what))

    def release(self) -> None:
        """Give the lock back."""
        while self.locks:
            self.locks.pop().release()


def build_run_hold(settings: Settings) -> dg.ResourceDefinition:
    """The resource `run_hold`: with the in-process executor it lives exactly as long as the run."""

    @dg.resource(description="Holds the run lock from the first step that writes to the end of the run.")
    def run_hold(context: dg.InitResourceContext) -> Iterator[RunHold]:
        hold = RunHold(settings.paths.run_lock, context.run_id or "no run")
        try:
            yield hold
        finally:
            hold.release()

    return run_hold
