"""The state of a HubSpot portal that does not exist: objects, their histories, and an index that lags behind.

Nothing here knows HTTP. Instants are aware UTC; ids and property values are text, as the vendor has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

TYPES = {"0-1": "contacts", "0-2": "companies", "0-3": "deals", "0-7": "products", "0-8": "line_items"}
MODIFIED = "hs_lastmodifieddate"
MERGED = "hs_merged_object_ids"
# What the vendor keeps of deleted records for people who restore them.
ARCHIVE_DAYS = timedelta(days=90)


def text(at: datetime) -> str:
    """An instant as the vendor writes it, in milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def floor(at: datetime) -> datetime:
    """The millisecond that the vendor keeps of an instant."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


@dataclass
class Thing:
    """One object. `history`: property → items, newest first. `indexed`: (visible from, values) by time."""

    id: str
    created_at: datetime
    updated_at: datetime
    properties: dict[str, str | None] = field(default_factory=dict)
    history: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    associations: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    archived_at: datetime | None = None
    indexed: list[tuple[datetime, dict[str, str | None]]] = field(default_factory=list)


class Portal:
    """All objects of an account. `lag`: how long a change takes until the search sees it."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.clock = clock
        self.things: dict[str, dict[str, Thing]] = {name: {} for name in TYPES.values()}
        self.aliases: dict[str, str] = {}
        self.pipelines: list[dict[str, Any]] = []
        self.owners: list[dict[str, Any]] = []
        self.types: dict[str, dict[str, str]] = {name: {} for name in TYPES.values()}
        self.company_currency: str | None = "EUR"
        self.exchange_rates: list[dict[str, Any]] = []
        # Deal → owner → share of the credit.
        self.splits: dict[str, dict[str, str]] = {}
        self.purged: set[str] = set()
        self.lag: Callable[[str], timedelta] = lambda record_id: timedelta(0)

    def change(
        self,
        kind: str,
        record_id: str,
        at: datetime,
        values: Mapping[str, str | None],
        *,
        source: Mapping[str, Any] | None = None,
        seen_at: datetime | None = None,
        created_at: datetime | None = None,
    ) -> Thing:
        """Create or change an object at an instant. `seen_at`: when it was committed, if that was later."""
        things, at = self.things[kind], floor(at)
        committed = floor(seen_at or at)
        thing = things.get(record_id)
        if thing is None:
            thing = things[record_id] = Thing(record_id, created_at or at, committed)
            values = {"hs_object_id": record_id, "createdate": text(created_at or at), **values}
        told = source or {"sourceType": "CRM_UI", "updatedByUserId": 1}
        for name, value in values.items():
            item = {"value": value or "", "timestamp": text(at), **told}
            items = thing.history.setdefault(name, [])
            place = next((n for n, known in enumerate(items) if known["timestamp"] <= text(at)), len(items))
            items.insert(place, item)
            thing.properties[name] = items[0]["value"] or None
            self.types[kind].setdefault(name, "string")
        self.touch(kind, record_id, committed)
        return thing

    def touch(self, kind: str, record_id: str, at: datetime) -> None:
        """Something changed the object: its modified instant moves, and the index hears of it later."""
        thing = self.things[kind][record_id]
        thing.updated_at = max(thing.updated_at, floor(at))
        thing.properties[MODIFIED] = text(thing.updated_at)
        self.types[kind].setdefault(MODIFIED, "datetime")
        visible = thing.updated_at + self.lag(record_id)
        thing.indexed.append((visible, dict(thing.properties)))

    def associate(self, kind: str, record_id: str, to_kind: str, to_id: str, type_id: int) -> None:
        """Associate an object with another, in one direction."""
        known = self.things[kind][record_id].associations.setdefault(to_kind, [])
        if (to_id, type_id) not in known:
            known.append((to_id, type_id))

    def archive(self, kind: str, record_id: str, at: datetime) -> None:
        """Move an object to the recycle bin."""
        thing = self.things[kind][record_id]
        thing.archived_at = floor(at)

    def restore(self, record_id: str, at: datetime) -> None:
        """Take a deal out of the recycle bin."""
        self.things["deals"][record_id].archived_at = None
        self.touch("deals", record_id, at)

    def purge(self, record_id: str) -> None:
        """Delete a deal so that nothing is left of it."""
        del self.things["deals"][record_id]
        self.purged.add(record_id)

    def is_gone(self, kind: str, record_id: str) -> bool:
        """Whether an object is in the recycle bin, or no longer there at all."""
        thing = self.things[kind].get(record_id)
        return record_id in self.purged or (thing is not None and thing.archived_at is not None)

    def merge(self, winner: str, loser: str, at: datetime, new_id: str) -> Thing:
        """Make one deal of two: a new id, the first one's values, both histories in one."""
        deals, at = self.things["deals"], floor(at)
        one, other = deals.pop(winner), deals.pop(loser)
        merged = Thing(new_id, min(one.created_at, other.created_at), at)
        merged.associations = one.associations
        for name in {**one.history, **other.history}:
            items = [*one.history.get(name, []), *other.history.get(name, [])]
            merged.history[name] = sorted(items, key=lambda item: item["timestamp"], reverse=True)
        deals[new_id] = merged
        values = {name: value for name, value in one.properties.items() if name in one.history}
        values |= {"hs_object_id": new_id, MERGED: f"{winner};{loser}"}
        values["createdate"] = text(merged.created_at)
        self.change("deals", new_id, at, values, source={"sourceType": "MERGE_OBJECTS"})
        for old in (winner, loser):
            self.aliases[old] = new_id
        for old, new in self.aliases.items():
            if new in (winner, loser):
                self.aliases[old] = new_id
        return merged

    def living(self, kind: str, *, archived: bool = False) -> list[Thing]:
        """Objects by id, either in use or in the recycle bin."""
        now = self.clock()
        found = [
            thing
            for thing in self.things[kind].values()
            if (thing.archived_at is not None) is archived
            and (thing.archived_at is None or now - thing.archived_at < ARCHIVE_DAYS)
        ]
        return sorted(found, key=lambda thing: int(thing.id))

    def find(self, kind: str, record_id: str, *, archived: bool = False) -> Thing | None:
        """The object of an id; for a merged deal the one it was merged into."""
        thing = self.things[kind].get(self.aliases.get(record_id, record_id))
        return thing if thing is not None and (thing.archived_at is not None) is archived else None

    def index(self, kind: str) -> Iterable[tuple[Thing, Mapping[str, str | None]]]:
        """What the search knows now: each object in the newest state that has reached the index."""
        now = self.clock()
        for thing in self.living(kind):
            states = [values for visible, values in thing.indexed if visible <= now]
            if states:
                yield thing, states[-1]
