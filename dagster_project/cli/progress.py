"""Progress lines of a run: one per step, with rows and seconds; one per layer for the many dbt tables."""

import logging
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import dagster as dg

LAYERS = ("staging", "ledger", "marts", "forecast")
# Signs that steer a terminal, end a line in another way, or turn the direction of writing.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass
class Layer:
    """What has been seen of one dbt layer so far."""

    expected: int
    tables: int = 0
    rows: int = 0
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        return self.tables >= self.expected


@dataclass
class Progress:
    """Turns Dagster events into lines for people.

    `layers` says to which dbt layer an asset belongs; assets that are not in it get a line of their own.
    `shown`: steps that an earlier job of the same command had a line for; they get another only for something
    new.
    """

    layers: Mapping[dg.AssetKey, str]
    write: Callable[[str], None]
    shown: set[str] = field(default_factory=set)
    failed_checks: list[str] = field(default_factory=list)
    warned_checks: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    _step_started: dict[str, float] = field(default_factory=dict)
    _layers: dict[str, Layer] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _new_batches: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _assets: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        for layer in self.layers.values():
            self._layers.setdefault(layer, Layer(0)).expected += 1

    def on_event(self, entry: dg.EventLogEntry) -> None:
        """Take one event of the run, or what an extraction says of a large file."""
        event = entry.dagster_event
        if event is None:
            if entry.level == logging.INFO and (entry.step_key or "").startswith("extract_"):
                self.write(f"  {entry.user_message}")
            return
        step = event.step_key or ""
        if event.event_type == dg.DagsterEventType.STEP_START:
            self._step_started[step] = entry.timestamp
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            self._on_materialization(step, event.step_materialization_data.materialization)
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._on_check(event.asset_check_evaluation_data)
        elif event.event_type == dg.DagsterEventType.STEP_OUTPUT:
            for name in ("plan", "difference", "outcome"):
                if name in (told := event.step_output_data.metadata):
                    self.write(f"{told[name].value}\n")
        elif event.event_type == dg.DagsterEventType.STEP_SUCCESS:
            self._on_step_end(step, entry.timestamp)
        elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
            self.failures.append((step, reason(event.step_failure_data.error)))

    def _on_materialization(self, step: str, materialization: dg.AssetMaterialization) -> None:
        rows = materialization.metadata.get("dagster/row_count") or materialization.metadata.get("rows")
        count = int(rows.value) if rows is not None else 0
        layer = self.layers.get(materialization.asset_key)
        if layer is None:
            self._rows[step] += count
            new = materialization.metadata.get("new batches")
            self._new_batches[step] += 1 if new is None else int(new.value)
            self._assets[step].append(materialization.asset_key.to_user_string())
            return
        seen = self._layers[layer]
        seconds = materialization.metadata.get("Execution Duration")
        seen.tables += 1
        seen.rows += count
        seen.seconds += float(seconds.value) if seconds is not None else 0.0
        if seen.is_complete:
            self.write(line(layer, seen.rows, seen.seconds, f"{seen.tables} tables by dbt"))

    def _on_check(self, check: dg.AssetCheckEvaluation) -> None:
        if check.passed:
            return
        name = f"{check.asset_key.to_user_string()}: {check.check_name}"
        is_warning = check.severity == dg.AssetCheckSeverity.WARN
        (self.warned_checks if is_warning else self.failed_checks).append(name)

    def _on_step_end(self, step: str, ended: float) -> None:
        if step in self._assets:
            seconds = ended - self._step_started.get(step, ended)
            note = "" if self._new_batches[step] else "nothing new"
            if not note or step not in self.shown:
                self.write(line(step, self._rows[step], seconds, note))
            self.shown.add(step)
        elif step == "run_context":
            self.write("  nothing is new since the last run: its tables and published file stand")


def line(step: str, rows: int, seconds: float, note: str) -> str:
    """One progress line: step, rows, seconds, remark."""
    counted = f"{rows:>11,} rows" if rows else " " * 16
    return f"  {step:<28}{counted}  {seconds:>6.1f} s  {note}".rstrip()


def reason(error: object) -> str:
    """The innermost message of a step's error, in one line, without a traceback."""
    while getattr(error, "cause", None) is not None:
        error = error.cause
    message = str(getattr(error, "message", error)).strip()
    name, _, text = message.partition(": ")
    # Dagster writes "package.module.ClassName: text"; people need the text.
    message = text if text and " " not in name else message
    return " ".join(message.split())


class Clock:
    """Wall time since it was made, in seconds."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start


def plain_line(text: str) -> str:
    """A line with its control signs as escapes: no name of a CRM can steer a terminal or turn its text."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def write_line(text: str) -> None:
    """Write a text line by line to standard output at once, also through a pipe."""
    for line in text.split("\n"):
        sys.stdout.write(f"{plain_line(line)}\n")
    sys.stdout.flush()
