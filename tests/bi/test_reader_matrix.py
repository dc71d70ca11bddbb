"""The published file as old and new DuckDBs see it: `make test-readers`."""

import json
import logging
import os
import subprocess
from pathlib import Path

import pytest

READERS = os.environ.get("STAGELEDGER_READERS", "")
PUBLISHED = os.environ.get("STAGELEDGER_PUBLISHED", "")
PROGRAM = Path(__file__).with_name("open_published.py")
OLDEST, MIDDLE, OWN = "1.1", "1.4", "2.0"

pytestmark = pytest.mark.skipif(
    not (READERS and PUBLISHED), reason="needs environments with older DuckDBs: run `make test-readers`"
)
logger = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, object]]:
    """What each version found, by its first two numbers."""
    found = {}
    for environment in sorted(Path(READERS).glob("*/bin/python")):
        done = subprocess.run(
            [str(environment), str(PROGRAM), PUBLISHED], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{environment}: {done.stderr}"
        answer = json.loads(done.stdout)
        logger.info("%s", answer)
        found[".".join(answer["version"].split(".")[:2])] = answer
    return found


def test_the_versions_that_the_readme_names_are_tried(answers: dict[str, dict[str, object]]) -> None:
    assert set(answers) == {OLDEST, MIDDLE, OWN}


@pytest.mark.parametrize("version", [OLDEST, MIDDLE])
def test_an_older_version_sees_what_our_own_sees(answers: dict[str, dict[str, object]], version: str) -> None:
    own, older = answers[OWN], answers[version]
    assert {**older, "version": ""} == {**own, "version": ""}


def test_every_table_view_and_column_has_words_and_the_macro_answers(
    answers: dict[str, dict[str, object]],
) -> None:
    own = answers[OWN]
    assert own["tables"] > 40 and own["views"] > 40  # type: ignore[operator]
    assert (own["columns_without_words"], own["relations_without_words"]) == (0, 0)
    assert own["pipeline_as_of"][0] > 0  # type: ignore[index]
