"""The engine of all API connectors: windows in, whole batches out, nothing asked for twice after a crash.

A run reads first what is due of every entity. What may wait (the list of all ids, a full refresh) follows
with what is left of the day's budget, then histories of what that brought, then the reconciliation.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

from dagster_project.api_settings import ApiSource
from dagster_project.extract.api.api_errors import (
    AccessDenied,
    ApiError,
    CursorExpired,
    DailyQuotaExhausted,
    NotThere,
    Place,
    SourceUnavailable,
)
from dagster_project.extract.api.api_plan import Planner
from dagster_project.extract.api.api_report import EntityReport, Status
from dagster_project.extract.api.batch_reading import MOST_RESTARTS, BatchReader
from dagster_project.extract.api.connectors import open_connector
from dagster_project.extract.api.coverage import Coverage, Span, coverage
from dagster_project.extract.api.daily_budget import Allowance, DailyBudget
from dagster_project.extract.api.empty_batches import remove_void
from dagster_project.extract.api.full_refresh import refresh, show_finished
from dagster_project.extract.api.id_sweep import sweep
from dagster_project.extract.api.protocol import Connector, EntitySpec, Reading, Record
from dagster_project.extract.api.reconciliation import reconcile
from dagster_project.extract.api.told_once import ToldOnce
from dagster_project.extract.inflight import InUse
from dagster_project.extract.landing import Landing
from dagster_project.owner_emails import OwnerEmails

logger = logging.getLogger(__name__)

_IS_DONE = (Status.LANDED, Status.UP_TO_DATE)


def extract_api(
    landing_root: Path,
    source: ApiSource,
    span: Span,
    entities: Sequence[str] | None = None,
    *,
    connector: Connector | None = None,
    reread: bool = False,
    emails: OwnerEmails | None = None,
) -> tuple[EntityReport, ...]:
    """Land what is due of a source up to the end of `span`, entity by entity.

    What fails or waits is in its report, and the others go on. `reread`: the span again, although covered.
    `emails`: what makes pseudonyms of e-mail addresses.
    Errors: LandingError (disk). Errors of the CRM never leave here.
    """
    landing = Landing(landing_root, emails)
    landing.require_same_emails()
    run = Extraction(landing, source, connector or open_connector(source), span, reread)
    wanted = [spec for spec in run.connector.ENTITIES if entities is None or spec.name in entities]
    try:
        return run.extract(wanted)
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
        self.planner = Planner(landing, source, connector, span, reread)
        self.reader = BatchReader(landing, source, connector, self.planner)
        self._reread = reread
        self._wanted: frozenset[str] = frozenset()
        self._stopped: DailyQuotaExhausted | None = None
        folder = landing.root / source.type / source.name
        self._told = ToldOnce(folder / "_told.json")
        client = connector.client
        client.budget = DailyBudget(
            Allowance(source.budget.daily, source.budget.reserve), folder / "_spent.json"
        )
        if source.quota_time_zone is not None:
            client.dialect.day_zone = ZoneInfo(source.quota_time_zone)
        elif client.dialect.day_is_local:
            client.dialect.day_zone = span.zone

    def extract(self, wanted: Sequence[EntitySpec]) -> tuple[EntityReport, ...]:
        """Land all that is due of these entities, then what may wait."""
        self._wanted = frozenset(spec.name for spec in wanted)
        pairs = [(spec, EntityReport(spec.name)) for spec in wanted]
        for spec, report in pairs:
            self._read_what_is_due(spec, report)
        touched = set()
        for upkeep in (sweep, refresh):
            for spec, report in pairs:
                if report.status not in _IS_DONE or self._stopped is not None:
                    continue
                before = len(report.batches)
                with self._accounted(spec, report):
                    upkeep(self, spec, report)
                if len(report.batches) > before:
                    touched.add(spec.name)
        for spec, report in pairs:
            if report.status in _IS_DONE and spec.reading is Reading.BY_DEAL and spec.follows in touched:
                self._read_what_is_due(spec, report)
            self._reconcile(spec, report)
            if report.batches:
                remove_void(self.landing, self.source.name, spec.name)
            report.covered_until = self.covered(spec.name).until
        return tuple(report for _, report in pairs)

    def covered(self, entity: str) -> Coverage:
        """What the landing has of an entity of this source."""
        return coverage(self.landing, self.source.name, entity)

    def read_again(self, spec: EntitySpec, ids: Sequence[str]) -> str | None:
        """Ask for single records by id and land them; the batch id, None for no ids. Errors: ApiError."""
        return self.land(spec, "records", self.ask_for(spec, ids)) if ids else None

    def ask_for(self, spec: EntitySpec, ids: Sequence[str]) -> list[Record]:
        """Single records by id; those that the CRM does not have are left out. Errors: ApiError."""
        size = spec.ids_per_request
        chunks = [list(ids[at : at + size]) for at in range(0, len(ids), size)]
        found = self.connector.client.in_parallel(lambda chunk: self.connector.read_ids(spec, chunk), chunks)
        return [record for records in found for record in records]

    def land(self, spec: EntitySpec, kind: str, records: Sequence[Record]) -> str:
        """Land records that were not read as a window; the batch id."""
        return self.reader.land(spec, kind, records, self.covered(spec.name).newest_id)

    def stop(self, error: DailyQuotaExhausted) -> None:
        """Nothing more is asked in this run."""
        self._stopped = error

    def _read_what_is_due(self, spec: EntitySpec, report: EntityReport) -> None:
        with self._accounted(spec, report):
            show_finished(self, spec, report)
            if (batch := self.reader.companions.pop(spec.name, None)) is not None:
                report.rows += batch.manifest.rows
                report.batches.append(batch.folder.name)
            if self._stopped is not None:
                raise self._stopped
            while self._land_next(spec, report):
                pass
            if report.batches:
                report.status = Status.LANDED
        self._tell_once(spec, report)

    def _land_next(self, spec: EntitySpec, report: EntityReport) -> bool:
        is_follow_up = bool(report.batches)
        landed = self.reader.land_next(
            spec,
            report,
            lambda covered: self.planner.next_batch(spec, covered, is_follow_up, self._wanted),
            self.reader.room(spec),
        )
        return landed and (not self._reread or spec.reading is Reading.BY_DEAL)

    def _reconcile(self, spec: EntitySpec, report: EntityReport) -> None:
        telling = self.connector.TELLING
        if telling is not None and telling.history == spec.name and report.status in _IS_DONE:
            with self._accounted(spec, report):
                report.reconciled = reconcile(self)

    @contextmanager
    def _accounted(self, spec: EntitySpec, report: EntityReport) -> Iterator[None]:
        """Errors of the CRM end in the report, and so does what talking to it took."""
        client = self.connector.client
        before, began, known = client.usage, client.clock.monotonic(), set(client.api_warnings)
        try:
            yield
        except DailyQuotaExhausted as error:
            self.stop(error)
            report.status, report.reason = Status.PARTIAL, str(error)
            logger.warning("%s: %s: %s (%s)", self.source.name, spec.name, report.progress, error)
        except (AccessDenied, NotThere) as error:
            report.status = Status.FAILED if spec.is_core else Status.SKIPPED
            report.reason, report.kind_of_error = str(error), type(error).__name__
        except CursorExpired:
            report.status, report.is_passing = Status.FAILED, True
            report.reason = str(
                SourceUnavailable(
                    Place(self.source.name, spec.name, "list"),
                    f"its paging cursors expired {MOST_RESTARTS + 1} times in one run",
                    "run again later: this reading begins anew; if it stays so, report the text",
                )
            )
        except (ApiError, InUse) as error:
            report.status, report.reason = Status.FAILED, str(error)
            report.is_passing = isinstance(error, SourceUnavailable)
        report.usage = report.usage.plus(client.usage.since(before))
        report.seconds += client.clock.monotonic() - began
        report.api_warnings += sorted(client.api_warnings - known)

    def _tell_once(self, spec: EntitySpec, report: EntityReport) -> None:
        """What lasts is told in the night in which it begins: an entity left out, a warning of the CRM."""
        if report.status is Status.SKIPPED:
            report.is_told_before = not self._told.news(spec.name, "left out", [report.kind_of_error])
        elif report.status is Status.LANDED:
            self._told.news(spec.name, "left out", [])
            report.notes += self._told.news(spec.name, "warnings", report.api_warnings)
