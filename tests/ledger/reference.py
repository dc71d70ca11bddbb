"""The transition rules told a second time, in plain Python: one deal after the other, row after row.

Written from the papers of the ledger, not from its SQL: where the SQL joins, aggregates and carries values by
windows, this replays. Slow and simple on purpose; small books only.

Rules in the order in which they are applied to a deal:
1. Rows of equal content count once, with their first extraction; a row is placed at its recorded instant,
   at its first extraction if it comes from the future, at creation if it precedes it (recorded order kept).
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
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from tests.ledger.book import Record, Stage
from tests.ledger.reference_facts import CLOSED
from tests.ledger.reference_line import VALUES, Row, TimeLines


class State(NamedTuple):
    """Where a deal is; (pipeline, stage, status)."""

    pipeline: str
    stage: str
    status: str


@dataclass(frozen=True)
class Version:
    """A state of a deal with all its values, valid from an instant until the next version's."""

    deal: tuple[str, str]
    at: datetime
    state: State
    values: dict[str, Any]
    removed: str | None
    known_on: date
    values_known_on: date
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


class Reference(TimeLines):
    """The ledger of one book; rules 5 and 6."""

    def versions(self, deal: tuple[str, str]) -> list[Version]:
        """All versions of a deal in order; see the rules above."""
        record = self._current_record(deal)
        told = self._ordered(deal, self._placed(deal, record))
        line = self._line(deal, told, record)
        return self._replayed(deal, line, told, record)

    def _replayed(
        self, deal: tuple[str, str], line: list[Row], told: list[Row], record: Record | None
    ) -> list[Version]:
        covered = {name for name in VALUES if any(row.values.get(name) is not None for row in told)}
        carried: dict[str, Any] = dict.fromkeys(VALUES)
        place: tuple[str, str, str] | None = None  # pipeline, stage, outcome of the stage when it was entered
        status = removed = None
        replayed: list[Version] = []
        told_before: list[date] = []  # days on which what came before the first stage was known
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
                newest = known_on if replayed else max([known_on, *told_before])
                replayed.append(
                    Version(deal, row.placed_at, state, dict(carried), removed, known_on, newest, row)
                )
            elif row.known_on is not None:
                told_before.append(row.known_on)
        versions: list[Version] = []
        for index, version in enumerate(replayed):
            stays_closed = all(later.state.status in CLOSED for later in replayed[index:])
            is_read = record is not None and version.at >= self._read_at(deal, told, record)
            version.values.update(
                self._values_without_history(version.values, covered, stays_closed or is_read, record)
            )
            if not versions or _content(versions[-1]) != _content(version):
                versions.append(version)
        return versions

    def _read_at(self, deal: tuple[str, str], told: list[Row], record: Record) -> datetime:
        """The instant from which an open deal's record is known to have held."""
        last = max((row.placed_at for row in told), default=None)
        pipeline = self._deal_pipeline(deal, record)
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
        if left is None or entered is None:
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
