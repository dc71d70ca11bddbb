"""Records that vanish without a word: all ids are listed at times, and what is missing gets a tombstone."""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dagster_project.extract.api.api_report import EntityReport, Status
from dagster_project.extract.api.changed_deals import living_ids, vanished_ids
from dagster_project.extract.api.protocol import EntitySpec, Window, tombstone

if TYPE_CHECKING:
    from dagster_project.extract.api.api_extract import Extraction


def sweep(run: "Extraction", spec: EntitySpec, report: EntityReport) -> None:
    """List all ids when a sweep is due, and land tombstones for landed ids that are not among them.

    A sweep that would declare more than the source's `accept_vanished` gone is refused with a note: a missing
    right looks exactly like a deletion. An id is compared only when it was landed before the listing began.
    """
    covered = run.covered(spec.name)
    if covered.until is None or covered.swept_at is None:
        return
    window = Window(report.window_from, covered.until)
    is_due = covered.until - covered.swept_at >= timedelta(days=run.source.sweep_days)
    if not is_due and not (report.status is Status.LANDED and run.connector.needs_sweep(spec, window)):
        return
    with TemporaryDirectory(prefix="stageledger-sweep-") as folder:
        seen = Path(folder) / "seen.txt"
        with seen.open("w", encoding="utf-8") as stream:
            for page in run.connector.ids(spec):
                stream.writelines(f"{record_id}\n" for record_id in page)
        vanished = vanished_ids(covered.batches, seen)
    living = living_ids(covered.batches)
    if len(vanished) > run.source.accept_vanished * living:
        report.notes.append(
            f"{len(vanished):,} of {living:,} {spec.name} are missing in the list of all ids, such as "
            f"{', '.join(vanished[:5])}; none was marked as deleted. Look whether the credential still sees "
            "everything; if they were deleted on purpose, set `accept_vanished:` of the source to "
            f"{min(1.0, len(vanished) / living + 0.01):.2f} for one run"
        )
        return
    now = run.connector.client.server_now()
    run.land(spec, "sweep", [tombstone(record_id, "vanished", now) for record_id in vanished])
    if vanished:
        report.notes.append(f"{len(vanished):,} {spec.name} have vanished and were marked as deleted")
