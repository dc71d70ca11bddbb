"""What changed in the open pipeline: the waterfall, and the deals behind each of its bars."""

from collections.abc import Callable, Collection

import pandas as pd

from dagster_project.charts.bridge_chart import bridge_chart
from dagster_project.charts.chart_spec import unit_of
from dagster_project.charts.forecast_change_chart import largest_deals, waterfall_chart, waterfall_steps
from dagster_project.charts.page_charts import PAGE_WIDTH
from dagster_project.report.blocks import Chart, Choice, Column, Fold, Section, Shown, Table, Words, nothing
from dagster_project.report.blocks import Sentence as Remark
from dagster_project.report.head_section import QUARTER, SAME_DAY, WEEK
from dagster_project.report.marts import MOST_DEALS_PER_BAR
from dagster_project.report.page_context import PageContext
from dagster_project.report.published import Row
from dagster_project.report.slices import NONE, Slice
from dagster_project.report.words import UNKNOWN, deals, exact, long_date, money

WATERFALL, MOVEMENTS, CHANGES = "mart_pipeline_waterfall", "fct_pipeline_movements", "forecast_changes"
BUCKETS = {
    "created": "Created",
    "reopened": "Reopened",
    "restored": "Restored",
    "transferred_in": "Handed over in",
    "increased": "Amount raised",
    "decreased": "Amount lowered",
    "fx": "Exchange rates",
    "won": "Won",
    "lost": "Lost",
    "closed_other": "Closed otherwise",
    "deleted_or_merged": "Deleted or merged",
    "transferred_out": "Handed over out",
    "closed_outside_scope": "Closed elsewhere",
}
PRECEDENCE = (
    "A deal stands in one bar. Where several fit, a deal that came in stands in the first of: created, "
    "restored, reopened, handed over; one that went out in the first of: deleted or merged, won, lost, "
    "closed otherwise, handed over. Deals that stayed stand where their amount or its exchange rate changed."
)
ANOTHER_TEAM = "somebody of another team"
ENTRIES = ("created", "reopened", "restored", "transferred_in")
SAME_DEALS = ("increased", "decreased", "fx")


def change_section(context: PageContext) -> Section:
    """The section, for every slice, the two periods that can be compared, by amount and by number."""
    parts = []
    for part in context.edition.slices:
        rows = {row["period_type"]: row for row in part.own(context.marts.waterfalls)}
        for compared in (WEEK, QUARTER):
            parts += _of_period(context, part, compared, rows.get(compared))
        note = "The steps from the same day of last quarter are not told: choose the week or the quarter."
        parts.append(Shown(nothing(note), context.when(part, compare=SAME_DAY)))
    parts += _forecast_changes(context)
    remark = Remark("How deals are counted", PRECEDENCE, [f"{MOVEMENTS}.bucket"])
    parts.append(Shown(Words((remark,))))
    measure = Choice("measure", "Show as", [("amount", "amount"), ("deals", "number of deals")])
    return Section(3, "What changed", "How did the open pipeline get from then to now?", parts, [measure])


def _of_period(context: PageContext, part: Slice, compared: str, row: Row | None) -> list[Shown]:
    when = {measure: context.when(part, compare=compared, measure=measure) for measure in ("amount", "deals")}
    if row is None:
        return [Shown(nothing("Nothing was open in this period."), context.when(part, compare=compared))]
    is_priced = row["start_amount"] is not None and row["end_amount"] is not None
    steps = _steps(row)
    table = Table(
        f"changes-{compared}",
        f"Steps of {row['period']}, from {long_date(row['period_start'])}",
        [
            Column("label", "Step"),
            Column("deals", "Deals", "count", f"{WATERFALL}.deals_end"),
            Column("amount", f"Amount ({context.currency})", "amount", f"{WATERFALL}.end_amount"),
        ],
        steps,
        WATERFALL,
    )
    found = []
    if is_priced and any(step["amount"] for step in steps):
        found.append(Shown(_chart(context, row, steps, table, "amount"), when["amount"]))
    else:
        found.append(Shown(nothing("Amounts are not known: see the number of deals."), when["amount"]))
    found.append(Shown(_chart(context, row, steps, table, "deals"), when["deals"]))
    if context.edition.has_names:
        fold = _deals(context, part, compared, row)
        if fold.tables:
            found.append(Shown(fold, context.when(part, compare=compared)))
    return found


def _steps(row: Row) -> list[Row]:
    steps = [
        {"name": "start", "label": "Open then", "deals": row["deals_start"], "amount": row["start_amount"]}
    ]
    for name, label in BUCKETS.items():
        amount, number = row[f"{name}_amount"], row[f"deals_{name}"]
        if amount or number:
            steps.append({"name": name, "label": label, "deals": number, "amount": amount})
    steps.append({"name": "end", "label": "Open now", "deals": row["deals_end"], "amount": row["end_amount"]})
    return steps


def _chart(context: PageContext, row: Row, steps: list[Row], table: Table, measure: str) -> Chart | Table:
    frame, level = [], float(steps[0][measure] or 0)
    for step in steps:
        is_total = step["name"] in ("start", "end")
        if measure == "deals" and step["name"] in SAME_DEALS:
            continue
        value = float(step[measure] or 0)
        if measure == "deals" and not is_total and step["name"] not in ENTRIES:
            value = -value
        if is_total:
            level = value
            frame.append((step["label"], 0.0, value, value, True, False))
        else:
            is_gain = step["name"] == "won"
            frame.append((step["label"], value, level, level + value, False, is_gain))
            level += value
    words = "number of deals" if measure == "deals" else context.currency
    spec = bridge_chart(
        pd.DataFrame(frame, columns=["label", "delta", "before", "after", "is_total", "is_gain"]),
        f"Open pipeline, {row['period']}: from then to now",
        "blue: more (+), or won; orange: less (-)"
        + ("" if measure == "deals" else f"; steps in {_unit(steps, context.currency)}"),
        "open deals" if measure == "deals" else f"open pipeline ({words}%s)",
        PAGE_WIDTH,
        0 if measure == "deals" else 1,
    )
    described = "; ".join(
        f"{step['label']}: "
        + (deals(step["deals"]) if measure == "deals" else money(step["amount"], context.currency))
        for step in steps
    )
    return context.chart(spec, described, table)


def _unit(steps: list[Row], currency: str) -> str:
    largest = max((abs(float(step["amount"] or 0)) for step in steps[1:-1]), default=0.0)
    return f"{currency}{unit_of(largest)[1]}"


def _deals(context: PageContext, part: Slice, compared: str, row: Row) -> Fold:
    tables = []
    moves = [r for r in part.own(context.marts.movements) if r["period_type"] == compared]
    for name, label in BUCKETS.items():
        own = [move for move in moves if move["bucket"] == name]
        if context.edition.kind == "team":
            own = [_of_the_team(move, context.team_owners) for move in own]
        if not own:
            continue
        total = row[f"deals_{name}"]
        more = f"The {len(own)} largest of {total:,}." if total > len(own) else ""
        tables.append(
            Table(
                f"{compared}-{name}",
                f"{label}: {deals(total)}",
                [
                    Column("deal_name", "Deal", link="deal_url"),
                    Column("amount", f"Moved ({context.currency})", "amount", f"{MOVEMENTS}.amount"),
                    Column("from_amount", "Amount", told=_amounts, sorts="to_amount"),
                    Column("from_stage", "Stage", told=_pair("stage"), sorts="to_stage"),
                    Column(
                        "from_close_date",
                        "Close date",
                        "date",
                        told=_pair("close_date"),
                        sorts="to_close_date",
                    ),
                    Column("from_owner", "Owner", told=_pair("owner"), sorts="to_owner"),
                ],
                own,
                MOVEMENTS,
                more,
            )
        )
    return Fold(f"The deals behind each bar (up to {MOST_DEALS_PER_BAR} of each)", tables)


def _of_the_team(move: Row, owners: Collection[str]) -> Row:
    """A deal's step without what it was, or became, in the hands of another team."""
    found = dict(move)
    for side, foreign in (("from", "transferred_in"), ("to", "transferred_out")):
        if move["bucket"] == foreign:
            found |= {f"{side}_{name}": None for name in ("amount", "stage", "close_date")}
        owner = move[f"{side}_owner"]
        if owner is not None and owner != NONE and owner not in owners:
            found[f"{side}_owner"] = ANOTHER_TEAM
    return found


def _amounts(row: Row) -> str:
    return _arrow(*(None if row[key] is None else exact(row[key]) for key in ("from_amount", "to_amount")))


def _pair(name: str) -> Callable[[Row], str]:
    return lambda row: _arrow(row[f"from_{name}"], row[f"to_{name}"])


def _arrow(before: object, after: object) -> str:
    if before is None and after is None:
        return UNKNOWN
    if before == after:
        return str(after)
    if before is None or after is None:
        return str(after if before is None else before)
    return f"{before} → {after}"


def _forecast_changes(context: PageContext) -> list[Shown]:
    """What moved the forecast since the one before; it names deals of the whole business."""
    if context.edition.kind != "full":
        return []
    changes, now = context.marts.forecast_changes, context.marts.forecast_now
    if now is None:
        return []
    if not changes:
        note = "No earlier forecast is stored to compare with: what moved it is told from the second day on."
        return [Shown(nothing(note), context.when(context.edition.base))]
    frame = pd.DataFrame(changes)
    before = float(now["mean"]) - float(frame["delta"].sum())
    steps = waterfall_steps(frame, before, context.marts.deal_names(largest_deals(frame)))
    spec = waterfall_chart(
        steps,
        context.currency,
        now["period"],
        changes[0]["prior_as_of"],
        context.marts.stamp.as_of,
        PAGE_WIDTH,
    )
    table = Table(
        "forecast-changes",
        f"What moved the forecast of {now['period']}",
        [
            Column("label", "Step"),
            Column("delta", f"Change ({context.currency})", "amount", f"{CHANGES}.delta"),
            Column("after", "Forecast after it", "amount", "forecast_bookings_latest.mean"),
        ],
        steps.to_dict("records"),
        CHANGES,
    )
    return [Shown(context.chart(spec, table.caption, table), context.when(context.edition.base))]
