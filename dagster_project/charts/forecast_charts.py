"""Charts of forecasts and their record, one per question, as Vega-Lite specifications (chart_spec)."""

from __future__ import annotations

import pandas as pd

from dagster_project.charts.chart_spec import (
    BLUE,
    GREY,
    HATCHED,
    INK,
    ORANGE,
    Spec,
    amount_axis,
    day_in_words,
    framed,
    layer,
    unit_of,
)

PAST_QUARTERS = 8
WIDE = 640


def fan_chart(bookings: pd.DataFrame, actuals: pd.DataFrame, width: int = WIDE) -> Spec:
    """This and the next quarters with their ranges, beside what past quarters booked.

    `bookings`: one day's rows of `forecast_bookings` for one segment. `actuals`: period, actual. A narrow
    chart shows two past quarters, and its ranges in figures stand in the table behind it.
    """
    is_wide = width >= WIDE
    bar = 26 if is_wide else 20
    told = bookings.sort_values("quarter_offset")
    day, currency = pd.Timestamp(told["as_of"].iloc[0]), str(told["currency"].iloc[0])
    past = actuals[actuals["period"] < told["period"].iloc[0]].sort_values("period")
    past = past.tail(PAST_QUARTERS if is_wide else 2)
    unit, word = unit_of(max(float(told["p90"].max()), float(past["actual"].max()) if len(past) else 0.0))
    ahead = [
        {
            "quarter": row.period,
            "won": row.already_won / unit,
            "p10": row.p10 / unit,
            "p50": row.p50 / unit,
            "p90": row.p90 / unit,
            "label": f"{row.p50 / unit:,.1f}",
            "range": f"{row.p10 / unit:,.1f}–{row.p90 / unit:,.1f}",
        }
        for row in told.itertuples()
    ]
    booked = [
        {"quarter": row.period, "booked": row.actual / unit, "label": f"{row.actual / unit:,.1f}"}
        for row in past.itertuples()
    ]
    x = {
        "field": "quarter",
        "type": "ordinal",
        "title": None,
        "axis": {"labelAngle": 0, **({} if is_wide else {"labelFontSize": 9, "labelOverlap": False})},
        "sort": [row["quarter"] for row in (*booked, *ahead)],
    }
    title = f"{currency}{word}"
    range_text = "hatched: 8 times in 10 within; tick: as often above as below; dark bar: already won"
    layers = [
        layer(booked, {"type": "bar", "color": GREY, "size": bar}, x=x, y=amount_axis("booked", title)),
        layer(
            ahead,
            HATCHED | {"size": bar},
            x=x,
            y=amount_axis("p10", title),
            y2={"field": "p90"},
        ),
        layer(ahead, {"type": "bar", "color": BLUE, "size": bar * 0.45}, x=x, y=amount_axis("won", title)),
        layer(
            ahead,
            {"type": "tick", "color": INK, "thickness": 3, "size": bar + 4},
            x=x,
            y=amount_axis("p50", title),
        ),
        layer(
            booked,
            {"type": "text", "dy": -8, "color": INK},
            x=x,
            y=amount_axis("booked", title),
            text={"field": "label"},
        ),
        layer(
            ahead,
            {"type": "text", "dy": -20 if is_wide else -8, "color": INK, "fontWeight": "bold"},
            x=x,
            y=amount_axis("p90", title),
            text={"field": "label"},
        ),
    ]
    if is_wide:
        layers.append(
            layer(
                ahead,
                {"type": "text", "dy": -8, "color": INK, "fontSize": 10},
                x=x,
                y=amount_axis("p90", title),
                text={"field": "range"},
            )
        )
    return framed(
        f"Bookings per quarter: booked (grey) and forecast on {day_in_words(day)} (blue)",
        range_text,
        {"layer": layers, "width": width, "height": 260 if is_wide else 200},
    )


def accuracy_chart(backtest: pd.DataFrame, width: int = 560) -> Spec | None:
    """The error of what was served, by horizon, against the baseline chosen before each outcome.

    `backtest`: rows of `forecast_backtest` for the whole business. None while no origin is completed.
    """
    points = accuracy_points(backtest)
    if points.empty:
        return None
    rows = [
        {
            "horizon": row.horizon,
            "served": row.served,
            "baseline": row.baseline,
            "label": f"{row.served:.0%} against {row.baseline:.0%}"
            + (f" ({row.origins} forecasts)" if width >= 560 else ""),
            "right": max(row.served, row.baseline),
        }
        for row in points.itertuples()
    ]
    widest = float(points[["served", "baseline"]].max().max())
    x = {
        "type": "quantitative",
        "scale": {"domain": [0, widest * (1.55 if width >= 560 else 1.75) or 1.0]},
        "axis": {"format": "%", "title": "sum of errors / bookings (WAPE)", "tickCount": 6},
    }
    y = {
        "field": "horizon",
        "type": "ordinal",
        "title": None,
        "sort": [row["horizon"] for row in rows],
        "axis": {"labelLimit": 200},
    }
    layers = [
        layer(
            rows,
            {"type": "rule", "color": GREY, "strokeWidth": 2},
            x=x | {"field": "served"},
            x2={"field": "baseline"},
            y=y,
        ),
        layer(
            rows,
            {
                "type": "point",
                "shape": "diamond",
                "color": ORANGE,
                "size": 110,
                "strokeWidth": 2,
                "filled": False,
            },
            x=x | {"field": "baseline"},
            y=y,
        ),
        layer(
            rows,
            {"type": "point", "color": BLUE, "size": 110, "filled": True},
            x=x | {"field": "served"},
            y=y,
        ),
        layer(
            rows,
            {"type": "text", "align": "left", "dx": 12, "color": INK},
            x=x | {"field": "right"},
            y=y,
            text={"field": "label"},
        ),
    ]
    return framed(
        "How far forecasts were off: served (blue dot) and best baseline (orange diamond)",
        "every past week replayed with what was known then; further left is better",
        {"layer": layers, "width": width, "height": {"step": 34}},
    )


def accuracy_points(backtest: pd.DataFrame) -> pd.DataFrame:
    """Per horizon the WAPE of the served method and of the best baseline, on the origins that have both.

    Columns: horizon, origins, served, baseline.
    """
    key = ["horizon", "origin", "period"]
    pair = [
        backtest.loc[backtest[flag], [*key, "forecast", "actual"]]
        for flag in ("is_served", "is_best_baseline")
    ]
    both = pair[0].merge(pair[1].drop(columns="actual"), on=key, suffixes=("", "_baseline"))
    both["served"] = (both["forecast"] - both["actual"]).abs()
    both["baseline"] = (both["forecast_baseline"] - both["actual"]).abs()
    both["booked"] = both["actual"].abs()
    sums = both.groupby("horizon").agg(
        origins=("origin", "size"),
        served=("served", "sum"),
        baseline=("baseline", "sum"),
        booked=("booked", "sum"),
    )
    sums = sums[sums["booked"] > 0]
    order = [name for name in _HORIZONS if name in sums.index]
    return (
        sums.assign(served=sums["served"] / sums["booked"], baseline=sums["baseline"] / sums["booked"])
        .loc[order, ["origins", "served", "baseline"]]
        .reset_index()
    )


_HORIZONS = (
    "this quarter, early",
    "this quarter, middle",
    "this quarter, late",
    *(f"quarter+{number}" for number in range(1, 5)),
)


def calibration_chart(calibration: pd.DataFrame, is_stacked: bool = False) -> Spec | None:
    """Predicted against actual per decile of the chance, by number of deals and by amount.

    `calibration`: rows of `forecast_calibration` with all horizons of a running quarter together. None
    without any.
    """
    if calibration.empty:
        return None
    told = calibration.sort_values("decile")
    currency = str(told["currency"].iloc[0])
    unit, word = unit_of(float(told[["predicted_amount", "actual_amount"]].max().max()))
    deals, wins = int(told["deals"].sum()), int(told["actual_wins"].sum())
    by_count = [
        {"predicted": row.predicted_wins / row.deals, "actual": row.actual_wins / row.deals}
        for row in told.itertuples()
    ]
    by_amount = [
        {"predicted": row.predicted_amount / unit, "actual": row.actual_amount / unit}
        for row in told.itertuples()
    ]
    ratios = (
        wins / float(told["predicted_wins"].sum()),
        float(told["actual_amount"].sum()) / float(told["predicted_amount"].sum() or 1),
    )
    panels = [
        _diagonal(by_count, f"By deals: {ratios[0]:.2f} won per win predicted", "share of deals", ".0%"),
        _diagonal(
            by_amount, f"By amount: {ratios[1]:.2f} booked per 1.00 predicted", f"{currency}{word}", ",.1f"
        ),
    ]
    span = f"{day_in_words(told['first_origin'].min())} to {day_in_words(told['last_origin'].max())}"
    return framed(
        f"Do the chances hold? {deals:,} open deals of past quarters, {wins:,} won in their quarter",
        f"one dot per tenth of the deals, by chance; on the line = as predicted; {span}",
        {"vconcat" if is_stacked else "hconcat": panels},
    )


def _diagonal(rows: list[dict[str, float]], title: str, axis: str, number: str) -> Spec:
    top = max(max(row.values()) for row in rows) * 1.08 or 1.0

    def scale(field: str, what: str) -> Spec:
        return {
            "field": field,
            "type": "quantitative",
            "scale": {"domain": [0, top]},
            "axis": {"format": number, "title": f"{what} ({axis})", "tickCount": 5},
        }

    encoding = {"x": scale("predicted", "predicted"), "y": scale("actual", "actual")}
    line = [{"predicted": 0, "actual": 0}, {"predicted": top, "actual": top}]
    return {
        "title": {"text": title, "fontSize": 12, "fontWeight": "normal", "anchor": "start"},
        "width": 270,
        "height": 240,
        "layer": [
            layer(line, {"type": "line", "color": GREY, "strokeDash": [4, 4]}, **encoding),
            layer(rows, {"type": "point", "filled": True, "size": 90, "color": BLUE}, **encoding),
        ],
    }
