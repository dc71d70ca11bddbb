"""Files full of odd rows, read by the whole files connector: no row is lost, whatever stands in it.

The rows that a file was given are counted while it is written; what the connector tells of it, and what
lies in the landing afterwards, must come to the same.
"""

import csv
import io
import json
import random
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dagster_project.contract import BUSINESS_ENTITIES, SOURCE_ENTITIES
from dagster_project.extract.api.connectors import api_entities
from dagster_project.extract.files.connector import extract_files
from dagster_project.extract.landing import PART, Landing
from dagster_project.settings import Settings, load_settings
from tests.soak.fuzz_targets import Defect
from tests.soak.odd_values import ODD_TEXTS

NOW = datetime(2026, 4, 2, 3, tzinfo=UTC)
_ROWS = 5_000
_ENTITIES = (
    "deals",
    "stage_history",
    "stages",
    "accounts",
    "quotas",
    "fx_rates",
    "stage_map",
    "aliases",
    "holidays",
)
_STAGES = ("Offer", "offer ", "OFFER", "Won", "Legal", "Lost/Cold")


class OddTables:
    """A business whose exports are drawn by chance."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        Landing(folder / "empty").ensure_empty_batches(api_entities())

    def read(self, chance: random.Random) -> int:
        """Write a file, extract it, and count; the rows it had. Errors: Defect."""
        data = self._folder / "data"
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(self._folder / "empty", data / "landing")
        for old in self._folder.glob("odd.*"):
            old.unlink()
        entity = chance.choice(_ENTITIES)
        headers = _headers(entity)
        rows = [_row(chance, headers) for _ in range(chance.choice((1, 200, _ROWS)))]
        form = chance.choice(("csv", "csv", "jsonl", "parquet"))
        (self._folder / f"odd.{form}").write_bytes(_written(form, headers, rows, chance))
        settings = self._settings(entity, form, chance)
        source = settings.file_sources()[1 if entity in BUSINESS_ENTITIES else 0]
        result = extract_files(settings, source, NOW, pause=lambda _: None)
        (report,) = [found for found in result.of(entity) if found.file == f"odd.{form}"]
        if report.status != "read":
            raise Defect(f"{entity} as {form}: {report.status}: {report.problem}")
        fates = report.rows_kept + report.rows_rejected + report.rows_duplicate
        if not len(rows) == report.rows_read + report.lines_beside == fates + report.lines_beside:
            raise Defect(
                f"{entity} as {form}: of {len(rows)} rows {report.rows_read} were read, {fates} have a fate"
            )
        for name, count in ((entity, report.rows_kept), ("rejects", report.rows_rejected)):
            landed = self._landed(source.name, name)
            if landed != count:
                raise Defect(f"{entity} as {form}: {count} rows of {name} were told, {landed} landed")
        return len(rows)

    def _landed(self, source: str, entity: str) -> int:
        batches = Landing(self._folder / "data" / "landing").batches(source, entity)
        rows = [
            row
            for batch in batches
            for row in pq.read_table(batch.folder / PART, columns=["payload"]).to_pylist()
        ]
        return sum("odd." in str(json.loads(row["payload"]).get("file")) for row in rows)

    def _settings(self, entity: str, form: str, chance: random.Random) -> Settings:
        columns = ", ".join(f"{name}: {name}" for name in _headers(entity))
        table = f"{{path: odd.{form}, columns: {{{columns}}}}}"
        deals = "{path: none*.csv, columns: {deal_id: ID, stage: Stage}}"
        sources = {"deals": deals, **({entity: table} if entity in SOURCE_ENTITIES else {})}
        lines = "".join(f"    {name}: {value}\n" for name, value in sources.items())
        if entity != "stages":
            lines += "    stages: [{name: Offer, order: 1}, {name: Won, outcome: won}]\n"
        order = chance.choice(("ymd", "dmy", "mdy", "serial", None))
        decimal = chance.choice((",", ".", None))
        marks = [f'decimal: "{decimal}"'] * bool(decimal) + [f"date_order: {order}"] * (
            order not in (None, "ymd")
        )
        tables = f"tables: {{{entity}: {table}}}\n" if entity in BUSINESS_ENTITIES else ""
        config = self._folder / "pipeline.yaml"
        config.write_text(
            "business: {name: B, time_zone: Europe/Amsterdam, currency: EUR}\n"
            "sources:\n  - name: export\n    type: files\n"
            f"    format: {{{', '.join(marks)}}}\n{lines}{tables}"
        )
        return load_settings(config, self._folder / "data", {})


def _headers(entity: str) -> tuple[str, ...]:
    """The fields that a file can tell; the others are the connector's own."""
    fields = {**SOURCE_ENTITIES, **BUSINESS_ENTITIES}[entity].fields
    return tuple(name for name in fields if name not in ("time_precision", "change_source"))


def _row(chance: random.Random, headers: Sequence[str]) -> list[str]:
    return [_cell(chance, header, place) for place, header in enumerate(headers)]


def _cell(chance: random.Random, header: str, place: int) -> str:
    if place == 0 and chance.random() < 0.8:
        return f"{header} {chance.randrange(300)}"
    if "stage" in header and chance.random() < 0.7:
        return chance.choice(_STAGES)
    if chance.random() < 0.5:
        return ""
    return chance.choice(ODD_TEXTS)


def _written(
    form: str, headers: Sequence[str], rows: Sequence[Sequence[str]], chance: random.Random
) -> bytes:
    whole = [[_storable(cell, form) for cell in row] for row in rows]
    if form == "jsonl":
        return "\n".join(json.dumps(dict(zip(headers, row, strict=True))) for row in rows).encode() + b"\n"
    if form == "parquet":
        out = io.BytesIO()
        columns = zip(*whole, strict=True)
        pq.write_table(
            pa.table({h: pa.array(c, pa.string()) for h, c in zip(headers, columns, strict=True)}), out
        )
        return out.getvalue()
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=chance.choice(",;\t|"), lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([headers, *whole])
    return text.getvalue().encode()


def _storable(text: str, form: str) -> str:
    """Half a character cannot stand in UTF-8, only JSON can name it; a file with zeros is no text file."""
    whole = text.encode("utf-8", "replace").decode()
    return whole.replace("\x00", "") if form == "csv" else whole
