"""The engine of all API connectors: windows in, whole batches out, nothing asked for twice after a crash."""

import logging
from collections.abc import Sequence
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
    SourceUnavailable,
)
from dagster_project.extract.api.api_plan import BatchPlan, Planner
from dagster_project.extract.api.api_report import EntityReport, Status
from dagster_project.extract.api.connectors import open_connector
from dagster_project.extract.api.coverage import LEFT, Coverage, Span, coverage
from dagster_project.extract.api.daily_budget import Allowance, DailyBudget
from dagster_project.extract.api.http import Usage
from dagster_project.extract.api.id_sweep import sweep
from dagster_project.extract.api.page_journal import PageJournal
from dagster_project.extract.api.protocol import Connector, EntitySpec, Reading, Record, Window
from dagster_project.extract.api.reconciliation import reconcile
from dagster_project.extract.inflight import InFlight, InUse
from dagster_project.extract.landing import Landing, LandingError, Stamp, read_manifest
from dagster_project.extract.manifest import ApiReading

logger = logging.getLogger(__name__)

# Deal by deal, single refusals are deals that are gone; so many, and no answer yet, are a missing right.
_REFUSED_AT_START = 5


def extract_api(
    landing_root: Path,
    source: ApiSource,
    span: Span,
    entities: Sequence[str] | None = None,
    *,
    connector: Connector | None = None,
    reread: bool = False,
) -> tuple[EntityReport, ...]:
    """Land what is due of a source up to the end of `span`, entity by entity.

    What fails or waits is in its report, and the others go on. `reread`: the span again, although covered.
    Errors: LandingError (disk). Errors of the CRM never leave here.
    """
    run = Extraction(Landing(landing_root), source, connector or open_connector(source), span, reread)
    wanted = [spec for spec in run.connector.ENTITIES if entities is None or spec.name in entities]
    try:
        return tuple(run.extract(spec) for spec in wanted)
    finally:
        run.connector.client.budget.save()


class Extraction:
    """One run over one source."""

    def __init__(
        self, landing: Landing, source: ApiSource, connector: Connector, span: Span, reread: bool = False
    ) -> None:
        self.landing = landing
        self.source = source
        self.connector = connector
        self._planner = Planner(landing, source, connector, span, reread)
        self._reread = reread
        self._stopped: DailyQuotaExhausted | None = None
        spent = landing.root / source.type / source.name / "_spent.json"
        connector.client.budget = DailyBudget(Allowance(source.budget.daily, source.budget.reserve), spent)

    def extract(self, spec: EntitySpec) -> EntityReport:
        """Land all that is due of one entity, and sweep its ids when that is due."""
        report = EntityReport(spec.name)
        clock, before = self.connector.client.clock, self.connector.client.usage
        began = clock.monotonic()
        try:
            if self._stopped is not None:
                raise self._stopped
            while self._land_next(spec, report):
                pass
            if report.batches:
                report.status = Status.LANDED
            if spec.is_swept:
                sweep(self, spec, report)
            telling = self.connector.TELLING
            if telling is not None and telling.history == spec.name:
                report.reconciled = reconcile(self)
        except DailyQuotaExhausted as error:
            self._stopped = error
            report.status, report.reason = Status.PARTIAL, str(error)
            logger.warning("%s: %s: %s (%s)", self.source.name, spec.name, report.progress, error)
        except (AccessDenied, NotThere) as error:
            report.status = Status.FAILED if spec.is_core else Status.SKIPPED
            report.reason = str(error)
        except (ApiError, InUse) as error:
            report.status, report.reason = Status.FAILED, str(error)
            report.is_passing = isinstance(error, SourceUnavailable)
        report.usage = self.connector.client.usage.since(before)
        report.seconds = clock.monotonic() - began
        report.covered_until = self.covered(spec.name).until
        return report

    def covered(self, entity: str) -> Coverage:
        """What the landing has of an entity of this source."""
        return coverage(self.landing, self.source.name, entity)

    def read_again(self, spec: EntitySpec, ids: Sequence[str]) -> str | None:
        """Ask for single records by id and land them; the batch id, None for no ids. Errors: ApiError."""
        if not ids:
            return None
        size = spec.ids_per_request
        chunks = [list(ids[at : at + size]) for at in range(0, len(ids), size)]
        found = self.connector.client.in_parallel(lambda chunk: self.connector.read_ids(spec, chunk), chunks)
        return self.land(spec, "records", [record for records in found for record in records])

    def land(self, spec: EntitySpec, kind: str, records: Sequence[Record]) -> str:
        """Land records that were not read as a window; the batch id."""
        stamp = self._planner.stamp(spec, self.covered(spec.name).newest_id, is_initial=False)
        reading = ApiReading(kind, stamp.extracted_at, api_version=self.connector.api_version)
        with InFlight(self.landing.root).resumable(f"{self._name(spec)}.{kind}") as folder:
            journal = PageJournal(folder)
            journal.begin({})
            journal.append(records, None, {}, 0)
            self._show(folder, journal, stamp, fingerprint=kind, reading=reading)
        return stamp.batch_id

    def _land_next(self, spec: EntitySpec, report: EntityReport) -> bool:
        """Land one batch, or go on with the one that was interrupted; False when nothing is due."""
        with InFlight(self.landing.root).resumable(self._name(spec)) as folder:
            journal = PageJournal(folder)
            if journal.is_sealed and self._show_sealed(folder, journal, report):
                return True
            covered = self.covered(spec.name)
            plan = self._resumed(spec, journal)
            if plan is None:
                found = self._planner.next_batch(spec, covered, is_follow_up=bool(report.batches))
                if found is None:
                    return False
                schema = self.connector.schema(spec)
                plan, todo = found
                journal.begin(plan.to_json(), todo)
                schema_drift.write_schema(folder, schema)
            try:
                left = self._read(spec, plan, journal, report)
            except CursorExpired:
                logger.warning("%s: %s: cursor expired, begun again", self.source.name, spec.name)
                journal.restart()
                left = self._read(spec, plan, journal, report)
            self._finish(spec, plan, folder, journal, covered, report, left)
        if left and self._stopped is not None:
            raise self._stopped
        return not self._reread or spec.reading is Reading.BY_DEAL

    def _resumed(self, spec: EntitySpec, journal: PageJournal) -> BatchPlan | None:
        if journal.checkpoint is None:
            return None
        plan = BatchPlan.from_json(journal.checkpoint.plan)
        return plan if plan.identity == self._planner.identity(spec) else None

    def _read(
        self, spec: EntitySpec, plan: BatchPlan, journal: PageJournal, report: EntityReport
    ) -> list[str]:
        """Read what the plan says, from the checkpoint on; the ids that a spent budget left over."""
        meter = _Meter(self.connector, journal)
        report.window_from = plan.window.start
        if spec.reading is Reading.BY_DEAL:
            return self._read_by_deal(spec, journal, report, meter)
        report.done = journal.confirmed.rows
        if journal.confirmed.is_complete:
            return []
        cursor = journal.confirmed.cursor
        for page in self.connector.read(spec, plan.window, dict(cursor) if cursor else None):
            kept = [record for record in page.records if _is_within(record, plan.window, spec)]
            journal.append(kept, page.cursor, meter.spent(), len(page.records) - len(kept))
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
                return self.connector.read_ids(spec, chunk)
            except (AccessDenied, NotThere) as error:
                return error

        try:
            for answer in self.connector.client.in_parallel(ask, chunks):
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
            self._stopped = error
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
        confirmed = journal.confirmed
        schema, changes = schema_drift.settle(folder, covered.batches)
        report.notes += changes
        if left:
            (folder / LEFT).write_text("\n".join(left), encoding="utf-8")
        reading = ApiReading(
            "window",
            window_to=plan.window.end,
            window_from=plan.window.start,
            is_watermarked=plan.is_watermarked,
            follows_through=plan.follows_through,
            left=len(left),
            api_version=self.connector.api_version,
            rows_beyond_window=confirmed.rows_beyond,
            schema_fingerprint=schema,
            properties=tuple(self.connector.properties(spec)),
            **asdict(Usage(**(confirmed.spent or {}))),
        )
        stamp = Stamp(
            self.source.name,
            spec.name,
            plan.batch_id,
            plan.extracted_at,
            plan.is_initial_load,
            self.source.type,
        )
        self._show(folder, journal, stamp, fingerprint=plan.identity, reading=reading)
        report.rows += confirmed.rows
        report.batches.append(stamp.batch_id)

    def _show(
        self, folder: Path, journal: PageJournal, stamp: Stamp, fingerprint: str, reading: ApiReading
    ) -> None:
        try:
            self.landing.require_space(journal.confirmed.offset)
            journal.write_parquet(stamp)
            self.landing.seal(folder, stamp, fingerprint=fingerprint, reading=reading)
            journal.clear_pages()
            self.landing.show(folder)
        except OSError as error:
            raise LandingError(
                f"{stamp.entity} of {stamp.source} could not be written to {self.landing.root}: "
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
        self.landing.show(folder)
        report.rows += manifest.rows
        report.batches.append(manifest.stamp.batch_id)
        return True

    def _name(self, spec: EntitySpec) -> str:
        return f"{self.source.type}.{self.source.name}.{spec.name}"


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
