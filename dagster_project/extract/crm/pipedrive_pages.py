"""Lists of Pipedrive, page by page: where an operation lies, what a whole answer is, which page is next."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from dagster_project.extract.api.api_errors import CursorExpired, Malformed, RequestRefused
from dagster_project.extract.api.exchange import Reply, Request
from dagster_project.extract.api.http import Client
from dagster_project.extract.api.json_text import Listing, RawRecord, read_listing
from dagster_project.extract.crm import pipedrive_operations as ops
from dagster_project.extract.crm.pipedrive_operations import Operation

VENDOR_ADDRESS = "https://api.pipedrive.com"
PAGE = 500
# Lists of version 1 that come in pages all the same.
_PAGED_V1 = (ops.CHANGELOG,)


class PipedriveLists:
    """Asks one company's interface for lists."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def request(self, operation: Operation, entity: str, page: str, **more: Any) -> Request:
        """One question; `deal_id` fills the path, the rest are parameters."""
        # The vendor's common host has version 1 under another path than the companies' own hosts.
        is_common = urlsplit(self._client.base_url).hostname == urlsplit(VENDOR_ADDRESS).hostname
        root = "/v1" if is_common and operation.version == "v1" else f"/api/{operation.version}"
        path = root + operation.path.format(id=more.pop("deal_id", ""))
        return Request(path, entity, page, params=more, price=operation.tokens)

    def pages(
        self,
        operation: Operation,
        entity: str,
        params: Mapping[str, Any],
        after: str | None = None,
        place: str = "",
    ) -> Iterator[tuple[list[RawRecord], str | None]]:
        """The records of each page, and the cursor after it (None: the last page).

        Errors: CursorExpired when the `after` of an earlier process is refused.
        """
        is_resumed = after is not None
        is_paged = operation.version == "v2" or operation in _PAGED_V1
        while True:
            paging = {"limit": PAGE} if is_paged else {}
            if after is not None:
                paging["cursor"] = after
            page = f"{place or 'list'} after {after}" if after else place or "1"
            request = self.request(operation, entity, page, **params, **paging)
            try:
                found = self._client.send(request, lambda reply: self._whole(operation, reply))
            except RequestRefused as error:
                if is_resumed:
                    raise CursorExpired from error
                raise
            is_resumed = False
            after = _next_cursor(found)
            yield found.records, after
            if after is None:
                return

    def every(
        self, operation: Operation, entity: str, params: Mapping[str, Any], place: str = ""
    ) -> list[RawRecord]:
        """All records of a list that fits into memory."""
        pages = self.pages(operation, entity, params, place=place)
        return [raw for records, _ in pages for raw in records]

    def _whole(self, operation: Operation, reply: Reply) -> Listing:
        """The list in an answer. Errors: Malformed where a half or wrong answer would look like the end."""
        found = self._listing(operation, reply)
        params = reply.request.params or {}
        if len(found.records) >= params.get("limit", 0) > 0 and "additional_data" not in found.fields:
            raise Malformed("a full page does not say whether there is another")
        after = _next_cursor(found)
        if after is not None and after == params.get("cursor"):
            raise Malformed("the next page is the same page")
        return found

    def _listing(self, operation: Operation, reply: Reply) -> Listing:
        try:
            found = read_listing(reply.text, "data")
        except Malformed:
            value = self._client.dialect.envelope(reply.json(), reply)
            # Version 1 says null for an empty list; in a list of deals it would look like the last page.
            if operation is ops.CHANGELOG and "data" in value and value["data"] is None:
                return Listing(value, [])
            raise
        self._client.dialect.envelope(found.fields, reply)
        return found


def _next_cursor(found: Listing) -> str | None:
    more = found.fields.get("additional_data")
    return (more.get("next_cursor") or None) if isinstance(more, dict) else None
