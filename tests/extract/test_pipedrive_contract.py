"""Connector and simulator keep to Pipedrive's interface: to our short version of it, and to the vendor's own.

The vendor's OpenAPI documents are not part of this repository. A developer who has them sets
STAGELEDGER_VENDOR_SPECS to the folder with pipedrive/v1.yaml and pipedrive/v2.yaml.
"""

import json
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
import yaml

from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.crm.pipedrive import PipedriveConnector
from dagster_project.extract.crm.pipedrive_operations import OPERATIONS
from dagster_project.simulate import SimulationConfig, simulate
from tests.extract.api_bench import StillClock
from tests.simulators.pipedrive_bench import pipedrive_source
from tests.simulators.pipedrive_contract import ANSWERS, Route, answered_fields, check_answer
from tests.simulators.pipedrive_server import TOKEN, PipedriveServer, as_json
from tests.simulators.pipedrive_world import SimulatedCompany

SPECS = os.environ.get("STAGELEDGER_VENDOR_SPECS", "")
needs_documents = pytest.mark.skipif(
    not SPECS, reason="set STAGELEDGER_VENDOR_SPECS to a folder with pipedrive/v1.yaml and v2.yaml"
)
# The documents say text or number, and nothing of null: but the last page has no next cursor, an open deal
# was not won, and a deal may lack a person, an organization or a date.
NULL_IN_FACT = ("next_cursor", "won_time", "lost_time", "expected_close_date", "person_id", "org_id")
Told = list[tuple[Route, dict[str, str], Any]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """All that was asked and answered in two nights over a small business."""
    start = date(2025, 6, 1)
    config = SimulationConfig(n_deals=60, start_on=start, end_on=start + timedelta(days=150))
    company = SimulatedCompany(simulate(config))
    server = PipedriveServer(company)
    server.answers = []
    source, landing = pipedrive_source(server.address), tmp_path_factory.mktemp("contract")
    for day in (start + timedelta(days=120), start + timedelta(days=130)):
        company.load(day)
        clock = StillClock(datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=27))
        server.clock = clock.now
        end = datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=1)
        span = Span(end - timedelta(days=1), end)
        connector = PipedriveConnector(source, clock)
        reports = extract_api(landing, source, span, connector=connector)
        assert all(not report.reason for report in reports)
    requests.get(
        f"{server.address}/api/v1/pipelines/1/movement_statistics",
        params={"start_date": "2025-07-01", "end_date": "2025-08-31", "user_id": "1"},
        headers={"x-api-token": TOKEN},
        timeout=10,
    ).raise_for_status()
    server.close()
    assert not server.violations
    yield [(route, query, json.loads(as_json(body))) for route, query, body in server.answers]


def test_the_simulator_answers_in_the_shapes_that_the_interface_has(answers: Told) -> None:
    assert {route.path for route, _, _ in answers} >= ANSWERS.keys()
    assert [wrong for route, _, body in answers for wrong in check_answer(route, body)] == []


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    """Version → OpenAPI document."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    folder = Path(SPECS) / "pipedrive"
    return {
        version: yaml.load((folder / f"{version}.yaml").read_text(encoding="utf-8"), loader)
        for version in ("v1", "v2")
    }


@needs_documents
def test_the_vendor_has_every_operation_at_our_price_and_has_deprecated_none(
    documents: dict[str, dict[str, Any]],
) -> None:
    for one in OPERATIONS:
        stated = documents[one.version]["paths"][one.path]["get"]
        assert (one.path, stated["x-token-cost"]) == (one.path, one.tokens)
        assert not stated.get("deprecated"), one.path
        if one.version == "v1":
            assert one.path not in documents["v2"]["paths"], f"{one.path} is in version 2 by now"


@needs_documents
def test_every_request_is_one_that_the_vendor_describes(
    documents: dict[str, dict[str, Any]], answers: Told
) -> None:
    for route, query, _ in answers:
        document = documents[route.version]
        stated = [
            _resolved(one, document) for one in document["paths"][route.path]["get"].get("parameters", [])
        ]
        known = {one["name"]: one for one in stated if one["in"] == "query"}
        assert query.keys() <= known.keys(), route.path
        assert {name for name, one in known.items() if one.get("required")} <= query.keys()
        for name, text in query.items():
            allowed = known[name]["schema"].get("enum")
            assert allowed is None or set(text.split(",")) <= set(allowed), f"{route.path}: {name}={text}"
            assert known[name]["schema"]["type"] != "integer" or text.isdigit()


@needs_documents
def test_every_answer_of_the_simulator_is_one_that_the_vendor_describes(
    documents: dict[str, dict[str, Any]], answers: Told
) -> None:
    checked: set[str] = set()
    wrong: set[str] = set()
    for route, _, body in answers:
        schema = _answer_schema(documents[route.version], route.path)
        for error in jsonschema.Draft202012Validator(schema).iter_errors(body):
            field = next((step for step in reversed(error.absolute_path) if isinstance(step, str)), "")
            if not (error.instance is None and field in NULL_IN_FACT):
                wrong.add(f"{route.path}: {field}: {error.message}")
        checked.add(route.path)
    assert sorted(wrong) == []
    assert len(checked) == 15


@needs_documents
def test_every_field_that_is_read_is_one_that_the_vendor_describes(
    documents: dict[str, dict[str, Any]], answers: Told
) -> None:
    for route in {route for route, _, _ in answers}:
        fields = answered_fields(route.path)
        if fields:
            schema = _answer_schema(documents[route.version], route.path)
            described = _properties(schema["properties"]["data"]["items"])
            assert fields.keys() <= described, f"{route.path}: {fields.keys() - described}"


def _answer_schema(document: dict[str, Any], path: str) -> dict[str, Any]:
    answer = _resolved(document["paths"][path]["get"]["responses"]["200"], document)
    found: dict[str, Any] = _schema(answer["content"]["application/json"]["schema"], document)
    return found if "properties" in found else {"properties": _merged(found)}


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    parts = schema.get("allOf", [schema])
    return {name: value for part in parts for name, value in part.get("properties", {}).items()}


def _properties(schema: dict[str, Any]) -> set[str]:
    parts = schema.get("allOf", [])
    return set(schema.get("properties", {})) | {name for part in parts for name in _properties(part)}


def _resolved(value: Any, document: dict[str, Any]) -> Any:
    while isinstance(value, dict) and "$ref" in value:
        found: Any = document
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        value = found
    return value


def _schema(value: Any, document: dict[str, Any]) -> Any:
    """An OpenAPI 3.0 schema as JSON Schema: references followed, `nullable` written out."""
    value = _resolved(value, document)
    if isinstance(value, list):
        return [_schema(one, document) for one in value]
    if not isinstance(value, dict):
        return value
    left_out = ("example", "examples", "nullable", "description", "format")
    found = {name: _schema(one, document) for name, one in value.items() if name not in left_out}
    if value.get("nullable"):
        return {"anyOf": [found, {"type": "null"}]}
    return found
