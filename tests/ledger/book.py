"""A sales book written by hand or by chance: what a CRM would deliver, before anything is made of it.

All instants are naive UTC. Field names are those of the landed payload; `source`, `extracted_at` and
`is_initial_load` say who delivered a row and when.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import date, datetime
from decimal import Decimal
from typing import Any

FIRST_EXTRACTION = datetime(2026, 1, 1)


class Told:
    """Rows print only what differs from a plain row, so that a failing random book can be read."""

    def __repr__(self) -> str:
        told = [
            f"{item.name}={getattr(self, item.name)!r}"
            for item in fields(self)
            if getattr(self, item.name) != item.default
        ]
        return f"{type(self).__name__}({', '.join(told)})"


@dataclass(frozen=True, repr=False)
class Stage(Told):
    """A stage of a pipeline from `valid_from` on (None: always)."""

    stage_id: str
    order: float | None
    outcome: str = "open"
    pipeline: str | None = "new"
    name: str | None = None
    probability: float | None = None
    forecast_category: str | None = None
    valid_from: datetime | None = None
    source: str = "crm"


@dataclass(frozen=True, repr=False)
class Change(Told):
    """One row of a stage history: what was true after the change, unknown where None."""

    deal_id: str
    changed_at: datetime
    stage: str | None = None
    from_stage: str | None = None
    pipeline: str | None = "new"
    from_pipeline: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    close_date: date | None = None
    owner: str | None = None
    status: str | None = None
    forecast_category: str | None = None
    probability: float | None = None
    sequence: int | None = None
    changed_by: str | None = None
    event_id: str | None = None
    is_bulk: bool | None = None
    time_precision: str = "event"
    change_source: str = "history"
    source: str = "crm"
    extracted_at: datetime = FIRST_EXTRACTION
    is_initial_load: bool = True


@dataclass(frozen=True, repr=False)
class Record(Told):
    """One delivery of a deal's current record."""

    deal_id: str
    created_at: datetime | None = None
    stage: str | None = None
    pipeline: str | None = "new"
    name: str | None = None
    status: str | None = None
    amount: Decimal | None = None
    currency: str | None = None
    close_date: date | None = None
    closed_at: datetime | None = None
    modified_at: datetime | None = None
    owner: str | None = None
    account: str | None = None
    product: str | None = None
    region: str | None = None
    country: str | None = None
    deal_type: str | None = None
    forecast_category: str | None = None
    probability: float | None = None
    lost_reason: str | None = None
    deleted_at: datetime | None = None
    merged_into: str | None = None
    merged_at: datetime | None = None
    source: str = "crm"
    extracted_at: datetime = FIRST_EXTRACTION
    is_initial_load: bool = True


@dataclass(frozen=True, repr=False)
class Snapshot(Told):
    """All deals as they stood at the end of a day; the records' own deliveries do not count."""

    snapshot_on: date
    records: tuple[Record, ...] = ()
    extracted_at: datetime = FIRST_EXTRACTION
    is_initial_load: bool = True
    source: str = "crm"

    @property
    def sha256(self) -> str:
        """Stands for the digest of the file."""
        return f"{self.source} {self.snapshot_on}"


@dataclass(frozen=True)
class Run:
    """A run of the pipeline: the day it stood for, and what had landed by then."""

    as_of: date
    landed_through: datetime
    kind: str = "nightly"


@dataclass(frozen=True)
class Settings:
    """The settings of the business that the ledger depends on."""

    time_zone: str = "UTC"
    currency: str = "EUR"
    fiscal_year_start_month: int = 1
    fiscal_calendar: str = "months"
    fiscal_year_end: str = "last"
    week_start: int = 1
    history_start: date | None = None
    transient_seconds: int = 60
    entry_tolerance_seconds: int = 60
    bulk_deals: int = 100
    dates_won: str = "close_date"
    dates_lost: str = "close_date"


@dataclass(frozen=True)
class Book:
    """Everything delivered, and the runs so far; the last run is the one whose tables are built."""

    stages: tuple[Stage, ...] = field(repr=False)
    records: tuple[Record, ...] = ()
    changes: tuple[Change, ...] = ()
    snapshots: tuple[Snapshot, ...] = field(default=(), kw_only=True)
    runs: tuple[Run, ...] = (Run(date(2025, 12, 31), datetime(2026, 1, 1, 1)),)
    settings: Settings = field(default_factory=Settings)
    facts: tuple[tuple[str, tuple[dict[str, Any], ...]], ...] = ()


def payload(row: Stage | Change | Record) -> dict[str, Any]:
    """The fields of a row as a source tells them, without who delivered it and when."""
    return {
        item.name: getattr(row, item.name)
        for item in fields(row)
        if item.name not in ("source", "extracted_at", "is_initial_load")
    }


def stages_in(pipeline: str, *names: str, won: str = "won", lost: str = "lost") -> tuple[Stage, ...]:
    """Open stages in this order, then a won and a lost stage."""
    rows = [Stage(name, index, pipeline=pipeline) for index, name in enumerate(names, start=1)]
    rows.append(Stage(won, len(names) + 1, "won", pipeline))
    rows.append(Stage(lost, len(names) + 2, "lost", pipeline))
    return tuple(rows)


# The stages of the sixteen cases that came with the contract.
STAGES = stages_in("new", "lead", "prospect", "opp", "quote", "nego") + stages_in(
    "ren", "r1", "r2", won="rwon", lost="rlost"
)
