"""How good the forecasts are in businesses whose law is known: `make forecast-report` writes the text.

Every figure is of rolling origins, each week's end of the history, with what was known on that day.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from dagster_project.forecast.evidence import read_evidence
from dagster_project.forecast.forecaster import make_forecasts
from dagster_project.forecast.shared_sql import shared_sql
from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.hazards import OLDEST_AGE
from dagster_project.simulate.oracle import win_probability_on
from dagster_project.simulate.world import World, simulate
from dagster_project.warehouse import Warehouse
from tests.benchmark.simulated_ledger import ledger_of
from tests.hazard_bench import build_hazards
from tests.synthetic_ledger import Deal, LedgerTables, Move, ledger_tables, won_deal, write_ledger

log = logging.getLogger("forecast_report")

CHANGE_ON = date(2025, 1, 1)
LAST = date(2026, 3, 31)
STAGE_CHANCES = {stage.stage_id: stage.probability for stage in cat.STAGES}
PART_SQL = """
with quarters as (
  select quarter_index as quarter_number, min(date_day) as first_day, max(date_day) as last_day
  from ledger.dim_date group by quarter_index
),
bookings as (
  select arrived_on, closed_on, won_amount
  from forecast.int_open_spans
  where outcome = 'won' and valid_to_date = closed_on
)
select
  hazards.as_of,
  quarters.last_day,
  hazards.open_expected,
  cast(coalesce(sum(bookings.won_amount), 0) as double) as open_actual
from forecast.int_hazard_forecast as hazards
inner join quarters on hazards.quarter_number = quarters.quarter_number
left join bookings
  on bookings.arrived_on <= hazards.as_of and bookings.closed_on > hazards.as_of
  and bookings.closed_on <= quarters.last_day
where hazards.quarter_offset = 0
group by hazards.as_of, quarters.last_day, hazards.open_expected
order by hazards.as_of
"""


def build(folder: Path, tables: LedgerTables, stage_chances: dict[str, float | None] | None) -> Warehouse:
    """The ledger and the evidence in a warehouse file."""
    return build_hazards(write_ledger(folder / "warehouse.duckdb", tables, probability=stage_chances))


def backtest_of(warehouse: Warehouse) -> pd.DataFrame:
    """Rows of `forecast_backtest` for the whole history."""
    return make_forecasts(read_evidence(warehouse), [], 1).backtest


def track_lines(backtest: pd.DataFrame) -> list[str]:
    """Errors of hazards and of what was served against the baseline chosen ex ante, by horizon."""
    key = ["origin", "quarter_offset"]
    wide = backtest.pivot(index=key, columns="method", values="forecast")
    best = backtest[backtest["is_best_baseline"]].set_index(key)
    served = backtest[backtest["is_served"]].set_index(key)
    rows = pd.DataFrame(
        {
            "best": best["forecast"],
            "served": served["forecast"],
            "actual": best["actual"],
            "method": served["method"],
            "low": served["p10"],
            "high": served["p90"],
            "is_calibrated": served["interval_status"] == "calibrated",
            "hazards": wide.get("hazards", np.nan),
        }
    ).reset_index()
    rows = rows.dropna(subset=["best", "hazards", "actual"])
    lines = ["  horizon         origins  baseline   hazards  ratio  served  ratio  served by   ranges held"]
    horizons: list[tuple[str, Callable[[pd.DataFrame], pd.Series]]] = [
        ("this quarter", lambda frame: frame["quarter_offset"] == 0),
        *((f"quarter + {n}", lambda frame, n=n: frame["quarter_offset"] == n) for n in range(1, 5)),
    ]
    for name, chosen in horizons:
        part = rows[chosen(rows)]
        if part.empty:
            continue
        error = {
            method: float((part[method] - part["actual"]).abs().sum() / part["actual"].abs().sum())
            for method in ("best", "hazards", "served")
        }
        by_hazards = part["method"].isin(["hazards", "hazards_and_baseline"]).mean()
        ranged = part[part["is_calibrated"]]
        held = ((ranged["low"] <= ranged["actual"]) & (ranged["actual"] <= ranged["high"])).mean()
        lines.append(
            f"  {name:<15} {len(part):>7}  {error['best']:>8.3f}  {error['hazards']:>8.3f}  "
            f"{error['hazards'] / error['best']:>5.2f}  {error['served']:>6.3f}  "
            f"{error['served'] / error['best']:>5.2f}  {by_hazards:>4.0%} hazards  "
            f"{'-' if ranged.empty else f'{held:.0%} of {len(ranged)}'}"
        )
    return lines


def open_part(warehouse: Warehouse, as_of: date) -> pd.DataFrame:
    """Per completed origin what hazards expected of the open deals until the quarter's end, and what came."""
    parts = warehouse.query(PART_SQL)
    return parts[parts["last_day"] <= pd.Timestamp(as_of)].reset_index(drop=True)


def oracle_of(world: World, warehouse: Warehouse, parts: pd.DataFrame) -> np.ndarray:
    """What the law of the simulation expects of the same open deals, in their amounts of the day."""
    numbers = f"select deal_id, {shared_sql('number_of_key', 'deal_key')} as deal_number from ledger.dim_deal"
    spans = warehouse.query(
        "select deals.deal_id, spans.stage_key, spans.valid_from_date, spans.valid_to_date, "
        "spans.entered_on, cast(spans.open_amount as double) as amount "
        f"from forecast.int_open_spans as spans inner join ({numbers}) as deals "
        "on spans.deal_number = deals.deal_number"
    )
    segments = world.truth.outcomes.set_index("deal_id")["segment"]
    spans["segment"] = spans["deal_id"].map(lambda key: int(key, 16)).map(segments).to_numpy()
    spans["amount"] = spans["amount"].fillna(spans["amount"].mean())
    price = warehouse.query(
        "select sum(won_amount) / sum(open_amount_of_won) as price from forecast.int_hazard_histogram"
    ).loc[0, "price"]
    expected = []
    for part in parts.itertuples():
        is_open = (spans["valid_from_date"] <= part.as_of) & ~(spans["valid_to_date"] <= part.as_of)
        book = spans[is_open]
        chance = win_probability_on(
            world.truth.hazards, world.config, on=part.as_of.date(), by=part.last_day.date()
        )
        stage = book["stage_key"].map(cat.STAGE_CODE).to_numpy()
        age = np.minimum((part.as_of - book["entered_on"]).dt.days.to_numpy(), OLDEST_AGE)
        wins = chance[stage, book["segment"].to_numpy(dtype=int), age]
        expected.append(float((wins * book["amount"].to_numpy()).sum() * price))
    return np.array(expected)


def open_lines(parts: pd.DataFrame, oracle: np.ndarray | None) -> list[str]:
    """Calibration of the open part in money, and its error against that of the oracle."""
    error = (parts["open_expected"] - parts["open_actual"]).abs().sum()
    lines = [
        f"  open deals until the quarter's end, {len(parts)} origins: expected / booked "
        f"{parts['open_expected'].sum() / parts['open_actual'].sum():.3f} in money, "
        f"WAPE {error / parts['open_actual'].sum():.3f}"
    ]
    if oracle is not None:
        known = np.abs(oracle - parts["open_actual"]).sum()
        lines.append(
            f"  an oracle that knows the law: expected / booked "
            f"{oracle.sum() / parts['open_actual'].sum():.3f}, "
            f"WAPE {known / parts['open_actual'].sum():.3f}; error of hazards / error of the oracle "
            f"{error / known:.2f}"
        )
    return lines


def attainable_line(backtest: pd.DataFrame, parts: pd.DataFrame, oracle: np.ndarray) -> str:
    """What the oracle's open part would make of the whole quarter: about as good as any method can be."""
    known = parts.assign(oracle=oracle).rename(columns={"as_of": "origin"})[["origin", "oracle"]]
    quarter = backtest[backtest["quarter_offset"] == 0]
    hazards = quarter[quarter["method"] == "hazards"].merge(known, on="origin")
    best = quarter[quarter["is_best_baseline"]].set_index("origin")["forecast"]
    hazards = hazards[hazards["origin"].isin(best.index)]
    error = (
        (hazards["forecast"] - hazards["open_expected"] + hazards["oracle"] - hazards["actual"]).abs().sum()
    )
    baseline = np.abs(best.loc[hazards["origin"]].to_numpy() - hazards["actual"].to_numpy()).sum()
    return (
        f"  this quarter with the oracle's open part in place of that of hazards: "
        f"WAPE {error / hazards['actual'].sum():.3f}, {error / baseline:.2f} × the baseline"
    )


def regime_change(seed: int) -> LedgerTables:
    """Two stages; from `CHANGE_ON` deals that come in are won half as often and take twice as long."""
    chance = np.random.default_rng(seed)
    deals: list[Deal] = []
    for day in pd.date_range(date(2023, 1, 2), LAST, freq="B").date:
        for _ in range(chance.poisson(5)):
            is_new = day >= CHANGE_ON
            slow, wins = (2, 0.25) if is_new else (1, 0.5)
            proposal = day + timedelta(days=int(chance.exponential(15 * slow)))
            closed = proposal + timedelta(days=1 + int(chance.exponential(25 * slow)))
            amount = float(np.round(np.exp(chance.normal(9, 0.7)), 2))
            won = Move(closed, "won", "won", amount, closed)
            lost = Move(closed, "lost", "lost", 0.0, closed)
            end = won if chance.random() < wins else lost
            moves = (
                Move(day, "prospect", amount=amount),
                Move(proposal, "proposal", amount=amount),
                end,
            )
            deals.append(Deal(f"{len(deals):016x}", tuple(move for move in moves if move.day <= LAST)))
    return ledger_tables(deals, LAST)


def single_stage(seed: int) -> LedgerTables:
    """One stage, won after about six weeks or never heard of again: no losses, so the book only grows."""
    chance = np.random.default_rng(seed)
    deals: list[Deal] = []
    for day in pd.date_range(date(2023, 1, 2), LAST, freq="B").date:
        for _ in range(chance.poisson(5)):
            amount = float(np.round(np.exp(chance.normal(9, 0.7)), 2))
            closed = day + timedelta(days=1 + int(chance.gamma(2, 20)))
            if chance.random() < 0.4 and closed <= LAST:
                deals.append(won_deal(f"{len(deals):016x}", day, closed, amount))
            else:
                deals.append(Deal(f"{len(deals):016x}", (Move(day, "proposal", amount=amount),)))
    return ledger_tables(deals, LAST)


def small_business(seed: int) -> LedgerTables:
    """Five deals a week in two stages, a quarter's end that pulls."""
    chance = np.random.default_rng(seed)
    deals: list[Deal] = []
    for day in pd.date_range(date(2023, 1, 2), LAST, freq="B").date:
        for _ in range(chance.poisson(1)):
            proposal = day + timedelta(days=int(chance.exponential(20)))
            closed = proposal + timedelta(days=1 + int(chance.exponential(30)))
            amount = float(np.round(np.exp(chance.normal(9, 0.7)), 2))
            won, lost = Move(closed, "won", "won", amount, closed), Move(closed, "lost", "lost", 0.0, closed)
            moves = (
                Move(day, "prospect", amount=amount),
                Move(proposal, "proposal", amount=amount),
                won if chance.random() < 0.4 else lost,
            )
            deals.append(Deal(f"{len(deals):016x}", tuple(move for move in moves if move.day <= LAST)))
    return ledger_tables(deals, LAST)


def report(seeds: list[int], deals: int) -> list[str]:
    """All lines of the report."""
    lines = [
        "Forecast report: rolling origins at every week's end, each with what was known then.",
        "baseline = the baseline chosen before the outcome; ratio = error / its error; WAPE throughout.",
    ]
    for seed in seeds:
        with TemporaryDirectory() as folder:
            started = time.process_time()
            world = simulate(SimulationConfig(seed=seed, n_deals=deals))
            as_of = world.config.end_on
            warehouse = build(Path(folder), ledger_of(world, as_of), STAGE_CHANCES)
            lines += ["", f"Simulated business with known hazards, {deals:,} deals in 39 months, seed {seed}"]
            backtest, parts = backtest_of(warehouse), open_part(warehouse, as_of)
            oracle = oracle_of(world, warehouse, parts)
            lines += [*track_lines(backtest), *open_lines(parts, oracle)]
            lines.append(attainable_line(backtest, parts, oracle))
            log.info("seed %s: %.0f CPU s", seed, time.process_time() - started)
    for name, tables in (
        ("Regime change: from 2025 on deals are won half as often and take twice as long", regime_change(3)),
        ("One stage, no losses recorded", single_stage(3)),
        ("Five deals a week", small_business(3)),
    ):
        with TemporaryDirectory() as folder:
            warehouse = build(Path(folder), tables, None)
            lines += ["", name, *track_lines(backtest_of(warehouse))]
            lines += open_lines(open_part(warehouse, LAST), None)
    return lines


def main() -> None:
    """Write the report where the first argument says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 20230401])
    parser.add_argument("--deals", type=int, default=10_000)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options.out.write_text("\n".join(report(options.seeds, options.deals)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
