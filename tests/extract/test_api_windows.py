"""Where windows end: with the day that is over, or with now where the next day has begun."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dagster_project.extract.api import empty_batches
from dagster_project.extract.api.api_errors import CursorExpired
from dagster_project.extract.api.api_report import Status
from dagster_project.extract.api.coverage import Span, coverage_of, last_full_day
from dagster_project.extract.api.protocol import Cursor, EntitySpec, Page, Window
from dagster_project.extract.landing import Batch, Landing
from tests.extract.api_bench import DAY, ApiBench
from tests.extract.fake_crm import FakeConnector, FakeServer

END = DAY + timedelta(days=1)
HOUR = timedelta(hours=1)
AMSTERDAM = ZoneInfo("Europe/Amsterdam")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[ApiBench]:
    server = FakeServer()
    yield ApiBench(server, tmp_path / "landing")
    server.close()


def test_a_deal_touched_again_after_midnight_is_landed_the_same_night(bench: ApiBench) -> None:
    bench.fill(2)
    bench.server.put("2", END + HOUR, stage="s2")  # it had changed at 14:00, too; that version is gone
    report = bench.run()["deals"]
    assert bench.ids("deals") == ["1", "2"]
    assert bench.ids("stage_history") == ["2/s2", "1/s1"]
    assert report.covered_until == END + 4 * HOUR
    # What is landed of the new day does not make it a day that figures may speak of.
    assert last_full_day(report.covered_until, ZoneInfo("UTC")) == DAY.date()


def test_a_window_of_a_past_day_ends_where_its_day_ends(bench: ApiBench) -> None:
    bench.fill(1)
    bench.server.put("2", END + HOUR)
    bench.clock.passed += 24 * 3600
    assert bench.run()["deals"].covered_until == END
    assert bench.ids("deals") == ["1"]


@pytest.mark.parametrize(
    ("settled", "ends"),
    [
        ("2026-03-28T22:30", "2026-03-28T22:30"),  # the day itself is not over
        ("2026-03-29T02:59", "2026-03-29T02:59"),
        ("2026-03-29T21:59", "2026-03-29T21:59"),  # the day after has 23 hours: it ends at 22:00 UTC
        ("2026-03-29T22:00", "2026-03-28T23:00"),
    ],
)
def test_the_day_after_ends_by_the_business_clock(settled: str, ends: str) -> None:
    span = Span.of_days(date(2026, 3, 28), date(2026, 3, 28), AMSTERDAM)
    now = datetime.fromisoformat(settled).replace(tzinfo=UTC)
    assert span.window_end(now) == datetime.fromisoformat(ends).replace(tzinfo=UTC)


def test_the_end_of_a_window_is_read_from_the_server_s_clock(bench: ApiBench) -> None:
    bench.fill(1)
    bench.clock.start = END + 30 * HOUR  # this machine believes that the day after is over
    bench.server.clock = lambda: END + 2 * HOUR
    report = bench.run()["deals"]
    assert report.covered_until is not None
    assert abs(report.covered_until - (END + 2 * HOUR)) < timedelta(seconds=5)


class Forgetful(FakeConnector):
    """Knows each cursor once, `answers` times."""

    answers = 0

    def read(self, entity: EntitySpec, window: Window, cursor: Cursor | None) -> Iterator[Page]:
        for page in super().read(entity, window, cursor):
            yield page
            if entity.name == "deals" and page.cursor is not None and type(self).answers > 0:
                type(self).answers -= 1
                raise CursorExpired


@pytest.mark.parametrize("times", [1, 2])
def test_an_expired_cursor_begins_the_window_again(
    bench: ApiBench, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    bench.fill(25)
    monkeypatch.setattr(Forgetful, "answers", times)
    monkeypatch.setattr("tests.extract.api_bench.FakeConnector", Forgetful)
    assert bench.run()["deals"].status is Status.LANDED
    assert bench.ids("deals") == [str(number) for number in range(1, 26)]


def test_a_crm_that_forgets_every_cursor_fails_with_a_sentence_and_the_others_go_on(
    bench: ApiBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.fill(25)
    monkeypatch.setattr(Forgetful, "answers", 10**6)
    monkeypatch.setattr("tests.extract.api_bench.FakeConnector", Forgetful)
    reports = bench.run()
    assert (reports["deals"].status, reports["deals"].is_passing) == (Status.FAILED, True)
    assert "hq: deals, page list: its paging cursors expired 3 times in one run" in reports["deals"].reason
    assert reports["teams"].status is Status.LANDED
    assert not bench.ids("deals")
    # The page, three times; nothing of it stays in the way of the next run.
    assert len([path for path in bench.server.paths() if path.startswith("/deals")]) == 3
    monkeypatch.setattr(Forgetful, "answers", 0)
    assert bench.run()["deals"].status is Status.LANDED
    assert bench.ids("deals") == [str(number) for number in range(1, 26)]


def test_nights_without_a_change_leave_one_empty_batch_and_the_coverage_they_had(bench: ApiBench) -> None:
    bench.fill(3)
    bench.run(sweep_days=1000, full_refresh_days=0)
    for night in range(1, 31):
        bench.clock.passed += 24 * 3600
        report = bench.run(DAY + timedelta(days=night), sweep_days=1000, full_refresh_days=0)["deals"]
        assert report.covered_until == END + timedelta(days=night) + 4 * HOUR
    deals = Landing(bench.root).batches("hq", "deals")
    assert [batch.manifest.rows for batch in deals] == [3, 0]
    assert [batch.manifest.rows for batch in Landing(bench.root).batches("hq", "stage_history")] == [3, 0]
    assert not list((bench.root / ".inflight").glob("void*"))
    bench.server.asked.clear()
    again = bench.run(DAY + timedelta(days=30), sweep_days=1000, full_refresh_days=0)["deals"]
    assert again.status is Status.UP_TO_DATE
    assert not bench.server.asked


def test_a_process_killed_while_it_removes_empty_batches_leaves_one_too_many(
    bench: ApiBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.fill(3)
    bench.run()
    bench.clock.passed += 24 * 3600
    bench.run(END)

    def killed(root: Path, batch: Batch) -> None:
        raise KeyboardInterrupt

    bench.clock.passed += 24 * 3600
    with monkeypatch.context() as patch:
        patch.setattr(empty_batches, "_remove", killed)
        with pytest.raises(KeyboardInterrupt):
            bench.run(END + timedelta(days=1), entities=["deals"])
    found = Landing(bench.root).batches("hq", "deals")
    assert [batch.manifest.rows for batch in found] == [3, 0, 0]
    assert coverage_of(found).until == END + timedelta(days=2) + 4 * HOUR
    bench.clock.passed += 24 * 3600
    bench.run(END + timedelta(days=2), entities=["deals"])
    assert [batch.manifest.rows for batch in Landing(bench.root).batches("hq", "deals")] == [3, 0]


def test_what_a_killed_removal_left_is_swept_and_was_out_of_sight(bench: ApiBench) -> None:
    bench.fill(3)
    bench.run()
    bench.clock.passed += 24 * 3600
    bench.run(END)
    landing = Landing(bench.root)
    left = landing.batches("hq", "deals")[-1]
    # As if the process had died between its rename and the end: the folder is there, nobody holds its lock.
    room = bench.root / ".inflight" / "void-12345678"
    room.mkdir()
    left.folder.rename(room / left.folder.name)
    assert len(landing.batches("hq", "deals")) == 1
    assert landing.sweep() == 1 and not room.exists()
