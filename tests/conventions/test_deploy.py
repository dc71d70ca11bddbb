"""What deploy/ names exists, and every environment variable that is read stands in the table."""

import ast
import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
VARIABLE = re.compile(r"\b(?:STAGELEDGER|DAGSTER)_[A-Z][A-Z_]+[A-Z]\b")


def read_variables() -> set[str]:
    """Names of the product's variables in Python's texts, dbt's env_var, the Makefile and deploy/."""
    found: set[str] = set()
    for path in [*(ROOT / "dagster_project").rglob("*.py"), ROOT / "tests" / "long_tests.py"]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        found.update(text for text in texts if isinstance(text, str) and VARIABLE.fullmatch(text))
    for path in [ROOT / "Makefile", *DEPLOY.rglob("*"), *(ROOT / "dbt").glob("*.yml")]:
        if path.is_file():
            found.update(VARIABLE.findall(path.read_text(encoding="utf-8")))
    return found


def test_every_variable_that_is_read_stands_in_the_table() -> None:
    rows = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    told = set(VARIABLE.findall("\n".join(line for line in rows.splitlines() if line.startswith("| `"))))
    assert {"STAGELEDGER_CONFIG", "STAGELEDGER_INSTANCE", "DAGSTER_POSTGRES_HOST"} <= read_variables()
    assert read_variables() - told == set()


def test_the_image_copies_what_there_is() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert "dagster_project" in copied and all((ROOT / name).exists() for name in copied)
    installed = [word for line in lines for word in line.split() if word.endswith(".lock")]
    assert set(installed) <= set(copied)
    assert "USER stageledger" in lines


def test_the_compose_file_builds_that_image_and_shows_the_ui_to_this_machine_alone() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    services = compose["services"]
    for name in ("webserver", "daemon"):
        build = services[name]["build"]
        assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
        assert set(services[name]["depends_on"]) <= set(services)
        assert {"STAGELEDGER_INSTANCE", "DAGSTER_HOME"} <= set(services[name]["environment"])
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    used = {v.split(":")[0] for s in services.values() for v in s["volumes"] if v[0] not in "./"}
    assert used == set(compose["volumes"])


def test_the_instance_file_reads_the_variables_that_the_compose_file_sets() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    wanted = set(re.findall(r"env: (\w+)", (DEPLOY / "dagster.yaml").read_text(encoding="utf-8")))
    assert wanted and wanted <= set(compose["services"]["daemon"]["environment"])


def test_the_units_start_what_the_checkout_has() -> None:
    for unit in (DEPLOY / "systemd").glob("*.service"):
        text = unit.read_text(encoding="utf-8")
        started = re.findall(r"^ExecStart(?:Pre)?=/opt/stageledger/\.venv/bin/(\S+)", text, re.MULTILINE)
        assert started and set(started) <= {"python", "dagster-webserver", "dagster-daemon"}
        assert "EnvironmentFile=/etc/stageledger/stageledger.env" in text
    assert (DEPLOY / "systemd" / "stageledger-nightly.service").exists()


def test_a_backup_restores_into_an_empty_folder_and_into_no_other(tmp_path: Path) -> None:
    data, backup, again = tmp_path / "data", tmp_path / "backup", tmp_path / "again"
    batch = data / "landing" / "files" / "crm" / "deals" / "b1"
    batch.mkdir(parents=True)
    (batch / "part-00000.parquet").write_bytes(b"rows")
    (data / "landing" / ".inflight").mkdir()
    (data / "landing" / "_purged.json").write_text("{}")
    (data / "warehouse.duckdb").write_bytes(b"tables")

    def call(script: str, *folders: Path) -> int:
        command = ["sh", str(DEPLOY / script), *map(str, folders)]
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode

    assert call("backup.sh", data, backup) == 0
    assert call("backup.sh", data, backup) == 2
    assert call("restore.sh", backup, again) == 0
    restored = {str(p.relative_to(again)): p.read_bytes() for p in again.rglob("*") if p.is_file()}
    assert restored == {
        "landing/files/crm/deals/b1/part-00000.parquet": b"rows",
        "landing/_purged.json": b"{}",
        "warehouse.duckdb": b"tables",
    }
    assert call("restore.sh", backup, again) == 2
