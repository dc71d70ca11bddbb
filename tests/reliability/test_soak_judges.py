"""What judges published files during `make soak` finds what it is there for."""

from pathlib import Path

import duckdb
import pytest
from publish_scenario import Scenario

from tests.soak.published import NotWhole, fingerprint


@pytest.fixture
def path(tmp_path: Path) -> Path:
    scenario = Scenario(tmp_path)
    scenario.build(1)
    scenario.publish(1)
    path = scenario.link.resolve()
    path.chmod(0o644)
    return path


def change(path: Path, sql: str) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute(sql)


def test_two_publishes_of_the_same_warehouse_have_one_fingerprint(tmp_path: Path) -> None:
    scenario = Scenario(tmp_path)
    scenario.build(1)
    first = fingerprint(scenario.publish(1).path)
    scenario.publish(1)
    assert fingerprint(scenario.link).differs_in(first) == []


def test_another_value_in_one_row_is_another_fingerprint(path: Path) -> None:
    before = fingerprint(path)
    change(path, "update mart_pipeline set amount = amount + 0.001 where day_number = 3")
    assert fingerprint(path).differs_in(before) == ["mart_pipeline"]


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("delete from mart_pipeline where day_number = 3", "mart_pipeline of .* has 499 rows, 500 were"),
        ("update _publish set run_id = 'run-0' where table_name = 'mart_stages'", "was published by 2 runs"),
        ("delete from _publish where table_name = 'mart_stages'", "does not list mart_stages"),
    ],
)
def test_a_file_that_is_not_whole_or_of_two_runs_is_found(path: Path, sql: str, problem: str) -> None:
    change(path, sql)
    with pytest.raises(NotWhole, match=problem):
        fingerprint(path)


def test_a_file_that_breaks_off_is_found(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(NotWhole, match="cannot be read"):
        fingerprint(path)
