"""From the daily book to what is known on one day about one quarter."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from dagster_project.forecast.baselines import BASELINES, PastWindow, Remaining, Situation
from dagster_project.forecast.daily_book import AMOUNT, COUNT, DailyBook

HAZARDS = "hazards"
"""Expected from the win curves of deals like the open ones, and of deals like those that will open."""

CHALLENGER = "challenger"
"""Expected from a learned hazard per deal (optional extra `ml`); absent where it is not installed."""

MODELS = (HAZARDS, CHALLENGER)
"""What may be served beside the baselines, through the gate; any of them may have no answer."""

HORIZONS = 5
"""This fiscal quarter and the next four."""

EARLY, MIDDLE, LATE = (f"this quarter, {part}" for part in ("early", "middle", "late"))
HORIZON_ORDER = (LATE, MIDDLE, EARLY, *(f"quarter+{offset}" for offset in range(1, HORIZONS)))
"""From near to far: what is learned about one horizon tells something about its neighbours."""

PAST_QUARTERS = 4
"""A year of completed quarters tells shares and yields: seasons are in it, old habits are not."""

RUN_RATE_DAYS = 91
SHORTEST_RUN_RATE_DAYS = 28
EARLY_DAYS_LEFT = 60
LATE_DAYS_LEFT = 30


@dataclass(frozen=True)
class Outlook:
    """All methods' answers on one day for one quarter, in thousandths of the reporting currency.

    lumpiness: mean square of a booking / its mean, so that bookings that come one by one, m in all, vary by
        m × lumpiness (variance).
    remaining: method → parts still to come; a method without evidence is absent.
    """

    day: date
    quarter_position: int
    quarter_offset: int
    horizon: str
    measure_form: str
    already_won: int
    already_won_without_amount: int
    typical_booking: float
    lumpiness: float
    remaining: dict[str, Remaining]


@dataclass(frozen=True)
class Origin:
    """One completed forecast: what was seen, what then was booked (thousandths), and when that was final."""

    outlook: Outlook
    actual: int
    known_on: date


def horizon_of(quarter_offset: int, days_left: int) -> str:
    """The bucket whose errors are alike: this quarter early, in the middle or late, or a later quarter."""
    if quarter_offset > 0:
        return f"quarter+{quarter_offset}"
    if days_left > EARLY_DAYS_LEFT:
        return EARLY
    return LATE if days_left <= LATE_DAYS_LEFT else MIDDLE


def outlook(book: DailyBook, day: date, quarter_offset: int) -> Outlook:
    """All baselines, and hazards, on `day` for the fiscal quarter `quarter_offset` quarters ahead.

    Raises:
        CalendarTooShort: the calendar ends before that quarter.
    """
    number = book.number_of(day)
    current = book.quarters.position_of(day)
    target = book.quarters.position_of(day) + quarter_offset
    days_left = (book.quarters[current].ends_on - day).days
    form = book.form_on(number)
    average = book.average_booking(number)
    worth = 1.0 if form == AMOUNT else average
    remaining: dict[str, Remaining] = {}
    if worth is not None:
        situation = situation_on(book, day, quarter_offset, form)
        for method, baseline in BASELINES.items():
            answer = baseline(situation)
            if answer is not None:
                remaining[method] = Remaining(answer.from_open * worth, answer.from_new * worth)
    quarter = book.quarters[target]
    for method, expected in ((HAZARDS, book.by_hazards), (CHALLENGER, book.by_challenger)):
        answer = expected.get((day, quarter.number))
        if answer is not None:
            remaining[method] = answer
    first, last = book.number_of(quarter.starts_on), book.number_of(quarter.ends_on)
    deals, priced, _ = book.booked_between(first, last, number)
    return Outlook(
        day=day,
        quarter_position=target,
        quarter_offset=quarter_offset,
        horizon=horizon_of(quarter_offset, days_left),
        measure_form=form,
        already_won=int(book.amount.won[target, number]),
        already_won_without_amount=deals - priced,
        typical_booking=average or 0.0,
        lumpiness=book.lumpiness(number),
        remaining=remaining,
    )


def situation_on(book: DailyBook, day: date, quarter_offset: int, form: str) -> Situation:
    """What the baselines may look at; `form` is `amount` or `count`."""
    number = book.number_of(day)
    current = book.quarters.position_of(day)
    target = current + quarter_offset
    quarter = book.quarters[target]
    days_left = (book.quarters[current].ends_on - day).days
    measure = book.measure(form)
    return Situation(
        open_by_stage=measure.open[:, number],
        window_days=days_left if quarter_offset == 0 else quarter.days,
        is_current_quarter=quarter_offset == 0,
        daily_rate=_daily_rate(book, number, form),
        last_quarter=_same_window(book, number, current - 1, quarter_offset, days_left, form),
        last_year=_same_window(
            book, number, target - 4 * (1 + quarter_offset // 4), quarter_offset, days_left, form
        ),
        past=_past_windows(book, day, quarter_offset, days_left, form),
        closing=_closing(book, number, target, quarter_offset, form),
    )


def _daily_rate(book: DailyBook, number: int, form: str) -> float | None:
    first_booking = book.first_booking()
    if first_booking is None:
        return None
    days = min(RUN_RATE_DAYS, number - first_booking + 1)
    if days < SHORTEST_RUN_RATE_DAYS:
        return None
    deals, _, thousandths = book.booked_between(number - days + 1, number, number)
    return max(0, deals if form == COUNT else thousandths) / days


def _is_full(book: DailyBook, position: int) -> bool:
    """Whether the quarter began after the first booking: before that the history is cut on its left."""
    first_booking = book.first_booking()
    if position < 0 or first_booking is None:
        return False
    return book.number_of(book.quarters[position].starts_on) > first_booking


def _same_window(
    book: DailyBook, number: int, position: int, quarter_offset: int, days_left: int, form: str
) -> float | None:
    """Booked in the same window of the quarter at `position`, as known on day `number`."""
    if not _is_full(book, position):
        return None
    won = book.measure(form).won[position]
    if quarter_offset > 0:
        return float(won[number])
    origin = book.number_of(book.quarters.same_distance_from_end(position, days_left))
    return float(won[number] - won[origin])


def _past_windows(
    book: DailyBook, day: date, quarter_offset: int, days_left: int, form: str
) -> tuple[PastWindow, ...]:
    measure = book.measure(form)
    windows: list[PastWindow] = []
    for position in range(book.quarters.completed_by(day) - 1, -1, -1):
        home = position - quarter_offset
        if home < 0 or len(windows) == PAST_QUARTERS or not _is_full(book, position):
            break
        origin_day = book.quarters.same_distance_from_end(home, days_left)
        if book.first_event_on is None or origin_day < book.first_event_on:
            break
        origin = book.number_of(origin_day)
        known_on = book.quarters[position].known_on
        assert known_on is not None  # a completed quarter has one
        won = measure.won[position]
        came_from = measure.won_from_open.get(position)
        windows.append(
            PastWindow(
                open_by_stage=measure.open[:, origin],
                open_deals_by_stage=book.count.open[:, origin],
                won_by_stage=came_from[:, origin] if came_from is not None else measure.open[:, origin] * 0,
                booked=max(0.0, float(won[book.number_of(known_on)] - won[origin])),
            )
        )
    return tuple(windows)


def _closing(book: DailyBook, number: int, target: int, quarter_offset: int, form: str) -> float | None:
    """Open × stage probability due in the target quarter; what is overdue is due in the current quarter."""
    if 2 * book.open_forecastable_deals[number] < book.open_deals[number] or book.open_deals[number] == 0:
        return None
    closing = book.measure(form).closing
    if quarter_offset == 0:
        return sum(float(value) for value in closing[: target + 1, number])
    return float(closing[target, number])
