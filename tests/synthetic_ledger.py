"""A ledger made by hand or by chance, with the columns that the forecast reads; no pipeline needed.

Deals are written as moves (day, stage, status, amount, close date); versions and transitions follow from them
the plain way. `cut_at` makes the ledger as it would have been built at the end of an earlier day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from dagster_project.warehouse import Warehouse

USD_RATE_CHANGES_ON = date(2025, 4, 1)
RANK = {"prospect": 1, "proposal": 2}
CLOSED_RANK = 1000
STAGE_PROBABILITY = {"prospect": 0.2, "proposal": 0.5, "won": 1.0, "lost": 0.0}


@dataclass(frozen=True)
class Move:
    """The state of a deal from the end of `day` on."""

    day: date
    stage: str
    status: str = "open"
    amount: float | None = 100.0
    close_date: date | None = None
    is_deleted: bool = False
    currency: str = "EUR"
    excluded_by: str | None = None
    owner: str = "ann"
    pipeline: str = "sales"


@dataclass(frozen=True)
class Deal:
    """A deal with its moves in order; products: (product, share of the amount), its own one first."""

    key: str
    moves: tuple[Move, ...]
    region: str | None = None
    products: tuple[tuple[str, float], ...] = ()
    source: str = "crm"


@dataclass(frozen=True)
class Owner:
    """What was told of an owner at an instant; it holds until the next."""

    key: str
    team: str = "north"
    told_at: datetime = datetime(1900, 1, 1)
    ended_on: date | None = None
    region: str | None = None
    is_active: bool = True


@dataclass(frozen=True)
class LedgerTables:
    """The tables as frames, before they are written."""

    versions: pd.DataFrame
    transitions: pd.DataFrame
    as_of: date
    deals: tuple[Deal, ...] = ()


def won_deal(
    key: str, opened: date, won: date, amount: float | None = 100.0, stage: str = "proposal"
) -> Deal:
    """Open in one stage, then won on its close date."""
    return Deal(
        key, (Move(opened, stage, amount=amount, close_date=won), Move(won, "won", "won", amount, won))
    )


def open_deal(key: str, opened: date, amount: float | None = 100.0, stage: str = "proposal") -> Deal:
    """Open in one stage for good."""
    return Deal(key, (Move(opened, stage, amount=amount),))


def ledger_tables(deals: list[Deal], as_of: date, quality: str = "history") -> LedgerTables:
    """Versions and transitions of the deals; `quality` is the as-of quality of amounts and close dates."""
    versions, transitions = [], []
    for deal in deals:
        previous: Move | None = None
        closer = ""
        number = pushes = 0
        visited: list[str] = []
        for place, move in enumerate(deal.moves):
            is_kept = previous is not None and previous.status == move.status != "open"
            closer = closer if is_kept and not move.is_deleted else move.owner
            after = deal.moves[place + 1] if place + 1 < len(deal.moves) else None
            at = datetime.combine(move.day, time(9)) + timedelta(minutes=place)
            pushes += _is_push(previous, move)
            facts = {
                "deal_key": deal.key,
                "source_relation": deal.source,
                "amount_native": move.amount,
                "currency": move.currency,
                "amount_base": move.amount if move.currency == "EUR" else None,
                "close_date": move.close_date,
                "excluded_by": move.excluded_by,
            }
            versions.append(
                {
                    **facts,
                    "version_number": place + 1,
                    "valid_from_at": at,
                    "valid_to_at": datetime.combine(after.day, time(9)) + timedelta(minutes=place + 1)
                    if after
                    else None,
                    "valid_from_date": move.day,
                    "valid_to_date": after.day if after else None,
                    "stage_key": move.stage,
                    "owner_key": move.owner,
                    "credit_owner_key": closer,
                    "pipeline_key": move.pipeline,
                    "status": move.status,
                    "is_deleted": move.is_deleted,
                    "merged_into_deal_id": None,
                    "asof_quality": "history",
                    "amount_asof_quality": quality,
                    "close_date_asof_quality": quality,
                    "push_count_so_far": pushes,
                }
            )
            if previous is None or (previous.stage, previous.status) != (move.stage, move.status):
                number += 1
                visited.append(move.stage)
                transitions.append(
                    {
                        **facts,
                        "transition_number": number,
                        "transitioned_at": at,
                        "business_date": move.day,
                        "from_status": previous.status if previous else None,
                        "to_status": move.status,
                        "to_rank": RANK.get(move.stage, CLOSED_RANK),
                        "stages_skipped": 0,
                        "visit_number": visited.count(move.stage),
                    }
                )
            previous = move
    return LedgerTables(pd.DataFrame(versions), pd.DataFrame(transitions), as_of, tuple(deals))


def _is_push(previous: Move | None, move: Move) -> bool:
    if previous is None or previous.close_date is None or move.close_date is None:
        return False
    return previous.status == move.status == "open" and move.close_date > previous.close_date


def cut_at(tables: LedgerTables, day: date) -> LedgerTables:
    """The ledger as it was at the end of `day`: nothing later has happened yet."""
    versions = tables.versions[tables.versions["valid_from_date"] <= day].copy()
    unknown = versions["valid_to_date"].map(lambda end: isinstance(end, date) and end > day)
    versions.loc[unknown, ["valid_to_at", "valid_to_date"]] = None
    transitions = tables.transitions[tables.transitions["business_date"] <= day].copy()
    return replace(tables, versions=versions, transitions=transitions, as_of=day)


def write_ledger(
    path: Path,
    tables: LedgerTables,
    *,
    calendar: tuple[date, date] = (date(2022, 1, 1), date(2028, 12, 31)),
    dates_won: str = "close_date",
    run_id: str = "built-by-nightly",
    run_kind: str = "nightly",
    probability: dict[str, float | None] | None = None,
    owners: Sequence[Owner] = (),
    nights: Sequence[tuple[date, datetime]] = (),
    region_from: str | None = None,
) -> Warehouse:
    """Write the tables into a warehouse file as the ledger has them, with a calendar of calendar quarters.

    `owners`: those that deals name and are not told of have team north. `nights`: as-of day of each nightly
    run and the instant up to which it had read.
    """
    warehouse = Warehouse(path)
    days = pd.DataFrame({"date_day": pd.date_range(*calendar, freq="D")})
    days["quarter_index"] = days["date_day"].dt.year * 4 + days["date_day"].dt.quarter
    days["quarter_label"] = days["date_day"].dt.to_period("Q").astype(str)
    days["is_business_day"] = days["date_day"].dt.day_of_week < 5
    days["week_end_on"] = days["date_day"].dt.to_period("W-SUN").dt.end_time.dt.normalize()
    months = days["date_day"].dt.to_period("M")
    days["month_start_on"], days["month_end_on"] = months.dt.start_time, months.dt.end_time.dt.normalize()
    days["day_of_quarter"] = (days["date_day"] - days["date_day"].dt.to_period("Q").dt.start_time).dt.days + 1
    chances = STAGE_PROBABILITY if probability is None else probability
    stages = pd.DataFrame(
        {"stage_key": list(chances), "stage": list(chances), "probability": list(chances.values())}
    )
    deals = tables.versions[["deal_key", "source_relation"]].drop_duplicates()
    deals["deal_id"] = deals["deal_key"]
    deals["deal_name"] = "Deal " + deals["deal_key"]
    rates = pd.DataFrame(
        [
            ("EUR", 1.0, date(1900, 1, 1), date(9999, 12, 31)),
            ("USD", 0.5, date(1900, 1, 1), USD_RATE_CHANGES_ON),
            ("USD", 0.8, USD_RATE_CHANGES_ON, date(9999, 12, 31)),
        ],
        columns=list(RATE_COLUMNS),
    )
    context = pd.DataFrame(
        [
            {
                "run_id": run_id,
                "run_kind": run_kind,
                "as_of": tables.as_of,
                "currency": "EUR",
                "grace_business_days": 3,
                "dates_won": dates_won,
                "definition_version": "default",
                "week_start": 1,
                "segments_region_from": region_from,
            }
        ]
    )
    visits = tables.versions[["deal_key", "stage_key"]].assign(
        entered_on=tables.versions["valid_from_date"], is_entry_unknown=False
    )
    told = _told_owners(tables, owners)
    parts = [
        (deal.key, "product", product, 1000 * share, place == 0)
        for deal in tables.deals
        for place, (product, share) in enumerate(deal.products)
    ]
    versions = tables.versions.reindex(columns=list(VERSION_COLUMNS))
    for column, default in (("owner_key", "ann"), ("credit_owner_key", "ann"), ("pipeline_key", "sales")):
        versions[column] = versions[column].fillna(default)
    pipelines = versions[["pipeline_key"]].drop_duplicates()
    regions = {deal.key: deal.region for deal in tables.deals}
    records = deals.assign(account_id=None, region=[regions.get(key) for key in deals["deal_key"]])
    written = (
        ("ledger.dim_owner_history", told, OWNER_COLUMNS),
        ("ledger.dim_pipeline", pipelines.assign(pipeline=pipelines["pipeline_key"]), PIPELINE_COLUMNS),
        ("ledger.dim_account", pd.DataFrame(columns=list(ACCOUNT_COLUMNS)), ACCOUNT_COLUMNS),
        ("ledger.int_deals", records, RECORD_COLUMNS),
        ("ledger.int_deal_segments", pd.DataFrame(parts, columns=list(SEGMENT_COLUMNS)), SEGMENT_COLUMNS),
        (
            "staging.stg_runs",
            pd.DataFrame([("nightly", *night) for night in nights], columns=list(RUN_COLUMNS)),
            RUN_COLUMNS,
        ),
        ("ledger.fct_deal_versions", versions, VERSION_COLUMNS),
        ("ledger.fct_stage_transitions", tables.transitions, TRANSITION_COLUMNS),
        ("ledger.dim_date", days, DATE_COLUMNS),
        ("ledger.int_fx_rates", rates, RATE_COLUMNS),
        ("ledger.dim_stage", stages, {"stage_key": "string", "stage": "string", "probability": "double"}),
        ("ledger.dim_deal", deals, DEAL_COLUMNS),
        ("ledger.int_stage_visits", visits, VISIT_COLUMNS),
        ("staging.stg_run_context", context, CONTEXT_COLUMNS),
    )
    with warehouse.connect() as connection:
        connection.execute("create schema if not exists ledger; create schema if not exists staging")
        for name, frame, columns in written:
            connection.register("incoming", frame.assign(**dict.fromkeys(columns.keys() - set(frame))))
            casts = ", ".join(f"cast({column} as {kind}) as {column}" for column, kind in columns.items())
            connection.execute(f"create or replace table {name} as select {casts} from incoming")
    return warehouse


def _told_owners(tables: LedgerTables, owners: Sequence[Owner]) -> pd.DataFrame:
    """What was told of each owner, with the instants between which it held; the name is the key."""
    named = set(tables.versions["owner_key"].dropna()) if "owner_key" in tables.versions else {"ann"}
    told = [*owners, *(Owner(key) for key in sorted(named - {owner.key for owner in owners}))]
    rows = pd.DataFrame(
        [
            {
                "owner_key": owner.key,
                "valid_from_at": owner.told_at,
                "owner": owner.key,
                "team": owner.team,
                "region": owner.region,
                "ended_on": owner.ended_on,
                "is_active": owner.is_active,
            }
            for owner in sorted(told, key=lambda owner: (owner.key, owner.told_at))
        ]
    )
    rows["valid_to_at"] = rows.groupby("owner_key")["valid_from_at"].shift(-1)
    return rows


VERSION_COLUMNS = {
    "deal_key": "string",
    "source_relation": "string",
    "version_number": "int",
    "valid_from_at": "timestamp",
    "valid_to_at": "timestamp",
    "valid_from_date": "date",
    "valid_to_date": "date",
    "stage_key": "string",
    "status": "string",
    "amount_native": "decimal(20,3)",
    "currency": "string",
    "amount_base": "decimal(20,3)",
    "close_date": "date",
    "is_deleted": "boolean",
    "merged_into_deal_id": "string",
    "asof_quality": "string",
    "amount_asof_quality": "string",
    "close_date_asof_quality": "string",
    "excluded_by": "string",
    "owner_key": "string",
    "credit_owner_key": "string",
    "pipeline_key": "string",
    "forecast_category": "string",
    "probability": "double",
    "push_count_so_far": "int",
}

TRANSITION_COLUMNS = {
    "deal_key": "string",
    "transition_number": "int",
    "transitioned_at": "timestamp",
    "business_date": "date",
    "from_status": "string",
    "to_status": "string",
    "amount_native": "decimal(20,3)",
    "currency": "string",
    "amount_base": "decimal(20,3)",
    "close_date": "date",
    "excluded_by": "string",
    "to_rank": "int",
    "stages_skipped": "int",
    "visit_number": "int",
}

DATE_COLUMNS = {
    "date_day": "date",
    "quarter_index": "bigint",
    "quarter_label": "string",
    "is_business_day": "boolean",
    "week_end_on": "date",
    "month_start_on": "date",
    "month_end_on": "date",
    "day_of_quarter": "int",
}

RATE_COLUMNS = {"currency": "string", "rate": "double", "valid_from_date": "date", "valid_to_date": "date"}

CONTEXT_COLUMNS = {
    "run_id": "string",
    "run_kind": "string",
    "as_of": "date",
    "currency": "string",
    "grace_business_days": "int",
    "dates_won": "string",
    "definition_version": "string",
    "week_start": "int",
    "segments_region_from": "string",
}

OWNER_COLUMNS = {
    "owner_key": "string",
    "valid_from_at": "timestamp",
    "valid_to_at": "timestamp",
    "owner": "string",
    "team": "string",
    "region": "string",
    "ended_on": "date",
    "is_active": "boolean",
}

PIPELINE_COLUMNS = {"pipeline_key": "string", "pipeline": "string"}
ACCOUNT_COLUMNS = {"source_relation": "string", "account_id": "string", "region": "string"}
RUN_COLUMNS = {"run_kind": "string", "as_of": "date", "landed_through": "timestamp"}

RECORD_COLUMNS = {
    "deal_key": "string",
    "source_relation": "string",
    "account_id": "string",
    "region": "string",
}

SEGMENT_COLUMNS = {
    "deal_key": "string",
    "segment_type": "string",
    "segment": "string",
    "amount_base": "decimal(20,3)",
    "is_counted": "boolean",
}

DEAL_COLUMNS = dict.fromkeys(("deal_key", "source_relation", "deal_id", "deal_name"), "string")

VISIT_COLUMNS = {
    "deal_key": "string",
    "stage_key": "string",
    "entered_on": "date",
    "is_entry_unknown": "boolean",
}


def random_deals(
    first: date, last: date, deals_per_week: float, seed: int, with_open_amounts: bool = True
) -> list[Deal]:
    """A business with known hazards and all the nuisances: edits, reopenings, deletions, late close dates.

    Every week a Poisson number of deals is created; each moves prospect → proposal → won or lost after
    exponential times, a little faster towards the end of a quarter.
    """
    chance = np.random.default_rng(seed)
    deals: list[Deal] = []
    monday = first
    while monday <= last:
        for _ in range(chance.poisson(deals_per_week)):
            deals.append(_random_deal(f"d{len(deals):05d}", monday, last, chance, with_open_amounts))
        monday += timedelta(days=7)
    return [deal for deal in deals if deal.moves]


def _random_deal(
    key: str, monday: date, last: date, chance: np.random.Generator, with_open_amounts: bool
) -> Deal:
    amount = float(np.round(np.exp(chance.normal(8, 0.6)), 2))
    shown = amount if with_open_amounts else None
    created = monday + timedelta(days=int(chance.integers(0, 5)))
    proposal = created + timedelta(days=int(chance.exponential(20)))
    closed = proposal + timedelta(days=1 + int(chance.exponential(30)))
    month_in_quarter = (closed.month - 1) % 3
    if month_in_quarter < 2 and chance.random() < 0.3:
        closed += timedelta(days=30)
    due = closed + timedelta(days=int(chance.normal(0, 20)))
    moves = [Move(created, "prospect", amount=shown, close_date=due)]
    if chance.random() < 0.3:
        moves.append(Move(proposal, "lost", "lost", 0.0, proposal))
        return Deal(key, _up_to(moves, last))
    moves.append(Move(proposal, "proposal", amount=shown, close_date=due))
    if chance.random() < 0.15:
        amount = round(amount * 1.1, 2)
        moves.append(
            Move(
                min(proposal + timedelta(days=3), closed),
                "proposal",
                amount=amount if with_open_amounts else None,
                close_date=due,
            )
        )
    if chance.random() < 0.5:
        moves.append(Move(closed, "won", "won", amount, closed))
        nuisance = chance.random()
        if nuisance < 0.04:
            again = closed + timedelta(days=int(chance.integers(1, 120)))
            moves.append(Move(again, "proposal", amount=amount, close_date=again + timedelta(days=30)))
        elif nuisance < 0.06:
            moves.append(
                Move(closed + timedelta(days=int(chance.integers(1, 60))), "won", "won", amount, closed, True)
            )
        elif nuisance < 0.10:
            moves.append(Move(closed + timedelta(days=2), "won", "won", round(amount * 0.9, 2), closed))
        elif nuisance < 0.14:
            moves[-1] = replace(moves[-1], close_date=closed + timedelta(days=5))
    else:
        moves.append(Move(closed, "lost", "lost", 0.0, closed))
    return Deal(key, _up_to(moves, last))


def shared_out(deals: list[Deal], seed: int) -> list[Deal]:
    """The deals with owners (some sell more), of whom one in ten hands over, pipelines, regions and
    products."""
    chance = np.random.default_rng(seed)
    owners = ("ann", "bob", "cem", "dora", "eve", "finn")
    found = []
    for deal in deals:
        first, second = chance.choice(owners, 2, p=(0.35, 0.25, 0.15, 0.1, 0.1, 0.05))
        handed_over = int(chance.integers(1, 4)) if chance.random() < 0.1 else len(deal.moves)
        pipeline = "partner" if chance.random() < 0.3 else "sales"
        moves = tuple(
            replace(move, owner=str(second if place >= handed_over else first), pipeline=pipeline)
            for place, move in enumerate(deal.moves)
        )
        products = ((("gold", 0.7), ("silver", 0.3)), (("silver", 1.0),), ())[int(chance.integers(0, 3))]
        region = ("DACH", "Nordics", None)[int(chance.integers(0, 3))]
        found.append(replace(deal, moves=moves, products=products, region=region))
    return found


def _up_to(moves: list[Move], last: date) -> tuple[Move, ...]:
    return tuple(move for move in moves if move.day <= last)
