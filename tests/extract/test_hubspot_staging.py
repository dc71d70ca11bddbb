"""What becomes of HubSpot's answers in the ledger: pairs, re-entries, merges, lost stages, actors, money."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.landing import Landing
from tests.extract.api_bench import DAY
from tests.extract.hubspot_bench import NIGHT, HubSpotBench, pipeline
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerBench, LedgerTables, run_dbt

ZONE = "Europe/Amsterdam"
STAGES = [("new", "false", "0.2"), ("quote", "false", "0.5"), ("won", "true", "1.0"), ("lost", "true", "0.0")]
RENEWALS = [("r_new", "false", "0.3"), ("r_won", "true", "1.0"), ("r_other", "true", "0.5")]
EARLY = DAY - timedelta(days=20)
TODAY = DAY + NIGHT


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[HubSpotBench]:
    bench = HubSpotBench(tmp_path / "landing")
    bench.portal.pipelines = [pipeline("default", STAGES), pipeline("renewals", RENEWALS)]
    Landing(bench.root).ensure_empty_batches(api_entities())
    yield bench
    bench.server.close()
    assert not bench.server.defects


def build(bench: HubSpotBench, ledger: LedgerBench, as_of: date, zone: str = ZONE) -> LedgerTables:
    through = (bench.clock.now() + timedelta(hours=1)).astimezone(UTC).replace(tzinfo=None)
    return ledger.build_folder(
        Book(stages=(), runs=(Run(as_of, through),), settings=Settings(time_zone=zone)), bench.root
    )


def moves(tables: LedgerTables, deal: str) -> list[tuple]:
    columns = ("transitioned_at", "from_stage_id", "to_stage_id", "transition_type")
    return tables.rows(
        "fct_stage_transitions", *columns, where=f"deal_id = '{deal}'", order="transition_number"
    )


def naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)


@pytest.mark.slow
def test_the_models_pass_their_own_unit_and_data_tests(
    hubspot_build: tuple[LedgerBench, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGELEDGER_SOURCE_TYPES", "files,hubspot")
    folder = hubspot_build[1]
    run_dbt("test", folder / "warehouse.duckdb", folder / "landing", folder / "target", ["staging.hubspot"])


def test_a_stage_that_is_entered_again_is_visited_twice(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    for day, stage in enumerate(["new", "quote", "new", "quote", "won"]):
        bench.deal(1, EARLY + timedelta(days=day), stage)
    bench.run()
    tables = build(bench, hubspot_ledger, DAY.date())
    assert [(row[2], row[3]) for row in moves(tables, "1")] == [
        ("new", "entry"),
        ("quote", "forward"),
        ("new", "backward"),
        ("quote", "forward"),
        ("won", "won"),
    ]
    visits = tables.rows("int_stage_visits", "stage_id", "visit_number", order="visit_seq")
    assert visits == [("new", 1), ("quote", 1), ("new", 2), ("quote", 2), ("won", 1)]


def test_a_change_of_pipeline_is_one_move_however_its_two_halves_are_dated(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    for number, halves in enumerate([(0, 0), (0, 400), (400, 0)], start=1):
        bench.deal(number, EARLY)
        at = EARLY + timedelta(days=2)
        stage_at, pipeline_at = (at + timedelta(milliseconds=half) for half in halves)
        bench.portal.change("deals", str(number), stage_at, {"dealstage": "r_new"})
        bench.portal.change("deals", str(number), pipeline_at, {"pipeline": "renewals"})
    bench.run()
    tables = build(bench, hubspot_ledger, DAY.date())
    pairs = (
        "deal_id",
        "from_pipeline_id",
        "from_stage_id",
        "to_pipeline_id",
        "to_stage_id",
        "transition_type",
    )
    found = tables.rows("fct_stage_transitions", *pairs, where="transition_number = 2")
    expected = ("default", "new", "renewals", "r_new", "pipeline_switch")
    assert found == [(str(number), *expected) for number in (1, 2, 3)]
    assert tables.query("select count(*) from ledger.fct_stage_transitions") == [(6,)]


def test_a_stage_that_was_deleted_before_the_first_load_is_paired_by_the_second(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    bench.portal.change("deals", "1", EARLY, {"dealstage": "gone", "pipeline": "renewals"})
    at = EARLY + timedelta(days=3)
    bench.portal.change("deals", "1", at, {"dealstage": "new"})
    bench.portal.change("deals", "1", at + timedelta(milliseconds=20), {"pipeline": "default"})
    bench.run()
    tables = build(bench, hubspot_ledger, DAY.date())
    pairs = tables.rows("fct_stage_transitions", "to_pipeline_id", "to_stage_id", order="transition_number")
    assert pairs == [("renewals", "gone"), ("default", "new")]


def test_a_stage_that_is_deleted_later_keeps_its_name_and_a_renamed_one_both(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    bench.deal(1, EARLY)
    bench.deal(1, EARLY + timedelta(days=1), "quote")
    bench.run()
    renamed = pipeline("default", [STAGES[0], *STAGES[2:]], updated="2026-04-01T09:30:00Z")
    renamed["stages"][0]["label"] = "Fresh"
    bench.portal.pipelines = [renamed]
    bench.run(bench.next_night())
    tables = build(bench, hubspot_ledger, TODAY.date())
    labels = tables.rows("fct_stage_transitions", "from_stage", "to_stage", order="transition_number")
    assert labels == [("(none)", "Fresh"), ("Fresh", "Quote")]
    versions = tables.rows(
        "staging.stg_stages", "stage_id", "stage_name", "valid_from_at", where="stage_id in ('new', 'quote')"
    )
    always = datetime(1900, 1, 1)
    assert versions == [
        ("new", "Fresh", datetime(2026, 4, 1, 9, 30)),
        ("new", "New", always),
        ("quote", "Quote", always),
    ]


def test_closed_stages_are_won_lost_or_otherwise_closed_by_their_chance(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    bench.run()
    outcomes = build(bench, hubspot_ledger, DAY.date()).rows("staging.stg_stages", "stage_id", "outcome")
    assert dict(outcomes) == {
        "new": "open", "quote": "open", "won": "won", "lost": "lost",
        "r_new": "open", "r_won": "won", "r_other": "closed_other",
    }  # fmt: skip


def test_who_made_a_move_reaches_the_transition(bench: HubSpotBench, hubspot_ledger: LedgerBench) -> None:
    times = {"createdAt": "2025-01-01T00:00:00Z", "updatedAt": "2025-01-01T00:00:00Z", "type": "PERSON"}
    bench.portal.owners = [
        {"id": "77", "userId": 4007, "email": "ada@example.com", "archived": True, **times}
    ]
    sources = [
        {"sourceType": "CRM_UI", "sourceId": "userId:4007", "updatedByUserId": 4007},
        {"sourceType": "AUTOMATION_PLATFORM", "sourceId": "enrollmentId:12"},
        {"sourceType": "CRM_UI_BULK_ACTION", "updatedByUserId": 4008},
        {"sourceType": "API"},
    ]
    for day, (stage, source) in enumerate(zip(["new", "quote", "new", "won"], sources, strict=True)):
        bench.portal.change(
            "deals",
            "1",
            EARLY + timedelta(days=day),
            {"dealstage": stage, "pipeline": "default"},
            source=source,
        )
    bench.run()
    tables = build(bench, hubspot_ledger, DAY.date())
    assert tables.rows(
        "fct_stage_transitions", "changed_by", "is_bulk_change", order="transition_number"
    ) == [
        ("77", False),
        ("AUTOMATION_PLATFORM:enrollmentId:12", False),
        ("user 4008", True),
        ("API", False),
    ]


def test_a_merge_counts_once_and_its_history_once(bench: HubSpotBench, hubspot_ledger: LedgerBench) -> None:
    bench.deal(1, EARLY, amount="100")
    bench.deal(1, EARLY + timedelta(days=2), "quote")
    bench.deal(2, EARLY + timedelta(days=1), amount="40")
    bench.run()
    at = TODAY + timedelta(hours=11)
    bench.portal.merge("1", "2", at, "50")
    bench.deal(50, at + timedelta(hours=2), "won")
    bench.run(bench.next_night())
    tables = build(bench, hubspot_ledger, TODAY.date())
    assert [row[2:] for row in moves(tables, "1")] == [("new", "entry"), ("quote", "forward")]
    assert [row[2:] for row in moves(tables, "2")] == [("new", "entry")]
    assert moves(tables, "50") == [
        (naive(at), None, "quote", "entry"),
        (naive(at + timedelta(hours=2)), "quote", "won", "won"),
    ]
    assert tables.rows("fct_deals", "deal_id", "status", "amount_native") == [("50", "won", Decimal(100))]
    # Open on the day before the merge: the two; from then on the one.
    day = f"date '{DAY.date()}'"
    open_then = f"valid_from_date <= {day} and (valid_to_date is null or valid_to_date > {day})"
    assert tables.rows("fct_deal_versions", "deal_id", where=f"{open_then} and not is_deleted") == [
        ("1",),
        ("2",),
    ]
    gone = tables.rows(
        "fct_deal_versions", "deal_id", "merged_into_deal_id", where="deleted_reason = 'merged'"
    )
    assert gone == [("1", "50"), ("2", "50")]


def test_archived_restored_and_vanished_deals_end_as_they_should(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    for number in range(1, 31):
        bench.deal(number, EARLY, dealname=f"Deal {number}")
    bench.run()
    bench.portal.archive("deals", "1", TODAY + timedelta(hours=9))
    bench.portal.archive("deals", "2", TODAY + timedelta(hours=9))
    bench.run(bench.next_night())
    bench.portal.restore("2", TODAY + NIGHT + timedelta(hours=9))
    bench.portal.purge("3")
    bench.run(bench.next_night(7))
    # That it vanished is known from the night on that found it missing.
    tables = build(bench, hubspot_ledger, (TODAY + 8 * NIGHT).date())
    # A tombstone tells nothing of the deal: its name and its beginning are still known.
    found = tables.rows(
        "fct_deals", "deal_id", "is_deleted", "deal_name", "created_at", where="deal_id in ('1', '2', '3')"
    )
    created = naive(EARLY)
    assert found == [
        ("1", True, "Deal 1", created),
        ("2", False, "Deal 2", created),
        ("3", True, "Deal 3", created),
    ]


@pytest.mark.parametrize(
    ("told", "zone", "meant"),
    [
        ("2026-03-31T00:00:00Z", "America/New_York", date(2026, 3, 31)),
        ("2026-03-30T22:00:00Z", "Europe/Amsterdam", date(2026, 3, 31)),
        ("2026-03-31T23:30:00.123Z", "Europe/Amsterdam", date(2026, 4, 1)),
        ("1774915200000", "Europe/Amsterdam", date(2026, 3, 31)),
    ],
)
def test_a_close_date_is_the_day_that_was_meant(
    bench: HubSpotBench, hubspot_ledger: LedgerBench, told: str, zone: str, meant: date
) -> None:
    bench.deal(1, EARLY, closedate=told)
    bench.run()
    tables = build(bench, hubspot_ledger, DAY.date(), zone)
    assert tables.one("staging.stg_deals", "close_date") == meant
    assert tables.one("fct_deal_versions", "close_date") == meant


def test_amounts_keep_every_digit_and_their_currency(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    bench.portal.company_currency = "kwd"
    bench.deal(1, EARLY, amount="9007199254740993.125", deal_currency_code="usd")
    bench.deal(2, EARLY, amount="12.345")
    bench.deal(3, EARLY, amount="")
    bench.run()
    tables = build(bench, hubspot_ledger, DAY.date())
    assert tables.rows("fct_deal_versions", "deal_id", "amount_native", "currency") == [
        ("1", Decimal("9007199254740993.125"), "USD"),
        ("2", Decimal("12.345"), "KWD"),
        ("3", None, "KWD"),
    ]


def test_instants_are_utc_over_a_change_of_the_clock(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    # 29 March 2026, Amsterdam: 01:59:59 is followed by 03:00:00.
    bench.deal(1, datetime(2026, 3, 28, 23, 30, tzinfo=UTC))
    bench.deal(1, datetime(2026, 3, 29, 22, 30, tzinfo=UTC), "quote")
    bench.run()
    tables = build(bench, hubspot_ledger, DAY.date())
    rows = tables.rows("fct_stage_transitions", "transitioned_at", "business_date", order="transition_number")
    assert rows == [
        (datetime(2026, 3, 28, 23, 30), date(2026, 3, 29)),
        (datetime(2026, 3, 29, 22, 30), date(2026, 3, 30)),
    ]


def test_a_deal_that_vanished_and_is_seen_again_is_no_deleted_deal(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    bench.deals(40)
    bench.run()
    hidden = bench.portal.things["deals"].pop("7")
    bench.run(bench.next_night(7))
    # It counts as gone from the day on which it was missed, and as back from the day it was seen again.
    assert build(bench, hubspot_ledger, (DAY + 8 * NIGHT).date()).rows(
        "fct_deals", "deal_id", where="is_deleted"
    ) == [("7",)]
    bench.portal.things["deals"]["7"] = hidden  # as it was: its modified stamp is older than the tombstone
    bench.run(bench.next_night(7))
    tables = build(bench, hubspot_ledger, (DAY + 15 * NIGHT).date())
    assert tables.rows("fct_deals", "stage_id", "is_deleted", where="deal_id = '7'") == [("new", False)]
    assert not tables.rows("fct_deals", "deal_id", where="is_deleted")


def staged(tables: LedgerTables) -> dict[str, list[tuple]]:
    """Deals and change rows in staging, without when and in which batch they were read last."""
    deals = ("deal_id", "modified_at", "stage_id", "status", "amount_native", "owner_id", "is_deleted")
    events = ("deal_id", "event_at", "stage_id", "amount_native", "changed_by", "first_extracted_at")
    return {
        "stg_deals": sorted(tables.rows("staging.stg_deals", *deals), key=str),
        "stg_deal_events": sorted(tables.rows("staging.stg_deal_events", *events), key=str),
    }


def test_a_window_that_is_read_again_changes_nothing_in_staging(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    bench.deals(5, DAY + timedelta(hours=1))
    bench.deal(2, DAY + timedelta(hours=3), "quote")
    bench.run()
    before = staged(build(bench, hubspot_ledger, DAY.date()))
    bench.clock.passed += 600
    bench.run(reread=True)
    assert len(bench.rows("deals")) == 2 * 5
    assert before == staged(build(bench, hubspot_ledger, DAY.date()))
    assert len(before["stg_deals"]) == 5


def test_staging_grows_by_the_rows_that_the_manifests_count(
    bench: HubSpotBench, hubspot_ledger: LedgerBench
) -> None:
    bench.deals(7, EARLY)
    bench.run()
    grown = []
    for changed in (0, 3):
        for number in range(1, changed + 1):
            bench.deal(number, DAY + NIGHT + timedelta(hours=2), "quote")
        if changed:
            bench.run(bench.next_night())
        tables = build(bench, hubspot_ledger, DAY.date())
        counted = sum(batch.manifest.rows for batch in Landing(bench.root).batches("hq", "deals"))
        grown.append((counted, tables.query("select count(*) from staging.stg_deals")[0][0]))
    assert grown == [(7, 7), (10, 10)]
