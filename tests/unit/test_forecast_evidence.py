"""From a ledger of a few deals to what the baselines see, worked out by hand; and against brute force."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from dagster_project.forecast.backtest import maturity_on, weekly_origins
from dagster_project.forecast.baselines import pipeline_yield
from dagster_project.forecast.daily_book import AMOUNT, COUNT, DailyBook, build_daily_book
from dagster_project.forecast.evidence import LedgerNotBuilt, read_evidence
from dagster_project.forecast.situations import horizon_of, outlook, situation_on
from dagster_project.warehouse import Warehouse
from tests.synthetic_ledger import (
    Deal,
    Move,
    ledger_tables,
    open_deal,
    random_deals,
    won_deal,
    write_ledger,
)

EARLY = won_deal("early", date(2024, 11, 1), date(2024, 12, 2), 50)
FEBRUARY = won_deal("february", date(2025, 1, 6), date(2025, 2, 10), 100)
MARCH = won_deal("march", date(2025, 1, 6), date(2025, 3, 20), 200)
NEVER = Deal("never", (Move(date(2025, 1, 10), "proposal", amount=300, close_date=date(2025, 6, 15)),))
MAY = won_deal("may", date(2025, 4, 2), date(2025, 5, 5), 400)
BUSINESS = [EARLY, FEBRUARY, MARCH, NEVER, MAY]
AS_OF = date(2025, 5, 15)


def book_of(
    folder: Path,
    deals: list[Deal],
    as_of: date = AS_OF,
    dates_won: str = "close_date",
    quality: str = "history",
) -> DailyBook:
    tables = ledger_tables(deals, as_of, quality)
    calendar = (date(2023, 10, 1), date(2026, 12, 31))
    warehouse = write_ledger(folder / "warehouse.duckdb", tables, calendar=calendar, dates_won=dates_won)
    return build_daily_book(read_evidence(warehouse), as_of)


def won_in(book: DailyBook, label: str, day: date) -> float:
    position = [quarter.label for quarter in book.quarters.quarters].index(label)
    return book.amount.won[position, book.number_of(day)] / 1000


def test_the_situation_of_this_quarter_is_what_a_person_would_write_down(tmp_path: Path) -> None:
    book = book_of(tmp_path, BUSINESS)
    seen = situation_on(book, AS_OF, 0, AMOUNT)
    assert seen.window_days == 46
    assert seen.open_by_stage.sum() == 300_000
    # 46 days before 31 March is 13 February: march and never were open, february was won.
    (past,) = seen.past
    assert past.open_by_stage.sum() == 500_000
    assert past.won_by_stage.sum() == 200_000
    assert past.booked == 200_000
    assert seen.last_quarter == 200_000
    # The last 91 days (from 14 February) booked march and may.
    assert seen.daily_rate == pytest.approx(600_000 / 91)
    # never is due in this quarter; its stage wins half of the time.
    assert seen.closing == pytest.approx(150_000)


def test_the_situation_of_the_next_quarter_starts_from_the_quarter_before(tmp_path: Path) -> None:
    book = book_of(tmp_path, BUSINESS)
    seen = situation_on(book, AS_OF, 1, AMOUNT)
    # Seen from 15 November 2024 only early was open, and the first quarter of 2025 booked 300 without it.
    (past,) = seen.past
    assert past.open_by_stage.sum() == 50_000
    assert (past.won_by_stage.sum(), past.booked, past.new) == (0, 300_000, 300_000)
    assert seen.window_days == 92
    assert seen.last_quarter == 300_000
    assert seen.closing == 0


def test_yield_of_the_small_business(tmp_path: Path) -> None:
    answer = pipeline_yield(situation_on(book_of(tmp_path, BUSINESS), AS_OF, 0, AMOUNT))
    assert answer is not None
    assert (answer.from_open, answer.from_new) == pytest.approx((120_000, 0))


def test_a_quarter_that_began_before_the_first_booking_is_no_evidence(tmp_path: Path) -> None:
    book = book_of(tmp_path, BUSINESS)
    assert situation_on(book, date(2025, 3, 15), 0, AMOUNT).past == ()
    assert situation_on(book, date(2025, 3, 15), 0, AMOUNT).last_quarter is None


def test_a_quarter_is_evidence_only_when_its_bookings_are_final(tmp_path: Path) -> None:
    book = book_of(tmp_path, BUSINESS)
    assert len(situation_on(book, date(2025, 4, 2), 0, AMOUNT).past) == 0
    assert len(situation_on(book, date(2025, 4, 3), 0, AMOUNT).past) == 1


def test_a_reopened_deal_is_no_booking_from_that_day_on(tmp_path: Path) -> None:
    back = Move(date(2025, 4, 20), "proposal", amount=200)
    book = book_of(tmp_path, [EARLY, Deal("march", (*MARCH.moves, back))])
    assert won_in(book, "2025Q1", date(2025, 4, 19)) == 200
    assert won_in(book, "2025Q1", date(2025, 4, 20)) == 0
    assert book.open_deals[book.number_of(date(2025, 4, 20))] == 1


def test_a_deal_won_again_counts_in_the_quarter_of_its_second_win(tmp_path: Path) -> None:
    moves = (
        *MARCH.moves,
        Move(date(2025, 4, 10), "proposal", amount=200),
        Move(date(2025, 5, 2), "won", "won", 250, date(2025, 5, 2)),
    )
    book = book_of(tmp_path, [EARLY, Deal("march", moves)])
    assert won_in(book, "2025Q1", AS_OF) == 0
    assert won_in(book, "2025Q2", AS_OF) == 250


@pytest.mark.parametrize("field", [{"is_deleted": True}, {"status": "lost", "stage": "lost"}])
def test_a_deleted_or_corrected_deal_leaves_the_bookings(tmp_path: Path, field: dict[str, object]) -> None:
    gone = replace(MARCH.moves[-1], day=date(2025, 4, 8), **field)  # type: ignore[arg-type]
    book = book_of(tmp_path, [EARLY, Deal("march", (*MARCH.moves, gone))])
    assert won_in(book, "2025Q1", date(2025, 4, 7)) == 200
    assert won_in(book, "2025Q1", date(2025, 4, 8)) == 0


def test_a_correction_of_the_amount_after_the_win_counts_from_its_day(tmp_path: Path) -> None:
    corrected = replace(MARCH.moves[-1], day=date(2025, 3, 25), amount=180)
    book = book_of(tmp_path, [EARLY, Deal("march", (*MARCH.moves, corrected))])
    assert won_in(book, "2025Q1", date(2025, 3, 24)) == 200
    assert won_in(book, "2025Q1", date(2025, 3, 25)) == 180


def test_bookings_in_another_currency_take_the_rate_of_their_own_day(tmp_path: Path) -> None:
    # 0.5 until 31 March 2025, 0.8 from 1 April: an edit in April does not re-rate a booking of March.
    won = Move(date(2025, 3, 20), "won", "won", 200, date(2025, 3, 20), currency="USD")
    edited = replace(won, day=date(2025, 4, 10), amount=300)
    book = book_of(tmp_path, [EARLY, Deal("march", (MARCH.moves[0], won, edited))])
    assert won_in(book, "2025Q1", date(2025, 3, 31)) == 100
    assert won_in(book, "2025Q1", AS_OF) == 150


def test_a_booking_without_exchange_rate_is_counted_and_not_priced(tmp_path: Path) -> None:
    won = Move(date(2025, 5, 1), "won", "won", 200, date(2025, 5, 1), currency="GBP")
    seen = outlook(book_of(tmp_path, [*BUSINESS, Deal("no rate", (won,))]), AS_OF, 0)
    assert (seen.already_won, seen.already_won_without_amount) == (400_000, 1)


def test_a_deal_won_ahead_of_its_close_date_is_no_booking_before_that_date(tmp_path: Path) -> None:
    ahead = Move(date(2025, 3, 20), "won", "won", 200, date(2025, 4, 10))
    book = book_of(tmp_path, [EARLY, Deal("march", (MARCH.moves[0], ahead))])
    assert won_in(book, "2025Q2", date(2025, 4, 9)) == 0
    assert won_in(book, "2025Q2", date(2025, 4, 10)) == 200


def test_bookings_are_dated_by_the_event_when_the_setting_says_so(tmp_path: Path) -> None:
    late = Move(date(2025, 4, 8), "won", "won", 200, date(2025, 3, 31))
    deals = [EARLY, Deal("march", (MARCH.moves[0], late))]
    assert won_in(book_of(tmp_path, deals), "2025Q1", AS_OF) == 200
    assert won_in(book_of(tmp_path, deals, dates_won="event"), "2025Q1", AS_OF) == 0
    assert won_in(book_of(tmp_path, deals, dates_won="event"), "2025Q2", AS_OF) == 200


def test_a_win_recorded_after_the_grace_does_not_change_what_the_quarter_was_judged_by(
    tmp_path: Path,
) -> None:
    # Recorded on 4 April for 31 March; the first quarter was final on 3 April.
    late = Move(date(2025, 4, 4), "won", "won", 200, date(2025, 3, 31))
    book = book_of(tmp_path, [EARLY, FEBRUARY, Deal("march", (MARCH.moves[0], late))])
    (past,) = situation_on(book, AS_OF, 0, AMOUNT).past
    assert past.booked == 0
    assert won_in(book, "2025Q1", AS_OF) == 300


def test_a_booking_without_amount_is_counted_and_not_priced(tmp_path: Path) -> None:
    book = book_of(tmp_path, [*BUSINESS, won_deal("no amount", date(2025, 4, 1), date(2025, 5, 1), None)])
    seen = outlook(book, AS_OF, 0)
    assert seen.already_won == 400_000
    assert seen.already_won_without_amount == 1


def test_open_deals_mostly_without_amount_are_forecast_in_counts(tmp_path: Path) -> None:
    bare = [replace(deal, moves=(replace(deal.moves[0], amount=None), *deal.moves[1:])) for deal in BUSINESS]
    seen = outlook(book_of(tmp_path, bare), AS_OF, 0)
    assert seen.measure_form == COUNT
    # One of two open deals was won then, one is open now; a booking is worth 750 / 4 on average.
    assert seen.remaining["yield"].total == pytest.approx(0.5 * 1 * 187_500)
    assert seen.already_won == 400_000


def test_amounts_without_history_are_no_amounts_of_past_days(tmp_path: Path) -> None:
    book = book_of(tmp_path, BUSINESS, quality="current_values")
    day = book.number_of(AS_OF)
    assert book.form_on(day) == COUNT
    assert book.asof_quality(day) == "current_values"
    # Nor are their close dates: the CRM's own probabilities cannot be dated.
    assert situation_on(book, AS_OF, 0, COUNT).closing is None


def test_without_any_priced_win_there_is_no_forecast_in_money(tmp_path: Path) -> None:
    bare = [
        replace(deal, moves=tuple(replace(move, amount=None) for move in deal.moves)) for deal in BUSINESS
    ]
    assert outlook(book_of(tmp_path, bare), AS_OF, 0).remaining == {}


def test_overdue_deals_are_due_in_the_current_quarter(tmp_path: Path) -> None:
    overdue = Deal("never", (replace(NEVER.moves[0], close_date=date(2025, 2, 1)),))
    book = book_of(tmp_path, [EARLY, FEBRUARY, MARCH, overdue, MAY])
    assert situation_on(book, AS_OF, 0, AMOUNT).closing == pytest.approx(150_000)
    assert situation_on(book, AS_OF, 1, AMOUNT).closing == 0


def test_origins_are_the_last_days_of_business_weeks_from_the_first_booking(tmp_path: Path) -> None:
    book = book_of(tmp_path, BUSINESS, as_of=date(2024, 12, 20))
    # early was won on Monday 2 December 2024; weeks end on Sunday, or on Saturday when they start on Sunday.
    assert weekly_origins(book, 1) == [date(2024, 12, 8), date(2024, 12, 15)]
    assert weekly_origins(book, 7) == [date(2024, 12, 7), date(2024, 12, 14)]


def test_maturity_counts_wins_history_and_cycles_up_to_the_day(tmp_path: Path) -> None:
    book = book_of(tmp_path, BUSINESS)
    early = maturity_on(book, date(2024, 12, 31))
    assert (early.won_deals, early.history_days, early.mean_cycle_days) == (1, 61, 31.0)
    # Cycles of 31, 35, 73 and 33 days.
    assert maturity_on(book, AS_OF).mean_cycle_days == pytest.approx(43.0)


@pytest.mark.parametrize(
    ("days_left", "horizon"),
    [
        (61, "this quarter, early"),
        (60, "this quarter, middle"),
        (31, "this quarter, middle"),
        (30, "this quarter, late"),
    ],
)
def test_this_quarter_has_three_horizons(days_left: int, horizon: str) -> None:
    assert horizon_of(0, days_left) == horizon
    assert horizon_of(2, days_left) == "quarter+2"


def test_the_book_of_any_day_is_what_replaying_every_deal_gives(tmp_path: Path) -> None:
    as_of = date(2025, 6, 30)
    deals = random_deals(date(2024, 1, 1), as_of, 6, seed=11)
    book = book_of(tmp_path, deals, as_of)
    for day in (date(2024, 3, 31), date(2024, 8, 14), date(2024, 12, 31), date(2025, 4, 3), as_of):
        states = [
            [move for move in deal.moves if move.day <= day][-1] for deal in deals if deal.moves[0].day <= day
        ]
        still_open = [state for state in states if state.status == "open" and not state.is_deleted]
        assert book.open_deals[book.number_of(day)] == len(still_open)
        assert book.amount.open[:, book.number_of(day)].sum() == sum(
            round(state.amount * 1000) for state in still_open if state.amount
        )
        for quarter in book.quarters.quarters[1:8]:
            booked = sum(
                round(state.amount * 1000)
                for state in states
                if state.status == "won"
                and not state.is_deleted
                and state.amount
                and state.close_date is not None
                and quarter.starts_on <= state.close_date <= min(day, quarter.ends_on)
            )
            assert round(won_in(book, quarter.label, day) * 1000) == booked


def test_what_came_from_open_deals_is_what_replaying_every_deal_gives(tmp_path: Path) -> None:
    as_of = date(2025, 6, 30)
    deals = random_deals(date(2024, 1, 1), as_of, 6, seed=12)
    book = book_of(tmp_path, deals, as_of)
    position = [quarter.label for quarter in book.quarters.quarters].index("2025Q1")
    quarter = book.quarters[position]
    assert quarter.known_on is not None
    for origin in (date(2024, 10, 15), date(2025, 1, 1), date(2025, 2, 20)):
        expected = 0
        for deal in deals:
            then = [move for move in deal.moves if move.day <= origin]
            final = [move for move in deal.moves if move.day <= quarter.known_on]
            if not then or then[-1].status != "open" or final[-1].status != "won" or final[-1].is_deleted:
                continue
            close_date = final[-1].close_date
            assert close_date is not None
            if quarter.starts_on <= close_date <= quarter.ends_on:
                expected += round((final[-1].amount or 0) * 1000)
        came = book.amount.won_from_open[position][:, book.number_of(origin)].sum()
        assert expected > 0
        assert came == expected


def test_a_warehouse_without_ledger_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LedgerNotBuilt, match="run the nightly job"):
        read_evidence(Warehouse(tmp_path / "warehouse.duckdb"))


def test_an_empty_ledger_has_a_book_of_zeros(tmp_path: Path) -> None:
    book = book_of(tmp_path, [open_deal("future", AS_OF + timedelta(days=1))])
    assert book.open_deals[book.number_of(AS_OF)] == 0
    assert outlook(book, AS_OF, 0).remaining == {}


def left_out(deal: Deal, first_move: int = 0) -> Deal:
    """The deal, left out of the metrics from a move on."""
    moves = [
        replace(move, excluded_by="owners: Eve") if place >= first_move else move
        for place, move in enumerate(deal.moves)
    ]
    return Deal(f"{deal.key} out", tuple(moves))


def test_deals_left_out_of_the_metrics_are_no_evidence(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = book_of(tmp_path / "plain", BUSINESS)
    # February is there once more, open until it is won out of scope
    book = book_of(tmp_path, [*BUSINESS, left_out(MARCH), left_out(NEVER), left_out(FEBRUARY, 1)])
    february = book.number_of(date(2025, 2, 10))
    begun = book.number_of(date(2025, 1, 6))
    more_open = book.open_deals - plain.open_deals
    assert set(more_open[begun:february]) == {1}
    assert set(more_open[february:]) == {0}
    assert (book.amount.won == plain.amount.won).all()
    assert book.cycles.equals(plain.cycles)
    for quarter, booked in plain.amount.won_from_open.items():
        assert (book.amount.won_from_open[quarter] == booked).all()


def test_lumpiness_is_the_mean_square_of_a_booking_over_its_mean(tmp_path: Path) -> None:
    book = book_of(tmp_path, BUSINESS)
    # 50, 100, 200, 400: mean 187.5, variance 71,875 / 3; and 50, 100 as known on 10 February.
    assert book.lumpiness(book.number_of(AS_OF)) == pytest.approx(1000 * (71_875 / 3 / 187.5 + 187.5))
    assert book.lumpiness(book.number_of(date(2025, 2, 10))) == pytest.approx(1000 * (1250 / 75 + 75))
    # One booking has no spread, and the last year is all that counts.
    assert book.lumpiness(book.number_of(date(2025, 1, 15))) == 0.0


def test_bookings_of_one_day_are_as_unlike_as_their_sum_is_unlike_its_number(tmp_path: Path) -> None:
    day = date(2025, 2, 10)
    deals = [won_deal(key, date(2025, 1, 6), day, 200) for key in ("a", "b")]
    later = won_deal("c", date(2025, 1, 6), date(2025, 2, 11), 500)
    book = book_of(tmp_path, [*deals, later])
    # Mean 300. The day of two is 200 below 2 × 300, the other 200 above: 200² / 2 + 200², of one degree
    # of freedom.
    assert book.lumpiness(book.number_of(AS_OF)) == pytest.approx(1000 * (60_000 / 300 + 300))
