"""Which objects and fields of Salesforce are read, and how a window becomes SOQL."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dagster_project.extract.api.protocol import Window

# Custom fields have names of each org's own; these are usual ones for what has no standard field.
LOST_REASON = ("Loss_Reason__c", "Lost_Reason__c", "Closed_Lost_Reason__c", "Reason_Lost__c")
COMPETITOR = ("Competitor__c", "Main_Competitor__c", "MainCompetitors__c")
REGION = ("Region__c", "Sales_Region__c")

_UPPER_FLAGS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
# Salesforce refuses them in Bulk, and nothing here reads them.
_UNREADABLE = ("address", "location", "base64")
ALL_FIELDS = "*"


@dataclass(frozen=True)
class SObject:
    """One object as it is read. `changed`: the field that windows go by; none: read as a whole.

    `needed` fields exist in every org, `expected` ones unless someone hides them (which is reported), and
    `optional` ones where a feature is on. `can_bulk` is off where Bulk is known to leave values out.
    """

    name: str
    needed: tuple[str, ...]
    expected: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    changed: str | None = "SystemModstamp"
    where: str | None = None
    can_bulk: bool = True

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields that are asked for where they exist."""
        return (*self.needed, *self.expected, *self.optional)


OBJECTS: dict[str, SObject] = {
    "stages": SObject(
        "OpportunityStage",
        ("Id", "ApiName", "MasterLabel", "SortOrder", "IsActive", "IsClosed", "IsWon"),
        ("DefaultProbability", "ForecastCategory", "ForecastCategoryName", "SystemModstamp"),
        changed=None,
        can_bulk=False,
    ),
    "pipelines": SObject(
        "RecordType",
        ("Id", "Name", "DeveloperName", "IsActive"),
        ("SystemModstamp",),
        changed=None,
        where="SobjectType = 'Opportunity'",
        can_bulk=False,
    ),
    "owners": SObject(
        "User",
        ("Id", "Name", "IsActive", "SystemModstamp"),
        ("Email", "CreatedDate", "UserRoleId", "ManagerId"),
        # Who can own a deal: not the customers of a portal, of whom there may be a million.
        where="UserType IN ('Standard', 'PowerPartner')",
    ),
    "roles": SObject(
        "UserRole",
        ("Id", "Name"),
        ("SystemModstamp",),
        changed=None,
        can_bulk=False,
    ),
    "accounts": SObject(
        "Account",
        ("Id", "Name", "IsDeleted", "SystemModstamp"),
        ("MasterRecordId", "Industry", "BillingCountry"),
        REGION,
    ),
    "products": SObject(
        "Product2",
        ("Id", "Name", "IsDeleted", "SystemModstamp"),
        ("ProductCode", "Family", "IsActive"),
    ),
    "prices": SObject(
        "PricebookEntry",
        ("Id", "Product2Id", "UnitPrice", "IsDeleted", "SystemModstamp"),
        ("IsActive",),
        ("CurrencyIsoCode",),
        where="Pricebook2.IsStandard = true",
    ),
    "deals": SObject(
        "Opportunity",
        (
            "Id",
            "Name",
            "StageName",
            "CloseDate",
            "IsClosed",
            "IsWon",
            "OwnerId",
            "CreatedDate",
            "IsDeleted",
            "SystemModstamp",
        ),
        (
            "Amount",
            "Probability",
            "ForecastCategory",
            "AccountId",
            "LeadSource",
            "Type",
            "NextStep",
            "LastActivityDate",
            "LastStageChangeDate",
        ),
        ("RecordTypeId", "CurrencyIsoCode", *LOST_REASON, *COMPETITOR, *REGION),
    ),
    "stage_history": SObject(
        "OpportunityHistory",
        ("Id", "OpportunityId", "StageName", "CreatedDate", "CreatedById", "IsDeleted", "SystemModstamp"),
        ("Amount", "CloseDate", "Probability", "ForecastCategory"),
        ("CurrencyIsoCode", "PrevAmount", "PrevCloseDate"),
    ),
    "field_history": SObject(
        "OpportunityFieldHistory",
        ("Id", "OpportunityId", "Field", "OldValue", "NewValue", "CreatedDate", "CreatedById", "IsDeleted"),
        ("DataType",),
        changed="CreatedDate",
        where="Field IN ('StageName', 'Owner', 'RecordType')",
        can_bulk=False,
    ),
    # Without names: whose leads they are matters to no metric.
    "leads": SObject(
        "Lead",
        ("Id", "Status", "IsConverted", "OwnerId", "CreatedDate", "IsDeleted", "SystemModstamp"),
        ("LeadSource", "ConvertedDate", "ConvertedOpportunityId"),
    ),
    "lead_history": SObject(
        "LeadHistory",
        ("Id", "LeadId", "Field", "OldValue", "NewValue", "CreatedDate", "IsDeleted"),
        changed="CreatedDate",
        where="Field IN ('Status', 'leadConverted')",
        can_bulk=False,
    ),
    "line_items": SObject(
        "OpportunityLineItem",
        ("Id", "OpportunityId", "Quantity", "UnitPrice", "TotalPrice", "IsDeleted", "SystemModstamp"),
        ("Product2Id",),
        ("CurrencyIsoCode",),
    ),
    "split_types": SObject(
        "OpportunitySplitType",
        ("Id", "DeveloperName", "IsTotalValidated"),
        ("MasterLabel", "IsActive"),
        ("SplitField", "SystemModstamp"),
        changed=None,
        can_bulk=False,
    ),
    "deal_splits": SObject(
        "OpportunitySplit",
        ("Id", "OpportunityId", "SplitOwnerId", "SplitPercentage", "IsDeleted", "SystemModstamp"),
        ("SplitAmount", "SplitTypeId"),
        ("CurrencyIsoCode",),
    ),
    "currencies": SObject(
        "CurrencyType",
        ("Id", "IsoCode", "ConversionRate", "IsCorporate", "IsActive"),
        ("DecimalPlaces", "SystemModstamp"),
        changed=None,
        can_bulk=False,
    ),
    "exchange_rates": SObject(
        "DatedConversionRate",
        ("Id", "IsoCode", "ConversionRate", "StartDate", "NextStartDate"),
        ("SystemModstamp",),
        changed=None,
        can_bulk=False,
    ),
}


@dataclass(frozen=True)
class Described:
    """What an object looks like to this user. `types`: field → type."""

    types: Mapping[str, str]
    is_replicated: bool

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> "Described":
        """From the answer of `describe`."""
        types = {field["name"]: field["type"] for field in answer["fields"]}
        return cls(types, bool(answer.get("replicateable")))

    def has(self, field: str) -> bool:
        """Whether a field can be selected."""
        return self.types.get(field, _UNREADABLE[0]) not in _UNREADABLE

    def select(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Those of the wanted fields that can be selected; `*` stands for all of them."""
        if ALL_FIELDS in wanted:
            wanted = (*wanted, *sorted(self.types))
        return tuple(dict.fromkeys(field for field in wanted if field != ALL_FIELDS and self.has(field)))


def soql(thing: SObject, fields: Sequence[str], window: Window, after: str | None = None) -> str:
    """The query for a window. Its rows come in the order of ids, so that it can go on `after` any of them.

    Literals are UTC and whole seconds: the end is rounded up, and the engine drops what lies beyond it.
    """
    conditions = [thing.where] if thing.where else []
    if thing.changed:
        if window.start is not None:
            conditions.append(f"{thing.changed} >= {literal(window.start)}")
        conditions.append(f"{thing.changed} < {literal(window.end, is_rounded_up=True)}")
    if after is not None:
        conditions.append(f"Id > '{after}'")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {', '.join(fields)} FROM {thing.name}{where} ORDER BY Id"


def literal(instant: datetime, *, is_rounded_up: bool = False) -> str:
    """An instant as SOQL writes it."""
    seconds = instant.timestamp()
    seconds = math.ceil(seconds) if is_rounded_up else math.floor(seconds)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def instant_of(text: str | None) -> datetime | None:
    """`2026-03-31T10:11:12.000+0000` (REST) or `…Z` (Bulk) as an instant."""
    return datetime.fromisoformat(text) if text else None


def long_id(record_id: str) -> str:
    """The 18 characters of an id that may have been written with 15.

    The last three say which of each five characters are capitals, as a digit of base 32 from the right.
    """
    if len(record_id) != 15:
        return record_id
    suffix = ""
    for start in (0, 5, 10):
        chunk = record_id[start : start + 5]
        suffix += _UPPER_FLAGS[sum(1 << place for place, char in enumerate(chunk) if "A" <= char <= "Z")]
    return record_id + suffix
