"""A simulated business as the tables that the forecast reads, without the way through landing and dbt."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.world import World
from tests.synthetic_ledger import LedgerTables

EUR_PER_USD = 1 / 1.08
RANK = {stage.stage_id: stage.order for stage in cat.STAGES}
OUTCOME = {stage.stage_id: stage.outcome for stage in cat.STAGES}


def ledger_of(world: World, as_of: date) -> LedgerTables:
    """Versions and transitions of all recorded changes up to the end of `as_of`; keys are hexadecimal."""
    zone = world.config.time_zone
    events = world.events[world.events["in_history"]]
    columns = ["deal_id", "sequence", "changed_at", "stage", "amount", "currency", "close_date"]
    columns += ["owner", "pipeline"]
    changes = pd.concat([events[columns].assign(is_deleted=False), _removals(world, events[columns])])
    changes["day"] = changes["changed_at"].dt.tz_localize("UTC").dt.tz_convert(zone).dt.tz_localize(None)
    changes["day"] = changes["day"].dt.normalize()
    changes = changes[changes["day"] <= pd.Timestamp(as_of)]
    changes = changes.sort_values(["deal_id", "changed_at", "sequence"], ignore_index=True)
    by_deal = changes.groupby("deal_id")
    rate = np.where(changes["currency"].astype(str) == "USD", EUR_PER_USD, 1.0)
    stage = changes["stage"].astype(str)
    is_push = changes["close_date"] > by_deal["close_date"].shift(1)
    versions = pd.DataFrame(
        {
            "deal_key": changes["deal_id"].map("{:016x}".format),
            "source_relation": "crm",
            "version_number": by_deal.cumcount() + 1,
            "valid_from_at": changes["changed_at"],
            "valid_to_at": by_deal["changed_at"].shift(-1),
            "valid_from_date": changes["day"],
            "valid_to_date": by_deal["day"].shift(-1),
            "stage_key": stage,
            "status": stage.map(OUTCOME),
            "amount_native": (changes["amount"] * rate).round(3),
            "currency": "EUR",
            "amount_base": (changes["amount"] * rate).round(3),
            "close_date": changes["close_date"],
            "is_deleted": changes["is_deleted"],
            "merged_into_deal_id": None,
            "asof_quality": "history",
            "amount_asof_quality": "history",
            "close_date_asof_quality": "history",
            "excluded_by": None,
            "owner_key": changes["owner"].astype(str),
            "pipeline_key": changes["pipeline"].astype(str),
            "push_count_so_far": is_push.groupby(changes["deal_id"]).cumsum(),
        }
    )
    return LedgerTables(versions, _transitions(versions), as_of)


def _removals(world: World, events: pd.DataFrame) -> pd.DataFrame:
    """The last state again, as removed, at the instant at which a deal was deleted or merged away."""
    gone = world.deals.set_index("deal_id")[["deleted_at", "merged_at"]].min(axis=1).dropna()
    last = events.drop_duplicates("deal_id", keep="last").set_index("deal_id")
    last = last[last.index.isin(gone.index)]
    removed = last.assign(changed_at=gone.reindex(last.index), is_deleted=True, sequence=1_000_000)
    return removed.reset_index()


def _transitions(versions: pd.DataFrame) -> pd.DataFrame:
    before = versions.groupby("deal_key")[["stage_key", "status"]].shift(1)
    moves = versions[before["stage_key"] != versions["stage_key"]].copy()
    moves["from_status"] = before.loc[moves.index, "status"]
    moves["to_rank"] = moves["stage_key"].map(RANK)
    from_rank = before.loc[moves.index, "stage_key"].map(RANK)
    is_open = moves["status"] == "open"
    return pd.DataFrame(
        {
            "deal_key": moves["deal_key"],
            "transition_number": moves.groupby("deal_key").cumcount() + 1,
            "transitioned_at": moves["valid_from_at"],
            "business_date": moves["valid_from_date"],
            "from_status": moves["from_status"],
            "to_status": moves["status"],
            "amount_native": moves["amount_native"],
            "currency": moves["currency"],
            "amount_base": moves["amount_base"],
            "close_date": moves["close_date"],
            "excluded_by": None,
            "to_rank": moves["to_rank"],
            "stages_skipped": (moves["to_rank"] - from_rank - 1).clip(lower=0).where(is_open, 0).fillna(0),
            "visit_number": moves.groupby(["deal_key", "stage_key"]).cumcount() + 1,
        }
    )
