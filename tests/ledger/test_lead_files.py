"""Leads and their history from files, down to the path: what is kept, what is refused."""

from datetime import date
from pathlib import Path

from tests.extract.small_business import DEALS, NOW, STAGES, Business
from tests.ledger.book import Book, Run, Settings
from tests.ledger.ledger_bench import LedgerBench

LEADS = """\
    leads:
      path: leads.csv
      columns: {lead_id: Lead, deal_id: Deal, stage: Status, created_at: Created, converted_at: Converted, modified_at: Changed, source: Origin}
    lead_history:
      path: lead_history.csv
      columns: {lead_id: Lead, changed_at: At, stage: To, from_stage: From}
"""  # noqa: E501


def test_leads_of_files_stand_before_their_deals(tmp_path: Path, bench: LedgerBench) -> None:
    """L2 is told twice as it changed, and then as two deals at one instant; one row names no lead."""
    business = Business(tmp_path, DEALS + LEADS + STAGES)
    business.write(
        "deals.csv",
        "ID,Stage,Amount,Close,Created\nD1,Offer,100,2026-05-01,2026-01-12\nD2,Offer,5,2026-05-01,2026-01-12\n",
    )
    business.write(
        "leads.csv",
        "Lead,Deal,Status,Created,Converted,Changed,Origin\n"
        "L1,,New,2026-01-02,,2026-01-02,Web\n"
        "L2,,New,2026-01-02,,2026-01-02,Fair\n"
        "L2,D1,Qualified,2026-01-02,2026-01-12,2026-01-12,Fair\n"
        "L2,D2,Qualified,2026-01-02,2026-01-12,2026-01-12,Fair\n"
        ",D2,New,2026-01-02,,2026-01-02,Web\n",
    )
    business.write("lead_history.csv", "Lead,At,From,To\nL2,2026-01-05,New,Qualified\n")
    business.extract()
    refused = {(reject["row"], reject["column"]) for reject in business.landed("rejects")}
    assert refused == {("6", "Lead")}
    runs = (Run(date(2026, 4, 1), NOW.replace(tzinfo=None)),)
    settings = business.settings()
    book = Book((), runs=runs, settings=Settings(time_zone=settings.business.time_zone))
    tables = bench.build_folder(book, settings.paths.landing)
    columns = ("lead_id", "status", "stage", "lead_source", "deals_became", "converted_on")
    assert tables.rows("fct_leads", *columns) == [
        ("L1", "open", "New", "Web", 0, None),
        ("L2", "converted", "(converted)", "Fair", 2, date(2026, 1, 12)),
    ]
    of_deals = "deal_key in (select deal_key from ledger.int_deals)"
    order = "path_id, step_number"
    paths = [stage for (stage,) in tables.rows("fct_path_steps", "to_stage", where=of_deals, order=order)]
    assert paths == ["New", "Qualified", "(converted)", "Offer"] * 2
