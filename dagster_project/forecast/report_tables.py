"""A forecast as a small table for the Dagster UI: parts, range as a bar, method and why."""

from __future__ import annotations

import pandas as pd

BAR_WIDTH = 24


def forecast_markdown(bookings: pd.DataFrame) -> str:
    """A markdown table of one day's forecast, one line per quarter (columns of `forecast_bookings`).

    All bars share one scale: `█` is what is already won, `▒` the range from p10 to p90, `┃` the mean.
    """
    if bookings.empty:
        return "no forecast"
    currency = bookings["currency"].iloc[0]
    top = max(float(bookings["p90"].max()), float(bookings["mean"].max()), 1.0)
    lines = [
        f"| quarter | won ({currency}) | open | not yet created | mean | p10 to p90 | range | method "
        "| calibration |",
        "|---|--:|--:|--:|--:|--:|---|---|---|",
    ]
    for row in bookings.sort_values("quarter_offset").itertuples():
        calibration = row.interval_status
        if pd.notna(row.interval_coverage_realised):
            calibration += f", held {row.interval_coverage_realised:.0%}"
        lines.append(
            f"| {row.period} | {row.already_won:,.0f} | {row.open_expected:,.0f} "
            f"| {row.not_yet_created_expected:,.0f} | **{row.mean:,.0f}** | {row.p10:,.0f} to {row.p90:,.0f} "
            f"| `{range_bar(row.already_won, row.p10, row.mean, row.p90, top)}` "
            f"| {row.served_method.replace('_', ' ')} | {calibration} |"
        )
    return "\n".join(lines)


def range_bar(already_won: float, p10: float, mean: float, p90: float, top: float) -> str:
    """A line of `BAR_WIDTH` characters from 0 to `top`."""

    def cell(value: float) -> int:
        return min(BAR_WIDTH - 1, int(value / top * BAR_WIDTH))

    bar = ["·"] * BAR_WIDTH
    for place in range(int(already_won / top * BAR_WIDTH)):
        bar[place] = "█"
    for place in range(cell(p10), cell(p90) + 1):
        bar[place] = "▒"
    bar[cell(mean)] = "┃"
    return "".join(bar)


def accuracy_markdown(accuracy: pd.DataFrame) -> str:
    """A markdown table of what was served, one line per horizon (columns of `forecast_accuracy`)."""
    served = accuracy[accuracy["method"] == "served"]
    if served.empty:
        return "no completed origin yet"
    lines = ["| horizon | origins | quarters | WAPE | bias | ranges that held |", "|---|--:|--:|--:|--:|--:|"]
    for row in served.itertuples():
        values = [
            "" if pd.isna(value) else f"{value:.0%}" for value in (row.wape, row.bias, row.interval_coverage)
        ]
        lines.append(f"| {row.horizon} | {row.origins} | {row.quarters} | {' | '.join(values)} |")
    return "\n".join(lines)
