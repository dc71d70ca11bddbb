"""Land the simulated CRM without going through files: fast, for benchmarks.

The simulation does not import the pipeline: the caller hands over its landing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

import duckdb
import pandas as pd
import pyarrow as pa

from dagster_project.contract import ENTITIES, Kind
from dagster_project.simulate.crm_export import BUSINESS_TABLES, DEAL_URL, EXPORTS
from dagster_project.simulate.events import end_of_day
from dagster_project.simulate.hazards import day_number
from dagster_project.simulate.known import Known, known_at
from dagster_project.simulate.world import World

SOURCE = "crm_export"
BUSINESS = "business"
PER_DEAL = ("deals", "stage_history", "line_items")
SOURCE_TYPE = "files"
FINGERPRINT = "simulated"


@dataclass(frozen=True)
class Delivery:
    """Whose batch it is, and when it was extracted (UTC): what the landing calls a stamp."""

    source: str
    entity: str
    batch_id: str
    extracted_at: datetime
    is_initial_load: bool
    source_type: str = SOURCE_TYPE


class Landing(Protocol):
    """The part of the pipeline's landing (extract.landing.Landing) that is needed here."""

    def ensure_empty_batches(self) -> None: ...

    def write(
        self,
        stamp: Delivery,
        fill: Callable[[Path], None],
        *,
        fingerprint: str,
        covered_until: date,
        newest_event_on: date,
    ) -> object: ...

    def end_initial_load(self, source: str, entities: Iterable[str], at: datetime) -> None: ...


def write_landing(
    worlds: World | Iterable[World],
    landing: Landing,
    as_of: date,
    since: date | None = None,
    extracted_at: datetime | None = None,
) -> dict[str, int]:
    """Land what the CRM knows at the end of `as_of`; returns the rows per entity.

    `landing` is the pipeline's: `write_landing(world, Landing(folder), as_of)`.
    `worlds` is a world, or its parts (simulate_in_parts): each part becomes batches of its own, so memory
    stays flat. With `since`, only what changed after that day: a nightly delivery after an initial load.
    `extracted_at` (UTC) defaults to two hours after the end of `as_of`. Source name crm_export, the
    business's facts under business.
    """
    landing.ensure_empty_batches()
    counts: dict[str, int] = {}
    for part, world in enumerate([worlds] if isinstance(worlds, World) else worlds):
        known = known_at(world, as_of)
        if since is not None:
            known = _changed(known, known_at(world, since), end_of_day(world.config, day_number(since)))
        at = extracted_at or (
            end_of_day(world.config, day_number(as_of)) + pd.Timedelta(hours=2)
        ).to_pydatetime().replace(tzinfo=UTC)
        for entity in (*EXPORTS, *BUSINESS_TABLES):
            frame = getattr(known, entity)
            if (part > 0 and entity not in PER_DEAL) or frame.empty:
                continue
            source = BUSINESS if entity in BUSINESS_TABLES else SOURCE
            batch_id = f"{at:%Y%m%dT%H%M%S}-{part:05d}"
            stamp = Delivery(source, entity, batch_id, at, is_initial_load=since is None)
            _land(landing, stamp, frame, as_of)
            counts[entity] = counts.get(entity, 0) + len(frame)
    if since is None:
        landing.end_initial_load(SOURCE, EXPORTS, at)
        landing.end_initial_load(BUSINESS, BUSINESS_TABLES, at)
    return counts


def _changed(known: Known, before: Known, since_end: pd.Timestamp) -> Known:
    """Only what is new or different since an earlier day: changed deals with their items, new rows else."""
    deals = known.deals[known.deals["modified_at"] >= since_end]
    history = known.stage_history[known.stage_history["recorded_at"] >= since_end]
    items = known.line_items[known.line_items["deal_id"].isin(deals["deal_id"])]
    other = {
        entity: _new_rows(getattr(known, entity), getattr(before, entity))
        for entity in (*EXPORTS, *BUSINESS_TABLES)
        if entity not in PER_DEAL
    }
    return Known(deals=deals, stage_history=history, line_items=items, **other)


def _new_rows(now: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Rows of `now` that `before` does not have."""
    seen = now.merge(before.drop_duplicates(), how="left", indicator=True)["_merge"]
    return now[(seen == "left_only").to_numpy()]


def _land(landing: Landing, stamp: Delivery, frame: pd.DataFrame, as_of: date) -> None:
    """Land one frame; DuckDB writes the JSON text."""
    entity = ENTITIES[stamp.entity]
    if stamp.entity == "deals":
        frame = frame.assign(deal_url=DEAL_URL + frame["deal_id"].astype("str"))
    if stamp.entity == "stage_history":
        frame = frame.assign(time_precision="event", change_source="history")
    known = [name for name in entity.fields if name in frame.columns]
    fields = ", ".join(
        f"'{name}': {_as_text(name, entity.fields[name], name in known)}" for name in entity.fields
    )
    record_id = _record_id(stamp.entity, entity.key, fields)
    query = f"""
        select '{stamp.source}' as source_relation, {record_id} as record_id,
            {"cast(modified_at as timestamp)" if stamp.entity == "deals" else "cast(null as timestamp)"}
                as modified_at,
            cast(? as timestamp) as extracted_at, '{stamp.batch_id}' as batch_id,
            {str(stamp.is_initial_load).lower()} as is_initial_load, false as is_deleted,
            cast(to_json({{{fields}, 'extra': cast('{{}}' as json), 'file': 'simulated',
                'row': cast(row_number() over () + 1 as varchar)}}) as varchar) as payload
        from frame
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)

    def fill(path: Path) -> None:
        with duckdb.connect(config={"threads": 2}) as connection:
            connection.register("frame", table)
            at = stamp.extracted_at.astimezone(UTC).replace(tzinfo=None)
            connection.execute(f"copy ({query}) to '{path}' (format parquet, compression zstd)", [at])

    landing.write(stamp, fill, fingerprint=FINGERPRINT, covered_until=as_of, newest_event_on=as_of)


def _as_text(name: str, kind: Kind, is_known: bool) -> str:
    """SQL for a field's text in the payload."""
    if not is_known:
        return "cast(null as varchar)"
    if kind == "date":
        return f"strftime(\"{name}\", '%Y-%m-%d')"
    if kind == "instant":
        return f"strftime(\"{name}\", '%Y-%m-%d %H:%M:%S')"
    if kind in ("decimal", "probability"):
        return f"rtrim(rtrim(cast(cast(\"{name}\" as decimal(20, 6)) as varchar), '0'), '.')"
    return f"nullif(cast(\"{name}\" as varchar), '')"


def _record_id(entity: str, key: tuple[str, ...], fields: str) -> str:
    """SQL for a record's id, as the files connector makes it: the key, else a hash of the content."""
    if entity == "stages":
        return f"concat_ws('/', pipeline, stage_id, {_as_text('valid_from', 'date', True)})"
    if entity == "stage_history":
        return "cast(event_id as varchar)"
    return f'cast("{key[0]}" as varchar)' if key else f"md5(cast(to_json({{{fields}}}) as varchar))"
