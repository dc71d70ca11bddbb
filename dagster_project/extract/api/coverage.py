"""Which part of a CRM's changes the landing has, and which window is due: manifests tell, not a clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from dagster_project.extract.api.protocol import Window
from dagster_project.extract.landing import Batch, Landing

LEFT = "_left.txt"
# Kinds of readings (ApiReading.kind): a window of changes, and everything once more.
WINDOW, REFRESH = "window", "refresh"
_UTC_ZONE = ZoneInfo("UTC")


@dataclass(frozen=True)
class Span:
    """The days of a run as instants (UTC): from the start of the first to the end of the last, in `zone`."""

    start: datetime
    end: datetime
    zone: ZoneInfo = _UTC_ZONE

    @classmethod
    def of_days(cls, first: date, last: date, zone: ZoneInfo) -> "Span":
        """Business days as instants."""
        end = datetime.combine(last + timedelta(days=1), time(), zone)
        return cls(datetime.combine(first, time(), zone).astimezone(UTC), end.astimezone(UTC), zone)

    def window_end(self, settled: datetime) -> datetime:
        """Where a window of these days ends that begins when everything before `settled` can be read.

        Where the day after the last one is not over, it is `settled` itself: an interface tells only how a
        record stands now, so one that is touched again after midnight would be missing from the day that has
        just ended. Earlier days end where they end.
        """
        after = self.end.astimezone(self.zone).date() + timedelta(days=1)
        is_newest = settled < datetime.combine(after, time(), self.zone).astimezone(UTC)
        return settled if is_newest else self.end


@dataclass(frozen=True)
class Coverage:
    """What the landing has of one entity. `until`: every change before it; None before the first load.

    `read_whole_until`: the furthest end of a reading of all records; `properties`: what every reading asked
    for since all were read last.
    """

    batches: tuple[Batch, ...]
    until: datetime | None = None
    is_watermarked: bool = False
    follows_through: str = ""
    left: tuple[str, ...] = ()
    swept_at: datetime | None = None
    read_whole_until: datetime | None = None
    properties: frozenset[str] = frozenset()
    api_version: str = ""

    @property
    def newest_id(self) -> str:
        """The id of the newest batch; empty when there is none."""
        return self.batches[-1].folder.name if self.batches else ""


def coverage(landing: Landing, source: str, entity: str) -> Coverage:
    """Read the manifests of one entity of one source."""
    return coverage_of(landing.batches(source, entity))


def coverage_of(batches: Sequence[Batch]) -> Coverage:
    """What batches of one entity, in order of their ids, say together."""
    kept = tuple(batches)
    readings = [(batch, batch.manifest.reading) for batch in kept if batch.manifest.reading is not None]
    windows = [(batch, reading) for batch, reading in readings if reading.kind == WINDOW]
    if not windows:
        return Coverage(kept)
    _, furthest = max(windows, key=lambda pair: pair[1].window_to)
    newest, last = windows[-1]
    sweeps = [reading.window_to for _, reading in readings if reading.kind == "sweep"]
    asked = [reading for _, reading in readings if reading.kind in (WINDOW, REFRESH)]
    whole = [place for place, reading in enumerate(asked) if reading.window_from is None]
    since = asked[whole[-1] :] if whole else []
    return Coverage(
        kept,
        until=furthest.window_to,
        is_watermarked=furthest.is_watermarked,
        follows_through=max(reading.follows_through or "" for _, reading in windows),
        left=_left(newest.folder) if last.left else (),
        swept_at=max([windows[0][1].window_to, *sweeps]),
        # A list that is read whole for past days once more ends where those do.
        read_whole_until=max((asked[place].window_to for place in whole), default=None),
        properties=_common([reading.properties for reading in since]),
        api_version=last.api_version,
    )


def window_due(
    covered: Coverage, span_start: datetime, end: datetime, lookback: timedelta, *, reread: bool = False
) -> Window | None:
    """The window that closes what is missing before `end`; None when nothing is.

    It begins at the earlier of the span's start and the end of what is covered, and before that by the
    lookback (none where the CRM vouched for its watermark). The first window has no beginning. `reread`: the
    span again, although it is covered.
    """
    if covered.until is None:
        return Window(None, end)
    if covered.until >= end and not reread:
        return None
    start = span_start
    if covered.until < end:
        start = min(span_start, covered.until) - (timedelta(0) if covered.is_watermarked else lookback)
    return Window(start, end) if start < end else None


def last_full_day(until: datetime, zone: ZoneInfo) -> date:
    """The last business day of which every change before `until` is all there is."""
    return until.astimezone(zone).date() - timedelta(days=1)


def _common(lists: Sequence[Sequence[str]]) -> frozenset[str]:
    sets = [frozenset(names) for names in lists]
    return frozenset.intersection(*sets) if sets else frozenset()


def _left(folder: Path) -> tuple[str, ...]:
    path = folder / LEFT
    return tuple(path.read_text(encoding="utf-8").split("\n")) if path.exists() else ()
