"""A simulated business in a simulated Salesforce org, day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

import pandas as pd

from dagster_project.simulate.known import Known, known_at
from dagster_project.simulate.world import World
from tests.simulators.salesforce_org import Org, Row, make_id, moment, stamp

CATEGORY = {
    "omitted": ("Omitted", "Omitted"),
    "pipeline": ("Pipeline", "Pipeline"),
    "best_case": ("BestCase", "Best Case"),
    "most_likely": ("MostLikely", "Most Likely"),
    "commit": ("Forecast", "Commit"),
    "closed": ("Closed", "Closed"),
}
PREFIXES = {"deal": "006", "account": "001", "product": "01t", "owner": "005", "role": "00E",
            "pipeline": "012", "line": "00k", "price": "01u", "stage": "01J"}  # fmt: skip
STANDARD_BOOK = make_id("01s", 1)


class SalesforceCrm:
    """Loads what a CRM knows at the end of a day; ids are the world's, in Salesforce's own form.

    Owner, record type and stage are tracked in field history. Salesforce knows no merge of deals: one that
    was merged away is a deleted one. It stamps history itself and wants a close date: worlds for it are made
    with `late_share` and `no_close_date_share` of 0.
    """

    def __init__(self, world: World, org: Org) -> None:
        self.world = world
        self.org = org
        self._ids: dict[tuple[str, Any], str] = {}
        self._deals_seen: set[str] = set()
        self._deals_deleted: set[str] = set()
        self._known_events: set[int] = set()
        self._row: dict[int, dict[str, Any]] = {}
        self._field_rows = 0

    def id(self, kind: str, of: Any) -> str | None:
        """The id of something of the world."""
        if of is None or pd.isna(of):
            return None
        if (kind, of) not in self._ids:
            number = int(of) if kind in ("deal", "line", "account") else len(self._ids) + 1
            self._ids[kind, of] = make_id(PREFIXES[kind], number)
        return self._ids[kind, of]

    def world_ids(self, kind: str) -> dict[str, Any]:
        """Salesforce's id → the world's."""
        return {there: of for (known, of), there in self._ids.items() if known == kind}

    def load(self, day: date) -> None:
        """Bring the org to the end of a day."""
        known = known_at(self.world, day)
        noon = datetime.combine(day, time(12), UTC)
        # What was under way in the night has been committed before the day's work.
        self.org.now = noon
        self.org.settle()
        self._reference_data(known, noon)
        self._deals(known, noon)
        self._history(known)
        self._line_items(known, noon)

    def _put(self, name: str, row: Row, at: datetime) -> None:
        """Change a record if it differs; it is stamped with the instant unless it brings its own stamp."""
        before = self.org.tables[name].get(row["Id"])
        if before is None or any(before[column] != value for column, value in row.items()):
            self.org.put(name, {"CreatedDate": stamp(at), "SystemModstamp": stamp(at)} | row)

    def _reference_data(self, known: Known, at: datetime) -> None:
        order = {pipeline: place for place, pipeline in enumerate(known.pipelines["pipeline_id"])}
        for row in known.pipelines.itertuples():
            record_type = self.id("pipeline", row.pipeline_id)
            self._put("RecordType", {"Id": record_type, "Name": row.name, "DeveloperName": row.pipeline_id,
                                     "IsActive": True, "SobjectType": "Opportunity"}, at)  # fmt: skip
        newest = known.stages.sort_values("valid_from").drop_duplicates("stage_id", keep="last")
        for row in newest.itertuples():
            category = CATEGORY[row.forecast_category]
            self._put("OpportunityStage", {
                "Id": self.id("stage", row.stage_id), "ApiName": row.stage_id, "MasterLabel": row.name,
                "SortOrder": 100 * order[row.pipeline] + int(row.order), "IsActive": True,
                "IsClosed": row.outcome != "open", "IsWon": row.outcome == "won",
                "DefaultProbability": round(row.probability * 100, 1), "ForecastCategory": category[0],
                "ForecastCategoryName": category[1],
            }, at)  # fmt: skip
            stages = self.org.picklists.setdefault(str(self.id("pipeline", row.pipeline)), [])
            if row.stage_id not in stages:
                stages.append(row.stage_id)
        self.stage_facts = newest.set_index("stage_id")
        self._people(known, at)
        for row in known.accounts.itertuples():
            self._put("Account", {"Id": self.id("account", row.account_id), "Name": row.name,
                                  "Industry": row.industry, "BillingCountry": row.country,
                                  "Region__c": row.region}, at)  # fmt: skip
        self._put("Pricebook2", {"Id": STANDARD_BOOK, "Name": "Standard", "IsStandard": True}, at)
        for row in known.products.itertuples():
            product = self.id("product", row.product_id)
            self._put("Product2", {"Id": product, "Name": row.name, "ProductCode": row.product_id,
                                   "Family": row.family, "IsActive": True}, at)  # fmt: skip
            self._put("PricebookEntry", {
                "Id": self.id("price", row.product_id), "Product2Id": product, "Pricebook2Id": STANDARD_BOOK,
                "UnitPrice": row.list_price, "IsActive": True, "CurrencyIsoCode": row.currency,
            }, at)  # fmt: skip

    def _people(self, known: Known, at: datetime) -> None:
        managers = {name: self.id("owner", name) for name in known.owners["manager"].dropna().unique()}
        for name, user in {**managers, "sales-ops": self.id("owner", "sales-ops")}.items():
            self._put("User", {"Id": user, "Name": name, "IsActive": True, "UserType": "Standard"}, at)
        for row in known.owners.itertuples():
            role = self.id("role", row.team)
            self._put("UserRole", {"Id": role, "Name": row.team}, at)
            self._put("User", {
                "Id": self.id("owner", row.owner_id), "Name": row.name, "Email": row.email,
                "UserType": "Standard", "IsActive": bool(row.is_active), "UserRoleId": role,
                "ManagerId": managers.get(row.manager),
                "CreatedDate": stamp(datetime.combine(row.started_on, time(6), UTC)),
            }, at)  # fmt: skip

    def _deals(self, known: Known, at: datetime) -> None:
        for row in known.deals.itertuples():
            deal = str(self.id("deal", row.deal_id))
            before = self.org.tables["Opportunity"].get(deal)
            if before["IsDeleted"] if before else deal in self._deals_seen:
                continue
            self._deals_seen.add(deal)
            category = CATEGORY[row.forecast_category]
            gone = row.deleted_at if pd.notna(row.deleted_at) else row.merged_at
            values = {
                "Id": deal, "Name": row.name, "StageName": row.stage, "Amount": _number(row.amount),
                "CurrencyIsoCode": row.currency, "CloseDate": _day(row.close_date),
                "Probability": round(row.probability * 100, 1), "ForecastCategory": category[0],
                "ForecastCategoryName": category[1], "IsClosed": row.status != "open",
                "IsWon": row.status == "won", "OwnerId": self.id("owner", row.owner),
                "AccountId": self.id("account", row.account),
                "RecordTypeId": self.id("pipeline", row.pipeline),
                "LeadSource": row.source, "Type": row.deal_type, "NextStep": _text(row.next_step),
                "LastActivityDate": _day(row.last_activity_at), "Loss_Reason__c": _text(row.lost_reason),
                "Competitor__c": _text(row.competitor), "Region__c": row.region,
                "CreatedDate": stamp(row.created_at), "IsDeleted": False,
                "LastStageChangeDate": stamp(row.closed_at) if pd.notna(row.closed_at) else None,
            }  # fmt: skip
            self._put("Opportunity", values | _stamps(before, values, row.modified_at, at), row.modified_at)
            if pd.notna(gone) and deal not in self._deals_deleted:
                self._deals_deleted.add(deal)
                self.org.delete("Opportunity", deal, gone.replace(tzinfo=UTC))

    def _history(self, known: Known) -> None:
        for row in known.stage_history.itertuples():
            if row.event_id in self._known_events:
                continue
            self._known_events.add(row.event_id)
            deal = self.org.tables["Opportunity"].get(str(self.id("deal", row.deal_id)))
            if deal is None or (deal["IsDeleted"] and row.deal_id in self._row):
                continue
            now = row._asdict()
            before = self._row.get(row.deal_id)
            if before is None or row.sequence > before["sequence"]:
                self._row[row.deal_id] = now
            is_told = before is None or any(
                not _same(before[name], now[name]) for name in ("stage", "amount", "close_date", "currency")
            )
            if is_told:
                self._history_row(row)
            self._field_row(row, "StageName", row.from_stage, row.stage)
            if row.from_pipeline != row.pipeline and isinstance(row.from_pipeline, str):
                names = known.pipelines.set_index("pipeline_id")["name"]
                self._field_row(row, "RecordType", names[row.from_pipeline], names[row.pipeline])
                self._field_row(row, "RecordType", self.id("pipeline", row.from_pipeline),
                                self.id("pipeline", row.pipeline), "EntityId")  # fmt: skip
            if before is not None and before["owner"] != row.owner:
                people = known.owners.set_index("owner_id")["name"]
                self._field_row(row, "Owner", people[before["owner"]], people[row.owner])
                self._field_row(row, "Owner", self.id("owner", before["owner"]),
                                self.id("owner", row.owner), "EntityId")  # fmt: skip

    def _history_row(self, row: Any) -> None:
        facts = self.stage_facts.loc[row.stage]
        self.org.put("OpportunityHistory", {
            "Id": make_id("008", row.event_id), "OpportunityId": self.id("deal", row.deal_id),
            "StageName": row.stage, "Amount": _number(row.amount), "CurrencyIsoCode": row.currency,
            "CloseDate": _day(row.close_date), "Probability": round(facts["probability"] * 100, 1),
            "ForecastCategory": CATEGORY[facts["forecast_category"]][0],
            "CreatedDate": stamp(row.changed_at), "SystemModstamp": stamp(row.recorded_at),
            "CreatedById": self.id("owner", row.changed_by),
        })  # fmt: skip

    def _field_row(self, row: Any, name: str, old: Any, new: Any, kind: str = "Text") -> None:
        if not isinstance(old, str) or old == new:
            return
        self._field_rows += 1
        self.org.put("OpportunityFieldHistory", {
            "Id": make_id("017", self._field_rows), "OpportunityId": self.id("deal", row.deal_id),
            "Field": name, "DataType": kind, "OldValue": old, "NewValue": new,
            "CreatedDate": stamp(row.changed_at), "CreatedById": self.id("owner", row.changed_by),
        })  # fmt: skip

    def _line_items(self, known: Known, at: datetime) -> None:
        for row in known.line_items.itertuples():
            deal = str(self.id("deal", row.deal_id))
            owner = self.org.tables["Opportunity"].get(deal)
            if owner is None or owner["IsDeleted"]:
                continue
            self._put("OpportunityLineItem", {
                "Id": self.id("line", row.line_item_id), "OpportunityId": deal,
                "Product2Id": self.id("product", row.product), "Quantity": float(row.quantity),
                "UnitPrice": _number(row.unit_price), "TotalPrice": _number(row.amount),
                "CurrencyIsoCode": row.currency,
            }, at)  # fmt: skip


def _stamps(before: Row | None, values: Row, modified_at: datetime, at: datetime) -> Row:
    """Stamps never run backwards, and each change moves them; an activity is no change of the deal."""
    told = modified_at.replace(tzinfo=UTC)
    if before is not None:
        last = moment(before["SystemModstamp"])
        is_changed = any(
            before[name] != value for name, value in values.items() if name != "LastActivityDate"
        )
        told = max(told, last) if told > last or not is_changed else max(at, last)
    return {"SystemModstamp": stamp(told), "LastModifiedDate": stamp(told)}


def _same(left: Any, right: Any) -> bool:
    return left == right or (pd.isna(left) and pd.isna(right))


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)


def _day(value: Any) -> str | None:
    return None if pd.isna(value) else f"{value:%Y-%m-%d}"
