"""Deal health of a book written by hand: nine winners to compare with, and one deal for each rule.

Winners stayed 2, 4, … 18 days in lead. With the shares 0.5, 0.75 and 0.9 of ten, the fifth, eighth and ninth
of them are the limits: slow after 10 days, stalled after 16, dead after 18.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.ledger.book import Book, Change, Record, Run, stages_in
from tests.marts.marts_bench import MartSettings
from tests.marts.waterfall_bench import WaterfallBench

AS_OF = date(2025, 5, 7)
END = datetime(2025, 5, 8)
READ_ON = datetime(2025, 5, 8, 1)
STAGES = tuple(
    replace(stage, probability=chance)
    for stage, chance in zip(
        stages_in("new", "lead", "demo", "quote", "deal"), (0.1, 0.3, 0.6, 0.9, 1.0, 0.0), strict=True
    )
)
OWNERS = [
    ("crm", "ann", "Ann", None, "north", None, "EU", None, None, True),
    ("crm", "gone", "Gus", None, "north", None, "EU", None, date(2025, 4, 30), False),
    ("crm", "going", "Gil", None, "north", None, "EU", None, date(2025, 5, 31), False),
]
RULES = (
    "is_won_in_future", "is_won_without_amount", "is_past_due", "has_no_close_date", "has_no_amount",
    "has_no_owner", "has_inactive_owner", "is_too_long_in_stage", "has_no_activity", "is_pushed_often",
    "has_zero_amount_late", "has_no_next_step", "is_lost_without_reason", "is_closed_before_created",
    "has_odd_probability", "has_unchanged_close_date", "has_moved_backward", "has_skipped_stage",
    "has_no_account", "has_no_created_date",
)  # fmt: skip


@dataclass(frozen=True)
class HealthSettings(MartSettings):
    min_sample: int = 5
    pace_slow: float = 0.5
    pace_stalled: float = 0.75
    pace_dead: float = 0.9
    activity_days: int = 14


def winners(stays: Sequence[float] = range(2, 20, 2), pipeline: str = "new") -> list[Change]:
    """Deals of last year that stayed so many days in lead and then won; an older one makes history whole."""
    began = datetime(2024, 6, 1)
    rows = [
        Change(f"first {pipeline}", datetime(2023, 1, 1), "lead", pipeline=pipeline),
        Change(f"first {pipeline}", datetime(2023, 1, 2), "lost", pipeline=pipeline),
    ]
    for days in stays:
        rows += [
            Change(f"{pipeline}{days}", began, "lead", pipeline=pipeline),
            Change(f"{pipeline}{days}", began + timedelta(days=days), "won", pipeline=pipeline),
        ]
    return rows


def deal(
    deal_id: str, *later: tuple[float, dict[str, Any]], age: float = 7.5, told: dict[str, Any] | None = None
) -> tuple[Record, list[Change]]:
    """A healthy deal `age` days in lead at the end of as_of, save for what `told` and later changes say."""
    began = END - timedelta(days=age)
    facts: dict[str, Any] = {
        "stage": "lead",
        "amount": Decimal(100),
        "currency": "EUR",
        "close_date": date(2025, 6, 30),
        "owner": "ann",
        "probability": 0.1,
    }
    record: dict[str, Any] = {
        "created_at": began,
        "account": "acme",
        "next_step": "call",
        "last_activity_at": END - timedelta(days=1),
        "modified_at": END - timedelta(hours=2),
    }
    for name, value in (told or {}).items():
        (facts if name in facts else record)[name] = value
    first = Change(deal_id, began, **facts)
    changes = [first]
    for days_before_end, values in later:
        facts = facts | values
        changes.append(
            Change(deal_id, END - timedelta(days=days_before_end), **({"pipeline": None} | values))
        )
    return Record(deal_id, **(facts | record)), changes


def won(deal_id: str, closes: date = date(2025, 5, 6), **told: Any) -> tuple[Record, list[Change]]:
    """A deal that came to the last stage and won: no visit to lead to compare with."""
    return deal(
        deal_id, (2, {"stage": "won", "pipeline": "new", "close_date": closes}), told={"stage": "deal"} | told
    )


BROKEN: dict[str, tuple[Record, list[Change]]] = {
    "is_past_due": deal("late", told={"close_date": date(2025, 5, 6)}),
    "has_no_close_date": deal("undated", told={"close_date": None}),
    "has_no_amount": deal("unpriced", told={"amount": None}),
    "has_no_owner": deal("orphan", told={"owner": None}),
    "has_inactive_owner": deal("left", told={"owner": "gone"}),
    "is_too_long_in_stage": deal("stalled", age=16.5),
    "is_pushed_often": deal(
        "pushed", *((days, {"close_date": date(2025, 7, 30 - days)}) for days in (5, 4, 3))
    ),
    "has_zero_amount_late": deal(
        "zero",
        (3, {"stage": "demo", "pipeline": "new"}),
        (2, {"stage": "quote", "pipeline": "new"}),
        told={"amount": Decimal(0), "probability": None},
    ),
    # a move is work on the deal: it came to lead 15 days ago, the last call was before that
    "has_no_activity": deal("quiet", age=15.5, told={"last_activity_at": END - timedelta(days=17)}),
    "has_unchanged_close_date": deal("set", (3, {"stage": "demo", "pipeline": "new"}), age=70),
    "has_no_next_step": deal("stepless", told={"next_step": " "}),
    "has_odd_probability": deal("sure", told={"probability": 0.36}),
    "has_moved_backward": deal(
        "back", (3, {"stage": "demo", "pipeline": "new"}), (2, {"stage": "lead", "pipeline": "new"})
    ),
    "has_skipped_stage": deal("skip", (3, {"stage": "quote", "pipeline": "new"}), told={"probability": None}),
    "has_no_account": deal("unlinked", told={"account": None}),
    "has_no_created_date": deal("unborn", told={"created_at": None}),
    "is_closed_before_created": deal(
        "reversed", (6, {"stage": "lost", "pipeline": "new", "close_date": date(2025, 4, 29)}),
        told={"lost_reason": "price", "probability": None},
    ),
    "is_lost_without_reason": deal(
        "reasonless", (2, {"stage": "lost", "pipeline": "new", "close_date": date(2025, 5, 6)})
    ),
    "is_won_without_amount": won("gift", amount=Decimal(0)),
    "is_won_in_future": won("early", date(2025, 5, 20)),
}  # fmt: skip
PACED = {
    "fine": deal("fine", told={"owner": "going"}),
    "edge": deal("edge", age=10),
    "slow": deal("slow", age=11.5),
    "dead": deal("dead", age=19.5),
    # so many that no rule hits most of the deals it is asked of
    **{f"won{n}": won(f"won{n}") for n in range(3)},
    **{f"lost{n}": deal(f"lost{n}", (2, {"stage": "lost", "pipeline": "new", "close_date": date(2025, 5, 6)}),
                        told={"lost_reason": "price"}) for n in range(3)},
}  # fmt: skip


def book(deals: Sequence[tuple[Record, list[Change]]], *more: Change, **settings: Any) -> Book:
    """The deals beside the winners, read on the night after as_of."""
    records = tuple(replace(record, extracted_at=READ_ON) for record, _ in deals)
    changes = [*winners(), *(change for _, rows in deals for change in rows), *more]
    rows = tuple(replace(change, extracted_at=READ_ON) for change in changes)
    return Book(STAGES, records, rows, runs=(Run(AS_OF, READ_ON),), settings=HealthSettings(**settings))


Rows = dict[str, dict[str, Any]]


def build(bench: WaterfallBench, written: Book) -> Rows:
    """The rows of the mart by deal_id; Decimals as they are."""
    staged: dict[str, Sequence[tuple[Any, ...]]] = {
        "stg_quotas": [],
        "stg_owners": OWNERS,
        "stg_fx_rates": [],
    }
    tables = bench.build(written, staged, ["mart_deal_health"])
    names = [name for name, *_ in tables.query("describe marts.mart_deal_health")]
    found = tables.query("from marts.mart_deal_health")
    return {row["deal_id"]: row for row in (dict(zip(names, values, strict=True)) for values in found)}


@pytest.fixture(scope="module")
def health(waterfall_bench: WaterfallBench) -> Rows:
    return build(waterfall_bench, book([*BROKEN.values(), *PACED.values()]))


def of(rows: Rows, deal_id: str, columns: str) -> tuple[Any, ...]:
    return tuple(rows[deal_id][name] for name in columns.split(", "))


@pytest.mark.parametrize("rule", sorted(BROKEN))
def test_each_rule_finds_the_deal_that_breaks_it_and_no_other(health: Rows, rule: str) -> None:
    broken = BROKEN[rule][0].deal_id
    told = dict(zip(RULES, of(health, broken, ", ".join(RULES)), strict=True))
    assert [name for name, is_broken in told.items() if is_broken] == [rule]
    others = {deal_id for deal_id, row in health.items() if row[rule] and deal_id != broken}
    assert others == ({"dead"} if rule == "is_too_long_in_stage" else set())


def test_there_is_a_deal_for_each_of_the_twenty_rules() -> None:
    assert len(RULES) == 20
    assert set(BROKEN) == set(RULES)


def test_only_open_deals_and_deals_closed_lately_have_a_row(health: Rows) -> None:
    assert set(health) == {record.deal_id for record, _ in [*BROKEN.values(), *PACED.values()]}


@pytest.mark.parametrize(
    ("deal_id", "pace", "worklist"),
    [
        ("fine", "on_pace", "fine"),
        ("edge", "on_pace", "fine"),  # ten days are not more than ten
        ("slow", "slow", "fine"),
        ("stalled", "stalled", "look_at_today"),
        ("late", "on_pace", "look_at_today"),
        ("dead", "dead", "propose_to_close"),
    ],
)
def test_pace_is_measured_by_the_deals_that_later_won(
    health: Rows, deal_id: str, pace: str, worklist: str
) -> None:
    assert of(health, deal_id, "pace, worklist, pace_basis, reference_visits") == (
        pace, worklist, "later_won", 9,
    )  # fmt: skip
    assert of(health, deal_id, "slow_after_days, stalled_after_days, dead_after_days, median_days") == (
        10, 16, 18, 10,
    )  # fmt: skip


def test_a_rule_that_does_not_apply_is_neither_kept_nor_broken(health: Rows) -> None:
    """Of a lost deal five are asked: reason, account, created date, owner, and the order of its dates."""
    columns = "hygiene_score_numerator, hygiene_score_denominator, hygiene_score, worklist, pace"
    assert of(health, "lost0", columns) == (5, 5, 1.0, None, None)
    assert of(health, "reasonless", columns) == (4, 5, 0.8, None, None)
    assert of(health, "lost0", "is_past_due, is_won_in_future, has_no_next_step") == (None, None, None)


def test_what_to_fix_first_is_the_most_severe_and_the_list_is_by_severity_times_amount(
    waterfall_bench: WaterfallBench,
) -> None:
    """3 × 100 for the late one, 2 × 400 without next step, 1 × 250 that went back; the median is 100."""
    messy = {"close_date": date(2025, 5, 1), "next_step": None}
    deals = [
        deal("late", told=messy),
        deal("stepless", told={"next_step": None, "amount": Decimal(400)}),
        deal("back", (3, {"stage": "demo", "pipeline": "new"}), (2, {"stage": "lead", "pipeline": "new"}),
             told={"amount": Decimal(250)}),
        deal("unpriced", told={"amount": None}),
        *(deal(f"fine{n}") for n in range(12)),
    ]  # fmt: skip
    tables = build(waterfall_bench, book(deals))
    names = ("deal_id", "next_best_fix_rule", "fix_severity", "fix_priority")
    listed = sorted(
        (tuple(row[name] for name in names) for row in tables.values() if row["fix_priority"]),
        key=lambda row: row[3],
    )
    assert listed == [
        ("stepless", "has_no_next_step", 2, 1),
        ("late", "is_past_due", 3, 2),
        ("unpriced", "has_no_amount", 3, 3),
        ("back", "has_moved_backward", 1, 4),
    ]
    assert of(tables, "fine0", "next_best_fix, fix_priority, hygiene_score") == (None, None, 1.0)


def test_the_reason_says_it_in_words(health: Rows) -> None:
    assert of(health, "stalled", "reason_text") == (
        "Stalled: 16 days in lead; of 9 visits that later won, half took at most 10 days "
        "and few more than 16.",
    )
    assert of(health, "late", "reason_text") == (
        "On pace: 7 days in lead; of 9 visits that later won, half took at most 10 days. "
        "Close date passed 1 days ago.",
    )
    assert of(health, "gift", "reason_text, next_best_fix") == (
        "To mend: won without an amount.", "Enter the amount: bookings lack this deal.",
    )  # fmt: skip


def test_a_field_that_the_source_never_fills_is_no_fault_of_its_deals(
    waterfall_bench: WaterfallBench,
) -> None:
    """No next steps, activities, accounts, or moves to another open stage: these rules ask nobody."""
    told = {"next_step": None, "last_activity_at": None, "account": None}
    tables = build(waterfall_bench, book([deal(f"d{n}", told=told) for n in range(3)]))
    assert of(tables, "d0", "has_no_next_step, has_no_activity, days_without_activity, has_no_account") == (
        None, None, None, None,
    )  # fmt: skip
    assert of(tables, "d0", "hygiene_score, rules_not_told") == (
        1.0, "has_moved_backward, has_no_account, has_no_activity, has_no_next_step, has_skipped_stage",
    )  # fmt: skip


def test_a_rule_that_hits_more_than_four_in_five_deals_is_a_gap_of_the_data(
    waterfall_bench: WaterfallBench,
) -> None:
    """T55. Five of six open deals are past due; with one fewer, each of them is to be looked at."""
    late = [deal(f"late{n}", told={"close_date": date(2025, 5, 1)}) for n in range(5)]
    gap = build(waterfall_bench, book([*late, deal("fine")]))
    assert of(gap, "late0", "is_past_due, worklist") == (None, "fine")
    assert "is_past_due" in of(gap, "late0", "rules_not_told")[0]
    found = build(waterfall_bench, book([*late[:4], deal("fine")]))
    assert of(found, "late0", "is_past_due, worklist") == (True, "look_at_today")
    assert "is_past_due" not in of(found, "late0", "rules_not_told")[0]


def test_an_open_deal_200_days_in_its_stage_is_dead_and_no_part_of_the_yardstick(
    waterfall_bench: WaterfallBench,
) -> None:
    """T33. Its own stay, a loser's and an import's are not among the nine; nor is a win of a later day."""
    later_win = deal("tomorrow", (0.5, {"stage": "won", "pipeline": "new"}), age=100,
                     told={"close_date": date(2025, 5, 9)})  # fmt: skip
    loser = deal("loser", (1, {"stage": "lost", "pipeline": "new"}), age=90)
    moment = datetime(2025, 4, 1)
    imported = [Change("imported", moment, "won", close_date=date(2025, 4, 1))]
    tables = build(waterfall_bench, book([deal("old", age=200), later_win, loser], *imported))
    assert of(tables, "old", "pace, worklist, reference_visits, dead_after_days, days_in_stage") == (
        "dead", "propose_to_close", 9, 18, 200,
    )  # fmt: skip


def test_with_too_few_winners_all_closed_deals_are_the_yardstick_and_with_too_few_of_them_none_is(
    waterfall_bench: WaterfallBench,
) -> None:
    """Stage demo: four winners of three days each, and a loser of 30; stage quote: nobody ever left it."""
    began = datetime(2024, 7, 1)
    rows: list[Change] = []
    for number in range(5):
        left = began + timedelta(days=30 if number == 4 else 3)
        rows += [
            Change(f"demo{number}", began, "demo"),
            Change(f"demo{number}", left, "lost" if number == 4 else "won"),
        ]
    demo = deal("demo", (3.5, {"stage": "demo", "pipeline": "new"}))
    quote = deal("quote", (3.5, {"stage": "quote", "pipeline": "new"}))
    tables = build(waterfall_bench, book([demo, quote], *rows))
    # ceil(0.5 × 6) = 3rd and ceil(0.75 × 6) = 5th of 3, 3, 3, 3, 30; the sixth does not exist
    columns = "pace, pace_basis, reference_visits, slow_after_days, stalled_after_days, dead_after_days"
    assert of(tables, "demo", columns) == ("slow", "closed_deals", 5, 3, 30, None)
    assert of(tables, "quote", f"{columns}, pace_null_reason, is_too_long_in_stage") == (
        None, None, None, None, None, None, "too_few_finished_visits", None,
    )  # fmt: skip


def looked_back_at(written_later: Book) -> Book:
    """The book as read ten days after its end, with a look back to the day of the tests."""
    records = (replace(record, extracted_at=END + timedelta(days=10)) for record in written_later.records)
    runs = (
        Run(date(2025, 5, 17), END + timedelta(days=11)),
        Run(AS_OF, END + timedelta(days=11), "manual"),
    )
    return replace(written_later, records=tuple(records), runs=runs)


def test_a_day_in_the_past_looks_as_it_did_on_that_day(waterfall_bench: WaterfallBench) -> None:
    """What happens later, also to the yardstick, changes nothing; what has no history becomes unknown."""
    then = [*BROKEN.values(), *PACED.values()]
    on_the_day = build(waterfall_bench, book(then))
    later = [
        Change("slow", END + timedelta(days=1), "won"),
        Change("fine", END + timedelta(days=2), close_date=date(2026, 1, 1), pipeline=None),
        Change("dead", END + timedelta(days=3), "lost"),
        Change("stalled", END + timedelta(days=3), "demo"),
    ]
    assert build(waterfall_bench, book(then, *later)) == on_the_day
    afterwards = {"modified_at": END + timedelta(days=9), "last_activity_at": END + timedelta(days=9)}
    rewritten = [
        (replace(record, next_step="x", **afterwards), rows)
        if record.deal_id in ("quiet", "stepless")
        else (record, rows)
        for record, rows in then
    ]
    tables = build(waterfall_bench, looked_back_at(book(rewritten)))
    assert of(tables, "quiet", "has_no_activity, days_without_activity, has_no_next_step") == (
        None, None, None,
    )  # fmt: skip
    assert of(tables, "stepless", "has_no_next_step") == (None,)
    assert of(tables, "fine", "has_no_next_step, days_without_activity") == (False, 0)


def test_where_most_records_were_written_later_the_untouched_ones_stand_for_nobody(
    waterfall_bench: WaterfallBench,
) -> None:
    """Nine of ten deals were touched since. That the tenth had no next step says nothing of them."""
    touched = {"modified_at": END + timedelta(days=9), "last_activity_at": END + timedelta(days=9)}
    deals = [deal(f"d{n}", told=touched) for n in range(9)]
    deals.append(deal("alone", told={"next_step": None}))
    rows = build(waterfall_bench, looked_back_at(book(deals)))
    columns = "has_no_next_step, has_no_activity, days_without_activity"
    assert of(rows, "alone", columns) == (None, None, None)
    assert of(rows, "d0", columns) == (None, None, None)


def test_deleted_and_merged_deals_have_no_row(waterfall_bench: WaterfallBench) -> None:
    gone, kept = deal("gone"), deal("kept")
    merged = deal("merged")
    deals = [
        (replace(gone[0], deleted_at=END - timedelta(days=1)), gone[1]),
        (replace(merged[0], merged_into="kept", merged_at=END - timedelta(days=1)), merged[1]),
        kept,
    ]
    tables = build(waterfall_bench, book(deals))
    assert set(tables) == {"kept"}
