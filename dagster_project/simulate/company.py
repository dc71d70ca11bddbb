"""The simulated business itself: accounts, products, owners, teams, exchange rates and holidays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.hazards import day_number
from dagster_project.simulate.holidays import dutch_holidays

FIRST_ACCOUNT_ID = 500_001
DEALS_PER_ACCOUNT = 4.5
DEALS_PER_OWNER_YEAR = 110
FIRST_NAMES = (
    "Anna",
    "Bram",
    "Carla",
    "Daan",
    "Elif",
    "Femke",
    "Gijs",
    "Hanna",
    "Imran",
    "Jonas",
    "Kaya",
    "Lotte",
    "Milan",
    "Nadia",
    "Oskar",
    "Petra",
    "Quinten",
    "Rosa",
    "Sven",
    "Tess",
    "Umar",
    "Vera",
    "Wout",
    "Yara",
)
LAST_NAMES = (
    "Adams",
    "Bakker",
    "Clarke",
    "de Vries",
    "Eriksen",
    "Fischer",
    "Graf",
    "Hughes",
    "Ivarsson",
    "Jansen",
    "Keller",
    "Lindqvist",
    "Meijer",
    "Nolan",
    "Olsen",
    "Peeters",
    "Quist",
    "Richter",
    "Smit",
    "Turner",
    "Urban",
    "Visser",
    "Weber",
    "Young",
    "Zeller",
)
ACCOUNT_FIRST = (
    "Amber",
    "Birch",
    "Cobalt",
    "Delta",
    "Ember",
    "Fjord",
    "Granite",
    "Harbour",
    "Indigo",
    "Juniper",
    "Kelder",
    "Lumen",
    "Meadow",
    "Noord",
    "Orchard",
    "Pioneer",
    "Quarry",
    "Ridge",
    "Sable",
    "Timber",
    "Umbra",
    "Valley",
    "Willow",
    "Zenith",
)
ACCOUNT_SECOND = {
    "Manufacturing": ("Works", "Industries", "Metals"),
    "Retail": ("Stores", "Market", "Trading"),
    "Logistics": ("Freight", "Logistics", "Shipping"),
    "Healthcare": ("Clinics", "Care", "Health"),
    "Software": ("Systems", "Software", "Labs"),
    "Financial Services": ("Capital", "Insurance", "Credit"),
    "Energy": ("Energy", "Power", "Grid"),
    "Public Sector": ("Council", "Agency", "Institute"),
}


@dataclass(frozen=True)
class Company:
    """Reference data of a simulated business.

    `accounts`: account_id, name, industry, region, country, created_on. `products`: product_id, name,
    family, tier, list_price, currency. `owners`: owner_id, name, email, team, manager, region, started_on,
    ended_on (NaT while employed). `teams`: team, manager, region. `fx_rates`: currency, rate_date, rate (EUR
    per unit), recorded_on. `holidays`: date, name, region.
    `account_region`, `account_weight` (how busy) and `account_day` (day number of creation, ascending) are
    arrays beside `accounts`; `owner_team` holds each owner's team number, `owner_days` (owners × 2) the day
    numbers [first, last + 1) of employment.
    """

    accounts: pd.DataFrame
    products: pd.DataFrame
    owners: pd.DataFrame
    teams: pd.DataFrame
    fx_rates: pd.DataFrame
    holidays: pd.DataFrame
    account_region: np.ndarray
    account_weight: np.ndarray
    account_day: np.ndarray
    owner_team: np.ndarray
    owner_days: np.ndarray

    def active_owners(self, day: int, team: int) -> np.ndarray:
        """Owner numbers of a team employed on a day."""
        employed = (self.owner_days[:, 0] <= day) & (day < self.owner_days[:, 1])
        return np.flatnonzero(employed & (self.owner_team == team))


def build_company(config: SimulationConfig) -> Company:
    """The reference data for a configuration; the same configuration gives the same company."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([config.seed, 1_000_003])))
    owners, owner_team, owner_days, teams = _people(config, rng)
    accounts, account_region, account_weight, account_day = _accounts(config, rng)
    products = pd.DataFrame([vars(product) for product in cat.PRODUCTS]).assign(currency="EUR")
    return Company(
        accounts=accounts,
        products=products,
        owners=owners,
        teams=teams,
        fx_rates=_fx_rates(config, rng),
        holidays=dutch_holidays(config.start_on.year, config.end_on.year + 2),
        account_region=account_region,
        account_weight=account_weight,
        account_day=account_day,
        owner_team=owner_team,
        owner_days=owner_days,
    )


def _accounts(
    config: SimulationConfig, rng: np.random.Generator
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Accounts with invented names; a number keeps the names apart where the words run out."""
    count = max(60, int(config.n_deals / DEALS_PER_ACCOUNT))
    region = rng.choice(len(cat.REGIONS), size=count, p=[place.share for place in cat.REGIONS])
    industry = rng.integers(0, len(cat.INDUSTRIES), size=count)
    country = np.empty(count, dtype=object)
    for code, place in enumerate(cat.REGIONS):
        here = region == code
        names, shares = zip(*place.countries, strict=True)
        country[here] = rng.choice(np.array(names, dtype=object), size=int(here.sum()), p=shares)
    first = np.array(ACCOUNT_FIRST, dtype=object)[rng.integers(0, len(ACCOUNT_FIRST), size=count)]
    seconds = np.array([ACCOUNT_SECOND[name] for name in cat.INDUSTRIES], dtype=object)
    second = seconds[industry, rng.integers(0, 3, size=count)]
    names = pd.Series(first + " " + second)
    nth = names.groupby(names).cumcount()
    names = names.where(nth == 0, names + " " + (nth + 1).astype(str))
    span = day_number(config.end_on) - day_number(config.start_on)
    created = np.sort(day_number(config.start_on) + np.maximum(0, rng.integers(-span, span, size=count)))
    accounts = pd.DataFrame(
        {
            "account_id": FIRST_ACCOUNT_ID + np.arange(count),
            "name": names,
            "industry": np.array(cat.INDUSTRIES, dtype=object)[industry],
            "region": np.array([place.name for place in cat.REGIONS], dtype=object)[region],
            "country": country,
            "created_on": created.astype("datetime64[D]").astype("datetime64[s]"),
        }
    )
    return accounts, region, rng.lognormal(0.0, 0.7, size=count), created


def _people(
    config: SimulationConfig, rng: np.random.Generator
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, pd.DataFrame]:
    """Managers, and owners in seats: a third of the seats, never a team's first, change hands once."""
    start, end = day_number(config.start_on), day_number(config.end_on)
    years = (end - start) / 365.25
    seats = int(np.clip(config.n_deals / years / DEALS_PER_OWNER_YEAR, 10, 400))
    last_names = np.array(LAST_NAMES)[rng.permutation(len(LAST_NAMES))]
    managers = [f"{FIRST_NAMES[(5 * i + 3) % len(FIRST_NAMES)]} {last_names[i]}" for i in range(5)]
    team_of, days = [], []
    for team, place in enumerate(cat.REGIONS):
        for seat in range(max(2, round(seats * place.share))):
            leaves = int(rng.integers(start + 120, max(start + 121, end - 60)))
            if seat > 0 and rng.random() < 0.35:
                team_of += [team, team]
                days += [(start, leaves), (leaves + int(rng.integers(5, 30)), 2**31 - 1)]
            else:
                team_of.append(team)
                days.append((start, 2**31 - 1))
    owner_team, owner_days = np.array(team_of), np.array(days, dtype=np.int64)
    count = len(owner_team)
    full = [
        f"{FIRST_NAMES[i % len(FIRST_NAMES)]} {last_names[(i // len(FIRST_NAMES) * 7 + i) % len(last_names)]}"
        + (f" {i // (len(FIRST_NAMES) * len(last_names)) + 1}" if i >= 600 else "")
        for i in range(count)
    ]
    numbers = [f"u{i + 1:03d}" for i in range(count)]
    ended = pd.Series(pd.NaT, index=range(count), dtype="datetime64[s]")
    left = owner_days[:, 1] < 2**31 - 1
    ended[left] = (owner_days[left, 1] - 1).astype("datetime64[D]").astype("datetime64[s]")
    owners = pd.DataFrame(
        {
            "owner_id": numbers,
            "name": full,
            "email": [f"{number}@example.com" for number in numbers],
            "team": [cat.REGIONS[team].team for team in owner_team],
            "manager": [managers[team] for team in owner_team],
            "region": [cat.REGIONS[team].name for team in owner_team],
            "started_on": owner_days[:, 0].astype("datetime64[D]").astype("datetime64[s]"),
            "ended_on": ended,
        }
    )
    teams = pd.DataFrame(
        {
            "team": [place.team for place in cat.REGIONS],
            "manager": managers,
            "region": [place.name for place in cat.REGIONS],
        }
    )
    return owners, owner_team, owner_days, teams


def _fx_rates(config: SimulationConfig, rng: np.random.Generator) -> pd.DataFrame:
    """Weekly rates of USD in EUR: a slow walk around 0.92, known on their day."""
    first = day_number(config.start_on) - 7
    first -= (first + 3) % 7
    mondays = np.arange(first, day_number(config.end_on) + 400, 7)
    walk = np.empty(len(mondays))
    walk[0] = 0.0
    for i, step in enumerate(rng.normal(0.0, 0.007, size=len(mondays) - 1), start=1):
        walk[i] = 0.985 * walk[i - 1] + step
    rate_date = mondays.astype("datetime64[D]").astype("datetime64[s]")
    return pd.DataFrame(
        {
            "currency": "USD",
            "rate_date": rate_date,
            "rate": np.round(0.92 * np.exp(walk), 4),
            "recorded_on": rate_date,
        }
    )


def eur_rates(company: Company, days: np.ndarray, currency: np.ndarray) -> np.ndarray:
    """EUR per unit for day numbers and currency codes (0 = EUR): the newest rate of that day or before."""
    rate_days = company.fx_rates["rate_date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    rates = company.fx_rates["rate"].to_numpy()
    usd = rates[np.clip(np.searchsorted(rate_days, days, side="right") - 1, 0, None)]
    return np.where(currency == 0, 1.0, usd)
