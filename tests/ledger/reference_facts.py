"""What a book says of stages, days, deliveries and records: looked up the plain way."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from tests.ledger.book import Book, Change, Record, Stage

CLOSED = ("won", "lost", "closed_other")
MIDNIGHT = datetime.min.time()


class BookFacts:
    """Look-ups in one book."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self._zone = ZoneInfo(book.settings.time_zone)
        self._records: dict[tuple[str, str], list[Record]] = defaultdict(list)
        self._changes: dict[tuple[str, str], list[Change]] = defaultdict(list)
        self._last_extracted: dict[tuple[str, str], datetime] = {}
        for record in book.records:
            self._records[record.source, record.deal_id].append(record)
        for change in book.changes:
            self._changes[change.source, change.deal_id].append(change)
        self.deals = sorted(set(self._records) | set(self._changes))

    def business_date(self, instant: datetime) -> date:
        return instant.replace(tzinfo=ZoneInfo("UTC")).astimezone(self._zone).date()

    def _utc_midnight(self, day: date) -> datetime:
        local = datetime.combine(day, MIDNIGHT, self._zone)
        return local.astimezone(ZoneInfo("UTC")).replace(tzinfo=None)

    def _stage(self, source: str, pipeline: str | None, stage_id: str | None, at: datetime) -> Stage | None:
        """The stage's definition at an instant; one told without a pipeline belongs to every pipeline."""
        told = [
            stage
            for stage in self.book.stages
            if stage.source == source
            and stage.stage_id == stage_id
            and stage.pipeline in (pipeline, None)
            and (stage.valid_from is None or stage.valid_from <= at)
        ]
        return max(told, key=lambda stage: stage.valid_from or datetime.min, default=None)

    def _open_stages(self, source: str, pipeline: str, at: datetime) -> list[Stage]:
        names = {stage.stage_id for stage in self.book.stages}
        found = [self._stage(source, pipeline, name, at) for name in names]
        return [stage for stage in found if stage is not None and stage.outcome == "open"]

    def _only_pipeline(self, source: str, stage_id: str | None) -> str | None:
        pipelines = {
            stage.pipeline
            for stage in self.book.stages
            if stage.source == source and stage.stage_id == stage_id and stage.pipeline is not None
        }
        return pipelines.pop() if len(pipelines) == 1 else None

    def _deal_pipeline(self, deal: tuple[str, str], record: Record | None) -> str:
        """The pipeline of a record; where it names none, the one its newest history row names."""
        if record is not None:
            named = record.pipeline or self._only_pipeline(record.source, record.stage)
            if named is not None:
                return named
        rows = [row for row in self._changes[deal] if row.stage is not None and row.pipeline is not None]
        if record is None or not rows:
            return "default"
        return max((row.changed_at, row.sequence or 0, row.pipeline) for row in rows)[2]

    def _known_on(self, business_day: date, extracted_at: datetime, is_initial_load: bool) -> date:
        if is_initial_load:
            return business_day
        without = [
            run.as_of for run in self.book.runs if run.kind == "nightly" and run.landed_through < extracted_at
        ]
        return max(business_day, max(without) + timedelta(days=1)) if without else business_day

    def _first_delivery(self, deal: tuple[str, str]) -> tuple[datetime, bool]:
        first = min(self._records[deal], key=lambda record: record.extracted_at)
        return first.extracted_at, any(record.is_initial_load for record in self._records[deal])

    def _current_record(self, deal: tuple[str, str]) -> Record | None:
        """The newest content of the record, with its first extraction."""
        deliveries: dict[Record, list[datetime]] = defaultdict(list)
        for record in self._records[deal]:
            content = replace(record, extracted_at=datetime.min, is_initial_load=False)
            deliveries[content].append(record.extracted_at)
        if not deliveries:
            return None
        newest, times = max(
            deliveries.items(), key=lambda item: (item[0].modified_at or max(item[1]), max(item[1]))
        )
        initially = any(
            record.is_initial_load
            for record in self._records[deal]
            if replace(record, extracted_at=datetime.min, is_initial_load=False) == newest
        )
        self._last_extracted[deal] = max(times)
        return replace(newest, extracted_at=min(times), is_initial_load=initially)

    def _outcome(self, record: Record, pipeline: str) -> str | None:
        if record.status in CLOSED:
            return record.status
        stage = self._stage(record.source, pipeline, record.stage, datetime.max)
        if stage is not None:
            return stage.outcome
        return record.status or ("open" if record.stage is not None else None)

    def _record_at(self, record: Record) -> datetime:
        if record.modified_at is not None:
            return min(record.modified_at, record.extracted_at)
        with_it = [run for run in self.book.runs if run.landed_through >= record.extracted_at]
        nightly = [run.as_of for run in with_it if run.kind == "nightly"]
        return self._utc_midnight(min(nightly or [run.as_of for run in with_it]))

    def _record_closed_at(self, record: Record, outcome: str | None) -> datetime | None:
        if outcome not in CLOSED:
            return None
        if record.closed_at is not None:
            return min(record.closed_at, record.extracted_at)
        seen = replace(record, modified_at=None)
        seen_on = self.business_date(self._record_at(seen))
        if record.close_date is not None and record.close_date <= seen_on:
            return self._utc_midnight(record.close_date)
        return None

    def _record_known_on(self, record: Record, at: datetime) -> date:
        return self._known_on(self.business_date(at), record.extracted_at, record.is_initial_load)
