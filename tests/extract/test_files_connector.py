"""Files by column mapping: what lands, what is rejected and why, and what is not read at all."""

import csv
import io
import os
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DEALS, STAGES, Business

HEADER = "ID,Stage,Amount,Close,Created\n"


def test_a_row_becomes_a_record_of_canonical_fields(business: Business) -> None:
    business.write(
        "deals.csv",
        "ID,Stage,Amount,Close,Created,Note\nD1, meeting ,1234.50,2026-06-30,2026-03-01 09:30:00,hi\n",
    )
    report = business.report()
    assert (report.status, report.rows_read, report.rows_kept) == ("read", 1, 1)
    assert report.columns_unmapped == ("Note",)
    (deal,) = business.landed("deals")
    assert deal["deal_id"] == "D1"
    assert deal["stage"] == "Meeting"  # as the list of stages spells it
    assert deal["amount"] == "1234.5"
    assert deal["close_date"] == "2026-06-30"
    assert deal["created_at"] == "2026-03-01 08:30:00"  # 09:30 in Amsterdam's winter
    assert deal["currency"] is None
    assert (deal["extra"], deal["file"], deal["row"]) == ({"Note": "hi"}, "deals.csv", "2")
    assert deal["_"]["record_id"] == "D1"
    assert deal["_"]["source_relation"] == "export"
    assert deal["_"]["extracted_at"] == datetime(2026, 4, 2, 3, 0)
    assert deal["_"]["is_initial_load"] is True
    assert deal["_"]["is_deleted"] is False


def test_empty_values_are_null_and_zero_is_zero(business: Business) -> None:
    business.write("deals.csv", HEADER + "D1,Lost,0,,\nD2,Meeting,,,\n")
    assert [deal["amount"] for deal in (business.extract() and business.landed("deals"))] == ["0", None]


def test_column_order_case_and_blanks_of_headers_do_not_matter(business: Business) -> None:
    business.write("deals.csv", " created ,STAGE,amount,id,Cl ose\n2026-03-01,Offer,5,D1,2026-04-01\n")
    business.extract()
    (deal,) = business.landed("deals")
    assert (deal["deal_id"], deal["stage"], deal["close_date"]) == ("D1", "Offer", "2026-04-01")


def test_a_constant_fills_a_field_of_every_row(business: Business) -> None:
    business.source = DEALS.replace("{deal_id: ID,", "{deal_id: ID, currency: {value: USD},") + STAGES
    business.write("deals.csv", HEADER + "D1,Offer,5,,\nD2,Offer,5,,\n")
    business.extract()
    assert [deal["currency"] for deal in business.landed("deals")] == ["USD", "USD"]


def test_the_list_of_stages_lands_as_an_entity(business: Business) -> None:
    business.write("deals.csv", HEADER)
    business.extract()
    stages = [(s["stage_id"], s["order"], s["outcome"]) for s in business.landed("stages")]
    assert stages == [
        ("Meeting", "1", "open"),
        ("Offer", "2", "open"),
        ("Won", None, "won"),
        ("Lost", None, "lost"),
    ]


def test_every_read_is_noted_with_counts_that_add_up(business: Business) -> None:
    text = HEADER + "D1,Offer,5,,\nD1,Offer,5,,\nD2,Offer,TBD,,\nD3,Offer,1,,\n"
    business.write("deals.csv", text)
    business.extract()
    (note,) = [read for read in business.landed("reads") if read["entity"] == "deals"]
    counts = [note[f"rows_{name}"] for name in ("read", "kept", "rejected", "duplicate")]
    assert counts == ["4", "2", "1", "1"]


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
        ("D1,Offer,€5,,", "Amount", "is no number", "digits alone"),
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


def test_a_deal_in_an_unknown_stage_is_kept_and_the_line_to_paste_is_given(business: Business) -> None:
    business.write("deals.csv", HEADER + 'D1,Legal,5,,\nD2,Legal,5,,\nD3,"A ""b""",5,,\n')
    report = business.report()
    assert report.rows_kept == 3
    assert [(v.value, v.rows) for v in report.unknown_values] == [("Legal", 2), ('A "b"', 1)]
    assert report.unknown_values[0].paste.startswith('- {name: "Legal", order: 3}')
    # The line can be pasted as it is.
    pasted = "".join(f"      {value.paste}\n" for value in report.unknown_values)
    business.source = DEALS + STAGES + pasted
    assert business.report().unknown_values == ()


def test_without_told_stages_no_stage_is_called_unknown(business: Business) -> None:
    business.source = DEALS
    business.write("deals.csv", HEADER + "D1,Legal,5,,\n")
    assert business.report().unknown_values == ()


def test_probabilities_of_a_percent_scale_become_shares(business: Business) -> None:
    business.source = DEALS.replace("deal_id: ID,", "deal_id: ID, probability: P,") + STAGES
    business.write("deals.csv", "ID,Stage,P\nD1,Offer,60\nD2,Won,100%\nD3,Lost,0\nD4,Offer,101\n")
    assert business.report().rows_rejected == 1
    assert [deal["probability"] for deal in business.landed("deals")] == ["0.6", "1", "0"]


# --- formats --------------------------------------------------------------------------------------------------


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
    assert [(d["deal_id"], d["amount"]) for d in business.landed("deals")] == [("1", "5"), ("A", str(2**40))]


# --- files that are not read ----------------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", ["deals.xlsx", "deals.csv.gz", "deals.json"])
def test_a_format_of_later_versions_is_refused_in_words(business: Business, name: str) -> None:
    business.write(name, b"x")
    assert "is not read in this version; save it as .csv" in (business.report().problem or "")


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


# --- half-written files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["deals.csv.part", "deals.tmp", "~$deals.csv", "deals.crdownload"])
def test_a_file_with_an_unfinished_name_is_not_read(business: Business, name: str) -> None:
    business.source = DEALS.replace("path: deals*", "path: '*deals*'") + STAGES
    business.write(name, HEADER + "D1,Offer,5,,\n")
    assert business.report().status == "waiting"
    assert business.landed("deals") == []


def test_a_file_that_grows_between_two_looks_is_not_read_until_it_rests(business: Business) -> None:
    path = business.write("deals.csv", HEADER + "D1,Offer,5,,\n")

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


# --- stage entries out of date columns ------------------------------------------------------------------------


def test_date_columns_become_stage_entries_with_day_precision(business: Business) -> None:
    entered = "    stage_entered: {Meeting: met, Won: Close, Lost: Close}\n"
    business.source = DEALS + STAGES + entered
    business.write(
        "deals.csv",
        "ID,Stage,Close,met\nD1,Won,2026-03-31,2026-03-01\nD2,Offer,2026-12-31,2026-03-02 14:00:00\nD3,Offer,,\n",
    )
    business.extract()
    entries = [
        (e["deal_id"], e["stage"], e["changed_at"], e["time_precision"])
        for e in business.landed("stage_history")
    ]
    # Midnight in Amsterdam is 23:00 UTC in winter, 22:00 in summer; D2's close date is an expectation, no entry.
    assert sorted(entries) == [
        ("D1", "Meeting", "2026-02-28 23:00:00", "day"),
        ("D1", "Won", "2026-03-30 22:00:00", "day"),
        ("D2", "Meeting", "2026-03-02 13:00:00", "event"),
    ]
    assert {e["change_source"] for e in business.landed("stage_history")} == {"date_column"}
    assert business.landed("deals")[0]["extra"] == {}


def test_a_bad_entry_date_rejects_its_deal(business: Business) -> None:
    business.source = DEALS + STAGES + "    stage_entered: {Meeting: met}\n"
    business.write("deals.csv", "ID,Stage,met\nD1,Won,3/4/2026\n")
    report = business.report()
    assert (report.rows_rejected, report.rejects[0].column) == (1, "met")


# --- a stage log, other entities and facts --------------------------------------------------------------------

HISTORY = """\
    stage_history:
      path: history.csv
      columns: {deal_id: Deal, changed_at: At, stage: To, from_stage: From, amount: Amount}
"""


def test_a_stage_log_lands_one_record_per_change(business: Business) -> None:
    business.source = DEALS + STAGES + HISTORY
    business.write("deals.csv", HEADER + "D1,Won,5,,\n")
    business.write(
        "history.csv",
        "Deal,At,To,From,Amount\nD1,2026-03-01,MEETING,,5\nD1,2026-03-02 10:00:00.25+05:30,Won,meeting,\n"
        "D1,2026-03-01,MEETING,,5\n",
    )
    report = business.report("stage_history")
    assert (report.rows_kept, report.rows_duplicate) == (2, 1)
    first, second = business.landed("stage_history")
    assert [first[n] for n in ("stage", "changed_at", "time_precision", "change_source", "amount")] == [
        "Meeting", "2026-02-28 23:00:00", "day", "history", "5",
    ]  # fmt: skip
    assert [second[n] for n in ("from_stage", "changed_at", "time_precision", "amount")] == [
        "Meeting", "2026-03-02 04:30:00.25", "event", None,
    ]  # fmt: skip
    assert first["_"]["record_id"] != second["_"]["record_id"]


def test_a_change_of_amount_alone_needs_no_stage(business: Business) -> None:
    business.source = DEALS + STAGES + HISTORY
    business.write("deals.csv", HEADER)
    business.write("history.csv", "Deal,At,To,From,Amount\nD1,2026-03-01,,,5\n")
    assert business.report("stage_history").rows_kept == 1
    assert business.landed("stage_history")[0]["stage"] is None


def test_stages_out_of_a_file_are_known_to_the_deals_and_join_labels_to_ids(business: Business) -> None:
    business.source = (
        DEALS.replace("deal_id: ID,", "deal_id: ID, pipeline: Pipe,")
        + """\
    stages:
      path: stages.csv
      columns: {stage_id: id, name: label, pipeline: pipe, order: nr, outcome: out, valid_from: since}
"""
    )
    business.write(
        "stages.csv",
        "id,label,pipe,nr,out,since\ns1,New,A,1,open,\nt1,New,B,1,Open,\ns9,Won,A,2,won,2026-01-01\n"
        "x,X,A,first,open,\ny,Y,A,1,victory,\n",
    )
    business.write("deals.csv", "ID,Stage,Pipe\n1,new,A\n2,New,B\n3,S9,A\n4,Won,C\n5,New,C\n")
    result = business.extract()
    assert [reject.column for reject in result.of("stages")[0].rejects] == ["nr", "out"]
    assert [deal["stage"] for deal in business.landed("deals")] == ["s1", "t1", "s9", "s9", "New"]
    assert [value.value for value in result.unknown_values] == ["New"]


def test_facts_land_under_the_name_business_with_their_own_column_names(business: Business) -> None:
    business.extra = "tables: {quotas: quotas.csv, fx_rates: {path: fx.csv, columns: {currency: c, rate_date: d, rate: r}}}\n"
    business.write(
        "quotas.csv", "period,amount,segment_type,segment\n2026Q1,100.5,total,all\n2026Q2,x,total,all\n"
    )
    business.write("fx.csv", "c,d,r\nUSD,2026-03-31,0.9252\n")
    result = business.extract(source=1)
    assert result.source == "business"
    (quota,) = business.landed("quotas", "business")
    assert (quota["period"], quota["amount"], quota["currency"]) == ("2026Q1", "100.5", None)
    assert [rate["rate"] for rate in business.landed("fx_rates", "business")] == ["0.9252"]
    assert [reject["column"] for reject in business.landed("rejects", "business")] == ["amount"]


def test_two_sources_with_equal_ids_stay_apart(business: Business) -> None:
    business.extra = "  - name: other\n    type: files\n    deals: {path: other.csv, columns: {deal_id: ID, stage: Stage}}\n"
    business.write("deals.csv", HEADER + "D1,Won,5,,\n")
    business.write("other.csv", "ID,Stage\nD1,Lost\n")
    business.extract(source=0)
    business.extract(source=1)
    assert [(d["_"]["source_relation"], d["stage"]) for d in business.landed("deals", None)] == [
        ("export", "Won"), ("other", "Lost"),
    ]  # fmt: skip


# --- time -----------------------------------------------------------------------------------------------------


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
