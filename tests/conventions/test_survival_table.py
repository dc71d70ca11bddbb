"""The table of failures and attacks (docs/survival.md) names tests that exist, and leaves no row out."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "survival.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| ([FS]\d+) [^|]+ \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
ROWS = {number: (tests, run_by) for number, tests, run_by in ROW.findall(PAGE)}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_failure_and_attack_has_a_row() -> None:
    assert list(ROWS) == [f"F{n}" for n in range(1, 16)] + [f"S{n}" for n in range(1, 9)]


@pytest.mark.parametrize("row", ROWS)
def test_what_shows_that_it_is_survived_exists_and_is_run(row: str) -> None:
    tests, run_by = ROWS[row]
    named = re.findall(r"`([^`]+)::(\w+)`", tests)
    assert named
    for file, test in named:
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    targets = re.findall(r"`make ([a-z-]+)`", run_by)
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), target


def test_the_long_form_of_the_kills_is_among_the_long_tests() -> None:
    (recipe,) = re.findall(r"^test-long:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert "tests/reliability/test_nightly_kills.py" in recipe


def test_the_report_of_the_soak_was_written_by_its_command() -> None:
    text = (ROOT / "tests" / "soak" / "soak.txt").read_text(encoding="utf-8")
    assert re.match(r"make soak MINUTES=[\d.]+ SEED=\d+: (passed|\d+ FAILURES)\n", text)
