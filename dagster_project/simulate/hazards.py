"""The law of the simulated business: daily hazards by stage, segment, age and cause, and the calendar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import pandas as pd

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.config import SimulationConfig, SimulationError

AGE_ANY = (0.60, 1.10, 1.30, 1.10, 0.75, 0.45, 0.20)
AGE_ADVANCE = (1.15, 1.12, 1.05, 0.92, 0.70, 0.40, 0.18)
AGE_LOSE = (0.60, 0.80, 1.00, 1.15, 1.30, 1.25, 1.30)
SKIP_OF_ADVANCE = 0.06
DIRECT_WIN_OF_ADVANCE = 0.07
BACK_OF_EXIT = 0.05
TRANSFER_PER_DAY = 0.0004
MERGE_PER_DAY = 0.00007
DELETE_PER_DAY = 0.00009
REOPEN_PER_DAY = 0.0006
CORRECTION_PER_DAY = 0.0003
REOPEN_AGES = 5  # lost deals can come back in the first five age classes (until day 59)
CORRECTION_AGES = 4  # won deals can turn out lost in the first four (until day 29)
MAX_DAILY = 0.95
OLDEST_AGE = cat.AGE_STARTS[-1]

WIN_BY_WEEK = (0.78, 0.80, 0.84, 0.86, 0.90, 0.92, 0.94, 0.96, 1.00, 1.05, 1.18, 1.50, 1.95, 2.10)
LOSE_BY_WEEK = (1.25, 1.12, 1.00, 0.96, 0.95, 0.95, 0.95, 0.95, 0.96, 0.98, 1.00, 1.02, 1.15, 1.20)
ADVANCE_BY_WEEK = (0.94, 0.97, 0.99, 1.00, 1.00, 1.00, 1.00, 1.01, 1.02, 1.04, 1.06, 1.06, 1.00, 0.95)
WEEKDAY = (1.4, 1.4, 1.4, 1.4, 1.4, 0.0, 0.0)  # Monday first; averages 1


@dataclass(frozen=True)
class Hazards:
    """Daily probabilities of leaving a stage.

    On day d, a deal that entered its stage on day e < d leaves it by cause c with probability
    `per_day[stage, segment, age class of d - e, c] × calendar[week of fiscal quarter of d, c] × weekday[d]`,
    and goes to `targets[0 before, 1 after the reorganisation][stage, c]` (-1: it leaves the book).
    """

    per_day: np.ndarray
    calendar: np.ndarray
    weekday: np.ndarray
    targets: np.ndarray

    @cached_property
    def age_class(self) -> np.ndarray:
        """Age class for ages 0 … last class start (an older age has the class of the last entry)."""
        ages = np.arange(cat.AGE_STARTS[-1] + 1)
        return np.clip(np.searchsorted(cat.AGE_STARTS, ages, side="right") - 1, 0, None).astype(np.int8)

    def hazard_table(self) -> pd.DataFrame:
        """Long form of `per_day`: pipeline, stage, tier, family, region, from_day, to_day, cause, per_day."""
        stages, segments, ages, causes = np.nonzero(self.per_day)
        region = segments % len(cat.REGIONS)
        family = segments // len(cat.REGIONS) % len(cat.FAMILIES)
        tier = segments // (len(cat.REGIONS) * len(cat.FAMILIES))
        starts = np.array(cat.AGE_STARTS)
        ends = np.array([*(starts[1:] - 1), -1], dtype=float)
        ends[-1] = np.nan
        return pd.DataFrame(
            {
                "pipeline": np.array([s.pipeline_id for s in cat.STAGES])[stages],
                "stage": np.array([s.stage_id for s in cat.STAGES])[stages],
                "tier": np.array(cat.TIERS)[tier],
                "family": np.array(cat.FAMILIES)[family],
                "region": np.array([r.name for r in cat.REGIONS])[region],
                "from_day": starts[ages],
                "to_day": ends[ages],
                "cause": np.array(cat.CAUSES)[causes],
                "per_day": self.per_day[stages, segments, ages, causes],
            }
        )

    def day_factors(self, days: np.ndarray, config: SimulationConfig) -> np.ndarray:
        """Calendar × weekday factor per day and cause; `days` are day numbers since 1970-01-01."""
        week = week_of_quarter(days, config.fiscal_year_start_month)
        weekday = (days + 3) % 7  # 1970-01-01 was a Thursday
        return self.calendar[week - 1] * self.weekday[weekday][:, None]

    def regime(self, day: int, config: SimulationConfig) -> int:
        """0 before the partner pipeline's reorganisation, 1 from that day on."""
        return int(day >= day_number(config.reorganised_on))


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return (day - date(1970, 1, 1)).days


def date_of(day: int) -> date:
    """The date of a day number."""
    return date(1970, 1, 1) + timedelta(days=int(day))


def quarter_starts(days: np.ndarray, fiscal_year_start_month: int) -> np.ndarray:
    """Day number of the first day of each day's fiscal quarter."""
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    into_quarter = (months - (fiscal_year_start_month - 1)) % 3
    return (months - into_quarter).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def week_of_quarter(days: np.ndarray, fiscal_year_start_month: int) -> np.ndarray:
    """Week of the fiscal quarter, 1 … 14, counted in sevens from the quarter's first day."""
    return (days - quarter_starts(days, fiscal_year_start_month)) // 7 + 1


def build_hazards() -> Hazards:
    """The hazards of the simulated business; raises SimulationError when a day's sum could exceed 0.95."""
    per_day = np.zeros((len(cat.STAGES), cat.N_SEGMENTS, len(cat.AGE_STARTS), len(cat.CAUSES)))
    targets = np.full((2, len(cat.STAGES), len(cat.CAUSES)), -1, dtype=np.int8)
    for regime, before in ((0, True), (1, False)):
        for pipeline in cat.PIPELINES:
            _set_targets(targets[regime], pipeline, before)
    advance, lose = _segment_factors()
    any_age, advance_age, lose_age = np.array(AGE_ANY), np.array(AGE_ADVANCE), np.array(AGE_LOSE)
    cause = {name: code for code, name in enumerate(cat.CAUSES)}
    for code, stage in enumerate(cat.STAGES):
        table = per_day[code]
        if stage.outcome == "lost":
            table[:, :REOPEN_AGES, cause["reopen"]] = REOPEN_PER_DAY
            continue
        if stage.outcome == "won":
            table[:, :CORRECTION_AGES, cause["lose"]] = CORRECTION_PER_DAY
            continue
        exits = stage.exit_per_day * any_age
        forward = advance[:, None] * (exits * advance_age * stage.advance_share)
        can = {name: bool((targets[:, code, c] >= 0).all()) for name, c in cause.items()}
        if not can["advance"]:
            table[:, :, cause["win"]] = forward
        else:
            skip = SKIP_OF_ADVANCE if can["skip"] else 0.0
            direct = DIRECT_WIN_OF_ADVANCE if can["win"] else 0.0
            table[:, :, cause["advance"]] = forward * (1 - skip - direct)
            table[:, :, cause["skip"]] = forward * skip
            table[:, :, cause["win"]] = forward * direct
        table[:, :, cause["lose"]] = lose[:, None] * (exits * lose_age * (1 - stage.advance_share))
        if can["back"]:
            table[:, :, cause["back"]] = BACK_OF_EXIT * exits
        if can["transfer"]:
            table[:, :, cause["transfer"]] = TRANSFER_PER_DAY
        table[:, :, cause["merge"]] = MERGE_PER_DAY
        table[:, :, cause["delete"]] = DELETE_PER_DAY
    hazards = Hazards(per_day, _calendar(), np.array(WEEKDAY), targets)
    highest = (per_day @ hazards.calendar.T).max() * max(WEEKDAY)
    if highest > MAX_DAILY:
        raise SimulationError(
            f"hazards of one day add up to {highest:.2f}: lower exit_per_day or the weeks' factors"
        )
    return hazards


def _segment_factors() -> tuple[np.ndarray, np.ndarray]:
    """Factors on advancing and on losing, per segment."""
    advance = np.empty(cat.N_SEGMENTS)
    lose = np.empty(cat.N_SEGMENTS)
    for tier in range(len(cat.TIERS)):
        for family in range(len(cat.FAMILIES)):
            for region, place in enumerate(cat.REGIONS):
                code = cat.segment_code(tier, family, region)
                advance[code] = cat.TIER_ADVANCE[tier] * cat.FAMILY_ADVANCE[family] * place.advance
                lose[code] = cat.TIER_LOSE[tier]
    return advance, lose


def _calendar() -> np.ndarray:
    """Factor per week of the fiscal quarter (14) and cause."""
    calendar = np.ones((14, len(cat.CAUSES)))
    calendar[:, cat.CAUSES.index("win")] = WIN_BY_WEEK
    calendar[:, cat.CAUSES.index("lose")] = LOSE_BY_WEEK
    for name in ("advance", "skip"):
        calendar[:, cat.CAUSES.index(name)] = ADVANCE_BY_WEEK
    return calendar


def _set_targets(targets: np.ndarray, pipeline: cat.Pipeline, before: bool) -> None:
    """Fill in where each cause leads from each stage of one pipeline (in place)."""
    cause = {name: code for code, name in enumerate(cat.CAUSES)}
    path = cat.stages_of(pipeline.pipeline_id, "open", before)
    won, lost = cat.stages_of(pipeline.pipeline_id, "won")[0], cat.stages_of(pipeline.pipeline_id, "lost")[0]
    for place, code in enumerate(path):
        left = len(path) - 1 - place
        if left >= 1:
            targets[code, cause["advance"]] = path[place + 1]
        if left >= 2:
            targets[code, cause["skip"]] = path[place + 2]
        if left <= 1:
            targets[code, cause["win"]] = won
        if place >= 1:
            targets[code, cause["back"]] = path[place - 1]
            if pipeline.transfer_to is not None:
                targets[code, cause["transfer"]] = cat.STAGE_CODE[cat.TRANSFER_STAGE[pipeline.transfer_to]]
        targets[code, cause["lose"]] = lost
    targets[won, cause["lose"]] = lost
    targets[lost, cause["reopen"]] = cat.STAGE_CODE[pipeline.reopen_to]
