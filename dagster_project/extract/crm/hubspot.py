"""HubSpot: deals with every value they ever had, and what they point to.

Lists give a first load, the search tells what changed since, batches give records and their histories. The
search only names ids: its index lags, and it knows neither associations nor archived records. It is paged by
id, because a mass change gives more records one instant than the 10,000 results a query may have.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from dagster_project.api_settings import ApiSource, HubSpotSource
from dagster_project.extract.api.api_errors import AccessDenied
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
    tombstone,
)
from dagster_project.extract.api.unknown_properties import warn_of_unknown
from dagster_project.extract.crm.hubspot_dialect import HubSpotDialect
from dagster_project.extract.crm.hubspot_objects import (
    HISTORIES,
    HISTORY,
    OBJECTS,
    instant,
    is_archived_since,
    merged_at,
    merged_ids,
    modified_at,
    next_after,
    once,
    to_record,
    without_histories,
)
from dagster_project.extract.crm.hubspot_requests import HISTORY_LIMIT, SEARCH, Questions
from dagster_project.extract.crm.hubspot_versions import addresses

logger = logging.getLogger(__name__)

ADDRESS = "https://api.hubapi.com"
# Requests a second of the smallest plan (100 in ten seconds). The search has a limit of its own (5 a second,
# for all apps together) and counts in the other one, too: both pools together stay below it.
RATES = {"default": 7.0, SEARCH: 4.5}
# A longer list of properties is asked for in a body: addresses are cut off at about 16,000 characters.
LONGEST_QUERY = 8_000


class HubSpotConnector(Connector):
    """One portal."""

    TITLE = "HubSpot"
    LOOKBACK = timedelta(hours=1)  # what the search index may lag behind
    ENTITIES: ClassVar[tuple[EntitySpec, ...]] = (
        EntitySpec("pipelines", Reading.WHOLE, "Deal pipelines of {source} with their stages."),
        EntitySpec("owners", Reading.WHOLE, "Owners of {source}, deactivated ones too, with their teams."),
        EntitySpec("deals", Reading.CHANGED, "Deals of {source}, archived ones too.", is_swept=True),
        EntitySpec(
            "deal_history",
            Reading.BY_DEAL,
            "Deals of {source} with all values they had: stage, amount, close date, owner.",
            ids_per_request=HISTORY_LIMIT,
        ),
        EntitySpec("companies", Reading.CHANGED, "Companies of {source}.", is_core=False),
        EntitySpec("products", Reading.CHANGED, "Product library of {source}.", is_core=False),
        EntitySpec(
            "line_items", Reading.CHANGED, "Line items of {source}.", is_core=False, is_swept=True
        ),
        EntitySpec("company_currency", Reading.WHOLE, "The currency of {source}.", is_core=False),
        EntitySpec(
            "exchange_rates", Reading.WHOLE, "Rates of other currencies of {source}.", is_core=False
        ),
        EntitySpec(
            "deal_splits", Reading.BY_DEAL, "Who shares the credit for deals of {source}.", is_core=False
        ),
    )  # fmt: skip
    TELLING = StageTelling(
        history="deal_history",
        current_stage="payload ->> '$.properties.dealstage'",
        moves=(
            "from_json(payload -> '$.propertiesWithHistory.dealstage',"
            """ '[{"timestamp": "VARCHAR", "value": "VARCHAR"}]')"""
        ),
        has_moves="true",
    )

    def __init__(self, source: ApiSource, clock: Clock | None = None) -> None:
        assert isinstance(source, HubSpotSource)
        self.api_version, at = addresses(source.api_version)
        self._more = source.asked
        dialect = HubSpotDialect(source.token)
        self.client = Client(
            source.name, source.base_url or ADDRESS, dialect, RATES, threads=source.threads, clock=clock
        )
        own = [source.fields[field] for field in ("amount", "forecast_category") if field in source.fields]
        self._ask = Questions(self.client, at, tuple(dict.fromkeys([*HISTORY, *own])))

    def probe(self) -> None:
        self._ask.probe()

    def properties(self, entity: EntitySpec) -> Sequence[str]:
        if entity.name == "deal_history":
            return self._ask.history
        if entity.name not in OBJECTS:
            return ()
        return tuple(dict.fromkeys([*OBJECTS[entity.name].properties, *self._more.get(entity.name, ())]))

    def schema(self, entity: EntitySpec) -> Mapping[str, str]:
        if entity.name not in OBJECTS:
            return {}
        try:
            types = self._ask.property_types(entity.name)
        except AccessDenied as error:
            # The names of properties have a scope of their own; without it only drift goes unnoticed.
            logger.warning("%s", error)
            return {}
        warn_of_unknown(self.client, entity.name, self._more.get(entity.name, ()), types)
        return types

    def read(self, entity: EntitySpec, window: Window, cursor: Cursor | None) -> Iterator[Page]:
        if entity.name == "pipelines":
            yield Page([Record(raw.value["id"], raw.text) for raw in self._ask.pipelines().records], None)
            return
        if entity.name == "company_currency":
            yield Page([Record(entity.name, self._ask.company_currency())], None)
            return
        if entity.name == "exchange_rates":
            yield from self._exchange_rates(cursor)
            return
        at: Cursor | None = cursor or self._beginning(entity, window)
        while at is not None:
            page = self._page(entity, window, at)
            yield page
            at = page.cursor

    def companion(self, entity: EntitySpec) -> EntitySpec | None:
        """A list of deals tells their histories too, 50 deals at a time, where it fits into an address."""
        if entity.name != "deals" or _is_long([*self.properties(entity), *self._ask.history]):
            return None
        return self.entity("deal_history")

    def read_with_companion(
        self, entity: EntitySpec, window: Window, cursor: Cursor | None
    ) -> Iterator[Page]:
        at: Cursor | None = cursor or self._beginning(entity, window)
        while at is not None:
            page = self._page_with_histories(entity, window, at)
            yield page
            at = page.cursor

    def read_ids(self, entity: EntitySpec, ids: Sequence[str]) -> Sequence[Record]:
        if entity.name == "deal_splits":
            told = {raw.value["id"]: raw.text for raw in self._ask.deal_splits(ids)}
            # A deal whose splits were taken back has none: that is an answer, too.
            return [Record(deal_id, told.get(deal_id, '{"splits": []}')) for deal_id in ids]

        def found(wanted: Sequence[str], archived: bool) -> list[RawRecord]:
            if entity.name == "deal_history":
                return self._ask.histories(wanted, entity.name, archived)
            return self._ask.batch(entity.name, wanted, self.properties(entity), archived)

        raws = found(ids, False)
        known = {raw.value["id"] for raw in raws}
        if missing := [record_id for record_id in ids if record_id not in known]:
            # Archived; or merged away, then the answer held the record that took its place.
            raws += found(missing, True)
        if entity.name == "deal_history":
            return [Record(raw.value["id"], raw.text, modified_at(raw.value)) for raw in once(raws)]
        return self._records(entity, once(raws), None, self._associations(entity, raws))

    def ids(self, entity: EntitySpec, cursor: Cursor | None = None) -> Iterator[IdPage]:
        after = cursor["after"] if cursor else None
        while True:
            found = self._ask.list_objects(entity.name, after, ("hs_object_id",))
            after = next_after(found)
            yield IdPage([raw.value["id"] for raw in found.records], {"after": after} if after else None)
            if after is None:
                return

    def _beginning(self, entity: EntitySpec, window: Window) -> Cursor:
        if entity.name == "owners":
            return {"pass": "list"}
        if window.start is not None:
            return {"pass": "search", "after": "0", "seen": 0}
        # Lists do not tell how much there is.
        return {"pass": "list", "total": self._ask.search(entity.name, None, "0", limit=1).fields["total"]}

    def _page(self, entity: EntitySpec, window: Window, at: Cursor) -> Page:
        if at["pass"] == "search":
            return self._changed(entity, window, at)
        if entity.name == "owners":
            return self._owners(at)
        is_archive = at["pass"] == "archive"
        asked = self.properties(entity)
        is_long = _is_long(asked)
        listed = ("hs_object_id",) if is_long else asked
        found = self._ask.list_objects(entity.name, at.get("after"), listed, archived=is_archive)
        raws, associations = found.records, {}
        if is_long:
            associations = {raw.value["id"]: raw.value.get("associations") for raw in raws}
            raws = self._ask.batch(entity.name, list(associations), asked, is_archive)
        if is_archive:
            raws = [raw for raw in raws if is_archived_since(raw.value, window.start)]
        records = self._records(entity, raws, window, associations)
        return Page(records, self._after(entity, at, next_after(found)), at.get("total"))

    def _page_with_histories(self, entity: EntitySpec, window: Window, at: Cursor) -> Page:
        """One page of the list or of the archive: the records, and each with all values it had."""
        asked, history = self.properties(entity), self._ask.history
        found = self._ask.list_objects(
            entity.name, at.get("after"), asked, archived=at["pass"] == "archive", with_history=history
        )
        records = self._records(entity, found.records, window, {})
        histories = [Record(raw.value["id"], raw.text, modified_at(raw.value)) for raw in found.records]
        return Page(records, self._after(entity, at, next_after(found)), at.get("total"), histories)

    def _changed(self, entity: EntitySpec, window: Window, at: Cursor) -> Page:
        """One page of the search. It has no upper bound: a deal that moved within the window and was touched
        after its end would be missing from its day.
        """
        found = self._ask.search(entity.name, window.start, at["after"])
        ids = [raw.value["id"] for raw in found.records]
        raws = self._ask.batch(entity.name, ids, self.properties(entity), archived=False)
        records = self._records(entity, once(raws), window, self._associations(entity, raws))
        left = int(found.fields["total"]) - len(ids)
        total = at["seen"] + len(ids) + max(left, 0)
        beyond = {**at, "seen": at["seen"] + len(ids), "total": total}
        return Page(records, self._after(entity, beyond, ids[-1] if ids and left > 0 else None), total)

    def _owners(self, at: Cursor) -> Page:
        found = self._ask.owners(at.get("after"), archived=at["pass"] == "archive")
        records = [
            Record(raw.value["id"], raw.text, instant(raw.value["updatedAt"])) for raw in found.records
        ]
        after = next_after(found)
        if after is not None:
            return Page(records, {**at, "after": after})
        return Page(records, None if at["pass"] == "archive" else {"pass": "archive"})

    def _exchange_rates(self, cursor: Cursor | None) -> Iterator[Page]:
        after = cursor["after"] if cursor else None
        while True:
            found = self._ask.exchange_rates(after)
            after = next_after(found)
            records = [Record(raw.value["id"], raw.text) for raw in found.records]
            yield Page(records, None if after is None else {"after": after})
            if after is None:
                return

    def _after(self, entity: EntitySpec, at: Cursor, after: str | None) -> Cursor | None:
        """The next page of a pass, else the pass over the archive."""
        if after is not None:
            return {**at, "after": after}
        if at["pass"] == "archive" or not OBJECTS[entity.name].has_archive:
            return None
        return {"pass": "archive", "total": at.get("total")}

    def _associations(self, entity: EntitySpec, raws: Sequence[RawRecord]) -> dict[str, Any]:
        return self._ask.associations(entity.name, [raw.value["id"] for raw in once(raws)])

    def _records(
        self,
        entity: EntitySpec,
        raws: Sequence[RawRecord],
        window: Window | None,
        associations: Mapping[str, Any],
    ) -> list[Record]:
        records = [
            to_record(without_histories(raw), window, associations.get(raw.value["id"])) for raw in raws
        ]
        if entity.name == "deals":
            records += self._merged_away([raw for raw in raws if merged_ids(raw.value)])
        return records

    def _merged_away(self, winners: Sequence[RawRecord]) -> Iterator[Record]:
        """A merge makes a new deal and leaves no trace under the old ids: their tombstones come from it."""
        for is_archived in (False, True):
            told = [raw for raw in winners if raw.value["archived"] is is_archived]
            if any(HISTORIES not in raw.value for raw in told):
                told = self._ask.histories([raw.value["id"] for raw in told], "deals", is_archived)
            for raw in told:
                for loser in merged_ids(raw.value):
                    yield tombstone(loser, "merged", merged_at(raw.value), merged_into=raw.value["id"])


def _is_long(names: Sequence[str]) -> bool:
    return len(",".join(names)) > LONGEST_QUERY
