"""The day a run speaks of: the last complete business day for which every source has data."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from dagster_project.extract.api.connectors import entities_of
from dagster_project.extract.api.coverage import coverage, last_full_day
from dagster_project.extract.api.protocol import Reading
from dagster_project.extract.files.snapshot_day import OLD_AFTER_DAYS
from dagster_project.extract.landing import Landing, Manifest
from dagster_project.settings import ApiSource, FileSource, Settings

logger = logging.getLogger(__name__)

_DATED_TABLES = ("deals", "stage_history")


class AsOfError(Exception):
    """There is no day to speak of; the text says why and what to do."""


@dataclass(frozen=True)
class AsOf:
    """A business day, how it was found, and a sentence when it should be looked at twice.

    `basis`: STAGELEDGER_AS_OF, business.as_of, data_as_of, file_name, snapshot, newest_event, covered_until,
    yesterday or intraday.
    """

    day: date
    basis: str
    warning: str | None = None


def resolve_as_of(settings: Settings, now: datetime, *, is_intraday: bool = False) -> AsOf:
    """The as-of day of a run that starts at `now` (aware).

    An explicit day wins. Otherwise it is the earliest of the sources' days, and never later than yesterday in
    the business time zone. A source's day is its `data_as_of`, else the date in its files' names, else the
    day of the newest of several exports of its deals, else the newest day on which something happened in its
    data; that of a CRM is the last day of which all changes of deals are landed. An intraday run speaks of
    today, which is not over, where every source has been read up to yesterday.
    Errors: AsOfError when nothing was landed, or the explicit day is not over.
    """
    yesterday = now.astimezone(settings.business.zone).date() - timedelta(days=1)
    explicit = settings.business.as_of
    if isinstance(explicit, date):
        basis = "STAGELEDGER_AS_OF" if settings.as_of_is_manual else "business.as_of"
        if explicit > yesterday:
            raise AsOfError(f"{basis} is {explicit}, which is not over; the last complete day is {yesterday}")
        return AsOf(explicit, basis)
    found = reached_days(settings)
    known = {name: day for name, day in found.items() if day is not None}
    if not known:
        raise AsOfError(
            "no source has delivered a dated record yet; look at the extraction's checks, or name the day "
            "with `data_as_of:` at the source (the first load of a CRM may take several runs)"
        )
    slowest = min(known, key=lambda name: known[name].day)
    result = known[slowest]
    if result.day > yesterday:
        result = AsOf(yesterday, "yesterday")
    if is_intraday and result.day == yesterday:
        result = AsOf(yesterday + timedelta(days=1), "intraday")
    silent = [name for name, day in found.items() if day is None]
    warnings = [*_old(result, slowest, yesterday), *_silent(silent)]
    for warning in warnings:
        logger.warning(warning)
    return AsOf(result.day, result.basis, " ".join(warnings) or None)


def reached_days(settings: Settings) -> dict[str, AsOf | None]:
    """How far the data of each source reach, by its name; None while it has delivered nothing dated."""
    landing, zone = Landing(settings.paths.landing), settings.business.zone
    return {
        source.name: (
            crm_day(source, landing, zone) if isinstance(source, ApiSource) else source_day(source, landing)
        )
        for source in settings.sources
    }


def source_day(source: FileSource, landing: Landing) -> AsOf | None:
    """How far the data of one source reach; None while nothing dated has landed."""
    if source.data_as_of is not None:
        return AsOf(source.data_as_of, "data_as_of")
    reads = [batch.manifest for batch in landing.batches(source.name, "reads")]
    named = [_newest_name_date(reads, table) for table in _DATED_TABLES]
    if days := [day for day in named if day is not None]:
        return AsOf(min(days), "file_name")
    exported = {read.origin["snapshot_on"] for read in reads if read.origin.get("snapshot_on")}
    if len(exported) > 1:
        return AsOf(date.fromisoformat(max(exported)), "snapshot")
    events = [read.newest_event_on for read in reads if read.newest_event_on is not None]
    return AsOf(max(events), "newest_event") if events else None


def crm_day(source: ApiSource, landing: Landing, zone: ZoneInfo) -> AsOf | None:
    """The last day of which everything that a CRM's metrics stand on is landed; None before the first load.

    Entities that are read deal by deal follow the deals; what is left of their first load is no reason to
    stand still.
    """
    needed = [
        spec.name for spec in entities_of(source) if spec.is_core and spec.reading is not Reading.BY_DEAL
    ]
    until = [coverage(landing, source.name, entity).until for entity in needed]
    known = [instant for instant in until if instant is not None]
    return AsOf(last_full_day(min(known), zone), "covered_until") if len(known) == len(until) else None


def _newest_name_date(reads: Iterable[Manifest], table: str) -> date | None:
    texts = [read.origin.get("name_date") for read in reads if read.origin.get("table") == table]
    return max((date.fromisoformat(text) for text in texts if text), default=None)


def _old(as_of: AsOf, source: str, yesterday: date) -> list[str]:
    days = (yesterday - as_of.day).days
    if days <= OLD_AFTER_DAYS:
        return []
    how = {
        "data_as_of": "as `data_as_of` says",
        "file_name": "by the date in its file name",
        "snapshot": "by its newest export",
        "newest_event": "by its newest event",
        "covered_until": "by what is landed of its changes",
    }[as_of.basis]
    return [
        f"The data of {source} end on {as_of.day} ({how}), {days:,} days ago: every figure stands as of that "
        "day. Deliver a newer export, or set `data_as_of:` if the data reach further."
    ]


def _silent(sources: list[str]) -> list[str]:
    return [f"{name} has delivered no dated record yet and is left out of the as-of day." for name in sources]
