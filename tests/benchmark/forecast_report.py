"""How good the forecasts are in businesses whose law is known: `make forecast-report` writes the text.

Every figure is of rolling origins, each week's end of the history, with what was known on that day.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from dagster_project.forecast.evidence import read_evidence
from dagster_project.forecast.forecaster import make_forecasts
from dagster_project.forecast.intervals import quantile_loss
from dagster_project.simulate import catalogue as cat
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.world import simulate
from dagster_project.warehouse import Warehouse
from tests.benchmark.forecast_oracle import oracle_parts
from tests.benchmark.forecast_worlds import BAD_WORLDS, CHANGE_ON
from tests.benchmark.simulated_ledger import ledger_of
from tests.hazard_bench import build_hazards
from tests.synthetic_ledger import LedgerTables, write_ledger

log = logging.getLogger("forecast_report")

STAGE_CHANCES = {stage.stage_id: stage.probability for stage in cat.STAGES}
HORIZONS = ("this quarter", *(f"quarter + {offset}" for offset in range(1, 5)))
KEY = ["origin", "quarter_offset"]
SAME_LAW = ("known", "small", "single", "undated", "leak")
"""Businesses that go on as they did: ranges must hold there at every horizon."""

OPEN_ACTUAL = """
with bookings as (
  select arrived_on, closed_on, cast(won_amount as double) as won_amount
  from forecast.int_open_spans
  where outcome = 'won' and valid_to_date = closed_on
)
select asked.origin, coalesce(sum(bookings.won_amount), 0) as open_actual
from asked
left join bookings
  on bookings.arrived_on <= asked.origin and bookings.closed_on > asked.origin
  and bookings.closed_on <= asked.period_end
group by asked.origin
"""
HEADER = """Forecast report: rolling origins at every week's end, each with what was known then.

baseline  WAPE of the baseline chosen before each outcome; hazards, served and oracle: error / its error.
oracle    knows every hazard, how many deals will come in and what they bring, but not chance: the floor.
law       distance to what the oracle expects / the baseline's distance: what is left without chance.
held      share of calibrated 80 % ranges that held; n: origins; eff.: quarters of separate businesses among
          them (origins of one quarter share one outcome); +-: two standard errors of 80 % in so many.
width     mean width of the range / what was booked. loss: pinball loss of p10 and p90 / what was booked.
Only origins at which hazards answered are compared. In brackets: least and most of the seeds."""


def build(folder: Path, tables: LedgerTables, stage_chances: dict[str, float | None] | None) -> Warehouse:
    """The ledger and the evidence in a warehouse file."""
    return build_hazards(write_ledger(folder / "warehouse.duckdb", tables, probability=stage_chances))


def compared(warehouse: Warehouse, world: str, seed: int) -> pd.DataFrame:
    """One row per completed origin and quarter: baseline, hazards, served with its range, and the outcome."""
    backtest = make_forecasts(read_evidence(warehouse), [], 1).backtest
    best = backtest[backtest["is_best_baseline"]].set_index(KEY)
    served = backtest[backtest["is_served"]].set_index(KEY)
    hazards = backtest[backtest["method"] == "hazards"].set_index(KEY)
    columns = {
        "period": best["period"],
        "period_start": best["period_start"],
        "period_end": best["period_end"],
        "already_won": best["already_won"],
        "actual": best["actual"],
        "baseline": best["forecast"],
        "hazards": hazards["forecast"],
        "open_expected": hazards["open_expected"],
        "served": served["forecast"],
        "gate": served["gate_status"],
        "low": served["p10"],
        "high": served["p90"],
        "is_calibrated": served["interval_status"] == "calibrated",
    }
    rows = pd.DataFrame(columns).reset_index().dropna(subset=["baseline", "hazards", "actual", "served"])
    return rows.assign(world=world, seed=seed, outcome=f"{world} {seed} " + rows["period"])


def known_business(seed: int, deals: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the simulated business with the oracle's forecast, and its open deals of this quarter."""
    with TemporaryDirectory() as folder:
        world = simulate(SimulationConfig(seed=seed, n_deals=deals))
        warehouse = build(Path(folder), ledger_of(world, world.config.end_on), STAGE_CHANCES)
        rows = oracle_parts(world, warehouse, compared(warehouse, "known", seed))
        rows["oracle"] = rows["already_won"] + rows["oracle_open"] + rows["oracle_new"]
        now = rows[rows["quarter_offset"] == 0]
        with warehouse.connect() as connection:
            connection.register("asked", now[["origin", "period_end"]])
            actual = connection.execute(OPEN_ACTUAL).df()
        actual["origin"] = actual["origin"].astype(now["origin"].dtype)
        return rows, now.merge(actual, on="origin")


def bad_business(number: int, seed: int) -> pd.DataFrame:
    """Rows of one bad world."""
    world = BAD_WORLDS[number]
    with TemporaryDirectory() as folder:
        return compared(build(Path(folder), world.ledger(seed), None), world.name, seed)


def errors(rows: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Σ|error| / Σ booked per seed (rows) and method (columns): seeds of any size count the same."""
    by_seed = rows.groupby("seed")
    return pd.DataFrame(
        {
            method: by_seed.apply(lambda part, m=method: _wape(part, m), include_groups=False)
            for method in methods
        }
    )


def error_lines(rows: pd.DataFrame, methods: Sequence[str]) -> Iterator[str]:
    """Per horizon the error of the baseline and of others over it."""
    titles = "".join(f"{method:>20}" for method in methods)
    yield f"  {'horizon':<13}{'origins':>8}{'quarters':>9}{'baseline':>10}{titles}   passed, mean, drift"
    for offset, name in enumerate(HORIZONS):
        part = rows[rows["quarter_offset"] == offset]
        if part.empty:
            continue
        table = errors(part, ["baseline", *methods])
        cells = "".join(f"{_ratio(table, method):>20}" for method in methods)
        gates = part["gate"].value_counts(normalize=True)
        served = ", ".join(f"{gates.get(status, 0):.0%}" for status in ("passed", "blended", "drift"))
        yield (
            f"  {name:<13}{len(part):>8}{part['outcome'].nunique():>9}{table['baseline'].mean():>10.3f}"
            f"{cells}   {served}"
        )


def law_lines(rows: pd.DataFrame) -> Iterator[str]:
    """Per horizon how far forecasts lie from what the oracle expects: Σ|forecast - oracle| / Σ booked."""
    titles = "".join(f"{method:>10}" for method in ("baseline", "hazards", "served"))
    yield f"  {'horizon':<13}{titles}{'hazards, law':>15}{'served, law':>14}"
    for offset, name in enumerate(HORIZONS):
        part = rows[rows["quarter_offset"] == offset]
        if part.empty:
            continue
        booked = part["actual"].abs().sum()
        away = {
            method: (part[method] - part["oracle"]).abs().sum() / booked
            for method in ("baseline", "hazards", "served")
        }
        yield (
            f"  {name:<13}"
            + "".join(f"{distance:>10.3f}" for distance in away.values())
            + f"{away['hazards'] / away['baseline']:>15.2f}{away['served'] / away['baseline']:>14.2f}"
        )


def range_lines(groups: Iterable[tuple[str, pd.DataFrame]]) -> Iterator[str]:
    """How often ranges held, with the effective number of outcomes."""
    yield (
        f"  {'':<26}{'held':>6}{'n':>7}{'eff.':>6}{'+-':>5}{'width':>7}{'loss':>8}"
        f"   with those widened for want of evidence"
    )
    for name, rows in groups:
        ranged = rows[rows["is_calibrated"]]
        if rows.empty:
            continue
        with_all = f"{_held(rows):.0%} of {len(rows)}, width {_width(rows):.2f}"
        if ranged.empty:
            yield f"  {name:<26}{'-':>6}{0:>7}{'':>26}   {with_all}"
            continue
        outcomes = ranged["outcome"].nunique()
        yield (
            f"  {name:<26}{_held(ranged):>6.0%}{len(ranged):>7}{outcomes:>6}"
            f"{2 * (0.8 * 0.2 / outcomes) ** 0.5:>5.0%}{_width(ranged):>7.2f}{_loss(ranged):>8.3f}"
            f"   {with_all}"
        )


def open_lines(parts: pd.DataFrame) -> Iterator[str]:
    """The open deals' part until the quarter's end: calibration in money, error over the oracle's."""
    for seed, part in parts.groupby("seed"):
        off = (part["open_expected"] - part["open_actual"]).abs().sum()
        known = (part["oracle_open"] - part["open_actual"]).abs().sum()
        yield (
            f"  seed {seed:<9} expected / booked in money {_share(part, 'open_expected'):.3f} "
            f"(oracle {_share(part, 'oracle_open'):.3f}), error / oracle's error {off / known:.2f}"
        )
    off = (parts["open_expected"] - parts["open_actual"]).abs().sum()
    known = (parts["oracle_open"] - parts["open_actual"]).abs().sum()
    yield (
        f"  {'pooled':<14} expected / booked in money {_share(parts, 'open_expected'):.3f} "
        f"(oracle {_share(parts, 'oracle_open'):.3f}), error / oracle's error {off / known:.2f}"
    )


def change_groups(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """All ranges of the regime change by the quarter of their origin, counted from the change."""
    since = rows["origin"].dt.to_period("Q").map(lambda quarter: quarter.ordinal)
    since = since - pd.Period(CHANGE_ON, "Q").ordinal + 1
    for quarter in range(1, 6):
        for offset, name in enumerate(HORIZONS[:3]):
            part = rows[(since == quarter) & (rows["quarter_offset"] == offset)]
            if not part.empty:
                yield f"quarter {quarter}: {name}", part.assign(is_calibrated=True)


def report(
    seeds: Sequence[int], deals: int, large_seeds: Sequence[int], large_deals: int, bad_seeds: Sequence[int]
) -> list[str]:
    """All lines of the report. Of a large business chance moves less: what is left there is the method's."""
    started = time.process_time()
    known, parts = [], []
    for seed in seeds:
        rows, part = known_business(seed, deals)
        known.append(rows)
        parts.append(part)
        log.info("known hazards, seed %s: %.0f CPU s so far", seed, time.process_time() - started)
    bad: dict[str, list[pd.DataFrame]] = {}
    for number, world in enumerate(BAD_WORLDS):
        for seed in bad_seeds:
            bad.setdefault(world.name, []).append(bad_business(number, seed))
        log.info("%s: %.0f CPU s so far", world.name, time.process_time() - started)
    large, large_parts = [], []
    for seed in large_seeds:
        rows, part = known_business(seed, large_deals)
        large.append(rows.assign(world="large", outcome="large " + rows["outcome"]))
        large_parts.append(part)
        log.info("large business %s: %.0f CPU s so far", seed, time.process_time() - started)
    worlds = {"known": pd.concat(known), "large": pd.concat(large)} | {
        name: pd.concat(rows) for name, rows in bad.items()
    }
    lines = [HEADER]
    for seed, rows in zip(seeds, known, strict=True):
        lines += ["", f"Simulated business with known hazards, {deals:,} deals in 39 months, seed {seed}"]
        lines += error_lines(rows, ["hazards", "served", "oracle"])
    lines += ["", f"The same, {len(seeds)} seeds pooled"]
    lines += error_lines(worlds["known"], ["hazards", "served", "oracle"])
    lines += ["", "Distance to the law, the same seeds pooled", *law_lines(worlds["known"])]
    lines += ["", "Open deals until the quarter's end", *open_lines(pd.concat(parts))]
    lines += ["", f"The same business with {large_deals:,} deals, {len(large_seeds)} seeds pooled"]
    lines += error_lines(worlds["large"], ["hazards", "served", "oracle"])
    lines += ["", "Distance to the law in it", *law_lines(worlds["large"])]
    lines += ["", "Open deals until the quarter's end in it", *open_lines(pd.concat(large_parts))]
    for world in BAD_WORLDS:
        lines += ["", f"{world.title} ({len(bad_seeds)} seeds)"]
        lines += error_lines(worlds[world.name], ["hazards", "served"])
    same = pd.concat([worlds[name] for name in SAME_LAW])
    lines += [
        "",
        f"Ranges in all {same.groupby(['world', 'seed']).ngroups} businesses that go on as they did",
    ]
    lines += range_lines(_by_horizon(same))
    for name in (*SAME_LAW, "large"):
        lines += ["", f"Ranges, {name}", *range_lines(_by_horizon(worlds[name]))]
    lines += ["", "Ranges after the regime change, all of them, by the quarter of the origin"]
    lines += range_lines(change_groups(worlds["drift"]))
    worst = pd.concat([_by_world(rows) for rows in worlds.values()])
    lines += [
        "",
        f"Served / baseline per world and horizon, seeds pooled: {worst.min():.2f} to {worst.max():.2f}",
        f"{time.process_time() - started:.0f} CPU seconds for the whole report",
    ]
    return lines


def _by_horizon(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for offset, name in enumerate(HORIZONS):
        yield name, rows[rows["quarter_offset"] == offset]


def _by_world(rows: pd.DataFrame) -> pd.Series:
    tables = (errors(part, ["baseline", "served"]).sum() for _, part in rows.groupby("quarter_offset"))
    return pd.Series([table["served"] / table["baseline"] for table in tables])


def _wape(rows: pd.DataFrame, method: str) -> float:
    return float((rows[method] - rows["actual"]).abs().sum() / rows["actual"].abs().sum())


def _ratio(table: pd.DataFrame, method: str) -> str:
    by_seed = table[method] / table["baseline"]
    pooled = table[method].sum() / table["baseline"].sum()
    return f"{pooled:.2f}" if len(table) == 1 else f"{pooled:.2f} [{by_seed.min():.2f}-{by_seed.max():.2f}]"


def _held(rows: pd.DataFrame) -> float:
    return float(((rows["low"] <= rows["actual"]) & (rows["actual"] <= rows["high"])).mean())


def _width(rows: pd.DataFrame) -> float:
    return float((rows["high"] - rows["low"]).sum() / rows["actual"].sum())


def _loss(rows: pd.DataFrame) -> float:
    actual = rows["actual"].to_numpy()
    low, high = (quantile_loss(rows[name].to_numpy(), actual, q) for name, q in (("low", 0.1), ("high", 0.9)))
    return float(np.sum(low + high) / 2 / actual.sum())


def _share(rows: pd.DataFrame, method: str) -> float:
    return float(rows[method].sum() / rows["open_actual"].sum())


def main() -> None:
    """Write the report where the first argument says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13, 14, 20230401])
    parser.add_argument("--bad-seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--deals", type=int, default=10_000)
    parser.add_argument("--large-seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--large-deals", type=int, default=80_000)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    lines = report(options.seeds, options.deals, options.large_seeds, options.large_deals, options.bad_seeds)
    options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
