"""Logging in to Salesforce, losing the session, and keeping every secret."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_project.api_settings import SalesforceSource
from dagster_project.extract.api.api_errors import CredentialRefused
from dagster_project.extract.api.api_report import Status
from dagster_project.extract.api.connectors import open_connector
from dagster_project.extract.crm.salesforce import SalesforceConnector
from dagster_project.extract.crm.salesforce_auth import signed_jwt
from tests.extract.api_bench import DAY
from tests.extract.salesforce_bench import SalesforceBench, salesforce_source
from tests.simulators.salesforce_server import CLIENT_SECRET, USER


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[SalesforceBench]:
    bench = SalesforceBench(tmp_path / "landing")
    bench.fill(3)
    yield bench
    bench.server.close()


@pytest.fixture(scope="module")
def private_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_key(private_key: str) -> object:
    from cryptography.hazmat.primitives import serialization

    return serialization.load_pem_private_key(private_key.encode(), None).public_key()


def test_client_credentials_give_a_token_that_travels_in_one_header(bench: SalesforceBench) -> None:
    assert bench.run(DAY, "deals")["deals"].status is Status.LANDED
    login, *others = bench.server.asked
    assert (login.method, login.path) == ("POST", "/services/oauth2/token")
    assert "Authorization" not in login.headers
    assert {asked.headers["Authorization"] for asked in others} == {f"Bearer {bench.server.session}"}
    assert not bench.server.paths("canary")


@pytest.mark.parametrize("line_break", ["\n", "\\n"])
def test_a_signed_token_logs_in_also_when_this_machines_clock_is_wrong(
    bench: SalesforceBench, private_key: str, line_break: str
) -> None:
    bench.server.public_key = public_key(private_key)
    bench.server.clock = lambda: DAY.replace(day=30)
    key = private_key.replace("\n", line_break)
    report = bench.run(DAY, "stages", private_key=key, username=USER)["stages"]
    assert report.status is Status.LANDED


def test_an_expired_session_is_renewed_once(bench: SalesforceBench) -> None:
    connector = bench.connector()
    connector.probe()
    bench.server.end_session()
    connector.probe()
    assert bench.server.counts()["/services/oauth2/token"] == 2


def test_a_wrong_secret_is_a_matter_of_configuration(bench: SalesforceBench) -> None:
    report = bench.run(DAY, "deals", client_secret="something else")["deals"]
    assert report.status is Status.FAILED
    assert "org: login, page 1: Salesforce answered: credential refused (invalid_grant: " in report.reason
    assert "check client id and secret (or private key and username)" in report.reason
    assert "something else" not in report.reason
    assert len(bench.server.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"token_type": "Bearer"},
        {"access_token": "t0ken-canary", "instance_url": "http://elsewhere.example"},
        [],
    ],
)
def test_a_login_answer_that_cannot_be_used_is_refused(bench: SalesforceBench, answer: object) -> None:
    bench.server.faults[1] = (200, {}, answer)
    report = bench.run(DAY, "deals")["deals"]
    assert report.status is Status.FAILED
    assert "the answer to the login cannot be used" in report.reason
    assert "t0ken-canary" not in report.reason
    assert len(bench.server.asked) == 1


@pytest.mark.parametrize("key", ["", "-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----"])
def test_a_key_that_is_none_is_named_without_showing_it(key: str) -> None:
    with pytest.raises(CredentialRefused, match="no RSA key in PEM") as error:
        signed_jwt({}, key, "org")
    assert "abc" not in str(error.value)


def test_no_secret_reaches_log_landing_or_report(
    bench: SalesforceBench, caplog: pytest.LogCaptureFixture
) -> None:
    source = salesforce_source(bench.server.address)
    opened = open_connector(source)
    assert isinstance(opened, SalesforceConnector)
    with caplog.at_level(logging.DEBUG):
        bench.server.faults = {
            3: "reset",
            5: "truncated",
            7: (500, {}, [{"errorCode": "UNKNOWN", "message": f"for {CLIENT_SECRET}"}]),
            9: (401, {}, [{"errorCode": "INVALID_SESSION_ID", "message": "x"}]),
        }
        reports = bench.run()
        opened.client.server_now()
        logging.getLogger("anyone").warning("token %s", bench.server.session)
    landed = b"".join(path.read_bytes() for path in bench.root.rglob("*") if path.is_file())
    told = "".join(report.reason + "".join(report.notes) for report in reports.values())
    everything = caplog.text + landed.decode("latin-1") + told + repr(source)
    assert bench.server.session and reports["deals"].status is Status.LANDED
    for secret in (CLIENT_SECRET, bench.server.session):
        assert secret not in everything
        assert json.dumps(secret)[1:-1] not in everything


def test_the_settings_want_one_way_in() -> None:
    with pytest.raises(ValueError, match="either client_secret, or private_key"):
        SalesforceSource.model_validate(
            {"name": "org", "type": "salesforce", "base_url": "https://x.my.salesforce.com", "client_id": "c"}
        )


def test_a_version_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"write it like 66\.0"):
        SalesforceConnector(salesforce_source("http://127.0.0.1:1", api_version="spring"))
