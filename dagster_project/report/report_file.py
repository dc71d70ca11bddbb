"""The files of the report beside the published file: written whole or not at all."""

import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dagster_project.report.errors import NothingPublished, ReportNotWritten
from dagster_project.report.marts import Marts
from dagster_project.report.page import render_page
from dagster_project.report.page_context import PageContext
from dagster_project.report.published import Stamp, open_published
from dagster_project.report.slices import editions

__all__ = ["NothingPublished", "ReportNotWritten", "WrittenPage", "write_report"]
OWN_FILES = "report*.html"


@dataclass(frozen=True)
class WrittenPage:
    """One file of the report."""

    path: Path
    edition: str
    size_bytes: int


@dataclass(frozen=True)
class WrittenReport:
    """All files of one run. `cpu_seconds` and `peak_megabytes` are those of the process."""

    pages: Sequence[WrittenPage]
    stamp: Stamp
    cpu_seconds: float
    peak_megabytes: float


def write_report(
    published_file: Path,
    folder: Path,
    business: str,
    currency: str,
    pages: Sequence[str] = ("full",),
    settings: Sequence[tuple[str, str]] = (),
) -> WrittenReport:
    """Write the editions that `pages` names (full, team, board) into `folder`, from the published file alone.

    Files of editions that are not asked for any more are removed: nobody would notice how old they are.

    Raises:
        NothingPublished: there is no published file.
        ReportNotWritten: a page could not be made or put into its place; the earlier one stays.
    """
    started = time.process_time()
    written = []
    try:
        with open_published(published_file) as published:
            marts = Marts(published, currency)
            for edition in editions(published, pages):
                text = render_page(PageContext(marts, edition, business), settings)
                path = folder / edition.file_name
                written.append(WrittenPage(path, edition.kind, _replace(path, text)))
    except NothingPublished:
        raise
    except Exception as error:  # whatever it is, the published file serves and the earlier page stays
        raise ReportNotWritten(
            f"the report was not written ({type(error).__name__}: {error}). The published file is complete "
            "and an earlier report stays. The next run writes it, the job `publish` does so at once; "
            "where it fails again the log of the run says more"
        ) from error
    for stale in set(folder.glob(OWN_FILES)) - {page.path for page in written}:
        stale.unlink(missing_ok=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return WrittenReport(written, marts.stamp, time.process_time() - started, peak)


def _replace(path: Path, text: str) -> int:
    """Put the text under its name in one step; readers see the old page or the new one."""
    # A half of a pair, as a broken export may hold it, has no bytes in UTF-8.
    data = text.encode("utf-8", "replace")
    unfinished = path.with_name(f".{path.name}.new")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return len(data)
