"""Five sentences with numbers: what changed, how the quarter goes, why, and what to do. True or not said."""

from dagster_project.report.blocks import Sentence, Shown, Words, nothing
from dagster_project.report.page_context import PageContext
from dagster_project.report.published import Row
from dagster_project.report.slices import Slice
from dagster_project.report.words import deals, listed, long_date, money, of_things, share

BUCKET_WORDS = {
    "created": "was created",
    "reopened": "was reopened",
    "restored": "was restored",
    "transferred_in": "came from other owners",
    "increased": "was added to amounts",
    "decreased": "was taken off amounts",
    "fx": "is due to exchange rates",
    "won": "was won",
    "lost": "was lost",
    "closed_other": "was closed otherwise",
    "deleted_or_merged": "was deleted or merged",
    "transferred_out": "went to other owners",
}
REASONS_SHOWN = 3
FEWEST_RANGES = 20
NO_STAGE = "(open, stage not recorded)"
"""What dim_stage calls the time in which a deal was open and nobody noted where."""


def sentence_parts(context: PageContext) -> list[Shown]:
    """The sentences of every slice of the page."""
    found = []
    for part in context.edition.slices:
        told = [
            sentence
            for sentence in (
                what_changed(context, part),
                how_the_quarter_goes(context, part),
                where_it_ends(context, part),
                why(context, part),
                what_to_do(context, part),
            )
            if sentence is not None
        ]
        words = Words(told, "key") if told else nothing("There is too little data for any sentence.")
        found.append(Shown(words, context.when(part)))
    return found


def what_changed(context: PageContext, part: Slice) -> Sentence | None:
    """The open pipeline of the running week, and the bars that moved it most; of counts without amounts."""
    rows = [row for row in part.own(context.marts.waterfalls) if row["period_type"] == "week"]
    if not rows:
        return None
    row, currency = rows[0], context.currency
    sources = ["mart_pipeline_waterfall.start_amount", "mart_pipeline_waterfall.end_amount"]
    since = f"in the week from {long_date(row['period_start'])}"
    if row["start_amount"] is None or row["end_amount"] is None or not _is_priced(row):
        text = (
            f"{deals(row['deals_end'])} {_are(row['deals_end'])} open, {row['deals_start']:,} at the start "
            f"of the week from {long_date(row['period_start'])}: {row['deals_created']:,} created, "
            f"{row['deals_won']:,} won, {row['deals_lost']:,} lost."
        )
        return Sentence("What changed", text, ["mart_pipeline_waterfall.deals_end"])
    change = float(row["end_amount"]) - float(row["start_amount"])
    moves = sorted(
        ((name, float(row[f"{name}_amount"] or 0)) for name in BUCKET_WORDS), key=lambda move: -abs(move[1])
    )
    told = [
        f"{money(abs(amount), currency)} {BUCKET_WORDS[name]}"
        for name, amount in moves[:REASONS_SHOWN]
        if abs(amount) >= 1
    ]
    sources += [f"mart_pipeline_waterfall.{name}_amount" for name, _ in moves[: len(told)]]
    if not told:
        return Sentence("What changed", f"Nothing moved {since}: {_open(row, currency)}.", sources)
    verb = "grew by" if change >= 0 else "shrank by"
    text = (
        f"The open pipeline {verb} {money(abs(change), currency)} {since}, "
        f"to {money(row['end_amount'], currency)} in {deals(row['deals_end'])}: {listed(told)}."
    )
    return Sentence("What changed", text, sources)


def how_the_quarter_goes(context: PageContext, part: Slice) -> Sentence | None:
    """Won so far against the quota and against past quarters at the same point."""
    rows = part.own(context.marts.pacing)
    row = next((row for row in rows if row["quarter_offset"] == 0 and row["is_as_of_day"]), None)
    if row is None or row["won_amount"] is None:
        return None
    currency = context.currency
    text = f"{money(row['won_amount'], currency)} is won in {row['period']}"
    text += f" by business day {row['business_day']} of {row['business_days']}"
    sources = ["mart_bookings_pacing.won_amount"]
    if row["quota_attainment"] is not None:
        text += f", {share(row['quota_attainment'])} of the quota of {money(row['quota_amount'], currency)}"
        sources.append("mart_bookings_pacing.quota_attainment")
    if row["expected_share"] is not None and row["quarters_compared"]:
        text += f"; by this point past quarters had booked {share(row['expected_share'])} of their total"
        sources.append("mart_bookings_pacing.expected_share")
        lead, than = row["ahead_of_quota_days"], "what the quota asks for"
        if lead is None:
            lead, than = row["ahead_of_past_days"], "the average of those quarters"
        else:
            sources.append("mart_bookings_pacing.ahead_of_quota_days")
        if lead is not None:
            where = f"{of_things(abs(lead), 'business day')} {'ahead of' if lead > 0 else 'behind'} {than}"
            text += f", so the quarter is {where if lead else f'level with {than}'}"
    return Sentence("How the quarter goes", f"{text}.", sources)


def where_it_ends(context: PageContext, part: Slice) -> Sentence | None:
    """The forecast of the quarter with its range, against the quota."""
    row = next((row for row in part.own(context.marts.forecasts) if row["quarter_offset"] == 0), None)
    if row is None:
        return None
    currency = context.currency
    text = (
        f"{row['period']} is expected to end at {money(row['mean'], currency)}, 8 times in 10 between "
        f"{money(row['p10'], currency)} and {money(row['p90'], currency)}"
    )
    sources = ["forecast_bookings_latest.mean", "forecast_bookings_latest.p10"]
    quota = next(
        (r["quota_amount"] for r in part.own(context.marts.coverage) if r["quarter_offset"] == 0), None
    )
    if quota:
        gap = float(row["mean"]) - float(quota)
        within = "within" if float(row["p10"]) <= float(quota) <= float(row["p90"]) else "outside"
        side = "above" if gap >= 0 else "below"
        text += f": {money(abs(gap), currency)} {side} the quota, which lies {within} that range"
        sources.append("mart_pipeline_coverage.quota_amount")
    if row["interval_status"] != "calibrated":
        text += " (too little history to know how such ranges hold)"
    elif row["interval_coverage_origins"] is not None and row["interval_coverage_origins"] < FEWEST_RANGES:
        text += " (too few past ranges to say how often they hold)"
    elif row["interval_coverage_realised"] is not None:
        text += f" ({share(row['interval_coverage_realised'])} of such ranges held in the past)"
        sources.append("forecast_bookings_latest.interval_coverage_realised")
    return Sentence("Where it ends", f"{text}.", sources)


def why(context: PageContext, part: Slice) -> Sentence | None:
    """The stage that got worse by more than chance, else the one that loses the most."""
    rows = part.own_stages(context.marts.bottlenecks)
    findings = [row for row in rows if row["status"] == "finding" and row["in_words"]]
    sources = ["mart_bottlenecks.status", "mart_bottlenecks.at_stake_amount"]
    if findings:
        worst = findings[0]
        words = worst["in_words"].removeprefix("Finding: ").rstrip(".")
        more = f" ({len(findings) - 1:,} more below)" if len(findings) > 1 else ""
        return Sentence("Why", f"A stage got worse by more than chance: {words}{more}.", sources)
    lost = [
        row
        for row in rows
        if row["measure"] == "conversion"
        and row["deals_at_stake"]
        and row["status"] == "within_noise"
        and row["stage"] != NO_STAGE
    ]
    if not lost:
        return None
    most = max(lost, key=lambda row: (float(row["at_stake_amount"] or 0), row["deals_at_stake"]))
    worth = f", worth {money(most['at_stake_amount'], context.currency)}" if most["at_stake_amount"] else ""
    text = (
        f"No stage got worse by more than chance. The most is lost from {most['stage']} "
        f"({most['pipeline']}): {deals(most['deals_at_stake'])}{worth}, in the last four full quarters."
    )
    return Sentence("Why", text, sources)


def what_to_do(context: PageContext, part: Slice) -> Sentence | None:
    """Deals to look at, dead ones to close, and pipeline to create, as far as there are any."""
    rows, currency = part.own_deals(context.marts.health), context.currency
    steps, sources = [], []
    look = [row for row in rows if row["worklist"] == "look_at_today"]
    dead = [row for row in rows if row["worklist"] == "propose_to_close"]
    if look:
        steps.append(f"look at {_with_worth(look, currency)} that {_are(len(look))} stuck, silent or overdue")
        sources.append("mart_deal_health.worklist")
    if dead:
        steps.append(f"close or revive {_with_worth(dead, currency)} that {_are(len(dead))} dead by pace")
        sources.append("mart_deal_health.pace")
    cover = next((row for row in part.own(context.marts.coverage) if row["quarter_offset"] == 0), None)
    if cover and cover["to_create_amount"] and float(cover["to_create_amount"]) >= 1:
        amount, by = money(cover["to_create_amount"], currency), cover["create_by_date"]
        sources.append("mart_pipeline_coverage.to_create_amount")
        if by is not None and by < context.marts.stamp.as_of:
            steps.append(
                f"pull in {amount} from later quarters: a deal created after {long_date(by)} is on average "
                f"too late for {cover['period']}"
            )
        else:
            until = f" by {long_date(by)}" if by is not None else ""
            steps.append(f"create or pull in {amount}{until} to reach the quota of {cover['period']}")
    if not steps:
        return None
    text = "; ".join(steps)
    return Sentence("What to do", f"{text[0].upper()}{text[1:]}.", sources)


def _with_worth(rows: list[Row], currency: str) -> str:
    amount = sum(float(row["deal_amount"] or 0) for row in rows)
    return deals(len(rows)) + (f" worth {money(amount, currency)}" if amount else "")


def _is_priced(row: Row) -> bool:
    return bool(row["deals_end"] == 0 or row["deals_end"] > row["deals_end_without_amount"])


def _open(row: Row, currency: str) -> str:
    return (
        f"{deals(row['deals_end'])} {_are(row['deals_end'])} open, worth {money(row['end_amount'], currency)}"
    )


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
