"""Forecasts of persons against the model and the outcome, and how good each person is.

A submission is compared with the bookings of that person's deals (a manager's: of all owners of the teams) in
the period, as they were known on the day they were final; before that day the outcome is null. The model's
forecast is the one of the same day, or the newest of the week before it that the backtest has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from dagster_project.forecast.evidence import LedgerContext
from dagster_project.forecast.ledger_queries import won_spans_sql
from dagster_project.forecast.tables import BACKTEST, BOOKINGS
from dagster_project.warehouse import Warehouse

SUBMITTED = "marts.int_submissions"

FEWEST_PERIODS = 4
"""A year of quarters: fewer periods tell the luck of one of them, not the habit of a person."""

FIRST, LATEST, ALL = "first", "latest", "all"

_COMPARED = """,

submitted as (
  select
    *,
    row_number() over (
      order by period_start, period, person, person_role, category, submitted_on
    ) as place
  from marts.int_submissions
  where is_usable
),

-- the segments whose sum is the person's: one owner, all teams of a manager, or everything
members as (
  select distinct person, person_role, 'total' as segment_type, 'all' as segment
  from submitted
  where person_role = 'company'
  union
  select distinct person, person_role, 'owner' as segment_type, person as segment
  from submitted
  where person_role = 'rep'
  union
  select distinct submitted.person, submitted.person_role, 'team' as segment_type, teams.team as segment
  from submitted
  inner join ledger.dim_team as teams on submitted.person = teams.manager
  where submitted.person_role = 'manager'
),

credited as (
  select
    won_spans.won_on,
    won_spans.visible_on,
    won_spans.hidden_on,
    owners.owner,
    owners.team,
    owners.manager,
    sum(coalesce(won_spans.thousandths, 0)) as thousandths
  from won_spans
  inner join ledger.fct_deals as deals on won_spans.deal_key = deals.deal_key
  inner join ledger.dim_owner as owners on deals.credit_owner_key = owners.owner_key
  where deals.excluded_by is null
  group by all
),

booked as (
  select
    submitted.place,
    coalesce(sum(credited.thousandths) filter (
      where credited.visible_on <= submitted.submitted_on
        and (credited.hidden_on is null or credited.hidden_on > submitted.submitted_on)
    ), 0) as won_by_then,
    coalesce(sum(credited.thousandths) filter (
      where credited.visible_on <= submitted.final_on
        and (credited.hidden_on is null or credited.hidden_on > submitted.final_on)
    ), 0) as actual
  from submitted
  left join credited
    on credited.won_on between submitted.period_start and submitted.period_end
    and case submitted.person_role
      when 'company' then true
      when 'rep' then credited.owner = submitted.person
      else credited.manager = submitted.person
        or credited.team in (
          select members.segment
          from members
          where members.person_role = 'manager' and members.person = submitted.person
        )
    end
  group by submitted.place
),

forecasts as (
  select as_of, kind as basis, period, segment_type, segment, mean as forecast
  from {bookings}
  union all
  select origin as as_of, 'backtest' as basis, period, segment_type, segment, forecast
  from {backtest}
  where is_served
),

modelled as (
  select
    submitted.place,
    forecasts.as_of,
    forecasts.basis,
    sum(forecasts.forecast) as forecast,
    row_number() over (
      partition by submitted.place
      order by forecasts.as_of desc, case forecasts.basis when 'live' then 1 when 'backfill' then 2 else 3 end
    ) as nearest
  from submitted
  inner join members
    on submitted.person = members.person
    and submitted.person_role = members.person_role
  inner join forecasts
    on submitted.period = forecasts.period
    and members.segment_type = forecasts.segment_type
    and members.segment = forecasts.segment
    and forecasts.as_of <= submitted.submitted_on
    and forecasts.as_of > submitted.submitted_on - 7
    and (forecasts.basis = 'backtest' or forecasts.as_of = submitted.submitted_on)
  group by submitted.place, forecasts.as_of, forecasts.basis
)

select
  submitted.*,
  booked.won_by_then / 1000 as won_by_then_amount,
  booked.actual / 1000 as actual_amount,
  modelled.forecast as model_amount,
  modelled.as_of as model_as_of,
  modelled.basis as model_basis
from submitted
inner join booked on submitted.place = booked.place
left join modelled
  on submitted.place = modelled.place
  and modelled.nearest = 1
order by submitted.place
"""


def submission_rows(warehouse: Warehouse, context: LedgerContext) -> pd.DataFrame:
    """Rows of `forecast_submissions`; empty before dbt has read any."""
    if not warehouse.has_table(SUBMITTED):
        return pd.DataFrame()
    sql = _COMPARED.replace("{bookings}", BOOKINGS.full_name).replace("{backtest}", BACKTEST.full_name)
    return with_errors(warehouse.query(won_spans_sql(context.dates_won) + sql), context)


def with_errors(compared: pd.DataFrame, context: LedgerContext) -> pd.DataFrame:
    """Errors of the person and the model, where the outcome is final by the context's as-of day.

    `compared`: the columns of a usable submission, with won_by_then_amount, actual_amount (whether final or
    not), model_amount, model_as_of, model_basis.
    """
    rows = compared.sort_values("submitted_on", kind="stable").copy()
    of_person = rows.groupby(["period", "person", "person_role", "category"])["submitted_on"]
    rows["submission_number"] = of_person.cumcount() + 1
    rows["is_latest"] = rows["submission_number"] == of_person.transform("size")
    rows["days_before_end"] = (rows["period_end"] - rows["submitted_on"]).dt.days
    rows["is_final"] = rows["final_on"] <= pd.Timestamp(context.as_of)
    rows["actual_amount"] = rows["actual_amount"].astype(float).where(rows["is_final"])
    rows["error_amount"] = rows["submitted_amount"] - rows["actual_amount"]
    rows["model_error_amount"] = rows["model_amount"].astype(float) - rows["actual_amount"]
    person, model = rows["error_amount"].abs(), rows["model_error_amount"].abs()
    rows["closer"] = np.select(
        [person < model, model < person, model == person], ["person", "model", "both"], ""
    )
    rows["closer"] = rows["closer"].where(rows["closer"] != "", None)
    return rows.assign(as_of=pd.Timestamp(context.as_of), **_of_run(context))


def accuracy_of_persons(rows: pd.DataFrame, context: LedgerContext) -> Iterator[dict[str, Any]]:
    """Rows of `forecast_submission_accuracy` from those of `forecast_submissions`: final periods alone.

    WAPE = Σ|submitted - actual| / Σ|actual|, bias = Σ(submitted - actual) / Σ|actual|; the model is judged
    on the same submissions, where it had a forecast.
    """
    if rows.empty:
        return
    final = rows[rows["is_final"]]
    counted = (
        (FIRST, final[final["submission_number"] == 1]),
        (LATEST, final[final["is_latest"]]),
        (ALL, final),
    )
    for name, some in counted:
        for (person, role, category), of_person in some.groupby(["person", "person_role", "category"]):
            yield {
                "person": person,
                "person_role": role,
                "category": category,
                "counted": name,
                **_accuracy(of_person),
                "as_of": pd.Timestamp(context.as_of),
                **_of_run(context),
            }


def _accuracy(rows: pd.DataFrame) -> dict[str, Any]:
    compared = rows[rows["model_error_amount"].notna()]
    by_period = rows.sort_values("period_start")["period"]
    wape, bias = _errors(rows, "error_amount")
    compared_wape, compared_bias = _errors(compared, "error_amount")
    model_wape, model_bias = _errors(compared, "model_error_amount")
    closer = int((compared["closer"] == "person").sum())
    return {
        "submissions": len(rows),
        "periods": rows["period"].nunique(),
        "sample_too_small": rows["period"].nunique() < FEWEST_PERIODS,
        "first_period": by_period.iloc[0],
        "last_period": by_period.iloc[-1],
        "submitted_sum": rows["submitted_amount"].sum(),
        "actual_sum": rows["actual_amount"].sum(),
        "absolute_error_sum": rows["error_amount"].abs().sum(),
        "wape": wape,
        "bias": bias,
        "compared_submissions": len(compared),
        "compared_wape": compared_wape,
        "compared_bias": compared_bias,
        "model_wape": model_wape,
        "model_bias": model_bias,
        "closer_numerator": closer,
        "closer_share": closer / len(compared) if len(compared) else None,
    }


def _errors(rows: pd.DataFrame, column: str) -> tuple[float | None, float | None]:
    actual = rows["actual_amount"].abs().sum()
    if actual == 0:
        return None, None
    return float(rows[column].abs().sum() / actual), float(rows[column].sum() / actual)


def _of_run(context: LedgerContext) -> dict[str, str]:
    return {
        "currency": context.currency,
        "definition_version": context.definition_version,
        "run_id": context.run_id,
    }
