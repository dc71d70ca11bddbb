"""Fields of a deal that a property of the CRM's users feeds: pipeline.yaml names it, the ledger shows it."""

import json
import logging
from dataclasses import dataclass
from datetime import UTC, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import pytest

from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.crm.hubspot import HubSpotConnector
from dagster_project.extract.landing import Landing
from dagster_project.settings import ConfigError, load_settings
from dagster_project.transform.run_context import own_fields
from tests.extract.api_bench import DAY, StillClock
from tests.extract.hubspot_bench import HubSpotBench, hubspot_source
from tests.extract.salesforce_bench import SalesforceBench
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerBench, LedgerTables
from tests.simulators.pipedrive_bench import PipedriveBench
from tests.simulators.pipedrive_company import code

EARLY, LATER = DAY - timedelta(days=20), DAY - timedelta(days=10)
SHOWN = ("amount_native", "region", "country", "lead_source", "deal_type", "forecast_category", "lost_reason",
         "next_step")  # fmt: skip
OF_US = ("amount", "region", "country", "source", "deal_type", "forecast_category", "lost_reason",
         "next_step")  # fmt: skip
WORDS = ("West", "Chile", "Fair", "Renewal", "commit", "Too dear", "Call them")


class Bench(Protocol):
    root: Path
    clock: StillClock
    server: Any

    def run(self) -> Any: ...


@dataclass(frozen=True)
class OwnFields(Settings):
    """Settings of a run with `fields:` of a source."""

    settings_json: str = "{}"


def build(bench: Bench, ledger: LedgerBench, source: str, fields: dict[str, str]) -> LedgerTables:
    bench.server.close()
    Landing(bench.root).ensure_empty_batches(api_entities())
    seen = bench.clock.now().astimezone(UTC).replace(tzinfo=None) + timedelta(hours=1)
    settings = OwnFields(settings_json=json.dumps({"fields": {source: fields}}))
    runs = (Run(seen.date() - timedelta(days=1), seen),)
    return ledger.build_folder(Book((), runs=runs, settings=settings), bench.root)


def product_and_competitor(tables: LedgerTables) -> list[tuple[Any, ...]]:
    return tables.rows("int_deals", "product_id", "competitor")


def amounts(tables: LedgerTables) -> list[tuple[Any, ...]]:
    columns = ("amount_native", "amount_asof_quality")
    return tables.rows("fct_deal_versions", *columns, order="version_number")


@pytest.mark.slow
def test_hubspot_s_own_properties_feed_the_fields_and_the_amount_keeps_its_history(
    tmp_path: Path, vendor_ledger: LedgerBench
) -> None:
    bench = HubSpotBench(tmp_path / "landing")
    fields = {field: f"my_{field}" for field in (*OF_US, "product", "competitor")}
    told = dict(zip((f"my_{field}" for field in OF_US[1:]), WORDS, strict=True))
    bench.deal(1, EARLY, amount="7", closed_lost_reason="not this", my_amount="20", my_product="Anvil",
               my_competitor="Acme", **told)  # fmt: skip
    bench.deal(1, LATER, amount="8", my_amount="30.25")
    bench.run(fields=fields)
    tables = build(bench, vendor_ledger, "hq", fields)
    assert tables.rows("fct_deals", *SHOWN) == [(Decimal("30.25"), *WORDS)]
    assert product_and_competitor(tables) == [("Anvil", "Acme")]
    assert amounts(tables) == [(20, "history"), (Decimal("30.25"), "history")]


@pytest.mark.slow
def test_salesforce_s_own_fields_feed_the_fields_and_past_amounts_are_not_made_up(
    tmp_path: Path, vendor_ledger: LedgerBench
) -> None:
    bench = SalesforceBench(tmp_path / "landing")
    fields = {field: f"My_{field}__c" for field in (*OF_US, "product", "competitor")}
    bench.org.fields["Opportunity"] |= dict.fromkeys(fields.values(), "string")
    told = {f"My_{field}__c": word for field, word in zip(OF_US[1:], WORDS, strict=True)}
    more = {"My_amount__c": 30.25, "My_product__c": "Anvil", "My_competitor__c": "Acme"}
    bench.put_deal(1, LATER, Amount=8.0, Region__c="not this", Loss_Reason__c="nor this", **told, **more)
    bench.put_history(1, 1, EARLY, Amount=7.0)
    bench.put_history(2, 1, LATER, Amount=8.0)
    bench.run(fields=fields)
    tables = build(bench, vendor_ledger, "org", fields)
    assert tables.rows("fct_deals", *SHOWN) == [(Decimal("30.25"), *WORDS)]
    assert product_and_competitor(tables) == [("Anvil", "Acme")]
    # What the deal was worth by that field before it was first read, nobody knows.
    assert [amount for amount, _ in amounts(tables)] == [None, Decimal("30.25")]


@pytest.mark.slow
def test_pipedrive_s_fields_are_found_by_name_or_code_and_tell_their_labels(
    tmp_path: Path, vendor_ledger: LedgerBench
) -> None:
    bench = PipedriveBench(tmp_path / "landing")
    names = {field: f"My {field}" for field in (*OF_US, "product", "competitor")}
    options = [{"id": 31, "label": "Too dear"}, {"id": 32, "label": "Gone quiet"}]
    for field, name in names.items():
        kind = "enum" if field == "lost_reason" else "varchar"
        made = {"field_name": name, "field_code": code(name), "description": "", "field_type": kind,
                "options": options if kind == "enum" else None, "subfields": None, "is_custom_field": True,
                "is_optional_response_field": False}  # fmt: skip
        bench.company.extra_fields.append({"entity": "deals", "field": made})
    values: dict[str, Any] = {code(names[field]): word for field, word in zip(OF_US[1:], WORDS, strict=True)}
    values |= {code("My amount"): {"value": 30.25, "currency": "EUR"}, code("My lost_reason"): 31,
               code("My product"): "Anvil", code("My competitor"): "Acme"}  # fmt: skip
    bench.company.add_deal(1, EARLY, value=7, lost_reason="not this", custom_fields=values)
    fields = names | {"region": code("My region"), "lost_reason": "my LOST reason"}
    bench.run(fields=fields)
    tables = build(bench, vendor_ledger, "hq", fields)
    assert tables.rows("fct_deals", *SHOWN) == [(Decimal("30.25"), *WORDS)]
    assert product_and_competitor(tables) == [("Anvil", "Acme")]
    assert {amount for amount, _ in amounts(tables)} == {Decimal("30.25")}


@pytest.mark.slow
def test_a_field_of_pipedrive_s_own_can_feed_another_one(tmp_path: Path, vendor_ledger: LedgerBench) -> None:
    bench = PipedriveBench(tmp_path / "landing")
    bench.company.add_deal(1, EARLY, value=7, acv=84, origin="API")
    fields = {"amount": "acv", "source": "origin"}
    bench.run(fields=fields)
    tables = build(bench, vendor_ledger, "hq", fields)
    assert tables.rows("fct_deals", "amount_native", "lead_source") == [(84, "API")]


@pytest.mark.slow
def test_without_fields_everything_is_as_before(tmp_path: Path, vendor_ledger: LedgerBench) -> None:
    bench = HubSpotBench(tmp_path / "landing")
    bench.deal(1, EARLY, amount="7", closed_lost_reason="Price", my_amount="20")
    bench.run()
    tables = build(bench, vendor_ledger, "another source", {"lost_reason": "amount"})
    assert tables.rows("fct_deals", "amount_native", "lost_reason") == [(7, "Price")]


def test_a_property_that_hubspot_does_not_have_is_told_with_the_nearest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = HubSpotBench(tmp_path / "landing")
    bench.portal.types["deals"] = {"dealname": "string", "why_we_lost": "string"}
    bench.deals(1)
    with caplog.at_level(logging.WARNING):
        bench.run(fields={"lost_reason": "why_we_lots"})
    bench.server.close()
    assert "hq: deals show no property 'why_we_lots' (did you mean 'why_we_lost'?)" in caplog.text


def test_a_property_that_salesforce_does_not_show_is_told_with_the_nearest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = SalesforceBench(tmp_path / "landing")
    bench.fill(1)
    with caplog.at_level(logging.WARNING):
        bench.run(fields={"lost_reason": "Lost_Reason_c", "region": "Region__c"})
    bench.server.close()
    assert "deals show no property 'Lost_Reason_c' (did you mean 'Loss_Reason__c'?)" in caplog.text
    assert "'Region__c'" not in caplog.text


def test_a_field_that_pipedrive_does_not_have_is_told_with_the_nearest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = PipedriveBench(tmp_path / "landing")
    bench.fill(1)
    with caplog.at_level(logging.WARNING):
        bench.run(fields={"next_step": "Next Stepp", "competitor": "competitor"})
    bench.server.close()
    assert "deals show no property 'Next Stepp' (did you mean 'Next Step'?)" in caplog.text
    assert "'competitor'" not in caplog.text


def settings(folder: Path, source: str) -> Any:
    path = folder / "pipeline.yaml"
    path.write_text(
        "business: {name: Example, time_zone: UTC, currency: EUR}\n"
        f"sources:\n  - {{name: hq, {source}}}\n  - {{name: two, type: hubspot, token: '${{T}}'}}\n"
    )
    return load_settings(path, folder / "data", {"T": "secret"})


def test_the_fields_of_all_sources_are_noted_with_the_run(tmp_path: Path) -> None:
    told = settings(tmp_path, "type: hubspot, token: '${T}', fields: {region: sales_region}")
    assert own_fields(told) == {"hq": {"region": "sales_region"}}
    source = told.api_sources()[0]
    assert source.asked == {"deals": ("sales_region",)}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "type: pipedrive, token: '${T}', fields: {lost_reson: x}",
            "'lost_reson' is no field of a deal; did you mean 'lost_reason'?",
        ),
        (
            "type: tryton, base_url: 'https://x', database: d, user: u, password: '${T}', fields: {a: x}",
            "unknown key 'fields'",
        ),
        ("type: hubspot, token: '${T}', fields: [region]", "fields"),
    ],
)
def test_a_field_that_is_none_is_refused_with_the_nearest(tmp_path: Path, source: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, source)
    assert told in str(caught.value)


def test_a_field_that_is_named_later_comes_to_all_deals_when_their_days_are_read_again(
    tmp_path: Path,
) -> None:
    bench = HubSpotBench(tmp_path / "landing")
    bench.deals(3)
    for deal in (1, 2, 3):
        bench.deal(deal, EARLY, my_region="West")
    bench.run()
    source = hubspot_source(bench.server.address, fields={"region": "my_region"})
    connector = HubSpotConnector(source, bench.clock)
    span = Span(DAY - timedelta(days=90), DAY + timedelta(days=1))
    extract_api(bench.root, source, span, ["deals"], connector=connector, reread=True)
    bench.server.close()
    told = {row["record_id"]: row["payload"]["properties"].get("my_region") for row in bench.rows("deals")}
    assert told == {"1": "West", "2": "West", "3": "West"}
