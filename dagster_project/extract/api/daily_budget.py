"""How much of the day's allowance may be spent on one account, across runs and crashes."""

import json
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dagster_project.extract.api.dialect import Quota

# What others of the account (people, integrations) shall always find left of the day's allowance.
RESERVE = 0.2
_SAVE_EVERY = 20
# What was spent is kept by quarters of an hour: midnights of all time zones lie on one.
_QUARTER = timedelta(minutes=15)
_KEPT_FOR = timedelta(hours=48)


class BudgetSpent(Exception):
    """The next request would go beyond the day's budget; the text says which."""


@dataclass(frozen=True)
class Allowance:
    """`daily`: what this source may spend a day (vendor's units; None: no limit of our own).

    `reserve`: the share of the vendor's own daily allowance that is never touched.
    """

    daily: int | None = None
    reserve: float = RESERVE


class DailyBudget:
    """Counts what was spent on one account since the vendor's day began; `path` keeps it between runs.

    When that day began is the vendor's rule: a midnight somewhere, or 24 hours ago (Dialect.day_began).
    """

    def __init__(self, allowance: Allowance, path: Path | None = None) -> None:
        self._allowance = allowance
        self._path = path
        self._lock = threading.Lock()
        self._spent = _kept(path)
        self._unsaved = 0
        self._quota: Quota | None = None
        self._heard_at: datetime | None = None
        # Of the vendor's count: what this process took, answered or not, and all that others took.
        self._ours = 0
        self._others = 0

    def take(self, price: int, now: datetime, since: datetime) -> None:
        """Count a request before it is sent. `since`: when the vendor's day began.

        Errors: BudgetSpent, and nothing is counted.
        """
        with self._lock:
            spent = sum(units for quarter, units in self._spent.items() if quarter + _QUARTER > since)
            daily = self._allowance.daily
            if daily is not None and spent + price > daily:
                raise BudgetSpent(f"{spent:,} of the {daily:,} units that a day may cost are spent")
            self._forget_before(since)
            if self._quota is not None and self._quota.limit > 0:
                usable = int(self._quota.limit * (1 - self._allowance.reserve))
                used = self._others + self._ours
                if used + price > usable:
                    raise BudgetSpent(
                        f"the account has used {used:,} of its {self._quota.limit:,} units, and "
                        f"{self._allowance.reserve:.0%} are left to others"
                    )
            self._ours += price
            quarter = _quarter_of(now)
            self._spent[quarter] = self._spent.get(quarter, 0) + price
            self._unsaved += price
            if self._unsaved >= _SAVE_EVERY * price:
                self._save(now)

    def heard(self, quota: Quota, at: datetime, since: datetime) -> None:
        """The vendor's own count at an instant, which knows what others have spent since its day began.

        An answer may leave out requests of ours that are under way, so it never lowers what others took.
        """
        with self._lock:
            self._forget_before(since)
            others = quota.used - self._ours
            self._others = others if self._quota is None else max(others, self._others)
            self._quota, self._heard_at = quota, at

    def save(self) -> None:
        """Keep what was spent for the next process."""
        with self._lock:
            if self._unsaved:
                self._save(max(self._spent))

    def _forget_before(self, since: datetime) -> None:
        if self._heard_at is not None and self._heard_at < since:
            self._quota = self._heard_at = None

    def _save(self, now: datetime) -> None:
        self._unsaved = 0
        if self._path is None:
            return
        kept = {at.isoformat(): units for at, units in self._spent.items() if at > now - _KEPT_FOR}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps({"by_quarter": kept}, sort_keys=True), encoding="utf-8")
        os.replace(draft, self._path)


def _quarter_of(now: datetime) -> datetime:
    at = now.astimezone(UTC)
    return at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)


def _kept(path: Path | None) -> dict[datetime, int]:
    """What earlier processes spent; nothing where the file is missing or not readable."""
    if path is None or not path.exists():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))["by_quarter"]
        return {datetime.fromisoformat(at): int(units) for at, units in told.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
