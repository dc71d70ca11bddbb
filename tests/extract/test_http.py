"""Asking a CRM: evenly, from one host, with a credential that nobody else ever sees."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from dagster_project.extract.api import redaction
from dagster_project.extract.api.api_errors import ForeignLink, RequestRefused, SourceUnavailable
from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.api.exchange import Request
from dagster_project.extract.api.http import Client
from dagster_project.extract.api.json_text import Malformed, read_listing
from dagster_project.extract.api.pacing import Clock, Pacer, in_order
from tests.extract.api_bench import DAY, ApiBench, StillClock
from tests.extract.fake_crm import TOKEN, FakeConnector, FakeDialect, FakeServer, fake_source


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.close()


def client(server: FakeServer, clock: Clock | None = None, **rates: float) -> Client:
    return Client("hq", server.address, FakeDialect(TOKEN), rates or {"default": 1e4}, clock=clock, threads=4)


@pytest.mark.parametrize("threads", [1, 2, 4, 8])
def test_the_observed_rate_stays_under_the_limit_with_any_number_of_threads(
    server: FakeServer, threads: int
) -> None:
    limit = 50.0  # a second
    asking = client(server, default=limit)
    list(in_order(lambda n: asking.json(Request("/me", "me", str(n))), range(60), threads))
    times = sorted(asked.at for asked in server.asked)
    # On a busy machine requests that left evenly may arrive together, which a short window shows most.
    for window, share in ((0.5, 1.0), (1.0, 0.95)):
        most = max(sum(start <= at < start + window for at in times) for start in times)
        assert most <= limit * window * share


def test_requests_are_spread_evenly_and_not_sent_in_bursts() -> None:
    clock = StillClock()
    pacer = Pacer(10, clock)
    starts = []
    for _ in range(5):
        pacer.wait()
        starts.append(clock.monotonic())
    # 80 % of ten a second: one every 125 ms.
    assert [round(start, 3) for start in starts] == [0, 0.125, 0.25, 0.375, 0.5]


def test_the_pace_follows_what_the_crm_says_is_left() -> None:
    clock = StillClock()
    pacer = Pacer(10, clock)
    pacer.wait()
    pacer.heard(remaining=5, seconds=10)
    pacer.wait()
    assert clock.monotonic() == pytest.approx(2.5)  # 10 s for 80 % of 5 requests
    pacer.heard(remaining=0, seconds=30)
    pacer.wait()
    assert clock.monotonic() == pytest.approx(32.5)
    pacer.wait()
    assert clock.monotonic() == pytest.approx(32.625)


def test_a_wait_that_is_too_long_means_not_today(server: FakeServer) -> None:
    server.always = lambda path: (429, {"Retry-After": "21600"}, {"message": "slow down"})
    with pytest.raises(Exception, match="daily quota is used up") as caught:
        client(server, StillClock()).json(Request("/me", "deals"))
    assert type(caught.value).__name__ == "DailyQuotaExhausted"
    assert len(server.asked) == 1


def test_a_retry_date_counts_from_the_clock_of_the_crm(server: FakeServer) -> None:
    clock = StillClock()
    server.faults = {
        1: (
            503,
            {"Date": "Wed, 01 Apr 2026 10:00:00 GMT", "Retry-After": "Wed, 01 Apr 2026 10:00:42 GMT"},
            b"",
        )
    }
    client(server, clock).json(Request("/me", "deals"))
    assert clock.monotonic() == pytest.approx(42)


def test_no_redirect_and_no_paging_link_to_another_host_is_followed(server: FakeServer) -> None:
    other = FakeServer()
    asking = client(server, StillClock())
    server.always = lambda path: (302, {"Location": other.address + "/me"}, b"")
    with pytest.raises(ForeignLink, match="redirect to 127"):
        asking.json(Request("/me", "deals"))
    with pytest.raises(ForeignLink, match="a paging link leads to 127"):
        asking.json(Request(other.address + "/me", "deals", "2"))
    assert other.asked == []
    other.close()


@pytest.mark.parametrize("address", ["http://crm.example.com", "ftp://x", "crm.example.com"])
def test_a_credential_travels_over_https_only(address: str) -> None:
    with pytest.raises(ValueError, match="https"):
        Client("hq", address, FakeDialect(TOKEN), {"default": 1})


def test_a_wrong_request_is_not_repeated(server: FakeServer) -> None:
    server.always = lambda path: (400, {}, {"message": "no such filter"})
    with pytest.raises(RequestRefused, match=r"hq: deals, page 3: .*no such filter"):
        client(server).json(Request("/deals", "deals", "3"))
    assert len(server.asked) == 1


def test_an_expired_token_is_renewed_once_for_all_threads(server: FakeServer) -> None:
    asking = client(server)
    dialect = asking.dialect
    assert isinstance(dialect, FakeDialect)
    asking.json(Request("/me", "me"))
    server.token = dialect._token = "a-new-token-12345"
    assert len(list(asking.in_parallel(lambda n: asking.json(Request("/me", "me")), range(12)))) == 12
    assert dialect.logins == 2


def test_results_come_in_order_and_an_error_at_its_own_place() -> None:
    def work(number: int) -> int:
        time.sleep(0.02 if number % 2 else 0)
        if number == 5:
            raise ValueError("five")
        return number

    seen = []
    with pytest.raises(ValueError, match="five"):
        for result in in_order(work, range(100), 4):
            seen.append(result)
    assert seen == [0, 1, 2, 3, 4]


def test_numbers_keep_every_digit_they_were_sent_with() -> None:
    text = '{"data": {"items": [{"amount": 12345678901234567890.120}, {"a": [1, {"b": "]}"}]}], "n": 2}}'
    found = read_listing(text, "data", "items")
    assert [raw.text for raw in found.records] == [
        '{"amount": 12345678901234567890.120}',
        '{"a": [1, {"b": "]}"}]}',
    ]
    assert found.fields == {"data": {"n": 2}}


@pytest.mark.parametrize(
    "text",
    ["", "<html>", "[]", '{"x": 1}', '{"r": null}', '{"r": [1 2]}', '{"r": [1,]}', '{"r": [1]', '{"r": [1]}x',
     '{"r": [NaN]}', '{"r": [' + "[" * 100_000],
)  # fmt: skip
def test_half_an_answer_is_no_answer(text: str) -> None:
    with pytest.raises(Malformed):
        read_listing(text, "r")


def test_the_token_is_nowhere_after_a_run_full_of_faults(server: FakeServer, tmp_path: Path) -> None:
    bench = ApiBench(server, tmp_path / "landing")
    bench.fill(25)
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    root, handler = logging.getLogger(), Keep()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.DEBUG)
    try:
        server.faults = {2: "reset", 4: (502, {}, f"your {TOKEN}".encode()), 6: (403, {}, {"message": TOKEN})}
        reports = list(bench.run().values())
        server.token = "other"
        reports += bench.run(DAY.replace(day=30), reread=True).values()
        logging.getLogger("urllib3").debug("sent %s", {"x-api-token": TOKEN})
        try:
            raise RuntimeError(f"with {TOKEN} inside")
        except RuntimeError:
            logging.getLogger("x").exception("it failed: %s", TOKEN)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert any("urllib3" in line or "GET /" in line for line in lines)
    everything = "\n".join([*lines, repr(reports), repr(fake_source(server.address))])
    assert redaction.MASK in everything
    assert TOKEN not in everything
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
    assert not [path for path in server.paths() if TOKEN in path]


def test_an_exception_of_the_line_is_told_without_its_address(server: FakeServer) -> None:
    server.always = lambda path: "reset"
    with pytest.raises(SourceUnavailable) as caught:
        client(server, StillClock()).json(Request("/me", "deals", params={"q": "secret-query"}))
    assert "secret-query" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_proxies_of_this_machine_are_used_but_none_of_its_passwords(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine crm.example login somebody password secret\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "near.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/own/certificates.pem")
    sent: list[tuple[requests.PreparedRequest, dict[str, Any]]] = []

    def send(self: object, request: requests.PreparedRequest, **settings: Any) -> None:
        sent.append((request, settings))
        raise requests.ConnectionError

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    asking = Client(
        "hq", "https://crm.example", FakeDialect(TOKEN), {"default": 1e4}, clock=StillClock(), attempts=1
    )
    for address in ("https://crm.example", "https://near.example"):
        asking.move_to(address)
        with pytest.raises(SourceUnavailable):
            asking.json(Request("/me", "me", params={"q": "a b"}))
    (far, far_settings), (near, near_settings) = sent
    assert far.url == "https://crm.example/me?q=a+b"
    assert far.headers["x-api-token"] == TOKEN
    assert "Authorization" not in far.headers
    assert far_settings["proxies"]["https"] == "http://proxy.example:3128"
    assert near.url == "https://near.example/me?q=a+b"
    assert "https" not in near_settings["proxies"]
    assert {settings["verify"] for _, settings in sent} == {"/own/certificates.pem"}
    assert "gzip" in far.headers["Accept-Encoding"]


@pytest.mark.slow
def test_memory_stays_flat_when_records_grow_tenfold(server: FakeServer, tmp_path: Path) -> None:
    import psutil

    page = [{"id": 1, "modified": "2026-03-01T00:00:00+00:00", "stage": "s1", "text": "x" * 1000}] * 500
    process, peak, is_over = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.01):
            peak[0] = max(peak[0], process.memory_info().rss)

    def peak_of(pages: int, folder: Path) -> int:
        count = [0]

        def answer(path: str) -> tuple[int, dict[str, str], dict[str, object]] | None:
            if not path.startswith("/deals"):
                return None
            count[0] += 1
            return 200, {}, {"success": True, "data": page, "total": 1, "more": count[0] < pages}

        server.always = answer
        source = fake_source(server.address)
        span = Span(DAY, DAY.replace(hour=23))
        peak[0] = 0
        (report,) = extract_api(folder, source, span, ["deals"], connector=FakeConnector(source))
        assert report.rows == pages * 500
        return peak[0]

    threading.Thread(target=watch, daemon=True).start()
    peak_of(10, tmp_path / "warm")
    small = peak_of(20, tmp_path / "small")
    large = peak_of(200, tmp_path / "large")
    is_over.set()
    assert large < 1.5 * small
