"""Nights without a change leave a manifest each: those that a newer one has made void are removed.

A window without rows must be remembered, or the next one would read it again. The newest manifest remembers
it; the empty ones before it say nothing more.
"""

import os
from dataclasses import replace
from pathlib import Path

from dagster_project.extract.api.coverage import LEFT, Coverage, coverage_of
from dagster_project.extract.api.schema_drift import SCHEMA_FILE
from dagster_project.extract.inflight import InFlight
from dagster_project.extract.landing import Batch, Landing


def remove_void(landing: Landing, source: str, entity: str) -> int:
    """Remove the empty batches of an entity without which its coverage is the same; the number removed.

    Each leaves the readers' sight by one rename, after the batch that takes its place is visible: a killed
    process leaves one too many, never one too few.
    """
    kept = landing.batches(source, entity)
    void = []
    for batch in kept[:-1]:
        if batch.manifest.rows or batch.manifest.reading is None or _holds_more(batch.folder):
            continue
        rest = [other for other in kept if other is not batch]
        if _told_by(rest) == _told_by(kept):
            kept = rest
            void.append(batch)
    for batch in void:
        _remove(landing.root, batch)
    return len(void)


def _told_by(batches: list[Batch]) -> Coverage:
    return replace(coverage_of(batches), batches=())


def _holds_more(folder: Path) -> bool:
    return (folder / SCHEMA_FILE).exists() or (folder / LEFT).exists()


def _remove(root: Path, batch: Batch) -> None:
    with InFlight(root).folder("void") as folder:
        os.rename(batch.folder, folder / batch.folder.name)
