"""Weeks of nights against a simulated org, and a connector that is killed again and again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from dagster_project.extract.crm.salesforce_objects import OBJECTS
from tests.extract.api_bench import StillClock
from tests.extract.salesforce_bench import SalesforceBench, deal_id
from tests.ledger.salesforce_ledger import small_world
from tests.long_tests import LONG
from tests.simulators.salesforce_crm import SalesforceCrm
from tests.simulators.salesforce_org import Org, moment, stamp

REPOSITORY = Path(__file__).resolve().parents[2]
FIRST = date(2026, 5, 1)
WATCHED = ("deals", "stage_history", "field_history", "accounts", "line_items")
GONE = "(gone)"
UNSTAMPED = "LastActivityDate"  # an activity changes it without moving the stamp of the deal


def landed(bench: SalesforceBench, entity: str) -> dict[str, Any]:
    """Record id → its newest landed values, or GONE."""
    state = {}
    for record_id, row in bench.newest(entity).items():
        values = {key: value for key, value in row["payload"].items() if key not in ("attributes", UNSTAMPED)}
        state[record_id] = GONE if row["is_deleted"] else values
    return state


def truth(org: Org, entity: str, ever: set[str]) -> dict[str, Any]:
    """The same as the org knows it; `ever`: ids that were landed once."""
    thing = OBJECTS[entity]
    fields = [field for field in thing.fields if field in org.fields[thing.name] and field != UNSTAMPED]
    state: dict[str, Any] = {}
    for record_id in {*ever, *org.tables[thing.name]}:
        row = org.tables[thing.name].get(record_id)
        is_gone = row is None or row["IsDeleted"]
        state[record_id] = GONE if is_gone else {field: row[field] for field in fields}
    return state


def disturb(bench: SalesforceBench, crm: SalesforceCrm, chance: random.Random, day: date) -> None:
    """A day in which deals are deleted, purged, restored, and changed by a transaction that commits late."""
    org = bench.org
    evening = datetime.combine(day, time(22), UTC)
    living = sorted(row["Id"] for row in org.tables["Opportunity"].values() if not row["IsDeleted"])
    deleted, purged, late = chance.sample(living, 3)
    org.delete("Opportunity", deleted, evening - timedelta(hours=2))
    org.delete("Opportunity", purged, evening - timedelta(hours=2))
    org.purge("Opportunity", purged)
    in_bin = [gone for gone, _ in org.deleted["Opportunity"] if gone in org.tables["Opportunity"]]
    if len(in_bin) > 3:
        org.restore(chance.choice(in_bin), evening - timedelta(hours=1))
    # Stamped minutes before the extraction's end, seen by others minutes after the extraction.
    org.now = evening + timedelta(hours=1, minutes=chance.randint(40, 59))
    changed = {"Id": late, "Sales_Region__c": f"changed on {day}", "SystemModstamp": stamp(org.now)}
    org.put_late("Opportunity", changed, datetime.combine(day, time(5), UTC) + timedelta(days=1))


def nights(bench: SalesforceBench, crm: SalesforceCrm, count: int, seed: int) -> None:
    """`count` nights; a third of the way one is missed. Every request may fail in passing."""
    chance = random.Random(seed)
    faults: list[Any] = ["reset", "truncated", (503, {}, b""), (200, {}, b"<html>")]
    bench.server.page_size = 40
    for number in range(count):
        day = FIRST + timedelta(days=number)
        crm.load(day)
        if number:
            disturb(bench, crm, chance, day)
        if number == count // 3:
            continue
        bench.clock.start = datetime.combine(day + timedelta(days=1), time(4), UTC)
        bench.clock.passed = 0.0
        bench.server.before = lambda number, path: (
            bench.server.faults.update({number: chance.choice(faults)}) if chance.random() < 0.05 else None
        )
        span_day = datetime.combine(day, time(), UTC)
        reports = bench.run(span_day, "stages", *WATCHED, sweep_days=7)
        bench.server.before = lambda number, path: None
        assert not [report.reason for report in reports.values() if report.reason], day


@pytest.mark.slow
@pytest.mark.parametrize("count", [10, pytest.param(30, marks=LONG)])
def test_after_many_nights_the_landing_knows_what_the_org_knows(tmp_path: Path, count: int) -> None:
    bench = SalesforceBench(tmp_path / "landing", clock=StillClock())
    bench.org.fields["Opportunity"]["Sales_Region__c"] = "string"
    crm = SalesforceCrm(small_world(250, date(2026, 1, 12), date(2026, 6, 30)), bench.org)
    nights(bench, crm, count, seed=count)
    # One more night without changes closes what was under way.
    quiet = FIRST + timedelta(days=count)
    bench.clock.start = datetime.combine(quiet + timedelta(days=1), time(4), UTC)
    bench.clock.passed = 0.0
    bench.run(datetime.combine(quiet, time(), UTC), *WATCHED)
    bench.server.close()
    for entity in WATCHED:
        found = landed(bench, entity)
        expected = truth(bench.org, entity, set(found))
        if entity == "deals":
            assert found == expected
            assert sum(value == GONE for value in found.values()) >= count
        else:
            # Of the rest, what went with a deal is not always told to be gone; all that lives must be here.
            expected = {key: value for key, value in expected.items() if value != GONE}
            assert {key: value for key, value in found.items() if key in expected} == expected, entity
    changed = [row for row in bench.org.tables["Opportunity"].values() if row["Sales_Region__c"]]
    assert len(changed) > count / 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_extraction_goes_on_over_rest_and_bulk_and_ends_like_an_undisturbed_one(
    tmp_path: Path, seed: int
) -> None:
    bench = SalesforceBench(tmp_path / "calm")
    bench.server.clock = lambda: datetime.now(UTC)
    bench.server.page_size = 5
    bench.fill(18)  # over REST: fewer than the 20 from which this connector takes Bulk
    for number in range(1, 61):
        bench.put_history(number, 1 + number % 18, moment("2026-03-01T00:00:00+00:00"))

    def extract(landing: Path, kill_at: int | None = None) -> int:
        call = [sys.executable, "-m", "tests.extract.salesforce_bench", bench.server.address, str(landing)]
        call += ["2026-04-01T00:00:00+00:00", "stages", "deals", "stage_history"]
        process = subprocess.Popen(call, cwd=REPOSITORY)
        begun_at = len(bench.server.asked)

        def kill(number: int, path: str) -> None:
            if kill_at is not None and number == begun_at + kill_at:
                os.kill(process.pid, signal.SIGKILL)

        bench.server.before = kill
        code = process.wait(60)
        bench.server.before = lambda number, path: None
        return code

    assert extract(tmp_path / "calm") == 0
    undisturbed = len(bench.server.asked)
    chance, kills = random.Random(seed), 0
    while (code := extract(tmp_path / "shaken", chance.randint(4, 14))) != 0:
        assert code == -signal.SIGKILL
        kills += 1
    bench.server.close()
    assert kills >= 2
    shaken = SalesforceBench(tmp_path / "shaken", bench.server)
    for entity in ("stages", "deals", "stage_history"):
        assert sorted(bench.ids(entity)) == sorted(shaken.ids(entity))
        assert landed(bench, entity) == landed(shaken, entity)
    assert sorted(bench.ids("deals")) == [deal_id(number) for number in range(1, 19)]
    # A kill costs the page under way, a login, the time, a description, a watermark and a look at the job.
    assert len(bench.server.asked) - undisturbed <= undisturbed + 6 * kills
