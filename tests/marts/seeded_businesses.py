"""Many simulated businesses at once, as tables for mart_bottlenecks, some with a bottleneck put in.

One simulation is dealt out to the businesses deal by deal. Deals of the simulation move independently of each
other by one law, so each share of them is a business of its own, drawn like one with a seed of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate import lifecycle
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.hazards import Hazards, day_number
from dagster_project.simulate.world import World, simulate_in_parts
from tests.ledger.ledger_bench import Model

START_ON = date(2023, 12, 1)  # seven months before the quarters that are compared, so that the book is full
RECENT_FROM = date(2025, 7, 1)
AS_OF = date(2026, 6, 30)
MODELS = ("int_comparison_windows", "int_stage_shifts")
MIN_SAMPLE = 20
OWNERS_IN_TEAM = 4
ONWARD = [cat.CAUSES.index(cause) for cause in ("advance", "skip", "win")]
OUTCOME = {stage.stage_id: stage.outcome for stage in cat.STAGES}
PIPELINE = {stage.stage_id: stage.pipeline_id for stage in cat.STAGES}


@dataclass(frozen=True)
class Planted:
    """A bottleneck: from RECENT_FROM on, deals (of one region) go on from a stage so much more rarely."""

    stage: str
    factor: float
    region: str | None = None

    def worsen(self, hazards: Hazards) -> Hazards:
        """The law with the bottleneck."""
        regions = np.arange(cat.N_SEGMENTS) % len(cat.REGIONS)
        names = np.array([region.name for region in cat.REGIONS])
        here = np.ones(cat.N_SEGMENTS, bool) if self.region is None else names[regions] == self.region
        per_day = hazards.per_day.copy()
        for cause in ONWARD:
            per_day[cat.STAGE_CODE[self.stage], here, :, cause] *= self.factor
        return replace(hazards, per_day=per_day)


@contextmanager
def _law(planted: Planted | None) -> Iterator[None]:
    """Within, the simulation's law changes on RECENT_FROM."""
    with pytest.MonkeyPatch.context() as patch:
        if planted is not None:
            one_day, worsened = lifecycle._one_day, {}

            def one_worse_day(
                book: Any, company: Any, hazards: Hazards, active: Any, day: int, *rest: Any
            ) -> None:
                if day >= day_number(RECENT_FROM):
                    hazards = worsened.setdefault("law", planted.worsen(hazards))
                one_day(book, company, hazards, active, day, *rest)

            patch.setattr(lifecycle, "_one_day", one_worse_day)
        yield


def deals_and_visits(world: World, businesses: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Deals that exist at AS_OF (attributes, business) and their visits of all stages, from the history."""
    deals = world.deals[world.deals["deleted_at"].isna() & world.deals["merged_at"].isna()]
    events = world.events[world.events["deal_id"].isin(deals["deal_id"])]
    moved = events["from_stage"].astype(object) != events["stage"].astype(object)
    moves = events[moved & (events["kind"] != "mis_drag")]
    stage = moves["stage"].astype(str)
    entered_on = moves["changed_at"].dt.normalize()
    later = moves["deal_id"].shift(-1) == moves["deal_id"]
    now, before = ({s.stage_id: getattr(s, n) for s in cat.STAGES} for n in ("order", "order_before"))
    is_after = entered_on >= pd.Timestamp(world.config.reorganised_on)
    rank = stage.map(now).where(is_after, stage.map(before))
    next_stage = stage.shift(-1).where(later)
    visits = pd.DataFrame(
        {
            "deal_key": moves["deal_id"].astype(str),
            "business": (moves["deal_id"] % businesses).map(_name),
            "stage_key": stage,
            "visit_seq": moves.groupby("deal_id").cumcount() + 1,
            "owner": _owners(world, moves["owner"].astype(str)),
            "entered_on": entered_on,
            "exited_on": entered_on.shift(-1).where(later),
            "exit_type": np.select(
                [
                    ~later,
                    next_stage.map(OUTCOME) != "open",
                    next_stage.map(PIPELINE) != stage.map(PIPELINE),
                    rank.shift(-1) > rank,
                ],
                ["", next_stage.map(OUTCOME).astype(str), "pipeline_switch", "forward"],
                "backward",
            ),
            "amount": moves["amount"],
        }
    )
    industry = world.company.accounts.set_index("account_id")["industry"]
    attributes = pd.DataFrame(
        {
            "deal_key": deals["deal_id"].astype(str),
            "region": deals["region"].astype(str),
            "product": deals["product"].astype(str),
            "source": deals["source"].astype(str),
            "industry": deals["account_id"].map(industry).astype(object).fillna("(none)"),
        }
    )
    last = visits.drop_duplicates("deal_key", keep="last").set_index("deal_key")
    first = visits.drop_duplicates("deal_key").set_index("deal_key")
    from_stage = visits.groupby("deal_key")["stage_key"].shift(1)
    lost_from = pd.Series(from_stage.to_numpy(), visits["deal_key"]).groupby(level=0).last()
    attributes = attributes[attributes["deal_key"].isin(last.index)]
    key = attributes["deal_key"]
    attributes = attributes.assign(
        business=key.map(last["business"]),
        owner=key.map(last["owner"]),
        stage_key=key.map(last["stage_key"]),
        status=key.map(last["stage_key"]).map(OUTCOME),
        created_on=key.map(first["entered_on"]),
        closed_on=key.map(last["entered_on"]),
        lost_from=key.map(lost_from),
        amount=key.map(last["amount"]),
    )
    return attributes, visits[visits["stage_key"].map(OUTCOME) == "open"]


def _name(number: int) -> str:
    return f"b{number:03}"


def _owners(world: World, owner: pd.Series) -> pd.Series:
    """Few enough owners per team that a business of this size could have them."""
    owners = world.company.owners
    number = owners.groupby("team").cumcount() % OWNERS_IN_TEAM
    seats = dict(zip(owners["owner_id"].astype(str), owners["team"] + " " + number.astype(str), strict=True))
    return owner.map(seats)


class Businesses:
    """Simulated businesses in one database; their bottlenecks are asked for one by one."""

    def __init__(
        self,
        models: dict[str, Model],
        businesses: int,
        deals_each: int,
        seed: int,
        planted: Planted | None = None,
    ) -> None:
        self._mart = models["mart_bottlenecks"].sql
        self._connection = connection = duckdb.connect()
        connection.execute("set threads = 1")
        connection.execute("attach ':memory:' as warehouse")
        connection.execute("use warehouse")
        for schema in ("staging", "ledger", "marts", "every"):
            connection.execute(f"create schema {schema}")
        self.names = [_name(number) for number in range(businesses)]
        config = SimulationConfig(
            seed, businesses * deals_each, START_ON, AS_OF, tail_days=1, deals_per_part=50_000
        )
        with _law(planted):
            for part, world in enumerate(simulate_in_parts(config)):
                frames = deals_and_visits(world, businesses)
                for name, frame in zip(("deals", "visits"), frames, strict=True):
                    connection.register("told", frame)
                    write = f"create table every.{name} as" if part == 0 else f"insert into every.{name}"
                    connection.execute(f"{write} select * from told")
                    connection.unregister("told")
        for statement in _PARENTS:
            connection.execute(statement)
        for name in MODELS:
            connection.execute(f"create table {models[name].relation} as {models[name].sql}")
        # in order, so that a business is found without a look at the others
        connection.execute("create or replace table every.deals as from every.deals order by business")
        connection.execute(
            "create table every.int_stage_shifts as from marts.int_stage_shifts order by source_relation"
        )

    def frame(self, sql: str) -> pd.DataFrame:
        """The result of a query as a frame."""
        return self._connection.execute(sql).df()

    def bottlenecks(self, business: str, columns: str = "*") -> pd.DataFrame:
        """mart_bottlenecks of one business."""
        for name, of_all, key in (
            ("ledger.book", "every.deals", "business"),
            ("marts.int_stage_shifts", "every.int_stage_shifts", "source_relation"),
        ):
            self._connection.execute(
                f"create or replace table {name} as select * from {of_all} where {key} = '{business}'"
            )
        return self.frame(f"select {columns} from ({self._mart}) as mart_bottlenecks")

    def named(self, business: str) -> set[tuple[str, str, str, str]]:
        """(measure, stage, segment type, segment) of the findings of one business."""
        rows = self.bottlenecks(business, "measure, stage_id, segment_type, segment, status")
        rows = rows[rows["status"] == "finding"].drop(columns="status")
        return set(rows.itertuples(index=False, name=None))


_STAGE_ROWS = ", ".join(
    f"('{s.stage_id}', '{s.name}', '{s.pipeline_id}', {s.order}, {s.outcome == 'open'})" for s in cat.STAGES
)
_TEAM = "regexp_replace(owner, ' [0-9]+$', '')"
_PARENTS = (
    "create table ledger.book as select * from every.deals",
    f"create table staging.stg_run_context as select date '{AS_OF}' as as_of, {MIN_SAMPLE} as min_sample, "
    "'EUR' as currency, 'default' as definition_version",
    "create table ledger.dim_stage as select stage_id, stage_id as stage_key, stage, "
    "pipeline as pipeline_id, pipeline as pipeline_key, stage_order, is_open "
    f"from (values {_STAGE_ROWS}) as stages(stage_id, stage, pipeline, stage_order, is_open)",
    "create table ledger.dim_pipeline as select distinct pipeline_key, pipeline_key as pipeline "
    "from ledger.dim_stage",
    f"create table ledger.dim_owner as select distinct owner as owner_key, owner, {_TEAM} as team "
    "from every.visits",
    "create table marts.int_periods as select 'quarter' as period_type, "
    "cast(year(first) as varchar) || 'Q' || quarter(first) as period, cast(first as date) as period_start, "
    "cast(first + interval 3 month - interval 1 day as date) as period_end, true as is_complete_period "
    "from range(timestamp '2023-04-01', timestamp '2026-07-01', interval 3 month) as quarters(first)",
    # as int_source_history and int_sales_history say it
    "create table marts.int_source_history as select business as source_relation, "
    "cast(min(closed_on) as date) as full_from_on from every.deals where status <> 'open' group by all",
    "create table marts.int_sales_history as select business as source_relation, "
    "cast(min(created_on) as date) + cast(ceil(quantile_cont("
    "case when status = 'won' then date_diff('day', created_on, closed_on) end, 0.9)) as int) "
    "as complete_from_on from every.deals group by all",
    "create table marts.int_open_visits as select deal_key, stage_key, visit_seq, exit_type, "
    "business as source_relation, owner as owner_key, cast(entered_on as date) as entered_on, "
    "cast(exited_on as date) as exited_on, exited_on is not null as is_left, false as is_bulk_exit, "
    "false as is_bulk_entry, false as is_entry_unknown from every.visits",
    "create view ledger.fct_deals as select deal_key, business as source_relation, status, "
    "false as is_deleted, cast(null as varchar) as excluded_by, stage_key, "
    "case when status = 'lost' then lost_from end as stage_lost_at_key, "
    "case when status <> 'open' then cast(closed_on as date) end as closed_on, "
    "cast(amount as decimal(20, 3)) as amount_base from ledger.book",
    "create view ledger.int_deal_segments as "
    + " union all ".join(
        f"select deal_key, '{segment_type}' as segment_type, {segment} as segment, true as is_counted "
        "from ledger.book"
        for segment_type, segment in (
            ("total", "'all'"),
            ("owner", "owner"),
            ("team", _TEAM),
            *((name, name) for name in ("region", "product", "industry", "source")),
        )
    ),
)
