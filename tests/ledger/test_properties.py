"""What holds for every book, however wild: order and repetition do not matter, states follow one another."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.ledger.ledger_bench import LedgerBench, LedgerTables
from tests.ledger.random_books import FIRST_LOAD, late_rows, only, random_book, shuffled_and_repeated
from tests.ledger.reference import CLOSED, Reference

SEVERAL = settings(
    max_examples=4,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
SEEDS = st.integers(0, 2**32)
UTC = ZoneInfo("UTC")
# A record without a modification stands for the day of the first run that had it, in whatever time zone.
START_OF_READING = datetime(2025, 12, 30)
MADE_UP = ("created_at_from_old_value", "created_at_current_stage", "created_at_unrecorded_stage")
MADE_UP += ("current_stage", "closed_at", "snapshot_first_seen")


def everything(tables: LedgerTables) -> tuple[list[tuple], list[tuple]]:
    return tables.rows("fct_stage_transitions", "*"), tables.rows("fct_deal_versions", "*")


@SEVERAL
@given(seed=SEEDS)
def test_any_order_and_any_repetition_of_rows_give_the_same_rows_and_ids(
    bench: LedgerBench, seed: int
) -> None:
    book = random_book(seed)
    expected = everything(bench.build(book))
    assert everything(bench.build(shuffled_and_repeated(book, seed))) == expected


@SEVERAL
@given(seed=SEEDS)
def test_the_transitions_of_a_deal_are_one_chain(bench: LedgerBench, seed: int) -> None:
    tables = bench.build(random_book(seed), ["fct_stage_transitions"])
    columns = ("deal_key", "transition_number", "transitioned_at", "exited_at", "is_current")
    columns += (
        "from_pipeline_id",
        "from_stage_id",
        "from_status",
        "to_pipeline_id",
        "to_stage_id",
        "to_status",
    )
    rows = tables.rows("fct_stage_transitions", *columns, order="deal_key, transition_number")
    nowhere = (None, None, None)
    for before, after in pairwise(
        [(None,) * 11, *rows, (None, 1, None, None, None, *nowhere, None, None, None)]
    ):
        if before[0] == after[0]:
            assert after[1] == before[1] + 1
            assert after[2] == before[3] >= before[2], "a state ends when the next begins"
            assert after[5:8] == before[8:] != after[8:], "the next state is another one"
            assert not before[4]
        else:
            assert before[0] is None or (before[3] is None and before[4]), "the last state goes on"
            assert (after[1], after[5:8]) == (1, nowhere), "the first state comes from nowhere"
    ids = tables.rows("fct_stage_transitions", "transition_id")
    assert len(ids) == len(set(ids))


@SEVERAL
@given(seed=SEEDS)
def test_a_deal_is_in_exactly_one_version_at_each_instant(bench: LedgerBench, seed: int) -> None:
    tables = bench.build(random_book(seed), ["fct_deal_versions"])
    columns = (
        "deal_key",
        "version_number",
        "valid_from_at",
        "valid_from_date",
        "valid_to_at",
        "valid_to_date",
    )
    rows = tables.rows("fct_deal_versions", *columns, order="deal_key, version_number")
    for before, after in pairwise([(None,) * 6, *rows, (None, 1, None, None, None, None)]):
        if before[0] == after[0]:
            assert after[1] == before[1] + 1
            assert after[2:4] == before[4:] >= before[2:4], "a version begins where the one before ends"
        else:
            assert before[4:] == (None, None), "the last version of a deal has no end"
            assert after[1] == 1


@SEVERAL
@given(seed=SEEDS, days=st.integers(-2, 60))
def test_the_state_at_the_end_of_any_day_is_that_of_a_replay(
    bench: LedgerBench, seed: int, days: int
) -> None:
    book = random_book(seed)
    day = date(2025, 3, 28) + timedelta(days=days)
    midnight = datetime.combine(
        day + timedelta(days=1), datetime.min.time(), ZoneInfo(book.settings.time_zone)
    )
    cutoff = midnight.astimezone(UTC).replace(tzinfo=None)
    reference = Reference(book)
    expected = []
    for deal in reference.deals:
        before = [version for version in reference.versions(deal) if version.at < cutoff]
        for last in before[-1:]:
            expected.append((*deal, *last.state, last.values["amount"], last.values["owner"], last.removed))
    found = bench.build(book, ["fct_deal_versions"]).rows(
        "fct_deal_versions",
        *("source_relation", "deal_id", "pipeline_id", "stage_id", "status", "amount_native", "owner_id"),
        "deleted_reason",
        where=f"valid_from_date <= '{day}' and (valid_to_date is null or valid_to_date > '{day}')",
        order="source_relation, deal_id",
    )
    assert found == expected


@SEVERAL
@given(seed=SEEDS)
def test_a_late_row_never_changes_the_id_of_an_observed_row(bench: LedgerBench, seed: int) -> None:
    """An observed row may only leave, by becoming a repetition of the state it finds."""
    book = random_book(seed)
    book = replace(book, changes=tuple(replace(change, status=None) for change in book.changes))
    columns = (
        "transition_id",
        "deal_key",
        "recorded_at_utc",
        "transitioned_at",
        "to_pipeline_id",
        "to_stage_id",
    )
    observed = f"coalesce(inference_rule, '') not in {MADE_UP}"
    before = bench.build(book).rows("fct_stage_transitions", *columns, where=observed)
    tables = bench.build(replace(book, changes=(*book.changes, *late_rows(book, seed))))
    after = {row[0]: row[1:] for row in tables.rows("fct_stage_transitions", *columns)}
    for transition_id, key, recorded_at, at, *state in before:
        if transition_id in after:
            # the place on the time line may be another (no longer the first row), the record is not
            assert after[transition_id][:2] == (key, recorded_at)
            assert list(after[transition_id][3:]) == state
        else:
            in_force = tables.query(
                "select pipeline_id, stage_id from ledger.fct_deal_versions where deal_key = ? "
                "and valid_from_at <= ? and (valid_to_at is null or valid_to_at >= ?)",
                [key, max(at, recorded_at), at],
            )
            assert tuple(state) in in_force


@SEVERAL
@given(seed=SEEDS)
def test_no_day_before_the_closing_or_the_reading_shows_what_only_the_record_knows(
    bench: LedgerBench, seed: int
) -> None:
    book = random_book(seed)
    columns = ("source_relation", "deal_id", "valid_from_at", "status", "amount_native", "close_date")
    tables = bench.build(book, ["fct_deal_versions"])
    for deal in Reference(book).deals:
        where = f"source_relation = '{deal[0]}' and deal_id = '{deal[1]}'"
        versions = tables.rows("fct_deal_versions", *columns, where=where, order="version_number")
        delivered = only(book, deal)
        for position, field in ((4, "amount"), (5, "close_date")):
            if any(getattr(row, field) is not None for row in delivered.changes):
                continue
            for index, version in enumerate(versions):
                if version[position] is not None and not all(row[3] in CLOSED for row in versions[index:]):
                    read_at = [
                        min(row.modified_at or START_OF_READING, row.extracted_at)
                        for row in delivered.records
                    ]
                    assert version[2] >= min(read_at), delivered


@SEVERAL
@given(seed=SEEDS)
def test_late_rows_are_known_late_and_the_first_load_was_known_at_once(bench: LedgerBench, seed: int) -> None:
    """Rows of the second and third night are known from the day after the last run without them."""
    book = random_book(seed)
    nights = (date(2026, 1, 3), date(2026, 1, 4))
    for business_date, known_on in bench.build(book).rows(
        "fct_stage_transitions", "business_date", "known_on"
    ):
        assert known_on in (business_date, *(max(business_date, night) for night in nights))
    at_once = replace(
        book,
        changes=tuple(replace(row, **FIRST_LOAD) for row in book.changes),
        records=tuple(replace(row, **FIRST_LOAD) for row in book.records),
    )
    rows = bench.build(at_once).rows("fct_deal_versions", "valid_from_date", "known_on", "has_late_changes")
    assert all(known_on == valid_from and not is_late for valid_from, known_on, is_late in rows)
