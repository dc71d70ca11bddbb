"""HubSpot over HTTP, against a portal that pages, lags, merges, archives and fails like the real one."""

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dagster_project.extract.api.api_report import Status
from dagster_project.extract.api.protocol import Window
from dagster_project.extract.crm import hubspot_versions
from dagster_project.extract.crm.hubspot import HubSpotConnector
from dagster_project.extract.landing import Landing
from tests.extract.api_bench import DAY, EARLIER
from tests.extract.hubspot_bench import NIGHT, HubSpotBench, hubspot_source
from tests.simulators.hubspot_server import TOKEN

TODAY = DAY + NIGHT  # the second day of a test
DEALS_ONLY = ["pipelines", "owners", "deals", "deal_history"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[HubSpotBench]:
    bench = HubSpotBench(tmp_path / "landing")
    yield bench
    bench.server.close()
    assert not bench.server.defects


def bodies(bench: HubSpotBench, part: str) -> list[dict]:
    return [asked.body for asked in bench.server.asked if part in asked.path]


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 203])
def test_a_first_load_lands_every_deal_and_history_once(bench: HubSpotBench, count: int) -> None:
    bench.deals(count)
    reports = bench.run(entities=DEALS_ONLY)
    expected = [str(number) for number in range(1, count + 1)]
    assert bench.ids("deals") == expected
    assert sorted(bench.ids("deal_history"), key=int) == expected
    assert (reports["deals"].done, reports["deals"].total) == (count, count)
    assert len(bench.server.paths("/0-3?limit=50&archived=false")) == max(1, -(-count // 50))
    assert len(bench.server.paths("/0-3?limit=50&archived=true")) == 1
    assert bodies(bench, "0-3/batch/read") == []


def test_a_night_asks_for_changed_ids_and_reads_them_whole(bench: HubSpotBench) -> None:
    bench.deals(30)
    bench.portal.associate("deals", "4", "companies", "77", 5)
    bench.run()
    bench.deal(4, TODAY + timedelta(hours=9), "quote", amount="5.50")
    bench.server.asked.clear()
    bench.run(bench.next_night(), entities=DEALS_ONLY)
    newest = bench.rows("deals")[-1]
    assert newest["payload"]["properties"]["amount"] == "5.50"
    # The search knows no associations: the record has the same shape as in a list, nothing is emptied.
    assert newest["payload"]["associations"] == {
        "companies": {"results": [{"id": "77", "type": "deal_to_company"}]}
    }
    assert [asked["inputs"] for asked in bodies(bench, "0-3/batch/read")] == [[{"id": "4"}]] * 2


def test_histories_come_in_fifties_and_records_in_hundreds(bench: HubSpotBench) -> None:
    bench.deals(230)
    bench.run()
    for number in range(1, 231):
        bench.deal(number, TODAY + timedelta(hours=9), "quote")
    bench.run(bench.next_night())
    reads = bodies(bench, "0-3/batch/read")
    with_history = [len(body["inputs"]) for body in reads if body["propertiesWithHistory"]]
    without = [len(body["inputs"]) for body in reads if not body["propertiesWithHistory"]]
    # Asked in parallel, they come in any order.
    assert sorted(with_history) == [30, 50, 50, 50, 50]
    assert sorted(without) == [30, 100, 100]
    assert all(set(body) == {"inputs", "properties", "propertiesWithHistory"} for body in reads)


def test_more_changes_of_one_instant_than_a_search_may_return_end_and_are_complete(
    bench: HubSpotBench,
) -> None:
    bench.deals(1)
    bench.run(entities=["deals"])
    at = TODAY + timedelta(hours=9)
    for number in range(1, 10_002):
        bench.deal(number, at)
    report = bench.run(bench.next_night(), entities=["deals"])["deals"]
    assert (report.status, report.rows) == (Status.LANDED, 10_001)
    assert sorted(bench.ids("deals")[1:], key=int) == [str(number) for number in range(1, 10_002)]
    searches = bodies(bench, "/search")
    assert {(body["after"], body["limit"]) for body in searches[1:]} == {("0", 200)}
    assert all(
        body["sorts"] == [{"propertyName": "hs_object_id", "direction": "ASCENDING"}] for body in searches
    )


def test_a_search_that_is_out_of_order_fails_by_name_and_leaves_nothing_out(bench: HubSpotBench) -> None:
    bench.deals(3)
    bench.run(entities=["deals"])
    for number in (1, 2, 3):
        bench.deal(number, TODAY + timedelta(hours=9), "quote")
    day = bench.next_night()
    told = {
        "id": "2",
        "properties": {},
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
    }
    answer = {"total": 2, "results": [told | {"archived": False}, told | {"id": "1", "archived": False}]}
    bench.server.always = lambda path: (200, {}, answer) if "/search" in path else None
    report = bench.run(day, entities=["deals"])["deals"]
    assert report.status is Status.FAILED
    assert "hq: deals, page search after 0" in report.reason and "order of ids" in report.reason
    bench.server.always = None
    bench.run(day, entities=["deals"])
    assert bench.ids("deals")[3:] == ["1", "2", "3"]


def test_what_the_index_shows_late_is_found_by_the_next_night(bench: HubSpotBench) -> None:
    bench.deals(5)
    bench.run()
    # Changed 50 minutes before midnight, and not yet in the index when the night looks at 04:00.
    bench.portal.lag = lambda record_id: timedelta(hours=5) if record_id == "3" else timedelta(0)
    bench.deal(3, TODAY + timedelta(hours=23, minutes=10), "quote")
    bench.run(bench.next_night())
    assert bench.ids("deals").count("3") == 1
    bench.run(bench.next_night())
    assert bench.ids("deals").count("3") == 2
    assert bench.rows("deal_history")[-1]["record_id"] == "3"


def test_a_deal_touched_after_midnight_keeps_its_day(bench: HubSpotBench) -> None:
    bench.deals(3)
    bench.run()
    bench.deal(2, TODAY + timedelta(hours=15), "quote")
    bench.portal.change("deals", "2", TODAY + NIGHT + timedelta(hours=1), {"amount": "9"})
    report = bench.run(bench.next_night())["deals"]
    # The window ends a minute before the night's own time, 04:00: both changes are in it.
    assert report.covered_until == TODAY + timedelta(hours=27, minutes=59)
    assert bench.ids("deals")[3:] == ["2"]
    assert bench.rows("deals")[-1]["modified_at"] == datetime(2026, 4, 2, 1)
    moves = bench.rows("deal_history")[-1]["payload"]["propertiesWithHistory"]["dealstage"]
    assert moves[0]["timestamp"] == "2026-04-01T15:00:00.000Z"
    bench.run(bench.next_night())
    assert bench.ids("deals")[4:] == ["2"]


def test_archived_deals_come_as_deleted_with_their_history_and_only_once(bench: HubSpotBench) -> None:
    bench.deals(12)
    bench.portal.archive("deals", "5", DAY - timedelta(days=3))
    bench.run()
    assert [row["record_id"] for row in bench.rows("deals") if row["is_deleted"]] == ["5"]
    assert "5" in bench.ids("deal_history")
    bench.portal.archive("deals", "6", TODAY + timedelta(hours=10))
    bench.run(bench.next_night())
    assert [row["record_id"] for row in bench.rows("deals") if row["is_deleted"]] == ["5", "6"]
    bench.portal.restore("6", TODAY + NIGHT + timedelta(hours=10))
    bench.run(bench.next_night())
    assert [(row["record_id"], row["is_deleted"]) for row in bench.rows("deals")][-2:] == [
        ("6", True),
        ("6", False),
    ]


def test_owners_in_use_and_deactivated_ones_are_landed(bench: HubSpotBench) -> None:
    times = {"createdAt": "2025-01-01T00:00:00Z", "updatedAt": "2025-01-01T00:00:00Z", "type": "PERSON"}
    bench.portal.owners = [{"id": str(n), "archived": n % 3 == 0, **times} for n in range(1, 251)]
    bench.run(entities=["owners"])
    assert sorted(map(int, bench.ids("owners"))) == list(range(1, 251))


def test_a_merge_leaves_a_tombstone_for_both_and_asks_for_no_old_id_again(bench: HubSpotBench) -> None:
    bench.deals(4)
    bench.run()
    at = TODAY + timedelta(hours=11)
    bench.deal(1, TODAY + timedelta(hours=8), "quote")
    bench.portal.merge("1", "2", at, "50")
    bench.run(bench.next_night())
    tombstones = {
        row["record_id"]: row["payload"]["stageledger"] for row in bench.rows("deals") if row["is_deleted"]
    }
    expected = {"deleted_reason": "merged", "deleted_at": at.isoformat(), "merged_into": "50"}
    assert tombstones == {"1": expected, "2": expected}
    assert bench.ids("deal_history").count("50") == 1
    assert bench.ids("deal_history").count("1") == 1
    # Asked for under old ids, the answer is the new deal, once, and it is landed under its own.
    connector = HubSpotConnector(hubspot_source(bench.server.address), bench.clock)
    found = connector.read_ids(connector.entity("deal_history"), ["1", "2", "3"])
    assert sorted(record.record_id for record in found) == ["3", "50"]


def test_nine_hundred_properties_of_ones_own_are_no_too_long_address(bench: HubSpotBench) -> None:
    names = [f"our_own_property_number_{number}" for number in range(911)]
    bench.deals(3)
    bench.deal(2, EARLIER, **{names[910]: "kept"})
    bench.portal.associate("deals", "2", "companies", "77", 5)
    bench.run(entities=["deals"], properties={"deals": names})
    assert {asked.path for asked in bench.server.asked if len(asked.path) > 2_000} == set()
    payload = bench.rows("deals")[1]["payload"]
    assert payload["properties"][names[910]] == "kept"
    assert payload["associations"]["companies"]["results"][0]["id"] == "77"


def test_only_the_properties_that_are_needed_are_asked_for(bench: HubSpotBench) -> None:
    bench.deal(1, EARLIER, description="a text about a person")
    bench.run(entities=["deals"])
    assert "description" not in bench.rows("deals")[0]["payload"]["properties"]
    bench.deal(1, TODAY + timedelta(hours=3), "quote")
    bench.run(bench.next_night(), entities=["deals"], properties={"deals": ["description"]})
    assert bench.rows("deals")[-1]["payload"]["properties"]["description"] == "a text about a person"


def test_a_new_property_is_reported_and_stops_nothing(bench: HubSpotBench) -> None:
    bench.deals(2)
    bench.run()
    bench.deal(1, TODAY + timedelta(hours=3), colour="red")
    del bench.portal.types["deals"]["amount"]
    report = bench.run(bench.next_night())["deals"]
    assert report.status is Status.LANDED
    assert report.notes == [
        "1 new fields, kept in the payload: colour",
        "1 fields are gone, their columns turn empty: amount",
    ]


@pytest.mark.parametrize("version", ["2026-09", "2026-03", "v3"])
def test_each_version_is_spoken_at_its_own_addresses(bench: HubSpotBench, version: str) -> None:
    bench.deals(3)
    bench.run(api_version=version)
    bench.deal(2, TODAY + timedelta(hours=3), "quote")
    bench.run(bench.next_night(), api_version=version)
    assert bench.ids("deals") == ["1", "2", "3", "2"]
    told = {part for path in bench.server.paths() for part in re.findall(r"/(v\d|\d{4}-\d{2})/", path)}
    told |= {part for path in bench.server.paths() for part in re.findall(r"/(\d{4}-\d{2})\?", path)}
    assert told == {"2026-09": {"2026-09", "2026-03"}, "2026-03": {"2026-03"}, "v3": {"v3", "v4"}}[version]
    sunsets = hubspot_versions.SUNSETS
    assert all(sunsets[part] > datetime.now(UTC).date() for part in told & sunsets.keys())


def test_an_unknown_version_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="write one of 2026-09, 2026-03, v3"):
        hubspot_versions.addresses("v5")


DAILY = {"status": "error", "message": "You have reached your daily limit.", "policyName": "DAILY"}
BURST = {"status": "error", "message": "Too fast.", "policyName": "TEN_SECONDLY_ROLLING"}


@pytest.mark.parametrize(
    ("fault", "waited"),
    [
        ((429, {}, BURST), 10.0),
        ((429, {"Retry-After": "3"}, BURST), 3.0),
        ((429, {}, BURST | {"policyName": "SECONDLY"}), 1.0),
        ((200, {}, {"status": "error", "message": "oops"}), None),
        ((207, {}, {"status": "COMPLETE", "results": [], "errors": [{"category": "INTERNAL"}]}), None),
        ((200, {}, {"status": "PENDING", "results": []}), None),
        ((477, {"Retry-After": "20"}, {}), 20.0),
        ((521, {}, b"<html>"), None),
        ("reset", None),
        ("truncated", None),
    ],
)
def test_a_passing_fault_of_a_batch_loses_no_history(
    bench: HubSpotBench, fault: object, waited: float | None
) -> None:
    bench.deals(60)
    bench.run(entities=["deals"])
    seen = []

    def once(path: str) -> object:
        if "batch/read" in path and not seen:
            seen.append(path)
            return fault
        return None

    bench.server.always = once
    report = bench.run()["deal_history"]
    assert (report.status, report.usage.retries) == (Status.LANDED, 1)
    assert len(set(bench.ids("deal_history"))) == 60
    if waited is not None:
        assert any(abs(nap - waited) < 0.01 for nap in bench.clock.naps)


def test_the_end_of_the_daily_limit_ends_the_run_and_the_next_goes_on(bench: HubSpotBench) -> None:
    bench.deals(250)
    bench.server.always = lambda path: (429, {}, DAILY) if "after=100" in path else None
    reports = bench.run()
    assert reports["deals"].status is Status.PARTIAL
    assert "100 of about 250 records read" in reports["deals"].progress
    assert bench.server.paths()[-1].count("after=100") == 1
    bench.server.always = None
    bench.run(bench.next_night())
    assert sorted(bench.ids("deals"), key=int) == [str(number) for number in range(1, 251)]
    assert len(bench.server.paths("/0-3?limit=50&archived=false&")) == 6
    assert sorted(bench.ids("deal_history")) == sorted(bench.ids("deals"))
    assert bodies(bench, "0-3/batch/read") == []


def test_a_fifth_of_the_days_requests_is_left_to_others(bench: HubSpotBench) -> None:
    bench.deals(250)
    bench.server.daily = 1000
    bench.server.spent_today = 794
    reports = bench.run()
    assert reports["deals"].status is Status.PARTIAL
    assert "of its 1,000 units, and 20% are left to others" in reports["deals"].reason


@pytest.mark.parametrize(("status", "told"), [(401, "credential refused"), (530, "the token is malformed")])
def test_a_refused_token_is_a_matter_of_configuration(bench: HubSpotBench, status: int, told: str) -> None:
    bench.server.always = lambda path: (status, {}, {"message": "no"})
    report = bench.run(entities=["deals"])["deals"]
    assert report.status is Status.FAILED and told in report.reason
    assert "put a valid credential" in report.reason and len(bench.server.asked) == 2


def test_a_missing_scope_is_named_and_stops_only_what_needs_it(bench: HubSpotBench) -> None:
    bench.deals(2)
    bench.server.refused_scopes = ("/0-2", "company-currency", "/0-8")
    reports = bench.run()
    assert {name for name, report in reports.items() if report.status is Status.SKIPPED} == {
        "companies",
        "company_currency",
        "line_items",
    }
    assert "add the scope crm.objects.companies.read" in reports["companies"].reason
    bench.server.refused_scopes = ("/0-3",)
    failed = bench.run(bench.next_night())["deals"]
    assert failed.status is Status.FAILED and "crm.objects.deals.read" in failed.reason


def test_without_the_right_to_property_names_deals_are_landed_all_the_same(bench: HubSpotBench) -> None:
    bench.deals(2)
    bench.server.refused_scopes = ("/properties/",)
    assert bench.run(entities=["deals"])["deals"].status is Status.LANDED


def test_deals_that_vanish_without_a_trace_get_a_tombstone_within_a_week(bench: HubSpotBench) -> None:
    bench.deals(130)
    bench.run()
    bench.portal.purge("7")
    report = bench.run(bench.next_night(7))["deals"]
    assert [row["record_id"] for row in bench.rows("deals") if row["is_deleted"]] == ["7"]
    assert bench.rows("deals")[-1]["payload"]["stageledger"]["deleted_reason"] == "vanished"
    assert report.notes == ["1 deals have vanished and were marked as deleted"]


def test_line_items_know_their_deal_on_both_ways_and_a_deleted_one_says_so(bench: HubSpotBench) -> None:
    for number in (1, 2, 3):
        bench.portal.change("line_items", str(number), EARLIER, {"amount": "10"})
        bench.portal.associate("line_items", str(number), "deals", "9", 20)
    bench.run(entities=["line_items"])
    bench.portal.change("line_items", "2", TODAY + timedelta(hours=2), {"amount": "20"})
    bench.portal.archive("line_items", "3", TODAY + timedelta(hours=3))
    bench.run(bench.next_night(), entities=["line_items"])
    rows = bench.rows("line_items")
    assert [(row["record_id"], row["is_deleted"]) for row in rows[3:]] == [("2", False), ("3", True)]
    told = {"deals": {"results": [{"id": "9", "type": "line_item_to_deal"}]}}
    assert all(row["payload"]["associations"] == told for row in rows)


@pytest.mark.slow
def test_eight_threads_together_stay_below_the_limits_of_searches_and_of_all(bench: HubSpotBench) -> None:
    bench.portal.clock = lambda: datetime.now(UTC)
    connector = HubSpotConnector(
        hubspot_source(bench.server.address, threads=8)
    )  # by the machine's own clock

    def ask(number: int) -> None:
        if number % 5 < 2:
            list(connector.read(connector.entity("products"), Window(DAY, DAY + NIGHT), None))
        else:
            connector.probe()

    list(connector.client.in_parallel(ask, range(125)))
    searches = [asked.at for asked in bench.server.asked if asked.path.endswith("/search")]
    assert (len(searches), len(bench.server.asked)) == (50, 125)
    assert most_within(1.0, searches) <= 5
    assert most_within(10.0, [asked.at for asked in bench.server.asked]) <= 100


def most_within(seconds: float, times: list[float]) -> int:
    return max(sum(1 for other in times if at <= other < at + seconds) for at in times)


def test_the_token_is_nowhere(bench: HubSpotBench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    bench.deals(60)
    bench.server.faults = {4: (502, {}, TOKEN.encode()), 6: "reset", 9: (429, {}, {"message": TOKEN})}
    bench.server.always = lambda path: (400, {}, {"message": f"bad {TOKEN}"}) if "/0-2" in path else None
    reports = bench.run()
    assert reports["companies"].status is Status.FAILED
    assert TOKEN not in caplog.text
    assert TOKEN not in str(reports)
    assert not [path for path in bench.server.paths() if TOKEN in path]
    for batch in Landing(bench.root).batches("hq"):
        for path in batch.folder.iterdir():
            assert TOKEN.encode() not in path.read_bytes()


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock_of_this_machine_changes_nothing(bench: HubSpotBench, hours: int) -> None:
    bench.deals(2)
    bench.deal(3, DAY + timedelta(hours=28 - 1.5))
    true_now = bench.clock.now
    # The portal's clock says 04:00, whatever this machine's says.
    bench.clock.start += timedelta(hours=hours)
    bench.portal.clock = lambda: true_now() - timedelta(hours=hours)
    report = bench.run()["deals"]
    assert report.covered_until == DAY + timedelta(hours=27, minutes=59)
    assert bench.ids("deals") == ["1", "2", "3"]


def test_the_same_window_again_lands_nothing_new(bench: HubSpotBench) -> None:
    bench.deals(20)
    bench.run()
    asked = len(bench.server.asked)
    reports = bench.run()
    assert {report.status for report in reports.values()} == {Status.UP_TO_DATE}
    assert len(bench.server.asked) == asked


def test_a_day_that_is_asked_for_again_lands_again_and_says_so(bench: HubSpotBench) -> None:
    bench.deals(20)
    bench.run()
    bench.deal(3, TODAY + timedelta(hours=9), "quote")
    day = bench.next_night()
    bench.run(day)
    report = bench.run(day, entities=["deals"], reread=True)["deals"]
    assert (report.status, report.rows) == (Status.LANDED, 1)
