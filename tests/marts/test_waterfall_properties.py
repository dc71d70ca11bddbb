"""Random books: the invariants hold, and plain Python finds the same buckets."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from tests.ledger.book import Settings
from tests.ledger.ledger_bench import LedgerTables
from tests.marts.random_pipelines import AS_OF, BOOKS, RandomPipelines, random_pipelines
from tests.marts.reference_waterfall import Rates, Sums, read_deals, waterfall
from tests.marts.waterfall_bench import INVARIANTS, WaterfallBench

# 125 books in each run of the tests, 500 in `make test-long`.
BUILDS = 20 if os.environ.get("STAGELEDGER_LONG_TESTS") == "1" else 5
ENTRIES = ("created", "reopened", "restored", "transferred_in", "pulled_in", "pushed_in")
EXITS = ("won", "lost", "closed_other", "deleted_or_merged", "transferred_out", "pushed_out", "pulled_out")
MOVES = (*ENTRIES, "increased", "decreased", "fx", *EXITS, "closed_outside_scope")
Slices = dict[tuple[str, str], dict[str, Decimal]]


def told_by_sql(tables: LedgerTables) -> dict[tuple[str, str, str, str], Slices]:
    """Amounts that are not 0 by (mode, scope, period_type, period) and slice; unknown ones are 0."""
    buckets = ("start", *MOVES, "end")
    columns = ", ".join(f"{bucket}_amount" for bucket in buckets)
    told: dict[tuple[str, str, str, str], Slices] = {}
    for mode, scope, period_type, period, segment_type, segment, *amounts in tables.query(
        f"select mode, scope, period_type, period, segment_type, segment, {columns} "
        "from marts.mart_pipeline_waterfall"
    ):
        slices = told.setdefault((mode, scope, period_type, period), {})
        values = {bucket: amount for bucket, amount in zip(buckets, amounts, strict=True) if amount}
        if mode == "gross":
            values = {bucket: amount for bucket, amount in values.items() if bucket in MOVES}
        if values:
            slices[segment_type, segment] = values
    return told


def without_zeros(sums: Sums) -> Slices:
    """The same of plain Python; where no amount is known, the mart tells none."""
    told = {
        key: {bucket: Decimal(amount) for bucket, amount in moves.items() if amount and bucket != "known"}
        for key, moves in sums.items()
        if moves["known"]
    }
    return {key: moves for key, moves in told.items() if moves}


def periods_of(tables: LedgerTables) -> list[tuple[str, str, tuple[date, date]]]:
    rows = tables.query(
        "select period_type, period, period_start, period_end from marts.int_periods "
        "where period_type in ('week', 'month', 'quarter')"
    )
    return [(period_type, period, (start, end)) for period_type, period, start, end in rows]


def compare(
    tables: LedgerTables,
    books: RandomPipelines,
    seen: Counter[str],
    is_left_out: Callable[[str, str], bool] | None = None,
) -> list[str]:
    """What differs between the SQL and plain Python; counts the buckets that were not empty."""
    deals, rates, told = read_deals(tables, is_left_out), Rates(books.rates), told_by_sql(tables)
    problems = []
    for period_type, period, days in periods_of(tables):
        for mode in ("net", "gross") if period_type != "week" else ("net",):
            for scope in ("rolling", "period"):
                expected = without_zeros(waterfall(deals, rates, days, AS_OF, mode, scope))
                found = told.get((mode, scope, period_type, period), {})
                for slice_ in expected.keys() | found.keys():
                    if expected.get(slice_) != found.get(slice_):
                        at = (mode, scope, period, slice_)
                        problems.append(f"{at}: {found.get(slice_)} instead of {expected.get(slice_)}")
                for moves in expected.values():
                    seen.update(f"{mode} {scope} {bucket}" for bucket in moves)
    return problems


def test_random_books_keep_the_invariants_and_agree_with_plain_python(
    waterfall_bench: WaterfallBench,
) -> None:
    seen: Counter[str] = Counter()
    for seed in range(BUILDS):
        books = random_pipelines(seed)
        tables = waterfall_bench.build(books.book, books.staged)
        for name in INVARIANTS:
            assert tables.query(waterfall_bench.invariants[name]) == [], f"{name}, seed {seed}"
        assert compare(tables, books, seen)[:5] == [], f"seed {seed}"
    # nothing is restored: no source tells that a deal came back
    always_empty = {"restored"}
    assert {f"net period {bucket}" for bucket in MOVES if bucket not in always_empty} <= set(seen)
    assert {f"gross period {bucket}" for bucket in MOVES if bucket not in always_empty} <= set(seen)


@dataclass(frozen=True)
class ScopedSettings(Settings):
    """The settings of the business with the lists of metrics.exclude."""

    settings_json: str = "{}"


def test_books_with_a_pipeline_and_owners_left_out_agree_with_plain_python(
    waterfall_bench: WaterfallBench,
) -> None:
    """The owners ann of even books and the pipeline ren of all: deals come and go between in and out."""
    owners = [f"Ann {number:02}" for number in range(0, BOOKS, 2)]
    left_out = {owner.lower() for owner in owners}
    exclude = {"pipelines": ["Ren"], "owners": owners}
    books = random_pipelines(7001)
    settings = ScopedSettings(
        time_zone=books.book.settings.time_zone,
        settings_json=json.dumps({"metrics": {"exclude": exclude}}),
    )
    tables = waterfall_bench.build(replace(books.book, settings=settings), books.staged)
    for name in INVARIANTS:
        assert tables.query(waterfall_bench.invariants[name]) == [], name
    seen: Counter[str] = Counter()
    problems = compare(
        tables, books, seen, lambda pipeline, owner: pipeline == "ren" or owner.lower() in left_out
    )
    assert problems[:5] == []
    total = tables.query(
        "select sum(transferred_in_amount) > 100, sum(transferred_out_amount) < -100, sum(won_amount) < -100 "
        "from marts.mart_pipeline_waterfall where segment_type = 'total' and mode = 'gross'"
    )
    assert total == [(True, True, True)]
