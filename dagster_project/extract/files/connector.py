"""The files connector: the files of one source, read by column mapping into the landing.

Each file is read whole or not at all. What a file gives lands in up to four batches: its records, the stage
entries of its date columns, its rejected rows and, last, the note that it was read. A killed extraction goes
on where it stopped, because a batch that exists is not written again.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime
from fnmatch import fnmatch
from pathlib import PurePosixPath

import duckdb

from dagster_project.contract import ENTITIES, Entity
from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.files.archives import ARCHIVE_SUFFIXES, MAX_BYTES, Member, unpacked
from dagster_project.extract.files.arrivals import (
    Look,
    find_arrivals,
    has_changed,
    name_date,
)
from dagster_project.extract.files.casting import Casting
from dagster_project.extract.files.file_pass import FilePass, Source, land_file, land_stage_list
from dagster_project.extract.files.judging import judge
from dagster_project.extract.files.known_stages import KnownStages
from dagster_project.extract.files.loading import Loader
from dagster_project.extract.files.progress import Tell
from dagster_project.extract.files.read_log import Reading, ReadLog
from dagster_project.extract.files.results import ExtractResult, FileReport
from dagster_project.extract.files.rows import FileUnfinished, FileUnreadable
from dagster_project.extract.files.scratch_database import scratch_database
from dagster_project.extract.inflight import InFlight
from dagster_project.extract.landing import PART, Landing, file_sha256
from dagster_project.settings import (
    FieldHistoryFile,
    FileSource,
    Format,
    Settings,
    TableFile,
)

logger = logging.getLogger(__name__)

# Raise it when the same bytes and the same mapping give other records: files are then read anew.
READER_VERSION = 3
# Scratch and batches together, as a multiple of the bytes to read.
_SPACE_FACTOR = 3
# What the database may take of the memory; the rest is for the rows on their way into it.
_SHARE_OF_DATABASE = 0.55


class ExtractError(Exception):
    """An extraction cannot go on; the text says why and what to do."""


def extract_files(
    settings: Settings,
    source: Source,
    now: datetime,
    *,
    pause: Callable[[float], None] = time.sleep,
    tell: Tell = logger.info,
) -> ExtractResult:
    """Read the new files of a source into the landing.

    `now` (aware) becomes `extracted_at` of what lands. Files with the same bytes and mapping as before land
    nothing. A file that cannot be read fails alone, with its reason in the result. `tell` is told how far the
    reading of a large file has come.
    Errors: ExtractError (memory), LandingError (disk).
    """
    landing = Landing(settings.paths.landing, settings.owner_emails())
    notes = _tidy(landing)
    initial = frozenset(name for name in ENTITIES if not landing.initial_load_done(source.name, name))
    log = ReadLog(landing, source.name, settings.business.zone)
    run = FilePass(settings, source, now, landing, log, initial, tell)
    reports: list[FileReport] = []
    if source.stage_lines():
        reports.append(land_stage_list(run))
    for entity, table in source.files().items():
        reports += _extract_table(run, ENTITIES[entity], table, pause)
    landed = {batch.manifest.stamp.entity for batch in landing.batches(source.name)}
    unfinished = {report.entity for report in reports if report.status in ("waiting", "failed")}
    if not unfinished:
        landing.end_initial_load(source.name, sorted(landed), now)
    return ExtractResult(source.name, tuple(reports), tuple(run.log.written), tuple(notes))


def reading_of(settings: Settings, source: Source, entity: str, table: TableFile, known: KnownStages) -> str:
    """Fingerprint of how a table's files are read: a change means that they must be read anew."""
    described = {
        "version": READER_VERSION,
        "entity": entity,
        "columns": {name: column.model_dump() for name, column in table.columns.items()},
        "format": _format(source, table).model_dump(),
        "sheet": table.sheet,
        "fields": table.fields if isinstance(table, FieldHistoryFile) else {},
        "currency": settings.business.currency,
        "zones": [source.time_zone or settings.business.time_zone, settings.business.time_zone],
        "stage_entered": dict(source.stage_entered) if entity == "deals" else {},
        "statuses": _statuses(source) if entity in ("deals", "stage_history") else {},
        "stages": known.fingerprint if entity in ("deals", "stage_history") else "",
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def known_stages(source: Source, landing: Landing) -> KnownStages:
    """The stages a source has told, in its list or in the stage files landed so far."""
    if source.stage_lines():
        return KnownStages.listed(source.stage_lines())
    return KnownStages.landed(batch.folder / PART for batch in landing.batches(source.name, "stages"))


def _tidy(landing: Landing) -> list[str]:
    landing.require_same_emails()
    landing.sweep()
    notes = [damaged.reason for damaged in landing.set_aside_damaged()]
    landing.ensure_empty_batches(api_entities())
    return notes


def _statuses(source: Source) -> Mapping[str, str]:
    return source.statuses if isinstance(source, FileSource) else {}


def _format(source: Source, table: TableFile) -> Format:
    own = {key: value for key, value in table.format.model_dump().items() if value is not None}
    return Format(**{**source.format.model_dump(), **own})


def _extract_table(
    run: FilePass, entity: Entity, table: TableFile, pause: Callable[[float], None]
) -> list[FileReport]:
    arrivals = find_arrivals(table.path, pause=pause)
    reports = [
        FileReport(look.path.name, entity.name, "waiting", "is still being written; the next run reads it")
        for look in arrivals.waiting
    ]
    reports += [FileReport(path.name, entity.name, "failed", reason) for path, reason in arrivals.refused]
    if not arrivals.ready and not reports:
        problem = "no file matches; put the export there, or mend `path:`"
        return [FileReport(table.path, entity.name, "failed", problem)]
    known = known_stages(run.source, run.landing)
    fingerprint = reading_of(run.settings, run.source, entity.name, table, known)
    business = run.settings.business
    loader = Loader(
        entity,
        table,
        run.source.stage_entered if entity.name == "deals" else {},
        Casting(
            _format(run.source, table),
            run.source.time_zone or business.time_zone,
            business.time_zone,
            business.currency,
            statuses=_statuses(run.source),
        ),
        known,
        run.tell,
    )
    for look in sorted(arrivals.ready, key=lambda look: (str(name_date(look.path)), look.path)):
        reports += _extract_arrival(run, loader, look, fingerprint)
    return reports


def _extract_arrival(run: FilePass, loader: Loader, look: Look, fingerprint: str) -> list[FileReport]:
    """The reports of a file, or of each file in an archive."""
    if look.path.suffix.lower() not in ARCHIVE_SUFFIXES:
        return [_extract_file(run, loader, look, Member(look.path.name, look.path), fingerprint)]
    room = min(MAX_BYTES, shutil.disk_usage(run.settings.paths.root).free // _SPACE_FACTOR)
    with InFlight(run.landing.root).folder("unpacked") as folder:
        try:
            members = unpacked(look.path, folder, max_bytes=room)
        except (FileUnreadable, FileUnfinished) as problem:
            return [_unread(look.path.name, loader.entity.name, problem)]
        wanted = loader.table.member
        chosen = [m for m in members if wanted is None or fnmatch(PurePosixPath(m.name).name, wanted)]
        if not chosen:
            problem = FileUnreadable(
                f"holds no file like {wanted!r}; it holds {', '.join(m.name for m in members[:20])}"
            )
            return [_unread(look.path.name, loader.entity.name, problem)]
        return [
            _extract_file(run, loader, look, member, fingerprint)
            for member in sorted(chosen, key=lambda member: (str(_day_of(member, look)), member.name))
        ]


def _day_of(member: Member, look: Look) -> date | None:
    return name_date(PurePosixPath(member.name)) or name_date(look.path)


def _unread(file: str, entity: str, problem: Exception) -> FileReport:
    if isinstance(problem, FileUnfinished):
        text = f"{problem}; it is still being written, or its transfer broke off: the next run looks again"
        return FileReport(file, entity, "waiting", text)
    return FileReport(file, entity, "failed", str(problem))


def _extract_file(run: FilePass, loader: Loader, look: Look, member: Member, fingerprint: str) -> FileReport:
    started = time.monotonic()
    name, entity = member.name, loader.entity.name
    sha256 = file_sha256(member.path)
    data_as_of = run.source.data_as_of if isinstance(run.source, FileSource) else None
    reading = Reading(entity, name, sha256, fingerprint, look.key, _day_of(member, look), data_as_of)
    if before := run.log.report_of(reading):
        run.log.note_again(reading, before, run.now, "reads" in run.initial)
        return replace(before, file=name, status="unchanged")
    run.landing.require_space(_SPACE_FACTOR * member.path.stat().st_size)
    settings = run.settings
    memory = settings.memory_share(_SHARE_OF_DATABASE)
    try:
        with scratch_database(run.landing.root, memory, settings.threads) as connection:
            scratch = loader.load(member, connection)
            if has_changed(look):
                raise FileUnfinished("changed while it was read")
            judge(scratch)
            report = land_file(run, scratch, reading, loader.known)
    except (FileUnreadable, FileUnfinished) as problem:
        return _unread(name, entity, problem)
    except duckdb.OutOfMemoryException:
        raise ExtractError(
            f"reading {look.path} needs more memory than `memory_limit: {run.settings.memory_limit}` allows; "
            "raise it in the configuration"
        ) from None
    seconds = time.monotonic() - started
    logger.info("%s: kept %d of %d rows in %.1f s", name, report.rows_kept, report.rows_read, seconds)
    return report
