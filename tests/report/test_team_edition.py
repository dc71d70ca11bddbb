"""The edition of one team: of the deals, owners and amounts of other teams nothing stands in the file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from dagster_project.report.published import open_published
from dagster_project.report.report_file import write_report
from tests.report.small_published import QUARTER, Row, business, write_published

WEEK = {"period_type": "week", "period": "2026-W20"}
DEAL, OWNER, ACCOUNT = "Canary Deal", "Carla Canary", "Canary Works"
TRACES = (DEAL, OWNER, ACCOUNT, "canary", "777,123", "777123", "South")


def team(name: str) -> Row:
    return {"segment_type": "team", "segment": name}


def canary() -> Mapping[str, Sequence[Row]]:
    """The small business with a team South, whose deals, owner and amounts stand wherever they can."""
    rows = {name: list(found) for name, found in business().items()}
    deal = rows["mart_deal_health"][0] | {
        "deal_key": "canary", "deal_id": "canary", "deal_name": DEAL, "owner": OWNER, "account": ACCOUNT,
        "deal_url": "https://crm.example.com/canary", "team": "South", "deal_amount": 777_123,
    }  # fmt: skip
    rows["mart_deal_health"] += [deal]
    rows["mart_deal_health"] = [row | {"has_no_amount": row is deal} for row in rows["mart_deal_health"]]
    rows["mart_deal_health"][0] |= {"has_no_next_step": True}
    rows["dim_deal"] += [
        {name: deal[name] for name in ("deal_key", "deal_id", "deal_name", "deal_url")},
        {"deal_key": "handed", "deal_id": "handed", "deal_name": "Handed Deal"},
    ]
    rows["dim_owner"] = [
        {"owner_key": "ann", "owner": "Ann Able", "team": "North"},
        {"owner_key": "nora", "owner": "Nora North", "team": "North"},
        {"owner_key": "carla", "owner": OWNER, "team": "South"},
    ]
    for period in (WEEK, {"period_type": "quarter", "period": "2026Q2"}):
        move = {"mode": "net", "scope": "rolling", **period, "in_total": True, "in_team": True}
        rows["fct_pipeline_movements"] += [
            {**move, "deal_key": "canary", "bucket": "created", "amount": 777_123, "team": "South",
             "to_amount": 777_123, "to_owner_key": "carla"},
            {**move, "deal_key": "handed", "bucket": "transferred_out", "amount": -41_000, "team": "North",
             "from_amount": 41_000, "to_amount": 777_123, "from_owner_key": "ann", "to_owner_key": "carla",
             "from_stage": "Lead", "to_stage": "Canary stage"},
            {**move, "deal_key": "handed", "bucket": "transferred_in", "amount": 42_000, "team": "North",
             "from_amount": 777_123, "to_amount": 42_000, "from_owner_key": "carla", "to_owner_key": "ann"},
        ]  # fmt: skip
    rows["mart_pipeline_waterfall"] = [
        row | {"deals_transferred_out": 1, "deals_transferred_in": 1,
               "transferred_out_amount": -41_000, "transferred_in_amount": 42_000}
        for row in rows["mart_pipeline_waterfall"]
    ]  # fmt: skip
    for name, found in list(rows.items()):
        north = [row for row in found if row.get("segment_type") == "team" and row["segment"] == "North"]
        amounts = {"won_amount": 777_123, "mean": 777_123, "open_amount": 777_123, "quota_amount": 777_123}
        rows[name] = found + [
            row | team("South") | {key: value for key, value in amounts.items() if key in row}
            for row in north
        ]
    sold = {"segment_type": "owner", **QUARTER, "period_type": "year", "period": "2026"}
    rows["mart_sales_performance"] += [
        {**sold, "segment": OWNER, "deals_won": 9, "deals_lost": 1, "won_amount": 777_123},
        {**sold, "segment_type": "account", "segment": ACCOUNT, "deals_won": 9, "won_amount": 777_123},
        {**sold, "segment": "Nora North", "deals_won": 1, "deals_lost": 1, "won_amount": 1},
        *({**sold, "segment": f"Rep {n}", "deals_won": 9, "won_amount": 9_000 + n} for n in range(20)),
    ]
    finding = {"severity": "warning", "status": "finding", "remedy": "Ask South."}
    rows["mart_data_quality"] = [
        {**finding, "rule": "unknown_owner", "subject": OWNER, "message": f"1 deal names {OWNER}."},
        {**finding, "rule": "open_without_amount", "subject": "(all)", "message": "777123 deals lack one."},
        {**finding, "rule": "data_older_than_expected", "subject": "(all)", "message": "The data are old.",
         "remedy": "Deliver a newer export."},
    ]  # fmt: skip
    rows["mart_bottlenecks"] = [
        {**part, "status": "finding", "measure": "conversion", "stage": "Quote", "pipeline": "Sales",
         "in_words": f"{part['segment']} slows down in Quote.", "deals_at_stake": 5,
         "at_stake_amount": 777_123, "z": -3.0}
        for part in (team("South"), {"segment_type": "owner", "segment": OWNER})
    ]  # fmt: skip
    rows["mart_loss_reasons"] = [
        {**team("South"), **QUARTER, "period_type": "year", "period": "2026", "breakdown": "reason",
         "item": "lost to the canary", "deals_lost": 4, "lost_amount": 777_123}
    ]  # fmt: skip
    change = {"kind": "live", "prior_kind": "live", "period": "2026Q2", "quarter_offset": 0, "cause": "won"}
    rows["forecast_changes"] = [
        {**change, "prior_as_of": "2026-05-14", "part": "already_won", "deal_key": "canary", "delta": 777_123}
    ]
    rows["alerts"] = [
        {"alert_id": "a", "kind": "bottleneck", "severity": "warning", "subject": "South", "is_new": True,
         "sentence": f"{OWNER} of South slows.", "first_seen_on": "2026-05-15", "run_id": "r"}
    ]  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("teams") / "marts.duckdb", canary())


@pytest.fixture(scope="module")
def pages(file: Path) -> dict[str, str]:
    settings = [("exclude.owners", f"('{OWNER}',)"), ("min_sample", "10")]
    report = write_report(file, file.parent, "Small & Co", "EUR", ("full", "team", "board"), settings)
    return {page.path.name: page.path.read_text(encoding="utf-8") for page in report.pages}


@pytest.fixture(scope="module")
def north(pages: dict[str, str]) -> str:
    return pages["report-team-north.html"]


@pytest.mark.parametrize("trace", TRACES)
def test_nothing_of_another_team_stands_in_the_edition_of_a_team(pages: dict[str, str], trace: str) -> None:
    assert trace in pages["report.html"] + pages["report-team-south.html"]
    assert trace not in pages["report-team-north.html"]


def test_the_board_does_not_read_who_is_excluded(pages: dict[str, str]) -> None:
    assert OWNER in pages["report.html"]
    assert OWNER not in pages["report-board.html"] and DEAL not in pages["report-board.html"]
    assert "see pipeline.yaml" in pages["report-board.html"] and "min_sample" in pages["report-board.html"]


def test_a_deal_handed_over_is_told_without_what_it_is_elsewhere(north: str) -> None:
    assert "Handed Deal" in north and "41,000" in north and "42,000" in north
    assert "Ann Able → somebody of another team" in north
    assert "somebody of another team → Ann Able" in north
    assert "Canary stage" not in north


def test_a_rep_who_sells_less_than_fifteen_others_stands_in_the_edition_of_the_team(north: str) -> None:
    assert "Nora North" in north and "Rep 19" not in north


def test_data_quality_is_that_of_the_team_and_of_the_files(north: str, pages: dict[str, str]) -> None:
    section = north.split('<section id="s11"')[1].split("</section>")[0]
    assert "What is wrong in the team&#39;s open deals: 1 finding" in section
    assert "no next step" in section and "no amount" not in section
    assert "What is wrong in the data (whole business): 1 finding" in section
    assert "The data are old." in section and "names Carla" not in section
    assert "no amount" in pages["report-team-south.html"].split('<section id="s11"')[1]


def test_the_canary_is_where_editions_read(file: Path) -> None:
    with open_published(file) as published:
        for table in ("mart_deal_health", "fct_pipeline_movements", "forecast_changes"):
            assert published.rows(table, "deal_key = 'canary'"), table
