"""Which part of a CRM's changes the landing has, and which window is due: manifests tell, not a clock."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from dagster_project.extract.api.protocol import Window
from dagster_project.extract.landing import Batch, Landing

LEFT = "_left.txt"


@dataclass(frozen=True)
class Span:
    """The days of a run as instants (UTC): from the start of the first to the end of the last."""

    start: datetime
    end: datetime

    @classmethod
    def of_days(cls, first: date, last: date, zone: ZoneInfo) -> "Span":
        """Business days as instants."""
        end = datetime.combine(last + timedelta(days=1), time(), zone)
        return cls(datetime.combine(first, time(), zone).astimezone(UTC), end.astimezone(UTC))


@dataclass(frozen=True)
class Coverage:
    """What the landing has of one entity. `until`: every change before it; None before the first load."""

    batches: tuple[Batch, ...]
    until: datetime | None = None
    is_watermarked: bool = False
    follows_through: str = ""
    left: tuple[str, ...] = ()
    swept_at: datetime | None = None

    @property
    def newest_id(self) -> str:
        """The id of the newest batch; empty when there is none."""
        return self.batches[-1].folder.name if self.batches else ""


def coverage(landing: Landing, source: str, entity: str) -> Coverage:
    """Read the manifests of one entity of one source."""
    batches = tuple(landing.batches(source, entity))
    readings = [(batch, batch.manifest.reading) for batch in batches if batch.manifest.reading is not None]
    windows = [(batch, reading) for batch, reading in readings if reading.kind == "window"]
    if not windows:
        return Coverage(batches)
    _, furthest = max(windows, key=lambda pair: pair[1].window_to)
    newest, last = windows[-1]
    sweeps = [reading.window_to for _, reading in readings if reading.kind == "sweep"]
    return Coverage(
        batches,
        until=furthest.window_to,
        is_watermarked=furthest.is_watermarked,
        follows_through=max(reading.follows_through or "" for _, reading in windows),
        left=_left(newest.folder) if last.left else (),
        swept_at=max([windows[0][1].window_to, *sweeps]),
    )


def window_due(
    covered: Coverage, span_start: datetime, end: datetime, lookback: timedelta, *, reread: bool = False
) -> Window | None:
    """The window that closes what is missing before `end`; None when nothing is.

    It begins at the earlier of the span's start and the end of what is covered, less the lookback (none where
    the CRM vouched for its watermark). The first window has no beginning. `reread`: the span again, although
    it is covered.
    """
    if covered.until is None:
        return Window(None, end)
    if covered.until >= end and not reread:
        return None
    reach = covered.until if covered.is_watermarked else covered.until - lookback
    start = min(span_start, reach) if covered.until < end else span_start
    return Window(start, end) if start < end else None


def last_full_day(until: datetime, zone: ZoneInfo) -> date:
    """The last business day of which every change before `until` is all there is."""
    return until.astimezone(zone).date() - timedelta(days=1)


def _left(folder: Path) -> tuple[str, ...]:
    path = folder / LEFT
    return tuple(path.read_text(encoding="utf-8").split("\n")) if path.exists() else ()
