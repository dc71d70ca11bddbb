"""The files connector: the files of one source, read by column mapping into the landing.

Each file is read whole or not at all. What a file gives lands in up to four batches: its records, the stage
entries of its date columns, its rejected rows and, last, the note that it was read. A killed extraction goes
on where it stopped, because a batch that exists is not written again.
"""

import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import duckdb

from dagster_project.contract import ENTITIES, Entity
from dagster_project.extract.crm import file_batches, findings
from dagster_project.extract.crm.archives import ARCHIVE_SUFFIXES, MAX_BYTES, Member, unpacked
from dagster_project.extract.crm.arrivals import (
    Look,
    find_arrivals,
    has_changed,
    name_date,
)
from dagster_project.extract.crm.casting import Casting
from dagster_project.extract.crm.connectors import api_entities
from dagster_project.extract.crm.judging import judge
from dagster_project.extract.crm.known_stages import KnownStages, line_to_paste
from dagster_project.extract.crm.loading import Loader
from dagster_project.extract.crm.progress import Tell
from dagster_project.extract.crm.read_log import Reading, ReadLog
from dagster_project.extract.crm.results import ExtractResult, FileReport
from dagster_project.extract.crm.rows import FileUnfinished, FileUnreadable
from dagster_project.extract.crm.scratch import FileScratch, literal
from dagster_project.extract.inflight import InFlight
from dagster_project.extract.landing import PART, Landing, Stamp, file_sha256
from dagster_project.settings import (
    BusinessFacts,
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
_SHARE_OF_DATABASE = 0.55
_ROW_GROUP = 16_384

Source = FileSource | BusinessFacts


class ExtractError(Exception):
    """An extraction cannot go on; the text says why and what to do."""


@dataclass(frozen=True)
class _Pass:
    """One extraction of one source."""

    settings: Settings
    source: Source
    now: datetime
    landing: Landing
    log: ReadLog
    initial: frozenset[str]
    """Entities whose first load has not ended yet."""
    tell: Tell


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
    landing = Landing(settings.paths.landing)
    notes = _tidy(landing)
    initial = frozenset(name for name in ENTITIES if not landing.initial_load_done(source.name, name))
    log = ReadLog(landing, source.name, settings.business.zone)
    run = _Pass(settings, source, now, landing, log, initial, tell)
    reports: list[FileReport] = []
    if source.stage_lines():
        reports.append(_land_stage_list(run))
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
    run: _Pass, entity: Entity, table: TableFile, pause: Callable[[float], None]
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


def _extract_arrival(run: _Pass, loader: Loader, look: Look, fingerprint: str) -> list[FileReport]:
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


def _extract_file(run: _Pass, loader: Loader, look: Look, member: Member, fingerprint: str) -> FileReport:
    started = time.monotonic()
    name, entity = member.name, loader.entity.name
    sha256 = file_sha256(member.path)
    data_as_of = run.source.data_as_of if isinstance(run.source, FileSource) else None
    reading = Reading(entity, name, sha256, fingerprint, look.key, _day_of(member, look), data_as_of)
    if before := run.log.report_of(reading):
        run.log.note_again(reading, before, run.now, "reads" in run.initial)
        return replace(before, file=name, status="unchanged")
    run.landing.require_space(_SPACE_FACTOR * member.path.stat().st_size)
    try:
        with _scratch_database(run) as connection:
            scratch = loader.load(member, connection)
            if has_changed(look):
                raise FileUnfinished("changed while it was read")
            judge(scratch)
            report = _land(run, scratch, reading, loader.known)
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


def _land(run: _Pass, scratch: FileScratch, reading: Reading, known: KnownStages) -> FileReport:
    """Land what a file holds; the note that it was read comes last."""
    counts = findings.count(scratch)
    entity = scratch.entity.name
    listed = run.source if isinstance(run.source, FileSource) else None
    oldest, newest = findings.event_days(scratch, run.settings.business.zone, run.now)
    unknown = (
        findings.unknown_stages(scratch, lambda value, rows: line_to_paste(value, listed, rows))
        if known.stages
        else ()
    )
    report = FileReport(
        file=reading.file,
        entity=entity,
        status="read",
        rows_read=counts.read,
        rows_kept=counts.kept,
        rows_rejected=counts.rejected,
        rows_duplicate=counts.duplicate,
        lines_beside=scratch.lines_beside + sum(scratch.fields_skipped.values()),
        columns_unmapped=(
            *(scratch.columns.headers[index] for index in scratch.columns.unmapped),
            *(f"changes of {field}" for field in scratch.fields_skipped),
        ),
        columns_missing=scratch.columns.missing,
        oldest_event_on=oldest,
        newest_event_on=newest,
        rejects=findings.sample_rejects(scratch, reading.file),
        unknown_values=(*unknown, *findings.unknown_statuses(scratch)),
    )

    def land(target: str, fill: Callable[[Stamp], Callable[[Path], None]]) -> None:
        run.log.land(
            reading, target, run.now, target in run.initial, fill, newest_event_on=report.newest_event_on
        )

    land(entity, lambda stamp: file_batches.kept_records(scratch, stamp, reading.file, reading.sha256))
    if counts.entries:
        land("stage_history", lambda stamp: file_batches.stage_entries(scratch, stamp, reading.file))
    if counts.rejected:
        land(
            "rejects",
            lambda stamp: file_batches.reject_records(scratch, stamp, reading.file, reading.sha256),
        )
    run.log.land_read(reading, report, run.now, "reads" in run.initial)
    return report


def _land_stage_list(run: _Pass) -> FileReport:
    """The configured list of stages, landed like a file."""
    lines = run.source.stage_lines()
    payloads = [
        {
            "stage_id": line.stage_id,
            "name": line.name,
            "pipeline": line.pipeline,
            "order": None if line.order is None else str(line.order),
            "outcome": line.outcome,
            "probability": None if line.probability is None else str(line.probability),
            "forecast_category": line.forecast_category,
            "valid_from": line.valid_from and line.valid_from.isoformat(),
            "extra": {},
            "file": run.settings.config_path.name,
            "row": str(number),
        }
        for number, line in enumerate(lines, start=1)
    ]
    text = json.dumps(payloads, sort_keys=True)
    reading = Reading(
        "stages", run.settings.config_path.name, hashlib.sha256(text.encode()).hexdigest(), "stage list"
    )
    if before := run.log.report_of(reading):
        return replace(before, status="unchanged")
    rows = [
        {
            "record_id": "/".join((p["pipeline"] or "", p["stage_id"], p["valid_from"] or "")),
            "payload": json.dumps(p, ensure_ascii=False),
        }
        for p in payloads
    ]
    report = FileReport(reading.file, "stages", "read", rows_read=len(rows), rows_kept=len(rows))
    run.log.land(
        reading,
        "stages",
        run.now,
        "stages" in run.initial,
        lambda stamp: run.landing.rows_writer(stamp, rows),
    )
    run.log.land_read(reading, report, run.now, "reads" in run.initial)
    return report


def _share_of(memory_limit: str) -> str:
    """What the database may take of a limit; the rest is for the rows on their way into it."""
    amount, unit = re.fullmatch(r"([\d.]+) ?(\w+)", memory_limit).groups()
    return f"{_SHARE_OF_DATABASE * float(amount):g}{unit}"


@contextmanager
def _scratch_database(run: _Pass) -> Iterator[duckdb.DuckDBPyConnection]:
    with InFlight(run.landing.root).folder("scratch") as folder:
        options = {
            "memory_limit": _share_of(run.settings.memory_limit),
            "threads": run.settings.threads,
            "temp_directory": str(folder / "spill"),
        }
        with duckdb.connect(config=options) as connection:
            # Small row groups leave memory early: with long texts, a default one takes 150 MB.
            connection.execute(
                f"attach {literal(str(folder / 'scratch.duckdb'))} as scratch (row_group_size {_ROW_GROUP})"
            )
            connection.execute("use scratch")
            connection.execute("set enable_progress_bar = false")
            yield connection
