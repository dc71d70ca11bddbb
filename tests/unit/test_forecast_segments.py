"""Segments of a forecast: who gets what, worked out by hand; sums that never differ; ranges that hold."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.forecast.backtest import build_track_record
from dagster_project.forecast.daily_book import build_daily_book
from dagster_project.forecast.evidence import read_evidence
from dagster_project.forecast.forecaster import make_forecasts
from dagster_project.forecast.segment_evidence import SegmentFacts
from dagster_project.forecast.segment_queries import booked_by_segment, open_by_segment
from dagster_project.forecast.segment_ranges import (
    Forecasted,
    Scores,
    held_of,
    quantiles_of,
    segment_ranges,
)
from dagster_project.forecast.segment_rows import completed_segments
from dagster_project.forecast.segments import Parts, SegmentBook, Whole, apportion, blended_shares
from dagster_project.warehouse import Warehouse
from tests.synthetic_ledger import (
    Deal,
    Move,
    Owner,
    ledger_tables,
    random_deals,
    shared_out,
    write_ledger,
)

APRIL, MAY = date(2025, 4, 30), date(2025, 5, 14)
Q2 = 2025 * 4 + 2


def won(key: str, won_on: date, amount: float, owner: str, **facts: str) -> Deal:
    moves = (
        Move(date(2025, 1, 6), "proposal", amount=amount, owner=owner, **facts),
        Move(won_on, "won", "won", amount, won_on, owner=owner, **facts),
    )
    return Deal(key, moves)


def business() -> list[Deal]:
    ann = won("a1", date(2025, 4, 10), 100.0, "ann")
    inherited = Move(date(2025, 4, 20), "won", "won", 100.0, date(2025, 4, 10), owner="bob")
    bob = won("b1", date(2025, 5, 2), 300.0, "bob", pipeline="partner")
    handed_over = (
        Move(date(2025, 2, 3), "proposal", amount=400.0, owner="ann"),
        Move(date(2025, 5, 1), "proposal", amount=400.0, owner="bob", pipeline="partner"),
    )
    return [
        Deal("a1", (*ann.moves, inherited)),
        Deal("b1", bob.moves, products=(("gold", 0.75), ("silver", 0.25))),
        won("c1", date(2025, 4, 15), 50.0, "cem"),
        Deal("d1", handed_over, region="Nordics", products=(("silver", 0.5), ("gold", 0.5))),
        Deal("e1", (Move(date(2025, 2, 3), "proposal", amount=200.0, owner="cem"),)),
        Deal("f1", (Move(date(2025, 2, 3), "proposal", amount=None, owner="dora"),)),
    ]


OWNERS = (
    Owner("bob", "north"),
    Owner("bob", "south", told_at=datetime(2025, 5, 5)),
    Owner("cem", "north"),
    Owner("cem", "north", told_at=datetime(2025, 5, 1, 12), ended_on=date(2025, 5, 1)),
    Owner("dora", "south", region="UK"),
)
NIGHTS = ((APRIL, datetime(2025, 5, 1, 2)), (MAY, datetime(2025, 5, 15, 2)))


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    tables = ledger_tables(business(), MAY)
    return write_ledger(tmp_path / "warehouse.duckdb", tables, owners=OWNERS, nights=NIGHTS)


def divided(warehouse: Warehouse, day: date, whole: Whole) -> dict[str, Parts]:
    facts = SegmentFacts(
        open_by_segment(warehouse, [day], None), booked_by_segment(warehouse, [(day, Q2)], "close_date")
    )
    return {parts.segment_type: parts for parts in SegmentBook(facts).divide(day, Q2, [whole])}


def amounts(parts: Parts, part: str) -> dict[str, int]:
    return {
        name: value
        for name, value in zip(parts.segments, getattr(parts, part).tolist(), strict=True)
        if value
    }


def test_bookings_go_to_whoever_won_them_and_products_share_them(warehouse: Warehouse) -> None:
    found = divided(warehouse, MAY, Whole(0, 0, 0, False))
    assert {kind: amounts(parts, "already_won") for kind, parts in found.items()} == {
        # Bob inherited a1 after Ann had won it.
        "owner": {"ann": 100_000, "bob": 300_000, "cem": 50_000},
        "team": {"north": 150_000, "south": 300_000},
        "region": {"(none)": 450_000},
        "pipeline": {"sales": 150_000, "partner": 300_000},
        "product": {"gold": 225_000, "silver": 75_000, "(none)": 150_000},
    }


def test_owners_teams_and_pipelines_of_a_past_day_are_those_of_that_day(warehouse: Warehouse) -> None:
    found = divided(warehouse, APRIL, Whole(0, 600_000, 0, False))
    # b1 was not won yet; d1 was still Ann's, in the pipeline of before; of Bob's move nobody had heard.
    assert amounts(found["owner"], "already_won") == {"ann": 100_000, "cem": 50_000}
    assert amounts(found["team"], "already_won") == {"north": 150_000}
    # open: 400 of Ann, 300 of Bob (b1), 200 of Cem, and Dora's for the average booking of 75
    shares = {"ann": 400, "bob": 300, "cem": 200, "dora": 75}
    exact = {name: 600_000 * share / 975 for name, share in shares.items()}
    assert amounts(found["owner"], "from_open") == pytest.approx(exact, abs=1)
    assert amounts(found["team"], "from_open") == pytest.approx(
        {"north": 600_000 * 900 / 975, "south": 600_000 * 75 / 975}, abs=2
    )


def test_what_was_told_of_owners_holds_from_its_instant_and_the_newest_day_knows_all_of_it(
    tmp_path: Path,
) -> None:
    owners = (
        Owner("ann", "north"),
        Owner("ann", "south", told_at=NIGHTS[0][1]),
        Owner("bob", "north"),
        Owner("bob", "south", told_at=datetime(2025, 5, 16)),
        Owner("cem", "north", is_active=False),
    )
    tables = ledger_tables(business(), MAY)
    warehouse = write_ledger(tmp_path / "warehouse.duckdb", tables, owners=owners, nights=NIGHTS)
    # The night of April had just been told of Ann's move: she is in one team, the new one.
    past = divided(warehouse, APRIL, Whole(0, 0, 0, False))
    assert amounts(past["team"], "already_won") == {"south": 100_000, "north": 50_000}
    # Bob's move was told after the night of May had read, but May is the newest day.
    newest = divided(warehouse, MAY, Whole(0, 0, 1_000, False))
    assert amounts(newest["team"], "already_won") == {"south": 400_000, "north": 50_000}
    # Cem is not active: nobody said since when, so he has left.
    assert "cem" not in amounts(newest["owner"], "from_new")


def test_the_open_part_follows_open_amounts_and_new_business_passes_who_has_left(
    warehouse: Warehouse,
) -> None:
    found = divided(warehouse, MAY, Whole(0, 750_000, 1_000, False))
    # 400 of Bob, 200 of Cem, Dora's deal without an amount for the average booking, (100 + 300 + 50) / 3
    assert amounts(found["owner"], "from_open") == {"bob": 400_000, "cem": 200_000, "dora": 150_000}
    assert amounts(found["pipeline"], "from_open") == {"partner": 400_000, "sales": 350_000}
    assert amounts(found["product"], "from_open") == {
        "gold": 200_000,
        "silver": 200_000,
        "(none)": 350_000,
    }
    assert amounts(found["region"], "from_open") == {"Nordics": 400_000, "UK": 150_000, "(none)": 200_000}
    new = amounts(found["owner"], "from_new")
    assert "cem" not in new
    assert sum(new.values()) == 1_000
    # Two teams: no evidence of chance among two, so they get what they have booked, 150 and 300 of 450.
    assert amounts(found["team"], "from_new") == {"north": 333, "south": 667}
    # Ann is the only one left in the north.
    assert new["ann"] == 333


def test_hazards_divide_the_open_part_by_quarter(warehouse: Warehouse) -> None:
    opened = open_by_segment(warehouse, [MAY], None)
    opened.loc[opened["unit"] == "bob", "expected_1"] = 30
    opened.loc[opened["unit"] == "dora", "expected_1"] = 10
    book = SegmentBook(SegmentFacts(opened, booked_by_segment(warehouse, [(MAY, Q2)], "close_date")))
    whole = Whole(1, 100, 0, True)
    owners = next(parts for parts in book.divide(MAY, Q2, [whole]) if parts.segment_type == "owner")
    assert amounts(owners, "from_open") == {"bob": 75, "dora": 25}
    assert amounts(owners, "already_won") == {}


def test_where_nobody_has_a_deal_all_of_it_goes_to_none(tmp_path: Path) -> None:
    tables = ledger_tables([won("a1", date(2023, 1, 10), 100.0, "ann")], MAY)
    warehouse = write_ledger(tmp_path / "warehouse.duckdb", tables)
    found = divided(warehouse, MAY, Whole(0, 5, 7, False))
    for parts in found.values():
        assert amounts(parts, "from_open") == {"(none)": 5}
        assert amounts(parts, "from_new") == {"(none)": 7}


def test_thousandths_that_are_left_go_to_the_largest_remainders() -> None:
    assert apportion(100, np.array([1.0, 1.0, 1.0])).tolist() == [34, 33, 33]
    # 10 × 1/6, 2/6, 3/6 = 1.67, 3.33, 5
    assert apportion(10, np.array([1.0, 2.0, 3.0])).tolist() == [2, 3, 5]
    assert apportion(-10, np.array([1.0, 2.0, 3.0])).tolist() == [-2, -3, -5]
    assert apportion(7, np.array([0.0, 2.0])).tolist() == [0, 7]


@given(
    st.integers(0, 10**16),
    st.lists(st.floats(0, 1e12), min_size=1, max_size=40).filter(lambda weights: sum(weights) > 0),
)
def test_pieces_always_add_up(total: int, weights: list[float]) -> None:
    pieces = apportion(total, np.array(weights))
    assert int(pieces.sum()) == total
    assert (pieces >= 0).all()


def test_few_bookings_are_drawn_towards_the_open_book() -> None:
    own, equal, everyone = np.array([60.0, 30.0, 10.0]), np.ones(3), np.ones(3, dtype=bool)
    # Σ (own - 33.3)² = 1266.7; lumpiness 19: by chance 1 × 100 × 19 / 3 = 633.3, half of it
    half = blended_shares(own, equal, 19.0, everyone)
    assert half == pytest.approx([0.3 + 1 / 6, 0.15 + 1 / 6, 0.05 + 1 / 6])
    assert blended_shares(own, equal, 0.0, everyone) == pytest.approx([0.6, 0.3, 0.1])
    assert blended_shares(own, equal, 1000.0, everyone) == pytest.approx([1 / 3] * 3)
    # Who has left gets nothing, and the others share it as they would alone.
    gone = blended_shares(own, equal, 0.0, np.array([False, True, True]))
    assert gone == pytest.approx([0, 0.75, 0.25])


def scores(errors: list[float], quarters: list[int], expected: float = 100.0) -> Scores:
    """Forecasts of one segment whose scale is `expected` / 4: no chance in it, a quarter of what is
    expected."""
    n = len(errors)
    made = Forecasted(
        kind=np.zeros(n, dtype=int),
        segment=np.zeros(n, dtype=int),
        wins=np.full(n, 50),
        expected=np.full(n, expected),
        mean=np.ones(n),
        lumpiness=np.zeros(n),
    )
    origin = np.arange(n)
    actual = expected * (1 + np.array(errors) / 4)
    return Scores(made, np.array(quarters), np.array(quarters), origin, origin + 1, actual)


def test_the_quantiles_of_a_group_are_ranks_widened_for_few_outcomes() -> None:
    errors = [place / 10 for place in range(-12, 12)]
    past = scores(errors, [place // 4 for place in range(24)])
    found = quantiles_of(past, np.zeros(24, dtype=int))
    # 24 errors: the second from below and from above, one in ten of 25; six outcomes: × 7/6
    assert found.low[0] == pytest.approx(-1.1 * 7 / 6)
    assert found.middle[0] == pytest.approx(-0.05)
    assert found.high[0] == pytest.approx(1.0 * 7 / 6)
    assert (found.scores[0], found.origins[0], found.quarters[0]) == (24, 24, 6)
    # Of one segment these are six errors that say something: from the lowest to the highest.
    own = quantiles_of(past, np.zeros(24, dtype=int), is_one_segment=True)
    assert own.low[0] == pytest.approx(-1.2 * 7 / 6)
    assert own.high[0] == pytest.approx(1.1 * 7 / 6)


def test_a_segment_takes_its_own_errors_only_with_thirty_wins() -> None:
    wild = scores([-2.0, 2.0] * 12, [place // 4 for place in range(24)])
    calm = scores([-0.1, 0.1] * 12, [place // 4 for place in range(24)])
    both = Scores(
        Forecasted(
            *(np.concatenate([getattr(wild.made, name), getattr(calm.made, name)]) for name in ("kind",)),
            segment=np.repeat([0, 1], 24),
            wins=np.full(48, 50),
            expected=np.full(48, 100.0),
            mean=np.ones(48),
            lumpiness=np.zeros(48),
        ),
        *(
            np.concatenate([getattr(wild, name), getattr(calm, name)])
            for name in ("quarter", "home", "origin", "known", "actual")
        ),
    ).in_order()
    asked = Forecasted(
        kind=np.zeros(2, dtype=int),
        segment=np.array([1, 1]),
        wins=np.array([30, 29]),
        expected=np.array([100.0, 100.0]),
        mean=np.ones(2),
        lumpiness=np.zeros(2),
    )
    made = segment_ranges(asked, both)
    # own: 0.1 × 25 × 7/6 (six quarters) = 2.9; of both: 2 × 25 × 13/12 (twice six) = 54.2
    assert made.p10.tolist() == [97, 46]
    assert made.p90.tolist() == [103, 154]
    assert made.is_calibrated.tolist() == [True, True]


def test_without_any_past_a_range_is_wide_and_says_so() -> None:
    nothing = scores([], [])
    asked = scores([0.0], [0]).made
    made = segment_ranges(asked, nothing)
    assert (made.p10.tolist(), made.p50.tolist(), made.p90.tolist()) == ([40], [100], [220])
    assert made.status.tolist() == ["not calibrated"]


def test_a_type_with_one_segment_is_the_whole(tmp_path: Path) -> None:
    tables = ledger_tables(random_deals(date(2023, 12, 4), date(2026, 3, 31), 8, 3), date(2026, 3, 31))
    warehouse = write_ledger(tmp_path / "warehouse.duckdb", tables)
    day = date(2026, 2, 11)
    rows = make_forecasts(read_evidence(warehouse, [day]), [day], 1).bookings
    same = [name for name in rows.columns if name not in ("segment_type", "segment", "asof_quality")]
    for segment_type in ("owner", "team", "pipeline"):
        part = rows[rows["segment_type"] == segment_type].reset_index(drop=True)
        whole = rows[rows["segment_type"] == "total"].reset_index(drop=True)
        pd.testing.assert_frame_equal(part[same], whole[same], check_exact=True)


def test_calibrated_ranges_of_segments_hold_about_as_often_as_they_promise(tmp_path: Path) -> None:
    """Each made from what was known at its origin; the worlds share nothing but their law."""
    last, held = date(2026, 3, 31), []
    for seed in (1, 2, 3):
        deals = shared_out(random_deals(date(2022, 1, 3), last, 15, seed), seed)
        warehouse = write_ledger(
            tmp_path / f"{seed}.duckdb",
            ledger_tables(deals, last),
            calendar=(date(2021, 1, 1), date(2028, 12, 31)),
        )
        evidence = read_evidence(warehouse, [last])
        book = build_daily_book(evidence, last)
        held.append(held_of(completed_segments(evidence.segments, book, build_track_record(book, 1))).held)
    of_all = np.concatenate(held)
    # 80 % nominal; origins of a quarter share their outcome, so some 150 are independent: 2 × 3.3 points
    assert len(of_all) >= 450
    assert 0.73 <= of_all.mean() <= 0.93
