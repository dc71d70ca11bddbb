"""Fields and objects of Salesforce: hidden, compound, new, or of features that are off."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_project.extract.api.api_report import Status
from dagster_project.extract.crm.salesforce_objects import long_id
from tests.extract.api_bench import DAY
from tests.extract.salesforce_bench import (
    EARLIER,
    FastConnector,
    SalesforceBench,
    deal_id,
)
from tests.simulators.salesforce_org import make_id, stamp


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SalesforceBench]:
    bench = SalesforceBench(tmp_path / "landing")
    yield bench
    bench.server.close()


def test_compound_fields_are_never_asked_for_and_the_wish_for_one_is_answered(
    bench: SalesforceBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fill(1)
    bench.run(DAY, "deals", properties={"deals": ["Venue__c", "Letter__c", "Venue__Latitude__s"]})
    (query,) = bench.deal_queries()
    assert "Venue__Latitude__s" in query
    assert "Venue__c" not in query and "Letter__c" not in query
    assert "show no property 'Venue__c', 'Letter__c': it is none, or cannot be read" in caplog.text


def test_a_star_asks_for_every_field_that_can_be_read(bench: SalesforceBench) -> None:
    bench.fill(1)
    bench.run(DAY, "deals", properties={"deals": ["*"]})
    (query,) = bench.deal_queries()
    assert "LastModifiedDate" in query and "Venue__Latitude__s" in query
    assert "Venue__c" not in query and "*" not in query


def test_a_field_that_the_user_may_not_see_is_reported_and_the_rest_is_read(
    bench: SalesforceBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fill(1)
    bench.org.hidden.add(("Opportunity", "Amount"))
    report = bench.run(DAY, "deals")["deals"]
    assert report.status is Status.LANDED
    assert "Amount" not in bench.rows("deals")[0]["payload"]
    assert "not shown, or cannot be selected: Amount; give its user the right to read them" in caplog.text
    bench.org.hidden.clear()
    assert bench.night(1, "deals")["deals"].notes == ["1 new fields, kept in the payload: Amount"]


def test_without_a_field_that_everything_rests_on_the_run_fails_with_the_remedy(
    bench: SalesforceBench,
) -> None:
    bench.org.hidden.add(("Opportunity", "StageName"))
    report = bench.run(DAY, "deals")["deals"]
    assert report.status is Status.FAILED
    assert "Opportunity does not show StageName; give its user the right" in report.reason


def test_new_retyped_and_removed_fields_are_reported(bench: SalesforceBench) -> None:
    bench.fill(1)
    bench.run(DAY, "deals")
    fields = bench.org.fields["Opportunity"]
    fields |= {"Colour__c": "string", "Region__c": "string"}
    del fields["Competitor__c"]
    assert bench.night(1, "deals")["deals"].notes == [
        "1 new fields, kept in the payload: Colour__c",
        "1 fields are gone, their columns turn empty: Competitor__c",
        "1 fields changed their type: Region__c (picklist → string)",
    ]


def test_an_org_with_one_currency_has_no_currency_field_and_is_read_all_the_same(
    bench: SalesforceBench,
) -> None:
    for name in ("Opportunity", "OpportunityHistory", "OpportunityLineItem", "PricebookEntry"):
        del bench.org.fields[name]["CurrencyIsoCode"]
    bench.org.absent.add("CurrencyType")
    bench.fill(1)
    reports = bench.run()
    assert reports["deals"].status is Status.LANDED
    assert reports["currencies"].status is Status.SKIPPED
    assert not [query for query in bench.server.queries if "CurrencyIsoCode" in query]


def test_an_object_of_a_feature_that_is_off_is_left_out(bench: SalesforceBench) -> None:
    bench.org.absent.update({"OpportunityFieldHistory", "OpportunityLineItem"})
    reports = bench.run()
    left_out = {name for name, report in reports.items() if report.status is Status.SKIPPED}
    assert left_out == {"field_history", "line_items", "split_types", "deal_splits", "exchange_rates"}
    assert not [name for name, report in reports.items() if report.status is Status.FAILED]


def test_field_history_is_asked_over_rest_and_never_filtered_by_its_values(bench: SalesforceBench) -> None:
    bench.kind = type("EagerBulk", (FastConnector,), {"BULK_ABOVE": 0})
    for number in (1, 2):
        bench.org.put(
            "OpportunityFieldHistory",
            {"Id": make_id("017", number), "OpportunityId": deal_id(1), "Field": "Owner", "OldValue": "A",
             "NewValue": "B", "CreatedDate": stamp(EARLIER)},
        )  # fmt: skip
    bench.run(DAY, "field_history")
    (query,) = bench.server.queries
    condition = query.partition("WHERE")[2]
    assert "NewValue" not in condition and "OldValue" not in condition
    assert not bench.server.jobs
    assert [row["payload"]["NewValue"] for row in bench.rows("field_history")] == ["B", "B"]


def test_stages_of_each_record_type_come_with_it_in_their_id(bench: SalesforceBench) -> None:
    types = [make_id("012", 1), make_id("012", 2)]
    for record_type, is_active in zip(types, (True, False), strict=True):
        bench.org.put("RecordType", {"Id": record_type, "Name": "New", "SobjectType": "Opportunity",
                                     "IsActive": is_active})  # fmt: skip
        bench.org.picklists[record_type] = ["Prospecting", "Closed Won"]
    for stage in ("Prospecting", "Closed Won"):
        bench.org.put("OpportunityStage", {"Id": make_id("01J", len(stage)), "ApiName": stage,
                                           "MasterLabel": stage, "IsClosed": False})  # fmt: skip
    bench.run(DAY, "pipeline_stages")
    assert bench.ids("pipeline_stages") == [f"{types[0]}/Prospecting", f"{types[0]}/Closed Won"]


@pytest.mark.parametrize(
    ("short", "long"),
    [
        # Vendor's own samples of both forms.
        ("001A0000006Vm9r", "001A0000006Vm9rIAC"),
        ("0015000000Gv7qJ", "0015000000Gv7qJAAR"),
        ("006xx000001a2b3", "006xx000001a2b3AAA"),
        ("001A0000006Vm9rIAC", "001A0000006Vm9rIAC"),
    ],
)
def test_an_id_of_fifteen_characters_becomes_one_of_eighteen(short: str, long: str) -> None:
    assert long_id(short) == long
