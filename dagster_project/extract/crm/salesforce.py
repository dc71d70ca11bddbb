"""Salesforce: deals, their native history, and what stands around them, over REST and Bulk 2.0.

Pages follow `nextRecordsUrl` while the session lives. A query's locator dies with its session, so nothing
that is kept names one: rows come in the order of their ids, and a new query goes on after the last id.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote

from dagster_project.api_settings import ApiSource, SalesforceSource
from dagster_project.extract.api.api_errors import (
    AccessDenied,
    CredentialRefused,
    NotThere,
    Place,
    RequestRefused,
    SourceUnavailable,
)
from dagster_project.extract.api.exchange import Request
from dagster_project.extract.api.http import Client
from dagster_project.extract.api.json_text import Listing
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
    Watermark,
    Window,
)
from dagster_project.extract.api.unknown_properties import warn_of_unknown
from dagster_project.extract.crm.salesforce_auth import SalesforceDialect
from dagster_project.extract.crm.salesforce_bulk import ROWS_PER_PIECE, BulkFailed, BulkQuery
from dagster_project.extract.crm.salesforce_log import ReplicationLog
from dagster_project.extract.crm.salesforce_objects import (
    ALL_FIELDS,
    OBJECTS,
    Described,
    SObject,
    instant_of,
    long_id,
    soql,
)

logger = logging.getLogger(__name__)

VERSION = "66.0"
DEALS = "deals"
PICKLISTS = "pipeline_stages"
# Longer addresses are refused (a server allows 16 KB with all headers); Bulk takes the query in its body.
LONGEST_ADDRESS = 12_000
_DEAL_PREFIX = "006"


class SalesforceConnector(Connector):
    """One org. What a field's security hides is absent from `describe`, and is reported."""

    TITLE = "Salesforce"
    ENTITIES: ClassVar[tuple[EntitySpec, ...]] = (
        EntitySpec("stages", Reading.WHOLE, "Stages of {source} with their outcome, inactive ones too."),
        EntitySpec("pipelines", Reading.WHOLE, "Record types of deals of {source}.", is_core=False),
        EntitySpec(
            PICKLISTS, Reading.WHOLE, "Stages that each record type of {source} offers.", is_core=False
        ),
        EntitySpec("owners", Reading.CHANGED, "Users of {source}, inactive ones too."),
        EntitySpec("roles", Reading.WHOLE, "Roles of users of {source}: their teams.", is_core=False),
        EntitySpec("accounts", Reading.CHANGED, "Accounts of {source}.", is_core=False),
        EntitySpec("products", Reading.CHANGED, "Products of {source}.", is_core=False),
        EntitySpec("prices", Reading.CHANGED, "List prices of products of {source}.", is_core=False),
        EntitySpec(DEALS, Reading.CHANGED, "Opportunities of {source}, deleted ones too.", is_swept=True),
        EntitySpec(
            "stage_history",
            Reading.CHANGED,
            "Stage, amount and date changes of deals of {source}.",
            is_log=True,
        ),
        EntitySpec(
            "field_history",
            Reading.CHANGED,
            "Changes of owner, record type and stage of deals of {source}, where their tracking is on. "
            "Salesforce forgets them after 18 to 24 months.",
            is_core=False,
            is_log=True,
        ),
        EntitySpec(
            "leads", Reading.CHANGED, "Leads of {source} and the opportunity each became.", is_core=False
        ),
        EntitySpec(
            "lead_history",
            Reading.CHANGED,
            "Status changes of leads of {source}, where their tracking is on.",
            is_core=False,
            is_log=True,
        ),
        EntitySpec("line_items", Reading.CHANGED, "Products of deals of {source}.", is_core=False),
        EntitySpec("split_types", Reading.WHOLE, "Kinds of split credit of {source}.", is_core=False),
        EntitySpec("deal_splits", Reading.CHANGED, "Split credit of deals of {source}.", is_core=False),
        EntitySpec("currencies", Reading.WHOLE, "Currencies of {source} and today's rates.", is_core=False),
        EntitySpec("exchange_rates", Reading.WHOLE, "Dated rates of {source}.", is_core=False),
    )
    TELLING = StageTelling(
        history="stage_history",
        current_stage="payload ->> '$.StageName'",
        deal_id="payload ->> '$.OpportunityId'",
        moves="[{'timestamp': payload ->> '$.CreatedDate', 'value': payload ->> '$.StageName'}]",
        has_moves="true",
    )
    # Above so many rows of a window, one Bulk job is cheaper than pages of 2,000.
    BULK_ABOVE: ClassVar[int] = 2_000
    ROWS_PER_PIECE: ClassVar[int] = ROWS_PER_PIECE
    # Requests per second. Salesforce limits requests per day and long ones at once, not their rate.
    PER_SECOND: ClassVar[float] = 25.0

    def __init__(self, source: ApiSource, clock: Clock | None = None) -> None:
        assert isinstance(source, SalesforceSource)
        self.api_version = (source.api_version or VERSION).lstrip("v")
        if not re.fullmatch(r"[0-9]+(\.[0-9])?", self.api_version):
            raise ValueError(f"api_version {source.api_version!r} is none; write it like {VERSION}")
        self._root = f"/services/data/v{float(self.api_version):.1f}"
        self._properties = source.asked
        self._described: dict[str, Described] = {}
        self.client = Client(
            source.name,
            source.base_url,
            SalesforceDialect(source),
            {"default": self.PER_SECOND},
            threads=source.threads,
            clock=clock,
        )
        self._bulk = BulkQuery(self.client, self._root, self.ROWS_PER_PIECE)
        self._log = ReplicationLog(self.client, self._root)

    def probe(self) -> None:
        """The list of resources: it needs a valid token."""
        self.client.json(Request(self._root, "probe"))

    def properties(self, entity: EntitySpec) -> Sequence[str]:
        """The allow-list, and what pipeline.yaml adds to it; `*` adds every field that can be read."""
        thing = OBJECTS.get(entity.name)
        return (*thing.fields, *self._properties.get(entity.name, ())) if thing else ()

    def schema(self, entity: EntitySpec) -> Mapping[str, str]:
        """Every field that this user sees, also those that are not asked for."""
        thing = OBJECTS.get(entity.name)
        return self._describe(entity).types if thing else {}

    def read(self, entity: EntitySpec, window: Window, cursor: Cursor | None) -> Iterator[Page]:
        """Rows with deleted ones among them; then, for deals, the log of deletions."""
        if entity.name == PICKLISTS:
            yield from self._picklists(entity)
            return
        has_log = entity.name == DEALS and window.start is not None
        position = dict(cursor or {})
        if position.get("pass") != "log":
            for page in self._rows(entity, window, position):
                is_last = page.cursor is None
                yield Page(page.records, {"pass": "log"} if is_last and has_log else page.cursor, page.total)
        if has_log:
            yield Page(self._log.deletions(entity.name, OBJECTS[entity.name].name, window), None)

    def read_ids(self, entity: EntitySpec, ids: Sequence[str]) -> Sequence[Record]:
        """Records of these ids; of a history also by the ids of deals."""
        thing = OBJECTS[entity.name]
        listed = ", ".join(f"'{_plain_id(record_id)}'" for record_id in ids)
        by_deal = entity.name != DEALS and all(record_id.startswith(_DEAL_PREFIX) for record_id in ids)
        column = "OpportunityId" if by_deal else "Id"
        query = f"SELECT {', '.join(self._fields(entity))} FROM {thing.name} WHERE {column} IN ({listed})"
        found = self._ask(entity, f"{len(ids)} ids", query)
        records = self._records(thing, found)
        while link := found.fields.get("nextRecordsUrl"):
            found = self.client.listing(Request(link, entity.name, f"{len(ids)} ids, more"), "records")
            records += self._records(thing, found)
        return records

    def ids(self, entity: EntitySpec, cursor: Cursor | None = None) -> Iterator[IdPage]:
        """Ids of living records."""
        thing = OBJECTS[entity.name]
        after = cursor["after"] if cursor else None
        while True:
            where = f" WHERE Id > '{after}'" if after else ""
            query = f"SELECT Id FROM {thing.name}{where} ORDER BY Id"
            found = self._ask(entity, f"ids after {after or 'the start'}", query, "query")
            page = [long_id(raw.value["Id"]) for raw in found.records]
            is_last = bool(found.fields.get("done", True)) or not page
            yield IdPage(page, None if is_last else {"after": page[-1]})
            if is_last:
                return
            after = page[-1]

    def watermark(self, entity: EntitySpec, start: datetime | None) -> Watermark | None:
        """`latestDateCovered` of the object; that of deals for an object without a log."""
        thing = OBJECTS.get(entity.name)
        if thing is None or thing.changed is None:
            return None
        name = thing.name if self._describe(entity).is_replicated else OBJECTS[DEALS].name
        return self._log.watermark(entity.name, name, start)

    def needs_sweep(self, entity: EntitySpec, window: Window) -> bool:
        """Whether the log of deletions begins after the window does."""
        name = OBJECTS[entity.name].name
        return window.start is not None and not self._log.reaches(entity.name, name, window.start)

    def _rows(self, entity: EntitySpec, window: Window, position: Cursor) -> Iterator[Page]:
        thing = OBJECTS[entity.name]
        is_resumed = "job" in position
        if not is_resumed:
            fields = self._fields(entity)
            query = soql(thing, fields, window, position.get("after"))
            if not self._is_for_bulk(thing, query, position):
                found = self._first_page(entity, query, position)
                if not self._is_large(thing, found, position):
                    yield from self._pages(entity, window, found, int(position.get("seen", 0)))
                    return
            # Bulk chooses its own order faster than it sorts.
            position = {"job": self._bulk.start(entity.name, query.removesuffix(" ORDER BY Id"))}
            yield Page((), position)
        try:
            types = self._describe(entity).types
            for piece in self._bulk.pieces(entity.name, position, types, is_resumed=is_resumed):
                records = [_record(thing, row, text) for row, text in piece.rows]
                yield Page(records, piece.cursor, piece.total)
        except BulkFailed as error:
            logger.warning("%s: %s: %s; read over REST instead", self.client.account, entity.name, error)
            query = soql(thing, self._fields(entity), window)
            if len(quote(query)) > LONGEST_ADDRESS:
                place = Place(self.client.account, entity.name, "Bulk")
                raise SourceUnavailable(
                    place, str(error), "ask for fewer `properties:`, or run again"
                ) from error
            position = {"via": "rest"}
            yield Page((), position)
            yield from self._pages(entity, window, self._first_page(entity, query, position), 0)

    def _pages(self, entity: EntitySpec, window: Window, found: Listing, seen: int) -> Iterator[Page]:
        thing = OBJECTS[entity.name]
        total = seen + int(found.fields.get("totalSize") or 0)
        while True:
            records = self._records(thing, found)
            seen += len(records)
            if found.fields.get("done", True) or not records:
                yield Page(records, None, total)
                return
            after = records[-1].record_id
            yield Page(records, {"after": after, "seen": seen, "via": "rest"}, total)
            link = found.fields.get("nextRecordsUrl")
            try:
                found = self.client.listing(Request(link, entity.name, f"after {after}"), "records")
            except (CredentialRefused, NotThere, RequestRefused):
                # The locator died with its session; a new query goes on where it was.
                query = soql(thing, self._fields(entity), window, after)
                found = self._ask(entity, f"after {after}", query)

    def _first_page(self, entity: EntitySpec, query: str, position: Cursor) -> Listing:
        return self._ask(entity, f"after {position['after']}" if "after" in position else "1", query)

    def _ask(self, entity: EntitySpec, page: str, query: str, resource: str = "queryAll") -> Listing:
        request = Request(f"{self._root}/{resource}", entity.name, page, params={"q": query})
        return self.client.listing(request, "records")

    def _is_for_bulk(self, thing: SObject, query: str, position: Cursor) -> bool:
        return thing.can_bulk and position.get("via") != "rest" and len(quote(query)) > LONGEST_ADDRESS

    def _is_large(self, thing: SObject, found: Listing, position: Cursor) -> bool:
        total = int(found.fields.get("totalSize") or 0)
        return thing.can_bulk and position.get("via") != "rest" and total > self.BULK_ABOVE

    def _picklists(self, entity: EntitySpec) -> Iterator[Page]:
        """Each value under `<record type>/<stage>`; the payload is the value as it was sent."""
        query = "SELECT Id FROM RecordType WHERE SobjectType = 'Opportunity' AND IsActive = true"
        types = self._ask(entity, "1", query, "query")
        records = []
        for raw in types.records:
            record_type = long_id(raw.value["Id"])
            path = f"{self._root}/ui-api/object-info/Opportunity/picklist-values/{record_type}/StageName"
            found = self.client.listing(Request(path, entity.name, record_type), "values")
            records += [
                Record(f"{record_type}/{value.value['value']}", value.text) for value in found.records
            ]
        yield Page(records, None)

    def _describe(self, entity: EntitySpec) -> Described:
        thing = OBJECTS[entity.name]
        if thing.name not in self._described:
            path = f"{self._root}/sobjects/{thing.name}/describe"
            described = Described.of(self.client.json(Request(path, entity.name, "describe")))
            self._report_hidden(thing, entity, described)
            self._described[thing.name] = described
        return self._described[thing.name]

    def _report_hidden(self, thing: SObject, entity: EntitySpec, described: Described) -> None:
        def lacking(fields: Sequence[str]) -> list[str]:
            return [field for field in fields if field != "*" and not described.has(field)]

        right = "give its user the right to read them (field-level security)"
        place = Place(self.client.account, entity.name, "describe")
        if needed := lacking(thing.needed):
            raise AccessDenied(place, f"{thing.name} does not show {', '.join(needed)}", right)
        own = [name for name in self._properties.get(entity.name, ()) if name != ALL_FIELDS]
        readable = [name for name in described.types if described.has(name)]
        warn_of_unknown(self.client, entity.name, own, readable)
        if hidden := lacking(thing.expected):
            text = f"{place}: not shown, or cannot be selected: {', '.join(hidden)}; {right}"
            self.client.api_warnings.add(text)
            logger.warning("%s", text)

    def _fields(self, entity: EntitySpec) -> tuple[str, ...]:
        return self._describe(entity).select(self.properties(entity))

    def _records(self, thing: SObject, found: Listing) -> list[Record]:
        return [_record(thing, raw.value, raw.text) for raw in found.records]


def _record(thing: SObject, row: Mapping[str, Any], text: str) -> Record:
    at = instant_of(row.get(thing.changed or "SystemModstamp"))
    is_deleted = str(row.get("IsDeleted", False)).lower() == "true"
    return Record(long_id(row["Id"]), text, at, is_deleted)


def _plain_id(record_id: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]{15}|[A-Za-z0-9]{18}", record_id):
        raise ValueError(f"{json.dumps(record_id)} is no id of Salesforce")
    return record_id
