"""From lives to the history a CRM keeps: instants, order, late rows, slips of the mouse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.company import Company
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.hazards import Hazards, date_of, day_number
from dagster_project.simulate.lifecycle import KIND_CREATED, KIND_HAND_OVER, KINDS, Lives
from dagster_project.simulate.new_deals import NO_DATE, NewDeals

EVENTS_PER_DEAL_MAX = 1000
MICROSECONDS = 1_000_000
DAY_SECONDS = 86_400
NORTH_AMERICA = len(cat.REGIONS) - 1
KIND_SKIP, KIND_MIS_DRAG = KINDS.index("skip"), KINDS.index("mis_drag")
STAGE_PIPELINE = np.array([cat.PIPELINE_CODE[s.pipeline_id] for s in cat.STAGES], dtype=np.int8)
IS_OPEN_STAGE = np.array([s.outcome == "open" for s in cat.STAGES])
LOST_STAGE = np.array([cat.stages_of(s.pipeline_id, "lost")[0] for s in cat.STAGES], dtype=np.int8)


def history_of(
    config: SimulationConfig,
    company: Company,
    hazards: Hazards,
    deals: NewDeals,
    lives: Lives,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The stage history of one part, one row per change with all values after it, in order of deal and time.

    Columns: deal_id, event_id, sequence (1 … within the deal), kind (see lifecycle.KINDS), changed_at and
    recorded_at (UTC), from_pipeline, pipeline, from_stage, stage, amount, currency, close_date, owner,
    changed_by, in_history (False: the CRM lost the row).
    """
    rows = dict(lives.rows)
    order = np.lexsort((rows["kind"] != KIND_HAND_OVER, rows["day"], rows["deal"]))
    rows = {name: values[order] for name, values in rows.items()}
    rows["second"] = _local_seconds(rows, deals, config, rng)
    rows = _split_skips(rows, hazards, config, rng)
    rows = _add_mis_drags(rows, hazards, config, rng)
    deal = rows["deal"]
    first = np.flatnonzero(np.r_[True, deal[1:] != deal[:-1]])
    length = np.diff(np.r_[first, len(deal)])
    sequence = np.arange(len(deal)) - np.repeat(first, length) + 1
    changed_at = rows["second"] * MICROSECONDS
    late = (rng.random(len(deal)) < config.late_share) & ~np.isin(rows["kind"], (KIND_CREATED, KIND_MIS_DRAG))
    delay = (rng.uniform(0.5, 6.0, size=len(deal)) * DAY_SECONDS).astype(np.int64) * MICROSECONDS
    lost_row = (rows["kind"] == KIND_CREATED) & ~deals.is_import[deal]
    lost_row &= rng.random(len(deal)) < config.missing_first_row_share
    deal_id = deals.deal_id[deal]
    stages = [s.stage_id for s in cat.STAGES]
    pipelines = [p.pipeline_id for p in cat.PIPELINES]
    from_stage = rows["from_stage"]
    by_ops = rows["kind"] == KIND_HAND_OVER
    owners = company.owners["owner_id"].tolist()
    return pd.DataFrame(
        {
            "deal_id": deal_id,
            "event_id": deal_id * EVENTS_PER_DEAL_MAX + sequence,
            "sequence": sequence.astype(np.int32),
            "kind": pd.Categorical.from_codes(rows["kind"], list(KINDS)),
            "changed_at": changed_at.astype("datetime64[us]"),
            "recorded_at": (changed_at + np.where(late, delay, 0)).astype("datetime64[us]"),
            "from_pipeline": pd.Categorical.from_codes(
                np.where(from_stage < 0, -1, STAGE_PIPELINE[from_stage]), pipelines
            ),
            "pipeline": pd.Categorical.from_codes(STAGE_PIPELINE[rows["stage"]], pipelines),
            "from_stage": pd.Categorical.from_codes(from_stage, stages),
            "stage": pd.Categorical.from_codes(rows["stage"], stages),
            "amount": rows["amount"],
            "currency": pd.Categorical.from_codes(rows["currency"], list(cat.CURRENCIES)),
            "close_date": dates(rows["close_day"]),
            "owner": pd.Categorical.from_codes(rows["owner"], owners),
            "changed_by": pd.Categorical.from_codes(
                np.where(by_ops, len(owners), rows["owner"]), [*owners, "sales-ops"]
            ),
            "in_history": ~lost_row,
        }
    )


def dates(days: np.ndarray) -> np.ndarray:
    """Day numbers as datetime64[s], NO_DATE as NaT."""
    result = np.where(days == NO_DATE, 0, days).astype("datetime64[D]").astype("datetime64[s]")
    result[days == NO_DATE] = np.datetime64("NaT")
    return result


def utc_midnights(config: SimulationConfig, first_day: int, last_day: int) -> np.ndarray:
    """UTC epoch second of 00:00 of the business day, with the offset that holds at that day's noon."""
    zone = ZoneInfo(config.time_zone)
    seconds = np.empty(last_day - first_day + 1, dtype=np.int64)
    for place, day in enumerate(range(first_day, last_day + 1)):
        on = date_of(day)
        offset = datetime(on.year, on.month, on.day, 12, tzinfo=zone).utcoffset() or timedelta(0)
        seconds[place] = day * DAY_SECONDS - int(offset.total_seconds())
    return seconds


def end_of_day(config: SimulationConfig, day: int) -> pd.Timestamp:
    """The first instant (UTC, naive) after a business day: 00:00 of the next day in the time zone."""
    on = date_of(day + 1)
    local = datetime(on.year, on.month, on.day, tzinfo=ZoneInfo(config.time_zone))
    return pd.Timestamp(local.astimezone(UTC).replace(tzinfo=None))


def at_second(config: SimulationConfig, days: np.ndarray, second_of_day: np.ndarray) -> np.ndarray:
    """UTC epoch seconds for business day numbers and local seconds of the day."""
    first = day_number(config.start_on)
    midnights = utc_midnights(config, first, day_number(config.end_on) + config.tail_days)
    return midnights[days - first] + second_of_day


def _local_seconds(
    rows: dict[str, np.ndarray], deals: NewDeals, config: SimulationConfig, rng: np.random.Generator
) -> np.ndarray:
    """UTC epoch second of each row: office hours, later in the day for North America, hand-overs at eight."""
    count = len(rows["deal"])
    office = rng.triangular(9 * 3600, 14 * 3600, 18 * 3600, size=count).astype(np.int64)
    office += np.where(deals.region[rows["deal"]] == NORTH_AMERICA, int(5.4 * 3600), 0)
    early = 8 * 3600 + rng.integers(0, 3000, size=count)
    return at_second(config, rows["day"], np.where(rows["kind"] == KIND_HAND_OVER, early, office))


def _split_skips(
    rows: dict[str, np.ndarray], hazards: Hazards, config: SimulationConfig, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Turn some skips into two moves at one instant, through the stage between."""
    skips = np.flatnonzero(rows["kind"] == KIND_SKIP)
    skips = skips[rng.random(len(skips)) < config.same_instant_share]
    regime = (rows["day"][skips] >= day_number(config.reorganised_on)).astype(np.int64)
    between = hazards.targets[regime, rows["from_stage"][skips], cat.CAUSES.index("advance")]
    extra = {name: values[skips] for name, values in rows.items()}
    extra["stage"] = between
    rows = {**rows, "from_stage": rows["from_stage"].copy()}
    rows["from_stage"][skips] = between
    return _insert(rows, extra, skips)


def _add_mis_drags(
    rows: dict[str, np.ndarray], hazards: Hazards, config: SimulationConfig, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Drag some deals to a wrong stage and back within a minute, minutes after a quiet row."""
    deal, second = rows["deal"], rows["second"]
    quiet = np.r_[(deal[1:] != deal[:-1]) | (second[1:] - second[:-1] > DAY_SECONDS), True]
    at = np.flatnonzero(quiet & IS_OPEN_STAGE[rows["stage"]])
    share = config.mis_drag_share * len(np.unique(deal)) / max(1, len(at))
    at = at[rng.random(len(at)) < share]
    regime = (rows["day"][at] >= day_number(config.reorganised_on)).astype(np.int64)
    right = rows["stage"][at]
    onward = hazards.targets[regime, right, cat.CAUSES.index("advance")]
    wrong = np.where((onward < 0) | (rng.random(len(at)) < 0.3), LOST_STAGE[right], onward).astype(np.int8)
    dragged = second[at] + rng.integers(300, 1800, size=len(at))
    back = dragged + rng.integers(8, 50, size=len(at))
    pair = {name: np.repeat(values[at], 2) for name, values in rows.items()}
    pair["kind"] = np.full(2 * len(at), KIND_MIS_DRAG, dtype=np.int8)
    pair["from_stage"] = np.column_stack([right, wrong]).ravel()
    pair["stage"] = np.column_stack([wrong, right]).ravel()
    pair["second"] = np.column_stack([dragged, back]).ravel()
    return _insert(rows, pair, np.repeat(at + 1, 2))


def _insert(
    rows: dict[str, np.ndarray], extra: dict[str, np.ndarray], before: np.ndarray
) -> dict[str, np.ndarray]:
    """Insert rows before the given positions, keeping the order of both."""
    return {name: np.insert(values, before, extra[name]) for name, values in rows.items()}
