"""The simulated CRM holds what real CRMs hold, and the same seed gives the same business."""

import time
from dataclasses import replace
from datetime import date
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from dagster_project.simulate import SimulationConfig, SimulationError, World, simulate, simulate_in_parts
from dagster_project.simulate.holidays import dutch_holidays

SMALL = SimulationConfig(n_deals=1_500, seed=7, tail_days=60)


@pytest.fixture(scope="module")
def world() -> World:
    """The bundled example."""
    return simulate(SimulationConfig())


def moves(world: World) -> pd.DataFrame:
    """History rows that change the stage or create the deal."""
    events = world.events
    return events[events["from_stage"].astype("str") != events["stage"].astype("str")]


def test_the_same_seed_gives_the_same_business_and_another_seed_another() -> None:
    first, again, other = simulate(SMALL), simulate(SMALL), simulate(replace(SMALL, seed=8))
    for name in ("deals", "events", "line_items", "quotas", "stages"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(again, name))
    pd.testing.assert_frame_equal(first.truth.outcomes, again.truth.outcomes)
    assert not first.events["amount"].equals(other.events["amount"])


def test_parts_put_together_are_the_whole_and_share_no_deal() -> None:
    config = replace(SMALL, deals_per_part=600)
    parts = list(simulate_in_parts(config))
    whole = simulate(config)
    assert [len(part.deals) for part in parts] == [600, 600, 300]
    assert whole.deals["deal_id"].is_unique
    assert whole.events["event_id"].is_unique
    assert len(whole.events) == sum(len(part.events) for part in parts)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"n_deals": 0}, "n_deals is 0"),
        ({"end_on": date(2023, 4, 1)}, "end_on 2023-04-01 is not after start_on"),
        ({"late_share": 1.5}, "late_share is 1.5: choose a share between 0 and 1"),
        ({"time_zone": "Europe/Amsterdm"}, "time_zone 'Europe/Amsterdm' is unknown"),
        ({"fiscal_year_start_month": 13}, "choose a month from 1 to 12"),
    ],
)
def test_an_impossible_configuration_is_refused_with_the_setting_and_a_remedy(
    change: dict[str, object], told: str
) -> None:
    with pytest.raises(SimulationError, match=told):
        SimulationConfig(**change)


def test_a_deal_moves_on_from_the_stage_it_was_in(world: World) -> None:
    events = world.events
    first = events["sequence"] == 1
    assert events.loc[first, "from_stage"].isna().all()
    before = events.groupby("deal_id")["stage"].shift()[~first].astype("str")
    assert (events.loc[~first, "from_stage"].astype("str") == before).all()


def test_history_is_in_order_and_nothing_is_recorded_before_it_happens(world: World) -> None:
    events = world.events
    same_deal = events["deal_id"].eq(events["deal_id"].shift())
    assert (events["changed_at"].diff()[same_deal] >= pd.Timedelta(0)).all()
    assert (events["sequence"].diff()[same_deal] == 1).all()
    assert (events["recorded_at"] >= events["changed_at"]).all()


def test_three_pipelines_of_which_the_main_one_has_six_open_stages(world: World) -> None:
    current = world.stages.drop_duplicates("stage_id", keep="last")
    open_stages = current[current["outcome"] == "open"].groupby("pipeline").size()
    assert open_stages.to_dict() == {"new_business": 6, "expansion": 4, "partner": 4}
    assert current.groupby("pipeline")["outcome"].agg(set).map({"open", "won", "lost"}.issubset).all()


def test_the_partner_pipeline_is_renamed_and_two_stages_change_places(world: World) -> None:
    partner = world.stages[world.stages["pipeline"] == "partner"]
    orders = {
        day: partner[partner["valid_from"] <= day]
        .drop_duplicates("stage_id", keep="last")
        .sort_values("order")["stage_id"]
        .tolist()[:4]
        for day in (pd.Timestamp("2024-12-31"), pd.Timestamp("2025-01-01"))
    }
    before, after = orders.values()
    assert before == ["par_registered", "par_review", "par_quote", "par_approval"]
    assert after == ["par_registered", "par_quote", "par_review", "par_approval"]
    names = partner.loc[partner["stage_id"] == "par_review", "name"].tolist()
    assert names == ["Technical Review", "Solution Review"]
    pipeline = world.pipelines.set_index("pipeline_id").loc["partner"]
    assert (pipeline["name_before"], pipeline["name"]) == ("Resellers", "Partner Channel")


def test_deals_of_the_partner_pipeline_follow_the_order_of_their_day(world: World) -> None:
    advance = world.events[(world.events["kind"] == "advance") & (world.events["pipeline"] == "partner")]
    steps = advance["from_stage"].astype("str") + ">" + advance["stage"].astype("str")
    before = advance["changed_at"] < pd.Timestamp("2024-12-31 23:00")
    assert set(steps[before]) == {
        "par_registered>par_review",
        "par_review>par_quote",
        "par_quote>par_approval",
    }
    assert set(steps[~before]) == {
        "par_registered>par_quote",
        "par_quote>par_review",
        "par_review>par_approval",
    }


def test_every_kind_of_move_occurs_often_enough_to_be_seen_and_rarely_enough_not_to_hide_the_rest(
    world: World,
) -> None:
    count = moves(world)["kind"].value_counts()
    for kind, low, high in [
        ("skip", 200, 1_500),
        ("back", 200, 2_000),
        ("reopen", 60, 600),
        ("transfer", 30, 400),
        ("mis_drag", 10, 150),
    ]:
        assert low <= count[kind] <= high, kind
    corrected = moves(world)["from_stage"].astype("str").str.endswith("_won") & (
        moves(world)["kind"] == "lose"
    )
    assert 3 <= corrected.sum() <= 60


def test_fields_change_without_a_move_too(world: World) -> None:
    edits = world.events[world.events["kind"] == "edit"]
    before = world.events.groupby("deal_id").shift().loc[edits.index]
    pushed = edits["close_date"] > before["close_date"]
    assert pushed.sum() > 500
    assert ((edits["amount"] != before["amount"]) & before["amount"].notna()).sum() > 500
    assert (edits["owner"].astype("str") != before["owner"].astype("str")).sum() > 80
    assert 3 <= (edits["currency"].astype("str") != before["currency"].astype("str")).sum() <= 80
    assert (world.events["kind"] == "hand_over").sum() > 30


def test_no_open_deal_stays_with_an_owner_who_left(world: World) -> None:
    owners = world.company.owners.set_index("owner_id")
    ended = world.events["owner"].astype("str").map(owners["ended_on"])
    assert ended.notna().sum() > 1_000
    is_open = ~world.events["stage"].astype("str").str.endswith(("_won", "_lost"))
    local = world.events["changed_at"].dt.tz_localize("UTC").dt.tz_convert(world.config.time_zone)
    day = local.dt.tz_localize(None).dt.normalize()
    assert not (is_open & (day > ended)).any()


def test_both_currencies_occur_and_every_day_has_a_rate(world: World) -> None:
    share = (world.events["currency"] == "USD").mean()
    assert 0.08 < share < 0.30
    rates = world.company.fx_rates
    assert rates["rate_date"].min() <= pd.Timestamp(world.config.start_on)
    assert (rates["rate_date"].diff().dropna() == pd.Timedelta(days=7)).all()
    assert rates["rate"].between(0.75, 1.15).all()


def test_some_deals_are_merged_into_a_deal_that_was_open_and_some_deleted(world: World) -> None:
    merged = world.deals[world.deals["merged_into"].notna()]
    assert 15 <= len(merged) <= 90
    assert 15 <= world.deals["deleted_at"].notna().sum() <= 90
    assert (merged["merged_into"] != merged["deal_id"]).all()
    created = world.events[world.events["sequence"] == 1].set_index("deal_id")["changed_at"]
    assert (merged["merged_into"].map(created).to_numpy() < merged["merged_at"].to_numpy()).all()
    last = world.events.groupby("deal_id")["changed_at"].max()
    assert (merged["deal_id"].map(last).to_numpy() < merged["merged_at"].to_numpy()).all()


def test_some_rows_are_late_and_some_share_an_instant(world: World) -> None:
    events = world.events
    late = (events["recorded_at"] - events["changed_at"])[events["recorded_at"] > events["changed_at"]]
    assert 0.005 < len(late) / len(events) < 0.03
    assert late.between(pd.Timedelta(hours=11), pd.Timedelta(days=6)).all()
    pairs = events[events.duplicated(["deal_id", "changed_at"], keep=False)]
    assert 30 <= len(pairs) // 2 <= 200
    assert (pairs.groupby(["deal_id", "changed_at"])["sequence"].agg(np.ptp) == 1).all()


def test_a_mis_drag_comes_back_within_a_minute(world: World) -> None:
    drags = world.events[world.events["kind"] == "mis_drag"]
    away, back = drags.iloc[0::2].reset_index(), drags.iloc[1::2].reset_index()
    assert (away["deal_id"] == back["deal_id"]).all()
    assert (away["from_stage"].astype("str") == back["stage"].astype("str")).all()
    assert (back["changed_at"] - away["changed_at"]).max() < pd.Timedelta(seconds=60)


def test_a_few_deals_have_the_gaps_that_hygiene_reports_look_for(world: World) -> None:
    first = world.events[world.events["sequence"] == 1]
    assert 0.03 < first["amount"].isna().mean() < 0.09
    assert 0.002 < first["close_date"].isna().mean() < 0.015
    assert 0.005 < world.deals["account_id"].isna().mean() < 0.02
    assert 0 < (~world.events["in_history"]).sum() < 0.01 * len(world.deals)
    assert 5 <= world.truth.outcomes["is_import"].sum() <= 80


def test_deals_close_at_the_end_of_the_quarter_more_than_in_its_beginning(world: World) -> None:
    won = moves(world)[moves(world)["stage"].astype("str").str.endswith("_won")]
    day = won["changed_at"].dt.normalize()
    left = (day.dt.to_period("Q").dt.end_time.dt.normalize() - day).dt.days
    last_two_weeks = (left < 14).sum()
    first_two_weeks = ((day - day.dt.to_period("Q").dt.start_time).dt.days < 14).sum()
    assert last_two_weeks > 1.5 * first_two_weeks


def test_zombies_stay_but_do_not_fill_the_pipeline(world: World) -> None:
    last_move = moves(world).drop_duplicates("deal_id", keep="last")
    gone = world.deals[world.deals["deleted_at"].notna() | world.deals["merged_at"].notna()]["deal_id"]
    is_open = ~last_move["stage"].astype("str").str.endswith(("_won", "_lost"))
    open_now = last_move[is_open & ~last_move["deal_id"].isin(gone)]
    waiting = (pd.Timestamp(world.config.end_on) - open_now["changed_at"]).dt.days
    assert 0.03 < (waiting > 120).mean() < 0.25


def test_the_picture_is_that_of_a_plausible_business(world: World) -> None:
    outcomes = world.truth.outcomes
    settled = outcomes[outcomes["created_on"] < "2025-11-01"]
    assert 0.20 < (settled["outcome"] == "won").mean() < 0.30
    large, small = (
        settled[settled["tier"] == tier]["outcome"].eq("won").mean() for tier in ("large", "small")
    )
    assert large < 0.75 * small
    won = outcomes[(outcomes["outcome"] == "won") & ~outcomes["is_import"]]
    cycle = (won["closed_on"] - won["created_on"]).dt.days
    assert 40 < cycle.median() < 120


def test_quotas_are_set_per_quarter_and_team_and_are_within_reach(world: World) -> None:
    quotas = world.quotas
    totals = quotas[quotas["segment_type"] == "total"].set_index("period")["amount"]
    teams = quotas[quotas["segment_type"] == "team"].groupby("period")["amount"].sum()
    pd.testing.assert_series_equal(totals.sort_index(), teams.sort_index(), check_names=False)
    rates = world.company.fx_rates.set_index("rate_date")["rate"]
    won = moves(world)[moves(world)["stage"].astype("str").str.endswith("_won")]
    day = won["changed_at"].dt.normalize().astype("datetime64[s]")
    rate = rates.reindex(rates.index.union(day.unique())).ffill()
    factor = np.where(won["currency"] == "USD", day.map(rate), 1.0)
    bookings = (won["amount"] * factor).groupby(day.dt.to_period("Q").astype("str")).sum()
    attainment = (bookings / totals.reindex(bookings.index)).dropna()
    assert len(attainment) == 13
    assert attainment.between(0.70, 1.30).all()
    assert 0.85 < attainment.mean() < 1.10
    assert bookings.iloc[1:].between(3e6, 8e6).all()


def test_line_items_add_up_to_the_deal_or_leave_a_small_rest(world: World) -> None:
    total = world.line_items.groupby("deal_id")["share"].sum()
    assert (total <= 1 + 1e-9).all()
    assert 0.03 < (total < 0.99).mean() < 0.15
    assert world.line_items.groupby("deal_id")["product"].agg(lambda products: products.is_unique).all()


def test_an_owner_works_on_a_deal_only_while_employed_when_it_is_created(world: World) -> None:
    owners = world.company.owners.set_index("owner_id")
    first = world.events[world.events["sequence"] == 1]
    owner = first["owner"].astype("str")
    day = first["changed_at"].dt.normalize()
    assert (owner.map(owners["started_on"]) <= day).all()
    ended = owner.map(owners["ended_on"])
    assert (ended.isna() | (ended >= day)).all()


def test_holidays_follow_the_church_calendar() -> None:
    found = dutch_holidays(2024, 2025).set_index("date")["name"]
    assert found[pd.Timestamp("2024-04-01")] == "Easter Monday"
    assert found[pd.Timestamp("2024-05-09")] == "Ascension Day"
    assert found[pd.Timestamp("2025-04-21")] == "Easter Monday"
    assert found[pd.Timestamp("2025-04-26")] == "King's Day"  # the 27th was a Sunday


def test_a_hundred_thousand_deals_stay_within_reach_of_memory(capsys: pytest.CaptureFixture[str]) -> None:
    began = time.perf_counter()
    big = simulate(SimulationConfig(n_deals=100_000))
    seconds = time.perf_counter() - began
    with capsys.disabled():
        print(f"\n100,000 simulated deals, {len(big.events):,} history rows: {seconds:.1f} s")
    assert len(big.deals) == 100_000
    assert big.events.memory_usage(deep=True).sum() < 150e6


def test_names_of_accounts_are_unique_however_many_there_are() -> None:
    names = simulate(replace(SMALL, n_deals=20_000)).company.accounts["name"]
    assert names.is_unique


def test_every_deal_belongs_to_an_account_that_was_known_when_it_came_in(world: World) -> None:
    accounts = world.company.accounts.set_index("account_id")["created_on"]
    known = world.deals.dropna(subset=["account_id"])
    created = known["deal_id"].map(world.truth.outcomes.set_index("deal_id")["created_on"])
    assert (known["account_id"].map(accounts) <= created).all()


def test_stage_versions_follow_one_another(world: World) -> None:
    for _, versions in world.stages.groupby("stage_id"):
        assert all(a < b for a, b in pairwise(versions["valid_from"]))


def test_a_business_reorganised_before_the_history_begins_has_one_version_of_each_stage() -> None:
    early = simulate(replace(SMALL, n_deals=50, reorganised_on=date(2023, 1, 1)))
    assert early.stages["stage_id"].is_unique
    assert early.stages.set_index("stage_id").loc["par_quote", "order"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"n_deals": 1},
        {"end_on": date(2023, 5, 1), "n_deals": 40},
        {"fiscal_year_start_month": 2, "n_deals": 300},
        {"start_on": date(2025, 6, 15), "end_on": date(2026, 1, 20), "time_zone": "America/Denver"},
    ],
)
def test_small_and_odd_businesses_can_be_simulated(change: dict[str, object]) -> None:
    config = replace(SMALL, **change)
    odd = simulate(config)
    assert len(odd.deals) == config.n_deals
    assert (odd.quotas["amount"] > 0).all()
    recorded = odd.events["changed_at"]
    assert recorded.min() >= pd.Timestamp(config.start_on)
    assert recorded.max() < pd.Timestamp(config.end_on) + pd.Timedelta(days=2)


def test_a_fiscal_year_that_begins_in_february_is_named_after_the_year_it_ends_in() -> None:
    quotas = simulate(replace(SMALL, n_deals=300, fiscal_year_start_month=2)).quotas
    periods = quotas["period"].unique().tolist()
    assert periods[:4] == ["2024Q1", "2024Q2", "2024Q3", "2024Q4"]
