"""The day's budget begins anew when the vendor's day does, in every process and after every crash."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from dagster_project.api_settings import SalesforceSource
from dagster_project.extract.api.api_extract import Extraction
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.api.daily_budget import Allowance, BudgetSpent, DailyBudget
from dagster_project.extract.api.dialect import Dialect, Quota
from dagster_project.extract.crm.hubspot import HubSpotConnector
from dagster_project.extract.crm.hubspot_dialect import HubSpotDialect
from dagster_project.extract.crm.pipedrive import PipedriveConnector
from dagster_project.extract.crm.salesforce_auth import SalesforceDialect
from dagster_project.extract.landing import Landing
from tests.extract.hubspot_bench import hubspot_source
from tests.simulators.pipedrive_bench import pipedrive_source

ADDRESS = "https://crm.example.com"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def spend(dialect: Dialect, path: Path, text: str, units: int) -> None:
    """In a process of its own."""
    budget = DailyBudget(Allowance(daily=10), path)
    budget.take(units, at(text), dialect.day_began(at(text)))
    budget.save()


def test_a_day_ends_at_midnight_of_the_vendor_s_zone(tmp_path: Path) -> None:
    dialect, path = Dialect(), tmp_path / "spent.json"
    dialect.day_zone = ZoneInfo("America/New_York")  # midnight is 04:00 UTC in summer
    spend(dialect, path, "2026-06-01T23:50", 6)
    spend(dialect, path, "2026-06-02T00:10", 4)
    with pytest.raises(BudgetSpent, match="10 of the 10 units that a day may cost are spent"):
        spend(dialect, path, "2026-06-02T03:59:59", 1)
    spend(dialect, path, "2026-06-02T04:00", 10)


def test_a_zone_with_half_hours_turns_at_its_own_midnight(tmp_path: Path) -> None:
    dialect, path = Dialect(), tmp_path / "spent.json"
    dialect.day_zone = ZoneInfo("Asia/Kolkata")  # midnight is 18:30 UTC
    spend(dialect, path, "2026-06-01T18:29", 10)
    spend(dialect, path, "2026-06-01T18:30", 10)
    with pytest.raises(BudgetSpent):
        spend(dialect, path, "2026-06-02T18:29", 1)


def test_salesforce_counts_the_last_24_hours(tmp_path: Path) -> None:
    source = SalesforceSource.model_validate(
        {"name": "org", "type": "salesforce", "base_url": ADDRESS, "client_id": "a", "client_secret": "b"}
    )
    dialect, path = SalesforceDialect(source), tmp_path / "spent.json"
    spend(dialect, path, "2026-06-01T22:00", 6)
    spend(dialect, path, "2026-06-02T03:00", 4)
    with pytest.raises(BudgetSpent):
        spend(dialect, path, "2026-06-02T21:59", 1)  # midnight has passed, 24 hours have not
    spend(dialect, path, "2026-06-02T22:20", 6)
    with pytest.raises(BudgetSpent):
        spend(dialect, path, "2026-06-02T22:20", 1)


def test_the_vendor_s_own_count_is_forgotten_with_its_day() -> None:
    dialect = Dialect()
    budget = DailyBudget(Allowance(reserve=0.2))
    evening, midnight = at("2026-06-01T23:00"), at("2026-06-02T00:00")
    budget.heard(Quota(used=80, limit=100), evening, dialect.day_began(evening))
    with pytest.raises(BudgetSpent, match="used 80 of its 100"):
        budget.take(1, evening, dialect.day_began(evening))
    budget.take(1, midnight, dialect.day_began(midnight))
    budget.heard(Quota(used=1, limit=100), midnight, dialect.day_began(midnight))
    budget.take(79, midnight, dialect.day_began(midnight))
    with pytest.raises(BudgetSpent, match="used 80 of its 100"):
        budget.take(1, midnight, dialect.day_began(midnight))


def test_requests_under_way_count_even_where_an_answer_does_not_know_them_yet() -> None:
    budget, noon = DailyBudget(Allowance(reserve=0.3)), at("2026-06-01T12:00")
    since = Dialect().day_began(noon)
    budget.heard(Quota(used=600, limit=1_000), noon, since)
    for _ in range(3):
        budget.take(20, noon, since)
    # The answers come in another order than the requests went out; the first one knows of one request alone.
    for used in (620, 660, 640):
        budget.heard(Quota(used=used, limit=1_000), noon, since)
    budget.take(20, noon, since)
    budget.heard(Quota(used=660, limit=1_000), noon, since)
    budget.take(20, noon, since)
    with pytest.raises(BudgetSpent, match="used 700 of its 1,000"):
        budget.take(20, noon, since)


def test_what_others_spend_while_we_read_counts() -> None:
    budget, noon = DailyBudget(Allowance(reserve=0.3)), at("2026-06-01T12:00")
    since = Dialect().day_began(noon)
    budget.heard(Quota(used=600, limit=1_000), noon, since)
    budget.take(20, noon, since)
    budget.heard(Quota(used=690, limit=1_000), noon, since)
    with pytest.raises(BudgetSpent, match="used 690 of its 1,000"):
        budget.take(20, noon, since)


def test_the_zone_is_the_source_s_else_the_portal_is_thought_to_be_where_the_business_is(
    tmp_path: Path,
) -> None:
    now = at("2026-06-01T12:00")
    span = Span(now, now + timedelta(days=1), ZoneInfo("Europe/Amsterdam"))

    def zone(source: object, connector: object) -> str:
        Extraction(Landing(tmp_path), source, connector, span)  # type: ignore[arg-type]
        return str(connector.client.dialect.day_zone)  # type: ignore[attr-defined]

    hubspot, pipedrive = hubspot_source(ADDRESS), pipedrive_source(ADDRESS)
    assert zone(hubspot, HubSpotConnector(hubspot)) == "Europe/Amsterdam"
    assert zone(pipedrive, PipedriveConnector(pipedrive)) == "UTC"
    told = hubspot_source(ADDRESS, quota_time_zone="America/New_York")
    assert zone(told, HubSpotConnector(told)) == "America/New_York"
    assert HubSpotDialect.day_is_local


def test_a_broken_file_of_what_was_spent_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "spent.json"
    path.write_text('{"day": "2026-06-01", "spent": 9}', encoding="utf-8")
    spend(Dialect(), path, "2026-06-01T12:00", 10)
    with pytest.raises(BudgetSpent):
        spend(Dialect(), path, "2026-06-01T12:01", 1)
