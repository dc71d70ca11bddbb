"""Incremental equals full refresh: what a night leaves in the tables is, each night, what is built whole."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from tests.ledger.book import Settings
from tests.ledger.nights_bench import Killed, Night, NightsBench, compile_nights
from tests.ledger.random_nights import random_nights
from tests.long_tests import LONG

COMMON_NIGHTS_TOUCH = 0.6
REPLACED_MARTS = ("mart_pipeline_waterfall", "int_marts_applied")


@dataclass(frozen=True)
class Built:
    """What a night has built of all deals (and why), and the deals and periods whose rows it replaced."""

    deals: int
    reasons: list[str]
    touched: int
    reasons_in_marts: list[str]
    touched_in_marts: int
    touched_periods: int


@dataclass(frozen=True)
class ScopedSettings(Settings):
    """Settings with the lists of metrics.exclude."""

    settings_json: str = json.dumps({"metrics": {"exclude": {"pipelines": ["REN"], "owners": ["Zed"]}}})


@pytest.fixture(scope="module")
def nights_bench(tmp_path_factory: pytest.TempPathFactory) -> NightsBench:
    return NightsBench(*compile_nights(tmp_path_factory.mktemp("nights"), REPLACED_MARTS))


def replay(bench: NightsBench, nights: Iterable[Night]) -> list[Built]:
    """Build each night both ways."""
    bench.forget_everything()
    built = []
    for number, night in enumerate(nights):
        bench.deliver(night)
        bench.build_nightly()
        bench.build_whole()
        assert not bench.differences(), f"night {number}: {night.news}"
        built.append(
            Built(
                len({(row.source, row.deal_id) for row in night.book.changes}),
                bench.reasons_to_rebuild(),
                bench.touched(),
                bench.reasons_to_rebuild("marts"),
                *bench.touched_in_marts(),
            )
        )
    return built


def assert_that_common_nights_replace_few_deals(nights: list[Built]) -> None:
    """Equality proves nothing where every night builds everything."""
    common = [night for night in nights[1:] if not night.reasons]
    assert len(common) > len(nights) / 2
    assert sum(night.touched for night in common) < COMMON_NIGHTS_TOUCH * sum(night.deals for night in common)
    common = [night for night in nights[1:] if not night.reasons_in_marts]
    all_periods = max(night.touched_periods for night in nights)
    assert len(common) > len(nights) / 2
    assert sum(night.touched_in_marts for night in common) < COMMON_NIGHTS_TOUCH * sum(
        n.deals for n in common
    )
    assert sum(night.touched_periods for night in common) < COMMON_NIGHTS_TOUCH * all_periods * len(common)


def test_every_night_equals_a_full_refresh(nights_bench: NightsBench) -> None:
    assert_that_common_nights_replace_few_deals(replay(nights_bench, random_nights(seed=50, count=9)))


@LONG
def test_every_table_of_each_of_thirty_nights_equals_a_full_refresh(tmp_path: Path) -> None:
    bench = NightsBench(*compile_nights(tmp_path))
    assert_that_common_nights_replace_few_deals(replay(bench, random_nights(seed=2, count=30)))


def test_a_night_killed_anywhere_leaves_nothing_to_the_next_night(nights_bench: NightsBench) -> None:
    """Also where its rows are taken back before the next: what it had replaced is replaced again."""
    nights = list(random_nights(seed=4, count=5))
    nights_bench.forget_everything()
    nights_bench.deliver(nights[0])
    nights_bench.build_nightly()
    in_ledger, in_marts = nights_bench.replaced_at("ledger"), nights_bench.replaced_at("marts")
    assert len(in_marts) == 3
    ends = (Random(5).choice(in_ledger), *in_marts)
    for (before, killed), end in zip(pairwise(nights), ends, strict=True):
        nights_bench.deliver(killed)
        with pytest.raises(Killed):
            nights_bench.build_nightly(models=end)
        nights_bench.deliver(before)
        nights_bench.build_nightly()
        nights_bench.build_whole()
        assert not nights_bench.differences(), f"taken back after a kill: {killed.news}"
        nights_bench.deliver(killed)
        nights_bench.build_nightly()
        nights_bench.build_whole()
        assert not nights_bench.differences(), f"after a kill: {killed.news}"


def test_what_is_left_out_of_the_metrics_changes_without_a_rebuild_that_is_asked_for(
    nights_bench: NightsBench,
) -> None:
    """By the settings first; then nothing but the name of an owner comes to be the one that is left out.

    In the end another owner goes to another team: a change of the marts alone.
    """
    (first,) = random_nights(seed=6, count=1)
    scoped = replace(first, book=replace(first.book, settings=ScopedSettings()))
    owners = sorted({change.owner for change in first.book.changes if change.owner})
    named = [("crm", owner, f"{owner}'s name", *[None] * 6, True) for owner in owners]
    renamed = [("crm", owners[0], "zed", *[None] * 6, True), *named[1:]]
    moved = [renamed[0], *[(*row[:4], "south", *row[5:]) for row in renamed[1:]]]
    nights = [
        replace(night, staged=night.staged | {"stg_owners": rows})
        for night, rows in (
            (first, named), (scoped, named), (scoped, renamed), (scoped, renamed), (scoped, moved),
        )
    ]  # fmt: skip
    told = "select excluded_by, count(*) from nightly.ledger.fct_deal_versions group by 1 order by 1"
    found = []
    nights_bench.forget_everything()
    for night in nights:
        nights_bench.deliver(night)
        nights_bench.build_nightly()
        nights_bench.build_whole()
        assert not nights_bench.differences()
        rules = [rule for rule, _ in nights_bench.rows(told)]
        touched = (nights_bench.touched() > 0, nights_bench.touched_in_marts()[0] > 0)
        found.append((rules, nights_bench.reasons_to_rebuild(), *touched))
    assert found[1:] == [
        (["pipelines: REN", None], ["changed: settings"], True, True),
        (["owners: Zed", "pipelines: REN", None], [], True, True),
        (["owners: Zed", "pipelines: REN", None], [], False, False),
        (["owners: Zed", "pipelines: REN", None], [], False, True),
    ]
