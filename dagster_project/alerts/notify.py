"""After a run: what stands, what of it is new, and one message about that. Nothing here fails a run."""

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import duckdb
from pydantic import BaseModel, SecretStr

from dagster_project import run_lock
from dagster_project.alerts.alert import Alert, by_severity, one_line
from dagster_project.alerts.alert_table import StoredAlert
from dagster_project.alerts.message import digest, message
from dagster_project.alerts.standing_alerts import failed_checks, failed_runs, late_sources, run_failure
from dagster_project.alerts.told_alerts import ToldAlerts
from dagster_project.alerts.webhook import Clock, Delivery, deliver
from dagster_project.extract.api import redaction
from dagster_project.publish.versions import current_file
from dagster_project.settings import Settings

log = logging.getLogger(__name__)

STATE_NAME = "alerts_told.json"
_PUBLISHED_KINDS = ("forecast_moved", "new_bottleneck")
_WAIT_FOR_ANOTHER_SENDER = 5.0


def tell(
    settings: Settings,
    instance: dg.DagsterInstance,
    checks: Iterable[dg.AssetCheckKey] = (),
    failure: tuple[str, str] | None = None,
    clock: Clock | None = None,
) -> Delivery | None:
    """Send one message about all alerts that nobody has been told yet; None when there is nothing to send.

    `checks`: none says that they are not to be looked at. `failure`: a job that could not begin, and why.
    What does not arrive is sent with the next run.
    """
    try:
        return _tell(settings, instance, list(checks), failure, clock)
    except Exception as error:
        # The text of the error may hold anything; whoever looks for it finds it by its kind.
        log.warning("alerts could not be told (%s)", type(error).__name__, exc_info=True)
        return None


def _tell(
    settings: Settings,
    instance: dg.DagsterInstance,
    checks: list[dg.AssetCheckKey],
    failure: tuple[str, str] | None,
    clock: Clock | None,
) -> Delivery | None:
    redaction.SECRETS.add(*secrets_of(settings))
    found, kinds = [], []
    for kind, look in lookouts(settings, instance, checks, failure):
        try:
            found += look()
        except Exception as error:
            log.warning("alerts of kind %s could not be looked for (%s)", kind, type(error).__name__)
        else:
            kinds.append(kind)
    found = by_severity(found)
    try:
        lock = run_lock.acquire(
            settings.paths.root / "alerts.lock", "alerts", "telling alerts", _WAIT_FOR_ANOTHER_SENDER
        )
    except run_lock.RunLocked:
        log.info("another process is telling alerts")
        return None
    try:
        told = ToldAlerts(state_file(settings))
        told.forget_all_but(found, kinds)
        fresh = told.fresh(found)
        for alert in fresh:
            log.warning("alert: %s", redaction.SECRETS.clean(alert.sentence))
        if not fresh or settings.alerts.webhook is None:
            return None
        text = digest(settings.business.name, fresh, len(found) - len(fresh))
        delivery = deliver(settings.alerts.webhook.get_secret_value(), text, clock=clock)
        if delivery.arrived:
            told.note(fresh)
            log.info("%s alerts told in one message", len(fresh))
        else:
            log.warning("%s alerts wait for the next run: %s", len(fresh), delivery.reason)
        return delivery
    finally:
        lock.release()


def lookouts(
    settings: Settings,
    instance: dg.DagsterInstance,
    checks: list[dg.AssetCheckKey],
    failure: tuple[str, str] | None,
) -> Iterator[tuple[str, Callable[[], list[Alert]]]]:
    """Kind of alert → how to look for it."""
    could_not_begin = [run_failure(failure[0], one_line(failure[1]), datetime.now(UTC))] if failure else []
    yield "run_failed", lambda: [*could_not_begin, *failed_runs(instance)]
    yield "source_lags", lambda: late_sources(settings)
    if checks:
        yield "check_failed", lambda: failed_checks(instance, checks)
    for kind in _PUBLISHED_KINDS:
        yield kind, lambda kind=kind: published_alerts(settings, kind)


def published_alerts(settings: Settings, kind: str) -> list[Alert]:
    """The alerts of a kind that the newest published version tells of its day."""
    path = current_file(settings.paths.published_dir)
    if path is None:
        return []
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(
            "select kind, severity, subject, sentence, alert_id from alerts "
            "where kind = ? and as_of = (select max(as_of) from _publish)",
            [kind],
        ).fetchall()
    return [StoredAlert(*row) for row in rows]


def send_test(settings: Settings, clock: Clock | None = None) -> Delivery:
    """Send a message that says it is a test. Its outcome is kept nowhere."""
    assert settings.alerts.webhook is not None
    text = message(
        f"{settings.business.name}: a test of the alerts",
        ["If you can read this, alerts of the nightly run will arrive here."],
    )
    return deliver(settings.alerts.webhook.get_secret_value(), text, clock=clock)


def state_file(settings: Settings) -> Path:
    """Where it stands which alerts have been told."""
    return settings.paths.root / STATE_NAME


def secrets_of(model: BaseModel) -> Iterator[str]:
    """Every secret of the settings."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, SecretStr):
                yield one.get_secret_value()
            elif isinstance(one, BaseModel):
                yield from secrets_of(one)
