"""The forecast tables: columns, keys, and how rows enter. A live row is written once and never replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from dagster_project.warehouse import Warehouse

LIVE = "live"
BACKFILL = "backfill"

_MONEY = "decimal(38,3)"


@dataclass(frozen=True, eq=False)
class Table:
    """A table of schema `forecast`: its name, column types in order, and key. Words: dbt/models/forecast."""

    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """Schema and name."""
        return f"forecast.{self.name}"


_SEGMENT = {"segment_type": "string", "segment": "string"}
_PERIOD = {
    "period": "string",
    "period_start": "date",
    "period_end": "date",
    "quarter_offset": "int",
}
_PARTS = {
    "already_won": _MONEY,
    "open_expected": _MONEY,
    "not_yet_created_expected": _MONEY,
}
_RANGE = {"p10": _MONEY, "p50": _MONEY, "p90": _MONEY}

BOOKINGS = Table(
    "forecast_bookings",
    {
        "as_of": "date",
        "kind": "string",
        **_PERIOD,
        **_SEGMENT,
        **_PARTS,
        "mean": _MONEY,
        **_RANGE,
        "currency": "string",
        "served_method": "string",
        "gate_status": "string",
        "fallback_reason": "string",
        "measure_form": "string",
        "evidence_n_origins": "int",
        "interval_status": "string",
        "interval_coverage_realised": "double",
        "interval_coverage_origins": "int",
        "open_deals": "bigint",
        "open_deals_without_amount": "bigint",
        "won_deals_without_amount": "bigint",
        "asof_quality": "string",
        "data_fresh_as_of": "date",
        "definition_version": "string",
        "run_id": "string",
    },
    key=("as_of", "kind", "period", "segment_type", "segment"),
)

GATE = Table(
    "forecast_gate",
    {
        "as_of": "date",
        "kind": "string",
        "period": "string",
        "quarter_offset": "int",
        "horizon": "string",
        **_SEGMENT,
        "method": "string",
        "gate_status": "string",
        "is_fallback": "boolean",
        "reason": "string",
        "compared_origins": "int",
        "wape": "double",
    },
    key=("as_of", "kind", "period", "segment_type", "segment"),
)

BACKTEST = Table(
    "forecast_backtest",
    {
        "origin": "date",
        **_PERIOD,
        "horizon": "string",
        **_SEGMENT,
        "method": "string",
        "is_served": "boolean",
        "is_best_baseline": "boolean",
        "gate_status": "string",
        "measure_form": "string",
        **_PARTS,
        "forecast": _MONEY,
        "actual": _MONEY,
        **_RANGE,
        "interval_status": "string",
        "evidence_n_origins": "int",
        "known_at": "date",
    },
    key=("origin", "period", "segment_type", "segment", "method"),
)

ACCURACY = Table(
    "forecast_accuracy",
    {
        "as_of": "date",
        **_SEGMENT,
        "horizon": "string",
        "method": "string",
        "origins": "int",
        "quarters": "int",
        "first_origin": "date",
        "last_origin": "date",
        "forecast_sum": _MONEY,
        "actual_sum": _MONEY,
        "absolute_error_sum": _MONEY,
        "wape": "double",
        "bias": "double",
        "pinball": "double",
        "interval_numerator": "int",
        "interval_denominator": "int",
        "interval_coverage": "double",
        "ratio_to_best_baseline": "double",
    },
    key=("segment_type", "segment", "horizon", "method"),
)

DEALS = Table(
    "forecast_deals",
    {
        "as_of": "date",
        "kind": "string",
        "deal_key": "string",
        "source_relation": "string",
        "deal_id": "string",
        "stage_key": "string",
        "stage": "string",
        "weeks_in_stage": "int",
        "amount_tier": "string",
        "open_amount": "decimal(20,3)",
        "amount_if_won": "decimal(20,3)",
        "expected_this_quarter": "decimal(20,3)",
        "expected_next_quarter": "decimal(20,3)",
        "expected_ever": "decimal(20,3)",
        "p_win_this_quarter": "double",
        "p_win_by_next_quarter": "double",
        "p_win_ever": "double",
        "p_overall": "double",
        "factor_stage": "double",
        "factor_time": "double",
        "factor_size": "double",
        "factor_calendar": "double",
        "deals_overall": "bigint",
        "deals_stage": "bigint",
        "deals_time": "bigint",
        "n_similar_deals": "bigint",
        "wins_calendar": "bigint",
        "reason": "string",
        "close_date": "date",
        "p_slip": "double",
        "p_slip_reason": "string",
        "evidence_on": "date",
        "currency": "string",
        "definition_version": "string",
        "run_id": "string",
    },
    key=("as_of", "kind", "deal_key"),
)

TABLES = (BOOKINGS, GATE, BACKTEST, ACCURACY, DEALS)
LATEST = "forecast.forecast_bookings_latest"
PUBLISHED_NAMES = (*(table.full_name for table in TABLES), LATEST)
"""What readers get, as schema.name."""

LATEST_VIEW = """
create or replace view forecast.forecast_bookings_latest as
with newest as (
  select max(as_of) as as_of from forecast.forecast_bookings
),

found as (
  select max(case when bookings.kind = 'live' then 1 else 0 end) as has_live
  from forecast.forecast_bookings as bookings
  inner join newest on bookings.as_of = newest.as_of
)

select bookings.*
from forecast.forecast_bookings as bookings
inner join newest on bookings.as_of = newest.as_of
cross join found
where bookings.kind = case when found.has_live = 1 then 'live' else 'backfill' end
"""


def ensure_tables(warehouse: Warehouse) -> None:
    """Make the tables and the view of the newest forecast unless they are there."""
    for table in TABLES:
        warehouse.create_table(table.full_name, table.columns)
    warehouse.execute(LATEST_VIEW)


def live_days(warehouse: Warehouse) -> frozenset[date]:
    """Days that have a live forecast."""
    if not warehouse.has_table(BOOKINGS.full_name):
        return frozenset()
    rows = warehouse.query(f"select distinct as_of from {BOOKINGS.full_name} where kind = '{LIVE}'")
    return frozenset(stamp.date() for stamp in rows["as_of"])


@dataclass(frozen=True)
class Plan:
    """What a run writes: one live day at most, backfill days, and the day whose live row stands already."""

    live: date | None
    backfill: tuple[date, ...]
    kept_live: date | None
    beyond_data: tuple[date, ...]

    @property
    def days(self) -> tuple[date, ...]:
        """Days to forecast, ascending."""
        return tuple(sorted({*self.backfill, *([self.live] if self.live else [])}))


class DayNotForecastable(ValueError):
    """None of the requested days has ended within the data."""


def plan_days(
    requested: Sequence[date], data_end: date, is_nightly: bool, already_live: frozenset[date]
) -> Plan:
    """Decide what each requested day becomes.

    The last day of the data is live in the nightly run that built the ledger for it, once; every other day is
    backfill. Days after `data_end` are left out.

    Raises:
        DayNotForecastable: all requested days lie after `data_end`.
    """
    within = sorted({day for day in requested if day <= data_end})
    beyond = tuple(sorted({day for day in requested if day > data_end}))
    if not within:
        raise DayNotForecastable(
            f"no forecast for {beyond[0] if beyond else 'no day'}: the data end at {data_end}. "
            f"Choose a day up to {data_end}, or run the nightly job when newer data have arrived"
        )
    if not is_nightly or data_end not in within:
        return Plan(None, tuple(within), None, beyond)
    earlier = tuple(day for day in within if day < data_end)
    if data_end in already_live:
        return Plan(None, earlier, data_end, beyond)
    return Plan(data_end, earlier, None, beyond)


def incoherent_rows(bookings: pd.DataFrame) -> list[str]:
    """What is wrong with rows of `forecast_bookings`, one phrase per row; empty when all is well."""
    parts = bookings["already_won"] + bookings["open_expected"] + bookings["not_yet_created_expected"]
    broken = []
    key = [name for name in BOOKINGS.key if name in bookings.columns]
    for problem, rows in (
        ("the parts do not add up to the mean", (parts - bookings["mean"]).abs() > 0.002),
        ("p10 is below what is already won", bookings["p10"] < bookings["already_won"]),
        (
            "p10, p50, p90 are not in order",
            (bookings["p10"] > bookings["p50"]) | (bookings["p50"] > bookings["p90"]),
        ),
        ("the row is there twice", bookings.duplicated(key)),
    ):
        broken += [
            f"{row.as_of:%Y-%m-%d} {row.period}{_named(row.segment_type, row.segment)}: {problem}"
            for row in bookings[rows.astype(bool)].itertuples()
        ]
    return [*broken, *_apart_from_total(bookings)]


def _named(segment_type: str, segment: str) -> str:
    return "" if segment_type == "total" else f" {segment_type} {segment}"


def _apart_from_total(bookings: pd.DataFrame) -> list[str]:
    """Segment types whose rows do not add up to the total, to the thousandth."""
    key = ["as_of", "period"]
    parts = ["already_won", "open_expected", "not_yet_created_expected", "mean", "open_deals"]
    sums = bookings.groupby([*key, "segment_type"])[parts].sum()
    total = sums[sums.index.get_level_values("segment_type") == "total"].droplevel("segment_type")
    apart = (sums - total.reindex(sums.index.droplevel("segment_type")).to_numpy()).abs() > 0.0005
    return [
        f"{as_of:%Y-%m-%d} {period}: the segments of type {segment_type} do not add up to the total"
        for as_of, period, segment_type in apart.index[apart.any(axis=1)]
    ]


def write_forecasts(
    warehouse: Warehouse,
    plan: Plan,
    bookings: pd.DataFrame,
    gate: pd.DataFrame,
    backtest: pd.DataFrame,
    accuracy: pd.DataFrame,
    deals: pd.DataFrame,
) -> dict[str, int]:
    """Store the rows and return how many each table received.

    Backfill rows replace backfill rows of the same days; the live rows are added. Backtest and accuracy are
    those of the ledger as it is and replace the earlier ones. The bookings come last: whoever sees a new
    forecast finds its reasons.
    """
    ensure_tables(warehouse)
    written = {}
    for table, frame in ((BACKTEST, backtest), (ACCURACY, accuracy)):
        place = {"segment_type": "total"}
        written[table.name] = warehouse.replace_rows(
            table.full_name, frame[list(table.columns)], place, table.columns
        )
    _clear_backfill(warehouse, plan.backfill)
    for table, frame in ((DEALS, deals), (GATE, gate), (BOOKINGS, bookings)):
        kinds = (frame["as_of"] == pd.Timestamp(plan.live)).map({True: LIVE, False: BACKFILL})
        rows = frame.assign(kind=kinds)[list(table.columns)]
        written[table.name] = warehouse.replace_rows(table.full_name, rows, ["as_of", "kind"], table.columns)
    return written


def _clear_backfill(warehouse: Warehouse, days: Sequence[date]) -> None:
    """A day whose open deals have all gone leaves no row that would replace those of its earlier backfill."""
    for day in days:
        warehouse.execute(
            f"delete from {DEALS.full_name} where kind = '{BACKFILL}' and as_of = $day", {"day": day}
        )
