"""The generic data test of columns, on rows written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import jinja2
import pytest

GENERIC = Path(__file__).resolve().parents[2] / "dbt" / "tests" / "generic" / "column_values.sql"
ROWS = (
    "(values (1, 'open', 2), (null, 'won', 3), (3, 'Lost', null), (null, 'lost?', 9)) "
    "as deals (id, status, severity)"
)


def found(rows: str, **arguments: Any) -> list[tuple[str, str, int]]:
    text = GENERIC.read_text(encoding="utf-8")
    macro = text.replace("{% test ", "{% macro ").replace("{% endtest %}", "{% endmacro %}")
    module = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(macro).module
    return duckdb.sql(f"{module.column_values(rows, **arguments)} order by all").fetchall()


def test_each_column_that_breaks_its_rule_is_named_with_the_rows_that_do() -> None:
    told = found(
        ROWS, never_null=["id", "status"], one_of={"status": ["open", "won", "lost"], "severity": [1, 2, 3]}
    )
    assert told == [
        ("id", "is null", 2),
        ("severity", "has other values", 1),
        ("status", "has other values", 2),
    ]


def test_null_is_none_of_the_values_that_a_column_may_have() -> None:
    assert found(ROWS, one_of={"severity": [2, 3, 9]}) == []


@pytest.mark.parametrize("arguments", [{"never_null": ["status"]}, {"one_of": {"status": ["open"]}}])
def test_a_table_without_rows_breaks_no_rule(arguments: dict[str, Any]) -> None:
    assert found(f"(select * from {ROWS} where 1 = 0) as none_at_all", **arguments) == []
