"""What the stages of deals are inferred from, and shares that several inferences use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from dagster_project.extract.connect.profile import Column

NEARLY_ALL, NEARLY_NONE = 0.95, 0.05
Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True)
class StageFacts:
    """What the stages are inferred from; series share the index of `stage` unless they belong to the log.

    `dates`: dated columns of the deals. `log`: frame deal, at, stage (and from_stage) of a stage log.
    `snapshots`: the same of what earlier exports show. `lived`: days from the creation of a deal to its end.
    `has_lost_reason`: whether a deal has one.
    """

    stage: pd.Series
    pipeline: pd.Series | None = None
    dates: Sequence[Column] = ()
    amount: pd.Series | None = None
    status: pd.Series | None = None
    probability: pd.Series | None = None
    lived: pd.Series | None = None
    has_lost_reason: pd.Series | None = None
    log: pd.DataFrame | None = None
    snapshots: pd.DataFrame | None = None


def all_stages(facts: StageFacts) -> tuple[str, ...]:
    """The stages of deals and log, in order of appearance."""
    seen = list(facts.stage.dropna().unique())
    for frame in (facts.log, facts.snapshots):
        for name in ("stage", "from_stage"):
            if frame is not None and name in frame:
                seen += list(frame[name].dropna().unique())
    return tuple(dict.fromkeys(seen))


def fill_shares(facts: StageFacts) -> pd.DataFrame:
    """Share of the deals of each stage (rows) in which each dated column (columns) is filled."""
    filled = pd.DataFrame({column.header: column.values.notna() for column in facts.dates})
    filled.index = facts.stage.index
    return filled.groupby(facts.stage).mean()
