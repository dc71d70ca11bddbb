"""What moved the forecast of each segment: two days of four deals, every sum worked out by hand."""

from datetime import date
from pathlib import Path

import pytest

from dagster_project.forecast.reviewer import review_forecasts
from dagster_project.warehouse import Warehouse
from tests.stored_forecasts import booking, scored, store_bookings, store_deals
from tests.synthetic_ledger import Deal, Move, Owner, ledger_tables, write_ledger

MONDAY, TUESDAY = date(2025, 5, 12), date(2025, 5, 13)
JANUARY = date(2025, 1, 15)

# Ann (team north) wins a1 for 1,000, expected at 400, and Cem (south) looks after it from then on.
# Bob (north) loses a2, expected at 50. Ann's a3, of 100, goes to Cem, and time has taken 10.
# Dora (south) opens a4, worth 30: gold has 0.7 of it.
DEALS = [
    Deal(
        "a1",
        (
            Move(JANUARY, "proposal"),
            Move(TUESDAY, "won", "won", 1000.0, TUESDAY),
            Move(TUESDAY, "won", "won", 1000.0, TUESDAY, owner="cem"),
        ),
    ),
    Deal("a2", (Move(JANUARY, "proposal", owner="bob"), Move(TUESDAY, "lost", "lost", owner="bob"))),
    Deal("a3", (Move(JANUARY, "proposal"), Move(TUESDAY, "proposal", owner="cem"))),
    Deal("a4", (Move(TUESDAY, "proposal", owner="dora"),), products=(("gold", 0.7), ("silver", 0.3))),
]
OWNERS = [Owner("cem", "south"), Owner("dora", "south")]

# Won, open and new. Of the new part Ann has all on Monday, Cem on Tuesday.
PARTS = {
    MONDAY: {"owner": {"ann": (0, 500, 20), "bob": (0, 50, 0)}, "team": {"north": (0, 550, 20)}},
    TUESDAY: {
        "owner": {"ann": (1000, 0, 0), "cem": (0, 90, 24), "dora": (0, 30, 0)},
        "team": {"north": (1000, 0, 0), "south": (0, 120, 24)},
    },
}
WHOLE = {MONDAY: (0, 550, 20), TUESDAY: (1000, 120, 24)}
PRODUCTS = {
    MONDAY: {"(none)": WHOLE[MONDAY]},
    TUESDAY: {"(none)": (1000, 90, 24), "gold": (0, 21, 0), "silver": (0, 9, 0)},
}


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    ledger = write_ledger(tmp_path / "warehouse.duckdb", ledger_tables(DEALS, TUESDAY), owners=OWNERS)
    rows = []
    for day, whole in WHOLE.items():
        rows.append(booking(day, "2025Q2", 0, *whole))
        for kind, segments in {**PARTS[day], "product": PRODUCTS[day]}.items():
            rows += [
                booking(day, "2025Q2", 0, *parts, segment_type=kind, segment=name)
                for name, parts in segments.items()
            ]
    store_bookings(ledger, rows)
    store_deals(
        ledger,
        [
            scored(MONDAY, "a1", 400),
            scored(MONDAY, "a2", 50),
            scored(MONDAY, "a3", 100),
            scored(TUESDAY, "a3", 90),
            scored(TUESDAY, "a4", 30),
        ],
    )
    review_forecasts(ledger, [TUESDAY])
    return ledger


def changes(warehouse: Warehouse, kind: str, part: str) -> dict[tuple[str, str], tuple[int, float]]:
    rows = warehouse.query(
        "select segment, cause, deals, delta from forecast.forecast_changes_by_segment "
        "where segment_type = ? and part = ?",
        [kind, part],
    )
    return {(row.segment, row.cause): (row.deals, row.delta) for row in rows.itertuples()}


def test_a_deal_counts_for_whoever_has_it_now_and_the_rest_is_shared_out_anew(warehouse: Warehouse) -> None:
    assert changes(warehouse, "owner", "already_won") == {("ann", "won"): (1, 1000.0)}
    # Ann loses 500: 400 was won, the 100 of a3 went to Cem. He has 90 more: 100, less what time took.
    assert changes(warehouse, "owner", "open_expected") == {
        ("ann", "won"): (1, -400.0),
        ("ann", "shared out anew"): (0, -100.0),
        ("bob", "lost"): (1, -50.0),
        ("cem", "time passed"): (1, -10.0),
        ("cem", "shared out anew"): (0, 100.0),
        ("dora", "new deal"): (1, 30.0),
    }
    assert changes(warehouse, "owner", "not_yet_created_expected") == {
        ("ann", "shared out anew"): (0, -20.0),
        ("cem", "shared out anew"): (0, 24.0),
    }


def test_a_team_has_the_changes_of_its_owners(warehouse: Warehouse) -> None:
    assert changes(warehouse, "team", "open_expected") == {
        ("north", "won"): (1, -400.0),
        ("north", "lost"): (1, -50.0),
        ("north", "shared out anew"): (0, -100.0),
        ("south", "time passed"): (1, -10.0),
        ("south", "new deal"): (1, 30.0),
        ("south", "shared out anew"): (0, 100.0),
    }


def test_products_share_a_deals_change_as_they_share_its_amount(warehouse: Warehouse) -> None:
    # The deal counts once, with its own product.
    assert changes(warehouse, "product", "open_expected") == {
        ("(none)", "won"): (1, -400.0),
        ("(none)", "lost"): (1, -50.0),
        ("(none)", "time passed"): (1, -10.0),
        ("gold", "new deal"): (1, 21.0),
        ("silver", "new deal"): (0, 9.0),
    }


def test_the_segments_of_a_type_add_up_to_the_whole_cause_by_cause(warehouse: Warehouse) -> None:
    told = warehouse.query(
        "select part, cause, sum(delta) as delta from forecast.forecast_changes where deal_key <> '(none)' "
        "group by all order by all"
    )
    rest = warehouse.query(
        "select part, sum(delta) as delta from forecast.forecast_changes where deal_key = '(none)' "
        "group by all order by all"
    )
    assert rest.to_numpy().tolist() == [["not_yet_created_expected", 4.0]]
    for kind in ("owner", "team", "product"):
        rows = warehouse.query(
            "select part, cause, sum(delta) as delta from forecast.forecast_changes_by_segment "
            "where segment_type = ? group by all having sum(delta) <> 0 order by all",
            [kind],
        )
        is_rest = rows["cause"] == "shared out anew"
        assert rows[~is_rest].to_numpy().tolist() == told.to_numpy().tolist()
        assert rows[is_rest][["part", "delta"]].to_numpy().tolist() == rest.to_numpy().tolist()


def test_a_forecast_stored_without_segments_has_none_to_compare(tmp_path: Path) -> None:
    ledger = write_ledger(tmp_path / "warehouse.duckdb", ledger_tables(DEALS, TUESDAY))
    store_bookings(ledger, [booking(day, "2025Q2", 0, *whole) for day, whole in WHOLE.items()])
    review = review_forecasts(ledger, [TUESDAY])
    assert review.rows["forecast_changes"] > 0
    assert review.rows["forecast_changes_by_segment"] == 0
