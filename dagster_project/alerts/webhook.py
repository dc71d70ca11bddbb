"""One POST to a webhook, tried again within a time limit; its address is a secret and is in no message."""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from dagster_project.extract.api import redaction

log = logging.getLogger(__name__)

LIMIT_SECONDS = 60.0
_ANSWER_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 1.0
_SHORTEST_SECRET = 8


@dataclass(frozen=True)
class Delivery:
    """Whether a message arrived, after how many attempts, and why not."""

    arrived: bool
    attempts: int
    reason: str = ""


@dataclass(frozen=True)
class Attempt:
    """One request: what came of it, and whether (and when, in seconds) another one may help."""

    reason: str = ""
    may_help_again: bool = False
    wait_seconds: float | None = None


@dataclass(frozen=True)
class Clock:
    """Time of the sender, so that tests need not wait."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def deliver(
    address: str, message: Mapping[str, Any], limit_seconds: float = LIMIT_SECONDS, clock: Clock | None = None
) -> Delivery:
    """POST `message` as JSON. Never raises, never follows a redirect, and ends within the limit.

    Tried again with growing pauses: no connection, no answer, 5xx, and 429 after the time it asks for.
    """
    keep_secret(address)
    clock = clock or Clock()
    deadline = clock.now() + limit_seconds
    attempts, pause = 0, _FIRST_PAUSE_SECONDS
    while True:
        attempts += 1
        attempt = _bounded(address, message, min(_ANSWER_SECONDS, max(deadline - clock.now(), 0.1)))
        if not attempt.reason:
            return Delivery(True, attempts)
        wait = attempt.wait_seconds if attempt.wait_seconds is not None else pause * random.uniform(0.8, 1.2)
        if not attempt.may_help_again or clock.now() + wait >= deadline:
            return Delivery(False, attempts, attempt.reason)
        clock.sleep(wait)
        pause *= 2


def keep_secret(address: str) -> None:
    """Mask the address and its telling parts in all logs of this process."""
    parts = urlsplit(address)
    told = [parts.path, parts.query, *parts.path.split("/")]
    redaction.SECRETS.add(address, *(text for text in told if len(text) >= _SHORTEST_SECRET))
    redaction.install()


def _bounded(address: str, message: Mapping[str, Any], seconds: float) -> Attempt:
    """One request in a thread of its own: a server that sends byte after byte resets every timeout."""
    found: list[Attempt] = []
    thread = threading.Thread(target=lambda: found.append(_post(address, message, seconds)), daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else Attempt(f"no whole answer within {seconds:.0f} s", may_help_again=True)


def _post(address: str, message: Mapping[str, Any], seconds: float) -> Attempt:
    # The text of an error of `requests` holds the address, so only its kind is told.
    try:
        with requests.post(
            address, json=message, timeout=seconds, allow_redirects=False, stream=True
        ) as answer:
            return _judge(answer.status_code, answer.headers.get("Retry-After", ""))
    except requests.Timeout:
        return Attempt(f"no answer within {seconds:.0f} s", may_help_again=True)
    except requests.ConnectionError:
        return Attempt("no connection to the webhook's host", may_help_again=True)
    except (requests.RequestException, ValueError, OSError) as error:
        return Attempt(f"the request could not be made ({type(error).__name__})")


def _judge(status: int, retry_after: str) -> Attempt:
    if 200 <= status < 300:
        return Attempt()
    if 300 <= status < 400:
        return Attempt(
            f"the webhook answered with a redirect ({status}), which is not followed: give its final address"
        )
    if status == 429:
        return Attempt("the webhook asks to wait (429)", True, _seconds(retry_after))
    if status >= 500:
        return Attempt(f"the webhook's host has a problem ({status})", may_help_again=True)
    return Attempt(f"the webhook refused the message ({status}): is its address still valid?")


def _seconds(retry_after: str) -> float | None:
    """Seconds of a Retry-After header (a number, or a date); None where it says nothing of use."""
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
