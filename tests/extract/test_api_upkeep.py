"""What may wait for the day's own reading: the list of all ids, the full refresh, and what is told once."""

import random
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dagster_project.extract.api.api_errors import CursorExpired
from dagster_project.extract.api.api_report import EntityReport, Status
from dagster_project.extract.api.coverage import coverage_of
from dagster_project.extract.api.protocol import Cursor, EntitySpec, IdPage
from dagster_project.extract.landing import Landing
from tests.extract.api_bench import DAY, EARLIER, ApiBench
from tests.extract.fake_crm import FakeConnector, FakeServer

REPOSITORY = Path(__file__).resolve().parents[2]
HOUR = timedelta(hours=1)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[ApiBench]:
    server = FakeServer()
    yield ApiBench(server, tmp_path / "landing")
    server.close()


def night(bench: ApiBench, number: int, **options: Any) -> dict[str, EntityReport]:
    """The run at 04:00 so many nights after the first."""
    bench.clock.passed = number * 24 * 3600
    bench.server.asked.clear()
    return bench.run(DAY + timedelta(days=number), **options)


def newest(bench: ApiBench) -> dict[str, dict[str, Any]]:
    """The row of each deal that counts: by its stamp, then by when it was landed."""
    rows = sorted(bench.rows("deals"), key=lambda row: (row["modified_at"], row["extracted_at"]))
    return {row["record_id"]: row for row in rows}


def id_pages(bench: ApiBench) -> list[str]:
    """Requests for the list of ids: of deals, and neither a window nor single ones."""
    paths = [path for path in bench.server.paths() if path.startswith("/deals")]
    return [path for path in paths if "until" not in path and "ids=" not in path]


def kinds(bench: ApiBench) -> list[str]:
    readings = [batch.manifest.reading for batch in Landing(bench.root).batches("hq", "deals")]
    return [reading.kind for reading in readings if reading is not None]


def test_a_deal_that_is_listed_again_lives_again_although_it_did_not_change(bench: ApiBench) -> None:
    bench.fill(40)
    bench.run()
    hidden = bench.server.deals.pop("7")
    night(bench, 7)
    assert newest(bench)["7"]["is_deleted"]
    bench.server.deals["7"] = hidden  # restored; its modified stamp is a month old
    report = night(bench, 14)["deals"]
    assert not newest(bench)["7"]["is_deleted"] and newest(bench)["7"]["payload"]["stage"] == "s1"
    assert report.notes == ["1 deals that had been marked as deleted are there again"]
    assert night(bench, 21)["deals"].notes == []


def test_a_deal_that_no_window_ever_showed_is_read_by_id_with_its_history(bench: ApiBench) -> None:
    bench.fill(40)
    bench.run()
    bench.server.put("99", EARLIER)  # committed weeks after its stamp
    report = night(bench, 7)["deals"]
    assert bench.ids("deals")[40:] == ["99"]
    assert newest(bench)["99"]["modified_at"] == EARLIER.replace(tzinfo=None)
    assert report.notes == ["1 deals had never been landed and were read by id"]
    assert bench.ids("stage_history")[-1] == "99/s1"


def test_a_deal_that_a_list_leaves_out_but_the_crm_still_has_is_not_declared_gone(bench: ApiBench) -> None:
    bench.fill(40)
    bench.run()
    gap = {"success": True, "data": [bench.server.deals[str(n)] for n in range(1, 10)], "more": True}
    bench.server.always = lambda path: (200, {}, gap) if path == "/deals?after=0" else None
    report = night(bench, 7)["deals"]  # the first page lacks deal 10; the next goes on after 9
    assert report.status is Status.LANDED
    bench.server.always = lambda path: (
        (200, {}, {"success": True, "data": [], "more": False}) if (path == "/deals?after=30") else None
    )
    report = night(bench, 14, accept_vanished=0.5)["deals"]
    assert not [row for row in bench.rows("deals") if row["is_deleted"]]
    assert report.notes == []


def test_what_changes_while_ids_are_listed_is_left_to_its_window(bench: ApiBench) -> None:
    bench.fill(40)
    del bench.server.deals["5"]
    bench.run()
    # A probe, the stages, a window and teams leave the first page of ids to this night.
    first = night(bench, 7, budget={"daily": 5})
    assert first["deals"].status is Status.LANDED and len(id_pages(bench)) == 1
    del bench.server.deals["3"]  # after its page was read
    bench.server.put("5", DAY + timedelta(days=8))  # on the page that was read
    night(bench, 8)
    assert not [row for row in bench.rows("deals") if row["is_deleted"]]
    assert "records" not in kinds(bench)
    night(bench, 15)
    assert [row["record_id"] for row in bench.rows("deals") if row["is_deleted"]] == ["3"]


def test_a_budget_that_ends_within_the_list_of_ids_costs_neither_the_day_nor_the_list(
    bench: ApiBench,
) -> None:
    bench.fill(95)
    bench.run()
    del bench.server.deals["95"]
    listed = []
    for number in range(7, 12):
        # A probe, the stages, teams and a window leave three pages of ids to a night.
        reports = night(bench, number, budget={"daily": 7})
        assert {report.status for report in reports.values()} <= {Status.LANDED, Status.UP_TO_DATE}
        listed += id_pages(bench)
        if any(row["is_deleted"] for row in bench.rows("deals")):
            break
        assert reports["deals"].upkeep[0].startswith(f"list of all ids: {30 * (number - 6)} so far")
        assert not reports["deals"].notes
    assert [row["record_id"] for row in bench.rows("deals") if row["is_deleted"]] == ["95"]
    assert len(listed) == len(set(listed)) == 10


def test_a_list_of_ids_whose_cursor_expired_begins_again(
    bench: ApiBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(FakeConnector):
        def ids(self, entity: EntitySpec, cursor: Cursor | None = None) -> Iterator[IdPage]:
            if cursor is not None:
                raise CursorExpired
            yield from super().ids(entity)

    bench.fill(40)
    bench.run()
    del bench.server.deals["7"]
    night(bench, 7, budget={"daily": 6})
    monkeypatch.setattr("tests.extract.api_bench.FakeConnector", Forgetful)
    night(bench, 8)
    assert newest(bench)["7"]["is_deleted"] and len(id_pages(bench)) == 4


def test_values_that_change_without_a_stamp_are_read_again_every_fourth_week(bench: ApiBench) -> None:
    bench.fill(25)
    bench.run(sweep_days=1000)
    bench.server.deals["9"]["weighted"] = 500  # a formula
    assert night(bench, 27, sweep_days=1000)["deals"].upkeep == []
    report = night(bench, 28, sweep_days=1000)["deals"]
    assert report.upkeep == ["full refresh: 25 records read once more"]
    assert newest(bench)["9"]["payload"]["weighted"] == 500
    assert kinds(bench)[-1] == "refresh"
    # Its stage is what it was: no history is asked for.
    assert not [path for path in bench.server.paths() if "history" in path]
    assert night(bench, 29, sweep_days=1000)["deals"].upkeep == []
    assert night(bench, 56, sweep_days=1000)["deals"].upkeep == report.upkeep


def test_a_change_that_came_later_than_the_lookback_is_found_with_its_move(bench: ApiBench) -> None:
    bench.fill(25)
    bench.run(sweep_days=1000)
    night(bench, 1, sweep_days=1000)
    bench.server.put("9", DAY + HOUR, stage="s2")  # committed a day later, with the stamp of its beginning
    night(bench, 2, sweep_days=1000)
    assert newest(bench)["9"]["payload"]["stage"] == "s1"
    night(bench, 28, sweep_days=1000)
    assert newest(bench)["9"]["payload"]["stage"] == "s2"
    assert [path for path in bench.server.paths() if "history" in path] == ["/history?ids=9"]


def test_a_full_refresh_can_be_switched_off(bench: ApiBench) -> None:
    bench.fill(5)
    bench.run(sweep_days=1000, full_refresh_days=0)
    assert night(bench, 400, sweep_days=1000, full_refresh_days=0)["deals"].upkeep == []


def test_a_full_refresh_takes_only_what_the_days_leave_of_the_budget(bench: ApiBench) -> None:
    bench.fill(95)
    bench.run(sweep_days=1000)
    pages = []
    for number in range(28, 33):
        bench.server.put(str(200 + number), DAY + timedelta(days=number) + HOUR)
        # Of eight requests: a probe, the stages, teams, a window and a history; three pages of ten are left.
        report = night(bench, number, sweep_days=1000, budget={"daily": 8})["deals"]
        assert report.status is Status.LANDED and not report.notes
        assert report.covered_until == DAY + timedelta(days=number) + 28 * HOUR
        assert str(200 + number) in bench.ids("deals")
        pages += [p for p in bench.server.paths() if p.startswith("/deals") and "since" not in p]
        if kinds(bench)[-1] == "refresh":
            break
        assert "full refresh" in report.upkeep[0] and "(hq: deals" in report.upkeep[0]
    assert number == 31
    assert len([path for path in pages if "after=0&" in path]) == 1
    # What was landed while it was under way is older than the refresh, and counts by its own stamp.
    assert sorted(newest(bench), key=int)[-4:] == ["228", "229", "230", "231"]


def test_a_new_property_makes_all_deals_be_read_again_once(bench: ApiBench) -> None:
    bench.fill(25)
    told = {"properties": {"deals": ["region"]}, "sweep_days": 1000}
    bench.run(sweep_days=1000)
    for deal in bench.server.deals.values():
        deal["region"] = "North"
    report = night(bench, 1, **told)["deals"]
    assert report.upkeep == ["full refresh: 25 records read once more"]
    assert {row["payload"]["region"] for row in newest(bench).values()} == {"North"}
    assert night(bench, 2, **told)["deals"].upkeep == []
    # To ask for less needs nothing; what was not asked for meanwhile is missing, and is read again.
    assert night(bench, 3, sweep_days=1000)["deals"].upkeep == []
    assert night(bench, 4, **told)["deals"].upkeep == report.upkeep


@pytest.mark.parametrize("new", [{"properties": {"deals": ["region"]}}, {"fields": {"region": "region"}}])
def test_a_new_property_is_read_on_the_same_day_although_the_day_is_covered(
    bench: ApiBench, new: dict[str, Any]
) -> None:
    bench.fill(25)
    bench.run()
    report = bench.run(**new)["deals"]
    assert (report.rows, kinds(bench)) == (25, ["window", "refresh"])
    asked = len(bench.server.asked)
    bench.run(**new)
    assert len(bench.server.asked) == asked


def test_an_entity_that_the_account_lacks_is_told_once_and_again_after_it_came_back(
    bench: ApiBench,
) -> None:
    bench.fill(2)
    refused = {"message": "no such feature"}
    bench.server.always = lambda path: (403, {}, refused) if path == "/teams" else None
    first = bench.run()["teams"]
    assert first.status is Status.SKIPPED and first.news == [first.reason]
    again = night(bench, 1)["teams"]
    assert again.status is Status.SKIPPED and again.reason and again.news == []
    bench.server.always = None
    assert night(bench, 2)["teams"].status is Status.LANDED
    bench.server.always = lambda path: (403, {}, refused) if path == "/teams" else None
    assert len(night(bench, 3)["teams"].news) == 1
    bench.server.always = lambda path: (404, {}, {}) if path == "/teams" else None
    assert len(night(bench, 4)["teams"].news) == 1


def test_a_warning_of_the_interface_is_told_once_and_kept_with_every_run(bench: ApiBench) -> None:
    bench.fill(2)
    sunset = {"Sunset": "Thu, 31 Dec 2026 00:00:00 GMT"}
    body = {"success": True, "data": bench.server.stages}
    bench.server.always = lambda path: (200, sunset, body) if path == "/stages" else None
    first, told = bench.run(), "hq: stages: Sunset: Thu, 31 Dec 2026 00:00:00 GMT"
    assert first["stages"].notes == first["stages"].api_warnings == [told]
    assert first["deals"].api_warnings == []
    again = night(bench, 1)["stages"]
    assert (again.notes, again.api_warnings) == ([], [told])


def test_another_version_of_the_interface_is_told(bench: ApiBench) -> None:
    bench.fill(2)
    bench.run(api_version="v8", entities=["deals"])
    report = night(bench, 1, api_version="v9", entities=["deals"])["deals"]
    assert report.notes == ["the interface is asked in version v9, until now in v8"]
    assert night(bench, 2, api_version="v9", entities=["deals"])["deals"].notes == []


@pytest.mark.parametrize("seed", range(2))
def test_removed_empty_batches_never_change_what_is_covered(bench: ApiBench, seed: int) -> None:
    """The same nights with and without the removal tell the same coverage, night by night."""
    seeded, plain = random.Random(seed), ApiBench(bench.server, bench.root.parent / "plain", bench.clock)
    bench.fill(20)
    for number in range(30):
        if seeded.random() < 0.3:
            bench.server.put(str(seeded.randint(1, 25)), DAY + timedelta(days=number) + HOUR)
        if seeded.random() < 0.2:
            continue  # nobody ran
        night(bench, number, sweep_days=5, full_refresh_days=9)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dagster_project.extract.api.api_extract.remove_void", lambda *names: 0)
            night(plain, number, sweep_days=5, full_refresh_days=9)
        for entity in ("deals", "stage_history", "stages", "teams"):
            found, wanted = (coverage_of(Landing(one.root).batches("hq", entity)) for one in (bench, plain))
            for name in ("until", "left", "swept_at", "read_whole_until", "properties", "api_version"):
                assert getattr(found, name) == getattr(wanted, name), (entity, name)
    kept, all_of_them = (
        [batch.manifest.rows for batch in Landing(one.root).batches("hq", "deals")] for one in (bench, plain)
    )
    assert [rows for rows in kept if rows] == [rows for rows in all_of_them if rows]
    assert kept.count(0) <= 3 < all_of_them.count(0)


@pytest.mark.slow
def test_a_process_killed_in_its_upkeep_goes_on_and_ends_like_an_undisturbed_one(
    bench: ApiBench, tmp_path: Path
) -> None:
    bench.fill(60)
    begin = datetime.fromisoformat("2026-04-01T04:00:00+00:00")
    bench.server.clock = lambda: begin
    ends = ("2026-04-01T00:00:00+00:00", "2026-05-01T00:00:00+00:00")

    calm, shaken = tmp_path / "calm", tmp_path / "shaken"
    for landing in (calm, shaken):
        assert bench.run_program(landing, ends[0]) == 0
    # A month later: a sweep and a full refresh are due, one deal is gone and one was never seen.
    begin = datetime.fromisoformat("2026-05-01T04:00:00+00:00")
    del bench.server.deals["8"]
    bench.server.put("77", EARLIER)
    bench.server.asked.clear()
    assert bench.run_program(calm, ends[1]) == 0
    undisturbed, kills, seeded = len(bench.server.asked), 0, random.Random(7)
    bench.server.asked.clear()
    while (code := bench.run_program(shaken, ends[1], seeded.randint(1, 6))) != 0:
        assert code == -signal.SIGKILL
        kills += 1
    assert kills >= 3
    assert len(bench.server.asked) <= undisturbed + 3 * kills

    def content(landing: Path) -> list[tuple[str, bool, str]]:
        rows = ApiBench(bench.server, landing).rows("deals")
        return sorted(
            {(row["record_id"], row["is_deleted"], row["payload"].get("stage", "")) for row in rows}
        )

    assert content(shaken) == content(calm)
    assert ("8", True, "") in content(calm) and ("77", False, "s1") in content(calm)
