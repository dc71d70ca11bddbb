"""The sixteen cases that came with the transition contract, as one book with a deal each."""

import json
from datetime import datetime
from pathlib import Path

from tests.ledger.book import STAGES, Book, Change, Record

CASES = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "stage_transitions.json").read_text(encoding="utf-8")
)


def case_book() -> Book:
    """All cases as one book, a deal each."""
    records, changes = [], []
    for case in CASES:
        deal = case["deal"]
        created_at = datetime.fromisoformat(deal["created_at"])
        records.append(Record(deal["deal"], created_at, deal.get("current")))
        for event in deal["events"]:
            old = event.get("from")
            changes.append(
                Change(
                    deal["deal"],
                    datetime.fromisoformat(event["ts"]),
                    event["to"],
                    old,
                    event.get("pipeline", "new"),
                    event.get("from_pipeline") or ("new" if old else None),
                )
            )
    return Book(STAGES, tuple(records), tuple(changes))
