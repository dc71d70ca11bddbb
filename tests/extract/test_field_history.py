"""A report of changes one field at a time, as CRMs export it, becomes the same changes as a stage log."""

import io
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_business import DEALS, STAGES, Business

from dagster_project.settings import ConfigError

FIELDS = """\
    field_history:
      path: history.csv
      columns:
        {deal_id: Opportunity ID, field: Field / Event, old_value: Old Value, new_value: New Value,
         changed_at: Edit Date, changed_by: Edited By}
      fields: {Stage: stage, Amount: amount, Close Date: close_date}
"""
HEADER = "Opportunity ID,Field / Event,Old Value,New Value,Edit Date,Edited By\n"
STAGE_LOG = """\
    stage_history:
      path: log.csv
      columns: {deal_id: Deal, changed_at: At, stage: To, from_stage: From, amount: Amount, close_date: Close}
"""
VALUES = ("deal_id", "changed_at", "stage", "from_stage", "amount", "close_date")


def changes(business: Business) -> list[tuple[str | None, ...]]:
    return [tuple(change[name] for name in VALUES) for change in business.landed("stage_history")]


def test_each_row_becomes_a_change_of_its_field_alone(business: Business) -> None:
    business.source = DEALS + STAGES + FIELDS
    business.write("deals.csv", "ID,Stage\nD1,Won\n")
    business.write(
        "history.csv",
        HEADER
        + "D1,Stage,Meeting,Offer,2026-03-01 09:00:00,Ann\n"
        + 'D1,Amount,"5","EUR 7.50",2026-03-01 09:00:00,Ann\n'
        + "D1,CLOSE DATE,,2026-06-30,2026-03-02 09:00:00,Bo\n"
        + "D1,Owner,Ann,Bo,2026-03-02 09:00:00,Bo\n"
        + "D1,Amount,7.50,,2026-03-03 09:00:00,Bo\n",
    )
    report = business.report("stage_history")
    assert (report.rows_read, report.rows_kept, report.lines_beside) == (4, 4, 1)
    assert report.columns_unmapped == ("changes of Owner",)
    assert changes(business) == [
        ("D1", "2026-03-01 08:00:00", "Offer", "Meeting", None, None),
        ("D1", "2026-03-01 08:00:00", None, None, "7.5", None),
        ("D1", "2026-03-02 08:00:00", None, None, None, "2026-06-30"),
        ("D1", "2026-03-03 08:00:00", None, None, None, None),
    ]
    told = business.landed("stage_history")
    assert [change["currency"] for change in told] == [None, "EUR", None, None]
    assert {(change["change_source"], change["time_precision"]) for change in told} == {("history", "event")}
    assert [change["changed_by"] for change in told] == ["Ann", "Ann", "Bo", "Bo"]


def test_the_same_changes_as_a_field_history_and_as_a_stage_log_land_alike(business: Business) -> None:
    business.write("deals.csv", "ID,Stage\nD1,Won\n")
    business.write(
        "history.csv",
        HEADER
        + "D1,Stage,Meeting,Offer,2026-03-01,A\nD1,Amount,5,7,2026-03-02,A\n"
        + "D1,Stage,Offer,Won,2026-03-03,A\n",
    )
    business.write(
        "log.csv",
        "Deal,At,To,From,Amount,Close\nD1,2026-03-01,Offer,Meeting,,\nD1,2026-03-02,,,7,\n"
        "D1,2026-03-03,Won,Offer,,\n",
    )
    business.source = DEALS + STAGES + FIELDS
    business.extract()
    by_field = changes(business)
    for batch in business.landing.batches("export", "stage_history"):
        business.landing.retire(batch)
    business.source = DEALS + STAGES + STAGE_LOG
    business.extract()
    assert len(by_field) == 3
    assert changes(business) == by_field


def test_a_value_that_cannot_be_read_is_rejected_with_the_field_it_belongs_to(business: Business) -> None:
    business.source = DEALS + STAGES + FIELDS
    business.write("deals.csv", "ID,Stage\nD1,Won\n")
    business.write(
        "history.csv",
        HEADER
        + "D1,Amount,5,TBD,2026-03-01,A\nD1,Close Date,,31/03/2026,2026-03-01,A\nD1,,a,b,2026-03-01,A\n"
        + ",Stage,a,Offer,2026-03-01,A\nD1,Stage,Offer\nD1,Stage,Meeting,Offer,2026-03-01,A\n",
    )
    report = business.report("stage_history")
    assert (report.rows_read, report.rows_kept, report.rows_rejected) == (6, 1, 5)
    assert [(reject.row, reject.column) for reject in report.rejects] == [
        (2, "New Value (Amount)"), (3, "New Value (Close Date)"), (4, None), (5, "Opportunity ID"), (6, None),
    ]  # fmt: skip


def test_a_report_of_one_field_alone_needs_no_column_that_names_it(business: Business) -> None:
    one = FIELDS.replace("field: Field / Event", "field: {value: Stage}")
    business.source = DEALS + STAGES + one
    business.write("deals.csv", "ID,Stage\nD1,Won\n")
    business.write(
        "history.csv", "Opportunity ID,Old Value,New Value,Edit Date\nD1,Meeting,offer ,2026-03-01\n"
    )
    business.extract()
    assert changes(business) == [("D1", "2026-02-28 23:00:00", "Offer", "Meeting", None, None)]


def test_a_file_that_tells_none_of_the_fields_fails_with_those_it_tells(business: Business) -> None:
    business.source = DEALS + STAGES + FIELDS
    business.write("deals.csv", "ID,Stage\nD1,Won\n")
    business.write("history.csv", HEADER + "D1,Phase,a,b,2026-03-01,A\n")
    report = business.report("stage_history")
    assert report.status == "failed"
    assert "tells none of the fields Stage, Amount, Close Date; it tells: Phase" in (report.problem or "")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (FIELDS.replace("Amount: amount", "Amount: name"), "'Amount' cannot feed 'name'; allowed: stage"),
        (FIELDS + STAGE_LOG, "either stage_history or field_history"),
        (FIELDS.replace("old_value: Old Value, new_value", "old_value: Old Value, new"), "new_value"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(business: Business, source: str, problem: str) -> None:
    business.source = DEALS + STAGES + source
    with pytest.raises(ConfigError, match=problem):
        business.settings()


def test_an_opportunity_history_report_is_a_stage_history_by_mapping_alone(business: Business) -> None:
    business.source = (
        DEALS
        + STAGES
        + """\
    stage_history:
      path: history.csv
      columns: {deal_id: Opportunity ID, changed_at: Last Modified, changed_by: Last Modified By,
                from_stage: From Stage, stage: To Stage, amount: Amount, probability: Probability (%),
                close_date: Close Date}
      format: {date_order: mdy, decimal: "."}
"""
    )
    business.write("deals.csv", "ID,Stage\nD1,Won\n")
    business.write(
        "history.csv",
        "Opportunity ID,Last Modified,Last Modified By,From Stage,To Stage,Amount,Probability (%),"
        "Close Date\n"
        'D1,3/1/2026 9:00 AM,Ann,,Meeting,"EUR 1,000.00",10%,6/30/2026\n'
        'D1,3/2/2026 9:00 AM,Ann,Meeting,Offer,"EUR 1,250.00",60%,6/30/2026\n\n'
        "Grand Totals (2 records)\n",
    )
    report = business.report("stage_history")
    assert (report.rows_kept, report.lines_beside) == (2, 1)
    assert changes(business) == [
        ("D1", "2026-03-01 08:00:00", "Meeting", None, "1000", "2026-06-30"),
        ("D1", "2026-03-02 08:00:00", "Offer", "Meeting", "1250", "2026-06-30"),
    ]
    assert [change["probability"] for change in business.landed("stage_history")] == ["0.1", "0.6"]


@pytest.mark.parametrize(
    ("at", "landed_at"),
    [
        (pa.array([datetime(2026, 3, 1, 9, 0, 0, 250000)], pa.timestamp("us")), "2026-03-01 08:00:00.25"),
        (pa.array([datetime(2026, 3, 1, 9)], pa.timestamp("us", "UTC")), "2026-03-01 09:00:00"),
        (pa.array(["2026-03-01 09:00:00"]), "2026-03-01 08:00:00"),
    ],
)
def test_a_field_history_in_parquet_keeps_its_instants(
    business: Business, at: pa.Array, landed_at: str
) -> None:
    business.source = DEALS + STAGES + FIELDS.replace("history.csv", "history.parquet")
    business.write("deals.csv", "ID,Stage\nD1,Won\n")
    columns = {
        "Opportunity ID": ["D1"],
        "Field / Event": ["Stage"],
        "Old Value": ["Meeting"],
        "New Value": ["Offer"],
        "Edit Date": at,
        "Edited By": ["Ann"],
    }
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    business.write("history.parquet", content.getvalue())
    report = business.report("stage_history")
    assert (report.rows_read, report.rows_kept) == (1, 1)
    (change,) = business.landed("stage_history")
    assert change["changed_at"].startswith(landed_at)
    assert (change["stage"], change["from_stage"]) == ("Offer", "Meeting")
