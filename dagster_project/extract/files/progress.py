"""How far the reading of a large file has come, told in a line every few seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

Tell = Callable[[str], None]
_SECONDS = 5.0
_LARGE_BYTES = 50_000_000


def silent(_: str) -> None:
    """Tell nobody."""


@dataclass
class ReadProgress:
    """Counts the rows of one file as they are read. `clock` gives seconds."""

    file: str
    tell: Tell = silent
    clock: Callable[[], float] = time.monotonic
    _done: int = 0
    _total: int | None = None
    _told_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._told_at = self.clock()

    def begin(self, size: int) -> None:
        """Say that a file of so many bytes is looked through, when that takes a while."""
        if size >= _LARGE_BYTES:
            self.tell(f"{self.file}: {size / 1e6:,.0f} MB, counting its rows")

    def expect(self, rows: int | None) -> None:
        """Say how many rows the file has, where it is known."""
        self._total = rows

    def add(self, rows: int) -> None:
        """Count rows; tell at most every five seconds."""
        self._done += rows
        now = self.clock()
        if now - self._told_at >= _SECONDS and self._done != self._total:
            self._told_at = now
            of = f" of {self._total:,}" if self._total else ""
            self.tell(f"{self.file}: {self._done:,}{of} rows read")
