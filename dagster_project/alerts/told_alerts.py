"""Which alerts have been told: a small file in the data folder, so that nothing is told every night.

Not in the warehouse: a run that fails may have left it locked or half built, and just then it must be known.
"""

import json
import logging
import os
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path

from dagster_project.alerts.alert import Alert

log = logging.getLogger(__name__)


class ToldAlerts:
    """The alerts that arrived and still stand."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._told = _read(path)

    def fresh(self, found: Iterable[Alert]) -> list[Alert]:
        """Those that nobody has been told yet."""
        return [alert for alert in found if alert.alert_id not in self._told]

    def forget_all_but(self, found: Iterable[Alert], kinds: Collection[str]) -> None:
        """What is over may be told again when it comes back. Of other kinds nothing was looked at."""
        standing = {alert.alert_id for alert in found}
        self._told = {
            told: entry
            for told, entry in self._told.items()
            if told in standing or entry.get("kind") not in kinds
        }
        self._write()

    def note(self, alerts: Iterable[Alert], now: datetime | None = None) -> None:
        """These arrived."""
        at = (now or datetime.now(UTC)).isoformat(timespec="seconds")
        self._told |= {alert.alert_id: {"kind": alert.kind, "told_at": at} for alert in alerts}
        self._write()

    def _write(self) -> None:
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(self._told, indent=1, sort_keys=True), encoding="utf-8")
        os.replace(draft, self._path)


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        log.warning("%s cannot be read and begins anew: alerts that stand are told once more", path)
        return {}
    return told if isinstance(told, dict) else {}
