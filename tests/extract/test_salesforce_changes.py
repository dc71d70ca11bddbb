"""What a night must not lose of Salesforce: late commits, deletions, lost sessions, wrong clocks."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dagster_project.extract.api.api_report import Status
from tests.extract.api_bench import DAY, StillClock
from tests.extract.salesforce_bench import (
    EARLIER,
    SalesforceBench,
    deal_id,
)

END = DAY + timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SalesforceBench]:
    bench = SalesforceBench(tmp_path / "landing")
    yield bench
    bench.server.close()


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
    assert "SystemModstamp >= 2026-03-31T23:50:00Z AND" in bench.deal_queries()[-1]
    assert sorted(bench.ids("deals")) == [deal_id(number) for number in range(1, 5)]


def test_a_watermark_that_stands_still_for_more_than_a_day_gives_way_to_the_lookback(
    bench: SalesforceBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fill(1)
    bench.run(DAY, "deals")
    bench.org.held_back_until = END
    bench.put_deal(2, END + 5 * HOUR)  # after the first night, which began at 04:00
    report = bench.night(2, "deals")["deals"]
    assert report.covered_until == END + timedelta(days=2, hours=3, minutes=59)
    assert sorted(bench.ids("deals")) == [deal_id(1), deal_id(2)]
    assert "vouches for Opportunity only up to 2026-04-01 00:00:00+00:00" in caplog.text
    bench.org.held_back_until = None
    bench.night(1, "deals")
    assert "SystemModstamp >= 2026-04-02T23:45:00Z AND" in bench.deal_queries()[-1]


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
    assert f"Id > '{deal_id(20)}' ORDER BY Id" in bench.deal_queries()[-1]


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
    assert f"Id > '{deal_id(20)}' ORDER BY Id" in bench.deal_queries()[-1]
    assert len(bench.ids("deals")) == len(set(bench.ids("deals"))) == 45


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
