"""dbt's own unit tests run here: the nightly run leaves them out, since they look at SQL and not at data."""

import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import duckdb
import pytest

from dagster_project.api_settings import CONNECTORS
from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.landing import Landing
from tests.ledger.book import Book
from tests.ledger.ledger_bench import DBT_PROJECT, create_run_context, run_dbt

pytestmark = pytest.mark.slow


def written() -> set[str]:
    """The names of the unit tests that stand in the models' files."""
    files = sorted((DBT_PROJECT / "models").rglob("*.yml"))
    blocks = [text.partition("\nunit_tests:")[2] for text in (path.read_text() for path in files)]
    return {name for block in blocks for name in re.findall(r"^  - name: (\w+)$", block, re.MULTILINE)}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Name of each unit test → what came of it, and its message."""
    folder = tmp_path_factory.mktemp("unit-tests")
    landing, database, target = folder / "landing", folder / "warehouse.duckdb", folder / "target"
    Landing(landing).ensure_empty_batches(api_entities())
    with duckdb.connect(str(database)) as connection:
        create_run_context(connection, Book(stages=()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STAGELEDGER_SOURCE_TYPES", ",".join(["files", *CONNECTORS]))
        run_dbt("run", database, landing, target, ["staging", "ledger", "marts"])
        with contextlib.suppress(AssertionError):  # each failure is told by its own test
            run_dbt("test", database, landing, target, ["test_type:unit"])
    return _results(target)


def _results(target: Path) -> Mapping[str, str]:
    results = json.loads((target / "run_results.json").read_text())["results"]
    return {one["unique_id"].split(".")[-1]: f"{one['status']} {one['message'] or ''}" for one in results}


def test_every_unit_test_ran(outcomes: Mapping[str, str]) -> None:
    assert len(outcomes) > 20
    assert set(outcomes) == written()


@pytest.mark.parametrize("name", sorted(written()))
def test_a_model_gives_the_rows_expected_by_hand(outcomes: Mapping[str, str], name: str) -> None:
    assert outcomes[name].startswith("pass"), outcomes[name]
