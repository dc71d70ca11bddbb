"""A Superset of its own on 127.0.0.1, its metadata in SQLite, and its REST API."""

import io
import os
import secrets
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

CONFIG = """
SECRET_KEY = "{secret}"
SQLALCHEMY_DATABASE_URI = "sqlite:///{folder}/superset.db?check_same_thread=false"
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
"""
USER = "admin"


class Superset:
    """A signed-in administrator. Every call raises AssertionError with what Superset answered."""

    def __init__(self, address: str, password: str) -> None:
        self.address = address
        self._password = password
        self._session = requests.Session()
        token = self.post(
            "security/login", {"username": USER, "password": password, "provider": "db", "refresh": True}
        )["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a POST, as JSON."""
        return self._answer(self._session.post(f"{self.address}/api/v1/{path}", json=body, timeout=120))

    def get(self, path: str) -> dict[str, Any]:
        """The answer to a GET, as JSON."""
        return self._answer(self._session.get(f"{self.address}/api/v1/{path}", timeout=120))

    def import_dashboard(self, files: dict[str, str]) -> None:
        """Import a dashboard from texts by their path, packed as the UI packs them."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for path, text in files.items():
                archive.writestr(f"stageledger/{path}", text)
        self._answer(
            self._session.post(
                f"{self.address}/api/v1/dashboard/import/",
                files={"formData": ("stageledger.zip", packed.getvalue(), "application/zip")},
                data={"overwrite": "true"},
                timeout=120,
            )
        )

    def session_cookie(self) -> str:
        """The cookie of a signed-in browser."""
        browser = requests.Session()
        browser.post(
            f"{self.address}/login/", data={"username": USER, "password": self._password}, timeout=60
        )
        return browser.cookies["session"]

    @staticmethod
    def _answer(response: requests.Response) -> dict[str, Any]:
        assert response.ok, f"{response.url}: {response.status_code} {response.text[:1000]}"
        return response.json()


@contextmanager
def run_superset(environment: Path, folder: Path) -> Iterator[Superset]:
    """Start the Superset of a virtual environment with an empty database in `folder`; end it afterwards."""
    password = secrets.token_hex(8)
    config = folder / "superset_config.py"
    config.write_text(CONFIG.format(secret=secrets.token_hex(32), folder=folder))
    environ = {
        **os.environ,
        "SUPERSET_CONFIG_PATH": str(config),
        "SUPERSET_HOME": str(folder),
        "FLASK_APP": "superset",
    }
    program = str(environment.resolve() / "bin" / "superset")
    name = ("--username", USER, "--firstname", "Ann", "--lastname", "Admin", "--email", "ann@example.com")
    for command in (("db", "upgrade"), ("fab", "create-admin", *name, "--password", password), ("init",)):
        done = subprocess.run(
            [program, *command], env=environ, cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"superset {command[0]}: {done.stderr[-3000:]}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "superset.log").open("w") as log:
        process = subprocess.Popen(
            [program, "run", "--host", "127.0.0.1", "--port", str(port), "--with-threads"],
            env=environ,
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, process, folder / "superset.log")
        yield Superset(address, password)
    finally:
        process.terminate()
        process.wait(30)


def _wait(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            if requests.get(f"{address}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        assert process.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(0.5)
