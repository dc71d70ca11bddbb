"""What a linter does not know: words, sizes, and names of files."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sorted((ROOT / "dagster_project").rglob("*.py"))
SQL = sorted((ROOT / "dbt").rglob("*.sql"))
LINES = 360


@pytest.mark.parametrize("path", [*PYTHON, *SQL], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_room(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("path", [*PYTHON, *SQL], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_left_for_later(path: Path) -> None:
    assert not re.findall(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text(encoding="utf-8"))


def test_no_room_is_named_after_nothing() -> None:
    names = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
    assert not [path for path in PYTHON if path.stem in names or path.parent.name in names]


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_a_command_line_prints(path: Path) -> None:
    if path.name == "__main__.py":
        pytest.skip("a command line speaks to people")
    assert not re.findall(r"(?<![\w.])print\(", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "path",
    # Staging reads the vendors' own fields, so it names them.
    [path for path in [*PYTHON, *SQL] if not {"extract", "simulate", "staging"} & set(path.parts)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_deal_is_called_a_deal(path: Path) -> None:
    assert "opportunit" not in path.read_text(encoding="utf-8").lower()
