"""A first load of HubSpot: one list gives the deals and all values they had, and nothing else changes."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dagster_project.extract.api.api_report import Status
from dagster_project.extract.api.batch_reading import BatchReader
from dagster_project.extract.api.json_text import RawRecord
from dagster_project.extract.crm.hubspot_objects import without_histories
from dagster_project.extract.landing import Landing
from tests.extract.api_bench import DAY
from tests.extract.hubspot_bench import NIGHT, HubSpotBench

BOTH = ["deals", "deal_history"]
COUNT = 120


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[HubSpotBench]:
    bench = HubSpotBench(tmp_path / "landing")
    bench.deals(COUNT)
    bench.deal(7, DAY - timedelta(days=2), "quote", amount="5.50")
    bench.portal.associate("deals", "7", "companies", "77", 5)
    bench.portal.archive("deals", "8", DAY - timedelta(days=1))
    bench.portal.merge("11", "12", DAY, "900")
    yield bench
    bench.server.close()
    assert not bench.server.defects


def content(bench: HubSpotBench, entity: str) -> list[tuple[Any, ...]]:
    rows = bench.rows(entity)
    return sorted((row["record_id"], row["modified_at"], row["is_deleted"], told(row)) for row in rows)


def told(row: dict[str, Any]) -> str:
    """The payload without what a question by id does not ask for beside the histories."""
    payload = row["payload"]
    if "propertiesWithHistory" in payload:
        payload = {name: payload[name] for name in ("id", "archived", "propertiesWithHistory")}
    return json.dumps(payload, sort_keys=True)


def object_requests(bench: HubSpotBench) -> list[str]:
    return [asked.path.split("?")[0].split("/0-3")[1] for asked in bench.server.asked if "/0-3" in asked.path]


def test_one_pass_lands_what_two_passes_land_in_fewer_requests(bench: HubSpotBench, tmp_path: Path) -> None:
    reports = bench.run(entities=BOTH)
    # 118 living deals are 3 pages and the archive is one; the names of properties, and the number of deals.
    assert sorted(object_requests(bench)) == ["", "", "", "", "", "/search"]
    once = {entity: content(bench, entity) for entity in BOTH}
    assert {name: (report.status, report.rows) for name, report in reports.items()} == {
        "deals": (Status.LANDED, COUNT + 1),  # 119 and the tombstones of two
        "deal_history": (Status.LANDED, COUNT - 1),
    }
    bench.root = tmp_path / "twice"
    bench.server.asked.clear()
    bench.run(entities=["deals"])
    bench.run(entities=BOTH)
    assert {entity: content(bench, entity) for entity in BOTH} == once
    # Two pages, the archive, the merged deal's history; histories of 119 deals in three, one again archived.
    assert object_requests(bench).count("/batch/read") == 5


def test_both_batches_say_how_far_they_reach_and_a_night_after_asks_for_nothing_again(
    bench: HubSpotBench,
) -> None:
    bench.run(entities=BOTH)
    landing = Landing(bench.root)
    (deals,), (history,) = landing.batches("hq", "deals"), landing.batches("hq", "deal_history")
    beside, own = history.manifest.reading, deals.manifest.reading
    assert beside is not None and own is not None
    assert beside.window_to == own.window_to
    assert beside.follows_through == deals.folder.name
    assert history.manifest.stamp.is_initial_load and deals.manifest.stamp.is_initial_load
    bench.server.asked.clear()
    bench.deal(3, DAY + NIGHT + timedelta(hours=9), "quote")
    bench.run(bench.next_night(), entities=BOTH)
    assert bench.ids("deal_history")[-1] == "3"
    reads = [
        asked.body for asked in bench.server.asked if "/batch/read" in asked.path and "/0-3/b" in asked.path
    ]
    assert [body["inputs"] for body in reads] == [[{"id": "3"}]] * 2


def test_a_process_killed_within_the_pass_goes_on_at_its_page(bench: HubSpotBench) -> None:
    class Killed(BaseException):
        pass

    bench.run(entities=BOTH)
    calm = {entity: content(bench, entity) for entity in BOTH}
    bench.root = bench.root.parent / "shaken"
    show = BatchReader._show

    def killed(*args: Any, **kwargs: Any) -> None:
        raise Killed

    bench.server.always = lambda path: (400, {}, {"message": "no"}) if "after=10" in path else None
    assert bench.run(entities=BOTH)["deals"].status is Status.FAILED
    bench.server.always = None
    assert bench.ids("deals") == bench.ids("deal_history") == []
    bench.server.asked.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BatchReader, "_show", killed)
        with pytest.raises(Killed):
            bench.run(entities=BOTH)
    assert object_requests(bench) == ["", ""]  # the third page and the archive
    # The histories were shown, the deals were not: nobody reads them again.
    assert (len(bench.ids("deal_history")), bench.ids("deals")) == (COUNT - 1, [])
    bench.server.asked.clear()
    assert BatchReader._show is show
    reports = bench.run(entities=BOTH)
    assert object_requests(bench) == []
    assert {entity: content(bench, entity) for entity in BOTH} == calm
    assert {name: len(report.batches) for name, report in reports.items()} == {"deals": 1, "deal_history": 1}


def test_a_spent_day_leaves_both_for_the_next_night(bench: HubSpotBench) -> None:
    daily = {"status": "error", "message": "daily", "policyName": "DAILY"}
    bench.server.always = lambda path: (429, {}, daily) if "archived=true" in path else None
    reports = bench.run(entities=BOTH)
    assert {report.status for report in reports.values()} == {Status.PARTIAL}
    assert bench.ids("deal_history") == []
    bench.server.always = None
    bench.server.asked.clear()
    bench.run(bench.next_night(), entities=BOTH)
    pages = [
        (asked.query["limit"], asked.query["archived"])
        for asked in bench.server.asked
        if "/0-3?" in asked.path and "limit" in asked.query
    ]
    # The archive, once with histories; then the window since has its own look into it.
    assert pages == [("50", "true"), ("100", "true")]
    assert len(set(bench.ids("deal_history"))) == len(bench.ids("deal_history")) == COUNT - 1


def test_so_many_properties_that_they_fill_an_address_are_read_in_two_passes(bench: HubSpotBench) -> None:
    names = [f"our_own_property_number_{number}" for number in range(911)]
    bench.run(entities=BOTH, properties={"deals": names})
    assert len(bench.ids("deal_history")) == COUNT - 1
    assert {asked.path for asked in bench.server.asked if len(asked.path) > 2_000} == set()


ALONE = {"id": "1", "properties": {"dealname": "a ]} b"}, "archived": False}
HISTORIES = {"dealstage": [{"value": "x", "sourceId": 'a]}, "b'}], "amount": []}
LINKS = {"companies": {"results": [{"id": "77", "type": "deal_to_company"}]}}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("behind", [{}, {"associations": LINKS}, {"url": None}])
def test_a_deal_is_told_without_its_histories_in_its_own_words(
    behind: dict[str, Any], separators: tuple[str, str]
) -> None:
    whole = {**ALONE, "propertiesWithHistory": HISTORIES, **behind}
    raw = RawRecord(whole, json.dumps(whole, separators=separators))
    expected = json.dumps({**ALONE, **behind}, separators=separators)
    assert without_histories(raw) == RawRecord({**ALONE, **behind}, expected)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ALONE),
        json.dumps({**ALONE, "propertiesWithHistory": {}}),
        json.dumps({**ALONE, "propertiesWithHistory": HISTORIES}, indent=1),
        json.dumps({"propertiesWithHistory": HISTORIES, **ALONE}),
        json.dumps({**ALONE, "propertiesWithHistory": HISTORIES, "note": "]}"}),
    ],
)
def test_what_is_written_in_another_way_stays_whole(text: str) -> None:
    raw = RawRecord(json.loads(text), text)
    assert without_histories(raw) is raw
