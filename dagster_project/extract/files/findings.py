"""What a file tells besides its records: counts, first and last day, stages nobody named, sample rejects."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from dagster_project.extract.files.results import FileReport, Reject, UnknownValue, newest, oldest
from dagster_project.extract.files.scratch import FileScratch
from dagster_project.owner_emails import OwnerEmails

SAMPLE_ROWS = 10
_NOT_PURGED = "line not in (select line from purged_lines)"
_CLOSED = ("won", "lost", "closed_other")
_EVENT_INSTANTS = {
    "deals": ("created_at", "closed_at", "modified_at", "last_activity_at"),
    "stage_history": ("changed_at",),
}


@dataclass(frozen=True)
class Counts:
    """Rows of one file: read = kept + rejected + duplicate. `entries`: stage entries out of date columns."""

    read: int
    kept: int
    rejected: int
    duplicate: int
    entries: int


def count(scratch: FileScratch) -> Counts:
    """Count the rows of a file, each of the four figures by a query of its own, so that a loss shows."""
    figures = [
        scratch.one(f"select count(*) from {relation}")[0]
        for relation in ("typed", "kept", "rejected", "duplicates")
    ]
    entries = scratch.one("select count(*) from entries")[0] if scratch.columns.stage_columns else 0
    return Counts(*figures, entries)


def event_days(scratch: FileScratch, zone: ZoneInfo, now: datetime) -> tuple[date | None, date | None]:
    """The oldest and the newest day of the business, not in the future, on which a deal of the file changed.

    Entry dates, changes, creation and closings count, and the close dates of closed deals that tell no
    closing; expected close dates do not.
    """
    today = now.astimezone(zone).date()
    tomorrow = datetime.combine(today + timedelta(days=1), time(), zone).astimezone(ZoneInfo("UTC"))
    limit = tomorrow.strftime("%Y-%m-%d %H:%M:%S")
    names = [f"f_{f}" for f in _EVENT_INSTANTS.get(scratch.entity.name, ()) if f in scratch.columns.columns]
    names += [f"e_{index}" for index in sorted({column.index for column in scratch.columns.stage_columns})]
    # Canonical instants sort as text.
    ends = [f"{end}({name}) filter ({name} < '{limit}')" for name in names for end in ("min", "max")]
    days: list[date | None] = []
    if ends:
        for text in scratch.one(f"select {', '.join(ends)} from kept"):
            instant = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("UTC")) if text else None
            days.append(instant and instant.astimezone(zone).date())
    if scratch.entity.name == "deals" and "close_date" in scratch.columns.columns:
        closed = [f"coalesce(outcome_stage, '') in {_CLOSED}"]
        if scratch.has("status"):
            closed.append(f"coalesce(f_status, '') in {_CLOSED}")
        undated = "f_closed_at is null" if scratch.has("closed_at") else "true"
        row = scratch.one(
            "select min(f_close_date), max(f_close_date) from kept "
            f"where f_close_date <= '{today}' and {undated} and ({' or '.join(closed)})"
        )
        days += [date.fromisoformat(text) if text else None for text in row or ()]
    return oldest(days), newest(days)


def unknown_stages(scratch: FileScratch, paste: Callable[[str, int], str]) -> tuple[UnknownValue, ...]:
    """Stages of kept rows that the source's stages do not name, the most frequent first."""
    found: list[UnknownValue] = []
    for field in scratch.stage_fields():
        rows = scratch.connection.execute(
            f"select f_{field}, count(*) from kept where is_unknown_{field} and f_{field} is not null "
            f"and {_NOT_PURGED} "
            f"group by f_{field} order by count(*) desc, f_{field} limit {SAMPLE_ROWS}"
        ).fetchall()
        found += [UnknownValue(scratch.entity.name, field, v, n, paste(v, n)) for v, n in rows]
    return tuple(found)


def unknown_statuses(scratch: FileScratch) -> tuple[UnknownValue, ...]:
    """Words for the state of a deal that are none of ours; such rows are kept as if they told none."""
    if "status" not in scratch.columns.columns:
        return ()
    rows = scratch.connection.execute(
        "select unknown_status, count(*) from kept where unknown_status is not null "
        f"and {_NOT_PURGED} "
        f"group by unknown_status order by count(*) desc, unknown_status limit {SAMPLE_ROWS}"
    ).fetchall()
    line = "{}: open   # or won, lost, closed_other ({:,} rows)"
    return tuple(
        UnknownValue(scratch.entity.name, "status", v, n, line.format(json.dumps(v, ensure_ascii=False), n))
        for v, n in rows
    )


def sample_rejects(scratch: FileScratch, file: str) -> tuple[Reject, ...]:
    """The first rejected rows, but those of purged records."""
    rows = scratch.connection.execute(
        'select line, problem."column", problem."value", problem.reason, problem.hint from told_rejects '
        f"order by line limit {SAMPLE_ROWS}"
    ).fetchall()
    return tuple(Reject(file, *row) for row in rows)


def without_emails(report: FileReport, emails: OwnerEmails) -> FileReport:
    """What is told of a file with pseudonyms in place of the addresses in its samples."""
    rejects = [replace(one, value=one.value and emails.text(one.value)) for one in report.rejects]
    unknown = [
        replace(one, value=emails.text(one.value), paste=one.paste.replace(one.value, emails.text(one.value)))
        for one in report.unknown_values
    ]
    return replace(report, rejects=tuple(rejects), unknown_values=tuple(unknown))
