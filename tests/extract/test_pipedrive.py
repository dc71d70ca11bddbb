"""Pipedrive's connector against a company that behaves like one of Pipedrive's: asked, landed, left alone."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dagster_project.extract.api.api_extract import Extraction
from dagster_project.extract.api.api_report import Status
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.crm import pipedrive_pages
from dagster_project.extract.crm.pipedrive import PipedriveConnector
from dagster_project.extract.landing import PART, Landing
from tests.simulators.pipedrive_bench import DAY, EARLIER, PipedriveBench, pipedrive_source
from tests.simulators.pipedrive_company import PRIVATE, code
from tests.simulators.pipedrive_server import TOKEN

LATER = DAY + timedelta(hours=30)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[PipedriveBench]:
    made = PipedriveBench(tmp_path / "landing")
    yield made
    made.server.close()
    assert not made.server.violations


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipedrive_pages, "PAGE", 10)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("deals", [0, 1, 9, 10, 11, 103])
def test_a_full_extract_lands_every_deal_once(bench: PipedriveBench, deals: int) -> None:
    bench.fill(deals)
    report = bench.run(entities=["deals"])["deals"]
    assert bench.ids("deals") == [str(number) for number in range(1, deals + 1)]
    assert (report.status, report.rows) == (Status.LANDED, deals)
    assert len(bench.server.paths("/api/v2/deals?")) == max(1, -(-deals // 10))


@pytest.mark.usefixtures("small_pages")
def test_deals_of_one_identical_instant_come_all_and_come_to_an_end(bench: PipedriveBench) -> None:
    for number in range(1, 64):
        bench.company.add_deal(number, EARLIER)
    bench.run(entities=["deals"])
    assert len(bench.ids("deals")) == len(set(bench.ids("deals"))) == 63


@pytest.mark.usefixtures("small_pages")
def test_deals_that_change_while_pages_are_read_are_not_lost(bench: PipedriveBench) -> None:
    bench.fill(35)

    def meanwhile(number: int, path: str) -> None:
        if len(bench.server.paths("/api/v2/deals?")) == 3 and 36 not in bench.company.deals:
            bench.company.change(5, LATER, stage_id=2)
            bench.company.change(30, LATER, stage_id=2)
            bench.company.add_deal(36, LATER)
            bench.company.archive(7, LATER)
            bench.company.delete(25, LATER)

    bench.server.before = meanwhile
    bench.run(entities=["deals"])
    bench.run(bench.next_night(), entities=["deals"])
    newest = bench.newest("deals")
    assert newest.keys() == {str(number) for number in range(1, 37)}
    assert [newest[n]["payload"]["stage_id"] for n in ("5", "30")] == [2, 2]
    assert newest["7"]["payload"]["is_archived"] and newest["25"]["is_deleted"]


def test_open_won_lost_archived_and_deleted_deals_all_come(bench: PipedriveBench) -> None:
    bench.fill(6)
    bench.company.change(2, EARLIER + timedelta(days=2), status="won")
    bench.company.change(3, EARLIER + timedelta(days=2), status="lost", lost_reason="Price")
    bench.company.archive(4, EARLIER + timedelta(days=3))
    bench.company.delete(5, DAY)
    bench.company.delete(6, DAY - timedelta(days=28))  # listed for 30 days only
    bench.run()
    newest = bench.newest("deals")
    told = {n: (row["payload"]["status"], row["is_deleted"]) for n, row in newest.items()}
    assert told == {
        "1": ("open", False),
        "2": ("won", False),
        "3": ("lost", False),
        "4": ("open", False),
        "5": ("open", True),
        "6": ("open", True),
    }
    assert newest["3"]["payload"]["lost_reason"] == "Price"


def test_a_deal_that_is_restored_lives_again(bench: PipedriveBench) -> None:
    bench.fill(1)
    bench.company.delete(1, DAY)
    bench.run()
    bench.company.deals[1] |= {"is_deleted": False, "update_time": "2026-04-01T09:00:00Z"}
    bench.run(bench.next_night())
    assert [row["is_deleted"] for row in bench.rows("deals")] == [True, False]


def test_a_merged_deal_arrives_as_deleted_and_its_survivor_stays(bench: PipedriveBench) -> None:
    bench.fill(2)
    bench.run()
    bench.company.merge(1, into=2, at=LATER)
    bench.run(bench.next_night())
    newest = bench.newest("deals")
    assert (newest["1"]["is_deleted"], newest["2"]["is_deleted"]) == (True, False)


def test_a_deal_deleted_for_good_is_found_missing_by_the_list_of_all_ids(bench: PipedriveBench) -> None:
    bench.fill(40)
    bench.run(entities=["deals"])
    bench.company.archive(8, EARLIER)
    del bench.company.deals[7]
    bench.run(bench.next_night(7), entities=["deals"])
    gone = [row for row in bench.rows("deals") if row["is_deleted"]]
    assert [row["record_id"] for row in gone] == ["7"]
    assert gone[0]["payload"]["stageledger"]["deleted_reason"] == "vanished"


def test_after_a_month_without_a_run_the_ids_are_listed_at_once(bench: PipedriveBench) -> None:
    bench.fill(30)
    bench.run(entities=["deals"], sweep_days=365)
    bench.company.delete(7, LATER)
    bench.run(bench.next_night(40), entities=["deals"], sweep_days=365)
    assert [row["record_id"] for row in bench.rows("deals") if row["is_deleted"]] == ["7"]


def test_windows_are_asked_for_in_whole_seconds_and_their_edges_collapse(bench: PipedriveBench) -> None:
    bench.fill(1)
    bench.clock.start += timedelta(milliseconds=400)
    bench.run(entities=["deals"])
    edge = DAY + timedelta(days=1)
    bench.company.add_deal(2, edge)  # updated_until is exclusive, updated_since inclusive
    bench.company.add_deal(3, edge - timedelta(minutes=4))  # late, but within the lookback
    bench.run(bench.next_night(), entities=["deals"])
    bench.run(bench.next_night(), entities=["deals"])
    asked = bench.server.paths("/api/v2/deals?")
    assert "updated_since" not in asked[0] and "updated_until=2026-04-01T00%3A00%3A00Z" in asked[0]
    assert "updated_since=2026-03-31T23%3A55%3A00Z" in asked[1]
    assert all("." not in path for path in asked)
    assert sorted(bench.ids("deals")) == ["1", "2", "3"]


def test_what_is_covered_is_not_asked_for_again(bench: PipedriveBench) -> None:
    bench.fill(3)
    bench.run()
    asked = len(bench.server.asked)
    reports = bench.run()
    assert len(bench.server.asked) == asked
    assert {report.status for report in reports.values()} == {Status.UP_TO_DATE}


def test_histories_are_asked_for_only_where_the_history_changed(bench: PipedriveBench) -> None:
    bench.fill(9)
    bench.run()
    assert len(bench.server.paths("/changelog")) == 9
    bench.server.asked.clear()
    company = bench.company
    company.change(1, LATER, stage_id=2)
    company.change(2, LATER, status="won")
    company.change(3, LATER, value=Decimal("12.50"))
    company.change(4, LATER, expected_close_date="2026-06-30")
    company.change(5, LATER, stage_id=2)
    company.change(5, LATER + timedelta(minutes=1), stage_id=1)  # there and back: the stage is the same
    company.change(6, LATER, title="Another name")
    company.change(7, LATER, owner_id=2)
    company.archive(8, LATER)
    bench.run(bench.next_night())
    deals = sorted(int(path.split("/")[4]) for path in bench.server.paths("/changelog"))
    assert deals == [1, 2, 3, 4, 5, 7]


def test_only_version_two_is_asked_where_it_exists_and_nothing_but_the_known_operations(
    bench: PipedriveBench,
) -> None:
    bench.fill(3)
    bench.run()
    v1 = {path.split("?")[0] for path in bench.server.paths("/api/v1/")}
    assert v1 == {"/api/v1/users", "/api/v1/users/me", "/api/v1/currencies"} | {
        f"/api/v1/deals/{number}/changelog" for number in (1, 2, 3)
    }
    assert len(bench.server.paths("/api/v2/")) == len(bench.server.asked) - len(
        bench.server.paths("/api/v1/")
    )


def test_the_vendors_common_host_has_version_one_under_its_own_path() -> None:
    client = PipedriveConnector(pipedrive_source("https://api.pipedrive.com")).client
    lists = pipedrive_pages.PipedriveLists(client)
    assert lists.request(pipedrive_pages.ops.USERS, "users", "1").path == "/v1/users"
    assert lists.request(pipedrive_pages.ops.DEALS, "deals", "1").path == "/api/v2/deals"


def test_the_token_travels_in_its_header_and_appears_nowhere_else(
    bench: PipedriveBench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    # What an earlier test has loaded may have switched off these loggers, or raised their level.
    for name in ("urllib3", "urllib3.connectionpool"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)
        caplog.set_level(logging.DEBUG, logger=name)
    bench.fill(3)
    bench.server.faults = {4: "reset", 5: (502, {}, TOKEN.encode()), 6: (400, {}, {"error": f"bad {TOKEN}"})}
    reports = bench.run()
    bench.server.always = lambda path: (401, {}, {"error": TOKEN}) if "deals" in path else None
    reports |= bench.run(bench.next_night())
    assert all(asked.headers.get("x-api-token") == TOKEN for asked in bench.server.asked)
    assert all(TOKEN not in path for path in bench.server.paths())
    texts = [caplog.text, *(report.reason + "".join(report.notes) for report in reports.values())]
    files = [path for path in bench.root.rglob("*") if path.is_file()]
    assert len(caplog.records) > 20 and any(
        "requests_" in r.name or "urllib3" in r.name for r in caplog.records
    )
    assert all(TOKEN not in text for text in texts)
    assert files and all(TOKEN.encode() not in path.read_bytes() for path in files)
    assert all(TOKEN not in repr(row) for row in bench.rows("deals"))


def test_a_history_comes_whole_with_actor_and_mass_change_and_without_what_nobody_follows(
    bench: PipedriveBench,
) -> None:
    bench.fill(2)
    bench.company.change(1, EARLIER + timedelta(days=1), stage_id=2, actor=7, is_bulk=True)
    bench.company.change(1, EARLIER + timedelta(days=2), status="won", title="Secret name")
    bench.company.change(1, EARLIER + timedelta(days=3), status="open")
    bench.company.change(1, EARLIER + timedelta(days=4), status="lost")
    bench.run()
    one, two = (bench.newest("changelog")[n]["payload"]["changes"] for n in ("1", "2"))
    assert two == []
    assert [(entry["field_key"], entry["old_value"], entry["new_value"]) for entry in one] == [
        ("status", "open", "lost"),
        ("status", "won", "open"),
        ("status", "open", "won"),
        ("stage_id", "1", "2"),
    ]
    assert (one[3]["actor_user_id"], one[3]["is_bulk_update_flag"]) == (7, True)
    assert "change_source_user_agent" not in one[0]


@pytest.mark.usefixtures("small_pages")
def test_a_long_history_is_read_page_by_page(bench: PipedriveBench) -> None:
    bench.fill(1)
    for minute in range(35):
        bench.company.change(1, EARLIER + timedelta(days=1, minutes=minute), stage_id=minute % 3 + 1)
    bench.run()
    times = [entry["time"] for entry in bench.newest("changelog")["1"]["payload"]["changes"]]
    assert len(times) == len(set(times)) == 34  # the first change was none
    assert len(bench.server.paths("/changelog")) == 4


def test_an_empty_history_may_be_told_as_null_but_an_empty_list_of_deals_may_not(
    bench: PipedriveBench,
) -> None:
    bench.fill(1)
    nothing = (200, {}, {"success": True, "data": None, "additional_data": {"next_cursor": None}})
    bench.server.always = lambda path: nothing if "changelog" in path else None
    bench.run()
    assert bench.newest("changelog")["1"]["payload"] == {"changes": []}
    bench.server.always = lambda path: nothing if "/v2/deals" in path else None
    report = bench.run(bench.next_night())["deals"]
    assert report.status is Status.FAILED and "no usable answer in 6 attempts" in report.reason


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_deal_whose_history_is_refused_does_not_stop_the_others(bench: PipedriveBench, status: int) -> None:
    bench.fill(12)
    refused = (status, {}, {"success": False, "error": "Deal not found"})
    bench.server.always = lambda path: refused if "/deals/3/changelog" in path else None
    report = bench.run()["changelog"]
    assert (report.status, report.rows) == (Status.LANDED, 11)
    assert "1 deals could not be asked for" in report.notes[0]


def test_products_of_deals_are_asked_for_a_hundred_deals_at_a_time(bench: PipedriveBench) -> None:
    bench.fill(250)
    bench.company.lines[7] = [{"id": 70, "deal_id": 7, "sum": Decimal("9.90"), "product_id": 1}]
    bench.run(entities=["deals", "line_items"])
    counts = [path.count("%2C") + 1 for path in bench.server.paths("/deals/products")]
    assert sorted(counts) == [50, 100, 100]
    lines = bench.newest("line_items")
    assert len(lines) == 250 and lines["8"]["payload"] == {"products": []}
    assert lines["7"]["payload"]["products"][0]["id"] == 70


def test_a_deal_that_is_gone_does_not_cost_ninety_nine_others_their_products(bench: PipedriveBench) -> None:
    bench.fill(100)

    def refuse(path: str) -> object:
        asked = path.partition("deal_ids=")[2].partition("&")[0].split("%2C")
        return (404, {}, {"success": False}) if "/deals/products" in path and "42" in asked else None

    bench.server.always = refuse
    report = bench.run(entities=["deals", "line_items"])["line_items"]
    assert (report.status, report.rows) == (Status.LANDED, 99)


def test_custom_fields_are_landed_only_when_a_column_or_the_settings_ask_for_them(
    bench: PipedriveBench,
) -> None:
    bench.fill(3)
    wanted, other, private = code("Region"), code("Hobby"), code("Personal notes")
    bench.company.extra_fields.append(
        {"entity": "deals", "field": {"field_name": "Hobby", "field_code": other, "field_type": "text",
                                      "options": None, "is_custom_field": True}}
    )  # fmt: skip
    bench.company.deals[1]["custom_fields"] = {wanted: 31, other: "golf", private: PRIVATE}
    bench.company.deals[1]["update_time"] = "2026-03-31T10:00:00Z"
    bench.company.deals[2]["custom_fields"] = None
    bench.run(entities=["deals"])
    first = bench.newest("deals")
    assert first["1"]["payload"]["custom_fields"] == {wanted: 31}
    assert first["2"]["payload"]["custom_fields"] is None
    bench.run(reread=True, entities=["deals"], properties={"deals": ("hobby",)})
    assert bench.newest("deals")["1"]["payload"]["custom_fields"] == {wanted: 31, other: "golf"}
    assert PRIVATE not in repr(bench.rows("deals"))


def test_more_custom_fields_than_a_request_can_name_are_sent_all_and_kept_in_part(
    bench: PipedriveBench,
) -> None:
    bench.fill(1)
    names = [f"Extra {number}" for number in range(20)]
    for name in names:
        field = {"field_name": name, "field_code": code(name), "field_type": "text", "options": None,
                 "is_custom_field": True}  # fmt: skip
        bench.company.extra_fields.append({"entity": "deals", "field": field})
    values = {code(name): name for name in names}
    bench.company.deals[1]["custom_fields"] = values | {code("Personal notes"): PRIVATE}
    bench.run(entities=["deals"], properties={"deals": tuple(names)})
    assert "custom_fields" not in bench.server.paths("/v2/deals?")[0]
    assert bench.newest("deals")["1"]["payload"]["custom_fields"] == values
    assert PRIVATE not in repr(bench.rows("deals"))


def test_of_people_only_what_owners_need_is_landed(bench: PipedriveBench) -> None:
    bench.run(entities=["users"])
    payload = bench.newest("users")["1"]["payload"]
    assert payload["name"] == "Anna" and payload["modified"] == "2025-01-01 00:00:00"
    assert not {"phone", "last_login", "access", "icon_url"} & payload.keys()
    assert bench.rows("users")[0]["modified_at"] == datetime(2025, 1, 1)


def test_amounts_keep_every_digit_and_currencies_stay(bench: PipedriveBench) -> None:
    bench.fill(1)
    bench.company.deals[1] |= {"value": Decimal("9007199254740993.125"), "currency": "KWD"}
    bench.company.deals[1]["custom_fields"] = {code("Personal notes"): "x"}  # so that the text is cut
    bench.run(entities=["deals"])
    (batch,) = Landing(bench.root).batches("hq", "deals")
    (row,) = pq.read_table(batch.folder / PART).to_pylist()
    assert '"value": 9007199254740993.125' in row["payload"]
    assert json.loads(row["payload"])["currency"] == "KWD"


def test_a_new_a_retyped_and_a_missing_field_are_reported_and_stop_nothing(bench: PipedriveBench) -> None:
    bench.fill(1)
    extra = {"field_name": "Old", "field_code": "0" * 40, "field_type": "text", "options": None,
             "is_custom_field": True}  # fmt: skip
    kept = extra | {"field_name": "Size", "field_code": "1" * 40}
    bench.company.extra_fields = [{"entity": "deals", "field": extra}, {"entity": "deals", "field": kept}]
    bench.run(entities=["deals"])
    changed = [kept | {"field_type": "double"}, extra | {"field_name": "New", "field_code": "2" * 40}]
    bench.company.extra_fields = [{"entity": "deals", "field": one} for one in changed]
    bench.company.change(1, LATER, stage_id=2)
    bench.company.deals[1]["brand_new"] = "told"
    report = bench.run(bench.next_night(), entities=["deals"])["deals"]
    assert report.status is Status.LANDED
    assert report.notes == [
        f"1 new fields, kept in the payload: {'2' * 40}",
        f"1 fields are gone, their columns turn empty: {'0' * 40}",
        f"1 fields changed their type: {'1' * 40} (text → double)",
    ]
    assert bench.newest("deals")["1"]["payload"]["brand_new"] == "told"


def test_fields_that_may_not_be_read_cost_the_custom_fields_and_nothing_else(bench: PipedriveBench) -> None:
    bench.fill(2)
    bench.company.deals[1]["custom_fields"] = {code("Region"): 31}
    bench.server.always = lambda path: (403, {}, {"success": False}) if "Fields" in path else None
    reports = bench.run()
    assert reports["deal_fields"].status is Status.SKIPPED
    assert reports["deals"].status is Status.LANDED
    assert bench.newest("deals")["1"]["payload"]["custom_fields"] == {}


def test_optional_lists_may_be_refused_and_deals_may_not(bench: PipedriveBench) -> None:
    bench.server.always = lambda path: (
        (415, {}, {"success": False, "error": "feature is off"})
        if "/products" in path
        else (403, {}, {"success": False, "error": "no"})
        if "archived" in path
        else None
    )
    reports = bench.run()
    assert reports["products"].status is Status.SKIPPED
    assert reports["deals"].status is Status.FAILED
    assert "let the user of the token see deals" in reports["deals"].reason


@pytest.mark.usefixtures("small_pages")
def test_a_cursor_that_is_no_longer_known_begins_the_window_again(bench: PipedriveBench) -> None:
    bench.fill(35)
    bench.server.always = lambda path: (503, {}, b"") if len(bench.server.paths("/v2/deals?")) > 2 else None
    assert bench.run(entities=["deals"])["deals"].status is Status.FAILED
    expired = (400, {}, {"success": False, "error": "cursor is not valid"})
    first_again = len(bench.server.asked) + 3  # after two pages of fields
    bench.server.always = None
    bench.server.faults = {first_again: expired}
    bench.run(entities=["deals"])
    assert bench.ids("deals") == [str(number) for number in range(1, 36)]


def test_single_records_can_be_read_again(bench: PipedriveBench) -> None:
    bench.fill(4)
    bench.run()
    bench.company.archive(3, EARLIER)
    bench.company.change(2, EARLIER + timedelta(days=1), stage_id=3)
    connector = bench.connector()
    span = Span(DAY, DAY + timedelta(days=1))
    run = Extraction(Landing(bench.root), pipedrive_source(bench.server.address), connector, span)
    run.read_again(connector.entity("changelog"), ["2"])
    run.read_again(connector.entity("deals"), ["2", "3", "99"])
    assert bench.newest("changelog")["2"]["payload"]["changes"][0]["new_value"] == "3"
    assert bench.ids("deals")[-2:] == ["2", "3"]
    assert bench.newest("deals")["3"]["payload"]["is_archived"]


def test_manifests_count_what_their_files_hold(bench: PipedriveBench) -> None:
    bench.fill(5)
    bench.run()
    for batch in Landing(bench.root).batches("hq"):
        assert pq.read_metadata(batch.folder / PART).num_rows == batch.manifest.rows
        assert batch.manifest.reading is not None and batch.manifest.reading.api_version == "v2"


def test_a_naive_instant_of_version_one_is_utc(bench: PipedriveBench) -> None:
    bench.fill(1)
    bench.company.change(1, datetime(2026, 3, 29, 1, 30, tzinfo=UTC), stage_id=2)  # no such hour in Berlin
    bench.run()
    (row,) = bench.rows("changelog")
    assert row["modified_at"] == datetime(2026, 3, 29, 1, 30)
    assert row["payload"]["changes"][0]["time"] == "2026-03-29 01:30:00"
