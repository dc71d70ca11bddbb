"""The review of stored forecasts: what moved them, how live ones did, whether chances hold. No Dagster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from dagster_project.forecast.calibration import MOST_DEALS, calibration_origins, calibration_rows
from dagster_project.forecast.changes import change_rows, unbalanced
from dagster_project.forecast.compared_pairs import Pair, Stored, pairs_to_compare
from dagster_project.forecast.evidence import LedgerContext, read_context
from dagster_project.forecast.fiscal_quarters import FiscalQuarters
from dagster_project.forecast.hazard_queries import chances_of_days, has_hazards
from dagster_project.forecast.ledger_queries import CALENDAR
from dagster_project.forecast.live_accuracy import live_accuracy_rows
from dagster_project.forecast.review_queries import (
    booked_deals,
    deals_of,
    live_forecasts,
    moved_bookings,
    stored_forecasts,
    totals_of,
    touched_deals,
)
from dagster_project.forecast.review_tables import (
    CALIBRATION,
    CHANGES,
    CHANGES_BY_SEGMENT,
    LIVE_ACCURACY,
    ensure_review_tables,
)
from dagster_project.forecast.segment_changes import segment_changes
from dagster_project.forecast.tables import Table
from dagster_project.warehouse import Warehouse


@dataclass(frozen=True)
class Review:
    """What a run wrote: rows per table, the pairs compared, and where changes do not add up."""

    pairs: tuple[Pair, ...]
    rows: dict[str, int]
    unbalanced: tuple[str, ...]


def review_forecasts(warehouse: Warehouse, days: Sequence[date]) -> Review:
    """Compare the forecasts of `days` with those before them, and judge all that are old enough.

    Raises:
        LedgerNotBuilt: there is no ledger yet.
    """
    context = read_context(warehouse)
    # Opening the file costs 40 ms and a run opens it sixty times, unless it is held open meanwhile.
    with warehouse.connect():
        return _review(warehouse, context, days)


def _review(warehouse: Warehouse, context: LedgerContext, days: Sequence[date]) -> Review:
    ensure_review_tables(warehouse)
    pairs = pairs_to_compare(stored_forecasts(warehouse), days, _compared(warehouse))
    rows = _write_changes(warehouse, pairs, context)
    for table, frame in (
        (LIVE_ACCURACY, _live(warehouse, context)),
        (CALIBRATION, _calibrated(warehouse, context)),
    ):
        # Whatever was judged before is judged again: the ledger may have been corrected since.
        warehouse.execute(f"delete from {table.full_name}")
        rows[table.name] = warehouse.append(table.full_name, frame, table.columns)
    return Review(tuple(pairs), rows, tuple(_unbalanced(warehouse, pairs)))


def _compared(warehouse: Warehouse) -> list[Pair]:
    stored = warehouse.query(f"select distinct as_of, kind, prior_as_of, prior_kind from {CHANGES.full_name}")
    return [
        Pair(Stored(row.as_of.date(), row.kind), Stored(row.prior_as_of.date(), row.prior_kind))
        for row in stored.itertuples()
    ]


def _write_changes(warehouse: Warehouse, pairs: Sequence[Pair], context: LedgerContext) -> dict[str, int]:
    written = {CHANGES.name: 0, CHANGES_BY_SEGMENT.name: 0}
    if not pairs:
        return written
    totals = totals_of(warehouse, [one for pair in pairs for one in (pair.now, pair.prior)])
    days = [(pair.now.as_of, pair.prior.as_of) for pair in pairs]
    touched, bookings = touched_deals(warehouse, days), moved_bookings(warehouse, days, context.dates_won)
    deals: dict[Stored, pd.DataFrame] = {}
    for pair in sorted(pairs):
        # A prior forecast is the next one's: only the last few are kept.
        deals = {
            one: deals[one] if one in deals else deals_of(warehouse, one) for one in (pair.prior, pair.now)
        }
        rows = change_rows(
            pair, totals, deals[pair.prior], deals[pair.now], _of(touched, pair), _of(bookings, pair)
        )
        written[CHANGES.name] += _replace(warehouse, CHANGES, rows, pair, context)
        rows = segment_changes(warehouse, pair)
        written[CHANGES_BY_SEGMENT.name] += _replace(warehouse, CHANGES_BY_SEGMENT, rows, pair, context)
    return written


def _replace(
    warehouse: Warehouse, table: Table, rows: pd.DataFrame, pair: Pair, context: LedgerContext
) -> int:
    rows = rows.assign(definition_version=context.definition_version, run_id=context.run_id)
    place = {"as_of": pair.now.as_of, "kind": pair.now.kind}
    return warehouse.replace_rows(table.full_name, rows[list(table.columns)], place, table.columns)


def _of(frame: pd.DataFrame, pair: Pair) -> pd.DataFrame:
    return frame[
        (frame["as_of"] == pd.Timestamp(pair.now.as_of))
        & (frame["prior_as_of"] == pd.Timestamp(pair.prior.as_of))
    ]


def _unbalanced(warehouse: Warehouse, pairs: Sequence[Pair]) -> list[str]:
    """The stored changes, summed by the engine, against the stored forecasts."""
    if not pairs:
        return []
    told = warehouse.query(
        f"select as_of, kind, period, part, cast(sum(delta) * 1000 as bigint) as delta "
        f"from {CHANGES.full_name} group by as_of, kind, period, part"
    )
    return list(
        unbalanced(
            told, totals_of(warehouse, [one for pair in pairs for one in (pair.now, pair.prior)]), pairs
        )
    )


def _live(warehouse: Warehouse, context: LedgerContext) -> pd.DataFrame:
    return _frame(live_accuracy_rows(live_forecasts(warehouse), context.as_of), LIVE_ACCURACY)


def _calibrated(warehouse: Warehouse, context: LedgerContext) -> pd.DataFrame:
    if not has_hazards(warehouse):
        return _frame((), CALIBRATION)
    quarters = FiscalQuarters.from_days(warehouse.query(CALENDAR), context.grace_business_days)
    origins = calibration_origins(quarters, context.as_of)
    if not origins:
        return _frame((), CALIBRATION)
    positions = sorted({quarters.position_of(day) for day in origins})
    booked = booked_deals(warehouse, [quarters[position] for position in positions], context.dates_won)
    scores = chances_of_days(warehouse, origins, MOST_DEALS)
    return _frame(calibration_rows(scores, booked, quarters, context.as_of, context.currency), CALIBRATION)


def _frame(rows: object, table: Table) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(table.columns))
