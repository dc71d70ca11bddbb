"""The same business through HubSpot's interface and through files: one truth.

What HubSpot cannot tell, and the comparison leaves out or translates:
- a merge makes a new deal, so deals of a merge are compared on their own;
- owners who are no users have no id: their changes carry the kind of source;
- old values of a change, and the CRM's own id of it.
"""

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.files.connector import extract_files
from dagster_project.extract.landing import Landing
from dagster_project.settings import load_settings
from dagster_project.simulate import SimulationConfig, simulate, write_crm_export
from dagster_project.simulate.crm_export import EXPORTS
from dagster_project.simulate.world import World
from tests.extract.hubspot_bench import HubSpotBench
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerBench, LedgerTables
from tests.simulators.hubspot_feed import Feed

AS_OF = date(2025, 12, 17)
NIGHT = datetime(2025, 12, 18, 4, tzinfo=UTC)
ZONE = "Europe/Amsterdam"
SIZE = SimulationConfig(
    seed=11, n_deals=300, start_on=date(2025, 6, 1), end_on=AS_OF, time_zone=ZONE, missing_first_row_share=0.0
)
COMPARED = (
    "deal_id", "transition_number", "transitioned_at", "exited_at", "business_date", "from_pipeline_id",
    "from_stage_id", "to_pipeline_id", "to_stage_id", "from_status", "to_status", "transition_type",
    "stages_skipped", "visit_number", "is_current", "amount_native", "currency", "amount_base", "close_date",
    "owner_id", "inference_rule", "is_transient", "is_clamped", "is_left_truncated", "change_source",
    "time_precision", "push_count_so_far", "days", "from_rank", "to_rank",
    "replace(changed_by, 'AUTOMATION_PLATFORM:', '') as changed_by",
)  # fmt: skip
DEALS = (
    "deal_id", "deal_name", "pipeline_id", "stage_id", "status", "is_deleted", "created_at",
    "first_entered_on", "cycle_start_on", "close_date", "closed_on", "won_on", "lost_on", "is_import",
    "sales_cycle_days", "amount_native", "amount_base", "owner_id", "industry", "deal_type", "lead_source",
    "lost_reason", "push_count", "days_in_stage", "stage_entered_on", "max_rank_reached",
)  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    return simulate(SIZE)


@pytest.fixture(scope="module")
def both(world: World, tmp_path_factory: pytest.TempPathFactory, hubspot_ledger: LedgerBench) -> LedgerTables:
    """Ledger of two sources: `hq` came through HubSpot, `export` through files."""
    folder = tmp_path_factory.mktemp("one-truth")
    bench = HubSpotBench(folder / "data" / "landing")
    bench.clock.start = NIGHT
    Feed(world, bench.portal).load(AS_OF)
    Landing(bench.root).ensure_empty_batches(api_entities())
    reports = bench.run(datetime(2025, 12, 17, tzinfo=UTC) - timedelta(hours=1))
    bench.server.close()
    assert not bench.server.defects
    assert {report.status.name for report in reports.values()} == {"LANDED"}
    write_crm_export(world, folder, AS_OF)
    tables = {entity: {"path": f"{entity}.csv", "columns": names} for entity, names in EXPORTS.items()}
    source = {"name": "export", "type": "files", "time_zone": "UTC", "data_as_of": str(AS_OF), **tables}
    business = {"name": "B", "time_zone": ZONE, "currency": "EUR"}
    facts = {"fx_rates": {"path": "fx_rates.csv"}, "holidays": {"path": "holidays.csv"}}
    config = folder / "pipeline.yaml"
    config.write_text(json.dumps({"business": business, "sources": [source], "tables": facts}))
    settings = load_settings(config, folder / "data", {})
    for told in settings.file_sources():
        extract_files(settings, told, NIGHT, pause=lambda _: None)
    runs = (Run(AS_OF, NIGHT.replace(tzinfo=None) + timedelta(hours=1)),)
    return hubspot_ledger.build_folder(
        Book(stages=(), runs=runs, settings=Settings(time_zone=ZONE)), bench.root
    )


def differences(tables: LedgerTables, table: str, columns: tuple[str, ...], where: str) -> list[tuple]:
    """Rows that only one of the sources has."""
    chosen = ", ".join(columns)
    one, other = (
        f"select {chosen} from ledger.{table} where source_relation = '{source}' and {where}"
        for source in ("hq", "export")
    )
    return tables.query(
        f"select 'hubspot' as door, * from ({one} except all {other}) "
        f"union all select 'files', * from ({other} except all {one}) order by 2, 3"
    )


def merged(world: World) -> str:
    """SQL for deals that take no part in a merge."""
    gone = world.deals[world.deals["merged_into"].notna()]
    ids = {str(one) for one in [*gone["deal_id"], *gone["merged_into"]]}
    return "(" + ", ".join(f"'{one}'" for one in sorted(ids) or ["none"]) + ")"


def test_both_doors_lead_to_the_same_transitions(world: World, both: LedgerTables) -> None:
    where = f"deal_id not in {merged(world)} and deal_id not like '9000%'"
    assert both.query("select count(*) > 900 from ledger.fct_stage_transitions where source_relation = 'hq'")[
        0
    ][0]
    assert differences(both, "fct_stage_transitions", COMPARED, where) == []


def test_both_doors_lead_to_the_same_products_of_a_deal(world: World, both: LedgerTables) -> None:
    found = {
        source: both.query(
            "select deals.deal_id, products.product, products.family, items.quantity, "
            "items.amount_native, items.currency, items.amount_base, items.is_residual "
            "from ledger.fct_line_items as items "
            "join ledger.dim_product as products on items.product_key = products.product_key "
            "join ledger.dim_deal as deals on items.deal_key = deals.deal_key "
            f"where deals.source_relation = '{source}' and deals.deal_id not in {merged(world)} "
            "and deals.deal_id not like '9000%' and not items.is_residual order by all"
        )
        for source in ("hq", "export")
    }
    assert len(found["hq"]) > 100
    assert found["hq"] == found["export"]


def test_a_merge_splits_the_life_of_its_winner_at_the_merge(world: World, both: LedgerTables) -> None:
    """HubSpot makes a new deal of two: together with the winner's own part it is the winner of the files."""
    gone = world.deals[world.deals["merged_into"].notna()]
    assert len(gone) == 1
    (loser,) = gone.to_dict("records")
    winner, at = str(loser["merged_into"]), loser["merged_at"].floor("ms")
    columns = ("to_stage_id", "to_status", "transitioned_at", "amount_native", "owner_id")
    whole = both.rows(
        "fct_stage_transitions",
        *columns,
        where=f"source_relation = 'export' and deal_id = '{winner}'",
        order="transition_number",
    )
    before = both.rows(
        "fct_stage_transitions", *columns, where=f"source_relation = 'hq' and deal_id = '{winner}'"
    )
    after = both.rows(
        "fct_stage_transitions",
        *columns,
        where="source_relation = 'hq' and deal_id like '9000%'",
        order="transition_number",
    )
    # Nobody looked before the merge, so HubSpot's part begins with the state that the winner had then.
    last = [row for row in whole if row[2] < at][-1]
    assert before == []
    assert after == [(*last[:2], at.to_pydatetime(), *last[3:]), *[row for row in whole if row[2] >= at]]
    existing = both.rows("fct_deals", "deal_id", where="source_relation = 'hq' and deal_id like '9000%'")
    assert len(existing) == 1


def test_both_doors_lead_to_the_same_deals(world: World, both: LedgerTables) -> None:
    where = f"deal_id not in {merged(world)} and deal_id not like '9000%'"
    assert differences(both, "fct_deals", DEALS, where) == []
