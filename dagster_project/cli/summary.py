"""What a sales manager wants to know after a run, read from the published file alone."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import duckdb

from dagster_project.publish.versions import current_file
from dagster_project.settings import REPOSITORY, Settings

Row = Mapping[str, Any]
WIDTH = 20
GAPS_SHOWN = 5
FEWEST_RANGES = 20
NO_STAGE = "(open, stage not recorded)"
"""What dim_stage calls the time in which a deal was open and nobody noted where."""
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
METHODS = {
    "yield": "what open amounts have yielded in past quarters",
    "run_rate": "the run rate of past quarters",
    "stage_share": "the share of each stage that was won in past quarters",
    "hazards": "how deals like these went on",
    "challenger": "what was learned from the history of each deal",
    "combination": "the weighted mean of how deals like these went on and of past quarters",
    "combination_and_baseline": "half the best simple method, half how such deals and past quarters went on",
    "crm_probability": "the CRM's own probabilities",
    "same_window_last_quarter": "the same weeks of last quarter",
    "same_window_last_year": "the same weeks of last year",
}


def summary_lines(settings: Settings) -> list[str]:
    """The summary of the published version, one sentence per question."""
    path = current_file(settings.paths.published_dir)
    if path is None:
        return ["Nothing is published yet: `make run` publishes."]
    with duckdb.connect(str(path), read_only=True) as connection:
        as_of = one(connection, "select max(as_of) as as_of from _publish")["as_of"]
        return [
            "",
            f"{settings.business.name} as of {long_date(as_of)}",
            *open_pipeline(connection, settings.business.currency, as_of),
            *won_this_quarter(connection, settings.business.currency, as_of),
            *forecast(connection, settings.business.currency, as_of),
            *what_if(connection, settings.business.currency, as_of),
            *slowest_stage(connection),
            *left_out(connection),
            *what_the_data_cannot_tell(connection),
            *what_to_clean(connection),
            *what_next(settings),
        ]


def open_pipeline(connection: duckdb.DuckDBPyConnection, currency: str, as_of: date) -> Iterator[str]:
    """Open deals and their money at the end of the as-of day; deals without an amount are only counted."""
    row = one(
        connection,
        "select coalesce(sum(deals_open), 0) as deals, sum(open_amount) as amount, "
        "coalesce(sum(deals_without_amount), 0) as without_amount, "
        "coalesce(sum(deals_in_quarter), 0) as due, sum(in_quarter_amount) as due_amount, "
        "coalesce(sum(deals_past_due), 0) as past_due, "
        "sum(deals_estimated) as estimated, sum(list_price_estimate_amount) as list_prices "
        "from mart_pipeline_daily where period_start = ?",
        as_of,
    )
    yield fact("Open pipeline", f"{deals(row['deals'])}, {worth(row, currency)}")
    if row["estimated"]:
        guess = money(row["list_prices"], currency)
        yield fact("", f"an estimate: {deals(row['estimated'])} at list price, {guess}")
    if row["deals"] > row["without_amount"]:
        due = money(row["due_amount"], currency)
        yield fact("", f"{row['due']:,.0f} of them ({due}) are due to close this quarter")
    if row["past_due"]:
        yield fact("", f"{deals(row['past_due'])} should have closed by now: move their dates, or close them")


def worth(row: Row, currency: str) -> str:
    """The money of open deals in words, with what is not in it."""
    if row["without_amount"] >= row["deals"]:
        return "none with a known amount: they are counted, not priced"
    text = f"worth {money(row['amount'], currency)}"
    if row["without_amount"]:
        text += f" ({row['without_amount']:,.0f} without a known amount are not in it)"
    return text


def won_this_quarter(connection: duckdb.DuckDBPyConnection, currency: str, as_of: date) -> Iterator[str]:
    """Bookings of the fiscal quarter so far."""
    row = one(
        connection,
        "select period, period_start, period_end, deals_won, won_amount, win_rate_count, "
        "win_rate_count_denominator as closed, deals_excluded, deals_stale_open from mart_sales_performance "
        "where period_type = 'quarter' and segment_type = 'total' and ? between period_start and period_end",
        as_of,
    )
    if not row:
        yield fact("Won this quarter", "nothing was created, won or lost in it")
        return
    day = (as_of - row["period_start"]).days + 1
    days = (row["period_end"] - row["period_start"]).days + 1
    yield fact(
        f"Won in {row['period']}",
        f"{deals(row['deals_won'])}, {money(row['won_amount'], currency)} by day {day} of {days}",
    )
    if row["win_rate_count"] is not None:
        yield fact("", f"{row['win_rate_count']:.0%} of the {deals(row['closed'])} closed in it were won")
        besides = [
            (row["deals_excluded"], "closed ones are left out of the rate"),
            (row["deals_stale_open"], "open ones count as lost"),
        ]
        told = [f"{count:,.0f} {words}" for count, words in besides if count]
        if told:
            yield fact("", f"{' and '.join(told)}: fct_rated_deals says why")


def forecast(connection: duckdb.DuckDBPyConnection, currency: str, as_of: date) -> Iterator[str]:
    """This quarter's expected bookings with their range and method, and the next quarters in one line."""
    rows = many(
        connection,
        "select * from forecast_bookings where as_of = ? and segment_type = 'total' "
        "qualify row_number() over (partition by period order by kind desc) = 1 order by quarter_offset",
        as_of,
    )
    served = [row for row in rows if row["mean"] is not None]
    if not served:
        reason = rows[0]["fallback_reason"] if rows else "no forecast was made for this day"
        yield fact("Forecast", f"none: {reason}")
        return
    now = served[0]
    yield fact(
        f"Forecast {now['period']}",
        f"{money(now['mean'], currency)}; 8 times in 10 between {money(now['p10'], currency)} "
        f"and {money(now['p90'], currency)}{held(now)}",
    )
    yield fact("", f"method: {METHODS.get(now['served_method'], now['served_method'])}, {evidence(now)}")
    later = ", ".join(f"{row['period']} {money(row['mean'], currency)}" for row in served[1:])
    if later:
        yield fact("", f"then {later}")


def what_if(connection: duckdb.DuckDBPyConnection, currency: str, as_of: date) -> Iterator[str]:
    """The scenario that changes this quarter and the next most, in one line; nothing where none is set."""
    if not many(connection, "select 1 from duckdb_tables() where table_name = 'forecast_scenarios'"):
        return
    rows = many(
        connection,
        """
        with asked as (
          select *
          from forecast_scenarios
          where as_of = ? and quarter_offset <= 1
          qualify kind = max(kind) over ()
        ),
        largest as (
          select scenario
          from asked
          group by scenario
          order by sum(abs(difference_amount)) desc, scenario
          limit 1
        )
        select asked.scenario, period, with_amount, difference_amount
        from asked inner join largest on asked.scenario = largest.scenario
        order by quarter_offset
        """,
        as_of,
    )
    if not rows:
        return
    quarters = ", ".join(
        f"{row['period']} {money(row['with_amount'], currency)} "
        f"({'+' if row['difference_amount'] >= 0 else '-'}{money(abs(row['difference_amount']), currency)})"
        for row in rows
    )
    yield fact("What if", f"{rows[0]['scenario']}: {quarters}")


def held(row: Row) -> str:
    """How the range has done, or that it is a guess so far."""
    if row["interval_status"] != "calibrated":
        return " (not calibrated: too little history, so the range is widened)"
    if row["interval_coverage_realised"] is None:
        return ""
    if row["interval_coverage_origins"] < FEWEST_RANGES:
        return f" ({row['interval_coverage_origins']:,} past ranges are too few to say how often they hold)"
    return f" ({row['interval_coverage_realised']:.0%} of past ranges held)"


def evidence(row: Row) -> str:
    """Why this method."""
    if row["gate_status"] in ("chosen", "passed", "blended"):
        told = f"chosen by its errors on {row['evidence_n_origins']:,} earlier forecasts"
        return f"{told}; {row['fallback_reason']}" if row["fallback_reason"] else told
    return str(row["fallback_reason"] or row["gate_status"])


def slowest_stage(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """The stage with the longest median stay, open visits included."""
    row = one(
        connection,
        "select stage, pipeline, median_days, p75_days, visits_completed, visits_open "
        "from mart_stage_durations where counted_per = 'visit' and period_type = 'all' "
        "and segment_type = 'total' and not sample_too_small and median_days is not null "
        "and stage <> ? order by median_days desc, stage limit 1",
        NO_STAGE,
    )
    if not row:
        yield fact("Slowest stage", "too few dated visits to say")
        return
    visits = row["visits_completed"] + row["visits_open"]
    yield fact(
        "Slowest stage",
        f"{row['stage']} ({row['pipeline']}): half of the deals leave within {row['median_days']:,.0f} days"
        + (f", three quarters within {row['p75_days']:,.0f}" if row["p75_days"] is not None else ""),
    )
    yield fact("", f"from {visits:,} visits; the {row['visits_open']:,} that still last are counted in")


def left_out(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Deals that metrics.exclude keeps out of all of this, and its names that mean nobody."""
    rows = many(
        connection,
        "select rule, subject, deals_affected, deals_checked, message from mart_data_quality "
        "where rule in ('excluded_from_metrics', 'excluded_name_unknown') order by rule, subject",
    )
    known = [row for row in rows if row["rule"] == "excluded_from_metrics"]
    title = "Left out"
    if known:
        total = sum(row["deals_affected"] for row in known)
        names = ", ".join(f"{row['subject']} ({row['deals_affected']:,})" for row in known)
        yield fact(title, f"{total:,} of {deals(known[0]['deals_checked'])} are in no figure here: {names}")
        title = ""
    for row in rows[len(known) :]:
        yield fact(title, row["message"])
        title = ""


def what_the_data_cannot_tell(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Metrics that no report may use, each with its reason."""
    rows = many(
        connection,
        "select reason_text from mart_data_readiness "
        "where status = 'unavailable' order by metric_order, source_relation",
    )
    degraded = one(
        connection, "select count(*) as metrics from mart_data_readiness where status = 'degraded'"
    )["metrics"]
    if not rows:
        yield fact(
            "Data cannot tell", "nothing is missing" if not degraded else "nothing is missing entirely"
        )
    for place, row in enumerate(rows[:GAPS_SHOWN]):
        title = "Data cannot tell" if place == 0 else ""
        yield fact(title, row["reason_text"])
    hidden = len(rows) - GAPS_SHOWN
    if hidden > 0:
        yield fact("", f"and {hidden} more: table mart_data_readiness")
    if degraded:
        yield fact("", f"{degraded} metrics have limits: mart_data_readiness says which, why, and what helps")


def what_to_clean(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """What is wrong in the data, the most frequent first, with the line to paste where there is one."""
    rows = many(
        connection,
        "select message, line_to_paste from mart_data_quality where status <> 'ok' "
        "and severity in ('warning', 'error') and rule <> 'excluded_name_unknown' "
        "order by severity, coalesce(deals_affected, 0) desc, rule limit 3",
    )
    for place, row in enumerate(rows):
        yield fact("Worth cleaning" if place == 0 else "", row["message"])
        if row["line_to_paste"]:
            yield fact("", f"  paste: {row['line_to_paste']}")


def what_next(settings: Settings) -> Iterator[str]:
    """Where the result lies and what one does with it."""
    yield fact("Published file", f"{settings.paths.published_file} (open it read-only)")
    pages = sorted(settings.paths.published_dir.glob("report*.html"))
    if pages:
        more = f" (and {len(pages) - 1} more editions beside it)" if len(pages) > 1 else ""
        yield fact("Report", f"{pages[0].as_uri()} (open it in a browser){more}")
    is_bundled = settings.config_path == REPOSITORY / "pipeline.yaml"
    own = 'make connect FILES="exports/*.csv": drafts my/pipeline.yaml from your own exports and tries it'
    yield fact(
        "Next", own if is_bundled else "make dev: lineage, checks and schedule on http://127.0.0.1:3000"
    )
    if is_bundled:
        yield fact("", "make dev: lineage, checks and schedule on http://127.0.0.1:3000")


def fact(title: str, text: str) -> str:
    """One line of the summary: what it is about, and the sentence."""
    return f"  {title:<{WIDTH}}{' '.join(str(text).split())}"


def deals(count: float) -> str:
    """A number of deals in words."""
    return f"{count:,.0f} deal" if count == 1 else f"{count:,.0f} deals"


def money(amount: float | None, currency: str) -> str:
    """Money for reading: three figures, then million or thousand."""
    if amount is None:
        return f"{currency} unknown"
    value = float(amount)
    if abs(value) >= 999_500:
        return f"{currency} {value / 1e6:,.2f} million"
    if abs(value) >= 1_000:
        return f"{currency} {value / 1e3:,.0f} thousand"
    return f"{currency} {value:,.0f}"


def long_date(day: date) -> str:
    """A date such as 15 May 2026, in any locale."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def one(connection: duckdb.DuckDBPyConnection, sql: str, *values: Any) -> Row:
    """The first row of a query by column name; empty when there is none."""
    rows = many(connection, sql, *values)
    return rows[0] if rows else {}


def many(connection: duckdb.DuckDBPyConnection, sql: str, *values: Any) -> list[Row]:
    """The rows of a query by column name."""
    cursor = connection.execute(sql, list(values))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
