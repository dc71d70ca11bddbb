"""Pages survive whatever happens to the process, and come out as they went in."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dagster_project.extract.api.page_journal import CHECKPOINTS, COMPANION, PAGES, PageJournal
from dagster_project.extract.api.protocol import Record
from dagster_project.extract.landing import PART, SCHEMA, Stamp

STAMP = Stamp("hq", "deals", "b1", datetime(2026, 4, 1, 4, tzinfo=UTC), True, "hubspot")
PLAN = {"identity": "x"}


def record(number: int) -> Record:
    return Record(str(number), f'{{"id": {number}}}')


def journal_of(folder: Path, pages: int) -> PageJournal:
    """A journal with so many pages of two records, 0 and 1, 2 and 3, …"""
    journal = PageJournal(folder)
    journal.begin(PLAN)
    for page in range(pages):
        journal.append([record(2 * page), record(2 * page + 1)], {"after": page}, {"requests": page + 1}, 0)
    return journal


def ids(folder: Path) -> list[str]:
    PageJournal(folder).write_parquet(STAMP)
    return pq.read_table(folder / PART)["record_id"].to_pylist()


def test_another_process_goes_on_behind_the_last_page(tmp_path: Path) -> None:
    journal_of(tmp_path, 2)
    journal = PageJournal(tmp_path)
    assert journal.confirmed.plan == PLAN
    assert journal.confirmed.cursor == {"after": 1}
    assert journal.confirmed.rows == 4
    assert journal.confirmed.spent == {"requests": 2}
    journal.append([record(4)], None, {"requests": 3}, 1)
    assert PageJournal(tmp_path).confirmed.is_complete
    assert PageJournal(tmp_path).confirmed.rows_beyond == 1
    assert ids(tmp_path) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    "rest", [b'{"cursor": {"after": 2}, "off', b"\0" * 40 + b"\n", b'{"nobody": 1}\n', b"\xff\n", b"7\n"]
)
def test_a_checkpoint_that_was_cut_short_counts_as_never_written(tmp_path: Path, rest: bytes) -> None:
    journal_of(tmp_path, 2)
    with (tmp_path / PAGES).open("ab") as stream:
        stream.write(b"half a page")
    with (tmp_path / CHECKPOINTS).open("ab") as stream:
        stream.write(rest)
    journal = PageJournal(tmp_path)
    assert journal.confirmed.cursor == {"after": 1}
    journal.append([record(4)], {"after": 2}, {}, 0)
    journal.append([record(5)], None, {}, 0)
    assert PageJournal(tmp_path).confirmed.rows == 6
    assert ids(tmp_path) == ["0", "1", "2", "3", "4", "5"]


def test_pages_that_a_power_cut_took_are_asked_for_again(tmp_path: Path) -> None:
    sizes = []
    journal = journal_of(tmp_path, 0)
    for page in range(4):
        journal.append([record(page)], {"after": page}, {}, 0)
        sizes.append(journal.confirmed.offset)
    with (tmp_path / PAGES).open("r+b") as stream:
        stream.truncate(sizes[1] + 7)
    journal = PageJournal(tmp_path)
    assert journal.confirmed.cursor == {"after": 1}
    journal.append([record(7)], {"after": 7}, {}, 0)
    # Killed with the next page on disk: the line that once stood there must not confirm it.
    with (tmp_path / PAGES).open("ab") as stream:
        stream.write(b"x" * (sizes[3] - sizes[2]))
    assert PageJournal(tmp_path).confirmed.cursor == {"after": 7}
    assert ids(tmp_path) == ["0", "1", "7"]


def test_a_batch_whose_plan_is_not_whole_is_begun_again(tmp_path: Path) -> None:
    journal_of(tmp_path, 2)
    first = (tmp_path / CHECKPOINTS).read_bytes().split(b"\n")[0]
    (tmp_path / CHECKPOINTS).write_bytes(first)  # without its end
    assert PageJournal(tmp_path).checkpoint is None


def test_a_page_that_could_not_be_written_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = journal_of(tmp_path, 1)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space"):
            journal.append([record(2)], {"after": 1}, {}, 0)
    assert PageJournal(tmp_path).confirmed.rows == 2
    journal.append([record(8)], {"after": 1}, {}, 0)
    assert ids(tmp_path) == ["0", "1", "8"]


def test_a_batch_that_is_begun_anew_keeps_nothing_of_the_old_one(tmp_path: Path) -> None:
    journal = journal_of(tmp_path, 2)
    journal.restart()
    assert journal.confirmed.rows == 0
    journal.append([record(9)], None, {}, 0)
    assert ids(tmp_path) == ["9"]


def test_records_come_out_as_they_went_in(tmp_path: Path) -> None:
    tokyo = timezone(timedelta(hours=9))
    told = [
        ("1", '{"name": "Zoë 🚀"}', datetime(2026, 3, 1, 9, 0, 0, 123456, tzinfo=tokyo), False),
        ("zwölf", '{"amount": 12345678901234567890.120}', None, True),
        ("3", "", datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), False),
        *[
            (str(n), "{}", None if n % 3 else datetime(2026, 1, n, tzinfo=UTC), n % 2 == 0)
            for n in range(4, 22)
        ],
    ]
    journal = PageJournal(tmp_path)
    journal.begin(PLAN)
    journal.append([Record(i, text, at, gone) for i, text, at, gone in told], None, {}, 0)
    journal.write_parquet(STAMP)
    table = pq.read_table(tmp_path / PART)
    assert table.schema.equals(SCHEMA)
    table.validate(full=True)
    landed = table.to_pylist()
    assert [(row["record_id"], row["payload"], row["is_deleted"]) for row in landed] == [
        (record_id, text, gone) for record_id, text, _, gone in told
    ]
    assert [row["modified_at"] for row in landed[:3]] == [
        datetime(2026, 3, 1, 0, 0, 0, 123456),
        None,
        datetime(1969, 12, 31, 23, 59, 59, 999999),
    ]
    assert [row["modified_at"] for row in landed[3:]] == [
        None if n % 3 else datetime(2026, 1, n) for n in range(4, 22)
    ]
    same = {(r["source_relation"], r["batch_id"], r["extracted_at"], r["is_initial_load"]) for r in landed}
    assert same == {("hq", "b1", datetime(2026, 4, 1, 4), True)}


def test_each_page_adds_a_line_and_the_plan_is_told_once(tmp_path: Path) -> None:
    journal_of(tmp_path, 3)
    lines = [json.loads(line) for line in (tmp_path / CHECKPOINTS).read_text().splitlines()]
    assert [line.get("plan") for line in lines] == [PLAN, None, None, None]
    assert [line["rows"] for line in lines] == [0, 2, 4, 6]


def test_the_companions_of_a_page_count_with_it_or_not_at_all(tmp_path: Path) -> None:
    journal = PageJournal(tmp_path)
    journal.begin(PLAN, has_companion=True)
    journal.append([record(0)], {"after": 0}, {}, 0, [record(10)])
    # The second page was written, and the process killed before its checkpoint was whole.
    log = (tmp_path / CHECKPOINTS).read_bytes()
    journal.append([record(1)], {"after": 1}, {}, 0, [record(11)])
    (tmp_path / CHECKPOINTS).write_bytes(log + b'{"cursor"')
    journal = PageJournal(tmp_path)
    assert journal.confirmed.cursor == {"after": 0}
    journal.append([record(2)], None, {}, 0, [record(12), record(13)])
    journal = PageJournal(tmp_path)
    journal.write_companion(STAMP, tmp_path / "beside.parquet")
    beside = pq.read_table(tmp_path / "beside.parquet")
    assert beside["record_id"].to_pylist() == ["10", "12", "13"]
    assert ids(tmp_path) == ["0", "2"]


def test_companions_that_a_power_cut_took_are_asked_for_again_with_their_page(tmp_path: Path) -> None:
    journal = PageJournal(tmp_path)
    journal.begin(PLAN, has_companion=True)
    journal.append([record(0)], {"after": 0}, {}, 0, [record(10)])
    journal.append([record(1)], {"after": 1}, {}, 0, [record(11)])
    with (tmp_path / COMPANION).open("r+b") as stream:
        stream.truncate((tmp_path / COMPANION).stat().st_size - 1)
    assert PageJournal(tmp_path).confirmed.cursor == {"after": 0}


def test_a_batch_begun_again_begins_its_companion_again(tmp_path: Path) -> None:
    journal = PageJournal(tmp_path)
    journal.begin(PLAN, has_companion=True)
    journal.append([record(0)], {"after": 0}, {}, 0, [record(10)])
    journal.restart()
    journal.append([record(1)], None, {}, 0)
    journal.write_companion(STAMP, tmp_path / "beside.parquet")
    assert pq.read_table(tmp_path / "beside.parquet").schema.names == SCHEMA.names
    assert pq.read_table(tmp_path / "beside.parquet").num_rows == 0
    assert ids(tmp_path) == ["1"]
