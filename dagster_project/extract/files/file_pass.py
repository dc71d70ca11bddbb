"""One pass over the files of a source: what it knows, and how it lands what a file holds."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from dagster_project.extract.files import file_batches, findings
from dagster_project.extract.files.known_stages import KnownStages, line_to_paste
from dagster_project.extract.files.progress import Tell
from dagster_project.extract.files.purged_rows import leave_out_purged
from dagster_project.extract.files.read_log import Reading, ReadLog
from dagster_project.extract.files.results import FileReport
from dagster_project.extract.files.scratch import FileScratch
from dagster_project.extract.landing import Landing, Stamp
from dagster_project.extract.purged import PurgeList
from dagster_project.settings import BusinessFacts, FileSource, Settings

Source = FileSource | BusinessFacts


@dataclass(frozen=True)
class FilePass:
    """One extraction of one source."""

    settings: Settings
    source: Source
    now: datetime
    landing: Landing
    log: ReadLog
    initial: frozenset[str]
    """Entities whose first load has not ended yet."""
    tell: Tell


def land_file(run: FilePass, scratch: FileScratch, reading: Reading, known: KnownStages) -> FileReport:
    """Land what a file holds; the note that it was read comes last."""
    counts = findings.count(scratch)
    emails = run.landing.emails
    leave_out_purged(scratch, PurgeList.read(run.landing.root), run.source.name, emails)
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

    if emails is not None:
        report = findings.without_emails(report, emails)

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


def land_stage_list(run: FilePass) -> FileReport:
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
