"""`make connect` finds out by itself what exports are, and its draft can be run as it stands."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import vendor_exports as exports
import yaml

from dagster_project.extract.connect.draft import DraftExists, write_draft
from dagster_project.extract.connect.dry_run import DryRun, dry_run, extraction_lines, readiness_lines
from dagster_project.extract.connect.profile import profile_file
from dagster_project.extract.connect.proposal import NothingToConnect, Proposal, Undecided, propose
from dagster_project.settings import FileSource, load_settings
from dagster_project.simulate.example import write_example

NOW = datetime(2026, 4, 2, tzinfo=UTC)
REPOSITORY = Path(__file__).resolve().parents[2]


def proposal_of(*paths: Path) -> Proposal:
    return propose([table for path in paths for table in profile_file(path)])


def drafted(folder: Path, *paths: Path) -> FileSource:
    """The source of the draft, read back the way every command reads it."""
    out = folder / "my" / "pipeline.yaml"
    write_draft(proposal_of(*paths), out)
    (source,) = load_settings(out, folder / "data").sources
    return source


def tried(folder: Path) -> DryRun:
    return dry_run(load_settings(folder / "my" / "pipeline.yaml", folder / "data"), NOW)


def headers(source: FileSource, entity: str = "deals") -> dict[str, str | None]:
    return {field: column.header for field, column in getattr(source, entity).columns.items()}


def stages(source: FileSource) -> list[tuple[str, str]]:
    return [(line.name, line.outcome) for line in source.stage_lines()]


def test_files_without_telling_names_are_understood_by_their_content(tmp_path: Path) -> None:
    source = drafted(tmp_path, *exports.nameless_files(tmp_path))
    assert headers(source) == {
        "deal_id": "p",
        "stage": "w",
        "amount": "y",
        "close_date": "m",
        "closed_at": "m",
        "owner": "q",
        "account": "o",
        "product": "t",
    }
    assert headers(source, "owners")["owner_id"] == "a"
    assert headers(source, "products") == {"product_id": "c", "name": "c", "list_price": "d"}
    assert headers(source, "accounts")["account_id"] == "e"
    assert stages(source) == [("Zug", "open"), ("Ort", "open"), ("Grün", "won"), ("Grau", "lost")]
    assert source.stage_entered == {"Ort": "k", "Grün": "m", "Grau": "m"}


def test_a_name_that_differs_in_marks_alone_becomes_an_alias(tmp_path: Path) -> None:
    drafted(tmp_path, *exports.nameless_files(tmp_path))
    assert (tmp_path / "my" / "aliases.csv").read_text() == "entity,alias,name\nproduct,Ware One,Ware-One\n"
    run = tried(tmp_path)
    assert run.is_good
    assert {report.entity: report.rows_kept for report in run.files}["aliases"] == 1


def test_an_alias_that_the_files_tell_already_is_not_proposed_again(tmp_path: Path) -> None:
    files = exports.nameless_files(tmp_path)
    told = exports.write_csv(
        tmp_path / "aliases.csv", ["entity", "alias", "name"], [["product", "Ware One", "Ware-One"]]
    )
    drafted(tmp_path, *files, told)
    assert not (tmp_path / "my" / "aliases.csv").exists()


def test_hubspot_deals_need_no_edit_of_their_columns_and_stages(tmp_path: Path) -> None:
    source = drafted(tmp_path, exports.hubspot_deals(tmp_path))
    assert headers(source) == {
        "deal_id": "Record ID",
        "name": "Deal Name",
        "pipeline": "Pipeline",
        "stage": "Deal Stage",
        "amount": "Amount",
        "created_at": "Create Date",
        "close_date": "Close Date",
        "owner": "Deal owner",
        "account": "Associated Company",
        "deal_type": "Deal Type",
        "lost_reason": "Closed Lost Reason",
    }
    ends = [("Closed Won", "won"), ("Closed Lost", "lost")]
    assert stages(source) == [*[(stage, "open") for stage in exports.OPEN_STAGES], *ends]
    assert source.stage_entered == {
        stage: f'Date entered "{stage} (Sales Pipeline)"' for stage, _ in stages(source)
    }
    run = tried(tmp_path)
    assert run.is_good
    assert [(r.rows_kept, r.columns_unmapped) for r in run.files if r.entity == "deals"] == [(120, ())]


def test_a_stage_that_no_deal_is_in_now_is_found_by_its_date_column(tmp_path: Path) -> None:
    path = exports.hubspot_deals(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *[line for line in lines if ",Contract Sent," not in line][1:]]))
    assert ("Contract Sent", "open") in stages(drafted(tmp_path, path))


def test_a_salesforce_history_report_alone_gives_deals_and_their_changes(tmp_path: Path) -> None:
    source = drafted(tmp_path, exports.salesforce_history(tmp_path))
    assert source.deals.path == source.stage_history.path
    assert source.deals.format.date_order == "mdy"
    assert headers(source) | {"stage": "To Stage", "modified_at": "Last Modified"} == headers(source)
    assert headers(source, "stage_history") == {
        "deal_id": "Opportunity ID",
        "changed_at": "Last Modified",
        "from_stage": "From Stage",
        "stage": "To Stage",
        "amount": "Amount",
        "close_date": "Close Date",
        "owner": "Opportunity Owner",
        "probability": "Probability (%)",
        "changed_by": "Last Modified By",
    }
    assert stages(source) == [
        ("Prospecting", "open"),
        ("Needs Analysis", "open"),
        ("Proposal/Price Quote", "open"),
        ("Negotiation/Review", "open"),
        ("Closed Won", "won"),
        ("Closed Lost", "lost"),
    ]
    run = tried(tmp_path)
    assert run.is_good
    assert {r.rows_rejected for r in run.files} == {0}


def test_pipedrive_deals_end_by_status_and_keep_their_stage(tmp_path: Path) -> None:
    source = drafted(tmp_path, exports.pipedrive_deals(tmp_path))
    found = headers(source)
    assert found["status"] == "Deal - Status"
    assert (found["close_date"], found["closed_at"]) == (
        "Deal - Expected close date",
        "Deal - Deal closed on",
    )
    assert stages(source) == [
        (stage, "open") for stage in ("Qualified", "Contact Made", "Demo Scheduled", "Proposal Made")
    ]
    assert source.stage_entered == {}
    assert proposal_of(tmp_path / "deals-1234567-42.csv").currency == "EUR"
    assert tried(tmp_path).is_good


def test_the_bundled_example_is_drafted_as_it_was_written_by_hand(tmp_path: Path) -> None:
    by_hand = yaml.safe_load((REPOSITORY / "pipeline.yaml").read_text())
    out = tmp_path / "pipeline.yaml"
    example = REPOSITORY / "data" / "example"
    if not example.exists():
        example = tmp_path / "example"
        write_example(example)
    write_draft(proposal_of(*sorted(example.glob("*.csv"))), out)
    draft = yaml.safe_load(out.read_text())
    for entity, table in by_hand["sources"][0].items():
        if isinstance(table, dict):
            assert draft["sources"][0][entity]["columns"] == table["columns"], entity
    assert draft["tables"].keys() == by_hand["tables"].keys()
    assert draft["business"]["currency"] == "EUR"


def test_a_name_stands_in_for_a_missing_id_and_is_marked(tmp_path: Path) -> None:
    stages_ = ["Prospecting", "Closed Won", "Closed Lost", "Qualification"]
    rows = [[f"Deal {n}", stages_[n % 4], 100 + n, "2026-03-01", "Ann"] for n in range(12)]
    header = ["Opportunity Name", "Stage", "Amount", "Close Date", "Opportunity Owner"]
    source = drafted(tmp_path, exports.write_csv(tmp_path / "report.csv", header, rows))
    assert headers(source)["deal_id"] == headers(source)["name"] == "Opportunity Name"
    text = (tmp_path / "my" / "pipeline.yaml").read_text()
    assert "CHECK: unique in all 12 rows, but two deals can bear one name: add the id to the export" in text


def deals(folder: Path, dates: list[str], name: str = "deals.csv") -> Path:
    rows = [[f"d{number}", ("Offer", "Won")[number % 2], day] for number, day in enumerate(dates)]
    return exports.write_csv(folder / name, ["Deal ID", "Stage", "Close Date"], rows)


def test_dates_that_can_be_read_in_two_ways_are_refused_with_what_to_say(tmp_path: Path) -> None:
    path = deals(tmp_path, ["03/04/2026", "05/06/2026"])
    with pytest.raises(Undecided, match=r"deals\.csv, column 'Close Date': 0.*DATE_ORDER=dmy") as refused:
        proposal_of(path)
    assert (refused.value.setting, refused.value.choices) == ("DATE_ORDER", ("dmy", "mdy"))
    said = propose(profile_file(path, date_order="mdy"))
    assert said.deals.profile.date_order == "mdy"


def test_one_date_beyond_the_twelfth_decides_the_order_of_the_file(tmp_path: Path) -> None:
    assert proposal_of(deals(tmp_path, ["03/04/2026", "25/06/2026"])).deals.profile.date_order == "dmy"


def test_a_close_date_of_open_deals_is_an_expected_one(tmp_path: Path) -> None:
    source = drafted(tmp_path, deals(tmp_path, [f"2026-03-{day:02d}" for day in range(1, 21)]))
    assert headers(source) == {"deal_id": "Deal ID", "stage": "Stage", "close_date": "Close Date"}
    assert source.stage_entered == {}


def test_deliveries_of_one_export_become_one_table(tmp_path: Path) -> None:
    first = deals(tmp_path, ["2026-03-01", "2026-03-02"], "deals_2026-03-02.csv")
    second = deals(tmp_path, ["2026-03-01", "2026-03-09"], "deals_2026-03-09.csv")
    source = drafted(tmp_path, first, second)
    assert Path(source.deals.path).name == "deals_*.csv"


def test_a_draft_never_overwrites(tmp_path: Path) -> None:
    files = exports.nameless_files(tmp_path)
    out = tmp_path / "pipeline.yaml"
    (tmp_path / "aliases.csv").write_text("mine")
    with pytest.raises(DraftExists, match=r"aliases\.csv exists and is not overwritten"):
        write_draft(proposal_of(*files), out)
    assert not out.exists()
    assert (tmp_path / "aliases.csv").read_text() == "mine"


def test_files_without_deals_are_refused_with_what_deals_are(tmp_path: Path) -> None:
    path = exports.write_csv(tmp_path / "x.csv", ["a", "b"], [[1, 2], [3, 4]])
    with pytest.raises(NothingToConnect, match=r"x\.csv.*one row per deal, with an id and a stage"):
        proposal_of(path)


def test_an_unused_file_is_listed_with_its_columns(tmp_path: Path) -> None:
    other = exports.write_csv(tmp_path / "notes.csv", ["note"], [["call back"], ["done"]])
    drafted(tmp_path, exports.hubspot_deals(tmp_path), other)
    text = (tmp_path / "my" / "pipeline.yaml").read_text()
    assert "# notes.csv (2 rows) is not used" in text
    assert "#   note (text, 100% filled) · call back, done" in text


def test_an_unknown_stage_prints_the_line_to_paste(tmp_path: Path) -> None:
    drafted(tmp_path, deals(tmp_path, [f"2026-03-{day:02d}" for day in range(1, 21)]))
    config = tmp_path / "my" / "pipeline.yaml"
    kept = [line for line in config.read_text().splitlines() if "name: Offer" not in line]
    config.write_text("\n".join(kept))
    run = tried(tmp_path)
    assert not run.is_good
    assert any('- {name: "Offer", order: 1}' in line for line in extraction_lines(run))


def test_every_row_and_the_first_reject_of_a_kind_are_told(tmp_path: Path) -> None:
    days = [f"2026-03-{day:02d}" for day in range(1, 21)]
    path = deals(tmp_path, days)
    drafted(tmp_path, path)
    path.write_text(path.read_text().replace("2026-03-02", "soon").replace("2026-03-05", "later"))
    lines = list(extraction_lines(tried(tmp_path)))
    assert any(line.split() == ["deals", "·", "deals.csv", "20", "18", "2", "0"] for line in lines)
    assert "  deals.csv, line 3, column Close Date: 'soon' is no date, and so in other rows" in lines


def test_what_unlocks_several_metrics_is_said_once() -> None:
    row = {"status": "unavailable", "reason_text": "None.", "how_to_unlock": "Export it."}
    lines = list(readiness_lines([{**row, "metric": "win_rate"}, {**row, "metric": "median_days"}]))
    assert lines.count("    Export it.") == 1
    assert "      for: win rate, median days" in lines


def test_a_close_date_that_keeps_the_expected_day_does_not_date_the_closing(tmp_path: Path) -> None:
    exports.pipedrive_deals(tmp_path)
    drafted(tmp_path, tmp_path / "deals-1234567-42.csv")
    metrics = load_settings(tmp_path / "my" / "pipeline.yaml", tmp_path / "data").metrics
    assert (metrics.dates.won, metrics.dates.lost) == ("event", "event")


def test_a_close_date_that_becomes_the_day_of_closing_dates_it(tmp_path: Path) -> None:
    rows = [
        [n, ("Offer", "Won")[n % 2], f"2026-03-{n:02d}", f"2026-03-{n:02d}" if n % 2 else None]
        for n in range(1, 29)
    ]
    path = exports.write_csv(tmp_path / "d.csv", ["Deal ID", "Stage", "Close Date", "Closed At"], rows)
    drafted(tmp_path, path)
    assert (
        load_settings(tmp_path / "my" / "pipeline.yaml", tmp_path / "data").metrics.dates.won == "close_date"
    )


def test_stages_of_two_pipelines_are_listed_apart(tmp_path: Path) -> None:
    def entry(stage: str, pipeline: str) -> str:
        return f'Date entered "{stage} ({pipeline})"'

    header = ["Record ID", "Deal Stage", "Pipeline", entry("Talk", "New"), entry("Offer", "New")]
    header += [entry("Closed Won", "New"), entry("Offer", "Again"), entry("Sign", "Again")]
    header += [entry("Closed Won", "Again")]
    day = [f"2026-01-{number:02d}" for number in range(1, 31)]
    rows = [[n, "Offer", "New", day[n], day[n + 1], None, None, None, None] for n in range(8)]
    rows += [[n, "Closed Won", "New", day[n], day[n], day[n + 2], None, None, None] for n in range(8, 14)]
    rows += [
        [n, "Closed Won", "Again", None, None, None, day[n + 3], day[n], day[n + 9]] for n in range(14, 20)
    ]
    path = exports.write_csv(tmp_path / "deals.csv", header, rows)
    source = drafted(tmp_path, path)
    assert [(line.pipeline, line.name, line.outcome) for line in source.stage_lines()] == [
        ("Again", "Sign", "open"),
        ("Again", "Offer", "open"),
        ("Again", "Closed Won", "won"),
        ("New", "Talk", "open"),
        ("New", "Offer", "open"),
        ("New", "Closed Won", "won"),
    ]
    text = (tmp_path / "my" / "pipeline.yaml").read_text()
    assert "CHECK: Offer has 2 entry dates, one per pipeline" in text


def test_a_mark_of_thousands_is_asked_for_where_it_is_read_and_only_there(tmp_path: Path) -> None:
    rows = [[f"d{n}", ("Offer", "Won")[n % 2], f"{n},234", "Ann"] for n in range(1, 9)]
    amounts = exports.write_csv(tmp_path / "a.csv", ["Deal ID", "Stage", "Amount", "Owner"], rows)
    with pytest.raises(Undecided, match=r"column 'Amount': in 1,234 the mark .* DECIMAL=\. or DECIMAL=,"):
        proposal_of(amounts)
    others = exports.write_csv(tmp_path / "b.csv", ["Deal ID", "Stage", "Employees", "Owner"], rows)
    assert headers(drafted(tmp_path, others)) == {"deal_id": "Deal ID", "stage": "Stage", "owner": "Owner"}


def test_stages_of_any_language_that_no_deal_leaves_end_deals_by_probability_or_lost_reason(
    tmp_path: Path,
) -> None:
    path = exports.hubspot_deals(tmp_path)
    text = path.read_text().replace("Closed Won", "Vundet").replace("Closed Lost (", "Tabt (")
    path.write_text(text.replace(",Closed Lost,", ",Tabt,"))
    proposal = proposal_of(path)
    found = {stage.name: (stage.outcome, stage.confidence) for stage in proposal.stages.stages}
    # Without a probability the reasons of the lost alone tell the ends apart: the won one is to be looked at.
    assert (found["Tabt"], found["Vundet"]) == (("lost", "high"), ("won", "low"))
    assert {found[stage][0] for stage in exports.OPEN_STAGES} == {"open"}
    chances = {"Vundet": "1", "Tabt": "0"}
    head, *lines = path.read_text().splitlines()
    rows = [f"{line},{chances.get(line.split(',')[2], '0.4')}" for line in lines]
    path.write_text("\n".join([f"{head},Deal probability", *rows]))
    assert stages(drafted(tmp_path, path))[-2:] == [("Vundet", "won"), ("Tabt", "lost")]


def test_a_stage_of_parked_deals_beside_known_ends_stays_open(tmp_path: Path) -> None:
    path = exports.hubspot_deals(tmp_path)
    head, *lines = path.read_text().splitlines()
    # Eight open deals were parked, and none has gone on since.
    open_ones = [line for line in lines if line.split(",")[2] in exports.OPEN_STAGES][:8]
    parked = [",".join([*line.split(",")[:2], "På hold", *line.split(",")[3:]]) for line in open_ones]
    rows = [line + "," for line in lines if line not in open_ones] + [f"{p},2024-11-01 10:00" for p in parked]
    path.write_text("\n".join([f'{head},"Date entered ""På hold (Sales Pipeline)"""', *rows]))
    assert ("På hold", "open") in stages(drafted(tmp_path, path))
