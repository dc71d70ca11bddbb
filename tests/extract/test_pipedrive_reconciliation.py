"""Pipedrive: the last move in a deal's log ends in the stage of the deal, or both are read again and told."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_project.extract.api.api_report import Reconciled
from dagster_project.extract.api_assets import reconciliation_result
from tests.ledger.pipedrive_doors import business
from tests.simulators.pipedrive_bench import DAY, PipedriveBench
from tests.simulators.pipedrive_world import SimulatedCompany

MOVED = DAY + timedelta(hours=9)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[PipedriveBench]:
    made = PipedriveBench(tmp_path / "landing")
    yield made
    made.server.close()
    assert not made.server.violations


def three_deals(bench: PipedriveBench) -> None:
    """Deal 1 never moved, deal 2 moved once, deal 3 twice."""
    bench.fill(3)
    bench.company.change(2, MOVED, stage_id=2)
    bench.company.change(3, MOVED, stage_id=2)
    bench.company.change(3, MOVED + timedelta(hours=1), stage_id=3)


def forget_the_last_move(bench: PipedriveBench, deal: int) -> dict[str, Any]:
    return bench.company.log[deal].pop()


def reconciled(bench: PipedriveBench, day: datetime = DAY) -> Reconciled:
    found = bench.run(day)["changelog"].reconciled
    assert found is not None
    return found


def logs_asked(bench: PipedriveBench, deal: int) -> int:
    return len(bench.server.paths(f"/deals/{deal}/changelog"))


def test_all_logs_of_a_simulated_business_end_in_the_current_stage(tmp_path: Path) -> None:
    company = SimulatedCompany(business(120, 200, seed=45))
    day = date(2025, 12, 15)
    company.load(day)
    bench = PipedriveBench(tmp_path / "landing", company=company)
    bench.clock.start = datetime(day.year, day.month, day.day, 4, tzinfo=UTC) + timedelta(days=1)
    found = reconciled(bench, datetime(day.year, day.month, day.day, tzinfo=UTC))
    bench.server.close()
    assert found == Reconciled(len(bench.newest("deals")), ()) and found.deals > 60


def test_a_deal_that_never_moved_needs_no_move_in_its_log(bench: PipedriveBench) -> None:
    three_deals(bench)
    assert reconciled(bench) == Reconciled(3, ())
    assert bench.newest("changelog")["1"]["payload"] == {"changes": []}


def test_changes_of_other_fields_are_no_moves(bench: PipedriveBench) -> None:
    three_deals(bench)
    bench.company.change(3, MOVED + timedelta(hours=2), value=70, owner_id=2, status="won")
    assert reconciled(bench) == Reconciled(3, ())


@pytest.mark.parametrize("deal", [2, 3])  # the only move of a deal, and the last of two
def test_a_move_that_the_log_had_forgotten_comes_with_the_second_reading(
    bench: PipedriveBench, deal: int
) -> None:
    three_deals(bench)
    entry = forget_the_last_move(bench, deal)

    def heal(number: int, path: str) -> None:
        if logs_asked(bench, deal) == 2 and entry not in bench.company.log[deal]:
            bench.company.log[deal].append(entry)

    bench.server.before = heal
    assert reconciled(bench) == Reconciled(3, (), read_again=1)
    newest = bench.newest("changelog")[str(deal)]["payload"]["changes"]
    assert newest[0]["new_value"] == str(deal)
    assert logs_asked(bench, 1) == 1


def test_a_move_that_stays_forgotten_is_told_and_asked_for_once(bench: PipedriveBench) -> None:
    three_deals(bench)
    forget_the_last_move(bench, 2)
    forget_the_last_move(bench, 3)
    found = reconciled(bench)
    assert found == Reconciled(3, ("2", "3"), read_again=2)
    assert reconciled(bench, bench.next_night()) == Reconciled(3, ("2", "3"))
    assert logs_asked(bench, 2) == 2
    check = reconciliation_result(dg.AssetKey("changelog"), found)
    assert not check.passed and check.severity is dg.AssetCheckSeverity.WARN
    assert "2 of 3 deals" in (check.description or "") and check.metadata["such as"].value == "2, 3"


def test_a_deal_that_is_gone_costs_the_others_no_second_reading(bench: PipedriveBench) -> None:
    three_deals(bench)
    forget_the_last_move(bench, 2)
    entry = forget_the_last_move(bench, 3)

    def disturb(number: int, path: str) -> None:
        if "/deals/2/changelog" in path and logs_asked(bench, 2) == 2:
            bench.server.faults[number] = (404, {}, {"success": False, "error": "Deal not found"})
        if "/deals/3/changelog" in path and logs_asked(bench, 3) == 2:
            bench.company.log[3].append(entry)

    bench.server.before = disturb
    assert reconciled(bench) == Reconciled(3, ("2",), read_again=2)


def test_a_deleted_deal_is_told_but_not_asked_for_again(bench: PipedriveBench) -> None:
    three_deals(bench)
    forget_the_last_move(bench, 3)
    bench.company.delete(3, MOVED + timedelta(hours=3))
    found = reconciled(bench)
    assert found == replace(found, deals=3, disagreeing=("3",), read_again=0)
    assert logs_asked(bench, 3) == 1
