"""A purged record is gone from the landing and stays away; a killed purge is finished by the next."""

import json
import os
import re
import shutil
import sqlite3
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest

from dagster_project.backfills.refusals import refuse_gaps_in_landing
from dagster_project.cli import purge_stores
from dagster_project.cli.purge import PurgeRefused, plan, target_of
from dagster_project.extract import landing_purge
from dagster_project.extract.landing import LandingError, verify
from dagster_project.extract.landing_purge import find, purge_batches
from dagster_project.extract.manifest import PART, read_manifest
from dagster_project.extract.purged import PurgeList, RecordName, names_of, own_texts
from dagster_project.warehouse import Warehouse
from tests.extract.small_business import NOW, STAGES, Business

CANARY = "Canary van der Vogel"
DEALS = """\
    deals:
      path: deals*
      columns: {deal_id: ID, name: Name, stage: Stage, amount: Amount}
    stage_history:
      path: log*
      columns: {deal_id: ID, stage: Stage, changed_at: At}
"""
ROWS = f"ID,Name,Stage,Amount\n77,{CANARY},Offer,10\n78,Other deal,Offer,20\n"
LOG = "ID,Stage,At\n77,Meeting,2026-03-01 10:00\n77,Offer,2026-03-02 10:00\n78,Offer,2026-03-03 10:00\n"
RECORD = RecordName("export", "deal", "77")


@pytest.fixture
def business(tmp_path: Path) -> Business:
    business = Business(tmp_path, DEALS + STAGES)
    business.write("deals.csv", ROWS)
    # A row of the record that is refused (its amount is no number) and one that can't be told apart.
    business.write("deals_2.csv", f"ID,Name,Stage,Amount\n77,{CANARY},Offer,{CANARY}\n{CANARY},x\n")
    business.write("log.csv", LOG)
    business.extract()
    return business


def purge(business: Business) -> None:
    batches = business.landing.batches()
    purged = PurgeList.read(business.landing.root)
    found = find(batches, RECORD)
    purged.begin(RECORD, found.rows)
    purged.finish(RECORD, purge_batches(batches, RECORD, found.texts))


def noted_rows(business: Business) -> list[dict[str, int]]:
    records = json.loads((business.landing.root / "_purged.json").read_text())["records"]
    return [entry["rows"] for entry in records.values()]


def everything(root: Path) -> str:
    """Every byte under a folder, and every value inside its Parquet files."""
    found = [path for path in root.rglob("*") if path.is_file()]
    inside = [str(pq.read_table(path).to_pylist()) for path in found if path.suffix == ".parquet"]
    return "".join([*inside, *(path.read_bytes().decode(errors="replace") for path in found)])


def test_the_record_is_gone_from_every_byte_and_value_and_the_manifests_fit(business: Business) -> None:
    assert CANARY in everything(business.landing.root)
    purge(business)
    assert CANARY not in everything(business.landing.root)
    assert [deal["deal_id"] for deal in business.landed("deals")] == ["78"]
    assert [change["deal_id"] for change in business.landed("stage_history")] == ["78"]
    for batch in business.landing.batches():
        verify(batch)
        assert batch.manifest.rows == pq.read_metadata(batch.folder / PART).num_rows


def test_neither_a_new_mapping_of_the_file_nor_a_new_file_brings_it_back(business: Business) -> None:
    purge(business)
    business.source = business.source.replace("name: Name, ", "")
    business.write("deals_3.csv", "ID,Name,Stage,Amount\n77,Back,Won,30\n79,New,Won,40\n")
    business.extract(now=NOW + timedelta(days=1))
    assert sorted(deal["deal_id"] for deal in business.landed("deals")) == ["78", "79"]


def test_a_purged_record_that_a_file_still_has_is_counted_and_nowhere_quoted(business: Business) -> None:
    purge(business)
    business.write(
        "deals_3.csv",
        "ID,Name,Stage,Amount\n"
        f"77,a,{CANARY} stage,1\n"  # an unknown stage
        f"77,b,Offer,{CANARY}\n"  # no number
        f"{CANARY},x\n"  # cannot be told apart, so nobody knows whose it is
        "78,Other deal,Offer,soon\n"
        "79,New,Nowhere,40\n",
    )
    business.write("log_2.csv", f"ID,Stage,At\n77,Offer,{CANARY}\n78,Offer,later\n")
    result = business.extract(now=NOW + timedelta(days=1))
    deals, log = result.of("deals")[-1], result.of("stage_history")[-1]
    assert (deals.rows_read, deals.rows_kept, deals.rows_rejected) == (5, 2, 3)
    assert [(reject.row, reject.value, reject.hint is None) for reject in deals.rejects] == [
        (4, None, True),
        (5, "soon", False),
    ]
    assert [unknown.value for unknown in deals.unknown_values] == ["Nowhere"]
    assert [(reject.row, reject.value) for reject in log.rejects] == [(3, "later")]
    assert CANARY not in str(result) + everything(business.landing.root)
    told = {(row["file"], row["row"]): row["record"] for row in business.landed("rejects")}
    assert told == {("deals_3.csv", "4"): None, ("deals_3.csv", "5"): "78", ("log_2.csv", "3"): "78"}


def test_the_list_of_purged_records_holds_a_keyed_hash_and_no_id(business: Business) -> None:
    purge(business)
    text = (business.landing.root / "_purged.json").read_text()
    assert re.findall(r'"([0-9a-f]{64})"', text) and not re.search(r"\b77\b", text)
    assert (business.landing.root / "_purge.key").stat().st_mode & 0o077 == 0
    purged = PurgeList.read(business.landing.root)
    assert purged.has(RECORD) and not purged.has(RecordName("export", "deal", "78"))


def test_a_purge_leaves_no_gap_for_which_a_backfill_would_be_refused(
    business: Business, tmp_path: Path
) -> None:
    # A later delivery of which nothing is left after the purge.
    business.write("deals_3.csv", f"ID,Name,Stage,Amount\n77,{CANARY} again,Offer,11\n")
    business.extract(now=NOW + timedelta(days=1))
    parts = [batch.folder / PART for batch in business.landing.batches("export", "deals")]
    known = pd.concat([pq.read_table(part, columns=["extracted_at"]).to_pandas() for part in parts])
    known = known.drop_duplicates().rename(columns={"extracted_at": "first_extracted_at"})
    known["source_relation"] = "export"
    warehouse = Warehouse(tmp_path / "known.duckdb")
    columns = {"first_extracted_at": "timestamp", "source_relation": "string"}
    for table in ("ledger.int_known_on", "staging.stg_deals"):
        warehouse.append(table, known, columns)
    assert len(known) == 2
    purge(business)
    assert business.landing.batches("export", "deals")[-1].manifest.rows == 0
    # Neither before the ledger is built again, which the purge does itself, nor after.
    refuse_gaps_in_landing(business.settings(), warehouse)


@pytest.mark.parametrize("death", range(1, 9))
def test_a_purge_killed_at_any_rename_leaves_whole_batches_and_is_finished_by_the_next(
    business: Business, death: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = os.replace, 0

    def dying(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == death:
            raise KeyboardInterrupt
        real(source, target)

    before = len(business.landing.batches())
    batches, found = business.landing.batches(), find(business.landing.batches(), RECORD)
    PurgeList.read(business.landing.root).begin(RECORD, found.rows)
    with monkeypatch.context() as patched:
        patched.setattr(landing_purge.os, "replace", dying)
        try:
            purge_batches(batches, RECORD, found.texts)
        except KeyboardInterrupt:
            assert len(business.landing.batches()) == before
            assert not business.landing.set_aside_damaged()
    purge(business)
    assert len(business.landing.batches()) == before
    for batch in business.landing.batches():
        verify(batch)
    assert not [path for path in business.landing.root.rglob("*purging*")]
    assert not [deal for deal in business.landed("deals") if deal["deal_id"] == "77"]
    assert CANARY not in everything(business.landing.root)
    # of the refused rows one is its own, one holds its name
    assert noted_rows(business) == [{"deals": 1, "rejects": 2, "stage_history": 2}]


def test_rows_that_a_restored_backup_brings_back_are_added_to_those_that_went_before(
    business: Business, tmp_path: Path
) -> None:
    shutil.copytree(business.landing.root / "files", tmp_path / "backup")
    purge(business)
    shutil.rmtree(business.landing.root / "files")
    shutil.copytree(tmp_path / "backup", business.landing.root / "files")
    purge(business)
    assert noted_rows(business) == [{"deals": 2, "rejects": 4, "stage_history": 4}]


def test_a_batch_whose_file_fits_no_manifest_is_still_damaged(business: Business) -> None:
    batch = business.landing.batches("export", "deals")[0]
    (batch.folder / PART).write_bytes(b"x")
    with pytest.raises(LandingError, match="damaged"):
        read_manifest(batch.folder)


@pytest.mark.parametrize(
    ("whose", "payload", "expected"),
    [
        (("salesforce", "sf", "field_history", "h1"), {"OpportunityId": "006"}, [("deal", "006")]),
        (
            ("hubspot", "hs", "line_items", "l1"),
            {"associations": {"deals": {"results": [{"id": "5"}, {"id": "6"}]}}},
            [("deal", "5"), ("deal", "6")],
        ),
        (("pipedrive", "pd", "changelog", "9"), {"changes": []}, [("deal", "9")]),
        (("tryton", "try", "stage_history", "9@2026"), {"deal": 9}, [("deal", "9")]),
        (("files", "f", "rejects", "f.csv:3"), {"entity": "deals", "key": "7"}, [("deal", "7")]),
        (
            ("files", "f", "rejects", "f.csv:3"),
            {"entity": "line_items", "key": "7", "record": "D"},
            [("deal", "D")],
        ),
        (("files", "f", "rejects", "f.csv:3"), {"entity": "line_items", "key": "7"}, []),
        (("files", "f", "products", "p1"), {"product_id": "p1"}, []),
    ],
)
def test_each_crm_names_the_deal_of_a_row_in_its_own_place(
    whose: tuple[str, str, str, str], payload: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    assert [(name.kind, name.record_id) for name in names_of(*whose, json.dumps(payload))] == expected


def test_only_texts_that_no_other_record_has_are_looked_for() -> None:
    own = json.dumps({"name": CANARY, "stage": "Negotiation", "at": "2026-03-01 10:00:00", "n": "123456789"})
    assert own_texts([own], iter([json.dumps({"stage": "Negotiation"})])) == [CANARY]


def test_a_record_that_is_written_wrongly_is_told_how(business: Business) -> None:
    settings = business.settings()
    assert target_of(settings, "export:deals:77").name == RECORD
    assert target_of(settings, "files:deal:77").name == RECORD
    for text, said in [
        ("77", "source:kind:id"),
        ("hubspot:deal:77", r"there are: export \(files\)"),
        ("export:contact:77", "one of: deal, lead, account, owner"),
    ]:
        with pytest.raises(PurgeRefused, match=said):
            target_of(settings, text)
    with pytest.raises(PurgeRefused, match="holds no deal '99'"):
        plan(settings, target_of(settings, "export:deal:99"))
    lines, _ = plan(settings, target_of(settings, "export:deal:77"))
    assert "1 of deals, 2 of rejects, 2 of stage_history" in lines[0]
    purge(business)
    with pytest.raises(PurgeRefused, match="purged before"):
        plan(settings, target_of(settings, "export:deal:77"))


def test_dagsters_history_loses_the_texts_also_from_free_blocks(tmp_path: Path) -> None:
    path = tmp_path / "history" / "runs.db"
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("create table event_logs (id integer primary key, event text)")
        said = [(json.dumps({"text": f"{CANARY} in deal 10000345, not 100003456"}),) for _ in range(200)]
        connection.executemany("insert into event_logs (event) values (?)", said)
    redact = purge_stores.redactor(RecordName("export", "deal", "10000345"), [CANARY])
    assert purge_stores.redact_history(tmp_path, redact) == 1
    assert CANARY.encode() not in path.read_bytes()
    with sqlite3.connect(path) as connection:
        (event,) = connection.execute("select event from event_logs limit 1").fetchone()
    assert json.loads(event) == {"text": "(purged) in deal (purged), not 100003456"}


def test_stored_forecasts_lose_the_deal_and_its_changes_still_add_up(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create schema forecast; create schema ops; create schema marts")
        connection.execute("create table ops.run_context as select 'r1' as run_id")
        connection.execute(f"create table marts.bi_deals as select '{CANARY}' as deal_name")
        connection.execute(
            "create table forecast.forecast_changes as select date '2026-03-02' as as_of, 'live' as kind, "
            "date '2026-03-01' as prior_as_of, '2026Q1' as period, 'open' as part, * from (values "
            "('k77', 'export', '77', 10.5::decimal(38,3), 4::decimal(38,3), 14.5::decimal(38,3)), "
            "('(none)', null, null, 1, 2, 3), ('k78', 'export', '78', 5, 5, 10), "
            "('k77b', 'other', '77', 7, 7, 14)) "
            "as t(deal_key, source_relation, deal_id, delta, expected_before, expected_after)"
        )
    taken = purge_stores.rewrite_warehouse(path, RECORD, lambda text: text, "500MB")
    assert taken == {"forecast.forecast_changes": 1}
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(
            "select deal_key, deal_id, delta::double, expected_after::double from forecast.forecast_changes "
            "order by deal_key"
        ).fetchall()
        left = connection.execute("select table_name from duckdb_tables() order by 1").fetchall()
    assert rows == [("(none)", None, 11.5, 17.5), ("k77b", "77", 7.0, 14.0), ("k78", "78", 5.0, 10.0)]
    assert left == [("forecast_changes",), ("run_context",)]
    assert CANARY.encode() not in path.read_bytes()
