"""What a backfill may not do: days that are not there, a landing with gaps, definitions nobody agreed to."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from dagster_project.definition_changes import changed_settings
from dagster_project.extract.landing import Landing, Stamp
from dagster_project.publish.versions import current_file
from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

_LEDGER_INSTANTS = "ledger.int_known_on"
_STAGED_DEALS = "staging.stg_deals"
_SHOWN = 5


class BackfillRefused(Exception):
    """A backfill that would lose something, or cannot be done; the text says why and what to do."""


def days_between(first: str, last: str, earliest: date, newest: date) -> tuple[date, ...]:
    """The days of a range, both ends included; an empty end is the newest day, an empty start the end.

    Errors: BackfillRefused for what is no date, a range backwards, and days before `earliest` or after
    `newest`.
    """
    end = _day(last, "last_day") or newest
    start = _day(first, "first_day") or end
    if end < start:
        raise BackfillRefused(f"last_day ({end}) lies before first_day ({start}): exchange them")
    if end > newest:
        raise BackfillRefused(f"{end} is not over, or the data end before it: choose days up to {newest}")
    if start < earliest:
        raise BackfillRefused(f"the history begins on {earliest}: choose days from then on, not {start}")
    return tuple(start + timedelta(days=step) for step in range((end - start).days + 1))


def refuse_missing_warehouse(settings: Settings) -> None:
    """Live forecasts and what was known when are in the warehouse alone: no landing brings them back.

    Errors: BackfillRefused when there is none.
    """
    if settings.paths.warehouse.exists():
        return
    if current_file(settings.paths.published_dir) is not None:
        raise BackfillRefused(
            f"there is no warehouse at {settings.paths.warehouse}, though a version was published from it: a "
            "new one would lack the live forecasts and what was known when. Restore it from a backup"
        )
    raise BackfillRefused("nothing has been built yet: run the nightly job first (`make run`)")


def refuse_gaps_in_landing(settings: Settings, warehouse: Warehouse) -> None:
    """Whatever the ledger was built from must still be in the landing.

    Errors: BackfillRefused when there is no landing, or extractions that the ledger knows are not in it.
    """
    batches = Landing(settings.paths.landing).batches()
    if not batches:
        raise BackfillRefused(
            f"nothing is landed at {settings.paths.landing}: what was known when would be lost. Restore the "
            "landing from a backup, or check that DATA names the right folder"
        )
    if not warehouse.has_table(_LEDGER_INSTANTS):
        return
    known = warehouse.query(f"select first_extracted_at from {_LEDGER_INSTANTS} order by 1")
    stamps = [batch.manifest.stamp for batch in batches]
    landed = {stamp.extracted_at.replace(tzinfo=None) for stamp in stamps}
    lost = {at for at in (row.to_pydatetime() for row in known["first_extracted_at"]) if at not in landed}
    # All entities of one file extraction share an instant, so the deals are looked for by themselves.
    gone = sorted(lost | _lost_deals(warehouse, stamps))
    if gone:
        raise BackfillRefused(
            f"{len(gone)} of {len(known)} extractions that the ledger was built from are no longer in the "
            f"landing ({_instants(gone)}): their deals and what was known when would be lost. Restore them "
            f"under {settings.paths.landing} from a backup"
        )


def refuse_changed_definitions(
    warehouse: Warehouse, stored: Iterable[str], wanted: str, wanted_settings: str, is_accepted: bool
) -> list[str]:
    """What differs between the definitions `stored` rows were made with and those `wanted`, in sentences.

    Errors: BackfillRefused when something does and nobody has agreed.
    """
    changes = []
    for version in sorted({version for version in stored if version != wanted}):
        before = settings_of(warehouse, version)
        named = changed_settings(before, wanted_settings) if before else []
        what = "; ".join(named) or "which settings is no longer on record"
        changes.append(f"made with definitions {version}, now {wanted}: {what}")
    if changes and not is_accepted:
        raise BackfillRefused(
            f"the definitions have changed since the stored rows were made ({' | '.join(changes)}). Set "
            "accept_changed_definitions: true if the new rows shall follow the new definitions"
        )
    return changes


def settings_of(warehouse: Warehouse, definition_version: str) -> str | None:
    """The settings of the newest run under these definitions, as JSON."""
    if not warehouse.has_table("ops.run_context"):
        return None
    rows = warehouse.query(
        "select settings_json from ops.run_context where definition_version = $version "
        "order by run_order desc limit 1",
        {"version": definition_version},
    )
    return None if rows.empty else str(rows.loc[0, "settings_json"])


def _lost_deals(warehouse: Warehouse, stamps: Sequence[Stamp]) -> set[datetime]:
    """Instants at which a source delivered deals that are in staging, and no more in the landing."""
    if not warehouse.has_table(_STAGED_DEALS):
        return set()
    landed = {
        (stamp.source, stamp.extracted_at.replace(tzinfo=None)) for stamp in stamps if stamp.entity == "deals"
    }
    staged = warehouse.query(f"select distinct source_relation, first_extracted_at from {_STAGED_DEALS}")
    known = {(row.source_relation, row.first_extracted_at.to_pydatetime()) for row in staged.itertuples()}
    return {at for _, at in known - landed}


def _day(text: str, name: str) -> date | None:
    if not text.strip():
        return None
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise BackfillRefused(f"{name} is {text!r}: write a date such as 2026-03-31") from None


def _instants(found: list[datetime]) -> str:
    shown = ", ".join(f"{at:%Y-%m-%d %H:%M:%S} UTC" for at in found[:_SHOWN])
    return shown if len(found) <= _SHOWN else f"{shown}, …"
