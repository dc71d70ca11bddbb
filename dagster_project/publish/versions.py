"""The folder of published versions: new names, the flip, what is kept and what is cleaned up.

`marts-<n>.duckdb` are complete versions, `marts.duckdb` is a symbolic link to the newest, and
`marts-<n>.duckdb.building` is one that is being written. Where links are not allowed, the text file
`marts.current` names the newest version instead.
"""

import logging
import os
import re
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

LINK_NAME = "marts.duckdb"
POINTER_NAME = "marts.current"
_COUNTER_NAME = ".marts.counter"
_UNFINISHED = ".building"
_TEMPORARY = ".new"
_VERSION = re.compile(r"marts-(\d+)\.duckdb")
_READ_ONLY = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


def current_file(folder: Path) -> Path | None:
    """The version that readers see now, or None before the first publish."""
    return target_of(folder, LINK_NAME, POINTER_NAME)


def point_at(folder: Path, link_name: str, pointer_name: str, target: str) -> Path:
    """Let the link of a folder lead to `target` in one step, or the pointer file where links are refused."""
    temporary = folder / f"{link_name}{_TEMPORARY}"
    temporary.unlink(missing_ok=True)
    try:
        os.symlink(target, temporary)
    except (OSError, NotImplementedError) as error:
        logger.info("no symbolic links here (%s): %s names the newest version", error, pointer_name)
        write_durably(folder / pointer_name, f"{target}\n")
        return folder / pointer_name
    os.replace(temporary, folder / link_name)
    sync_folder(folder)
    return folder / link_name


def target_of(folder: Path, link_name: str, pointer_name: str) -> Path | None:
    """Where the link, or the pointer file, of a folder leads; None where nothing is."""
    link, pointer = folder / link_name, folder / pointer_name
    if link.is_symlink():
        target = folder / os.readlink(link)
    elif pointer.exists():
        target = folder / pointer.read_text(encoding="utf-8").strip()
    else:
        return None
    return target if target.exists() else None


def write_durably(path: Path, text: str) -> None:
    """Replace a small file in one step that outlives a loss of power."""
    temporary = path.with_name(path.name + _TEMPORARY)
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive a loss of power."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class Versions:
    """The versions in one folder. Only one process at a time may change it."""

    folder: Path

    def complete(self) -> list[int]:
        """Numbers of the versions that were accepted and are still kept, ascending."""
        return sorted(
            int(found[1]) for path in self.folder.iterdir() if (found := _VERSION.fullmatch(path.name))
        )

    def path(self, number: int) -> Path:
        """Where version `number` lies once it is accepted."""
        return self.folder / f"marts-{number}.duckdb"

    @contextmanager
    def new(self) -> Iterator[int]:
        """A number that was never used before; whatever is unfinished at the end of the block is removed.

        A name that was once open for writing is never used again: DuckDB would replay the `.wal` that a
        dead writer left beside it into the new file.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clean_unfinished()
        used = [int(found[1]) for path in self.folder.iterdir() if (found := _VERSION.match(path.name))]
        number = max([self._counter(), *used]) + 1
        write_durably(self.folder / _COUNTER_NAME, f"{number}\n")
        try:
            yield number
        finally:
            self.clean_unfinished()

    def unfinished_path(self, number: int) -> Path:
        """Where version `number` is written before it is accepted."""
        return self.path(number).with_name(self.path(number).name + _UNFINISHED)

    def accept(self, number: int) -> Path:
        """Make the checked file durable and read-only, and give it its name."""
        unfinished, accepted = self.unfinished_path(number), self.path(number)
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.chmod(_READ_ONLY)
        os.replace(unfinished, accepted)
        sync_folder(self.folder)
        return accepted

    def flip(self, number: int) -> Path:
        """Let readers see version `number` from now on; returns the link (or pointer file) that says so."""
        self._drop_foreign_wal()
        return point_at(self.folder, LINK_NAME, POINTER_NAME, self.path(number).name)

    def prune(self, keep: int) -> list[Path]:
        """Remove all but the newest `keep` versions; never the one that readers see."""
        current = current_file(self.folder)
        removed = []
        for number in self.complete()[:-keep]:
            if self.path(number) != current and _remove(self.path(number)):
                removed.append(self.path(number))
        return removed

    def clean_unfinished(self) -> None:
        """Remove what a publisher left behind that died before it finished."""
        for path in self.folder.iterdir():
            is_version = _VERSION.match(path.name) and _UNFINISHED in path.name
            if is_version or path.name.endswith(_TEMPORARY):
                _remove(path)

    def _drop_foreign_wal(self) -> None:
        wal = self.folder / f"{LINK_NAME}.wal"
        if wal.exists():
            logger.warning(
                "%s shows that somebody opened the published file for writing; those changes are dropped "
                "(open it read-only)",
                wal,
            )
            _remove(wal)

    def _counter(self) -> int:
        try:
            return int((self.folder / _COUNTER_NAME).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return 0


def _remove(path: Path) -> bool:
    """Remove a file and its `.wal`; a file that cannot be removed now is left for the next publish."""
    try:
        for name in (path, path.with_name(path.name + ".wal")):
            name.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s could not be removed (%s); the next publish tries again", path, error)
        return False
    return True
