"""A short dose of the fuzzing of `make soak`, and every input that has once broken a reader."""

import gzip
import io
import json
import logging
import tempfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from api_bench import ApiBench, StillClock
from fake_crm import FakeServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_business import DEALS, STAGES, Business

from dagster_project.extract.api.api_report import Status
from dagster_project.extract.api.json_text import Malformed, read_listing, without_half_characters
from dagster_project.extract.files.archives import unpacked
from dagster_project.extract.files.reading import parquet_headers, read_parquet_texts
from dagster_project.extract.files.rows import FileUnreadable
from dagster_project.settings import load_settings
from dagster_project.yaml_document import ConfigError
from tests.soak.crm_answers import CRMS
from tests.soak.fuzz_run import fuzz_bytes, fuzz_crm
from tests.soak.fuzz_targets import TARGETS, Defect, answer, csv_file

# Cheap inputs are many.
SHORT = {"answers of CRMs, as listings": 3_000, "answers of CRMs, as a whole": 3_000, "pipeline.yaml": 60}


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**31))
def test_disturbed_inputs_are_read_or_refused_by_name(name: str, seed: int) -> None:
    assert fuzz_bytes(name, 60, seed, SHORT.get(name, 300)).defects == {}


@pytest.mark.parametrize("name", CRMS)
@settings(max_examples=1, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**31))
def test_disturbed_answers_of_a_crm_become_records_or_errors_of_ours(name: str, seed: int) -> None:
    logging.disable(logging.CRITICAL)
    try:
        found = fuzz_crm(name, 60, seed, 150)
    finally:
        logging.disable(logging.NOTSET)
    assert (found.inputs >= 150, found.defects) == (True, {})


def test_the_judges_of_fuzzed_inputs_find_a_lost_record_and_a_lost_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tests.soak import fuzz_targets

    whole = read_listing('{"results": [{"id": 1}, {"id": 2}]}', "results")
    monkeypatch.setattr(fuzz_targets, "read_listing", lambda *_: type(whole)(whole.fields, whole.records[:1]))
    with pytest.raises(Defect, match="1 records are not those"):
        answer(b'{"results": [{"id": 1}, {"id": 2}]}')
    read = fuzz_targets.read_csv
    fewer = b"ID,Stage,Amount,Close\nD1,Offer,,\n"
    monkeypatch.setattr(
        fuzz_targets,
        "read_csv",
        lambda path, *rest, **named: (path.write_bytes(fewer), read(path, *rest, **named))[1],
    )
    with pytest.raises(Defect, match="2 rows are there, 1 and 0 beside came"):
        csv_file(fewer + b"D2,Offer,,\n")


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (r'"\ud83d"', r'"\ufffd"'),  # the first half of an emoji that was cut in two
        (r'"\uDE00 x"', r'"\ufffd x"'),
        (r'"\ud83d\ude00"', r'"\ud83d\ude00"'),
        (r'"\ud83d\ud83d\ude00"', r'"\ufffd\ud83d\ude00"'),
        (r'"\\ud83d"', r'"\\ud83d"'),  # a backslash, then letters
        (r'"\\\ud83d"', r'"\\\ufffd"'),
    ],
)
def test_half_a_character_of_a_crm_is_replaced_before_duckdb_refuses_its_record(sent: str, kept: str) -> None:
    assert without_half_characters(sent) == kept
    with duckdb.connect() as connection:
        assert connection.execute("select ?::json ->> '$.x'", [f'{{"x":{kept}}}']).fetchone() == (
            json.loads(kept),
        )


def test_half_a_character_lands_as_the_sign_for_an_unknown_one(tmp_path: Path) -> None:
    with FakeServer() as server:
        bench = ApiBench(server, tmp_path, StillClock())
        bench.fill(1)
        server.deals["1"]["name"] = "Deal \ud83d"
        assert bench.run()["deals"].status is Status.LANDED
    (row,) = bench.rows("deals")
    assert row["payload"]["name"] == "Deal \ufffd"


def test_half_a_character_in_a_json_lines_file_does_not_stop_the_file(business: Business) -> None:
    business.write("deals.jsonl", '{"ID": "D1", "Stage": "Offer \\ud83d"}\n{"ID": "D2", "Stage": "Won"}\n')
    business.source = DEALS + STAGES
    assert business.report().rows_kept == 2
    assert [deal["stage"] for deal in business.landed("deals")] == ["Offer \ufffd", "Won"]


@pytest.mark.parametrize("odd", [5, "x", None, [1], {"modified": "2026-03-01T00:00:00+00:00"},
                                 {"id": 1, "modified": "soon"}, {"id": 1, "modified": 7},
                                 {"id": 1, "modified": "2026-03-01T00:00:00"}])  # fmt: skip
def test_a_record_of_another_shape_fails_its_entity_by_name_and_no_other(tmp_path: Path, odd: object) -> None:
    with FakeServer() as server:
        bench = ApiBench(server, tmp_path, StillClock())
        bench.fill(2)
        good = server.answer

        def spoiled(asked: object) -> object:
            status, headers, told = good(asked)
            if asked.place == "/deals" and "ids" not in asked.query:
                told = {**told, "data": [odd], "more": False}
            return status, headers, told

        server.answer = spoiled
        reports = bench.run()
    assert reports["stages"].status is Status.LANDED
    assert reports["deals"].status is Status.FAILED
    assert "an answer is not written as the interface describes it" in reports["deals"].reason
    assert "hq: deals, page read" in reports["deals"].reason
    assert bench.rows("deals") == []


@pytest.mark.parametrize(
    "text",
    [
        '{"r":[{"id":1},{"id":2}\u00a0,{"id":3}]}',  # a blank that JSON does not know
        '{{"r":[]}: 1, "r":[]}',
        '{[1]: 1, "r":[]}',
    ],
)
def test_what_is_no_json_is_called_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        read_listing(text, "r")


def zip_with_a_directory(change: int, by: bytes) -> bytes:
    """A zip archive whose end tells another place, or size, of its directory."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("deals.csv", "ID,Stage\nD1,Offer\n")
    content = bytearray(out.getvalue())
    end = content.rindex(b"PK\x05\x06")
    content[end + change : end + change + len(by)] = by
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [
        zip_with_a_directory(16, b"\xff\xff\x00\x00"),
        zip_with_a_directory(12, b"\x30\x00\x00\x00"),
        zip_with_a_directory(16, b"\x01\x00\x01\x00"),
    ],
)
@pytest.mark.parametrize("name", ["deals.zip", "deals.xlsx"])
def test_an_archive_whose_directory_points_elsewhere_is_refused_alone(
    business: Business, name: str, content: bytes
) -> None:
    business.write(name, content)
    business.write("deals_good.csv", "ID,Stage,Amount,Close,Created\nD1,Offer,5,,\n")
    reports = {report.file: report for report in business.extract().of("deals")}
    assert reports["deals_good.csv"].rows_kept == 1
    assert reports[name].status == "failed"
    assert "is no readable zip archive" in (reports[name].problem or "")


def test_an_archive_with_an_entry_without_a_name_is_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("d", "ID\n1\n")
    path = tmp_path / "deals.zip"
    directory = out.getvalue().index(b"PK\x01\x02")
    content = bytearray(out.getvalue())
    content[directory + 28] = 0  # the length of the name
    content[directory + 30] = 1  # what was the name is said to be something else
    path.write_bytes(content)
    with pytest.raises(FileUnreadable, match="is no readable zip archive"):
        unpacked(path, tmp_path)


def test_a_parquet_file_with_fewer_rows_than_it_tells_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "deals.parquet"
    pq.write_table(pa.table({"ID": ["D1", "D2"]}), path)
    monkeypatch.setattr(pq, "read_metadata", lambda _: SimpleNamespace(num_rows=3))
    with pytest.raises(FileUnreadable, match="it tells 3 rows, 2 are there"):
        list(read_parquet_texts(path).batches)


def test_a_full_disk_is_not_called_a_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deals.zip"
    path.write_bytes(zip_with_a_directory(4, b"\x00"))
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "member-0.csv").symlink_to(full)
    with pytest.raises(OSError, match="No space left"):
        unpacked(path, tmp_path)


def test_a_parquet_file_whose_texts_or_rows_are_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deals.parquet"
    pq.write_table(pa.table({"ID": ["D1", "D2"]}), path, compression="none", use_dictionary=False)
    path.write_bytes(path.read_bytes().replace(b"\x02\x00\x00\x00D2", b"\x02\x00\x00\x00\xffx"))
    with pytest.raises(FileUnreadable, match="damaged Parquet file"):
        list(read_parquet_texts(path).batches)
    pq.write_table(pa.table({"ID": ["D1"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"ID", b"\x9fD"))
    with pytest.raises(FileUnreadable, match="no readable Parquet file"):
        parquet_headers(path)


@pytest.mark.parametrize(
    "source",
    [
        "{name: a, type: [files]}",
        "{name: a, type: {files: 1}}",
        "{name: a, type: files, deals: {path: a, columns: {deal_id: A, stage: B}}, "
        "stages: [{name: [A]}, {name: {x: 1}, pipeline: [1]}]}",
        "{name: a, type: files, deals: {path: a, columns: {deal_id: A, stage: B}}, "
        "stages: [{name: A}, {name: B}, {name: C, colour: red}]}",
    ],
)
def test_lists_and_blocks_where_a_word_should_stand_are_problems_with_a_line(
    tmp_path: Path, source: str
) -> None:
    config = tmp_path / "pipeline.yaml"
    config.write_text(f"business: {{name: B, time_zone: UTC, currency: EUR}}\nsources:\n  - {source}\n")
    with pytest.raises(ConfigError) as raised:
        load_settings(config, tmp_path / "data", {})
    assert all(problem.line == 3 for problem in raised.value.problems)


def test_a_gzip_file_with_garbage_behind_its_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deals.csv.gz"
    path.write_bytes(gzip.compress(b"ID\n1\n") + b"garbage")
    with tempfile.TemporaryDirectory() as folder, pytest.raises(FileUnreadable, match="no readable gzip"):
        unpacked(path, Path(folder))
