"""The contract of the landing: which fields every entity has, and what kind of value each field holds.

A source maps its own columns onto these names; from here on the product knows no other vocabulary.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "text", "decimal", "integer", "probability", "date", "instant", "boolean", "outcome", "status", "category"
]


@dataclass(frozen=True)
class Entity:
    """One entity of the landing.

    `fields` maps a field to the kind of its values, in payload order. `required` fields reject a row that
    leaves them empty, and a file that lacks their column. `key` names the fields that identify a record;
    without one, a record is identified by its content.
    """

    name: str
    fields: dict[str, Kind]
    required: tuple[str, ...] = ()
    key: tuple[str, ...] = ()


# The money fields of a deal; `metrics.amount_measure` chooses the one that is the amount.
AMOUNT_MEASURES: tuple[str, ...] = ("amount", "arr", "tcv")

_DEALS = Entity(
    "deals",
    {
        "deal_id": "text",
        "name": "text",
        "pipeline": "text",
        "stage": "text",
        "status": "status",
        "amount": "decimal",
        "arr": "decimal",
        "tcv": "decimal",
        "currency": "text",
        "created_at": "instant",
        "close_date": "date",
        "closed_at": "instant",
        "modified_at": "instant",
        "owner": "text",
        "account": "text",
        "product": "text",
        "region": "text",
        "country": "text",
        "source": "text",
        "deal_type": "text",
        "forecast_category": "category",
        "probability": "probability",
        "lost_reason": "text",
        "competitor": "text",
        "next_step": "text",
        "last_activity_at": "instant",
        "deal_url": "text",
        "deleted_at": "instant",
        "merged_into": "text",
        "merged_at": "instant",
    },
    required=("deal_id", "stage"),
    key=("deal_id",),
)

_STAGE_HISTORY = Entity(
    "stage_history",
    {
        "deal_id": "text",
        "changed_at": "instant",
        "stage": "text",
        "from_stage": "text",
        "pipeline": "text",
        "from_pipeline": "text",
        "amount": "decimal",
        "arr": "decimal",
        "tcv": "decimal",
        "currency": "text",
        "close_date": "date",
        "owner": "text",
        "status": "status",
        "forecast_category": "category",
        "probability": "probability",
        "sequence": "text",
        "changed_by": "text",
        "event_id": "text",
        "is_bulk": "boolean",
        "time_precision": "text",
        "change_source": "text",
    },
    required=("deal_id", "changed_at"),
)

_STAGES = Entity(
    "stages",
    {
        "stage_id": "text",
        "name": "text",
        "pipeline": "text",
        "order": "integer",
        "outcome": "outcome",
        "probability": "probability",
        "forecast_category": "category",
        "valid_from": "date",
    },
    required=("stage_id",),
)

# What a source of deals delivers.
SOURCE_ENTITIES: dict[str, Entity] = {
    entity.name: entity
    for entity in (
        _STAGES,
        Entity(
            "pipelines",
            {"pipeline_id": "text", "name": "text", "type": "text"},
            required=("pipeline_id",),
            key=("pipeline_id",),
        ),
        _DEALS,
        _STAGE_HISTORY,
        Entity(
            "accounts",
            {"account_id": "text", "name": "text", "industry": "text", "region": "text", "country": "text"},
            required=("account_id",),
            key=("account_id",),
        ),
        Entity(
            "products",
            {
                "product_id": "text",
                "name": "text",
                "family": "text",
                "list_price": "decimal",
                "currency": "text",
            },
            required=("product_id",),
            key=("product_id",),
        ),
        Entity(
            "owners",
            {
                "owner_id": "text",
                "name": "text",
                "email": "text",
                "team": "text",
                "manager": "text",
                "region": "text",
                "started_on": "date",
                "ended_on": "date",
                "is_active": "boolean",
            },
            required=("owner_id",),
            key=("owner_id",),
        ),
        Entity(
            "line_items",
            {
                "line_item_id": "text",
                "deal_id": "text",
                "product": "text",
                "quantity": "decimal",
                "unit_price": "decimal",
                "amount": "decimal",
                "currency": "text",
            },
            required=("deal_id",),
            key=("line_item_id",),
        ),
        Entity(
            "deal_splits",
            {
                "split_id": "text",
                "deal_id": "text",
                "owner": "text",
                "share": "probability",
                "amount": "decimal",
                "split_type": "text",
            },
            required=("deal_id", "owner"),
        ),
        # A lead that became several deals has a row for each.
        Entity(
            "leads",
            {
                "lead_id": "text",
                "deal_id": "text",
                "name": "text",
                "stage": "text",
                "status": "text",
                "created_at": "instant",
                "converted_at": "instant",
                "modified_at": "instant",
                "owner": "text",
                "source": "text",
                "deleted_at": "instant",
            },
            required=("lead_id",),
            key=("lead_id", "deal_id"),
        ),
        Entity(
            "lead_history",
            {
                "lead_id": "text",
                "changed_at": "instant",
                "stage": "text",
                "from_stage": "text",
                "sequence": "text",
            },
            required=("lead_id", "changed_at", "stage"),
        ),
    )
}

# A report of changes one field at a time; it is read as stage_history.
FIELD_HISTORY = Entity(
    "field_history",
    {
        "deal_id": "text",
        "field": "text",
        "old_value": "text",
        "new_value": "text",
        "changed_at": "instant",
        "changed_by": "text",
        "event_id": "text",
        "sequence": "text",
    },
    required=("deal_id", "field", "new_value", "changed_at"),
)
# The fields of a deal whose history such a report can tell.
HISTORY_FIELDS: tuple[str, ...] = (
    "stage",
    "pipeline",
    "amount",
    "arr",
    "tcv",
    "currency",
    "close_date",
    "owner",
    "status",
    "forecast_category",
    "probability",
)

_PERIOD_AMOUNT: dict[str, Kind] = {
    "period": "text",
    "segment_type": "text",
    "segment": "text",
    "amount": "decimal",
    "currency": "text",
    "recorded_on": "date",
}
# The business's own facts, named under `tables:`.
BUSINESS_ENTITIES: dict[str, Entity] = {
    entity.name: entity
    for entity in (
        Entity("teams", {"team": "text", "manager": "text", "region": "text"}, required=("team",)),
        Entity("quotas", _PERIOD_AMOUNT, required=("period", "amount")),
        Entity("plan", _PERIOD_AMOUNT, required=("period", "amount")),
        Entity(
            "submissions",
            {
                "submitted_on": "date",
                "period": "text",
                "role": "text",
                "owner": "text",
                "category": "category",
                "amount": "decimal",
                "currency": "text",
            },
            required=("submitted_on", "period", "owner", "amount"),
        ),
        # One change of a what-if; `subject` is a deal or a stage, and `value` is read as the change demands.
        Entity(
            "scenarios",
            {
                **dict.fromkeys(("scenario", "change", "subject", "value"), "text"),
                "starts_on": "date",
                "ramp_days": "integer",
                "source": "text",
            },
            required=("scenario", "change"),
        ),
        Entity(
            "fx_rates",
            {"currency": "text", "rate_date": "date", "rate": "decimal", "recorded_on": "date"},
            required=("currency", "rate_date", "rate"),
        ),
        # Rates that a budget was made at, each for a fiscal year, quarter or month.
        Entity(
            "plan_rates",
            {"period": "text", "currency": "text", "rate": "decimal", "recorded_on": "date"},
            required=("period", "currency", "rate"),
        ),
        Entity("holidays", {"date": "date", "name": "text", "region": "text"}, required=("date",)),
        Entity("aliases", dict.fromkeys(("entity", "alias", "name"), "text"), ("entity", "alias", "name")),
        Entity(
            "stage_map",
            {
                "stage": "text",
                "pipeline": "text",
                "outcome": "outcome",
                "forecast_category": "category",
                "order": "integer",
            },
            required=("stage",),
        ),
    )
}

# What the connectors themselves report.
REPORT_ENTITIES: dict[str, Entity] = {
    "rejects": Entity(
        "rejects",
        {
            "file": "text",
            "row": "text",
            "column": "text",
            "value": "text",
            "reason": "text",
            "entity": "text",
            "hint": "text",
            "key": "text",
            "record": "text",
        },
    ),
    "reads": Entity(
        "reads",
        {
            "file": "text",
            "entity": "text",
            "sha256": "text",
            "rows_read": "integer",
            "rows_kept": "integer",
            "rows_rejected": "integer",
            "rows_duplicate": "integer",
            "columns_unmapped": "text",
            "data_as_of": "date",
            "snapshot_on": "date",
            "snapshot_basis": "text",
        },
    ),
}

ENTITIES: dict[str, Entity] = {**SOURCE_ENTITIES, **BUSINESS_ENTITIES, **REPORT_ENTITIES}

OUTCOMES: tuple[str, ...] = ("open", "won", "lost", "closed_other")
FORECAST_CATEGORIES: tuple[str, ...] = (
    "omitted",
    "pipeline",
    "best_case",
    "most_likely",
    "commit",
    "closed",
)
