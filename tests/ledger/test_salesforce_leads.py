"""Leads of Salesforce and the deals they became, from the org to the ledger."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dagster_project.extract.api.api_report import Status
from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.landing import Landing
from tests.extract.api_bench import DAY
from tests.extract.salesforce_bench import EARLIER, SalesforceBench, deal_id
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerBench, LedgerTables
from tests.ledger.salesforce_ledger import ZONE
from tests.simulators.salesforce_org import make_id, stamp

pytestmark = pytest.mark.slow


@pytest.fixture
def org(tmp_path: Path) -> SalesforceBench:
    """An org with one deal, created ten days after EARLIER."""
    bench = SalesforceBench(tmp_path / "landing")
    at = EARLIER + timedelta(days=10)
    bench.put_deal(1, at, CreatedDate=stamp(at))
    bench.put_history(1, 1, at)
    stage = {"Id": make_id("01J", 1), "ApiName": "Prospecting", "MasterLabel": "Prospecting", "SortOrder": 1}
    bench.org.put("OpportunityStage", stage | {"IsClosed": False, "IsWon": False, "IsActive": True})
    return bench


def put_lead(bench: SalesforceBench, number: int, status: str, at: datetime, **values: Any) -> None:
    lead = {"Id": make_id("00Q", number), "Name": "A person", "Status": status, "IsConverted": False,
            "LeadSource": "Web", "OwnerId": make_id("005", 1), "CreatedDate": stamp(EARLIER),
            "SystemModstamp": stamp(at)}  # fmt: skip
    bench.org.put("Lead", lead | values)


def put_change(bench: SalesforceBench, number: int, lead: int, at: datetime, old: Any, new: Any) -> None:
    """A tracked change of the status; without one before and after, the conversion."""
    row = {"Id": make_id("017", number), "LeadId": make_id("00Q", lead), "OldValue": old, "NewValue": new,
           "Field": "Status" if new else "leadConverted", "CreatedDate": stamp(at)}  # fmt: skip
    bench.org.put("LeadHistory", row)


def converted(at: datetime) -> dict[str, Any]:
    return {"IsConverted": True, "ConvertedDate": f"{at:%Y-%m-%d}", "ConvertedOpportunityId": deal_id(1)}


def built(bench: SalesforceBench, ledger: LedgerBench) -> LedgerTables:
    bench.server.close()
    Landing(bench.root).ensure_empty_batches(api_entities())
    seen = bench.clock.now().astimezone(UTC).replace(tzinfo=None) + timedelta(hours=1)
    runs = (Run(seen.date() - timedelta(days=1), seen),)
    return ledger.build_folder(Book((), runs=runs, settings=Settings(time_zone=ZONE)), bench.root)


def steps(tables: LedgerTables) -> list[tuple[str, str, float]]:
    """Whose step it is, the stage, and its day from EARLIER on."""
    found = tables.rows(
        "fct_path_steps", "step_of", "to_stage", "transitioned_at", order="path_id, step_number"
    )
    return [(who, stage, (at - EARLIER.replace(tzinfo=None)) / timedelta(days=1)) for who, stage, at in found]


def test_a_lead_with_tracked_changes_becomes_the_deal_at_the_instant_of_its_conversion(
    org: SalesforceBench, vendor_ledger: LedgerBench
) -> None:
    """On a later night, so that the versions of the lead before and after are both landed."""
    worked_at = EARLIER + timedelta(days=4)
    put_lead(org, 1, "Working - Contacted", worked_at)
    put_change(org, 1, 1, worked_at, "Open - Not Contacted", "Working - Contacted")
    org.run()
    at = org.clock.now().replace(microsecond=0) + timedelta(hours=2)
    put_lead(org, 1, "Closed - Converted", at, **converted(at))
    put_change(org, 2, 1, at, "Working - Contacted", "Closed - Converted")
    put_change(org, 3, 1, at, None, None)
    org.night()
    tables = built(org, vendor_ledger)
    day = (at - EARLIER) / timedelta(days=1)
    assert steps(tables) == [
        ("lead", "Open - Not Contacted", 0),
        ("lead", "Working - Contacted", 4),
        ("lead", "Closed - Converted", day),
        ("deal", "Prospecting", 10),
    ]
    columns = ("status", "conversion_basis", "lead_name", "lead_source", "deals_became")
    assert tables.rows("fct_leads", *columns) == [("converted", "told", None, "Web", 1)]
    assert not [row for row in org.rows("leads") if "Name" in row["payload"]]


def test_without_tracked_changes_the_day_of_the_conversion_is_known(
    org: SalesforceBench, vendor_ledger: LedgerBench
) -> None:
    day = EARLIER + timedelta(days=10)
    put_lead(org, 1, "Closed - Converted", day, **converted(day))
    put_lead(org, 2, "Unqualified", day)
    org.run()
    tables = built(org, vendor_ledger)
    stages = [(who, stage) for who, stage, _ in steps(tables)]
    path_of_deal = [("lead", "(open)"), ("lead", "Closed - Converted"), ("deal", "Prospecting")]
    assert sorted(stages) == sorted([*path_of_deal, ("lead", "Unqualified")])
    assert tables.rows("fct_leads", "status", "converted_on", "disqualified_on") == [
        ("converted", day.date(), None),
        ("disqualified", None, EARLIER.date()),
    ]


def test_a_deleted_lead_is_flagged(org: SalesforceBench, vendor_ledger: LedgerBench) -> None:
    put_lead(org, 1, "Open", EARLIER)
    org.run()
    org.org.delete("Lead", make_id("00Q", 1), org.clock.now() + timedelta(hours=2))
    org.night()
    assert built(org, vendor_ledger).rows("fct_leads", "status", "is_deleted") == [("open", True)]


def test_an_org_that_hides_its_leads_is_read_without_them(org: SalesforceBench) -> None:
    org.org.absent.update({"Lead", "LeadHistory"})
    reports = org.run(DAY, "leads", "lead_history", "deals")
    assert {name: report.status for name, report in reports.items()} == {
        "leads": Status.SKIPPED,
        "lead_history": Status.SKIPPED,
        "deals": Status.LANDED,
    }
