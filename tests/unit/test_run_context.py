"""What the settings tell the models: one row a run."""

from datetime import UTC, date, datetime
from pathlib import Path

from dagster_project.settings import REPOSITORY, load_settings
from dagster_project.transform.run_context import COLUMNS, Landed, run_context_row


def test_the_limits_of_deal_health_reach_the_models(tmp_path: Path) -> None:
    config = tmp_path / "pipeline.yaml"
    text = (REPOSITORY / "pipeline.yaml").read_text(encoding="utf-8")
    block = "metrics:\n  pace: {slow: 0.7, stalled: 0.9, dead: 0.99}\n  activity_days: 21\n"
    config.write_text(text + block, encoding="utf-8")
    row = run_context_row(
        load_settings(config, tmp_path / "data", {}),
        run_id="r",
        run_order=1,
        kind="nightly",
        landed=Landed(date(2026, 5, 15), None, digest=""),
        recorded_at=datetime(2026, 5, 16, tzinfo=UTC),
    )
    assert list(row) == list(COLUMNS)
    assert (row["pace_slow"], row["pace_stalled"], row["pace_dead"], row["activity_days"]) == (
        0.7, 0.9, 0.99, 21,
    )  # fmt: skip
    assert row["definition_version"] != "default"
