"""What a CRM knows at the end of a day: deals in their state of then, history recorded by then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.config import SimulationError
from dagster_project.simulate.events import end_of_day
from dagster_project.simulate.hazards import day_number
from dagster_project.simulate.world import World

ACTIVITY_DAYS = 45
"""Contacts are noted for this long after a deal's last change; then it goes quiet."""


@dataclass(frozen=True)
class Known:
    """A CRM's content at the end of `as_of`, typed (instants naive UTC, dates datetime64).

    `deals`: deal_id, name, pipeline, stage, status, amount, currency, created_at, close_date, closed_at,
    modified_at, owner, account, product, region, country, source, deal_type, forecast_category, probability,
    lost_reason, competitor, next_step, last_activity_at, deleted_at, merged_into, merged_at.
    `stage_history`: event_id, deal_id, changed_at, from_stage, stage, from_pipeline, pipeline, amount,
    currency, close_date, owner, changed_by, sequence, recorded_at. The other frames have the columns of the
    entity of the same name.
    """

    deals: pd.DataFrame
    stage_history: pd.DataFrame
    line_items: pd.DataFrame
    accounts: pd.DataFrame
    products: pd.DataFrame
    owners: pd.DataFrame
    stages: pd.DataFrame
    pipelines: pd.DataFrame
    teams: pd.DataFrame
    fx_rates: pd.DataFrame
    quotas: pd.DataFrame
    holidays: pd.DataFrame


def known_at(world: World, as_of: date) -> Known:
    """The CRM's content at the end of a day; raises SimulationError outside the simulated span."""
    config = world.config
    if not config.start_on <= as_of <= config.end_on:
        raise SimulationError(
            f"as_of {as_of} is outside the simulated days {config.start_on} … {config.end_on}: "
            "choose a day between them, or simulate further"
        )
    end = end_of_day(config, day_number(as_of))
    day = pd.Timestamp(as_of)
    events = world.events[world.events["recorded_at"] < end]
    deals = _deals(world, events, as_of, end)
    history = events.loc[
        events["in_history"],
        [
            "event_id",
            "deal_id",
            "changed_at",
            "from_stage",
            "stage",
            "from_pipeline",
            "pipeline",
            "amount",
            "currency",
            "close_date",
            "owner",
            "changed_by",
            "sequence",
            "recorded_at",
        ],
    ]
    company = world.company
    owners = company.owners[company.owners["started_on"] <= day]
    ended = owners["ended_on"].where(owners["ended_on"] <= day)
    stages = world.stages[world.stages["valid_from"] <= day]
    renamed = as_of >= config.reorganised_on
    return Known(
        deals=deals,
        stage_history=history,
        line_items=_line_items(world, deals, end),
        accounts=company.accounts.loc[
            company.accounts["created_on"] <= day, ["account_id", "name", "industry", "region", "country"]
        ],
        products=company.products[["product_id", "name", "family", "list_price", "currency"]],
        owners=owners.assign(ended_on=ended, is_active=ended.isna()),
        stages=stages,
        pipelines=world.pipelines.assign(name=world.pipelines["name" if renamed else "name_before"])[
            ["pipeline_id", "name", "type"]
        ],
        teams=company.teams,
        fx_rates=company.fx_rates[company.fx_rates["recorded_on"] <= day],
        quotas=world.quotas[world.quotas["recorded_on"] <= day],
        holidays=company.holidays,
    )


def _deals(world: World, events: pd.DataFrame, as_of: date, end: pd.Timestamp) -> pd.DataFrame:
    """Deals created by then, in their state of then."""
    first = events.groupby("deal_id", sort=False)["changed_at"].min()
    modified = events.groupby("deal_id", sort=False)["recorded_at"].max()
    last = events.drop_duplicates("deal_id", keep="last").set_index("deal_id")
    deals = world.deals[world.deals["deal_id"].isin(last.index)].reset_index(drop=True)
    state = last.loc[deals["deal_id"]].reset_index(drop=True)
    facts = pd.DataFrame(
        {s.stage_id: (s.outcome, s.probability, s.forecast_category) for s in cat.STAGES},
        index=["status", "probability", "forecast_category"],
    ).T
    facts = facts.loc[state["stage"].astype(str)].reset_index(drop=True)
    closed = events[events["stage"].isin([s.stage_id for s in cat.STAGES if s.outcome != "open"])]
    moved = closed[closed["from_stage"].astype(str) != closed["stage"].astype(str)]
    closed_at = moved.drop_duplicates("deal_id", keep="last").set_index("deal_id")["changed_at"]
    status = facts["status"].astype("str")
    lost_reason = deals["lost_reason"].astype("str").where(status == "lost")
    ended = deals[["deleted_at", "merged_at"]].min(axis=1)
    gone = ended < end
    return pd.DataFrame(
        {
            "deal_id": deals["deal_id"],
            "name": deals["name"],
            "pipeline": state["pipeline"],
            "stage": state["stage"],
            "status": status,
            "amount": state["amount"],
            "currency": state["currency"],
            "created_at": deals["deal_id"].map(first),
            "close_date": state["close_date"],
            "closed_at": deals["deal_id"].map(closed_at).where(status != "open"),
            "modified_at": deals["deal_id"].map(modified).where(~gone, ended),
            "owner": state["owner"],
            "account": deals["account_id"],
            "product": deals["product"],
            "region": deals["region"],
            "country": deals["country"],
            "source": deals["source"],
            "deal_type": deals["deal_type"],
            "forecast_category": facts["forecast_category"].astype("str"),
            "probability": facts["probability"].astype(float),
            "lost_reason": lost_reason.mask(lost_reason == ""),
            "competitor": deals["competitor"].astype("str").where(lost_reason == "Competitor"),
            "next_step": deals["next_step"].astype("str").where(status == "open"),
            "last_activity_at": _last_activity(deals, state, status, as_of),
            "deleted_at": deals["deleted_at"].where(deals["deleted_at"] < end),
            "merged_into": deals["merged_into"].where(deals["merged_at"] < end),
            "merged_at": deals["merged_at"].where(deals["merged_at"] < end),
        }
    )


def _last_activity(deals: pd.DataFrame, state: pd.DataFrame, status: pd.Series, as_of: date) -> pd.Series:
    """The last contact: every `contact_days` days after the last change, at most ACTIVITY_DAYS long."""
    changed = state["changed_at"]
    waited = (pd.Timestamp(as_of) - changed).dt.days.clip(0, ACTIVITY_DAYS)
    rhythm = deals["contact_days"].astype(np.int64)
    since = (waited // rhythm * rhythm).where(status == "open", 0)
    return changed + pd.to_timedelta(since, unit="D")


def _line_items(world: World, deals: pd.DataFrame, end: pd.Timestamp) -> pd.DataFrame:
    """Line items added by then, priced from the deal's amount of then; most add up to it."""
    items = world.line_items[world.line_items["added_at"] < end]
    priced = deals.set_index("deal_id")[["amount", "currency"]].loc[items["deal_id"]].reset_index(drop=True)
    items = items.reset_index(drop=True)
    amount = (priced["amount"] * items["share"]).round(2)
    return pd.DataFrame(
        {
            "line_item_id": items["line_item_id"],
            "deal_id": items["deal_id"],
            "product": items["product"],
            "quantity": items["quantity"],
            "unit_price": (amount / items["quantity"]).round(4),
            "amount": amount,
            "currency": priced["currency"],
        }
    )[amount.notna()]
