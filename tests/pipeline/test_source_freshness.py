"""Which source lags behind: what the check of the forecast says, and when it is red."""

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest

from dagster_project import freshness
from dagster_project.extract.files.connector import extract_files
from dagster_project.forecast.daily_book import build_daily_book
from dagster_project.forecast.evidence import read_evidence
from dagster_project.forecast.tables import BOOKINGS
from dagster_project.freshness import Reach, judge_sources, source_reaches
from dagster_project.settings import ConfigError, Settings, load_settings
from tests.synthetic_ledger import Deal, Move, ledger_tables, write_ledger

TUESDAY = date(2026, 3, 31)
NOW = datetime(2026, 4, 1, 6, tzinfo=UTC)
CONFIG = """
business: {name: B, time_zone: Europe/Amsterdam, currency: EUR}
sources:
  - {name: north, type: files, deals: {path: north*.csv, columns: {deal_id: ID, stage: Stage}}}
  - {name: south, type: files, deals: {path: south*.csv, columns: {deal_id: ID, stage: Stage}}}
"""


@pytest.fixture(autouse=True)
def the_first_of_april(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wednesday, 08:00 in Amsterdam: Tuesday is the last business day that is over."""
    monkeypatch.setattr(freshness, "datetime", SimpleNamespace(now=lambda zone: NOW))


def landed(folder: Path, north: str, south: str, more: str = "") -> Settings:
    """Two exports with these days in their names, read."""
    (folder / "pipeline.yaml").write_text(CONFIG + more, encoding="utf-8")
    for name, day in (("north", north), ("south", south)):
        (folder / f"{name}_{day}.csv").write_text("ID,Stage\nD1,Offer\n", encoding="utf-8")
    settings = load_settings(folder / "pipeline.yaml", folder / "data", {})
    for source in settings.file_sources():
        extract_files(settings, source, NOW)
    return settings


def checked(settings: Settings) -> dg.AssetCheckEvaluation:
    """The check as Dagster runs it beside the asset."""

    @dg.asset(key=BOOKINGS.name)
    def bookings() -> None:
        """Stands in for the forecast."""

    definitions = dg.Definitions(
        assets=[bookings],
        asset_checks=[freshness.build_source_check(settings)],
        jobs=[dg.define_asset_job("nightly", selection=dg.AssetSelection.all())],
    )
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_job_def("nightly").execute_in_process(instance=instance)
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    return check


def test_the_source_that_lags_is_named_with_its_day_and_lag(tmp_path: Path) -> None:
    # From Tuesday 24 March to Tuesday 31 March: Wednesday to Friday, Monday and Tuesday.
    check = checked(landed(tmp_path, "2026-03-30", "2026-03-24"))
    assert not check.passed
    assert check.asset_key == dg.AssetKey(BOOKINGS.name)
    assert check.description is not None
    assert check.description.startswith("south reaches 2026-03-24 and is 5 business days behind 2026-03-31. ")
    assert "Deliver a newer export" in check.description
    assert check.metadata["reach of north"].value == "2026-03-30, 1 business days behind"


def test_two_business_days_are_let_pass_and_a_weekend_is_none(tmp_path: Path) -> None:
    check = checked(landed(tmp_path, "2026-03-27", "2026-03-31"))
    assert check.passed
    assert check.metadata["reach of north"].value == "2026-03-27, 2 business days behind"


def test_how_much_lag_is_let_pass_can_be_set(tmp_path: Path) -> None:
    settings = landed(tmp_path, "2026-03-30", "2026-03-31", "alerts: {source_lag_business_days: 0}\n")
    check = checked(settings)
    assert not check.passed and "north reaches 2026-03-30" in str(check.description)


def test_a_lag_that_is_no_number_of_days_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="source_lag_business_days"):
        landed(tmp_path, "2026-03-30", "2026-03-31", "alerts: {source_lag_business_days: -1}\n")


def test_a_source_that_has_delivered_nothing_is_late_too(tmp_path: Path) -> None:
    settings = landed(tmp_path, "2026-03-31", "2026-03-31")
    for path in (settings.paths.landing / "files" / "south").rglob("*"):
        if path.is_file():
            path.unlink()
    check = checked(settings)
    assert not check.passed and "south has delivered nothing dated yet" in str(check.description)


def test_reaches_are_those_that_the_as_of_day_is_made_from(tmp_path: Path) -> None:
    settings = landed(tmp_path, "2026-03-30", "2026-03-24")
    assert source_reaches(settings) == [
        Reach("north", date(2026, 3, 30), is_fixed=False, is_read_by_us=False),
        Reach("south", date(2026, 3, 24), is_fixed=False, is_read_by_us=False),
    ]


def crm(day: date | None) -> Reach:
    return Reach("hq", day, is_fixed=False, is_read_by_us=True)


def test_a_late_crm_is_an_error_and_late_files_are_a_warning() -> None:
    late = date(2026, 3, 2)
    files = Reach("export", late, is_fixed=False, is_read_by_us=False)
    assert judge_sources([crm(late), files], TUESDAY, 2).severity == dg.AssetCheckSeverity.ERROR
    warned = judge_sources([crm(TUESDAY), files], TUESDAY, 2)
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "Look at the last runs that land it" in str(judge_sources([crm(late)], TUESDAY, 2).description)


def test_an_export_that_does_not_grow_is_never_late() -> None:
    fixed = Reach("export", date(2017, 12, 31), is_fixed=True, is_read_by_us=False)
    assert judge_sources([fixed, crm(TUESDAY)], TUESDAY, 2).passed


def test_a_look_back_needs_no_newer_data_than_its_day() -> None:
    then = date(2026, 1, 30)
    assert judge_sources([crm(then)], TUESDAY, 2, looks_back_to=then).passed
    assert not judge_sources([crm(then)], TUESDAY, 2).passed


# --- what a forecast says of its data ---


def fresh_on(folder: Path, day: date, *deals: Deal) -> date | None:
    warehouse = write_ledger(folder / "warehouse.duckdb", ledger_tables(list(deals), TUESDAY))
    book = build_daily_book(read_evidence(warehouse), TUESDAY)
    return book.fresh_on(book.number_of(day))


def deal_of(source: str, key: str, *days: date) -> Deal:
    moves = tuple(Move(day, "proposal", amount=float(place)) for place, day in enumerate(days, 1))
    return Deal(key, moves, source=source)


def test_a_forecast_knows_events_up_to_the_day_of_the_slowest_source(tmp_path: Path) -> None:
    north = deal_of("north", "a1", date(2026, 3, 2), TUESDAY)
    south = deal_of("south", "a2", date(2026, 3, 2), date(2026, 3, 24))
    assert fresh_on(tmp_path, TUESDAY, north, south) == date(2026, 3, 24)
    assert fresh_on(tmp_path, date(2026, 3, 20), north, south) == date(2026, 3, 2)


def test_a_source_that_was_given_up_a_year_ago_holds_nothing_back(tmp_path: Path) -> None:
    north = deal_of("north", "a1", TUESDAY)
    assert fresh_on(tmp_path, TUESDAY, north, deal_of("old", "a2", date(2025, 3, 31))) == TUESDAY
    assert fresh_on(tmp_path, TUESDAY, north, deal_of("old", "a2", date(2025, 4, 1))) == date(2025, 4, 1)
    assert fresh_on(tmp_path, TUESDAY, deal_of("old", "a2", date(2024, 3, 31))) == date(2024, 3, 31)


def test_before_the_first_event_a_forecast_knows_nothing(tmp_path: Path) -> None:
    assert fresh_on(tmp_path, date(2026, 3, 1), deal_of("north", "a1", TUESDAY)) is None
