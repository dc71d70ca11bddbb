"""A small business in a temporary folder: write its exports, run the extraction, read what landed."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from dagster_project.extract.files.connector import extract_files
from dagster_project.extract.files.results import ExtractResult, FileReport
from dagster_project.extract.landing import PART, Landing
from dagster_project.settings import Settings, load_settings

NOW = datetime(2026, 4, 2, 3, 0, tzinfo=UTC)

DEALS = """\
    deals:
      path: deals*
      columns: {deal_id: ID, stage: Stage, amount: Amount, close_date: Close, created_at: Created}
"""
STAGES = """\
    stages:
      - {name: Meeting, order: 1}
      - {name: Offer, order: 2}
      - {name: Won, outcome: won}
      - {name: Lost, outcome: lost}
"""


@dataclass
class Business:
    """A folder with exports and a configuration."""

    folder: Path
    source: str = DEALS + STAGES
    zone: str = "Europe/Amsterdam"
    extra: str = ""

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def settings(self, **environ: str) -> Settings:
        config = self.write(
            "pipeline.yaml",
            f"business: {{name: B, time_zone: {self.zone}, currency: EUR}}\n"
            f"sources:\n  - name: export\n    type: files\n{self.source}{self.extra}",
        )
        return load_settings(config, self.folder / "data", environ)

    def extract(
        self, now: datetime = NOW, source: int = 0, pause: Callable[[float], None] | None = None
    ) -> ExtractResult:
        settings = self.settings()
        return extract_files(settings, settings.file_sources()[source], now, pause=pause or (lambda _: None))

    def report(self, entity: str = "deals", **arguments: Any) -> FileReport:
        (report,) = self.extract(**arguments).of(entity)
        return report

    @property
    def landing(self) -> Landing:
        return Landing(self.folder / "data" / "landing")

    def landed(self, entity: str, source: str | None = "export") -> list[dict[str, Any]]:
        """Payloads with the record's own columns under `_`, in the order of batch and line."""
        records: list[dict[str, Any]] = []
        for batch in self.landing.batches(source, entity):
            rows = pq.read_table(batch.folder / PART).to_pylist()
            found = [{**json.loads(row.pop("payload")), "_": row} for row in rows]
            records += sorted(found, key=lambda record: int(record.get("row", 0)))
        return records
