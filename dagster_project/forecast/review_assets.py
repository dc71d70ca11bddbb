"""The Dagster skin of the review: four tables downstream of the forecasts, on the same daily partitions."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd

from dagster_project.charts.chart_images import NO_CHART, chart_markdown
from dagster_project.charts.forecast_change_chart import waterfall_chart, waterfall_steps
from dagster_project.charts.forecast_charts import calibration_chart
from dagster_project.forecast.assets import LEDGER_KEYS, MEMORY_SHARE, beyond_data
from dagster_project.forecast.calibration import ALL_HORIZONS
from dagster_project.forecast.compared_pairs import Pair
from dagster_project.forecast.review_queries import deal_names, newest_changes
from dagster_project.forecast.review_tables import CALIBRATION, CHANGES, CHANGES_BY_SEGMENT, LIVE_ACCURACY
from dagster_project.forecast.reviewer import Review, review_forecasts
from dagster_project.forecast.table_specs import (
    holding_the_warehouse,
    naming_left_out,
    requested_days,
    table_spec,
)
from dagster_project.forecast.tables import BOOKINGS
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

BALANCE_CHECK = "changes_add_up"

_DESCRIPTIONS = {
    CHANGES: """What moved the forecast since the one before: won, lost and new deals, stages, amounts, time.

Every change of every deal, with its cause, per quarter and part. They add up to the difference of the two
stored forecasts; what is no single deal's is a row without a deal. The forecast before is that of the newest
earlier day that has one, live where there are two.
""",
    CHANGES_BY_SEGMENT: """What moved the forecast of each owner, team, region, pipeline, product, by cause.

The changes of deals by whose they are, and what was shared out anew; they add up to the difference of the
segment's two stored forecasts, and over the segments of a type to the changes of the whole.
""",
    LIVE_ACCURACY: """How far live forecasts were off, against what was then booked. The backtest is apart.

Empty until the first quarter that a live forecast spoke of is over and its bookings are final.
""",
    CALIBRATION: """Do the chances of open deals hold? Predicted against actual wins, by tenths of the chance.

Three days of each of the last eight completed quarters, scored with what was known on the day.
""",
}


def build_review_assets(
    settings: Settings,
    partitions_def: dg.PartitionsDefinition,
    extract_keys: Sequence[dg.AssetKey] = (),
) -> list[dg.AssetsDefinition]:
    """The tables of the review as one multi-asset on the shared daily partitions.

    `extract_keys`: as for the forecast, so that Dagster's backfill of everything reaches them.
    """
    # The bookings stand for all tables of the forecast, which one step writes. Where two of them lead here,
    # Dagster may refuse to backfill some days of everything: it compares days that it found on two ways.
    deps = [*LEDGER_KEYS, dg.AssetKey("dim_deal"), *extract_keys, BOOKINGS.name]

    @dg.multi_asset(
        name="forecast_review",
        specs=[
            table_spec(table, description, deps, partitions_def)
            for table, description in _DESCRIPTIONS.items()
        ],
        check_specs=[
            dg.AssetCheckSpec(
                BALANCE_CHECK,
                asset=CHANGES.name,
                description="Per quarter and part, changes add up to the difference of the stored forecasts.",
            )
        ],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def forecast_review(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        days = requested_days(context)
        warehouse = Warehouse(settings.paths.warehouse, settings.memory_share(MEMORY_SHARE), settings.threads)
        with holding_the_warehouse(context, settings, "review of forecasts"):
            review = review_forecasts(warehouse, days)
            beyond = beyond_data(warehouse, days)
        yield from naming_left_out(context, beyond, describe(warehouse, review, days))

    return [forecast_review]


def describe(warehouse: Warehouse, review: Review, days: Sequence[date]) -> Iterator[dg.MaterializeResult]:
    """What a reader of the UI wants to see beside each table."""
    own = [pair for pair in review.pairs if pair.now.as_of in days]
    yield dg.MaterializeResult(
        asset_key=CHANGES.name,
        metadata={
            "rows": review.rows[CHANGES.name],
            "compared": len(review.pairs),
            "chart": dg.MetadataValue.md(_waterfall(warehouse, own, len(days))),
        },
        check_results=[
            dg.AssetCheckResult(
                check_name=BALANCE_CHECK,
                passed=not review.unbalanced,
                metadata={
                    "compared": len(review.pairs),
                    "broken": "; ".join(review.unbalanced[:5]) or "none",
                },
            )
        ],
    )
    yield dg.MaterializeResult(
        asset_key=CHANGES_BY_SEGMENT.name, metadata={"rows": review.rows[CHANGES_BY_SEGMENT.name]}
    )
    live = warehouse.query(
        f"select * from {LIVE_ACCURACY.full_name} where segment_type = 'total' and method = 'served' "
        "order by horizon"
    )
    yield dg.MaterializeResult(
        asset_key=LIVE_ACCURACY.name,
        metadata={
            "rows": review.rows[LIVE_ACCURACY.name],
            "served": dg.MetadataValue.md(live_markdown(live)),
        },
    )
    calibration = warehouse.query(
        f"select * from {CALIBRATION.full_name} where horizon = '{ALL_HORIZONS}' order by decile"
    )
    yield dg.MaterializeResult(
        asset_key=CALIBRATION.name,
        metadata={"rows": review.rows[CALIBRATION.name], **_chances(calibration, len(days))},
    )


def live_markdown(live: pd.DataFrame) -> str:
    """A markdown table of live forecasts, one line per horizon (columns of `forecast_accuracy_live`)."""
    if live.empty:
        return "no quarter of a live forecast is over yet"
    lines = [
        "| horizon | forecasts | quarters | WAPE | bias | ranges that held |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in live.itertuples():
        shares = [
            "" if pd.isna(value) else f"{value:.0%}" for value in (row.wape, row.bias, row.interval_coverage)
        ]
        lines.append(f"| {row.horizon} | {row.forecasts} | {row.quarters} | {' | '.join(shares)} |")
    return "\n".join(lines)


def _chances(calibration: pd.DataFrame, days: int) -> dict[str, Any]:
    text = "predicted and actual wins of open deals by their chance, by deals and by amount"
    drawn = {"chart": dg.MetadataValue.md(chart_markdown(calibration_chart(calibration), text, days))}
    if calibration.empty:
        return drawn
    sums = calibration[["predicted_wins", "actual_wins", "predicted_amount", "actual_amount"]].sum()
    return drawn | {
        "actual_wins_per_predicted": _ratio(sums["actual_wins"], sums["predicted_wins"]),
        "actual_amount_per_predicted": _ratio(sums["actual_amount"], sums["predicted_amount"]),
    }


def _ratio(actual: float, predicted: float) -> str:
    return f"{actual / predicted:.2f}" if predicted else "nothing predicted"


def _waterfall(warehouse: Warehouse, pairs: Sequence[Pair], days: int) -> str:
    """The newest day's chart, of the quarter that runs on it."""
    if not pairs:
        return NO_CHART
    newest = max(pairs)
    changes, before = newest_changes(warehouse, newest)
    if changes.empty:
        return NO_CHART
    period, currency = str(changes["period"].iloc[0]), str(changes["currency"].iloc[0])
    steps = waterfall_steps(changes, before, deal_names(warehouse, changes))
    spec = waterfall_chart(steps, currency, period, newest.prior.as_of, newest.now.as_of)
    return chart_markdown(spec, f"what moved the forecast of {period}, by deal and cause", days)
