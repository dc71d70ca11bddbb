"""The locks install the same on every machine, and both environments agree."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-ml.lock", "requirements-postgres.lock")


def pins(name: str) -> dict[str, set[str]]:
    """Package → its pinned versions (several where Python versions differ)."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        match = re.match(r"([a-z0-9._-]+)==([^ ;\\]+)", line)
        if match:
            found.setdefault(match[1], set()).add(match[2])
    return found


def test_the_development_lock_holds_every_version_of_the_run_lock() -> None:
    run, development = pins(LOCKS[0]), pins(LOCKS[1])
    assert len(run) > 50
    assert {name: development.get(name) for name in run} == run


def test_the_lock_of_the_challenger_adds_to_the_run_lock_what_scikit_learn_needs() -> None:
    run, development, challenger = pins(LOCKS[0]), pins(LOCKS[1]), pins(LOCKS[2])
    assert {name: challenger.get(name) for name in run} == run
    assert {name: development.get(name) for name in challenger} == challenger
    assert "scikit-learn" in challenger.keys() - run.keys()


def test_the_lock_of_postgresql_adds_to_the_run_lock_its_target_and_dagsters_store() -> None:
    run, development, postgres = pins(LOCKS[0]), pins(LOCKS[1]), pins(LOCKS[3])
    assert {name: postgres.get(name) for name in run} == run
    added = postgres.keys() - run.keys()
    assert {"psycopg", "dagster-postgres"} <= added
    # What the tests use too is of one version; Dagster's store is not among it.
    shared = added & development.keys()
    assert "psycopg" in shared
    assert {name: development[name] for name in shared} == {name: postgres[name] for name in shared}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_host(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*--?(index|extra|find|trusted)", text, re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_of_a_lock_has_a_hash(name: str) -> None:
    entries = re.split(r"\n(?=[a-z0-9])", (ROOT / name).read_text(encoding="utf-8").strip())
    without = [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]
    assert not without


def test_the_run_lock_lists_uv_because_it_installs_the_rest() -> None:
    assert len(pins(LOCKS[0])["uv"]) == 1


def test_every_dependency_of_the_project_is_in_the_run_lock() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[=<>~! ]", dependency)[0] for dependency in project["dependencies"]}
    assert wanted <= set(pins(LOCKS[0]))


def test_dagster_is_one_version_throughout() -> None:
    locked = pins(LOCKS[0])
    assert locked["dagster"] == locked["dagster-webserver"] == locked["dagster-graphql"]


def test_no_lock_file_with_host_names_is_in_the_repository() -> None:
    assert not [name for name in ("uv.lock", "package-lock.json", "poetry.lock") if (ROOT / name).exists()]
