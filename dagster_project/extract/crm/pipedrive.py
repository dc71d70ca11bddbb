"""Pipedrive: version 2 of its interface, and version 1 for what version 2 does not have.

There is one request per deal for its history, so only deals are asked for that changed where it matters.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from dagster_project.api_settings import ApiSource, PipedriveSource
from dagster_project.extract.api.api_errors import AccessDenied, NotThere
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
from dagster_project.extract.api.unknown_properties import warn_of_unknown
from dagster_project.extract.crm import pipedrive_operations as ops
from dagster_project.extract.crm.pipedrive_dialect import BURST_SECONDS, PipedriveDialect
from dagster_project.extract.crm.pipedrive_operations import Operation
from dagster_project.extract.crm.pipedrive_pages import VENDOR_ADDRESS, PipedriveLists
from dagster_project.extract.crm.pipedrive_payload import (
    changelog_record,
    field_name,
    products_record,
    record,
    wanted_codes,
)

logger = logging.getLogger(__name__)

# A token of the smallest plan may ask 20 times in two seconds; more is never needed for a day's tokens.
REQUESTS_PER_SECOND = 20 / BURST_SECONDS
# Deleted deals can be listed for 30 days.
_DELETED_FOR = timedelta(days=29)
# More custom fields than these cannot be named in a request: then all are sent, and ours are kept.
_MOST_CUSTOM_FIELDS = 15
_EVERY_STATUS = "open,won,lost,deleted"
_LIVING_STATUS = "open,won,lost"

_WHOLE: Mapping[str, Operation] = {
    "users": ops.USERS,
    "currencies": ops.CURRENCIES,
    "pipelines": ops.PIPELINES,
    "stages": ops.STAGES,
    "deal_fields": ops.DEAL_FIELDS,
    "organization_fields": ops.ORGANIZATION_FIELDS,
    "product_fields": ops.PRODUCT_FIELDS,
}
# Archived deals are a list of their own, and a window is both.
_CHANGED: Mapping[str, tuple[Operation, ...]] = {
    "organizations": (ops.ORGANIZATIONS,),
    "products": (ops.PRODUCTS,),
    "deals": (ops.DEALS, ops.ARCHIVED_DEALS),
}
_FIELDS = {"deals": "deal_fields", "organizations": "organization_fields", "products": "product_fields"}


class PipedriveConnector(Connector):
    """One Pipedrive company, seen with the eyes of the token's user."""

    TITLE: ClassVar[str] = "Pipedrive"
    LOOKBACK: ClassVar[timedelta] = timedelta(minutes=5)
    ENTITIES: ClassVar[tuple[EntitySpec, ...]] = (
        EntitySpec("users", Reading.WHOLE, "People of {source}, inactive ones too: owners and actors."),
        EntitySpec("currencies", Reading.WHOLE, "Currencies of {source} with their decimals.", is_core=False),
        EntitySpec("pipelines", Reading.WHOLE, "Sales pipelines of {source}."),
        EntitySpec("stages", Reading.WHOLE, "Stages of {source}; each reading is kept, so changes show."),
        EntitySpec(
            "deal_fields", Reading.WHOLE, "Fields of deals of {source} and their options.", is_core=False
        ),
        EntitySpec(
            "organization_fields", Reading.WHOLE, "Fields of organizations of {source}.", is_core=False
        ),
        EntitySpec("product_fields", Reading.WHOLE, "Fields of products of {source}.", is_core=False),
        EntitySpec("organizations", Reading.CHANGED, "Organizations of {source}: accounts.", is_core=False),
        EntitySpec("products", Reading.CHANGED, "Products of {source} and their prices.", is_core=False),
        EntitySpec(
            "deals",
            Reading.CHANGED,
            "Deals of {source}: open, won, lost, archived, and deleted ones of the last 30 days.",
            is_swept=True,
        ),
        EntitySpec(
            "line_items",
            Reading.BY_DEAL,
            "Products attached to deals of {source}, a hundred deals a request.",
            is_core=False,
        ),
        EntitySpec(
            "changelog",
            Reading.BY_DEAL,
            "History of deals of {source}: stage, status, value, close date, owner, pipeline.",
            history_fields=(
                "stage_id",
                "stage_change_time",
                "pipeline_id",
                "status",
                "won_time",
                "lost_time",
                "value",
                "currency",
                "expected_close_date",
                "owner_id",
            ),
            ids_per_request=1,
        ),
    )
    # The log begins with the first change. A deal that never moved bears the instant of its creation as that
    # of its stage.
    TELLING = StageTelling(
        history="changelog",
        current_stage="payload ->> '$.stage_id'",
        moves=(
            "[{'timestamp': entry.time, 'value': entry.new_value} for entry in"
            " from_json(payload -> '$.changes',"
            """ '[{"field_key": "VARCHAR", "time": "VARCHAR", "new_value": "VARCHAR"}]')"""
            " if entry.field_key = 'stage_id']"
        ),
        has_moves=(
            "try_cast(payload ->> '$.stage_change_time' as timestamp)"
            " > try_cast(payload ->> '$.add_time' as timestamp) + interval 1 minute"
        ),
    )

    def __init__(self, source: ApiSource, clock: Clock | None = None) -> None:
        assert isinstance(source, PipedriveSource)
        self.api_version = "v2"
        self._asked = source.asked
        self._fields: dict[str, list[RawRecord]] = {}
        self._codes: dict[str, list[str]] = {}
        self.client = Client(
            source.name,
            source.base_url or VENDOR_ADDRESS,
            PipedriveDialect(source.token.get_secret_value()),
            {"default": REQUESTS_PER_SECOND},
            threads=source.threads,
            clock=clock,
        )
        self._lists = PipedriveLists(self.client)

    def probe(self) -> None:
        self.client.json(self._lists.request(ops.WHO_AM_I, "probe", "1"))

    def read(self, entity: EntitySpec, window: Window, cursor: Cursor | None) -> Iterator[Page]:
        if entity.name in _FIELDS.values():
            yield Page([record(entity.name, raw, ()) for raw in self._field_list(entity.name)], None)
        elif entity.reading is Reading.WHOLE:
            yield from self._read(entity, (_WHOLE[entity.name],), lambda _: {}, cursor)
        else:
            yield from self._read(
                entity, _CHANGED[entity.name], lambda operation: _bounds(window, operation), cursor
            )

    def read_ids(self, entity: EntitySpec, ids: Sequence[str]) -> Sequence[Record]:
        if entity.name == "changelog":
            return [changelog_record(deal_id, self._changes(entity, deal_id)) for deal_id in ids]
        if entity.name == "line_items":
            return self._products_of(entity, ids)
        found: dict[str, Record] = {}
        for page in self._read(entity, _CHANGED[entity.name], lambda _: {"ids": ",".join(ids)}, None):
            found |= {one.record_id: one for one in page.records}
        return list(found.values())

    def ids(self, entity: EntitySpec, cursor: Cursor | None = None) -> Iterator[IdPage]:
        for page in self._read(entity, _CHANGED[entity.name], lambda _: {"status": _LIVING_STATUS}, cursor):
            yield IdPage([one.record_id for one in page.records], page.cursor)

    def needs_sweep(self, entity: EntitySpec, window: Window) -> bool:
        return window.start is not None and window.end - window.start > _DELETED_FOR

    def properties(self, entity: EntitySpec) -> Sequence[str]:
        """The custom fields that are kept; fields of Pipedrive's own come all."""
        if entity.name not in _FIELDS:
            return ()
        if entity.name not in self._codes:
            asked = self._asked.get(entity.name, ())
            fields = [raw.value for raw in self._known_fields(entity.name)]
            self._codes[entity.name] = wanted_codes(fields, entity.name, asked)
            names = {field_name(field["field_name"]): field["field_name"] for field in fields}
            named = [names.get(field_name(name), name) for name in asked]
            known = [*names.values(), *(field["field_code"] for field in fields)]
            if known:
                warn_of_unknown(self.client, entity.name, named, known)
        return self._codes[entity.name]

    def schema(self, entity: EntitySpec) -> Mapping[str, str]:
        if entity.name not in _FIELDS:
            return {}
        return {raw.value["field_code"]: raw.value["field_type"] for raw in self._known_fields(entity.name)}

    def _read(
        self,
        entity: EntitySpec,
        operations: Sequence[Operation],
        params: Callable[[Operation], Mapping[str, Any]],
        cursor: Cursor | None,
    ) -> Iterator[Page]:
        """The lists of an entity one after the other; `list` and `after` of a cursor say where it stands."""
        codes = set(self.properties(entity))
        first, after = (cursor["list"], cursor["after"]) if cursor else (0, None)
        for number, operation in enumerate(operations[first:], first):
            is_last_list = number == len(operations) - 1
            asked = {**self._selection(entity, operation), **params(operation)}
            for found, onward in self._lists.pages(operation, entity.name, asked, after):
                records = [record(entity.name, raw, codes) for raw in found]
                if onward is not None:
                    yield Page(records, {"list": number, "after": onward})
                else:
                    yield Page(records, None if is_last_list else {"list": number + 1, "after": None})
            after = None

    def _selection(self, entity: EntitySpec, operation: Operation) -> dict[str, Any]:
        codes = self.properties(entity)
        selection: dict[str, Any] = {}
        if 0 < len(codes) <= _MOST_CUSTOM_FIELDS:
            selection["custom_fields"] = ",".join(codes)
        if entity.reading is Reading.CHANGED:
            selection |= {"sort_by": "id", "sort_direction": "asc"}
        if entity.name == "deals":
            selection["status"] = _EVERY_STATUS
        return selection

    def _changes(self, entity: EntitySpec, deal_id: str) -> list[RawRecord]:
        return self._lists.every(ops.CHANGELOG, entity.name, {"deal_id": deal_id}, f"deal {deal_id}")

    def _products_of(self, entity: EntitySpec, ids: Sequence[str]) -> list[Record]:
        try:
            asked = {"deal_ids": ",".join(ids)}
            found = self._lists.every(ops.DEAL_PRODUCTS, entity.name, asked, f"deals {ids[0]} to {ids[-1]}")
        except NotThere:
            if len(ids) == 1:
                return []
            # One deal that is gone must not cost the others their lines.
            half = len(ids) // 2
            return [*self._products_of(entity, ids[:half]), *self._products_of(entity, ids[half:])]
        lines: dict[str, list[RawRecord]] = {deal_id: [] for deal_id in ids}
        for raw in found:
            lines.setdefault(str(raw.value["deal_id"]), []).append(raw)
        return [products_record(deal_id, found_lines) for deal_id, found_lines in lines.items()]

    def _known_fields(self, entity: str) -> list[RawRecord]:
        """The fields of an entity; none where they may not be read: then no custom field is asked for."""
        try:
            return self._field_list(_FIELDS[entity])
        except (AccessDenied, NotThere) as error:
            logger.warning("no custom field of %s is read: %s", entity, error)
            return []

    def _field_list(self, name: str) -> list[RawRecord]:
        """Asked for once: a run reads the list for its own sake and to know which fields to ask for."""
        if name not in self._fields:
            self._fields[name] = self._lists.every(_WHOLE[name], name, {})
        return self._fields[name]


def _bounds(window: Window, operation: Operation) -> dict[str, str]:
    """The window in whole seconds, and rather too wide: what lies beyond is dropped or collapses."""
    bounds = {}
    if window.start is not None:
        bounds["updated_since"] = _seconds(window.start)
    if operation is not ops.PRODUCTS:
        bounds["updated_until"] = _seconds(window.end + timedelta(microseconds=999_999))
    return bounds


def _seconds(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
