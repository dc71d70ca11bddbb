"""A published file of a business of three deals and two teams, written row by row."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
AS_OF = date(2026, 5, 15)
Row = Mapping[str, Any]
Rows = Mapping[str, Sequence[Row]]
_TYPES = {"string": "varchar"}
SHARED = {"as_of": AS_OF, "definition_version": "default", "period_type": "quarter", "source_relation": "crm"}
TOTAL = {"segment_type": "total", "segment": "all"}
QUARTER = {"period": "2026Q2", "period_start": date(2026, 4, 1), "period_end": date(2026, 6, 30)}
HOSTILE = '<script>alert("x")</script> & "quoted" \u202egnp.exe \U0001f680'
FORMULA = '=cmd|"/c calc"!A1'


@cache
def columns_of_tables() -> dict[str, dict[str, str]]:
    """Names and types of the columns of every model and forecast table, from the words dbt has for them."""
    found: dict[str, dict[str, str]] = {}
    for file in (REPOSITORY / "dbt" / "models").rglob("*.yml"):
        document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        tables = list(document.get("models") or ())
        for source in document.get("sources") or ():
            tables += source.get("tables") or ()
        for table in tables:
            columns = {c["name"]: c.get("data_type") for c in table.get("columns") or ()}
            if columns and all(columns.values()):
                found[table["name"]] = columns
    return found


def write_published(path: Path, rows: Rows) -> Path:
    """A file with these rows; columns that a row does not name are null, tables not named are empty."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "create table _publish (table_name varchar, as_of date, published_at timestamp, run_id varchar, "
            "version bigint, definition_version varchar)"
        )
        connection.execute(
            "insert into _publish values ('x', ?, ?, 'run-1234-5678', 7, 'default')",
            [AS_OF, datetime(2026, 5, 16, 2, 0)],
        )
        for name, columns in columns_of_tables().items():
            if not name.startswith(("mart_", "forecast_", "fct_pipeline_movements", "dim_", "alerts")):
                continue
            types = ", ".join(f'"{c}" {_TYPES.get(t, t)}' for c, t in columns.items())
            connection.execute(f'create table "{name}" ({types})')
            for row in rows.get(name, ()):
                values = {key: value for key, value in {**SHARED, **row}.items() if key in columns}
                unknown = set(row) - set(columns)
                assert not unknown, f"{name} has no {unknown}"
                names = ", ".join(f'"{key}"' for key in values)
                marks = ", ".join("?" for _ in values)
                connection.execute(f'insert into "{name}" ({names}) values ({marks})', list(values.values()))
        if "forecast_bookings_latest" not in columns_of_tables():
            connection.execute("create view forecast_bookings_latest as select * from forecast_bookings")
    return path


def business() -> dict[str, list[Row]]:
    """Rows of a business: a week, a quarter, two teams, three deals that need a look, one of them hostile."""
    teams = [
        TOTAL,
        {"segment_type": "team", "segment": "North"},
        {"segment_type": "team", "segment": HOSTILE},
    ]
    week = {"period_type": "week", "period": "2026-W20", "period_start": date(2026, 5, 11)}
    waterfalls = [
        _waterfall(period, part)
        for part in teams
        for period in ({**week, "period_end": date(2026, 5, 17)}, QUARTER)
    ]
    pacing = [_pacing(part, day) for part in teams for day in range(1, 62)]
    health = [
        _deal("d1", "Alpha", 100_000, "look_at_today", "North", "https://crm.example.com/d1"),
        _deal("d2", HOSTILE, 50_000, "look_at_today", HOSTILE, "javascript:alert(1)"),
        _deal("d3", FORMULA, 1_000, "propose_to_close", "North", None),
    ]
    stages = [("Lead", 1), ("Quote", 2)]
    conversion = [
        {**part, **_stage(*stage), **QUARTER, "period": period, "is_complete_period": True,
         "metric": "stage_conversion_next", "conversion_numerator": 30, "conversion_denominator": 50,
         "conversion_rate": 0.6, "rate_low": 0.46, "rate_high": 0.72}
        for part in teams for stage in stages for period in ("2025Q4", "2026Q1")
    ]  # fmt: skip
    durations = [
        {**part, **_stage(*stage), "counted_per": "visit", "period_type": "all", "p25_days": 3.0,
         "median_days": 10.0, "p75_days": 21.0, "p90_days": 40.0, "visits_completed": 90, "visits_open": 9}
        for part in teams for stage in stages
    ]  # fmt: skip
    performance = [
        {**part, **QUARTER, "period_type": "year", "period": "2026", "period_start": date(2026, 1, 1),
         "deals_won": won, "deals_lost": 40, "won_amount": 1_000 * won, "win_rate_count": won / (won + 40),
         "win_rate_count_numerator": won, "win_rate_count_denominator": won + 40, "rate_low": 0.1,
         "rate_high": 0.5, "differs_from_total": False}
        for part, won in (
            (TOTAL, 30), ({"segment_type": "owner", "segment": "Ann Able"}, 20),
            ({"segment_type": "owner", "segment": HOSTILE}, 9),
            ({"segment_type": "owner", "segment": "Zoe"}, 1),
        )
    ]  # fmt: skip
    forecasts = [
        {**part, **QUARTER, "period": f"2026Q{2 + ahead}", "quarter_offset": ahead, "kind": "live",
         "already_won": 400_000 if ahead == 0 else 0, "open_expected": 300_000,
         "not_yet_created_expected": 100_000, "mean": 800_000, "p10": 600_000, "p50": 800_000,
         "p90": 1_000_000, "currency": "EUR", "interval_status": "calibrated",
         "interval_coverage_realised": 0.82, "interval_coverage_origins": 50, "data_fresh_as_of": AS_OF}
        for part in teams for ahead in (0, 1, 2)
    ]  # fmt: skip
    coverage = [
        {**part, **QUARTER, "quarter_offset": 0, "quota_amount": 1_200_000, "left_to_get_amount": 800_000,
         "deals_open": 2, "open_amount": 150_000, "pipeline_coverage": 0.19, "to_create_amount": 650_000,
         "create_by_date": date(2026, 5, 29)}
        for part in teams
    ]  # fmt: skip
    movements = [
        {"mode": "net", "scope": "rolling", **period, "moved_on": AS_OF, "deal_key": key, "bucket": bucket,
         "amount": amount, "in_total": True, "in_team": True, "team": team, "to_amount": abs(amount),
         "from_amount": 90_000, "from_stage": "Lead", "to_stage": "Quote", "side": "stayed"}
        for period in ({"period_type": "week", "period": "2026-W20"}, {"period": "2026Q2"})
        for key, bucket, amount, team in (
            ("d1", "created", 60_000, "North"), ("d2", "lost", -10_000, HOSTILE)
        )
    ]  # fmt: skip
    deals = [
        {"deal_key": row["deal_key"], "deal_name": row["deal_name"], "deal_url": row["deal_url"]}
        for row in health
    ]
    return {
        "mart_pipeline_waterfall": waterfalls,
        "mart_bookings_pacing": pacing,
        "mart_deal_health": health,
        "mart_stage_conversion": conversion,
        "mart_stage_durations": durations,
        "mart_sales_performance": performance,
        "mart_pipeline_coverage": coverage,
        "fct_pipeline_movements": movements,
        "forecast_bookings": forecasts,
        "forecast_bookings_latest": forecasts,
        "dim_deal": deals,
    }


def _waterfall(period: Row, part: Row) -> Row:
    counts = {f"deals_{name}": 0 for name in ("reopened", "restored", "transferred_in", "increased")}
    counts |= {f"deals_{name}": 0 for name in ("decreased", "fx", "won", "closed_other")}
    counts |= {
        f"deals_{name}": 0 for name in ("deleted_or_merged", "transferred_out", "closed_outside_scope")
    }
    return {
        **part,
        **period,
        **counts,
        "mode": "net",
        "scope": "rolling",
        "start_amount": 100_000,
        "created_amount": 60_000,
        "lost_amount": -10_000,
        "end_amount": 150_000,
        "deals_start": 2,
        "deals_created": 2,
        "deals_lost": 1,
        "deals_end": 3,
        "deals_end_without_amount": 0,
    }


def _pacing(part: Row, day: int) -> Row:
    is_reached = day <= 30
    return {
        **part,
        **QUARTER,
        "quarter_offset": 0,
        "business_day": day,
        "business_days": 61,
        "is_reached": is_reached,
        "is_as_of_day": day == 30,
        "is_complete_period": False,
        "history_status": "full",
        "last_day_on": date(2026, 4, 1) if day < 25 else AS_OF,
        "deals_won": min(day, 30) // 3 if is_reached else None,
        "won_amount": 400_000 * day / 30 if is_reached else None,
        "expected_share": 0.5 if day == 30 else day / 61,
        "quarters_compared": 8,
        "past_amount": 15_000 * day,
        "quota_amount": 1_200_000,
        "quota_attainment": 1 / 3 if day == 30 else None,
        "ahead_of_quota_days": -1 if day == 30 else None,
    }


def _deal(key: str, name: str, amount: float, worklist: str, team: str, url: str | None) -> Row:
    return {
        "deal_key": key,
        "deal_id": key,
        "deal_name": name,
        "deal_url": url,
        "status": "open",
        "deal_amount": amount,
        "worklist": worklist,
        "pace": "stalled" if worklist == "look_at_today" else "dead",
        "team": team,
        "owner": "Ann Able" if team == "North" else HOSTILE,
        "stage": "Quote",
        "pipeline": "Sales",
        "reason_text": "Stalled: 42 days in Quote.",
        "next_best_fix": "Move the deal on.",
        "is_past_due": False,
        "is_pushed_often": False,
    }


def _stage(name: str, order: int) -> Row:
    return {"stage": name, "stage_order": order, "pipeline": "Sales"}
