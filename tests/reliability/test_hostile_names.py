"""What a CRM calls its things is data: as SQL, as a line of a log, on a terminal, as the name of a file."""

import io
import logging
import zipfile
from pathlib import Path

import duckdb
import pytest
from publish_scenario import Scenario

from dagster_project.cli.progress import write_line
from dagster_project.cli.run import open_log
from dagster_project.extract.files import workbook
from dagster_project.publish.published_file import open_published
from dagster_project.settings import load_settings
from tests.extract.small_business import Business

SQL = "Robert'); drop table deals; --"
COLUMN = 'x"; drop table deals; --'
LINE = "Offer\n2026-04-01 03:00:00 INFO stageledger.run: all is well"
TERMINAL = "Offer\x1b]0;owned\x07\x1b[2J\u202eknil"


def test_names_that_are_sql_land_as_they_are_and_nothing_else_happens(tmp_path: Path) -> None:
    business = Business(
        tmp_path,
        source=(
            "    deals:\n      path: deals*\n"
            '      columns: {deal_id: ID, stage: Stage, name: "Name\'); --"}\n'
            f'    statuses: {{"{SQL}": won}}\n    stages: [{{name: "{SQL}", outcome: won}}]\n'
        ),
    )
    quoted = COLUMN.replace('"', '""')
    business.write("deals.csv", f'ID,Stage,Name\'); --,"{quoted}"\n{SQL},{SQL},{SQL},{SQL}\nD2,{SQL},,\n')
    report = business.report()
    assert (report.rows_kept, report.unknown_values, report.columns_unmapped) == (2, (), (COLUMN,))
    first, second = business.landed("deals")
    assert (first["deal_id"], first["stage"], first["name"]) == (SQL, SQL, SQL)
    assert first["extra"] == {COLUMN: SQL}
    assert second["deal_id"] == "D2"


def test_a_name_with_a_line_break_is_no_second_record_of_the_log(tmp_path: Path) -> None:
    config = tmp_path / "pipeline.yaml"
    config.write_text(
        "business: {name: B, time_zone: UTC, currency: EUR}\n"
        "sources:\n  - {name: a, type: files, deals: {path: a, columns: {deal_id: A, stage: B}}}\n"
    )
    root = logging.getLogger()
    before = root.handlers, root.level
    try:
        path = open_log(load_settings(config, tmp_path / "data", {}), "run")
        try:
            raise ValueError(LINE)
        except ValueError:
            logging.getLogger("stageledger.test").warning("unknown stage %s", LINE, exc_info=True)
        logging.getLogger("stageledger.test").warning("unknown stage %s", TERMINAL)
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers, _ = before
        root.setLevel(before[1])
        logging.captureWarnings(False)
    text = path.read_bytes().decode()
    at_the_margin = [line for line in text.split("\n") if line and not line.startswith(" ")]
    assert len(at_the_margin) == 2, text
    assert all("stageledger.test: unknown stage Offer" in line for line in at_the_margin)
    assert "ValueError: Offer" in text, "the traceback stays"
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_a_name_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    write_line(f"  Slowest stage       {TERMINAL}")
    assert capsys.readouterr().out == ("  Slowest stage       Offer\\x1b]0;owned\\x07\\x1b[2J\\u202eknil\n")


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_csv('{outside}')",
        "select * from read_text('/etc/hostname')",
        "attach '{outside}' as other",
        "copy mart_stages to '{outside}'",
        "install httpfs",
        "set enable_external_access = true",
    ],
)
def test_the_connection_to_the_published_file_reaches_no_other_file(tmp_path: Path, sql: str) -> None:
    scenario = Scenario(tmp_path)
    scenario.build(1)
    scenario.publish(1)
    outside = tmp_path / "outside.csv"
    outside.write_text("secret\n1\n")
    with open_published(scenario.published) as (_, connection), pytest.raises(duckdb.Error):
        connection.execute(sql.format(outside=outside))
    assert outside.read_text() == "secret\n1\n"


def test_a_workbook_that_is_a_bomb_is_refused_before_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"\x00" * 40_000_000)
    business = Business(tmp_path)
    business.write("deals.xlsx", out.getvalue())

    def opened(*_: object) -> None:
        raise AssertionError("the reader of workbooks was given a bomb")

    monkeypatch.setattr(workbook.calamine, "load_workbook", opened)
    report = business.report()
    assert (report.status, "which no export does" in (report.problem or "")) == ("failed", True)
