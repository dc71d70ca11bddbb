"""What Tryton's answers mean, without a Tryton; the connector itself is tested by `make test-tryton`."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from dagster_project.extract.api.api_errors import Malformed
from dagster_project.extract.api.connectors import connector_class
from dagster_project.extract.api.dialect import Kind
from dagster_project.extract.api.exchange import Reply
from dagster_project.extract.api.json_text import RawRecord
from dagster_project.extract.api.protocol import OWN_KEY
from dagster_project.extract.crm.tryton_records import current_record, deleted_record, version_record
from dagster_project.extract.crm.tryton_rpc import TrytonDialect, instant, rpc, typed_instant

DIALECT = TrytonDialect("sales", "reader", "canary-51c0")
CREATED = {"__class__": "datetime", "year": 2026, "month": 3, "day": 1, "hour": 9, "minute": 5, "second": 7,
           "microsecond": 250}  # fmt: skip


def answer(body: Any, status: int = 200, **request: Any) -> Reply:
    asked = rpc("sales", "model.sale.opportunity.search_read", [], "deals", **request)
    return Reply(asked, status, {}, json.dumps(body, separators=(",", ":")).encode())


def raw(text: str) -> RawRecord:
    return RawRecord(json.loads(text), text)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (["UserError", ["You are not allowed to read Opportunity.", "", None]], Kind.FORBIDDEN),
        (["LoginException", ["password", "Password", "password"]], Kind.UNAUTHORIZED),
        (["ConcurrencyException", "Records were modified in the meanwhile"], Kind.RETRY),
        (["database is locked", ""], Kind.RETRY),
        (["'sale.opportunity'", ""], Kind.ABSENT),
    ],
)
def test_an_error_inside_a_good_answer_is_judged_by_its_class(error: list[Any], kind: Kind) -> None:
    verdict = DIALECT.judge(answer({"id": 0, "error": error}))
    assert verdict.kind is kind and verdict.reason


def test_the_word_error_in_a_record_is_no_error() -> None:
    records = {"id": 0, "result": [{"id": 1, "description": 'the "error" of our ways'}]}
    assert DIALECT.judge(answer(records)).kind is Kind.GOOD


def test_a_login_refused_for_its_many_attempts_is_not_tried_again() -> None:
    assert DIALECT.judge(answer({}, 429, needs_credentials=False)).kind is Kind.UNAUTHORIZED
    assert DIALECT.judge(answer({}, 429)).kind is Kind.RETRY


def test_parameters_travel_in_the_body_only() -> None:
    request = rpc("sales", "common.db.login", ["reader", {"password": "canary-51c0"}], "login")
    assert (request.path, request.params, request.method) == ("sales/rpc/", None, "POST")
    assert request.body == {
        "id": 0,
        "method": "common.db.login",
        "params": ["reader", {"password": "canary-51c0"}],
    }


def test_instants_are_utc_whatever_the_zone_they_are_asked_in() -> None:
    local = datetime(2026, 3, 1, 10, 5, 7, 250, tzinfo=timezone(timedelta(hours=1)))
    assert typed_instant(local) == CREATED
    assert instant(CREATED) == datetime(2026, 3, 1, 9, 5, 7, 250, tzinfo=UTC)
    assert instant(None) is None
    with pytest.raises(Malformed, match="is no instant"):
        instant({"__class__": "date", "year": 2026, "month": 3, "day": 1})


def test_records_keep_the_text_that_was_sent() -> None:
    text = (
        '{"id": 4, "amount": {"__class__":"Decimal","decimal":"90071992547409931.230"}, "write_date":null, '
    )
    row = raw(text + f'"create_date":{json.dumps(CREATED)}}}')
    at = datetime(2026, 4, 1, tzinfo=UTC)
    record = current_record(row)
    assert (record.record_id, record.payload, record.modified_at) == ("4", row.text, instant(CREATED))

    gone = deleted_record(row, at)
    payload = json.loads(gone.payload)
    assert (gone.is_deleted, gone.modified_at) == (True, at)
    assert payload.pop(OWN_KEY) == {"deleted_reason": "deleted", "deleted_at": "2026-04-01T00:00:00+00:00"}
    assert payload == row.value

    version = version_record(4, at, "Ada", row)
    assert version.record_id == "4@2026-04-01T00:00:00+00:00" and row.text in version.payload
    assert json.loads(version_record(4, at, None, None).payload)["values"] is None


def test_the_connector_is_known_by_its_type_and_asks_for_few_fields() -> None:
    connector = connector_class("tryton")
    assert [spec.name for spec in connector.ENTITIES if spec.is_core] == [
        "stages", "currencies", "deals", "stage_history"
    ]  # fmt: skip
