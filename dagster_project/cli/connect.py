"""`connect` and `check`: from exports to a draft, and what a configuration would read, without running it."""

import shlex
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from glob import glob
from pathlib import Path
from typing import Any

from dagster_project.definitions import find_landed
from dagster_project.extract.as_of import AsOfError
from dagster_project.extract.connect.draft import DraftExists, write_draft
from dagster_project.extract.connect.dry_run import DryRun, dry_run, extraction_lines, readiness_lines
from dagster_project.extract.connect.matching import why_unused
from dagster_project.extract.connect.profile import FileProfile, profile_file
from dagster_project.extract.connect.proposal import NothingToConnect, Proposal, Undecided, propose
from dagster_project.extract.files.reading import FileUnfinished, FileUnreadable
from dagster_project.settings import Settings, load_settings
from dagster_project.transform.dbt_runner import DbtInvocation, dbt_arguments, dbt_environment
from dagster_project.transform.run_context import append_run_context, next_run_order, run_context_row
from dagster_project.warehouse import Warehouse

Write = Callable[[str], None]


class ConnectRefused(Exception):
    """The user must say or change something; the text says what."""


def connect(files: str, out: Path, date_order: str, decimal: str, write: Write) -> Settings:
    """Profile files, write a draft to `out`, and give its settings.

    `files`: globs, parted by blanks. Errors: ConnectRefused.
    """
    if out.exists():
        raise ConnectRefused(f"{out} exists and is not overwritten. Name another file: OUT=my/other.yaml")
    paths = find_files(files)
    answers = {"DATE_ORDER": date_order, "DECIMAL": decimal}
    proposal = _propose(paths, answers, write)
    for match in proposal.matching.files:
        write(f"  {match.profile.name} → {match.entity}: {match.evidence}")
    for profile in proposal.matching.unknown:
        write(f"  {profile.name} is not used: {why_unused(profile, proposal.matching)}")
    try:
        written = write_draft(proposal, out)
    except DraftExists as exists:
        raise ConnectRefused(str(exists)) from None
    write(f"Written: {', '.join(map(str, written))}")
    write(f"  {proposal.to_check + 2} lines are marked CHECK: look at them first")
    return load_settings(out)


def find_files(patterns: str) -> list[Path]:
    """The files of some globs, parted by blanks. Errors: ConnectRefused when there are none."""
    found = [Path(name) for pattern in shlex.split(patterns) for name in sorted(glob(pattern))]
    files = list(dict.fromkeys(path for path in found if path.is_file()))
    if not files:
        raise ConnectRefused(
            f'no file matches {patterns!r}. Say where your exports lie: make connect FILES="exports/*.csv"'
        )
    return files


def check(settings: Settings, write: Write, *, readiness: bool = True) -> bool:
    """Read everything into a temporary folder and say what was kept and what it is good for.

    True when a run would be good as it stands.
    """
    with temporary_data(settings) as dry:
        write("Reading")
        run = dry_run(dry, datetime.now(UTC), lambda line: write(f"  {line}"))
        for line in extraction_lines(run):
            write(line)
        if run.has_deals and readiness:
            write("What the data can tell (building the tables for it, about half a minute)")
            for line in _readiness(dry):
                write(line)
    for line in next_lines(settings, run):
        write(line)
    return run.is_good


@contextmanager
def temporary_data(settings: Settings) -> Iterator[Settings]:
    """The same settings on a data folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="stageledger-check-") as folder:
        paths = type(settings.paths).under(Path(folder))
        yield settings.model_copy(update={"paths": paths})


def next_lines(settings: Settings, run: DryRun) -> list[str]:
    """The exact next command."""
    config = settings.config_path
    if not run.is_good:
        again = f"make check CONFIG={shlex.quote(str(config))}"
        return [f"Next: mend {config} as said above, then   {again}"]
    data = config.parent / "data"
    return [f"Next: make run CONFIG={shlex.quote(str(config))} DATA={shlex.quote(str(data))}"]


def _propose(paths: Sequence[Path], answers: dict[str, str], write: Write) -> Proposal:
    while True:
        try:
            return propose(list(_profiles(paths, answers, write)))
        except NothingToConnect as nothing:
            raise ConnectRefused(str(nothing)) from None
        except Undecided as undecided:
            answers[undecided.setting] = _answer(undecided, write)


def _answer(undecided: Undecided, write: Write) -> str:
    """Ask a person who is there; refuse when nobody is."""
    if not sys.stdin.isatty():
        raise ConnectRefused(str(undecided)) from None
    write(str(undecided))
    while True:
        write(f"{undecided.setting} ({' or '.join(undecided.choices)})?")
        text = sys.stdin.readline().strip()
        if text in undecided.choices:
            return text
        if not text:
            raise ConnectRefused(str(undecided)) from None


def _profiles(paths: Sequence[Path], answers: dict[str, str], write: Write) -> Iterator[FileProfile]:
    for path in paths:
        try:
            yield from profile_file(path, answers["DATE_ORDER"] or None, answers["DECIMAL"] or None)
        except (FileUnreadable, FileUnfinished) as error:
            write(f"  {path.name} {error}")


def _readiness(settings: Settings) -> list[str]:
    """Lines of the readiness table, built by dbt in the temporary folder."""
    try:
        landed = find_landed(settings, "check")
    except AsOfError as error:
        return [f"  {error}"]
    warehouse = Warehouse(settings.paths.warehouse, settings.memory_limit, settings.threads)
    row = run_context_row(
        settings,
        run_id=str(uuid.uuid4()),
        run_order=next_run_order(warehouse),
        kind="manual",
        landed=landed,
        recorded_at=datetime.now(UTC),
    )
    append_run_context(warehouse, row)
    settings.paths.dbt_target.mkdir(parents=True, exist_ok=True)
    invocation = DbtInvocation(
        arguments=[*dbt_arguments(settings, "run"), "--select", "+mart_data_readiness"],
        environment=dbt_environment(settings),
        log_file=settings.paths.dbt_target / "logs" / "dbt.log",
    )
    for _ in invocation.messages():
        pass
    invocation.raise_for_errors()
    rows: list[dict[str, Any]] = warehouse.query(
        "select metric, status, reason_text, how_to_unlock from marts.mart_data_readiness "
        "order by source_relation, metric_order"
    ).to_dict("records")
    return [f"  as of {landed.as_of}", *readiness_lines(rows)]
