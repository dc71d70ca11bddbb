"""Bottlenecks: both tests by other routes, the correction, and what is named in simulated businesses."""

import math
import warnings
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from lifelines.statistics import logrank_test

from dagster_project.simulate import catalogue as cat
from tests.ledger.ledger_bench import Model
from tests.marts.frames_bench import run_on_frames
from tests.marts.seeded_businesses import Businesses, Planted
from tests.marts.waterfall_bench import WaterfallBench

BEFORE = pd.Timestamp("2024-01-01"), pd.Timestamp("2024-12-31")
RECENT = pd.Timestamp("2025-01-01"), pd.Timestamp("2025-12-31")
DAY = pd.Timedelta(days=1)
OPEN_STAGES = [s.stage_id for s in cat.STAGES if (s.pipeline_id, s.outcome) == ("new_business", "open")]

SEEDS = 200
DEALS_EACH = 1_500
# Of 200 businesses in which nothing changed, chance may call something changed in 5 %, that is 10, and half
# of that is for the worse. At those rates more than 17, or more than 11, come about once in a hundred times
# (binomial, n = 200: P(X <= 17) = 0.988 for p = 0.05, and P(X <= 11) = 0.995 for p = 0.025).
MOST_CHANGED, MOST_NAMED = 17, 11


@pytest.fixture(scope="session")
def models(waterfall_bench: WaterfallBench) -> dict[str, Model]:
    return waterfall_bench.models


def shifts(models: dict[str, Model], visits: pd.DataFrame) -> pd.DataFrame:
    """int_stage_shifts of visits: entered_on, exited_on, exit_type, and what else matters."""
    visits = visits.reset_index(drop=True)
    plain = {
        "deal_key": visits.index.astype(str),
        "source_relation": "crm",
        "stage_key": "lead",
        "visit_seq": visits.index + 1,
        "owner_key": "ann",
        "is_bulk_exit": False,
        "is_bulk_entry": False,
        "is_entry_unknown": False,
        "is_left": visits["exited_on"].notna(),
    }
    visits = visits.assign(**{name: value for name, value in plain.items() if name not in visits})
    parents = {
        "int_comparison_windows": pd.DataFrame(
            {
                "source_relation": ["crm"],
                "before_from": [BEFORE[0]],
                "before_to": [BEFORE[1]],
                "recent_from": [RECENT[0]],
                "recent_to": [RECENT[1]],
            }
        ),
        "int_open_visits": visits,
        "int_deal_segments": pd.DataFrame(
            {"deal_key": [""], "segment_type": [""], "segment": [""], "is_counted": [True]}
        ),
        "dim_owner": pd.DataFrame({"owner_key": [""], "owner": [""], "team": [""]}),
    }
    return run_on_frames(models, ["int_stage_shifts"], parents).set_index("measure")


def drawn_visits(seed: int, count: int, slower: float) -> pd.DataFrame:
    """Visits over both years; leaving takes longer in the second one. Some still go on."""
    lot = np.random.default_rng(seed)
    entered = BEFORE[0] + pd.to_timedelta(lot.integers(-60, 730, count), unit="D")
    days = np.ceil(lot.exponential(25, count) * np.where(entered >= RECENT[0], slower, 1)).astype(int)
    exited = pd.Series(entered + pd.to_timedelta(days, unit="D"))
    return pd.DataFrame(
        {
            "entered_on": entered,
            "exited_on": exited.where(exited <= RECENT[1] + 20 * DAY),
            "exit_type": lot.choice(["forward", "lost", "backward", "won"], count),
        }
    )


# --- the tests themselves


def test_two_shares_are_compared_as_the_textbook_does(models: dict[str, Model]) -> None:
    """Of 50 deals 20 went on, of 60 before 36: pooled 56/110, z = (0.4 - 0.6) / sqrt(p q (1/50 + 1/60))."""
    rows = [
        (window[0] + 5 * DAY, window[0] + 9 * DAY, way)
        for window, ways in (
            (RECENT, ["forward"] * 12 + ["won"] * 8 + ["lost"] * 30),
            (BEFORE, ["skip"] * 36 + ["lost"] * 24),
        )
        for way in ways
    ]
    told = shifts(models, pd.DataFrame(rows, columns=["entered_on", "exited_on", "exit_type"]))
    row = told.loc["conversion"]
    assert (row.recent_moved, row.recent_deals, row.before_moved, row.before_deals) == (20, 50, 36, 60)
    pooled = 56 / 110
    assert row.z == pytest.approx(-0.2 / math.sqrt(pooled * (1 - pooled) * (1 / 50 + 1 / 60)))
    assert row.expected_moved == pytest.approx(30)
    # 54 of 110 were lost: 50 x 54 / 110 in the smallest cell
    assert row.least_expected == pytest.approx(50 * 54 / 110)


@pytest.mark.parametrize("seed", range(5))
def test_paces_are_compared_as_lifelines_does_where_no_visit_crosses_the_new_year(
    models: dict[str, Model], seed: int
) -> None:
    visits = drawn_visits(seed, 300, slower=1.5)
    visits = visits[visits["entered_on"] >= BEFORE[0]]
    # a visit of the first year that lasts longer is ended by an administrator on its last day
    crosses = (visits["entered_on"] <= BEFORE[1]) & ~(visits["exited_on"] <= BEFORE[1])
    visits = visits.assign(exited_on=visits["exited_on"].where(~crosses, BEFORE[1]), is_bulk_exit=crosses)
    row = shifts(models, visits).loc["time_in_stage"]
    is_recent = visits["entered_on"] >= RECENT[0]
    has_left = (visits["exited_on"] <= RECENT[1]) & ~crosses
    days = (visits["exited_on"].fillna(RECENT[1]).clip(upper=RECENT[1]) - visits["entered_on"]) / DAY
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lifelines calls pandas in a way that will change
        expected = logrank_test(
            days[is_recent], days[~is_recent], has_left[is_recent], has_left[~is_recent]
        ).test_statistic
    assert row.z**2 == pytest.approx(expected)
    assert row.z < 0


@pytest.mark.parametrize("seed", range(3))
def test_a_visit_counts_on_both_sides_of_the_new_year_for_the_days_it_had_there(
    models: dict[str, Model], seed: int
) -> None:
    """Mantel's test, day by day: each visit on each of its days, at the age of that day."""
    visits = drawn_visits(seed + 50, 250, slower=1.3)
    at_risk: dict[tuple[int, bool], int] = {}
    left: dict[tuple[int, bool], int] = {}
    for visit in visits.itertuples():
        last = min(visit.exited_on if pd.notna(visit.exited_on) else RECENT[1], RECENT[1])
        for day in pd.date_range(max(visit.entered_on, BEFORE[0]), last):
            cell = ((day - visit.entered_on).days, bool(day >= RECENT[0]))
            at_risk[cell] = at_risk.get(cell, 0) + 1
            left[cell] = left.get(cell, 0) + (day == visit.exited_on)
    observed = expected = variance = 0.0
    for age in {age for age, _ in left}:
        now, then = at_risk.get((age, True), 0), at_risk.get((age, False), 0)
        exits, count = left.get((age, True), 0) + left.get((age, False), 0), now + then
        observed += left.get((age, True), 0)
        expected += exits * now / count
        if count > 1:
            variance += exits * now * then * (count - exits) / (count**2 * (count - 1))
    row = shifts(models, visits).loc["time_in_stage"]
    assert row.recent_moved == observed
    assert row.expected_moved == pytest.approx(expected)
    assert row.z == pytest.approx((observed - expected) / math.sqrt(variance))


def test_a_deal_that_comes_back_counts_once(models: dict[str, Model]) -> None:
    rows = [("a", RECENT[0] + n * 20 * DAY, RECENT[0] + (n * 20 + 9) * DAY, "lost") for n in range(4)]
    rows += [("a", RECENT[0] + 90 * DAY, pd.NaT, ""), ("b", BEFORE[0] + DAY, BEFORE[0] + 5 * DAY, "forward")]
    told = shifts(models, pd.DataFrame(rows, columns=["deal_key", "entered_on", "exited_on", "exit_type"]))
    counts = told[["recent_deals", "recent_moved", "before_deals", "before_moved"]]
    assert counts.loc["conversion"].to_list() == [1, 0, 1, 1]
    assert counts.loc["time_in_stage"].to_list() == [1, 1, 1, 1]


def test_what_an_administrator_moved_in_mass_is_no_move(models: dict[str, Model]) -> None:
    visits = pd.DataFrame(
        {
            "entered_on": [RECENT[0]] * 2,
            "exited_on": [RECENT[0] + 9 * DAY] * 2,
            "exit_type": ["forward"] * 2,
            "is_bulk_exit": [True, False],
        }
    )
    told = shifts(models, visits)
    assert told.loc["conversion", "recent_deals"] == 1
    assert told.loc["time_in_stage", ["recent_deals", "recent_moved"]].to_list() == [2, 1]


# --- what is named


@pytest.fixture(scope="module")
def unchanged(models: dict[str, Model]) -> Businesses:
    return Businesses(models, SEEDS, DEALS_EACH, seed=20261)


def holm(rows: pd.DataFrame) -> set[int]:
    """Rows that survive, with p-values instead of critical values."""
    survivors: set[int] = set()
    for family in (rows[rows["segment_type"] == "total"], rows[rows["segment_type"] != "total"]):
        p_values = (2 * family["z"].abs().map(lambda z: NormalDist().cdf(-z))).sort_values()
        for rank, (index, p) in enumerate(p_values.items()):
            if p > 0.025 / (len(p_values) - rank):
                break
            survivors.add(index)
    return survivors


def test_in_businesses_where_nothing_changed_hardly_ever_something_is_named(unchanged: Businesses) -> None:
    found = [set(unchanged.bottlenecks(business, "status")["status"]) for business in unchanged.names]
    assert sum("finding" in statuses for statuses in found) <= MOST_NAMED
    assert sum("finding" in statuses or "improved" in statuses for statuses in found) <= MOST_CHANGED
    assert all("within_noise" in statuses for statuses in found)


def test_the_deviates_of_businesses_where_nothing_changed_are_normal(unchanged: Businesses) -> None:
    """Of a standard normal 5 % lie beyond 1.96; the cells of a business hang together, hence the margin."""
    rows = unchanged.frame(
        "select measure, z from every.int_stage_shifts where segment_type = 'total' "
        "and recent_deals >= 20 and before_deals >= 20 and least_expected >= 10"
    )
    assert len(rows) > 4_000
    for _, cells in rows.groupby("measure"):
        assert abs(cells["z"].mean()) < 0.1
        assert cells["z"].std() == pytest.approx(1, abs=0.08)
        assert (cells["z"].abs() > 1.96).mean() == pytest.approx(0.05, abs=0.02)


@pytest.fixture(scope="module")
def slower_quote(models: dict[str, Model]) -> Businesses:
    return Businesses(models, 6, 7_000, seed=3, planted=Planted("new_quote", 0.55))


@pytest.fixture(scope="module")
def slower_leads_in_dach(models: dict[str, Model]) -> Businesses:
    return Businesses(models, 6, 7_000, seed=4, planted=Planted("new_lead", 0.4, "DACH"))


def test_a_stage_that_got_worse_is_named_in_every_business_and_no_other_stage_is(
    slower_quote: Businesses,
) -> None:
    for business in slower_quote.names:
        named = slower_quote.named(business)
        assert ("conversion", "new_quote", "total", "all") in named
        assert ("time_in_stage", "new_quote", "total", "all") in named
        assert {stage for _, stage, _, _ in named} == {"new_quote"}


def test_a_stage_that_got_worse_in_one_region_is_named_with_the_region(
    slower_leads_in_dach: Businesses,
) -> None:
    for business in slower_leads_in_dach.names:
        named = slower_leads_in_dach.named(business)
        regions = {row for row in named if row[2] == "region"}
        assert {stage for _, stage, _, _ in named} == {"new_lead"}
        assert {segment for _, _, _, segment in regions} == {"DACH"}


def test_what_is_named_are_the_survivors_of_holms_correction(slower_quote: Businesses) -> None:
    for business in slower_quote.names[:3]:
        rows = slower_quote.bottlenecks(business)
        tested = rows[rows["status"].isin(["finding", "improved", "within_noise"])]
        assert set(tested.index[tested["status"] != "within_noise"]) == holm(tested)


def test_a_finding_says_in_words_what_was_counted(slower_quote: Businesses) -> None:
    rows = slower_quote.bottlenecks(slower_quote.names[0])
    rows = rows[(rows["stage_id"] == "new_quote") & (rows["segment_type"] == "total")].set_index("measure")
    row = rows.loc["conversion"]
    share, share_before = (
        round(100 * moved / seen)
        for moved, seen in (
            (row.deals_moved, row.deals_seen),
            (row.deals_moved_before, row.deals_seen_before),
        )
    )
    assert row.in_words == (
        f"Fewer deals go on from Quote (new_business). In 2025Q3 to 2026Q2 {row.deals_moved} of the "
        f"{row.deals_seen} deals decided there went on ({share} %); in the 4 quarters before "
        f"{row.deals_moved_before} of {row.deals_seen_before} ({share_before} %), by which "
        f"{round(row.deals_moved_expected)} would have gone on. The other stages of the pipeline did not "
        f"change like that. Lost there in that time: {row.deals_at_stake} deals, "
        f"worth EUR {row.at_stake_amount / 1e6:.2f} million."
    )
    row = rows.loc["time_in_stage"]
    assert row.in_words.startswith(
        f"Deals leave Quote (new_business) more slowly. In 2025Q3 to 2026Q2 half of the deals left it within "
        f"{row.median_days:.0f} days ({row.deals_moved} of the {row.deals_seen} that were there have left); "
        f"in the 4 quarters before within {row.median_days_before:.0f} days"
    )
    assert row.median_days > row.median_days_before


def test_stages_are_ranked_by_what_they_lose_and_by_what_they_hold(slower_quote: Businesses) -> None:
    business = slower_quote.names[1]
    rows = slower_quote.bottlenecks(business)
    rows = rows[(rows["segment_type"] == "total") & (rows["pipeline_id"] == "new_business")]
    deals = slower_quote.frame(
        "select status, stage_key, lost_from, closed_on, amount from every.deals "
        f"where business = '{business}'"
    )
    lost = deals[(deals["status"] == "lost") & (deals["closed_on"] >= pd.Timestamp("2025-07-01"))]
    held = deals[deals["status"] == "open"]
    for measure, amounts in (
        ("conversion", lost.groupby("lost_from")["amount"].sum()),
        ("time_in_stage", held.groupby("stage_key")["amount"].sum()),
    ):
        told = rows[rows["measure"] == measure].set_index("stage_id").sort_values("amount_rank")
        expected = amounts[amounts.index.isin(OPEN_STAGES)].sort_values(ascending=False)
        assert told.index.to_list() == expected.index.to_list()
        assert told["amount_rank"].to_list() == list(range(1, 7))
        assert told["share_of_pipeline_amount"].to_list() == pytest.approx(list(expected / expected.sum()))
