"""The head of the page: where the pipeline stands, and what it was before, for each slice."""

from dagster_project.report.blocks import Choice, Figure, Figures, Shown
from dagster_project.report.page_context import PageContext
from dagster_project.report.published import Row
from dagster_project.report.slices import Slice
from dagster_project.report.words import deals, long_date, money, share

WEEK, QUARTER, SAME_DAY = "week", "quarter", "same_day"


def slice_choice(context: PageContext) -> Choice | None:
    """What part of the business to look at; nothing to choose in a page of one slice."""
    if not context.edition.others:
        return None
    options = [
        (part.key, part.label if part.segment_type == "total" else f"{part.segment_type}: {part.label}")
        for part in context.edition.slices
    ]
    return Choice("slice", "Show", options)


def compare_choice(context: PageContext) -> Choice:
    """With what to compare; the words name the days."""
    words = {WEEK: "start of this week", QUARTER: "start of the quarter"}
    options = [
        (name, f"{words[name]} ({row['period']})")
        for name in (WEEK, QUARTER)
        if (row := context.marts.periods.get(name))
    ]
    return Choice("compare", "Compare with", [*options, (SAME_DAY, "same day last quarter")])


def head_figures(context: PageContext) -> list[Shown]:
    """Open pipeline, won, and forecast of every slice, beside each of the days compared with."""
    return [
        Shown(Figures(_figures(context, part, compared)), context.when(part, compare=compared))
        for part in context.edition.slices
        for compared, _ in compare_choice(context).options
    ]


def _figures(context: PageContext, part: Slice, compared: str) -> list[Figure]:
    return [
        figure
        for figure in (
            _open(context, part, compared),
            _won(context, part, compared),
            _forecast(context, part, compared),
        )
        if figure is not None
    ]


def _open(context: PageContext, part: Slice, compared: str) -> Figure | None:
    rows = {row["period_type"]: row for row in part.own(context.marts.waterfalls)}
    now = rows.get(compared) or rows.get(QUARTER) or rows.get(WEEK)
    if now is None:
        return None
    currency, source = context.currency, "mart_pipeline_waterfall.end_amount"
    amount = now["end_amount"] if now["deals_end"] > now["deals_end_without_amount"] else None
    value = money(amount, currency) if amount is not None else deals(now["deals_end"])
    if compared == SAME_DAY:
        before = context.marts.same_day_last_quarter.get((part.segment_type, part.segment))
        if before is None or before["amount"] is None:
            return Figure("Open pipeline", value, "not told for the same day last quarter", source)
        day = long_date(before["period_start"])
        was, was_deals = before["amount"], before["deals"]
        detail = _change(amount, was, currency, f"on {day} ({deals(was_deals)})")
    else:
        detail = _change(amount, now["start_amount"], currency, f"({deals(now['deals_start'])})")
    return Figure("Open pipeline", value, f"{deals(now['deals_end'])}; {detail}", source)


def _change(now: float | None, before: float | None, currency: str, then: str) -> str:
    if now is None or before is None:
        return f"before: amounts not known {then}"
    difference = float(now) - float(before)
    words = "more" if difference >= 0 else "less"
    return f"{money(abs(difference), currency)} {words} than the {money(before, currency)} {then}"


def _won(context: PageContext, part: Slice, compared: str) -> Figure | None:
    rows = part.own(context.marts.pacing)
    now = next((row for row in rows if row["quarter_offset"] == 0 and row["is_as_of_day"]), None)
    if now is None or now["won_amount"] is None:
        return None
    value = money(now["won_amount"], context.currency)
    detail = deals(now["deals_won"])
    if compared == SAME_DAY:
        then = _same_business_day(rows, now)
        if then is not None:
            detail += f"; {money(then['won_amount'], context.currency)} by the same business day of "
            detail += then["period"]
    elif compared == WEEK and WEEK in context.marts.periods:
        start = context.marts.periods[WEEK]["period_start"]
        before = [r for r in rows if r["quarter_offset"] == 0 and r["last_day_on"] < start]
        gained = float(now["won_amount"]) - (float(before[-1]["won_amount"] or 0) if before else 0.0)
        detail += f"; {money(gained, context.currency)} of it this week"
    if now["quota_attainment"] is not None:
        detail += f"; {share(now['quota_attainment'])} of the quota"
    return Figure(f"Won in {now['period']}", value, detail, "mart_bookings_pacing.won_amount")


def _same_business_day(rows: list[Row], now: Row) -> Row | None:
    return next(
        (
            row
            for row in rows
            if row["quarter_offset"] == -1
            and row["business_day"] == now["business_day"]
            and row["won_amount"] is not None
        ),
        None,
    )


def _forecast(context: PageContext, part: Slice, compared: str) -> Figure | None:
    row = next((row for row in part.own(context.marts.forecasts) if row["quarter_offset"] == 0), None)
    if row is None:
        return None
    currency = context.currency
    detail = f"8 times in 10 between {money(row['p10'], currency)} and {money(row['p90'], currency)}"
    period = context.marts.periods.get(compared)
    if period is not None:
        earlier = [
            r
            for r in part.own(context.marts.earlier_forecasts)
            if r["period"] == row["period"] and r["as_of"] < period["period_start"]
        ]
        if earlier:
            then = earlier[0]
            detail += f"; {money(then['mean'], currency)} on {long_date(then['as_of'])}"
    return Figure(
        f"Forecast of {row['period']}", money(row["mean"], currency), detail, "forecast_bookings_latest.mean"
    )
