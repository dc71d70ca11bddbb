"""This quarter and the next four: won, forecast, quota, pace, coverage."""

import pandas as pd

from dagster_project.charts.forecast_charts import fan_chart
from dagster_project.charts.page_charts import PAGE_WIDTH
from dagster_project.charts.quarter_charts import pacing_chart, quarter_bar
from dagster_project.report.blocks import Column, Part, Section, Shown, Table, nothing
from dagster_project.report.page_context import PageContext
from dagster_project.report.published import Row
from dagster_project.report.slices import Slice
from dagster_project.report.words import money

COVERAGE, PACING, FORECAST = "mart_pipeline_coverage", "mart_bookings_pacing", "forecast_bookings_latest"


def quarter_section(context: PageContext) -> Section:
    """The section, for every slice."""
    parts = []
    for part in context.edition.slices:
        when = context.when(part)
        parts += [Shown(block, when) for block in _of_slice(context, part)]
    return Section(
        2,
        "This quarter, and the next four",
        "Where will the quarter end, is it on pace, and is there enough pipeline after it?",
        parts,
    )


def _of_slice(context: PageContext, part: Slice) -> list[Part]:
    coverage = part.own(context.marts.coverage)
    forecasts = part.own(context.marts.forecasts)
    pacing = part.own(context.marts.pacing)
    blocks: list[Part] = []
    now = next((row for row in pacing if row["quarter_offset"] == 0 and row["is_as_of_day"]), None)
    first = next((row for row in forecasts if row["quarter_offset"] == 0), None)
    if now is not None and now["won_amount"] is not None:
        blocks.append(_bar(context, now, first))
    else:
        blocks.append(nothing("Nothing with a known amount is won this quarter, so there is no bar to draw."))
    if first is None:
        blocks.append(nothing(f"There is no forecast: {context.marts.no_forecast_reason}."))
    blocks.append(_pace(context, pacing))
    if forecasts:
        blocks.append(_fan(context, part, forecasts))
    if any(row["quota_amount"] is not None or row["deals_open"] for row in coverage):
        blocks.append(_coverage(coverage, context.currency))
        if all(row["quota_amount"] is None for row in coverage):
            blocks.append(
                nothing(
                    "No quota is told, so nothing can be said of coverage: name a file under tables: quotas."
                )
            )
    else:
        blocks.append(nothing("No open deal has a close date in this or the next four quarters."))
    return blocks


def _bar(context: PageContext, now: Row, forecast: Row | None) -> Part:
    currency, quota = context.currency, now["quota_amount"]
    rows = [{"what": "Won so far", "amount": now["won_amount"]}]
    spread = None
    if forecast is not None:
        spread = tuple(float(forecast[name]) for name in ("p10", "mean", "p90"))
        rows += [
            {"what": "Forecast", "amount": forecast["mean"]},
            {"what": "Nine in ten outcomes above (P10)", "amount": forecast["p10"]},
            {"what": "Nine in ten outcomes below (P90)", "amount": forecast["p90"]},
        ]
    if quota is not None:
        rows.append({"what": "Quota", "amount": quota})
    table = Table(
        "quarter",
        f"Won, forecast and quota of {now['period']}",
        [
            Column("what", "What"),
            Column("amount", f"Amount ({currency})", "amount", f"{FORECAST}.mean" if forecast else None),
        ],
        rows,
        f"{PACING}, {FORECAST}",
    )
    described = "; ".join(f"{row['what']}: {money(row['amount'], currency)}" for row in rows)
    spec = quarter_bar(
        now["period"],
        currency,
        float(now["won_amount"]),
        spread,
        None if quota is None else float(quota),
        PAGE_WIDTH,
    )
    return context.chart(spec, described, table)


def _pace(context: PageContext, rows: list[Row]) -> Part:
    quarters: dict[str, Row] = {}
    now = next((row for row in rows if row["quarter_offset"] == 0 and row["is_as_of_day"]), None)
    if now is None:
        return nothing("Nothing was won that a pace could be told from.")
    for row in rows:
        if row["business_day"] == now["business_day"] and row["won_amount"] is not None:
            quarters[row["period"]] = {
                "period": row["period"],
                "by_then": row["won_amount"],
                "share": row["won_share"],
            }
    for row in rows:
        if row["is_complete_period"] and row["business_day"] == row["business_days"]:
            quarters.setdefault(row["period"], {"period": row["period"], "by_then": None, "share": None})
            quarters[row["period"]]["whole"] = row["won_amount"]
    table = Table(
        "pace",
        f"Won by business day {now['business_day']}, and in the whole quarter",
        [
            Column("period", "Quarter"),
            Column("by_then", f"Won by that day ({context.currency})", "amount", f"{PACING}.won_amount"),
            Column("whole", f"Whole quarter ({context.currency})", "amount", f"{PACING}.won_amount"),
            Column("share", "Share of it by that day", "share", f"{PACING}.expected_share"),
        ],
        sorted(quarters.values(), key=lambda row: row["period"], reverse=True),
        PACING,
    )
    spec = pacing_chart(rows, context.currency, PAGE_WIDTH)
    return context.chart(spec, f"{table.caption}: the table behind the chart has every quarter", table)


def _fan(context: PageContext, part: Slice, forecasts: list[Row]) -> Part:
    bookings = pd.DataFrame(forecasts)
    amounts = ["already_won", "p10", "p50", "p90"]
    bookings[amounts] = bookings[amounts].astype(float)
    booked = [
        {"period": row["period"], "actual": float(row["won_amount"])}
        for row in part.own(context.marts.booked)
    ]
    actuals = pd.DataFrame(booked, columns=["period", "actual"])
    table = Table(
        "forecast",
        "Forecast of this quarter and the next four",
        [
            Column("period", "Quarter"),
            Column("already_won", f"Already won ({context.currency})", "amount", f"{FORECAST}.already_won"),
            Column("open_expected", "From open deals", "amount", f"{FORECAST}.open_expected"),
            Column(
                "not_yet_created_expected",
                "From deals not yet created",
                "amount",
                f"{FORECAST}.not_yet_created_expected",
            ),
            Column("mean", "Forecast", "amount", f"{FORECAST}.mean"),
            Column("p10", "Nine in ten above (P10)", "amount", f"{FORECAST}.p10"),
            Column("p90", "Nine in ten below (P90)", "amount", f"{FORECAST}.p90"),
            Column(
                "interval_coverage_realised",
                "Past ranges that held",
                "share",
                f"{FORECAST}.interval_coverage_realised",
            ),
        ],
        forecasts,
        FORECAST,
    )
    spec = fan_chart(bookings, actuals, PAGE_WIDTH)
    return context.chart(spec, "Bookings of past quarters beside the forecast with its range", table)


def _coverage(rows: list[Row], currency: str) -> Table:
    def column(key: str, label: str, kind: str) -> Column:
        return Column(key, label, kind, f"{COVERAGE}.{key}")

    return Table(
        "coverage",
        "Does the open pipeline cover what is left of the quota?",
        [
            Column("period", "Quarter"),
            column("quota_amount", f"Quota ({currency})", "amount"),
            column("left_to_get_amount", "Left to get", "amount"),
            column("open_amount", "Open pipeline due then", "amount"),
            column("pipeline_coverage", "Coverage", "ratio"),
            column("required_coverage", "Coverage needed", "ratio"),
            column("to_create_amount", "Still to create", "amount"),
            column("create_by_date", "Create by", "date"),
        ],
        [row for row in rows if row["quota_amount"] is not None or row["deals_open"]],
        COVERAGE,
        "Coverage needed is what past quarters show at the same distance. Far ahead it is small, because "
        "most of the bookings are not in the pipeline yet.",
    )
