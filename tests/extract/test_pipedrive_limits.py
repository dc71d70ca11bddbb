"""Pipedrive's limits and faults: requests in two seconds, tokens a day, and everything that can break."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dagster_project.extract.api.api_report import Status
from dagster_project.extract.api.pacing import Clock
from dagster_project.extract.crm.pipedrive_operations import OPERATIONS
from tests.simulators.pipedrive_bench import DAY, PipedriveBench
from tests.simulators.pipedrive_contract import ROUTES

REFUSED: dict[str, Any] = {"success": False, "error": "request over limit", "errorCode": 429}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[PipedriveBench]:
    made = PipedriveBench(tmp_path / "landing")
    yield made
    made.server.close()
    assert not made.server.violations


def test_every_operation_has_the_price_that_the_vendor_states() -> None:
    stated = {(route.version, route.path): route.tokens for route in ROUTES}
    ours = {(one.version, one.path): one.tokens for one in OPERATIONS}
    assert ours.items() <= stated.items()
    assert stated.keys() - ours.keys() == {("v1", "/pipelines/{id}/movement_statistics")}


def test_what_a_run_cost_is_what_the_vendor_charged(bench: PipedriveBench) -> None:
    bench.fill(30)
    bench.server.tokens = 30_000
    reports = bench.run()
    # 9 lists of 5 to 20 tokens, the list of archived deals, the question for the time, 30 histories
    by_hand = 20 + 20 + 5 + 5 + 10 * 3 + 10 + 10 + 10 + 20 + 10 + 2 + 30 * 20
    assert sum(report.usage.cost for report in reports.values()) == by_hand
    assert sum(bench.server.spent.values()) == by_hand


def test_the_first_load_goes_on_night_by_night_and_says_how_many_are_left(bench: PipedriveBench) -> None:
    bench.fill(30)
    night, told, statuses = DAY, [], []
    for _ in range(9):
        report = bench.run(night, budget={"daily": 302})["changelog"]
        told.append(report.nights_left)
        statuses.append(report.status)
        if report.status is Status.LANDED:
            break
        night = bench.next_night()
    # The lists cost 142 tokens in the first night and, without products of changed deals, 132 later on:
    # 8 histories each night, 30 in four.
    assert statuses == [Status.PARTIAL] * 3 + [Status.LANDED]
    assert told == [3, 2, 1, None]
    asked = [path.split("/")[4] for path in bench.server.paths("/changelog")]
    assert len(asked) == len(set(asked)) == 30
    assert sorted(bench.ids("changelog"), key=int) == [str(number) for number in range(1, 31)]


def test_a_share_of_the_companys_tokens_is_left_to_others(bench: PipedriveBench) -> None:
    bench.fill(60)
    bench.server.tokens = 1_000
    report = bench.run(budget={"reserve": 0.3})["changelog"]
    assert report.status is Status.PARTIAL
    assert "30% are left to others" in report.reason
    assert 680 <= sum(bench.server.spent.values()) <= 700
    bench.run(bench.next_night(), budget={"reserve": 0.3})
    bench.run(bench.next_night(), budget={"reserve": 0.3})
    assert len(set(bench.ids("changelog"))) == len(bench.ids("changelog")) == 60


@pytest.mark.parametrize("tells_tokens", [True, False])
def test_a_day_without_tokens_ends_the_run_cleanly_and_soon(
    bench: PipedriveBench, tells_tokens: bool
) -> None:
    bench.fill(40)
    bench.server.tokens, bench.server.tells_tokens = 400, tells_tokens
    reports = bench.run(budget={"reserve": 0.0}, threads=1)
    assert reports["deals"].status is Status.LANDED
    assert reports["changelog"].status is Status.PARTIAL
    assert "the next run goes on from here" in reports["changelog"].reason
    refused = [path for path in bench.server.paths("/changelog")][12:]
    assert len(refused) <= (1 if tells_tokens else 5)
    asked = len(bench.server.asked)
    bench.server.tokens = 30_000
    assert bench.run(bench.next_night())["changelog"].status is Status.LANDED
    assert sorted(bench.ids("changelog"), key=int) == [str(number) for number in range(1, 41)]
    assert len(bench.server.asked) - asked <= 28 + 12 + 2


def test_a_burst_is_waited_for_as_long_as_the_header_says(bench: PipedriveBench) -> None:
    bench.fill(3)
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "2"}
    bench.server.faults = {3: (429, headers, REFUSED), 4: (429, headers, REFUSED)}
    reports = bench.run()
    assert {report.status for report in reports.values()} == {Status.LANDED}
    assert sum(report.usage.retries for report in reports.values()) == 2
    assert sum(nap for nap in bench.clock.naps if nap > 1) == pytest.approx(4, abs=0.1)


def test_a_burst_without_any_header_is_waited_for_and_not_taken_for_the_end_of_the_day(
    bench: PipedriveBench,
) -> None:
    bench.fill(3)
    bench.server.faults = {5: (429, {}, REFUSED), 6: (429, {}, REFUSED)}
    reports = bench.run()
    assert {report.status for report in reports.values()} == {Status.LANDED}


def test_the_page_of_a_firewall_ends_the_run_instead_of_knocking_again(bench: PipedriveBench) -> None:
    bench.fill(3)
    page = (403, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>Access denied | Cloudflare</html>")
    bench.server.always = lambda path: page if "changelog" in path else None
    report = bench.run(threads=1)["changelog"]
    assert report.status is Status.PARTIAL and "blocked for asking too often" in report.reason
    assert len(bench.server.paths("/changelog")) == 1


@pytest.mark.parametrize("threads", [1, 8])
def test_no_two_seconds_see_more_requests_than_a_small_plan_allows(
    bench: PipedriveBench, threads: int
) -> None:
    bench.fill(24)
    bench.server.limits_bursts = True
    real = PipedriveBench(bench.root, bench.company)
    real.server.close()
    real.server = bench.server
    real.clock = Clock()  # type: ignore[assignment]
    bench.server.clock = lambda: datetime.now(UTC)
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    began = time.monotonic()
    reports = real.run(day, threads=threads)
    assert reports["changelog"].rows == 24
    assert sum(report.usage.retries for report in reports.values()) == 0
    starts = sorted(asked.at for asked in bench.server.asked)
    in_two_seconds = max(sum(1 for other in starts if 0 <= other - at < 2) for at in starts)
    assert in_two_seconds <= 0.95 * 20
    assert time.monotonic() - began >= len(starts) / 10


FAULTS: dict[str, Any] = {
    "502": (502, {}, b"bad gateway"),
    "503": (503, {"Retry-After": "3"}, b""),
    "504": (504, {}, b""),
    "429": (429, {"Retry-After": "5"}, REFUSED),
    "reset": "reset",
    "truncated": "truncated",
    "html": (200, {"Content-Type": "text/html"}, b"<html>maintenance</html>"),
    "empty": (200, {}, b""),
    "success false": (200, {}, {"success": False, "data": [], "additional_data": {"next_cursor": None}}),
    "no envelope": (200, {}, {"data": []}),
    "no list": (200, {}, {"success": True, "data": {}}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_loses_nothing(bench: PipedriveBench, fault: str) -> None:
    bench.fill(12)
    bench.server.faults = {number: FAULTS[fault] for number in (2, 12, 17)}
    reports = bench.run()
    assert {report.status for report in reports.values()} == {Status.LANDED}
    assert sorted(bench.ids("deals"), key=int) == [str(number) for number in range(1, 13)]
    assert sorted(bench.ids("changelog"), key=int) == [str(number) for number in range(1, 13)]
    assert sum(report.usage.retries for report in reports.values()) == 3


def test_a_lasting_fault_names_account_entity_and_deal(bench: PipedriveBench) -> None:
    bench.fill(3)
    bench.server.always = lambda path: (502, {}, b"") if "/deals/2/changelog" in path else None
    report = bench.run()["changelog"]
    assert report.status is Status.FAILED
    assert "hq: changelog, page deal 2" in report.reason


def test_a_refused_token_is_a_matter_of_configuration(bench: PipedriveBench) -> None:
    bench.server.token = "another"
    report = bench.run(entities=["users"])["users"]
    assert report.status is Status.FAILED
    assert "unauthorized access" in report.reason and "a new token makes the old one void" in report.reason
    assert len(bench.server.asked) == 2
