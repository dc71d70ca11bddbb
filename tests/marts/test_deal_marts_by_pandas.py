"""Deal health, loss reasons, scorecards and forecast categories, counted again by pandas from the files."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from tests.marts.exported_figures import AS_OF_DAY, closed_deals, euros, open_deals_on
from tests.marts.simulated_crm import DAY, Simulated, business_day, quarter

SHARES = {"slow": 0.80, "stalled": 0.95, "dead": 0.995}
CLASSES = {
    "Price": "price",
    "Competitor": "competitor",
    "No decision": "no_decision",
    "No budget": "budget",
    "Bad timing": "timing",
    "Missing feature": "product",
}


@pytest.fixture(scope="module")
def closed(crm: Simulated) -> pd.DataFrame:
    return closed_deals(crm.export)


@pytest.fixture(scope="module")
def open_visits(crm: Simulated) -> pd.DataFrame:
    return crm.visits[crm.visits["outcome"] == "open"]


@pytest.fixture(scope="module")
def limits(closed: pd.DataFrame, open_visits: pd.DataFrame) -> pd.DataFrame:
    """Per stage the days after which a visit is slow, stalled, dead: ranks among the winners' visits."""
    first_close = closed.loc[closed["created_at"] < closed["closed_at"], "closed_at"].min().normalize()
    winners = closed.loc[
        (closed["status"] == "won") & (closed["created_at"] < closed["closed_at"]), "deal_id"
    ]
    stays = open_visits[open_visits["deal_id"].isin(winners) & open_visits["left_at"].notna()]
    stays = stays[stays["entered_on"] >= first_close]
    rows = {}
    for stage, days in stays.groupby("stage")["days"]:
        ordered = np.sort(days.to_numpy())
        ranks = {name: math.ceil(share * (len(ordered) + 1) - 1e-9) for name, share in SHARES.items()}
        rows[stage] = {"visits": len(ordered)} | {
            name: ordered[rank - 1] if rank <= len(ordered) else np.inf for name, rank in ranks.items()
        }
    return pd.DataFrame.from_dict(rows, orient="index")


@pytest.fixture(scope="module")
def health(crm: Simulated) -> pd.DataFrame:
    sql = "select * from marts.mart_deal_health where status = 'open'"
    return crm.marts.frame(sql).set_index("deal_id").sort_index()


def test_pandas_ranks_the_same_deals_slow_stalled_and_dead(
    health: pd.DataFrame, open_visits: pd.DataFrame, limits: pd.DataFrame
) -> None:
    current = open_visits[open_visits["left_at"].isna()].set_index("deal_id").sort_index()
    bounds = limits.loc[current["stage"]].set_index(current.index)
    pace = pd.Series("on_pace", index=current.index)
    for name in SHARES:
        pace = pace.mask(current["days"] > bounds[name], name)
    assert set(pace) == {"on_pace", "slow", "stalled", "dead"}
    assert dict(health["reference_visits"]) == dict(bounds["visits"])
    assert dict(health["pace"]) == dict(pace)
    np.testing.assert_allclose(health["days_in_stage"], current["days"], rtol=0, atol=1e-6)


def test_pandas_finds_the_same_deals_to_look_at_today(
    crm: Simulated, health: pd.DataFrame, open_visits: pd.DataFrame
) -> None:
    deals = crm.export.deals.set_index("deal_id").loc[health.index]
    moved = open_visits[open_visits["left_at"].isna()].set_index("deal_id").loc[health.index, "entered_on"]
    active = business_day(pd.to_datetime(deals["last_activity_at"]))
    silent_days = (AS_OF_DAY - np.maximum(active, moved)) / DAY
    np.testing.assert_array_equal(health["days_without_activity"].astype(float), silent_days)
    late = deals["close_date"] < AS_OF_DAY
    attention = health["pace"].eq("stalled") | (silent_days > 14) | late
    expected = np.select([health["pace"] == "dead", attention], ["propose_to_close", "look_at_today"], "fine")
    assert list(health["worklist"]) == list(expected)
    assert health["worklist"].value_counts().min() > 10


def test_pandas_breaks_the_same_rules(crm: Simulated, health: pd.DataFrame) -> None:
    """Rules that the record and the history rows tell by themselves."""
    deals = crm.export.deals.set_index("deal_id").loc[health.index]
    rows = crm.export.history
    rows = rows[rows["deal_id"].isin(health.index)]
    dates = rows.assign(before=rows.groupby("deal_id")["close_date"].shift(1))
    pushes = dates[dates["close_date"] > dates["before"]].groupby("deal_id").size()
    expected = {
        "is_past_due": deals["close_date"] < AS_OF_DAY,
        "has_no_amount": deals["amount"].isna(),
        "has_no_next_step": deals["next_step"].isna(),
        "has_no_close_date": deals["close_date"].isna(),
        "has_no_account": deals["account"].isna(),
        "is_pushed_often": pushes.reindex(health.index).fillna(0) >= 3,
    }
    for rule, breaks in expected.items():
        told = health[rule].fillna(False).astype(bool)
        assert dict(told) == dict(breaks), rule
        assert told.any(), rule


def test_pandas_counts_the_same_losses_by_class_and_stage(
    crm: Simulated, closed: pd.DataFrame, open_visits: pd.DataFrame
) -> None:
    lost = closed[closed["status"] == "lost"]
    last = open_visits.drop_duplicates("deal_id", keep="last").set_index("deal_id")
    lost = lost.assign(
        loss_class=lost["lost_reason"].map(CLASSES).fillna("unknown"),
        lost_from=lost["deal_id"].map(last["stage"]),
        stayed=lost["deal_id"].map(last["days"]),
    )
    sql = "select * from marts.mart_loss_reasons where period_type = 'quarter' and segment_type = "
    told = crm.marts.frame(f"{sql} 'owner' and breakdown = 'class' and deals_lost > 0")
    by_class = lost.groupby(["period", "owner", "loss_class"]).size()
    assert told.set_index(["period", "segment", "item_key"])["deals_lost"].to_dict() == by_class.to_dict()
    assert len(by_class) > 600
    told = crm.marts.frame(
        "select losses.*, stages.stage_id from marts.mart_loss_reasons as losses "
        "inner join ledger.dim_stage as stages on losses.stage_lost_at_key = stages.stage_key "
        "where period_type = 'quarter' and segment_type = 'total' and breakdown = 'stage' "
        "and stages.stage_id <> '(none)'"
    ).set_index(["period", "stage_id"])
    by_stage = lost.groupby(["period", "lost_from"]).agg(deals=("deal_id", "size"), days=("stayed", "median"))
    assert told["deals_lost"].to_dict() == by_stage["deals"].to_dict()
    shown = told["median_days_in_stage_lost_at"].dropna()
    np.testing.assert_allclose(shown, by_stage.loc[shown.index, "days"], rtol=0, atol=1e-6)
    assert len(shown) > 60


def test_pandas_counts_the_same_wins_to_competitors(crm: Simulated, closed: pd.DataFrame) -> None:
    """Nothing in the simulation is disqualified, so broad is the usual win rate."""
    cells = closed.groupby("period")
    won = cells["status"].apply(lambda status: (status == "won").sum())
    to_competitor = cells.apply(
        lambda deals: ((deals["status"] == "lost") & (deals["lost_reason"] == "Competitor")).sum()
    )
    sql = (
        "select * from marts.mart_loss_reasons where period_type = 'quarter' and segment_type = 'total' "
        "and breakdown = 'total' and win_rate_narrow is not null"
    )
    told = crm.marts.frame(sql).set_index("period")
    assert len(told) > 8
    narrow = won / (won + to_competitor)
    np.testing.assert_allclose(told["win_rate_narrow"], narrow[told.index], rtol=1e-12)
    np.testing.assert_allclose(told["win_rate_broad"], (won / cells.size())[told.index], rtol=1e-12)


def test_pandas_credits_the_same_reps(crm: Simulated, closed: pd.DataFrame) -> None:
    sql = "select * from marts.mart_rep_scorecard where period_type = 'quarter' and "
    told = crm.marts.frame(f"{sql} credit = 'at_the_time'").set_index(["period", "owner"])
    owners = crm.export.read("owners").set_index("owner_id")["name"]
    counts = closed.groupby(["period", "owner"])["status"].value_counts().unstack(fill_value=0)
    for status in ("won", "lost"):
        shown = told.loc[told[f"deals_{status}"] > 0, f"deals_{status}"]
        assert shown.to_dict() == counts.loc[counts[status] > 0, status].to_dict()
    # by who has it today, as the record says
    deals = crm.export.deals.set_index("deal_id")
    now = closed["deal_id"].map(deals["owner"]).map(owners)
    today = crm.marts.frame(f"{sql} credit = 'current_owner'").set_index(["period", "owner"])
    by_today = closed.assign(owner=now).groupby(["period", "owner"]).size()
    shown = (today["deals_won"] + today["deals_lost"]).loc[lambda decided: decided > 0]
    assert shown.to_dict() == by_today.to_dict()


@pytest.mark.parametrize("day", ["2024-06-30", "2025-12-31", "2026-03-31"])
def test_pandas_finds_the_same_open_deals_of_each_rep_at_the_end_of_a_quarter(
    crm: Simulated, day: str
) -> None:
    owners = crm.export.read("owners").set_index("owner_id")["name"]
    state = open_deals_on(crm.export, pd.Timestamp(day))
    expected = state.assign(owner=state["owner"].map(owners).fillna("(none)")).groupby("owner")["euros"]
    told = crm.marts.frame(
        "select * from marts.mart_rep_scorecard where credit = 'at_the_time' and period_type = 'quarter' "
        f"and period_end = '{day}' and deals_open > 0"
    ).set_index("owner")
    assert told["deals_open"].to_dict() == expected.size().to_dict()
    np.testing.assert_allclose(
        told["open_amount"].astype(float), expected.sum()[told.index], rtol=0, atol=0.05
    )


@pytest.mark.parametrize("day", ["2024-02-15", "2025-06-30", "2026-05-15"])
def test_pandas_finds_the_same_forecast_categories(crm: Simulated, day: str) -> None:
    """The simulated CRM's category is that of the stage."""
    when = pd.Timestamp(day)
    state = open_deals_on(crm.export, when)
    state = state.assign(
        category=state["stage"].map(crm.stages["forecast_category"]),
        target=quarter(state["close_date"]).where(state["close_date"].notna(), "(none)"),
    )
    expected = state.groupby(["category", "target"])["euros"].agg(["size", "sum"])
    told = crm.marts.frame(
        "select * from marts.mart_forecast_category_daily "
        f"where segment_type = 'total' and period = '{day}' and forecast_category <> 'closed'"
    ).set_index(["forecast_category", "target_quarter"])
    assert told["deals"].to_dict() == expected["size"].to_dict()
    np.testing.assert_allclose(
        told["category_amount"].astype(float).fillna(0), expected.loc[told.index, "sum"], rtol=0, atol=0.05
    )


def test_pandas_finds_the_same_bookings_in_the_category_closed(crm: Simulated, closed: pd.DataFrame) -> None:
    won = closed[(closed["status"] == "won") & (closed["period"] == "2026Q2")]
    told = crm.marts.frame(
        "select * from marts.mart_forecast_category_daily where segment_type = 'team' "
        "and period = '2026-05-15' and forecast_category = 'closed'"
    ).set_index("segment")
    assert told["deals"].to_dict() == won.groupby("team").size().to_dict()
    worth = won.assign(euros=euros(crm.export, won["amount"], won["currency"], won["close_date"]))
    np.testing.assert_allclose(
        told["category_amount"].astype(float), worth.groupby("team")["euros"].sum()[told.index], atol=0.05
    )
