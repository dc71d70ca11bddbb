"""All records once more: for values that change without a trace, and for fields that were not asked for.

A formula or a roll-up changes without moving the record's modified stamp, so no window ever shows it. And a
name that is new under `properties:` or `fields:` is missing in all records that do not change again.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from dagster_project.extract.api.api_errors import DailyQuotaExhausted
from dagster_project.extract.api.api_report import EntityReport, Status
from dagster_project.extract.api.coverage import REFRESH, Coverage
from dagster_project.extract.api.protocol import EntitySpec, Reading

if TYPE_CHECKING:
    from dagster_project.extract.api.api_extract import Extraction

# Nights do not begin at the same second.
_SLACK = timedelta(hours=12)


def refresh(run: "Extraction", spec: EntitySpec, report: EntityReport) -> None:
    """Read all records of an entity when that is due, or go on with it; a spent budget is no failure.

    Errors: ApiError.
    """
    if spec.reading is not Reading.CHANGED:
        return
    room = run.reader.room(spec, REFRESH)
    progress = EntityReport(spec.name)
    if not run.reader.is_under_way(room) and not _is_due(run, spec, report, run.covered(spec.name)):
        return
    try:
        run.reader.land_next(spec, progress, lambda covered: (run.planner.refresh(spec, covered), []), room)
    except DailyQuotaExhausted as error:
        run.stop(error)
        progress.status, progress.reason = Status.PARTIAL, str(error)
        report.upkeep.append(f"full refresh: {progress.progress} ({error})")
        return
    _take_over(report, progress)


def show_finished(run: "Extraction", spec: EntitySpec, report: EntityReport) -> None:
    """Show a refresh that a killed process had finished, before newer batches are made."""
    if spec.reading is Reading.CHANGED:
        progress = EntityReport(spec.name)
        run.reader.show_sealed(spec, progress, run.reader.room(spec, REFRESH))
        report.rows += progress.rows


def _take_over(report: EntityReport, progress: EntityReport) -> None:
    report.rows += progress.rows
    report.batches += progress.batches
    report.notes += progress.notes
    report.status = Status.LANDED
    report.upkeep.append(f"full refresh: {progress.rows:,} records read once more")


def _is_due(run: "Extraction", spec: EntitySpec, report: EntityReport, covered: Coverage) -> bool:
    """By age, or because a field was not asked for when all records were read last."""
    if covered.until is None or covered.read_whole_until is None:
        return False
    age = covered.until - covered.read_whole_until
    days = run.source.full_refresh_days
    if days and not spec.is_log and age >= timedelta(days=days) - _SLACK:
        return True
    if not covered.properties.issuperset(run.source.asked.get(spec.name, ())):
        return True
    # Some connectors have to ask the CRM which fields there are: only on the way.
    return report.status is Status.LANDED and not covered.properties.issuperset(
        run.connector.properties(spec)
    )
