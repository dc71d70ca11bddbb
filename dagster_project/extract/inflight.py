"""Folders that nobody sees yet: where batches are built, and what a killed process leaves behind.

Each folder is guarded by a lock of the operating system on a file beside it. The lock dies with its process,
so what is unlocked is abandoned, however the process ended.
"""

import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = ".inflight"
_LOCK_SUFFIX = ".lock"
_RESUMABLE_SUFFIX = ".resumable"
_KEEP_RESUMABLE_SECONDS = 30 * 24 * 3600


class InUse(Exception):
    """Another process works in a resumable folder."""

    def __init__(self, name: str) -> None:
        super().__init__(f"another process is reading {name}; wait for it to end, then run again")


class InFlight:
    """The folder `.inflight/` under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root / NAME

    @contextmanager
    def folder(self, name: str) -> Iterator[Path]:
        """A new guarded folder; it is removed afterwards unless it was renamed away."""
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / f"{name}-{uuid.uuid4().hex[:8]}"
        guard = path.with_name(path.name + _LOCK_SUFFIX)
        with guard.open("w") as lock:
            _try_lock(lock)
            path.mkdir()
            try:
                yield path
            finally:
                shutil.rmtree(path, ignore_errors=True)
                guard.unlink(missing_ok=True)

    @contextmanager
    def resumable(self, name: str) -> Iterator[Path]:
        """The guarded folder of this name, with whatever a killed process left in it; it stays afterwards.

        Errors: InUse when another process works in it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.path(name)
        guard = path.with_name(path.name + _LOCK_SUFFIX)
        with guard.open("a") as lock:
            if not _try_lock(lock):
                raise InUse(name)
            path.mkdir(exist_ok=True)
            yield path

    def remove(self, path: Path) -> None:
        """Remove one folder, resumable or not. Errors: InUse when a process works in it."""
        guard = path.with_name(path.name + _LOCK_SUFFIX)
        if not _is_abandoned(guard):
            raise InUse(path.name)
        shutil.rmtree(path, ignore_errors=True)
        guard.unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Where the resumable folder of this name lies, whether it is there or not."""
        return self.root / (name + _RESUMABLE_SUFFIX)

    def sweep(self) -> int:
        """Remove abandoned folders; the number removed. What can be resumed is kept for 30 days."""
        if not self.root.exists():
            return 0
        removed = 0
        for path in [p for p in self.root.iterdir() if p.is_dir()]:
            guard = path.with_name(path.name + _LOCK_SUFFIX)
            if path.name.endswith(_RESUMABLE_SUFFIX) and not _is_old(path):
                continue
            if _is_abandoned(guard):
                shutil.rmtree(path, ignore_errors=True)
                guard.unlink(missing_ok=True)
                removed += 1
        return removed


def sync_file(path: Path) -> None:
    """Return when the file's bytes are on the disk."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Return when the folder's entries are on the disk (where the system can tell)."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_old(path: Path) -> bool:
    newest = max((p.stat().st_mtime for p in [path, *path.iterdir()]), default=0.0)
    return time.time() - newest > _KEEP_RESUMABLE_SECONDS


def _is_abandoned(guard: Path) -> bool:
    # The guard is locked before its folder exists, so a folder without a locked guard has lost its owner.
    try:
        with guard.open("r+") as lock:
            return _try_lock(lock)
    except FileNotFoundError:
        return True


def _try_lock(lock: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(lock.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
