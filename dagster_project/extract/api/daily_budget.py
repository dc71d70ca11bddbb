"""How much of the day's allowance may be spent on one account, across runs and crashes."""

import json
import os
import threading
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from dagster_project.extract.api.dialect import Quota

# What others of the account (people, integrations) shall always find left of the day's allowance.
RESERVE = 0.2
_SAVE_EVERY = 20


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
    """Counts what was spent on one account on one of the vendor's days; `path` keeps it between runs."""

    def __init__(self, allowance: Allowance, path: Path | None = None) -> None:
        self._allowance = allowance
        self._path = path
        self._lock = threading.Lock()
        self._day: date | None = None
        self._spent = 0
        self._saved = 0
        self._quota: Quota | None = None

    def take(self, price: int, day: date) -> None:
        """Count a request before it is sent. Errors: BudgetSpent, and nothing is counted."""
        with self._lock:
            self._turn(day)
            daily = self._allowance.daily
            if daily is not None and self._spent + price > daily:
                raise BudgetSpent(f"{self._spent:,} of the {daily:,} units that a day may cost are spent")
            if self._quota is not None and self._quota.limit > 0:
                usable = int(self._quota.limit * (1 - self._allowance.reserve))
                if self._quota.used + price > usable:
                    raise BudgetSpent(
                        f"the account has used {self._quota.used:,} of its {self._quota.limit:,} units, and "
                        f"{self._allowance.reserve:.0%} are left to others"
                    )
            self._spent += price
            if self._spent - self._saved >= _SAVE_EVERY * price:
                self._save()

    def heard(self, quota: Quota) -> None:
        """The vendor's own count, which knows what others have spent."""
        with self._lock:
            self._quota = quota

    def save(self) -> None:
        """Keep what was spent for the next process."""
        with self._lock:
            self._save()

    def _turn(self, day: date) -> None:
        if day == self._day:
            return
        self._day, self._spent, self._quota = day, 0, None
        if self._path is not None and self._path.exists():
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            if kept.get("day") == day.isoformat():
                self._spent = int(kept["spent"])
        self._saved = self._spent

    def _save(self) -> None:
        if self._path is None or self._day is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps({"day": self._day.isoformat(), "spent": self._spent}), encoding="utf-8")
        os.replace(draft, self._path)
        self._saved = self._spent
