"""Salesforce over Bulk 2.0: the same rows as over REST, also after a crash, and when a job fails."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dagster_project.extract.api.api_report import Status
from dagster_project.extract.crm.salesforce_bulk import as_json
from tests.extract.api_bench import DAY
from tests.extract.salesforce_bench import EARLIER, BulkConnector, FastConnector, SalesforceBench, deal_id

RESULTS = "/results"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SalesforceBench]:
    bench = SalesforceBench(tmp_path / "landing", kind=BulkConnector)
    bench.fill(45)
    yield bench
    bench.server.close()


def asked(bench: SalesforceBench, part: str) -> int:
    return len(bench.server.paths(part))


def fail_once(bench: SalesforceBench, part: str, answer: tuple) -> None:
    """The first request whose address holds the part gets this answer, and so do its repetitions."""
    bench.server.before = lambda number, path: (
        bench.server.faults.update({number: answer}) if part in path else None
    )


def test_many_rows_are_fetched_by_a_job_piece_by_piece(bench: SalesforceBench) -> None:
    bench.server.polls_until_done = 3
    report = bench.run(DAY, "deals")["deals"]
    assert (report.status, report.rows, report.total) == (Status.LANDED, 45, 45)
    assert sorted(bench.ids("deals")) == [deal_id(number) for number in range(1, 46)]
    # 45 rows in pieces of 10; the last answer names the locator "null", which is no locator.
    assert asked(bench, RESULTS) == 5
    assert not asked(bench, "locator=null")
    # Each poll waits longer than the one before.
    assert bench.clock.naps[-3:] == sorted(bench.clock.naps[-3:])


def test_few_rows_never_start_a_job(bench: SalesforceBench) -> None:
    bench.kind = FastConnector
    bench.run(DAY, "deals")
    assert not bench.server.jobs


def test_rest_and_bulk_land_the_same(bench: SalesforceBench, tmp_path: Path) -> None:
    odd = ['He said "no",\nthen left', "", "Zoë ☂", " padded "]
    for number, text in enumerate(odd, start=50):
        bench.put_deal(number, EARLIER, NextStep=text or None, Amount=None, IsWon=True)
    bench.put_deal(60, EARLIER, Amount=9007199254740993, Probability=33.3)
    over_rest = SalesforceBench(tmp_path / "rest", bench.server, bench.clock)
    bench.run(DAY, "deals")
    over_rest.run(DAY, "deals")
    assert len(bench.server.jobs) == 1

    def content(side: SalesforceBench) -> list[tuple]:
        rows = []
        for row in sorted(side.rows("deals"), key=lambda row: row["record_id"]):
            payload = {name: value for name, value in row["payload"].items() if name != "attributes"}
            for name in ("CreatedDate", "SystemModstamp"):
                payload[name] = payload[name].replace("+0000", "Z")
            rows.append((row["record_id"], row["modified_at"], row["is_deleted"], payload))
        return rows

    assert content(bench) == content(over_rest)
    (huge,) = [row["payload"] for row in bench.rows("deals") if row["record_id"] == deal_id(60)]
    assert (huge["Amount"], huge["NextStep"]) == (9007199254740993, None)


def test_a_killed_job_is_taken_up_by_its_id_where_it_was(bench: SalesforceBench) -> None:
    bench.server.before = lambda number, path: (
        bench.server.faults.update({number: (403, {}, [{"errorCode": "API_DISABLED", "message": "no"}])})
        if RESULTS in path and asked(bench, RESULTS) > 2
        else None
    )
    assert bench.run(DAY, "deals")["deals"].status is Status.FAILED
    bench.server.before = lambda number, path: None
    bench.server.asked.clear()
    bench.server.end_session()
    report = bench.run(DAY, "deals")["deals"]
    assert (report.status, report.rows) == (Status.LANDED, 45)
    assert len(bench.server.jobs) == 1
    assert asked(bench, RESULTS) == 3
    assert sorted(bench.ids("deals")) == [deal_id(number) for number in range(1, 46)]


def test_results_that_salesforce_no_longer_keeps_are_asked_for_by_a_new_job(bench: SalesforceBench) -> None:
    fail_once(bench, "locator=", (403, {}, [{"errorCode": "API_DISABLED", "message": "no"}]))
    assert bench.run(DAY, "deals")["deals"].status is Status.FAILED
    bench.server.before = lambda number, path: None
    bench.server.jobs.clear()
    report = bench.run(DAY, "deals")["deals"]
    assert (report.status, report.rows) == (Status.LANDED, 45)
    assert len(bench.ids("deals")) == len(set(bench.ids("deals"))) == 45


@pytest.mark.parametrize("state", ["Failed", "Aborted"])
def test_a_job_that_fails_is_replaced_by_pages(
    bench: SalesforceBench, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    bench.server.jobs_fail = state
    report = bench.run(DAY, "deals")["deals"]
    assert (report.status, report.rows) == (Status.LANDED, 45)
    assert len(bench.ids("deals")) == len(set(bench.ids("deals"))) == 45
    assert f": {state}" in caplog.text and "read over REST instead" in caplog.text


def test_a_query_too_long_for_an_address_goes_by_bulk_however_few_the_rows(bench: SalesforceBench) -> None:
    many = {f"Custom_Field_Number_{number}__c": "string" for number in range(911)}
    bench.org.fields["Opportunity"] |= many
    bench.fill(3)
    bench.kind = FastConnector
    report = bench.run(DAY, "deals", properties={"deals": ["*"]})["deals"]
    assert (report.status, len(bench.server.jobs)) == (Status.LANDED, 1)
    assert max(map(len, bench.server.paths())) < 16_000
    assert many.keys() <= bench.rows("deals")[0]["payload"].keys()
    # A job that fails cannot be replaced by an address of this length.
    bench.server.jobs_fail = "Failed"
    bench.put_deal(99, DAY + timedelta(days=1, hours=1))
    failed = bench.night(1, "deals", properties={"deals": ["*"]})["deals"]
    assert failed.status is Status.FAILED
    assert "query timed out; ask for fewer `properties:`, or run again" in failed.reason


PIECE = b'"Id","Amount"\n"' + deal_id(1).encode() + b'","1.0"\n'
HEADERS = {"Sforce-NumberOfRecords": "1", "Sforce-Locator": "null"}
BROKEN = {
    "cut": (200, {**HEADERS, "Sforce-NumberOfRecords": "2"}, PIECE),
    "no count": (200, {"Sforce-Locator": "null"}, PIECE),
    "empty": (200, HEADERS, b""),
    "html": (200, HEADERS, b"<html>busy</html>\n"),
    "half a row": (200, HEADERS, PIECE + b'"006'),
    "503": (503, {}, b""),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_piece_is_asked_for_again_and_never_lands_short(bench: SalesforceBench, fault: str) -> None:
    spoiled: list[int] = []

    def spoil(number: int, path: str) -> None:
        if "locator=" in path and len(spoiled) < 2:
            spoiled.append(number)
            bench.server.faults[number] = BROKEN[fault]

    bench.server.before = spoil
    report = bench.run(DAY, "deals")["deals"]
    assert (report.status, report.usage.retries) == (Status.LANDED, 2)
    assert sorted(bench.ids("deals")) == [deal_id(number) for number in range(1, 46)]


def test_a_job_that_does_not_end_is_left_to_the_next_run(bench: SalesforceBench) -> None:
    bench.server.polls_until_done = 10**6
    report = bench.run(DAY, "deals")["deals"]
    assert report.status is Status.FAILED
    assert "the job is InProgress after 60 minutes; run again later" in report.reason
    assert asked(bench, "jobs/query/") < 200
    bench.server.polls_until_done = 0
    assert bench.run(DAY, "deals")["deals"].rows == 45
    assert len(bench.server.jobs) == 1


def test_a_job_that_is_gone_at_once_fails_with_its_name(bench: SalesforceBench) -> None:
    bench.server.before = lambda number, path: bench.server.jobs.clear() if "jobs/query/" in path else None
    report = bench.run(DAY, "deals")["deals"]
    assert report.status is Status.FAILED
    assert "org: deals, page Bulk job 750" in report.reason


def test_a_row_of_csv_reads_like_one_of_rest() -> None:
    row = {"Id": "006", "Amount": "12345678901234.50", "IsWon": "true", "Zip__c": "0123", "NextStep": ""}
    types = {"Id": "id", "Amount": "currency", "IsWon": "boolean", "Zip__c": "string", "NextStep": "string"}
    assert as_json(row, types) == (
        '{"Id":"006","Amount":12345678901234.50,"IsWon":true,"Zip__c":"0123","NextStep":null}'
    )
