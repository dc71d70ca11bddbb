"""What is fuzzed: parsers that take bytes from outside, each with what must hold for every input.

A target takes bytes. It raises nothing when all is well: the parser has read them, or refused them with one
of our own errors. Everything else, also a row that is neither read nor refused, is a defect.
"""

import atexit
import csv
import gzip
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.extract.api.api_errors import Malformed
from dagster_project.extract.api.json_text import read_listing, require_json, without_half_characters
from dagster_project.extract.files.archives import unpacked
from dagster_project.extract.files.json_lines import read_json_lines
from dagster_project.extract.files.reading import parquet_headers, read_csv, read_parquet_texts
from dagster_project.extract.files.rows import FileUnfinished, FileUnreadable, TextRows, Wanted
from dagster_project.extract.files.workbook import read_workbook
from dagster_project.settings import REPOSITORY, Format, load_settings
from dagster_project.yaml_document import ConfigError
from tests.extract.workbook_writer import workbook

CONFIGURATION = "pipeline.yaml"
HEADERS = ("ID", "Stage", "Amount", "Close")
REQUIRED = ("ID", "Stage")


class Defect(AssertionError):
    """An input was read wrongly without a word."""


@dataclass(frozen=True)
class Target:
    """`one` judges one input; `seeds` are good inputs to begin with, `tokens` pieces worth putting in."""

    one: Callable[[bytes], None]
    seeds: Sequence[bytes]
    tokens: Sequence[bytes] = ()


@cache
def _folder() -> Path:
    """A folder of this process, in memory where there is such a place."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="stageledger-fuzz-", dir=memory if memory.is_dir() else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _file(name: str, content: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(content)
    return path


def answer(content: bytes) -> None:
    """A CRM's answer: its records are those that the standard library reads, with their own text."""
    try:
        text = without_half_characters(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return
    try:
        found = read_listing(text, "results")
    except Malformed:
        _require_no_list(text)
        return
    require_json(text.encode())
    # a name given twice: both lists are read
    lists = _lists(text)
    told = [record for records in lists for record in records]
    # the text is compared, because a number of more than 64 bits is rounded in the value
    if [json.loads(raw.text) for raw in found.records] != told:
        raise Defect(f"{len(found.records)} records are not those of the answer")
    for raw in found.records:
        if raw.text != raw.text.strip():
            raise Defect("the text of a record is more than its value")
        raw.text.encode()


def _lists(text: str) -> list[list[Any]]:
    """The values of each `results` of an object, in their order."""
    outermost = json.loads(text, object_pairs_hook=_Pairs)
    return [_plain(value) for name, value in outermost if name == "results"]


class _Pairs(list[tuple[str, Any]]):
    """An object with the names it was given twice."""


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _require_no_list(text: str) -> None:
    """What was refused is no JSON object with such a list, or nested without end."""
    try:
        json.loads(text, parse_constant=_refuse)
        outermost = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return
    if not isinstance(outermost, _Pairs):
        return
    told = [value for name, value in outermost if name == "results"]
    if told and all(type(value) is list for value in told):
        raise Defect("a good answer was refused")


def _refuse(name: str) -> None:
    raise ValueError(name)


def body(content: bytes) -> None:
    """Any answer that is parsed as a whole: read, or called malformed."""
    try:
        require_json(content)
    except Malformed:
        return


def json_lines(content: bytes) -> None:
    """A JSON Lines file: every line that is not blank is a row."""
    expected = sum(1 for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip())
    _require_rows(lambda: read_json_lines(_file("deals.jsonl", content), None), expected)


def csv_file(content: bytes) -> None:
    """A CSV file: its rows, and the lines above and below them, are all the records that there are."""
    expected = None
    if b'"' not in content and b"\r" not in content and b"\x00" not in content:
        with_values = [line for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line]
        expected = len(with_values) - 1
    path = _file("deals.csv", content)
    _require_rows(lambda: read_csv(path, HEADERS, Format(), required=REQUIRED), expected)


def _require_rows(read: Callable[[], TextRows], expected: int | None) -> None:
    """Rows come in the order of their lines, none twice, and as many as were told or expected."""
    try:
        rows = read()
        lines = [line for batch in rows.batches for line in _checked(batch, len(rows.headers))]
    except (FileUnreadable, FileUnfinished):
        return
    if lines != sorted(set(lines)):
        raise Defect("rows come twice, or not in order")
    if rows.total is not None and rows.total != len(lines):
        raise Defect(f"{rows.total} rows were told, {len(lines)} came")
    if expected is not None and len(lines) + rows.lines_beside != expected:
        raise Defect(f"{expected} rows are there, {len(lines)} and {rows.lines_beside} beside came")


def _checked(batch: pa.RecordBatch, width: int) -> list[int]:
    batch.validate(full=True)
    if batch.num_columns != width + 2:
        raise Defect(f"{batch.num_columns} columns for {width} headers")
    lines: list[int] = batch.column(0).to_pylist()
    return lines


def archive(content: bytes) -> None:
    """A zip or gzip file: unpacked below our own names, or refused."""
    for suffix in (".zip", ".gz"):
        target = _folder() / "unpacked"
        target.mkdir(exist_ok=True)
        try:
            members = unpacked(_file(f"deals.csv{suffix}", content), target, max_bytes=2**22)
        except (FileUnreadable, FileUnfinished):
            members = ()
        for member in members:
            if not member.path.resolve().is_relative_to(target.resolve()):
                raise Defect(f"{member.path} lies outside")
        for left in target.iterdir():
            left.unlink()


def workbook_file(content: bytes) -> None:
    """An Excel file."""
    path = _file("deals.xlsx", content)
    _require_rows(lambda: read_workbook(path, Wanted(HEADERS, REQUIRED), None, None), None)


def parquet_file(content: bytes) -> None:
    """A Parquet file."""
    path = _file("deals.parquet", content)
    try:
        parquet_headers(path)
    except FileUnreadable:
        return
    _require_rows(lambda: read_parquet_texts(path), None)


def configuration(content: bytes) -> None:
    """A pipeline.yaml: settings, or problems each with its line."""
    path = _file("pipeline.yaml", content)
    try:
        load_settings(path, _folder() / "data", {"HUBSPOT_TOKEN": "canary-token-1"})
    except ConfigError as error:
        lines = content.count(b"\n") + content.count(b"\r") + 2
        for problem in error.problems:
            if not problem.message or not 1 <= problem.line <= lines:
                raise Defect(f"a problem without a line or words: {problem}") from error


def _csv_seed(delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerows(
        [HEADERS, ["D1", "Offer", "5.50", "2026-03-31"], ["D2", 'the "big" one', "", "2026-04-01"]]
    )
    return text.getvalue().encode()


def _jsonl_seed() -> bytes:
    rows = [{"ID": "D1", "Stage": "Offer", "Amount": 5.5}, {"ID": "D2", "Stage": None, "of": [{"x": 1}]}]
    return "\n".join(json.dumps(row) for row in rows).encode() + b"\n"


def _parquet_seed() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"ID": ["D1", "D2"], "Amount": [1.5, None]}), out)
    return out.getvalue()


def _zip_seed() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("deals.csv", _csv_seed())
    return out.getvalue()


SMALL_CONFIGURATION = b"""\
business: {name: B, time_zone: Europe/Amsterdam, currency: EUR, fiscal_year_start_month: 2}
sources:
  - name: export
    type: files
    format: {decimal: ",", date_order: dmy}
    statuses: {offen: open}
    deals:
      path: deals*
      columns: {deal_id: ID, stage: Stage, amount: Amount, currency: {value: EUR}}
    stages:
      - {name: Offer, order: 1, pipeline: New, valid_from: 2026-01-01}
      - {name: Won, outcome: won, probability: 1.0}
    stage_entered: {Offer: Offered}
  - {name: hq, type: hubspot, token: "${HUBSPOT_TOKEN}", properties: {deals: [a]}}
tables:
  quotas: quotas.csv
metrics: {min_sample: 5, win_rate: {population: all}, segments: {region_from: owner}}
publish: {keep_versions: 3}
"""

TARGETS = {
    "answers of CRMs, as listings": Target(
        answer,
        [
            b'{"results": [{"id": "1", "a": {"b": [1, 2.50]}}, {"id": "2", "x": "\\u00e9 \\ud83d\\ude00"}], '
            b'"paging": {"next": {"after": "2"}}}',
            b'{"x": 1, "results": []}',
            b'{"results":[{"id":1},{"id":2},{"id":3,"of":[{"id":4},{"id":5}]},{"id":6}],"total":4}',
        ],
        [b'"results"', b'},{"id":', b"[", b"]", b"{", b"}", b"\\ud800", b"NaN", b"1e999", b"\xef\xbb\xbf"],
    ),
    "answers of CRMs, as a whole": Target(
        body,
        [b'{"success": true, "data": {"id": 7}}', b"[1, 2]", b"<html></html>"],
        [b"NaN", b"-Infinity", b"\\ud800", b"[[[[", b"\x00", b"\xff\xfe"],
    ),
    "JSON Lines files": Target(
        json_lines,
        [_jsonl_seed()],
        [b'{"ID": "D3"}\n', b"\\ud800", b"\n\n", b"NaN", b"1" * 300, b"\xef\xbb\xbf"],
    ),
    "CSV files": Target(
        csv_file,
        [_csv_seed(), _csv_seed(";"), _csv_seed("\t").decode().encode("utf-16")],
        [b'"', b'""', b"\n", b"\r\n", b"\r", b";", b"\x00", b"\n\nGrand Total\n", b"\xff\xfe", b"ID,Stage\n"],
    ),
    "archives": Target(
        archive, [_zip_seed(), gzip.compress(_csv_seed())], [b"PK\x03\x04", b"PK\x05\x06", b"../"]
    ),
    "Excel workbooks": Target(
        workbook_file,
        [workbook({"Export": [list(HEADERS), ["D1", "Offer", 5.5, 46112]]})],
        [b"<c", b"PK\x01\x02"],
    ),
    "Parquet files": Target(parquet_file, [_parquet_seed()], [b"PAR1"]),
    CONFIGURATION: Target(
        configuration,
        [SMALL_CONFIGURATION, (REPOSITORY / "pipeline.yaml").read_bytes()[:2_000]],
        [
            b": ",
            b"- ",
            b"&a ",
            b"*a",
            b"!!binary ",
            b"!!python/object:os.system ",
            b"<<: ",
            b"${X}",
            b"{",
            b"[",
            b"? ",
            b"|\n",
            b"\t",
            b"null",
            b"stages:",
            b"columns:",
            b"value:",
            b"outcome: won",
        ],
    ),
}
