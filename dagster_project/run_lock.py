"""One writer at a time: an operating-system lock that dies with the process that holds it.

The lock sits on a small file whose JSON says who holds it. The text is only for people: whether
the lock is held is asked of the operating system, so a killed run never leaves a stale lock.
The file must lie on a local disk.
"""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

logger = logging.getLogger(__name__)

# A probe by `holder` takes a shared lock for a moment; a taker must not mistake it for a run.
_GRACE_SECONDS = 0.3
_PAUSE_SECONDS = 0.05
_WINDOWS_LOCK_OFFSET = 1 << 30


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: process, start (UTC), run and what it is doing."""

    pid: int
    started_at: datetime
    run_id: str
    what: str

    def describe(self) -> str:
        """One phrase for people: what, run, process, start."""
        started = self.started_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"{self.what} (run {self.run_id}, process {self.pid}, started {started})"


class RunLocked(RuntimeError):
    """Another run holds the lock. `holder` is None when it left no readable name."""

    def __init__(self, path: Path, holder: Holder | None, waited_seconds: float) -> None:
        self.path = path
        self.holder = holder
        who = holder.describe() if holder else "another process (it left no name)"
        waited = f" after waiting {waited_seconds:g} s" if waited_seconds else ""
        stop = f", or end process {holder.pid}" if holder else ""
        super().__init__(
            f"another run is writing to {path.parent}{waited}: {who}. "
            f"Only one run writes at a time: let it finish (`make status` shows it){stop}, then start again."
        )


@dataclass
class RunLock:
    """A lock that is held. Give it back with `release`; a second `release` does nothing."""

    path: Path
    holder: Holder
    _released: bool = field(default=False, init=False, repr=False)

    def release(self) -> None:
        """Give back this hold; the lock itself is free once every hold of the run is given back."""
        if not self._released:
            self._released = True
            _give_back(self.path)


@dataclass
class _Held:
    descriptor: int
    holder: Holder
    count: int


_held: dict[Path, _Held] = {}
_guard = threading.RLock()


def acquire(path: Path, run_id: str, what: str, wait_seconds: float = 0.0) -> RunLock:
    """Take the lock at `path` for `run_id`, waiting at most `wait_seconds` for another run to end.

    The same run may take it again inside the same process (each hold is released on its own).
    `what` names the work for people: "nightly run", "forecast backfill 2026-03-01 to 2026-03-30".

    Raises:
        RunLocked: another run, in this process or another, holds it.
    """
    path = Path(os.path.abspath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + max(wait_seconds, _GRACE_SECONDS)
    announced = False
    while True:
        lock, current = _try_take(path, run_id, what)
        if lock is not None:
            return lock
        if time.monotonic() >= deadline:
            raise RunLocked(path, current, wait_seconds)
        if wait_seconds and not announced:
            logger.info("waiting for %s", current.describe() if current else "another run to end")
            announced = True
        time.sleep(_PAUSE_SECONDS)


@contextmanager
def hold(path: Path, run_id: str, what: str, wait_seconds: float = 0.0) -> Iterator[Holder]:
    """`acquire` for the length of a `with` block."""
    lock = acquire(path, run_id, what, wait_seconds)
    try:
        yield lock.holder
    finally:
        lock.release()


def holder(path: Path) -> Holder | None:
    """Who holds the lock right now, or None when it is free. Never blocks and never takes it."""
    path = Path(os.path.abspath(path))
    with _guard:
        mine = _held.get(path)
        if mine is not None:
            return mine.holder
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            return None if _try_lock(descriptor, shared=True) else _read(descriptor)
        finally:
            os.close(descriptor)


def _try_take(path: Path, run_id: str, what: str) -> tuple[RunLock | None, Holder | None]:
    with _guard:
        mine = _held.get(path)
        if mine is not None:
            if mine.holder.run_id != run_id:
                return None, mine.holder
            mine.count += 1
            return RunLock(path, mine.holder), None
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not _try_lock(descriptor, shared=False):
            try:
                return None, _read(descriptor)
            finally:
                os.close(descriptor)
        taken = Holder(os.getpid(), datetime.now(UTC), run_id, what)
        _write(descriptor, taken)
        _held[path] = _Held(descriptor, taken, 1)
        return RunLock(path, taken), None


def _give_back(path: Path) -> None:
    with _guard:
        mine = _held.get(path)
        if mine is None:
            return
        mine.count -= 1
        if mine.count == 0:
            del _held[path]
            # The file stays: deleting it would let a waiter lock a file nobody else can see.
            os.ftruncate(mine.descriptor, 0)
            os.close(mine.descriptor)


def _try_lock(descriptor: int, shared: bool) -> bool:
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, _WINDOWS_LOCK_OFFSET, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _read(descriptor: int) -> Holder | None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        raw = json.loads(os.read(descriptor, 65536))
        return Holder(
            int(raw["pid"]), datetime.fromisoformat(raw["started_at"]), str(raw["run_id"]), str(raw["what"])
        )
    except (ValueError, KeyError, TypeError):
        return None


def _write(descriptor: int, taken: Holder) -> None:
    text = json.dumps(
        {
            "pid": taken.pid,
            "started_at": taken.started_at.isoformat(),
            "run_id": taken.run_id,
            "what": taken.what,
        }
    )
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, text.encode())
    os.fsync(descriptor)


def _forget_in_child() -> None:
    """A forked child shares the parent's lock; it must neither keep it alive nor believe it holds it."""
    global _guard
    _guard = threading.RLock()
    for mine in _held.values():
        os.close(mine.descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
