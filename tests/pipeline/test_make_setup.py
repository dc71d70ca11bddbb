"""What `make` says on a machine that lacks something, and what it offers."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not on this machine")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with only what setting up needs, so that no real environment is touched."""
    for name in ("Makefile", "requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def interpreter(folder: Path, version: str, *, has_ensurepip: bool) -> Path:
    """A stand-in for an interpreter: it answers the questions that the Makefile asks, and does nothing."""
    major, minor = version.split(".")[:2]
    script = folder / "fake-python"
    script.write_text(
        "#!/bin/sh\n"
        'case "$1 $2" in\n'
        f"*sys.exit*) exit {0 if (3, 11) <= (int(major), int(minor)) < (3, 14) else 1} ;;\n"
        f'*platform*) echo "is {version}" ;;\n'
        f"*ensurepip*) exit {0 if has_ensurepip else 1} ;;\n"
        f"*-venv*) echo python{major}.{minor}-venv ;;\n"
        f"-V*) echo Python {version} ;;\n"
        "*) exit 3 ;;\n"
        "esac\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return script


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(checkout)}
    return subprocess.run(
        ["make", *arguments], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("version", ["3.10.14", "3.14.0"])
def test_another_python_is_refused_with_one_sentence(checkout: Path, version: str) -> None:
    python = interpreter(checkout, version, has_ensurepip=True)
    result = make(checkout, "run", f"PYTHON={python}")
    assert result.returncode != 0
    assert f"needs Python 3.11, 3.12 or 3.13, but {python} is {version}." in result.stderr
    assert "Traceback" not in result.stderr
    assert not (checkout / ".venv").exists()


def test_no_python_at_all_is_said_in_one_sentence(checkout: Path) -> None:
    result = make(checkout, "run", "PYTHON=/nowhere/python3")
    assert result.returncode != 0
    assert "/nowhere/python3 cannot be run." in result.stderr


def test_a_python_without_ensurepip_is_refused_with_the_package_to_install(checkout: Path) -> None:
    python = interpreter(checkout, "3.12.3", has_ensurepip=False)
    result = make(checkout, "run", f"PYTHON={python}")
    assert result.returncode != 0
    assert "ensurepip is missing. On Debian and Ubuntu: apt install python3.12-venv" in result.stderr
    assert not (checkout / ".venv").exists()


def test_help_lists_every_public_target(checkout: Path) -> None:
    listed = {line.split()[1] for line in make(checkout, "help").stdout.splitlines()}
    assert listed >= {"run", "test", "dev", "backfill", "status", "docs", "lint", "help", "lock", "bench"}
    assert make(checkout).stdout == make(checkout, "help").stdout
