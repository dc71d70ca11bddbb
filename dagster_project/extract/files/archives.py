"""Compressed files: gzip, and zip with one or several members, unpacked under caps.

Whatever an archive says of itself is not believed: sizes are counted while reading. Members are written under
names of our own, so a name in an archive never decides where anything is written.
"""

import errno
import gzip
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from dagster_project.extract.files.rows import FileUnfinished, FileUnreadable

ARCHIVE_SUFFIXES = (".gz", ".zip")
MAX_ENTRIES = 200
MAX_BYTES = 32 * 1024**3
# Exports shrink to a twentieth, at most to a hundredth; a bomb grows a thousandfold.
MAX_RATIO = 250
_RATIO_FROM_BYTES = 16 * 1024 * 1024
_CHUNK = 1024 * 1024
# What the standard library raises over a damaged directory of entries; EINVAL for a place before the start.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    IndexError,
    ValueError,
    OverflowError,
    struct.error,
)
_BEYOND = "its directory points outside of it"
_IGNORED = re.compile(r"(^|/)(__MACOSX/|\.DS_Store$|Thumbs\.db$|\._)")


@dataclass(frozen=True)
class Member:
    """One file to read: its name for people (`export.zip/deals.csv`) and where its bytes lie."""

    name: str
    path: Path

    @property
    def suffix(self) -> str:
        """The suffix that tells its format, in small letters."""
        return PurePosixPath(self.name).suffix.lower()


@dataclass
class Caps:
    """How far an archive may grow, counted while it is read."""

    packed_bytes: int
    max_bytes: int = MAX_BYTES
    written: int = 0

    def add(self, size: int) -> None:
        """Count bytes. Errors: FileUnreadable when there are too many."""
        self.written += size
        grown = self.written > max(_RATIO_FROM_BYTES, MAX_RATIO * self.packed_bytes)
        if grown or self.written > self.max_bytes:
            raise FileUnreadable(
                f"unpacks to more than {self.written / 1e6:,.0f} MB from {self.packed_bytes / 1e6:,.2f} MB, "
                f"which no export does; deliver it unpacked if it is meant so"
            )


def unpacked(path: Path, folder: Path, *, max_bytes: int = MAX_BYTES) -> tuple[Member, ...]:
    """The files in an archive, unpacked into `folder`; a file that is no archive is its own only member.

    Errors: FileUnreadable (not an archive, a bomb, encrypted, a name that leads out, nothing in it);
    FileUnfinished (cut off).
    """
    suffix = path.suffix.lower()
    if suffix not in ARCHIVE_SUFFIXES:
        return (Member(path.name, path),)
    size = path.stat().st_size
    if size == 0:
        raise FileUnreadable("is empty (0 bytes); export it again")
    caps = Caps(size, max_bytes)
    if suffix == ".gz":
        target = folder / f"member-0{Path(path.stem).suffix.lower()}"
        _gunzip(path, target, caps)
        return (Member(path.stem, target),)
    with _opened(path) as archive:
        return tuple(_unzip(path, archive, folder, caps))


def check_inflation(path: Path, max_bytes: int) -> None:
    """Read a zip through without keeping it. Errors: those of a bomb, when it is damaged or encrypted."""
    caps = Caps(path.stat().st_size, max_bytes)
    with _opened(path) as archive:
        for entry in _entries(archive):
            with archive.open(entry) as stream:
                while chunk := stream.read(_CHUNK):
                    caps.add(len(chunk))


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except OSError as error:
        if error.errno != errno.EINVAL:  # the disk is full, say
            raise
        raise FileUnreadable(f"is no readable zip archive ({_BEYOND}); pack it again") from None
    except _DAMAGE as error:
        with path.open("rb") as stream:
            has_begun = stream.read(4) == b"PK\x03\x04"
        if has_begun and "not a zip file" in str(error):
            raise FileUnfinished("is a zip archive without its end") from None
        raise FileUnreadable(f"is no readable zip archive ({error}); pack it again") from None
    except RuntimeError as error:
        raise FileUnreadable(f"cannot be unpacked ({error}); pack it without a password") from None


def _entries(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MAX_ENTRIES:
        raise FileUnreadable(f"has {len(entries):,} entries; at most {MAX_ENTRIES} are read, pack fewer")
    return entries


def _unzip(path: Path, archive: zipfile.ZipFile, folder: Path, caps: Caps) -> Iterator[Member]:
    entries = [entry for entry in _entries(archive) if not _IGNORED.search(entry.filename)]
    if not entries:
        raise FileUnreadable("holds no file; export it again")
    for entry in entries:
        _require_safe(entry)
    for number, entry in enumerate(entries):
        target = folder / f"member-{number}{PurePosixPath(entry.filename).suffix.lower()}"
        with archive.open(entry) as stream:
            _write(stream, target, caps)
        yield Member(f"{path.name}/{entry.filename}", target)


def _require_safe(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    parts = re.split(r"[/\\]", name)
    if ".." in parts or name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
        raise FileUnreadable(f"holds an entry that leads out of it ({name!r}); nothing of it is read")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise FileUnreadable(f"holds a link ({name!r}); pack the file itself")
    if entry.flag_bits & 1:
        raise FileUnreadable("is encrypted; pack it without a password")
    if name.lower().endswith(ARCHIVE_SUFFIXES):
        raise FileUnreadable(f"holds another archive ({name!r}); pack the files themselves")


def _gunzip(path: Path, target: Path, caps: Caps) -> None:
    try:
        with gzip.open(path) as stream:
            _write(stream, target, caps)
    except EOFError:
        raise FileUnfinished("is a gzip file without its end") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise FileUnreadable(f"is no readable gzip file ({error}); pack it again") from None


def _write(stream: IO[bytes], target: Path, caps: Caps) -> None:
    with target.open("wb") as out:
        while chunk := stream.read(_CHUNK):
            caps.add(len(chunk))
            out.write(chunk)
