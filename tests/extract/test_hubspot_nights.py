"""Nights in a row, and processes killed anywhere: at the end the ledger is what the portal is."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.landing import Landing
from dagster_project.simulate import SimulationConfig, simulate
from tests.extract.api_bench import DAY
from tests.extract.hubspot_bench import NIGHT, HubSpotBench
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerBench, LedgerTables
from tests.simulators.hubspot_feed import Feed
from tests.simulators.hubspot_portal import Portal, text

REPOSITORY = Path(__file__).resolve().parents[2]
FIRST, NIGHTS = date(2025, 11, 10), 30
Move = tuple[str, str, str]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[HubSpotBench]:
    bench = HubSpotBench(tmp_path / "landing")
    yield bench
    bench.server.close()
    assert not bench.server.defects


class Mischief:
    """What people and machines do to a portal beside selling, and what of it must be remembered."""

    def __init__(self, portal: Portal, seed: int) -> None:
        self.portal = portal
        self.chance = random.Random(seed)
        self.archived: set[str] = set()
        # What each merged deal had told when it was last looked at.
        self.looked_at: dict[str, list[Move]] = {}

    def lag(self, record_id: str) -> timedelta:
        """Mostly seconds, sometimes most of an hour."""
        return timedelta(seconds=self.chance.choice([0, 5, 20, 600, 3_300]))

    def of_a_day(self, noon: datetime) -> None:
        """Some deals are moved at once, some thrown away, fetched back, or lost without a trace."""
        deals = self.portal.living("deals")
        for thing in self.chance.sample(deals, 3):
            source = {"sourceType": "CRM_UI_BULK_ACTION", "updatedByUserId": 4_001}
            self.portal.change(
                "deals", thing.id, noon, {"amount": str(self.chance.randint(1, 99))}, source=source
            )
        late = noon + timedelta(hours=10, minutes=40)
        moving = self.chance.choice(deals)
        stages = [
            stage["id"]
            for one in self.portal.pipelines
            for stage in one["stages"]
            if one["id"] == moving.properties["pipeline"]
        ]
        other = self.chance.choice([stage for stage in stages if stage != moving.properties["dealstage"]])
        self.portal.change("deals", moving.id, late, {"dealstage": other})
        if self.chance.random() < 0.4:
            gone = self.chance.choice(deals).id
            self.portal.archive("deals", gone, noon + timedelta(hours=1))
            self.archived.add(gone)
        if self.archived and self.chance.random() < 0.3:
            back = self.chance.choice(sorted(self.archived))
            self.archived.discard(back)
            self.portal.restore(back, noon + timedelta(hours=2))
        if self.chance.random() < 0.1:
            lost = self.chance.choice([thing.id for thing in self.portal.living("deals")])
            self.portal.purge(lost)

    def merge_two(self, at: datetime, new_id: str) -> None:
        """Two deals become one."""
        one, other = self.chance.sample([thing.id for thing in self.portal.living("deals")], 2)
        for old in (one, other):
            self.looked_at.setdefault(old, moves_of(self.portal, old))
        self.portal.merge(one, other, at, new_id)


def moves_of(portal: Portal, deal: str) -> list[Move]:
    """The moves of a deal as its history in the portal shows them; of a merged one from the merge on."""
    history = portal.things["deals"][deal].history
    merged = history.get("hs_merged_object_ids", [])
    since = max((item["timestamp"] for item in merged), default="")
    moves: list[Move] = []
    for item in reversed(history["dealstage"]):
        at = max(item["timestamp"], since)
        if moves and moves[-1][1] == at == since:
            moves[-1] = (deal, at, item["value"])
        elif not moves or moves[-1][2] != item["value"]:
            moves.append((deal, at, item["value"]))
    return moves


def build(bench: HubSpotBench, ledger: LedgerBench, runs: list[Run]) -> LedgerTables:
    return ledger.build_folder(
        Book(stages=(), runs=tuple(runs), settings=Settings(time_zone="Europe/Amsterdam")), bench.root
    )


def test_thirty_nights_end_in_the_state_of_the_portal(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    Landing(bench.root).ensure_empty_batches(api_entities())
    config = SimulationConfig(
        seed=5, n_deals=140, start_on=date(2025, 9, 1), end_on=FIRST + timedelta(days=NIGHTS + 8),
        time_zone="Europe/Amsterdam", missing_first_row_share=0.0, late_share=0.1,
    )  # fmt: skip
    feed = Feed(simulate(config), bench.portal, has_ends=False)
    mischief = Mischief(bench.portal, seed=8)
    bench.portal.lag = mischief.lag
    runs: list[Run] = []
    for number in range(NIGHTS + 1):
        day = FIRST + timedelta(days=number)
        midnight = datetime.combine(day, datetime.min.time(), UTC)
        bench.clock.start, bench.clock.passed = midnight + timedelta(hours=27), 0.0
        if number in (4, 11, 19, 20):
            mischief.merge_two(midnight + timedelta(hours=4), str(95_000_000 + number))
        feed.load(day)
        if number:
            mischief.of_a_day(midnight + timedelta(hours=12))
        if number == 7:
            continue  # nobody ran
        reports = bench.run(midnight - timedelta(hours=1))
        assert {report.status.name for report in reports.values()} == {"LANDED"}
        runs.append(Run(day, bench.clock.now().replace(tzinfo=None)))
    bench.clock.start += 8 * NIGHT
    day += timedelta(days=8)
    found = bench.run(midnight + 8 * NIGHT - timedelta(hours=1))
    runs.append(Run(day, bench.clock.now().replace(tzinfo=None)))
    tables = build(
        bench, hubspot_ledger, [*runs, Run(day + timedelta(days=1), bench.clock.now().replace(tzinfo=None))]
    )

    assert bench.portal.purged and mischief.archived and len(mischief.looked_at) >= 7
    assert found["deal_history"].reconciled is not None and found["deal_history"].reconciled.disagreeing == ()
    told = tables.rows(
        "fct_stage_transitions",
        "deal_id",
        "transitioned_at",
        "to_stage_id",
        order="deal_id, transition_number",
    )
    ledger: dict[str, list[Move]] = {}
    for deal, at, stage in told:
        ledger.setdefault(deal, []).append((deal, text(at.replace(tzinfo=UTC)), stage))
    portal = {deal: moves_of(bench.portal, deal) for deal in bench.portal.things["deals"]}
    assert {deal: ledger.get(deal) for deal in portal} == portal
    assert {deal: ledger.get(deal) for deal in mischief.looked_at} == mischief.looked_at
    assert ledger.keys() == portal.keys() | mischief.looked_at.keys() | bench.portal.purged
    there = dict(tables.rows("fct_deals", "deal_id", "is_deleted"))
    living = {thing.id for thing in bench.portal.living("deals")}
    assert {deal for deal, is_deleted in there.items() if not is_deleted} == living
    assert {
        deal for deal, is_deleted in there.items() if is_deleted
    } == mischief.archived | bench.portal.purged
    assert not there.keys() & mischief.looked_at.keys()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_extraction_goes_on_and_ends_like_an_undisturbed_one(
    bench: HubSpotBench, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    bench.deals(230)
    bench.portal.merge("11", "12", DAY, "900")
    for number in (500, 501):
        bench.portal.change("line_items", str(number), DAY, {"amount": "1"})
        bench.portal.associate("line_items", str(number), "deals", "3", 20)
    calm, shaken = tmp_path / "calm", tmp_path / "shaken"

    def extract(landing: Path, kill_at: int | None = None) -> int:
        end = (bench.clock.start - timedelta(hours=4)).isoformat()
        command = [
            sys.executable,
            "-m",
            "tests.extract.hubspot_bench",
            bench.server.address,
            str(landing),
            end,
        ]
        process = subprocess.Popen(command, cwd=REPOSITORY)
        start = len(bench.server.asked)

        def kill(number: int, path: str) -> None:
            if kill_at is not None and number == start + kill_at:
                os.kill(process.pid, signal.SIGKILL)

        bench.server.before = kill
        code = process.wait(60)
        bench.server.before = lambda number, path: None
        return code

    def until_it_ends(landing: Path) -> int:
        kills = 0
        while (code := extract(landing, chance.randint(4, 22))) != 0:
            assert code == -signal.SIGKILL
            kills += 1
        return kills

    assert extract(calm) == 0
    undisturbed = len(bench.server.asked)
    kills = until_it_ends(shaken)
    assert kills >= 1
    # A kill costs at most the pages under way, and the questions for the time and the properties.
    assert len(bench.server.asked) - undisturbed <= undisturbed + 5 * kills
    assert content(bench, shaken) == content(bench, calm)
    for number in range(20, 150):
        bench.deal(number, DAY + NIGHT + timedelta(hours=5), "quote")
    bench.portal.archive("deals", "33", DAY + NIGHT + timedelta(hours=6))
    bench.next_night()
    assert extract(calm) == 0
    assert until_it_ends(shaken) >= 0
    assert content(bench, shaken) == content(bench, calm)


def content(bench: HubSpotBench, landing: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What has landed of each entity, without when."""
    bench.root = landing
    return {
        entity: sorted(
            (row["record_id"], row["modified_at"], str(row["payload"])) for row in bench.rows(entity)
        )
        for entity in api_entities()["hubspot"]
    }
