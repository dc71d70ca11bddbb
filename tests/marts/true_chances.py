"""What the simulation's law says of the figures that the marts estimate: nothing here is counted from data.

Deals that were deleted or merged away are in no mart of stages, so the law of those that are there has no
such exits (`without_removals`). It is an approximation: a deal that lives longer has more days to be deleted
on, 1.6 in 10,000 per open day, so a hundred days more weigh 1.6 % less. Sampling errors here are larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.hazards import OLDEST_AGE, Hazards, date_of, day_number
from dagster_project.simulate.oracle import visit_survival, win_probability_at_entry

WIN, LOSE, REOPEN = (cat.CAUSES.index(cause) for cause in ("win", "lose", "reopen"))
REMOVALS = [cat.CAUSES.index(cause) for cause in ("merge", "delete")]


def without_removals(hazards: Hazards) -> Hazards:
    """The law without merges and deletions."""
    per_day = hazards.per_day.copy()
    per_day[..., REMOVALS] = 0
    return replace(hazards, per_day=per_day)


def mean_survival(
    hazards: Hazards, config: SimulationConfig, stage: str, visits: pd.DataFrame, days: int
) -> np.ndarray:
    """Share of these visits still in the stage at the end of day entered + k, k = 0 … days, by the law.

    `visits`: see Simulated.visits. A visit that was passed through in an instant lasts no day.
    """
    lasting = visits[~visits["is_passed_through"]]
    survival = visit_survival(
        without_removals(hazards),
        config,
        stage,
        lasting["segment"].to_numpy(),
        lasting["entered_day"].to_numpy(),
        days,
    )
    return survival.sum(axis=0) / len(visits)


def towards(hazards: Hazards, config: SimulationConfig, stage: str) -> Hazards:
    """The law with every stage above `stage` (in the order of the day of the move) made a win for good.

    The probability of winning under it is that of getting above the stage, by the old law. Wins in other
    pipelines are none.
    """
    law = without_removals(hazards)
    targets = law.targets.copy()
    here = cat.STAGES[cat.STAGE_CODE[stage]]
    won = cat.stages_of(here.pipeline_id, "won")[0]
    for regime, ranks in enumerate(([s.order_before for s in cat.STAGES], [s.order for s in cat.STAGES])):
        for code, other in enumerate(cat.STAGES):
            if other.pipeline_id != here.pipeline_id and other.outcome == "won":
                targets[regime][targets[regime] == code] = cat.stages_of(other.pipeline_id, "lost")[0]
            is_above = ranks[code] > ranks[cat.STAGE_CODE[stage]]
            if is_above and other.outcome == "open" and other.pipeline_id == here.pipeline_id:
                targets[regime][targets[regime] == code] = won
    per_day = law.per_day.copy()
    per_day[won] = 0
    per_day[[not _is_connected(other.pipeline_id, here.pipeline_id) for other in cat.STAGES]] = 0
    return replace(law, per_day=per_day, targets=targets)


def _is_connected(pipeline_id: str, other_id: str) -> bool:
    """Whether deals of one pipeline can be in the other; what is not spares the recursion its work."""
    return pipeline_id == other_id or cat.PIPELINES[cat.PIPELINE_CODE[pipeline_id]].transfer_to == other_id


def chance_above(
    hazards: Hazards, config: SimulationConfig, stage: str, visits: Sequence[pd.DataFrame], by: date
) -> list[np.ndarray]:
    """P(got above the stage by the end of `by`) of each visit to it, as it stood when it began; per frame."""
    table = win_probability_at_entry(towards(hazards, config, stage), config, by)[:, cat.STAGE_CODE[stage]]
    first = day_number(config.start_on)
    return [
        np.where(frame["is_passed_through"], 1.0, table[frame["entered_day"] - first, frame["segment"]])
        for frame in visits
    ]


def chance_above_within(
    hazards: Hazards, config: SimulationConfig, stage: str, visits: pd.DataFrame, days: int
) -> np.ndarray:
    """P(got above the stage within so many days) of each visit to it."""
    law = towards(hazards, config, stage)
    chance = np.ones(len(visits))
    entered = visits["entered_day"].to_numpy()
    for day in np.unique(entered):
        of_day = replace(config, start_on=date_of(int(day)))
        table = win_probability_at_entry(law, of_day, date_of(int(day) + days))
        here = entered == day
        chance[here] = table[0, cat.STAGE_CODE[stage], visits["segment"].to_numpy()[here]]
    return np.where(visits["is_passed_through"], 1.0, chance)


def chance_won_of_closed(
    hazards: Hazards, config: SimulationConfig, closings: pd.DataFrame, as_of: date
) -> np.ndarray:
    """P(won | the deal was closed like this for good) of each closing.

    `closings`: stage (left by the closing), segment, entered_day (of that stage), closed_day. By the hazards
    of that day winning and losing are as w to l. A loss stands until `as_of` unless it is reopened, a win
    unless it turns out lost.
    """
    stage = closings["stage"].map(cat.STAGE_CODE).to_numpy()
    segment, closed = closings["segment"].to_numpy(), closings["closed_day"].to_numpy()
    age = np.minimum(closed - closings["entered_day"].to_numpy(), OLDEST_AGE)
    first = int(closed.min())
    factors = hazards.day_factors(np.arange(first, day_number(as_of) + 1), config)
    chance = hazards.per_day[stage, segment, hazards.age_class[age]] * factors[closed - first]
    is_won_stage = np.array([s.outcome == "won" for s in cat.STAGES])[stage]
    stays_won = _stands(hazards, "new_won", LOSE, closed - first, factors)
    stays_lost = _stands(hazards, "new_lost", REOPEN, closed - first, factors)
    won = np.where(is_won_stage, 0.0, chance[:, WIN] * stays_won)
    lost = chance[:, LOSE] * stays_lost
    return won / (won + lost)


def _stands(hazards: Hazards, stage: str, cause: int, closed: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """P(a closed stage is not left by the cause by the last day of `factors`); `closed`: places in them."""
    law = hazards.per_day[cat.STAGE_CODE[stage], 0, :, cause]  # the same for all segments and pipelines
    padded = np.concatenate([factors[:, cause], np.zeros(OLDEST_AGE)])
    result = np.ones(len(closed))
    for days in range(1, OLDEST_AGE):
        result *= 1 - law[hazards.age_class[days]] * padded[closed + days]
    return result
