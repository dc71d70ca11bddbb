"""The connector against Tryton's own server: paging, changes meanwhile, faults, kills, rights, nights."""

import base64
import logging
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dagster_project.extract.api.api_report import Status
from dagster_project.extract.crm import tryton
from dagster_project.extract.crm.tryton import TrytonConnector
from dagster_project.extract.landing import Landing
from tests.tryton.conftest import AS_OF, end_of
from tests.tryton.fault_proxy import FaultProxy
from tests.tryton.landed import HurriedClock, content, extract, rows
from tests.tryton.tryton_office import PASSWORD, Office, rpc

REPOSITORY = Path(__file__).resolve().parents[2]
END = end_of(AS_OF)
DEALS = "model.sale.opportunity"


@pytest.fixture
def proxy(address: str) -> Iterator[FaultProxy]:
    proxy = FaultProxy(address)
    yield proxy
    proxy.close()


class Colleague:
    """Somebody who works in Tryton at the same time, in the database `busy`."""

    def __init__(self, address: str) -> None:
        self._address = address
        login = rpc(address, "busy/", "common.db.login", ["admin", {"password": PASSWORD}])
        self._session = base64.b64encode(f"admin:{login[0]}:{login[1]}".encode()).decode()
        self._context = self.call("model.res.user.get_preferences", True, {})

    def call(self, method: str, *params: Any) -> Any:
        return rpc(self._address, "busy/", method, params, self._session)

    def deals(self, method: str, *params: Any) -> Any:
        return self.call(f"{DEALS}.{method}", *params, self._context)

    def ids(self, state: str) -> list[int]:
        return self.deals("search", [["state", "=", state]], 0, None, [["id", "ASC"]])


def test_pages_of_any_size_land_each_deal_once(
    address: str, landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = content(landing, "deals")
    living = len({row["record_id"] for row in rows(landing, "deals") if not row["is_deleted"]})
    for size in (10, living - 1, living, living + 1):
        monkeypatch.setattr(tryton, "PAGE", size)
        monkeypatch.setattr(tryton, "ID_RANGE", 2 * size + 3)
        folder = tmp_path / str(size)
        reports = extract(address, folder, END, entities=["deals", "accounts"])
        assert content(folder, "deals") == calm
        assert reports["deals"].rows == len(calm["deals"])
        names = [row["record_id"] for row in rows(folder, "accounts")]
        assert sorted(names) == sorted({row["record_id"] for row in rows(landing, "accounts")})


def test_what_is_covered_is_not_asked_for_again(address: str, tmp_path: Path) -> None:
    first = extract(address, tmp_path, END, entities=["deals", "currencies"])
    again = extract(address, tmp_path, END, entities=["deals", "currencies"])
    assert {report.status for report in first.values()} == {Status.LANDED}
    assert [report.usage.requests for report in again.values()] == [0, 0]


def test_far_fewer_reads_than_versions_show_the_whole_history(landing: Path) -> None:
    (batch,) = Landing(landing).batches("erp", "stage_history")
    reading = batch.manifest.reading
    assert reading is not None
    assert batch.manifest.rows > 300 and reading.requests < batch.manifest.rows / 2


def test_a_history_that_comes_back_empty_is_noticed_and_read_again(
    proxy: FaultProxy, landing: Path, tmp_path: Path
) -> None:
    cheated: list[int] = []

    def cheat(number: int, path: str) -> None:
        call = proxy.asked[number - 1].body
        if call["method"].endswith("history_revisions") and len(call["params"][0]) <= 100 and not cheated:
            cheated.append(number)
            proxy.faults[number] = (200, {}, b'{"id":0,"result":[]}')

    proxy.before = cheat
    reports = extract(proxy.address, tmp_path, END, entities=["stages", "deals", "stage_history"])
    living = {row["record_id"] for row in rows(landing, "deals")}
    living -= {row["record_id"] for row in rows(landing, "deals") if row["is_deleted"]}
    reconciled = reports["stage_history"].reconciled
    assert cheated and reconciled is not None
    assert (reconciled.deals, reconciled.read_again, reconciled.disagreeing) == (len(living), len(living), ())


def test_faults_of_every_kind_cost_time_but_no_record_and_tell_no_secret(
    proxy: FaultProxy, landing: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    html = (200, {"Content-Type": "text/html"}, b"<html>Sorry</html>")
    proxy.faults = {
        4: (503, {}, b""), 8: "reset", 10: html, 13: (200, {}, b""), 16: "truncated",
        19: (429, {"Retry-After": "1"}, b""), 22: (200, {}, b'{"id":0,"error":["database is locked",""]}'),
        26: proxy.in_a_strange_session, 40: (502, {}, b"bad gateway"), 60: (200, {}, b'{"id":0,"result":'),
    }  # fmt: skip
    caplog.set_level(logging.DEBUG)
    reports = extract(proxy.address, tmp_path / "landing", END)
    assert {report.status for report in reports.values()} == {Status.LANDED}
    assert not proxy.faults
    assert content(tmp_path / "landing") == content(landing)
    logins = [asked.raw for asked in proxy.asked if b"common.db.login" in asked.raw]
    assert len(logins) == 2
    assert sum(PASSWORD.encode() in asked.raw for asked in proxy.asked) == 2
    for forbidden in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode().rstrip("=")):
        assert forbidden not in caplog.text
        for path in (tmp_path / "landing").rglob("*"):
            assert path.is_dir() or forbidden.encode() not in path.read_bytes()
    assert "Session " not in caplog.text.replace("Session [redacted]", "")


def test_killed_at_any_request_it_goes_on_and_lands_the_same(
    proxy: FaultProxy, landing: Path, tmp_path: Path
) -> None:
    chance = random.Random(5)
    process: subprocess.Popen[bytes] | None = None
    deadline = 0

    def kill(number: int, path: str) -> None:
        if number == deadline and process is not None:
            process.kill()

    proxy.before = kill
    call = [sys.executable, "-m", "tests.tryton.landed", proxy.address, str(tmp_path / "landing")]
    kills = 0
    for _ in range(6):
        deadline = len(proxy.asked) + chance.randrange(3, 70) if kills < 3 else 0
        process = subprocess.Popen([*call, END.isoformat()], cwd=REPOSITORY)
        if process.wait(timeout=300) == 0:
            break
        kills += 1
    assert kills == 3
    assert content(tmp_path / "landing") == content(landing)
    undisturbed = sum(
        batch.manifest.reading.requests
        for spec in TrytonConnector.ENTITIES
        for batch in Landing(landing).batches("erp", spec.name)
        if batch.manifest.reading
    )
    # A kill costs the login and the questions before the first page, and the deals under way: two threads of
    # at most a hundred deals each. None of the finished entities is asked for again.
    assert len(proxy.asked) < undisturbed * (kills + 1)


def test_a_window_stands_still_while_people_work_and_the_next_one_has_their_changes(
    address: str, proxy: FaultProxy, landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tryton, "PAGE", 10)
    monkeypatch.setattr(TrytonConnector, "HOLDBACK", timedelta(0))
    colleague = Colleague(address)
    amount = {"__class__": "Decimal", "decimal": "90071992547409.93"}
    changed = colleague.ids("lead") + colleague.ids("opportunity")
    gone = next(
        number
        for number in colleague.ids("lead")
        if not colleague.deals("read", [number], ["sales"])[0]["sales"]
    )
    new: list[int] = []

    def meanwhile(number: int, path: str) -> None:
        if b"search_read" in proxy.asked[number - 1].raw and not new:
            colleague.deals("write", changed, {"amount": amount})
            colleague.deals("cancel", [gone])
            colleague.deals("delete", [gone])
            new.extend(colleague.deals("create", [{"description": "Meanwhile", "company": 1, "currency": 1}]))

    proxy.before = meanwhile
    extract(proxy.address, tmp_path, END, database="busy", entities=["deals"])
    assert new
    assert content(tmp_path, "deals") == content(landing, "deals")

    proxy.before = lambda number, path: None
    time.sleep(1.1)  # the server tells its clock in whole seconds
    reports = extract(
        proxy.address, tmp_path, datetime.now(UTC) + timedelta(days=1), database="busy", entities=["deals"]
    )
    batch = reports["deals"].batches[-1]
    fresh = {row["record_id"]: row for row in rows(tmp_path, "deals") if row["batch_id"] == batch}
    later = {str(number) for number in [*changed, *new]}
    known = {row["record_id"] for row in rows(landing, "deals") if row["modified_at"] > datetime(2025, 5, 15)}
    assert later <= fresh.keys() and fresh.keys() - later <= known | _worked_after(colleague)
    assert fresh[str(gone)]["is_deleted"] and fresh[str(gone)]["payload"]["state"] == "cancelled"
    kept = next(str(number) for number in changed if number != gone)
    assert fresh[kept]["payload"]["amount"]["decimal"] == "90071992547409.93"

    again = extract(proxy.address, tmp_path, END, database="busy", entities=["deals"], reread=True)
    reread = {
        r["record_id"]: r["text"]
        for r in rows(tmp_path, "deals")
        if r["batch_id"] == again["deals"].batches[-1]
    }
    first = {r["record_id"]: r["text"] for r in rows(landing, "deals")}
    assert reread and reread.items() <= first.items()


def _worked_after(colleague: Colleague) -> set[str]:
    """Deals of the evening after the first window's end."""
    end = {"__class__": "datetime", "year": 2025, "month": 5, "day": 16, "hour": 21, "minute": 0, "second": 0}
    changed = [["last_modified_at", ">=", {**end, "microsecond": 0}]]
    return {str(number) for number in colleague.deals("search", changed, 0, None, None)}


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock_of_this_machine_changes_nothing(address: str, tmp_path: Path, hours: int) -> None:
    now = datetime.now(UTC)
    clock = HurriedClock(ahead=timedelta(hours=hours))
    extract(address, tmp_path, now + timedelta(days=1), clock=clock, entities=["currencies"])
    (batch,) = Landing(tmp_path).batches("erp", "currencies")
    assert batch.manifest.reading is not None
    until = batch.manifest.reading.window_to + TrytonConnector.HOLDBACK
    assert abs(until - now) < timedelta(minutes=1)


def test_fields_of_one_s_own_are_landed_and_unknown_ones_left_out(address: str, tmp_path: Path) -> None:
    extract(
        address, tmp_path, END, entities=["deals"], properties={"deals": ["comment", "not_in_this_version"]}
    )
    payload = rows(tmp_path, "deals")[0]["payload"]
    assert "comment" in payload and "not_in_this_version" not in payload
    assert "contact" not in payload and "address" not in payload


def test_a_wrong_password_is_tried_once_and_told_without_it(proxy: FaultProxy, tmp_path: Path) -> None:
    reports = extract(proxy.address, tmp_path, END, password="not-the-password")
    assert {report.status for report in reports.values()} == {Status.FAILED, Status.UP_TO_DATE}
    assert len(proxy.asked) == 1
    reason = reports["deals"].reason
    assert "look at `user:` of the source" in reason and "not-the-password" not in reason


def test_a_user_without_rights_is_told_which_one_is_missing(address: str, tmp_path: Path) -> None:
    reports = extract(address, tmp_path, END, user="guest", entities=["owners", "deals", "line_items"])
    assert reports["deals"].status is Status.FAILED
    assert "a group that may read deals" in reports["deals"].reason
    assert reports["line_items"].status is Status.SKIPPED
    assert reports["owners"].status is Status.LANDED


def test_an_unknown_database_is_told_as_such(address: str, tmp_path: Path) -> None:
    reports = extract(address, tmp_path, END, database="offcie", entities=["deals"])
    assert reports["deals"].status is Status.FAILED
    assert "look whether `base_url:` and `database:` are right" in reports["deals"].reason


def test_nights_with_late_commits_deletions_and_a_missed_one_end_like_one_load(
    office: Office, landing: Path, tmp_path: Path
) -> None:
    nights = Office(tmp_path / "office", office.environment)
    nights.folder.mkdir()
    shutil.copy(office.path(), nights.path())
    nightly = tmp_path / "nightly"
    shutil.copytree(landing, nightly)
    with nights.server() as address:
        for night, days in enumerate((1, 2, 1), start=1):
            first = AS_OF + timedelta(days=(1, 2, 4)[night - 1])
            last = first + timedelta(days=days - 1)
            nights.work(first, last, new_deals=2, seed=night)
            reports = extract(address, nightly, end_of(last))
            assert reports["stage_history"].rows > 0
            reconciled = reports["stage_history"].reconciled
            assert reconciled is not None and not reconciled.disagreeing
            nights.late(end_of(last) - timedelta(minutes=20 + night, microseconds=1))
        last += timedelta(days=1)
        extract(address, nightly, end_of(last))
        at_once = tmp_path / "at-once"
        extract(address, at_once, end_of(last))
    assert sum(row["payload"]["description"] == "Late" for row in _newest(at_once)) == 3
    assert content(nightly, "stage_history") == content(at_once, "stage_history")
    assert [_told(row) for row in _newest(nightly)] == [_told(row) for row in _newest(at_once)]


def _newest(landing: Path) -> list[dict[str, Any]]:
    """The newest version of each deal, as a reader of the landing takes it."""
    newest = {
        row["record_id"]: row
        for row in sorted(rows(landing, "deals"), key=lambda row: (row["modified_at"], row["is_deleted"]))
    }
    return [newest[record_id] for record_id in sorted(newest)]


def _told(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["record_id"], row["modified_at"], row["is_deleted"], row["text"]
