"""Which day a run speaks of."""

from datetime import UTC, date, datetime

import pytest
from small_business import DEALS, NOW, STAGES, Business

from dagster_project.extract.as_of import AsOf, AsOfError, resolve_as_of

HEADER = "ID,Stage,Amount,Close,Created\n"
ENTERED = "    stage_entered: {Meeting: met}\n"


def as_of(business: Business, now: datetime = NOW, **environ: str) -> AsOf:
    return resolve_as_of(business.settings(**environ), now)


def test_the_newest_event_of_the_data_counts_and_not_the_close_date_of_an_open_deal(
    business: Business,
) -> None:
    business.write(
        "deals.csv",
        HEADER + "D1,Offer,5,2026-03-31,2026-03-20\nD2,Won,5,2026-03-25,2026-01-01\nD3,Lost,5,2026-12-01,\n",
    )
    business.extract()
    assert as_of(business) == AsOf(date(2026, 3, 25), "newest_event")


def test_the_close_date_of_a_deal_with_a_closing_is_no_event(business: Business) -> None:
    """D1 was closed on the 24th and keeps its expected day; of D2 only the close date tells the closing."""
    business.source = DEALS.replace("deal_id: ID,", "deal_id: ID, closed_at: Closed,") + STAGES
    business.write(
        "deals.csv",
        "ID,Stage,Close,Closed\nD1,Won,2026-03-30,2026-03-24\nD2,Won,2026-03-25,\n",
    )
    business.extract()
    assert as_of(business) == AsOf(date(2026, 3, 25), "newest_event")


def test_entries_out_of_date_columns_and_status_count(business: Business) -> None:
    business.source = DEALS.replace("deal_id: ID,", "deal_id: ID, status: State,") + STAGES + ENTERED
    business.write("deals.csv", "ID,Stage,Close,State,met\nD1,Offer,2026-03-27,won,\nD2,Offer,,,2026-03-28\n")
    business.extract()
    assert as_of(business).day == date(2026, 3, 28)


def test_an_event_counts_on_its_business_day(business: Business) -> None:
    business.write("deals.csv", HEADER + "D1,Offer,5,,2026-03-20T23:30:00Z\n")
    business.extract()
    assert as_of(business).day == date(2026, 3, 21)


def test_events_in_the_future_do_not_count(business: Business) -> None:
    business.write("deals.csv", HEADER + "D1,Offer,5,,2026-03-20\nD2,Offer,5,,2031-01-01\n")
    business.extract()
    assert as_of(business).day == date(2026, 3, 20)


def test_the_day_is_never_later_than_yesterday_in_the_business_zone(business: Business) -> None:
    business.write("deals.csv", HEADER + "D1,Offer,5,,2026-04-02 00:30\n")
    now = datetime(2026, 4, 1, 22, 45, tzinfo=UTC)  # 00:45 on 2 April in Amsterdam
    business.extract(now=now)
    assert as_of(business, now) == AsOf(date(2026, 4, 1), "yesterday")


def test_the_date_in_the_file_name_comes_before_the_events(business: Business) -> None:
    business.write("deals_2026-03-29.csv", HEADER + "D1,Offer,5,,2026-03-20\n")
    business.extract()
    assert as_of(business) == AsOf(date(2026, 3, 29), "file_name")


def test_a_declared_day_comes_before_the_file_name(business: Business) -> None:
    business.source = "    data_as_of: 2026-03-30\n" + DEALS + STAGES
    business.write("deals_2026-03-29.csv", HEADER + "D1,Offer,5,,2026-03-20\n")
    business.extract()
    assert as_of(business) == AsOf(date(2026, 3, 30), "data_as_of")


def test_the_slowest_source_decides(business: Business) -> None:
    business.extra = (
        "  - name: other\n    type: files\n    data_as_of: 2026-03-22\n"
        "    deals: {path: other.csv, columns: {deal_id: ID, stage: Stage}}\n"
    )
    business.write("deals.csv", HEADER + "D1,Offer,5,,2026-03-25\n")
    business.extract()
    assert as_of(business).day == date(2026, 3, 22)


def test_a_source_that_is_still_silent_is_named_and_holds_nothing_back(business: Business) -> None:
    business.extra = (
        "  - name: other\n    type: files\n"
        "    deals: {path: other.csv, columns: {deal_id: ID, stage: Stage}}\n"
    )
    business.write("deals.csv", HEADER + "D1,Offer,5,,2026-03-25\n")
    business.extract()
    found = as_of(business)
    assert found.day == date(2026, 3, 25)
    assert "other has delivered no dated record yet" in (found.warning or "")


@pytest.mark.parametrize(("day", "warns"), [("2026-03-18", False), ("2026-03-17", True)])
def test_data_older_than_fourteen_days_are_warned_about(business: Business, day: str, warns: bool) -> None:
    business.write("deals.csv", HEADER + f"D1,Offer,5,,{day}\n")
    business.extract()
    found = as_of(business)  # on 2 April: yesterday is 1 April
    assert ("15 days ago" in (found.warning or "")) == warns


def test_an_explicit_day_wins_and_one_that_is_not_over_is_refused(business: Business) -> None:
    assert as_of(business, STAGELEDGER_AS_OF="2026-02-28") == AsOf(date(2026, 2, 28), "STAGELEDGER_AS_OF")
    with pytest.raises(AsOfError, match="the last complete day is 2026-04-01"):
        as_of(business, STAGELEDGER_AS_OF="2026-04-02")


def test_without_any_data_there_is_no_day(business: Business) -> None:
    with pytest.raises(AsOfError, match="no source has delivered a dated record yet"):
        as_of(business)
