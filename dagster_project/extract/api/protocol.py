"""What a connector tells the engine about its CRM: one file per CRM implements `Connector`.

The engine owns windows, checkpoints, batches, pacing, retries, budgets and sweeps. A connector owns questions
and answers: which addresses, which paging, which payloads. It keeps no state between calls: a cursor that it
hands out comes back to it, perhaps in another process on another night.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, ClassVar

from dagster_project.api_settings import ApiSource
from dagster_project.extract.api.http import Client
from dagster_project.extract.api.odd_answers import told_with_its_place

# Our own words in the payload of a tombstone; no vendor uses this key.
OWN_KEY = "stageledger"

Cursor = dict[str, Any]

# What a connector trips over in these becomes an error with its place: odd_answers.
_LOOKS_INTO_ANSWERS = (
    "probe",
    "read",
    "read_with_companion",
    "read_ids",
    "ids",
    "watermark",
    "needs_sweep",
    "properties",
    "schema",
)


class Reading(Enum):
    """How an entity is kept up to date."""

    WHOLE = "everything, each time"
    CHANGED = "what changed in the window"
    BY_DEAL = "asked for deal by deal, of the deals that changed"


@dataclass(frozen=True)
class EntitySpec:
    """One entity of a CRM. `name` is its folder in the landing and its asset.

    `is_core`: without it a run fails; another one may be refused by the CRM (no right, no such feature) and
    is left out with a warning. `is_swept`: `ids` can list what exists, so that vanished records are found.
    `is_log`: its records never change once written, so they are not read again for their own sake.
    BY_DEAL: `history_fields` are keys of the deal's payload; only a deal of which one changed since its last
    landed version is asked for (none named: every deal with a new version). `ids_per_request`: how many ids
    `read_ids` takes at once. `description` is what the UI shows.
    """

    name: str
    reading: Reading
    description: str
    is_core: bool = True
    is_swept: bool = False
    is_log: bool = False
    follows: str = "deals"
    history_fields: tuple[str, ...] = ()
    ids_per_request: int = 100


@dataclass(frozen=True)
class Window:
    """Changes at or after `start` (None: ever) and before `end`, UTC by the CRM's clock."""

    start: datetime | None
    end: datetime


@dataclass(frozen=True, slots=True)
class Record:
    """One record version. `payload`: the CRM's own JSON text, untouched. `modified_at`: aware, or None."""

    record_id: str
    payload: str
    modified_at: datetime | None = None
    is_deleted: bool = False


@dataclass(frozen=True)
class Page:
    """Records, and the `cursor` with which `read` goes on after them (any JSON object; None: the last page).

    A page without records only moves the cursor: the id of a job that was started, the next pass. `total`:
    how many records the window has, where the CRM tells; only progress is computed from it. `companions`:
    records of another entity that came in the same answer (`read_with_companion`).
    """

    records: Sequence[Record]
    cursor: Cursor | None
    total: int | None = None
    companions: Sequence[Record] = ()


@dataclass(frozen=True)
class IdPage:
    """Ids, and the `cursor` with which `ids` goes on after them (None: the last page)."""

    ids: Sequence[str]
    cursor: Cursor | None


@dataclass(frozen=True)
class Watermark:
    """The CRM vouches that every change before `covered_until` can be read now."""

    covered_until: datetime


@dataclass(frozen=True)
class StageTelling:
    """Where payloads tell stages, as DuckDB expressions over a landed row; reconciliation compares them.

    `history`: the entity with the moves. `current_stage`: of a deal's payload. `deal_id`: of a row of the
    history; `moves`: its list of structs (timestamp, value), text, in any order. `has_moves`: of a deal's
    row, whether its history must hold at least one move.
    """

    history: str
    current_stage: str
    moves: str
    deal_id: str = "record_id"
    has_moves: str = "false"


class Connector(ABC):
    """One account of a CRM. Made from its block in pipeline.yaml; must set `self.client`."""

    TITLE: ClassVar[str]
    ENTITIES: ClassVar[tuple[EntitySpec, ...]]
    # None where a CRM has no history of its own.
    TELLING: ClassVar[StageTelling | None] = None
    # How far back the next window reaches: changes that appear in the interface with a delay.
    LOOKBACK: ClassVar[timedelta] = timedelta(minutes=15)
    # How long before now a window ends: changes of this moment may not be readable yet.
    HOLDBACK: ClassVar[timedelta] = timedelta(minutes=1)

    client: Client
    api_version: str = ""

    def __init_subclass__(cls, **named: Any) -> None:
        super().__init_subclass__(**named)
        for name in _LOOKS_INTO_ANSWERS:
            if name in vars(cls):
                setattr(cls, name, told_with_its_place(vars(cls)[name]))

    @abstractmethod
    def __init__(self, source: ApiSource) -> None: ...

    @abstractmethod
    def probe(self) -> None:
        """One cheap request: it proves the credential and tells the CRM's clock."""

    @abstractmethod
    def read(self, entity: EntitySpec, window: Window, cursor: Cursor | None) -> Iterator[Page]:
        """Pages of a WHOLE or CHANGED entity, from the beginning or after `cursor`; the end is the end.

        Deleted and archived records belong to it (`is_deleted`). Records outside the window may be among
        them: those at or after its end are dropped, they belong to the next. A cursor that the CRM no longer
        knows: raise CursorExpired.
        """

    def companion(self, entity: EntitySpec) -> EntitySpec | None:
        """The BY_DEAL entity that a first reading of `entity` can bring along, where there is one."""
        return None

    def read_with_companion(
        self, entity: EntitySpec, window: Window, cursor: Cursor | None
    ) -> Iterator[Page]:
        """As `read` of a window without a start, with the `companions` of each page's records in it."""
        raise NotImplementedError(f"{self.TITLE} reads {entity.name} alone")

    def read_ids(self, entity: EntitySpec, ids: Sequence[str]) -> Sequence[Record]:
        """The records of these ids (a BY_DEAL entity: of these deals), at most `ids_per_request`.

        Called from several threads. An id that the CRM no longer has is left out.
        """
        raise NotImplementedError(f"{self.TITLE} cannot read {entity.name} by id")

    def ids(self, entity: EntitySpec, cursor: Cursor | None = None) -> Iterator[IdPage]:
        """All ids that exist now, from the beginning or after `cursor`; of an entity that `is_swept`.

        Such an entity can also be read by id: what is missing in the list, or new there, is looked at.
        """
        raise NotImplementedError(f"{self.TITLE} cannot list the ids of {entity.name}")

    def watermark(self, entity: EntitySpec, start: datetime | None) -> Watermark | None:
        """How far the CRM itself says it can be read; None where it does not tell."""
        return None

    def needs_sweep(self, entity: EntitySpec, window: Window) -> bool:
        """Whether deletions within the window can no longer be read (they are kept for some days only)."""
        return False

    def properties(self, entity: EntitySpec) -> Sequence[str]:
        """The fields that are asked for; a change of them is noted in the manifest."""
        return ()

    def schema(self, entity: EntitySpec) -> Mapping[str, str]:
        """Field → type as the CRM describes them now; empty where it does not. Asked once a batch."""
        return {}

    @classmethod
    def entity(cls, name: str) -> EntitySpec:
        """The entity of this name."""
        return next(spec for spec in cls.ENTITIES if spec.name == name)


def tombstone(record_id: str, reason: str, at: datetime, merged_into: str | None = None) -> Record:
    """A record that is gone, and why: `archived`, `deleted`, `merged` or `vanished`."""
    words = {"deleted_reason": reason, "deleted_at": at.astimezone(UTC).isoformat()}
    if merged_into is not None:
        words["merged_into"] = merged_into
    return Record(record_id, json.dumps({OWN_KEY: words}), at, is_deleted=True)
