"""Why to believe it: the forecast's record, the state of the data, and what every figure means."""

from collections.abc import Sequence

import pandas as pd

from dagster_project.charts.forecast_charts import accuracy_chart, calibration_chart
from dagster_project.charts.page_charts import PAGE_WIDTH
from dagster_project.report.blocks import Column, Fold, Part, Section, Sentence, Shown, Table, Words, nothing
from dagster_project.report.page_context import PageContext
from dagster_project.report.published import Definition
from dagster_project.report.words import count, long_date, of_things

ACCURACY, CALIBRATION, BACKTEST = "forecast_accuracy", "forecast_calibration", "forecast_backtest"
QUALITY, READINESS = "mart_data_quality", "mart_data_readiness"
LIVE = "forecast_accuracy_live"
ALERTS = "alerts"
HEALTH = "mart_deal_health"
MOST_ALERTS = 8
RULES_OF_NO_DEAL = ("data_older_than_expected", "history_begins_in_the_middle")
"""Rules that speak of the files and not of deals: no other team's deals can be counted or named in them."""
RULES_OF_OPEN_DEALS = {
    "is_past_due": "the expected close date is past",
    "has_no_close_date": "no expected close date",
    "has_unchanged_close_date": "the close date is as it was long ago",
    "is_pushed_often": "the close date was moved three times or more",
    "has_no_amount": "no amount",
    "has_zero_amount_late": "an amount of zero in a late stage",
    "has_no_account": "no account",
    "has_no_next_step": "no next step",
    "has_no_activity": "no activity for long",
    "has_inactive_owner": "the owner is no longer active",
    "has_odd_probability": "a probability that does not fit the stage",
    "has_moved_backward": "moved backward",
    "has_no_created_date": "no created date",
}
NAMES_IN_SETTINGS = "exclude.owners"


def record_section(context: PageContext) -> Section:
    """How far forecasts were off, whether chances hold, and live forecasts apart from replayed ones."""
    published = context.marts.published
    errors = _errors(context)
    live = published.rows(LIVE, "segment_type = 'total' and method = 'served'", order="horizon")
    parts = [Shown(errors)] if errors is not None else []
    if parts:
        parts += [Shown(block) for block in _chances(context)]
    if live:
        caption = "Live forecasts, against what was then booked"
        parts.append(Shown(_accuracy_table("live", caption, live, LIVE)))
    elif parts:
        note = "No quarter of a live forecast is over yet; the record above replays past weeks."
        parts.append(Shown(nothing(note)))
    if not parts:
        note = "There is too little history for a record: no past quarter could be replayed."
        parts.append(Shown(nothing(note)))
    question = "How far were forecasts off, and do the chances hold? (whole business)"
    return Section(10, "The forecast's track record", question, parts)


def _errors(context: PageContext) -> Part | None:
    published = context.marts.published
    rows = published.rows(
        ACCURACY,
        "segment_type = 'total' and method = 'served'",
        order="case when horizon like '%early' then 0 when horizon like '%middle' then 1 "
        "when horizon like '%late' then 2 else 3 end, horizon",
    )
    if not rows:
        return None
    table = _accuracy_table("accuracy", "Errors of replayed forecasts", rows, ACCURACY)
    backtest = published.rows(BACKTEST, "segment_type = 'total' and (is_served or is_best_baseline)")
    if not backtest:
        return table
    frame = pd.DataFrame(backtest).astype({"forecast": float, "actual": float})
    described = "; ".join(
        f"{row['horizon']}: {row['wape']:.0%} off" for row in rows if row["wape"] is not None
    )
    return context.chart(accuracy_chart(frame, PAGE_WIDTH), described, table)


def _accuracy_table(name: str, caption: str, rows: Sequence[dict], source: str) -> Table:
    number = "forecasts" if source == LIVE else "origins"
    return Table(
        name,
        caption,
        [
            Column("horizon", "Horizon", source=f"{source}.horizon"),
            Column(number, "Forecasts", "count", f"{source}.{number}"),
            Column("quarters", "Quarters", "count", f"{source}.quarters"),
            Column("wape", "Off by (WAPE)", "share", f"{source}.wape"),
            Column("bias", "Too high by (bias)", "share", f"{source}.bias"),
            Column("interval_coverage", "Ranges that held", "share", f"{source}.interval_coverage"),
        ],
        rows,
        source,
        "A range should hold 80% of the time. A negative bias means that forecasts were too low.",
    )


def _chances(context: PageContext) -> list[Part]:
    if context.edition.kind == "team":
        return []
    rows = context.marts.published.rows(
        CALIBRATION, "horizon = 'this quarter' and segment_type = 'total'", order="decile"
    )
    if not rows:
        return [nothing("Too few open deals of past quarters to check the chances of single deals.")]
    frame = pd.DataFrame(rows).astype({"predicted_amount": float, "actual_amount": float})
    for name in ("first_origin", "last_origin"):
        frame[name] = pd.to_datetime(frame[name])
    table = Table(
        "chances",
        "Chances of single deals against what came",
        [
            Column("decile", "Tenth of the deals", "count", f"{CALIBRATION}.decile"),
            Column("deals", "Deals", "count", f"{CALIBRATION}.deals"),
            Column("predicted_wins", "Wins predicted", "days", f"{CALIBRATION}.predicted_wins"),
            Column("actual_wins", "Wins", "count", f"{CALIBRATION}.actual_wins"),
            Column("predicted_amount", "Amount predicted", "amount", f"{CALIBRATION}.predicted_amount"),
            Column("actual_amount", "Amount won", "amount", f"{CALIBRATION}.actual_amount"),
        ],
        rows,
        CALIBRATION,
    )
    described = "Predicted against actual wins per tenth of the deals, by number and by amount"
    return [context.chart(calibration_chart(frame, is_stacked=True), described, table)]


def data_section(context: PageContext) -> Section:
    """What is wrong in the data with what to do, and what the data cannot tell."""
    published = context.marts.published
    quality = published.rows(
        QUALITY,
        "status in ('finding', 'gap')",
        order="case severity when 'error' then 0 when 'warning' then 1 else 2 end, "
        "coalesce(deals_affected, 0) desc, rule",
    )
    whole = ""
    if context.edition.kind == "team":
        quality = [row for row in quality if row["rule"] in RULES_OF_NO_DEAL]
        whole = " (whole business)"
    elif context.edition.kind == "board":
        quality = [row for row in quality if row["subject"] == "(all)"]
    readiness = readiness_rows(context)
    parts = [Shown(_team_quality(context))] if context.edition.kind == "team" else []
    if quality:
        table = Table(
            "data-quality",
            f"What is wrong in the data{whole}: {of_things(len(quality), 'finding')}",
            [
                Column("severity", "Severity", source=f"{QUALITY}.severity"),
                Column("message", "Finding", source=f"{QUALITY}.message"),
                Column("remedy", "What to do", source=f"{QUALITY}.remedy"),
            ],
            quality,
            QUALITY,
        )
        parts.append(Shown(table))
    elif not parts:
        parts.append(Shown(nothing("No rule of data quality finds anything.")))
    if readiness:
        table = Table(
            "readiness",
            f"What the data cannot tell, or only in part{whole}: {of_things(len(readiness), 'metric')}",
            [
                Column("metric", "Metric"),
                Column("status", "Status", source=f"{READINESS}.status"),
                Column("reason_text", "Why", source=f"{READINESS}.reason_text"),
                Column("how_to_unlock", "What would help", source=f"{READINESS}.how_to_unlock"),
            ],
            readiness,
            READINESS,
        )
        parts.append(Shown(table))
    return Section(11, "Data quality and readiness", "Can these figures be trusted?", parts)


def _team_quality(context: PageContext) -> Table | Words:
    """What is wrong in the open deals of the edition's team, by rule; unbroken rules are left out."""
    rows = context.marts.team_rules(context.edition.base.segment, list(RULES_OF_OPEN_DEALS))
    told = [row | {"finding": RULES_OF_OPEN_DEALS[row["rule"]]} for row in rows if row["deals"]]
    if not told:
        return nothing("No rule of data quality finds anything in the open deals of this team.")
    return Table(
        "team-data-quality",
        f"What is wrong in the team's open deals: {of_things(len(told), 'finding')}",
        [
            Column("finding", "Finding"),
            Column("deals", "Deals", "count", f"{HEALTH}.hygiene_score"),
            Column("checked", "Of", "count"),
        ],
        told,
        HEALTH,
    )


def readiness_rows(context: PageContext) -> list[dict]:
    """Metrics that the data cannot carry, or only with words beside them."""
    return context.marts.published.rows(
        READINESS,
        "status <> 'ok'",
        order="case status when 'unavailable' then 0 else 1 end, metric_order, source_relation",
    )


def readiness_box(context: PageContext) -> Words | None:
    """For the head of the page: how much of it these data can fill. None where they fill it all."""
    rows = readiness_rows(context)
    if not rows:
        return None
    missing = [row for row in rows if row["status"] == "unavailable"]
    partly = len(rows) - len(missing)
    text = " and ".join(
        words
        for words in (
            f"{of_things(len(missing), 'metric')} cannot be told" if missing else "",
            f"{of_things(partly, 'metric')} only in part" if partly else "",
        )
        if words
    )
    reasons = [Sentence("", row["reason_text"]) for row in missing[:3] if row["reason_text"]]
    return Words(
        [
            Sentence(
                "What these data can tell you"
                + (", whole business" if context.edition.kind == "team" else ""),
                f"All but this: {text}; section 11 says what would help.",
            ),
            *reasons,
        ],
        "box",
    )


def alert_box(context: PageContext) -> Words | None:
    """For the head of the page: what the run noted that somebody should hear of. None where there is nothing.

    Alerts speak of the whole business, so an edition of one team has none; the board has none that name reps.
    """
    if context.edition.kind == "team":
        return None
    rows = context.marts.published.rows(
        ALERTS,
        "as_of = (select max(as_of) from _publish)",
        order="not is_new, case severity when 'critical' then 1 when 'warning' then 2 else 3 end, "
        "first_seen_on desc, sentence",
    )
    if not context.edition.has_names:
        owners = [row["owner"] for row in context.marts.published.rows("dim_owner", "owner <> '(none)'")]
        rows = [row for row in rows if not any(owner in row["sentence"] for owner in owners)]
    if not rows:
        return None
    new = sum(bool(row["is_new"]) for row in rows)
    sentences = [
        Sentence(
            "new" if row["is_new"] else f"since {long_date(row['first_seen_on'])}",
            row["sentence"],
            (f"{ALERTS}.kind",),
        )
        for row in rows[:MOST_ALERTS]
    ]
    left_out = len(rows) - len(sentences)
    if left_out:
        sentences.append(Sentence("", f"And {left_out} more in the table {ALERTS}."))
    head = Sentence("Alerts", f"{of_things(len(rows), 'alert')}, {new or 'none'} of them new.")
    return Words([head, *sentences], "box")


def definition_section(
    context: PageContext, definitions: Sequence[Definition], settings: Sequence[tuple[str, str]]
) -> Section:
    """What every figure of the page means, and the settings that differ from the default."""
    parts: list[Shown] = []
    if settings:
        table = Table(
            "settings",
            "Settings that differ from the default",
            [Column("setting", "Setting (metrics: in pipeline.yaml)"), Column("value", "Value")],
            [{"setting": name, "value": _setting(context, name, value)} for name, value in settings],
            "pipeline.yaml",
        )
        parts.append(Shown(table))
    else:
        text = f"All {count(len(definitions))} definitions are the default ones: no setting differs."
        parts.append(Shown(Words((Sentence("", text),))))
    rows = [
        {
            "name": definition.name,
            "meaning": definition.meaning,
            "formula": definition.formula,
            "caveats": definition.caveats,
            "source": definition.source,
        }
        for definition in definitions
    ]
    if rows:
        parts.append(
            Shown(
                Fold(
                    f"All {count(len(rows))} definitions",
                    [
                        Table(
                            "definitions",
                            "What the figures mean",
                            [
                                Column("name", "Figure"),
                                Column("meaning", "Meaning"),
                                Column("formula", "Formula"),
                                Column("caveats", "Keep in mind"),
                                Column("source", "Table and column"),
                            ],
                            rows,
                            "mart_metric_definitions, and the comments of columns",
                        )
                    ],
                )
            )
        )
    return Section(12, "Definitions and settings", "What exactly does a figure mean?", parts)


def _setting(context: PageContext, name: str, value: str) -> str:
    """The value; reps that a setting names are for the edition that names all reps."""
    return "see pipeline.yaml" if name == NAMES_IN_SETTINGS and context.edition.kind != "full" else value
