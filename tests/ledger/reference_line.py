"""The time line of a deal: its rows placed and ordered, its beginning and its end filled in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import pairwise, permutations
from typing import Any

from tests.ledger.book import Change, Record
from tests.ledger.reference_facts import CLOSED, BookFacts

VALUES = ("amount", "currency", "close_date", "owner", "forecast_category", "probability")
WALK_LIMIT = 6


@dataclass(frozen=True)
class Row:
    """One row of a deal's time line, before or after its values are carried forward."""

    placed_at: datetime
    recorded_at: datetime
    pipeline: str | None = None
    stage: str | None = None
    from_pipeline: str | None = None
    from_stage: str | None = None
    status: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    sequence: int | None = None
    event_id: str | None = None
    changed_by: str | None = None
    time_precision: str = "event"
    rule: str | None = None
    is_clamped: bool = False
    is_left_truncated: bool = False
    order_uncertain: bool = False
    removed: str | None = None
    known_on: date | None = None
    extracted_at: datetime | None = None

    @property
    def told_state(self) -> tuple[str | None, str | None] | None:
        return None if self.stage is None else (self.pipeline, self.stage)

    @property
    def told_from(self) -> tuple[str | None, str | None] | None:
        return None if self.from_stage is None else (self.from_pipeline, self.from_stage)


class TimeLines(BookFacts):
    """Time lines of the deals of a book; rules 1 to 4."""

    def _placed(self, deal: tuple[str, str], record: Record | None) -> list[Row]:
        source = deal[0]
        created_at = record.created_at if record else None
        deal_pipeline = self._deal_pipeline(deal, record)
        merged: dict[Change, tuple[datetime, bool]] = {}
        for change in self._changes[deal]:
            content = replace(change, extracted_at=datetime.min, is_initial_load=False)
            first, initial = merged.get(content, (change.extracted_at, False))
            merged[content] = (min(first, change.extracted_at), initial or change.is_initial_load)
        rows = []
        for change, (extracted_at, is_initial) in merged.items():
            at = change.changed_at
            is_future = at > extracted_at
            is_early = created_at is not None and at < created_at
            is_day = change.time_precision == "day"
            same_day = is_early and self.business_date(at) == self.business_date(created_at)
            placed_at = extracted_at if is_future else created_at if is_early else at
            pipeline = change.pipeline or self._only_pipeline(source, change.stage) or deal_pipeline
            from_pipeline = (
                change.from_pipeline
                or self._only_pipeline(source, change.from_stage)
                or change.pipeline
                or self._only_pipeline(source, change.stage)
                or deal_pipeline
            )
            rows.append(
                Row(
                    placed_at,
                    at,
                    pipeline if change.stage else None,
                    change.stage,
                    from_pipeline if change.from_stage else None,
                    change.from_stage,
                    change.status,
                    {name: getattr(change, name) for name in VALUES},
                    change.sequence,
                    change.event_id,
                    change.changed_by,
                    change.time_precision,
                    rule="clamped" if is_future or (is_early and not (is_day and same_day)) else None,
                    is_clamped=is_future or (is_early and not (is_day and same_day)),
                    known_on=self._known_on(self.business_date(placed_at), extracted_at, is_initial),
                    extracted_at=extracted_at,
                )
            )
        return rows

    def _ordered(self, deal: tuple[str, str], rows: list[Row]) -> list[Row]:
        instants: dict[tuple[datetime, datetime], list[Row]] = defaultdict(list)
        for row in rows:
            instants[row.placed_at, row.recorded_at].append(row)
        told: list[Row] = []
        before: tuple | None = None
        for instant in sorted(instants):
            told.extend(self._instant(deal, instants[instant], before))
            states = {row.told_state for row in instants[instant] if row.stage is not None}
            if states:
                # where that instant is itself disputed, the state before is not taken for granted
                before = states.pop() if len(states) == 1 else None
        return told

    def _instant(self, deal: tuple[str, str], rows: list[Row], before: tuple | None) -> list[Row]:
        if not _disagree(rows):
            return [_merged(rows)]
        order = sorted(rows, key=lambda row: self._tie_key(deal, row, before))
        staged = [row for row in order if row.stage is not None]
        has_sequence = len({row.sequence for row in rows if row.sequence is not None}) == len(rows)
        walk, is_only_walk = None, False
        if 2 <= len(staged) <= WALK_LIMIT:
            walk, is_only_walk = _walk(staged, before)
        if walk is not None and (is_only_walk or not has_sequence):
            order = walk + [row for row in order if row.stage is None]
        uncertain = not (is_only_walk or has_sequence)
        return [replace(row, order_uncertain=uncertain) for row in order]

    def _tie_key(self, deal: tuple[str, str], row: Row, before: tuple | None) -> tuple:
        stage = self._stage(deal[0], row.pipeline, row.stage, row.placed_at) if row.stage else None
        closed = stage is not None and stage.outcome in CLOSED
        group = 2 if closed else 1 if stage is None else 0
        rank = (stage.order, stage.stage_id) if stage else (0, row.stage or "")
        values = [row.values[name] for name in ("amount", "close_date", "owner")]
        values += [row.status, row.changed_by, row.values["currency"]]
        return (
            (row.sequence is None, row.sequence or 0),
            row.stage is None,
            before is None or row.told_state != before,
            group,
            rank,
            *(_nulls_last(value) for value in (row.pipeline, row.from_stage, row.from_pipeline)),
            row.extracted_at,
            *(_nulls_last(value) for value in (row.event_id, *values)),
        )

    def _line(self, deal: tuple[str, str], told: list[Row], record: Record | None) -> list[Row]:
        created_at = record.created_at if record else None
        line = list(told)
        first = next((index for index, row in enumerate(told) if row.stage is not None), None)
        tolerance = timedelta(seconds=self.book.settings.entry_tolerance_seconds)
        if first is not None:
            row = told[first]
            gap = row.placed_at - created_at if created_at is not None else None
            if row.from_stage is not None:
                is_move = row.told_from != row.told_state
                if created_at is None:
                    line[first] = replace(row, is_left_truncated=True)
                elif is_move or gap > timedelta(0):
                    line.append(
                        Row(
                            created_at,
                            created_at,
                            row.from_pipeline,
                            row.from_stage,
                            rule="created_at_from_old_value",
                            known_on=max(self.business_date(created_at), self._delivered_on(row)),
                        )
                    )
            elif gap is not None and timedelta(0) < gap <= tolerance:
                line[first] = replace(row, placed_at=created_at, rule="created_at_tolerance")
            elif gap is not None and gap > tolerance and not self._on_creation_day(row, created_at):
                line[first] = replace(row, is_left_truncated=True)
        line.sort(key=lambda row: (row.placed_at, row.rule != "created_at_from_old_value", row.recorded_at))
        if record is not None:
            line = self._with_record(deal, line, told, record)
        return line

    def _delivered_on(self, row: Row) -> date:
        """The day on which a row's delivery was known, whatever day the row is about."""
        return row.known_on if row.known_on > self.business_date(row.placed_at) else date.min

    def _on_creation_day(self, row: Row, created_at: datetime) -> bool:
        day = self.business_date(created_at)
        is_date_only = created_at == self._utc_midnight(day)
        return self.business_date(row.placed_at) == day and (is_date_only or row.time_precision == "day")

    def _with_record(
        self, deal: tuple[str, str], line: list[Row], told: list[Row], record: Record
    ) -> list[Row]:
        staged = [row for row in told if row.stage is not None]
        pipeline = self._deal_pipeline(deal, record)
        outcome = self._outcome(record, pipeline)
        closing_at = self._closing_at(record, outcome, pipeline, told)
        last = max((row.placed_at for row in told), default=None)
        instants = (self._record_at(record), last, record.created_at, closing_at)
        record_at = max(instant for instant in instants if instant is not None)
        if not staged and record.stage is not None:
            entry = self._entry_by_record(deal, record, pipeline, outcome, closing_at or record_at)
            line = _inserted(line, entry, first=True) if entry else line
        if not self._is_stale(record, told):
            stage = record.stage if record.stage is not None or staged else "(open)"
            rule = "snapshot_first_seen" if not staged and record.created_at is None else "current_stage"
            closing = Row(
                record_at,
                record_at,
                pipeline if stage is not None else None,
                stage,
                status=outcome,
                rule=rule,
                known_on=self._record_known_on(record, record_at),
            )
            if closing_at is not None:
                known_on = self._record_known_on(record, closing_at)
                moved = replace(closing, placed_at=closing_at, recorded_at=closing_at, known_on=known_on)
                line = _inserted(line, replace(moved, rule="closed_at"))
            line = [*line, replace(closing, values={name: getattr(record, name) for name in VALUES})]
        return self._with_removal(line, staged, record)

    def _closing_at(
        self, record: Record, outcome: str | None, pipeline: str, told: list[Row]
    ) -> datetime | None:
        """When the deal closed, where only its record says so."""
        closed_at = self._record_closed_at(record, outcome)
        if closed_at is None:
            return None
        staged = [row for row in told if row.stage is not None]
        statuses = [row.status for row in told if row.status is not None]
        if staged and staged[-1].told_state == (pipeline, record.stage):
            stage = self._stage(record.source, pipeline, record.stage, datetime.max)
            if (stage is not None and stage.outcome in CLOSED) or statuses[-1:] == [outcome]:
                return None
        earliest = (closed_at, record.created_at, staged[-1].placed_at if staged else None)
        return max(instant for instant in earliest if instant is not None)

    def _entry_by_record(
        self,
        deal: tuple[str, str],
        record: Record,
        pipeline: str,
        outcome: str | None,
        ended_at: datetime,
    ) -> Row | None:
        """The beginning of a deal of which only the record tells."""
        at = record.created_at if record.created_at is not None else ended_at
        known_on = self._known_on(self.business_date(at), *self._first_delivery(deal))
        if outcome == "open":
            rule = "snapshot_first_seen" if record.created_at is None else "created_at_current_stage"
            return Row(at, at, pipeline, record.stage, rule=rule, known_on=known_on)
        if at < ended_at:
            rule = "created_at_unrecorded_stage"
            return Row(at, at, pipeline, "(open)", rule=rule, known_on=known_on)
        return None

    def _with_removal(self, line: list[Row], staged: list[Row], record: Record) -> list[Row]:
        removed_at = record.deleted_at
        if removed_at is None and record.merged_into is not None:
            removed_at = record.merged_at or self._record_at(record)
        if removed_at is None:
            return line
        first = staged[0].placed_at if staged else record.created_at
        at = max(removed_at, first) if first is not None else removed_at
        reason = "merged" if record.merged_into is not None else "deleted"
        return _inserted(line, Row(at, at, removed=reason, known_on=self._record_known_on(record, at)))

    def _is_stale(self, record: Record, told: list[Row]) -> bool:
        if not told:
            return False
        if record.modified_at is not None:
            return record.modified_at < max(row.placed_at for row in told)
        return self._last_extracted[record.source, record.deal_id] < max(row.extracted_at for row in told)


def _nulls_last(value: Any) -> tuple[bool, Any]:
    return (value is None, 0 if value is None else value)


def _inserted(line: list[Row], row: Row, first: bool = False) -> list[Row]:
    """The line with the row after (or before) all others of its instant."""
    position = next(
        (
            index
            for index, other in enumerate(line)
            if (other.placed_at >= row.placed_at if first else other.placed_at > row.placed_at)
        ),
        len(line),
    )
    return [*line[:position], row, *line[position:]]


def _disagree(rows: list[Row]) -> bool:
    states = {row.told_state for row in rows if row.stage is not None}
    told = [
        {row.values[name] for row in rows if row.values[name] is not None}
        for name in ("amount", "currency", "close_date", "owner")
    ]
    return any(len(values) > 1 for values in (states, *told, {row.status for row in rows if row.status}))


def _merged(rows: list[Row]) -> Row:
    """Rows of an instant that do not disagree, as one row; a blank takes what another row tells."""
    greatest: dict[str, Any] = {}
    for name in ("pipeline", "stage", "from_pipeline", "from_stage", "status"):
        told = [getattr(row, name) for row in rows if getattr(row, name) is not None]
        greatest[name] = max(told, default=None)
    values = {
        name: max((row.values[name] for row in rows if row.values[name] is not None), default=None)
        for name in VALUES
    }
    return replace(
        rows[0],
        **greatest,
        values=values,
        known_on=min(row.known_on for row in rows),
        extracted_at=min(row.extracted_at for row in rows),
        time_precision=max(row.time_precision for row in rows),
    )


def _walk(rows: list[Row], before: tuple | None) -> tuple[list[Row] | None, bool]:
    """The best walk that uses every row once, and whether it is the only one as good."""
    walks = [
        list(order)
        for order in permutations(rows)
        if order[0].told_from is not None
        and all(left.told_state == right.told_from for left, right in pairwise(order))
    ]
    if not walks:
        return None, False
    anchored = [walk for walk in walks if before is not None and walk[0].told_from == before]
    best = anchored or walks
    return best[0], len(best) == 1
