"""What the export and the landing of the simulated CRM contain, and what they must not know yet."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from dagster_project.contract import ENTITIES
from dagster_project.extract.files.connector import extract_files
from dagster_project.extract.landing import Landing
from dagster_project.settings import load_settings
from dagster_project.simulate import (
    SimulationConfig,
    SimulationError,
    World,
    simulate,
    simulate_in_parts,
    write_crm_export,
    write_landing,
)
from dagster_project.simulate.__main__ import main
from dagster_project.simulate.crm_export import BUSINESS_TABLES, EXPORTS
from dagster_project.simulate.known import known_at
from dagster_project.simulate.planning import PLANNING_TABLES, example_scenarios, example_submissions

EARLY, LATE = date(2024, 12, 20), date(2025, 2, 14)
CONFIG = SimulationConfig(n_deals=2_500, seed=5, tail_days=60, late_share=0.05)


@pytest.fixture(scope="module")
def world() -> World:
    return simulate(CONFIG)


@pytest.fixture(scope="module")
def early(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("early")
    write_crm_export(world, folder, EARLY)
    return folder


@pytest.fixture(scope="module")
def late(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("late")
    write_crm_export(world, folder, LATE)
    return folder


def read(folder: Path, entity: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{entity}.csv", dtype=str, keep_default_na=False)


def test_the_same_world_and_day_give_the_same_bytes(early: Path, tmp_path: Path) -> None:
    write_crm_export(simulate(CONFIG), tmp_path, EARLY)
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in early.iterdir()}


def test_no_unfinished_file_is_left_and_a_second_export_replaces_the_first(
    world: World, tmp_path: Path, late: Path
) -> None:
    write_crm_export(world, tmp_path, EARLY)
    rows = write_crm_export(world, tmp_path, LATE)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == set(rows) == {f"{entity}.csv" for entity in (*EXPORTS, *BUSINESS_TABLES)}
    assert (tmp_path / "deals.csv").read_bytes() == (late / "deals.csv").read_bytes()


def test_an_export_knows_nothing_of_later_days(world: World, early: Path) -> None:
    end = "2024-12-20 23:00:00"  # 00:00 of the 21st in Amsterdam, in UTC
    history, deals = read(early, "stage_history"), read(early, "deals")
    assert history["Changed At"].max() < end
    for column in ("Create Date", "Closed At", "Last Modified", "Last Activity", "Deleted At", "Merged At"):
        assert deals[column].max() < end, column
    assert read(early, "quotas")["recorded_on"].max() <= "2024-12-20"
    assert read(early, "fx_rates")["rate_date"].max() <= "2024-12-20"
    assert read(early, "owners")["Start Date"].max() <= "2024-12-20"
    assert read(early, "stages")["Valid From"].max() <= "2024-12-20"
    ids = set(deals["Deal ID"])
    assert set(history["Deal ID"]) <= ids
    assert set(read(early, "line_items")["Deal ID"]) <= ids
    assert set(deals["Company ID"]) - {""} <= set(read(early, "accounts")["Company ID"])


def test_a_late_row_is_missing_until_it_was_recorded(world: World, early: Path, late: Path) -> None:
    end = pd.Timestamp("2024-12-20 23:00:00")
    events = world.events
    hidden = events[(events["changed_at"] < end) & (events["recorded_at"] >= end) & events["in_history"]]
    ids = set(hidden["event_id"].astype(str))
    assert len(ids) >= 1
    assert not ids & set(read(early, "stage_history")["Change ID"])
    assert ids <= set(read(late, "stage_history")["Change ID"])


def test_a_later_export_has_every_history_row_of_an_earlier_one_unchanged(early: Path, late: Path) -> None:
    before = (early / "stage_history.csv").read_text(encoding="utf-8").splitlines()
    after = set((late / "stage_history.csv").read_text(encoding="utf-8").splitlines())
    assert len(before) > 4_000
    assert set(before) <= after
    assert len(after) > len(before)


def test_what_never_changes_is_the_same_in_both_exports(early: Path, late: Path) -> None:
    fixed = ["Deal ID", "Deal Name", "Create Date", "Company ID", "Main Product", "Region", "Lead Source"]
    before = read(early, "deals")[fixed]
    after = read(late, "deals").set_index("Deal ID").loc[before["Deal ID"]].reset_index()[fixed]
    pd.testing.assert_frame_equal(before, after)


def test_a_deal_without_a_change_between_the_days_reads_the_same(early: Path, late: Path) -> None:
    before, after = read(early, "deals"), read(late, "deals")
    touched = set(after.loc[after["Last Modified"] >= "2024-12-20 23:00:00", "Deal ID"])
    quiet = before[~before["Deal ID"].isin(touched)].drop(columns="Last Activity").set_index("Deal ID")
    assert len(quiet) > 1_000
    pd.testing.assert_frame_equal(quiet, after.set_index("Deal ID").loc[quiet.index, quiet.columns])


def test_the_current_state_of_a_deal_is_its_last_history_row(early: Path) -> None:
    history = read(early, "stage_history")
    history["Sequence"] = history["Sequence"].astype(int)
    last = history.sort_values(["Deal ID", "Sequence"]).drop_duplicates("Deal ID", keep="last")
    both = read(early, "deals").merge(last, on="Deal ID", suffixes=("", " then"))
    assert (both["Deal Stage"] == both["To Stage"]).all()
    for column in ("Pipeline", "Amount", "Currency", "Close Date", "Owner ID"):
        assert (both[column] == both[f"{column} then"]).all(), column


def test_closed_deals_have_the_instant_and_status_of_their_last_closing_move(early: Path) -> None:
    deals, history = read(early, "deals"), read(early, "stage_history")
    assert ((deals["Closed At"] != "") == (deals["Status"] != "open")).all()
    moved = history[history["From Stage"] != history["To Stage"]]
    closing = moved[moved["To Stage"].str.endswith(("_won", "_lost"))].drop_duplicates("Deal ID", keep="last")
    both = deals[deals["Closed At"] != ""].merge(closing, on="Deal ID")
    assert len(both) > 1_000
    assert (both["Closed At"] == both["Changed At"]).all()
    assert (deals["Status"] == deals["Deal Stage"].str.extract("_(won|lost)$")[0].fillna("open")).all()


def test_the_partner_pipeline_has_its_old_name_until_it_was_renamed(early: Path, late: Path) -> None:
    tables = [read(folder, "pipelines").set_index("Pipeline ID") for folder in (early, late)]
    names = [table.loc["partner", "Pipeline Name"] for table in tables]
    assert names == ["Resellers", "Partner Channel"]
    assert len(read(late, "stages")) == len(read(early, "stages")) + 2


def test_line_items_with_their_rest_make_the_deal_amount(late: Path) -> None:
    items = read(late, "line_items").astype({"Quantity": float, "Unit Price": float, "Net Amount": float})
    assert (items["Quantity"] * items["Unit Price"] - items["Net Amount"]).abs().max() < 0.01
    amount = pd.to_numeric(read(late, "deals").set_index("Deal ID")["Amount"])
    ratio = items.groupby("Deal ID")["Net Amount"].sum() / amount
    ratio = ratio.dropna()
    assert ratio.between(0.9499, 1.0001).all()
    assert (ratio > 0.9999).mean() > 0.85


def test_a_day_outside_the_simulated_span_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="as_of 2027-01-01 is outside the simulated days"):
        write_crm_export(world, tmp_path / "never", date(2027, 1, 1))


def test_the_bundled_configuration_maps_every_column_of_the_export() -> None:
    settings = load_settings(environ={})
    source = settings.sources[0]
    for entity, headers in EXPORTS.items():
        mapped = {field: column.header for field, column in source.files()[entity].columns.items()}
        assert mapped == headers, entity
    assert set(settings.tables) == {*BUSINESS_TABLES, *PLANNING_TABLES}
    assert source.data_as_of == date(2026, 5, 15)
    for table in (*source.files().values(), *settings.tables.values()):
        assert Path(table.path).parent == settings.config_path.parent / "data" / "example"


def test_business_tables_bear_the_names_of_our_fields(early: Path) -> None:
    for entity in BUSINESS_TABLES:
        assert set(read(early, entity).columns) <= set(ENTITIES[entity].fields), entity


def payloads(landing_dir: Path, entity: str) -> pd.DataFrame:
    """The landed payloads of an entity, as text, the newest of each record."""
    rows = duckdb.connect().execute(
        f"""select record_id, extracted_at, payload
        from read_parquet('{landing_dir}/files/*/{entity}/*/*.parquet') order by extracted_at"""
    )
    frame = pd.DataFrame(
        [{"record_id": record, **json.loads(text)} for record, _, text in rows.fetchall()]
    ).drop_duplicates("record_id", keep="last")
    return frame.drop(columns=["extra", "file", "row"]).sort_values("record_id", ignore_index=True)


def test_the_landing_holds_what_the_export_holds(world: World, late: Path, tmp_path: Path) -> None:
    counts = write_landing(world, Landing(tmp_path), LATE)
    for entity, headers in EXPORTS.items():
        fields = ENTITIES[entity].fields
        landed = payloads(tmp_path, entity)
        assert list(landed.columns[1:]) == list(fields)
        exported = read(late, entity).rename(columns={header: field for field, header in headers.items()})
        assert counts[entity] == len(exported) == len(landed)
        landed = landed[list(exported.columns)].fillna("")
        for field in exported.columns:
            if fields[field] in ("decimal", "probability", "integer"):
                landed[field] = pd.to_numeric(landed[field]).astype(float)
                exported[field] = pd.to_numeric(exported[field]).astype(float)
        order = list(exported.columns)
        pd.testing.assert_frame_equal(
            landed.sort_values(order, ignore_index=True),
            exported.sort_values(order, ignore_index=True),
            check_dtype=False,
        )


def records(landing_dir: Path, entity: str) -> list[tuple[str, dict[str, str | None]]]:
    """Ids and fields of all landed records of an entity."""
    rows = duckdb.connect().execute(
        f"""select record_id, payload
        from read_parquet('{landing_dir}/files/*/{entity}/*/*.parquet') order by all"""
    )
    fields = ENTITIES[entity].fields
    landed = [(record, json.loads(text)) for record, text in rows.fetchall()]
    return [(record, {field: payload[field] for field in fields}) for record, payload in landed]


def test_landing_directly_gives_the_records_that_reading_the_files_gives(tmp_path: Path) -> None:
    world = simulate(replace(CONFIG, n_deals=300))
    write_crm_export(world, tmp_path / "data" / "example", LATE)
    write_landing(world, Landing(tmp_path / "direct"), LATE)
    bundled = load_settings(environ={}).config_path
    (tmp_path / "pipeline.yaml").write_bytes(bundled.read_bytes())
    settings = load_settings(config=tmp_path / "pipeline.yaml", data=tmp_path / "read", environ={})
    for source in settings.file_sources():
        extract_files(settings, source, datetime(2025, 2, 15, 4, tzinfo=UTC))
    for entity in (*EXPORTS, *BUSINESS_TABLES):
        read_from_files = records(settings.paths.landing, entity)
        assert read_from_files
        assert records(tmp_path / "direct", entity) == read_from_files, entity


def test_the_landing_is_made_of_batches_that_the_pipeline_accepts(world: World, tmp_path: Path) -> None:
    write_landing(world, Landing(tmp_path), LATE)
    landing = Landing(tmp_path)
    assert landing.set_aside_damaged() == []
    batches = {batch.manifest.stamp.entity: batch.manifest for batch in landing.batches()}
    assert set(batches) == set(EXPORTS) | set(BUSINESS_TABLES)
    assert all(manifest.stamp.is_initial_load for manifest in batches.values())
    assert landing.initial_load_done("crm_export", "deals")


def test_an_initial_load_and_a_later_delivery_give_the_later_state(world: World, tmp_path: Path) -> None:
    write_landing(world, Landing(tmp_path / "once"), LATE)
    write_landing(world, Landing(tmp_path / "twice"), EARLY)
    delivered = write_landing(world, Landing(tmp_path / "twice"), LATE, since=EARLY)
    assert 0 < delivered["deals"] < 600
    for entity in ("deals", "stage_history", "stages", "quotas", "fx_rates"):
        once, twice = payloads(tmp_path / "once", entity), payloads(tmp_path / "twice", entity)
        if entity == "deals":  # a contact is noted in the CRM without touching the deal
            once, twice = once.drop(columns="last_activity_at"), twice.drop(columns="last_activity_at")
        pd.testing.assert_frame_equal(once, twice)


def test_parts_land_as_batches_of_their_own(tmp_path: Path) -> None:
    config = replace(CONFIG, n_deals=500, deals_per_part=250)
    counts = write_landing(simulate_in_parts(config), Landing(tmp_path), LATE)
    batches = Landing(tmp_path).batches("crm_export", "deals")
    assert len(batches) == 2
    assert sum(batch.manifest.rows for batch in batches) == counts["deals"]
    assert len(Landing(tmp_path).batches("crm_export", "accounts")) == 1


def test_the_command_line_writes_the_export_and_says_what_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--deals", "200", "--seed", "3", "--out", str(tmp_path), "--as-of", "2025-06-30"]
    assert main(arguments) == 0
    lines = (tmp_path / "deals.csv").read_text(encoding="utf-8").splitlines()
    told = capsys.readouterr().out.splitlines()[0].split()
    assert told == ["deals.csv", str(len(lines) - 1), "rows"]


def test_the_command_line_refuses_an_impossible_day_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--deals", "50", "--out", str(tmp_path), "--as-of", "2020-01-01"]) == 2
    assert "choose a day between them" in capsys.readouterr().err


def test_the_scenarios_of_the_example_name_open_deals_and_its_submissions_begun_quarters(
    world: World,
) -> None:
    known = known_at(world, LATE)
    slips = example_scenarios(known).query("change == 'deal_slips'")
    named = known.deals.set_index("deal_id").loc[slips["subject"]]
    assert len(named) == 2
    assert (named["status"] == "open").all()
    assert named["deleted_at"].isna().all()
    submissions = example_submissions(known, LATE)
    assert (submissions["submitted_on"] <= pd.Timestamp(LATE)).all()
    assert set(submissions["role"]) == {"company", "manager", "rep"}
    reps = submissions.loc[submissions["role"] == "rep", "owner"]
    assert set(reps) <= set(known.owners["name"])
    keys = ["submitted_on", "period", "role", "owner", "category"]
    assert not submissions.duplicated(keys).any()
