"""`make connect` reads what a run reads: every format, sheets and members, reports, histories."""

import gzip
import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import vendor_exports as exports
from workbook_writer import Dated, workbook

from dagster_project.extract.connect.draft import write_draft
from dagster_project.extract.connect.dry_run import DryRun, dry_run
from dagster_project.extract.connect.profile import profile_file
from dagster_project.extract.connect.proposal import NothingToConnect, Undecided, propose
from dagster_project.extract.connect.tables import guess_header
from dagster_project.settings import FileSource, load_settings

NOW = datetime(2026, 4, 2, tzinfo=UTC)
HEADER = ["Deal ID", "Stage", "Amount", "Close Date", "Owner"]
# 46082 is 2026-03-01 as Excel counts days.
MARCH_1 = 46082


def connected(folder: Path, *paths: Path) -> tuple[FileSource, DryRun, str]:
    """The source of the draft, what its dry run kept, and its text."""
    out = folder / "my" / "pipeline.yaml"
    write_draft(propose([table for path in paths for table in profile_file(path)]), out)
    settings = load_settings(out, folder / "data")
    return settings.sources[0], dry_run(settings, NOW), out.read_text(encoding="utf-8")


def rows(count: int = 12) -> list[list[object]]:
    stages = ("Offer", "Won", "Lost")
    return [[f"d{n}", stages[n % 3], 100.5 + n, f"2026-03-{n + 1:02d}", "Ann"] for n in range(count)]


def kept(run: DryRun) -> dict[str, tuple[int, int]]:
    return {r.entity: (r.rows_kept, r.rows_rejected) for r in run.files if r.entity != "stages"}


def csv_bytes() -> bytes:
    lines = [HEADER, *rows()]
    return "".join(",".join(map(str, line)) + "\n" for line in lines).encode()


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def parquet_bytes() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({name: [row[i] for row in rows()] for i, name in enumerate(HEADER)}), out)
    return out.getvalue()


def json_bytes() -> bytes:
    lines = [
        f'{{"Deal ID": "{i}", "Stage": "{s}", "Amount": {a}, "Close Date": "{c}", "Owner": "{o}"}}\n'
        for i, s, a, c, o in rows()
    ]
    return "".join(lines).encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deals.csv", csv_bytes()),
        ("deals.txt", csv_bytes().replace(b",", b"|")),
        ("deals.tsv", csv_bytes().replace(b",", b"\t")),
        ("deals.csv.gz", gzip.compress(csv_bytes())),
        ("export.zip", zipped({"deals.csv": csv_bytes()})),
        ("deals.jsonl", json_bytes()),
        ("deals.ndjson.gz", gzip.compress(json_bytes())),
        ("deals.parquet", parquet_bytes()),
        ("deals.xlsx", workbook({"Sheet1": [HEADER, *rows()]})),
        ("export.zip", zipped({"deals.xlsx": workbook({"Sheet1": [HEADER, *rows()]})})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_format_that_is_read_is_profiled_into_the_same_draft(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    source, run, _ = connected(tmp_path, tmp_path / name)
    assert {field: column.header for field, column in source.deals.columns.items()} == {
        "deal_id": "Deal ID", "stage": "Stage", "amount": "Amount", "close_date": "Close Date",
        "owner": "Owner",
    }  # fmt: skip
    assert (source.deals.sheet, source.deals.member) == (None, None)
    assert [(line.name, line.outcome) for line in source.stage_lines()] == [
        ("Offer", "open"), ("Won", "won"), ("Lost", "lost"),
    ]  # fmt: skip
    assert kept(run)["deals"] == (12, 0)


def test_a_sheet_and_a_member_are_named_where_there_are_several(tmp_path: Path) -> None:
    title = ["Deals of all teams", None, None, None, None]
    report = [title, [None] * 5, HEADER, *[[*row[:3], Dated(MARCH_1), row[4]] for row in rows()]]
    footer = [[None] * 5, ["Grand Total", None, 999.0, None, None]]
    book = workbook({"Deals 2026": [*report, *footer], "Teams": [["Rep", "Team"], ["Ann", "A"], ["Bo", "B"]]})
    path = tmp_path / "all.zip"
    path.write_bytes(zipped({"book.xlsx": book, "notes.csv": b"note\nhello\n"}))
    source, run, text = connected(tmp_path, path)
    assert (source.deals.member, source.deals.sheet) == ("book.xlsx", "Deals 2026")
    assert kept(run)["deals"] == (12, 0)
    assert "# all.zip · notes.csv (1 rows) is not used" in text


def test_the_header_is_the_first_full_row_below_the_titles() -> None:
    body = [(line, [str(line), "Offer" if line % 2 else ""]) for line in range(5, 15)]
    told = [(1, ["Report", ""]), (2, ["Filter: all"]), (4, ["ID", "Stage"]), *body, (16, ["Total"])]
    assert guess_header(told) == (("ID", "Stage"), ("ID",))


def test_days_counted_by_excel_in_a_text_file_are_told_by_their_header(tmp_path: Path) -> None:
    lines = [f"d{n},{('Offer', 'Won')[n % 2]},{MARCH_1 + n}" for n in range(12)]
    (tmp_path / "deals.csv").write_text("\n".join(["Deal ID,Stage,Close Date", *lines]))
    source, run, _ = connected(tmp_path, tmp_path / "deals.csv")
    assert source.deals.format.date_order == "serial"
    assert kept(run)["deals"] == (12, 0)


@pytest.mark.parametrize("written", ["{:02d} Mar 2026", "Mar {}, 2026", "{:02d}-Mar-26", "202603{:02d}"])
def test_days_in_words_and_without_marks_are_dates(tmp_path: Path, written: str) -> None:
    lines = [f'd{n};{("Offer", "Won")[n % 2]};"{written.format(n + 1)}"' for n in range(12)]
    (tmp_path / "deals.csv").write_text("\n".join(["Deal ID;Stage;Close Date", *lines]))
    source, run, _ = connected(tmp_path, tmp_path / "deals.csv")
    assert source.deals.columns["close_date"].header == "Close Date"
    assert kept(run)["deals"] == (12, 0)


def test_thousands_points_alone_could_be_decimals_and_are_asked_for(tmp_path: Path) -> None:
    lines = [f"d{n};{('Offer', 'Won')[n % 2]};{n + 1}.500" for n in range(12)]
    (tmp_path / "deals.csv").write_text("\n".join(["Deal ID;Stage;Amount", *lines]))
    with pytest.raises(Undecided, match=r"in 1\.500 the mark can part thousands or decimals"):
        connected(tmp_path, tmp_path / "deals.csv")


def test_a_history_of_single_fields_becomes_field_history_with_the_fields_it_tells(tmp_path: Path) -> None:
    files = exports.hubspot_deals(tmp_path), exports.hubspot_field_history(tmp_path)
    source, run, text = connected(tmp_path, *files)
    assert source.stage_history is None
    history = source.field_history
    assert history is not None
    assert {field: column.header for field, column in history.columns.items()} == {
        "deal_id": "Record ID", "field": "Property", "old_value": "Old value", "new_value": "New value",
        "changed_at": "Date changed", "changed_by": "Changed by", "event_id": "Change ID",
    }  # fmt: skip
    assert history.fields == {"dealstage": "stage", "amount": "amount"}
    assert history.format.decimal == ","
    assert "# not read: changes of notes" in text
    moves = sum(len(entered) for _, entered, _, _ in exports.ways())
    assert kept(run)["stage_history"] == (moves + 120, 0)


def test_a_history_of_single_fields_alone_says_what_to_export_beside_it(tmp_path: Path) -> None:
    with pytest.raises(NothingToConnect, match="no file holds the deals themselves: export the deals too"):
        connected(tmp_path, exports.hubspot_field_history(tmp_path))


def test_a_history_report_without_the_stage_before_is_deals_and_their_log(tmp_path: Path) -> None:
    source, run, _ = connected(tmp_path, exports.salesforce_opportunity_history(tmp_path))
    assert source.deals.path == source.stage_history.path
    assert (source.deals.format.encoding, source.deals.format.date_order) == ("cp1252", "mdy")
    assert source.stage_history.columns["changed_at"].header == "Last Modified"
    ends = [("Closed Won", "won"), ("Closed Lost", "lost")]
    opens = [(name, "open") for name in ("Prospecting", "Technical Fit", "Proposal/Price Quote")]
    assert [(line.name, line.outcome) for line in source.stage_lines()] == [*opens, *ends]
    twice = sum(
        number % 4 == 0 and len(entered) > 1 for number, entered, _, _ in exports.ways(stages=("P", "T", "Q"))
    )
    moves = sum(len(entered) for _, entered, _, _ in exports.ways(stages=("P", "T", "Q")))
    assert twice > 10
    assert kept(run) == {"deals": (moves, 0), "stage_history": (moves + twice, 0)}
    assert run.is_good


def test_a_log_that_names_no_deal_says_so(tmp_path: Path) -> None:
    lines = [["Offer", f"2026-03-{n + 1:02d}"] for n in range(9)]
    path = exports.write_csv(tmp_path / "log.csv", ["To Stage", "Last Modified"], lines)
    with pytest.raises(NothingToConnect, match=r"has stages .'To Stage'. but not the id of the deals"):
        connected(tmp_path, path)


def test_rows_of_products_that_repeat_a_deal_are_no_log(tmp_path: Path) -> None:
    deals = exports.write_csv(tmp_path / "deals.csv", HEADER, rows())
    lines = [
        [f"d{n // 2}", ("Offer", "Won", "Lost")[n // 2 % 3], "2026-03-01", f"P{n % 2}", 5] for n in range(24)
    ]
    items = exports.write_csv(
        tmp_path / "items.csv", ["Deal ID", "Stage", "Created Date", "Product", "Amount"], lines
    )
    source, _, _ = connected(tmp_path, items, deals)
    assert Path(source.deals.path).name == "deals.csv"


def test_stages_of_a_business_that_ends_its_deals_by_status_are_ordered_by_age(tmp_path: Path) -> None:
    source, run, text = connected(tmp_path, exports.pipedrive_german_deals(tmp_path))
    assert [(line.name, line.outcome) for line in source.stage_lines()] == [
        ("Kontakt", "open"), ("Bedarf geklärt", "open"), ("Vorführung", "open"),
    ]  # fmt: skip
    assert "CHECK: later stages lose older deals" in text
    assert not {"next_step", "product"} & source.deals.columns.keys()  # empty, and not called so
    assert (source.deals.format.decimal, source.deals.format.date_order) == (",", "dmy")
    assert run.is_good


def test_repeated_exports_are_one_glob_and_show_stages_that_the_newest_no_longer_has(tmp_path: Path) -> None:
    before, after = ("Talk", "Offer"), ("Sign", "Won")
    for day, stages in (("2026-03-01", before), ("2026-03-08", ("Offer", "Sign")), ("2026-03-15", after)):
        lines = [[f"d{n}", stages[n % 2], 5, f"2026-04-{n + 1:02d}", "Ann"] for n in range(12)]
        header = HEADER if day != "2026-03-08" else [*HEADER[:4], "Owner", "New Column"]
        exports.write_csv(
            tmp_path / f"deals_{day}.csv", header, [[*line, "x"][: len(header)] for line in lines]
        )
    owners = exports.write_csv(
        tmp_path / "deals_owners_2026.csv", ["Rep", "Team"], [["Ann", "A"], ["Bo", "B"]]
    )
    source, run, text = connected(tmp_path, *sorted(tmp_path.glob("deals_2026*.csv")), owners)
    assert Path(source.deals.path).name == "deals_[0-9]*.csv"
    assert "the newest of 3 files that deliver it (2026-03-01 to 2026-03-15)" in text
    assert [line.name for line in source.stage_lines()] == ["Talk", "Offer", "Sign", "Won"]
    assert [(r.status, r.rows_kept) for r in run.files if r.entity == "deals"] == [("read", 12)] * 3
