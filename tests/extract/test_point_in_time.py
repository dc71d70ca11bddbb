"""Looks at past instants: every version seen once, in as few looks as there can be."""

from datetime import UTC, datetime, timedelta
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from dagster_project.extract.crm.point_in_time import Version, looks, versions

START = datetime(2026, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def test_a_deal_that_never_changed_is_looked_at_once() -> None:
    (look,) = looks(versions(7, [at(3)]))
    assert (look.instant, look.versions) == (at(3), {7: at(3)})


def test_deals_whose_versions_overlap_share_a_look() -> None:
    # 1: |0      10|      2:    |5      20|      3: |8 ...
    wanted = [*versions(1, [at(0), at(10)]), *versions(2, [at(5), at(20)]), *versions(3, [at(8)])]
    found = looks(wanted)
    assert [look.instant for look in found] == [at(10) - TICK, at(20)]
    assert found[0].versions == {1: at(0), 2: at(5), 3: at(8)}
    assert found[1].versions == {1: at(10), 2: at(20)}


def test_a_repeated_instant_is_one_version() -> None:
    assert versions(1, [at(2), at(1), at(2)]) == [Version(1, at(1), at(2)), Version(1, at(2))]


def test_nothing_to_see_needs_no_look() -> None:
    assert looks([]) == []


CHANGES = st.dictionaries(st.integers(1, 5), st.lists(st.integers(0, 12), min_size=1, max_size=4), max_size=4)


@given(CHANGES)
def test_every_version_is_seen_once_while_it_is_visible(changes: dict[int, list[int]]) -> None:
    wanted = [v for deal, minutes in changes.items() for v in versions(deal, map(at, minutes))]
    found = looks(wanted)
    seen = [(deal, start) for look in found for deal, start in look.versions.items()]
    assert sorted(seen) == sorted((v.record_id, v.start) for v in wanted)
    ends = {(v.record_id, v.start): v.end for v in wanted}
    for look in found:
        for deal, start in look.versions.items():
            assert start <= look.instant < ends[deal, start]


@given(CHANGES)
def test_fewer_looks_would_miss_a_version(changes: dict[int, list[int]]) -> None:
    wanted = [v for deal, minutes in changes.items() for v in versions(deal, map(at, minutes))]
    # By trial: with versions that begin at whole minutes, looking at whole minutes is enough.
    minutes = [at(minute) for minute in range(14)]
    fewest = next(
        size
        for size in range(len(minutes) + 1)
        if any(
            all(any(v.start <= instant < v.end for instant in chosen) for v in wanted)
            for chosen in combinations(minutes, size)
        )
    )
    assert len(looks(wanted)) == fewest
