"""Scenarios asked of stored forecasts: what they read from the ledger, and what they leave in the tables."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from dagster_project.forecast.scenario_assets import persons_markdown, plan, scenarios_markdown
from dagster_project.forecast.scenario_tables import SCENARIO_TABLES
from dagster_project.forecast.scenarios import active_reps, ask_scenarios, stage_roles
from dagster_project.forecast.tables import BOOKINGS, DEALS, ensure_tables
from dagster_project.warehouse import Warehouse

DAY, BEFORE = date(2026, 6, 20), date(2026, 6, 19)
WORDS = Path(__file__).parents[2] / "dbt" / "models" / "forecast" / "forecast_tables.yml"
QUARTERS = (
    ("2026Q2", date(2026, 4, 1), date(2026, 6, 30), 500.0, 100.0, 30.0),
    ("2026Q3", date(2026, 7, 1), date(2026, 9, 30), 0.0, 80.0, 90.0),
)
CHANGES = {
    "source_relation": "string",
    "file_name": "string",
    "row_number_in_file": "bigint",
    "scenario": "string",
    "change_kind": "string",
    "subject": "string",
    "deal_key": "string",
    "stage": "string",
    "number_value": "double",
    "to_period": "string",
    "starts_on": "date",
    "ramp_days": "int",
    "is_usable": "boolean",
}


def put(warehouse: Warehouse, table: str, columns: dict[str, str], *rows: tuple[Any, ...]) -> None:
    warehouse.append(table, pd.DataFrame(list(rows), columns=list(columns)), columns)


def forecast(warehouse: Warehouse, day: date, kind: str, *, scale: float = 1.0) -> None:
    """A forecast of two quarters, and one deal behind its open part."""
    rows = pd.DataFrame(
        [
            {
                "as_of": day,
                "kind": kind,
                "period": label,
                "period_start": starts_on,
                "period_end": ends_on,
                "quarter_offset": offset,
                "segment_type": segment_type,
                "segment": segment,
                "already_won": won,
                "open_expected": opened * scale,
                "not_yet_created_expected": new,
                "mean": won + opened * scale + new,
            }
            for offset, (label, starts_on, ends_on, won, opened, new) in enumerate(QUARTERS)
            for segment_type, segment in (("total", "all"), ("team", "north"))
        ]
    )
    for column, kind_of in BOOKINGS.columns.items():
        if column not in rows:
            rows[column] = pd.Series([None] * len(rows), dtype="float64" if "int" in kind_of else object)
    warehouse.append(BOOKINGS.full_name, rows[list(BOOKINGS.columns)], BOOKINGS.columns)
    warehouse.execute(
        f"insert into {DEALS.full_name} (as_of, kind, deal_key, source_relation, deal_id, stage_key, stage, "
        "amount_if_won, p_win_this_quarter, p_win_by_next_quarter, p_win_ever) "
        "values ($day, $kind, 'k1', 'crm', 'D1', 'demo', 'Demo', 200, 0.5, 0.9, 0.9)",
        {"day": day, "kind": kind},
    )


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    made = Warehouse(tmp_path / "warehouse.duckdb")
    ensure_tables(made)
    put(
        made,
        "staging.stg_run_context",
        {
            "run_id": "string",
            "run_kind": "string",
            "as_of": "date",
            "currency": "string",
            "grace_business_days": "int",
            "dates_won": "string",
            "definition_version": "string",
        },
        ("run", "nightly", DAY, "EUR", 3, "close_date", "default"),
    )
    put(
        made,
        "ledger.dim_stage",
        {
            "stage_key": "string",
            "stage": "string",
            "pipeline_key": "string",
            "stage_order": "int",
            "is_open": "boolean",
            "is_deleted": "boolean",
        },
        ("lead", "Lead", "new", 1, True, False),
        ("demo", "Demo", "new", 2, True, False),
        ("quote", "Quote", "new", 3, True, False),
        ("won", "Won", "new", 4, False, False),
        ("renew", "Renew", "old", 1, True, False),
    )
    won = date(2026, 5, 1)
    put(
        made,
        "ledger.fct_stage_transitions",
        {
            "deal_key": "string",
            "pipeline_key": "string",
            "to_status": "string",
            "business_date": "date",
            "excluded_by": "string",
        },
        ("w1", "new", "won", won, None),
        ("w2", "new", "won", won, None),
        ("w3", "old", "won", won, None),
        ("w4", "old", "won", won, None),
        ("l1", "new", "lost", won, None),
        ("l2", "new", "lost", won, None),
        ("l3", "new", "lost", won, None),
        ("left_out", "new", "won", won, "owners: x"),
        ("long_ago", "new", "won", date(2025, 6, 1), None),
        ("later", "new", "won", date(2026, 6, 21), None),
    )
    put(
        made,
        "ledger.int_stage_visits",
        {"deal_key": "string", "stage_key": "string", "entered_on": "date"},
        ("w1", "demo", date(2026, 4, 1)),
        ("w1", "demo", date(2026, 4, 9)),
        ("left_out", "demo", date(2026, 4, 1)),
        ("l1", "demo", date(2026, 4, 1)),
        ("l2", "demo", date(2026, 4, 1)),
        ("w2", "lead", date(2026, 4, 1)),
    )
    put(
        made,
        "ledger.dim_owner",
        {"owner_key": "string", "ended_on": "date"},
        ("ann", None),
        ("bo", date(2026, 6, 1)),
        ("cy", date(2026, 7, 1)),
        ("di", None),
    )
    put(
        made,
        "ledger.fct_deal_versions",
        {
            "owner_key": "string",
            "version_number": "int",
            "status": "string",
            "is_deleted": "boolean",
            "excluded_by": "string",
            "valid_from_date": "date",
        },
        ("ann", 1, "open", False, None, date(2026, 6, 20)),
        ("ann", 1, "open", False, None, date(2026, 5, 1)),
        ("bo", 1, "open", False, None, date(2026, 5, 1)),
        ("cy", 1, "open", False, None, date(2026, 1, 1)),
        ("di", 1, "open", False, None, date(2025, 12, 1)),
        ("di", 2, "open", False, None, date(2026, 5, 1)),
        ("di", 1, "open", False, None, date(2026, 6, 21)),
        ("di", 1, "won", False, None, date(2026, 5, 1)),
    )
    put(
        made,
        "marts.int_scenario_changes",
        CHANGES,
        ("business", "s.csv", 2, "Lost", "deal_lost", "D1", "k1", None, None, None, None, None, True),
        ("business", "s.csv", 3, "Lost", "new_business", None, None, None, 0.1, None, None, None, True),
        ("business", "s.csv", 4, "Lost", "deal_won", "D1", "k1", None, None, None, None, None, False),
        ("business", "s.csv", 5, "Hire", "hire_reps", None, None, None, 2, None, None, 0, True),
    )
    return made


def amounts(warehouse: Warehouse, where: str = "true") -> list[tuple[Any, ...]]:
    rows = warehouse.query(
        "select kind, scenario, period, without_amount, with_amount, difference_amount "
        f"from forecast.forecast_scenarios where {where} order by as_of, kind, scenario, period"
    )
    return [tuple(row) for row in rows.itertuples(index=False)]


def test_without_is_the_stored_forecast_of_the_total_and_with_is_the_scenario(warehouse: Warehouse) -> None:
    """The only open deal is all of the open part; two reps bring as much as the two active ones."""
    forecast(warehouse, DAY, "live")
    ask_scenarios(warehouse, [DAY])
    assert amounts(warehouse) == [
        ("live", "Hire", "2026Q2", 630, 660, 30),
        ("live", "Hire", "2026Q3", 170, 260, 90),
        ("live", "Lost", "2026Q2", 630, 533, -97),
        ("live", "Lost", "2026Q3", 170, 99, -71),
    ]
    deals = warehouse.query("select * from forecast.forecast_scenario_deals order by period")
    assert deals["deal_id"].tolist() == ["D1", "D1"]
    assert deals["difference_amount"].tolist() == [-100, -80]
    assert deals["overrides"].tolist() == ["D1 is lost", "D1 is lost"]


def test_live_and_backfill_of_a_day_are_both_asked(warehouse: Warehouse) -> None:
    forecast(warehouse, DAY, "live")
    forecast(warehouse, DAY, "backfill", scale=2)
    ask_scenarios(warehouse, [DAY])
    lost = amounts(warehouse, "scenario = 'Lost' and period = '2026Q2'")
    assert lost == [
        ("backfill", "Lost", "2026Q2", 730, 533, -197),
        ("live", "Lost", "2026Q2", 630, 533, -97),
    ]


def test_a_scenario_that_left_the_file_leaves_the_days_asked_again_and_no_other(warehouse: Warehouse) -> None:
    forecast(warehouse, BEFORE, "live")
    forecast(warehouse, DAY, "live")
    ask_scenarios(warehouse, [BEFORE, DAY])
    before = amounts(warehouse, f"as_of = date '{BEFORE}'")
    warehouse.execute("delete from marts.int_scenario_changes where scenario = 'Lost'")
    ask_scenarios(warehouse, [DAY])
    assert {row[1] for row in amounts(warehouse, f"as_of = date '{DAY}'")} == {"Hire"}
    assert amounts(warehouse, f"as_of = date '{BEFORE}'") == before
    warehouse.execute("delete from marts.int_scenario_changes")
    ask_scenarios(warehouse, [DAY])
    assert amounts(warehouse, f"as_of = date '{DAY}'") == []
    stale = warehouse.query(f"select * from forecast.forecast_scenario_deals where as_of = date '{DAY}'")
    assert stale.empty


def test_the_forecast_itself_is_not_touched_and_asking_twice_leaves_the_same_rows(
    warehouse: Warehouse,
) -> None:
    forecast(warehouse, DAY, "live")
    stored = warehouse.query(f"select * from {BOOKINGS.full_name} order by all")
    ask_scenarios(warehouse, [DAY])
    once = warehouse.query("select * from forecast.forecast_scenarios order by all")
    ask_scenarios(warehouse, [DAY])
    pd.testing.assert_frame_equal(stored, warehouse.query(f"select * from {BOOKINGS.full_name} order by all"))
    pd.testing.assert_frame_equal(
        once, warehouse.query("select * from forecast.forecast_scenarios order by all")
    )


def test_a_day_without_a_forecast_has_no_answer(warehouse: Warehouse) -> None:
    assert ask_scenarios(warehouse, [DAY]).scenarios.empty


def test_a_warehouse_of_an_older_version_has_neither_scenarios_nor_submissions(warehouse: Warehouse) -> None:
    warehouse.execute("drop table marts.int_scenario_changes")
    forecast(warehouse, DAY, "live")
    planning = plan(warehouse, [DAY])
    assert planning.what_if.scenarios.empty
    assert planning.submissions.empty
    assert scenarios_markdown(planning.what_if.scenarios).startswith("no scenario is set")
    assert persons_markdown(planning.accuracy) == "no submission of a period that is final"


def test_a_stage_is_known_by_the_wins_of_the_last_year_that_passed_it(warehouse: Warehouse) -> None:
    """Four wins within a year count, two of the pipeline; one was in the demo, twice, beside two losses."""
    role = stage_roles(warehouse, ["Demo"], DAY)["Demo"]
    assert (role.keys, role.keys_before) == ({"demo"}, {"lead"})
    assert (role.share_of_pipeline, role.share_of_all) == (0.5, 0.25)
    assert role.win_rate == pytest.approx(1 / 3)
    assert stage_roles(warehouse, ["Renew"], date(2024, 1, 1))["Renew"].share_of_all == 1.0


def test_a_rep_is_active_who_got_a_new_deal_within_half_a_year_and_is_still_there(
    warehouse: Warehouse,
) -> None:
    """Ann and Cy; Bo has left, and what Di got is older, later, an old deal or won at once."""
    assert active_reps(warehouse, DAY) == 2


def test_the_newest_scenarios_are_shown_side_by_side(warehouse: Warehouse) -> None:
    forecast(warehouse, DAY, "live")
    lines = scenarios_markdown(ask_scenarios(warehouse, [DAY]).scenarios).splitlines()
    assert lines[4] == "| Lost | 2026Q2 | 630 | 533 | -97 | D1 is lost; +10% new business |"


@pytest.mark.parametrize("table", SCENARIO_TABLES, ids=lambda table: table.name)
def test_every_column_is_described_for_readers_with_its_type_and_key(table: Any) -> None:
    described = {entry["name"]: entry for entry in yaml.safe_load(WORDS.read_text())["sources"][0]["tables"]}
    words = described[table.name]
    assert {column["name"]: column["data_type"] for column in words["columns"]} == dict(table.columns)
    assert tuple(words["config"]["meta"]["primary_key"]) == table.key
