"""Conversion of stages in a simulated CRM, counted a second time by pandas from the transitions."""

from typing import Any

import pandas as pd

from tests.marts.marts_bench import SIMULATED, Marts
from tests.marts.stage_cases import AS_OF


def visits(marts: Marts) -> pd.DataFrame:
    """Visits with the move that ended them; transients out."""
    frame = marts.frame(
        f"""
        select moves.deal_key, moves.to_pipeline_id as pipeline_id, moves.to_stage_id as stage_id,
          moves.to_rank as rank, moves.to_status as status, moves.business_date, moves.transition_type
        from ledger.fct_stage_transitions as moves
        inner join ledger.fct_deals as deals on moves.deal_key = deals.deal_key and not deals.is_deleted
        where moves.source_relation = '{SIMULATED}' and not moves.is_transient
          and moves.business_date <= '{AS_OF}'
        order by moves.deal_key, moves.transition_number
        """
    )
    frame["entered_on"] = pd.to_datetime(frame.business_date)
    frame["exit_type"] = frame.groupby("deal_key").transition_type.shift(-1)
    frame["exited_on"] = frame.groupby("deal_key").entered_on.shift(-1)
    return frame


def counts_as_above(later: dict[str, Any], visit: dict[str, Any]) -> bool:
    is_higher = later["status"] == "open" and later["rank"] > visit["rank"]
    return later["pipeline_id"] == visit["pipeline_id"] and (later["status"] == "won" or is_higher)


def told(
    marts: Marts, metric: str, period_type: str, variant: str = "any", horizon: str = "none"
) -> dict[Any, Any]:
    rows = marts.query(
        f"""
        select period, stage_id, conversion_numerator, conversion_denominator
        from marts.mart_stage_conversion
        where metric = '{metric}' and period_type = '{period_type}' and variant = '{variant}'
          and horizon = '{horizon}' and segment_type = 'total' and source_relation = '{SIMULATED}'
          and conversion_denominator > 0
        """
    )
    return {(period, stage): (numerator, denominator) for period, stage, numerator, denominator in rows}


def quarter(days: pd.Series) -> pd.Series:
    return days.dt.year.astype(str) + "Q" + days.dt.quarter.astype(str)


def test_pandas_counts_the_same_exits(marts: Marts) -> None:
    frame = visits(marts)
    exits = frame[(frame.status == "open") & frame.exit_type.isin(["forward", "skip", "won", "lost"])]
    exits = exits.assign(period=quarter(exits.exited_on)).drop_duplicates(
        ["deal_key", "stage_id", "period"], keep="last"
    )
    counts = exits.groupby(["period", "stage_id"]).exit_type.agg(
        [lambda types: (types != "lost").sum(), "size"]
    )
    expected = dict(zip(counts.index, map(tuple, counts.to_numpy().tolist()), strict=True))
    assert len(expected) > 100
    assert told(marts, "stage_conversion_next", "quarter") == expected


def test_pandas_follows_the_same_cohorts(marts: Marts) -> None:
    frame = visits(marts)
    frame = frame[frame.pipeline_id != "partner"]
    end = pd.Timestamp(AS_OF)
    counts: dict[str, dict[tuple[str, str], list[int]]] = {"90d": {}, "to_date": {}}
    for _, deal in frame.groupby("deal_key"):
        rows = deal.to_dict("records")
        seen: set[str] = set()
        for place, visit in enumerate(rows):
            if visit["status"] != "open" or visit["stage_id"] in seen:
                continue
            seen.add(visit["stage_id"])
            above = [later["entered_on"] for later in rows[place + 1 :] if counts_as_above(later, visit)]
            came = visit["entered_on"]
            cell = (str(came.year) + "Q" + str(came.quarter), visit["stage_id"])
            is_quick = bool(above) and (above[0] - came).days <= 90
            sides = {"to_date": bool(above)} | ({"90d": is_quick} if (end - came).days >= 90 else {})
            for horizon, is_above in sides.items():
                counted = counts[horizon].setdefault(cell, [0, 0])
                counted[0] += is_above
                counted[1] += 1
    for horizon, expected in counts.items():
        found = told(marts, "stage_conversion_cohort", "quarter", horizon=horizon)
        assert {key: list(value) for key, value in found.items() if not key[1].startswith("par_")} == expected


def test_pandas_wins_as_often_after_a_stage(marts: Marts) -> None:
    frame = visits(marts)
    closed = marts.frame(
        f"""
        select deal_key, pipeline_id, status, coalesce(won_on, lost_on) as closed_on from ledger.fct_deals
        where source_relation = '{SIMULATED}' and not is_deleted and status in ('won', 'lost')
          and coalesce(won_on, lost_on) <= '{AS_OF}' and pipeline_id <> 'partner'
        """
    )
    stages = marts.query(
        "select stage_id, pipeline_id, stage_order from ledger.dim_stage "
        f"where is_open and source_relation = '{SIMULATED}' and pipeline_id <> 'partner'"
    )
    in_pipeline = frame[frame.status == "open"].groupby(["deal_key", "pipeline_id"])
    highest = in_pipeline["rank"].max().rename("highest").reset_index()
    closed = closed.merge(highest, on=["deal_key", "pipeline_id"])
    closed["period"] = quarter(pd.to_datetime(closed.closed_on))
    expected = {}
    for stage, pipeline, order in stages:
        reached = closed[(closed.pipeline_id == pipeline) & (closed.highest >= order)]
        for period, deals in reached.groupby("period"):
            expected[period, stage] = ((deals.status == "won").sum(), len(deals))
    found = told(marts, "stage_to_won", "quarter", variant="reached")
    assert {key: value for key, value in found.items() if not key[1].startswith("par_")} == expected
