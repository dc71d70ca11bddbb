"""Reps, products, regions and customers side by side; and what was lost, where, and why."""

from dagster_project.charts.chart_spec import ORANGE
from dagster_project.charts.page_charts import PAGE_WIDTH
from dagster_project.charts.stage_charts import bar_chart, interval_chart
from dagster_project.report.blocks import Chart, Choice, Column, Section, Shown, Table, nothing
from dagster_project.report.marts import MEMBER_TYPES, MOST_MEMBERS
from dagster_project.report.page_context import PageContext
from dagster_project.report.published import Row
from dagster_project.report.slices import NONE
from dagster_project.report.words import share_with_range

PERFORMANCE, LOSSES = "mart_sales_performance", "mart_loss_reasons"
TITLES = {"owner": "Reps", "product": "Products", "region": "Regions", "account": "Customers"}
MOST_REASONS = 10


def member_section(context: PageContext) -> Section:
    """One table per kind of member, and dots with intervals against the whole; no order by a bare rate."""
    kinds = [kind for kind in MEMBER_TYPES if kind != "owner" or context.edition.has_names]
    if context.edition.kind == "team":
        kinds = ["owner"]
    year = context.marts.year
    title, question = (
        "Reps, products, regions, customers",
        "Who differs from the whole by more than chance?",
    )
    if context.edition.kind == "team":
        title, question = "Reps of the team", "Who differs from the whole business by more than chance?"
    if year is None:
        return Section(8, title, question, [Shown(nothing("No deal was won or lost yet."))])
    parts = []
    for kind in kinds:
        own = context.team_owners if context.edition.kind == "team" else None
        rows = context.marts.performance(kind, own)
        told = [row for row in rows if row["segment"] != NONE or len(rows) > 1]
        when = {"members": kind} if len(kinds) > 1 else {}
        if not told:
            parts.append(Shown(nothing(f"Nothing is recorded by which {TITLES[kind].lower()} differ."), when))
            continue
        parts += [Shown(block, when) for block in _members(context, kind, told, year)]
    choice = Choice("members", "By", [(kind, TITLES[kind]) for kind in kinds])
    return Section(8, title, question, parts, [choice] if len(kinds) > 1 else [])


def _members(context: PageContext, kind: str, rows: list[Row], year: Row) -> list[Chart | Table]:
    told = [row | {"differs": _differs(row)} for row in rows]
    table = Table(
        f"by-{kind}",
        f"{TITLES[kind]}, {year['period']}: won, and win rate beside the whole",
        [
            Column("segment", TITLES[kind]),
            Column("deals_won", "Won", "count", f"{PERFORMANCE}.deals_won"),
            Column("deals_lost", "Lost", "count", f"{PERFORMANCE}.deals_lost"),
            Column("won_amount", f"Won ({context.currency})", "amount", f"{PERFORMANCE}.won_amount"),
            Column(
                "win_rate_count",
                "Win rate (95% range)",
                "share",
                f"{PERFORMANCE}.win_rate_count",
                told=lambda row: share_with_range(row["win_rate_count"], row["rate_low"], row["rate_high"]),
                sorts="rate_low",
            ),
            Column("differs", "Against the others", source=f"{PERFORMANCE}.differs_from_total"),
            Column("median_deal_amount", "Typical deal", "amount", f"{PERFORMANCE}.median_deal_amount"),
            Column(
                "sales_cycle_median_days", "Cycle (days)", "days", f"{PERFORMANCE}.sales_cycle_median_days"
            ),
        ],
        told,
        PERFORMANCE,
        f"Up to {MOST_MEMBERS}, by amount won. A win rate is sorted by the lower end of its range.",
    )
    points = [
        {
            "name": row["segment"],
            "rate": row["win_rate_count"],
            "low": row["rate_low"],
            "high": row["rate_high"],
        }
        for row in rows
    ]
    title = f"{TITLES[kind]}: win rates of {year['period']} with their 95% ranges"
    spec = interval_chart(points, year["win_rate_count"], title, PAGE_WIDTH)
    chart = context.chart(spec, f"{title}; the table has every figure", table)
    return [chart, table] if isinstance(chart, Chart) else [table]


def _differs(row: Row) -> str:
    if row["differs_from_total"] is None:
        return "too few to say"
    if not row["differs_from_total"]:
        return "no more than chance"
    return "differs by more than chance"


def loss_section(context: PageContext) -> Section:
    """Losses by the stage they were lost from and by reason, for every slice."""
    year = context.marts.year
    parts = []
    for part in context.edition.slices:
        rows = part.own(context.marts.losses)
        when = context.when(part)
        if not rows:
            parts.append(Shown(nothing("No loss is recorded in this period."), when))
            continue
        for breakdown in ("stage", "reason"):
            own = [row for row in rows if row["breakdown"] == breakdown]
            if own:
                block = _losses(context, breakdown, own, part == context.edition.base)
                parts.append(Shown(block, when))
    when_words = f", {year['period']}" if year else ""
    return Section(9, f"Won and lost{when_words}", "Where are deals lost, and why?", parts)


def _losses(context: PageContext, breakdown: str, rows: list[Row], is_drawn: bool) -> Chart | Table:
    title = (
        "Deals lost, by the stage they were lost from" if breakdown == "stage" else "Deals lost, by reason"
    )
    told = [row | {"name": _name(row, breakdown)} for row in rows[:MOST_REASONS]]
    table = Table(
        f"lost-by-{breakdown}",
        title,
        [
            Column("name", "Stage" if breakdown == "stage" else "Reason"),
            Column("deals_lost", "Deals", "count", f"{LOSSES}.deals_lost"),
            Column(
                "lost_share_rate",
                "Share (95% range)",
                "share",
                f"{LOSSES}.lost_share_rate",
                told=lambda row: share_with_range(row["lost_share_rate"], row["rate_low"], row["rate_high"]),
                sorts="rate_low",
            ),
            Column("lost_amount", f"Amount ({context.currency})", "amount", f"{LOSSES}.lost_amount"),
            Column(
                "median_days_in_stage_lost_at",
                "Days in the last stage",
                "days",
                f"{LOSSES}.median_days_in_stage_lost_at",
            ),
        ],
        told,
        LOSSES,
        f"The first {MOST_REASONS} of {len(rows):,}." if len(rows) > MOST_REASONS else "",
    )
    if not is_drawn:
        return table
    bars = [
        {"name": row["name"], "value": row["deals_lost"], "label": f"-{row['deals_lost']:,}"} for row in told
    ]
    described = "; ".join(f"{bar['name']}: {bar['value']:,}" for bar in bars)
    return context.chart(bar_chart(bars, title, "deals lost", ORANGE, PAGE_WIDTH), described, table)


def _name(row: Row, breakdown: str) -> str:
    if breakdown == "stage":
        stage = row["stage_lost_at"] or row["item"]
        return f"{stage} ({row['pipeline']})" if row["pipeline"] else str(stage)
    return "no reason recorded" if row["item"] in (None, NONE) else str(row["item"])
