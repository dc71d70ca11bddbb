"""What the ledger says, as changes per day: small frames that the rest of the forecast works on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import pandas as pd

from dagster_project.forecast.challenger import NO_CHALLENGE, challenge_hazards
from dagster_project.forecast.deal_snapshots import read_snapshots
from dagster_project.forecast.fiscal_quarters import FiscalQuarters
from dagster_project.forecast.hazard_queries import (
    EXPECTED_COLUMNS,
    expected_of_days,
    expected_of_weeks,
    has_hazards,
    scores_of_days,
    wins_of_weeks,
)
from dagster_project.forecast.ledger_queries import (
    BOOKING_CHANGES,
    CALENDAR,
    CYCLES,
    EVENT_DAYS,
    STAGES,
    open_changes_sql,
    won_from_open_sql,
    won_spans_sql,
)
from dagster_project.forecast.refused_fields import RefusedField, read_refused_fields
from dagster_project.forecast.segment_evidence import SegmentFacts, read_segments
from dagster_project.warehouse import Warehouse

NOTHING_EXPECTED = pd.DataFrame(columns=list(EXPECTED_COLUMNS))
NO_WINS = pd.DataFrame(columns=["as_of", "expected_wins", "observed_wins"])


class LedgerNotBuilt(RuntimeError):
    """The ledger has no tables or no run context yet."""


@dataclass(frozen=True)
class LedgerContext:
    """What the newest run says about the data: as-of day, settings, where they came from."""

    run_id: str
    run_kind: str
    as_of: date
    currency: str
    grace_business_days: int
    dates_won: str
    definition_version: str


@dataclass(frozen=True)
class Evidence:
    """Everything a forecast may look at: all but `segments` is about the whole business.

    booking_changes: visible_on, won_on, deals, priced_deals, thousandths: bookings that appear (+) or
        disappear (-) on visible_on, dated won_on.
    open_changes: changed_on, stage_key, close_quarter (nullable), deals, priced_deals, thousandths,
        trusted_deals (amount history known), reconstructed_deals.
    won_from_open: quarter_number, stage_key, changed_on, deals, thousandths: deals that a completed quarter
        booked, placed on the days and in the stages in which they had been open.
    cycles: won_on, deals, days: days from first known stage to won, imports left out.
    stages: stage_key, probability (0-1, nullable).
    event_days: source → days on which the ledger holds an event of it, ascending.
    by_hazards: as_of, quarter_number, open_expected, new_expected (amounts): what hazards expect at every
        week's end and on the days to forecast; empty before dbt has built their evidence.
    segments: the days to forecast by owner, team, region, pipeline and product; None without days.
    by_challenger: the same columns, by the challenger; empty where it is off or has too little to learn from.
    refused_features: what the challenger did not learn from, and why.
    refused_fields: fields of a source that nothing here looks at, because they tell the outcome.
    """

    context: LedgerContext
    quarters: FiscalQuarters
    booking_changes: pd.DataFrame
    open_changes: pd.DataFrame
    won_from_open: pd.DataFrame
    cycles: pd.DataFrame
    stages: pd.DataFrame
    event_days: Mapping[str, tuple[date, ...]]
    by_hazards: pd.DataFrame
    wins_of_weeks: pd.DataFrame
    deal_scores: pd.DataFrame
    segments: SegmentFacts | None = None
    by_challenger: pd.DataFrame = field(default_factory=NOTHING_EXPECTED.copy)
    refused_features: tuple[str, ...] = ()
    refused_fields: tuple[RefusedField, ...] = ()


def read_context(warehouse: Warehouse) -> LedgerContext:
    """The newest run's as-of day and settings, from `staging.stg_run_context`.

    Raises:
        LedgerNotBuilt: there is no such table, or it is empty.
    """
    if not warehouse.has_table("staging.stg_run_context"):
        raise LedgerNotBuilt(
            "there is no ledger to forecast from yet: run the nightly job first (`make run`)"
        )
    rows = warehouse.query(
        "select run_id, run_kind, as_of, currency, grace_business_days, dates_won, definition_version "
        "from staging.stg_run_context"
    )
    if rows.empty:
        raise LedgerNotBuilt("the ledger has no run context yet: run the nightly job (`make run`)")
    row = rows.iloc[0]
    return LedgerContext(
        run_id=str(row["run_id"]),
        run_kind=str(row["run_kind"]),
        as_of=row["as_of"].date(),
        currency=str(row["currency"]),
        grace_business_days=int(row["grace_business_days"]),
        dates_won=str(row["dates_won"]),
        definition_version=str(row["definition_version"]),
    )


def read_evidence(warehouse: Warehouse, days: Sequence[date] = (), with_challenger: bool = False) -> Evidence:
    """All evidence up to the newest run's as-of day, in one pass over the ledger; `days` are to be forecast.

    `with_challenger` needs scikit-learn. Models are made anew each time: none is kept that saw other data.

    Raises:
        LedgerNotBuilt: the ledger has not been built.
    """
    context = read_context(warehouse)
    quarters = FiscalQuarters.from_days(warehouse.query(CALENDAR), context.grace_business_days)
    is_scored = has_hazards(warehouse)
    refused = read_refused_fields(warehouse)
    won_spans = won_spans_sql(context.dates_won)
    by_hazards = _by_hazards(warehouse, days) if is_scored else NOTHING_EXPECTED
    challenge = NO_CHALLENGE
    if with_challenger and is_scored:
        challenge = challenge_hazards(read_snapshots(warehouse, days, refused), by_hazards, quarters)
    return Evidence(
        context=context,
        quarters=quarters,
        booking_changes=warehouse.query(won_spans + BOOKING_CHANGES),
        open_changes=warehouse.query(open_changes_sql(refused)),
        won_from_open=warehouse.query(won_spans + won_from_open_sql(quarters, context.as_of)),
        cycles=warehouse.query(CYCLES),
        stages=warehouse.query(STAGES),
        event_days={
            str(source): tuple(stamp.date() for stamp in rows["event_day"])
            for source, rows in warehouse.query(EVENT_DAYS).groupby("source_relation")
        },
        by_hazards=by_hazards,
        wins_of_weeks=wins_of_weeks(warehouse) if is_scored else NO_WINS,
        deal_scores=scores_of_days(warehouse, days, refused) if is_scored and days else pd.DataFrame(),
        segments=read_segments(warehouse, quarters, days, context.dates_won, is_scored, refused),
        by_challenger=challenge.expected,
        refused_features=challenge.refused,
        refused_fields=refused,
    )


def _by_hazards(warehouse: Warehouse, days: Sequence[date]) -> pd.DataFrame:
    weeks = expected_of_weeks(warehouse)
    others = sorted(set(days) - {stamp.date() for stamp in weeks["as_of"]})
    if not others:
        return weeks
    return pd.concat([weeks, expected_of_days(warehouse, others)], ignore_index=True)
