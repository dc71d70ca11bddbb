"""The questions to HubSpot: lists, searches, batches and associations, each within its limits."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from dagster_project.extract.api.api_errors import Place, SourceUnavailable
from dagster_project.extract.api.exchange import Request
from dagster_project.extract.api.http import Client
from dagster_project.extract.api.json_text import Listing, RawRecord
from dagster_project.extract.crm.hubspot_objects import (
    HISTORIES,
    HISTORY,
    MODIFIED,
    OBJECTS,
    associations_of,
    flag,
    is_in_order,
)
from dagster_project.extract.crm.hubspot_versions import Addresses

# With histories HubSpot answers half as many records at once.
LIST_LIMIT, SEARCH_LIMIT, BATCH_LIMIT, HISTORY_LIMIT = 100, 200, 100, 50
SEARCH = "search"


class Questions:
    """Asks through one client at the addresses of one version."""

    def __init__(self, client: Client, at: Addresses, history: Sequence[str] = HISTORY) -> None:
        self._client = client
        self._at = at
        self.history = history

    def list_objects(
        self,
        name: str,
        after: str | None,
        properties: Sequence[str],
        *,
        archived: bool = False,
        with_history: Sequence[str] = (),
    ) -> Listing:
        """One page of all objects, in the order of HubSpot's own cursor."""
        kind = OBJECTS[name]
        params: dict[str, Any] = {
            "limit": HISTORY_LIMIT if with_history else LIST_LIMIT,
            "archived": flag(archived),
            "properties": ",".join(properties),
        }
        if with_history:
            params[HISTORIES] = ",".join(with_history)
        if kind.associated:
            params["associations"] = kind.associated
        if after is not None:
            params["after"] = after
        where = f"{'archive' if archived else 'list'} after {after or 'the start'}"
        path = f"{self._at.objects}/{kind.number}"
        return self._client.listing(Request(path, name, where, params=params), "results")

    def search(self, name: str, since: datetime | None, after: str, limit: int = SEARCH_LIMIT) -> Listing:
        """Objects with ids above `after`, in their order, that changed since. Errors: ApiError."""
        filters = [{"propertyName": "hs_object_id", "operator": "GT", "value": after}]
        if since is not None:
            milliseconds = str(int(since.timestamp() * 1000))
            filters.append({"propertyName": MODIFIED, "operator": "GTE", "value": milliseconds})
        body = {
            "filterGroups": [{"filters": filters}],
            # The vendor's document says strings; its guide, its server and other clients say objects.
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "properties": [MODIFIED],
            "limit": limit,
            # Each page is a query of its own, so none comes near the 10,000 results a query may have.
            "after": "0",
        }
        where = f"search after {after}"
        path = f"{self._at.objects}/{OBJECTS[name].number}/search"
        found = self._client.listing(Request(path, name, where, "POST", body=body, pool=SEARCH), "results")
        if not is_in_order(found, after):
            raise SourceUnavailable(
                Place(self._client.account, name, where),
                "the search does not come in the order of ids, so going on would leave records out",
                "run again later; if it stays so, report the text",
            )
        return found

    def batch(self, name: str, ids: Sequence[str], asked: Sequence[str], archived: bool) -> list[RawRecord]:
        """Records by id in requests of at most 100; what is gone is left out."""
        chunks = [ids[at : at + BATCH_LIMIT] for at in range(0, len(ids), BATCH_LIMIT)]

        def ask(chunk: Sequence[str]) -> Listing:
            return self._batch(name, chunk, name, asked, (), archived)

        answers = map(ask, chunks) if len(chunks) < 2 else self._client.in_parallel(ask, chunks)
        return [raw for found in answers for raw in found.records]

    def histories(self, ids: Sequence[str], entity: str, archived: bool = False) -> list[RawRecord]:
        """Deals by id with all values they had, in requests of at most 50."""
        chunks = [ids[at : at + HISTORY_LIMIT] for at in range(0, len(ids), HISTORY_LIMIT)]
        asked = (MODIFIED, "dealstage")
        answers = [self._batch("deals", chunk, entity, asked, self.history, archived) for chunk in chunks]
        return [raw for found in answers for raw in found.records]

    def associations(self, name: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Id → what it is associated with, in the shape that lists have."""
        kind = OBJECTS[name]
        if not kind.associated or not ids:
            return {}
        path = f"{self._at.associations}/{kind.number}/{kind.associated}/batch/read"
        body = {"inputs": [{"id": record_id} for record_id in ids]}
        where = f"associations of {len(ids)} ids from {ids[0]}"
        found = self._client.listing(Request(path, name, where, "POST", body=body), "results")
        return {
            str(raw.value["from"]["id"]): associations_of(raw, kind.associated_name) for raw in found.records
        }

    def owners(self, after: str | None, *, archived: bool) -> Listing:
        """One page of owners; deactivated ones only when asked for."""
        params: dict[str, Any] = {"limit": LIST_LIMIT, "archived": flag(archived)}
        if after is not None:
            params["after"] = after
        where = f"{'archive' if archived else 'list'} after {after or 'the start'}"
        return self._client.listing(Request(self._at.owners, "owners", where, params=params), "results")

    def property_types(self, name: str) -> Mapping[str, str]:
        """Property → type, as the portal describes them now."""
        path = f"{self._at.properties}/{OBJECTS[name].number}"
        found = self._client.listing(Request(path, name, "properties"), "results")
        return {raw.value["name"]: raw.value["type"] for raw in found.records}

    def pipelines(self) -> Listing:
        """All pipelines of deals with their stages; there are no pages."""
        return self._client.listing(Request(self._at.pipelines, "pipelines"), "results")

    def company_currency(self) -> str:
        """The answer's own text: an object, no list."""
        request = Request(self._at.company_currency, "company_currency")

        def text(reply: Any) -> str:
            self._client.dialect.envelope(reply.json(), reply)
            return str(reply.text)

        return self._client.send(request, text)

    def exchange_rates(self, after: str | None) -> Listing:
        """One page of the rates that the portal has had."""
        params: dict[str, Any] = {"limit": LIST_LIMIT}
        if after is not None:
            params["after"] = after
        where = f"list after {after or 'the start'}"
        return self._client.listing(
            Request(self._at.exchange_rates, "exchange_rates", where, params=params), "results"
        )

    def deal_splits(self, ids: Sequence[str]) -> list[RawRecord]:
        """At most 100 deals by id, each with its splits."""
        body = {"inputs": [{"id": record_id} for record_id in ids]}
        where = f"{len(ids)} deals from {ids[0]}"
        request = Request(self._at.deal_splits, "deal_splits", where, "POST", body=body)
        return self._client.listing(request, "results").records

    def probe(self) -> None:
        """The cheapest question."""
        self._client.json(Request(self._at.owners, "probe", params={"limit": 1}))

    def _batch(
        self,
        name: str,
        ids: Sequence[str],
        entity: str,
        asked: Sequence[str],
        with_history: Sequence[str],
        archived: bool,
    ) -> Listing:
        body = {
            "inputs": [{"id": record_id} for record_id in ids],
            "properties": list(asked),
            HISTORIES: list(with_history),
        }
        path = f"{self._at.objects}/{OBJECTS[name].number}/batch/read"
        where = f"{len(ids)} ids from {ids[0]}"
        request = Request(path, entity, where, "POST", params={"archived": flag(archived)}, body=body)
        return self._client.listing(request, "results")
