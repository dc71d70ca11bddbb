"""What the marts of data quality, readiness and definitions say about two exports with gaps."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from dagster_project.metric_settings import Metrics
from tests.ledger.ledger_bench import DBT_PROJECT, LedgerTables
from tests.pipeline.sales_exports import MartsBench, date_columns_export

QUALITY = "marts.mart_data_quality"
READINESS = "marts.mart_data_readiness"


def test_a_product_spelled_two_ways_comes_with_the_line_to_paste(export: LedgerTables) -> None:
    assert export.rows(
        QUALITY, "subject", "deals_affected", "sample_ids", "line_to_paste", where="rule = 'unknown_product'"
    ) == [("GTXPro", 2, "w2, w4", "product,GTXPro,GTX Pro")]


def test_pasting_the_line_settles_the_finding(
    export: LedgerTables, bench: MartsBench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    line = export.one(QUALITY, "line_to_paste", where="rule = 'unknown_product'")
    entity, alias, name = line.split(",")
    book = date_columns_export()
    pasted = ("aliases", ({"source": "business", "entity": entity, "alias": alias, "name": name},))
    tables = bench.build(
        replace(book, facts=(*book.facts, pasted)),
        tmp_path_factory.mktemp("pasted"),
    )
    assert tables.rows(QUALITY, "status", "deals_affected", where="rule = 'unknown_product'") == [("ok", 0)]
    assert tables.rows(
        "marts.mart_sales_performance",
        "segment",
        "won_amount",
        where="segment_type = 'product' and period = 'all'",
    ) == [("GTX Pro", 2000)]


def test_what_hits_most_deals_is_said_once_as_a_gap_of_the_data(export: LedgerTables) -> None:
    """T55: above 80 % there is one row, no list of deals; below there are samples."""
    gaps = export.rows(QUALITY, "rule", "deals_affected", "sample_ids", where="status = 'gap'")
    assert gaps == [
        ("lost_without_amount", 3, None),
        ("lost_without_reason", 3, None),
        ("open_without_amount", 2, None),
        ("open_without_close_date", 2, None),
        ("without_created_date", 10, None),
    ]
    message = export.one(QUALITY, "message", where="rule = 'lost_without_amount'")
    assert message.startswith("Gap of the data: 3 of 3 lost deals have no amount above zero")
    assert export.one(QUALITY, "status", "share", "sample_ids", where="rule = 'without_account'") == (
        "finding",
        0.3,
        "o1, o2, w4",
    )


def test_a_rule_that_finds_nothing_says_so_and_one_without_deals_too(export: LedgerTables) -> None:
    assert export.one(QUALITY, "status", "deals_checked", "remedy", where="rule = 'won_in_future'") == (
        "ok",
        5,
        None,
    )
    assert export.one(QUALITY, "status", "share", where="rule = 'open_past_close_date'") == (
        "not_applicable",
        None,
    )


def test_every_odd_deal_is_found_by_its_rule(crm: LedgerTables) -> None:
    found = crm.rows(
        QUALITY, "rule", "subject", "sample_ids", where="status = 'finding' and deals_affected is not null"
    )
    assert found == [
        ("created_as_closed", "(all)", "import"),
        ("exchange_rate_missing", "USD", "no_rate"),
        ("won_in_future", "(all)", "ahead"),
        ("won_with_zero_amount", "(all)", "free, refund"),
        ("won_without_amount", "(all)", "unpriced"),
    ]


def test_rows_of_files_add_up_or_it_is_an_error(export: LedgerTables) -> None:
    """14 rows read, of which 10 were kept, 2 refused and 1 repeated: one is missing."""
    columns = ("severity", "status", "rows_affected", "rows_checked")
    assert export.one(QUALITY, *columns, where="rule = 'rows_unaccounted'") == ("error", "finding", 1, 14)
    assert export.one(QUALITY, "rows_affected", "sample_ids", where="rule = 'rows_rejected'") == (
        2,
        "deals.csv:4",
    )
    assert export.one(QUALITY, "sample_ids", where="rule = 'columns_unmapped'") == "Mood, Fax"


def test_the_beginning_of_the_history_is_told_in_days(export: LedgerTables) -> None:
    message = export.one(QUALITY, "message", where="rule = 'history_begins_in_the_middle'")
    assert message.startswith("Deals are known from 2024-10-20, outcomes from 2025-03-01.")
    assert "whole from 2025-03-02 on" in message


def test_readiness_says_which_metrics_the_export_carries(export: LedgerTables) -> None:
    by_status: dict[str, set[str]] = {}
    for metric, status in export.rows(READINESS, "metric", "status"):
        by_status.setdefault(status, set()).add(metric)
    assert by_status["unavailable"] == {
        "open_amount",
        "open_amount of past days",
        "in_quarter_amount",
        "is_qualified_stage",
        "conversion_rate of the first stage",
        "median_days of the first stage",
        "win_rate_amount",
        "won_amount_plan",
        "conversion_rate of leads",
        "segment_type source",
        "segment_type deal_type",
        "forecast in deals",
        "forecast in money",
        "loss_reason",
        "amounts of the waterfall",
        "waterfall by close date",
        "slip_rate_start",
        "as_created_amount",
        "pipeline_coverage",
        "bottleneck",
        "pace",
        "has_no_next_step",
        "has_no_activity",
        "win_rate_narrow",
        "quota_attainment",
        "forecast_category",
        "submitted_amount",
        "bias",
    }
    # o2 has no start; Bo has no region; the cycle starts at the stage entry; 70 % have an account;
    # some rules of hygiene ask for columns that the export lacks
    assert by_status["degraded"] == {
        "deals_open",
        "deals_created",
        "win_incidence",
        "sales_cycle_median_days",
        "sales_velocity",
        "segment_type region",
        "segment_type account",
        "segment_type industry",
        "segment_type country",
        "hygiene_score",
    }


def test_readiness_gives_the_reason_with_its_counts_and_the_way_out(export: LedgerTables) -> None:
    reason, way_out = export.one(
        READINESS, "reason_text", "how_to_unlock", where="metric = 'win_rate_amount'"
    )
    assert reason.startswith("None of the 3 lost deals have an amount above zero: ")
    assert "read the win rate by count" in reason
    assert way_out
    cycle = export.one(READINESS, "reason_text", where="metric = 'sales_cycle_median_days'")
    assert "starts at the first dated stage entry" in cycle
    said, way_in = export.one(READINESS, "reason_text", "how_to_unlock", where="metric = 'submitted_amount'")
    assert said == (
        "0 of 0 submitted forecasts can be compared with the model and the outcome, "
        "because nobody has submitted one: there is nothing to measure yet."
    )
    assert "tables: submissions" in way_in
    assert export.one(READINESS, "how_to_unlock", "missing_fields", where="metric = 'won_amount'") == (
        None,
        None,
    )


def test_a_metric_that_is_called_unavailable_has_no_value(export: LedgerTables) -> None:
    unavailable = export.rows(
        READINESS,
        "metric",
        where="mart = 'mart_sales_performance' and status = 'unavailable' and metric not like '% %'",
    )
    assert unavailable == [("win_rate_amount",), ("won_amount_plan",)]
    columns = ("max(win_rate_amount)", "max(won_amount_plan)")
    assert export.rows("marts.mart_sales_performance", *columns) == [(None, None)]


def test_a_metric_is_defined_where_its_column_is_described(export: LedgerTables) -> None:
    """Read from the yml here and from the warehouse there; apostrophes survive the way through SQL."""
    described = {
        (model["name"], column["name"]): column["config"]["meta"]["metric"]
        for path in sorted(Path(DBT_PROJECT, "models").rglob("*.yml"))
        for model in yaml.safe_load(path.read_text(encoding="utf-8")).get("models", [])
        for column in model.get("columns", [])
        if "metric" in column.get("config", {}).get("meta", {})
    }
    written = {
        (table, column): (definition, formula, unit)
        for table, column, definition, formula, unit in export.rows(
            "marts.mart_metric_definitions", "table_name", "column_name", "definition", "formula", "unit"
        )
        if (table, column) in described
    }
    assert set(written) == set(described)
    assert len([key for key in written if key[0] == "mart_sales_performance"]) == 17
    for key, (definition, formula, unit) in written.items():
        assert definition == " ".join(described[key]["definition"].split())
        assert (formula, unit) == tuple(
            " ".join(described[key][word].split()) if described[key].get(word) else None
            for word in ("formula", "unit")
        )


def test_a_definition_says_which_settings_it_was_made_with(crm_by_event: LedgerTables) -> None:
    found = crm_by_event.rows(
        "marts.mart_metric_definitions",
        "settings_in_force",
        where="table_name = 'mart_sales_performance' and column_name in ('won_amount', 'win_rate_amount')",
        order="column_name desc",
    )
    assert found == [
        (None,),
        (
            "win_rate.disqualified: loss, win_rate.min_amount: not set, win_rate.no_decision: not set, "
            "win_rate.population: not set, win_rate.stale_open_as_lost_after_days: not set",
        ),
    ]


def test_every_setting_that_a_definition_names_exists() -> None:
    named = {
        setting
        for path in sorted(Path(DBT_PROJECT, "models").rglob("*.yml"))
        for model in yaml.safe_load(path.read_text(encoding="utf-8")).get("models", [])
        for column in model.get("columns", [])
        for setting in column.get("config", {}).get("meta", {}).get("metric", {}).get("settings", [])
    }
    known = {
        f"{block}.{key}"
        for block, keys in Metrics().model_dump(by_alias=True).items()
        if isinstance(keys, dict)
        for key in keys
    }
    assert named and not named - known - set(Metrics.model_fields)


def test_every_definition_names_a_column_that_exists(export: LedgerTables) -> None:
    missing = export.query(
        """
        select table_name, column_name from marts.mart_metric_definitions
        where table_name in (select table_name from information_schema.tables)
        except
        select table_name, column_name from information_schema.columns
        """
    )
    assert missing == []
