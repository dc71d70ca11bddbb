"""The commands connect and check: what they print, ask and refuse."""

import io
from pathlib import Path

import pytest

from dagster_project.__main__ import main
from dagster_project.cli import connect as command

HEADER = "Deal ID,Stage,Close Date,Owner\n"


def deals(folder: Path, second: str = "05/06/2026") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"d{n},{('Offer', 'Won')[n % 2]},{('03/04/2026', second)[n % 2]},Ann" for n in range(20)]
    path = folder / "deals.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n")
    return path


def run(folder: Path, *more: str) -> int:
    out = str(folder / "my" / "pipeline.yaml")
    return main(["connect", "--files", str(folder / "*.csv"), "--out", out, "--quick", *more])


def test_a_draft_ends_with_the_next_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deals(tmp_path, "25/06/2026")
    assert run(tmp_path) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    my = tmp_path / "my"
    assert last == f"Next: make run CONFIG={my / 'pipeline.yaml'} DATA={my / 'data'}"
    assert not (my / "data").exists()


def test_two_ways_to_read_a_date_are_refused_where_nobody_can_be_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("dmy\n"))
    deals(tmp_path)
    assert run(tmp_path) == 2
    assert "add DATE_ORDER=dmy or DATE_ORDER=mdy to make connect" in capsys.readouterr().err
    assert not (tmp_path / "my").exists()
    assert run(tmp_path, "--date-order", "dmy") == 0


def test_two_ways_to_read_a_date_are_asked_at_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO("what?\nmdy\n")
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    deals(tmp_path)
    assert run(tmp_path) == 0
    assert "date_order: mdy" in (tmp_path / "my" / "pipeline.yaml").read_text()


def test_an_existing_file_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deals(tmp_path, "25/06/2026")
    out = tmp_path / "my" / "pipeline.yaml"
    out.parent.mkdir()
    out.write_text("mine")
    assert run(tmp_path) == 2
    assert "exists and is not overwritten" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_a_glob_without_files_says_how_to_name_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 2
    assert 'make connect FILES="exports/*.csv"' in capsys.readouterr().err


def test_check_fails_with_the_line_to_paste_for_an_unknown_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = deals(tmp_path, "25/06/2026")
    assert run(tmp_path) == 0
    path.write_text(path.read_text().replace("d2,Offer", "d2,Surprise"))
    config = tmp_path / "my" / "pipeline.yaml"
    monkeypatch.setenv("STAGELEDGER_CONFIG", str(config))
    capsys.readouterr()
    assert main(["check", "--quick"]) == 2
    out = capsys.readouterr().out
    assert '- {name: "Surprise", order: 2}' in out
    assert out.splitlines()[-1] == f"Next: mend {config} as said above, then   make check CONFIG={config}"


@pytest.mark.slow
def test_the_readiness_table_says_what_there_is_and_what_would_unlock_more(tmp_path: Path) -> None:
    deals(tmp_path, "25/06/2026")
    assert run(tmp_path) == 0
    lines: list[str] = []
    settings = command.load_settings(tmp_path / "my" / "pipeline.yaml", tmp_path / "data")
    assert command.check(settings, lines.append)
    text = "\n".join(lines)
    assert "segment type owner" in text[text.index("  Ready") : text.index("  Not available")]
    assert "Salesforce: Created Date; HubSpot: Create Date; Pipedrive: Deal created" in text
    assert not (tmp_path / "data").exists()
