"""Judges recorded requests and answers by a vendor's OpenAPI 3.0 documents, which are not ours and not here.

`python -m pytest` finds them in the folder that STAGELEDGER_VENDOR_SPECS names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from jsonschema import Draft202012Validator

JSON = "application/json"


@dataclass(frozen=True)
class Operation:
    """One method of one path of a document."""

    document: Mapping[str, Any]
    pattern: re.Pattern[str]
    method: str
    told: Mapping[str, Any]


class Contract:
    """All operations of some documents."""

    def __init__(self, documents: Iterable[Path]) -> None:
        self.operations = [
            Operation(document, _pattern(path), method.upper(), told)
            for document in (json.loads(path.read_text(encoding="utf-8")) for path in documents)
            for path, methods in document["paths"].items()
            for method, told in methods.items()
        ]

    def faults(self, method: str, address: str, body: Any, status: int, answer: Any) -> list[str]:
        """What is wrong with one exchange; a path that no document has is wrong, too."""
        parts = urlsplit(address)
        found = [o for o in self.operations if o.method == method and o.pattern.fullmatch(parts.path)]
        if not found:
            return [f"{method} {parts.path} is in no document"]
        # The same path may stand in several documents (one per object type): it must be right by all.
        return [
            fault for operation in found for fault in _faults(operation, parts.query, body, status, answer)
        ]


def _faults(operation: Operation, query: str, body: Any, status: int, answer: Any) -> Iterable[str]:
    told = {p["name"]: p for p in operation.told.get("parameters", []) if p["in"] == "query"}
    for name, values in parse_qs(query).items():
        if name not in told:
            yield f"unknown parameter {name}"
        elif told[name]["schema"]["type"] == "integer" and not all(value.isdigit() for value in values):
            yield f"{name} is no integer: {values}"
        elif told[name]["schema"]["type"] == "boolean" and not set(values) <= {"true", "false"}:
            yield f"{name} is no boolean: {values}"
    if "requestBody" in operation.told:
        schema = operation.told["requestBody"]["content"][JSON]["schema"]
        yield from _errors(operation, schema, body, "request")
        unknown = set(body) - set(_resolved(operation.document, schema).get("properties", {}))
        if unknown:
            yield f"unknown keys in the body: {sorted(unknown)}"
    elif body is not None:
        yield "a body where none is told"
    responses = operation.told["responses"]
    response = _resolved(
        operation.document, responses.get(str(status)) or responses["200" if status < 300 else "default"]
    )
    if content := response.get("content"):
        yield from _errors(
            operation, (content.get(JSON) or content["*/*"])["schema"], answer, f"answer {status}"
        )


def _errors(operation: Operation, schema: Any, value: Any, what: str) -> Iterable[str]:
    whole = {"components": _plain(operation.document["components"]), **_plain(schema)}
    for error in Draft202012Validator(whole).iter_errors(value):
        yield f"{what}: {error.json_path}: {error.message[:200]}"


def _resolved(document: Mapping[str, Any], part: Any) -> Any:
    while "$ref" in part:
        target: Any = document
        for step in part["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        part = target
    return part


def _plain(schema: Any) -> Any:
    """OpenAPI 3.0's own words in those of JSON schema."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _plain(part) for name, part in schema.items() if name not in ("nullable", "example")}
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        plain["type"] = [schema["type"], "null"]
    return plain


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))
