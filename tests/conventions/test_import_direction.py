"""The steps of the way do not know each other; only the top of the package knows them all."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "dagster_project"
STEPS = ("extract", "transform", "forecast", "publish", "report", "simulate", "cli", "alerts", "backfills")
# Charts are drawn for Dagster by the forecast and for people by the report, so they belong to neither.
SHARED_ROOMS = ("charts",)
TOP_MODULES = ("definitions", "asset_jobs", "automation", "freshness", "__main__")


def imported_steps(path: Path) -> set[str]:
    """Rooms of dagster_project that a file imports, however it is written."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dagster_project"):
            parts = node.module.split(".")
            found.update([parts[1]] if len(parts) > 1 else [alias.name for alias in node.names])
        elif isinstance(node, ast.Import):
            found.update(a.name.split(".")[1] for a in node.names if a.name.startswith("dagster_project."))
    return found


def files_of(step: str) -> list[Path]:
    return sorted((PACKAGE / step).rglob("*.py"))


@pytest.mark.parametrize("step", ["extract", "transform", "forecast", "publish", "report", "simulate"])
def test_a_step_imports_no_other_step(step: str) -> None:
    others = (set(STEPS) | set(TOP_MODULES)) - {step}
    offenders = {
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in files_of(step)
        for name in imported_steps(path) & others
    }
    assert not offenders


@pytest.mark.parametrize(
    "path",
    [
        *(path for path in sorted(PACKAGE.glob("*.py")) if path.stem not in TOP_MODULES),
        *(path for room in SHARED_ROOMS for path in files_of(room)),
    ],
    ids=lambda path: path.stem,
)
def test_what_all_steps_share_imports_no_step(path: Path) -> None:
    assert not imported_steps(path) & {*STEPS, *TOP_MODULES}


def test_only_the_command_line_imports_the_simulation() -> None:
    importers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "simulate" in imported_steps(path) and path.relative_to(PACKAGE).parts[0] != "simulate"
    }
    assert importers <= {"__main__.py", "cli/bundled_example.py"}


def test_the_reader_of_imports_sees_every_way_to_import(tmp_path: Path) -> None:
    file = tmp_path / "room.py"
    file.write_text(
        "import dagster_project.publish.versions\n"
        "from dagster_project import automation, run_lock\n"
        "def later():\n    from dagster_project.forecast.gate import choose\n"
    )
    assert imported_steps(file) == {"publish", "automation", "run_lock", "forecast"}
