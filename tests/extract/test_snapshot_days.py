"""Which day a deals file stands for, and what of it lands so that exports can be compared."""

from datetime import UTC, date, datetime, timedelta

from small_business import DEALS, NOW, STAGES, Business

from dagster_project.extract.as_of import AsOf, resolve_as_of

HEADER = "ID,Stage,Amount,Close,Created\n"
FIRST = HEADER + "D1,Meeting,5,2026-04-30,2026-03-30\n"
SECOND = HEADER + "D1,Offer,5,2026-04-30,2026-03-30\n"


def days(business: Business) -> list[tuple]:
    """File, day and how the day is known, in the order of reading."""
    return [(read["file"], read["snapshot_on"], read["snapshot_basis"]) for read in business.landed("reads")
            if read["entity"] == "deals"]  # fmt: skip


def test_the_date_in_the_name_comes_first_then_data_as_of(business: Business) -> None:
    business.source = DEALS + STAGES + "    data_as_of: 2026-03-25\n"
    business.write("deals_20260331.csv", FIRST)
    business.write("deals.csv", SECOND)
    business.extract()
    assert sorted(days(business)) == [
        ("deals.csv", "2026-03-25", "data_as_of"),
        ("deals_20260331.csv", "2026-03-31", "file_name"),
    ]


def test_an_undated_file_stands_for_the_eve_of_its_reading_on_the_business_calendar(
    business: Business,
) -> None:
    business.write("deals.csv", FIRST)
    business.extract(now=datetime(2026, 4, 1, 22, 30, tzinfo=UTC))  # 2 April in Amsterdam
    assert days(business) == [("deals.csv", "2026-04-01", "reading")]


def test_an_undated_file_that_ends_weeks_before_stands_for_no_day(business: Business) -> None:
    """Read on 2 April; its newest event is of 17 March, one day more than a fortnight before the eve."""
    business.write("deals.csv", HEADER + "D1,Meeting,5,,2026-03-17\n")
    business.extract()
    assert days(business) == [("deals.csv", None, None)]


def test_the_same_bytes_under_a_newer_name_stand_for_that_day_too(business: Business) -> None:
    business.write("deals_2026-03-30.csv", FIRST)
    business.extract()
    business.write("deals_2026-03-31.csv", FIRST)
    business.extract(now=NOW + timedelta(days=1))
    assert [day for _, day, _ in days(business)] == ["2026-03-30", "2026-03-31"]
    assert len({read["sha256"] for read in business.landed("reads") if read["entity"] == "deals"}) == 1
    assert len(business.landed("deals")) == 1


def test_same_bytes_of_the_first_load_belong_to_the_first_load(business: Business) -> None:
    business.write("deals_2026-03-30.csv", FIRST)
    business.write("deals_2026-03-31.csv", FIRST)
    business.extract()
    reads = [read for read in business.landed("reads") if read["entity"] == "deals"]
    assert [read["_"]["is_initial_load"] for read in reads] == [True, True]


def test_a_record_bears_the_digest_of_its_file_and_a_refused_row_the_id_of_its_deal(
    business: Business,
) -> None:
    business.write("deals.csv", FIRST + "D2,Offer,TBD,,\nD3,Offer\n")
    business.extract()
    (read,) = [read for read in business.landed("reads") if read["entity"] == "deals"]
    (record,) = business.landed("deals")
    assert record["sha256"] == read["sha256"]
    assert [reject["key"] for reject in business.landed("rejects")] == ["D2", None]


def test_with_a_second_export_the_data_reach_its_day(business: Business) -> None:
    """A move leaves no dated event: the newest of both files is of 30 March."""
    business.write("deals.csv", FIRST)
    business.extract(now=NOW - timedelta(days=1))
    assert resolve_as_of(business.settings(), NOW) == AsOf(date(2026, 3, 30), "newest_event")
    business.write("deals.csv", SECOND)
    business.extract(now=NOW)
    assert resolve_as_of(business.settings(), NOW) == AsOf(date(2026, 4, 1), "snapshot")
