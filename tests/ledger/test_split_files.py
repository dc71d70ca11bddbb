"""Shared credit from a file: percentages or shares, refused rows, and the bridge that comes of it."""

from datetime import date
from decimal import Decimal
from pathlib import Path

from tests.extract.small_business import DEALS, NOW, STAGES, Business
from tests.ledger.book import Book, Run
from tests.ledger.ledger_bench import LedgerBench

SPLITS = """\
    deal_splits:
      path: splits.csv
      columns: {deal_id: ID, owner: Rep, share: Percent, split_type: Kind}
"""


def test_splits_of_a_file_share_the_deal(tmp_path: Path, bench: LedgerBench) -> None:
    source = DEALS.replace("deal_id: ID", "deal_id: ID, owner: Owner") + SPLITS + STAGES
    business = Business(tmp_path, source)
    business.write(
        "deals.csv", "ID,Stage,Amount,Close,Created,Owner\nD1,Offer,100,2026-05-01,2026-01-02,ann\n"
    )
    business.write(
        "splits.csv",
        "ID,Rep,Percent,Kind\nD1,ben,30%,Revenue\nD1,cem,50%,Overlay\nD1,,20%,Revenue\nD1,dot,lots,Revenue\n",
    )
    business.extract()
    refused = {(reject["row"], reject["column"]) for reject in business.landed("rejects")}
    assert refused == {("4", "Rep"), ("5", "Percent")}
    runs = (Run(date(2026, 4, 1), NOW.replace(tzinfo=None)),)
    tables = bench.build_folder(Book((), runs=runs), business.settings().paths.landing)
    assert tables.rows("staging.stg_deal_splits", "owner_id", "share", "split_type") == [
        ("ben", Decimal("0.3"), "revenue"),
        ("cem", Decimal("0.5"), "overlay"),
    ]
    shares = "select owner_id, share from ledger.bridge_deal_owner join ledger.dim_owner using (owner_key)"
    assert tables.query(f"{shares} order by all") == [("ann", Decimal("0.7")), ("ben", Decimal("0.3"))]
