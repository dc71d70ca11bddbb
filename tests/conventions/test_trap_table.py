"""The table of traps (docs/traps.md) names tests that exist, and leaves no trap out in silence."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (T\d\d) \| [^|]+ \| ([^|]+) \|$", re.MULTILINE)
ROWS = dict(ROW.findall((ROOT / "docs" / "traps.md").read_text(encoding="utf-8")))


def test_every_trap_has_a_row() -> None:
    assert list(ROWS) == [f"T{number:02}" for number in range(1, 56)]


@pytest.mark.parametrize("trap", ROWS)
def test_a_trap_is_held_by_tests_that_exist_or_is_said_to_be_open(trap: str) -> None:
    named = re.findall(r"`([^`]+)::(\w+)`", ROWS[trap])
    assert named or ROWS[trap].startswith("(open: ")
    for file, test in named:
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
