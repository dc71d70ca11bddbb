"""What the settings tell the models: one row a run."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from dagster_project.settings import REPOSITORY, load_settings
from dagster_project.transform.run_context import COLUMNS, Landed, run_context_row


def row_of(tmp_path: Path, block: str) -> dict[str, Any]:
    """The row of a run with these lines at the end of the bundled configuration."""
    config = tmp_path / "pipeline.yaml"
    text = (REPOSITORY / "pipeline.yaml").read_text(encoding="utf-8")
    config.write_text(text + block, encoding="utf-8")
    return run_context_row(
        load_settings(config, tmp_path / "data", {}),
        run_id="r",
        run_order=1,
        kind="nightly",
        landed=Landed(date(2026, 5, 15), None, digest=""),
        recorded_at=datetime(2026, 5, 16, tzinfo=UTC),
    )


def test_the_limits_of_deal_health_reach_the_models(tmp_path: Path) -> None:
    block = "metrics:\n  pace: {slow: 0.7, stalled: 0.9, dead: 0.99}\n  activity_days: 21\n"
    row = row_of(tmp_path, block)
    assert list(row) == list(COLUMNS)
    assert (row["pace_slow"], row["pace_stalled"], row["pace_dead"], row["activity_days"]) == (
        0.7, 0.9, 0.99, 21,
    )  # fmt: skip
    assert row["definition_version"] != "default"


def test_what_win_rates_cycle_and_coverage_count_reaches_the_models(tmp_path: Path) -> None:
    names = (
        "qualified_stage", "win_rate_population", "win_rate_no_decision", "win_rate_disqualified",
        "win_rate_stale_days", "cycle_statistic", "coverage_exclude_dead",
    )  # fmt: skip
    row = row_of(tmp_path, "")
    assert [row[name] for name in names] == [None, "all", "loss", "excluded", None, None, False]
    block = """metrics:
  qualified_stage: Quote
  win_rate:
    population: from_stage
    no_decision: excluded
    disqualified: loss
    stale_open_as_lost_after_days: 180
  cycle: {statistic: mean}
  coverage: {exclude_dead: true}
"""
    row = row_of(tmp_path, block)
    assert [row[name] for name in names] == ["Quote", "from_stage", "excluded", "loss", 180, "mean", True]
