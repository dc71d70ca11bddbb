"""What moved a forecast: two stored days of a business small enough to work out every change by hand."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from dagster_project.forecast.change_causes import CAUSES
from dagster_project.forecast.changes import PARTS, unbalanced
from dagster_project.forecast.compared_pairs import Pair, Stored, pairs_to_compare
from dagster_project.forecast.reviewer import review_forecasts
from dagster_project.warehouse import Warehouse
from tests.stored_forecasts import booking, scored, store_bookings, store_deals
from tests.synthetic_ledger import Deal, Move, ledger_tables, won_deal, write_ledger

MONDAY, TUESDAY = date(2025, 5, 12), date(2025, 5, 13)
MAY_2 = date(2025, 5, 2)
JANUARY = date(2025, 1, 15)

NOTHING_HAPPENS, WON, LOST, NEW, PRICED, MOVED = "a1", "a2", "a3", "a4", "a5", "a6"
REOPENED, DELETED, MERGED, PULLED, IN_DOLLARS, LATE_NEWS = "b1", "b2", "b3", "b4", "b5", "b6"
RESTORED, PUSHED, DEARER, LEFT_OUT, UNDONE, PUSHED_HERE = "c1", "c2", "c3", "c4", "c5", "c6"

DEALS = [
    Deal(NOTHING_HAPPENS, (Move(JANUARY, "proposal"),)),
    won_deal(WON, JANUARY, TUESDAY, 1000.0),
    Deal(LOST, (Move(JANUARY, "proposal"), Move(TUESDAY, "lost", "lost"))),
    Deal(NEW, (Move(TUESDAY, "proposal"),)),
    Deal(PRICED, (Move(JANUARY, "proposal", amount=500.0), Move(TUESDAY, "proposal", amount=700.0))),
    Deal(MOVED, (Move(JANUARY, "prospect"), Move(TUESDAY, "proposal"))),
    Deal(REOPENED, (Move(JANUARY, "proposal"), Move(MAY_2, "lost", "lost"), Move(TUESDAY, "proposal"))),
    Deal(DELETED, (Move(JANUARY, "proposal"), Move(TUESDAY, "proposal", is_deleted=True))),
    Deal(MERGED, (Move(JANUARY, "proposal"), Move(TUESDAY, "proposal"))),
    Deal(
        PULLED,
        (
            Move(JANUARY, "proposal"),
            Move(MAY_2, "won", "won", 200.0, MAY_2),
            Move(TUESDAY, "won", "won", 200.0, date(2025, 3, 28)),
        ),
    ),
    Deal(
        IN_DOLLARS,
        (
            Move(JANUARY, "proposal", currency="USD", amount=200.0, close_date=date(2025, 5, 30)),
            Move(TUESDAY, "proposal", currency="USD", amount=200.0, close_date=date(2025, 6, 30)),
        ),
    ),
    Deal(LATE_NEWS, (Move(JANUARY, "prospect"),)),
    Deal(RESTORED, (Move(JANUARY, "proposal", is_deleted=True), Move(TUESDAY, "proposal"))),
    Deal(
        PUSHED,
        (
            Move(JANUARY, "proposal"),
            Move(MAY_2, "won", "won", 70.0, MAY_2),
            Move(TUESDAY, "won", "won", 70.0, date(2025, 7, 4)),
        ),
    ),
    Deal(
        DEARER,
        (
            Move(JANUARY, "proposal"),
            Move(MAY_2, "won", "won", 90.0, MAY_2),
            Move(TUESDAY, "won", "won", 95.0, MAY_2),
        ),
    ),
    Deal(
        UNDONE, (Move(JANUARY, "proposal"), Move(MAY_2, "won", "won", 60.0, MAY_2), Move(TUESDAY, "proposal"))
    ),
    Deal(
        PUSHED_HERE,
        (
            Move(JANUARY, "proposal"),
            Move(date(2025, 3, 28), "won", "won", 40.0, date(2025, 3, 28)),
            Move(TUESDAY, "won", "won", 40.0, MAY_2),
        ),
    ),
    Deal(LEFT_OUT, (Move(JANUARY, "proposal"), Move(TUESDAY, "proposal", excluded_by="exclude: owners"))),
]

# Booked in the second quarter: on Monday 200 + 70 + 90 + 60, on Tuesday 95 + 1,000 + 40.
# Expected of open deals, Monday: 100 + 400 + 50 + 50 + 60 + 10 + 15 + 25 + 80 + 35 = 825.
# Tuesday: 90 + 30 + 70 + 120 + 20 + 40 + 95 + 5 + 8 = 478, and a rounding of 0.002.
MONDAY_DEALS = [
    scored(MONDAY, NOTHING_HAPPENS, 100, 10),
    scored(MONDAY, WON, 400),
    scored(MONDAY, LOST, 50),
    scored(MONDAY, PRICED, 50, open_amount=500.0),
    scored(MONDAY, MOVED, 60, stage_key="prospect", stage="Prospect"),
    scored(MONDAY, DELETED, 10),
    scored(MONDAY, MERGED, 15),
    scored(MONDAY, IN_DOLLARS, 25, open_amount=100.0),
    scored(MONDAY, LATE_NEWS, 80),
    scored(MONDAY, LEFT_OUT, 35),
]
TUESDAY_DEALS = [
    scored(TUESDAY, NOTHING_HAPPENS, 90, 12),
    scored(TUESDAY, NEW, 30),
    scored(TUESDAY, PRICED, 70, open_amount=700.0),
    scored(TUESDAY, MOVED, 120, stage_key="proposal", stage="Proposal"),
    scored(TUESDAY, REOPENED, 20),
    scored(TUESDAY, IN_DOLLARS, 40, open_amount=160.0),
    scored(TUESDAY, LATE_NEWS, 95, stage_key="prospect"),
    scored(TUESDAY, RESTORED, 5),
    scored(TUESDAY, UNDONE, 8),
]


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    tables = ledger_tables(DEALS, TUESDAY)
    versions = tables.versions
    merged = (versions["deal_key"] == MERGED) & (versions["valid_from_date"] == TUESDAY)
    versions["merged_into_deal_id"] = versions["merged_into_deal_id"].mask(merged, NOTHING_HAPPENS)
    return write_ledger(tmp_path / "warehouse.duckdb", replace(tables, versions=versions))


def store_both_days(warehouse: Warehouse) -> None:
    store_bookings(
        warehouse,
        [
            booking(MONDAY, "2025Q2", 0, 420, 825, 300),
            booking(MONDAY, "2025Q3", 1, 0, 10, 900),
            booking(MONDAY, "2025Q4", 2, 0, 70, 800),
            booking(TUESDAY, "2025Q2", 0, 1135, 478.002, 280),
            booking(TUESDAY, "2025Q3", 1, 0, 12, 900),
            booking(TUESDAY, "2025Q4", 2, 0, 75, 800),
        ],
    )
    store_deals(warehouse, [*MONDAY_DEALS, *TUESDAY_DEALS])


def changes(warehouse: Warehouse, period: str, part: str) -> dict[str, tuple[str, float]]:
    rows = warehouse.query(
        "select deal_key, cause, delta from forecast.forecast_changes where period = ? and part = ?",
        [period, part],
    )
    assert not rows["deal_key"].duplicated().any()
    return {row.deal_key: (row.cause, row.delta) for row in rows.itertuples()}


def test_every_change_of_an_open_deal_has_its_cause_and_its_money(warehouse: Warehouse) -> None:
    store_both_days(warehouse)
    review_forecasts(warehouse, [TUESDAY])
    assert changes(warehouse, "2025Q2", "open_expected") == {
        NOTHING_HAPPENS: ("time passed", -10.0),
        WON: ("won", -400.0),
        LOST: ("lost", -50.0),
        NEW: ("new deal", 30.0),
        PRICED: ("amount changed", 20.0),
        MOVED: ("stage moved", 60.0),
        REOPENED: ("reopened", 20.0),
        DELETED: ("deleted", -10.0),
        MERGED: ("merged", -15.0),
        IN_DOLLARS: ("exchange rate", 15.0),
        LATE_NEWS: ("correction", 15.0),
        RESTORED: ("restored", 5.0),
        UNDONE: ("reopened", 8.0),
        LEFT_OUT: ("left out by settings", -35.0),
        "(none)": ("rounding", 0.002),
    }


def test_bookings_come_go_and_change_their_quarter(warehouse: Warehouse) -> None:
    store_both_days(warehouse)
    review_forecasts(warehouse, [TUESDAY])
    assert changes(warehouse, "2025Q2", "already_won") == {
        WON: ("won", 1000.0),
        PULLED: ("pulled close date", -200.0),
        PUSHED: ("pushed close date", -70.0),
        DEARER: ("amount changed", 5.0),
        UNDONE: ("reopened", -60.0),
        PUSHED_HERE: ("pushed close date", 40.0),
    }


def test_what_is_no_deals_is_one_row_per_part(warehouse: Warehouse) -> None:
    store_both_days(warehouse)
    review_forecasts(warehouse, [TUESDAY])
    assert changes(warehouse, "2025Q2", "not_yet_created_expected") == {"(none)": ("time passed", -20.0)}
    assert changes(warehouse, "2025Q3", "open_expected") == {NOTHING_HAPPENS: ("time passed", 2.0)}
    assert changes(warehouse, "2025Q3", "not_yet_created_expected") == {}
    assert changes(warehouse, "2025Q4", "open_expected") == {"(none)": ("not known by deal", 5.0)}


def test_a_deal_shows_where_it_stood_before_and_after(warehouse: Warehouse) -> None:
    store_both_days(warehouse)
    review_forecasts(warehouse, [TUESDAY])
    (row,) = warehouse.query(
        "select stage_before, stage_after, open_amount_before, open_amount_after, expected_before, "
        "expected_after, prior_as_of, prior_kind, deal_id, method_before, currency "
        "from forecast.forecast_changes where deal_key = ? and part = 'open_expected'",
        [MOVED],
    ).itertuples(index=False)
    assert tuple(row) == (
        "Prospect",
        "Proposal",
        1000.0,
        1000.0,
        60.0,
        120.0,
        pd.Timestamp(MONDAY),
        "live",
        MOVED,
        "hazards",
        "EUR",
    )


def test_a_booking_that_the_ledger_no_longer_tells_of_is_a_correction(warehouse: Warehouse) -> None:
    # The ledger knows of 420 booked by Monday; what was published then said 460.
    store_bookings(
        warehouse, [booking(MONDAY, "2025Q2", 0, 460, 0, 0), booking(TUESDAY, "2025Q2", 0, 1135, 0, 0)]
    )
    review = review_forecasts(warehouse, [TUESDAY])
    assert changes(warehouse, "2025Q2", "already_won")["(none)"] == ("correction", -40.0)
    assert review.unbalanced == ()


def test_another_method_takes_the_deals_in_proportion_and_the_rest_without_them(warehouse: Warehouse) -> None:
    # Served half of what the chances expect on both days: half of each deal's change, and nothing is left.
    store_bookings(
        warehouse,
        [
            booking(MONDAY, "2025Q2", 0, 420, 412.5, 0, served_method="yield"),
            booking(TUESDAY, "2025Q2", 0, 1135, 239, 0, served_method="yield"),
        ],
    )
    store_deals(warehouse, [*MONDAY_DEALS, *TUESDAY_DEALS])
    review_forecasts(warehouse, [TUESDAY])
    found = changes(warehouse, "2025Q2", "open_expected")
    assert found[WON] == ("won", -200.0)
    assert found[NOTHING_HAPPENS] == ("time passed", -5.0)
    assert "(none)" not in found


def test_a_change_of_method_is_a_cause_of_its_own(warehouse: Warehouse) -> None:
    # Hazards serve all of 825 on Monday; half of 478 is served by yield on Tuesday: each deal counts by three
    # quarters. -586 in all; the deals make -347 × 0.75 = -260.25 of it.
    store_bookings(
        warehouse,
        [
            booking(MONDAY, "2025Q2", 0, 420, 825, 50),
            booking(TUESDAY, "2025Q2", 0, 1135, 239, 60, served_method="yield"),
        ],
    )
    store_deals(warehouse, [*MONDAY_DEALS, *TUESDAY_DEALS])
    review_forecasts(warehouse, [TUESDAY])
    found = changes(warehouse, "2025Q2", "open_expected")
    assert found[LOST] == ("lost", -37.5)
    assert found["(none)"] == ("method changed", -325.75)
    assert changes(warehouse, "2025Q2", "not_yet_created_expected") == {"(none)": ("method changed", 10.0)}


def test_chances_that_are_out_of_all_proportion_to_what_is_served_explain_nothing(
    warehouse: Warehouse,
) -> None:
    store_bookings(
        warehouse,
        [
            booking(MONDAY, "2025Q2", 0, 420, 8250, 0, served_method="run_rate"),
            booking(TUESDAY, "2025Q2", 0, 1135, 4780, 0, served_method="run_rate"),
        ],
    )
    store_deals(warehouse, [*MONDAY_DEALS, *TUESDAY_DEALS])
    review_forecasts(warehouse, [TUESDAY])
    assert changes(warehouse, "2025Q2", "open_expected") == {"(none)": ("not known by deal", -3470.0)}


def test_chances_estimated_anew_are_told_from_time_that_passed(warehouse: Warehouse) -> None:
    store_bookings(
        warehouse, [booking(MONDAY, "2025Q2", 0, 420, 100, 7), booking(TUESDAY, "2025Q2", 0, 1135, 90, 9)]
    )
    later = date(2025, 5, 12)
    store_deals(
        warehouse,
        [scored(MONDAY, NOTHING_HAPPENS, 100), scored(TUESDAY, NOTHING_HAPPENS, 90, evidence_on=later)],
    )
    review_forecasts(warehouse, [TUESDAY])
    assert changes(warehouse, "2025Q2", "open_expected") == {NOTHING_HAPPENS: ("evidence changed", -10.0)}
    assert changes(warehouse, "2025Q2", "not_yet_created_expected") == {"(none)": ("evidence changed", 2.0)}


@pytest.mark.parametrize(("expected", "cause"), [(190.0, "stage moved"), (130.0, "amount changed")])
def test_of_stage_and_amount_the_one_that_moved_more_money_is_the_cause(
    tmp_path: Path, expected: float, cause: str
) -> None:
    # From 100 of 1,000 to `expected` of 1,200. The amount: mean chance × 200 = 0.129 × 200 = 26, or 21;
    # the chance: 1,100 × (0.158 - 0.1) = 64, or 1,100 × (0.108 - 0.1) = 9.
    moves = (Move(JANUARY, "prospect", amount=1000.0), Move(TUESDAY, "proposal", amount=1200.0))
    warehouse = write_ledger(tmp_path / "warehouse.duckdb", ledger_tables([Deal("a1", moves)], TUESDAY))
    store_bookings(
        warehouse, [booking(MONDAY, "2025Q2", 0, 0, 100, 0), booking(TUESDAY, "2025Q2", 0, 0, expected, 0)]
    )
    store_deals(
        warehouse,
        [
            scored(MONDAY, "a1", 100, stage_key="prospect"),
            scored(TUESDAY, "a1", expected, open_amount=1200.0),
        ],
    )
    review_forecasts(warehouse, [TUESDAY])
    assert changes(warehouse, "2025Q2", "open_expected") == {"a1": (cause, expected - 100)}


def test_over_the_turn_of_a_quarter_the_next_quarter_goes_on_as_this_one(tmp_path: Path) -> None:
    june, july = date(2025, 6, 30), date(2025, 7, 1)
    warehouse = write_ledger(tmp_path / "warehouse.duckdb", ledger_tables([DEALS[0]], july))
    store_bookings(
        warehouse,
        [
            booking(june, "2025Q2", 0, 500, 0, 0),
            booking(june, "2025Q3", 1, 0, 40, 0),
            booking(july, "2025Q3", 0, 0, 44, 0),
            booking(july, "2025Q4", 1, 0, 9, 0),
        ],
    )
    store_deals(warehouse, [scored(june, NOTHING_HAPPENS, 0, 40), scored(july, NOTHING_HAPPENS, 44, 9)])
    review_forecasts(warehouse, [july])
    rows = warehouse.query("select period, deal_key, cause, delta from forecast.forecast_changes")
    assert [tuple(row) for row in rows.itertuples(index=False)] == [
        ("2025Q3", NOTHING_HAPPENS, "time passed", 4.0)
    ]


def test_all_causes_are_words_that_readers_are_told(warehouse: Warehouse) -> None:
    store_both_days(warehouse)
    review_forecasts(warehouse, [TUESDAY])
    found = set(warehouse.query("select distinct cause from forecast.forecast_changes")["cause"])
    assert found <= set(CAUSES)
    words = (Path(__file__).parents[2] / "dbt/models/forecast/forecast_tables.yml").read_text(
        encoding="utf-8"
    )
    told = (
        words[words.index("Why it moved:") :]
        .split("\n")[0]
        .replace("pushed or pulled", "pushed close date, pulled")
    )
    assert [cause for cause in CAUSES if cause not in told] == []


def test_a_change_that_is_missing_is_found(warehouse: Warehouse) -> None:
    store_both_days(warehouse)
    review = review_forecasts(warehouse, [TUESDAY])
    assert review.unbalanced == ()
    totals = pd.DataFrame(
        [
            {"as_of": pd.Timestamp(day), "kind": "live", "period": "2025Q2", **dict.fromkeys(PARTS, won)}
            for day, won in ((MONDAY, 360_000), (TUESDAY, 1_095_000))
        ]
    )
    told = pd.DataFrame(
        [
            {
                "as_of": pd.Timestamp(TUESDAY),
                "kind": "live",
                "period": "2025Q2",
                "part": part,
                "delta": 735_000,
            }
            for part in PARTS[:2]
        ]
    )
    pair = Pair(Stored(TUESDAY, "live"), Stored(MONDAY, "live"))
    assert list(unbalanced(told, totals, [pair])) == [
        "2025-05-13 live 2025Q2 not_yet_created_expected: changes add up to 0.000, "
        "the forecast moved by 735.000"
    ]


def test_a_repeated_review_changes_nothing(warehouse: Warehouse) -> None:
    store_both_days(warehouse)
    review_forecasts(warehouse, [TUESDAY])
    before = warehouse.query("select * from forecast.forecast_changes order by all")
    review_forecasts(warehouse, [MONDAY, TUESDAY])
    after = warehouse.query("select * from forecast.forecast_changes order by all")
    pd.testing.assert_frame_equal(before, after, check_exact=True)


# --- which forecasts are compared ---


def live(day: int) -> Stored:
    return Stored(date(2025, 5, day), "live")


def backfill(day: int) -> Stored:
    return Stored(date(2025, 5, day), "backfill")


def days(*numbers: int) -> list[date]:
    return [date(2025, 5, number) for number in numbers]


def test_a_forecast_is_compared_with_the_newest_earlier_day_and_there_with_the_live_one() -> None:
    stored = [live(8), backfill(9), live(9), live(12)]
    assert pairs_to_compare(stored, days(12), []) == [Pair(live(12), live(9))]


def test_both_kinds_of_a_day_are_compared() -> None:
    stored = [backfill(9), backfill(12), live(12)]
    assert pairs_to_compare(stored, days(12), []) == [
        Pair(backfill(12), backfill(9)),
        Pair(live(12), backfill(9)),
    ]


def test_the_first_forecast_has_nothing_to_be_compared_with() -> None:
    assert pairs_to_compare([live(12)], days(12), []) == []


def test_a_live_forecast_is_compared_once() -> None:
    stored, pair = [live(9), live(12)], Pair(live(12), live(9))
    assert pairs_to_compare(stored, days(9, 12), []) == [pair]
    assert pairs_to_compare(stored, days(9, 12), [pair]) == []


def test_a_backfill_in_between_is_the_new_prior_forecast_of_the_next_day() -> None:
    stored, done = [live(8), backfill(9), live(12)], [Pair(live(12), live(8))]
    assert pairs_to_compare(stored, days(9), done) == [
        Pair(backfill(9), live(8)),
        Pair(live(12), backfill(9)),
    ]


def test_a_backfill_made_again_is_compared_again_from_both_sides() -> None:
    stored = [live(8), backfill(9), live(12), live(13)]
    done = [Pair(backfill(9), live(8)), Pair(live(12), backfill(9)), Pair(live(13), live(12))]
    assert pairs_to_compare(stored, days(9), done) == done[:2]
