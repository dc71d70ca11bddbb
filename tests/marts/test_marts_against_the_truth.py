"""One simulated business, from its exported files to the marts, held against the law it was drawn from.

Tolerances. An estimate may be three standard errors from the truth: Greenwood's for a survival, the root of
sum p (1 - p) for a count of deals with true chances p. Of k figures looked at together each may be as far as
keeps the chance of any false alarm that of one figure at three (Bonferroni: `allowed`). What pandas counts
from the exported files has no tolerance but the rounding of the columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.oracle import win_probability_at_entry
from tests.marts.exported_figures import closed_by_product, closed_deals, performance, pipeline_on
from tests.marts.simulated_crm import AS_OF, DAY, ZONE, Simulated, business_day, quarter
from tests.marts.test_mart_stage_durations import QUANTILES, assert_same, kaplan_meier
from tests.marts.true_chances import chance_above, chance_above_within, chance_won_of_closed, mean_survival

PERIODS = ("all", "2025Q4", "2026Q1", "2026Q2")
ENOUGH_COMPLETED = 30  # below it Greenwood's error is itself a guess
MIN_SAMPLE, MIN_SAMPLE_MEDIAN = 20, 5  # the settings' defaults


def allowed(figures: int) -> float:
    """Standard errors that none of so many true figures exceeds, as surely as one does not exceed three."""
    return NormalDist().inv_cdf(1 - NormalDist().cdf(-3) / figures)


def assert_within_chance(deviations: Iterable[float], at_least: int) -> None:
    """All of at least so many deviations (in standard errors) are what chance gives."""
    found = np.abs(np.array(list(deviations)))
    assert len(found) >= at_least
    assert found.max() < allowed(len(found)), np.sort(found)[-5:]


# --- time in stage


@pytest.fixture(scope="module")
def stays(crm: Simulated) -> pd.DataFrame:
    """Visits to open stages by period of entry, with the age from which each was seen.

    Before the first closing of all, only what went on was seen.
    """
    rows = crm.export.history
    closings = rows[rows["from_stage"].notna() & rows["stage"].str.endswith(("_won", "_lost"))]
    full_from = (
        business_day(closings["changed_at"]).min().tz_localize(ZONE).tz_convert("UTC").tz_localize(None)
    )
    visits = crm.visits[crm.visits["outcome"] == "open"]
    visits = visits.assign(seen_from=((full_from - visits["entered_at"]) / DAY).clip(lower=0))
    visits = visits[visits["days"] >= visits["seen_from"]]
    both = pd.concat([visits.assign(period="all"), visits.assign(period=quarter(visits["entered_on"]))])
    return both[both["period"].isin(PERIODS)]


@pytest.fixture(scope="module")
def durations(crm: Simulated) -> pd.DataFrame:
    """The mart's totals, by period and stage."""
    sql = "select * from marts.mart_stage_durations where counted_per = 'visit' and segment_type = 'total'"
    return crm.marts.frame(sql).set_index(["period", "stage_id"])


def deviations_of_quantiles(
    crm: Simulated, stage: str, stays: pd.DataFrame, quantiles: dict[str, float]
) -> list[float]:
    """How far the true survival is from the share that is left at each quantile, in Greenwood's errors.

    By the law a visit ends on a day, in office hours: a quantile of 6.1 days is day 6. The quantile is right
    when the share is left somewhere between the ends of the day before and of that day.
    """
    truth = mean_survival(
        crm.world.truth.hazards, crm.world.config, stage, stays, 1 + math.ceil(stays["days"].max())
    )
    at_risk = len(stays) - np.searchsorted(np.sort(stays["days"]), stays["days"], side="left")
    found = []
    for name, share in QUANTILES.items():
        if pd.isna(quantiles[name]):
            continue
        ended = at_risk[(stays["days"] <= quantiles[name] + 1e-6) & stays["left_at"].notna()]
        error = share * math.sqrt((1 / (ended * np.maximum(ended - 1, 1))).sum())
        day = round(quantiles[name])
        before = truth[day - 1] if day else 1.0
        found.append(max(0.0, share - before, truth[day] - share) / error)
    return found


def test_time_in_stage_is_lifelines_kaplan_meier_of_the_exported_visits(
    stays: pd.DataFrame, durations: pd.DataFrame
) -> None:
    cells = 0
    for key, visits in stays.groupby(["period", "stage"]):
        told, has_ended = durations.loc[key], visits["left_at"].notna()
        assert (told.visits_completed, told.visits_open) == (has_ended.sum(), (~has_ended).sum())
        assert told.completed_mean_days == pytest.approx(visits["days"][has_ended].mean())
        if told.sample_too_small:
            assert pd.isna(told.median_days)
            continue
        assert_same(told, kaplan_meier(list(visits["days"]), list(has_ended), list(visits["seen_from"])))
        cells += 1
    assert cells >= 45


@pytest.mark.parametrize("period", PERIODS)
def test_time_in_stage_is_the_true_time_within_sampling_error(
    crm: Simulated, stays: pd.DataFrame, durations: pd.DataFrame, period: str
) -> None:
    found: list[float] = []
    for stage, visits in stays[stays["period"] == period].groupby("stage"):
        told = durations.loc[period, stage]
        if told.visits_completed >= ENOUGH_COMPLETED:
            found += deviations_of_quantiles(crm, stage, visits, told)
    assert_within_chance(found, at_least=44 if period == "all" else 11)


def test_without_its_open_visits_a_stage_reads_too_quick(
    crm: Simulated, stays: pd.DataFrame, durations: pd.DataFrame
) -> None:
    """Leads since April: a third of the visits still go on, and those are the long ones."""
    visits = stays[(stays["period"] == "2026Q2") & (stays["stage"] == "new_lead")]
    told = durations.loc["2026Q2", "new_lead"]
    assert told.visits_open > 0.3 * len(visits)
    completed = visits[visits["left_at"].notna()]
    truth = mean_survival(crm.world.truth.hazards, crm.world.config, "new_lead", visits, 720)
    assert truth[-1] < 0.001
    error = completed["days"].std() / math.sqrt(len(completed))
    assert told.completed_mean_days + 3 * error < truth.sum()
    # the judgement that passes what is published refuses the quantiles of the completed visits
    alone = completed["days"].quantile([1 - share for share in QUANTILES.values()], "higher")
    biased = deviations_of_quantiles(crm, "new_lead", completed, dict(zip(QUANTILES, alone, strict=True)))
    assert max(deviations_of_quantiles(crm, "new_lead", visits, told)) < allowed(len(QUANTILES)) < max(biased)


# --- conversion and wins


def conversion(crm: Simulated, metric: str, variant: str, horizon: str) -> pd.DataFrame:
    sql = (
        f"select * from marts.mart_stage_conversion where metric = '{metric}' and variant = '{variant}' "
        f"and horizon = '{horizon}' and period_type in ('quarter', 'all') and segment_type = 'total'"
    )
    return crm.marts.frame(sql).set_index(["stage_id", "period"])


def deviation(told: pd.Series, chance: np.ndarray) -> float:
    """Numerator against the sum of the deals' true chances; the deals counted are the same ones."""
    assert told.conversion_denominator == len(chance)
    error = math.sqrt((chance * (1 - chance)).sum())
    if error == 0:
        assert told.conversion_numerator == chance.sum()
        return 0.0
    return (told.conversion_numerator - chance.sum()) / error


@pytest.mark.parametrize("stage", ["new_lead", "new_contract", "exp_scoping", "par_quote"])
def test_cohorts_get_above_a_stage_as_often_as_the_law_says(crm: Simulated, stage: str) -> None:
    """To date, by quarter and of all; who skipped the stage is above it. par_quote changed places."""
    cohorts = {
        "any": crm.touched(stage),
        "reached": crm.reached[crm.reached["target"] == stage],
    }
    law = chance_above(crm.world.truth.hazards, crm.world.config, stage, list(cohorts.values()), AS_OF)
    found = []
    for (variant, deals), chance in zip(cohorts.items(), law, strict=True):
        told = conversion(crm, "stage_conversion_cohort", variant, "to_date").loc[stage]
        deals = deals.assign(chance=np.where(deals["is_touch"], chance, 1.0))
        assert abs(deviation(told.loc["all"], deals["chance"].to_numpy())) < 3
        for period, cohort in deals.groupby("period"):
            found.append(deviation(told.loc[period], cohort["chance"].to_numpy()))
    assert_within_chance(found, at_least=26)


@pytest.mark.parametrize(
    ("stage", "period", "days"), [("new_lead", "2026Q1", 30), ("exp_scoping", "2025Q4", 90)]
)
def test_cohorts_get_above_a_stage_within_the_horizon_as_often_as_the_law_says(
    crm: Simulated, stage: str, period: str, days: int
) -> None:
    deals = crm.touched(stage)
    deals = deals[deals["period"] == period]
    chance = chance_above_within(crm.world.truth.hazards, crm.world.config, stage, deals, days)
    told = conversion(crm, "stage_conversion_cohort", "any", f"{days}d").loc[stage, period]
    assert abs(deviation(told, chance)) < 3


def test_deals_closed_after_a_stage_are_won_as_often_as_the_law_says(crm: Simulated) -> None:
    visits = crm.visits.assign(
        closed_day=crm.visits["entered_day"],
        won=crm.visits["outcome"] == "won",
        stage=crm.visits.groupby("deal_id")["stage"].shift(1),
        entered_day=crm.visits.groupby("deal_id")["entered_day"].shift(1),
    )
    last = visits.drop_duplicates("deal_id", keep="last")
    closed = last[last["outcome"].isin(["won", "lost"]) & last["stage"].notna()].astype({"entered_day": int})
    chance = chance_won_of_closed(crm.world.truth.hazards, crm.world.config, closed, AS_OF)
    close_date = closed["deal_id"].map(crm.export.deals.set_index("deal_id")["close_date"])
    closed = closed.assign(chance=chance, period=quarter(close_date))
    told = conversion(crm, "stage_to_won", "reached", "none")
    found = []
    for stage, deals in crm.reached.groupby("target"):
        here = closed[
            closed["deal_id"].isin(deals["deal_id"])
            & (closed["pipeline"] == cat.STAGES[cat.STAGE_CODE[stage]].pipeline_id)
        ]
        assert abs(deviation(told.loc[stage, "all"], here["chance"].to_numpy())) < 3
        for period, of_period in here.groupby("period"):
            row = told.loc[stage, period]
            assert row.conversion_numerator == of_period["won"].sum()
            found.append(deviation(row, of_period["chance"].to_numpy()))
    assert_within_chance(found, at_least=140)


def test_cohorts_by_creation_are_won_as_often_as_the_law_says(crm: Simulated) -> None:
    """Of all deals typed in as open, also those deleted or merged later, won and standing at as_of."""
    deals = crm.world.truth.outcomes
    deals = deals[~deals["is_import"] & (deals["created_on"] <= pd.Timestamp(AS_OF))]
    table = win_probability_at_entry(crm.world.truth.hazards, crm.world.config, AS_OF)
    day = ((deals["created_on"] - pd.Timestamp(crm.world.config.start_on)) // DAY).to_numpy()
    stage = deals["stage"].astype(str).map(cat.STAGE_CODE).to_numpy()
    won = {
        row[0]
        for row in crm.marts.query(
            "select deal_id from ledger.fct_deals where status = 'won' and not is_deleted"
        )
    }
    deals = deals.assign(
        chance=table[day, stage, deals["segment"].to_numpy()],
        won=deals["deal_id"].astype(str).isin(won),
        period=quarter(deals["created_on"]),
    )
    deals["variance"] = deals["chance"] * (1 - deals["chance"])
    for by, cells in (("period", 13), ("pipeline", 3), ("tier", 3), ("region", 5)):
        sums = deals.groupby(by, observed=True)[["won", "chance", "variance"]].sum()
        assert_within_chance((sums["won"] - sums["chance"]) / np.sqrt(sums["variance"]), at_least=cells)


def test_every_deal_that_closed_for_good_has_its_true_outcome(crm: Simulated) -> None:
    """A row may reach the CRM six days late, so of the last week not all is known."""
    deals = crm.world.truth.outcomes
    deals = deals[
        deals["outcome"].isin(["won", "lost"]) & (deals["closed_on"] < pd.Timestamp(AS_OF) - 7 * DAY)
    ]
    told = dict(crm.marts.query("select deal_id, status from ledger.fct_deals where not is_deleted"))
    assert len(deals) > 4_000
    assert {deal: told.get(deal) for deal in deals["deal_id"].astype(str)} == dict(
        zip(deals["deal_id"].astype(str), deals["outcome"].astype(str), strict=True)
    )


# --- sales performance and the daily pipeline, counted again


@pytest.fixture(scope="module")
def closed(crm: Simulated) -> pd.DataFrame:
    return closed_deals(crm.export)


def sales(crm: Simulated, segment_type: str) -> pd.DataFrame:
    """The mart's quarters in which a deal was won or lost."""
    sql = (
        "select * from marts.mart_sales_performance where period_type = 'quarter' "
        f"and segment_type = '{segment_type}' and deals_won + deals_lost > 0"
    )
    return crm.marts.frame(sql).set_index(["period", "segment"]).sort_index()


@pytest.mark.parametrize(
    ("segment_type", "cells"), [("total", 13), ("owner", 160), ("team", 65), ("region", 65), ("product", 125)]
)
def test_pandas_finds_the_same_win_rates_cycles_and_bookings(
    crm: Simulated, closed: pd.DataFrame, segment_type: str, cells: int
) -> None:
    expected = performance(closed, segment_type).sort_index()
    assert len(expected) >= cells
    few_closed = expected["deals_won"] + expected["deals_lost"] < MIN_SAMPLE
    expected.loc[few_closed, "win_rate_count"] = np.nan
    few_cycles = expected["deals_in_cycle"] < MIN_SAMPLE_MEDIAN
    expected.loc[few_cycles, [f"sales_cycle_{name}_days" for name in ("p25", "median", "p90")]] = np.nan
    expected.loc[expected.pop("deals_priced") < MIN_SAMPLE_MEDIAN, "median_deal_amount"] = np.nan
    # amounts of products follow the line items: see the next test
    money = ["won_amount", "lost_amount", "median_deal_amount"]
    expected = expected.drop(columns=money) if segment_type == "product" else expected
    told = sales(crm, segment_type)[list(expected.columns)].astype(float)
    pd.testing.assert_frame_equal(told, expected.astype(float), rtol=1e-12, atol=0.001)


@pytest.mark.parametrize(
    ("status", "rows", "amount"),
    [
        ("won", "mart_sales_performance where segment_type = 'product'", "won_amount"),
        ("lost", "mart_loss_reasons where segment_type = 'product' and breakdown = 'total'", "lost_amount"),
    ],
)
def test_pandas_parts_the_closed_amounts_of_a_quarter_by_the_same_products(
    crm: Simulated, closed: pd.DataFrame, status: str, rows: str, amount: str
) -> None:
    """Also for products that no lost deal of the quarter was counted for."""
    expected = closed_by_product(crm.export, closed, status)
    found = crm.marts.frame(f"select * from marts.{rows} and period_type = 'quarter'")
    told = found.set_index(["period", "segment"])[amount].fillna(0).astype(float)
    assert len(expected) > 130
    assert expected.xs("(none)", level="product").max() > 1_000
    pd.testing.assert_series_equal(
        told[told != 0].sort_index(), expected[expected.abs() > 0.01].sort_index(),
        check_names=False, rtol=0, atol=0.01,
    )  # fmt: skip


def test_pandas_replays_the_same_pipeline_of_any_day_from_the_exported_history(crm: Simulated) -> None:
    """Twenty days by lot, and the last one."""
    days = pd.date_range("2023-05-01", AS_OF)
    lot = np.random.default_rng(2).choice(len(days) - 1, 20, replace=False)
    seen = 0
    for day in [*days[lot], days[-1]]:
        expected = pipeline_on(crm.export, day)
        told = crm.marts.frame(
            f"select * from marts.mart_pipeline_daily where period = '{day:%Y-%m-%d}' and deals_open > 0"
        ).set_index("stage_id")
        told = told[list(expected.columns)].astype(float).sort_index()
        pd.testing.assert_frame_equal(told, expected.astype(float), check_names=False, rtol=0, atol=0.01)
        seen += int(expected["deals_open"].sum())
    assert seen > 4_000
