"""Bodies of the answers of a simulated Salesforce org."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from tests.simulators.salesforce_org import NOT_REPLICATED, Org, Row
from tests.simulators.salesforce_soql import Found, value_of


def records(org: Org, found: Found, start: int, end: int) -> list[dict[str, Any]]:
    """Rows of a REST page, with `attributes` and records behind relations nested."""
    page = []
    for row in found.rows[start:end]:
        record: dict[str, Any] = {"attributes": {"type": found.name, "url": f"/{row['Id']}"}}
        for column in found.fields:
            relation, _, path = column.partition(".")
            value = value_of(org, row, column)
            if path:
                value = None if value is None else {"attributes": {"type": relation}, path: value}
            record[relation] = value
        page.append(record)
    return page


def as_csv(org: Org, found: Found, rows: Sequence[Row]) -> bytes:
    """A piece of a Bulk result."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(found.fields)
    for row in rows:
        writer.writerow([_csv_value(value_of(org, row, column)) for column in found.fields])
    return text.getvalue().encode()


def described(org: Org, name: str) -> dict[str, Any]:
    """What `describe` tells of an object: only what this user may see."""
    fields = [
        {
            "name": column,
            "type": kind,
            "label": column,
            "relationshipName": column.removesuffix("Id") if kind == "reference" else None,
        }
        for column, kind in org.visible_fields(name).items()
    ]
    return {"name": name, "replicateable": name not in NOT_REPLICATED, "fields": fields}


def picklist(org: Org, record_type: str) -> dict[str, Any]:
    """The stages that a record type offers, as the interface of the user interface tells them."""
    stages = {row["ApiName"]: row for row in org.tables["OpportunityStage"].values()}
    values = [
        {
            "attributes": {"closed": stages[stage]["IsClosed"], "won": stages[stage]["IsWon"]},
            "label": stages[stage]["MasterLabel"],
            "validFor": [],
            "value": stage,
        }
        for stage in org.picklists.get(record_type, ())
    ]
    return {"controllerValues": {}, "defaultValue": None, "values": values}


def _csv_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).replace("+0000", "Z")
