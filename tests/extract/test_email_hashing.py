"""Where the settings name a key, no e-mail address is landed, told or quoted; all else is as without."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dagster_project.cli.purge import PurgeRefused, plan, target_of
from dagster_project.extract.landing import FILES, Landing, LandingError, Stamp
from dagster_project.extract.landing_purge import purge_batches
from dagster_project.extract.purged import PurgeList
from dagster_project.owner_emails import OwnerEmails
from tests.extract.hubspot_bench import HubSpotBench
from tests.extract.small_business import NOW, STAGES, Business

KEY = "a key of the tests, long enough"
EMAILS = OwnerEmails(KEY)
SOURCE = """\
    deals:
      path: deals*
      columns: {deal_id: ID, name: Name, stage: Stage, amount: Amount, owner: Owner}
    owners:
      path: owners*
      columns: {owner_id: User, name: Full Name, email: Mail, manager: Boss}
    deal_splits:
      path: splits*
      columns: {deal_id: ID, owner: Owner, share: Share}
"""
FACTS = """\
tables:
  submissions: {path: submissions.csv}
"""
FILES_OF_ALL = {
    "deals.csv": "ID,Name,Stage,Amount,Owner,Contact\n"
    "1,Quokka farm,Offer,10,Quokka@Example.com,quokka@example.com\n"
    "2,Other,Offer,20,wombat@example.com,\n"
    "3,Unknown stage,bilby@example.com,30,wombat@example.com,\n"
    "4,Refused,Offer,Bilby@example.com,wombat@example.com,\n",
    "owners.csv": "User,Full Name,Mail,Boss\n"
    "QUOKKA@example.com,Ann Quokka, quokka@example.com ,wombat@example.com\n"
    "wombat@example.com,Tom,wombat@example.com,\n"
    "wombat@example.com,Tom again,,\n",
    "splits.csv": "ID,Owner,Share\n1,quokka@example.com,0.5\n1,wombat@example.com,0.5\n",
    "submissions.csv": "submitted_on,period,owner,category,amount\n"
    "2026-02-01,2026Q1,Quokka@example.com,commit,9\n",
}
TRACES = ("quokka@", "wombat@", "bilby@")


class HashingBusiness(Business):
    """A business whose configuration names a key, when it has one."""

    key: str | None = KEY

    def settings(self, **environ: str) -> Any:
        self.zone = "Europe/Amsterdam" + (", hash_owner_emails: '${EMAIL_KEY}'" if self.key else "")
        return super().settings(**({"EMAIL_KEY": self.key} if self.key else {}))


def business(folder: Path, key: str | None = KEY) -> HashingBusiness:
    made = HashingBusiness(folder, SOURCE + STAGES, extra=FACTS)
    made.key = key
    for name, text in FILES_OF_ALL.items():
        made.write(name, text)
    return made


def values(root: Path) -> Iterator[str]:
    """Every byte and every value under a folder, in small letters."""
    for path in root.rglob("*"):
        if path.is_file():
            yield path.read_bytes().decode(errors="replace").lower()
            if path.suffix == ".parquet":
                yield str(pq.read_table(path).to_pylist()).lower()


def told(made: Business) -> dict[str, list[dict[str, Any]]]:
    """Payloads by entity, in the order of lines, with the ids of records that are no hash of content."""
    found: dict[str, list[dict[str, Any]]] = {}
    for batch in made.landing.batches():
        entity = batch.manifest.stamp.entity
        for row in pq.read_table(batch.folder / "part-00000.parquet").to_pylist():
            own = {"id": row["record_id"]} if entity != "deal_splits" and entity != "submissions" else {}
            found.setdefault(entity, []).append({**json.loads(row["payload"]), **own})
    return {e: sorted(rows, key=lambda row: int(row.get("row", 0))) for e, rows in sorted(found.items())}


def named(value: Any) -> Any:
    """A value with the pseudonyms in place of the addresses."""
    if isinstance(value, str):
        return EMAILS.text(value)
    if isinstance(value, list):
        return [named(item) for item in value]
    return {key: named(item) for key, item in value.items()} if isinstance(value, dict) else value


def test_no_address_is_landed_or_told_and_all_else_is_as_without_the_key(tmp_path: Path) -> None:
    plain, hashed = business(tmp_path / "plain", key=None), business(tmp_path / "hashed")
    results = [made.extract(source=source) for made in (plain, hashed) for source in (0, 1)]
    assert all(any(trace in text for text in values(plain.landing.root)) for trace in TRACES)
    assert not any(trace in text for text in values(hashed.landing.root) for trace in TRACES)
    assert not any(trace in str(result).lower() for result in results[2:] for trace in TRACES)
    assert told(hashed) == named(told(plain))
    assert {entity for entity, rows in told(hashed).items() if "email-" in str(rows)} == {
        *("deals", "owners", "deal_splits", "rejects", "submissions"),
    }
    # One person in four files, spelled in three ways, has one name.
    ann = EMAILS.text("quokka@example.com")
    rows = told(hashed)
    assert ann == rows["deals"][0]["owner"] == rows["owners"][0]["owner_id"] == rows["owners"][0]["id"]
    assert ann == rows["deal_splits"][0]["owner"] == rows["submissions"][0]["owner"]
    assert rows["owners"][0]["name"] == "Ann Quokka" and rows["deals"][0]["name"] == "Quokka farm"
    # The id of a row without a key of its own is made of what it says, so it has the key in it, too.
    ids = [{r["_"]["record_id"] for r in made.landed("deal_splits")} for made in (plain, hashed)]
    assert len(ids[0]) == len(ids[1]) == 2 and not ids[0] & ids[1]


def test_the_same_file_again_lands_nothing_and_changed_rows_have_the_same_names(tmp_path: Path) -> None:
    made = business(tmp_path)
    made.extract()
    assert made.extract(now=NOW + timedelta(days=1)).batches == ()
    made.write("deals_2.csv", "ID,Name,Stage,Amount,Owner\n1,Quokka farm,Won,10,quokka@EXAMPLE.com\n")
    made.extract(now=NOW + timedelta(days=2))
    owners = {deal["owner"] for deal in made.landed("deals") if deal["deal_id"] == "1"}
    assert owners == {EMAILS.text("quokka@example.com")}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (None, KEY, "holds addresses as they were written"),
        (KEY, None, "the line is gone"),
        (KEY, "another key of the tests", "is not the one with which this data folder was begun"),
    ],
)
def test_a_landing_keeps_the_names_with_which_it_was_begun(
    tmp_path: Path, before: str | None, after: str | None, words: str
) -> None:
    made = business(tmp_path, before)
    made.extract()
    held = sorted(values(made.landing.root))
    made.key = after
    made.write("deals_2.csv", "ID,Name,Stage,Amount,Owner\n7,New,Offer,1,quokka@example.com\n")
    with pytest.raises(LandingError, match=words):
        made.extract(now=NOW + timedelta(days=1))
    with pytest.raises(PurgeRefused, match=words):
        plan(made.settings(), target_of(made.settings(), "export:deal:1"))
    assert sorted(values(made.landing.root)) == held
    made.key = before
    assert made.extract(now=NOW + timedelta(days=1)).batches


def test_whoever_writes_without_the_key_into_such_a_landing_is_refused(tmp_path: Path) -> None:
    made = business(tmp_path)
    made.extract()
    stamp = Stamp("export", "deals", "b", NOW, is_initial_load=False, source_type=FILES)
    row = {"record_id": "9", "payload": '{"owner": "quokka@example.com"}'}
    with pytest.raises(LandingError, match="the line is gone"):
        Landing(made.landing.root).write_rows(stamp, [row], fingerprint="f")
    assert not any("quokka@" in text for text in values(made.landing.root))


def test_an_owner_is_purged_by_the_address_and_does_not_come_back(tmp_path: Path) -> None:
    made = business(tmp_path)
    made.extract()
    target = target_of(made.settings(), "export:owner:Quokka@example.com")
    assert target.name.record_id == EMAILS.text("quokka@example.com")
    found, purged = plan(made.settings(), target)[1], PurgeList.read(made.landing.root)
    purged.begin(target.name, found.rows)
    purged.finish(target.name, purge_batches(made.landing.batches(), target.name, found.texts))
    made.write(
        "owners_2.csv",
        "User,Full Name,Mail,Boss\nQuokka@example.com,Ann Quokka,,\nQuokka@example.com,Ann Q,,\nx,New,,\n",
    )
    report = made.extract(now=NOW + timedelta(days=1)).of("owners")[-1]
    assert (report.rows_kept, report.rows_rejected, report.rejects) == (2, 1, ())
    assert [owner["name"] for owner in made.landed("owners")] == ["Tom", "New"]


def test_owners_of_a_crm_are_landed_without_their_address(tmp_path: Path) -> None:
    bench = HubSpotBench(tmp_path / "landing")
    with bench.server:
        times = {"createdAt": "2025-01-01T00:00:00Z", "updatedAt": "2025-01-01T00:00:00Z", "archived": False}
        bench.portal.owners = [{"id": "77", "userId": 4007, "email": "Quokka@example.com", **times}]
        bench.deals(2)
        reports = bench.run(emails=EMAILS)
    assert {report.status.name for report in reports.values()} == {"LANDED"}
    assert [row["payload"]["email"] for row in bench.rows("owners")] == [EMAILS.text("quokka@example.com")]
    assert not any("quokka@" in text for text in values(bench.root))
