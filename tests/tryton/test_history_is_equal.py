"""Our ledger over a real Tryton, against SQL over Tryton's own history table: exactly equal."""

from collections import Counter
from datetime import datetime
from decimal import Decimal

from tests.tryton.conftest import AS_OF, Months
from tests.tryton.independent import (
    CONVERSION_COHORT,
    CONVERSION_NEXT,
    CYCLES,
    LIVING,
    TRANSITIONS,
)
from tests.tryton.landed import rows

END = "timestamp '2025-05-16 22:00:00'"
BY_AS_OF = f"business_date <= date '{AS_OF}'"
FIELDS = ("state", "amount", "employee", "end_date", "conversion_probability")
CONVERSIONS = """
select period, stage_id, conversion_numerator, conversion_denominator
from marts.mart_stage_conversion
where metric = ? and variant = 'any' and horizon = ?
  and segment_type = 'total' and period_type in ('all', 'month')
order by all
"""


def test_the_months_have_every_kind_of_move(months: Months) -> None:
    kinds = Counter(row[4] for row in months.truth.answer(TRANSITIONS, AS_OF))
    wanted = {"entry", "forward", "backward", "won", "lost", "closed_other", "reopen"}
    assert wanted <= kinds.keys()
    assert months.truth.answer("select count(*) > 0 from deletions") == [(True,)]
    ((moves, visits),) = months.truth.answer(
        "select (select count(*) from moves), (select count(*) from visits)"
    )
    assert visits < moves, "no mis-drag among the moves"


def test_every_transition_is_tryton_s_to_the_microsecond(months: Months) -> None:
    columns = (
        "deal_id", "transitioned_at", "from_stage_id", "to_stage_id", "transition_type", "amount_native",
        "close_date", "owner_id", "changed_by",
    )  # fmt: skip
    ours = months.tables.rows("fct_stage_transitions", *columns, where=BY_AS_OF)
    theirs = months.truth.answer(TRANSITIONS, AS_OF)
    assert len(theirs) > 200
    assert sorted(map(str, ours)) == sorted(map(str, theirs))
    told = months.tables.rows("fct_stage_transitions", "distinct change_source, time_precision, is_inferred")
    assert told == [("history", "event", False)]


def test_sales_cycles_are_equal(months: Months) -> None:
    ours = months.tables.rows("fct_deals", "deal_id", "sales_cycle_days", where="status = 'won'")
    theirs = months.truth.answer(CYCLES, AS_OF)
    assert len(theirs) > 10
    assert sorted(ours) == sorted(theirs)


def test_stage_conversion_is_equal(months: Months) -> None:
    ours = months.tables.query(CONVERSIONS, ["stage_conversion_next", "none"])
    assert ours == months.truth.answer(CONVERSION_NEXT, AS_OF)
    assert len(ours) > 10


def test_stage_conversion_of_cohorts_is_equal(months: Months) -> None:
    ours = months.tables.query(CONVERSIONS, ["stage_conversion_cohort", "to_date"])
    assert ours == months.truth.answer(CONVERSION_COHORT, AS_OF)
    assert len(ours) > 10


def test_each_version_is_landed_once_with_its_user_and_values(months: Months) -> None:
    landed = [
        (
            str(row["payload"]["deal"]),
            row["modified_at"],
            row["payload"]["user"],
            values["state"],
            Decimal(values["amount"]["decimal"]) if values["amount"] else None,
            values["employee"],
            _day(values["end_date"]),
            values["conversion_probability"],
        )
        for row in rows(months.landing, "stage_history")
        if (values := row["payload"]["values"] or dict.fromkeys(FIELDS))
    ]
    theirs = months.truth.answer(
        """
        select
          deal_id, changed_at, users.name, state, cast(amount as decimal(20, 2)), cast(employee as int),
          cast(end_date as date), cast(conversion_probability as double)
        from versions join users on versions.user_id = users.id
        where deal_id in (select deal_id from versions where changed_at < ?)
        """.replace("?", END)
    )
    assert Counter(landed) == Counter(theirs)


def _day(value: dict[str, int] | None) -> object:
    return datetime(value["year"], value["month"], value["day"]).date() if value else None


def test_the_last_stage_of_the_history_is_the_current_one_for_every_deal(months: Months) -> None:
    current = {deal: state for deal, state in months.truth.answer(LIVING, AS_OF) if state}
    ours = months.tables.rows("fct_deals", "deal_id", "stage_id", where="not is_deleted")
    assert dict(ours) == current
    versions = months.tables.rows(
        "fct_stage_transitions", "deal_id", "max_by(to_stage_id, transition_number)",
        where=BY_AS_OF + " group by deal_id",
    )  # fmt: skip
    assert current.items() <= dict(versions).items()


def test_deleted_deals_are_marked_at_their_instant_and_keep_what_was_known(months: Months) -> None:
    deleted = months.truth.answer(
        f"select deal_id, changed_at from deletions where changed_at < {END} order by all"
    )
    assert deleted
    landed = {
        (row["record_id"], row["modified_at"]) for row in rows(months.landing, "deals") if row["is_deleted"]
    }
    assert landed == set(deleted)
    ours = months.tables.rows("fct_deals", "deal_id", "stage_id", "created_on", where="is_deleted")
    assert [row[0] for row in ours] == sorted(deal for deal, _ in deleted)
    assert all(stage == "cancelled" and created for _, stage, created in ours)


def test_people_customers_and_products_have_their_names(months: Months) -> None:
    owners = months.tables.rows("dim_owner", "owner", "manager", where="source_relation = 'erp'")
    boss = "Ada Moreno"
    assert sorted(owners, key=str) == [
        (boss, None), ("Bo Lindqvist", boss), ("Chiara Okafor", boss), ("Dev Patel", boss)
    ]  # fmt: skip
    accounts = months.tables.rows("dim_account", "account", "country", where="source_relation = 'erp'")
    assert ("Acme Möbel", "Netherlands") in accounts and ("Cobalt 三", "Netherlands") in accounts
    products = months.tables.rows(
        "dim_product", "product", "family", "list_price", where="source_relation = 'erp'"
    )
    assert ("Premium", "Catalogue", Decimal("1480.500")) in products


def test_lines_are_those_that_are_there(months: Months) -> None:
    ours = months.tables.rows("staging.stg_line_items", "line_item_id", "deal_id", "product_id", "quantity")
    theirs = months.office.rows("select id, opportunity, product, quantity from sale_opportunity_line")
    wanted = {
        (str(line["id"]), str(line["opportunity"]), str(line["product"]), Decimal(str(line["quantity"])))
        for line in theirs
    }
    assert set(ours) == wanted and len(ours) == len(theirs)
