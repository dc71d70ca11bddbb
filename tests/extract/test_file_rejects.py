"""Rows and files that are not kept: each with its line, its reason and its remedy."""

import os
import time
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_business import DEALS, STAGES, Business

HEADER = "ID,Stage,Amount,Close,Created\n"


def test_a_bad_value_rejects_its_row_with_line_column_value_and_reason(business: Business) -> None:
    business.write("deals.csv", HEADER + 'D1,Offer,5,,\nD2,"Of\nfer",TBD,,\nD3,Offer,5,soon,\n')
    report = business.report()
    assert (report.rows_kept, report.rows_rejected) == (1, 2)
    rejects = [(r["row"], r["column"], r["value"], r["reason"]) for r in business.landed("rejects")]
    assert rejects == [("3", "Amount", "TBD", "is no number"), ("5", "Close", "soon", "is no date")]
    assert [r["_"]["record_id"] for r in business.landed("rejects")] == ["deals.csv:3", "deals.csv:5"]
    assert [(sample.row, sample.column) for sample in report.rejects] == [(3, "Amount"), (5, "Close")]


@pytest.mark.parametrize(
    ("row", "column", "reason", "hint"),
    [
        (",Offer,5,,", "ID", "is empty, and every row needs it", None),
        ("D1,,5,,", "Stage", "is empty, and every row needs it", None),
        ('D1,Offer,"1.234,56",,', "Amount", "can be read as two different numbers", 'decimal: ","'),
        ('D1,Offer,"$1,234.50",,', "Amount", "can be read as two different numbers", "decimal"),
        ("D1,Offer,5 XYZ,,", "Amount", "is no number", "digits alone"),
        ("D1,Offer,1e30,,", "Amount", "is no number", "digits alone"),
        ("D1,Offer,5,31/03/2026,", "Close", "order of day, month and year is not known", "date_order: dmy"),
        ("D1,Offer,5,03/31/2026,", "Close", "order of day, month and year is not known", "date_order: mdy"),
        (
            "D1,Offer,5,03/04/2026,",
            "Close",
            "order of day, month and year is not known",
            "or {date_order: mdy}",
        ),
        ("D1,Offer,5,2026-02-30,", "Close", "is no date", "2026-03-31"),
        ("D1,Offer,5,1900-01-00,", "Close", "is no date", "2026-03-31"),
        ("D1,Offer,5,1900-01-01,", "Close", "is a date outside 1980 to 2199", "2026-03-31"),
        ("D1,Offer,5,,2026-03-01 25:00", "Created", "is no date", "2026-03-31"),
        ("D1,Offer,5,", None, "has 4 values where the header has 5", None),
        ("D1,Offer,5,,,6", None, "has 6 values where the header has 5", None),
        ('D1,"Off"er,5,,', None, "quotes", None),
    ],
)
def test_each_defect_of_a_row_has_its_reason_and_remedy(
    business: Business, row: str, column: str | None, reason: str, hint: str | None
) -> None:
    business.write("deals.csv", f"{HEADER}D0,Offer,1,,\n{row}\nD9,Offer,9,,\n")
    report = business.report()
    assert (report.rows_read, report.rows_kept, report.rows_rejected) == (3, 2, 1)
    (reject,) = report.rejects
    assert (reject.row, reject.column) == (3, column)
    assert reason in reject.reason
    assert (hint or "") in (reject.hint or "")
    assert [deal["deal_id"] for deal in business.landed("deals")] == ["D0", "D9"]


def test_equal_rows_count_once_and_conflicting_ones_are_rejected_with_the_first_line(
    business: Business,
) -> None:
    business.write("deals.csv", HEADER + "D1,Offer,5,,\nD2,Offer,1,,\nD1,Offer,5,,\nD1,Won,5,,\n")
    report = business.report()
    assert (report.rows_kept, report.rows_duplicate, report.rows_rejected) == (2, 1, 1)
    (reject,) = report.rejects
    assert (reject.row, reject.column, reject.value) == (5, "ID", "D1")
    assert reject.reason == "is the same record as line 2, with other values"


def test_versions_of_a_deal_with_their_times_are_all_kept(business: Business) -> None:
    business.source = DEALS.replace("deal_id: ID,", "deal_id: ID, modified_at: Changed,") + STAGES
    business.write("deals.csv", "ID,Stage,Changed\nD1,Offer,2026-03-01\nD1,Won,2026-03-02\n")
    assert business.report().rows_kept == 2
    assert [deal["_"]["modified_at"] for deal in business.landed("deals")] == [
        datetime(2026, 2, 28, 23), datetime(2026, 3, 1, 23),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "stages", "rejected", "duplicate"),
    [
        (["D1,A,01", "D1,B,02", "D1,C,02", "D1,D,03"], ["A", "C", "D"], 0, 1),  # oldest first
        (["D1,D,03", "D1,C,02", "D1,B,02", "D1,A,01"], ["D", "C", "A"], 0, 1),  # newest first
        (["D1,A,02", "D1,B,02", "D2,A,01", "D2,B,02", "D3,B,02", "D3,A,01"], ["A", "A", "B", "B", "A"], 1, 0),
    ],
)
def test_of_versions_of_one_instant_the_order_of_the_file_tells_the_newest(
    business: Business, lines: list[str], stages: list[str], rejected: int, duplicate: int
) -> None:
    business.source = (
        "    deals: {path: deals*, columns: {deal_id: ID, stage: Stage, modified_at: Changed}}\n"
    )
    rows = [f"{deal},{stage},2026-03-{day}" for deal, stage, day in (line.split(",") for line in lines)]
    business.write("deals.csv", "ID,Stage,Changed\n" + "\n".join(rows) + "\n")
    report = business.report()
    assert (report.rows_rejected, report.rows_duplicate) == (rejected, duplicate)
    assert [deal["stage"] for deal in business.landed("deals")] == stages


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty (0 bytes)"),
        (b"\n\n", "only blank lines"),
        (b"ID,Phase,Amount\nD1,Offer,5\n", "has no column 'Stage', which `stage` needs"),
        (b"ID,Stages,Amount\nD1,Offer,5\n", "did you mean 'Stages'?"),
        (b"ID,Stage,stage\nD1,Offer,Won\n", "has 2 columns called 'Stage'"),
        (b"<!DOCTYPE html><html>\n<body>Log in</body>\n", "it is no CSV file"),
        (bytes(range(256)) * 10, "is no text file"),
        (
            "ID,Stage\nD1,Müller\n".encode("cp1252"),
            "is not utf-8 text (line 2, byte 5); save it as UTF-8, or set",
        ),
    ],
)
def test_a_file_that_cannot_be_read_fails_alone_with_its_remedy(
    business: Business, content: bytes, problem: str
) -> None:
    business.write("deals1.csv", HEADER + "D1,Offer,5,,\n")
    business.write("deals2.csv", content)
    good, bad = business.extract().of("deals")
    assert (good.status, good.rows_kept) == ("read", 1)
    assert bad.status == "failed"
    assert problem in (bad.problem or "")
    assert [deal["file"] for deal in business.landed("deals")] == ["deals1.csv"]


def test_a_header_alone_is_a_delivery_of_no_rows(business: Business) -> None:
    business.write("deals.csv", HEADER)
    report = business.report()
    assert (report.status, report.rows_read) == ("read", 0)


def test_a_missing_optional_column_is_reported_and_does_not_fail_the_file(business: Business) -> None:
    business.write("deals.csv", "ID,Stage,Amounts\nD1,Offer,5\n")
    report = business.report()
    assert (report.status, report.rows_kept) == ("read", 1)
    assert report.columns_missing == ("Amount", "Close", "Created")


@pytest.mark.parametrize("name", ["deals.xls", "deals.7z", "deals.json"])
def test_a_format_that_is_not_read_is_refused_in_words(business: Business, name: str) -> None:
    business.write(name, b"x")
    assert "is not read; save it as one of .csv" in (business.report().problem or "")


def test_no_file_at_all_is_said(business: Business) -> None:
    report = business.report()
    assert (report.status, report.file) == ("failed", str(business.folder / "deals*"))
    assert "no file matches" in (report.problem or "")


def test_pipes_and_links_that_lead_elsewhere_are_refused(
    business: Business, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.csv"
    outside.write_text(HEADER + "D1,Offer,5,,\n")
    (business.folder / "deals_link.csv").symlink_to(outside)
    os.mkfifo(business.folder / "deals_pipe.csv")
    problems = [report.problem for report in business.extract().of("deals")]
    assert [("leads out of" in (p or ""), "no regular file" in (p or "")) for p in problems] == [
        (True, False), (False, True),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["deals.csv.part", "deals.tmp", "~$deals.csv", "deals.crdownload"])
def test_a_file_with_an_unfinished_name_is_not_read(business: Business, name: str) -> None:
    business.source = DEALS.replace("path: deals*", "path: '*deals*'") + STAGES
    business.write(name, HEADER + "D1,Offer,5,,\n")
    assert business.report().status == "waiting"
    assert business.landed("deals") == []


def test_a_file_that_grows_between_two_looks_is_not_read_until_it_rests(business: Business) -> None:
    path = business.write("deals.csv", HEADER + "D1,Offer,5,,\n")
    soon = time.time() + 60  # so that it counts as just written, however slow the machine is
    os.utime(path, (soon, soon))

    def writer(_: float) -> None:
        with path.open("a") as stream:
            stream.write("D2,Offer,5,,\n")

    assert business.report(pause=writer).status == "waiting"
    assert business.landed("deals") == []
    assert business.report().rows_kept == 2


@pytest.mark.parametrize("end", ["D2,Off", 'D2,"Offer,5,,\nD3,Offer,5,,\n'])
def test_a_file_that_breaks_off_in_a_row_is_not_read(business: Business, end: str) -> None:
    business.write("deals.csv", HEADER + "D1,Offer,5,,\n" + end)
    report = business.report()
    assert report.status == "waiting"
    assert "the next run looks again" in (report.problem or "")
    assert business.landed("deals") == []
    business.write("deals.csv", HEADER + "D1,Offer,5,,\nD2,Offer,5,,")
    assert (
        business.report().rows_kept == 2
    )  # a last line without a newline is whole when all values are there


def test_a_parquet_file_without_its_end_is_not_read(business: Business) -> None:
    pq.write_table(pa.table({"ID": ["1"], "Stage": ["Won"]}), business.folder / "whole.parquet")
    content = (business.folder / "whole.parquet").read_bytes()
    business.write("deals.parquet", content[:-20])
    assert business.report().status == "waiting"
    business.write("deals.parquet", content)
    assert business.report().rows_kept == 1
