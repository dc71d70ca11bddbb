"""MetricFlow over the published file: its answers are those of the marts, which come by other SQL."""

import csv
import os
import subprocess
from pathlib import Path

import duckdb
import pytest

from dagster_project.settings import REPOSITORY
from tests.pipeline.nightly_bench import Business

pytestmark = pytest.mark.slow

SALES = "deals_won,won_amount,win_rate,average_deal_amount,sales_cycle_mean_days,sales_cycle_median_days"


@pytest.fixture
def ask(business: Business, tmp_path: Path):
    """Answers of `make metrics` as rows of text."""

    def query(*options: str) -> list[dict[str, str]]:
        answer = tmp_path / "answer.csv"
        text = " ".join([*options, "--csv", str(answer), "--decimals", "9"])
        call = ["make", "metrics", f"DATA={business.data}", f"QUERY={text}"]
        done = subprocess.run(
            call, cwd=REPOSITORY, capture_output=True, text=True, env=os.environ, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        with answer.open(newline="") as lines:
            return list(csv.DictReader(lines))

    return query


def published(business: Business, sql: str) -> list[tuple]:
    with duckdb.connect(str(business.data / "published" / "marts.duckdb"), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def number(text: str) -> float | None:
    return float(text) if text not in ("", "None", "nan") else None


def test_sales_by_fiscal_quarter_are_those_of_the_mart(business: Business, ask) -> None:
    rows = ask("--metrics", SALES, "--group-by", "metric_time__fiscal_quarter")
    told = {
        row["metric_time__fiscal_quarter"]: tuple(number(row[name]) for name in SALES.split(","))
        for row in rows
    }
    expected = published(
        business,
        """select period, deals_won, won_amount, win_rate_count_numerator / win_rate_count_denominator,
             avg_deal_amount, sales_cycle_mean_days, deals_in_cycle
           from mart_sales_performance
           where segment_type = 'total' and period_type = 'quarter' and win_rate_count_denominator > 0""",
    )
    assert len(expected) > 8 and set(told) == {period for period, *_ in expected}
    for period, *figures, cycles in expected:
        won, amount, rate, average, mean_days = (None if value is None else float(value) for value in figures)
        found = told[period]
        assert found[:2] == (won, pytest.approx(amount))
        assert found[2] == pytest.approx(rate) and found[3] == pytest.approx(average, abs=0.001)
        if cycles >= 5:  # below, the mart gives no figure
            assert found[4] == pytest.approx(mean_days)
    medians = published(
        business,
        """select dim_date.quarter_label, median(sales_cycle_days)
           from fct_deals join dim_date on won_on = date_day
           where status = 'won' and not is_deleted and won_on <= as_of group by all""",
    )
    assert {period: told[period][5] for period, _ in medians} == dict(medians)


def test_teams_share_the_bookings_by_who_gets_the_credit(business: Business, ask) -> None:
    rows = ask("--metrics", "won_amount", "--group-by", "owner__team")
    expected = published(
        business,
        """select segment, won_amount from mart_sales_performance
           where segment_type = 'team' and period_type = 'all' and won_amount is not null""",
    )
    told = {row["owner__team"]: number(row["won_amount"]) for row in rows if number(row["won_amount"])}
    assert told == {team: pytest.approx(float(amount)) for team, amount in expected}


def test_the_open_pipeline_of_several_days_is_that_of_the_last(business: Business, ask) -> None:
    (row,) = ask("--metrics", "open_pipeline_amount,deals_open")
    ((deals, amount),) = published(
        business,
        """select sum(deals_open), sum(open_amount) from mart_pipeline_daily
           where period_start = (select max(period_start) from mart_pipeline_daily)""",
    )
    assert (number(row["deals_open"]), number(row["open_pipeline_amount"])) == (
        deals,
        pytest.approx(float(amount)),
    )


def test_coverage_and_conversion_are_those_of_the_marts(business: Business, ask) -> None:
    rows = ask("--metrics", "pipeline_coverage", "--group-by", "coverage__target_quarter")
    expected = published(
        business,
        "select period, pipeline_coverage from mart_pipeline_coverage where segment_type = 'total'",
    )
    told = {row["coverage__target_quarter"]: number(row["pipeline_coverage"]) for row in rows}
    assert {period: told.get(period) for period, _ in expected} == {
        period: None if value is None else pytest.approx(value) for period, value in expected
    }
    assert any(value is not None for _, value in expected)

    options = ("--group-by", "stage__stage_name,pipeline__pipeline_name")
    rows = ask("--metrics", "stage_conversion", *options)
    expected = published(
        business,
        """select stage, pipeline, sum(conversion_numerator) / sum(conversion_denominator)
           from mart_stage_conversion
           where segment_type = 'total' and period_type = 'month' and metric = 'stage_conversion_next'
           group by all having sum(conversion_denominator) > 0""",
    )
    told = {
        (row["stage__stage_name"], row["pipeline__pipeline_name"]): number(row["stage_conversion"])
        for row in rows
        if number(row["stage_conversion"]) is not None
    }
    assert told == {(stage, pipeline): pytest.approx(rate) for stage, pipeline, rate in expected}
    assert len(told) > 8
