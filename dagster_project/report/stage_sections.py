"""Stages: how many go on, how long it takes, and where it got worse by more than chance."""

from dataclasses import replace

from dagster_project.charts.page_charts import PAGE_WIDTH
from dagster_project.charts.stage_charts import conversion_chart, duration_chart, survival_chart
from dagster_project.report.blocks import Chart, Column, Section, Sentence, Shown, Table, Words, nothing
from dagster_project.report.page_context import PageContext
from dagster_project.report.published import Row
from dagster_project.report.slices import Slice
from dagster_project.report.words import count, share, share_with_range

CONVERSION, DURATIONS = "mart_stage_conversion", "mart_stage_durations"
BOTTLENECKS = "mart_bottlenecks"
MOST_FINDINGS = 10
CHANGES = {
    "finding": "worse by more than chance",
    "improved": "better by more than chance",
    "within_noise": "no more than chance",
    "too_few_deals": "too few deals to say",
}


def conversion_section(context: PageContext) -> Section:
    """How many go on from each stage, for every slice; one chart per pipeline."""
    parts = []
    for part in context.edition.slices:
        rows = part.own_stages(context.marts.conversion)
        told = [row for row in rows if row["conversion_denominator"]]
        when = context.when(part)
        if not told:
            note = "No deal was seen leaving an open stage in a full quarter, so there is no funnel to show."
            parts.append(Shown(nothing(note), when))
        for pipeline in dict.fromkeys(row["pipeline"] for row in told):
            own = [row for row in told if row["pipeline"] == pipeline]
            parts.append(Shown(_conversion(context, pipeline, own, _is_drawn(context, part)), when))
    return Section(5, "Funnel", "How many deals go on from each stage, and is that changing?", parts)


def _is_drawn(context: PageContext, part: Slice) -> bool:
    """Regions and teams have their stages as tables: 14 parts of 3 pipelines would be 60 charts more."""
    return part == context.edition.base or part.segment_type == "pipeline"


def _conversion(context: PageContext, pipeline: str, rows: list[Row], is_drawn: bool) -> Chart | Table:
    table = Table(
        "funnel",
        f"{pipeline}: deals that went on from each stage",
        [
            Column("stage", "Stage", sorts="stage_order"),
            Column("period", "Quarter"),
            Column("conversion_numerator", "Went on", "count", f"{CONVERSION}.conversion_numerator"),
            Column("conversion_denominator", "Decided", "count", f"{CONVERSION}.conversion_denominator"),
            Column(
                "conversion_rate",
                "Share (95% range)",
                "share",
                f"{CONVERSION}.conversion_rate",
                told=lambda row: share_with_range(row["conversion_rate"], row["rate_low"], row["rate_high"]),
                sorts="rate_low",
            ),
        ],
        rows,
        CONVERSION,
    )
    told = [
        {
            "stage": row["stage"],
            "period": row["period"],
            "rate": row["conversion_rate"],
            "low": row["rate_low"],
            "high": row["rate_high"],
            "decided": row["conversion_denominator"],
        }
        for row in rows
    ]
    if not is_drawn:
        return table
    newest = max(row["period"] for row in rows)
    described = f"{pipeline}, {newest}: " + "; ".join(
        f"{row['stage']} {share(row['conversion_rate'])} of {count(row['conversion_denominator'])}"
        for row in rows
        if row["period"] == newest
    )
    chart = context.chart(conversion_chart(told, PAGE_WIDTH), described, table)
    return _titled(chart, f"{pipeline}: how many go on from each stage")


def duration_section(context: PageContext) -> Section:
    """Time in each stage, for every slice; the curves for the first one."""
    parts = []
    for part in context.edition.slices:
        rows = part.own_stages(context.marts.durations)
        told = [row for row in rows if row["median_days"] is not None]
        when = context.when(part)
        if not told:
            note = "No stage has enough visits with known dates to say how long deals stay in it."
            parts.append(Shown(nothing(note), when))
        for pipeline in dict.fromkeys(row["pipeline"] for row in told):
            own = [row for row in told if row["pipeline"] == pipeline]
            is_drawn = _is_drawn(context, part)
            is_base = part == context.edition.base
            parts += [Shown(b, when) for b in _durations(context, pipeline, own, is_drawn, is_base)]
    question = "How long do deals stay, those that are still there counted in?"
    return Section(6, "Time in stage", question, parts)


def _durations(
    context: PageContext, pipeline: str, rows: list[Row], is_drawn: bool, has_curves: bool
) -> list[Chart | Table]:
    table = Table(
        "time-in-stage",
        f"{pipeline}: days in each stage",
        [
            Column("stage", "Stage", sorts="stage_order"),
            Column("p25_days", "A quarter has left (P25)", "days", f"{DURATIONS}.p25_days"),
            Column("median_days", "Half have left (P50)", "days", f"{DURATIONS}.median_days"),
            Column("p75_days", "Three quarters have left (P75)", "days", f"{DURATIONS}.p75_days"),
            Column("p90_days", "Nine tenths have left (P90)", "days", f"{DURATIONS}.p90_days"),
            Column("visits_completed", "Visits ended", "count", f"{DURATIONS}.visits_completed"),
            Column("visits_open", "Still there", "count", f"{DURATIONS}.visits_open"),
        ],
        rows,
        DURATIONS,
    )
    told = [
        {"stage": row["stage"]} | {name: row[f"{name}_days"] for name in ("p25", "median", "p75", "p90")}
        for row in rows
    ]
    if not is_drawn:
        return [table]
    described = f"{pipeline}: " + "; ".join(
        f"half leave {row['stage']} in {row['median']:,.0f} days" for row in told
    )
    blocks = [
        _titled(
            context.chart(duration_chart(told, PAGE_WIDTH), described, table),
            f"{pipeline}: how long deals stay in each stage",
        )
    ]
    if has_curves:
        spec = survival_chart(told, 2, 125)
        if spec is not None:
            blocks.append(
                _titled(
                    context.chart(spec, described, table), f"{pipeline}: share still in the stage, by days"
                )
            )
    return blocks


def bottleneck_section(context: PageContext) -> Section:
    """Findings in words; nothing beyond chance is a result. Beside them, where the most is lost or held."""
    parts = []
    for part in context.edition.slices:
        rows = part.own_stages(context.marts.bottlenecks)
        when = context.when(part)
        parts.append(Shown(_findings(rows), when))
        ranked = [
            row
            for row in rows
            if row["amount_rank"] is not None and row["amount_rank"] <= 2 and row["deals_at_stake"]
        ]
        if ranked:
            parts.append(Shown(_ranks(ranked, context.currency), when))
    others = [row for row in context.marts.other_findings if row["in_words"]]
    if not context.edition.has_names:
        others = [row for row in others if row["segment_type"] != "owner"]
    if others and context.edition.kind != "team":
        said = [Sentence(row["segment_type"], row["in_words"]) for row in others[:MOST_FINDINGS]]
        parts.append(Shown(Words(said), context.when(context.edition.base)))
    return Section(
        7,
        "Bottlenecks",
        "Did a stage get worse than it was, by more than chance?",
        parts,
    )


def _findings(rows: list[Row]) -> Words:
    tested = [row for row in rows if row["status"] in ("finding", "improved", "within_noise")]
    source = [f"{BOTTLENECKS}.status"]
    if not tested:
        return nothing("Too little history to compare stages with what they were.")
    told = [row for row in rows if row["status"] in ("finding", "improved") and row["in_words"]]
    if not told:
        text = (
            f"Nothing beyond chance: {len(tested):,} comparisons of a stage with what it was, in the last "
            "four full quarters against those before, found no change larger than chance gives."
        )
        return Words((Sentence("Result", text, source),))
    order = sorted(told, key=lambda row: (row["status"] != "finding", row["z"]))
    labels = {"finding": "Worse", "improved": "Better"}
    return Words([Sentence(labels[row["status"]], row["in_words"], source) for row in order[:MOST_FINDINGS]])


def _ranks(rows: list[Row], currency: str) -> Table:
    words = {"conversion": "lost in four quarters", "time_in_stage": "standing there now"}
    told = [
        row | {"what": words[row["measure"]], "change": CHANGES.get(row["status"], "not compared")}
        for row in rows
    ]
    return Table(
        "bottlenecks",
        "Where the most is lost, and where the most stands",
        [
            Column("pipeline", "Pipeline"),
            Column("stage", "Stage"),
            Column("what", "What", source=f"{BOTTLENECKS}.measure"),
            Column("deals_at_stake", "Deals", "count", f"{BOTTLENECKS}.deals_at_stake"),
            Column("at_stake_amount", f"Amount ({currency})", "amount", f"{BOTTLENECKS}.at_stake_amount"),
            Column(
                "share_of_pipeline_amount",
                "Share of the pipeline",
                "share",
                f"{BOTTLENECKS}.share_of_pipeline_amount",
            ),
            Column("change", "Compared with before", source=f"{BOTTLENECKS}.status"),
        ],
        sorted(told, key=lambda row: (row["what"], -float(row["at_stake_amount"] or 0))),
        BOTTLENECKS,
        "A rank is no finding: that stages differ from each other is their nature.",
    )


def _titled(block: Chart | Table, title: str) -> Chart | Table:
    return replace(block, title=title) if isinstance(block, Chart) else block
