"""The engine against a CRM that fails in every way: nothing lost, nothing twice, nothing half."""

import random
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dagster_project.extract.api.api_report import Status
from dagster_project.extract.landing import PART, SCHEMA, Landing, verify
from tests.extract.api_bench import DAY, EARLIER, ApiBench
from tests.extract.fake_crm import PAGE, FakeConnector, FakeServer

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[ApiBench]:
    server = FakeServer()
    yield ApiBench(server, tmp_path / "landing")
    server.close()


@pytest.mark.parametrize("deals", [0, 1, PAGE - 1, PAGE, PAGE + 1, 10 * PAGE + 3])
def test_a_full_extract_lands_every_deal_once(bench: ApiBench, deals: int) -> None:
    bench.fill(deals)
    report = bench.run()["deals"]
    assert sorted(bench.ids("deals"), key=int) == [str(number) for number in range(1, deals + 1)]
    assert (report.status, report.rows) == (Status.LANDED, deals)
    assert len([p for p in bench.server.paths() if p.startswith("/deals")]) == max(1, -(-deals // PAGE))


def test_a_batch_looks_like_those_of_files_and_its_manifest_says_how_it_was_read(bench: ApiBench) -> None:
    bench.fill(12)
    bench.run(api_version="v9")
    (batch,) = Landing(bench.root).batches("hq", "deals")
    assert batch.folder.parent == bench.root / "pipedrive/hq/deals"
    assert sorted(path.name for path in batch.folder.iterdir()) == ["_manifest.json", PART]
    assert pq.read_schema(batch.folder / PART).equals(SCHEMA)
    verify(batch)
    manifest, reading = batch.manifest, batch.manifest.reading
    assert reading is not None
    assert (manifest.rows, manifest.stamp.is_initial_load) == (12, True)
    # The day after the window's day is not over at 04:00: what has changed since midnight belongs to it.
    assert (reading.window_from, reading.window_to) == (None, DAY + timedelta(hours=28))
    assert (reading.requests, reading.cost, reading.api_version) == (2, 2, "v9")
    assert manifest.max_modified_at == (EARLIER + timedelta(minutes=12)).replace(tzinfo=None)


def test_what_is_covered_is_not_asked_for_again(bench: ApiBench) -> None:
    bench.fill(12)
    bench.run()
    asked = len(bench.server.asked)
    reports = bench.run()
    assert len(bench.server.asked) == asked
    assert {report.status for report in reports.values()} == {Status.UP_TO_DATE}


def test_the_next_window_reaches_back_by_the_lookback_and_lands_what_came_late(bench: ApiBench) -> None:
    bench.fill(3)
    bench.run(lookback_minutes=10)
    end = DAY + timedelta(days=1)
    bench.server.put("4", end - timedelta(minutes=9))  # committed after the window was read
    bench.server.put("5", end - timedelta(minutes=11))
    bench.server.put("6", end + timedelta(hours=5))
    bench.clock.passed += 24 * 3600
    bench.run(end, lookback_minutes=10)
    # The window begins ten minutes before the earlier of the day's start and the end of what is covered.
    assert bench.ids("deals") == ["1", "2", "3", "4", "6"]


def test_changes_after_the_window_are_left_to_the_next_one(bench: ApiBench) -> None:
    bench.fill(1)
    end = DAY + timedelta(days=1)
    now = end + timedelta(hours=4)
    bench.server.ignores_until = True
    bench.server.put("2", now)
    bench.run()
    assert bench.ids("deals") == ["1"]
    (batch,) = Landing(bench.root).batches("hq", "deals")
    assert batch.manifest.reading is not None and batch.manifest.reading.rows_beyond_window == 1
    bench.clock.passed += 24 * 3600
    bench.run(end)
    assert bench.ids("deals")[-1] == "2"


def test_deals_that_change_while_pages_are_read_are_not_lost(bench: ApiBench) -> None:
    bench.fill(35)
    end = DAY + timedelta(days=1)

    def meanwhile(number: int, path: str) -> None:
        if "after=10" in path and "7" in bench.server.deals:
            bench.server.put("30", end + timedelta(minutes=1), stage="s2")
            bench.server.put("36", end + timedelta(minutes=2))
            del bench.server.deals["7"]

    bench.server.before = meanwhile
    bench.run()
    bench.clock.passed += 24 * 3600
    bench.run(end)
    newest = {row["record_id"]: row["payload"]["stage"] for row in bench.rows("deals")}
    assert newest.keys() == {str(number) for number in range(1, 37)}
    assert newest["30"] == "s2"


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock_of_this_machine_changes_nothing(bench: ApiBench, hours: int) -> None:
    bench.fill(3)
    bench.server.put("4", DAY + timedelta(hours=9, minutes=30))
    bench.server.put("5", DAY + timedelta(hours=10, minutes=30))
    bench.clock.start = DAY + timedelta(hours=10 + hours)
    bench.server.clock = lambda: DAY + timedelta(hours=10)
    report = bench.run()["deals"]
    assert bench.ids("deals") == ["1", "2", "3", "4"]
    assert report.covered_until is not None
    assert abs(report.covered_until - (DAY + timedelta(hours=10))) < timedelta(seconds=5)


FAULTS = {
    "502": (502, {}, b"bad gateway"),
    "503": (503, {"Retry-After": "3"}, b""),
    "504": (504, {}, b""),
    "429": (429, {"Retry-After": "7"}, b"{}"),
    "429 without a wait": (429, {}, b"{}"),
    "reset": "reset",
    "truncated": "truncated",
    "html": (200, {"Content-Type": "text/html"}, b"<html>busy</html>"),
    "empty": (200, {}, b""),
    "success false": (200, {}, b'{"success": false, "data": []}'),
    "no list": (200, {}, b'{"success": true, "data": null}'),
    "half json": (200, {}, b'{"success": true, "data": [{"id": 1'),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_loses_no_row(bench: ApiBench, fault: str) -> None:
    bench.fill(25)
    bench.server.faults = {4: FAULTS[fault], 5: FAULTS[fault]}
    report = bench.run(entities=["stages", "deals"])["deals"]
    assert bench.ids("deals") == [str(number) for number in range(1, 26)]
    assert report.usage.retries == 2
    if fault == "429":
        assert 14 <= report.usage.seconds_waited <= 15


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lasting_fault_names_account_entity_and_page_and_lands_nothing_of_it(
    bench: ApiBench, fault: str
) -> None:
    bench.fill(25)
    bench.server.always = lambda path: FAULTS[fault] if "after=10" in path else None
    report = bench.run()["deals"]
    assert report.status is Status.FAILED
    assert "hq: deals, page after 10" in report.reason
    assert "no usable answer in 4 attempts" in report.reason
    assert not bench.ids("deals")
    bench.server.always = None
    asked = len(bench.server.asked)
    bench.run(entities=["deals"])
    assert bench.ids("deals") == [str(number) for number in range(1, 26)]
    # The first page was kept: only the other two are asked for.
    assert len(bench.server.asked) == asked + 2


def test_a_refused_credential_is_refreshed_once_and_then_a_matter_of_configuration(bench: ApiBench) -> None:
    bench.server.token = "another one"
    report = bench.run(entities=["deals"])["deals"]
    assert report.status is Status.FAILED
    assert "credential refused (who are you)" in report.reason
    assert "put a valid credential into the variable" in report.reason
    assert len(bench.server.asked) == 2


def test_an_entity_that_may_not_be_read_is_left_out_unless_it_is_needed(bench: ApiBench) -> None:
    bench.fill(2)
    bench.server.always = lambda path: (403, {}, {"message": "no"}) if path in ("/teams", "/stages") else None
    reports = bench.run()
    assert reports["teams"].status is Status.SKIPPED
    assert reports["stages"].status is Status.FAILED
    assert "give the credential the right to read stages" in reports["stages"].reason
    assert reports["deals"].status is Status.LANDED


def test_histories_are_asked_for_only_where_something_that_matters_changed(bench: ApiBench) -> None:
    bench.fill(5)
    bench.run()
    end = DAY + timedelta(days=1)
    bench.server.put("2", end + timedelta(hours=1), stage="s2")
    bench.server.put("3", end + timedelta(hours=1), stage="s1", amount=99)
    bench.server.put("6", end + timedelta(hours=1))
    bench.clock.passed += 24 * 3600
    bench.server.asked.clear()
    bench.run(end)
    assert sorted(p for p in bench.server.paths() if "history" in p) == ["/history?ids=2", "/history?ids=6"]
    assert sorted(bench.ids("stage_history"))[-3:] == ["4/s1", "5/s1", "6/s1"]


def test_a_deal_whose_history_is_gone_does_not_stop_the_others(bench: ApiBench) -> None:
    bench.fill(5)
    bench.server.always = lambda path: (404, {}, {}) if path.endswith("ids=3") else None
    report = bench.run()["stage_history"]
    assert (report.status, report.rows) == (Status.LANDED, 4)
    assert "1 deals could not be asked for" in report.notes[0]


def test_a_missing_right_to_histories_is_found_after_a_few_deals(bench: ApiBench) -> None:
    bench.fill(50)
    bench.server.always = lambda path: (403, {}, {}) if "history" in path else None
    report = bench.run()["stage_history"]
    assert report.status is Status.FAILED
    assert len([p for p in bench.server.paths() if "history" in p]) <= 8


def test_a_daily_budget_spreads_the_first_load_over_nights_and_says_how_many(bench: ApiBench) -> None:
    bench.fill(95)
    nights, statuses, told = 0, [], []
    while nights < 20:
        nights += 1
        reports = bench.run(DAY + timedelta(days=nights - 1), budget={"daily": 20})
        history = reports["stage_history"]
        statuses.append(history.status)
        told.append(history.nights_left)
        if history.status is Status.LANDED:
            break
        bench.clock.passed += 24 * 3600
    # 1 probe, 1 list of stages, 10 pages of deals and 8 histories in the first night; from the second on
    # a probe, a list of stages and a page of deals: 17 histories. 8 + 5 x 17 = 93, and 2 in the seventh.
    assert statuses == [Status.PARTIAL] * 6 + [Status.LANDED]
    assert told[0] == 11  # 87 left at 8 a night
    assert told[1] == 5  # 70 left at 17 a night
    assert len(bench.ids("stage_history")) == len(set(bench.ids("stage_history"))) == 95


def test_a_first_load_that_the_budget_cuts_goes_on_where_it_stopped(bench: ApiBench) -> None:
    bench.fill(95)
    first = bench.run(budget={"daily": 6})["deals"]
    assert (first.status, first.done, first.total, first.nights_left) == (Status.PARTIAL, 40, 95, 2)
    assert "40 of about 95 records read; about 2 more nights like this" in first.progress
    assert not bench.ids("deals")
    bench.clock.passed += 24 * 3600
    second = bench.run(budget={"daily": 100})["deals"]
    assert second.status is Status.LANDED
    assert bench.ids("deals") == [str(number) for number in range(1, 96)]
    assert [p for p in bench.server.paths() if "after=30" in p] == [
        p for p in bench.server.paths() if "after=30" in p
    ][:1]


def test_the_daily_limit_of_the_crm_ends_the_run_without_another_request(bench: ApiBench) -> None:
    bench.fill(25)
    bench.server.always = lambda path: (429, {}, {"message": "daily"}) if "after=10" in path else None
    reports = bench.run()
    assert {name: report.status for name, report in reports.items()} == {
        "stages": Status.LANDED,
        "deals": Status.PARTIAL,
        "stage_history": Status.PARTIAL,
        "teams": Status.PARTIAL,
    }
    assert bench.server.paths()[-1].count("after=10") == 1
    assert "the next run goes on from here" in reports["deals"].reason


def test_vanished_deals_get_a_tombstone_from_the_weekly_list_of_all_ids(bench: ApiBench) -> None:
    bench.fill(40)
    bench.run()
    del bench.server.deals["7"]
    bench.clock.passed += 7 * 24 * 3600
    report = bench.run(DAY + timedelta(days=7))["deals"]
    (tombstone,) = [row for row in bench.rows("deals") if row["is_deleted"]]
    assert tombstone["record_id"] == "7"
    assert tombstone["payload"]["stageledger"]["deleted_reason"] == "vanished"
    assert report.notes == ["1 deals have vanished and were marked as deleted"]
    bench.server.asked.clear()
    bench.clock.passed += 24 * 3600
    bench.run(DAY + timedelta(days=8))
    assert len([p for p in bench.server.paths() if p.startswith("/deals")]) == 1


def test_a_sweep_that_would_delete_too_much_is_refused_until_it_is_confirmed(bench: ApiBench) -> None:
    bench.fill(40)
    bench.run()
    for number in range(1, 11):
        del bench.server.deals[str(number)]
    bench.clock.passed += 7 * 24 * 3600
    report = bench.run(DAY + timedelta(days=7))["deals"]
    assert not [row for row in bench.rows("deals") if row["is_deleted"]]
    assert "10 of 40 deals are missing" in report.notes[0] and "accept_vanished" in report.notes[0]
    bench.clock.passed += 24 * 3600
    bench.run(DAY + timedelta(days=8), accept_vanished=0.26)
    assert len([row for row in bench.rows("deals") if row["is_deleted"]]) == 10


def test_a_changed_schema_is_reported_and_stops_nothing(
    bench: ApiBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.fill(2)
    monkeypatch.setattr(FakeConnector, "described", {"stage": "text", "amount": "number", "old": "text"})
    bench.run()
    monkeypatch.setattr(FakeConnector, "described", {"stage": "text", "amount": "text", "colour": "text"})
    bench.clock.passed += 24 * 3600
    notes = bench.run(DAY + timedelta(days=1))["deals"].notes
    assert notes == [
        "1 new fields, kept in the payload: colour",
        "1 fields are gone, their columns turn empty: old",
        "1 fields changed their type: amount (number → text)",
    ]


@pytest.mark.slow
def test_a_killed_extraction_goes_on_with_its_batch_and_ends_like_an_undisturbed_one(
    bench: ApiBench, tmp_path: Path
) -> None:
    bench.fill(60)
    bench.server.clock = lambda: datetime.now(UTC)
    end = "2026-04-01T00:00:00+00:00"

    def extract(landing: Path, kill_at: int | None = None) -> int:
        return bench.run_program(landing, end, kill_at)

    def content(landing: Path) -> dict[str, list[tuple[str, str]]]:
        calm = ApiBench(bench.server, landing)
        return {
            entity: sorted((row["record_id"], str(row["payload"])) for row in calm.rows(entity))
            for entity in ("stages", "deals", "stage_history")
        }

    assert extract(tmp_path / "calm") == 0
    undisturbed = len(bench.server.asked)
    bench.server.asked.clear()
    shaken = tmp_path / "shaken"
    kills = 0
    seeded = random.Random(4)
    while (code := extract(shaken, seeded.randint(1, 25))) != 0:
        assert code == -signal.SIGKILL
        kills += 1
    assert kills >= 3
    assert content(shaken) == content(tmp_path / "calm")
    # A kill costs at most the pages under way (one for each of two threads) and the question for the time.
    assert len(bench.server.asked) <= undisturbed + 3 * kills
