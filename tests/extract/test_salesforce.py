"""Salesforce over REST: what is asked, what is landed, and what a night must not lose."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dagster_project.extract.crm.api_report import Status
from dagster_project.extract.crm.salesforce_objects import long_id
from dagster_project.extract.landing import Landing
from tests.extract.api_bench import DAY, StillClock
from tests.extract.salesforce_bench import EARLIER, SOURCE, FastConnector, SalesforceBench, deal_id
from tests.simulators.salesforce_org import make_id, stamp
from tests.simulators.salesforce_server import SalesforceServer

END = DAY + timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SalesforceBench]:
    bench = SalesforceBench(tmp_path / "landing")
    yield bench
    bench.server.close()


def deal_queries(server: SalesforceServer) -> list[str]:
    return [query for query in server.queries if "FROM Opportunity " in query]


@pytest.mark.parametrize("deals", [0, 1, 9, 10, 11, 103])
def test_every_deal_is_landed_once_however_it_is_paged(bench: SalesforceBench, deals: int) -> None:
    bench.server.page_size = 10
    bench.fill(deals)
    report = bench.run(DAY, "deals")["deals"]
    assert sorted(bench.ids("deals")) == [deal_id(number) for number in range(1, deals + 1)]
    assert (report.status, report.total) == (Status.LANDED, deals)
    # One query, and its locator followed to the end: relative, and query/ although queryAll was asked.
    assert len(deal_queries(bench.server)) == 1
    links = [path for path in bench.server.paths() if re.search(r"/query/01g\w+-\d+$", path)]
    assert len(links) == max(0, -(-deals // 10) - 1)


def test_thousands_of_records_stamped_in_one_second_are_complete(bench: SalesforceBench) -> None:
    bench.kind = type("Rest", (FastConnector,), {"BULK_ABOVE": 10**9})
    bench.server.page_size = 500
    for number in range(1, 2_502):
        bench.put_deal(number, EARLIER)
    bench.run(DAY, "deals")
    assert len(bench.ids("deals")) == len(set(bench.ids("deals"))) == 2_501


def test_a_window_is_asked_from_its_start_on_and_before_its_end_in_utc(bench: SalesforceBench) -> None:
    bench.fill(1)
    bench.run(DAY, "deals")
    bench.night(1, "deals")
    first, second = deal_queries(bench.server)
    assert first.endswith(" WHERE SystemModstamp < 2026-04-01T00:00:00Z ORDER BY Id")
    assert second.endswith(
        " WHERE SystemModstamp >= 2026-04-01T00:00:00Z AND SystemModstamp < 2026-04-02T00:00:00Z ORDER BY Id"
    )
    assert "LastModifiedDate" not in first


def test_a_deal_in_the_recycle_bin_arrives_as_deleted_with_its_values(bench: SalesforceBench) -> None:
    bench.fill(2)
    bench.put_history(1, 1, EARLIER)
    bench.run(DAY, "deals", "stage_history")
    bench.org.delete("Opportunity", deal_id(1), END + HOUR)
    bench.night(1, "deals", "stage_history")
    rows = [row for row in bench.rows("deals") if row["record_id"] == deal_id(1) and row["is_deleted"]]
    # The query has it with its values, the log of deletions names it once more.
    assert [row["payload"].get("StageName") for row in rows] == ["Prospecting", None]
    assert rows[1]["payload"]["stageledger"] == {
        "deleted_reason": "deleted",
        "deleted_at": "2026-04-01T01:00:00+00:00",
    }
    assert bench.newest()[deal_id(2)]["is_deleted"] is False
    assert [row["is_deleted"] for row in bench.rows("stage_history")] == [False, True]


def test_a_restored_deal_lives_again(bench: SalesforceBench) -> None:
    bench.fill(2)
    bench.run(DAY, "deals")
    bench.org.delete("Opportunity", deal_id(1), END + HOUR)
    bench.night(1, "deals")
    bench.org.restore(deal_id(1), END + 25 * HOUR)
    bench.night(1, "deals")
    assert bench.newest()[deal_id(1)]["is_deleted"] is False


def test_a_deal_emptied_from_the_bin_is_found_in_the_log_of_deletions(bench: SalesforceBench) -> None:
    bench.fill(2)
    bench.run(DAY, "deals")
    bench.org.delete("Opportunity", deal_id(1), END + HOUR)
    bench.org.purge("Opportunity", deal_id(1))
    bench.night(1, "deals")
    (gone,) = [row for row in bench.rows("deals") if row["is_deleted"]]
    assert gone["record_id"] == deal_id(1)


def test_a_log_that_begins_after_the_window_forces_a_list_of_all_ids(bench: SalesforceBench) -> None:
    bench.fill(30)
    bench.run(DAY, "deals")
    bench.org.delete("Opportunity", deal_id(7), END + HOUR)
    bench.org.purge("Opportunity", deal_id(7), is_logged=False)
    bench.org.log_begins = END + 2 * HOUR
    report = bench.night(1, "deals")["deals"]
    (gone,) = [row for row in bench.rows("deals") if row["is_deleted"]]
    assert (gone["record_id"], gone["payload"]["stageledger"]["deleted_reason"]) == (deal_id(7), "vanished")
    assert report.notes == ["1 deals have vanished and were marked as deleted"]
    bench.org.log_begins = None
    before = len(bench.server.queries)
    bench.night(1, "deals")
    assert not [q for q in bench.server.queries[before:] if q.startswith("SELECT Id FROM")]


def test_a_window_older_than_the_log_forces_a_list_of_all_ids_without_asking_the_log_for_it(
    bench: SalesforceBench,
) -> None:
    bench.fill(30)
    bench.run(DAY, "deals")
    bench.org.purge("Opportunity", deal_id(7))
    bench.night(40, "deals", sweep_days=1000)
    assert [row["record_id"] for row in bench.rows("deals") if row["is_deleted"]] == [deal_id(7)]


def test_the_next_window_begins_where_salesforce_vouches_for_the_last_one(bench: SalesforceBench) -> None:
    bench.fill(3)
    # A transaction stamps its rows at 23:50 and commits at 04:30, after the extraction of the night.
    bench.org.now = END - timedelta(minutes=10)
    late = bench.put_deal(4, END - timedelta(minutes=10)) | {}
    del bench.org.tables["Opportunity"][late["Id"]]
    bench.org.put_late("Opportunity", late, END + timedelta(hours=4, minutes=30))
    report = bench.run(DAY, "deals")["deals"]
    assert report.covered_until == END - timedelta(minutes=10)
    assert len(bench.ids("deals")) == 3
    bench.night(1, "deals")
    assert "SystemModstamp >= 2026-03-31T23:50:00Z AND" in deal_queries(bench.server)[-1]
    assert sorted(bench.ids("deals")) == [deal_id(number) for number in range(1, 5)]


def test_a_watermark_that_stands_still_for_more_than_a_day_gives_way_to_the_lookback(
    bench: SalesforceBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fill(1)
    bench.run(DAY, "deals")
    bench.org.held_back_until = END
    bench.put_deal(2, END + HOUR)
    report = bench.night(2, "deals")["deals"]
    assert report.covered_until == END + timedelta(days=2)
    assert sorted(bench.ids("deals")) == [deal_id(1), deal_id(2)]
    assert "vouches for Opportunity only up to 2026-04-01 00:00:00+00:00" in caplog.text
    bench.org.held_back_until = None
    bench.night(1, "deals")
    assert "SystemModstamp >= 2026-04-02T23:45:00Z AND" in deal_queries(bench.server)[-1]


def test_deals_that_change_while_pages_are_read_are_not_lost(bench: SalesforceBench) -> None:
    bench.server.page_size = 10
    bench.fill(35)

    def meanwhile(number: int, path: str) -> None:
        if path.endswith("-20"):
            bench.put_deal(30, END + 4 * HOUR, StageName="Closed Won")
            bench.put_deal(36, END + 4 * HOUR)
            bench.org.purge("Opportunity", deal_id(7))

    bench.server.before = meanwhile
    bench.run(DAY, "deals")
    bench.server.before = lambda number, path: None
    bench.night(1, "deals")
    newest = bench.newest()
    assert set(newest) == {deal_id(number) for number in range(1, 37)}
    assert newest[deal_id(30)]["payload"]["StageName"] == "Closed Won"


def test_a_session_that_ends_between_pages_costs_neither_rows_nor_pages(bench: SalesforceBench) -> None:
    """A locator dies with its session: a new query goes on after the last id."""
    bench.server.page_size = 10
    bench.fill(45)
    ended: list[str] = []

    def end_session(number: int, path: str) -> None:
        if path.endswith("-20") and not ended:
            ended.append(path)
            bench.server.end_session()

    bench.server.before = end_session
    report = bench.run(DAY, "deals")["deals"]
    assert (report.status, report.rows, report.total) == (Status.LANDED, 45, 45)
    assert len(set(bench.ids("deals"))) == 45
    assert f"Id > '{deal_id(20)}' ORDER BY Id" in deal_queries(bench.server)[-1]


def test_an_interrupted_query_goes_on_after_its_last_id_in_another_process(bench: SalesforceBench) -> None:
    bench.server.page_size = 10
    bench.fill(45)
    bench.server.before = lambda number, path: (
        bench.server.faults.update(
            {number: (403, {}, [{"errorCode": "API_DISABLED_FOR_ORG", "message": "no"}])}
        )
        if path.endswith("-20")
        else None
    )
    assert bench.run(DAY, "deals")["deals"].status is Status.FAILED
    bench.server.before = lambda number, path: None
    bench.server.end_session()
    report = bench.run(DAY, "deals")["deals"]
    assert (report.rows, report.total) == (45, 45)
    assert f"Id > '{deal_id(20)}' ORDER BY Id" in deal_queries(bench.server)[-1]
    assert len(bench.ids("deals")) == len(set(bench.ids("deals"))) == 45


def test_compound_fields_are_never_asked_for_and_the_wish_for_one_is_answered(
    bench: SalesforceBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fill(1)
    bench.run(DAY, "deals", properties={"deals": ["Venue__c", "Letter__c", "Venue__Latitude__s"]})
    (query,) = deal_queries(bench.server)
    assert "Venue__Latitude__s" in query
    assert "Venue__c" not in query and "Letter__c" not in query
    assert "cannot be selected: Venue__c, Letter__c" in caplog.text


def test_a_star_asks_for_every_field_that_can_be_read(bench: SalesforceBench) -> None:
    bench.fill(1)
    bench.run(DAY, "deals", properties={"deals": ["*"]})
    (query,) = deal_queries(bench.server)
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
    assert left_out == {"field_history", "line_items", "deal_splits", "exchange_rates"}
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


def test_the_requests_of_the_day_are_left_to_others_beyond_the_share_that_is_ours(
    bench: SalesforceBench,
) -> None:
    bench.server.page_size = 10
    bench.fill(95)
    bench.server.limit, bench.server.used = 40, 28
    # 32 of 40 may be used: with a probe, describe and watermark, two pages are left for tonight.
    first = bench.run(DAY, "deals")["deals"]
    assert first.status is Status.PARTIAL
    assert "the account has used 32 of its 40 units, and 20% are left to others" in first.reason
    assert bench.server.used == 32
    bench.server.limit = 1_000
    second = bench.night(1, "deals", budget={"reserve": 0.9})["deals"]
    assert second.status is Status.LANDED
    assert len(bench.ids("deals")) == 95


def test_a_used_up_daily_limit_ends_the_run_cleanly_and_too_many_long_requests_do_not(
    bench: SalesforceBench,
) -> None:
    bench.fill(5)
    busy = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "ConcurrentRequests Limit exceeded."}]
    spent = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]
    bench.server.before = lambda number, path: (
        bench.server.faults.update({number: (403, {}, busy)}) if number == 4 else None
    )
    report = bench.run(DAY, "stages", "deals")["deals"]
    assert (report.status, report.rows) == (Status.LANDED, 5)
    bench.server.before = lambda number, path: (
        None if "oauth2" in path else bench.server.faults.update({number: (403, {}, spent)})
    )
    bench.server.asked.clear()
    reports = bench.night(1, "stages", "deals")
    assert {report.status for report in reports.values()} == {Status.PARTIAL}
    assert len(bench.server.asked) == 2  # the login, and the first question
    assert "the next run goes on from here" in reports["stages"].reason


def test_a_retired_version_names_the_setting(bench: SalesforceBench) -> None:
    report = bench.run(DAY, "deals", api_version="v21.0")["deals"]
    assert report.status is Status.FAILED
    assert "version retired (REQUESTED_RESOURCE_RETIRED" in report.reason
    assert "set `api_version:` of the source" in report.reason


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock_of_this_machine_changes_nothing(bench: SalesforceBench, hours: int) -> None:
    bench.fill(3)
    bench.put_deal(4, DAY + timedelta(hours=9, minutes=30))
    bench.put_deal(5, DAY + timedelta(hours=10, minutes=30))
    bench.server.clock = lambda: DAY + timedelta(hours=10)
    bench.clock = StillClock(DAY + timedelta(hours=10 + hours))
    report = bench.run(DAY, "deals")["deals"]
    assert sorted(bench.ids("deals")) == [deal_id(number) for number in range(1, 5)]
    assert report.covered_until is not None
    assert abs(report.covered_until - (DAY + timedelta(hours=10))) <= timedelta(minutes=1)


def test_single_deals_and_their_histories_are_read_again_by_id(bench: SalesforceBench) -> None:
    bench.fill(3)
    bench.server.page_size = 2
    for number in range(1, 6):
        bench.put_history(number, deal=1 + number % 2, at=EARLIER)
    run = bench.extraction()
    run.read_again(run.connector.entity("deals"), [deal_id(2), deal_id(9)])
    run.read_again(run.connector.entity("stage_history"), [deal_id(1), deal_id(2)])
    assert bench.ids("deals") == [deal_id(2)]
    assert len(bench.ids("stage_history")) == 5


def test_a_batch_says_how_it_was_read(bench: SalesforceBench) -> None:
    bench.fill(3)
    bench.run(DAY, "deals")
    (batch,) = Landing(bench.root).batches(SOURCE, "deals")
    reading = batch.manifest.reading
    assert reading is not None
    assert (reading.api_version, reading.is_watermarked, reading.window_to) == ("66.0", True, END)
    assert "Loss_Reason__c" in reading.properties
    assert batch.folder.parent == bench.root / "salesforce" / SOURCE / "deals"


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
