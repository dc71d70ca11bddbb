"""The forecast of a set of days: evidence in, the rows of all forecast tables out. No clock, no Dagster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pandas as pd

from dagster_project.forecast.accuracy import accuracy_rows, backtest_rows, money
from dagster_project.forecast.backtest import Served, TrackRecord, build_track_record, maturity_on
from dagster_project.forecast.baselines import Remaining
from dagster_project.forecast.daily_book import DailyBook, build_daily_book
from dagster_project.forecast.deal_scores import deal_rows
from dagster_project.forecast.evidence import Evidence
from dagster_project.forecast.gate import JUDGED
from dagster_project.forecast.refused_fields import AMOUNT_FIELD
from dagster_project.forecast.segment_rows import segment_bookings
from dagster_project.forecast.situations import HORIZONS, outlook
from dagster_project.forecast.tables import ACCURACY, BACKTEST, BOOKINGS, DEALS, GATE, Table


@dataclass(frozen=True)
class Forecasts:
    """Rows of the forecast tables; `bookings`, `gate` and `deals` lack the kind, which the writer knows.

    notes: sentences for the log of the run.
    """

    bookings: pd.DataFrame
    gate: pd.DataFrame
    backtest: pd.DataFrame
    accuracy: pd.DataFrame
    deals: pd.DataFrame
    notes: tuple[str, ...] = ()


def make_forecasts(evidence: Evidence, days: Sequence[date], week_starts_on: int) -> Forecasts:
    """Forecast each of `days` for its fiscal quarter and the next four, in total and by segment.

    A day's rows depend on ledger rows up to that day alone. The backtest covers all origins whose outcome is
    final on the newest run's as-of day.

    Raises:
        CalendarTooShort: a day lies outside the ledger's calendar.
    """
    book = build_daily_book(evidence, evidence.context.as_of)
    record = build_track_record(book, week_starts_on)
    forecasts: list[Served] = []
    bookings: list[dict[str, Any]] = []
    gate: list[dict[str, Any]] = []
    for day in sorted(set(days)):
        maturity = maturity_on(book, day)
        for quarter_offset in range(HORIZONS):
            served = record.serve(outlook(book, day, quarter_offset), maturity)
            forecasts.append(served)
            bookings.append(_booking_row(evidence, book, record, served))
            gate.append(_gate_row(book, served))
    backtest = _frame(list(backtest_rows(record, book.quarters)), BACKTEST)
    totals = _frame(bookings, BOOKINGS, without=("kind",))
    return Forecasts(
        bookings=_with_segments(totals, evidence, book, record, forecasts),
        gate=_frame(gate, GATE, without=("kind",)),
        backtest=backtest,
        accuracy=_frame(list(accuracy_rows(backtest, evidence.context.as_of)), ACCURACY),
        deals=_deals(evidence),
        notes=(
            *(field.reason for field in evidence.refused_fields),
            *(f"the challenger does without {feature}" for feature in evidence.refused_features),
        ),
    )


def _with_segments(
    totals: pd.DataFrame,
    evidence: Evidence,
    book: DailyBook,
    record: TrackRecord,
    forecasts: Sequence[Served],
) -> pd.DataFrame:
    if evidence.segments is None or totals.empty:
        return totals
    rows = segment_bookings(evidence.segments, book, record, forecasts, totals)
    return pd.concat([totals, rows[totals.columns].astype(totals.dtypes)], ignore_index=True)


def _deals(evidence: Evidence) -> pd.DataFrame:
    if evidence.deal_scores.empty:
        return _frame([], DEALS, without=("kind",))
    return deal_rows(evidence.deal_scores, evidence.context)


def _in_words(fallback: str | None, evidence: Evidence) -> str | None:
    """Why no method could be chosen by its errors, and why open deals count without their amounts."""
    refused = [one.reason for one in evidence.refused_fields if one.field == AMOUNT_FIELD]
    return "; ".join([fallback, *refused] if fallback else refused) or None


def _booking_row(evidence: Evidence, book: DailyBook, record: TrackRecord, served: Served) -> dict[str, Any]:
    seen = served.seen
    number = book.number_of(seen.day)
    quarter = book.quarters[seen.quarter_position]
    answer = seen.remaining.get(served.choice.method, Remaining(0.0, 0.0))
    coverage, covered = record.coverage_by(seen.day, seen.horizon)
    open_part, new_part = money(answer.from_open), money(answer.from_new)
    return {
        "as_of": seen.day,
        "period": quarter.label,
        "period_start": quarter.starts_on,
        "period_end": quarter.ends_on,
        "quarter_offset": seen.quarter_offset,
        "segment_type": "total",
        "segment": "all",
        "already_won": money(seen.already_won),
        "open_expected": open_part,
        "not_yet_created_expected": new_part,
        "mean": round(money(seen.already_won) + open_part + new_part, 3),
        "p10": money(served.range.p10),
        "p50": money(served.range.p50),
        "p90": money(served.range.p90),
        "currency": evidence.context.currency,
        "served_method": served.choice.method,
        "gate_status": served.choice.status,
        "fallback_reason": _in_words(served.choice.fallback_reason, evidence),
        "measure_form": seen.measure_form,
        "evidence_n_origins": served.evidence_origins,
        "interval_status": served.range.status,
        "interval_coverage_realised": coverage,
        "interval_coverage_origins": covered,
        "open_deals": int(book.open_deals[number]),
        "open_deals_without_amount": int(book.open_deals[number] - book.open_priced_deals[number]),
        "won_deals_without_amount": seen.already_won_without_amount,
        "asof_quality": book.asof_quality(number),
        "data_fresh_as_of": book.fresh_on(number),
        "definition_version": evidence.context.definition_version,
        "run_id": evidence.context.run_id,
    }


def _gate_row(book: DailyBook, served: Served) -> dict[str, Any]:
    seen, choice = served.seen, served.choice
    return {
        "as_of": seen.day,
        "period": book.quarters[seen.quarter_position].label,
        "quarter_offset": seen.quarter_offset,
        "horizon": seen.horizon,
        "segment_type": "total",
        "segment": "all",
        "method": choice.method,
        "gate_status": choice.status,
        "is_fallback": choice.status not in JUDGED,
        "reason": choice.reason,
        "compared_origins": choice.origins,
        "wape": choice.wape,
    }


_FRAME_TYPES = {
    "date": "datetime64[us]",
    "string": "str",
    "int": "int64",
    "bigint": "int64",
    "boolean": "bool",
    "double": "float64",
}


def _frame(rows: list[dict[str, Any]], table: Table, without: Sequence[str] = ()) -> pd.DataFrame:
    """Rows as a frame with the table's columns and types, also when there are none; money as double."""
    names = [name for name in table.columns if name not in without]
    types = {name: _FRAME_TYPES.get(table.columns[name], "float64") for name in names}
    return pd.DataFrame(rows, columns=names).astype(types)
