"""`ops.alerts`: what was wrong or new on each as-of day, published as the table `alerts`."""

from collections.abc import Sequence
from datetime import date

import pandas as pd

from dagster_project.alerts.alert import Alert, one_line
from dagster_project.extract.api import redaction
from dagster_project.forecast.tables import BOOKINGS
from dagster_project.warehouse import Warehouse

TABLE = "ops.alerts"
COLUMNS = {
    "as_of": "date",
    "alert_id": "string",
    "kind": "string",
    "severity": "string",
    "subject": "string",
    "sentence": "string",
    "first_seen_on": "date",
    "is_new": "boolean",
    "run_id": "string",
}
"""One row per as-of day and alert; words and key: dbt/models/staging/landing.yml."""

_BOTTLENECKS = "marts.mart_bottlenecks"

# The newest forecast of each quarter beside the one of the newest day before it, live where there are two.
_MOVED = f"""
with days as (
  select
    as_of,
    case when max(case when kind = 'live' then 1 else 0 end) = 1 then 'live' else 'backfill' end as kind,
    row_number() over (order by as_of desc) as place
  from {BOOKINGS.full_name}
  where as_of <= $as_of
  group by as_of
),

totals as (
  select bookings.*, days.place
  from {BOOKINGS.full_name} as bookings
  inner join days on bookings.as_of = days.as_of and bookings.kind = days.kind
  where days.place <= 2 and bookings.segment_type = 'total'
)

select
  now.as_of,
  now.period,
  now.mean,
  now.currency,
  prior.as_of as prior_as_of,
  prior.mean as prior_mean,
  prior.p10,
  prior.p90
from totals as now
inner join totals as prior
  on now.place = 1 and prior.place = 2
    and now.period = prior.period
    and now.currency = prior.currency
    -- under other definitions it is another figure, not a moved one
    and now.definition_version = prior.definition_version
where now.as_of = $as_of and (now.mean < prior.p10 or now.mean > prior.p90)
order by now.period
"""

_FINDINGS = f"""
select measure, pipeline, stage, stage_key, segment_type, segment, in_words
from {_BOTTLENECKS}
where status = 'finding'
order by
  case when segment_type = 'total' then 0 else 1 end,
  amount_rank, segment_type, segment, stage, measure
"""


def moved_forecasts(warehouse: Warehouse, as_of: date) -> list[Alert]:
    """Quarters whose forecast of `as_of` lies outside the 80 % range that was told of them before."""
    if not warehouse.has_table(BOOKINGS.full_name):
        return []
    rows = warehouse.query(_MOVED, {"as_of": as_of})
    return [
        Alert(
            "forecast_moved",
            "warning",
            str(row.period),
            f"The forecast of {row.period} moved {'up' if row.mean > row.p90 else 'down'} to {row.currency} "
            f"{row.mean:,.0f}; on {row.prior_as_of:%Y-%m-%d} it was {row.prior_mean:,.0f}, 8 times in 10 "
            f"between {row.p10:,.0f} and {row.p90:,.0f}. Table forecast_changes says what moved it.",
            f"{row.as_of:%Y-%m-%d}",
        )
        for row in rows.itertuples()
    ]


def bottlenecks(warehouse: Warehouse) -> list[Alert]:
    """The findings of `mart_bottlenecks`: stages that got worse by more than chance."""
    if not warehouse.has_table(_BOTTLENECKS):
        return []
    return [
        Alert(
            "new_bottleneck",
            "warning" if row.segment_type == "total" else "info",
            one_line(f"{row.stage} ({row.pipeline}){_named(row.segment_type, row.segment)}"),
            one_line(f"{row.stage} ({row.pipeline}){_named(row.segment_type, row.segment)}: {row.in_words}"),
            f"{row.measure} {row.stage_key} {row.segment_type}",
        )
        for row in warehouse.query(_FINDINGS).itertuples()
    ]


def write_alerts(warehouse: Warehouse, as_of: date, run_id: str, alerts: Sequence[Alert]) -> pd.DataFrame:
    """Store the alerts of a day in place of those that were stored of it, and return the rows.

    An alert that was there on the day of the run before keeps the day on which it was first seen.
    """
    warehouse.create_table(TABLE, COLUMNS)
    since = _first_seen(warehouse, as_of)
    rows = [
        {
            "as_of": as_of,
            "alert_id": alert.alert_id,
            "kind": alert.kind,
            "severity": alert.severity,
            "subject": alert.subject,
            "sentence": redaction.SECRETS.clean(alert.sentence),
            "first_seen_on": since.get(alert.alert_id, as_of),
            "is_new": alert.alert_id not in since,
            "run_id": run_id,
        }
        for alert in alerts
    ]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    warehouse.replace_rows(TABLE, frame, {"as_of": as_of}, COLUMNS)
    return frame


class StoredAlert(Alert):
    """An alert as it was published; `mark` holds the id that it has there (what it was made of is not)."""

    @property
    def alert_id(self) -> str:
        """The stored id."""
        return self.mark


def _first_seen(warehouse: Warehouse, as_of: date) -> dict[str, date]:
    """Alert → first day, of those that were there when the newest day before `as_of` was looked at."""
    if not warehouse.has_table("ops.run_context"):
        return {}
    rows = warehouse.query(
        f"select alert_id, first_seen_on from {TABLE} where as_of = ("
        "select max(as_of) from ops.run_context where as_of < $as_of and run_kind <> 'manual')",
        {"as_of": as_of},
    )
    return {row.alert_id: row.first_seen_on.date() for row in rows.itertuples()}


def _named(segment_type: str, segment: str) -> str:
    return "" if segment_type == "total" else f", {segment_type} {segment}"
