"""The floor under any forecast of a simulated business: what its own law expects of open and of new deals.

The oracle knows every hazard, the number of deals that will come in on each day, and what deals of a segment
bring when they are won; it does not know chance. What errs as little as it does
cannot be bettered.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd

from dagster_project.forecast.shared_sql import shared_sql
from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.hazards import OLDEST_AGE, day_number
from dagster_project.simulate.new_deals import creation_days
from dagster_project.simulate.oracle import win_probabilities_until
from dagster_project.simulate.world import World
from dagster_project.warehouse import Warehouse

FIRST_STAGE_SHARES = (0.93, 0.055, 0.015)
"""Of a pipeline's open stages, from the first: where deals come in."""


def oracle_parts(world: World, warehouse: Warehouse, wanted: pd.DataFrame) -> pd.DataFrame:
    """`wanted` (origin, quarter_offset, period_start, period_end) with what the law expects.

    Adds oracle_open and oracle_new: bookings of the period by deals open at the origin, and by later ones.
    """
    spans, brings, price = _spans(world, warehouse)
    arrivals = _arrivals(world)
    books = {
        origin: _book(spans, pd.Timestamp(origin), price) for origin in wanted["origin"].drop_duplicates()
    }
    first = wanted["origin"].min().date()
    won_by: dict[tuple[date, pd.Timestamp], tuple[float, float]] = {}
    ends = sorted(
        {stamp.date() for stamp in wanted["period_end"]}
        | {(stamp - pd.Timedelta(days=1)).date() for stamp in wanted["period_start"]}
    )
    origins = {day_number(stamp.date()): stamp for stamp in books}
    for end in ends:
        at_entry = 0.0
        for day, chance in win_probabilities_until(world.truth.hazards, world.config, end, first):
            # Deals of the days after `day`: the sum so far, before the day's own are added.
            if day in origins:
                stage, segment, age, worth = books[origins[day]]
                won_by[end, origins[day]] = float((chance[stage, segment, age] * worth).sum()), at_entry
            entered = arrivals.get(day)
            if entered is not None:
                at_entry += float((entered * chance[:, :, 0] * brings[None, :]).sum())
    nothing = (0.0, 0.0)
    parts = []
    for row in wanted.itertuples():
        until = won_by.get((row.period_end.date(), row.origin), nothing)
        before = won_by.get(((row.period_start - pd.Timedelta(days=1)).date(), row.origin), nothing)
        if row.quarter_offset == 0:
            before = nothing
        parts.append((until[0] - before[0], until[1] - before[1]))
    return wanted.assign(
        oracle_open=[part[0] for part in parts], oracle_new=[part[1] for part in parts]
    ).reset_index(drop=True)


def _spans(world: World, warehouse: Warehouse) -> tuple[pd.DataFrame, np.ndarray, float]:
    """Open spans with their segment; what a won deal of each segment brings; won / open amount."""
    numbers = f"select deal_id, {shared_sql('number_of_key', 'deal_key')} as deal_number from ledger.dim_deal"
    spans = warehouse.query(
        "select deals.deal_id, spans.stage_key, spans.valid_from_date, spans.valid_to_date, "
        "spans.entered_on, cast(spans.open_amount as double) as amount, "
        "cast(case when spans.outcome = 'won' and spans.valid_to_date = spans.closed_on "
        "then spans.won_amount end as double) as won_amount "
        f"from forecast.int_open_spans as spans inner join ({numbers}) as deals "
        "on spans.deal_number = deals.deal_number"
    )
    segments = world.truth.outcomes.set_index("deal_id")["segment"]
    spans["segment"] = spans["deal_id"].map(lambda key: int(key, 16)).map(segments).to_numpy()
    spans["amount"] = spans["amount"].fillna(spans["amount"].mean())
    won = spans.dropna(subset=["won_amount"])
    brings = won.groupby("segment")["won_amount"].mean()
    price = warehouse.query(
        "select sum(won_amount) / sum(open_amount_of_won) as price from forecast.int_hazard_histogram"
    ).loc[0, "price"]
    of_segment = brings.reindex(range(cat.N_SEGMENTS)).fillna(won["won_amount"].mean()).to_numpy()
    return spans, of_segment, float(price)


def _book(
    spans: pd.DataFrame, origin: pd.Timestamp, price: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Stage, segment, age and expected amount of the deals open at the end of `origin`."""
    book = spans[(spans["valid_from_date"] <= origin) & ~(spans["valid_to_date"] <= origin)]
    age = np.clip((origin - book["entered_on"]).dt.days.to_numpy(), 0, OLDEST_AGE)
    stage = book["stage_key"].map(cat.STAGE_CODE).to_numpy()
    return stage, book["segment"].to_numpy(dtype=int), age, book["amount"].to_numpy() * price


def _arrivals(world: World) -> dict[int, np.ndarray]:
    """Day number → expected new deals by first stage and segment."""
    days, weights = creation_days(world.config)
    mix = np.zeros((len(cat.STAGES), cat.N_SEGMENTS))
    segments = world.truth.outcomes["segment"].value_counts(normalize=True)
    share = segments.reindex(range(cat.N_SEGMENTS)).fillna(0.0).to_numpy()
    for pipeline in cat.PIPELINES:
        stages = cat.stages_of(pipeline.pipeline_id, "open")
        for stage, part in zip(stages, FIRST_STAGE_SHARES, strict=False):
            mix[stage] += pipeline.share * part * share
    deals = world.config.n_deals
    return {int(day): deals * weight * mix for day, weight in zip(days, weights, strict=True)}
