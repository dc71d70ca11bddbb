"""Who gets which share of a deal: splits, what they leave to the owner, and credit that comes on top."""

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.ledger.book import STAGES, Book, Change, Record
from tests.ledger.ledger_bench import LedgerTables

CREATED = datetime(2025, 3, 3, 9)
Build = Callable[[Book], LedgerTables]


def split(deal: str, owner: str, share: str | None = None, **more: Any) -> dict[str, Any]:
    return {"deal_id": deal, "owner": owner, "share": None if share is None else Decimal(share), **more}


def shares(build_landed: Build, *splits: dict[str, Any], **deal: Any) -> list[tuple[Any, ...]]:
    """Owner, share and residual of one deal, whose owner is Ann unless told."""
    told = {"amount": Decimal(200), "owner": "ann", **deal}
    records = (Record("1", CREATED, stage="lead", **told),)
    changes = (Change("1", CREATED, "lead", amount=told["amount"], owner=told["owner"]),)
    tables = build_landed(Book(STAGES, records, changes, facts=(("deal_splits", splits),)))
    assert tables.query("select sum(share) from ledger.bridge_deal_owner") == [(Decimal(1),)]
    return tables.query(
        "select owners.owner_id, bridge.share, bridge.residual_share, bridge.is_split "
        "from ledger.bridge_deal_owner as bridge join ledger.dim_owner as owners using (owner_key) "
        "join ledger.fct_deals using (deal_key) order by all"
    )


def test_a_deal_without_splits_is_its_owners(build_landed: Build) -> None:
    assert shares(build_landed) == [("ann", 1, 1, False)]


def test_a_deal_that_nobody_owns_is_nobodys(build_landed: Build) -> None:
    assert shares(build_landed, owner=None) == [("(none)", 1, 1, False)]


def test_splits_that_add_up_leave_nothing(build_landed: Build) -> None:
    found = shares(build_landed, split("1", "ann", "0.6"), split("1", "ben", "0.4"))
    assert found == [("ann", Decimal("0.6"), 0, True), ("ben", Decimal("0.4"), 0, True)]


def test_thirds_add_up_to_one(build_landed: Build) -> None:
    third = "0.33333333"
    found = shares(build_landed, *(split("1", owner, third) for owner in ("ann", "ben", "cem")))
    assert [share for _, share, _, _ in found] == [Decimal("0.33333334"), Decimal(third), Decimal(third)]


def test_what_splits_leave_is_the_owners(build_landed: Build) -> None:
    found = shares(build_landed, split("1", "ben", "0.3"))
    assert found == [("ann", Decimal("0.7"), Decimal("0.7"), False), ("ben", Decimal("0.3"), 0, True)]


def test_what_splits_tell_too_much_is_taken_from_the_owner(build_landed: Build) -> None:
    found = shares(build_landed, split("1", "ann", "0.8"), split("1", "ben", "0.4"))
    assert found == [("ann", Decimal("0.6"), Decimal("-0.2"), True), ("ben", Decimal("0.4"), 0, True)]


def test_several_splits_of_one_owner_are_one_row(build_landed: Build) -> None:
    found = shares(build_landed, *(split("1", "ben", "0.5", split_id=number) for number in ("a", "b")))
    assert found == [("ben", 1, 0, True)]


def test_overlay_credit_comes_on_top_and_is_kept_apart(build_landed: Build) -> None:
    assert shares(build_landed, split("1", "ben", "1", split_type="Overlay")) == [("ann", 1, 1, False)]


def test_a_split_of_an_amount_is_its_share_of_the_deals(build_landed: Build) -> None:
    found = shares(build_landed, split("1", "ben", amount=Decimal(50)))
    assert found == [
        ("ann", Decimal("0.75"), Decimal("0.75"), False),
        ("ben", Decimal("0.25"), 0, True),
    ]
    # Of a deal without an amount nothing can be said.
    assert shares(build_landed, split("1", "ben", amount=Decimal(50)), amount=None) == [("ann", 1, 1, False)]


def test_an_owner_is_found_by_name_and_one_that_only_a_split_names_is_a_member(build_landed: Build) -> None:
    owners = ({"owner_id": "7", "name": "Ben Hur", "team": "North"},)
    splits = (split("1", "ben hur", "0.5"), split("1", "zoe", "0.5"))
    record = Record("1", CREATED, stage="lead", owner="ann")
    facts = (("deal_splits", splits), ("owners", owners))
    tables = build_landed(Book(STAGES, (record,), (Change("1", CREATED, "lead", owner="ann"),), facts=facts))
    assert tables.query(
        "select owners.owner_id, owners.team, owners.is_only_in_deals, bridge.share "
        "from ledger.bridge_deal_owner as bridge join ledger.dim_owner as owners using (owner_key) "
        "order by all"
    ) == [("7", "North", False, Decimal("0.5")), ("zoe", "(none)", True, Decimal("0.5"))]


def test_a_closed_deal_without_splits_is_the_owners_at_its_close(build_landed: Build) -> None:
    changes = (
        Change("1", CREATED, "lead", owner="ann"),
        Change("1", datetime(2025, 4, 1, 9), "won", owner="ann"),
        Change("1", datetime(2025, 6, 1, 9), "won", owner="ben"),
    )
    record = Record("1", CREATED, stage="won", owner="ben", close_date=date(2025, 4, 1))
    tables = build_landed(Book(STAGES, (record,), changes))
    assert tables.query(
        "select owner_id, share from ledger.bridge_deal_owner join ledger.dim_owner using (owner_key)"
    ) == [("ann", 1)]


@pytest.mark.parametrize("word", ["overlay", "Opportunity Overlay"])
def test_the_kind_of_a_split_is_told_in_two_words(build_landed: Build, word: str) -> None:
    splits = (split("1", "ben", "0.5", split_type=word), split("1", "ann", "0.5", split_type="Revenue"))
    tables = build_landed(Book(STAGES, facts=(("deal_splits", splits),)))
    assert tables.rows("staging.stg_deal_splits", "owner_id", "split_type") == [
        ("ann", "revenue"),
        ("ben", "overlay"),
    ]
