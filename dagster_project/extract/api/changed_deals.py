"""What the landing knows about record versions: which deals changed where it matters, and which ids live."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from dagster_project.extract.api.coverage import REFRESH
from dagster_project.extract.api.protocol import OWN_KEY
from dagster_project.extract.landing import PART, Batch

_TOMBSTONE = f"json_exists(payload, '$.{OWN_KEY}.deleted_reason')"


def changed_deals(batches: Sequence[Batch], follows_through: str, fields: Sequence[str]) -> list[str]:
    """Ids of deals with a version in a batch after `follows_through` that differs in one of `fields`.

    Compared with the deal's newest version up to there; a deal without one counts as changed, and so does
    every new version when no fields are named (one that a full refresh brought: if its modified stamp is
    newer). Newest change first: what is asked for first is done first.
    """
    new = [batch for batch in batches if batch.folder.name > follows_through]
    old = [batch for batch in batches if batch.folder.name <= follows_through]
    if not new:
        return []
    shape = ", ".join(f"payload ->> '$.\"{name}\"'" for name in fields)
    shape = f"[{shape}]" if fields else "[batch_id]"
    refreshed = [] if fields else [batch.folder.name for batch in new if _is_refresh(batch)]
    known = f"""
        select
            record_id,
            max_by({shape}, (modified_at, extracted_at)) as shape,
            max(modified_at) as modified_at
        from read_parquet({_files(old)})
        where record_id in (select record_id from fresh) and not {_TOMBSTONE}
        group by record_id
    """
    none = "select null::varchar as record_id, null::varchar[] as shape, null::timestamp as modified_at"
    query = f"""
        with fresh as (
            select record_id, modified_at, {shape} as shape, list_contains(?, batch_id) as is_refreshed
            from read_parquet({_files(new)}) where not {_TOMBSTONE}
        ),
        known as ({known if old else none + " where false"})
        select record_id
        from fresh left join known using (record_id)
        where known.record_id is null
            or case
                when fresh.is_refreshed then coalesce(fresh.modified_at > known.modified_at, false)
                else fresh.shape is distinct from known.shape
            end
        group by record_id
        order by max(fresh.modified_at) desc nulls last, record_id
    """
    return [row[0] for row in _rows(query, [refreshed])]


@dataclass(frozen=True)
class IdsCompared:
    """A list of all ids beside the landing: `living` there, and the ids that do not agree.

    `vanished`: living in the landing, not listed. `returned`: deleted in the landing, listed. `unknown`:
    listed, and never landed.
    """

    living: int
    vanished: tuple[str, ...]
    returned: tuple[str, ...]
    unknown: tuple[str, ...]


def compare_ids(batches: Sequence[Batch], listed: Path, through: str) -> IdsCompared:
    """Compare the landing with a Parquet file whose `record_id` are the ids that were listed.

    `through`: the newest batch when the listing began. An id of a newer batch is left alone: it may have come
    or gone while the list was read.
    """
    if not batches:
        return IdsCompared(0, (), (), ())
    query = f"""
        with landed as (
            select
                record_id,
                max_by(is_deleted, (coalesce(modified_at, extracted_at), extracted_at, batch_id)) as is_gone,
                max(batch_id) as batch_id
            from read_parquet({_files(batches)})
            group by record_id
        ),
        listed as (select distinct record_id from read_parquet({_text(str(listed))})),
        compared as (
            select
                record_id,
                case
                    when landed.record_id is null then 'unknown'
                    when landed.is_gone and listed.record_id is not null then 'returned'
                    when not landed.is_gone and listed.record_id is null then 'vanished'
                    else 'agrees'
                end as outcome
            from landed full join listed using (record_id)
            where landed.batch_id is null or landed.batch_id <= ?
        )
        select 'living' as outcome, count(*)::varchar as record_id from landed where not is_gone
        union all
        select outcome, record_id from compared where outcome <> 'agrees'
        order by outcome, record_id
    """
    found: dict[str, list[str]] = {"living": [], "vanished": [], "returned": [], "unknown": []}
    for outcome, record_id in _rows(query, [through]):
        found[outcome].append(record_id)
    return IdsCompared(
        int(found["living"][0]), tuple(found["vanished"]), tuple(found["returned"]), tuple(found["unknown"])
    )


def _is_refresh(batch: Batch) -> bool:
    reading = batch.manifest.reading
    return reading is not None and reading.kind == REFRESH


def _rows(query: str, values: Sequence[object]) -> list[tuple[str, ...]]:
    with duckdb.connect(":memory:", config={"memory_limit": "512MB", "threads": 1}) as connection:
        return connection.execute(query, list(values)).fetchall()


def _files(batches: Sequence[Batch]) -> str:
    return "[" + ", ".join(_text(str(batch.folder / PART)) for batch in batches) + "]"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
