"""What was known of owners and when: one row for each span in which nothing about an owner changed."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.ledger.book import FIRST_EXTRACTION, STAGES, Book, Change, Record
from tests.ledger.ledger_bench import LedgerTables

ALWAYS = datetime(1900, 1, 1)
SECOND = datetime(2026, 2, 1, 3)
THIRD = datetime(2026, 3, 1, 3)
FOURTH = datetime(2026, 4, 1, 3)


def ann(extracted_at: datetime, team: str, **more: Any) -> dict[str, Any]:
    return {"owner_id": "ann", "name": "Ann", "team": team, "extracted_at": extracted_at, **more}


def test_an_owner_has_a_row_for_each_change_and_none_for_a_read_that_tells_nothing_new(
    build_landed: Callable[[Book], LedgerTables],
) -> None:
    created = datetime(2026, 1, 5, 9)
    owners = (
        ann(FIRST_EXTRACTION, "North"),
        ann(SECOND, "North"),
        ann(THIRD, "South", manager="Mia"),
        ann(FOURTH, "North", is_active=False),
        {"owner_id": "ben", "name": "Ben", "ended_on": "2020-01-15"},
    )
    teams = ({"source": "business", "team": "North", "manager": "Noa", "region": "Up"},)
    record = Record("1", created, stage="lead", owner="zoe")
    change = Change("1", created, "lead", owner="zoe")
    tables = build_landed(Book(STAGES, (record,), (change,), facts=(("owners", owners), ("teams", teams))))

    told = ("valid_from_at", "valid_to_at", "owner", "team", "manager", "region", "is_active", "is_newest")
    assert tables.rows("dim_owner_history", *told, where="owner_id <> '(none)'", order="owner, 1") == [
        (ALWAYS, THIRD, "Ann", "North", "Noa", "Up", True, False),
        (THIRD, FOURTH, "Ann", "South", "Mia", None, True, False),
        (FOURTH, None, "Ann", "North", "Noa", "Up", False, True),
        (ALWAYS, None, "Ben", "(none)", None, None, False, True),
        # only a deal names her
        (ALWAYS, None, "zoe", "(none)", None, None, True, True),
    ]
    today = ("owner_key", "owner", "team_key", "team", "manager", "region", "is_active", "ended_on")
    assert tables.rows("dim_owner_history", *today, where="is_newest") == tables.rows("dim_owner", *today)
