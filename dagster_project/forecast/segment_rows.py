"""Rows of `forecast_bookings` for segments: each day's forecast of the whole, divided, with own ranges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

import numpy as np
import pandas as pd

from dagster_project.forecast.backtest import Origin, Served, TrackRecord
from dagster_project.forecast.baselines import Remaining
from dagster_project.forecast.daily_book import DailyBook
from dagster_project.forecast.fiscal_quarters import FiscalQuarters
from dagster_project.forecast.gate import NO_METHOD
from dagster_project.forecast.ledger_queries import THOUSANDTHS
from dagster_project.forecast.segment_evidence import HISTORY_QUARTERS, SegmentFacts
from dagster_project.forecast.segment_labels import PRODUCT, REGION, SEGMENT_TYPES
from dagster_project.forecast.segment_queries import QUARTERS_AHEAD
from dagster_project.forecast.segment_ranges import Forecasted, Scores, held_of, segment_ranges
from dagster_project.forecast.segments import SegmentBook, Whole, money_or

_CODE = {segment_type: code for code, segment_type in enumerate(SEGMENT_TYPES)}
_NO_HISTORY = (PRODUCT, REGION)
_SHARED = (
    "as_of",
    "period",
    "period_start",
    "period_end",
    "quarter_offset",
    "currency",
    "served_method",
    "gate_status",
    "fallback_reason",
    "measure_form",
    "asof_quality",
    "data_fresh_as_of",
    "definition_version",
    "run_id",
)


def segment_bookings(
    facts: SegmentFacts,
    book: DailyBook,
    record: TrackRecord,
    served: Sequence[Served],
    totals: pd.DataFrame,
) -> pd.DataFrame:
    """Rows of `forecast_bookings` without the kind for the segments of `served`, the forecasts of the whole.

    `totals`: their rows. A day's rows depend on nothing after that day. Segments with nothing won, open or
    expected in a quarter have no row.
    """
    divided = SegmentBook(facts)
    asked = _by_day(served)
    past = _completed(record, set(facts.origins))
    rows = _forecast_rows(divided, book, _by_day([*served, *(forecast for forecast, _ in past.values())]))
    if rows.empty:
        return rows
    scores = _scores(rows, past, divided, book.quarters)
    rows = rows[rows["day"].isin([day.toordinal() for day in asked])]
    return _as_table(pd.concat(list(_with_ranges(rows, scores))), served, totals, book.through)


def completed_segments(facts: SegmentFacts, book: DailyBook, record: TrackRecord) -> Scores:
    """What segments would have been forecast at the completed origins, and what then came."""
    divided = SegmentBook(facts)
    past = _completed(record, set(facts.origins))
    rows = _forecast_rows(divided, book, _by_day(forecast for forecast, _ in past.values()))
    return _scores(rows, past, divided, book.quarters)


def _completed(record: TrackRecord, origins: set[date]) -> dict[tuple[int, int], tuple[Served, Origin]]:
    """The forecasts served at the origins whose outcome is final, by day and quarter offset."""
    return {
        (forecast.seen.day.toordinal(), forecast.seen.quarter_offset): (forecast, origin)
        for horizon, forecasts in record.served.items()
        for forecast, origin in zip(forecasts, record.tracks[horizon].origins, strict=True)
        if forecast.seen.day in origins
    }


def _by_day(served: Iterable[Served]) -> Mapping[date, list[Served]]:
    """Each day's forecasts, one per quarter."""
    days: dict[date, dict[int, Served]] = {}
    for forecast in served:
        days.setdefault(forecast.seen.day, {})[forecast.seen.quarter_offset] = forecast
    return {day: list(forecasts.values()) for day, forecasts in days.items()}


def _whole(forecast: Served, book: DailyBook) -> Whole:
    seen = forecast.seen
    answer = seen.remaining.get(forecast.choice.method, Remaining(0.0, 0.0))
    number = book.quarters[seen.quarter_position].number
    return Whole(
        seen.quarter_offset,
        round(answer.from_open),
        round(answer.from_new),
        (seen.day, number) in book.by_hazards,
    )


def _forecast_rows(
    divided: SegmentBook, book: DailyBook, days: Mapping[date, Sequence[Served]]
) -> pd.DataFrame:
    """One row per day, quarter and segment: parts, what is expected, and what bookings are like on the
    day."""
    found: dict[str, list[np.ndarray]] = {}
    for day, forecasts in sorted(days.items()):
        home = book.quarters.position_of(day)
        number = book.quarters[home].number
        money = money_or(divided.money_on(day, number), forecasts[0].seen.typical_booking)
        for parts in divided.divide(day, number, [_whole(forecast, book) for forecast in forecasts]):
            same = {
                "day": day.toordinal(),
                "home": home,
                "type": _CODE[parts.segment_type],
                "offset": parts.quarter_offset,
                "mean": money.mean,
                "lumpiness": money.lumpiness,
            }
            for name in _PARTS:
                found.setdefault(name, []).append(getattr(parts, name))
            for name, value in same.items():
                found.setdefault(name, []).append(np.full(len(parts.segments), value))
    rows = pd.DataFrame({name: np.concatenate(values) for name, values in found.items()})
    if rows.empty:
        return rows
    rows["expected"] = rows["from_open"] + rows["from_new"]
    rows["kind"] = rows["type"] * QUARTERS_AHEAD + rows["offset"]
    rows["number"] = pd.factorize(rows["segments"], sort=True)[0]
    rows["number"] += rows["kind"] * (rows["number"].max() + 1)
    return rows


_PARTS = (
    "segments",
    "already_won",
    "from_open",
    "from_new",
    "open_deals",
    "unpriced",
    "wins",
    "missing",
)


def _forecasted(rows: pd.DataFrame) -> Forecasted:
    return Forecasted(
        kind=rows["kind"].to_numpy(),
        segment=rows["number"].to_numpy(),
        wins=rows["wins"].to_numpy(),
        expected=rows["expected"].to_numpy(dtype=float),
        mean=rows["mean"].to_numpy(),
        lumpiness=rows["lumpiness"].to_numpy(),
    )


def _scores(
    rows: pd.DataFrame,
    past: Mapping[tuple[int, int], tuple[Served, Origin]],
    divided: SegmentBook,
    quarters: FiscalQuarters,
) -> Scores:
    """The forecasts that segments would have had at completed origins, with what then came."""
    outcomes = []
    for (day, offset, kind), places in rows.groupby(["day", "offset", "type"], sort=False).indices.items():
        if (day, offset) in past:
            _, origin = past[(day, offset)]
            position = origin.outlook.quarter_position
            booked = divided.booked_in(origin.known_on, quarters[position].number, SEGMENT_TYPES[kind])
            actual = [booked.get(segment, 0) for segment in rows["segments"].iloc[places]]
            outcomes.append((places, actual, position, origin.known_on.toordinal()))
    places = np.concatenate([at for at, *_ in outcomes]) if outcomes else np.empty(0, dtype=np.int64)
    kept = rows.iloc[places]

    def same(value: int) -> np.ndarray:
        values = [np.full(len(outcome[0]), outcome[value]) for outcome in outcomes]
        return np.concatenate(values) if values else np.empty(0, dtype=np.int64)

    actual = np.concatenate([then for _, then, *_ in outcomes]) if outcomes else np.empty(0)
    return Scores(
        _forecasted(kept),
        quarter=same(2),
        home=kept["home"].to_numpy(),
        origin=kept["day"].to_numpy(),
        known=same(3),
        actual=actual - kept["already_won"].to_numpy(),
    ).in_order()


def _with_ranges(rows: pd.DataFrame, scores: Scores) -> Iterator[pd.DataFrame]:
    """Rows with p10, p50, p90 (thousandths), status, origins, and how often such ranges have held."""
    for home, of_quarter in rows.groupby("home", sort=True):
        window = scores.take(np.flatnonzero(scores.home >= int(home) - HISTORY_QUARTERS))
        held = held_of(window)
        for day, of_day in of_quarter.groupby("day", sort=True):
            forecasts = _forecasted(of_day)
            made = segment_ranges(forecasts, window.known_by(int(day)))
            coverage, covered = held.by(int(day), forecasts.size)
            yield of_day.assign(
                p10=of_day["already_won"] + made.p10,
                p50=of_day["already_won"] + made.p50,
                p90=of_day["already_won"] + made.p90,
                interval_status=made.status,
                evidence_n_origins=made.origins,
                interval_coverage_realised=coverage,
                interval_coverage_origins=covered,
            )


def _as_table(
    rows: pd.DataFrame, served: Sequence[Served], totals: pd.DataFrame, through: date
) -> pd.DataFrame:
    keys = pd.DataFrame(
        [
            {
                "day": forecast.seen.day.toordinal(),
                "offset": forecast.seen.quarter_offset,
                "as_of": pd.Timestamp(forecast.seen.day),
                "quarter_offset": forecast.seen.quarter_offset,
                "none": forecast.choice.method == NO_METHOD,
            }
            for forecast in served
        ]
    )
    of_whole = totals[[*_SHARED, *_WHOLE]].rename(columns={name: f"whole_{name}" for name in _WHOLE})
    table = rows.merge(keys, on=["day", "offset"]).merge(of_whole, on=["as_of", "quarter_offset"])
    is_known = table[["already_won", "expected", "open_deals", "missing"]].abs().sum(axis=1) > 0
    table = table[is_known].reset_index(drop=True)
    parts = {
        "already_won": "already_won",
        "open_expected": "from_open",
        "not_yet_created_expected": "from_new",
        "p10": "p10",
        "p50": "p50",
        "p90": "p90",
    }
    money = {name: table[column] / THOUSANDTHS for name, column in parts.items()}
    made = pd.DataFrame(
        {
            **{name: table[name] for name in _SHARED},
            "segment_type": table["type"].map(dict(enumerate(SEGMENT_TYPES))),
            "segment": table["segments"],
            **money,
            "mean": (table["already_won"] + table["expected"]) / THOUSANDTHS,
            "evidence_n_origins": table["evidence_n_origins"],
            "interval_status": table["interval_status"],
            "interval_coverage_realised": table["interval_coverage_realised"],
            "interval_coverage_origins": table["interval_coverage_origins"],
            "open_deals": table["open_deals"],
            "open_deals_without_amount": table["unpriced"],
            "won_deals_without_amount": table["missing"],
        }
    )
    for name in ("p10", "p50", "p90"):
        made.loc[table["none"], name] = made["already_won"]
    # A segment that is all there is has the range, and the record, of the whole.
    is_whole = np.logical_and.reduce([made[name] == table[f"whole_{name}"] for name in _PARTS_OF_WHOLE])
    for name in _WHOLE:
        made.loc[is_whole, name] = table[f"whole_{name}"]
    is_past = made["as_of"] < pd.Timestamp(through)
    made.loc[is_past & made["segment_type"].isin(_NO_HISTORY), "asof_quality"] = "current_values"
    return made.sort_values(["as_of", "quarter_offset", "segment_type", "segment"], ignore_index=True)


_PARTS_OF_WHOLE = ("already_won", "open_expected", "not_yet_created_expected")
_WHOLE = (
    *_PARTS_OF_WHOLE,
    "p10",
    "p50",
    "p90",
    "interval_status",
    "evidence_n_origins",
    "interval_coverage_realised",
    "interval_coverage_origins",
)
