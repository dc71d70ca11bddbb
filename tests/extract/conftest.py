"""A business per test, on a landing that has its empty batches already."""

import shutil
from pathlib import Path

import pytest
from small_business import Business

from dagster_project.extract.landing import Landing


@pytest.fixture(scope="session")
def empty_landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("empty") / "landing"
    Landing(root).ensure_empty_batches()
    return root


@pytest.fixture
def business(tmp_path: Path, empty_landing: Path) -> Business:
    shutil.copytree(empty_landing, tmp_path / "data" / "landing")
    return Business(tmp_path)
