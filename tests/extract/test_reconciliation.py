"""A history that does not end in the current stage: read again, and told if that does not help."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_project import automation
from dagster_project.definitions import landing_definitions
from dagster_project.extract.api import reconciliation
from dagster_project.extract.api.api_report import Reconciled
from dagster_project.extract.api_assets import AGREES, COMPLETE, reconciliation_result
from dagster_project.settings import load_settings
from tests.extract.api_bench import DAY
from tests.extract.hubspot_bench import NIGHT, HubSpotBench
from tests.simulators.hubspot_server import TOKEN

TODAY = DAY + NIGHT


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[HubSpotBench]:
    bench = HubSpotBench(tmp_path / "landing")
    yield bench
    bench.server.close()
    assert not bench.server.defects


def reconciled(bench: HubSpotBench, day: Any = DAY) -> Reconciled:
    found = bench.run(day)["deal_history"].reconciled
    assert found is not None
    return found


def forget_last_move(bench: HubSpotBench, deal: str) -> list[dict[str, Any]]:
    """The portal leaves a deal's last move out of its history; the list that held it."""
    history = bench.portal.things["deals"][deal].history
    whole = history["dealstage"]
    history["dealstage"] = whole[1:]
    return whole


def reads_of(bench: HubSpotBench, deal: str) -> int:
    return sum(
        {"id": deal} in asked.body["inputs"] for asked in bench.server.asked if "0-3/batch/read" in asked.path
    )


def test_histories_that_end_in_the_current_stage_are_read_once(bench: HubSpotBench) -> None:
    bench.deals(20)
    bench.deal(3, DAY, "quote")
    bench.portal.archive("deals", "5", DAY)
    assert reconciled(bench) == Reconciled(20, ())
    bench.portal.merge("1", "2", TODAY + timedelta(hours=1), "90")
    # The merged are no deals of their own any more; the one made of them is.
    assert reconciled(bench, bench.next_night()) == Reconciled(19, ())


def test_a_move_that_was_missing_comes_with_the_second_reading(bench: HubSpotBench) -> None:
    bench.deals(20)
    bench.deal(3, DAY, "quote")
    whole = forget_last_move(bench, "3")
    batches = []

    def heal(number: int, path: str) -> None:
        # The first reading is over when the portal is asked for histories again.
        if "batch/read" in path:
            batches.append(path)
            if len(batches) == 2:
                bench.portal.things["deals"]["3"].history["dealstage"] = whole

    bench.server.before = heal
    assert reconciled(bench) == Reconciled(20, (), read_again=1)
    newest = [row["payload"] for row in bench.rows("deal_history") if row["record_id"] == "3"][-1]
    assert newest["propertiesWithHistory"]["dealstage"] == whole


def test_what_stays_wrong_is_told_with_its_ids_and_not_asked_for_every_night(bench: HubSpotBench) -> None:
    bench.deals(20)
    for deal in (3, 4):
        bench.deal(deal, DAY, "quote")
        forget_last_move(bench, str(deal))
    bench.portal.things["deals"]["7"].history["dealstage"] = []
    found = reconciled(bench)
    assert found == Reconciled(20, ("3", "4", "7"), read_again=3)
    bench.run(bench.next_night())
    before = reads_of(bench, "3")
    assert reconciled(bench, bench.next_night()) == Reconciled(20, ("3", "4", "7"))
    assert reads_of(bench, "3") == before
    # A new version is a new chance.
    bench.portal.things["deals"]["3"].history["dealstage"] = []
    bench.deal(3, TODAY + 2 * NIGHT + timedelta(hours=3), "won")
    assert reconciled(bench, bench.next_night()).disagreeing == ("4", "7")


def test_moves_of_one_instant_agree_if_one_of_them_is_the_current_stage(bench: HubSpotBench) -> None:
    bench.deals(3)
    bench.deal(2, DAY, "quote")
    bench.deal(2, DAY, "won")
    bench.portal.things["deals"]["2"].history["dealstage"].reverse()
    assert reconciled(bench) == Reconciled(3, ())


def test_a_spent_budget_leaves_the_second_reading_to_another_night(bench: HubSpotBench) -> None:
    bench.deals(3)
    bench.deal(2, DAY, "quote")
    forget_last_move(bench, "2")
    bench.server.before = lambda number, path: refuse() if len(bench.server.paths("batch/read")) > 1 else None

    def refuse() -> None:
        daily = {"status": "error", "message": "daily", "policyName": "DAILY"}
        bench.server.always = lambda path: (429, {}, daily)

    found = reconciled(bench)
    assert found.disagreeing == ("2",) and "daily quota is used up" in found.problem
    bench.server.always, bench.server.before = None, lambda number, path: None
    assert reconciled(bench, bench.next_night()).read_again == 1


def test_only_so_many_are_asked_for_again_in_one_night(
    bench: HubSpotBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciliation, "MOST_AT_ONCE", 2)
    bench.deals(5)
    for deal in ("1", "2", "3"):
        bench.portal.things["deals"][deal].history["dealstage"] = []
    assert reconciled(bench) == Reconciled(5, ("1", "2", "3"), read_again=2)
    assert reconciled(bench, bench.next_night()).read_again == 1


@pytest.mark.slow
def test_dagster_shows_the_check_beside_the_histories(tmp_path: Path) -> None:
    bench = HubSpotBench(tmp_path / "unused")
    bench.portal.clock = lambda: datetime.now(UTC)
    bench.deals(30, datetime.now(UTC) - timedelta(days=9))
    bench.deal(4, datetime.now(UTC) - timedelta(days=5), "quote")
    forget_last_move(bench, "4")
    config = tmp_path / "pipeline.yaml"
    config.write_text(
        "business: {name: Example, time_zone: UTC, currency: EUR, history_start: 2026-01-01}\n"
        f"sources: [{{name: hq, type: hubspot, token: '${{T}}', base_url: '{bench.server.address}'}}]\n"
    )
    settings = load_settings(config, tmp_path / "data", {"T": TOKEN})
    yesterday = automation.yesterday(settings, datetime.now(UTC))
    job = landing_definitions(settings).resolve_job_def("land_crm")
    with dg.instance_for_test() as instance:
        result = job.execute_in_process(instance=instance, tags=automation.range_tags(yesterday, yesterday))
        told = "".join(str(event) for event in instance.all_logs(result.run_id))
    bench.server.close()
    checks = {
        (check.asset_key.path[-1], check.check_name): check for check in result.get_asset_check_evaluations()
    }
    assert checks["deals", COMPLETE].passed
    found = checks["deal_history", AGREES]
    assert not found.passed and "1 of 30 deals end in another stage" in (found.description or "")
    assert found.metadata["such as"].value == "4"
    assert [key for key, _ in checks if key == "deal_history"] == ["deal_history"] * 2
    assert TOKEN not in told


def test_the_check_warns_with_counts_and_samples() -> None:
    key = dg.AssetKey(["landing", "hq", "deal_history"])
    good = reconciliation_result(key, Reconciled(40, ()))
    assert good.passed and good.check_name == AGREES
    bad = reconciliation_result(key, Reconciled(40, tuple(str(n) for n in range(30)), read_again=30))
    assert not bad.passed and bad.severity is dg.AssetCheckSeverity.WARN
    assert "30 of 40 deals end in another stage" in (bad.description or "")
    assert bad.metadata["such as"].value == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
    assert not reconciliation_result(key, None).passed
