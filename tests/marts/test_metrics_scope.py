"""What metrics.exclude leaves out, worked out by hand: each state is judged by its own pipeline and owner.

n: Ann's, 100, open from 10 January, won on 10 March.
m: Ann's, 300, open from 20 January; into the pipeline ren on 10 February; open.
b: Ann's, 50, in ren from 5 January; into new on 5 March; open.
h: Eve's, 40, open from 8 January; Ann's from 3 February; open.
e: Eve's, 60, open from 9 January; won on 20 March; Ann's from 1 April.
r: Bob's, 200, in ren from 12 January; open. w: Bob's, 70, in ren from 3 January; won on 20 February.
t: Ann's, 500, of the type Internal, open from 15 January.
Left out are the pipeline REN, the owner eve and the type internal; nobody is called Evee.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.ledger.book import STAGES, Book, Change, Record, Run
from tests.ledger.ledger_bench import LedgerTables
from tests.marts.marts_bench import MartSettings
from tests.marts.random_pipelines import random_pipelines
from tests.marts.waterfall_bench import DEAL_TABLES, INVARIANTS, OUTLOOK_TABLES, TABLES, WaterfallBench

AS_OF = date(2025, 5, 7)
READ_ON = datetime(2025, 5, 8, 1)
EXCLUDE = {"pipelines": ["REN"], "owners": ["eve", "Evee"], "deal_types": [" Internal "]}
SCOPE_TABLES = (
    *TABLES,
    *DEAL_TABLES,
    "int_exclusion_findings",
    "int_open_visits",
    "int_win_cohorts",
    "mart_pipeline_generation",
    "mart_lead_conversion",
)
OWNERS = [
    ("crm", name, name.title(), None, "north", None, "EU", None, None, True) for name in ("ann", "bob", "eve")
]


# The deal each lead became, and the lead's owner.
LEADS = {"of won": ("n", "ann"), "of ren": ("r", "ann"), "of eve": (None, "eve"), "of none": (None, "ann")}


def staged_lead(lead_id: str, deal_id: str | None, owner: str) -> tuple[Any, ...]:
    became = (date(2025, 1, 4) if deal_id else None, READ_ON, owner, "web", False, READ_ON, True)
    return ("crm", lead_id, deal_id, lead_id, "New", None, date(2025, 1, 2), *became)


@dataclass(frozen=True)
class ScopeSettings(MartSettings):
    """The settings of the business, with some deals left out of the metrics."""

    settings_json: str = json.dumps({"metrics": {"exclude": EXCLUDE}})


def at(month: int, day: int) -> datetime:
    return datetime(2025, month, day, 12)


def opened(
    deal_id: str, month: int, day: int, amount: int, owner: str, stage: str = "lead", pipeline: str = "new"
) -> Change:
    money = {"amount": Decimal(amount), "close_date": date(2025, 6, 30)}
    return Change(deal_id, at(month, day), stage, pipeline=pipeline, owner=owner, **money)


CHANGES = (
    opened("n", 1, 10, 100, "ann"),
    Change("n", at(3, 10), "won", close_date=date(2025, 3, 10)),
    opened("m", 1, 20, 300, "ann"),
    Change("m", at(2, 10), "r1", pipeline="ren"),
    opened("b", 1, 5, 50, "ann", "r1", "ren"),
    Change("b", at(3, 5), "lead"),
    opened("h", 1, 8, 40, "eve"),
    Change("h", at(2, 3), owner="ann", pipeline=None),
    opened("e", 1, 9, 60, "eve"),
    Change("e", at(3, 20), "won", close_date=date(2025, 3, 20)),
    Change("e", at(4, 1), owner="ann", pipeline=None),
    opened("r", 1, 12, 200, "bob", "r1", "ren"),
    opened("w", 1, 3, 70, "bob", "r1", "ren"),
    Change("w", at(2, 20), "rwon", pipeline="ren", close_date=date(2025, 2, 20)),
    opened("t", 1, 15, 500, "ann"),
)
BOOK = Book(
    STAGES,
    (Record("t", stage=None, pipeline=None, deal_type="Internal", extracted_at=READ_ON),),
    tuple(replace(change, extracted_at=READ_ON) for change in CHANGES),
    (Run(AS_OF, READ_ON),),
    ScopeSettings(),
)


@pytest.fixture(scope="module")
def scoped(waterfall_bench: WaterfallBench) -> LedgerTables:
    """The tables of the book, until the last test of this file builds others."""
    leads = [staged_lead(lead, *told) for lead, told in LEADS.items()]
    staged = {"stg_owners": OWNERS, "stg_fx_rates": [], "stg_leads": leads}
    tables = waterfall_bench.build(BOOK, staged, SCOPE_TABLES)
    for name in INVARIANTS:
        assert tables.query(waterfall_bench.invariants[name]) == [], name
    return tables


def numbers(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(float(value) if isinstance(value, Decimal) else value for value in row)


def test_all_deals_stay_in_the_facts_and_say_what_leaves_them_out(scoped: LedgerTables) -> None:
    assert dict(scoped.rows("fct_deals", "deal_id", "excluded_by")) == {
        "n": None,
        "h": None,
        "b": None,
        "m": "pipelines: REN",
        "r": "pipelines: REN",
        "w": "pipelines: REN",
        # Ann has it now, and Eve closed it
        "e": "owners: eve",
        "t": "deal_types: Internal",
    }


def test_a_lead_is_left_out_with_its_owner_and_with_the_last_of_its_deals(scoped: LedgerTables) -> None:
    assert dict(scoped.rows("fct_leads", "lead_id", "excluded_by")) == {
        "of won": None,
        "of ren": "pipelines: REN",
        "of eve": "owners: eve",
        "of none": None,
    }
    counted = scoped.query(
        "select leads_created, leads_converted, deals_won, won_amount from marts.mart_lead_conversion "
        "where period_type = 'all' and segment_type = 'total' and horizon = 'to_date'"
    )
    assert [numbers(row) for row in counted] == [(2, 1, 1, 100)]


@pytest.mark.parametrize(
    ("deal", "expected"),
    [
        ("m", [(1, None), (2, "pipelines: REN")]),
        ("h", [(1, "owners: eve"), (2, None)]),
        ("e", [(1, "owners: eve"), (2, "owners: eve"), (3, "owners: eve")]),
    ],
)
def test_a_deal_leaves_the_scope_and_comes_back_with_its_pipeline_and_owner(
    scoped: LedgerTables, deal: str, expected: list[tuple[int, str | None]]
) -> None:
    found = scoped.rows("fct_deal_versions", "version_number", "excluded_by", where=f"deal_id = '{deal}'")
    assert found == expected


@pytest.mark.parametrize(
    ("day", "deals", "amount"),
    [
        ("2025-01-31", 2, 400),  # n and m
        ("2025-02-28", 2, 140),  # n and h
        ("2025-03-31", 2, 90),  # h and b
        ("2025-05-07", 2, 90),
    ],
)
def test_the_pipeline_of_a_day_holds_the_deals_in_scope_on_that_day(
    scoped: LedgerTables, day: str, deals: int, amount: int
) -> None:
    told = scoped.query(
        "select sum(deals_open), sum(open_amount) from marts.mart_pipeline_daily where period_start = ?",
        [day],
    )
    assert numbers(told[0]) == (deals, amount)


@pytest.mark.parametrize(
    ("period", "expected"),
    [
        # start, created, transferred in, transferred out, won, end
        ("2025-01", (0, 400, 0, 0, 0, 400)),
        ("2025-02", (400, 0, 40, -300, 0, 140)),
        ("2025-03", (140, 0, 50, 0, -100, 90)),
        # between two ends that are a quarter apart b and h are new; m came and went
        ("2025Q1", (0, 190, 0, 0, -100, 90)),
    ],
)
def test_what_leaves_the_scope_is_transferred_out(
    scoped: LedgerTables, period: str, expected: tuple[float, ...]
) -> None:
    told = scoped.one(
        "marts.mart_pipeline_waterfall",
        *("start_amount", "created_amount", "transferred_in_amount", "transferred_out_amount"),
        *("won_amount", "end_amount"),
        where=f"mode = 'net' and scope = 'rolling' and segment_type = 'total' and period = '{period}'",
    )
    assert numbers(told) == expected


def test_a_deal_that_is_transferred_out_of_the_scope_leaves_the_pipeline_it_was_in(
    scoped: LedgerTables,
) -> None:
    told = scoped.rows(
        "marts.mart_pipeline_waterfall",
        *("segment", "transferred_out_amount", "transferred_in_amount"),
        where="mode = 'net' and scope = 'rolling' and segment_type = 'pipeline' and period = '2025-02'",
    )
    assert [numbers(row) for row in told] == [("new", -300, 40)]


def test_bookings_and_created_deals_are_those_in_scope(scoped: LedgerTables) -> None:
    told = scoped.one(
        "marts.mart_sales_performance",
        *("deals_created", "deals_won", "won_amount"),
        where="period_type = 'all' and segment_type = 'total'",
    )
    assert numbers(told) == (3, 1, 100)


@pytest.mark.parametrize(
    "table",
    ["mart_sales_performance", "mart_pipeline_waterfall", "mart_forecast_category_daily"],
)
def test_no_segment_is_named_after_what_is_left_out(scoped: LedgerTables, table: str) -> None:
    found = {name for (name,) in scoped.query(f"select distinct segment from marts.{table}")}
    assert "Ann" in found
    assert found.isdisjoint({"ren", "Eve", "Bob", "Internal"})


def test_a_rep_who_is_left_out_has_no_row(scoped: LedgerTables) -> None:
    """Ann created n and b, and h, which was hers when it came into scope."""
    told = scoped.rows(
        "marts.mart_rep_scorecard",
        *("owner", "deals_created", "deals_won", "deals_open"),
        where="credit = 'at_the_time' and period = '2025Q1'",
    )
    assert told == [("Ann", 3, 1, 2)]


def test_visits_count_by_the_pipeline_they_were_in_and_the_owner_at_their_end(scoped: LedgerTables) -> None:
    """m's visit to lead is left by a move to another pipeline; h's began with Eve and is Ann's."""
    told = scoped.query(
        "select deal_id, owner, exit_type from marts.int_open_visits "
        "join ledger.fct_deals using (deal_key) "
        "join ledger.dim_owner on int_open_visits.owner_key = dim_owner.owner_key order by deal_id"
    )
    assert told == [
        ("b", "Ann", None),
        ("h", "Ann", None),
        ("m", "Ann", "pipeline_switch"),
        ("n", "Ann", "won"),
    ]


def test_generation_counts_what_was_in_scope_when_it_was_created(scoped: LedgerTables) -> None:
    told = scoped.query(
        "select sum(deals_generated), sum(as_created_amount) from marts.mart_pipeline_generation "
        "where basis = 'created' and period_type = 'quarter' and segment_type = 'total'"
    )
    assert numbers(told[0]) == (2, 400)  # n and m


def test_health_looks_at_deals_in_scope(scoped: LedgerTables) -> None:
    assert scoped.rows("marts.mart_deal_health", "deal_id", where="status = 'open'") == [("b",), ("h",)]


def test_each_name_tells_how_many_deals_it_leaves_out(scoped: LedgerTables) -> None:
    columns = ("subject", "deals_affected", "deals_checked", "sample_ids", "message")
    ends = "deals are left out of every metric and forecast by metrics.exclude."
    once = "; 1 more were for a time, and are not any more."
    assert scoped.rows(
        "marts.int_exclusion_findings", *columns, where="rule_name = 'excluded_from_metrics'"
    ) == [
        ("deal_types: Internal", 1, 8, "t", f"1 of 8 {ends}deal_types: Internal."),
        ("owners: eve", 1, 8, "e", f"1 of 8 {ends}owners: eve{once}"),
        ("pipelines: REN", 3, 8, "m, r, w", f"3 of 8 {ends}pipelines: REN{once}"),
    ]


def test_a_name_that_nobody_has_is_told_with_the_one_that_is_meant(scoped: LedgerTables) -> None:
    told = scoped.one(
        "marts.int_exclusion_findings",
        *("subject", "severity", "deals_affected", "message", "remedy"),
        where="rule_name = 'excluded_name_unknown'",
    )
    assert told == (
        "owners: Evee",
        "warning",
        0,
        "metrics.exclude.owners names Evee, and the data know no such name: nothing is left out by it. "
        "Did you mean Eve?",
        "Correct the name under metrics: exclude: owners or remove it; known are Ann, Bob, Eve.",
    )


EQUAL_TABLES = (*TABLES, *DEAL_TABLES, *OUTLOOK_TABLES, "int_win_cohorts", "int_open_visits")


def test_deals_left_out_by_their_type_are_as_if_they_had_never_been_delivered(
    waterfall_bench: WaterfallBench,
) -> None:
    """Every mart of a random book with a third of its deals left out is that of the book without them."""
    books = random_pipelines(4711)
    book = books.book
    gone = {f"{number:02}-{deal}" for number in range(25) for deal in range(8) if deal % 3 == 1}
    told = {record.deal_id for record in book.records}
    marked = tuple(
        replace(record, deal_type="Partner" if record.deal_id in gone else "New") for record in book.records
    )
    # deals without a record keep their type to themselves, so they get one that says nothing else
    ids = {change.deal_id for change in book.changes}
    silent = tuple(
        Record(deal_id, stage=None, pipeline=None, deal_type="Partner")
        for deal_id in sorted((ids & gone) - told)
    )
    settings = MartSettings(time_zone=book.settings.time_zone)
    exclude = json.dumps({"metrics": {"exclude": {"deal_types": ["partner"]}}})
    left_out = ScopeSettings(time_zone=book.settings.time_zone, settings_json=exclude)
    found = {}
    for name, of_book in {
        "left out": replace(book, records=marked + silent, settings=left_out),
        "never delivered": replace(
            book,
            records=tuple(record for record in marked if record.deal_id not in gone),
            changes=tuple(change for change in book.changes if change.deal_id not in gone),
            settings=settings,
        ),
    }.items():
        tables = waterfall_bench.build(of_book, books.staged, EQUAL_TABLES)
        found[name] = {table: sorted(tables.query(f"from marts.{table}"), key=repr) for table in EQUAL_TABLES}
    for table in EQUAL_TABLES:
        assert len(found["left out"][table]) > 5 or table == "mart_loss_reasons"
        assert found["left out"][table] == found["never delivered"][table], table
