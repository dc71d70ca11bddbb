"""What a part of the soak hands back: lines for the report, and what went wrong."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """One part of the soak. Without `failures` it has passed."""

    title: str
    lines: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def say(self, line: str) -> None:
        """Add a line to the report."""
        self.lines.append(line)

    def require(self, is_so: bool, otherwise: str) -> bool:
        """Note a failure unless something is so; whether it is."""
        if not is_so:
            self.failures.append(otherwise)
        return is_so

    def text(self) -> str:
        """The part as it stands in the report."""
        verdict = "passed" if not self.failures else f"FAILED ({len(self.failures)})"
        head = f"{self.title}: {verdict}, {self.seconds:,.0f} s"
        failures = [f"  ! {line}" for line in self.failures[:20]]
        return "\n".join([head, *(f"  {line}" for line in self.lines), *failures])


def timed(part: Callable[[], Outcome]) -> Outcome:
    """The outcome of a part, with the seconds that it took."""
    began = time.monotonic()
    outcome = part()
    outcome.seconds = time.monotonic() - began
    return outcome
