"""A real Superset on the published file, while it is published anew: `make test-superset`."""

import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bi.superset_server import Superset, run_superset
from tests.reliability.publish_scenario import Scenario
from tests.report.chromium import find_chromium, open_browser

ENVIRONMENT = os.environ.get("STAGELEDGER_SUPERSET", "")
PUBLISHED = os.environ.get("STAGELEDGER_PUBLISHED", "")
FOLDER = Path(__file__).parents[2] / "docs" / "superset"
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "superset.png"
PUBLISHES, READERS, ROWS = 20, 3, 2_000
READ_ONLY = json.dumps({"engine_params": {"connect_args": {"read_only": True}}})

pytestmark = pytest.mark.skipif(
    not (ENVIRONMENT and PUBLISHED),
    reason="needs Superset in an environment of its own: `make test-superset`",
)
logger = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def superset(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Superset]:
    with run_superset(Path(ENVIRONMENT), tmp_path_factory.mktemp("superset")) as running:
        yield running


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """A small warehouse whose first generation is published."""
    made = Scenario(tmp_path_factory.mktemp("warehouse"), rows=ROWS)
    made.build(1)
    made.publish(1)
    return made


@pytest.fixture(scope="module")
def database(superset: Superset, scenario: Scenario) -> int:
    """Superset's id of the published file; writing is allowed by Superset: only the file refuses."""
    body = {"database_name": "small", "sqlalchemy_uri": f"duckdb:///{scenario.link}", "extra": READ_ONLY}
    return superset.post("database/", {**body, "allow_dml": True})["id"]


@pytest.fixture(scope="module")
def chart(superset: Superset, database: int) -> int:
    """A chart made over the API: rows, and oldest and newest generation, of a published table."""
    table = {"database": database, "schema": "main", "table_name": "mart_pipeline"}
    dataset = superset.post("dataset/", table)["id"]
    metrics = [
        {"expressionType": "SQL", "label": label, "sqlExpression": expression}
        for label, expression in (
            ("rows", "count(*)"),
            ("oldest", "min(generation)"),
            ("newest", "max(generation)"),
        )
    ]
    query = {"datasource": {"id": dataset, "type": "table"}, "queries": [{"columns": [], "metrics": metrics}]}
    made = {
        "slice_name": "generations",
        "viz_type": "table",
        "datasource_id": dataset,
        "datasource_type": "table",
        "params": "{}",
        "query_context": json.dumps(query),
    }
    return superset.post("chart/", made)["id"]


def chart_rows(superset: Superset, chart: int) -> list[dict[str, Any]]:
    """What a chart shows now."""
    (result,) = superset.get(f"chart/{chart}/data/")["result"]
    assert result["error"] is None
    return result["data"]


def test_the_descriptions_of_the_contract_arrive(superset: Superset, chart: int) -> None:
    found = superset.get("dataset/")["result"]
    (dataset,) = [each["id"] for each in found if each["table_name"] == "mart_pipeline"]
    columns = superset.get(f"dataset/{dataset}")["result"]["columns"]
    assert {each["column_name"]: each["description"] for each in columns} == {
        "day_number": "Day, counted from 1",
        "generation": "It's the generation",
        "amount": "Reporting currency",
    }


def test_the_file_refuses_to_be_written(superset: Superset, database: int, chart: int) -> None:
    with pytest.raises(AssertionError, match="read-only mode"):
        superset.post(
            "sqllab/execute/", {"database_id": database, "sql": "create table mine as select 1 as x"}
        )
    assert chart_rows(superset, chart) == [{"rows": ROWS, "oldest": 1, "newest": 1}]


def test_every_query_sees_the_newest_of_twenty_publishes_under_load(
    superset: Superset, scenario: Scenario, chart: int
) -> None:
    newest, is_over = [1], threading.Event()
    seen: list[int] = []
    problems: list[str] = []

    def read() -> None:
        while not is_over.is_set():
            wanted = newest[0]
            try:
                (row,) = chart_rows(superset, chart)
            except Exception as error:
                problems.append(str(error))
                continue
            if row["rows"] != ROWS or row["oldest"] != row["newest"]:
                problems.append(f"torn: {row}")
            if row["newest"] < wanted:
                problems.append(f"stale: {row['newest']} after {wanted} was published")
            seen.append(row["newest"])

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        for generation in range(2, PUBLISHES + 2):
            scenario.build(generation)
            scenario.publish(generation)
            newest[0] = generation
            time.sleep(0.5)
    finally:
        is_over.set()
        for reader in readers:
            reader.join()
    logger.info("%d queries saw %d generations, %d problems", len(seen), len(set(seen)), len(problems))
    assert problems == []
    assert len(seen) > PUBLISHES and len(set(seen)) > PUBLISHES // 2
    assert chart_rows(superset, chart) == [{"rows": ROWS, "oldest": PUBLISHES + 1, "newest": PUBLISHES + 1}]


@pytest.fixture(scope="module")
def dashboard(superset: Superset) -> dict[str, int]:
    """Charts of the imported dashboard: id by name. Only the address of the file is filled in."""
    files = {}
    for path in sorted(FOLDER.rglob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "sqlalchemy_uri" in content:
            content["sqlalchemy_uri"] = f"duckdb:///{Path(PUBLISHED).absolute()}"
        files[str(path.relative_to(FOLDER))] = yaml.safe_dump(content)
    superset.import_dashboard(files)
    charts = superset.get("dashboard/stageledger/charts")["result"]
    return {each["slice_name"]: each["id"] for each in charts}


def test_every_chart_of_the_imported_dashboard_has_rows(
    superset: Superset, dashboard: dict[str, int]
) -> None:
    assert len(dashboard) == len(list((FOLDER / "charts").iterdir()))
    rows = {name: len(chart_rows(superset, number)) for name, number in dashboard.items()}
    logger.info("%s", rows)
    assert all(rows.values()), rows


ANSWERS = """
performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/api/v1/chart/data"))
  .map((entry) => entry.responseStatus)
"""
WAITING = "document.querySelectorAll('[data-test=\"loading-indicator\"], .loading').length"
DRAWN = "document.querySelectorAll('[data-test=\"chart-container\"], .slice_container').length"


@pytest.mark.skipif(find_chromium() is None, reason="no chromium on this machine: apt-get install chromium")
def test_the_dashboard_is_drawn_in_a_browser(
    superset: Superset, dashboard: dict[str, int], tmp_path: Path
) -> None:
    with open_browser(str(find_chromium()), tmp_path / "profile") as browser:
        browser.call(
            "Network.setCookie", name="session", value=superset.session_cookie(), url=superset.address
        )
        browser.screen(1400, 1500)
        browser.open(f"{superset.address}/superset/dashboard/stageledger/?standalone=1")
        end = time.monotonic() + 120
        while len(browser.run(ANSWERS)) < len(dashboard) or browser.run(WAITING):
            assert time.monotonic() < end, (browser.run(ANSWERS), browser.run("document.body.innerText"))
            time.sleep(0.5)
        time.sleep(2)  # charts are drawn with an animation
        assert set(browser.run(ANSWERS)) == {200}
        text = browser.run("document.body.innerText")
        picture = tmp_path / "superset.png"
        browser.picture(picture)
    missing = [name for name in dashboard if name not in text]
    assert missing == [] and "Unexpected error" not in text
    if os.environ.get("STAGELEDGER_PICTURE"):
        PICTURE.write_bytes(picture.read_bytes())
