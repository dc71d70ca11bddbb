"""The ledger's SQL and a replay in plain Python, written apart, tell the same story of random books."""

from collections import defaultdict
from collections.abc import Iterable

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.ledger.book import Book
from tests.ledger.ledger_bench import LedgerBench
from tests.ledger.random_books import only, random_book
from tests.ledger.reference import Reference

# A book is forty deals; shrinking its number means nothing, so the message names the deal instead.
SEVERAL = settings(
    max_examples=8,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
SEEDS = st.integers(0, 2**32)
TRANSITION = (
    *("source_relation", "deal_id", "transition_number", "transitioned_at", "recorded_at_utc", "exited_at"),
    *("from_stage_id", "to_stage_id", "transition_type", "stages_skipped", "visit_number", "inference_rule"),
    *("is_transient", "order_uncertain", "is_clamped", "is_left_truncated", "amount_native", "close_date"),
    "known_on",
)
VERSION = (
    *("source_relation", "deal_id", "version_number", "valid_from_at", "pipeline_id", "stage_id", "status"),
    *("amount_native", "currency", "close_date", "owner_id", "forecast_category", "probability"),
    *("deleted_reason", "known_on"),
)


def transitions_by_reference(book: Book) -> list[tuple]:
    reference = Reference(book)
    told = (transition for deal in reference.deals for transition in reference.transitions(deal))
    return [tuple(vars(transition).values()) for transition in told]


def versions_by_reference(book: Book) -> list[tuple]:
    reference = Reference(book)
    return [
        (
            *deal,
            number,
            version.at,
            *version.state,
            *version.values.values(),
            version.removed,
            version.values_known_on,
        )
        for deal in reference.deals
        for number, version in enumerate(reference.versions(deal), start=1)
    ]


def by_deal(rows: Iterable[tuple]) -> dict[tuple[str, str], list[tuple]]:
    found = defaultdict(list)
    for row in rows:
        found[row[:2]].append(row[2:])
    return dict(found)


def assert_same_story(book: Book, found: list[tuple], expected: list[tuple]) -> None:
    by_sql, by_replay = by_deal(found), by_deal(expected)
    assert by_sql.keys() == by_replay.keys()
    for deal, rows in by_replay.items():
        assert by_sql[deal] == rows, f"{deal} in {book.settings.time_zone}: {only(book, deal)}"


@SEVERAL
@given(seed=SEEDS)
def test_transitions_are_those_of_the_replay(bench: LedgerBench, seed: int) -> None:
    book = random_book(seed)
    tables = bench.build(book, ["fct_stage_transitions"])
    found = tables.rows("fct_stage_transitions", *TRANSITION, order="deal_key, transition_number")
    assert_same_story(book, found, transitions_by_reference(book))


@SEVERAL
@given(seed=SEEDS)
def test_versions_are_those_of_the_replay(bench: LedgerBench, seed: int) -> None:
    book = random_book(seed)
    tables = bench.build(book, ["fct_deal_versions"])
    found = tables.rows("fct_deal_versions", *VERSION, order="deal_key, version_number")
    assert_same_story(book, found, versions_by_reference(book))
