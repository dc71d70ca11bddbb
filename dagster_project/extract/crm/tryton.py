"""Tryton (tried with series 8.2): deals with every version of theirs, through its own point-in-time reads.

Tryton keeps each version of an opportunity and of its lines in history tables, and shows any of them
through the context value `_datetime`. So a window is read as it stood at its end, a past window can be read
again with the same result, and deleted deals keep their history. Versions written by one transaction share
its instant; Tryton shows the last of them.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar

from dagster_project.api_settings import ApiSource, TrytonSource
from dagster_project.extract.api.http import Client
from dagster_project.extract.api.json_text import RawRecord
from dagster_project.extract.api.pacing import Clock
from dagster_project.extract.api.protocol import (
    Connector,
    Cursor,
    EntitySpec,
    IdPage,
    Page,
    Reading,
    Record,
    StageTelling,
    Window,
)
from dagster_project.extract.crm.point_in_time import Look, looks, versions
from dagster_project.extract.crm.tryton_records import (
    FIELDS,
    MODELS,
    NAMED_BY,
    changed_at_of,
    current_record,
    deleted_record,
    version_record,
)
from dagster_project.extract.crm.tryton_rpc import TrytonDialect, instant, rpc, typed_instant

PAGE = 200
ID_RANGE = 500
# Nothing of Tryton's limits requests; this keeps a server that people work on free for them.
PER_SECOND = 50.0
_TICK = timedelta(microseconds=1)


class TrytonConnector(Connector):
    """One database of a Tryton server, as one of its users sees it."""

    TITLE = "Tryton"
    ENTITIES: ClassVar[tuple[EntitySpec, ...]] = (
        EntitySpec("stages", Reading.WHOLE, "States of the opportunities of {source}, in their order."),
        EntitySpec("currencies", Reading.WHOLE, "Currencies of {source}."),
        EntitySpec("owners", Reading.WHOLE, "Employees of {source}.", is_core=False),
        EntitySpec("deals", Reading.CHANGED, "Opportunities of {source}, deleted ones too.", is_swept=True),
        EntitySpec(
            "stage_history",
            Reading.BY_DEAL,
            "Every version of the opportunities of {source}: when, by whom, and the values from then on.",
        ),
        EntitySpec("accounts", Reading.WHOLE, "Parties that deals of {source} name.", is_core=False),
        EntitySpec("products", Reading.WHOLE, "Products on lines of deals of {source}.", is_core=False),
        EntitySpec("line_items", Reading.WHOLE, "Lines of the opportunities of {source}.", is_core=False),
    )
    TELLING = StageTelling(
        history="stage_history",
        current_stage="payload ->> '$.state'",
        deal_id="payload ->> '$.deal'",
        moves="[{'timestamp': cast(modified_at as varchar), 'value': payload ->> '$.values.state'}]",
        has_moves="true",
    )
    # A version bears the instant at which its transaction began: it appears when that one ends.
    LOOKBACK = timedelta(hours=1)

    def __init__(self, source: ApiSource, clock: Clock | None = None) -> None:
        assert isinstance(source, TrytonSource)
        self._database = source.database
        self._more_fields = source.properties
        self.client = Client(
            source.name,
            source.base_url,
            TrytonDialect(source.database, source.user, source.password.get_secret_value()),
            {"default": PER_SECOND},
            threads=source.threads,
            clock=clock,
        )
        self._lock = threading.RLock()
        self._context: dict[str, Any] | None = None
        self._types: dict[str, Mapping[str, Any]] = {}

    def probe(self) -> None:
        self.client.json(self._call("res.user", "get_preferences", [True, {}], "probe"))

    def read(self, entity: EntitySpec, window: Window, cursor: Cursor | None) -> Iterator[Page]:
        if entity.name == "stages":
            yield Page(self._states(), None)
        elif entity.name == "deals":
            yield from self._deals(entity, window, cursor or {})
        elif entity.name in NAMED_BY:
            yield from self._named(entity, cursor or {})
        else:
            yield from self._pages(entity, [], self._base_context(), cursor or {}, lambda after: None)

    def read_ids(self, entity: EntitySpec, ids: Sequence[str]) -> Sequence[Record]:
        numbers = [int(record_id) for record_id in ids]
        if entity.reading is Reading.BY_DEAL:
            return self._versions(entity, numbers)
        found = self._rows(entity, [["id", "in", numbers]], self._base_context(), f"{len(ids)} ids")
        return [current_record(raw) for raw in found]

    def ids(self, entity: EntitySpec, cursor: Cursor | None = None) -> Iterator[IdPage]:
        after = cursor["after"] if cursor else 0
        while True:
            living = self._living(entity, after, None, self._base_context(), ID_RANGE)
            is_last = len(living) < ID_RANGE
            yield IdPage([str(number) for number in living], None if is_last else {"after": living[-1]})
            if is_last:
                return
            after = living[-1]

    def properties(self, entity: EntitySpec) -> Sequence[str]:
        return (*FIELDS.get(entity.name, ()), *self._more_fields.get(entity.name, ()))

    def schema(self, entity: EntitySpec) -> Mapping[str, str]:
        return {name: str(field["type"]) for name, field in self._fields(entity).items()}

    def _deals(self, entity: EntitySpec, window: Window, cursor: Cursor) -> Iterator[Page]:
        """First the deals that changed, as they stood at the window's end; then those that are gone."""
        at = window.end - _TICK
        context = self._context_at(at)
        if not cursor.get("is_deletions"):
            changed = [["last_modified_at", ">=", typed_instant(window.start)]] if window.start else []
            yield from self._pages(entity, changed, context, cursor, lambda after: {"is_deletions": True})
        after = cursor.get("after", 0) if cursor.get("is_deletions") else 0
        newest = self._newest_id(entity)
        while after < newest:
            upto = after + ID_RANGE
            yield Page(
                self._deleted(entity, after, upto, window, context),
                {"is_deletions": True, "after": upto} if upto < newest else None,
            )
            after = upto

    def _deleted(
        self, entity: EntitySpec, after: int, upto: int, window: Window, context: Mapping[str, Any]
    ) -> list[Record]:
        """Tombstones of the ids in (after, upto] that were deleted in the window, with their last version.

        Ids without a living deal are deleted ones, or were never used; the history tells.
        """
        living = set(self._living(entity, after, upto, context))
        missing = [number for number in range(after + 1, upto + 1) if number not in living]
        changes: dict[int, list[datetime]] = {}
        for changed_at, number, _ in self._revisions(entity, missing):
            if changed_at < window.end:
                changes.setdefault(number, []).append(changed_at)
        gone = {number: max(instants) for number, instants in changes.items()}
        last = [
            version
            for number, instants in changes.items()
            for version in versions(number, instants)
            if version.end == gone[number] and (window.start is None or version.end >= window.start)
        ]
        return [
            record
            for look in looks(last)
            for raw in self._at(entity, look)
            for record in (current_record(raw), deleted_record(raw, gone[int(raw.value["id"])]))
        ]

    def _versions(self, entity: EntitySpec, numbers: Sequence[int]) -> list[Record]:
        """Every version of these deals, oldest look first; of a deletion only who did it and when."""
        changes: dict[int, list[datetime]] = {}
        users: dict[tuple[int, datetime], str | None] = {}
        for changed_at, number, user in self._revisions(entity, numbers):
            changes.setdefault(number, []).append(changed_at)
            users[number, changed_at] = user
        records = []
        wanted = [version for number, instants in changes.items() for version in versions(number, instants)]
        for look in looks(wanted):
            seen = {int(raw.value["id"]): raw for raw in self._at(entity, look)}
            for number, changed_at in look.versions.items():
                raw = seen.get(number)
                changed_at = changed_at_of(raw) if raw else changed_at
                records.append(version_record(number, changed_at, users.get((number, changed_at)), raw))
        return records

    def _at(self, entity: EntitySpec, look: Look) -> list[RawRecord]:
        domain = [["id", "in", sorted(look.versions)]]
        page = f"at {look.instant.isoformat()}"
        return self._rows(entity, domain, self._context_at(look.instant), page, limit=ID_RANGE)

    def _revisions(
        self, entity: EntitySpec, numbers: Sequence[int]
    ) -> list[tuple[datetime, int, str | None]]:
        """Instant, id and user's name of every version of these deals."""
        if not numbers:
            return []
        page = f"versions of {numbers[0]} and others"
        call = self._call(MODELS[entity.name], "history_revisions", [list(numbers), {}], entity.name, page)
        found = []
        for at, number, user in self.client.json(call)["result"]:
            changed_at = instant(at)
            assert changed_at is not None
            found.append((changed_at, int(number), user))
        return found

    def _named(self, entity: EntitySpec, cursor: Cursor) -> Iterator[Page]:
        """The records that deals or their lines name, by id."""
        model, field = NAMED_BY[entity.name]
        numbers: set[int] = set()
        after = 0
        while True:
            params = [[["id", ">", after]], 0, ID_RANGE, [["id", "ASC"]], [field], self._base_context()]
            found = self.client.json(
                self._call(model, "search_read", params, entity.name, f"named after {after}")
            )
            numbers.update(row[field] for row in found["result"] if row[field] is not None)
            if len(found["result"]) < ID_RANGE:
                break
            after = found["result"][-1]["id"]
        todo = [number for number in sorted(numbers) if number > cursor.get("after", 0)]
        for begin in range(0, len(todo), PAGE) or [0]:
            chunk = todo[begin : begin + PAGE]
            found = self._rows(entity, [["id", "in", chunk]], self._base_context(), f"from {chunk[:1]}")
            is_last = begin + PAGE >= len(todo)
            yield Page(
                [current_record(raw) for raw in found], None if is_last else {"after": chunk[-1]}, len(todo)
            )

    def _pages(
        self,
        entity: EntitySpec,
        domain: list[Any],
        context: Mapping[str, Any],
        cursor: Cursor,
        after_last: Callable[[int], Cursor | None],
    ) -> Iterator[Page]:
        """All records that meet a domain, by ascending id; the last page has the cursor of `after_last`."""
        after = cursor.get("after", 0)
        while True:
            rows = self._rows(entity, [["id", ">", after], *domain], context, f"after {after}")
            after = int(rows[-1].value["id"]) if rows else after
            is_last = len(rows) < PAGE
            yield Page(
                [current_record(raw) for raw in rows], after_last(after) if is_last else {"after": after}
            )
            if is_last:
                return

    def _rows(
        self,
        entity: EntitySpec,
        domain: list[Any],
        context: Mapping[str, Any],
        page: str,
        limit: int | None = None,
    ) -> list[RawRecord]:
        known = self._fields(entity)
        fields = [name for name in self.properties(entity) if name.partition(".")[0] in known]
        params = [domain, 0, limit or PAGE, [["id", "ASC"]], fields, context]
        call = self._call(MODELS[entity.name], "search_read", params, entity.name, page)
        return self.client.listing(call, "result").records

    def _living(
        self,
        entity: EntitySpec,
        after: int,
        upto: int | None,
        context: Mapping[str, Any],
        limit: int | None = None,
    ) -> list[int]:
        domain = [["id", ">", after], *([["id", "<=", upto]] if upto is not None else [])]
        params = [domain, 0, limit, [["id", "ASC"]], context]
        call = self._call(MODELS[entity.name], "search", params, entity.name, f"ids after {after}")
        return [int(number) for number in self.client.json(call)["result"]]

    def _newest_id(self, entity: EntitySpec) -> int:
        params = [[], 0, 1, [["id", "DESC"]], self._base_context()]
        found = self.client.json(self._call(MODELS[entity.name], "search", params, entity.name, "newest id"))
        # The newest deals may be deleted ones: look one range further than the newest that lives.
        return (int(found["result"][0]) if found["result"] else 0) + ID_RANGE

    def _states(self) -> list[Record]:
        """The states with their labels; a payload has the place in the CRM's own list."""
        states = self._fields(self.entity("stages"))["state"]["selection"]
        return [
            Record(value, json.dumps({"place": place, "value": value, "label": label}, ensure_ascii=False))
            for place, (value, label) in enumerate(states, start=1)
        ]

    def _fields(self, entity: EntitySpec) -> Mapping[str, Any]:
        """Fields of an entity's model as the server defines them now; asked once per connector."""
        model = MODELS[entity.name]
        with self._lock:
            if model not in self._types:
                call = self._call(model, "fields_get", [[], 0, self._base_context()], entity.name, "fields")
                self._types[model] = self.client.json(call)["result"]
            return self._types[model]

    def _base_context(self) -> dict[str, Any]:
        """The user's company and language; records that are no longer active belong to it."""
        with self._lock:
            if self._context is None:
                call = self._call("res.user", "get_preferences", [True, {}], "preferences")
                told = self.client.json(call)["result"]
                self._context = {name: told[name] for name in ("company", "language") if name in told}
                self._context["active_test"] = False
            return dict(self._context)

    def _context_at(self, at: datetime) -> dict[str, Any]:
        return {**self._base_context(), "_datetime": typed_instant(at)}

    def _call(self, model: str, method: str, params: Sequence[Any], entity: str, page: str = "1") -> Any:
        return rpc(self._database, f"model.{model}.{method}", params, entity, page)
