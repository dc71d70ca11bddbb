"""The part of SOQL that the simulated org understands; everything else is refused as a MALFORMED_QUERY."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.simulators.salesforce_org import RELATIONS, Org, Row, moment

_SHAPE = re.compile(
    r"SELECT (?P<fields>.+?) FROM (?P<name>\w+)(?: WHERE (?P<where>.+?))?"
    r"(?P<order> ORDER BY Id)?(?: LIMIT (?P<limit>\d+))?",
    re.IGNORECASE,
)
_TERM = re.compile(r"(?P<field>[\w.]+) (?P<sign>>=|<=|!=|=|<|>|IN) (?P<value>.+)", re.IGNORECASE)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "IN": lambda value, wanted: value in wanted,
}
NOT_FILTERED = {("OpportunityFieldHistory", "OldValue"), ("OpportunityFieldHistory", "NewValue")}


class SoqlError(Exception):
    """A query that is refused; `code` as the interface names it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Found:
    """The rows of a query, whole, and the fields that were asked for; `is_count` for COUNT()."""

    name: str
    fields: tuple[str, ...]
    rows: list[Row]
    is_count: bool = False


def select(org: Org, query: str, *, with_deleted: bool, is_bulk: bool = False) -> Found:
    """Run a query."""
    shape = _SHAPE.fullmatch(query.strip())
    if shape is None:
        raise SoqlError("MALFORMED_QUERY", f"unexpected token in {query[:60]!r}")
    name = shape["name"]
    if name not in org.tables or name in org.absent:
        raise SoqlError("INVALID_TYPE", f"sObject type '{name}' is not supported.")
    is_count = shape["fields"].upper() == "COUNT()"
    fields = () if is_count else tuple(part.strip() for part in shape["fields"].split(","))
    if len(set(fields)) != len(fields):
        raise SoqlError("INVALID_FIELD", "duplicate field selected")
    for column in fields:
        _require(org, name, column)
        if is_bulk and org.fields[name].get(column) in ("address", "location", "base64"):
            raise SoqlError("FUNCTIONALITY_NOT_ENABLED", "compound data not supported in Bulk Query")
    tests = [_test(org, name, term) for term in (shape["where"] or "").split(" AND ") if term]
    rows = [row for row in org.tables[name].values() if with_deleted or not row["IsDeleted"]]
    rows = [row for row in rows if all(test(row) for test in tests)]
    if shape["order"]:
        rows.sort(key=lambda row: row["Id"])
    rows = rows[: int(shape["limit"])] if shape["limit"] else rows
    # A result is what the records were when it was made.
    return Found(name, fields, [dict(row) for row in rows], is_count)


def value_of(org: Org, row: Row, column: str) -> Any:
    """A field, also over one relation."""
    relation, _, path = column.partition(".")
    if not path:
        return row.get(column)
    other = org.related(row, relation)
    return other[path] if other else None


def _require(org: Org, name: str, column: str) -> None:
    relation, _, path = column.partition(".")
    if path and relation in RELATIONS and f"{relation}Id" in org.visible_fields(name):
        name, column = RELATIONS[relation], path
    if column not in org.visible_fields(name):
        raise SoqlError("INVALID_FIELD", f"No such column '{column}' on entity '{name}'.")


def _test(org: Org, name: str, term: str) -> Callable[[Row], bool]:
    parts = _TERM.fullmatch(term.strip())
    if parts is None:
        raise SoqlError("MALFORMED_QUERY", f"unexpected token: {term!r}")
    column = parts["field"]
    _require(org, name, column)
    if (name, column) in NOT_FILTERED:
        raise SoqlError("INVALID_FIELD", f"field '{column}' can not be filtered in a query call")
    sign = _SIGNS[parts["sign"].upper()]
    wanted = _literal(parts["value"])
    is_instant = org.fields.get(name, {}).get(column) == "datetime"
    if is_instant != hasattr(wanted, "tzinfo"):
        raise SoqlError(
            "INVALID_FIELD", f"value of filter criterion for field '{column}' must be of its type"
        )

    def holds(row: Row) -> bool:
        value = value_of(org, row, column)
        if value is None:
            return False
        return sign(moment(value) if is_instant else value, wanted)

    return holds


def _literal(text: str) -> Any:
    text = text.strip()
    if text.startswith("("):
        return {_literal(part) for part in text.strip("()").split(",")}
    if text.startswith("'"):
        return text.strip("'")
    if text in ("true", "false"):
        return text == "true"
    if _INSTANT.fullmatch(text):
        return moment(text)
    raise SoqlError("MALFORMED_QUERY", f"unexpected token: {text!r}")
