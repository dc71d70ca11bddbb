"""How good such forecasts have been: the backtest as rows, and its errors by horizon and method."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from dagster_project.forecast.backtest import Served, TrackRecord
from dagster_project.forecast.baselines import BASELINES, Remaining
from dagster_project.forecast.challenge import BLEND
from dagster_project.forecast.combination import COMBINATION
from dagster_project.forecast.fiscal_quarters import FiscalQuarters
from dagster_project.forecast.gate import NO_METHOD, wape
from dagster_project.forecast.intervals import CALIBRATED, QUANTILES, Range, quantile_loss
from dagster_project.forecast.ledger_queries import THOUSANDTHS
from dagster_project.forecast.situations import MODELS, Origin

SERVED = "served"
"""In the accuracy table: whatever had been chosen before the outcome at each origin."""


def money(thousandths: float) -> float:
    """Whole thousandths as an amount in the reporting currency."""
    return round(thousandths) / THOUSANDTHS


def backtest_rows(record: TrackRecord, quarters: FiscalQuarters) -> Iterator[dict[str, Any]]:
    """One row per completed origin, quarter and method with an answer (columns of `forecast_backtest`)."""
    for horizon, track in record.tracks.items():
        for origin, served, baseline in zip(
            track.origins, record.served[horizon], track.baselines, strict=True
        ):
            for method, answer in origin.outlook.remaining.items():
                spread, evidence = (
                    (served.range, served.evidence_origins)
                    if method == served.choice.method
                    else record.range_for(origin.outlook, method)
                )
                is_best = baseline.method == method
                yield _backtest_row(origin, served, is_best, quarters, method, answer, spread, evidence)


def accuracy_rows(backtest: pd.DataFrame, as_of: date) -> Iterator[dict[str, Any]]:
    """One row per horizon and method, and one per horizon for what was served (`forecast_accuracy`).

    WAPE = Σ|forecast - actual| / Σ|actual|, bias = Σ(forecast - actual) / Σ|actual|; pinball is the mean loss
    of p10, p50 and p90 over the mean actual; coverage counts calibrated ranges, each made before its outcome.
    """
    if backtest.empty:
        return
    served = backtest[backtest["is_served"]].assign(method=SERVED)
    best = backtest[backtest["is_best_baseline"]]
    baseline = best.set_index(["origin", "quarter_offset"])["forecast"]
    order = {method: place for place, method in enumerate((SERVED, *BASELINES, *MODELS, COMBINATION, BLEND))}
    by_method = pd.concat([served, backtest]).groupby(["horizon", "method"], sort=False)
    for (horizon, method), rows in sorted(by_method, key=lambda item: (item[0][0], order[item[0][1]])):
        yield {
            "as_of": as_of,
            "segment_type": "total",
            "segment": "all",
            "horizon": horizon,
            "method": method,
            "origins": len(rows),
            "quarters": rows["period"].nunique(),
            "first_origin": rows["origin"].min(),
            "last_origin": rows["origin"].max(),
            **errors_of(rows),
            "pinball": _pinball(rows),
            "ratio_to_best_baseline": _ratio(rows, baseline),
        }


def _backtest_row(
    origin: Origin,
    served: Served,
    is_best_baseline: bool,
    quarters: FiscalQuarters,
    method: str,
    answer: Remaining,
    spread: Range,
    evidence: int,
) -> dict[str, Any]:
    seen = origin.outlook
    quarter = quarters[seen.quarter_position]
    open_part, new_part = money(answer.from_open), money(answer.from_new)
    return {
        "origin": seen.day,
        "period": quarter.label,
        "period_start": quarter.starts_on,
        "period_end": quarter.ends_on,
        "quarter_offset": seen.quarter_offset,
        "horizon": seen.horizon,
        "segment_type": "total",
        "segment": "all",
        "method": method,
        "is_served": served.choice.method == method and method != NO_METHOD,
        "is_best_baseline": is_best_baseline,
        "gate_status": served.choice.status,
        "measure_form": seen.measure_form,
        "already_won": money(seen.already_won),
        "open_expected": open_part,
        "not_yet_created_expected": new_part,
        "forecast": money(seen.already_won) + open_part + new_part,
        "actual": money(origin.actual),
        "p10": money(spread.p10),
        "p50": money(spread.p50),
        "p90": money(spread.p90),
        "interval_status": spread.status,
        "evidence_n_origins": evidence,
        "known_at": origin.known_on,
    }


def errors_of(rows: pd.DataFrame) -> dict[str, Any]:
    """WAPE, bias and how often ranges held of rows with forecast, actual, p10, p90 and interval_status."""
    forecast, actual = rows["forecast"].to_numpy(), rows["actual"].to_numpy()
    booked = float(np.abs(actual).sum())
    ranged = rows[rows["interval_status"] == CALIBRATED]
    held = (ranged["p10"] <= ranged["actual"]) & (ranged["actual"] <= ranged["p90"])
    return {
        "forecast_sum": float(forecast.sum()),
        "actual_sum": float(actual.sum()),
        "absolute_error_sum": float(np.abs(forecast - actual).sum()),
        "wape": wape(forecast, actual),
        "bias": float((forecast - actual).sum()) / booked if booked > 0 else None,
        "interval_numerator": int(held.sum()),
        "interval_denominator": len(ranged),
        "interval_coverage": float(held.mean()) if len(ranged) else None,
    }


def _pinball(rows: pd.DataFrame) -> float | None:
    actual = rows["actual"].to_numpy()
    booked = float(np.abs(actual).sum())
    losses = [
        quantile_loss(rows[column].to_numpy(), actual, level).mean() for column, level in QUANTILES.items()
    ]
    return float(np.mean(losses)) / booked * len(rows) if booked > 0 else None


def _ratio(rows: pd.DataFrame, baseline: pd.Series) -> float | None:
    """Error over the error of the baseline chosen ex ante, on the origins that both have."""
    shared = rows.set_index(["origin", "quarter_offset"])
    shared = shared[shared.index.isin(baseline.index)]
    chosen = (baseline.loc[shared.index] - shared["actual"]).abs().sum()
    own = (shared["forecast"] - shared["actual"]).abs().sum()
    return float(own / chosen) if chosen > 0 else None
