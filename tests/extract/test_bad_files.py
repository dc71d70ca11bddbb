"""Odd files and their outcomes: what is kept, what is refused, and what is said, one line each.

Bytes that are no table are in test_file_rejects and test_archives; ways of writing values in
test_report_exports.
"""

import pytest
from small_business import DEALS, STAGES, Business

from dagster_project.extract.files.results import FileReport

HEADER = "ID,Stage,Amount,Close,Created\n"
PIPELINES = DEALS.replace("deal_id: ID,", "deal_id: ID, pipeline: Pipe,")


def outcome(report: FileReport) -> tuple[int, int, int]:
    return report.rows_kept, report.rows_rejected, report.rows_duplicate


@pytest.mark.parametrize(
    ("rows", "kept", "rejected", "duplicate"),
    [
        ("D1,Won,5,,\n", 1, 0, 0),  # won without a close date
        ("D1,Won,5,2026-01-01,2026-02-01\n", 1, 0, 0),  # closed before it was created
        ("D1,Offer,5,2031-12-31,2026-02-01\n", 1, 0, 0),  # a date far ahead may be meant
        ("D1,Offer,5,1900-01-01,\n", 0, 1, 0),  # no deal is so old: a zero of a spreadsheet
        ("D1,Offer,-5,,\n", 1, 0, 0),  # a credit
        ("D1,Offer,0,,\n", 1, 0, 0),
        ("D1, OFFER ,5,,\n", 1, 0, 0),
        ("D1,Offer,5,,\nD1,Offer,5,,\n", 1, 0, 1),
        ("D1,Offer,5,,\nD1,Won,5,,\n", 1, 1, 0),  # one id for two deals, or two versions of one
        ("D1,Offer,5\nD2,Offer,5,,,,\nD3,Offer,5,,\n", 1, 2, 0),
        ("D1,Offer,€5,,\nD2,Offer,£5,,\nD3,Offer,$5,,\n", 2, 1, 0),  # three currencies in one column
    ],
)
def test_each_row_of_an_odd_file_has_one_fate(
    business: Business, rows: str, kept: int, rejected: int, duplicate: int
) -> None:
    business.write("deals.csv", HEADER + rows)
    report = business.report()
    assert (report.status, report.adds_up) == ("read", True)
    assert outcome(report) == (kept, rejected, duplicate)


def test_amounts_in_two_currencies_keep_each_its_own(business: Business) -> None:
    business.write("deals.csv", HEADER + "D1,Offer,€5,,\nD2,Offer,£5,,\nD3,Offer,5,,\n")
    business.extract()
    assert [deal["currency"] for deal in business.landed("deals")] == ["EUR", "GBP", None]


def test_two_pipelines_in_one_file_keep_their_own_stages(business: Business) -> None:
    business.source = (
        PIPELINES
        + """\
    stages:
      - {name: New, id: a1, pipeline: A, order: 1}
      - {name: New, id: b1, pipeline: B, order: 1}
      - {name: Won, outcome: won}
"""
    )
    business.write("deals.csv", "ID,Stage,Pipe\nD1,New,A\nD2,New,B\nD3,Won,B\n")
    report = business.report()
    assert (outcome(report), report.unknown_values) == ((3, 0, 0), ())
    assert [deal["stage"] for deal in business.landed("deals")] == ["a1", "b1", "Won"]


def test_a_deal_without_changes_and_changes_without_a_deal_are_both_kept(business: Business) -> None:
    business.source = (
        DEALS
        + STAGES
        + """\
    stage_history: {path: log.csv, columns: {deal_id: Deal, changed_at: At, stage: To}}
"""
    )
    business.write("deals.csv", HEADER + "D1,Offer,5,,\n")
    business.write("log.csv", "Deal,At,To\nD2,2026-03-01,Offer\n")
    reports = business.extract()
    assert [outcome(report) for entity in ("deals", "stage_history") for report in reports.of(entity)] == [
        (1, 0, 0), (1, 0, 0),
    ]  # fmt: skip


def test_a_renamed_and_moved_column_is_said_and_a_required_one_fails_its_file_alone(
    business: Business,
) -> None:
    business.write("deals1.csv", "Created,Close,Value,Stage,ID\n,,5,Offer,D1\n")
    business.write("deals2.csv", "Stage,Deal ID\nOffer,D2\n")
    first, second = business.extract().of("deals")
    assert (outcome(first), first.columns_missing, first.columns_unmapped) == (
        (1, 0, 0),
        ("Amount",),
        ("Value",),
    )
    assert second.status == "failed"
    assert "has no column 'ID', which `deal_id` needs" in (second.problem or "")
