"""Salesforce over REST: what is asked, what is landed, and when it stops."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dagster_project.extract.api.api_report import Status
from dagster_project.extract.landing import Landing
from tests.extract.api_bench import DAY
from tests.extract.salesforce_bench import (
    EARLIER,
    SOURCE,
    BulkConnector,
    FastConnector,
    SalesforceBench,
    deal_id,
)
from tests.simulators.salesforce_org import make_id

END = DAY + timedelta(days=1)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SalesforceBench]:
    bench = SalesforceBench(tmp_path / "landing")
    yield bench
    bench.server.close()


@pytest.mark.parametrize("deals", [0, 1, 9, 10, 11, 103])
def test_every_deal_is_landed_once_however_it_is_paged(bench: SalesforceBench, deals: int) -> None:
    bench.server.page_size = 10
    bench.fill(deals)
    report = bench.run(DAY, "deals")["deals"]
    assert sorted(bench.ids("deals")) == [deal_id(number) for number in range(1, deals + 1)]
    assert (report.status, report.total) == (Status.LANDED, deals)
    # One query, and its locator followed to the end: relative, and query/ although queryAll was asked.
    assert len(bench.deal_queries()) == 1
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
    first, second = bench.deal_queries()
    assert first.endswith(" WHERE SystemModstamp < 2026-04-01T00:00:00Z ORDER BY Id")
    assert second.endswith(
        " WHERE SystemModstamp >= 2026-04-01T00:00:00Z AND SystemModstamp < 2026-04-02T00:00:00Z ORDER BY Id"
    )
    assert "LastModifiedDate" not in first


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


DOCUMENTED = re.compile(
    r"GET /services/data/v66\.0(|/(query|queryAll)\?q=SELECT\+\S+|/query/01g\w+-\d+"
    r"|/sobjects/\w+/(describe|(updated|deleted)/\?start=[\dT%A:-]+Z&end=[\dT%A:-]+Z)"
    r"|/ui-api/object-info/Opportunity/picklist-values/012\w{15}/StageName"
    r"|/jobs/query/750\w+(/results\?maxRecords=\d+(&locator=\S+)?)?)"
    r"|POST /services/(oauth2/token|data/v66\.0/jobs/query)"
)


def test_only_documented_resources_of_one_version_are_asked(bench: SalesforceBench) -> None:
    bench.kind = BulkConnector
    bench.server.page_size = 10
    bench.fill(45)
    bench.org.put("RecordType", {"Id": make_id("012", 1), "SobjectType": "Opportunity", "IsActive": True})
    bench.put_history(1, 1, EARLIER)
    bench.run()
    bench.night()
    asked = [f"{asked.method} {asked.path}" for asked in bench.server.asked]
    assert not [text for text in asked if not DOCUMENTED.fullmatch(text)]
    kinds = ("describe", "updated", "deleted", "results", "picklist-values", "queryAll", "token")
    assert all(any(kind in text for text in asked) for kind in kinds)


def test_a_batch_says_how_it_was_read(bench: SalesforceBench) -> None:
    bench.fill(3)
    bench.run(DAY, "deals")
    (batch,) = Landing(bench.root).batches(SOURCE, "deals")
    reading = batch.manifest.reading
    assert reading is not None
    assert (reading.api_version, reading.is_watermarked, reading.window_to) == ("66.0", True, END)
    assert "Loss_Reason__c" in reading.properties
    assert batch.folder.parent == bench.root / "salesforce" / SOURCE / "deals"
