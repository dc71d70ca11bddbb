"""What the landing knows about record versions: which deals changed where it matters, and which ids live."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from dagster_project.extract.api.protocol import OWN_KEY
from dagster_project.extract.landing import PART, Batch

_TOMBSTONE = f"json_exists(payload, '$.{OWN_KEY}.deleted_reason')"


def changed_deals(batches: Sequence[Batch], follows_through: str, fields: Sequence[str]) -> list[str]:
    """Ids of deals with a version in a batch after `follows_through` that differs in one of `fields`.

    Compared with the deal's newest version up to there; a deal without one counts as changed, and so does
    every new version when no fields are named. Newest change first: what is asked for first is done first.
    """
    new = [batch for batch in batches if batch.folder.name > follows_through]
    old = [batch for batch in batches if batch.folder.name <= follows_through]
    if not new:
        return []
    shape = ", ".join(f"payload ->> '$.\"{name}\"'" for name in fields)
    shape = f"[{shape}]" if fields else "[batch_id]"
    known = f"""
        select record_id, max_by({shape}, (modified_at, extracted_at)) as shape
        from read_parquet({_files(old)})
        where record_id in (select record_id from fresh) and not {_TOMBSTONE}
        group by record_id
    """
    none = "select null::varchar as record_id, null::varchar[] as shape where false"
    query = f"""
        with fresh as (
            select record_id, modified_at, {shape} as shape
            from read_parquet({_files(new)}) where not {_TOMBSTONE}
        ),
        known as ({known if old else none})
        select record_id
        from fresh left join known using (record_id)
        where known.record_id is null or fresh.shape is distinct from known.shape
        group by record_id
        order by max(fresh.modified_at) desc nulls last, record_id
    """
    return [row[0] for row in _rows(query)]


def living_ids(batches: Sequence[Batch]) -> int:
    """How many ids have a newest version that is not deleted."""
    return int(_rows(f"select count(*) from ({_living(batches)})")[0][0]) if batches else 0


def vanished_ids(batches: Sequence[Batch], seen: Path) -> list[str]:
    """Living ids of the landing that are not among the lines of the file `seen`."""
    if not batches:
        return []
    return [
        row[0]
        for row in _rows(
            f"""
            select record_id from ({_living(batches)}) anti join (
                select trim(line) as record_id from read_csv(
                    {_text(str(seen))}, header = false, delim = '\x01', quote = '', escape = '',
                    columns = {{'line': 'varchar'}}
                )
            ) using (record_id)
            order by record_id
            """
        )
    ]


def _living(batches: Sequence[Batch]) -> str:
    return f"""
        select record_id from read_parquet({_files(batches)})
        group by record_id
        having not max_by(is_deleted, (coalesce(modified_at, extracted_at), extracted_at, batch_id))
    """


def _rows(query: str) -> list[tuple[str, ...]]:
    with duckdb.connect(":memory:", config={"memory_limit": "512MB", "threads": 1}) as connection:
        return connection.execute(query).fetchall()


def _files(batches: Sequence[Batch]) -> str:
    return "[" + ", ".join(_text(str(batch.folder / PART)) for batch in batches) + "]"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
