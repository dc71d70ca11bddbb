"""simple-salesforce, which knows nothing of us, reads the simulated org as it reads Salesforce."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceMalformedRequest

from tests.extract.api_bench import DAY
from tests.extract.salesforce_bench import EARLIER, SalesforceBench, deal_id
from tests.simulators.salesforce_server import CLIENT_ID, CLIENT_SECRET


class ToLocalServer(HTTPAdapter):
    """The library speaks https to Salesforce's hosts; here every address leads to the simulated org."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def send(self, request: requests.PreparedRequest, *args: object, **kwargs: object) -> requests.Response:
        path = (request.url or "").split("/", 3)[3]
        request.url = f"{self._address}/{path}"
        return super().send(request, *args, **kwargs)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SalesforceBench]:
    bench = SalesforceBench(tmp_path / "landing")
    bench.fill(25)
    bench.org.delete("Opportunity", deal_id(7), DAY)
    yield bench
    bench.server.close()


@pytest.fixture
def salesforce(bench: SalesforceBench) -> Salesforce:
    session = requests.Session()
    session.mount("https://", ToLocalServer(bench.server.address))
    return Salesforce(
        consumer_key=CLIENT_ID,
        consumer_secret=CLIENT_SECRET,
        domain="org.my",
        session=session,
        version="66.0",
    )


def test_it_logs_in_and_follows_pages_with_and_without_deleted_records(
    bench: SalesforceBench, salesforce: Salesforce
) -> None:
    bench.server.page_size = 10
    living = salesforce.query_all("SELECT Id, Name FROM Opportunity ORDER BY Id")
    every = list(salesforce.query_all_iter("SELECT Id FROM Opportunity", include_deleted=True))
    assert (living["totalSize"], len(living["records"]), len(every)) == (24, 24, 25)
    assert living["records"][0]["attributes"]["type"] == "Opportunity"
    assert salesforce.query("SELECT COUNT() FROM Opportunity")["totalSize"] == 24


def test_it_describes_and_asks_both_logs(bench: SalesforceBench, salesforce: Salesforce) -> None:
    described = salesforce.Opportunity.describe()
    assert {"Id", "StageName", "SystemModstamp"} <= {field["name"] for field in described["fields"]}
    window = (DAY - timedelta(days=1), DAY + timedelta(days=1))
    gone = salesforce.Opportunity.deleted(*window)
    assert [row["id"] for row in gone["deletedRecords"]] == [deal_id(7)]
    changed = salesforce.Opportunity.updated(EARLIER + timedelta(days=2), DAY)
    assert (changed["ids"], changed["latestDateCovered"]) == ([], "2026-03-31T00:00:00.000+0000")


def test_it_reads_bulk_results_with_commas_quotes_and_line_breaks(
    bench: SalesforceBench, salesforce: Salesforce
) -> None:
    bench.put_deal(30, DAY, Name='Sale, "large"\nand late')
    pieces = list(
        salesforce.bulk2.Opportunity.query("SELECT Id, Name FROM Opportunity", max_records=10, wait=1)
    )
    assert len(pieces) == 3
    assert "".join(pieces).count('"006') == 25
    assert '"Sale, ""large""\nand late"' in "".join(pieces)


def test_it_understands_the_errors(bench: SalesforceBench, salesforce: Salesforce) -> None:
    with pytest.raises(SalesforceMalformedRequest, match="No such column 'Nonsense__c'"):
        salesforce.query("SELECT Nonsense__c FROM Opportunity")
    with pytest.raises(SalesforceMalformedRequest, match="can not be filtered"):
        salesforce.query("SELECT Id FROM OpportunityFieldHistory WHERE NewValue = 'x'")
    salesforce.query("SELECT Id FROM Opportunity LIMIT 1")
    assert salesforce.api_usage["api-usage"].total == bench.server.limit
    bench.server.end_session()
    assert salesforce.query("SELECT Id FROM Opportunity LIMIT 1")["totalSize"] == 1
    assert bench.server.counts()["/services/oauth2/token"] == 2
