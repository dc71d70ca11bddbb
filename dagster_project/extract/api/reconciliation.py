"""Does every deal's history end in the stage that its record shows? Where not, both are asked for once more.

A history that misses its last move is the fault that other extractors are known for, and nothing in the data
of such a deal looks wrong. What still disagrees after the second reading is told with its ids, and the ledger
infers the missing move.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from dagster_project.extract.api.api_errors import ApiError, NotThere
from dagster_project.extract.api.api_report import Reconciled
from dagster_project.extract.api.coverage import coverage
from dagster_project.extract.api.protocol import OWN_KEY, EntitySpec, Record, StageTelling
from dagster_project.extract.landing import PART, Batch, Landing

if TYPE_CHECKING:
    from dagster_project.extract.api.api_extract import Extraction

logger = logging.getLogger(__name__)

DEALS = "deals"
# So many deals are asked for again in one night; more at once are no accident of single deals.
MOST_AT_ONCE = 2_000


def reconcile(run: "Extraction") -> Reconciled | None:
    """Compare all deals of a source, and read again, once per version, those that disagree.

    None where the CRM has no history, or nothing is landed of it. Errors of the CRM end in the result.
    """
    telling = run.connector.TELLING
    if telling is None:
        return None
    compared = compare(run.landing, run.source.name, telling)
    if compared is None:
        return None
    again = [deal.deal_id for deal in compared if deal.is_to_be_read_again][:MOST_AT_ONCE]
    if not again:
        return Reconciled(len(compared), _disagreeing(compared))
    problem = ""
    try:
        _read_again(run, run.connector.entity(DEALS), again)
        _read_again(run, run.connector.entity(telling.history), again)
    except ApiError as error:
        problem = str(error)
    left = _disagreeing(compare(run.landing, run.source.name, telling) or [])
    logger.info("%s: %d deals were read again, %d still disagree", run.source.name, len(again), len(left))
    return Reconciled(len(compared), left, len(again), problem)


class Compared(NamedTuple):
    """One deal. `was_read_again`: its newest version is already a second reading."""

    deal_id: str
    agrees: bool
    was_read_again: bool
    is_deleted: bool = False

    @property
    def is_to_be_read_again(self) -> bool:
        """A deleted deal is not: a CRM that has forgotten it would be asked for it every night."""
        return not (self.agrees or self.was_read_again or self.is_deleted)


def compare(landing: Landing, source: str, telling: StageTelling) -> list[Compared] | None:
    """All deals that are not merged away or vanished, by id; None while nothing is landed.

    At an instant with several moves any of them may be the last. A deal whose history is still to be asked
    for is left out; one without any move agrees unless its record says that it has moved.
    """
    deals, history = landing.batches(source, DEALS), landing.batches(source, telling.history)
    if not deals or not history:
        return None
    query = f"""
        with versions as (
            select
                record_id as deal_id,
                {telling.current_stage} as stage,
                coalesce({telling.has_moves}, false) as has_moves,
                payload ->> '$.{OWN_KEY}.deleted_reason' is not null as is_tombstone,
                is_deleted,
                batch_id,
                row(coalesce(modified_at, extracted_at), extracted_at, batch_id) as place
            from read_parquet({_files(deals)})
        ),
        current as (
            select
                deal_id,
                max_by(coalesce(stage, ''), place) as stage,
                max_by(has_moves, place) as has_moves,
                max_by(is_tombstone, place) as is_tombstone,
                max_by(is_deleted, place) as is_deleted,
                max(batch_id) as batch_id
            from versions
            group by deal_id
        ),
        moves as (
            select {telling.deal_id} as deal_id, unnest({telling.moves}) as move
            from read_parquet({_files(history)})
        ),
        timed as (
            select
                deal_id,
                coalesce(try_cast(move.timestamp as timestamp), timestamp '1970-01-01') as moved_at,
                move.value as stage
            from moves
            where move.value is not null
        ),
        last_moves as (
            select timed.deal_id, list(distinct timed.stage) as stages
            from timed
            inner join (select deal_id, max(moved_at) as moved_at from timed group by deal_id) as last
                on timed.deal_id = last.deal_id and timed.moved_at = last.moved_at
            group by timed.deal_id
        )
        select
            current.deal_id,
            coalesce(list_contains(last_moves.stages, current.stage), not current.has_moves),
            current.batch_id,
            current.is_deleted
        from current
        left join last_moves on current.deal_id = last_moves.deal_id
        where not current.is_tombstone and not list_contains(?::varchar[], current.deal_id)
        order by current.deal_id
    """
    waiting = list(coverage(landing, source, telling.history).left)
    second = {batch.folder.name for batch in deals if _is_second_reading(batch)}
    with duckdb.connect(":memory:", config={"memory_limit": "512MB", "threads": 1}) as connection:
        rows = connection.execute(query, [waiting]).fetchall()
    return [Compared(deal_id, agrees, batch in second, gone) for deal_id, agrees, batch, gone in rows]


def _read_again(run: "Extraction", spec: EntitySpec, ids: Sequence[str]) -> None:
    """Ask for these ids and land the answers. One that is asked for alone and is gone costs only itself."""

    def found(chunk: Sequence[str]) -> Sequence[Record]:
        try:
            return run.connector.read_ids(spec, chunk)
        except NotThere:
            if len(chunk) > 1:
                raise
            return ()

    size = spec.ids_per_request
    chunks = [ids[at : at + size] for at in range(0, len(ids), size)]
    records = [record for answer in run.connector.client.in_parallel(found, chunks) for record in answer]
    run.land(spec, "records", records)


def _disagreeing(compared: Sequence[Compared]) -> tuple[str, ...]:
    return tuple(deal.deal_id for deal in compared if not deal.agrees)


def _is_second_reading(batch: Batch) -> bool:
    reading = batch.manifest.reading
    return reading is not None and reading.kind == "records"


def _files(batches: Sequence[Batch]) -> str:
    paths: list[Path] = [batch.folder / PART for batch in batches]
    return "[" + ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths) + "]"
