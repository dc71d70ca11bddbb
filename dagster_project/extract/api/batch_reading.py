"""One batch at a time: planned, read page by page, sealed and shown; a killed process goes on with it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from dagster_project.api_settings import ApiSource
from dagster_project.extract.api import schema_drift
from dagster_project.extract.api.api_errors import (
    AccessDenied,
    ApiError,
    CursorExpired,
    DailyQuotaExhausted,
    NotThere,
)
from dagster_project.extract.api.api_plan import BatchPlan, Planner
from dagster_project.extract.api.api_report import EntityReport
from dagster_project.extract.api.coverage import LEFT, REFRESH, Coverage, coverage
from dagster_project.extract.api.http import Usage
from dagster_project.extract.api.page_journal import PageJournal
from dagster_project.extract.api.protocol import Connector, EntitySpec, Reading, Record, Window
from dagster_project.extract.inflight import InFlight
from dagster_project.extract.landing import Batch, Landing, LandingError, Stamp, read_manifest
from dagster_project.extract.manifest import ApiReading

logger = logging.getLogger(__name__)

# How often a reading begins again in one run because the CRM forgot its cursor.
MOST_RESTARTS = 2
# Deal by deal, single refusals are deals that are gone; so many, and no answer yet, are a missing right.
_REFUSED_AT_START = 5

# What to read next: a plan, and for BY_DEAL the deals to ask for; None when nothing is due.
NextPlan = Callable[[Coverage], tuple[BatchPlan, list[str]] | None]


class BatchReader:
    """Lands batches of one source. `stopped`: the day's budget ended while deals were asked for.

    `companions`: entity → the batch that came with another entity's first load, until its own turn.
    """

    def __init__(self, landing: Landing, source: ApiSource, connector: Connector, planner: Planner) -> None:
        self._landing = landing
        self._source = source
        self._connector = connector
        self._planner = planner
        self.stopped: DailyQuotaExhausted | None = None
        self.companions: dict[str, Batch] = {}

    def room(self, spec: EntitySpec, purpose: str = "") -> str:
        """The name of the in-flight folder where an unfinished batch lies."""
        name = f"{self._source.type}.{self._source.name}.{spec.name}"
        return f"{name}.{purpose}" if purpose else name

    def land_next(self, spec: EntitySpec, report: EntityReport, plan_next: NextPlan, room: str) -> bool:
        """Land one batch, or go on with the one that was interrupted; False when nothing is due.

        Errors: ApiError; DailyQuotaExhausted also after a batch of which deals are left over.
        """
        with InFlight(self._landing.root).resumable(room) as folder:
            journal = PageJournal(folder)
            if journal.is_sealed and self._show_sealed(folder, journal, report):
                return True
            covered = coverage(self._landing, self._source.name, spec.name)
            plan = self._resumed(spec, journal)
            if plan is None:
                found = plan_next(covered)
                if found is None:
                    return False
                schema = self._connector.schema(spec)
                plan, todo = found
                journal.begin(plan.to_json(), todo, has_companion=plan.companion is not None)
                schema_drift.write_schema(folder, schema)
            left = self._read_to_the_end(spec, plan, journal, report)
            self._finish(spec, plan, folder, journal, covered, report, left)
        if left and self.stopped is not None:
            raise self.stopped
        return True

    def show_sealed(self, spec: EntitySpec, report: EntityReport, room: str) -> None:
        """Show a batch that a killed process had finished."""
        if not InFlight(self._landing.root).path(room).exists():
            return
        with InFlight(self._landing.root).resumable(room) as folder:
            journal = PageJournal(folder)
            if journal.is_sealed:
                self._show_sealed(folder, journal, report)

    def is_under_way(self, room: str) -> bool:
        """Whether a batch was begun there and not finished."""
        path = InFlight(self._landing.root).path(room)
        return path.exists() and PageJournal(path).checkpoint is not None

    def land(self, spec: EntitySpec, kind: str, records: Sequence[Record], newest_id: str) -> str:
        """Land records that were not read as a window; the batch id."""
        stamp = self._planner.stamp(spec, newest_id, is_initial=False)
        reading = ApiReading(kind, stamp.extracted_at, api_version=self._connector.api_version)
        with InFlight(self._landing.root).resumable(self.room(spec, kind)) as folder:
            journal = PageJournal(folder)
            journal.begin({})
            journal.append(records, None, {}, 0)
            self._show(folder, journal, stamp, fingerprint=kind, reading=reading)
        return stamp.batch_id

    def _resumed(self, spec: EntitySpec, journal: PageJournal) -> BatchPlan | None:
        if journal.checkpoint is None:
            return None
        plan = BatchPlan.from_json(journal.checkpoint.plan)
        return plan if plan.identity == self._planner.identity(spec) else None

    def _read_to_the_end(
        self, spec: EntitySpec, plan: BatchPlan, journal: PageJournal, report: EntityReport
    ) -> list[str]:
        """Read the plan; begin again, some times, where the CRM forgets its cursor.

        Errors: ApiError, CursorExpired.
        """
        restarts = 0
        while True:
            try:
                return self._read(spec, plan, journal, report)
            except CursorExpired:
                journal.restart()
                report.done_now = 0
                restarts += 1
                if restarts > MOST_RESTARTS:
                    raise
                logger.warning("%s: %s: cursor expired, begun again", self._source.name, spec.name)

    def _read(
        self, spec: EntitySpec, plan: BatchPlan, journal: PageJournal, report: EntityReport
    ) -> list[str]:
        """Read what the plan says, from the checkpoint on; the ids that a spent budget left over."""
        meter = _Meter(self._connector, journal)
        report.window_from = plan.window.start
        if spec.reading is Reading.BY_DEAL:
            return self._read_by_deal(spec, journal, report, meter)
        report.done = journal.confirmed.rows
        if journal.confirmed.is_complete:
            return []
        cursor = journal.confirmed.cursor
        read = self._connector.read_with_companion if plan.companion else self._connector.read
        for page in read(spec, plan.window, dict(cursor) if cursor else None):
            kept = [record for record in page.records if _is_within(record, plan.window, spec)]
            beyond = len(page.records) - len(kept)
            journal.append(kept, page.cursor, meter.spent(), beyond, page.companions)
            report.done += len(kept)
            report.done_now += len(kept)
            report.total = page.total if page.total is not None else report.total
            if page.cursor is None:
                return []
        journal.append((), None, meter.spent(), 0)
        return []

    def _read_by_deal(
        self, spec: EntitySpec, journal: PageJournal, report: EntityReport, meter: "_Meter"
    ) -> list[str]:
        todo, size = journal.todo(), spec.ids_per_request
        begun_at = int((journal.confirmed.cursor or {}).get("done", 0))
        report.done, report.total = begun_at, len(todo)
        chunks = [todo[at : at + size] for at in range(begun_at, len(todo), size)]
        refused: list[ApiError] = []

        def ask(chunk: list[str]) -> Sequence[Record] | ApiError:
            try:
                return self._connector.read_ids(spec, chunk)
            except (AccessDenied, NotThere) as error:
                return error

        try:
            for answer in self._connector.client.in_parallel(ask, chunks):
                rows: Sequence[Record] = ()
                if isinstance(answer, ApiError):
                    refused.append(answer)
                    is_first = begun_at == 0 and len(refused) * size > report.done
                    if is_first and len(refused) == min(_REFUSED_AT_START, len(chunks)):
                        raise answer
                else:
                    rows = answer
                report.done = min(report.done + size, len(todo))
                report.done_now = report.done - begun_at
                journal.append(rows, {"done": report.done}, meter.spent(), 0)
        except DailyQuotaExhausted as error:
            if report.done == 0:
                journal.clear()
                raise
            self.stopped = error
            return todo[report.done :]
        if refused:
            report.notes.append(f"{len(refused)} deals could not be asked for, such as: {refused[0]}")
        return []

    def _finish(
        self,
        spec: EntitySpec,
        plan: BatchPlan,
        folder: Path,
        journal: PageJournal,
        covered: Coverage,
        report: EntityReport,
        left: Sequence[str],
    ) -> None:
        confirmed, connector = journal.confirmed, self._connector
        schema, changes = schema_drift.settle(folder, covered.batches)
        report.notes += changes
        if covered.api_version not in ("", connector.api_version):
            report.notes.append(
                f"the interface is asked in version {connector.api_version}, "
                f"until now in {covered.api_version}"
            )
        if left:
            (folder / LEFT).write_text("\n".join(left), encoding="utf-8")
        asked = (*connector.properties(spec), *self._source.properties.get(spec.name, ()))
        reading = ApiReading(
            plan.kind,
            window_to=plan.window.end,
            window_from=plan.window.start,
            is_watermarked=plan.is_watermarked,
            follows_through=plan.follows_through,
            left=len(left),
            api_version=connector.api_version,
            rows_beyond_window=confirmed.rows_beyond,
            schema_fingerprint=schema,
            properties=tuple(dict.fromkeys(asked)),
            **asdict(Usage(**(confirmed.spent or {}))),
        )
        stamp = Stamp(
            self._source.name,
            spec.name,
            plan.batch_id,
            plan.extracted_at,
            plan.is_initial_load,
            self._source.type,
        )
        if plan.kind == REFRESH:
            # Windows were landed while it was under way: it counts from when it can be seen.
            stamp = self._planner.stamp(spec, covered.newest_id, is_initial=False)
        if plan.companion:
            self._land_companion(plan, plan.companion, journal, reading)
        self._show(folder, journal, stamp, fingerprint=plan.identity, reading=reading)
        report.rows += confirmed.rows
        report.batches.append(stamp.batch_id)

    def _land_companion(self, plan: BatchPlan, name: str, journal: PageJournal, beside: ApiReading) -> None:
        """Show the companion's batch. It comes first, and only once: a process that dies before the batch
        beside it is shown goes on with that one, and one that follows no batch yet asks for nothing.
        """
        source, spec = self._source, self._connector.entity(name)
        asked = (*self._connector.properties(spec), *source.properties.get(name, ()))
        reading = ApiReading(
            plan.kind,
            window_to=beside.window_to,
            follows_through=plan.batch_id,
            api_version=beside.api_version,
            properties=tuple(dict.fromkeys(asked)),
        )
        stamp = Stamp(source.name, name, plan.batch_id, plan.extracted_at, plan.is_initial_load, source.type)
        self._landing.require_space(journal.confirmed.companion_offset + journal.confirmed.offset)
        self.companions[name] = self._landing.write(
            stamp,
            lambda path: journal.write_companion(stamp, path),
            fingerprint=plan.identity,
            reading=reading,
        )

    def _show(
        self, folder: Path, journal: PageJournal, stamp: Stamp, fingerprint: str, reading: ApiReading
    ) -> None:
        try:
            self._landing.require_space(journal.confirmed.offset)
            journal.write_parquet(stamp)
            self._landing.seal(folder, stamp, fingerprint=fingerprint, reading=reading)
            journal.clear_pages()
            self._landing.show(folder)
        except OSError as error:
            raise LandingError(
                f"{stamp.entity} of {stamp.source} could not be written to {self._landing.root}: "
                f"{error.strerror or error}; the pages read so far are kept. Free some space, then run again"
            ) from error

    def _show_sealed(self, folder: Path, journal: PageJournal, report: EntityReport) -> bool:
        """A process was killed between sealing and showing: the batch is whole."""
        try:
            manifest = read_manifest(folder)
        except LandingError:
            journal.unseal()
            return False
        journal.clear_pages()
        self._landing.show(folder)
        report.rows += manifest.rows
        report.batches.append(manifest.stamp.batch_id)
        return True


class _Meter:
    """What the unfinished batch has cost so far, over all processes that worked on it."""

    def __init__(self, connector: Connector, journal: PageJournal) -> None:
        self._client = connector.client
        self._start = connector.client.usage
        self._before = asdict(Usage(**(journal.confirmed.spent or {})))

    def spent(self) -> dict[str, float]:
        now = asdict(self._client.usage.since(self._start))
        return {name: value + now[name] for name, value in self._before.items()}


def _is_within(record: Record, window: Window, spec: EntitySpec) -> bool:
    """A change at or after the end belongs to the next window, whose lookback will see it again."""
    if spec.reading is Reading.WHOLE or record.modified_at is None:
        return True
    return record.modified_at < window.end
