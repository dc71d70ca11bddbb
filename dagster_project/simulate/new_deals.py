"""The deals that come in: when, for whom, of what size, at which stage, with which owner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.company import Company
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.hazards import day_number

FIRST_DEAL_ID = 10_000_001
GROWTH_PER_YEAR = 0.10
WEEKDAY_WEIGHT = (1.05, 1.1, 1.1, 1.05, 0.9, 0.06, 0.04)
MONTH_WEIGHT = (1.05, 1.04, 1.05, 1.02, 1.0, 1.0, 0.88, 0.78, 1.05, 1.08, 1.05, 0.78)
NO_DATE = -(2**31)


@dataclass(frozen=True)
class NewDeals:
    """One part of the deals as they were created, ordered by creation; arrays of equal length.

    Days are day numbers, amounts in the deal's currency (NaN: none), `segment` the number of
    tier × family × region, `account` and `owner` positions in the company's frames (-1: none).
    """

    deal_id: np.ndarray
    created_day: np.ndarray
    pipeline: np.ndarray
    stage: np.ndarray
    tier: np.ndarray
    family: np.ndarray
    region: np.ndarray
    segment: np.ndarray
    account: np.ndarray
    owner: np.ndarray
    product: np.ndarray
    amount: np.ndarray
    never_priced: np.ndarray
    currency: np.ndarray
    close_day: np.ndarray
    careless: np.ndarray
    source: np.ndarray
    is_import: np.ndarray
    lost_reason: np.ndarray
    competitor: np.ndarray
    next_step: np.ndarray
    contact_days: np.ndarray
    """Days between two contacts with the customer while the deal is worked."""


def draw_deals(
    config: SimulationConfig, company: Company, rng: np.random.Generator, count: int, first_number: int
) -> NewDeals:
    """Draw `count` deals; `first_number` is the number of the first among all deals of the simulation."""
    days, weights = creation_days(config)
    created = np.sort(rng.choice(days, size=count, p=weights))
    pipeline = rng.choice(len(cat.PIPELINES), size=count, p=[p.share for p in cat.PIPELINES]).astype(np.int8)
    account = _pick_accounts(company, rng, created)
    region = company.account_region[account].astype(np.int8)
    tier = rng.choice(len(cat.TIERS), size=count, p=cat.TIER_SHARES).astype(np.int8)
    family = rng.choice(len(cat.FAMILIES), size=count, p=cat.FAMILY_SHARES).astype(np.int8)
    no_account = rng.random(count) < config.no_account_share
    currency = (rng.random(count) < np.array([r.usd_share for r in cat.REGIONS])[region]).astype(np.int8)
    amount = draw_amounts(rng, tier, family, currency)
    is_import = rng.random(count) < config.import_share
    stage = _first_stages(rng, pipeline, is_import)
    close_day = created + np.maximum(
        5, np.array([s.days_to_close for s in cat.STAGES])[stage] * rng.lognormal(0.05, 0.4, size=count)
    ).astype(np.int64)
    close_day = snap_to_month_end(close_day, rng.random(count) < 0.4)
    close_day[is_import] = created[is_import]
    no_close_date = (rng.random(count) < config.no_close_date_share) & ~is_import
    unpriced = (rng.random(count) < config.no_amount_share) & ~is_import
    return NewDeals(
        deal_id=FIRST_DEAL_ID + first_number + np.arange(count),
        created_day=created,
        pipeline=pipeline,
        stage=stage,
        tier=tier,
        family=family,
        region=region,
        segment=cat.segment_code(tier.astype(np.int16), family, region),
        account=np.where(no_account, -1, account),
        owner=_owners(company, rng, created, region),
        product=_products(rng, tier, family),
        amount=np.where(unpriced, np.nan, amount),
        never_priced=unpriced & (rng.random(count) < 0.2),
        currency=currency,
        close_day=np.where(no_close_date, NO_DATE, close_day),
        careless=rng.random(count) < config.careless_share,
        source=rng.choice(len(cat.SOURCES), size=count, p=cat.SOURCE_SHARES).astype(np.int8),
        is_import=is_import,
        lost_reason=rng.choice(len(cat.LOST_REASONS), size=count, p=cat.LOST_REASON_SHARES).astype(np.int8),
        competitor=rng.integers(0, len(cat.COMPETITORS), size=count).astype(np.int8),
        next_step=rng.integers(-2, len(cat.NEXT_STEPS), size=count).astype(np.int8),
        contact_days=rng.integers(2, 15, size=count).astype(np.int8),
    )


def snap_to_month_end(days: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Move the chosen day numbers to the last day of their month."""
    months = days.astype("datetime64[D]").astype("datetime64[M]")
    last = (months + 1).astype("datetime64[D]").astype(np.int64) - 1
    return np.where(which, last, days)


def creation_days(config: SimulationConfig) -> tuple[np.ndarray, np.ndarray]:
    """Days on which deals can be created, and their probabilities by trend, season and weekday."""
    days = np.arange(day_number(config.start_on), day_number(config.end_on) + 1)
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    weight = (
        (1 + GROWTH_PER_YEAR) ** ((days - days[0]) / 365.25)
        * np.array(MONTH_WEIGHT)[months]
        * np.array(WEEKDAY_WEIGHT)[(days + 3) % 7]
    )
    return days, weight / weight.sum()


def _pick_accounts(company: Company, rng: np.random.Generator, created: np.ndarray) -> np.ndarray:
    """Accounts known on the day of creation, some far busier than others."""
    edges = np.cumsum(company.account_weight)
    known = np.searchsorted(company.account_day, created, side="right")
    return np.searchsorted(edges, rng.random(len(created)) * edges[known - 1], side="right")


def _first_stages(rng: np.random.Generator, pipeline: np.ndarray, is_import: np.ndarray) -> np.ndarray:
    """Mostly the first stage, sometimes the second or third; imports are typed in as won."""
    draw = rng.random(len(pipeline))
    place = (draw > 0.93).astype(np.int8) + (draw > 0.985)
    stage = np.empty(len(pipeline), dtype=np.int8)
    for code, line in enumerate(cat.PIPELINES):
        here = pipeline == code
        stage[here] = np.array(cat.stages_of(line.pipeline_id, "open"))[place[here]]
        stage[here & is_import] = cat.stages_of(line.pipeline_id, "won")[0]
    return stage


def draw_amounts(
    rng: np.random.Generator, tier: np.ndarray, family: np.ndarray, currency: np.ndarray
) -> np.ndarray:
    """Lognormal amounts by tier and family, in the deal's currency, rounded to ten."""
    median = np.array(cat.TIER_MEDIAN_EUR)[tier] * np.array(cat.FAMILY_PRICE)[family]
    spread = np.exp(np.array(cat.TIER_SIGMA)[tier] * rng.standard_normal(len(tier)))
    return np.round(median * spread * np.where(currency == 1, 1.08, 1.0), -1)


def _products(rng: np.random.Generator, tier: np.ndarray, family: np.ndarray) -> np.ndarray:
    """Main product of each deal: one of its family and tier."""
    product = np.empty(len(tier), dtype=np.int8)
    for t, tier_name in enumerate(cat.TIERS):
        for f, family_name in enumerate(cat.FAMILIES):
            here = np.flatnonzero((tier == t) & (family == f))
            fits = [i for i, p in enumerate(cat.PRODUCTS) if (p.tier, p.family) == (tier_name, family_name)]
            product[here] = np.array(fits)[rng.integers(0, len(fits), size=len(here))]
    return product


def _owners(
    company: Company, rng: np.random.Generator, created: np.ndarray, region: np.ndarray
) -> np.ndarray:
    """A random owner of the region's team who was employed on the day of creation."""
    owner = np.empty(len(created), dtype=np.int16)
    draw = rng.random(len(created))
    changes = np.unique(company.owner_days)
    epoch = np.searchsorted(changes, created, side="right")
    for team in range(len(cat.REGIONS)):
        in_team = np.flatnonzero(region == team)
        for period in np.unique(epoch[in_team]):
            here = in_team[epoch[in_team] == period]
            staff = company.active_owners(int(created[here[0]]), team)
            owner[here] = staff[(draw[here] * len(staff)).astype(np.int64)]
    return owner
