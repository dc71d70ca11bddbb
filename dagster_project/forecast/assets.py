"""The Dagster skin of forecasting: five tables, one partition per as-of day, a range of days in one run."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd

from dagster_project.charts.chart_images import chart_markdown
from dagster_project.charts.forecast_charts import accuracy_chart, fan_chart
from dagster_project.forecast.evidence import LedgerContext, read_context, read_evidence
from dagster_project.forecast.forecaster import Forecasts, make_forecasts
from dagster_project.forecast.hazard_queries import EVIDENCE_MODELS
from dagster_project.forecast.report_tables import accuracy_markdown, forecast_markdown
from dagster_project.forecast.table_specs import (
    holding_the_warehouse,
    naming_left_out,
    requested_days,
    table_spec,
)
from dagster_project.forecast.tables import (
    ACCURACY,
    BACKTEST,
    BOOKINGS,
    DEALS,
    GATE,
    Plan,
    incoherent_rows,
    live_days,
    plan_days,
    write_forecasts,
)
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

MEMORY_SHARE = 0.6
"""Of the memory limit, for the database: frames, and the challenger's models, stand beside it."""
COHERENCE_CHECK = "parts_add_up_and_ranges_are_ordered"

LEDGER_KEYS = tuple(
    dg.AssetKey(name)
    for name in (
        "stg_run_context",
        "stg_runs",
        "dim_date",
        "dim_stage",
        "dim_owner_history",
        "dim_pipeline",
        "dim_account",
        "int_deals",
        "int_deal_segments",
        "int_fx_rates",
        "fct_deal_versions",
        "fct_stage_transitions",
        "int_refused_fields",
        *EVIDENCE_MODELS,
    )
)

_DESCRIPTIONS = {
    BOOKINGS: """How much will be won by the end of this fiscal quarter and of each of the next four.

What is already won, what open deals and what deals not yet created are expected to bring, with an 80 % range.
The method is the baseline that erred least on earlier forecasts whose outcome was known on that day, or the
combination of models (how deals like these went on) and baselines where it erred less than those chosen then.
The total, and by owner, team, region, pipeline and product: the segments of a type add up to the total.
The nightly run writes its day once, as `live`; a backfill of any day writes `backfill` rows beside it.
Backfill reads the ledger as it is and needs no other step.
""",
    GATE: "Which method was served for each as-of day and quarter, and why, in words.",
    DEALS: """How likely each open deal is to be won by the end of this quarter and the next, and why.

The chance is a chain of factors: all deals × stage × time in stage × size × weeks of the quarter.
""",
    BACKTEST: """What every method would have forecast at each past week's end, and what then happened.

Rebuilt from the ledger by every run, whichever days it forecasts.
""",
    ACCURACY: """How far forecasts were off, by horizon and method: WAPE, bias, and how often ranges held.

Rebuilt from the backtest by every run; the method `served` is what would have been published.
""",
}


def build_forecast_assets(
    settings: Settings,
    partitions_def: dg.PartitionsDefinition,
    extract_keys: Sequence[dg.AssetKey] = (),
) -> list[dg.AssetsDefinition]:
    """The forecast tables as one multi-asset on the shared daily partitions.

    `extract_keys`: the partitioned extract assets. They must be direct upstreams: dbt between them and the
    forecast has no partitions, and Dagster's backfill of everything would not walk past it.
    """
    deps = [*LEDGER_KEYS, *extract_keys]

    @dg.multi_asset(
        name="forecast",
        specs=[
            table_spec(
                table, description, deps if table is BACKTEST else [*deps, BACKTEST.name], partitions_def
            )
            for table, description in _DESCRIPTIONS.items()
        ],
        check_specs=[
            dg.AssetCheckSpec(
                COHERENCE_CHECK,
                asset=BOOKINGS.name,
                description="mean = won + open + not yet created; won <= p10 <= p50 <= p90; keys are unique; "
                "the segments of a type add up to the total.",
            )
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def forecast(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        days = requested_days(context)
        run_ids = {context.run_id, context.run.root_run_id} - {None}
        memory = settings.memory_share(MEMORY_SHARE)
        warehouse = Warehouse(settings.paths.warehouse, memory, settings.threads)
        what = f"forecast of {days[0]}" if len(days) == 1 else f"forecast of {days[0]} to {days[-1]}"
        with holding_the_warehouse(context, settings, what):
            plan, forecasts, broken = forecast_days(
                warehouse,
                days,
                run_ids,
                settings.business.week_start_number,
                settings.forecast.challenger,
            )
        for line in (*plan_in_words(plan), *forecasts.notes):
            context.log.info(line)
        yield from naming_left_out(context, plan.beyond_data, describe(plan, forecasts, broken))

    return [forecast]


def forecast_days(
    warehouse: Warehouse,
    days: Sequence[date],
    run_ids: set[str | None],
    week_starts_on: int,
    with_challenger: bool = False,
) -> tuple[Plan, Forecasts, list[str]]:
    """Forecast `days`, store the rows, and return what was decided, made, and found wrong.

    `run_ids` are the ids of this run (its own and, after a re-execution, the first one's): the as-of day of
    the ledger is live in the nightly run that built the ledger.

    Raises:
        LedgerNotBuilt: there is no ledger yet.
        DayNotForecastable: no requested day has ended within the data.
        CalendarTooShort: a day lies before the ledger's calendar.
    """
    context = read_context(warehouse)
    is_nightly = context.run_kind == "nightly" and context.run_id in run_ids
    plan = plan_days(days, last_finished_day(context), is_nightly, live_days(warehouse))
    evidence = read_evidence(warehouse, plan.days, with_challenger)
    forecasts = make_forecasts(evidence, plan.days, week_starts_on)
    broken = incoherent_rows(forecasts.bookings)
    write_forecasts(
        warehouse,
        plan,
        forecasts.bookings,
        forecasts.gate,
        forecasts.backtest,
        forecasts.accuracy,
        forecasts.deals,
    )
    return plan, forecasts, broken


def last_finished_day(context: LedgerContext) -> date:
    """The newest day that a forecast may be made for: an intraday ledger's own day is not over."""
    return date.fromordinal(context.as_of.toordinal() - (context.run_kind == "intraday"))


def beyond_data(warehouse: Warehouse, days: Sequence[date]) -> list[date]:
    """Those of `days` that no forecast is made for, because the data end before them."""
    last = last_finished_day(read_context(warehouse))
    return sorted(day for day in days if day > last)


def plan_in_words(plan: Plan) -> list[str]:
    """One sentence per thing that happened to the requested days."""
    lines = []
    if plan.live:
        lines.append(f"live forecast of {plan.live}")
    if plan.kept_live:
        lines.append(f"the live forecast of {plan.kept_live} stands and was not touched")
    if plan.backfill:
        lines.append(f"backfilled {len(plan.backfill)} days, {plan.backfill[0]} to {plan.backfill[-1]}")
    if plan.beyond_data:
        lines.append(
            f"left out {len(plan.beyond_data)} days after the end of the data, "
            f"{plan.beyond_data[0]} to {plan.beyond_data[-1]}"
        )
    return lines


def describe(plan: Plan, forecasts: Forecasts, broken: Sequence[str]) -> Iterator[dg.MaterializeResult]:
    """What a reader of the UI wants to see beside each table."""
    totals = forecasts.bookings[forecasts.bookings["segment_type"] == "total"]
    newest = totals[totals["as_of"] == totals["as_of"].max()]
    days: dict[str, Any] = {"days": dg.MetadataValue.text("; ".join(plan_in_words(plan)))}
    rows = {
        table: dg.MetadataValue.int(len(frame))
        for table, frame in (
            (BACKTEST, forecasts.backtest),
            (ACCURACY, forecasts.accuracy),
            (DEALS, forecasts.deals),
            (GATE, forecasts.gate),
            (BOOKINGS, forecasts.bookings),
        )
    }
    served = accuracy_markdown(forecasts.accuracy)
    yield dg.MaterializeResult(
        asset_key=BACKTEST.name,
        metadata={"rows": rows[BACKTEST], "origins": int(forecasts.backtest["origin"].nunique())},
    )
    yield dg.MaterializeResult(
        asset_key=ACCURACY.name,
        metadata={
            "rows": rows[ACCURACY],
            "served": dg.MetadataValue.md(served),
            **_record(forecasts.backtest, len(plan.days)),
        },
    )
    yield dg.MaterializeResult(asset_key=DEALS.name, metadata={"rows": rows[DEALS], **days})
    yield dg.MaterializeResult(
        asset_key=GATE.name,
        metadata={"rows": rows[GATE], **days, "reasons": dg.MetadataValue.md(_reasons(forecasts.gate))},
    )
    yield dg.MaterializeResult(
        asset_key=BOOKINGS.name,
        metadata={
            "rows": rows[BOOKINGS],
            **days,
            **_headline(newest),
            **_fan(newest, forecasts.backtest, len(plan.days)),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=COHERENCE_CHECK,
                passed=not broken,
                metadata={"rows": len(forecasts.bookings), "broken": "; ".join(broken[:5]) or "none"},
            )
        ],
    )


def _headline(newest: pd.DataFrame) -> dict[str, Any]:
    if newest.empty:
        return {}
    this_quarter = newest.sort_values("quarter_offset").iloc[0]
    return {
        "as_of": f"{this_quarter['as_of']:%Y-%m-%d}",
        "this_quarter_mean": float(this_quarter["mean"]),
        "this_quarter_p10": float(this_quarter["p10"]),
        "this_quarter_p90": float(this_quarter["p90"]),
        "method": str(this_quarter["served_method"]),
        "forecast": dg.MetadataValue.md(forecast_markdown(newest)),
    }


def _fan(newest: pd.DataFrame, backtest: pd.DataFrame, days: int) -> dict[str, Any]:
    total = newest[newest["segment_type"] == "total"]
    if total.empty:
        return {}
    booked = backtest.loc[backtest["segment_type"] == "total", ["period", "actual"]].drop_duplicates("period")
    text = "bookings of past quarters, and the forecast of this and the next with its range"
    return {"chart": dg.MetadataValue.md(chart_markdown(fan_chart(total, booked), text, days))}


def _record(backtest: pd.DataFrame, days: int) -> dict[str, Any]:
    text = "errors of what was served and of the best baseline, by horizon"
    spec = accuracy_chart(backtest[backtest["segment_type"] == "total"])
    return {"chart": dg.MetadataValue.md(chart_markdown(spec, text, days))}


def _reasons(gate: pd.DataFrame) -> str:
    newest = gate[gate["as_of"] == gate["as_of"].max()]
    return "\n".join(f"- {row.period}: {row.reason}" for row in newest.itertuples()) or "no forecast"
