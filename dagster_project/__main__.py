"""The command line: `python -m dagster_project run | connect | check | status | purge | dev | …`."""

import argparse
import gc
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from dagster_project import run_lock
from dagster_project.cli.bundled_example import write_example_if_missing
from dagster_project.settings import ConfigError, load_settings

INTERRUPTED = 130  # as shells report a process ended by Ctrl-C
REPOSITORY = Path(__file__).resolve().parents[1]

RARE_COLLECTIONS = (100_000, 50, 100)


class CommandFailed(Exception):
    """A command could not do its work; the text ends with the path of the log."""


class UsageError(Exception):
    """A command was called with something that it cannot use; the text says what is allowed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 good, 1 a run failed, 2 the user must change something."""
    options = build_parser().parse_args(arguments)
    # A process that loads three large libraries and ends soon has little garbage: looking for it as often as
    # Python does by default cost a tenth of a nightly run's CPU.
    gc.set_threshold(*RARE_COLLECTIONS)
    try:
        return options.command(options)
    except (ConfigError, UsageError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (run_lock.RunLocked, CommandFailed) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; what was published before stays, and the next run builds anew\n")
        return INTERRUPTED


def build_parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    parser = argparse.ArgumentParser(prog="python -m dagster_project", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    run = commands.add_parser("run", help="run the nightly job now and print a summary")
    run.add_argument("--as-of", default="", help="look at the business as of a past day, YYYY-MM-DD")
    run.add_argument("--rebuild", action="store_true", help="build all tables whole, new data or not")
    run.set_defaults(command=command_run)

    backfill = commands.add_parser("backfill", help="forecast past days again, in one run without dbt")
    backfill.add_argument("--from", dest="first", required=True, help="first day, YYYY-MM-DD")
    backfill.add_argument("--to", dest="last", required=True, help="last day, YYYY-MM-DD")
    backfill.add_argument("--plan", action="store_true", help="show what would happen, and write nothing")
    backfill.add_argument(
        "--accept-changed-definitions", action="store_true", help="go on although definitions have changed"
    )
    backfill.set_defaults(command=command_backfill)

    status = commands.add_parser("status", help="last as_of, days without a forecast, who holds the lock")
    status.set_defaults(command=command_status)

    connect = commands.add_parser("connect", help="draft a configuration from exports, and try it")
    connect.add_argument("--files", required=True, help="globs of the exports, parted by blanks")
    connect.add_argument("--out", default="my/pipeline.yaml", help="the file to write; never overwritten")
    connect.add_argument("--date-order", default="", choices=["", "ymd", "dmy", "mdy"])
    connect.add_argument("--decimal", default="", choices=["", ".", ","])
    connect.add_argument("--quick", action="store_true", help="without the readiness table")
    connect.set_defaults(command=command_connect)

    dry = commands.add_parser("check", help="read what the configuration names, into a temporary folder")
    dry.add_argument("--quick", action="store_true", help="without the readiness table")
    dry.set_defaults(command=command_check)

    check = commands.add_parser("check-config", help="read the configuration and say what is wrong with it")
    check.set_defaults(command=command_check_config)

    test = commands.add_parser("alert-test", help="send a test message to the webhook of `alerts:`")
    test.set_defaults(command=command_alert_test)

    docs = commands.add_parser("docs", help="write the dbt documentation as one page")
    docs.set_defaults(command=command_docs)

    purge = commands.add_parser("purge", help="take one record out of everything in the data folder")
    purge.add_argument("--record", required=True, help="source:kind:id, such as crm_export:deal:77")
    purge.add_argument("--dry-run", action="store_true", help="say what would go, and change nothing")
    purge.set_defaults(command=command_purge)

    pseudonym = commands.add_parser("pseudonym", help="print how the data name an e-mail address")
    pseudonym.add_argument("--email", required=True)
    pseudonym.set_defaults(command=command_pseudonym)

    home = commands.add_parser("home", help="make the data folder's DAGSTER_HOME and print it")
    home.set_defaults(command=command_home)

    dev = commands.add_parser("dev", help="open the Dagster UI on 127.0.0.1")
    dev.add_argument("--port", type=int, default=3000)
    dev.set_defaults(command=command_dev)
    return parser


def command_run(options: argparse.Namespace) -> int:
    """Write the bundled example if the configuration is the bundled one, run `nightly`, print the summary."""
    asked = {"STAGELEDGER_AS_OF": options.as_of} if options.as_of else {}
    settings = load_settings(environ={**os.environ, **asked})
    write_example_if_missing(settings)

    from dagster_project.cli.progress import Clock, write_line
    from dagster_project.cli.run import open_log, run_nightly
    from dagster_project.cli.summary import summary_lines

    clock = Clock()
    log_file = open_log(settings, "run")
    write_line(f"{settings.business.name}: nightly run into {settings.paths.root}")
    with one_clear_line(log_file):
        progress = run_nightly(settings, rebuild=options.rebuild)
        for name in progress.warned_checks:
            write_line(f"  warning: {name}")
        write_line(f"  done in {clock.seconds:.0f} s; log: {log_file}")
        for text in summary_lines(settings):
            write_line(text)
    return 0


def command_backfill(options: argparse.Namespace) -> int:
    """Forecast past days again and publish the result."""
    first, last = day(options.first, "FROM"), day(options.last, "TO")
    if last < first:
        raise UsageError(f"TO ({last}) lies before FROM ({first})")
    settings = load_settings()

    from dagster_project.cli.progress import write_line
    from dagster_project.cli.run import open_log, run_backfill

    log_file = open_log(settings, "backfill")
    write_line(f"{settings.business.name}: forecasting {first} to {last} again")
    with one_clear_line(log_file):
        accept = options.accept_changed_definitions
        run_backfill(settings, first, last, plan_only=options.plan, accept=accept)
    return 0


def command_status(options: argparse.Namespace) -> int:
    """Print what is published, which days have no forecast, and who holds the lock."""
    settings = load_settings()

    from dagster_project.cli.progress import write_line
    from dagster_project.cli.status import status_lines

    for text in status_lines(settings):
        write_line(text)
    return 0


def command_connect(options: argparse.Namespace) -> int:
    """Draft a configuration from exports, then read them with it."""
    from dagster_project.cli.connect import ConnectRefused, check, connect
    from dagster_project.cli.progress import write_line

    with quiet_logs():
        try:
            out = Path(options.out)
            settings = connect(options.files, out, options.date_order, options.decimal, write_line)
        except ConnectRefused as refused:
            raise UsageError(str(refused)) from None
        check(settings, write_line, readiness=not options.quick)
    return 0


def command_check(options: argparse.Namespace) -> int:
    """Read everything into a temporary folder; exit code 2 when something has to be mended first."""
    settings = load_settings()
    write_example_if_missing(settings)

    from dagster_project.cli.connect import check
    from dagster_project.cli.progress import write_line

    with quiet_logs():
        return 0 if check(settings, write_line, readiness=not options.quick) else 2


def command_check_config(options: argparse.Namespace) -> int:
    """Read the configuration; every problem ends the command with its line and remedy."""
    settings = load_settings()
    sys.stdout.write(
        f"{settings.config_path} is good: {len(settings.sources)} sources, "
        f"{len(settings.tables)} tables of business facts, metric definitions "
        f"{settings.metrics.definition_version}\n"
    )
    return 0


def command_alert_test(options: argparse.Namespace) -> int:
    """Send one message to the webhook and say whether it arrived."""
    settings = load_settings()
    if settings.alerts.webhook is None:
        raise UsageError(
            "no webhook is set: write alerts: {webhook: ${ALERT_WEBHOOK}} into the configuration, and put "
            "its address into the environment"
        )

    from dagster_project.alerts.notify import send_test
    from dagster_project.cli.progress import write_line

    with quiet_logs():
        delivery = send_test(settings)
    if not delivery.arrived:
        attempts = "1 attempt" if delivery.attempts == 1 else f"{delivery.attempts} attempts"
        raise CommandFailed(f"failed after {attempts}: {delivery.reason}")
    write_line("the webhook took the message")
    return 0


def command_docs(options: argparse.Namespace) -> int:
    """Write dbt's documentation as one page, and the metric book, into the data folder."""
    settings = load_settings()

    from dagster_project.cli.progress import write_line
    from dagster_project.cli.run import open_log
    from dagster_project.transform.docs import write_docs
    from dagster_project.transform.metric_book import write_metric_book

    log_file = open_log(settings, "docs")
    with one_clear_line(log_file):
        write_line(f"the documentation: {write_docs(settings)}")
        write_line(f"the metric book: {write_metric_book(settings)}")
    return 0


def command_purge(options: argparse.Namespace) -> int:
    """Take one record out of landing, warehouse, published versions, history and logs."""
    settings = load_settings()

    from dagster_project.cli.progress import Clock, write_line
    from dagster_project.cli.purge import PurgeRefused, plan, purge, target_of
    from dagster_project.cli.run import open_log, refuse_when_locked

    clock = Clock()
    try:
        refuse_when_locked(settings)
        target = target_of(settings, options.record)
        lines, found = plan(settings, target)
        for line in lines:
            write_line(f"  {line}")
        if options.dry_run:
            write_line("nothing was changed; the same without DRY_RUN=1 purges")
            return 0
        log_file = open_log(settings, "purge")
        with one_clear_line(log_file):
            purge(settings, target, found, lambda line: write_line(f"  {line}"))
    except PurgeRefused as refused:
        raise UsageError(str(refused)) from None
    write_line(f"purged in {clock.seconds:.0f} s; backups and your own exports are yours to clean")
    return 0


def command_pseudonym(options: argparse.Namespace) -> int:
    """Print what stands in the data in place of an e-mail address."""
    emails, address = load_settings().owner_emails(), options.email.strip()
    if emails is None:
        raise UsageError("pipeline.yaml has no business.hash_owner_emails: addresses stand as they are")
    if emails.text(address) == address:
        raise UsageError(f"EMAIL is {address!r}, and no e-mail address; write EMAIL=ann@example.com")
    sys.stdout.write(f"{emails.text(address)}\n")
    return 0


def command_home(options: argparse.Namespace) -> int:
    """Make DAGSTER_HOME with its dagster.yaml: what a web server or daemon needs before it starts."""
    from dagster_project.cli.instance import prepare_home

    sys.stdout.write(f"{prepare_home(load_settings())}\n")
    return 0


def command_dev(options: argparse.Namespace) -> int:
    """Open the Dagster UI, with the daemon that runs schedule and sensors, until it is stopped."""
    settings = load_settings()
    write_example_if_missing(settings)

    from dagster_project.cli.instance import prepare_home

    environment = {
        **os.environ,
        "DAGSTER_HOME": str(prepare_home(settings)),
        "STAGELEDGER_CONFIG": str(settings.config_path),
        "STAGELEDGER_DATA": str(settings.paths.root),
    }
    os.chdir(REPOSITORY)
    arguments = ["-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(options.port)]
    os.execve(sys.executable, [sys.executable, *arguments], environment)


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Keep logging off a terminal that reads lines for people; a failure ends with one line."""
    logging.disable(logging.WARNING)
    try:
        yield
    except (ConfigError, UsageError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CommandFailed(f"failed: {reason}") from error
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def one_clear_line(log_file: Path) -> Iterator[None]:
    """End a failing command with one line and the path of the log, never with a traceback."""
    try:
        yield
    except (ConfigError, run_lock.RunLocked):
        raise
    except Exception as error:
        logging.getLogger(__name__).error("the command failed", exc_info=True)
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CommandFailed(f"failed: {reason}\nThe full log: {log_file}") from error


def day(text: str, name: str) -> date:
    """A date from the command line.

    Raises `UsageError` when it is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{name} is {text!r}; give a date such as {name}=2026-03-01") from None


if __name__ == "__main__":
    code = main()
    if code == INTERRUPTED:
        # A thread of dbt may still be inside of a query; unwinding the interpreter under it would abort.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
