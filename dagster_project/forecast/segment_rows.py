"""Rows of `forecast_bookings` for segments: the whole's forecast of each day, divided, with ranges of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

import numpy as np
import pandas as pd

from dagster_project.forecast.backtest import Served, TrackRecord
from dagster_project.forecast.baselines import Remaining
from dagster_project.forecast.daily_book import DailyBook
from dagster_project.forecast.fiscal_quarters import FiscalQuarters
from dagster_project.forecast.gate import NO_METHOD
from dagster_project.forecast.ledger_queries import THOUSANDTHS
from dagster_project.forecast.segment_evidence import HISTORY_QUARTERS, SegmentFacts
from dagster_project.forecast.segment_queries import PRODUCT, REGION, SEGMENT_TYPES
from dagster_project.forecast.segment_ranges import Scores, held_of, money_or, ranges, shape_of
from dagster_project.forecast.segments import Parts, SegmentBook, Whole

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
    rows = _forecast_rows(divided, book, _by_day(served))
    if rows.empty:
        return rows
    scores = _scores(divided, book, record, set(facts.origins))
    rows = pd.concat(list(_with_ranges(rows, scores)))
    return _as_table(rows, served, totals, book.through)


def _by_day(served: Iterable[Served]) -> Mapping[date, list[Served]]:
    days: dict[date, list[Served]] = {}
    for forecast in served:
        days.setdefault(forecast.seen.day, []).append(forecast)
    return days


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
    """One row per day, quarter and segment: parts, what is expected, and what bookings are like on the day."""
    found: list[pd.DataFrame] = []
    for day, forecasts in sorted(days.items()):
        home = book.quarters.position_of(day)
        number = book.quarters[home].number
        money = money_or(divided.money_on(day, number), forecasts[0].seen.typical_booking)
        for parts in divided.divide(day, number, [_whole(forecast, book) for forecast in forecasts]):
            found.append(
                _parts_frame(parts).assign(
                    day=day.toordinal(), home=home, mean=money.mean, lumpiness=money.lumpiness
                )
            )
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def _parts_frame(parts: Parts) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "type": _CODE[parts.segment_type],
            "offset": parts.quarter_offset,
            "segment": parts.segments.astype(str),
            "already_won": parts.already_won,
            "from_open": parts.from_open,
            "from_new": parts.from_new,
            "expected": parts.from_open + parts.from_new,
            "open_deals": parts.open_deals,
            "unpriced": parts.unpriced,
            "wins": parts.wins,
            "missing": parts.missing,
        }
    )


def _scores(divided: SegmentBook, book: DailyBook, record: TrackRecord, origins: set[date]) -> Scores:
    """The forecasts that segments would have had at the origins, with what then came."""
    days: dict[date, list[Served]] = {}
    known: dict[tuple[int, int], tuple[int, int]] = {}
    for horizon, forecasts in record.served.items():
        for forecast, origin in zip(forecasts, record.tracks[horizon].origins, strict=True):
            seen = forecast.seen
            if seen.day in origins:
                days.setdefault(seen.day, []).append(forecast)
                known[(seen.day.toordinal(), seen.quarter_offset)] = (
                    origin.known_on.toordinal(),
                    seen.quarter_position,
                )
    rows = _forecast_rows(divided, book, days)
    if rows.empty:
        return Scores.of(pd.DataFrame(columns=list(_SCORE_COLUMNS), dtype=float))
    when = [known[key] for key in zip(rows["day"], rows["offset"], strict=True)]
    rows[["known", "quarter"]] = np.array(when, dtype=np.int64)
    rows["actual"] = _outcomes(rows, divided, book.quarters) - rows["already_won"]
    return Scores.of(rows.rename(columns={"day": "origin"})[list(_SCORE_COLUMNS)])


_SCORE_COLUMNS = (
    "type",
    "offset",
    "segment",
    "wins",
    "quarter",
    "home",
    "origin",
    "known",
    "expected",
    "mean",
    "lumpiness",
    "actual",
)


def _outcomes(rows: pd.DataFrame, divided: SegmentBook, quarters: FiscalQuarters) -> np.ndarray:
    """What each row's segment had booked in the row's quarter when that was final."""
    outcomes = np.zeros(len(rows), dtype=np.int64)
    for (kind, quarter, known), places in rows.groupby(
        ["type", "quarter", "known"], sort=False
    ).indices.items():
        booked = divided.booked_in(date.fromordinal(known), quarters[quarter].number, SEGMENT_TYPES[kind])
        outcomes[places] = [booked.get(segment, 0) for segment in rows["segment"].iloc[places]]
    return outcomes


def _with_ranges(rows: pd.DataFrame, scores: Scores) -> Iterator[pd.DataFrame]:
    """Rows with p10, p50, p90 (thousandths), status, origins, coverage and covered."""
    for home, of_quarter in rows.groupby("home", sort=True):
        window = scores.within(int(home) - HISTORY_QUARTERS)
        held = held_of(window)
        for day, of_day in of_quarter.groupby("day", sort=True):
            made = ranges(of_day, shape_of(window.known_by(date.fromordinal(int(day)))))
            done = held[held["known"] <= day].groupby(["type", "offset", "size"])["held"]
            record = pd.DataFrame({"coverage": done.mean(), "covered": done.size()}).astype(float)
            kinds = of_day[["type", "offset"]].assign(size=made["size"])
            kept = kinds.merge(record.reset_index(), on=["type", "offset", "size"], how="left")
            yield of_day.assign(
                **{name: of_day["already_won"] + made[name] for name in ("p10", "p50", "p90")},
                interval_status=made["status"],
                evidence_n_origins=made["origins"],
                interval_coverage_realised=kept["coverage"].to_numpy(),
                interval_coverage_origins=kept["covered"].fillna(0).astype(int).to_numpy(),
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
            "segment": table["segment"],
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
