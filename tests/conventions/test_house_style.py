"""What a linter does not know: words, sizes, and names of files."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sorted((ROOT / "dagster_project").rglob("*.py"))
SQL = sorted(path for path in (ROOT / "dbt").rglob("*.sql") if "target" not in path.parts)
LINES = 360


# Rooms that speak of the vendors' own fields, and so in their words.
OWN_WORDS = {"extract", "simulate", "staging", "salesforce"}


@pytest.mark.parametrize("path", [*PYTHON, *SQL], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_one_room(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize("path", [*PYTHON, *SQL], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_left_for_later(path: Path) -> None:
    assert not re.findall(r"\b(TODO|FIXME|XXX|HACK)\b", path.read_text(encoding="utf-8"))


def test_no_room_is_named_after_nothing() -> None:
    names = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
    assert not [path for path in PYTHON if path.stem in names or path.parent.name in names]


@pytest.mark.parametrize(
    "path",
    [path for path in PYTHON if path.name != "__main__.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_only_a_command_line_prints(path: Path) -> None:
    assert not re.findall(r"(?<![\w.])print\(", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "path",
    [path for path in [*PYTHON, *SQL] if not OWN_WORDS & {*path.relative_to(ROOT).parts}],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_deal_is_called_a_deal(path: Path) -> None:
    assert "opportunit" not in path.read_text(encoding="utf-8").lower()
