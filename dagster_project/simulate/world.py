"""The simulated CRM as data frames, with the truth beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.company import Company, build_company, eur_rates
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.events import at_second, dates, history_of
from dagster_project.simulate.hazards import Hazards, build_hazards, day_number, quarter_starts
from dagster_project.simulate.lifecycle import DELETED, MERGED, OUTCOMES, Lives, live
from dagster_project.simulate.new_deals import NO_DATE, NewDeals, draw_deals
from dagster_project.simulate.quotas import plan_quotas


@dataclass(frozen=True)
class Truth:
    """What only the simulation knows.

    `hazards`: the law (see hazards.Hazards; `hazards.hazard_table()` is its long form). `outcomes`: deal_id,
    pipeline, stage (at creation), segment (number), tier, family, region, created_on, is_import, outcome
    (open, won, lost, merged, deleted: after the tail, so also for deals still open at `end_on`), closed_on.
    """

    hazards: Hazards
    outcomes: pd.DataFrame


@dataclass(frozen=True)
class World:
    """A simulated CRM, or one part of its deals.

    `deals`: deal_id, name, account_id (Int64), product, region, country, source, deal_type,
    lost_reason, competitor, next_step, contact_days, deleted_at, merged_into (Int64), merged_at.
    `events`: see events.history_of. `line_items`: line_item_id, deal_id, product, quantity, share (of the
    deal's amount), is_main, added_at. `quotas`: see quotas.plan_quotas. `company`: accounts, products,
    owners, teams, fx_rates, holidays. `stages`: stage_id, name, pipeline, order, outcome, probability,
    forecast_category, valid_from. `pipelines`: pipeline_id, name, name_before, type.
    Instants are naive UTC.
    """

    config: SimulationConfig
    company: Company
    deals: pd.DataFrame
    events: pd.DataFrame
    line_items: pd.DataFrame
    stages: pd.DataFrame
    pipelines: pd.DataFrame
    quotas: pd.DataFrame
    truth: Truth


def simulate(config: SimulationConfig) -> World:
    """Simulate a whole business in memory; for more than about a million deals use simulate_in_parts."""
    parts = list(simulate_in_parts(config))
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        deals=pd.concat([part.deals for part in parts], ignore_index=True),
        events=pd.concat([part.events for part in parts], ignore_index=True),
        line_items=pd.concat([part.line_items for part in parts], ignore_index=True),
        truth=Truth(
            parts[0].truth.hazards,
            pd.concat([part.truth.outcomes for part in parts], ignore_index=True),
        ),
    )


def simulate_in_parts(config: SimulationConfig) -> Iterator[World]:
    """Simulate part by part (`deals_per_part` deals each): flat memory for any number of deals.

    Parts share company, stages and quotas; the quotas are planned from the first part, scaled up.
    """
    company = build_company(config)
    hazards = build_hazards()
    quotas: pd.DataFrame | None = None
    for part, first in enumerate(range(0, config.n_deals, config.deals_per_part)):
        count = min(config.deals_per_part, config.n_deals - first)
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([config.seed, part])))
        deals = draw_deals(config, company, rng, count, first)
        lives = live(config, company, hazards, deals, rng)
        events = history_of(config, company, hazards, deals, lives, rng)
        if quotas is None:
            quotas = _quotas(config, company, lives, config.n_deals / count)
        yield World(
            config=config,
            company=company,
            deals=_deals_frame(config, company, deals, lives, rng),
            events=events,
            line_items=_line_items(deals, events, rng),
            stages=stage_table(config),
            pipelines=pipeline_table(),
            quotas=quotas,
            truth=Truth(hazards, _outcomes(deals, lives)),
        )


def stage_table(config: SimulationConfig) -> pd.DataFrame:
    """The stages with their names and order over time: valid_from rows before and from the reorganisation."""
    start, reorganised = pd.Timestamp(config.start_on), pd.Timestamp(config.reorganised_on)
    rows = []
    for stage in cat.STAGES:
        before, after = (stage.name_before or stage.name, stage.order_before), (stage.name, stage.order)
        first = after if reorganised <= start else before
        versions = [(*first, start)] if first == after else [(*first, start), (*after, reorganised)]
        for name, order, valid_from in versions:
            rows.append(
                {
                    "stage_id": stage.stage_id,
                    "name": name,
                    "pipeline": stage.pipeline_id,
                    "order": order,
                    "outcome": stage.outcome,
                    "probability": stage.probability,
                    "forecast_category": stage.forecast_category,
                    "valid_from": valid_from,
                }
            )
    return pd.DataFrame(rows)


def pipeline_table() -> pd.DataFrame:
    """pipeline_id, name, name_before (the reorganisation), type."""
    return pd.DataFrame(
        [
            {"pipeline_id": p.pipeline_id, "name": p.name, "name_before": p.name_before, "type": "sales"}
            for p in cat.PIPELINES
        ]
    )


def _deals_frame(
    config: SimulationConfig, company: Company, deals: NewDeals, lives: Lives, rng: np.random.Generator
) -> pd.DataFrame:
    """The attributes of deals that do not change.

    A merged deal belongs to the account of its survivor, unless that account is younger than the deal.
    """
    account = deals.account.copy()
    merged = np.flatnonzero(lives.merged_into >= 0)
    for deal in merged[np.argsort(-lives.ended_day[merged], kind="stable")]:
        survivor = account[lives.merged_into[deal]]
        if survivor >= 0 and company.account_day[survivor] <= deals.created_day[deal]:
            account[deal] = survivor
    known = account >= 0
    names = company.accounts["name"].to_numpy(dtype=object)
    products = np.array([p.name for p in cat.PRODUCTS], dtype=object)[deals.product]
    countries = company.accounts["country"].to_numpy(dtype=object)
    ended = np.maximum(lives.ended_day, deals.created_day + 1)
    last = day_number(config.end_on)
    second = at_second(config, ended, rng.integers(9 * 3600, 18 * 3600, size=len(ended)))
    ended_at = (second * 1_000_000).astype("datetime64[us]")
    visible = (lives.ended_day != NO_DATE) & (lives.ended_day <= last)
    is_merged = visible & (lives.outcome == MERGED)
    ids = deals.deal_id
    return pd.DataFrame(
        {
            "deal_id": ids,
            "name": np.where(known, names[account], "Unknown company") + " - " + products,
            "account_id": pd.array(
                np.where(known, company.accounts["account_id"].to_numpy()[account], 0), dtype="Int64"
            ),
            "product": pd.Categorical.from_codes(deals.product, [p.product_id for p in cat.PRODUCTS]),
            "region": pd.Categorical.from_codes(deals.region, [r.name for r in cat.REGIONS]),
            "country": pd.Series(np.where(known, countries[account], None), dtype="str"),
            "source": pd.Categorical.from_codes(deals.source, list(cat.SOURCES)),
            "deal_type": np.array([p.deal_type for p in cat.PIPELINES])[deals.pipeline],
            "lost_reason": pd.Categorical.from_codes(deals.lost_reason, list(cat.LOST_REASONS)),
            "competitor": pd.Categorical.from_codes(deals.competitor, list(cat.COMPETITORS)),
            "next_step": pd.Categorical.from_codes(np.maximum(deals.next_step, -1), list(cat.NEXT_STEPS)),
            "contact_days": deals.contact_days,
            "deleted_at": np.where(visible & (lives.outcome == DELETED), ended_at, np.datetime64("NaT")),
            "merged_into": pd.array(
                np.where(is_merged, ids[np.maximum(lives.merged_into, 0)], 0), dtype="Int64"
            ),
            "merged_at": np.where(is_merged, ended_at, np.datetime64("NaT")),
        }
    ).assign(
        account_id=lambda frame: frame["account_id"].mask(frame["account_id"] == 0),
        merged_into=lambda frame: frame["merged_into"].mask(frame["merged_into"] == 0),
    )


def _line_items(deals: NewDeals, events: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """One to three products for every deal that came as far as a quote; the main product takes most."""
    quoting = [s.stage_id for s in cat.STAGES if s.pricing in ("quote", "discount") or s.outcome == "won"]
    quoted = events.loc[events["stage"].isin(quoting) & (events["kind"] != "mis_drag")]
    added = quoted.groupby("deal_id", sort=True)["recorded_at"].min()
    added = added[rng.random(len(added)) < 0.93]
    position = added.index.to_numpy() - deals.deal_id[0]
    count = rng.choice([1, 2, 3], size=len(position), p=[0.5, 0.35, 0.15])
    total = np.where(rng.random(len(position)) < 0.08, 0.95, 1.0)
    addon = np.argsort(rng.random((len(position), len(cat.PRODUCTS) - 1)), axis=1)[:, :2]
    quantity = np.array([1, 1, 2, 4, 5, 10, 20])[rng.integers(0, 7, size=(len(position), 3))]
    main = deals.product[position]
    frames = []
    for item, share in enumerate((None, 0.2, 0.1)):
        here = count > item
        others = 0.2 * (count > 1) + 0.1 * (count > 2)
        product = main if item == 0 else addon[:, item - 1] + (addon[:, item - 1] >= main)
        frames.append(
            pd.DataFrame(
                {
                    "line_item_id": added.index.to_numpy()[here] * 10 + item + 1,
                    "deal_id": added.index.to_numpy()[here],
                    "product": pd.Categorical.from_codes(product[here], [p.product_id for p in cat.PRODUCTS]),
                    "quantity": quantity[here, item],
                    "share": (total - others if share is None else np.full(len(others), share))[here],
                    "is_main": item == 0,
                    "added_at": added.to_numpy()[here],
                }
            )
        )
    return pd.concat(frames).sort_values("line_item_id", ignore_index=True)


def _outcomes(deals: NewDeals, lives: Lives) -> pd.DataFrame:
    """The truth per deal."""
    return pd.DataFrame(
        {
            "deal_id": deals.deal_id,
            "pipeline": pd.Categorical.from_codes(deals.pipeline, [p.pipeline_id for p in cat.PIPELINES]),
            "stage": pd.Categorical.from_codes(deals.stage, [s.stage_id for s in cat.STAGES]),
            "segment": deals.segment,
            "tier": pd.Categorical.from_codes(deals.tier, list(cat.TIERS)),
            "family": pd.Categorical.from_codes(deals.family, list(cat.FAMILIES)),
            "region": pd.Categorical.from_codes(deals.region, [r.name for r in cat.REGIONS]),
            "created_on": dates(deals.created_day),
            "is_import": deals.is_import,
            "outcome": pd.Categorical.from_codes(lives.outcome, list(OUTCOMES)),
            "closed_on": dates(lives.closed_day),
        }
    )


def _quotas(config: SimulationConfig, company: Company, lives: Lives, scale: float) -> pd.DataFrame:
    """Quotas planned from this part's bookings by quarter and team."""
    rows = lives.rows
    stage_won = np.array([s.outcome == "won" for s in cat.STAGES])
    won = stage_won[rows["stage"]] & ~np.isnan(rows["amount"]) & (rows["from_stage"] != rows["stage"])
    first_quarter = quarter_starts(np.array([day_number(config.start_on)]), config.fiscal_year_start_month)
    days = np.arange(int(first_quarter[0]), day_number(config.end_on) + 1)
    quarters = np.unique(quarter_starts(days, config.fiscal_year_start_month))
    at = np.searchsorted(quarters, rows["day"][won], side="right") - 1
    amount = rows["amount"][won] * eur_rates(company, rows["day"][won], rows["currency"][won])
    bookings = np.zeros((len(cat.REGIONS), len(quarters)))
    np.add.at(bookings, (company.owner_team[rows["owner"][won]], at), amount * scale)
    return plan_quotas(bookings, quarters, config, company)
