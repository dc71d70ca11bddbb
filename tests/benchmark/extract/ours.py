"""The contestant that is ours: connector and engine as a night runs them, into a landing of its own.

    python -m tests.benchmark.extract.ours <question.json> <folder>

The account's limit is set high, as if it had a plan of that size; everything else is what a run does.
"""

import gc
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from dagster_project.api_settings import HubSpotSource
from dagster_project.extract.api.api_extract import extract_api
from dagster_project.extract.api.api_report import Status
from dagster_project.extract.api.coverage import Span
from dagster_project.extract.crm import hubspot

PER_SECOND = 5_000.0
# As the command line sets it for a run.
RARE_COLLECTIONS = (100_000, 50, 100)


def main(question: str, folder: str) -> int:
    """Land deals and their histories; the exit code says whether all of them are there."""
    asked = json.loads(Path(question).read_text(encoding="utf-8"))
    gc.set_threshold(*RARE_COLLECTIONS)
    hubspot.RATES.update(dict.fromkeys(hubspot.RATES, PER_SECOND))
    source = HubSpotSource.model_validate(
        {"name": "hq", "type": "hubspot", "token": asked["token"], "base_url": asked["address"]}
    )
    day = datetime(2026, 3, 31, tzinfo=UTC)
    span = Span(day, day.replace(month=4, day=1))
    reports = extract_api(Path(folder) / "landing", source, span, ["deals", "deal_history"])
    for report in reports:
        if report.status is not Status.LANDED:
            sys.stderr.write(f"{report.entity}: {report.reason}\n")
    return 0 if all(report.status is Status.LANDED for report in reports) else 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
