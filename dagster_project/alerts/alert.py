"""What an alert is: one thing that somebody should hear of, told once while it lasts."""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["run_failed", "source_lags", "check_failed", "forecast_moved", "new_bottleneck"]
Severity = Literal["info", "warning", "critical"]

SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
# Ids, counts and times differ from night to night, and the failure is still the same one.
_VARYING = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|0x[0-9a-f]+|\d+", re.IGNORECASE)
_LONGEST_SENTENCE = 600


@dataclass(frozen=True)
class Alert:
    """One thing to hear of. `mark` says with kind and subject which alert it is; equal ones are told once."""

    kind: Kind
    severity: Severity
    subject: str
    sentence: str
    mark: str = ""

    @property
    def alert_id(self) -> str:
        """Stable from run to run for as long as it is the same alert."""
        text = "\x1f".join((self.kind, self.subject, self.mark))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def same_failure(reason: str) -> str:
    """A failure's reason without what varies, as the mark of its alert."""
    return _VARYING.sub("#", reason)


def one_line(text: str, longest: int = _LONGEST_SENTENCE) -> str:
    """The text in one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def by_severity(alerts: list[Alert]) -> list[Alert]:
    """The gravest first, each once."""
    kept = {alert.alert_id: alert for alert in reversed(alerts)}
    return sorted(kept.values(), key=lambda a: (SEVERITIES.index(a.severity), a.kind, a.subject, a.sentence))
