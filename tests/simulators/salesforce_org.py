"""The state of a simulated Salesforce org: objects with their fields, records, and what is committed when."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Row = dict[str, Any]

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SYSTEM = {"Id": "id", "IsDeleted": "boolean", "CreatedDate": "datetime", "CreatedById": "reference"}
STAMPED = SYSTEM | {"SystemModstamp": "datetime"}
BIN_DAYS = 15

FIELDS: dict[str, dict[str, str]] = {
    "Opportunity": STAMPED
    | {
        "Name": "string",
        "StageName": "picklist",
        "Amount": "currency",
        "CurrencyIsoCode": "picklist",
        "CloseDate": "date",
        "Probability": "percent",
        "ForecastCategory": "picklist",
        "ForecastCategoryName": "picklist",
        "IsClosed": "boolean",
        "IsWon": "boolean",
        "OwnerId": "reference",
        "AccountId": "reference",
        "RecordTypeId": "reference",
        "LeadSource": "picklist",
        "Type": "picklist",
        "NextStep": "string",
        "LastActivityDate": "date",
        "LastStageChangeDate": "datetime",
        "LastModifiedDate": "datetime",
        "Loss_Reason__c": "picklist",
        "Competitor__c": "string",
        "Region__c": "picklist",
        "Venue__c": "location",
        "Venue__Latitude__s": "double",
        "Letter__c": "base64",
    },
    "OpportunityHistory": STAMPED
    | {
        "OpportunityId": "reference",
        "StageName": "picklist",
        "Amount": "currency",
        "ExpectedRevenue": "currency",
        "CloseDate": "date",
        "Probability": "percent",
        "ForecastCategory": "picklist",
        "CurrencyIsoCode": "picklist",
        "PrevAmount": "currency",
        "PrevCloseDate": "date",
    },
    "OpportunityFieldHistory": SYSTEM
    | {
        "OpportunityId": "reference",
        "Field": "picklist",
        "DataType": "picklist",
        "OldValue": "anyType",
        "NewValue": "anyType",
    },
    "Lead": STAMPED
    | {
        "Name": "string",
        "Status": "picklist",
        "IsConverted": "boolean",
        "ConvertedDate": "date",
        "ConvertedOpportunityId": "reference",
        "LeadSource": "picklist",
        "OwnerId": "reference",
    },
    "LeadHistory": SYSTEM
    | {"LeadId": "reference", "Field": "picklist", "OldValue": "anyType", "NewValue": "anyType"},
    "OpportunityStage": STAMPED
    | {
        "ApiName": "string",
        "MasterLabel": "string",
        "SortOrder": "int",
        "IsActive": "boolean",
        "IsClosed": "boolean",
        "IsWon": "boolean",
        "DefaultProbability": "percent",
        "ForecastCategory": "picklist",
        "ForecastCategoryName": "picklist",
    },
    "RecordType": STAMPED
    | {"Name": "string", "DeveloperName": "string", "IsActive": "boolean", "SobjectType": "picklist"},
    "User": STAMPED
    | {
        "Name": "string",
        "Email": "email",
        "IsActive": "boolean",
        "UserType": "picklist",
        "UserRoleId": "reference",
        "ManagerId": "reference",
    },
    "UserRole": STAMPED | {"Name": "string"},
    "Account": STAMPED
    | {
        "Name": "string",
        "Industry": "picklist",
        "BillingAddress": "address",
        "BillingCountry": "string",
        "MasterRecordId": "reference",
        "Region__c": "picklist",
    },
    "Product2": STAMPED
    | {"Name": "string", "ProductCode": "string", "Family": "picklist", "IsActive": "boolean"},
    "Pricebook2": STAMPED | {"Name": "string", "IsStandard": "boolean"},
    "PricebookEntry": STAMPED
    | {
        "Product2Id": "reference",
        "Pricebook2Id": "reference",
        "UnitPrice": "currency",
        "IsActive": "boolean",
        "CurrencyIsoCode": "picklist",
    },
    "OpportunityLineItem": STAMPED
    | {
        "OpportunityId": "reference",
        "Product2Id": "reference",
        "Quantity": "double",
        "UnitPrice": "currency",
        "TotalPrice": "currency",
        "CurrencyIsoCode": "picklist",
    },
    "OpportunitySplitType": STAMPED
    | {
        "DeveloperName": "string",
        "MasterLabel": "string",
        "IsActive": "boolean",
        "IsTotalValidated": "boolean",
        "SplitField": "picklist",
    },
    "OpportunitySplit": STAMPED
    | {
        "OpportunityId": "reference",
        "SplitOwnerId": "reference",
        "SplitPercentage": "percent",
        "SplitAmount": "currency",
        "SplitTypeId": "reference",
        "CurrencyIsoCode": "picklist",
    },
    "DatedConversionRate": STAMPED
    | {
        "IsoCode": "picklist",
        "ConversionRate": "double",
        "StartDate": "date",
        "NextStartDate": "date",
    },
    "CurrencyType": STAMPED
    | {
        "IsoCode": "picklist",
        "ConversionRate": "double",
        "DecimalPlaces": "int",
        "IsCorporate": "boolean",
        "IsActive": "boolean",
    },
}
NOT_REPLICATED = {
    "OpportunityStage",
    "RecordType",
    "UserRole",
    "OpportunityFieldHistory",
    "LeadHistory",
    "CurrencyType",
    "DatedConversionRate",
    "OpportunitySplitType",
    "Pricebook2",
}
# Features that an org has only if someone turned them on.
FEATURES = ("OpportunitySplit", "OpportunitySplitType", "DatedConversionRate")
RELATIONS = {"Pricebook2": "Pricebook2"}
CHILDREN = ("OpportunityHistory", "OpportunityFieldHistory", "OpportunityLineItem")


def make_id(prefix: str, number: int) -> str:
    """An id of 18 characters, ascending with the number."""
    digits = ""
    for _ in range(9):
        number, rest = divmod(number, 62)
        digits = ALPHABET[rest] + digits
    assert number == 0
    short = f"{prefix}5g0{digits}"
    flags = "".join("1" if char.isupper() else "0" for char in short)
    # The first of five characters is the lowest bit.
    check = "".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[int(flags[at : at + 5][::-1], 2)] for at in (0, 5, 10))
    return short + check


def stamp(at: datetime) -> str:
    """An instant as REST shows it."""
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.000+0000"


def moment(text: str) -> datetime:
    """An instant as any answer or query writes it."""
    return datetime.fromisoformat(text)


@dataclass
class Transaction:
    """Rows that are stamped now and seen by others later."""

    began_at: datetime
    commits_at: datetime
    rows: list[tuple[str, Row]]


@dataclass
class Org:
    """`tables`: object → id → record. `hidden`: (object, field) pairs that field-level security hides.

    `absent`: objects of features that are off. `now`: the org's clock.
    """

    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    tables: dict[str, dict[str, Row]] = field(default_factory=lambda: {name: {} for name in FIELDS})
    fields: dict[str, dict[str, str]] = field(
        default_factory=lambda: {name: dict(fields) for name, fields in FIELDS.items()}
    )
    hidden: set[tuple[str, str]] = field(default_factory=set)
    absent: set[str] = field(default_factory=lambda: set(FEATURES))
    picklists: dict[str, list[str]] = field(default_factory=dict)
    transactions: list[Transaction] = field(default_factory=list)
    deleted: dict[str, list[tuple[str, datetime]]] = field(default_factory=dict)
    log_begins: datetime | None = None
    held_back_until: datetime | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(5_000_000))

    def put(self, name: str, row: Row) -> Row:
        """Create or change a record as it stands; the caller stamps it."""
        record = dict.fromkeys(self.fields[name]) | self.tables[name].get(row["Id"], {}) | row
        if record["IsDeleted"] is None:
            record["IsDeleted"] = False
        self.tables[name][row["Id"]] = record
        return record

    def put_late(self, name: str, row: Row, commits_at: datetime) -> None:
        """The same in a transaction that is stamped now and commits later."""
        self.transactions.append(Transaction(self.now, commits_at, [(name, row)]))

    def settle(self) -> None:
        """Show what has been committed by now."""
        done = [t for t in self.transactions if t.commits_at <= self.now]
        self.transactions = [t for t in self.transactions if t.commits_at > self.now]
        for name, row in itertools.chain.from_iterable(t.rows for t in done):
            self.put(name, row)

    @property
    def latest_date_covered(self) -> datetime:
        """The start of the longest transaction under way, to the minute."""
        limits = [self.now, *(t.began_at for t in self.transactions)]
        if self.held_back_until is not None:
            limits.append(self.held_back_until)
        return min(limits).replace(second=0, microsecond=0)

    def delete(self, name: str, record_id: str, at: datetime) -> None:
        """Move a record and its children to the recycle bin."""
        row = self.tables[name][record_id]
        row |= {"IsDeleted": True, "SystemModstamp": stamp(at), "LastModifiedDate": stamp(at)}
        self.deleted.setdefault(name, []).append((record_id, at))
        for child in CHILDREN if name == "Opportunity" else ():
            for row in self.tables[child].values():
                if row["OpportunityId"] == record_id:
                    row["IsDeleted"] = True
                    if "SystemModstamp" in self.fields[child]:
                        row["SystemModstamp"] = stamp(at)

    def restore(self, record_id: str, at: datetime) -> None:
        """Take a deal out of the recycle bin."""
        self.tables["Opportunity"][record_id] |= {"IsDeleted": False, "SystemModstamp": stamp(at)}
        self.deleted["Opportunity"] = [gone for gone in self.deleted["Opportunity"] if gone[0] != record_id]
        for child in CHILDREN:
            for row in self.tables[child].values():
                if row["OpportunityId"] == record_id:
                    row["IsDeleted"] = False
                    if "SystemModstamp" in self.fields[child]:
                        row["SystemModstamp"] = stamp(at)

    def purge(self, name: str, record_id: str, *, is_logged: bool = True) -> None:
        """Remove a record as if it had never been; the log of deletions may have forgotten it, too."""
        del self.tables[name][record_id]
        for child in CHILDREN if name == "Opportunity" else ():
            rows = self.tables[child]
            for row_id in [key for key, row in rows.items() if row["OpportunityId"] == record_id]:
                del rows[row_id]
        if not is_logged:
            self.deleted[name] = [gone for gone in self.deleted.get(name, []) if gone[0] != record_id]

    def merge_accounts(self, master: str, loser: str, at: datetime) -> None:
        """Deals of the loser go to the master."""
        self.delete("Account", loser, at)
        self.tables["Account"][loser]["MasterRecordId"] = master
        for row in self.tables["Opportunity"].values():
            if row["AccountId"] == loser:
                row |= {"AccountId": master, "SystemModstamp": stamp(at)}

    def new_id(self, prefix: str) -> str:
        """An id that was never used."""
        return make_id(prefix, next(self._numbers))

    def related(self, row: Mapping[str, Any], relation: str) -> Row | None:
        """The record behind a reference."""
        return self.tables[RELATIONS[relation]].get(row.get(f"{relation}Id") or "")

    def visible_fields(self, name: str) -> dict[str, str]:
        """Field → type as `describe` shows them."""
        return {
            column: kind for column, kind in self.fields[name].items() if (name, column) not in self.hidden
        }

    def emptied_bin(self) -> None:
        """What has been in the recycle bin for 15 days is gone."""
        for name, gone in self.deleted.items():
            for record_id, at in gone:
                if at < self.now - timedelta(days=BIN_DAYS) and record_id in self.tables[name]:
                    self.purge(name, record_id)
