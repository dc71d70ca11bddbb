"""Reports as CRMs export them: titles, footers, amounts with currencies, dates in words; and JSON Lines."""

import pytest
from small_business import DEALS, STAGES, Business

HEADER = "ID,Stage,Amount,Close,Created\n"
CURRENCY = DEALS.replace("deal_id: ID,", "deal_id: ID, currency: Money,")


def test_titles_above_the_header_and_footers_below_the_rows_are_no_rows(business: Business) -> None:
    business.write(
        "deals.csv",
        '"Open deals"\n"Filter: ""all""\nof them"\n\nID;Stage;Amount;Close;Created\n'
        'D1;Offer;5;;\nD2;"Of\nfer";6;;\n\nGrand Total;;11;;\n\n"My Report"\n"Copyright (c) 2026"',
    )
    report = business.report()
    assert (report.status, report.rows_read, report.rows_kept, report.lines_beside) == ("read", 2, 2, 5)
    assert [deal["row"] for deal in business.landed("deals")] == ["6", "7"]


def test_a_broken_row_at_the_end_is_a_reject_and_no_footer(business: Business) -> None:
    business.write("deals.csv", HEADER + "D1,Offer,5,,\n\nD2,Offer\n,Offer,5,,\n")
    report = business.report()
    assert (report.rows_read, report.rows_kept, report.rows_rejected) == (3, 1, 2)


def test_rows_alone_without_any_footer_stay_rows(business: Business) -> None:
    business.source = "    deals: {path: deals*, columns: {deal_id: ID, stage: Stage}}\n"
    business.write("deals.csv", "ID,Stage\nTotal,Offer\nCount,Won\n")
    assert business.report().rows_kept == 2


@pytest.mark.parametrize(
    ("decimal", "written", "amount", "currency"),
    [
        (None, "€5", "5", "EUR"),
        (None, "5 EUR", "5", "EUR"),
        (None, "usd 1234.5", "1234.5", "USD"),
        (None, "US$5", "5", "USD"),
        (None, "£5.", "5", "GBP"),
        (None, "1e6", "1000000", None),
        (None, "(1234)", "-1234", None),
        (None, "12-", "-12", None),
        (".", '"$1,234.50"', None, None),
        (".", '"(£1,234)"', "-1234", "GBP"),
        (".", '"-€1,234.50"', "-1234.5", "EUR"),
        (",", '"1.234,56 €"', "1234.56", "EUR"),
        (",", '"CHF 1\'234,50"', "1234.5", "CHF"),
        (None, "TBD", None, None),
        (None, "5 XYZ", None, None),
        (None, "EUR", None, None),
        (None, "5 EUR 6", None, None),
    ],
)
def test_currencies_and_brackets_of_amounts_are_understood(
    business: Business, decimal: str | None, written: str, amount: str | None, currency: str | None
) -> None:
    declared = f"      format: {{decimal: '{decimal}'}}\n" if decimal else ""
    business.source = DEALS + declared + STAGES
    business.write("deals.csv", HEADER + f"D1,Offer,{written},,\n")
    business.extract()
    found = [(deal["amount"], deal["currency"]) for deal in business.landed("deals")]
    assert found == ([(amount, currency)] if amount else [])


def test_a_symbol_of_several_currencies_needs_the_currency_told(business: Business) -> None:
    business.write("deals.csv", HEADER + "D1,Offer,$5,,\n")
    (reject,) = business.report().rejects
    assert reject.reason == "bears the symbol of several currencies"
    assert "currency: {value: USD}" in (reject.hint or "")
    business.source = DEALS.replace("deal_id: ID,", "deal_id: ID, currency: {value: USD},") + STAGES
    assert business.report().rows_kept == 1
    assert [(deal["amount"], deal["currency"]) for deal in business.landed("deals")] == [("5", "USD")]


def test_an_amount_in_another_currency_than_its_column_says_is_rejected(business: Business) -> None:
    business.source = CURRENCY + STAGES
    business.write("deals.csv", "ID,Stage,Amount,Money\nD1,Offer,5 USD,EUR\nD2,Offer,€5,eur\nD3,Won,7,USD\n")
    report = business.report()
    assert [(reject.row, reject.reason) for reject in report.rejects] == [
        (2, "is in USD, and the column of currencies says EUR")
    ]
    assert report.rows_kept == 2


def test_one_decimal_comma_makes_thousands_points_of_the_column_undecided(business: Business) -> None:
    business.write("deals.csv", HEADER + 'D1,Offer,"1.234,56",,\nD2,Offer,1.500,,\nD3,Offer,12,,\n')
    report = business.report()
    assert [(reject.row, reject.value) for reject in report.rejects] == [(2, "1.234,56"), (3, "1.500")]
    assert report.rejects[0].hint == 'format: {decimal: ","}'
    business.source = DEALS + '      format: {decimal: ","}\n' + STAGES
    assert business.report().rows_kept == 3
    assert [deal["amount"] for deal in business.landed("deals")] == ["1234.56", "1500", "12"]


@pytest.mark.parametrize(
    ("order", "written", "day"),
    [
        (None, "31 Mar 2026", "2026-03-31"),
        (None, "31-Mar-26", "2026-03-31"),
        (None, '"March 3, 2026"', "2026-03-03"),
        (None, "31 Mrz 2026", None),
        ("mdy", "3/31/26", "2026-03-31"),
        ("dmy", "31.03.26", "2026-03-31"),
        ("dmy", "03/31/2026", None),
        ("serial", "46112", "2026-03-31"),
        ("serial", "46112.25", "2026-03-31"),
        (None, "46112", None),
    ],
)
def test_dates_in_words_short_years_and_serials(
    business: Business, order: str | None, written: str, day: str | None
) -> None:
    declared = f"      format: {{date_order: {order}}}\n" if order else ""
    business.source = DEALS + declared + STAGES
    business.write("deals.csv", HEADER + f"D1,Offer,5,{written},\n")
    business.extract()
    assert [deal["close_date"] for deal in business.landed("deals")] == ([day] if day else [])


def test_a_serial_day_in_a_text_file_is_refused_with_the_line_to_paste(business: Business) -> None:
    business.write("deals.csv", HEADER + "D1,Offer,5,46112,\n")
    (reject,) = business.report().rejects
    assert (reject.reason, reject.hint) == (
        "could be a day as Excel counts it",
        "format: {date_order: serial}",
    )


def test_one_percent_sign_puts_the_whole_column_on_a_scale_to_100(business: Business) -> None:
    business.source = DEALS.replace("deal_id: ID,", "deal_id: ID, probability: P,") + STAGES
    business.write("deals.csv", "ID,Stage,P\nD1,Offer,0.5%\nD2,Won,1%\n")
    business.extract()
    assert [deal["probability"] for deal in business.landed("deals")] == ["0.005", "0.01"]


def test_json_lines_are_read_and_a_broken_line_breaks_itself_alone(business: Business) -> None:
    business.write(
        "deals.jsonl",
        '{"ID": 1, "Stage": "Offer", "Amount": 9007199254740993.125, "x": {"a": [1]}}\n'
        '\n{"ID": 2, "Stage": \n[1]\n{"ID": 4, "Amount": NaN, "Stage": "Won"}\n'
        '{"ID": 5, "Close": "2026-03-31", "Amount": null, "Stage": "Won"}',
    )
    report = business.report()
    assert (report.rows_read, report.rows_kept, report.rows_rejected) == (5, 2, 3)
    assert [reject.row for reject in report.rejects] == [3, 4, 5]
    assert report.rejects[1].reason == "is JSON, but no object of names and values"
    first, second = business.landed("deals")
    assert (first["deal_id"], first["amount"], first["extra"]) == (
        "1",
        "9007199254740993.125",
        {"x": '{"a": [1]}'},
    )
    assert (second["close_date"], second["row"]) == ("2026-03-31", "6")


@pytest.mark.parametrize(
    ("content", "status", "problem"),
    [
        (b"", "failed", "is empty (0 bytes)"),
        (b"<html>\n", "failed", "no line that is a JSON object"),
        (b'{"ID": "1", "Stage": "Won"}\n{"ID": "2", "Sta', "waiting", "ends in the middle of line 2"),
        (b"[" * 100_000 + b"\n", "failed", "no line that is a JSON object"),
    ],
)
def test_json_lines_that_cannot_be_read_say_why(
    business: Business, content: bytes, status: str, problem: str
) -> None:
    business.write("deals.jsonl", content)
    report = business.report()
    assert report.status == status
    assert problem in (report.problem or "")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_recognised(business: Business, encoding: str) -> None:
    business.write("deals.csv", (HEADER + "D1,Offer,5,,\n").encode(encoding))
    assert business.report().rows_kept == 1


def test_quotes_and_case_of_headers_do_not_matter(business: Business) -> None:
    business.write("deals.csv", "\u201cID\u201d,\u2018Stage\u2019,AMOUNT\nD1,Offer,5\n")
    assert business.report().rows_kept == 1


def test_a_declared_delimiter_that_is_not_the_files_is_named_with_the_right_one(business: Business) -> None:
    business.source = DEALS + '      format: {delimiter: ";"}\n' + STAGES
    business.write("deals.csv", HEADER + "D1,Offer,5,,\n")
    assert 'write `format: {delimiter: ","}`' in (business.report().problem or "")
