"""The same values, however a file writes them: delimiters, encodings, numbers, dates, time zones."""

import csv
import io
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_business import DEALS, STAGES, Business

HEADER = "ID,Stage,Amount,Close,Created\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiter_encoding_and_quoted_line_breaks(
    business: Business, encoding: str, delimiter: str, newline: str
) -> None:
    rows = [
        ["ID", "Stage", "Amount", "Name"],
        ["D1", "Offer", "5", "Zoë, Müller; €|\t"],
        ["D2", "Won", "6", "a\nb"],
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=newline).writerows([*rows, ["D3", "Lost", "0", "x"]])
    declared = "" if encoding != "cp1252" else "      format: {encoding: cp1252}\n"
    business.source = DEALS.replace("deal_id: ID,", "deal_id: ID, name: Name,") + declared + STAGES
    business.write("deals.csv", text.getvalue().encode(encoding))
    assert business.report().rows_kept == 3
    deals = business.landed("deals")
    assert [deal["name"] for deal in deals] == ["Zoë, Müller; €|", "a\nb", "x"]
    assert [deal["row"] for deal in deals] == ["2", "3", "5"]


@pytest.mark.parametrize(
    ("decimal", "written", "read"),
    [
        (".", '"1,234.50"', "1234.5"),
        (".", '"1,234,567"', "1234567"),
        (".", "-12.345", "-12.345"),
        (".", "1 234.5", "1234.5"),
        (",", '"1.234,50"', "1234.5"),
        (",", '"1234,5"', "1234.5"),
        (",", "1.234", "1234"),
        (",", "1'234", "1234"),
        (",", "1234.50", None),
        (".", '"1234,5"', None),
        (".", '"1,23"', None),
    ],
)
def test_the_decimal_sign_decides_how_an_amount_is_read(
    business: Business, decimal: str, written: str, read: str | None
) -> None:
    business.source = DEALS + f"      format: {{decimal: '{decimal}'}}\n" + STAGES
    business.write("deals.csv", HEADER + f"D1,Offer,{written},,\n")
    report = business.report()
    assert [deal["amount"] for deal in business.landed("deals")] == ([read] if read else [])
    assert report.rows_rejected == (read is None)


def test_large_and_three_decimal_amounts_keep_every_digit(business: Business) -> None:
    business.write("deals.csv", HEADER + "D1,Offer,9007199254740993.125,,\nD2,Offer,1e3,,\n")
    business.extract()
    assert [deal["amount"] for deal in business.landed("deals")] == ["9007199254740993.125", "1000"]


@pytest.mark.parametrize(
    ("order", "written", "day"),
    [
        ("dmy", "31/03/2026", "2026-03-31"),
        ("dmy", "3.4.2026", "2026-04-03"),
        ("mdy", "03/04/2026", "2026-03-04"),
        ("dmy", "2026-03-04", "2026-03-04"),
        ("ymd", "2026/03/04", "2026-03-04"),
        (None, "20260304", "2026-03-04"),
        (None, "2026-03-04T00:00:00Z", "2026-03-04"),
        (None, "2026-03-04 00:00", "2026-03-04"),
        (None, "2026-03-04 23:30:00Z", "2026-03-05"),
        ("mdy", "3/4/2026 11:30 PM", "2026-03-04"),
    ],
)
def test_a_date_is_the_business_day_and_a_pure_date_is_never_shifted(
    business: Business, order: str | None, written: str, day: str
) -> None:
    declared = f"      format: {{date_order: {order}}}\n" if order else ""
    business.source = DEALS + declared + STAGES
    business.write("deals.csv", HEADER + f'D1,Offer,5,"{written}",\n')
    business.extract()
    assert [deal["close_date"] for deal in business.landed("deals")] == [day]


@pytest.mark.parametrize(
    ("written", "instant"),
    [
        ("3/4/2026 11:30 PM", "2026-03-04 22:30:00"),
        ("3/4/2026, 9:05:10 pm", "2026-03-04 20:05:10"),
        ("3/4/2026 12:05 AM", "2026-03-03 23:05:00"),
        ("2026-03-04 09:00:00 GMT", "2026-03-04 09:00:00"),
        ("2026-03-04 09:00:00 CET", None),
        ("2026-03-04 09:00 today", None),
    ],
)
def test_a_clock_of_twelve_hours_is_read_and_a_word_after_the_time_never_dropped(
    business: Business, written: str, instant: str | None
) -> None:
    business.source = DEALS + "      format: {date_order: mdy}\n" + STAGES
    business.write("deals.csv", HEADER + f'D1,Offer,5,,"{written}"\n')
    business.extract()
    assert [deal["created_at"] for deal in business.landed("deals")] == ([instant] if instant else [])


def test_a_parquet_file_of_typed_columns_gives_the_same_records_as_text(business: Business) -> None:
    table = pa.table(
        {
            "ID": [17, 18],
            "Stage": ["Offer", "Won"],
            "Amount": pa.array([12.5, None], pa.float64()),
            "Close": pa.array([date(2026, 6, 30), None]),
            "Created": pa.array([datetime(2026, 3, 1, 8, 30), None], pa.timestamp("us", "UTC")),
        }
    )
    pq.write_table(table, business.folder / "deals.parquet")
    report = business.report()
    assert (report.rows_read, report.rows_kept) == (2, 2)
    first, second = business.landed("deals")
    values = [first[name] for name in ("deal_id", "amount", "close_date", "created_at", "row")]
    assert values == ["17", "12.5", "2026-06-30", "2026-03-01 08:30:00", "1"]
    assert (second["amount"], second["created_at"]) == (None, None)


def test_columns_that_come_and_change_type_between_parquet_files_are_read_each_as_it_is(
    business: Business,
) -> None:
    one = pa.table({"ID": pa.array([1], pa.int32()), "Stage": ["Won"], "Amount": pa.array([5], pa.int32())})
    two = pa.table({"New": ["x"], "ID": ["A"], "Stage": ["Won"], "Amount": pa.array([2**40], pa.int64())})
    pq.write_table(one, business.folder / "deals1.parquet")
    pq.write_table(two, business.folder / "deals2.parquet")
    assert [report.rows_kept for report in business.extract().of("deals")] == [1, 1]
    found = {(deal["deal_id"], deal["amount"]) for deal in business.landed("deals")}
    assert found == {("1", "5"), ("A", str(2**40))}


@pytest.mark.parametrize(
    ("zone", "written", "utc"),
    [
        ("Europe/Amsterdam", "2026-03-29 01:59:59", "2026-03-29 00:59:59"),
        (
            "Europe/Amsterdam",
            "2026-03-29 02:30:00",
            "2026-03-29 01:30:00",
        ),  # skipped by the clock: an hour later
        ("Europe/Amsterdam", "2026-03-29 03:00:00", "2026-03-29 01:00:00"),
        ("Europe/Amsterdam", "2026-10-25 02:30:00", "2026-10-25 01:30:00"),  # occurs twice: the later one
        ("Europe/Amsterdam", "2026-10-25 02:30:00+02:00", "2026-10-25 00:30:00"),
        ("Europe/Amsterdam", "2026-03-29", "2026-03-28 23:00:00"),
        ("Europe/Amsterdam", "2026-03-30", "2026-03-29 22:00:00"),
        ("America/Phoenix", "2026-03-31 23:30:00", "2026-04-01 06:30:00"),
        ("America/Phoenix", "2026-03-31T23:30:00Z", "2026-03-31 23:30:00"),
        ("America/Phoenix", "2026-03-31T23:30:00.123456-0700", "2026-04-01 06:30:00.123456"),
        ("Africa/Cairo", "2026-04-24", "2026-04-23 22:00:00"),  # midnight is skipped: the day's first instant
    ],
)
def test_naive_times_are_local_and_dates_begin_at_local_midnight(
    business: Business, zone: str, written: str, utc: str
) -> None:
    business.zone = zone
    business.write("deals.csv", HEADER + f"D1,Offer,5,,{written}\n")
    business.extract(now=datetime(2027, 1, 1, tzinfo=UTC))
    assert [deal["created_at"] for deal in business.landed("deals")] == [utc]


def test_a_sources_zone_reads_its_times_and_the_business_zone_its_dates(business: Business) -> None:
    business.source = "    time_zone: America/New_York\n" + DEALS + STAGES
    business.write("deals.csv", HEADER + "D1,Offer,5,,2026-01-15 20:00:00\nD2,Offer,5,,2026-01-15\n")
    business.extract()
    assert [deal["created_at"] for deal in business.landed("deals")] == [
        "2026-01-16 01:00:00", "2026-01-14 23:00:00",
    ]  # fmt: skip
