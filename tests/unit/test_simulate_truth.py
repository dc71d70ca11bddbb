"""The events follow the hazards that the simulation publishes, and the exact answers derived from them.

Tolerances: a sum over many independent draws with known probabilities p is compared with its expectation in
units of its standard deviation sqrt(sum p (1 - p)). One number may be 4 deviations off (1 in 16,000); of k
numbers, the sum of squares may exceed k by 4 sqrt(2 k), four of its own standard deviations.
"""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter

from dagster_project.simulate import SimulationConfig, World, simulate
from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.oracle import visit_survival, win_probability_at_entry, win_probability_on

EPOCH = pd.Timestamp("1970-01-01")


@pytest.fixture(scope="module")
def world() -> World:
    """Twenty thousand deals: enough for every cell that is looked at."""
    return simulate(SimulationConfig(n_deals=20_000, seed=11))


def business_days(world: World, instants: pd.Series) -> pd.Series:
    """The business day of UTC instants."""
    local = instants.dt.tz_localize("UTC").dt.tz_convert(world.config.time_zone)
    return local.dt.tz_localize(None).dt.normalize()


@pytest.fixture(scope="module")
def visits(world: World) -> pd.DataFrame:
    """Stage visits from the events: deal_id, stage, segment, entered, ended (days; NaT: open), cause."""
    events = world.events[world.events["kind"] != "mis_drag"]
    events = events[events["from_stage"].astype("str") != events["stage"].astype("str")]
    visits = pd.DataFrame(
        {
            "deal_id": events["deal_id"],
            "stage": events["stage"].astype("str"),
            "entered": business_days(world, events["changed_at"]),
        }
    )
    by_deal = visits.groupby("deal_id")
    visits["ended"] = by_deal["entered"].shift(-1)
    visits["cause"] = events["kind"].astype("str").groupby(events["deal_id"]).shift(-1)
    last = visits["ended"].isna()
    deals = world.deals.set_index("deal_id")
    for column, cause in (("merged_at", "merge"), ("deleted_at", "delete")):
        gone = business_days(world, deals[column]).reindex(visits["deal_id"]).to_numpy()
        here = last & pd.notna(gone)
        visits.loc[here, "ended"] = gone[here]
        visits.loc[here, "cause"] = cause
    outcomes = world.truth.outcomes.set_index("deal_id")
    visits["segment"] = visits["deal_id"].map(outcomes["segment"])
    return visits.reset_index(drop=True)


@pytest.fixture(scope="module")
def days_at_risk(world: World, visits: pd.DataFrame) -> pd.DataFrame:
    """One row per visit and day after its entry: age class, week of quarter, weekday, cause on the last."""
    end = pd.Timestamp(world.config.end_on)
    settled = visits["stage"].str.endswith(("_won", "_lost"))
    until = (visits["entered"] + pd.Timedelta(days=59)).clip(upper=end).where(settled, end)
    last = visits["ended"].fillna(until)
    length = (last - visits["entered"]).dt.days.clip(lower=0).to_numpy()
    at = np.repeat(np.arange(len(visits)), length)
    age = np.arange(len(at)) - np.repeat(np.cumsum(length) - length, length) + 1
    day = visits["entered"].to_numpy()[at] + age.astype("timedelta64[D]")
    day = pd.DatetimeIndex(day)
    begin = day.to_period("Q").start_time
    ends_here = (age == length[at]) & visits["ended"].notna().to_numpy()[at]
    return pd.DataFrame(
        {
            "stage": visits["stage"].to_numpy()[at],
            "segment": visits["segment"].to_numpy()[at],
            "age": age,
            "age_class": pd.cut(age, [0, 2, 6, 13, 29, 59, 119, np.inf], labels=False),
            "week": (day - begin).days // 7 + 1,
            "weekday": day.day_of_week,
            "cause": np.where(ends_here, visits["cause"].to_numpy()[at], ""),
        }
    )


def expected(world: World, days: pd.DataFrame, cause: str) -> np.ndarray:
    """Probability of a cause on each day at risk, from the published tables."""
    hazards = world.truth.hazards
    stage = days["stage"].map(cat.STAGE_CODE).to_numpy()
    code = cat.CAUSES.index(cause)
    law = hazards.per_day[stage, days["segment"].to_numpy(), days["age_class"].to_numpy(), code]
    law = law * hazards.calendar[days["week"].to_numpy() - 1, code]
    return law * hazards.weekday[days["weekday"].to_numpy()]


def deviations(days: pd.DataFrame, cause: str, chance: np.ndarray, by: list[str]) -> pd.Series:
    """(observed - expected) / standard deviation per cell, cells with at least five expected."""
    table = pd.DataFrame({name: days[name] for name in by})
    table["observed"] = days["cause"].eq(cause).to_numpy()
    table["expected"] = chance
    table["variance"] = chance * (1 - chance)
    cells = table.groupby(by)[["observed", "expected", "variance"]].sum()
    cells = cells[cells["expected"] >= 5]
    return (cells["observed"] - cells["expected"]) / np.sqrt(cells["variance"])


def within_chance(deviation: pd.Series) -> bool:
    """Whether the sum of squares is what chance gives (see the module's first lines)."""
    count = len(deviation)
    return bool((deviation**2).sum() < count + 4 * np.sqrt(2 * count))


@pytest.mark.parametrize("cause", ["advance", "skip", "back", "win", "lose", "reopen", "transfer"])
def test_moves_happen_at_the_published_hazard_by_stage_and_age(
    world: World, days_at_risk: pd.DataFrame, cause: str
) -> None:
    deviation = deviations(days_at_risk, cause, expected(world, days_at_risk, cause), ["stage", "age_class"])
    assert len(deviation) >= 5
    assert within_chance(deviation), deviation


@pytest.mark.parametrize("by", ["segment", "week", "weekday"])
@pytest.mark.parametrize("cause", ["advance", "win", "lose"])
def test_moves_happen_at_the_published_hazard_by_segment_and_calendar(
    world: World, days_at_risk: pd.DataFrame, cause: str, by: str
) -> None:
    deviation = deviations(days_at_risk, cause, expected(world, days_at_risk, cause), [by])
    assert len(deviation) >= 5
    assert within_chance(deviation), deviation


def test_a_wrong_hazard_would_be_noticed(world: World, days_at_risk: pd.DataFrame) -> None:
    chance = expected(world, days_at_risk, "lose") * 1.1
    assert not within_chance(deviations(days_at_risk, "lose", chance, ["stage", "age_class"]))


def test_nothing_moves_on_a_weekend(days_at_risk: pd.DataFrame) -> None:
    weekend = days_at_risk["weekday"] >= 5
    assert weekend.sum() > 100_000
    assert (days_at_risk.loc[weekend, "cause"] == "").all()


@pytest.mark.parametrize("stage", ["new_lead", "new_qualified", "new_quote", "exp_scoping", "par_registered"])
def test_kaplan_meier_with_open_visits_censored_meets_the_true_survival(
    world: World, visits: pd.DataFrame, stage: str
) -> None:
    here = visits[visits["stage"] == stage]
    end = pd.Timestamp(world.config.end_on)
    days = (here["ended"].fillna(end) - here["entered"]).dt.days
    # visits that a skip passed through in an instant are no visits of the law
    here, days = here[(days > 0) | here["ended"].isna()], days[(days > 0) | here["ended"].isna()]
    curve = KaplanMeierFitter().fit(days, event_observed=here["ended"].notna())
    truth = visit_survival(
        world.truth.hazards,
        world.config,
        stage,
        here["segment"].to_numpy(),
        (here["entered"] - EPOCH).dt.days.to_numpy(),
        90,
    ).mean(axis=0)
    for day in (5, 10, 20, 30, 60, 90):
        estimate = float(curve.predict(day))
        deviation = np.sqrt(estimate * (1 - estimate) / len(here))
        assert abs(estimate - truth[day]) < 4 * deviation + 0.002, (day, estimate, truth[day])


def test_completed_visits_alone_would_read_too_short(world: World, visits: pd.DataFrame) -> None:
    recent = visits[(visits["stage"] == "new_qualified") & (visits["entered"] > "2026-04-15")]
    survival = visit_survival(
        world.truth.hazards,
        world.config,
        "new_qualified",
        recent["segment"].to_numpy(),
        (recent["entered"] - EPOCH).dt.days.to_numpy(),
        120,
    ).mean(axis=0)
    true_median = int(np.argmax(survival <= 0.5))
    completed = recent.dropna(subset=["ended"])
    assert (completed["ended"] - completed["entered"]).dt.days.median() < true_median


@pytest.fixture(scope="module")
def chance_at_creation(world: World) -> pd.DataFrame:
    """The outcomes with the exact probability of being won, ever and by the end of the span."""
    outcomes = world.truth.outcomes[~world.truth.outcomes["is_import"]].copy()
    day = (outcomes["created_on"] - pd.Timestamp(world.config.start_on)).dt.days.to_numpy()
    stage = outcomes["stage"].astype("str").map(cat.STAGE_CODE).to_numpy()
    for name, by in (("ever", None), ("by_end", world.config.end_on)):
        table = win_probability_at_entry(world.truth.hazards, world.config, by)
        outcomes[name] = table[day, stage, outcomes["segment"].to_numpy()]
    last = world.events.drop_duplicates("deal_id", keep="last").set_index("deal_id")["stage"].astype("str")
    gone = world.deals.set_index("deal_id")[["merged_at", "deleted_at"]].notna().any(axis=1)
    won = last.str.endswith("_won") & ~gone.reindex(last.index)
    outcomes["won_by_end"] = outcomes["deal_id"].map(won)
    return outcomes


@pytest.mark.parametrize("by", ["pipeline", "tier", "family", "region"])
def test_cohort_win_rates_meet_the_true_win_probability(chance_at_creation: pd.DataFrame, by: str) -> None:
    frame = chance_at_creation
    for chance, won in (("ever", frame["outcome"] == "won"), ("by_end", frame["won_by_end"])):
        cells = pd.DataFrame({by: frame[by], "won": won, "chance": frame[chance]})
        cells["variance"] = cells["chance"] * (1 - cells["chance"])
        sums = cells.groupby(by, observed=True).sum()
        deviation = (sums["won"] - sums["chance"]) / np.sqrt(sums["variance"])
        assert deviation.abs().max() < 4, deviation


def test_open_deals_are_won_by_the_end_of_the_quarter_as_often_as_the_law_says(
    world: World, visits: pd.DataFrame
) -> None:
    as_of = date(2026, 4, 10)
    day = pd.Timestamp(as_of)
    now = visits[(visits["entered"] <= day) & (visits["ended"].isna() | (visits["ended"] > day))]
    now = now[~now["stage"].str.endswith(("_won", "_lost"))]
    table = win_probability_on(world.truth.hazards, world.config, as_of, world.config.end_on)
    age = (day - now["entered"]).dt.days.clip(upper=table.shape[2] - 1).to_numpy()
    chance = table[now["stage"].map(cat.STAGE_CODE).to_numpy(), now["segment"].to_numpy(), age]
    last = visits.drop_duplicates("deal_id", keep="last").set_index("deal_id")
    won = now["deal_id"].map(last["stage"].str.endswith("_won")).astype(bool)
    assert len(now) > 500
    deviation = (won.sum() - chance.sum()) / np.sqrt((chance * (1 - chance)).sum())
    assert abs(deviation) < 4
    likely = chance > np.median(chance)
    assert won[likely].mean() > 3 * won[~likely].mean()


def test_large_deals_are_won_less_and_take_longer(world: World, chance_at_creation: pd.DataFrame) -> None:
    leads = chance_at_creation[chance_at_creation["stage"] == "new_lead"]
    chance = leads.groupby("tier", observed=True)["ever"].mean()
    assert chance["large"] < 0.6 * chance["small"]
    outcomes = world.truth.outcomes
    won = outcomes[(outcomes["outcome"] == "won") & ~outcomes["is_import"]]
    cycle = (won["closed_on"] - won["created_on"]).dt.days.groupby(won["tier"], observed=True).median()
    assert cycle["large"] > cycle["small"]


def test_the_long_hazard_table_says_what_the_arrays_say(world: World) -> None:
    table = world.truth.hazards.hazard_table()
    row = table[
        (table["stage"] == "new_quote")
        & (table["tier"] == "mid")
        & (table["family"] == "Analytics")
        & (table["region"] == "DACH")
        & (table["from_day"] == 14)
        & (table["cause"] == "lose")
    ]
    # exit 0.050 per day x age 1.10 x losing with age 1.15 x share of losing 0.20 x tier mid 1.00
    assert row["per_day"].tolist() == pytest.approx([0.050 * 1.10 * 1.15 * 0.20])
    assert row["to_day"].tolist() == [29]
