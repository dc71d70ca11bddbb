"""What the command line says when something is wrong: one clear line, an exit code, never a traceback."""

from datetime import date
from pathlib import Path

import dagster as dg
import pytest

from dagster_project import run_lock
from dagster_project.__main__ import main
from dagster_project.cli.progress import Progress, line
from dagster_project.cli.status import gaps_in_words, missing_days
from dagster_project.cli.summary import long_date, money
from dagster_project.settings import REPOSITORY

CONFIG = """
business: {name: Test Ltd, time_zone: Europe/Amsterdam, currency: EUR}
sources:
  - name: export
    type: files
    deals: {path: "nowhere/deals*.csv", columns: {deal_id: Id, stage: Stage}}
    stages: [{name: Lead, order: 1}, {name: Won, outcome: won}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration whose files are not there, and an empty data folder, as the environment names them."""
    (tmp_path / "pipeline.yaml").write_text(CONFIG)
    monkeypatch.setenv("STAGELEDGER_CONFIG", str(tmp_path / "pipeline.yaml"))
    monkeypatch.setenv("STAGELEDGER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "data" / "dagster_home"))
    monkeypatch.delenv("STAGELEDGER_AS_OF", raising=False)
    return tmp_path


def test_a_good_configuration_is_called_good(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config"]) == 0
    assert "pipeline.yaml is good" in capsys.readouterr().out


def test_an_unknown_key_is_named_with_its_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pipeline.yaml").write_text(CONFIG.replace("sources:", "sourcez:"))
    assert main(["run"]) == 2
    said = capsys.readouterr().err
    assert "pipeline.yaml:3" in said and "sourcez" in said
    assert "Traceback" not in said


def test_a_configuration_that_is_not_there_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pipeline.yaml").unlink()
    assert main(["status"]) == 2
    assert str(folder / "pipeline.yaml") in capsys.readouterr().err


def test_a_run_without_files_says_what_is_missing_and_where_the_log_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run"]) == 1
    said = capsys.readouterr().err
    assert "delivered no" in said
    log = Path(said.strip().rsplit("The full log: ", 1)[1])
    assert log.exists() and log.is_relative_to(folder / "data")
    assert "Traceback" not in said


def test_a_second_run_ends_at_once_with_the_holder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_lock.hold(folder / "data" / "run.lock", "run-1", "nightly run"):
        assert main(["run"]) == 1
    said = capsys.readouterr().err
    assert "nightly run (run run-1, process" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "2026-03-32", "--to", "2026-04-01"], "FROM is '2026-03-32'"),
        (["--from", "2026-04-02", "--to", "2026-04-01"], "TO (2026-04-01) lies before FROM (2026-04-02)"),
        (["--from", "", "--to", ""], "FROM is ''"),
    ],
)
def test_a_backfill_of_no_days_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["backfill", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_day_that_is_no_date_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--as-of", "yesterday"]) == 2
    assert "yesterday" in capsys.readouterr().err


def test_the_status_of_an_empty_folder_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert "nothing yet: `make run` publishes" in said and "free" in said


def test_the_bundled_example_is_not_written_for_another_configuration(folder: Path) -> None:
    before = (REPOSITORY / "data" / "example").exists()
    assert main(["run"]) == 1
    assert (REPOSITORY / "data" / "example").exists() == before


def test_days_without_a_forecast_come_with_the_command_that_fills_them() -> None:
    present = {date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 5)}
    gaps = missing_days(present, date(2026, 3, 6))
    assert gaps == [date(2026, 3, 3), date(2026, 3, 4), date(2026, 3, 6)]
    assert "make backfill FROM=2026-03-03 TO=2026-03-06" in gaps_in_words(gaps)
    assert missing_days({date(2026, 3, 6)}, date(2026, 3, 6)) == []


def test_a_layer_is_one_line_when_its_last_table_is_built() -> None:
    lines: list[str] = []
    layers = {dg.AssetKey("stg_deals"): "staging", dg.AssetKey("stg_stages"): "staging"}
    progress = Progress(layers, lines.append)
    for name, rows, seconds in (("stg_deals", 1200, 0.5), ("stg_stages", 34, 0.25)):
        assert lines == []
        metadata = {"dagster/row_count": rows, "Execution Duration": seconds}
        progress._on_materialization("dbt_build", dg.AssetMaterialization(name, metadata=metadata))
    assert lines == [line("staging", 1234, 0.75, "2 tables by dbt")]
    assert lines[0].split() == ["staging", "1,234", "rows", "0.8", "s", "2", "tables", "by", "dbt"]


@pytest.mark.parametrize(("new_batches", "lines_more"), [(0, 0), (1, 1)])
def test_a_step_that_an_earlier_job_has_shown_gets_a_line_only_for_something_new(
    new_batches: int, lines_more: int
) -> None:
    def extract(progress: Progress, batches: int) -> None:
        metadata = {"rows": 7, "new batches": batches}
        progress._on_materialization("extract_crm", dg.AssetMaterialization("deals", metadata=metadata))
        progress._on_step_end("extract_crm", 0.0)

    lines: list[str] = []
    first = Progress({}, lines.append)
    extract(first, 0)
    assert len(lines) == 1 and lines[0].endswith("nothing new")
    extract(Progress({}, lines.append, first.shown), new_batches)
    assert len(lines) == 1 + lines_more


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "EUR unknown"),
        (0, "EUR 0"),
        (950.4, "EUR 950"),
        (12_345, "EUR 12 thousand"),
        (999_499, "EUR 999 thousand"),
        (999_500, "EUR 1.00 million"),
        (45_678_901, "EUR 45.68 million"),
    ],
)
def test_money_is_shown_in_the_size_that_people_say(amount: float | None, shown: str) -> None:
    assert money(amount, "EUR") == shown


def test_a_date_reads_the_same_in_every_locale() -> None:
    assert long_date(date(2026, 5, 5)) == "5 May 2026"


def test_the_pseudonym_of_an_address_is_printed_alone(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["pseudonym", "--email", "ann@example.com"]) == 2
    assert "no business.hash_owner_emails" in capsys.readouterr().err
    asked = CONFIG.replace("currency: EUR}", "currency: EUR, hash_owner_emails: '${EMAIL_KEY}'}")
    (folder / "pipeline.yaml").write_text(asked)
    monkeypatch.setenv("EMAIL_KEY", "a key of the tests, long enough")
    assert main(["pseudonym", "--email", "Ann"]) == 2
    assert "no e-mail address" in capsys.readouterr().err
    assert main(["pseudonym", "--email", " Ann@example.com"]) == 0
    # printf 'ann@example.com' | openssl dgst -sha256 -hmac 'a key of the tests, long enough'
    assert capsys.readouterr().out == "email-e8e14297ec8b\n"
