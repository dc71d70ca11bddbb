"""Bulk 2.0: a query job is started, waited for, and its CSV fetched in pieces, perhaps by another process."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dagster_project.extract.api.api_errors import (
    CursorExpired,
    Malformed,
    NotThere,
    Place,
    SourceUnavailable,
)
from dagster_project.extract.api.exchange import Reply, Request
from dagster_project.extract.api.http import Client
from dagster_project.extract.api.protocol import Cursor

# A piece is held in memory as a whole.
ROWS_PER_PIECE = 10_000
_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_WAIT = 1.0, 30.0, 3600.0  # seconds
_NO_MORE = "null"
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_NUMBER_TYPES = frozenset({"currency", "double", "percent", "int", "long"})


class BulkFailed(Exception):
    """A job that Salesforce gave up, or that someone aborted; the text says why."""


@dataclass(frozen=True)
class Piece:
    """Rows of a finished job as payloads like those of REST, and the cursor behind them (None: the last)."""

    rows: list[tuple[Mapping[str, str], str]]
    cursor: Cursor | None
    total: int


class BulkQuery:
    """Query jobs of one org in one version of the interface."""

    def __init__(self, client: Client, root: str, rows_per_piece: int = ROWS_PER_PIECE) -> None:
        self._client = client
        self._jobs = f"{root}/jobs/query"
        self._rows_per_piece = rows_per_piece

    def start(self, entity: str, query: str) -> str:
        """The id of a new job, deleted records included.

        Asked again after a lost answer it leaves a second job behind, which costs nothing but its place.
        """
        body = {"operation": "queryAll", "query": query, "contentType": "CSV", "lineEnding": "LF"}
        job = self._client.json(Request(self._jobs, entity, "new Bulk job", method="POST", body=body))
        return str(job["id"])

    def pieces(
        self, entity: str, cursor: Cursor, types: Mapping[str, str], *, is_resumed: bool
    ) -> Iterator[Piece]:
        """Wait for the job of the cursor, then its pieces from the cursor's locator on.

        Errors: BulkFailed; SourceUnavailable when the job takes too long (another run goes on with it);
        CursorExpired when a job of an earlier run is gone (Salesforce keeps results for a week).
        """
        job, locator, seen = cursor["job"], cursor.get("locator"), int(cursor.get("seen", 0))
        try:
            total = self._wait(entity, job)
            while True:
                rows, locator = self._fetch(entity, job, locator, types)
                seen += len(rows)
                more = {"job": job, "locator": locator, "seen": seen} if locator else None
                yield Piece(rows, more, max(total, seen))
                if more is None:
                    return
        except NotThere as error:
            if is_resumed:
                raise CursorExpired(str(error)) from error
            raise

    def _wait(self, entity: str, job: str) -> int:
        pause, patience = _FIRST_PAUSE, _LONGEST_WAIT
        while True:
            state = self._client.json(Request(f"{self._jobs}/{job}", entity, f"Bulk job {job}"))
            if state["state"] == "JobComplete":
                return int(state.get("numberRecordsProcessed") or 0)
            if state["state"] in ("Failed", "Aborted"):
                raise BulkFailed(
                    f"Bulk job {job}: {state['state']} {state.get('errorMessage') or ''}".strip()
                )
            if patience < 0:
                place = Place(self._client.account, entity, f"Bulk job {job}")
                what = f"the job is {state['state']} after {_LONGEST_WAIT / 60:.0f} minutes"
                raise SourceUnavailable(place, what, "run again later: the run goes on with this job")
            self._client.clock.sleep(pause)
            patience -= pause
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _fetch(
        self, entity: str, job: str, locator: str | None, types: Mapping[str, str]
    ) -> tuple[list[tuple[Mapping[str, str], str]], str | None]:
        params: dict[str, Any] = {"maxRecords": self._rows_per_piece}
        if locator:
            params["locator"] = locator
        request = Request(
            f"{self._jobs}/{job}/results",
            entity,
            f"Bulk job {job}, locator {locator or 'first'}",
            params=params,
            headers={"Accept": "text/csv"},
        )
        return self._client.send(request, lambda reply: _read(reply, types))


def _read(reply: Reply, types: Mapping[str, str]) -> tuple[list[tuple[Mapping[str, str], str]], str | None]:
    told = reply.headers.get("Sforce-NumberOfRecords")
    if told is None:
        raise Malformed("the answer does not say how many records it holds")
    rows = [(row, as_json(row, types)) for row in _csv_rows(reply.text)]
    if len(rows) != int(told):
        raise Malformed(f"{len(rows)} of {told} records arrived")
    locator = reply.headers.get("Sforce-Locator")
    return rows, None if locator in (None, "", _NO_MORE) else locator


def _csv_rows(text: str) -> Iterator[dict[str, str]]:
    # Salesforce lets null bytes through into CSV; no reader of JSON takes them.
    lines = csv.reader(io.StringIO(text.replace("\0", ""), newline=""), strict=True)
    try:
        header = next(lines, None)
        if header is None:
            raise Malformed("the answer has no header")
        for line in lines:
            if len(line) != len(header):
                raise Malformed(f"a row of {len(line)} values under {len(header)} headers")
            yield dict(zip(header, line, strict=True))
    except csv.Error as error:
        raise Malformed(f"the answer is no CSV ({error})") from None


def as_json(row: Mapping[str, str], types: Mapping[str, str]) -> str:
    """A CSV row as REST would have sent it: empty is null, numbers keep their digits, booleans are bare."""
    return "{" + ",".join(f"{json.dumps(name)}:{_value(row[name], types.get(name))}" for name in row) + "}"


def _value(text: str, kind: str | None) -> str:
    if text == "":
        return "null"
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower()
    if kind in _NUMBER_TYPES and _NUMBER.fullmatch(text):
        return text
    return json.dumps(text, ensure_ascii=False)
