"""What an extraction over an interface tells about each entity."""

import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from dagster_project.extract.api.http import Usage


class Status(Enum):
    """How the extraction of one entity ended."""

    LANDED = "landed"
    UP_TO_DATE = "nothing was due"
    PARTIAL = "partial, goes on with the next run"
    SKIPPED = "left out"
    FAILED = "failed"


@dataclass(frozen=True)
class Reconciled:
    """How the current stages of so many `deals` agree with their histories.

    `disagreeing`: ids of those that do not, also after `read_again` of them were read a second time;
    `problem`: why not all could be.
    """

    deals: int
    disagreeing: tuple[str, ...]
    read_again: int = 0
    problem: str = ""


@dataclass
class EntityReport:
    """One entity of one extraction. While it is PARTIAL, `done` of `total` records are read (None: unknown).

    `reason` says why it is PARTIAL, SKIPPED or FAILED; `is_passing`: trying again may help.
    `is_told_before`: an earlier run has told it, and nothing has changed. `notes` are warnings;
    `api_warnings` what the interface itself warns of (new ones are among the notes, once). `upkeep`: how far
    the list of all ids and the full refresh are. `reconciled`: of the entity with the deals' moves, once it
    is landed.
    """

    entity: str
    status: Status = Status.UP_TO_DATE
    reason: str = ""
    kind_of_error: str = ""
    is_passing: bool = False
    is_told_before: bool = False
    rows: int = 0
    batches: list[str] = field(default_factory=list)
    covered_until: datetime | None = None
    window_from: datetime | None = None
    done: int = 0
    done_now: int = 0
    total: int | None = None
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    api_warnings: list[str] = field(default_factory=list)
    upkeep: list[str] = field(default_factory=list)
    reconciled: Reconciled | None = None

    @property
    def news(self) -> list[str]:
        """What people have to know after this run: warnings, and why not everything is landed."""
        return [*self.notes, *([self.reason] if self.reason and not self.is_told_before else [])]

    @property
    def nights_left(self) -> int | None:
        """How many runs like this one the rest takes; None when it is done or cannot be told."""
        if self.status is not Status.PARTIAL or self.total is None or self.done_now == 0:
            return None
        return math.ceil(max(self.total - self.done, 0) / self.done_now)

    @property
    def progress(self) -> str:
        """Half a sentence for people."""
        total = "" if self.total is None else f" of about {self.total:,}"
        nights = self.nights_left
        rest = "" if nights is None else f"; about {nights} more night{'' if nights == 1 else 's'} like this"
        return f"{self.done:,}{total} records read{rest}"
