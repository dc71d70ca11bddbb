"""The ledger's SQL and a replay in plain Python, written apart from it, tell the same story of random books."""

from hypothesis import HealthCheck, given, settings

from tests.ledger.book import Book
from tests.ledger.ledger_bench import LedgerBench, LedgerTables
from tests.ledger.random_books import books
from tests.ledger.reference import Reference

QUICK = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TRANSITION = (
    "source_relation, deal_id, transition_number, transitioned_at, recorded_at_utc, exited_at, from_stage_id, "
    "to_stage_id, transition_type, stages_skipped, visit_number, inference_rule, is_transient, order_uncertain, "
    "is_clamped, is_left_truncated, amount_native, close_date, known_on"
)
VERSION = (
    "source_relation, deal_id, version_number, valid_from_at, pipeline_id, stage_id, status, amount_native, "
    "currency, close_date, owner_id, forecast_category, probability, deleted_reason, known_on"
)


def transitions_by_reference(book: Book) -> list[tuple]:
    reference = Reference(book)
    return [
        tuple(vars(transition).values())
        for deal in reference.deals
        for transition in reference.transitions(deal)
    ]


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
            version.known_on,
        )
        for deal in reference.deals
        for number, version in enumerate(reference.versions(deal), start=1)
    ]


def by_sql(tables: LedgerTables, table: str, columns: str, number: str) -> list[tuple]:
    return tables.rows(table, columns, order=f"source_relation, deal_id, {number}")


@QUICK
@given(book=books())
def test_transitions_are_those_of_the_replay(bench: LedgerBench, book: Book) -> None:
    tables = bench.build(book, ["fct_stage_transitions"])
    found = by_sql(tables, "fct_stage_transitions", TRANSITION, "transition_number")
    assert found == transitions_by_reference(book)


@QUICK
@given(book=books())
def test_versions_are_those_of_the_replay(bench: LedgerBench, book: Book) -> None:
    tables = bench.build(book, ["fct_deal_versions"])
    found = by_sql(tables, "fct_deal_versions", VERSION, "version_number")
    assert found == versions_by_reference(book)
