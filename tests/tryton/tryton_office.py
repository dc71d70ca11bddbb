"""A real Tryton on this machine: its database, the people who work in it, and its server on 127.0.0.1."""

import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import requests

from dagster_project.api_settings import TrytonSource

ENVIRONMENT = "STAGELEDGER_TRYTON"
PASSWORD = "canary-tryton-41d2"
_HERE = Path(__file__).parent
_STAFF = _HERE / "sales_office.py"
_START_SECONDS = 120


def tryton_environment() -> Path | None:
    """The virtual environment with Tryton that `make test-tryton` names; None without it."""
    folder = os.environ.get(ENVIRONMENT)
    return Path(folder).resolve() if folder else None


def rpc(address: str, database: str, method: str, params: Sequence[Any], session: str = "") -> Any:
    """One call of our own, past the connector."""
    body = {"id": 1, "method": method, "params": list(params)}
    headers = {"Authorization": f"Session {session}"} if session else {}
    with requests.Session() as web:
        web.trust_env = False
        reply = web.post(f"{address}/{database}rpc/", json=body, headers=headers, timeout=60)
    reply.raise_for_status()
    return reply.json()["result"]


@dataclass(frozen=True)
class Office:
    """A folder of databases, and the environment whose programs work on them."""

    folder: Path
    environment: Path

    @property
    def configuration(self) -> Path:
        return self.folder / "trytond.conf"

    def path(self, database: str = "office") -> Path:
        return self.folder / f"{database}.sqlite"

    def found(self) -> None:
        """A company with staff, customers and products; made once per version of it, and copied."""
        self._configure("127.0.0.1:0")
        recipe = _STAFF.read_bytes() + (_HERE / "requirements.txt").read_bytes()
        kept = self.environment / f"founded-{hashlib.sha256(recipe).hexdigest()[:16]}.sqlite"
        if not kept.exists():
            self.path().touch()
            password = self.folder / "password"
            password.write_text(PASSWORD, encoding="utf-8")
            modules = ["-u", "sale_opportunity", "--activate-dependencies", "--email", "office@example.com"]
            self._run("trytond-admin", "-c", str(self.configuration), "-d", "office", *modules)
            self._staff("found")
            shutil.copy(self.path(), kept.with_suffix(".part"))
            kept.with_suffix(".part").rename(kept)
        shutil.copy(kept, self.path())

    def work(self, first: date, last: date, new_deals: float, seed: int) -> None:
        """Days of work, from the first to the last one, with so many new deals a day."""
        self._staff("work", first.isoformat(), last.isoformat(), str(new_deals), str(seed))

    def late(self, begun_at: datetime) -> None:
        """A lead by a transaction that began at an instant, and ends now."""
        self._staff("late", begun_at.isoformat())

    @contextmanager
    def server(self, databases: Sequence[str] = ("office",)) -> Iterator[str]:
        """Tryton's own server; its address. It ends with the block."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._configure(f"127.0.0.1:{port}")
        log = self.folder / "server.log"
        with log.open("wb") as stream:
            call = [self._program("trytond"), "-c", str(self.configuration), "-d", *databases]
            process = subprocess.Popen(call, stdout=stream, stderr=stream, env=self._environment())
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for(address, process, log)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=30)

    def rows(self, query: str, database: str = "office") -> list[dict[str, Any]]:
        """Rows of Tryton's tables, read past Tryton; numbers and instants as the text they are kept as."""
        connection = sqlite3.connect(f"file:{self.path(database)}?mode=ro", uri=True)
        try:
            cursor = connection.execute(query)
            names = [column[0] for column in cursor.description]
            return [
                {n: v.decode() if isinstance(v, bytes) else v for n, v in zip(names, row, strict=True)}
                for row in cursor
            ]
        finally:
            connection.close()

    def _configure(self, listen: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        text = f"""\
            [database]
            uri = sqlite://
            path = {self.folder}
            [web]
            listen = {listen}
            """
        self.configuration.write_text(textwrap.dedent(text), encoding="utf-8")

    def _staff(self, command: str, *more: str) -> None:
        self._run("python", str(_STAFF), command, str(self.configuration), "sqlite:///office", *more)

    def _run(self, program: str, *arguments: str) -> None:
        call = [self._program(program), *arguments]
        done = subprocess.run(call, env=self._environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{program} {arguments[:1]} failed:\n{done.stdout}\n{done.stderr}"

    def _program(self, name: str) -> str:
        return str(self.environment / "bin" / name)

    def _environment(self) -> dict[str, str]:
        return os.environ | {"TRYTONPASSFILE": str(self.folder / "password"), "TZ": "UTC"}


def source(address: str, **more: Any) -> TrytonSource:
    """The source as pipeline.yaml would give it."""
    values = {"name": "erp", "type": "tryton", "base_url": address, "database": "office", "user": "admin"}
    return TrytonSource.model_validate({**values, "password": PASSWORD, **more})


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            rpc(address, "", "common.server.version", [])
        except requests.RequestException:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"Tryton's server did not start:\n{log.read_text(errors='replace')}")
