"""How fast to ask: one request per interval and account, however many threads ask."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

# The part of a vendor's limit that we use: others share the account, and both sides measure imprecisely.
SHARE = 0.8

Item = TypeVar("Item")
Result = TypeVar("Result")


class Clock:
    """The machine's clock; tests bring their own."""

    def now(self) -> datetime:
        """This instant (UTC) as this machine believes it to be."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        time.sleep(seconds)


class Pacer:
    """Even spacing under a limit of `per_second` requests; safe for many threads."""

    def __init__(self, per_second: float, clock: Clock, share: float = SHARE) -> None:
        self._share = share
        self._interval = 1 / (per_second * share)
        self._clock = clock
        self._lock = threading.Lock()
        self._hints = threading.Lock()
        self._last = float("-inf")
        self._blocked_until = float("-inf")
        self._slow_interval = 0.0
        self._slow_until = float("-inf")

    def wait(self) -> float:
        """Return when the next request may start; the seconds waited.

        The wait happens under the lock: a thread that the machine wakes late delays those behind it instead
        of starting beside them (independent sleeps were measured to overshoot on a busy machine).
        """
        began = self._clock.monotonic()
        with self._lock:
            while (pause := self._next_start() - self._clock.monotonic()) > 0:
                self._clock.sleep(pause)
            self._last = self._clock.monotonic()
        return self._last - began

    def heard(self, remaining: int, seconds: float) -> None:
        """The CRM says that `remaining` requests are left for the next `seconds`."""
        if remaining <= 0:
            self.pause(seconds)
            return
        with self._hints:
            needed = seconds / (remaining * self._share)
            if needed > self._interval:
                self._slow_interval = needed
                self._slow_until = self._clock.monotonic() + seconds

    def pause(self, seconds: float) -> None:
        """Start no request for so long, in any thread."""
        with self._hints:
            self._blocked_until = max(self._blocked_until, self._clock.monotonic() + seconds)

    def _next_start(self) -> float:
        with self._hints:
            slow = self._slow_until > self._clock.monotonic()
            interval = max(self._interval, self._slow_interval) if slow else self._interval
            # Slowness ends with its period, although its interval may be longer.
            due = self._last + interval
            if slow:
                due = min(due, max(self._slow_until, self._last + self._interval))
            return max(due, self._blocked_until)


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Results of `work` in the order of `items`, worked on by `threads` at once, little ahead of the reader.

    An error is raised at its own place: what came before it has been handed out.
    """
    if threads == 1:
        yield from map(work, items)
        return
    waiting: list[Future[Result]] = []
    source = iter(items)
    with ThreadPoolExecutor(threads, thread_name_prefix="crm") as pool:
        try:
            waiting += [pool.submit(work, item) for item in islice(source, threads)]
            while waiting:
                result = waiting.pop(0).result()
                waiting += [pool.submit(work, item) for item in islice(source, 1)]
                yield result
        finally:
            for future in waiting:
                future.cancel()
