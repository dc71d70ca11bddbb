"""Salesforce: the last row of a deal's history says the deal's stage, or both are read again and told."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.extract.api.api_report import Reconciled
from dagster_project.extract.api_assets import AGREES, build_api_assets, reconciliation_result
from dagster_project.settings import load_settings
from tests.extract.api_bench import DAY, StillClock
from tests.extract.salesforce_bench import BulkConnector, SalesforceBench, deal_id
from tests.ledger.salesforce_ledger import small_world
from tests.simulators.salesforce_crm import SalesforceCrm
from tests.simulators.salesforce_org import make_id

MOVED = DAY + timedelta(hours=9)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SalesforceBench]:
    bench = SalesforceBench(tmp_path / "landing")
    yield bench
    bench.server.close()


def three_deals(bench: SalesforceBench) -> None:
    """Deals 1 to 3 in Prospecting, each with the first row of its history; deal 2 has moved on."""
    for number in (1, 2, 3):
        bench.put_deal(number, DAY - timedelta(days=9))
        bench.put_history(number, number, DAY - timedelta(days=9))
    bench.put_deal(2, MOVED, StageName="Proposal")
    bench.put_history(12, 2, MOVED, StageName="Proposal")


def forget_the_move(bench: SalesforceBench) -> dict[str, object]:
    """The org leaves the move of deal 2 out; the row that told it."""
    return bench.org.tables["OpportunityHistory"].pop(make_id("008", 12))


def reconciled(bench: SalesforceBench, nights: int = 0) -> Reconciled:
    found = (bench.night(nights) if nights else bench.run())["stage_history"].reconciled
    assert found is not None
    return found


@pytest.mark.parametrize("kind", [None, BulkConnector])
def test_all_histories_of_a_simulated_business_end_in_the_current_stage(
    tmp_path: Path, kind: type[BulkConnector] | None
) -> None:
    bench = SalesforceBench(tmp_path / "landing", clock=StillClock())
    bench.kind = kind or bench.kind
    crm = SalesforceCrm(small_world(150, date(2026, 1, 12), date(2026, 6, 30)), bench.org)
    for day in (date(2026, 5, 1), date(2026, 5, 2)):
        crm.load(day)
        bench.clock.start = datetime.combine(day + timedelta(days=1), time(4), UTC)
        bench.clock.passed = 0.0
        found = bench.run(datetime.combine(day, time(), UTC))["stage_history"].reconciled
        assert found == Reconciled(len(bench.newest()), ()) and found.deals > 60
    bench.server.close()


def test_a_move_that_the_org_had_forgotten_comes_with_the_second_reading(bench: SalesforceBench) -> None:
    three_deals(bench)
    row = forget_the_move(bench)

    def heal(number: int, path: str) -> None:
        # Histories are asked for by the ids of deals only for the second reading.
        if "FROM+OpportunityHistory+WHERE+OpportunityId" in path:
            bench.org.put("OpportunityHistory", row)

    bench.server.before = heal
    assert reconciled(bench) == Reconciled(3, (), read_again=1)
    told = [r["payload"]["StageName"] for r in bench.rows("stage_history") if r["record_id"] == row["Id"]]
    assert told == ["Proposal"]


def test_a_move_that_stays_forgotten_is_told_and_asked_for_once(bench: SalesforceBench) -> None:
    three_deals(bench)
    forget_the_move(bench)
    found = reconciled(bench)
    assert found == Reconciled(3, (deal_id(2),), read_again=1)
    assert reconciled(bench, nights=1) == Reconciled(3, (deal_id(2),))
    check = reconciliation_result(dg.AssetKey("stage_history"), found)
    assert not check.passed and check.severity is dg.AssetCheckSeverity.WARN
    assert "1 of 3 deals" in (check.description or "")
    assert check.metadata["such as"].value == deal_id(2)


def test_a_deal_without_any_history_disagrees(bench: SalesforceBench) -> None:
    three_deals(bench)
    del bench.org.tables["OpportunityHistory"][make_id("008", 3)]
    assert reconciled(bench).disagreeing == (deal_id(3),)


def test_a_row_that_changes_the_amount_alone_is_no_other_stage(bench: SalesforceBench) -> None:
    three_deals(bench)
    bench.put_deal(1, MOVED, Amount=5.0)
    bench.put_history(11, 1, MOVED, Amount=5.0)
    assert reconciled(bench) == Reconciled(3, ())


def test_the_check_stands_beside_the_history(tmp_path: Path) -> None:
    config = tmp_path / "pipeline.yaml"
    config.write_text(
        "business: {name: Example, time_zone: UTC, currency: EUR}\n"
        "sources: [{name: org, type: salesforce, base_url: 'https://x.my.salesforce.com',"
        " client_id: '${A}', client_secret: '${B}'}]\n"
    )
    settings = load_settings(config, tmp_path / "data", {"A": "a", "B": "b"})
    (asset,) = build_api_assets(settings, dg.DailyPartitionsDefinition("2026-01-01"))
    checked = [check.asset_key.path[-1] for check in asset.check_specs if check.name == AGREES]
    assert checked == ["stage_history"]
