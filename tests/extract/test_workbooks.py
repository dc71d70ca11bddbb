"""Excel workbooks: sheets, titles above the header, merged cells, serial dates, results of formulas."""

import pytest
from small_business import DEALS, STAGES, Business
from workbook_writer import Dated, Formula, workbook

HEADER = ["ID", "Stage", "Amount", "Close", "Created"]
# 46112 is 2026-03-31 counted from 1900, and 44650 the same day counted from 1904.
MARCH_31, MARCH_31_FROM_1904 = 46112, 44650


def deals(business: Business) -> list[tuple[str, ...]]:
    fields = ("deal_id", "stage", "amount", "close_date", "created_at", "row")
    return [tuple(deal[field] for field in fields) for deal in business.landed("deals")]


def test_dates_numbers_and_results_of_formulas_are_read_as_excel_shows_them(business: Business) -> None:
    rows = [
        HEADER,
        [17, "Offer", 1234.5, Dated(MARCH_31), Dated(MARCH_31 + 0.375)],
        ["D2", "Won", Formula("1+1", 2), MARCH_31, MARCH_31 + 0.375],
        ["D3", "Won", Formula("SUM(C2:C3)", None), "2026-03-31", None],
    ]
    business.write("deals.xlsx", workbook({"Sheet1": rows}))
    assert business.report().rows_kept == 3
    # 09:00 in Amsterdam's summer is 07:00 UTC.
    assert deals(business) == [
        ("17", "Offer", "1234.5", "2026-03-31", "2026-03-31 07:00:00", "2"),
        ("D2", "Won", "2", "2026-03-31", "2026-03-31 07:00:00", "3"),
        ("D3", "Won", None, "2026-03-31", None, "4"),
    ]


def test_a_workbook_that_counts_from_1904_has_its_own_first_day(business: Business) -> None:
    rows = [
        HEADER,
        ["D1", "Offer", 1, Dated(MARCH_31_FROM_1904), None],
        ["D2", "Offer", 1, MARCH_31_FROM_1904],
    ]
    business.write("deals.xlsx", workbook({"A": rows}, from_1904=True))
    business.extract()
    assert [deal[3] for deal in deals(business)] == ["2026-03-31", "2026-03-31"]


def test_titles_blank_rows_and_totals_of_a_report_are_no_rows(business: Business) -> None:
    rows = [
        ["Deals by stage"],
        [],
        ["As of", Dated(MARCH_31)],
        HEADER,
        ["D1", "Offer", 5],
        [None, None],
        ["D2", "Won", 6],
        [],
        ["Grand Total", None, 11],
        ["Confidential"],
    ]
    business.write("deals.xlsx", workbook({"Report": rows}))
    report = business.report()
    assert (report.rows_read, report.rows_kept, report.lines_beside) == (2, 2, 4)
    assert [(deal[0], deal[5]) for deal in deals(business)] == [("D1", "5"), ("D2", "7")]


def test_merged_cells_hold_the_value_of_their_first_cell_in_every_row(business: Business) -> None:
    rows = [
        ["ID", "Deal"],
        [None, "Stage", "Amount"],
        ["D1", "Offer", 5],
        ["D2", None, 6],
    ]
    merged = ["A1:A2", "B1:C1", "B3:B4"]
    business.write("deals.xlsx", workbook({"Report": rows}, merged=merged))
    assert business.report().rows_kept == 2
    assert [deal[:3] for deal in deals(business)] == [("D1", "Offer", "5"), ("D2", "Offer", "6")]


def test_the_sheet_is_the_one_named_or_the_only_one_that_has_the_columns(business: Business) -> None:
    one, two = [HEADER, ["D1", "Offer"]], [HEADER, ["D2", "Won"]]
    business.write("deals.xlsx", workbook({"Notes": [["hello"]], "Deals": one, "Old": two}, hidden=["Old"]))
    business.extract()
    assert [deal[0] for deal in deals(business)] == ["D1"]
    business.source = DEALS.replace("path: deals*", "path: deals*\n      sheet: old") + STAGES
    assert business.report().rows_kept == 1
    assert [deal[0] for deal in deals(business)] == ["D2"]


def test_several_sheets_that_fit_are_refused_with_the_lines_to_paste(business: Business) -> None:
    rows = [HEADER, ["D1", "Offer"]]
    business.write("deals.xlsx", workbook({"2025": rows, "2026": rows}))
    report = business.report()
    assert report.status == "failed"
    assert "`sheet: 2025` or `sheet: 2026`" in (report.problem or "")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty (0 bytes)"),
        (b"<html><body>Log in</body></html>", "is no Excel workbook"),
        (workbook({"A": [HEADER]})[:-40], "is no Excel workbook"),
        (workbook({"A": []}), "has no cells"),
        (workbook({"A": [["ID", "Phase"], ["D1", "Offer"]]}), "has no column 'Stage'"),
    ],
)
def test_a_workbook_that_cannot_be_read_fails_alone(business: Business, content: bytes, problem: str) -> None:
    business.write("deals1.csv", "ID,Stage\nD1,Offer\n")
    business.write("deals2.xlsx", content)
    good, bad = business.extract().of("deals")
    assert (good.rows_kept, bad.status) == (1, "failed")
    assert problem in (bad.problem or "")


def test_numbers_of_a_workbook_are_numbers_whatever_sign_its_texts_use(business: Business) -> None:
    business.source = DEALS + '      format: {decimal: ","}\n' + STAGES
    rows = [HEADER, ["D1", "Offer", 1.234], ["D2", "Offer", "1.234,5"]]
    business.write("deals.xlsx", workbook({"A": rows}))
    business.extract()
    assert [deal[2] for deal in deals(business)] == ["1.234", "1234.5"]
