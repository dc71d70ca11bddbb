"""Records that come and go without a word: all ids are listed at times and compared with the landing.

The list is kept page by page like a batch, so a killed process or a spent budget goes on with it. What does
not agree is asked for by id: only a record that the CRM does not have then, either, is declared gone.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from dagster_project.extract.api.api_errors import CursorExpired, DailyQuotaExhausted
from dagster_project.extract.api.api_report import EntityReport, Status
from dagster_project.extract.api.batch_reading import MOST_RESTARTS
from dagster_project.extract.api.changed_deals import IdsCompared, compare_ids
from dagster_project.extract.api.page_journal import PageJournal
from dagster_project.extract.api.protocol import EntitySpec, Record, Window, tombstone
from dagster_project.extract.inflight import InFlight
from dagster_project.extract.manifest import PART
from dagster_project.extract.purged import PurgeList, names_of

if TYPE_CHECKING:
    from dagster_project.extract.api.api_extract import Extraction

PURPOSE = "ids"
# Read again by id and landed together: a budget that ends loses at most so many.
_AT_ONCE = 1_000
# Nights do not begin at the same second.
_SLACK = timedelta(hours=12)


def sweep(run: "Extraction", spec: EntitySpec, report: EntityReport) -> None:
    """List all ids when that is due, or go on with it, and mend the landing where it does not agree.

    Records that came back or never arrived are read by id; those that are gone get tombstones. More of
    them than the source's `accept_vanished` are refused with a note: a missing right looks exactly like a
    deletion.
    A spent budget is no failure. Errors: ApiError.
    """
    if not spec.is_swept:
        return
    with InFlight(run.landing.root).resumable(run.reader.room(spec, PURPOSE)) as folder:
        journal = PageJournal(folder)
        if journal.checkpoint is None:
            if not _is_due(run, spec, report):
                return
            journal.begin({"through": run.covered(spec.name).newest_id})
        try:
            _list(run, spec, journal)
            journal.write_parquet(run.planner.stamp(spec, "", is_initial=False))
            through = str(journal.confirmed.plan["through"])
            found = compare_ids(run.covered(spec.name).batches, folder / PART, through)
            _mend(run, spec, report, found)
        except DailyQuotaExhausted as error:
            run.stop(error)
            report.upkeep.append(f"list of all ids: {journal.confirmed.rows:,} so far ({error})")
            return
        journal.clear()


def _is_due(run: "Extraction", spec: EntitySpec, report: EntityReport) -> bool:
    covered = run.covered(spec.name)
    if covered.until is None or covered.swept_at is None:
        return False
    if covered.until - covered.swept_at >= timedelta(days=run.source.sweep_days) - _SLACK:
        return True
    window = Window(report.window_from, covered.until)
    return report.status is Status.LANDED and run.connector.needs_sweep(spec, window)


def _list(run: "Extraction", spec: EntitySpec, journal: PageJournal) -> None:
    """Read the list of ids from the checkpoint to its end. Errors: ApiError, CursorExpired."""
    restarts = 0
    while not journal.confirmed.is_complete:
        cursor = journal.confirmed.cursor
        try:
            for page in run.connector.ids(spec, dict(cursor) if cursor else None):
                journal.append([Record(record_id, "") for record_id in page.ids], page.cursor, {}, 0)
                if page.cursor is None:
                    return
            journal.append((), None, {}, 0)
        except CursorExpired:
            journal.restart()
            restarts += 1
            if restarts > MOST_RESTARTS:
                raise


def _mend(run: "Extraction", spec: EntitySpec, report: EntityReport, found: IdsCompared) -> None:
    now = run.planner.server_now()
    found = replace(found, unknown=_not_purged(run, spec, found.unknown))
    _land_by_id(run, spec, report, found.unknown)
    # The stamp of a record that came back may be older than its tombstone, and would lose against it.
    back = _land_by_id(run, spec, report, found.returned, seen_again_at=now)
    if found.unknown:
        report.notes.append(f"{len(found.unknown):,} {spec.name} had never been landed and were read by id")
    if back:
        report.notes.append(f"{back:,} {spec.name} that had been marked as deleted are there again")
    if len(found.vanished) > run.source.accept_vanished * found.living:
        share = min(1.0, len(found.vanished) / found.living + 0.01)
        report.notes.append(
            f"{len(found.vanished):,} of {found.living:,} {spec.name} are missing in the list of all ids, "
            f"such as {', '.join(found.vanished[:5])}; none was marked as deleted. Look whether the "
            "credential still sees everything; if they were deleted on purpose, set `accept_vanished:` of "
            f"the source to {share:.2f} for one run"
        )
        return
    there = {record.record_id: record for record in run.ask_for(spec, found.vanished)}
    if there:
        report.batches.append(run.land(spec, "records", list(there.values())))
        report.rows += len(there)
    gone = [record_id for record_id in found.vanished if record_id not in there]
    run.land(spec, "sweep", [tombstone(record_id, "vanished", now) for record_id in gone])
    if gone:
        report.notes.append(f"{len(gone):,} {spec.name} have vanished and were marked as deleted")


def _not_purged(run: "Extraction", spec: EntitySpec, ids: tuple[str, ...]) -> tuple[str, ...]:
    """The ids that may be landed: the CRM may still list what was purged here."""
    purged = PurgeList.read(run.landing.root)
    whose = (run.source.type, run.source.name, spec.name)
    return tuple(one for one in ids if not any(map(purged.has, names_of(*whose, one, "{}"))))


def _land_by_id(
    run: "Extraction",
    spec: EntitySpec,
    report: EntityReport,
    ids: Sequence[str],
    seen_again_at: datetime | None = None,
) -> int:
    """Ask for records by id and land them, some at a time; how many of them live."""
    living = 0
    for begin in range(0, len(ids), _AT_ONCE):
        records = run.ask_for(spec, ids[begin : begin + _AT_ONCE])
        if seen_again_at is not None:
            records = [
                record if record.is_deleted else replace(record, modified_at=seen_again_at)
                for record in records
            ]
        if records:
            report.batches.append(run.land(spec, "records", records))
            report.rows += len(records)
        living += sum(not record.is_deleted for record in records)
    return living
