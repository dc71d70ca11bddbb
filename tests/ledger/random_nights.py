"""A business night by night, by chance: late, repeated, corrected, merged, deleted and retracted rows.

It follows from one number. What happens in a night is its news, which a failing test names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from tests.ledger.book import Book, Change, Record, Run, Settings, Snapshot, Stage
from tests.ledger.nights_bench import Night
from tests.ledger.random_books import RUNS, SHARED_STAGES, STATES, random_book

FIRST_DAY = date(2026, 1, 5)
EXPORT = "export"
MASS_MINUTE = datetime(2026, 1, 7, 10, 30)
BULK_DEALS = 4


@dataclass
class Business:
    """All that has been delivered so far; happenings change it."""

    rng: Random
    day: date
    records: list[Record]
    changes: list[Change]
    stages: list[Stage]
    settings: Settings
    runs: list[Run] = field(default_factory=lambda: list(RUNS))
    snapshots: dict[date, Snapshot] = field(default_factory=dict)
    rates: dict[date, float] = field(default_factory=lambda: {date(2025, 1, 1): 0.9})
    owners: list[str] = field(default_factory=list)
    leads: dict[tuple[str, str], list[str | None]] = field(default_factory=dict)
    lead_moves: list[tuple[str, str, datetime, str]] = field(default_factory=list)
    teams: dict[str, str] = field(default_factory=dict)
    days_looked_back: int = 0
    holidays: list[date] = field(default_factory=list)

    @property
    def stamp(self) -> dict[str, Any]:
        """Who delivered what comes tonight."""
        at = datetime.combine(self.day, datetime.min.time()) + timedelta(days=1, hours=1)
        return {"extracted_at": at, "is_initial_load": False}

    @property
    def deals(self) -> list[tuple[str, str]]:
        """Source and id of every deal that was ever told of."""
        return sorted({(row.source, row.deal_id) for row in (*self.records, *self.changes)})

    def some_deals(self, count: int) -> list[tuple[str, str]]:
        """So many deals, or all there are."""
        return self.rng.sample(self.deals, k=min(count, len(self.deals)))

    def donor(self) -> Book:
        """Another business, to take rows from."""
        return random_book(self.rng.randrange(2**32))


def late_and_new_changes(now: Business) -> None:
    """Rows of the past, and of today, for deals that may be new."""
    rows = now.rng.sample(now.donor().changes, k=6)
    today = datetime.combine(now.day, datetime.min.time()) + timedelta(hours=now.rng.randint(0, 30))
    rows[0] = replace(rows[0], changed_at=today)
    rows[1] = replace(rows[1], changed_at=today, deal_id=f"new {now.day}")
    now.changes += [replace(row, **now.stamp) for row in rows]


def repeated_changes(now: Business) -> None:
    """The same content once more."""
    now.changes += [replace(row, **now.stamp) for row in now.rng.sample(now.changes, k=8)]


def corrected_records(now: Business) -> None:
    """Newer records, some of deals that are new."""
    rows = now.rng.sample(now.donor().records, k=5)
    now.records += [replace(row, **now.stamp) for row in rows]


def repeated_records(now: Business) -> None:
    """Every record once more, as a file of all deals brings them each night."""
    now.records += dict.fromkeys(replace(row, **now.stamp) for row in now.records)


def merged_chain(now: Business) -> None:
    """One deal into a second, and that into a third."""
    (source, first), (_, second), (_, third) = now.some_deals(3)
    at = datetime.combine(now.day, datetime.min.time())
    for deal_id, winner in ((first, second), (second, third)):
        now.records.append(
            Record(
                deal_id, None, merged_into=winner, merged_at=at, modified_at=at, source=source, **now.stamp
            )
        )


def deleted_deals(now: Business) -> None:
    """Tombstones."""
    at = datetime.combine(now.day, datetime.min.time())
    for source, deal_id in now.some_deals(2):
        row = Record(deal_id, None, deleted_at=at, modified_at=at, source=source, **now.stamp)
        now.records.append(row)


def restored_deals(now: Business) -> None:
    """Deals that were removed stand in a stage again."""
    at = datetime.combine(now.day, datetime.min.time()) + timedelta(hours=1)
    for row in [row for row in now.records if row.deleted_at or row.merged_into][-2:]:
        pipeline, stage = now.rng.choice(STATES)
        now.records.append(
            Record(
                row.deal_id, row.created_at, stage, pipeline, modified_at=at, source=row.source, **now.stamp
            )
        )


def retracted_deal(now: Business) -> None:
    """A deal of which nothing is told any more."""
    gone = now.some_deals(1)[0]
    now.records = [row for row in now.records if (row.source, row.deal_id) != gone]
    now.changes = [row for row in now.changes if (row.source, row.deal_id) != gone]


def retracted_changes(now: Business) -> None:
    """Rows that were told before and are not any more."""
    gone = set(now.rng.sample(range(len(now.changes)), k=4))
    now.changes = [row for number, row in enumerate(now.changes) if number not in gone]


def mass_change(now: Business) -> None:
    """One more deal, or some, moved by one actor in one minute; now and then the last one is taken back."""
    mass = [row for row in now.changes if row.changed_by == "admin"]
    if len(mass) >= BULK_DEALS and now.rng.random() < 0.5:
        now.changes.remove(now.rng.choice(mass))
        return
    for source, deal_id in now.some_deals(now.rng.choice((1, 2, BULK_DEALS - 1))):
        at = MASS_MINUTE + timedelta(seconds=now.rng.randint(0, 59))
        stage = now.rng.choice(("prospect", "quote"))
        now.changes.append(Change(deal_id, at, stage, changed_by="admin", source=source, **now.stamp))


def todays_snapshot(now: Business) -> None:
    """An export of today's deals, of which one may be missing."""
    now.snapshots[now.day] = _snapshot(now, now.day)


def late_snapshot(now: Business) -> None:
    """An export of an earlier day arrives, or arrives once more with other rows."""
    day = now.day - timedelta(days=now.rng.randint(1, 6))
    now.snapshots[day] = _snapshot(now, day)


def _snapshot(now: Business, day: date) -> Snapshot:
    rows = []
    missing = now.rng.sample(range(8), k=now.rng.choice((0, 0, 1, 1, 4)))
    for number in (number for number in range(8) if number not in missing):
        steps = min((day - FIRST_DAY).days // 3 + number % 2, 4)
        stage = ("lead", "prospect", "opp", "quote", "won")[max(steps, 0)]
        amount = now.rng.choice((Decimal(100), Decimal(100), Decimal(120)))
        created_at = datetime(2025, 12, 20 + number) if number % 3 else None
        rows.append(Record(f"exported {number}", created_at, stage, amount=amount, source=EXPORT))
    return Snapshot(day, tuple(rows), now.stamp["extracted_at"], False, EXPORT)


def new_rate(now: Business) -> None:
    """Today's rate, or another one for an earlier day."""
    day = now.day if now.rng.random() < 0.6 else date(2025, now.rng.randint(1, 6), 1)
    now.rates[day] = round(now.rng.uniform(0.8, 1.1), 3)


def new_owner(now: Business) -> None:
    """A person whose name was already written in deals gets an id."""
    now.owners.append(now.rng.choice(("ann", "bob", "cid")))


def leads_that_become_deals(now: Business) -> None:
    """A lead becomes one deal or two, another deal, or none any more; late rows of its history."""
    for source, deal_id in now.some_deals(4):
        lead_id = f"lead {now.rng.randint(1, 6)}"
        known = now.leads.get((source, lead_id), [])
        now.leads[source, lead_id] = now.rng.choice(([None], [deal_id], [deal_id], [*known[:1], deal_id]))
        at = datetime.combine(now.day, datetime.min.time()) - timedelta(days=now.rng.randint(0, 40))
        now.lead_moves.append((source, lead_id, at, now.rng.choice(("New", "Working", "Unqualified"))))


def new_team(now: Business) -> None:
    """A person, and with them their deals of all times, goes to another team."""
    owner = now.rng.choice(("ann", "bob", "cid"))
    now.owners.append(owner)
    now.teams[owner] = now.rng.choice(("north", "south"))


def look_back(now: Business) -> None:
    """The tables are built as of an earlier day; the next night is as of its own again."""
    now.days_looked_back = now.rng.choice((3, 40, 200))


def nothing(now: Business) -> None:
    """A quiet night."""


COMMON: tuple[Callable[[Business], None], ...] = (
    late_and_new_changes,
    late_and_new_changes,
    repeated_changes,
    corrected_records,
    repeated_records,
    merged_chain,
    deleted_deals,
    restored_deals,
    retracted_deal,
    retracted_changes,
    mass_change,
    mass_change,
    todays_snapshot,
    todays_snapshot,
    late_snapshot,
    new_rate,
    new_owner,
    leads_that_become_deals,
    leads_that_become_deals,
    new_team,
    look_back,
    nothing,
)


def renamed_stage(now: Business) -> None:
    """A stage gets another name."""
    number = now.rng.randrange(len(now.stages))
    now.stages[number] = replace(now.stages[number], name=f"named on {now.day}")


def changed_outcome(now: Business) -> None:
    """A stage that was open is lost, or the other way round."""
    number = now.rng.randrange(len(now.stages))
    outcome = "lost" if now.stages[number].outcome == "open" else "open"
    now.stages[number] = replace(now.stages[number], outcome=outcome)


def reordered_stages(now: Business) -> None:
    """From today on the stages of a pipeline stand in another order."""
    at = datetime.combine(now.day, datetime.min.time())
    moved = [stage for stage in now.stages if stage.pipeline == "new" and stage.valid_from is None]
    orders = [stage.order for stage in moved]
    now.rng.shuffle(orders)
    pairs = zip(moved, orders, strict=True)
    now.stages += [replace(stage, order=order, valid_from=at) for stage, order in pairs]


def new_holiday(now: Business) -> None:
    """A day that has already been counted is a holiday."""
    now.holidays.append(date(2025, 5, now.rng.randint(1, 28)))


def other_settings(now: Business) -> None:
    """Another tolerance, another time zone, another day that counts as the day of a win."""
    now.settings = replace(
        now.settings,
        transient_seconds=now.rng.choice((31, 60, 100)),
        time_zone="Asia/Tokyo",
        dates_won=now.rng.choice(("close_date", "event")),
    )


RARE: tuple[Callable[[Business], None], ...] = (
    renamed_stage,
    changed_outcome,
    reordered_stages,
    new_holiday,
    other_settings,
)


def random_nights(seed: int, count: int) -> Iterator[Night]:
    """So many nights of a business; the first is the first load, every sixth or so is missed."""
    rng = Random(seed)
    book = random_book(seed)
    stages = [*SHARED_STAGES, *(replace(stage, source="other_crm") for stage in SHARED_STAGES)]
    stages += [replace(stage, source=EXPORT) for stage in SHARED_STAGES]
    settings = replace(book.settings, bulk_deals=BULK_DEALS)
    now = Business(rng, FIRST_DAY, list(book.records), list(book.changes), stages, settings)
    yield _night(now, ("the first load",))
    for number in range(1, count):
        now.day += timedelta(days=2 if rng.random() < 0.15 else 1)
        happenings = list(rng.sample(COMMON, k=rng.randint(1, 3)))
        if number % 7 == 6:
            happenings.append(rng.choice(RARE))
        for happening in happenings:
            happening(now)
        yield _night(now, tuple(happening.__name__ for happening in happenings))


def _night(now: Business, news: tuple[str, ...]) -> Night:
    landed_through = now.stamp["extracted_at"] + timedelta(hours=1)
    kind = "manual" if now.days_looked_back else "nightly"
    now.runs.append(Run(now.day - timedelta(days=now.days_looked_back), landed_through, kind))
    now.days_looked_back = 0
    book = Book(
        tuple(now.stages),
        tuple(now.records),
        tuple(now.changes),
        tuple(now.runs),
        now.settings,
        snapshots=tuple(now.snapshots[day] for day in sorted(now.snapshots)),
    )
    staged = {
        "stg_fx_rates": [("business", "USD", day, rate, None) for day, rate in sorted(now.rates.items())],
        "stg_owners": [
            (source, f"id of {name}", name, None, now.teams.get(name), *(None,) * 5)
            for name in sorted(set(now.owners))
            for source in ("crm", "other_crm")
        ],
        "stg_holidays": [("business", day, "a holiday", None) for day in sorted(set(now.holidays))],
        "stg_leads": [
            (
                *lead,
                deal_id,
                None,
                "New",
                "open",
                None,
                None,
                None,
                "ann",
                None,
                False,
                landed_through,
                not place,
            )
            for lead, deals in sorted(now.leads.items())
            for place, deal_id in enumerate(dict.fromkeys(deals))
        ],
        "stg_lead_events": [
            (source, lead_id, at, stage, None, None, "open", landed_through)
            for source, lead_id, at, stage in sorted(set(now.lead_moves))
        ],
    }
    return Night(book, staged, news)
