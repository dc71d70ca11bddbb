"""Win rates of cohorts in one simulated business, held against the law it was drawn from.

The true chance of each deal to be won within so many days comes from the law, by backward recursion; an
estimate may be three standard errors from the mean of those chances.
"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.hazards import date_of, day_number
from dagster_project.simulate.oracle import win_probability_at_entry
from tests.marts.simulated_crm import AS_OF, DAY, Simulated, quarter
from tests.marts.true_chances import without_removals

HORIZON = 60


def created(crm: Simulated, period: str | None) -> pd.DataFrame:
    """Deals created (in a quarter) as open ones that still exist: deal_id, day, stage code, segment."""
    deals = crm.world.truth.outcomes
    deals = deals[~deals["is_import"]]
    if period is not None:
        deals = deals[quarter(deals["created_on"]) == period]
    gone = crm.export.deals.loc[crm.export.deals["gone_at"].notna(), "deal_id"]
    deals = deals[(deals["created_on"] <= pd.Timestamp(AS_OF)) & ~deals["deal_id"].astype(str).isin(gone)]
    return deals.assign(
        day=(deals["created_on"] - pd.Timestamp(0)) // DAY,
        code=deals["stage"].astype(str).map(cat.STAGE_CODE),
    )


def chance_won_within(crm: Simulated, deals: pd.DataFrame, days: int) -> np.ndarray:
    """P(won within so many days of its creation) of each deal."""
    law, chance = without_removals(crm.world.truth.hazards), np.empty(len(deals))
    for day in deals["day"].unique():
        of_day = replace(crm.world.config, start_on=date_of(int(day)))
        table = win_probability_at_entry(law, of_day, date_of(int(day) + days))
        here = (deals["day"] == day).to_numpy()
        chance[here] = table[0, deals["code"].to_numpy()[here], deals["segment"].to_numpy()[here]]
    return chance


def row(crm: Simulated, period: str, horizon: str) -> pd.Series:
    found = crm.marts.frame(
        f"select * from marts.mart_win_rate_cohorts where cohort_by = 'created' and period = '{period}' "
        f"and segment_type = 'total' and horizon = '{horizon}'"
    )
    assert len(found) == 1
    return found.iloc[0]


def test_a_cohort_half_followed_is_won_as_often_as_the_law_says(crm: Simulated) -> None:
    """Deals of January to March, in the middle of May: a third were not followed for 60 days yet."""
    deals = created(crm, "2026Q1")
    told = row(crm, "2026Q1", f"{HORIZON}d")
    assert told.deals_in_cohort == len(deals)
    assert told.deals_matured == (deals["day"] <= day_number(AS_OF) - HORIZON).sum() < 0.85 * len(deals)
    truth = chance_won_within(crm, deals, HORIZON).mean()
    error = math.sqrt(truth * (1 - truth) / told.deals_matured)
    assert abs(told.win_incidence - truth) < 3 * error
    assert told.win_incidence_low < truth < told.win_incidence_high


@pytest.fixture(scope="module")
def in_the_end(crm: Simulated) -> np.ndarray:
    """P(won in the end) by day since the start, stage and segment."""
    return win_probability_at_entry(without_removals(crm.world.truth.hazards), crm.world.config)


def chance_in_the_end(crm: Simulated, in_the_end: np.ndarray, deals: pd.DataFrame) -> float:
    """Mean chance of deals to be won in the end."""
    first = day_number(crm.world.config.start_on)
    return float(in_the_end[deals["day"] - first, deals["code"], deals["segment"]].mean())


def test_of_all_deals_as_many_are_won_as_the_law_says(crm: Simulated, in_the_end: np.ndarray) -> None:
    """One in twenty is still open."""
    deals = created(crm, None)
    told = row(crm, "all", "to_date")
    truth = chance_in_the_end(crm, in_the_end, deals)
    assert told.deals_in_cohort == len(deals)
    assert told.deals_open > 0.04 * len(deals)
    assert abs(told.win_incidence - truth) < 3 * math.sqrt(truth * (1 - truth) / len(deals))


def test_of_the_newest_deals_those_closed_so_far_tell_another_rate_than_the_law(
    crm: Simulated, in_the_end: np.ndarray
) -> None:
    """Deals since April, in the middle of May: losing is quicker here, so what closed is mostly lost."""
    truth = chance_in_the_end(crm, in_the_end, created(crm, "2026Q2"))
    told = row(crm, "2026Q2", "to_date")
    decided = told.biased_win_rate_denominator
    assert abs(told.biased_win_rate - truth) > 3 * math.sqrt(truth * (1 - truth) / decided)


@pytest.mark.parametrize("segment_type", ["region", "pipeline", "source", "product"])
def test_segments_of_a_cohort_add_up_to_all_of_it(crm: Simulated, segment_type: str) -> None:
    counts = "sum(deals_in_cohort), sum(deals_won), sum(deals_lost), sum(deals_open), sum(deals_imported)"
    by_period = (
        f"select period, {counts} from marts.mart_win_rate_cohorts "
        "where horizon = '30d' and cohort_by = 'created' and segment_type = '{}' group by all order by all"
    )
    told = crm.marts.query(by_period.format(segment_type))
    assert told == crm.marts.query(by_period.format("total"))
    assert len(told) > 50
