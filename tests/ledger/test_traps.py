"""Traps of the transition contract that are the ledger's own; every expected value is worked out by hand."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from tests.ledger.book import STAGES, Book, Change, Record, Run, Settings, Stage, stages_in
from tests.ledger.ledger_bench import LedgerBench, LedgerTables

CREATED = datetime(2025, 3, 3, 9)
JUNE = datetime(2025, 6, 1)
END_OF_2025 = (Run(date(2025, 12, 31), datetime(2026, 1, 1, 1)),)


def after(**time: float) -> datetime:
    return CREATED + timedelta(**time)


def as_of(day: date) -> tuple[Run, ...]:
    return (Run(day, datetime(2026, 1, 1, 1)),)


def state_on(tables: LedgerTables, day: str, *columns: str) -> list[tuple]:
    where = f"valid_from_date <= '{day}' and (valid_to_date is null or valid_to_date > '{day}')"
    return tables.rows("fct_deal_versions", *columns, where=where, order="source_relation, deal_id")


# -- stages that change --


def test_t17_a_renamed_stage_makes_no_transition_and_history_reports_by_id(bench: LedgerBench) -> None:
    stages = (
        Stage("s1", 1, name="Lead"),
        Stage("s2", 2, name="Offer"),
        Stage("s1", 1, name="First contact", valid_from=JUNE),
    )
    changes = (Change("1", CREATED, "s1"), Change("1", JUNE + timedelta(days=30), "s2"))
    tables = bench.build(
        Book(stages, (Record("1", CREATED),), changes), ["fct_stage_transitions", "dim_stage_history"]
    )
    told = tables.rows(
        "fct_stage_transitions", "from_stage", "to_stage_id", "to_stage", order="transition_number"
    )
    assert told == [("(none)", "s1", "First contact"), ("First contact", "s2", "Offer")]
    history = tables.rows(
        "dim_stage_history", "stage", "valid_to_at", where="stage_id = 's1'", order="valid_from_at"
    )
    assert history == [("Lead", JUNE), ("First contact", None)]


def test_t18_re_ordered_stages_leave_past_ranks_and_directions_alone(bench: LedgerBench) -> None:
    order_before = (Stage("a", 1), Stage("b", 2), Stage("c", 3), Stage("won", 4, "won"))
    order_since_june = (Stage("b", 1, valid_from=JUNE), Stage("a", 2, valid_from=JUNE))
    changes = tuple(
        Change(deal, at, stage)
        for deal, first in (("may", datetime(2025, 5, 1)), ("june", datetime(2025, 6, 10)))
        for at, stage in ((first, "a"), (first + timedelta(days=3), "b"))
    )
    records = (Record("may", datetime(2025, 5, 1)), Record("june", datetime(2025, 6, 10)))
    book = Book(order_before + order_since_june, records, changes)
    columns = ("deal_id", "transition_type", "from_rank", "to_rank", "rank_today")
    where = "transition_number = 2"
    told = bench.build(book).rows("fct_stage_transitions", *columns, where=where)
    assert told == [("june", "backward", 2, 1, 1), ("may", "forward", 1, 2, 1)]
    never = bench.build(replace(book, stages=order_before)).rows(
        "fct_stage_transitions", *columns, where=where
    )
    assert never == [("june", "forward", 1, 2, 2), ("may", "forward", 1, 2, 2)]


def test_a_stage_between_counts_as_skipped_only_while_it_existed(bench: LedgerBench) -> None:
    stages = (Stage("a", 1), Stage("c", 3), Stage("b", 2, valid_from=JUNE))
    changes = tuple(
        Change(deal, at, stage)
        for deal, first in (("may", datetime(2025, 5, 1)), ("june", datetime(2025, 6, 10)))
        for at, stage in ((first, "a"), (first + timedelta(days=3), "c"))
    )
    records = (Record("may", datetime(2025, 5, 1)), Record("june", datetime(2025, 6, 10)))
    told = bench.build(Book(stages, records, changes)).rows(
        "fct_stage_transitions", "deal_id", "transition_type", "stages_skipped", where="transition_number = 2"
    )
    assert told == [("june", "skip", 1), ("may", "forward", 0)]


def test_t19_many_deals_moved_by_one_actor_within_a_clock_minute_are_a_bulk_change(
    bench: LedgerBench,
) -> None:
    """Three deals suffice. A fourth comes a second too late, one actor is unknown, one moves one deal."""
    minute = datetime(2025, 4, 1, 10)

    def moved(
        deal: str, second: int, who: str | None, stage: str = "opp", flag: bool | None = None
    ) -> Change:
        return Change(deal, minute + timedelta(seconds=second), stage, changed_by=who, is_bulk=flag)

    changes = (
        *(moved(deal, second, "admin") for deal, second in (("a1", 0), ("a2", 30), ("a3", 59), ("a4", 60))),
        *(moved(deal, 5, None) for deal in ("u1", "u2", "u3")),
        *(moved("r1", second, "rep", stage) for second, stage in ((1, "opp"), (2, "quote"), (3, "nego"))),
        *(moved(deal, 7, "pair") for deal in ("p1", "p2")),
        moved("f1", 9, "rep", flag=True),
    )
    tables = bench.build(Book(STAGES, (), changes, settings=Settings(bulk_deals=3)))
    bulk = tables.rows("fct_stage_transitions", "deal_id", where="is_bulk_change")
    assert bulk == [("a1",), ("a2",), ("a3",), ("f1",)]
    assert tables.rows("int_stage_visits", "count(*)", where="is_bulk_entry") == [(4,)]


# -- deals that go --


def test_t21_after_a_merge_the_amount_counts_once_and_the_histories_stay_apart(bench: LedgerBench) -> None:
    merged_at = datetime(2025, 4, 10, 12)
    changes = (
        Change("kept", CREATED, "lead", amount=Decimal(100)),
        Change("gone", after(days=1), "opp", amount=Decimal(50)),
        Change("kept", merged_at, pipeline=None, amount=Decimal(150)),
    )
    records = (
        Record("kept", CREATED),
        Record("gone", after(days=1), merged_into="kept", merged_at=merged_at),
    )
    tables = bench.build(
        Book(STAGES, records, changes), ["fct_deal_versions", "fct_deals", "fct_stage_transitions"]
    )
    columns = ("deal_id", "amount_native", "is_deleted", "merged_into_deal_id")
    assert state_on(tables, "2025-04-09", *columns) == [
        ("gone", Decimal(50), False, None),
        ("kept", Decimal(100), False, None),
    ]
    assert state_on(tables, "2025-04-10", *columns) == [
        ("gone", Decimal(50), True, "kept"),
        ("kept", Decimal(150), False, None),
    ]
    assert tables.rows("fct_deals", "deal_id", "amount_native") == [("kept", Decimal(150))]
    told = tables.rows("fct_stage_transitions", "deal_id", "to_stage_id", "is_current")
    assert told == [("gone", "opp", True), ("kept", "lead", True)]


def test_t20_a_deleted_deal_stays_and_is_deleted_from_its_day_on(bench: LedgerBench) -> None:
    changes = (Change("1", CREATED, "lead", amount=Decimal(100)),)
    records = (Record("1", CREATED, deleted_at=datetime(2025, 4, 10, 12)),)
    book = Book(STAGES, records, changes, as_of(date(2025, 4, 9)))
    tables = bench.build(book, ["fct_deal_versions", "fct_deals"])
    columns = ("stage_id", "amount_native", "is_deleted", "deleted_reason")
    assert state_on(tables, "2025-04-09", *columns) == [("lead", Decimal(100), False, None)]
    assert state_on(tables, "2025-04-10", *columns) == [("lead", Decimal(100), True, "deleted")]
    assert tables.one("fct_deals", "is_deleted") is False
    later = bench.build(replace(book, runs=as_of(date(2025, 4, 10))), ["fct_deals"])
    assert later.one("fct_deals", "is_deleted") is True


# -- values at the time --


def test_t22_a_transition_carries_the_owner_of_then_and_credit_goes_to_the_owner_at_the_closing(
    bench: LedgerBench,
) -> None:
    changes = (
        Change("1", CREATED, "lead", owner="ann"),
        Change("1", after(days=10), pipeline=None, owner="bob"),
        Change("1", after(days=20), "won"),
        Change("1", after(days=30), pipeline=None, owner="cas"),
    )
    tables = bench.build(
        Book(STAGES, (Record("1", CREATED, "won", owner="cas"),), changes),
        ["fct_stage_transitions", "fct_deals", "dim_owner", "fct_deal_versions"],
    )
    assert tables.rows("fct_stage_transitions", "to_stage_id", "owner_id", order="transition_number") == [
        ("lead", "ann"),
        ("won", "bob"),
    ]
    assert [state_on(tables, day, "owner_id") for day in ("2025-03-12", "2025-03-13")] == [
        [("ann",)],
        [("bob",)],
    ]
    told = tables.query(
        "select deals.owner_id, credit.owner_id from ledger.fct_deals as deals "
        "join ledger.dim_owner as credit on deals.credit_owner_key = credit.owner_key"
    )
    assert told == [("cas", "bob")]


def test_t23_and_t24_the_currency_of_a_deal_is_edited_and_a_missing_rate_is_never_one(
    build_landed,
) -> None:
    rates = (
        {"currency": "USD", "rate_date": date(2025, 3, 1), "rate": 0.9, "file": "rates.csv"},
        {"currency": "USD", "rate_date": date(2025, 4, 1), "rate": 0.8, "file": "rates.csv"},
    )
    changes = (
        Change("1", CREATED, "lead", amount=Decimal(100), currency="EUR"),
        Change("1", datetime(2025, 3, 20), pipeline=None, currency="USD"),
        Change("1", datetime(2025, 4, 2), "opp"),
        Change("2", CREATED, "lead", amount=Decimal(100), currency="CHF"),
    )
    records = (Record("1", CREATED), Record("2", CREATED))
    tables = build_landed(Book(STAGES, records, changes, facts=(("fx_rates", rates),)))
    columns = ("deal_id", "amount_native", "currency", "amount_base")
    assert tables.rows("fct_deal_versions", *columns, order="deal_id, version_number") == [
        ("1", Decimal(100), "EUR", Decimal(100)),
        ("1", Decimal(100), "USD", Decimal(90)),
        ("1", Decimal(100), "USD", Decimal(80)),
        ("2", Decimal(100), "CHF", None),
    ]
    flags = ("deal_id", "amount_base", "is_amount_missing", "is_rate_missing")
    assert tables.rows("fct_deals", *flags) == [("1", Decimal(80), False, False), ("2", None, False, True)]


def test_t35_no_amount_zero_and_less_than_zero_are_three_things(bench: LedgerBench) -> None:
    changes = tuple(
        Change(deal, CREATED, "lead", amount=amount)
        for deal, amount in (("1", None), ("2", Decimal(0)), ("3", Decimal(-5)))
    )
    tables = bench.build(Book(STAGES, (), changes), ["fct_deals"])
    assert tables.rows("fct_deals", "deal_id", "amount_base", "is_amount_missing") == [
        ("1", None, True),
        ("2", Decimal(0), False),
        ("3", Decimal(-5), False),
    ]


def test_pushes_count_moves_of_the_close_date_to_a_later_day_while_the_deal_is_open(
    bench: LedgerBench,
) -> None:
    days = (date(2025, 4, 30), date(2025, 5, 31), date(2025, 5, 15), date(2025, 6, 30))
    changes = (
        Change("1", CREATED, "lead", close_date=days[0]),
        *(
            Change("1", after(days=number), pipeline=None, close_date=day)
            for number, day in enumerate(days[1:], 1)
        ),
        Change("1", after(days=10), "won"),
        Change("1", after(days=11), pipeline=None, close_date=date(2025, 7, 31)),
    )
    tables = bench.build(
        Book(STAGES, (Record("1", CREATED),), changes), ["fct_stage_transitions", "fct_deals"]
    )
    told = tables.rows("fct_stage_transitions", "to_stage_id", "push_count_so_far", order="transition_number")
    assert told == [("lead", 0), ("won", 2)]
    assert tables.one("fct_deals", "push_count") == 2


def test_a_reported_old_value_that_differs_is_kept_and_nothing_is_invented(bench: LedgerBench) -> None:
    changes = (Change("1", CREATED, "lead"), Change("1", after(days=1), "quote", "opp", from_pipeline="new"))
    told = bench.build(Book(STAGES, (Record("1", CREATED),), changes)).rows(
        "fct_stage_transitions",
        "from_stage_id",
        "reported_from_stage_id",
        "has_gap",
        order="transition_number",
    )
    assert told == [(None, None, False), ("lead", "opp", True)]


# -- visits, outcomes and dates of a deal --


def test_t15_metrics_read_one_visit_where_a_mis_drag_parted_it(bench: LedgerBench) -> None:
    changes = (
        Change("1", CREATED, "opp"),
        Change("1", after(days=1), "lost"),
        Change("1", after(days=1, seconds=36), "opp"),
        Change("1", after(days=4), "quote"),
        Change("1", after(days=5), "won"),
        Change("1", after(days=5, seconds=60), "quote"),
    )
    tables = bench.build(Book(STAGES, (Record("1", CREATED),), changes))
    assert tables.rows("fct_stage_transitions", "is_transient", order="transition_number") == [
        (False,),
        (True,),
        (True,),
        (False,),
        (False,),
        (False,),
    ]
    columns = ("stage_id", "entered_at", '"days"', "entry_type", "exit_type", "visit_number")
    assert tables.rows("int_stage_visits", *columns, order="visit_seq") == [
        ("opp", CREATED, 4.0, "entry", "forward", 1),
        ("quote", after(days=4), 1.0, "forward", "won", 1),
        ("won", after(days=5), 60 / 86400, "won", "reopen", 1),
        ("quote", after(days=5, seconds=60), None, "reopen", None, 2),
    ]


def test_t08_and_t09_reopened_and_corrected_outcomes(bench: LedgerBench) -> None:
    """Lost, reopened, won: closed with the win. Won, corrected to lost: closed with the correction."""
    changes = (
        Change("back", CREATED, "opp"),
        Change("back", after(days=10), "lost"),
        Change("back", after(days=20), "quote"),
        Change("back", after(days=30), "won"),
        Change("wrong", CREATED, "opp"),
        Change("wrong", after(days=10), "won"),
        Change("wrong", after(days=12), "lost"),
    )
    records = (Record("back", CREATED), Record("wrong", CREATED))
    tables = bench.build(Book(STAGES, records, changes), ["fct_deals"])
    columns = ("deal_id", "status", "closed_on", "won_on", "lost_on", "sales_cycle_days", "stage_lost_at")
    assert tables.rows("fct_deals", *columns) == [
        ("back", "won", date(2025, 4, 2), date(2025, 4, 2), None, 30, None),
        ("wrong", "lost", date(2025, 3, 15), None, date(2025, 3, 15), None, "opp"),
    ]


def test_a_move_between_closed_stages_of_one_outcome_is_no_second_closing(bench: LedgerBench) -> None:
    stages = (*stages_in("new", "lead"), Stage("paid", 9, "won"))
    changes = (
        Change("1", CREATED, "lead"),
        Change("1", after(days=5), "won"),
        Change("1", after(days=40), "paid"),
    )
    tables = bench.build(
        Book(stages, (Record("1", CREATED),), changes), ["fct_stage_transitions", "fct_deals"]
    )
    assert (
        tables.one("fct_stage_transitions", "transition_type", where="to_stage_id = 'paid'") == "closed_move"
    )
    assert tables.one("fct_deals", "stage_id", "closed_on", "sales_cycle_days") == (
        "paid",
        date(2025, 3, 8),
        5,
    )


def test_t14_a_deal_imported_as_won_has_no_cycle_but_is_a_booking(bench: LedgerBench) -> None:
    changes = (Change("1", CREATED, "won", amount=Decimal(10)),)
    tables = bench.build(Book(STAGES, (Record("1", CREATED),), changes), ["fct_deals"])
    told = tables.one("fct_deals", "is_import", "sales_cycle_days", "won_on", "amount_base")
    assert told == (True, None, date(2025, 3, 3), Decimal(10))


def test_t37_a_deal_created_on_1_january_and_closed_on_2_march_took_60_days(bench: LedgerBench) -> None:
    changes = (Change("1", datetime(2025, 1, 1, 23), "lead"), Change("1", datetime(2025, 3, 2, 1), "won"))
    tables = bench.build(Book(STAGES, (Record("1", datetime(2025, 1, 1, 23)),), changes), ["fct_deals"])
    assert tables.one("fct_deals", "sales_cycle_days") == 60


def test_t39_the_close_date_and_the_closing_are_both_kept_and_the_setting_chooses(bench: LedgerBench) -> None:
    changes = (
        Change("1", CREATED, "lead", close_date=date(2025, 2, 28)),
        Change("1", datetime(2025, 3, 5, 12), "won"),
        Change("2", CREATED, "lead", close_date=date(2026, 2, 1)),
        Change("2", datetime(2025, 3, 6, 12), "won"),
    )
    book = Book(STAGES, (Record("1", CREATED), Record("2", CREATED)), changes, END_OF_2025)
    columns = ("close_date", "closed_on", "won_on")
    assert bench.build(book, ["fct_deals"]).rows("fct_deals", *columns, order="deal_id") == [
        (date(2025, 2, 28), date(2025, 3, 5), date(2025, 2, 28)),
        (date(2026, 2, 1), date(2025, 3, 6), date(2026, 2, 1)),
    ]
    by_event = replace(book, settings=Settings(dates_won="event"))
    assert bench.build(by_event, ["fct_deals"]).rows("fct_deals", *columns, order="deal_id") == [
        (date(2025, 2, 28), date(2025, 3, 5), date(2025, 3, 5)),
        (date(2026, 2, 1), date(2025, 3, 6), date(2025, 3, 6)),
    ]


def test_t33_a_deal_200_days_in_its_stage_is_censored(bench: LedgerBench) -> None:
    changes = (Change("1", CREATED, "lead"), Change("2", CREATED, "lead"), Change("2", after(days=1), "won"))
    book = Book(STAGES, (Record("1", CREATED),), changes, as_of(date(2025, 3, 3) + timedelta(days=200)))
    tables = bench.build(book, ["fct_stage_transitions", "fct_deals"])
    assert tables.rows("fct_stage_transitions", "deal_id", "to_stage_id", where="is_censored") == [
        ("1", "lead")
    ]
    assert tables.one("fct_deals", "days_in_stage", "deal_age_days", where="deal_id = '1'") == (200, 200)


def test_t42_the_same_deal_id_in_two_portals_is_two_deals_with_stages_of_their_own(
    bench: LedgerBench,
) -> None:
    stages = (Stage("x", 1), Stage("y", 2), Stage("y", 1, source="asia"), Stage("x", 2, source="asia"))
    changes = tuple(
        Change("7", at, stage, source=source)
        for source in ("crm", "asia")
        for at, stage in ((CREATED, "x"), (after(days=1), "y"))
    )
    records = (Record("7", CREATED), Record("7", CREATED, source="asia"))
    tables = bench.build(Book(stages, records, changes), ["fct_stage_transitions", "fct_deals"])
    told = tables.rows(
        "fct_stage_transitions", "source_relation", "transition_type", where="transition_number = 2"
    )
    assert told == [("asia", "backward"), ("crm", "forward")]
    assert len(set(tables.rows("fct_deals", "deal_key"))) == 2
    assert len(set(tables.rows("fct_stage_transitions", "transition_id"))) == 4


def test_t47_lines_and_their_residual_add_up_to_the_amount_of_the_deal(build_landed) -> None:
    lines = (
        {"line_item_id": "a", "deal_id": "1", "product": "P1", "amount": Decimal(30)},
        {"line_item_id": "b", "deal_id": "1", "product": "P2", "quantity": 2, "unit_price": Decimal(25)},
    )
    changes = (
        Change("1", CREATED, "lead", amount=Decimal(100)),
        Change("2", CREATED, "lead", amount=Decimal(7)),
    )
    records = (Record("1", CREATED), Record("2", CREATED, product="P1"))
    tables = build_landed(Book(STAGES, records, changes, facts=(("line_items", lines),)))
    told = tables.query(
        "select deals.deal_id, products.product, lines.amount_base, lines.is_residual "
        "from ledger.fct_line_items as lines join ledger.fct_deals as deals using (deal_key) "
        "join ledger.dim_product as products on lines.product_key = products.product_key order by all"
    )
    assert told == [
        ("1", "(none)", Decimal(20), True),
        ("1", "P1", Decimal(30), False),
        ("1", "P2", Decimal(50), False),
        ("2", "P1", Decimal(7), True),
    ]
