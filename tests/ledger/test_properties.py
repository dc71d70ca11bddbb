"""What holds for every book, however wild: order and repetition do not matter, states follow one another."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ledger.book import Book, Change
from tests.ledger.ledger_bench import LedgerBench, LedgerTables
from tests.ledger.random_books import DELIVERED, INSTANTS, STATES, books, delivered_again
from tests.ledger.reference import CLOSED, Reference

QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
UTC = ZoneInfo("UTC")
FIRST = {"extracted_at": datetime(2026, 1, 1), "is_initial_load": True}
MADE_UP = ("created_at_from_old_value", "created_at_current_stage", "created_at_unrecorded_stage")
MADE_UP += ("current_stage", "closed_at", "snapshot_first_seen")


def everything(tables: LedgerTables) -> tuple[list[tuple], list[tuple]]:
    return tables.rows("fct_stage_transitions", "*"), tables.rows("fct_deal_versions", "*")


@QUICK
@given(data=st.data(), book=books())
def test_any_order_and_any_repetition_of_rows_give_the_same_rows_and_ids(
    bench: LedgerBench, data: st.DataObject, book: Book
) -> None:
    expected = everything(bench.build(book))
    indexes = list(range(len(book.changes)))
    again = delivered_again(book, data.draw(st.lists(st.sampled_from(indexes))) if indexes else [])
    shuffled = replace(
        again,
        changes=tuple(data.draw(st.permutations(again.changes))),
        records=tuple(data.draw(st.permutations(again.records))),
        stages=tuple(reversed(again.stages)),
    )
    assert everything(bench.build(shuffled)) == expected


@QUICK
@given(book=books())
def test_each_deal_is_in_exactly_one_state_at_each_instant(bench: LedgerBench, book: Book) -> None:
    tables = bench.build(book)
    deal, last = None, None
    columns = ("deal_key", "transition_number", "from_pipeline_id", "from_stage_id", "from_status")
    columns += ("to_pipeline_id", "to_stage_id", "to_status", "transitioned_at", "exited_at", "is_current")
    for row in tables.rows("fct_stage_transitions", *columns, order="deal_key, transition_number"):
        key, number, left, entered, at, exited_at, is_current = (*row[:2], row[2:5], row[5:8], *row[8:])
        if key != deal:
            assert deal is None or last[-1] is True, "the last transition of a deal is current"
            assert (number, left) == (1, (None, None, None))
        else:
            assert (number, left, at) == (last[0] + 1, last[1], last[2])
            assert left != entered
            assert last[-1] is False
        assert exited_at is None or exited_at >= at
        assert is_current == (exited_at is None)
        deal, last = key, (number, entered, exited_at, is_current)

    versions = tables.rows(
        "fct_deal_versions",
        *("deal_key", "version_number", "valid_from_at", "valid_to_at", "valid_from_date", "valid_to_date"),
        order="deal_key, version_number",
    )
    for before, after in pairwise([(None, 0, None, None, None, None), *versions, (None, 1) + (None,) * 4]):
        key, number, _, end_at, _, end_on = before
        if after[0] == key:
            assert after[1] == number + 1
            assert (after[2], after[4]) == (end_at, end_on), "a version begins where the one before ends"
        else:
            assert (end_at, end_on) == (None, None), "the last version of a deal has no end"
            assert after[1] == 1

    ids = tables.rows("fct_stage_transitions", "transition_id")
    assert len(ids) == len(set(ids))


@QUICK
@given(book=books(), days=st.integers(-2, 60))
def test_the_state_at_the_end_of_any_day_is_that_of_a_replay(
    bench: LedgerBench, book: Book, days: int
) -> None:
    day = date(2025, 3, 28) + timedelta(days=days)
    zone = ZoneInfo(book.settings.time_zone)
    midnight = datetime.combine(day + timedelta(days=1), datetime.min.time(), zone)
    cutoff = midnight.astimezone(UTC).replace(tzinfo=None)
    reference = Reference(book)
    expected = []
    for deal in reference.deals:
        before = [version for version in reference.versions(deal) if version.at < cutoff]
        if before:
            last = before[-1]
            expected.append((*deal, *last.state, last.values["amount"], last.values["owner"], last.removed))
    found = bench.build(book, ["fct_deal_versions"]).rows(
        "fct_deal_versions",
        *("source_relation", "deal_id", "pipeline_id", "stage_id", "status", "amount_native", "owner_id"),
        "deleted_reason",
        where=f"valid_from_date <= '{day}' and (valid_to_date is null or valid_to_date > '{day}')",
        order="source_relation, deal_id",
    )
    assert found == expected


@QUICK
@given(data=st.data(), book=books())
def test_a_late_row_never_changes_the_id_of_an_observed_row(
    bench: LedgerBench, data: st.DataObject, book: Book
) -> None:
    """An observed row may only leave, by becoming a repetition of the state it finds."""
    changes = tuple(replace(change, status=None) for change in book.changes)
    if not changes:
        return
    deal = data.draw(st.sampled_from(changes))
    pipeline, stage = data.draw(st.sampled_from(STATES))
    late = Change(
        deal.deal_id,
        data.draw(st.sampled_from(INSTANTS)),
        stage,
        pipeline=pipeline,
        source=deal.source,
        **DELIVERED[-1],
    )
    columns = (
        "transition_id",
        "deal_key",
        "recorded_at_utc",
        "transitioned_at",
        "to_pipeline_id",
        "to_stage_id",
    )
    observed = f"coalesce(inference_rule, '') not in {MADE_UP}"
    before = bench.build(replace(book, changes=changes)).rows(
        "fct_stage_transitions", *columns, where=observed
    )
    tables = bench.build(replace(book, changes=(*changes, late)))
    after = {row[0]: row[1:] for row in tables.rows("fct_stage_transitions", *columns)}
    for transition_id, *told in before:
        key, recorded_at, at, *state = told
        if transition_id in after:
            # the place on the time line may be another (no longer the first row), the record is not
            assert (after[transition_id][0], after[transition_id][1]) == (key, recorded_at)
            assert list(after[transition_id][3:]) == state
        else:
            in_force = tables.query(
                "select pipeline_id, stage_id from ledger.fct_deal_versions where deal_key = ? "
                "and valid_from_at <= ? and (valid_to_at is null or valid_to_at >= ?)",
                [key, max(at, recorded_at), at],
            )
            assert tuple(state) in in_force


@QUICK
@given(book=books())
def test_no_day_before_the_closing_or_the_reading_shows_what_only_the_record_knows(
    bench: LedgerBench, book: Book
) -> None:
    columns = ("source_relation", "deal_id", "valid_from_at", "status", "amount_native", "close_date")
    tables = bench.build(book, ["fct_deal_versions"])
    versions = tables.rows("fct_deal_versions", *columns, order="source_relation, deal_id, version_number")
    for position, field in ((4, "amount"), (5, "close_date")):
        for index, version in enumerate(versions):
            deal = version[:2]
            rows = [row for row in book.changes if (row.source, row.deal_id) == deal]
            if version[position] is None or any(getattr(row, field) is not None for row in rows):
                continue
            later = [row[3] for row in versions[index:] if row[:2] == deal]
            records = [row for row in book.records if (row.source, row.deal_id) == deal]
            read_at = min(row.modified_at or row.extracted_at - timedelta(days=2) for row in records)
            assert all(status in CLOSED for status in later) or version[2] >= read_at


@QUICK
@given(book=books())
def test_nothing_is_known_before_it_happens_and_the_first_load_at_once(
    bench: LedgerBench, book: Book
) -> None:
    """Rows delivered in the second or third night are known from the day after the run without them."""
    tables = bench.build(book)
    for business_date, known_on in tables.rows("fct_stage_transitions", "business_date", "known_on"):
        assert known_on in (
            business_date,
            max(business_date, date(2026, 1, 1)),
            max(business_date, date(2026, 1, 4)),
        )
    at_once = replace(
        book,
        changes=tuple(replace(row, **FIRST) for row in book.changes),
        records=tuple(replace(row, **FIRST) for row in book.records),
    )
    rows = bench.build(at_once).rows("fct_deal_versions", "valid_from_date", "known_on", "has_late_changes")
    assert all(known_on == valid_from and not is_late for valid_from, known_on, is_late in rows)
