"""A deal is purged from a business after its night: it is in no byte or value of the data folder any more."""

import csv
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from dagster_project.cli.purge import plan, purge, target_of
from dagster_project.publish.versions import current_file
from tests.long_tests import LONG
from tests.pipeline.nightly_bench import Business, published, settle, simulated_business, traces

pytestmark = [pytest.mark.slow, LONG]

# Words that nothing else here holds; the rest of each text is what escaping changes.
CANARIES = {
    "Deal Name": 'Quokka Zanzibar "Ä" & <Sons>',
    "Next Step": "Ring Mrs Wombat-Numbat's assistant",
    "Competitor": "Dropbear Bilby AG",
}
REFUSED = "Echidna Potoroo"
TRACES = ("Quokka", "Zanzibar", "Wombat", "Numbat", "Dropbear", "Bilby", "Echidna", "Potoroo")
FACTS = "deal_id, status, stage_key, owner_key, account, started_on, close_date, open_amount, won_amount"


def write_canaries(business: Business) -> str:
    """Give an open deal the canary texts, and a second row that is refused for its amount; the deal's id."""
    file = business.export / "deals.csv"
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    deal = next(row for row in reversed(rows) if row["Status"] == "open" and row["Amount"])
    deal |= CANARIES
    refused = {**deal, "Amount": REFUSED}
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows([*rows, refused])
    settle(business.export)
    return deal["Deal ID"]


def facts(business: Business) -> dict[str, tuple[object, ...]]:
    """Deal → what is known of it, from the published file."""
    with published(business.settings()) as connection:
        return {row[0]: row for row in connection.execute(f"select {FACTS} from bi_deals").fetchall()}


def open_pipeline(business: Business) -> tuple[int, Decimal]:
    """Deals and amount of the whole pipeline at the as-of day."""
    with published(business.settings()) as connection:
        row = connection.execute(
            "select sum(deals_open), sum(open_amount) from mart_pipeline_daily "
            "where period_type = 'day' and period_end = (select max(as_of) from _publish)"
        ).fetchone()
    assert row is not None
    return row


def test_a_purged_deal_is_nowhere_and_no_night_brings_it_back(tmp_path: Path) -> None:
    business = simulated_business(tmp_path)
    text = business.config.read_text(encoding="utf-8")
    asked = "\npublish: {parquet: true}\nreport: {pages: [full, board]}\n"
    business.config.write_text(text + asked, encoding="utf-8")
    deal_id = write_canaries(business)
    business.nightly()
    settings = business.settings()
    before, total_before = facts(business), open_pipeline(business)
    first = current_file(settings.paths.published_dir)
    assert first is not None and deal_id in before
    held = traces(business.data, TRACES)
    assert any(name.startswith("published/report") for name in held)
    assert any(name.startswith("published/parquet-") for name in held)
    assert {"warehouse.duckdb", "published/marts-1.duckdb"} <= held.keys()
    assert {word for words in held.values() for word in words} == set(TRACES)

    seen: list[tuple[str, str]] = []

    def look(line: str) -> None:
        with published(settings) as connection:
            names = connection.execute(
                "select deal_name from bi_deals where deal_id = ?", [deal_id]
            ).fetchall()
        seen.append((line.split(":")[0], str(names)))

    reader = duckdb.connect(str(first), read_only=True)
    target = target_of(settings, f"crm_export:deal:{deal_id}")
    purge(settings, target, plan(settings, target)[1], look)
    # A connection of before still reads its version; new ones saw the old one until the new one was there.
    with closing(reader):
        assert reader.execute("select count(*) from bi_deals").fetchone() == (len(before),)
    assert ["Quokka" in names for _, names in seen] == [line != "published" for line, _ in seen]
    assert seen[-1] == ("published", "[]")

    assert traces(business.data, TRACES) == {}
    assert traces(business.data, (deal_id,)) == {}
    after = facts(business)
    assert after == {deal: row for deal, row in before.items() if deal != deal_id}
    deals, amount = open_pipeline(business)
    own = Decimal(str(before[deal_id][-2]))
    assert own > 0 and (deals, amount) == (total_before[0] - 1, total_before[1] - own)

    # The export still has it, as it was and in a file that is new.
    export = business.export / "deals.csv"
    export.write_text(export.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    settle(business.export)
    business.nightly()
    assert traces(business.data, TRACES) == {}
    assert facts(business) == after
