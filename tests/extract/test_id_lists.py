"""The list of all ids of each CRM: whole, without deleted records, and to be gone on with after any page."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dagster_project.extract.api.protocol import Connector
from dagster_project.extract.crm.hubspot import HubSpotConnector
from tests.extract.api_bench import DAY
from tests.extract.hubspot_bench import HubSpotBench, hubspot_source
from tests.extract.salesforce_bench import SalesforceBench, deal_id
from tests.simulators.pipedrive_bench import PipedriveBench

DELETED = 7


def hubspot(folder: Path) -> tuple[Connector, list[str], Callable[[], None]]:
    bench = HubSpotBench(folder)
    bench.deals(230)
    bench.portal.archive("deals", str(DELETED), DAY)
    connector = HubSpotConnector(hubspot_source(bench.server.address), bench.clock)
    return connector, [str(number) for number in range(1, 231)], bench.server.close


def salesforce(folder: Path) -> tuple[Connector, list[str], Callable[[], None]]:
    bench = SalesforceBench(folder)
    bench.server.page_size = 10
    bench.fill(35)
    bench.org.delete("Opportunity", deal_id(DELETED), DAY)
    return bench.connector(), [deal_id(number) for number in range(1, 36)], bench.server.close


def pipedrive(folder: Path) -> tuple[Connector, list[str], Callable[[], None]]:
    bench = PipedriveBench(folder)
    bench.fill(520)
    bench.company.delete(DELETED, DAY)
    bench.company.archive(9, DAY - timedelta(days=1))
    return bench.connector(), [str(number) for number in range(1, 521)], bench.server.close


CRMS = [hubspot, salesforce, pipedrive]


@pytest.fixture(params=CRMS, ids=[make.__name__ for make in CRMS])
def crm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Connector, list[str]]]:
    connector, ids, close = request.param(tmp_path)
    yield connector, ids
    close()


def test_a_list_that_goes_on_after_any_page_is_the_whole_list(crm: tuple[Connector, list[str]]) -> None:
    connector, ids = crm
    spec = connector.entity("deals")
    pages = list(connector.ids(spec))
    listed = [record_id for page in pages for record_id in page.ids]
    assert sorted(listed) == sorted(set(ids) - {ids[DELETED - 1]})
    assert len(pages) >= 2 and [page.cursor is None for page in pages] == [False] * (len(pages) - 1) + [True]
    for place, page in enumerate(pages[:-1]):
        before = [record_id for earlier in pages[: place + 1] for record_id in earlier.ids]
        after = [record_id for later in connector.ids(spec, page.cursor) for record_id in later.ids]
        assert before + after == listed
