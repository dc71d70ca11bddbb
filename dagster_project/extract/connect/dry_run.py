"""What a configuration would read: an extraction into a folder of its own, told in lines for people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dagster_project.extract.files.connector import extract_files
from dagster_project.extract.files.progress import Tell, silent
from dagster_project.extract.files.results import ExtractResult, FileReport
from dagster_project.settings import Settings

_SHOWN = 5
_MOST_KINDS = 20


@dataclass(frozen=True)
class DryRun:
    """The results of reading all sources of a configuration."""

    results: tuple[ExtractResult, ...]

    @property
    def files(self) -> tuple[FileReport, ...]:
        """What became of each file."""
        return tuple(report for result in self.results for report in result.files)

    @property
    def has_deals(self) -> bool:
        """Whether any deal was kept."""
        return any(report.rows_kept for report in self.files if report.entity == "deals")

    @property
    def is_good(self) -> bool:
        """Whether every file was read, at most one row in a hundred rejected, and every stage is known."""
        read = sum(report.rows_read for report in self.files)
        rejected = sum(report.rows_rejected for report in self.files)
        all_read = all(report.status in ("read", "unchanged") for report in self.files)
        unknown = any(result.unknown_values for result in self.results)
        return self.has_deals and all_read and not unknown and rejected <= 0.01 * read


def dry_run(settings: Settings, now: datetime, tell: Tell = silent) -> DryRun:
    """Read every source into the landing of `settings`, which should be a folder of its own.

    `tell` is told how far the reading of a large file has come.

    Errors: ExtractError, LandingError.
    """
    return DryRun(
        tuple(extract_files(settings, source, now, tell=tell) for source in settings.file_sources())
    )


def extraction_lines(run: DryRun) -> Iterator[str]:
    """Per file its rows, why rows were rejected, and the line to paste for what is not known."""
    width = 2 + max((len(_title(report)) for report in run.files), default=0)
    yield f"  {'file':<{width}}{'read':>10}{'kept':>10}{'rejected':>10}{'duplicate':>10}"
    for report in run.files:
        if report.status in ("failed", "waiting"):
            yield f"  {_title(report):<{width}}{report.status}: {report.problem}"
            continue
        counts = (report.rows_read, report.rows_kept, report.rows_rejected, report.rows_duplicate)
        yield f"  {_title(report):<{width}}{''.join(f'{count:>10,}' for count in counts)}"
        if report.columns_missing:
            yield f"    no such columns: {', '.join(report.columns_missing)}"
    yield from _reject_lines(run)
    yield from _unknown_lines(run)


def readiness_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What the data can tell: rows of mart_data_readiness in their order, and what would unlock the rest."""
    for status, title in (("ok", "Ready"), ("degraded", "With limits"), ("unavailable", "Not available")):
        found = [row for row in rows if row["status"] == status]
        if not found:
            continue
        yield f"  {title}"
        if status == "ok":
            yield f"    {', '.join(_metric(row) for row in found)}"
            continue
        for row in found:
            yield f"    {_metric(row)}: {row['reason_text']}"
    unlocks: dict[str, list[str]] = {}
    for row in rows:
        if row["status"] != "ok" and row["how_to_unlock"]:
            unlocks.setdefault(row["how_to_unlock"], []).append(_metric(row))
    if unlocks:
        yield "  What would unlock more"
    for how, metrics in sorted(unlocks.items(), key=lambda item: -len(item[1])):
        yield f"    {how}"
        yield f"      for: {', '.join(dict.fromkeys(metrics))}"


def _title(report: FileReport) -> str:
    return f"{report.entity} · {report.file}"


def _metric(row: dict[str, Any]) -> str:
    return str(row["metric"]).replace("_", " ")


def _reject_lines(run: DryRun) -> Iterator[str]:
    kinds: dict[tuple[str, str | None, str], list[Any]] = {}
    for report in run.files:
        for reject in report.rejects:
            kinds.setdefault((reject.file, reject.column, reject.reason), []).append(reject)
    for (file, column, reason), rejects in list(kinds.items())[:_MOST_KINDS]:
        first = rejects[0]
        value = f" {first.value!r}" if first.value else ""
        where = f"column {column}:" if column else "the whole row:"
        again = ", and so in other rows" if len(rejects) > 1 else ""
        yield f"  {file}, line {first.row}, {where}{value} {reason}{again}"
        if first.hint:
            yield f"    remedy: {first.hint}"
    if len(kinds) > _MOST_KINDS:
        yield f"  and {len(kinds) - _MOST_KINDS} more kinds of rows that were rejected"


def _unknown_lines(run: DryRun) -> Iterator[str]:
    for result in run.results:
        values = {(value.column == "status", value.value): value for value in reversed(result.unknown_values)}
        for is_status, one, many in (
            (False, "1 stage is not in the list of {}", "{} stages are not in the list of {}"),
            (True, "1 word of {} for the status is not known", "{} words of {} for the status are not known"),
        ):
            found = [value for (kind, _), value in values.items() if kind is is_status]
            if found:
                said = (
                    one.format(result.source) if len(found) == 1 else many.format(len(found), result.source)
                )
                yield f"  {said}; paste under `{'statuses' if is_status else 'stages'}:`"
            for value in sorted(found, key=lambda v: -v.rows)[:_SHOWN]:
                yield f"      {value.paste}"
