"""Land the simulated CRM without going through files: fast, for benchmarks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa

from dagster_project.contract import ENTITIES, Kind
from dagster_project.extract.landing import Landing, Stamp
from dagster_project.simulate.crm_export import BUSINESS_TABLES, DEAL_URL, EXPORTS
from dagster_project.simulate.events import end_of_day
from dagster_project.simulate.hazards import day_number
from dagster_project.simulate.known import Known, known_at
from dagster_project.simulate.world import World

SOURCE = "crm_export"
BUSINESS = "business"
PER_DEAL = ("deals", "stage_history", "line_items")
FINGERPRINT = "simulated"
DECIMALS = {"unit_price": 4, "rate": 6, "quantity": 0}


def write_landing(
    worlds: World | Iterable[World],
    landing_dir: Path,
    as_of: date,
    since: date | None = None,
    extracted_at: datetime | None = None,
) -> dict[str, int]:
    """Land what the CRM knows at the end of `as_of`; returns the rows per entity.

    `worlds` is a world, or its parts (simulate_in_parts): each part becomes batches of its own, so memory
    stays flat. With `since`, only what changed after that day: a nightly delivery after an initial load.
    `extracted_at` (UTC) defaults to two hours after the end of `as_of`. Source name crm_export, the
    business's facts under business.
    """
    landing = Landing(landing_dir)
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
            stamp = Stamp(source, entity, batch_id, at, is_initial_load=since is None)
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


def _land(landing: Landing, stamp: Stamp, frame: pd.DataFrame, as_of: date) -> None:
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
    key = entity.key or (("event_id",) if stamp.entity == "stage_history" else tuple(known))
    record_id = "concat_ws('|', " + ", ".join(f'cast("{name}" as varchar)' for name in key) + ")"
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
    if kind == "decimal":
        return f'cast(cast("{name}" as decimal(20, {DECIMALS.get(name, 2)})) as varchar)'
    return f'cast("{name}" as varchar)'
