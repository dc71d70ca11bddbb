"""The benchmark of extraction: fair to everyone, and honest about what it measured."""

import json
from collections.abc import Iterator
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dagster_project.extract.crm.hubspot_objects import HISTORY, OBJECTS
from tests.benchmark.extract import speed
from tests.benchmark.extract.prepared_hubspot import PreparedServer, portal_of
from tests.benchmark.extract.speed import Content, ContentDiffers, Measured, Result
from tests.simulators.hubspot_server import TOKEN

DEALS = 70  # two of them in the recycle bin; more than a page of every contestant


@pytest.fixture(scope="module")
def server() -> Iterator[PreparedServer]:
    server = PreparedServer(DEALS)
    yield server
    server.close()


def ask(server: PreparedServer, path: str, token: str = TOKEN) -> tuple[int, dict[str, object]]:
    line = HTTPConnection(urlsplit(server.address).netloc)
    line.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = line.getresponse()
    told = json.loads(answer.read())
    line.close()
    return answer.status, told


def test_an_answer_is_the_simulators_own_and_is_made_once(server: PreparedServer) -> None:
    server.counts()
    path = "/crm/objects/2026-09/0-3?limit=3&properties=amount"
    first, second = ask(server, path), ask(server, path)
    assert first == second
    assert first[0] == 200
    deals = portal_of(3).things["deals"]
    shown = {deal["id"]: deal["properties"]["amount"] for deal in first[1]["results"]}  # type: ignore[attr-defined]
    assert shown == {deal_id: thing.properties["amount"] for deal_id, thing in deals.items()}
    assert server.counts() == {"asked": 2, "unprepared": 1}
    assert server.counts() == {"asked": 0, "unprepared": 0}


def test_an_answer_to_one_token_is_none_to_another(server: PreparedServer) -> None:
    path = "/crm/objects/2026-09/0-3?limit=1"
    assert [ask(server, path)[0], ask(server, path, "wrong")[0]] == [200, 401]


@pytest.mark.slow
def test_everyone_lands_the_same_in_as_few_requests_as_it_says(
    server: PreparedServer, tmp_path: Path
) -> None:
    question = tmp_path / "question.json"
    asked = {
        "address": server.address,
        "path": "/crm/objects/2026-09/0-3",
        "token": TOKEN,
        "properties": OBJECTS["deals"].properties,
        "history": HISTORY,
    }
    question.write_text(json.dumps(asked), encoding="utf-8")
    things = portal_of(DEALS).things["deals"].values()
    expected = Content(
        DEALS,
        sum(len(thing.history.get(name, [])) for thing in things for name in HISTORY),
        sum((Decimal(thing.properties["amount"] or 0) for thing in things), Decimal(0)),
    )
    field = speed.contestants(Path("nowhere"))
    requests = {}
    for name in (speed.OURS, speed.LOOPS, speed.NORMALIZE):
        folder = tmp_path / name
        folder.mkdir()
        run, content = speed.measure(field[name], question, folder)
        assert content == expected, name
        assert run.cpu > 0.1
        requests[name] = run.requests
    # 68 in use and 2 in the bin: two pages and one at 50 a page. Ours: the owners for the clock, the names of
    # properties, and the number of deals beside them.
    assert requests == {speed.OURS: 6, speed.LOOPS: 3, speed.NORMALIZE: 3}


def test_who_lands_something_else_is_named() -> None:
    one, other = Content(2, 9, Decimal("10.00")), Content(2, 8, Decimal("10.00"))
    speed.require_equal({"a": one, "b": one})
    with pytest.raises(ContentDiffers, match=r"b: Content\(deals=2, values=8"):
        speed.require_equal({"a": one, "b": other})


def result(name: str, deals: int, *cpu: float, megabytes: float = 100.0) -> Result:
    return Result(name, deals, [Measured(seconds, megabytes, 1234) for seconds in cpu])


def test_the_table_tells_medians_and_the_largest_memory() -> None:
    runs = [Measured(2.0, 90.0, 1234), Measured(9.0, 110.4, 1234), Measured(4.0, 100.0, 1234)]
    (_, line) = speed.table([Result("ours", 20_000, runs)])
    assert line.split() == ["ours", "20,000", "1,234", "4.00", "5,000", "110"]


def test_a_bar_is_met_or_missed_by_the_ratio_of_speeds() -> None:
    large = [
        result("ours", 1000, 2.0, megabytes=300),
        result("plain loops", 1000, 3.98),
        result("plain normalize", 1000, 4.0),
    ]
    small = [result("ours", 100, 1.0, megabytes=200), result("dlt", 100, 6.0)]
    assert speed.verdicts(large, small) == [
        "ours beside plain loops: 1.99 times as many deals per CPU s (≥ 2: missed)",
        "ours beside plain normalize: 2.00 times as many deals per CPU s (≥ 2: met)",
        "ours beside dlt: 6.00 times as many deals per CPU s (≥ 5: met)",
        "memory of ours when deals grow 10 times: 1.50 times (≤ 1.5: met)",
    ]
    grown = [result("ours", 1000, 2.0, megabytes=302)]
    assert speed.verdicts(grown, small)[-1].endswith("1.51 times (≤ 1.5: missed)")
