"""One truth through two doors: Pipedrive's interface and exported files give the same ledger."""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from dagster_project.extract.api.api_report import Status
from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.events import end_of_day
from dagster_project.simulate.hazards import day_number
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerTables
from tests.ledger.pipedrive_doors import ZONE, Doors, VendorLedger, business
from tests.simulators.pipedrive_server import TOKEN

AS_OF = date(2025, 12, 15)
MOVES = (
    "deal_id", "transition_number", "transitioned_at", "exited_at", "business_date", "from_pipeline_id",
    "to_pipeline_id", "from_stage_id", "to_stage_id", "from_status", "to_status", "transition_type",
    "stages_skipped", "visit_number", "is_current", "is_censored", "days", "amount_native", "currency",
    "close_date", "owner_id", "push_count_so_far", "inference_rule", "is_transient", "is_clamped",
    "is_left_truncated", "order_uncertain", "changed_by", "change_source", "time_precision",
)  # fmt: skip
DEALS = (
    "deal_id", "deal_name", "status", "is_deleted", "created_at", "first_entered_on", "close_date",
    "closed_on", "won_on", "lost_on", "is_import", "sales_cycle_days", "amount_native", "currency",
    "industry", "region", "country", "lead_source", "deal_type", "forecast_category", "probability",
    "lost_reason", "next_step", "stage_lost_at", "push_count", "stage_entered_on", "days_in_stage",
    "max_rank_reached",
)  # fmt: skip


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    # With this seed deals were merged, deleted lately and long ago, and no change is still on its way.
    made = Doors(business(300, 230, seed=45), tmp_path_factory.mktemp("doors"))
    made.load(AS_OF)
    made.extract(AS_OF)
    made.export(AS_OF)
    yield made
    made.close()
    assert not made.server.violations


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> VendorLedger:
    return VendorLedger(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="module")
def ledger(doors: Doors, sql: VendorLedger) -> LedgerTables:
    return sql.build_with_dbt(doors.landing, nights_so_far(doors, [AS_OF]))


def nights_so_far(doors: Doors, days: list[date]) -> Book:
    """No facts, only the runs: what had landed an hour after each night's extraction."""
    landed = [(doors.night_of(day) + timedelta(hours=1)).replace(tzinfo=None) for day in days]
    runs = tuple(Run(day, at) for day, at in zip(days, landed, strict=True))
    return Book(stages=(), runs=runs, settings=Settings(time_zone=ZONE))


@pytest.fixture(scope="module")
def gone(doors: Doors) -> set[str]:
    return out_of_sight(doors, first_load=AS_OF, until=AS_OF)


def out_of_sight(doors: Doors, first_load: date, until: date) -> set[str]:
    """Merged deals, and those deleted too long before the first load for Pipedrive to list them."""
    deals, config = doors.world.deals, doors.world.config
    merged = deals[deals["merged_at"] < end_of_day(config, day_number(until))]["deal_id"]
    a_month_before = end_of_day(config, day_number(first_load)) - timedelta(days=30)
    return {str(deal) for deal in [*merged, *deals[deals["deleted_at"] < a_month_before]["deal_id"]]}


def in_pipedrives_words(doors: Doors, row: tuple[Any, ...], columns: tuple[str, ...]) -> tuple[Any, ...]:
    """A row of the files' ledger with Pipedrive's numbers, and won and lost as the status that they are."""
    closed = {s.stage_id: f"({s.outcome})" for s in cat.STAGES if s.outcome != "open"}
    stages = {name: str(number) for name, number in doors.company.stage_numbers.items()} | closed
    numbers = {
        "stage_id": stages,
        "pipeline_id": {name: str(n) for name, n in doors.company.pipeline_numbers.items()},
        "owner_id": {name: str(n) for name, n in doors.company.user_numbers.items()},
    }
    numbers["changed_by"] = numbers["owner_id"]
    kinds = {column: column.removeprefix("from_").removeprefix("to_") for column in columns}
    return tuple(
        numbers[kinds[column]][value] if kinds[column] in numbers and value is not None else value
        for column, value in zip(columns, row, strict=True)
    )


def both_doors(
    doors: Doors, ledger: LedgerTables, table: str, columns: tuple[str, ...], gone: set[str]
) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The rows that came over the interface, and those of the files in Pipedrive's words; both sorted."""
    told = ledger.rows(table, *columns, where="source_relation = 'pd'")
    filed = ledger.rows(table, *columns, where="source_relation = 'crm'")
    translated = (in_pipedrives_words(doors, row, columns) for row in filed if row[0] not in gone)
    return sorted((row for row in told if row[0] not in gone), key=str), sorted(translated, key=str)


def deals_with_names(ledger: LedgerTables, source: str, gone: set[str]) -> list[tuple[Any, ...]]:
    """Deals with the names of what they point to; a closed deal's stage has no name of its own."""
    names = ", ".join(f"deals.{name}" for name in DEALS)
    found = ledger.query(
        f"""
        select {names}, accounts.account, owners.owner, owners.is_active, products.product, products.family,
            products.list_price, pipelines.pipeline, case when deals.status = 'open' then deals.stage end
        from ledger.fct_deals as deals
        join ledger.dim_account as accounts using (account_key)
        join ledger.dim_owner as owners using (owner_key)
        join ledger.dim_product as products using (product_key)
        join ledger.dim_pipeline as pipelines using (pipeline_key)
        where deals.source_relation = ? order by all
        """,
        [source],
    )
    pipelines = {pipeline.pipeline_id: pipeline.name for pipeline in cat.PIPELINES}
    place = len(DEALS) + 6  # files of this business name no pipelines, only their ids
    return [
        (*row[:place], pipelines.get(row[place], row[place]), *row[place + 1 :])
        for row in found
        if row[0] not in gone
    ]


def test_every_transition_is_the_same_through_both_doors(
    doors: Doors, ledger: LedgerTables, gone: set[str]
) -> None:
    told, expected = both_doors(doors, ledger, "fct_stage_transitions", MOVES, gone)
    assert told == expected
    assert len(expected) > 700
    kinds = {row[MOVES.index("transition_type")] for row in expected}
    assert {"entry", "forward", "skip", "backward", "won", "lost", "reopen", "pipeline_switch"} <= kinds


def test_every_version_of_a_deal_is_the_same_through_both_doors(
    doors: Doors, ledger: LedgerTables, gone: set[str]
) -> None:
    columns = ("deal_id", "valid_from_at", "valid_to_at", "known_on", "pipeline_id", "stage_id", "status",
               "amount_native", "currency", "close_date", "owner_id", "is_deleted", "asof_quality",
               "amount_asof_quality", "close_date_asof_quality")  # fmt: skip
    told, expected = both_doors(doors, ledger, "fct_deal_versions", columns, gone)
    assert told == expected and len(expected) > 800


def test_every_deal_is_the_same_through_both_doors(
    doors: Doors, ledger: LedgerTables, gone: set[str]
) -> None:
    told = deals_with_names(ledger, "pd", gone)
    assert told == deals_with_names(ledger, "crm", gone)
    assert len(told) > 250
    assert len([deal for deal in doors.company.deals.values() if deal["is_archived"]]) > 10


def test_what_is_missing_is_what_pipedrive_cannot_tell(
    doors: Doors, ledger: LedgerTables, gone: set[str]
) -> None:
    told = {row[0] for row in ledger.rows("fct_deals", "deal_id", where="source_relation = 'pd'")}
    filed = {row[0] for row in ledger.rows("fct_deals", "deal_id", where="source_relation = 'crm'")}
    assert (told ^ filed) <= gone and len(gone) == 3
    fresh = ledger.rows("fct_deals", "deal_id", where="source_relation = 'pd' and is_deleted")
    gone_lately = [deal for deal in doors.company.deals.values() if deal["is_deleted"]]
    month_ago = (doors.clock.start - timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    lately = {str(deal["id"]) for deal in gone_lately if deal["update_time"] >= month_ago}
    assert {row[0] for row in fresh} == lately and len(lately) >= 2


def test_the_products_of_each_deal_are_the_same(doors: Doors, ledger: LedgerTables, gone: set[str]) -> None:
    def lines(source: str) -> list[tuple[Any, ...]]:
        return ledger.query(
            """
            select deals.deal_id, products.product, lines.quantity, lines.unit_price, lines.amount_native,
                lines.currency, lines.is_residual
            from ledger.fct_line_items as lines
            join ledger.fct_deals as deals using (deal_key)
            join ledger.dim_product as products on lines.product_key = products.product_key
            where deals.source_relation = ? and not deals.is_deleted order by all
            """,
            [source],
        )

    filed = [row for row in lines("crm") if row[0] not in gone]
    assert lines("pd") == filed and len(filed) > 150


def test_the_vendors_own_count_of_movements_is_ours(doors: Doors, ledger: LedgerTables) -> None:
    asked, moved = 0, 0
    for first in (date(2025, 7, 1), date(2025, 9, 15), date(2025, 11, 1)):
        last = first + timedelta(days=44)
        for pipeline in doors.company.pipelines:
            for owner in doors.company.users:
                vendor = requests.get(
                    f"{doors.server.address}/api/v1/pipelines/{pipeline}/movement_statistics",
                    params={"start_date": str(first), "end_date": str(last), "user_id": owner},
                    headers={"x-api-token": TOKEN},
                    timeout=10,
                ).json()["data"]
                counts = (
                    vendor["movements_between_stages"]["count"],
                    *(sorted(map(str, vendor[name]["deals_ids"])) for name in
                      ("new_deals", "deals_left_open", "won_deals", "lost_deals")),
                )  # fmt: skip
                assert our_movements(ledger, str(pipeline), str(owner), first, last) == counts
                asked, moved = asked + 1, moved + counts[0]
    assert asked > 100 and moved > 200


def our_movements(
    ledger: LedgerTables, pipeline: str, owner: str, first: date, last: date
) -> tuple[int, list[str], list[str], list[str], list[str]]:
    """The same from transitions: a move is an arrival in another open stage than the last open one."""
    ((moves,),) = ledger.query(
        """
        select count(*)
        from (
            select *, lag(to_stage_id) over (partition by deal_key order by transition_number) as open_before
            from ledger.fct_stage_transitions
            where source_relation = 'pd' and to_status = 'open'
        ) as arrivals
        join ledger.fct_deals as deals using (deal_key)
        where arrivals.to_pipeline_id = ? and arrivals.open_before <> arrivals.to_stage_id
            and arrivals.business_date between ? and ? and deals.owner_id = ? and not deals.is_deleted
        """,
        [pipeline, first, last, owner],
    )

    def deals(condition: str, day: str) -> list[str]:
        found = ledger.query(
            f"""
            select deal_id from ledger.fct_deals
            where source_relation = 'pd' and not is_deleted and pipeline_id = ? and owner_id = ?
                and {day} between ? and ? and {condition} order by deal_id
            """,
            [pipeline, owner, first, last],
        )
        return [row[0] for row in found]

    return (
        moves,
        deals("true", "created_on"),
        deals("status = 'open'", "created_on"),
        deals("status = 'won'", "closed_on"),
        deals("status = 'lost'", "closed_on"),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("nights", "budget"), [(11, None), (30, 900)])
def test_after_many_nights_nothing_is_lost_and_nothing_is_there_twice(
    sql: VendorLedger, ledger: LedgerTables, tmp_path: Path, nights: int, budget: int | None
) -> None:
    """Late commits, merges, deletions, a missed night and small budgets: the end is the business's truth."""
    doors = Doors(business(160, 110, seed=10, late_share=0.08), tmp_path)
    chance, first = random.Random(nights), date(2025, 8, 1)
    days = [first + timedelta(days=n) for n in range(nights) if n != nights // 2]
    held_back = 0
    for day in days:
        doors.load(day)
        held_back += doors.hold_back_some_changes(day, chance)
        reports = doors.extract(day, budget={"daily": budget})
        asked = len(doors.server.asked)
        assert {report.status for report in reports.values()} <= {Status.LANDED, Status.PARTIAL}
        doors.extract(day, budget={"daily": budget})
        assert budget or len(doors.server.asked) == asked, "a second run of a covered night asks nothing"
    last = days[-1] + timedelta(days=1)
    doors.load(last)
    reports = doors.extract(last)
    assert {report.status for report in reports.values()} == {Status.LANDED}
    doors.export(last)
    tables = sql.build(doors.landing, nights_so_far(doors, [*days, last]))
    gone = out_of_sight(doors, first_load=first, until=last)
    told, expected = both_doors(doors, tables, "fct_stage_transitions", MOVES, gone)
    assert told == expected and len(expected) > 150
    assert deals_with_names(tables, "pd", gone) == deals_with_names(tables, "crm", gone)
    assert held_back >= nights // 2
    assert not doors.server.violations
    doors.close()
