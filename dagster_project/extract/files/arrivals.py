"""Which files have arrived: those a glob names, less those that somebody is still writing."""

import glob
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePath

# A file touched this recently is looked at twice.
SETTLE_SECONDS = 2.0
SECOND_LOOK_SECONDS = 1.0
_UNFINISHED_SUFFIXES = (".part", ".partial", ".tmp", ".crdownload", ".download", ".filepart", ".inprogress")
_UNFINISHED_PREFIXES = ("~$", ".")
_DATE_IN_NAME = re.compile(r"(?<!\d)(20\d{2})[-_.]?(\d{2})[-_.]?(\d{2})(?!\d)")
READABLE_SUFFIXES = (
    ".csv", ".txt", ".tsv", ".parquet", ".jsonl", ".ndjson", ".xlsx", ".xlsm", ".gz", ".zip",
)  # fmt: skip


@dataclass(frozen=True)
class Look:
    """A file as one look saw it."""

    path: Path
    size: int
    modified_ns: int

    @property
    def key(self) -> str:
        """Text that changes when the file does."""
        return f"{self.path}|{self.size}|{self.modified_ns}"


@dataclass(frozen=True)
class Arrivals:
    """`ready` files can be read, `waiting` ones are still being written, `refused` ones say why not."""

    ready: tuple[Look, ...] = ()
    waiting: tuple[Look, ...] = ()
    refused: tuple[tuple[Path, str], ...] = ()


def find_arrivals(pattern: str, *, pause: Callable[[float], None] = time.sleep) -> Arrivals:
    """The files of a path or glob, in order of name.

    A file that changed within the last two seconds is looked at again after one more; if it changed
    meanwhile it is waiting. Errors: none; what cannot be read is refused with its reason.
    """
    first, waiting, refused = _look(pattern)
    young = [look for look in first if time.time() - look.modified_ns / 1e9 < SETTLE_SECONDS]
    if young:
        pause(SECOND_LOOK_SECONDS)
        first, waiting, refused = _split_changed(pattern, young)
    return Arrivals(tuple(first), tuple(waiting), tuple(refused))


def looks(patterns: Iterable[str]) -> tuple[Look, ...]:
    """One look at all files of some globs that have a finished name."""
    return tuple(look for pattern in patterns for look in _look(pattern)[0])


def has_changed(look: Look) -> bool:
    """Whether the file is no longer the one that was looked at."""
    try:
        status = look.path.stat()
    except FileNotFoundError:
        return True
    return (status.st_size, status.st_mtime_ns) != (look.size, look.modified_ns)


def name_date(path: PurePath) -> date | None:
    """The last date in a file's name, such as 2026-03-31 or 20260331."""
    days = []
    for year, month, day in _DATE_IN_NAME.findall(path.stem):
        try:
            days.append(date(int(year), int(month), int(day)))
        except ValueError:
            continue
    return days[-1] if days else None


def ends_in_the_middle(path: Path) -> bool:
    """Whether a Parquet file lacks its end."""
    if path.suffix.lower() != ".parquet":
        return False
    with path.open("rb") as stream:
        if stream.seek(0, os.SEEK_END) < 8:
            return True
        stream.seek(-4, os.SEEK_END)
        return stream.read(4) not in (b"PAR1", b"PARE")


def _split_changed(pattern: str, young: list[Look]) -> tuple[list[Look], list[Look], list[tuple[Path, str]]]:
    second, waiting, refused = _look(pattern)
    before = {look.path: look.key for look in young}
    changed = [look for look in second if before.get(look.path, look.key) != look.key]
    return [look for look in second if look not in changed], waiting + changed, refused


def _look(pattern: str) -> tuple[list[Look], list[Look], list[tuple[Path, str]]]:
    ready: list[Look] = []
    waiting: list[Look] = []
    refused: list[tuple[Path, str]] = []
    base = _fixed_folder(pattern)
    for name in sorted(glob.glob(pattern, recursive=True, include_hidden=True)):
        path = Path(name)
        if path.is_dir():
            continue
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        look = Look(path, status.st_size, status.st_mtime_ns)
        if path.name.startswith(_UNFINISHED_PREFIXES) or path.name.lower().endswith(_UNFINISHED_SUFFIXES):
            waiting.append(look)
        elif not stat.S_ISREG(status.st_mode):
            refused.append((path, "is no regular file; only files are read"))
        elif path.is_symlink() and not path.resolve().is_relative_to(base):
            refused.append(
                (path, f"is a link that leads out of {base}; name its target in the configuration")
            )
        elif path.suffix.lower() not in READABLE_SUFFIXES:
            kind = path.suffix or "a file without a suffix"
            readable = ", ".join(READABLE_SUFFIXES)
            refused.append((path, f"{kind} is not read; save it as one of {readable}"))
        else:
            ready.append(look)
    return ready, waiting, refused


def _fixed_folder(pattern: str) -> Path:
    parts = Path(pattern).parts
    fixed = [part for part in parts[: next((i for i, p in enumerate(parts) if glob.has_magic(p)), -1)]]
    return Path(*fixed).resolve() if fixed else Path(pattern).parent.resolve()
