"""The second job lands and publishes today so far, and the night after it ends as if it had not been."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import duckdb
import pytest

from dagster_project import automation, definitions
from dagster_project.cli import run as cli_run
from dagster_project.cli.instance import open_instance
from dagster_project.cli.run import RunFailed, execute, run_nightly
from dagster_project.publish.versions import current_file
from dagster_project.settings import Settings, load_settings
from dagster_project.warehouse import Warehouse
from tests.ledger.salesforce_ledger import small_world
from tests.long_tests import LONG
from tests.pipeline.nightly_bench import differing_rows
from tests.simulators.salesforce_crm import SalesforceCrm
from tests.simulators.salesforce_org import make_id, stamp
from tests.simulators.salesforce_server import CLIENT_ID, CLIENT_SECRET, SalesforceServer

# Four whole nightly runs: too long for every change.
pytestmark = [pytest.mark.slow, LONG]

YESTERDAY, TODAY = date(2026, 5, 14), date(2026, 5, 15)
MORNING = datetime(2026, 5, 15, 8, 30, tzinfo=UTC)
NOON = datetime(2026, 5, 15, 11, 30, tzinfo=UTC)
EVENING = datetime(2026, 5, 15, 16, tzinfo=UTC)
NIGHT = datetime(2026, 5, 16, 2, tzinfo=UTC)
FORECASTS = ("forecast_bookings", "forecast_gate", "forecast_backtest", "forecast_accuracy")


@contextmanager
def at(now: datetime, server: SalesforceServer) -> Iterator[None]:
    """This instant on the clocks of the business and of its CRM."""

    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return now.astimezone(tz)

    server.clock = lambda: now
    with (
        mock.patch.object(automation, "datetime", Then),
        mock.patch.object(definitions, "datetime", Then),
        mock.patch.object(cli_run, "datetime", Then),
    ):
        yield


@dataclass
class Office:
    """An org after its last night, and what happens in it today."""

    folder: Path
    server: SalesforceServer
    events: int = 9_000_000

    def settings(self) -> Settings:
        secrets = {"client_id": "${A}", "client_secret": "${B}"}
        source = {"name": "org", "type": "salesforce", "base_url": self.server.address, **secrets}
        business = {
            "name": "B",
            "time_zone": "Europe/Amsterdam",
            "currency": "EUR",
            "history_start": "2026-05-01",
        }
        config = self.folder / "pipeline.yaml"
        config.write_text(json.dumps({"business": business, "sources": [source]}), encoding="utf-8")
        return load_settings(config, self.folder / "data", {"A": CLIENT_ID, "B": CLIENT_SECRET})

    def open_deals(self) -> list[dict[str, Any]]:
        rows = self.server.org.tables["Opportunity"].values()
        return sorted((r for r in rows if not r["IsClosed"] and not r["IsDeleted"]), key=lambda r: r["Id"])

    def win(self, deal: str, when: datetime) -> None:
        org = self.server.org
        row = org.tables["Opportunity"][deal]
        stages = {s["ApiName"]: s for s in org.tables["OpportunityStage"].values()}
        (won,) = (name for name in org.picklists[row["RecordTypeId"]] if stages[name]["IsWon"])
        closed = {"IsClosed": True, "IsWon": True, "LastStageChangeDate": stamp(when)}
        self.tell(row | closed | {"StageName": won, "CloseDate": f"{when:%Y-%m-%d}"}, when)

    def create(self, number: int, like: dict[str, Any], when: datetime) -> str:
        deal = make_id("006", number)
        self.tell({**like, "Id": deal, "Name": f"Born {when:%H:%M}", "CreatedDate": stamp(when)}, when)
        return deal

    def tell(self, row: dict[str, Any], when: datetime) -> None:
        """A change of a deal with its row of history."""
        self.events += 1
        org, now = self.server.org, stamp(when)
        org.put("Opportunity", row | {"SystemModstamp": now})
        told = ("StageName", "Amount", "CurrencyIsoCode", "CloseDate", "Probability", "ForecastCategory")
        history = {"Id": make_id("008", self.events), "OpportunityId": row["Id"], "CreatedDate": now,
                   "SystemModstamp": now, "CreatedById": row["OwnerId"]}  # fmt: skip
        org.put("OpportunityHistory", history | {name: row[name] for name in told})


@dataclass(frozen=True)
class Day:
    """The data folder, and published files; `without_noon`: of a night without a run at noon before it."""

    data: Path
    night_before: Path
    noon: Path
    night_after: Path
    without_noon: Path
    won: str
    born: str
    won_later: str
    refusal: str


def published(settings: Settings) -> Path:
    path = current_file(settings.paths.published_dir)
    assert path is not None
    return path


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def tick(made: dg.Definitions, settings: Settings) -> None:
    """Run what a tick of the schedule starts."""
    with open_instance(settings) as instance:
        schedule = made.resolve_schedule_def("intraday_schedule")
        with dg.build_schedule_context(instance=instance) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or ()
        execute(made, instance, schedule.job_name, request.tags)


def refused_forecast(made: dg.Definitions, settings: Settings) -> str:
    """What a forecast of today is told."""
    with open_instance(settings) as instance, pytest.raises(RunFailed) as caught:
        asked = {"first_day": f"{TODAY}", "last_day": f"{TODAY}", "plan_only": False}
        options = {"ops": {"forecast_days_again": {"config": asked}}}
        execute(made, instance, "forecast_backfill", {}, options)
    return str(caught.value)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Day:
    folder = tmp_path_factory.mktemp("intraday")
    server = SalesforceServer()
    SalesforceCrm(small_world(120, date(2026, 1, 12), YESTERDAY), server.org).load(YESTERDAY)
    office = Office(folder, server)
    settings = office.settings()
    root, kept = settings.paths.root, folder / "kept"
    with at(NIGHT - timedelta(days=1), server):
        run_nightly(settings)
    shutil.copytree(root, kept, symlinks=True)
    before = kept / published(settings).relative_to(root)

    first, second, third = office.open_deals()[:3]
    office.win(first["Id"], MORNING)
    born = office.create(900_001, second, MORNING + timedelta(minutes=20))
    with at(NOON, server):
        made = definitions.build_definitions(settings)
        tick(made, settings)
        noon = published(settings).relative_to(root)
        refusal = refused_forecast(made, settings)
    office.win(third["Id"], EVENING)
    office.tell({**server.org.tables["Opportunity"][born], "Amount": 4321.0}, EVENING)
    with at(NIGHT, server):
        run_nightly(settings)
        after = published(settings).relative_to(root)
        # The other office has the same address, so that dbt need not parse everything anew.
        root.rename(folder / "with_noon")
        shutil.copytree(kept, root, symlinks=True)
        run_nightly(settings)
    server.close()
    with_noon = folder / "with_noon"
    return Day(
        with_noon, before, with_noon / noon, with_noon / after, published(settings),
        first["Id"], born, third["Id"], refusal,
    )  # fmt: skip


def test_what_happened_this_morning_is_in_the_published_file(day: Day) -> None:
    assert rows(day.noon, "select distinct as_of from _publish") == [(TODAY,)]
    deals = {
        deal: (status, name, closed)
        for deal, status, name, closed in rows(
            day.noon, "select deal_id, status, deal_name, closed_on from fct_deals"
        )
    }
    assert deals[day.won][0] == "won" and deals[day.won][2] == TODAY
    assert deals[day.born][:2] == ("open", "Born 08:50")
    assert deals[day.won_later][0] == "open"
    moves = rows(
        day.noon, f"select deal_id, to_status from fct_stage_transitions where business_date = '{TODAY}'"
    )
    assert sorted(moves) == sorted([(day.won, "won"), (day.born, "open")])
    assert day.born not in {deal for (deal,) in rows(day.night_before, "select deal_id from fct_deals")}


def test_the_day_of_the_run_is_today_and_it_is_marked(day: Day) -> None:
    warehouse = Warehouse(day.data / "warehouse.duckdb")
    found = warehouse.query("select run_kind, as_of from ops.run_context order by run_order")
    told = [(row.run_kind, row.as_of.date()) for row in found.itertuples()]
    assert told == [("nightly", YESTERDAY), ("intraday", TODAY), ("nightly", TODAY)]


@pytest.mark.parametrize("table", FORECASTS)
def test_the_forecasts_at_noon_are_those_of_last_night(day: Day, table: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"attach '{day.night_before}' as a (read_only); attach '{day.noon}' as b (read_only)"
        )
        query = f"from a.{table} except all from b.{table}"
        back = f"from b.{table} except all from a.{table}"
        assert connection.execute(query).fetchall() == connection.execute(back).fetchall() == []
        (count,) = connection.execute(f"select count(*) from a.{table}").fetchone() or (0,)
    assert count > 0


def test_a_forecast_of_a_day_that_is_not_over_is_refused(day: Day) -> None:
    assert f"{TODAY} is not over, or the data end before it: choose days up to {YESTERDAY}" in day.refusal


def test_the_night_after_ends_like_one_without_a_run_at_noon(day: Day) -> None:
    assert rows(day.night_after, "select distinct as_of from _publish") == [(TODAY,)]
    live = rows(
        day.night_after, "select distinct as_of from forecast_bookings where kind = 'live' order by 1"
    )
    assert live == [(YESTERDAY,), (TODAY,)]
    amounts = rows(day.night_after, f"select amount_native from fct_deals where deal_id = '{day.born}'")
    assert amounts == [(4321,)]
    assert differing_rows(day.night_after, day.without_noon) == {}
