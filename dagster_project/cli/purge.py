"""Purge one record from a data folder: what was landed, what was built of it, and what was published.

Each step may be killed: the record stands in the purge list before the first row goes, so the same command
finishes what was begun, and nothing brings the record back meanwhile. Logs and Dagster's history come before
the landing, because the texts to look for are known only while the landing has them.
"""

import logging
import re
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from dagster_project import run_lock
from dagster_project.cli import purge_published, purge_stores
from dagster_project.extract.inflight import InUse
from dagster_project.extract.landing import Landing, LandingError
from dagster_project.extract.landing_purge import Found, drop_unfinished, find, purge_batches
from dagster_project.extract.purged import KINDS, PurgeList, RecordName
from dagster_project.publish.versions import Versions
from dagster_project.settings import Settings
from dagster_project.transform import build_record
from dagster_project.transform.dbt_runner import DbtInvocation, dbt_arguments, dbt_environment
from dagster_project.warehouse import Warehouse

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]


class PurgeRefused(Exception):
    """Nothing was purged; the text says why and what to write or stop."""


@dataclass(frozen=True)
class Target:
    """The record to purge, and the type of its source."""

    name: RecordName
    source_type: str


def target_of(settings: Settings, text: str) -> Target:
    """`source:kind:id` as a record. `source` is the name of a source, or its type where only one has it.

    Errors: PurgeRefused.
    """
    found = re.fullmatch(r"([^:]+):([^:]+):(.+)", text.strip())
    if not found:
        raise PurgeRefused(
            f"RECORD is {text!r}; write source:kind:id, such as RECORD={settings.sources[0].name}:deal:77"
        )
    source, kind, record_id = found.groups()
    kind = kind.strip().lower().removesuffix("s")
    if kind not in KINDS:
        raise PurgeRefused(f"RECORD names a {found[2]!r}; a record is one of: {', '.join(KINDS)}")
    matches = [one for one in settings.sources if source == one.name] or [
        one for one in settings.sources if source == one.type
    ]
    if len(matches) != 1:
        told = ", ".join(f"{one.name} ({one.type})" for one in settings.sources)
        problem = "several sources are of that type" if matches else "no source has that name"
        raise PurgeRefused(f"RECORD names the source {source!r}, but {problem}; there are: {told}")
    emails, record_id = settings.owner_emails(), record_id.strip()
    named = emails.text(record_id) if emails is not None else record_id
    return Target(RecordName(matches[0].name, kind, named), matches[0].type)


def plan(settings: Settings, target: Target) -> tuple[list[str], Found]:
    """What a purge would take, one line per place. Errors: PurgeRefused when nothing holds the record."""
    landing = Landing(settings.paths.landing, settings.owner_emails())
    try:
        landing.require_same_emails()
    except LandingError as error:
        raise PurgeRefused(str(error)) from error
    found = find(landing.batches(), target.name)
    purged = PurgeList.read(settings.paths.landing)
    if not found.rows and purged.has(target.name) and not purged.is_unfinished(target.name):
        raise PurgeRefused("this record was purged before, and nothing has brought it back")
    if not found.rows and not purged.has(target.name):
        raise PurgeRefused(
            f"the landing holds no {target.name.kind} {target.name.record_id!r} of {target.name.source}; "
            "ids are written as the source gives them, and are not names"
        )
    rows = ", ".join(f"{count:,} of {entity}" for entity, count in sorted(found.rows.items()))
    versions = Versions(settings.paths.published_dir)
    older = len(versions.complete()) if versions.folder.exists() else 0
    return [
        f"landing: rows {rows}"
        if rows
        else "landing: nothing is left of it; a purge that was begun is finished now",
        f"texts that only this record has, in logs and Dagster's history: {len(found.texts)}",
        "warehouse: written anew without it, stored forecasts included, and built whole",
        f"published: a new version; the {older} that there are go" if older else "published: nothing yet",
        "report, Parquet and PostgreSQL, where the settings ask for them: written anew; else removed",
        "dbt's artifacts and the documentation: removed until they are made next",
    ], found


def purge(settings: Settings, target: Target, found: Found, tell: Tell) -> None:
    """Take the record out of everything.

    Errors: PurgeRefused, RunLocked, DbtError, PublishRefused, PublishFailed, ReportNotWritten.
    """
    run_id = f"purge-{uuid.uuid4().hex[:12]}"
    paths, name = settings.paths, target.name
    with run_lock.hold(paths.run_lock, run_id, "purging a record"):
        purged = PurgeList.read(paths.landing)
        purged.begin(name, found.rows)
        redact = purge_stores.redactor(name, found.texts)
        try:
            drop_unfinished(paths.landing, target.source_type, name.source)
            changed = purge_stores.redact_files(paths.root / "logs", redact)
            changed += purge_stores.redact_files(paths.dagster_home, redact)
            changed += purge_stores.redact_history(paths.dagster_home, redact)
        except (InUse, purge_stores.HistoryBusy) as busy:
            raise PurgeRefused(f"{busy} (the record is in the purge list, and cannot come back)") from busy
        tell(f"logs and Dagster's history: {changed} files rewritten")
        purge_stores.remove_derived(paths)
        if paths.warehouse.exists():
            stored = purge_stores.rewrite_warehouse(paths.warehouse, name, redact, settings.memory_limit)
            rows = ", ".join(f"{count:,} of {table}" for table, count in stored.items()) or "none"
            tell(f"warehouse: written anew; rows of stored tables taken out: {rows}")
        taken = purge_batches(Landing(paths.landing).batches(), name, found.texts)
        tell(f"landing: {sum(taken.values()):,} rows taken out")
        if is_built(settings):
            rebuild(settings, run_id)
            tell("warehouse: built whole")
            tell(f"published: {purge_published.publish_anew(settings, run_id)}")
        else:
            tell(f"published: {purge_published.remove_published(paths.published_dir)}")
        purged.finish(name, taken)


def is_built(settings: Settings) -> bool:
    """Whether the warehouse was ever built: then it has a run to be built for again."""
    warehouse = Warehouse(settings.paths.warehouse, settings.memory_limit, settings.threads)
    return warehouse.has_table("ops.run_context") and warehouse.has_table(build_record.TABLE)


def rebuild(settings: Settings, run_id: str) -> None:
    """Build all dbt tables whole for the run that the warehouse speaks of. Errors: DbtError."""
    warehouse = Warehouse(settings.paths.warehouse, settings.memory_limit, settings.threads)
    invocation = DbtInvocation(
        arguments=[
            *dbt_arguments(settings, "build"),
            "--exclude-resource-type",
            "unit_test",
            "--full-refresh",
        ],
        environment=dbt_environment(settings),
        log_file=settings.paths.dbt_target / "logs" / "dbt.log",
    )
    build_record.open_build(warehouse, run_id, datetime.now(UTC), is_complete_selection=True)
    counts: Counter[str] = Counter()
    for message in invocation.messages():
        if message.is_result:
            counts[
                f"{message.unique_id.split('.', 1)[0]}_{message.raw['data'].get('status', '').lower()}"
            ] += 1
        elif message.level == "error":
            logger.error("%s", message.text)
    invocation.raise_for_errors()
    build_record.close_build(warehouse, run_id, datetime.now(UTC), counts)
