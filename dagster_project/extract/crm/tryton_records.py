"""What is asked of Tryton's models, and how its rows become records."""

import json
from datetime import datetime

from dagster_project.extract.api.json_text import RawRecord
from dagster_project.extract.api.protocol import OWN_KEY, Record
from dagster_project.extract.crm.tryton_rpc import instant, typed_instant

_STAMPS = ("create_date", "create_uid", "write_date", "write_uid")
DEALS = "sale.opportunity"
LINES = "sale.opportunity.line"

MODELS = {
    "stages": DEALS,
    "currencies": "currency.currency",
    "owners": "company.employee",
    "deals": DEALS,
    "stage_history": DEALS,
    "accounts": "party.party",
    "products": "product.product",
    "line_items": LINES,
}
_DEAL_FIELDS = (
    "number", "reference", "description", "company", "party", "employee", "currency", "amount",
    "start_date", "end_date", "conversion_probability", "lost_reason", "state", "converted_by", *_STAMPS,
)  # fmt: skip
FIELDS: dict[str, tuple[str, ...]] = {
    "currencies": ("code", "name", *_STAMPS),
    "owners": ("rec_name", "company", "supervisor", "start_date", "end_date", "active", *_STAMPS),
    "deals": _DEAL_FIELDS,
    "stage_history": _DEAL_FIELDS,
    "accounts": ("rec_name", "code", "active", "addresses.country.name", *_STAMPS),
    "products": ("name", "code", "list_price_used", "active", "template.categories.name", *_STAMPS),
    "line_items": ("opportunity", "product", "quantity", *_STAMPS),
}
# Only the customers and products that deals name are read: entity → where they are named.
NAMED_BY = {"accounts": (DEALS, "party"), "products": (LINES, "product")}


def changed_at_of(raw: RawRecord) -> datetime:
    """When this version of a record began (UTC)."""
    changed_at = instant(raw.value["write_date"] or raw.value["create_date"])
    assert changed_at is not None
    return changed_at


def current_record(raw: RawRecord) -> Record:
    """A row as it was read."""
    return Record(str(raw.value["id"]), raw.text, changed_at_of(raw))


def deleted_record(raw: RawRecord, at: datetime) -> Record:
    """A deleted deal: its last version, and when it was deleted."""
    words = json.dumps({OWN_KEY: {"deleted_reason": "deleted", "deleted_at": at.isoformat()}})
    return Record(str(raw.value["id"]), f"{words[:-1]}, {raw.text.lstrip()[1:]}", at, is_deleted=True)


def version_record(number: int, at: datetime, user: str | None, raw: RawRecord | None) -> Record:
    """One version of a deal: its own JSON under `values`, null where the deal was deleted."""
    words = json.dumps({"deal": number, "at": typed_instant(at), "user": user}, ensure_ascii=False)
    text = raw.text if raw else "null"
    return Record(f"{number}@{at.isoformat()}", f'{words[:-1]}, "values": {text}}}', at)
