"""Deals written by hand, a pipeline per case, so that each case reads its own rows of the stage marts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from tests.ledger.book import Book, Change, Record, Run, Stage, stages_in
from tests.marts.marts_bench import MartSettings

AS_OF = date(2026, 5, 15)
END = datetime(2026, 5, 16)
EXTRACTED = datetime(2026, 5, 16, 2)
OPEN_STAGES = ("lead", "prospect", "opp", "quote", "nego")

# Freireich and others 1963, Blood 21: weeks of remission in acute leukemia, 42 children in 21 pairs; True
# where the remission ended. The standard example of survival textbooks (Cox and Oakes 1984, table 1.1).
SIX_MP = [(weeks, True) for weeks in (6, 6, 6, 7, 10, 13, 16, 22, 23)] + [
    (weeks, False) for weeks in (6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)
]
PLACEBO = [(weeks, True) for weeks in (1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23)]

# Stays of a source whose closings are only known from LATE_FROM on: (day entered, days stayed, has ended).
# The second one ended on the first day with closings; those that ended earlier never got into the export.
LATE_FROM = datetime(2025, 9, 1)
LATE = [
    (-40.25, 75.5, True),
    (-30.5, 30.75, True),
    (-20.0, 26.25, True),
    (-10.25, 16.5, True),
    (5.0, 12.25, True),
    (9.0, 7.5, True),
    (30.25, 33.0, True),
    (40.0, 3.25, True),
    (60.0, 18.5, True),
    (61.0, 196.0, False),
    (200.0, 57.0, False),
]


def moves(deal_id: str, pipeline: str, steps: Sequence[tuple[datetime, str]], **told: object) -> list[Change]:
    """A history row per step; what `told` says holds for all rows."""
    return [Change(deal_id, at, stage, pipeline=pipeline, **told) for at, stage in steps]  # type: ignore[arg-type]


def day(text: str) -> datetime:
    """Midnight (UTC, which is the business time zone here) of a date."""
    return datetime.fromisoformat(text)


def stays(pipeline: str, lasted: Sequence[tuple[float, bool]]) -> list[Change]:
    """Deals in stage `lead`: lost after so many days, or open for so many days at the end of as_of."""
    rows = []
    for number, (days, has_ended) in enumerate(lasted):
        entered = day("2026-01-02") if has_ended else END - timedelta(days=days)
        steps = [(entered, "lead")] + ([(entered + timedelta(days=days), "lost")] if has_ended else [])
        rows += moves(f"{pipeline}{number}", pipeline, steps)
    return rows


def leukemia() -> list[Change]:
    """Both arms of the textbook, weeks told as days."""
    return stays("six_mp", SIX_MP) + stays("placebo", PLACEBO)


def late_source() -> list[Change]:
    """A source without a change log that tells closings from LATE_FROM on, and entries from before."""
    rows = []
    for number, (entered_day, days, has_ended) in enumerate(LATE):
        entered = LATE_FROM + timedelta(days=entered_day)
        steps = [(entered, "lead")] + ([(entered + timedelta(days=days), "won")] if has_ended else [])
        rows += moves(f"late{number}", "late", steps, source="late", change_source="date_column")
    return rows


def contract_deals() -> list[Change]:
    """Deals of the metric contract: T06, T07, T10, T15, T19, T32, T33 and the segments."""
    t07 = [(day("2026-01-05") + timedelta(days=n), stage) for n, stage in enumerate(["opp", "quote"] * 2)]
    bulk = moves("bulk", "t19", [(day("2026-01-05"), "lead"), (day("2026-01-09"), "prospect")])
    drag = day("2026-02-03")
    return [
        *moves(
            "t06",
            "t06",
            [(day("2026-01-05"), "lead"), (day("2026-01-15"), "quote"), (day("2026-02-02"), "won")],
        ),
        *moves("t07", "t07", t07),
        *moves("t10", "t10", [(day("2026-01-05"), "lead"), (day("2026-01-09"), "prospect")]),
        *moves("t10", "t10b", [(day("2026-02-02"), "lead"), (day("2026-02-09"), "won")], from_pipeline="t10"),
        *moves(
            "t15",
            "t15",
            [
                (day("2026-02-01"), "lead"),
                (drag, "nego"),
                (drag + timedelta(seconds=36), "lead"),
                (day("2026-02-07"), "prospect"),
            ],
        ),
        bulk[0],
        replace(bulk[1], is_bulk=True),
        *moves("own", "t19", [(day("2026-01-05"), "lead"), (day("2026-01-08"), "prospect")]),
        *moves(
            "t32",
            "t32",
            [(day("2026-01-05"), "lead"), (day("2026-01-15"), "prospect"), (day("2026-02-02"), "lost")],
        ),
        *stays("t33", [(10, True), (20, True), (200, False)]),
    ]


def followed() -> list[Change]:
    """Prospects: one moved on after 20 days, one after 70; the third came 50 days ago and is there still."""
    early = day("2025-10-01")
    return [
        *moves("quick", "followed", [(early, "prospect"), (early + timedelta(days=20), "opp")]),
        *moves("slow", "followed", [(early, "prospect"), (early + timedelta(days=70), "opp")]),
        *moves("young", "followed", [(day("2026-03-26"), "prospect")]),
    ]


def owned() -> list[Change]:
    """Two deals in lead that Ann opened; one went on under Ann, Bob took over the other and lost it."""
    return [
        *moves("kept", "owned", [(day("2026-01-05"), "lead"), (day("2026-01-12"), "prospect")], owner="ann"),
        *moves("taken", "owned", [(day("2026-01-05"), "lead")], owner="ann"),
        *moves("taken", "owned", [(day("2026-01-20"), "lead"), (day("2026-02-02"), "lost")], owner="bob"),
    ]


def reordered() -> list[Change]:
    """Demo and quote change places on 1 February; up is up by the order of the day of the move."""
    return [
        *moves("up", "reordered", [(day("2026-01-05"), "quote"), (day("2026-02-10"), "demo")]),
        *moves("down", "reordered", [(day("2026-01-05"), "demo"), (day("2026-02-10"), "quote")]),
    ]


REORDERED_STAGES = (
    Stage("demo", 1, pipeline="reordered"),
    Stage("quote", 2, pipeline="reordered"),
    Stage("won", 3, "won", "reordered"),
    Stage("demo", 2, pipeline="reordered", valid_from=day("2026-02-01")),
    Stage("quote", 1, pipeline="reordered", valid_from=day("2026-02-01")),
)


def found_only() -> list[Record]:
    """An export without any date of a stage: nobody knows when its deals came to where they are."""
    return [
        Record(
            f"found{number}", stage="lead", pipeline="found", source="found", modified_at=day("2026-04-01")
        )
        for number in range(3)
    ]


def priced() -> tuple[list[Record], list[Change]]:
    """Deals for the daily pipeline: two currencies, a missing rate, amounts that come, change and go."""
    records = [
        Record("gone", day("2026-03-02"), "lead", "daily", amount=Decimal(70), deleted_at=day("2026-03-20")),
        Record("unlogged", day("2026-03-02"), "won", "unlogged", amount=Decimal(500), source="unlogged",
               closed_at=day("2026-04-10"), close_date=date(2026, 4, 10)),
    ]  # fmt: skip
    first = Change("euro", day("2026-03-02"), "lead", pipeline="daily", amount=Decimal(100), currency="EUR",
                   close_date=date(2026, 3, 31), probability=0.2)  # fmt: skip
    franc = Change("franc", day("2026-03-02"), "lead", pipeline="daily", amount=Decimal(1000), currency="CHF",
                   close_date=date(2026, 6, 15), probability=0.5)  # fmt: skip
    changes = [
        first,
        # seen twice on one day: only how the day ended counts
        replace(first, changed_at=datetime(2026, 3, 10, 9), amount=Decimal(999)),
        replace(first, changed_at=datetime(2026, 3, 10, 17), amount=Decimal(150)),
        replace(first, changed_at=day("2026-04-08"), amount=Decimal(150), close_date=date(2026, 5, 10)),
        franc,
        Change("yen", day("2026-03-02"), "quote", pipeline="daily", amount=Decimal(9000), currency="JPY"),
        Change("blank", day("2026-03-05"), "lead", pipeline="daily", close_date=date(2026, 3, 4)),
        Change("gone", day("2026-03-02"), "lead", pipeline="daily", amount=Decimal(70), currency="EUR"),
    ]
    return records, changes


FX_RATES = tuple(
    {"source": "business", "currency": "CHF", "rate_date": when, "rate": rate, "file": "by_hand.csv"}
    for when, rate in ((date(2026, 1, 1), "0.90"), (date(2026, 4, 1), "1.10"))
)


def cases_book() -> Book:
    """All cases in one book; a first deal long ago makes the history of the source `crm` whole since."""
    records, changes = priced()
    changes += [*moves("first", "first", [(day("2025-01-02"), "lead"), (day("2025-01-03"), "lost")])]
    changes += [*leukemia(), *late_source(), *contract_deals(), *followed(), *owned(), *reordered()]
    pipelines = ["first", "six_mp", "placebo", "t06", "t07", "t10", "t10b", "t15", "t19", "t32", "t33"]
    stages = [
        stage
        for pipeline in [*pipelines, "followed", "owned", "daily"]
        for stage in stages_in(pipeline, *OPEN_STAGES)
    ]
    for source in ("late", "found", "unlogged"):
        stages += [replace(stage, source=source) for stage in stages_in(source, *OPEN_STAGES)]
    return Book(
        tuple(stages) + REORDERED_STAGES,
        tuple(replace(record, extracted_at=EXTRACTED) for record in (*records, *found_only())),
        tuple(replace(change, extracted_at=EXTRACTED) for change in changes),
        runs=(Run(AS_OF, EXTRACTED),),
        settings=MartSettings(),
        facts=(("fx_rates", FX_RATES),),
    )
