"""The transition rules told a second time, in plain Python: one deal after the other, one row after the other.

Written from the papers of the ledger, not from its SQL: where the SQL joins, aggregates and carries values by
windows, this replays. Slow and simple on purpose; small books only.

Rules in the order in which they are applied to a deal:
1. Rows of equal content count once, with their first extraction; a row is placed at its recorded instant, at
   its first extraction if it comes from the future, at creation if it precedes creation (recorded order kept).
2. Rows of one instant that agree are one change. Rows that disagree are ordered: a walk old value -> new
   value that uses every row once and preferably starts at the state before, else the sequence, else a row
   equal to the state before, then open stages by rank, unknown ones, closed ones.
3. A beginning that the history does not tell is inferred from the old value or from the current record.
4. The current record closes the line; the removal of the deal is marked in it.
5. Values are carried forward; a field without any history is known from the closing (or the record) on.
6. A row with a new (pipeline, stage, status) is a transition, any row with a new value is a version.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from itertools import permutations
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tests.ledger.book import Book, Change, Record, Stage

CLOSED = ("won", "lost", "closed_other")
VALUES = ("amount", "currency", "close_date", "owner", "forecast_category", "probability")
WALK_LIMIT = 6
MIDNIGHT = datetime.min.time()


class State(NamedTuple):
    """Where a deal is; (pipeline, stage, status)."""

    pipeline: str
    stage: str
    status: str


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


@dataclass(frozen=True)
class Version:
    """A state of a deal with all its values, valid from an instant until the next version's."""

    deal: tuple[str, str]
    at: datetime
    state: State
    values: dict[str, Any]
    removed: str | None
    known_on: date
    row: Row


@dataclass(frozen=True)
class Transition:
    """What the contract says about one change of state."""

    source: str
    deal_id: str
    number: int
    at: datetime
    recorded_at: datetime
    exited_at: datetime | None
    from_stage: str | None
    to_stage: str
    kind: str
    skipped: int
    visit: int
    rule: str | None
    is_transient: bool
    order_uncertain: bool
    is_clamped: bool
    is_left_truncated: bool
    amount: Any
    close_date: date | None
    known_on: date


class Reference:
    """The ledger of one book."""

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

    # -- what the book says about stages and days ------------------------------------------------------

    def business_date(self, instant: datetime) -> date:
        return instant.replace(tzinfo=ZoneInfo("UTC")).astimezone(self._zone).date()

    def _utc_midnight(self, day: date) -> datetime:
        local = datetime.combine(day, MIDNIGHT, self._zone)
        return local.astimezone(ZoneInfo("UTC")).replace(tzinfo=None)

    def _pipelines(self, source: str) -> set[str]:
        told = {row.pipeline for row in (*self.book.records, *self.book.changes) if row.source == source}
        told |= {row.from_pipeline for row in self.book.changes if row.source == source}
        return {pipeline for pipeline in told if pipeline is not None}

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

    # -- known_on --------------------------------------------------------------------------------------

    def _known_on(self, business_day: date, extracted_at: datetime, is_initial_load: bool) -> date:
        if is_initial_load:
            return business_day
        without = [
            run.as_of for run in self.book.runs if run.kind == "nightly" and run.landed_through < extracted_at
        ]
        return max(business_day, max(without) + timedelta(days=1)) if without else business_day

    # -- one deal ---------------------------------------------------------------------------------------

    def versions(self, deal: tuple[str, str]) -> list[Version]:
        """All versions of a deal in order; see the rules above."""
        record = self._current_record(deal)
        told = self._ordered(deal, self._placed(deal, record))
        line = self._line(deal, told, record)
        return self._replayed(deal, line, told, record)

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

    def _placed(self, deal: tuple[str, str], record: Record | None) -> list[Row]:
        source = deal[0]
        created_at = record.created_at if record else None
        deal_pipeline = (record.pipeline if record else None) or self._only_pipeline(
            source, record.stage if record else None
        )
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
            pipeline = (
                change.pipeline or self._only_pipeline(source, change.stage) or deal_pipeline or "default"
            )
            from_pipeline = (
                change.from_pipeline
                or self._only_pipeline(source, change.from_stage)
                or change.pipeline
                or self._only_pipeline(source, change.stage)
                or deal_pipeline
                or "default"
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
        texts = (row.from_stage, row.event_id)
        numbers = (row.values["amount"], row.values["close_date"])
        others = (row.values["owner"], row.status, row.changed_by)
        return (
            (row.sequence is None, row.sequence or 0),
            row.stage is None,
            before is None or row.told_state != before,
            group,
            rank,
            *((value is None, value if value is not None else 0) for value in (*texts, *numbers, *others)),
        )

    # -- the beginning and the end of the line ----------------------------------------------------------

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
                            min(created_at, row.recorded_at),
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
        line.sort(key=lambda row: (row.placed_at, row.recorded_at, row.rule != "created_at_from_old_value"))
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

    def _outcome(self, record: Record, pipeline: str) -> str | None:
        if record.status in CLOSED:
            return record.status
        stage = self._stage(record.source, pipeline, record.stage, datetime.max)
        if stage is not None:
            return stage.outcome
        return record.status or ("open" if record.stage is not None else None)

    def _with_record(
        self, deal: tuple[str, str], line: list[Row], told: list[Row], record: Record
    ) -> list[Row]:
        staged = [row for row in told if row.stage is not None]
        last_state = staged[-1].told_state if staged else None
        pipeline = record.pipeline or self._only_pipeline(record.source, record.stage)
        pipeline = pipeline or (last_state[0] if last_state else "default")
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

    def _record_known_on(self, record: Record, at: datetime) -> date:
        return self._known_on(self.business_date(at), record.extracted_at, record.is_initial_load)

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

    def _first_delivery(self, deal: tuple[str, str]) -> tuple[datetime, bool]:
        first = min(self._records[deal], key=lambda record: record.extracted_at)
        return first.extracted_at, any(record.is_initial_load for record in self._records[deal])

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

    def _is_stale(self, record: Record, told: list[Row]) -> bool:
        if not told:
            return False
        if record.modified_at is not None:
            return record.modified_at < max(row.placed_at for row in told)
        return self._last_extracted[record.source, record.deal_id] < max(row.extracted_at for row in told)

    # -- replay ------------------------------------------------------------------------------------------

    def _replayed(
        self, deal: tuple[str, str], line: list[Row], told: list[Row], record: Record | None
    ) -> list[Version]:
        covered = {name for name in VALUES if any(row.values.get(name) is not None for row in told)}
        carried: dict[str, Any] = dict.fromkeys(VALUES)
        place: tuple[str, str, str] | None = None  # pipeline, stage, outcome of the stage when it was entered
        status = removed = None
        replayed: list[Version] = []
        for row in line:
            carried |= {name: value for name, value in row.values.items() if value is not None}
            status = row.status or status
            removed = row.removed or removed
            if row.stage is not None:
                stage = self._stage(deal[0], row.pipeline, row.stage, row.placed_at)
                place = (row.pipeline or "default", row.stage, stage.outcome if stage else "open")
            if place is not None:
                state = _effective(place, status)
                known_on = row.known_on or self.business_date(row.placed_at)
                replayed.append(Version(deal, row.placed_at, state, dict(carried), removed, known_on, row))
        versions: list[Version] = []
        for index, version in enumerate(replayed):
            stays_closed = all(later.state.status in CLOSED for later in replayed[index:])
            is_read = record is not None and version.at >= self._read_at(deal, line, told, record)
            version.values.update(
                self._values_without_history(version.values, covered, stays_closed or is_read, record)
            )
            if not versions or _content(versions[-1]) != _content(version):
                versions.append(version)
        return versions

    def _read_at(self, deal: tuple[str, str], line: list[Row], told: list[Row], record: Record) -> datetime:
        """The instant from which an open deal's record is known to have held."""
        last = max((row.placed_at for row in told), default=None)
        pipeline = record.pipeline or self._only_pipeline(record.source, record.stage)
        staged = [row.pipeline for row in told if row.stage is not None]
        pipeline = pipeline or (staged[-1] if staged else "default")
        closing_at = self._closing_at(record, self._outcome(record, pipeline), pipeline, told)
        instants = (self._record_at(record), last, record.created_at, closing_at)
        return max(instant for instant in instants if instant is not None)

    def _values_without_history(
        self, carried: dict[str, Any], covered: set[str], is_known: bool, record: Record | None
    ) -> dict[str, Any]:
        values = dict(carried)
        for name in VALUES:
            if name not in covered:
                told = is_known or name in ("owner", "currency")
                values[name] = getattr(record, name) if record is not None and told else None
        if values["currency"] is None:
            values["currency"] = (record.currency if record else None) or self.book.settings.currency
        return values

    # -- transitions -------------------------------------------------------------------------------------

    def transitions(self, deal: tuple[str, str]) -> list[Transition]:
        """The versions of a deal whose state differs from the one before, as the contract tells them."""
        versions = self.versions(deal)
        moves = [
            version
            for before, version in zip([None, *versions], versions, strict=False)
            if before is None or before.state != version.state
        ]
        transient = _transients(
            [(move.at, move.state) for move in moves], self.book.settings.transient_seconds
        )
        visits: dict[tuple[str, str], int] = defaultdict(int)
        found = []
        for index, move in enumerate(moves):
            before = moves[index - 1] if index else None
            kind, skipped = self._kind(deal[0], before.state if before else None, move)
            visits[move.state[:2]] += 1
            found.append(
                Transition(
                    *deal,
                    number=index + 1,
                    at=move.at,
                    recorded_at=move.row.recorded_at,
                    exited_at=moves[index + 1].at if index + 1 < len(moves) else None,
                    from_stage=before.state.stage if before else None,
                    to_stage=move.state.stage,
                    kind=kind,
                    skipped=skipped,
                    visit=visits[move.state[:2]],
                    rule=move.row.rule,
                    is_transient=transient[index],
                    order_uncertain=move.row.order_uncertain,
                    is_clamped=move.row.is_clamped,
                    is_left_truncated=move.row.is_left_truncated,
                    amount=move.values["amount"],
                    close_date=move.values["close_date"],
                    known_on=move.known_on,
                )
            )
        return found

    def _kind(self, source: str, before: State | None, move: Version) -> tuple[str, int]:
        after = move.state
        if before is None:
            return "entry", 0
        if before.pipeline != after.pipeline:
            return "pipeline_switch", 0
        if after.status in CLOSED:
            if before.status == after.status:
                return "closed_move", 0
            return ("outcome_correction" if before.status in CLOSED else after.status), 0
        if before.status in CLOSED:
            return "reopen", 0
        left = self._stage(source, before.pipeline, before.stage, move.at)
        entered = self._stage(source, after.pipeline, after.stage, move.at)
        known = [
            stage is not None or state.stage == "(open)"
            for stage, state in ((left, before), (entered, after))
        ]
        if not all(known) or left is None or entered is None:
            return "unknown_stage", 0
        low, high = _place(left), _place(entered)
        if high < low:
            return "backward", 0
        between = [
            stage
            for stage in self._open_stages(source, after.pipeline, move.at)
            if low < _place(stage) < high
        ]
        return ("skip" if between else "forward"), len(between)


def _place(stage: Stage) -> tuple[float, str]:
    return (stage.order if stage.order is not None else float("inf"), stage.stage_id)


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
        and all(left.told_state == right.told_from for left, right in zip(order, order[1:], strict=False))
    ]
    if not walks:
        return None, False
    anchored = [walk for walk in walks if before is not None and walk[0].told_from == before]
    best = anchored or walks
    return best[0], len(best) == 1


def _effective(state: tuple[str, str, str], status: str | None) -> State:
    pipeline, stage, outcome = state
    if outcome in CLOSED:
        return State(pipeline, stage, outcome)
    if status in CLOSED:
        return State(pipeline, f"({status})", status)
    return State(pipeline, stage, "open")


def _content(version: Version) -> tuple:
    return (version.state, tuple(version.values.items()), version.removed)


def _transients(moves: list[tuple[datetime, State]], seconds: int) -> list[bool]:
    """Short visits that return to where they came from, and the returns."""
    short = [False] * len(moves)
    for index in range(1, len(moves) - 1):
        stay = moves[index + 1][0] - moves[index][0]
        short[index] = moves[index + 1][1] == moves[index - 1][1] and stay < timedelta(seconds=seconds)
    found = list(short)
    kept: State | None = None
    for index, (_, state) in enumerate(moves):
        if short[index]:
            continue
        found[index] = state == kept
        kept = state
    return found
