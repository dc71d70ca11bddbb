"""Which instants to look at, so that every version of every record is seen in few looks.

A server that answers "how did these records look at this instant" shows one version of each record a time. A
version is visible from its own instant until that of the next one; one look shows the versions of all records
that are visible then. The fewest looks that see every version: take the versions by the end of their
visibility, and look just before the end of the first one that no look has seen yet.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

_TICK = timedelta(microseconds=1)
_FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Version:
    """A version of a record, visible at or after `start` and before `end`."""

    record_id: int
    start: datetime
    end: datetime = _FOREVER


@dataclass(frozen=True)
class Look:
    """At `instant`, the records of `versions` (id → start of the visible version) are to be read."""

    instant: datetime
    versions: Mapping[int, datetime]


def versions(record_id: int, changes: Iterable[datetime]) -> list[Version]:
    """The versions of a record that changed at these instants (in any order, repeated or not)."""
    return [Version(record_id, start, end) for start, end in pairwise([*sorted(set(changes)), _FOREVER])]


def looks(wanted: Iterable[Version]) -> list[Look]:
    """The looks that show all of these versions, in order of time."""
    by_end = sorted(wanted, key=lambda version: (version.end, version.start, version.record_id))
    # What nothing has followed is looked at when the last of all changes has happened.
    latest = max((version.start for version in by_end), default=_FOREVER)
    found: list[tuple[datetime, dict[int, datetime]]] = []
    for version in by_end:
        if not found or found[-1][0] < version.start:
            found.append((latest if version.end == _FOREVER else version.end - _TICK, {}))
        found[-1][1][version.record_id] = version.start
    return [Look(instant, seen) for instant, seen in found]
