"""Scenarios asked of stored forecasts: read what they need, let what_if answer, store the answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from dagster_project.forecast.evidence import LedgerContext, read_context
from dagster_project.forecast.hazard_queries import expected_of_days, has_hazards
from dagster_project.forecast.scenario_changes import Scenario, read_scenarios
from dagster_project.forecast.scenario_tables import SCENARIO_DEALS, SCENARIOS, ensure_scenario_tables
from dagster_project.forecast.tables import BOOKINGS, DEALS, Table
from dagster_project.forecast.what_if import PLACES, DayForecast, Outcome, Period, StageRole, apply_scenario
from dagster_project.warehouse import Warehouse

WINS_DAYS = 365
"""A year of wins tells how many of them pass through a stage."""

REPS_DAYS = 182
"""A rep is active when a deal of the half year before was created with that owner."""

_SCORES = (
    "deal_key",
    "source_relation",
    "deal_id",
    "stage_key",
    "stage",
    "amount_if_won",
    "p_win_this_quarter",
    "p_win_by_next_quarter",
    "p_win_ever",
)


@dataclass(frozen=True)
class WhatIf:
    """Rows of `forecast_scenarios` and `forecast_scenario_deals`."""

    scenarios: pd.DataFrame
    deals: pd.DataFrame


def ask_scenarios(warehouse: Warehouse, days: Sequence[date]) -> WhatIf:
    """Put the scenarios to the stored forecasts of `days`, store the answers in place of earlier ones.

    A day without a forecast has no answer. Live and backfilled forecasts of a day are both asked; they are
    not touched, so scenarios may change as often as the analyst likes.

    Raises:
        LedgerNotBuilt: there is no ledger yet.
    """
    context = read_context(warehouse)
    ensure_scenario_tables(warehouse)
    scenarios = read_scenarios(warehouse)
    answers = [
        rows
        for forecast, stored in _forecasts(warehouse, days, scenarios)
        for scenario in scenarios
        for rows in [_rows(scenario, forecast, stored, context)]
    ]
    what_if = WhatIf(
        _typed([row for one, _ in answers for row in one], SCENARIOS),
        pd.concat([frame for _, frame in answers] or [_typed([], SCENARIO_DEALS)], ignore_index=True),
    )
    listed = ", ".join(f"date '{day}'" for day in sorted(set(days)))
    for table, rows in ((SCENARIO_DEALS, what_if.deals), (SCENARIOS, what_if.scenarios)):
        warehouse.execute(f"delete from {table.full_name} where as_of in ({listed})")
        if not rows.empty:
            warehouse.append(table.full_name, rows[list(table.columns)], table.columns)
    return what_if


def _forecasts(
    warehouse: Warehouse, days: Sequence[date], scenarios: Sequence[Scenario]
) -> Iterable[tuple[DayForecast, pd.DataFrame]]:
    """Each stored forecast of the total, as what a scenario may change and as its rows."""
    if not scenarios or not days:
        return
    listed = ", ".join(f"date '{day}'" for day in sorted(set(days)))
    stored = warehouse.query(
        f"select * from {BOOKINGS.full_name} where segment_type = 'total' and as_of in ({listed}) "
        "order by as_of, kind, quarter_offset"
    )
    if stored.empty:
        return
    found = sorted({stamp.date() for stamp in stored["as_of"]})
    with_deals = any(scenario.asks_about_deals for scenario in scenarios)
    spread = expected_of_days(warehouse, found) if with_deals and has_hazards(warehouse) else None
    labels = sorted(
        {change.stage for scenario in scenarios for change in scenario.changes if change.stage is not None}
    )
    for (as_of, kind), rows in stored.groupby(["as_of", "kind"], sort=True):
        day = as_of.date()
        deals = _deals(warehouse, day, str(kind) if with_deals else "none")
        yield (
            DayForecast(
                day,
                [_period(row, day) for row in rows.itertuples()],
                _later_share(deals, spread, as_of, len(rows)),
                deals,
                stage_roles(warehouse, labels, day),
                active_reps(warehouse, day),
            ),
            rows,
        )


def _period(row: Any, day: date) -> Period:
    return Period(
        row.period,
        (row.period_end.date() - day).days,
        float(row.open_expected),
        float(row.not_yet_created_expected),
    )


def _deals(warehouse: Warehouse, day: date, kind: str) -> pd.DataFrame:
    return warehouse.query(
        f"select {', '.join(_SCORES)} from {DEALS.full_name} where as_of = $day and kind = $kind "
        "order by deal_key",
        {"day": day, "kind": kind},
    )


def _later_share(
    deals: pd.DataFrame, spread: pd.DataFrame | None, as_of: pd.Timestamp, periods: int
) -> np.ndarray:
    """How what open deals bring after the next quarter falls on the later ones; its rest comes after them."""
    shares = np.zeros(periods)
    if spread is None or deals.empty:
        return shares
    later = ((deals["p_win_ever"] - deals["p_win_by_next_quarter"]) * deals["amount_if_won"]).sum()
    expected = spread[spread["as_of"] == as_of].sort_values("quarter_number")["open_expected"].to_numpy()
    if later <= 0 or len(expected) < periods:
        return shares
    shares[2:] = np.maximum(expected[2:periods], 0.0) / later
    return shares / max(1.0, shares.sum())


def stage_roles(warehouse: Warehouse, labels: Sequence[str], day: date) -> Mapping[str, StageRole]:
    """For each label of an open stage what it means for other deals, by the wins of the year up to `day`."""
    return {label: _stage_role(warehouse, label, day) for label in labels}


def _stage_role(warehouse: Warehouse, label: str, day: date) -> StageRole:
    named = warehouse.query(
        """
        with named as (
          select stage_key, pipeline_key, stage_order
          from ledger.dim_stage
          where is_open and not is_deleted and stage = $label
        )
        select stages.stage_key, max(case when stages.stage_key = named.stage_key then 1 else 0 end) as is_it
        from ledger.dim_stage as stages
        inner join named
          on stages.pipeline_key = named.pipeline_key
          and (stages.stage_key = named.stage_key
            or (stages.is_open and stages.stage_order < named.stage_order))
        group by stages.stage_key
        order by stages.stage_key
        """,
        {"label": label},
    )
    wins = warehouse.query(
        """
        with named as (
          select stage_key, pipeline_key
          from ledger.dim_stage
          where is_open and not is_deleted and stage = $label
        ),
        closed as (
          select distinct deal_key, pipeline_key, to_status
          from ledger.fct_stage_transitions
          where to_status in ('won', 'lost')
            and excluded_by is null
            and business_date > $since
            and business_date <= $day
        ),
        won as (
          select * from closed where to_status = 'won'
        ),
        passed as (
          select distinct visits.deal_key
          from ledger.int_stage_visits as visits
          inner join named on visits.stage_key = named.stage_key
          where visits.entered_on <= $day
        )
        select
          count(*) as wins,
          count(passed.deal_key) as passing,
          count(case when won.pipeline_key in (select pipeline_key from named) then 1 end)
            as wins_of_pipeline,
          count(case when won.pipeline_key in (select pipeline_key from named) then passed.deal_key end)
            as passing_of_pipeline,
          (
            select count(*) from closed inner join passed on closed.deal_key = passed.deal_key
          ) as closed_passing
        from won
        left join passed on won.deal_key = passed.deal_key
        """,
        {"label": label, "day": day, "since": day - timedelta(days=WINS_DAYS)},
    ).iloc[0]
    return StageRole(
        keys=frozenset(named.loc[named["is_it"] == 1, "stage_key"]),
        keys_before=frozenset(named.loc[named["is_it"] == 0, "stage_key"]),
        share_of_pipeline=_share(wins["passing_of_pipeline"], wins["wins_of_pipeline"]),
        share_of_all=_share(wins["passing"], wins["wins"]),
        win_rate=float(wins["passing"]) / float(wins["closed_passing"]) if wins["closed_passing"] else 0.0,
    )


def _share(part: float, whole: float) -> float:
    """Without a win every deal is taken to pass the stage."""
    return float(part) / float(whole) if whole else 1.0


def active_reps(warehouse: Warehouse, day: date) -> int:
    """Owners who were given a new deal in the half year up to `day` and had not left by then."""
    rows = warehouse.query(
        """
        select count(distinct versions.owner_key) as reps
        from ledger.fct_deal_versions as versions
        inner join ledger.dim_owner as owners
          on versions.owner_key = owners.owner_key
          and (owners.ended_on is null or owners.ended_on > $day)
        where versions.version_number = 1
          and versions.status = 'open'
          and not versions.is_deleted
          and versions.excluded_by is null
          and versions.owner_key <> md5('(none)')
          and versions.valid_from_date > $since
          and versions.valid_from_date <= $day
        """,
        {"day": day, "since": day - timedelta(days=REPS_DAYS)},
    )
    return int(rows.iloc[0]["reps"])


def _rows(
    scenario: Scenario, forecast: DayForecast, stored: pd.DataFrame, context: LedgerContext
) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    outcome = apply_scenario(scenario, forecast)
    of_run = {
        "currency": context.currency,
        "definition_version": context.definition_version,
        "run_id": context.run_id,
    }
    rows = [
        {
            "scenario": scenario.name,
            **_compared(row, outcome, place),
            "changes": len(scenario.changes),
            "changes_without_effect": outcome.changes_without_effect,
            "overrides": outcome.overrides,
            **of_run,
        }
        for place, row in enumerate(stored.to_dict("records"))
    ]
    return rows, _deal_rows(scenario, forecast, stored, outcome).assign(**of_run)


_FORECAST_COLUMNS = ("as_of", "kind", "period", "period_start", "period_end", "quarter_offset")


def _compared(row: Mapping[str, Any], outcome: Outcome, place: int) -> dict[str, Any]:
    open_change, new_change = float(outcome.open_change[place]), float(outcome.new_change[place])
    difference = round(open_change + new_change, PLACES)
    return {
        **{name: row[name] for name in (*_FORECAST_COLUMNS, "already_won")},
        "without_open_expected": row["open_expected"],
        "with_open_expected": round(row["open_expected"] + open_change, PLACES),
        "without_not_yet_created_expected": row["not_yet_created_expected"],
        "with_not_yet_created_expected": round(row["not_yet_created_expected"] + new_change, PLACES),
        "without_amount": row["mean"],
        "with_amount": round(row["mean"] + difference, PLACES),
        "difference_amount": difference,
        "difference_share": difference / row["mean"] if row["mean"] else None,
        "deals_changed": int(outcome.deals_changed[place]),
    }


def _deal_rows(
    scenario: Scenario, forecast: DayForecast, stored: pd.DataFrame, outcome: Outcome
) -> pd.DataFrame:
    parts = outcome.deal_parts
    deals = forecast.deals.iloc[parts["deal"]].reset_index(drop=True)
    periods = stored.iloc[parts["period"]].reset_index(drop=True)
    return pd.DataFrame(
        {
            **{name: periods[name] for name in _FORECAST_COLUMNS},
            "scenario": scenario.name,
            **{name: deals[name] for name in ("deal_key", "source_relation", "deal_id", "stage")},
            "without_amount": parts["without_amount"],
            "with_amount": parts["with_amount"],
            "difference_amount": (parts["with_amount"] - parts["without_amount"]).round(PLACES),
            "overrides": parts["overrides"],
        }
    )


def _typed(rows: list[dict[str, Any]], table: Table) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(table.columns))
