"""A Salesforce org on 127.0.0.1: login, REST queries, Bulk 2.0, logs of changes, limits and faults."""

from __future__ import annotations

import base64
import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

from tests.simulators.local_server import Answer, Asked, LocalServer
from tests.simulators.salesforce_answers import as_csv, described, picklist, records
from tests.simulators.salesforce_org import NOT_REPLICATED, Org, moment, stamp
from tests.simulators.salesforce_soql import Found, SoqlError, select

CLIENT_ID = "3MVG9-canary-client-id"
CLIENT_SECRET = "canary-secret-5f2ab9c1"
USER = "integration@example.com"


class Refused(Exception):
    """An error answer."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class SalesforceServer(LocalServer):
    """One org. `clock`: the org's time; without one it stands still where the org's own stands.

    `page_size`: rows of a page, at most 2,000 ("fewer if wide"). `limit`: requests in 24 hours. `jobs_fail`:
    the state in which Bulk jobs end instead of JobComplete. A locator belongs to the session that made it.
    """

    def __init__(self, org: Org | None = None, clock: Callable[[], datetime] | None = None) -> None:
        super().__init__()
        self.org = org or Org()
        self.clock = clock or (lambda: self.org.now)
        self.version = "66.0"
        self.page_size = 2_000
        self.limit = 100_000
        self.used = 0
        self.polls_until_done = 1
        self.jobs_fail: str | None = None
        self.public_key: Any = None
        self.queries: list[str] = []
        self.session = ""
        self.jobs: dict[str, dict[str, Any]] = {}
        self._cursors: dict[str, tuple[str, Found]] = {}
        self._numbers = itertools.count(1)

    def counts(self) -> Counter[str]:
        """How often each path was asked, without its parameters."""
        return Counter(asked.place for asked in self.asked)

    def end_session(self) -> None:
        """As if the token had been revoked or timed out."""
        self.session = ""

    def as_bytes(self, body: Any) -> bytes:
        return json.dumps(body, separators=(",", ":")).encode()

    def answer(self, asked: Asked) -> Answer:
        with self._lock:
            self.org.now = self.clock()
            self.org.settle()
            self.org.emptied_bin()
            return self._answer(asked)

    def _answer(self, asked: Asked) -> Answer:
        headers: dict[str, str] = {}
        try:
            if asked.place == "/services/oauth2/token":
                form = {name: values[0] for name, values in parse_qs(asked.raw.decode()).items()}
                return self._login(form | _basic(asked.headers.get("Authorization", "")))
            if asked.place == "/services/data":
                return 200, {}, [{"label": "Spring '26", "url": "/services/data/v66.0", "version": "66.0"}]
            if not self.session or asked.headers.get("Authorization") != f"Bearer {self.session}":
                raise Refused(401, "INVALID_SESSION_ID", "Session expired or invalid")
            if self.used >= self.limit:
                raise Refused(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
            self.used += 1
            usage = f"api-usage={self.used}/{self.limit}; per-app-api-usage=1/2(appName=stageledger)"
            headers["Sforce-Limit-Info"] = usage
            status, more, value = self._resource(asked.method, asked.place, asked.query, asked.raw)
            return status, headers | dict(more), value
        except SoqlError as error:
            return 400, headers, [{"message": str(error), "errorCode": error.code}]
        except Refused as error:
            return error.status, headers, [{"message": str(error), "errorCode": error.code}]

    def _login(self, form: Mapping[str, str]) -> Answer:
        if form.get("grant_type") == "client_credentials":
            is_known = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        else:
            is_known = self._is_signed(form.get("assertion", ""))
        if not is_known:
            return 400, {}, {"error": "invalid_grant", "error_description": "authentication failure"}
        self.session = f"00D5g!canary-session-{next(self._numbers)}"
        return 200, {}, {
            "access_token": self.session,
            "instance_url": self.address,
            "token_type": "Bearer",
            "scope": "api",
        }  # fmt: skip

    def _is_signed(self, assertion: str) -> bool:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        def decoded(part: str) -> bytes:
            return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

        head, claims, signature = assertion.split(".")
        self.public_key.verify(
            decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        told = json.loads(decoded(claims))
        left = told["exp"] - self.org.now.timestamp()
        expected = {"iss": CLIENT_ID, "sub": USER, "aud": "https://login.salesforce.com"}
        return 0 < left <= 300 and {name: told[name] for name in expected} == expected

    def _resource(self, method: str, path: str, params: Mapping[str, str], body: bytes) -> Answer:
        root = f"/services/data/v{self.version}"
        if not path.startswith("/services/data/v") or method not in ("GET", "POST"):
            raise Refused(404, "NOT_FOUND", "The requested resource does not exist")
        if path != root and not path.startswith(root + "/"):
            raise Refused(410, "REQUESTED_RESOURCE_RETIRED", "The requested resource is retired")
        parts = path.removeprefix(root).strip("/").split("/")
        if parts == [""]:
            return 200, {}, {"query": f"{root}/query", "sobjects": f"{root}/sobjects"}
        if parts[0] in ("query", "queryAll"):
            return self._query(parts, params)
        if parts[:2] == ["jobs", "query"]:
            return self._bulk(method, parts[2:], params, body)
        if parts[0] == "sobjects" and len(parts) == 3:
            return self._object(parts[1], parts[2], params)
        if parts[:2] == ["ui-api", "object-info"] and parts[-1] == "StageName":
            return 200, {}, picklist(self.org, parts[4])
        raise Refused(404, "NOT_FOUND", "The requested resource does not exist")

    def _query(self, parts: list[str], params: Mapping[str, str]) -> Answer:
        if len(parts) == 2:
            cursor, _, start = parts[1].rpartition("-")
            session, found = self._cursors.get(cursor, ("", None))
            if found is None:
                raise Refused(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
            if session != self.session:
                raise Refused(401, "INVALID_SESSION_ID", "Session expired or invalid")
            return 200, {}, self._page(found, cursor, int(start))
        query = params["q"]
        self.queries.append(query)
        found = select(self.org, query, with_deleted=parts[0] == "queryAll")
        if found.is_count:
            return 200, {}, {"totalSize": len(found.rows), "done": True, "records": []}
        cursor = f"01g5g{next(self._numbers):013d}"
        self._cursors[cursor] = (self.session, found)
        return 200, {}, self._page(found, cursor, 0)

    def _page(self, found: Found, cursor: str, start: int) -> dict[str, Any]:
        end = start + self.page_size
        page: dict[str, Any] = {"totalSize": len(found.rows), "done": end >= len(found.rows)}
        if not page["done"]:
            # Also behind queryAll the link says query/.
            page["nextRecordsUrl"] = f"/services/data/v{self.version}/query/{cursor}-{end}"
        return {**page, "records": records(self.org, found, start, end)}

    def _bulk(self, method: str, parts: list[str], params: Mapping[str, str], body: bytes) -> Answer:
        if method == "POST":
            order = json.loads(body)
            self.queries.append(order["query"])
            found = select(
                self.org, order["query"], with_deleted=order["operation"] == "queryAll", is_bulk=True
            )
            job = f"7505g{next(self._numbers):013d}"
            self.jobs[job] = {"found": found, "polls": 0, "object": found.name}
            return 200, {}, {"id": job, "operation": order["operation"], "state": "UploadComplete",
                             "contentType": "CSV", "object": found.name}  # fmt: skip
        job = self.jobs.get(parts[0])
        if job is None:
            raise Refused(404, "NOT_FOUND", "The requested resource does not exist")
        job["polls"] += 1
        is_done = job["polls"] > self.polls_until_done
        if len(parts) == 1:
            state = (self.jobs_fail or "JobComplete") if is_done else "InProgress"
            told = {"id": parts[0], "state": state, "object": job["object"]}
            if state == "Failed":
                told["errorMessage"] = "InternalServerError: query timed out"
            if state == "JobComplete":
                told["numberRecordsProcessed"] = len(job["found"].rows)
            return 200, {}, told
        if not is_done:
            raise Refused(400, "INVALIDJOBSTATE", "Job is not complete")
        start = int(base64.b64decode(params.get("locator", "MA==")))
        rows = job["found"].rows[start : start + int(params.get("maxRecords", 100_000))]
        end = start + len(rows)
        more = base64.b64encode(str(end).encode()).decode() if end < len(job["found"].rows) else "null"
        headers = {
            "Sforce-Locator": more,
            "Sforce-NumberOfRecords": str(len(rows)),
            "Content-Type": "text/csv",
        }
        return 200, headers, as_csv(self.org, job["found"], rows)

    def _object(self, name: str, what: str, params: Mapping[str, str]) -> Answer:
        if name not in self.org.tables or name in self.org.absent:
            raise Refused(404, "NOT_FOUND", "The requested resource does not exist")
        if what == "describe":
            return 200, {}, described(self.org, name)
        if name in NOT_REPLICATED or what not in ("updated", "deleted"):
            raise Refused(400, "INVALID_TYPE", f"{name} is not replicateable")
        start, end = (moment(params[key]).replace(second=0) for key in ("start", "end"))
        if start >= end or start < self.org.now - timedelta(days=30):
            raise Refused(400, "INVALID_REPLICATION_DATE", "startDate must be within 30 days, before endDate")
        covered = stamp(min(self.org.latest_date_covered, end))
        if what == "updated":
            changed = [
                row["Id"]
                for row in self.org.tables[name].values()
                if start <= moment(row["SystemModstamp"]) < end and not row["IsDeleted"]
            ]
            return 200, {}, {"ids": changed, "latestDateCovered": covered}
        gone = [
            {"id": record_id, "deletedDate": stamp(at)}
            for record_id, at in self.org.deleted.get(name, [])
            if start <= at < end
        ]
        begins = self.org.log_begins or self.org.now - timedelta(days=30)
        told = {"earliestDateAvailable": stamp(begins), "latestDateCovered": covered, "deletedRecords": gone}
        return 200, {}, told


def _basic(header: str) -> dict[str, str]:
    """Client id and secret may also come by this header."""
    kind, _, value = header.partition(" ")
    if kind != "Basic":
        return {}
    client_id, _, secret = base64.b64decode(value).decode().partition(":")
    return {"client_id": client_id, "client_secret": secret}
