"""Forecasts of past days: what is stored of them, what a backfill will do to it, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pandas as pd

from dagster_project.forecast.tables import BACKFILL, BOOKINGS, LIVE
from dagster_project.warehouse import Warehouse

DAYS_SHOWN = 62


@dataclass(frozen=True)
class Stored:
    """The totals of stored forecasts (columns of `read_stored`), per day, kind and quarter."""

    rows: pd.DataFrame

    def days(self, kind: str) -> set[date]:
        """Days that have rows of a kind."""
        return set(self.rows.loc[self.rows["kind"] == kind, "as_of"])

    @property
    def definitions(self) -> set[str]:
        """The definitions that the rows were made with."""
        return set(self.rows["definition_version"])


def read_stored(warehouse: Warehouse, days: Sequence[date]) -> Stored:
    """What is stored of `days`: as_of, kind, period, quarter_offset, mean, p10, p90, definition_version."""
    columns = ["as_of", "kind", "period", "quarter_offset", "mean", "p10", "p90", "definition_version"]
    if not warehouse.has_table(BOOKINGS.full_name):
        return Stored(pd.DataFrame(columns=columns))
    rows = warehouse.query(
        f"select {', '.join(columns)} from {BOOKINGS.full_name} "
        "where segment_type = 'total' and as_of between $first and $last "
        "order by as_of, kind, quarter_offset",
        {"first": min(days), "last": max(days)},
    )
    rows["as_of"] = [stamp.date() for stamp in rows["as_of"]]
    return Stored(rows)


def plan_markdown(days: Sequence[date], stored: Stored, data_end: date) -> str:
    """Before the start: each day, and what happens to the rows that are stored of it."""
    live, backfill = stored.days(LIVE), stored.days(BACKFILL)
    lines = [
        f"{len(days)} days, {days[0]} to {days[-1]}, are forecast from the ledger (data to {data_end}).",
        "",
        "| day | earlier live rows | earlier backfill rows |",
        "|---|---|---|",
    ]
    for day in days[:DAYS_SHOWN]:
        stays = "stay" if day in live else "none"
        lines.append(f"| {day} | {stays} | {'are replaced' if day in backfill else 'none'} |")
    return "\n".join([*lines, *_rest(len(days))])


def difference_markdown(days: Sequence[date], before: Stored, after: Stored) -> str:
    """Afterwards: old and new forecast of the running quarter and of all quarters, per day.

    Old is the earlier backfill, else the live forecast that stays beside the new one.
    """
    old, new = _by_day(before, (BACKFILL, LIVE)), _by_day(after, (BACKFILL,))
    lines = [
        "| day | quarter | before | made | after | difference | range before | range after | all quarters |",
        "|---|---|--:|---|--:|--:|---|---|--:|",
    ]
    for day in days[:DAYS_SHOWN]:
        if day not in new:
            continue
        now = new[day].iloc[0]
        if day not in old:
            lines.append(f"| {day} | {now.period} | none | | {now['mean']:,.0f} | | | {_range(now)} | |")
            continue
        then = old[day].iloc[0]
        whole = new[day]["mean"].sum() - old[day]["mean"].sum()
        lines.append(
            f"| {day} | {now.period} | {then['mean']:,.0f} | {then.kind} | {now['mean']:,.0f} "
            f"| {now['mean'] - then['mean']:+,.0f} | {_range(then)} | {_range(now)} | {whole:+,.0f} |"
        )
    return "\n".join([*lines, *_rest(len(days))])


def changed_days(days: Sequence[date], before: Stored, after: Stored) -> int:
    """Days whose old and new forecast differ by a unit of money or more."""
    old, new = _by_day(before, (BACKFILL, LIVE)), _by_day(after, (BACKFILL,))
    both = [day for day in days if day in old and day in new]
    return sum(abs(new[day]["mean"].sum() - old[day]["mean"].sum()) >= 1 for day in both)


def _by_day(stored: Stored, kinds: Sequence[str]) -> dict[date, pd.DataFrame]:
    found: dict[date, pd.DataFrame] = {}
    for kind in kinds:
        for day, rows in stored.rows[stored.rows["kind"] == kind].groupby("as_of"):
            found.setdefault(day, rows.sort_values("quarter_offset"))
    return found


def _range(row: pd.Series) -> str:
    return f"{row['p10']:,.0f} to {row['p90']:,.0f}"


def _rest(days: int) -> list[str]:
    return [f"\n{days - DAYS_SHOWN} more days are not shown"] if days > DAYS_SHOWN else []
