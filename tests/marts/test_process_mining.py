"""Moves and conversion of a simulated business, counted by pm4py from its exported files alone."""

import pandas as pd
import pm4py
import pytest

from dagster_project.simulate import catalogue as cat
from tests.marts.simulated_crm import AS_OF, Simulated, business_day

# The partner pipeline's stages changed places: there, higher depends on the day, which pm4py does not know.
PIPELINES = ("new_business", "expansion")


@pytest.fixture(scope="module")
def log(crm: Simulated) -> pd.DataFrame:
    """An event log: a case per deal that still exists, an event per entry into a stage."""
    moves = crm.export.moves
    gone = crm.export.deals.loc[crm.export.deals["gone_at"].notna(), "deal_id"]
    moves = moves[~moves["deal_id"].isin(gone) & (business_day(moves["at"]) <= pd.Timestamp(AS_OF))]
    # moves of one instant keep their order
    at = moves["at"] + pd.to_timedelta(moves.groupby("deal_id").cumcount(), unit="us")
    events = moves.assign(at=at.dt.tz_localize("UTC"), stage=moves["stage"].astype(object))
    return pm4py.format_dataframe(
        events.reset_index(drop=True), case_id="deal_id", activity_key="stage", timestamp_key="at"
    )


def test_pm4py_finds_the_same_moves_from_stage_to_stage(crm: Simulated, log: pd.DataFrame) -> None:
    follows, starts, ends = pm4py.discover_dfg(log)
    moves = f"""
        select moves.* from ledger.fct_stage_transitions as moves
        inner join ledger.fct_deals as deals on moves.deal_key = deals.deal_key and not deals.is_deleted
        where not moves.is_transient and moves.business_date <= '{AS_OF}'
    """
    visits = f"""
        select visits.* from ledger.int_stage_visits as visits
        inner join ledger.fct_deals as deals on visits.deal_key = deals.deal_key and not deals.is_deleted
        where visits.entered_on <= '{AS_OF}'
    """
    pairs = crm.marts.query(
        f"""
        select from_stage_id, to_stage_id, count(*) from ({moves}) as moves
        where from_stage_id is not null and from_stage_id <> to_stage_id group by all
        """
    )
    assert {(source, target): count for source, target, count in pairs} == dict(follows)
    assert sum(follows.values()) > 10_000
    first = crm.marts.query(
        f"select stage_id, count(*) from ({visits}) as v where visit_seq = 1 group by all"
    )
    assert dict(first) == dict(starts)
    standing = crm.marts.query(
        "select stage_id, count(*) from ledger.fct_deals where not is_deleted group by all"
    )
    assert dict(standing) == dict(ends)


@pytest.mark.parametrize(
    "stage",
    [stage for stage in cat.STAGES if stage.pipeline_id in PIPELINES and stage.outcome == "open"],
    ids=lambda stage: stage.stage_id,
)
def test_pm4py_finds_the_same_conversion(crm: Simulated, log: pd.DataFrame, stage: cat.Stage) -> None:
    """Of the deals that ever touched a stage, those that were above it, or won in its pipeline, later."""
    above = [
        other.stage_id
        for other in cat.STAGES
        if other.pipeline_id == stage.pipeline_id
        and (other.outcome == "won" or (other.outcome == "open" and other.order > stage.order))
    ]
    touched = pm4py.filter_event_attribute_values(log, "concept:name", [stage.stage_id], level="case")
    passed = pm4py.filter_eventually_follows_relation(log, {(stage.stage_id, other) for other in above})
    told = crm.marts.query(
        f"""
        select conversion_numerator, conversion_denominator, deals_left_out from marts.mart_stage_conversion
        where metric = 'stage_conversion_cohort' and variant = 'any' and horizon = 'to_date'
          and period_type = 'all' and segment_type = 'total' and stage_id = '{stage.stage_id}'
        """
    )
    cases = "case:concept:name"
    assert told == [(passed[cases].nunique(), touched[cases].nunique(), 0)]
