"""The ledger that Salesforce's records and native history become."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.landing import Landing
from dagster_project.simulate.known import known_at
from tests.extract.api_bench import DAY
from tests.extract.salesforce_bench import EARLIER, SOURCE, SalesforceBench, deal_id
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerTables
from tests.ledger.salesforce_ledger import FILES, ZONE, TwoDoors, small_world, two_doors
from tests.simulators.salesforce_org import make_id, stamp

AS_OF = date(2026, 7, 30)
TRANSITIONS = (
    "deal_id", "transition_number", "transitioned_at", "exited_at", "business_date", "from_pipeline_id",
    "from_stage_id", "to_pipeline_id", "to_stage_id", "from_status", "to_status", "from_rank", "to_rank",
    "transition_type", "stages_skipped", "visit_number", "is_current", "hours", "amount_native", "currency",
    "close_date", "push_count_so_far", "changed_by", "change_source", "time_precision", "inference_rule",
    "is_transient", "is_clamped", "is_left_truncated", "order_uncertain", "has_gap", "reported_from_stage_id",
)  # fmt: skip
DEALS = (
    "deal_id", "deal_name", "pipeline_id", "stage_id", "stage", "stage_rank", "status", "is_deleted",
    "created_at", "first_entered_on", "cycle_start_on", "close_date", "closed_on", "won_on", "lost_on",
    "is_import", "sales_cycle_days", "amount_native", "currency", "owner_id", "industry", "region", "country",
    "lead_source", "deal_type", "forecast_category", "probability", "lost_reason", "stage_lost_at",
    "next_step", "cast(last_activity_at as date)", "push_count", "days_in_stage", "deal_age_days",
    "max_rank_reached",
)  # fmt: skip
HOUR = timedelta(hours=1)
WON, LOST = {"IsClosed": True, "IsWon": True}, {"IsClosed": True, "IsWon": False}
TYPES = (make_id("012", 1), make_id("012", 2))
OWNERS = (make_id("005", 1), make_id("005", 2))


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> TwoDoors:
    world = small_world(300, date(2026, 1, 12), date(2026, 7, 31))
    return two_doors(tmp_path_factory.mktemp("doors"), world, AS_OF)


@pytest.fixture
def org(tmp_path: Path) -> SalesforceBench:
    """An org with four stages, and neither record types nor field history."""
    bench = SalesforceBench(tmp_path / "landing")
    for order, (name, facts) in enumerate(
        {"Prospecting": {}, "Proposal": {}, "Closed Won": WON, "Closed Lost": LOST}.items(), start=1
    ):
        put_stage(bench, order, name, **facts)
    return bench


def put_stage(bench: SalesforceBench, order: int, name: str, **facts: object) -> None:
    row = {"Id": make_id("01J", order), "ApiName": name, "MasterLabel": name, "SortOrder": order,
           "IsActive": True, "IsClosed": False, "IsWon": False}  # fmt: skip
    bench.org.put("OpportunityStage", row | facts)


def put_change(bench: SalesforceBench, number: int, field: str, at: datetime, old: str, new: str) -> None:
    bench.org.put(
        "OpportunityFieldHistory",
        {"Id": make_id("017", number), "OpportunityId": deal_id(1), "Field": field, "OldValue": old,
         "NewValue": new, "CreatedDate": stamp(at), "CreatedById": OWNERS[0]},
    )  # fmt: skip


def ledger_of(bench: SalesforceBench, doors: TwoDoors) -> LedgerTables:
    """Everything landed so far, seen one hour after the last extraction."""
    bench.server.close()
    Landing(bench.root).ensure_empty_batches(api_entities())
    seen = bench.clock.now().astimezone(UTC).replace(tzinfo=None) + HOUR
    book = Book((), runs=(Run(seen.date() - timedelta(days=1), seen),), settings=Settings(time_zone=ZONE))
    return doors.bench.build_landed(book, bench.root)


def forgotten(doors: TwoDoors) -> set[str]:
    """Deals that had left the recycle bin before the first extraction: nobody can read them any more."""
    return {str(of) for there, of in doors.crm.world_ids("deal").items()
            if there not in doors.crm.org.tables["Opportunity"]}  # fmt: skip


@pytest.mark.slow
def test_both_doors_give_the_same_transitions(doors: TwoDoors) -> None:
    gone = forgotten(doors)
    files = {row for row in doors.rows("fct_stage_transitions", TRANSITIONS, FILES) if row[0] not in gone}
    assert doors.rows("fct_stage_transitions", TRANSITIONS, SOURCE) == files
    assert len(files) > 800 and len(gone) < 5
    assert {row[TRANSITIONS.index("transition_type")] for row in files} > {
        "skip",
        "backward",
        "won",
        "reopen",
    }


@pytest.mark.slow
def test_both_doors_give_the_same_owner_of_each_transition(doors: TwoDoors) -> None:
    # Where history lost its first row, files do not tell whose the deal was; Salesforce knows of no change.
    columns = ("deal_id", "transition_number", "owner_id")
    told = "inference_rule is null"
    gone = forgotten(doors)
    files = {row for row in doors.rows("fct_stage_transitions", columns, FILES, told) if row[0] not in gone}
    assert doors.rows("fct_stage_transitions", columns, SOURCE, told) == files
    assert doors.crm.org.tables["OpportunityFieldHistory"]


@pytest.mark.slow
def test_both_doors_give_the_same_deals_and_one_merged_away_is_a_deleted_one(doors: TwoDoors) -> None:
    gone = forgotten(doors)
    files = {row for row in doors.rows("fct_deals", DEALS, FILES) if row[0] not in gone}
    salesforce = doors.rows("fct_deals", DEALS, SOURCE)
    known = known_at(doors.crm.world, AS_OF).deals
    merged = set(known.loc[known["merged_into"].notna(), "deal_id"].astype(str)) - gone
    assert {row for row in salesforce if row[0] not in merged} == files
    assert {row[0] for row in salesforce - files if row[DEALS.index("is_deleted")]} == merged != set()


@pytest.mark.slow
def test_both_doors_give_the_same_people_accounts_products_and_lines(doors: TwoDoors) -> None:
    for table, columns in {
        "dim_account": ("account_id", "account", "industry", "region", "country"),
        "dim_product": ("product_id", "product", "family", "list_price", "currency"),
        "dim_stage": ("pipeline_id", "stage_id", "stage", "stage_order", "outcome", "probability"),
        "dim_pipeline": ("pipeline_id", "pipeline"),
    }.items():
        assert doors.rows(table, columns, SOURCE) == doors.rows(table, columns, FILES), table
    owners = ("owner_id", "owner", "email", "team", "manager", "started_on", "is_active")
    assert doors.rows("dim_owner", owners, SOURCE) >= doors.rows("dim_owner", owners, FILES)
    lines = ("deal_id", "product_id", "quantity", "unit_price", "amount_native", "currency")
    salesforce = doors.rows("staging.stg_line_items", lines, SOURCE)
    living = {row[0] for row in doors.rows("fct_deals", ("deal_id",), FILES, "not is_deleted")}
    files = {row for row in doors.rows("staging.stg_line_items", lines, FILES) if row[0] in living}
    assert {row for row in salesforce if row[0] in living} == files


@pytest.mark.slow
def test_a_history_row_without_a_new_stage_is_no_transition_but_a_version(
    org: SalesforceBench, doors: TwoDoors
) -> None:
    org.put_deal(1, EARLIER + 3 * HOUR, StageName="Proposal", Amount=250.5, CloseDate="2026-08-31")
    org.put_history(1, 1, EARLIER)
    org.put_history(2, 1, EARLIER + HOUR, Amount=250.5)
    org.put_history(3, 1, EARLIER + 2 * HOUR, Amount=250.5, CloseDate="2026-08-31")
    org.put_history(4, 1, EARLIER + 3 * HOUR, Amount=250.5, CloseDate="2026-08-31", StageName="Proposal")
    org.run()
    tables = ledger_of(org, doors)
    assert (
        tables.rows("fct_stage_transitions", "to_stage_id", "amount_native", "push_count_so_far")
        == [
            ("Prospecting", Decimal("1000.000"), 0),
            ("Proposal", Decimal("250.500"), 1),
        ][::-1]
    )
    versions = tables.rows("fct_deal_versions", "valid_from_at", "stage_id", "amount_native", "close_date")
    at = EARLIER.replace(tzinfo=None)
    assert versions == [
        (at, "Prospecting", Decimal("1000.000"), date(2026, 6, 30)),
        (at + HOUR, "Prospecting", Decimal("250.500"), date(2026, 6, 30)),
        (at + 2 * HOUR, "Prospecting", Decimal("250.500"), date(2026, 8, 31)),
        (at + 3 * HOUR, "Proposal", Decimal("250.500"), date(2026, 8, 31)),
    ]


@pytest.mark.slow
def test_moves_of_one_second_come_in_the_order_of_their_ids(org: SalesforceBench, doors: TwoDoors) -> None:
    org.put_deal(1, EARLIER + HOUR, StageName="Proposal")
    org.put_history(61, 1, EARLIER)
    # Ids count 0-9, A-Z, a-z: "Z" comes before "a".
    org.put_history(36, 1, EARLIER + HOUR, StageName="Prospecting", Amount=2.0)
    org.put_history(35, 1, EARLIER + HOUR, StageName="Closed Lost")
    org.put_history(37, 1, EARLIER + HOUR, StageName="Proposal")
    org.run()
    tables = ledger_of(org, doors)
    moves = tables.rows("fct_stage_transitions", "transition_number", "to_stage_id", "order_uncertain")
    assert [row[1] for row in moves] == ["Prospecting", "Closed Lost", "Prospecting", "Proposal"]
    assert not any(row[2] for row in moves)


@pytest.mark.slow
def test_a_renamed_an_inactive_and_a_removed_stage_keep_their_names(
    org: SalesforceBench, doors: TwoDoors
) -> None:
    put_stage(org, 5, "Old", IsActive=False)
    put_stage(org, 6, "Doomed")
    org.put_deal(1, EARLIER + HOUR)
    org.put_history(1, 1, EARLIER, StageName="Old")
    org.put_history(2, 1, EARLIER + HOUR / 2, StageName="Doomed")
    org.put_history(3, 1, EARLIER + HOUR)
    org.run()
    put_stage(org, 1, "Prospecting", MasterLabel="Looking around")
    del org.org.tables["OpportunityStage"][make_id("01J", 6)]
    org.night()
    tables = ledger_of(org, doors)
    labels = dict(tables.rows("dim_stage", "stage_id", "stage", where="source_relation = 'org'"))
    assert {name: labels[name] for name in ("Prospecting", "Old", "Doomed")} == {
        "Prospecting": "Looking around",
        "Old": "Old",
        "Doomed": "Doomed",
    }
    moves = tables.rows("fct_stage_transitions", "transition_number", "to_stage", "transition_type")
    assert moves == [(1, "Old", "entry"), (2, "Doomed", "forward"), (3, "Looking around", "backward")]
    names = tables.rows("dim_stage_history", "valid_from_at", "stage", where="stage_id = 'Prospecting'")
    assert [name for _, name in names] == ["Prospecting", "Looking around"]


@pytest.mark.slow
@pytest.mark.parametrize("with_stage", [False, True])
def test_a_change_of_record_type_is_a_change_of_pipeline_also_where_stages_are_shared(
    org: SalesforceBench, doors: TwoDoors, with_stage: bool
) -> None:
    for record_type in TYPES:
        org.org.put("RecordType", {"Id": record_type, "Name": f"Type {record_type[-4]}", "IsActive": True,
                                   "SobjectType": "Opportunity"})  # fmt: skip
        org.org.picklists[record_type] = ["Prospecting", "Proposal", "Closed Won"]
    org.put_deal(1, EARLIER + 9 * HOUR, StageName="Proposal", RecordTypeId=TYPES[1])
    org.put_history(1, 1, EARLIER)
    org.put_history(2, 1, EARLIER + 9 * HOUR, StageName="Proposal")
    at = EARLIER + (9 if with_stage else 5) * HOUR
    put_change(org, 1, "RecordType", at, "Type 1", "Type 2")
    put_change(org, 2, "RecordType", at, TYPES[0][:15], TYPES[1][:15])
    org.run()
    moves = ledger_of(org, doors).rows(
        "fct_stage_transitions", "transition_number", "to_pipeline_id", "to_stage_id", "transition_type"
    )
    switched = [
        (2, TYPES[1], "Prospecting", "pipeline_switch"),
        (3, TYPES[1], "Proposal", "forward"),
    ]
    at_once = [(2, TYPES[1], "Proposal", "pipeline_switch")]
    assert moves == [(1, TYPES[0], "Prospecting", "entry"), *(at_once if with_stage else switched)]


@pytest.mark.slow
def test_an_owner_counts_from_the_day_the_deal_was_handed_over(org: SalesforceBench, doors: TwoDoors) -> None:
    for number, owner in enumerate(OWNERS, start=1):
        org.org.put(
            "User",
            {
                "Id": owner,
                "Name": f"User {number}",
                "IsActive": True,
                "UserType": "Standard",
                "SystemModstamp": stamp(EARLIER),
            },
        )
    org.put_deal(1, EARLIER + 9 * HOUR, StageName="Proposal", OwnerId=OWNERS[1])
    org.put_history(1, 1, EARLIER)
    org.put_history(2, 1, EARLIER + 9 * HOUR, StageName="Proposal")
    put_change(org, 1, "Owner", EARLIER + 5 * HOUR, "User 1", "User 2")
    put_change(org, 2, "Owner", EARLIER + 5 * HOUR, OWNERS[0], OWNERS[1])
    org.run()
    versions = ledger_of(org, doors).rows("fct_deal_versions", "valid_from_at", "owner_id", "stage_id")
    at = EARLIER.replace(tzinfo=None)
    assert versions == [
        (at, OWNERS[0], "Prospecting"),
        (at + 5 * HOUR, OWNERS[1], "Prospecting"),
        (at + 9 * HOUR, OWNERS[1], "Proposal"),
    ]


@pytest.mark.slow
def test_deleted_vanished_restored_and_merged_end_where_they_should(
    org: SalesforceBench, doors: TwoDoors
) -> None:
    accounts = [make_id("001", number) for number in (1, 2)]
    for account in accounts:
        org.org.put("Account", {"Id": account, "Name": account, "SystemModstamp": stamp(EARLIER)})
    for number in range(1, 41):
        org.put_deal(number, EARLIER, AccountId=accounts[1])
        org.put_history(number, number, EARLIER)
    org.run()
    end = DAY + timedelta(days=1)
    org.org.delete("Opportunity", deal_id(1), end + HOUR)  # lies in the bin
    org.org.delete("Opportunity", deal_id(2), end + HOUR)  # emptied from it
    org.org.purge("Opportunity", deal_id(2))
    org.org.purge("Opportunity", deal_id(3))  # without a trace
    org.org.log_begins = end + 2 * HOUR
    org.org.delete("Opportunity", deal_id(4), end + HOUR)
    org.org.merge_accounts(accounts[0], accounts[1], end + 3 * HOUR)
    org.night()
    org.org.restore(deal_id(4), end + 30 * HOUR)
    org.night()
    tables = ledger_of(org, doors)
    gone = tables.rows("fct_deals", "deal_id", "amount_native", "stage_id", where="is_deleted")
    assert gone == [(deal_id(number), Decimal("1000.000"), "Prospecting") for number in (1, 2, 3)]
    assert tables.rows("fct_deals", "count(*)", "count(distinct deal_id)") == [(40, 40)]
    # What the merge of accounts did to deals that were gone by then cannot be seen, but is known.
    (kept,) = tables.rows("dim_account", "account_key", where=f"account_id = '{accounts[0]}'")
    assert {row[0] for row in tables.rows("fct_deals", "account_key", where="not is_deleted")} == {kept[0]}
    assert {row[0] for row in tables.rows("fct_deals", "account_key")} == {kept[0]}


@pytest.mark.slow
def test_amounts_keep_every_digit_and_missing_currencies_are_the_business_s(
    org: SalesforceBench, doors: TwoDoors
) -> None:
    for name in ("Opportunity", "OpportunityHistory"):
        del org.org.fields[name]["CurrencyIsoCode"]
    amounts = {1: 9007199254740993, 2: 0.125, 3: 1e7, 4: None}
    for number, amount in amounts.items():
        org.put_deal(number, EARLIER, Amount=amount)
        org.put_history(number, number, EARLIER, Amount=amount)
    org.run()
    deals = ledger_of(org, doors).rows("fct_deals", "deal_id", "amount_native", "currency")
    assert [row[1:] for row in deals] == [
        (Decimal("9007199254740993.000"), "EUR"),
        (Decimal("0.125"), "EUR"),
        (Decimal("10000000.000"), "EUR"),
        (None, "EUR"),
    ]
