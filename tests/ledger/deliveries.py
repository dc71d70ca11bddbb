"""A book as deliveries: landed with the landing's own writer, or as typed rows that staging would read."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from dagster_project.extract.landing import Landing, Stamp
from tests.ledger.book import FIRST_EXTRACTION, Book, Change, Record, Snapshot, Stage, payload

ALWAYS = datetime(1900, 1, 1)


def land(book: Book, folder: Path, parts: int = 1) -> None:
    """Write a book into a landing folder; each delivery (source, entity, time) becomes `parts` batches."""
    landing = Landing(folder)
    landing.ensure_empty_batches()
    batches: dict[tuple[str, str, datetime, bool], list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for number, stage in enumerate(book.stages):
        told = (str(number), payload(stage) | {"file": "stages.csv"})
        batches[stage.source, "stages", FIRST_EXTRACTION, True].append(told)
    for entity, rows in (("deals", book.records), ("stage_history", book.changes)):
        for row in rows:
            told = (row.deal_id, payload(row))
            batches[row.source, entity, row.extracted_at, row.is_initial_load].append(told)
    for entity, members in book.facts:
        for number, member in enumerate(members):
            source, extracted_at = member.get("source", "crm"), member.get("extracted_at", FIRST_EXTRACTION)
            told = {name: value for name, value in member.items() if name not in ("source", "extracted_at")}
            is_initial = extracted_at == FIRST_EXTRACTION
            batches[source, entity, extracted_at, is_initial].append((str(number), told))
    for (source, entity, extracted_at, is_initial), rows_told in batches.items():
        for part in range(parts):
            batch = f"{extracted_at:%Y%m%dT%H%M%S}-{'initial' if is_initial else 'nightly'}-{part}"
            landing.write_rows(
                Stamp(source, entity, batch, extracted_at, is_initial),
                [
                    {"record_id": record_id, "payload": json.dumps(_as_text(told))}
                    for record_id, told in rows_told[part::parts]
                ],
                fingerprint=batch,
            )


def typed_stages(stages: tuple[Stage, ...]) -> list[dict[str, Any]]:
    """Rows of `stg_stages`."""
    return [
        {
            "source_relation": stage.source,
            "pipeline_id": stage.pipeline,
            "stage_id": stage.stage_id,
            "stage_name": stage.name or stage.stage_id,
            "display_order": stage.order,
            "outcome": stage.outcome,
            "probability": stage.probability,
            "forecast_category": stage.forecast_category,
            "valid_from_at": stage.valid_from or ALWAYS,
        }
        for stage in stages
    ]


def typed_changes(changes: tuple[Change, ...]) -> list[dict[str, Any]]:
    """Rows of `files_deal_events`."""
    renamed = {
        "source": "source_relation",
        "changed_at": "event_at",
        "stage": "stage_id",
        "from_stage": "from_stage_id",
        "pipeline": "pipeline_id",
        "from_pipeline": "from_pipeline_id",
        "amount": "amount_native",
        "owner": "owner_id",
        "sequence": "sequence_number",
        "event_id": "source_event_id",
        "is_bulk": "is_bulk_flagged",
    }
    rows = [{renamed.get(name, name): value for name, value in asdict(row).items()} for row in changes]
    return [row | {"is_bulk_flagged": bool(row["is_bulk_flagged"])} for row in rows]


def typed_records(records: tuple[Record, ...]) -> list[dict[str, Any]]:
    """Rows of `files_deals`."""
    renamed = {
        "source": "source_relation",
        "name": "deal_name",
        "stage": "stage_id",
        "pipeline": "pipeline_id",
        "amount": "amount_native",
        "owner": "owner_id",
        "account": "account_id",
        "product": "product_id",
        "merged_into": "merged_into_deal_id",
    }
    return [
        {renamed.get(name, name): value for name, value in asdict(row).items()}
        | {"is_deleted": False, "batch_id": f"{row.extracted_at:%Y%m%dT%H%M%S}"}
        for row in records
    ]


def typed_sightings(snapshots: tuple[Snapshot, ...]) -> list[dict[str, Any]]:
    """Rows of `files_deals` that snapshots brought."""
    return [
        row
        | {
            "source_relation": snapshot.source,
            "sha256": snapshot.sha256,
            "data_as_of": snapshot.snapshot_on,
            "extracted_at": snapshot.extracted_at,
            "is_initial_load": snapshot.is_initial_load,
        }
        for snapshot in snapshots
        for row in typed_records(snapshot.records)
    ]


def typed_snapshots(snapshots: tuple[Snapshot, ...]) -> list[dict[str, Any]]:
    """Rows of `stg_snapshots`, each file with its day in its name."""
    return [
        {
            "source_relation": snapshot.source,
            "snapshot_on": snapshot.snapshot_on,
            "file_name": f"deals_{snapshot.snapshot_on}.csv",
            "sha256": snapshot.sha256,
            "stands_until_on": snapshot.snapshot_on + timedelta(days=1),
            "extracted_at": snapshot.extracted_at,
            "is_initial_load": snapshot.is_initial_load,
        }
        for snapshot in snapshots
    ]


def _as_text(told: dict[str, Any]) -> dict[str, str | None]:
    return {name: None if value is None else _text(value) for name, value in told.items()}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
