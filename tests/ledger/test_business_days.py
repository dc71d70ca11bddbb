"""Days of the business: its time zone, its fiscal calendar, its weeks and its holidays."""

import itertools
from datetime import date, datetime, timedelta

import pytest

from tests.ledger.book import STAGES, Book, Change, Record, Run, Settings
from tests.ledger.ledger_bench import LedgerBench

EARLY = datetime(2019, 12, 30, 9)


def calendar(bench: LedgerBench, *columns: str, where: str = "true", **settings) -> list[tuple]:
    """Days from 2018 on (the calendar begins a year before the first event), as of 30 June 2026."""
    runs = (Run(date(2026, 6, 30), datetime(2026, 7, 1, 1)),)
    book = Book(STAGES, (), (Change("1", EARLY, "lead"),), runs, Settings(**settings))
    return bench.build(book, ["dim_date"]).rows("dim_date", *columns, where=where, order="date_day")


def days_told(bench: LedgerBench, zone: str, *instants: datetime) -> list[tuple]:
    stages = ("lead", "opp", "quote", "won")
    changes = tuple(Change("1", at, stage) for at, stage in zip(instants, stages, strict=False))
    book = Book(STAGES, (Record("1", instants[0]),), changes, settings=Settings(time_zone=zone))
    columns = ("business_date", "fiscal_quarter", "hours", "calendar_days")
    return bench.build(book).rows("fct_stage_transitions", *columns, order="transition_number")


def test_t25_a_closing_late_on_31_march_in_phoenix_belongs_to_the_first_quarter(bench: LedgerBench) -> None:
    """23:30 in Phoenix is 06:30 UTC of 1 April; a pure date stays what it is."""
    entered, closed = datetime(2025, 3, 30, 6, 30), datetime(2025, 4, 1, 6, 30)
    assert days_told(bench, "America/Phoenix", entered, closed) == [
        (date(2025, 3, 29), "2025Q1", 48.0, 2),
        (date(2025, 3, 31), "2025Q1", None, None),
    ]
    changes = (
        Change("1", entered, "lead", close_date=date(2025, 3, 31)),
        Change("1", closed, "won"),
    )
    book = Book(STAGES, (Record("1", entered),), changes, settings=Settings(time_zone="America/Phoenix"))
    tables = bench.build(book, ["fct_deals"])
    assert tables.one("fct_deals", "closed_on", "won_on") == (date(2025, 3, 31), date(2025, 3, 31))


def test_t26_the_day_on_which_the_clocks_go_forward_has_23_hours(bench: LedgerBench) -> None:
    """From midnight to midnight of 30 March 2025 in Amsterdam, and of 26 October, which has 25."""
    spring = (datetime(2025, 3, 29, 23), datetime(2025, 3, 30, 22))
    assert days_told(bench, "Europe/Amsterdam", *spring)[0] == (date(2025, 3, 30), "2025Q1", 23.0, 1)
    autumn = (datetime(2025, 10, 25, 22), datetime(2025, 10, 26, 23))
    assert days_told(bench, "Europe/Amsterdam", *autumn)[0] == (date(2025, 10, 26), "2025Q4", 25.0, 1)


def test_t29_the_end_of_a_business_day_shows_the_change_of_its_afternoon(bench: LedgerBench) -> None:
    """15:00 in Auckland is 02:00 UTC of the same day, 08:00 in the morning 19:00 UTC of the day before."""
    changes = (
        Change("1", datetime(2025, 7, 1, 19), "lead"),
        Change("1", datetime(2025, 7, 2, 3), "opp"),
    )
    for day, stage in ((date(2025, 7, 2), "opp"), (date(2025, 7, 3), "opp")):
        book = Book(
            STAGES, (), changes, (Run(day, datetime(2026, 1, 1, 1)),), Settings(time_zone="Pacific/Auckland")
        )
        tables = bench.build(book, ["fct_deals", "fct_deal_versions"])
        assert tables.one("fct_deals", "stage_id") == stage
        where = f"valid_from_date <= '{day}' and (valid_to_date is null or valid_to_date > '{day}')"
        assert tables.one("fct_deal_versions", "stage_id", where=where) == stage
    book = Book(STAGES, (), changes, (Run(date(2025, 7, 1), datetime(2026, 1, 1, 1)),), book.settings)
    assert bench.build(book, ["fct_deals"]).rows("fct_deals", "deal_id") == []


def test_every_day_has_the_iso_week_that_python_gives(bench: LedgerBench) -> None:
    rows = calendar(bench, "date_day", "week_label", "week_start_on", "iso_weekday")
    assert len(rows) > 7 * 365
    labels = set()
    for day, label, week_start, weekday in rows:
        year, week, iso_weekday = day.isocalendar()
        assert label == f"{year}-W{week:02}"
        assert (week_start, weekday) == (day - timedelta(days=iso_weekday - 1), iso_weekday)
        labels.add(label)
    assert {"2020-W53", "2026-W53"} <= labels
    assert "2025-W53" not in labels


def test_weeks_that_start_on_sunday_are_named_after_most_of_their_days(bench: LedgerBench) -> None:
    rows = calendar(
        bench,
        "date_day",
        "week_start_on",
        "week_label",
        where="date_day between '2026-01-03' and '2026-01-11'",
        week_start=7,
    )
    assert [(day.day, start, label) for day, start, label in rows] == [
        (3, date(2025, 12, 28), "2026-W01"),
        *((number, date(2026, 1, 4), "2026-W02") for number in range(4, 11)),
        (11, date(2026, 1, 11), "2026-W03"),
    ]


def test_t28_a_fiscal_year_that_starts_in_february_is_named_by_the_year_it_ends_in(
    bench: LedgerBench,
) -> None:
    columns = ("quarter_label", "year_label", "fiscal_month_number", "quarter_start_on", "quarter_end_on")
    columns += ("day_of_quarter", "year_start_on")
    where = "date_day in ('2025-01-31', '2025-02-01', '2025-05-01', '2026-01-31')"
    assert calendar(bench, *columns, where=where, fiscal_year_start_month=2) == [
        ("2025Q4", "2025", 12, date(2024, 11, 1), date(2025, 1, 31), 92, date(2024, 2, 1)),
        ("2026Q1", "2026", 1, date(2025, 2, 1), date(2025, 4, 30), 1, date(2025, 2, 1)),
        ("2026Q2", "2026", 4, date(2025, 5, 1), date(2025, 7, 31), 1, date(2025, 2, 1)),
        ("2026Q4", "2026", 12, date(2025, 11, 1), date(2026, 1, 31), 92, date(2025, 2, 1)),
    ]


def test_t28_a_retail_year_has_the_weeks_that_the_trade_publishes(bench: LedgerBench) -> None:
    """4-5-4, Sunday to Saturday, ending nearest to 31 January: 2023 as retailers name it had 53 weeks."""
    retail = {
        "fiscal_calendar": "4-5-4",
        "fiscal_year_end": "nearest",
        "fiscal_year_start_month": 2,
        "week_start": 7,
    }
    columns = ("year_label", "month_label", "quarter_label", "month_start_on", "month_end_on", "year_end_on")
    where = "date_day in ('2023-01-29', '2024-02-03', '2024-02-04', '2024-03-03', '2024-04-07', '2025-02-01')"
    first, second = date(2024, 2, 3), date(2025, 2, 1)
    assert calendar(bench, *columns, where=where, **retail) == [
        ("2024", "2024-P01", "2024Q1", date(2023, 1, 29), date(2023, 2, 25), first),
        ("2024", "2024-P12", "2024Q4", date(2023, 12, 31), first, first),
        ("2025", "2025-P01", "2025Q1", date(2024, 2, 4), date(2024, 3, 2), second),
        ("2025", "2025-P02", "2025Q1", date(2024, 3, 3), date(2024, 4, 6), second),
        ("2025", "2025-P03", "2025Q1", date(2024, 4, 7), date(2024, 5, 4), second),
        ("2025", "2025-P12", "2025Q4", date(2025, 1, 5), second, second),
    ]


def test_t28_a_year_can_end_with_the_last_saturday_of_a_month(bench: LedgerBench) -> None:
    """The last Saturdays of September: 24 September 2022, 30 September 2023 after 53 weeks."""
    weeks = {"fiscal_calendar": "4-4-5", "fiscal_year_start_month": 10, "week_start": 7}
    rows = calendar(
        bench,
        "year_label",
        "year_start_on",
        "year_end_on",
        where="date_day in ('2022-09-24', '2023-03-01', '2024-09-28')",
        **weeks,
    )
    assert rows == [
        ("2022", date(2021, 9, 26), date(2022, 9, 24)),
        ("2023", date(2022, 9, 25), date(2023, 9, 30)),
        ("2024", date(2023, 10, 1), date(2024, 9, 28)),
    ]
    # The same day of the quarter before: a quarter of 14 weeks is followed by one of 13.
    columns = ("day_of_quarter", "quarter_start_on", "same_day_last_quarter")
    where = "date_day in ('2023-09-30', '2023-10-07', '2023-12-30')"
    assert calendar(bench, *columns, where=where, **weeks) == [
        (98, date(2023, 6, 25), date(2023, 6, 24)),
        (7, date(2023, 10, 1), date(2023, 7, 1)),
        (91, date(2023, 10, 1), date(2023, 9, 23)),
    ]


@pytest.mark.parametrize("pattern", ["4-4-5", "4-5-4", "5-4-4"])
@pytest.mark.parametrize(
    ("year_end", "start_month", "week_start"), [("last", 1, 1), ("nearest", 1, 7), ("nearest", 7, 3)]
)
def test_years_of_weeks_have_whole_weeks_and_no_gap(
    bench: LedgerBench, pattern: str, year_end: str, start_month: int, week_start: int
) -> None:
    columns = (
        "date_day",
        "fiscal_year",
        "fiscal_month_number",
        "month_start_on",
        "month_end_on",
        "year_start_on",
        "year_end_on",
        "iso_weekday",
    )
    settings = {
        "fiscal_calendar": pattern,
        "fiscal_year_end": year_end,
        "fiscal_year_start_month": start_month,
        "week_start": week_start,
    }
    rows = calendar(bench, *columns, **settings)
    lengths = [int(weeks) for weeks in pattern.split("-")]
    years = set()
    for (day, year, month, start, end, begins, ends, weekday), following in itertools.pairwise(rows):
        assert start <= day <= end
        whole_year = (ends - begins).days + 1
        assert whole_year in (364, 371) and begins.isoweekday() == week_start
        expected = 7 * lengths[(month - 1) % 3] + (7 if month == 12 and whole_year == 371 else 0)
        assert (end - start).days + 1 == expected
        if day == start:
            assert weekday == week_start
        assert following[1:3] == ((year, month) if day < end else (year + month // 12, month % 12 + 1))
        years.add((year, ends, whole_year))
    # The last day of the month before the year begins, by Python's own calendar.
    for year, ends, _ in years:
        last_day = date(year, 12, 31) if start_month == 1 else date(year, start_month, 1) - timedelta(days=1)
        distance = (ends - last_day).days
        assert -6 <= distance <= 0 if year_end == "last" else -3 <= distance <= 3
    assert {length for *_, length in years} == {364, 371}


@pytest.mark.parametrize("start_month", [1, 2, 10])
def test_fiscal_quarters_follow_one_another_without_gap(bench: LedgerBench, start_month: int) -> None:
    rows = calendar(
        bench,
        "date_day",
        "quarter_index",
        "quarter_start_on",
        "quarter_end_on",
        "day_of_quarter",
        fiscal_year_start_month=start_month,
    )
    for (day, index, start, end, number), (_, next_index, next_start, _, _) in itertools.pairwise(rows):
        assert start <= day <= end
        assert number == (day - start).days + 1
        assert (start.month - start_month) % 3 == 0 and start.day == 1
        if day == end:
            assert (next_index, next_start) == (index + 1, day + timedelta(days=1))
        else:
            assert (next_index, next_start) == (index, start)


def test_offsets_count_from_the_day_of_the_run(bench: LedgerBench) -> None:
    """As of Tuesday 30 June 2026, the last day of the second quarter."""
    columns = ("quarter_offset", "week_offset", "is_complete", "same_day_last_quarter")
    where = "date_day in ('2025-12-31', '2026-06-28', '2026-06-30', '2026-07-01', '2026-07-06')"
    assert calendar(bench, *columns, where=where) == [
        (-2, -26, True, date(2025, 9, 30)),
        (0, -1, True, date(2026, 3, 30)),
        (0, 0, True, date(2026, 3, 31)),
        (1, 0, False, date(2026, 4, 1)),
        (1, 1, False, date(2026, 4, 6)),
    ]


def test_business_days_leave_out_weekends_and_holidays(build_landed) -> None:
    """Easter 2025: 18 and 21 April are holidays, so from Thursday 17 to Wednesday 23 is two days."""
    holidays = tuple(
        {"date": day, "name": name, "file": "holidays.csv"}
        for day, name in ((date(2025, 4, 18), "Good Friday"), (date(2025, 4, 21), "Easter Monday"))
    )
    changes = tuple(
        Change("1", at, stage)
        for at, stage in (
            (datetime(2025, 4, 17, 10), "lead"),
            (datetime(2025, 4, 23, 10), "opp"),
            (datetime(2025, 4, 25, 10), "quote"),
            (datetime(2025, 4, 28, 9), "won"),
        )
    )
    tables = build_landed(
        Book(STAGES, (Record("1", changes[0].changed_at),), changes, facts=(("holidays", holidays),))
    )
    told = tables.rows("fct_stage_transitions", "calendar_days", "business_days", order="transition_number")
    assert told == [(6, 2), (2, 2), (3, 1), (None, None)]
    where = "date_day between '2025-04-16' and '2025-04-22'"
    columns = ("is_business_day", "holiday_name", "business_day_of_quarter")
    assert tables.rows("dim_date", *columns, where=where, order="date_day") == [
        (True, None, 12),
        (True, None, 13),
        (False, "Good Friday", 13),
        (False, None, 13),
        (False, None, 13),
        (False, "Easter Monday", 13),
        (True, None, 14),
    ]
