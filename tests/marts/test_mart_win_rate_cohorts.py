"""Win rates of cohorts: by hand, by lifelines, and what becomes of too few deals."""

import warnings

import lifelines
import numpy as np
import pandas as pd
import pytest

from tests.ledger.ledger_bench import Model
from tests.marts.frames_bench import run_on_frames
from tests.marts.waterfall_bench import WaterfallBench

CAME_ON = pd.Timestamp("2025-01-06")
AS_OF = CAME_ON + pd.Timedelta(days=900)
HORIZONS = {"30d": 30, "60d": 60, "90d": 90, "180d": 180, "365d": 365}
OUTCOMES = ("open", "won", "lost", "closed_other")


@pytest.fixture(scope="session")
def models(waterfall_bench: WaterfallBench) -> dict[str, Model]:
    return waterfall_bench.models


def told(
    models: dict[str, Model],
    deals: pd.DataFrame,
    min_sample: int = 1,
    min_sample_median: int = 1,
    full_from: pd.Timestamp = CAME_ON,
) -> pd.DataFrame:
    """The mart's quarter of the deals, by segment and horizon.

    `deals`: days, outcome, and where they matter seen_from, is_import, segment (of type region).
    """
    deals = deals.reset_index(drop=True)
    deals = deals.assign(deal_key=deals.index.astype(str))
    for column, plain in (("seen_from", 0), ("is_import", False), ("segment", "north")):
        if column not in deals:
            deals[column] = plain
    is_open = deals["outcome"] == "open"
    cohorts = pd.DataFrame(
        {
            "cohort_by": "created",
            "deal_key": deals["deal_key"],
            "source_relation": "crm",
            "cohort_on": CAME_ON,
            "outcome": deals["outcome"],
            "outcome_side": deals["outcome"].where(deals["outcome"].isin(["won", "lost"]), None),
            "is_stale_open": False,
            "is_import": deals["is_import"],
            "followed_days": deals["days"],
            "days_to_as_of": deals["days"].where(is_open, 900),
            "seen_from_days": deals["seen_from"],
            "is_usable": ~deals["is_import"] & (deals["days"] >= deals["seen_from"]),
        }
    )
    segments = pd.DataFrame(
        {
            "deal_key": [*deals["deal_key"], *deals["deal_key"]],
            "segment_type": ["total"] * len(deals) + ["region"] * len(deals),
            "segment": ["all"] * len(deals) + list(deals["segment"]),
            "is_counted": True,
        }
    )
    quarter = pd.DataFrame(
        {
            "period_type": ["quarter"],
            "period": ["2025Q1"],
            "period_start": [pd.Timestamp("2025-01-01")],
            "period_end": [pd.Timestamp("2025-03-31")],
            "is_complete_period": [True],
        }
    )
    parents = {
        "stg_run_context": pd.DataFrame(
            {
                "min_sample": [min_sample],
                "min_sample_median": [min_sample_median],
                "as_of": [AS_OF],
                "definition_version": ["default"],
            }
        ),
        "dim_date": pd.DataFrame(
            {
                "date_day": [CAME_ON],
                "month_label": ["2025-01"],
                "quarter_label": ["2025Q1"],
                "year_label": ["2025"],
            }
        ),
        "int_win_cohorts": cohorts,
        "int_deal_segments": segments,
        "int_periods": quarter,
        "int_source_history": pd.DataFrame({"source_relation": ["crm"], "full_from_on": [full_from]}),
    }
    rows = run_on_frames(models, ["int_win_incidence", "mart_win_rate_cohorts"], parents)
    return rows.set_index(["segment_type", "horizon"]).sort_index()


def aalen_johansen(deals: pd.DataFrame, day: float) -> tuple[float, float, float]:
    """Incidence of winning up to a day, and its interval, by lifelines (with its own normal quantile)."""
    event = deals["outcome"].map({name: code for code, name in enumerate(OUTCOMES)})
    # lifelines counts a deal at an age only when it was seen before that age, the mart from that age on
    entry = (deals["seen_from"] - 1e-9).clip(lower=0) if "seen_from" in deals else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its logarithms of the zero before the first win
        fitter = lifelines.AalenJohansenFitter().fit(deals["days"], event, event_of_interest=1, entry=entry)
    curve = fitter.cumulative_density_.iloc[:, 0]
    ends = fitter.confidence_interval_.loc[:day].iloc[-1]
    return float(curve.loc[:day].iloc[-1]), float(ends.min()), float(ends.max())


def random_deals(seed: int, count: int, is_truncated: bool = False) -> pd.DataFrame:
    """Deals that end, or are followed, for so many days; no two for equally many, so that nothing is tied."""
    lot = np.random.default_rng(seed)
    days = lot.permutation(700)[:count] + 1
    outcome = lot.choice(OUTCOMES, count, p=[0.35, 0.3, 0.25, 0.1])
    deals = pd.DataFrame({"days": days, "outcome": outcome})
    if is_truncated:
        deals["seen_from"] = np.where(lot.random(count) < 0.3, (days * lot.random(count)).astype(int), 0)
    return deals


def test_six_deals_by_hand(models: dict[str, Model]) -> None:
    """Won on day 10, lost on 20, open since 30, won on 40, closed otherwise on 50, open since 400.

    1/6 are won by day 10; 4/6 are open after day 20; on day 40 one of the three still followed is won:
    1/6 + 4/6 x 1/3 = 7/18. Its variance, term by term at days 10, 20, 40 with F = 1/6, 1/6, 7/18:
    (7/18 - 1/6)^2 (1/(6 x 5) + 1/(5 x 4)) + (5/6^3 + (2/3)^2 x 2/3^3) - 2 (7/18 - 1/6) / 6^2 = 0.047840.
    """
    deals = pd.DataFrame(
        {
            "days": [10, 20, 30, 40, 50, 400],
            "outcome": ["won", "lost", "open", "won", "closed_other", "open"],
        }
    )
    rows = told(models, deals).loc["total"]
    assert rows.loc["30d", "win_incidence"] == pytest.approx(1 / 6)
    assert rows.loc["365d", "win_incidence"] == pytest.approx(7 / 18)
    variance = (2 / 9) ** 2 * (1 / 30 + 1 / 20) + (5 / 216 + (4 / 9) * (2 / 27)) - 2 * (2 / 9) / 36
    spread = np.exp(1.96 * np.sqrt(variance) / (7 / 18 * np.log(18 / 7)))
    assert rows.loc["365d", "win_incidence_low"] == pytest.approx((7 / 18) ** spread)
    assert rows.loc["365d", "win_incidence_high"] == pytest.approx((7 / 18) ** (1 / spread))
    to_date = rows.loc["to_date"]
    assert (to_date.won_to_date_numerator, to_date.won_to_date_denominator) == (2, 6)
    assert to_date.won_to_date_rate == pytest.approx(2 / 6)
    assert to_date.biased_win_rate == pytest.approx(2 / 3)
    assert (to_date.horizon_days, to_date.deals_matured, to_date.deals_open) == (400, 4, 2)
    assert to_date.bias_in_words == (
        "Of the deals closed so far 67 % were won (2 of 3). "
        "Counting the 2 that are still open, 39 % are won within 400 days."
    )


@pytest.mark.parametrize("is_truncated", [False, True], ids=["seen from their start", "some seen late"])
@pytest.mark.parametrize("seed", range(6))
def test_random_books_give_what_lifelines_gives(
    models: dict[str, Model], seed: int, is_truncated: bool
) -> None:
    deals = random_deals(seed, 60 + 60 * seed, is_truncated)
    rows = told(models, deals).loc["total"]
    compared = 0
    for horizon, days in (HORIZONS | {"to_date": rows.loc["to_date", "horizon_days"]}).items():
        share, low, high = aalen_johansen(deals, days)
        if 0 < share < 1:
            figures = rows.loc[horizon, ["win_incidence", "win_incidence_low", "win_incidence_high"]]
            # 1e-5: our normal quantile is 1.96
            assert figures.astype(float).to_list() == pytest.approx([share, low, high], abs=1e-5)
            compared += 1
    assert compared >= 5


def test_deals_that_end_on_one_day_are_counted_as_on_one_day(models: dict[str, Model]) -> None:
    """Whole days tie many ends. The estimate is that of the ends broken apart, whatever their order."""
    lot = np.random.default_rng(8)
    deals = pd.DataFrame(
        {"days": lot.integers(1, 40, 400), "outcome": lot.choice(OUTCOMES, 400, p=[0.2, 0.3, 0.4, 0.1])}
    )
    share = told(models, deals).loc[("total", "30d"), "win_incidence"]
    broken = deals.assign(days=deals["days"] + np.where(deals["outcome"] == "open", 0.9, lot.random(400) / 2))
    assert share == pytest.approx(aalen_johansen(broken, 30.99)[0], abs=0.003)


def test_a_cohort_that_is_decided_has_the_plain_share(models: dict[str, Model]) -> None:
    deals = random_deals(3, 80)
    deals = deals[deals["outcome"] != "open"]
    row = told(models, deals).loc["total", "to_date"]
    assert row.win_incidence == pytest.approx((deals["outcome"] == "won").mean())
    assert row.win_incidence == pytest.approx(row.won_to_date_rate)
    assert row.matured_share == 1


def test_nobody_won_is_a_zero_with_an_upper_end_and_everybody_a_one_with_a_lower(
    models: dict[str, Model],
) -> None:
    """Wilson: 3.8416 / (n + 3.8416) for none of n = 20."""
    lost = pd.DataFrame({"days": range(1, 21), "outcome": "lost"})
    row = told(models, lost).loc["total", "30d"]
    assert (row.win_incidence, row.win_incidence_low) == (0, 0)
    assert row.win_incidence_high == pytest.approx(3.8416 / 23.8416)
    row = told(models, lost.assign(outcome="won")).loc["total", "30d"]
    assert (row.win_incidence, row.win_incidence_high) == (pytest.approx(1), 1)
    assert row.win_incidence_low == pytest.approx(20 / 23.8416)


def test_a_horizon_that_hardly_a_deal_was_followed_to_has_a_reason_and_no_figure(
    models: dict[str, Model],
) -> None:
    """Thirty deals open for 1 to 30 days, twenty lost on day 10; floor of five: the curve ends on day 26."""
    deals = pd.DataFrame({"days": [*range(1, 31), *[10] * 20], "outcome": ["open"] * 30 + ["lost"] * 20})
    rows = told(models, deals, min_sample_median=5).loc["total"]
    assert rows.loc["30d", "win_incidence_null_reason"] == "not_followed_long_enough"
    assert pd.isna(rows.loc["30d", "win_incidence"])
    assert pd.isna(rows.loc["30d", "win_incidence_high"])
    assert (rows.loc["to_date", "horizon_days"], rows.loc["to_date", "deals_at_risk"]) == (26, 5)
    assert rows.loc["to_date", "win_incidence"] == 0


def test_too_few_deals_and_too_few_seen_from_their_start_are_no_figure(models: dict[str, Model]) -> None:
    few = told(models, random_deals(1, 19), min_sample=20).loc["total", "30d"]
    assert (few.win_incidence_null_reason, few.sample_too_small) == ("small_sample", True)
    assert pd.isna(few.win_incidence)
    assert pd.isna(few.won_to_date_rate)
    late = random_deals(1, 40).assign(seen_from=1)
    row = told(models, late, min_sample=20, full_from=CAME_ON + pd.Timedelta(days=1)).loc["total", "30d"]
    assert (row.win_incidence_null_reason, row.history_status) == ("left_truncated", "left_truncated")
    assert pd.isna(row.win_incidence)
    assert row.won_to_date_rate == pytest.approx((late["outcome"] == "won").mean())


def test_imports_are_counted_apart(models: dict[str, Model]) -> None:
    deals = random_deals(2, 50)
    imports = pd.DataFrame({"days": [0] * 7, "outcome": "won", "is_import": True})
    alone, beside = told(models, deals), told(models, pd.concat([deals.assign(is_import=False), imports]))
    figures = ["deals_in_cohort", "deals_won", "win_incidence", "won_to_date_rate", "biased_win_rate"]
    assert beside.loc["total", "to_date"][figures].equals(alone.loc["total", "to_date"][figures])
    assert (alone["deals_imported"].max(), beside["deals_imported"].min()) == (0, 7)


def test_a_region_that_wins_more_often_differs_and_those_that_do_not_do_not(models: dict[str, Model]) -> None:
    """Of 100 each: 60 won in the north, 30 in the south, 32 in the west."""
    deals = pd.concat(
        [
            pd.DataFrame({"days": 5, "outcome": ["won"] * won + ["lost"] * (100 - won), "segment": name})
            for name, won in (("north", 60), ("south", 30), ("west", 32))
        ]
    )
    rows = told(models, deals, min_sample=20).loc[("region", "to_date")].set_index("segment")
    # z of 60/100 against 62/200 is 4.83; of 32/100 against 90/200 -2.17, below the 2.39 of three comparisons
    assert rows["differs_from_total"].to_dict() == {"north": True, "south": True, "west": False}
