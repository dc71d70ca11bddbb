"""Alerts: one message about what is new, tried again within a limit, with no secret and no mention in it."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from pydantic import SecretStr

from dagster_project.alerts import notify
from dagster_project.alerts.alert import Alert, same_failure
from dagster_project.alerts.alert_table import TABLE, bottlenecks, moved_forecasts, write_alerts
from dagster_project.alerts.message import SHOWN_PER_KIND, digest
from dagster_project.alerts.told_alerts import ToldAlerts
from dagster_project.alerts.webhook import Clock, deliver
from dagster_project.forecast.tables import BOOKINGS
from dagster_project.warehouse import Warehouse
from tests.simulators.local_server import Answer, Asked, LocalServer

CANARY = "canary9f31c0de77aa"
PATH = f"/services/T0AAAAAAA/B0BBBBBBB/{CANARY}"


class Hook(LocalServer):
    """A webhook that takes everything, but for `faults`."""

    def answer(self, asked: Asked) -> Answer:
        return 200, {}, b"ok"

    @property
    def url(self) -> str:
        return self.address + PATH


@dataclass
class Time:
    """A clock that moves when the sender sleeps."""

    at: float = 0.0
    naps: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.at += seconds

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.at, self.sleep)


@pytest.fixture
def hook() -> Any:
    with Hook() as server:
        yield server


def alert(number: int = 1, **changes: Any) -> Alert:
    told = {
        "kind": "check_failed",
        "severity": "warning",
        "subject": f"s{number}",
        "sentence": f"no {number}",
    }
    return Alert(**{**told, **changes})


def test_a_webhook_that_has_a_problem_is_asked_again_with_growing_pauses(hook: Hook) -> None:
    hook.faults = {1: (500, {}, b""), 2: "reset", 3: (503, {}, b"")}
    time = Time()
    delivery = deliver(hook.url, {"text": "x"}, clock=time.clock)
    assert delivery.arrived and delivery.attempts == 4
    assert len(time.naps) == 3 and time.naps[0] < time.naps[1] < time.naps[2]
    assert hook.asked[-1].body == {"text": "x"}


def test_retry_after_is_waited_for(hook: Hook) -> None:
    hook.faults = {1: (429, {"Retry-After": "7"}, b"")}
    time = Time()
    assert deliver(hook.url, {"text": "x"}, clock=time.clock).arrived
    assert time.naps == [7.0]


def test_a_wait_beyond_the_limit_is_not_begun(hook: Hook) -> None:
    hook.always = lambda path: (429, {"Retry-After": "3600"}, b"")
    time = Time()
    delivery = deliver(hook.url, {"text": "x"}, limit_seconds=60, clock=time.clock)
    assert (delivery.arrived, delivery.attempts, time.naps) == (False, 1, [])


def test_what_stays_broken_ends_within_the_limit(hook: Hook) -> None:
    hook.always = lambda path: (500, {}, b"")
    time = Time()
    delivery = deliver(hook.url, {"text": "x"}, limit_seconds=30, clock=time.clock)
    assert not delivery.arrived and time.at < 30 and delivery.attempts > 2


def test_a_redirect_and_a_refusal_are_not_followed_nor_repeated(hook: Hook) -> None:
    for status, words in ((302, "redirect"), (404, "refused")):
        asked = len(hook.asked)
        hook.faults = {asked + 1: (status, {"Location": hook.address + "/elsewhere"}, b"")}
        delivery = deliver(hook.url, {"text": "x"}, clock=Time().clock)
        assert not delivery.arrived and words in delivery.reason
        assert len(hook.asked) == asked + 1


def test_a_server_that_never_answers_costs_no_more_than_the_limit(hook: Hook) -> None:
    import time

    def hang(asked: Asked) -> Answer:
        time.sleep(3)
        return 200, {}, b"ok"

    hook.always = lambda path: hang
    began = time.monotonic()
    delivery = deliver(hook.url, {"text": "x"}, limit_seconds=0.6)
    assert not delivery.arrived and time.monotonic() - began < 2


def test_the_text_of_a_crm_is_only_text() -> None:
    evil = "<!channel> & <https://x.example|click> @here\u202e @Everyone"
    message = json.dumps(digest("B", [alert(sentence=evil)], 0), ensure_ascii=False)
    assert "&lt;!channel&gt; &amp; &lt;https" in message
    for sign in ("<", "@here", "@Everyone", "\u202e"):
        assert sign not in message
    assert json.loads(message)["mrkdwn"] is False


def test_a_flood_is_one_message_of_bounded_length() -> None:
    message = digest("B", [alert(n, sentence="y" * 500) for n in range(100)], 1)
    assert "100 new alerts" in message["text"] and f"and {100 - SHOWN_PER_KIND} more" in message["text"]
    assert "1 known before still stands" in message["text"]
    assert all(len(block["text"]["text"]) <= 3000 for block in message["blocks"])


def test_an_alert_is_told_once_and_again_only_after_it_was_over(tmp_path: Path) -> None:
    path = tmp_path / "told.json"
    first, second = alert(1), alert(2, kind="source_lags")
    ToldAlerts(path).note([first, second])
    assert ToldAlerts(path).fresh([first, second, alert(3)]) == [alert(3)]
    told = ToldAlerts(path)
    told.forget_all_but([], kinds=["check_failed"])
    # of sources nothing was looked at, so theirs still counts as told
    assert ToldAlerts(path).fresh([first, second]) == [first]


def test_the_same_failure_of_another_night_is_the_same_alert() -> None:
    one, other = (f"dbt: run 6a1f2f0e-0b7d-4c8e-9d3a-5e2b7c4d1f0{n} failed after {n} s" for n in (1, 2))
    assert same_failure(one) == same_failure(other) != same_failure("dbt: disk is full")


def settings(tmp_path: Path, url: str | None) -> SimpleNamespace:
    alerts = SimpleNamespace(webhook=SecretStr(url) if url else None)
    return SimpleNamespace(
        alerts=alerts,
        business=SimpleNamespace(name="B"),
        paths=SimpleNamespace(root=tmp_path, published_dir=tmp_path / "published"),
    )


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Alert]:
    """What stands, as the lookouts see it."""
    standing: list[Alert] = []
    monkeypatch.setattr(notify, "lookouts", lambda *_: iter([("check_failed", lambda: standing)]))
    monkeypatch.setattr(notify, "secrets_of", lambda _: ())
    return standing


def test_one_night_one_message_and_nothing_while_nothing_changes(
    tmp_path: Path, hook: Hook, found: list[Alert], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    here = settings(tmp_path, hook.url)
    with dg.DagsterInstance.ephemeral() as instance:
        found += [alert(1), alert(2)]
        hook.always = lambda path: (500, {}, b"")
        assert not notify.tell(here, instance, clock=Time().clock).arrived
        hook.always = None
        asked = len(hook.asked)
        # what did not arrive comes with the next run, then never again while it stands
        assert notify.tell(here, instance, clock=Time().clock).arrived
        assert notify.tell(here, instance, clock=Time().clock) is None
        found.append(alert(3))
        assert notify.tell(here, instance, clock=Time().clock).arrived
    texts = [one.body["text"] for one in hook.asked[asked:]]
    assert ["2 new alerts" in texts[0], "1 new alert" in texts[1], len(texts)] == [True, True, 2]
    assert "2 known before still stand." in texts[1]
    written = caplog.text + "".join(p.read_text(errors="ignore") for p in tmp_path.rglob("*") if p.is_file())
    assert CANARY not in written


def test_telling_never_raises(tmp_path: Path, found: list[Alert], caplog: pytest.LogCaptureFixture) -> None:
    found.append(alert(1))
    here = settings(tmp_path / "nowhere" / "at all", "https://\x00")
    (tmp_path / "nowhere").write_text("a file, no folder")
    with dg.DagsterInstance.ephemeral() as instance:
        assert notify.tell(here, instance, clock=Time().clock) is None
    assert "alerts could not be told" in caplog.text


def bookings(day: str, mean: float, low: float, high: float, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(BOOKINGS.columns)
    stored = {"as_of": pd.Timestamp(day), "kind": "live", "period": "2026Q2", "segment_type": "total"}
    told = {"mean": mean, "p10": low, "p90": high, "currency": "EUR", "definition_version": "default"}
    return row | stored | told | changes


@pytest.mark.parametrize(
    ("mean", "changes", "is_moved"),
    [
        (121.0, {}, True),
        (79.0, {}, True),
        (120.0, {}, False),  # the edge of the range is in it
        (121.0, {"definition_version": "other"}, False),
        (121.0, {"period": "2026Q3"}, False),
    ],
)
def test_a_forecast_that_left_the_range_told_before_is_an_alert(
    tmp_path: Path, mean: float, changes: dict[str, Any], is_moved: bool
) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb")
    rows = [
        bookings("2026-05-13", 500, 400, 600),
        bookings("2026-05-14", 100, 80, 120),
        bookings("2026-05-14", 900, 800, 990, kind="backfill"),  # the live one counts
        bookings("2026-05-15", mean, 0, 999, **changes),
    ]
    warehouse.append(BOOKINGS.full_name, pd.DataFrame(rows), BOOKINGS.columns)
    found = moved_forecasts(warehouse, pd.Timestamp("2026-05-15").date())
    assert bool(found) is is_moved
    if found:
        assert "on 2026-05-14 it was 100, 8 times in 10 between 80 and 120" in found[0].sentence


def test_a_bottleneck_is_new_on_its_first_day_and_again_after_it_was_gone(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "w.duckdb")
    days = [pd.Timestamp(f"2026-05-{day}").date() for day in (12, 13, 14, 15)]
    runs = pd.DataFrame({"as_of": days, "run_kind": "nightly"})
    warehouse.append("ops.run_context", runs, {"as_of": "date", "run_kind": "string"})
    names = ("measure", "pipeline", "stage", "stage_key", "segment_type", "segment", "in_words", "status")
    values = ("conversion", "P", "Quote", "k", "total", "all", "40 of 100 went on, 60 before", "finding")
    mart = pd.DataFrame([dict(zip(names, values, strict=True), amount_rank=1)])
    kinds = {**dict.fromkeys(names, "string"), "amount_rank": "int"}
    warehouse.append("marts.mart_bottlenecks", mart, kinds)
    found = bottlenecks(warehouse)
    assert [one.sentence for one in found] == ["Quote (P): 40 of 100 went on, 60 before"]
    for day, standing in zip(days, (found, found, [], found), strict=True):
        write_alerts(warehouse, day, "r", standing)
    rows = warehouse.query(f"select as_of, first_seen_on, is_new from {TABLE} order by 1")
    seen = [(f"{row.as_of:%d}", f"{row.first_seen_on:%d}", bool(row.is_new)) for row in rows.itertuples()]
    assert seen == [("12", "12", True), ("13", "12", False), ("15", "15", True)]
