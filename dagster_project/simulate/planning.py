"""What people of the simulated business write down beside its CRM: scenarios and submissions."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd

from dagster_project.simulate.known import Known

PLANNING_TABLES = ("scenarios", "submissions")
SUBMITTED_AFTER_DAYS = 30
QUARTERS_SUBMITTED = 6
BEST_CASE = 1.25
REPS_SUBMITTING = 3
HABITS = (1.15, 0.9, 1.0, 1.3, 0.95, 1.05)
"""What a manager's commit is of the quota, the same in every quarter: some always promise too much."""


def example_scenarios(known: Known) -> pd.DataFrame:
    """Three what-ifs about the deals that are open, columns of the entity `scenarios`."""
    deals = known.deals
    is_open = (deals["status"] == "open") & deals["deleted_at"].isna() & deals["merged_into"].isna()
    largest = deals[is_open & deals["amount"].notna()].sort_values(
        ["probability", "amount", "deal_id"], ascending=[False, False, True]
    )["deal_id"]
    first, second = largest.iloc[0], largest.iloc[1]
    return pd.DataFrame(
        [
            ("Two late deals slip", "deal_slips", first, "60", None, None),
            ("Two late deals slip", "deal_slips", second, "60", None, None),
            ("Better negotiation", "stage_win_factor", "Negotiation", "1.15", None, None),
            ("Two more reps", "hire_reps", None, "2", "2026-07-01", "90"),
            ("Two more reps", "new_business", None, "5%", "2026-10-01", None),
        ],
        columns=["scenario", "change", "subject", "value", "starts_on", "ramp_days"],
    )


def example_submissions(known: Known, as_of: date) -> pd.DataFrame:
    """Commits and best cases of the managers and the head of sales, and commits of a few reps.

    Everybody starts from the quota, and each has a habit. Columns of the entity `submissions`.
    """
    quotas = known.quotas[known.quotas["segment_type"].isin(["total", "team"])]
    managers = dict(zip(known.teams["team"], known.teams["manager"], strict=True))
    owners = known.owners.groupby("team")
    rows = []
    for period in _quarters_begun(sorted(quotas["period"].unique()), as_of)[-QUARTERS_SUBMITTED:]:
        on = _first_day(period) + timedelta(days=SUBMITTED_AFTER_DAYS)
        of_period = quotas[quotas["period"] == period].sort_values(
            ["segment_type", "segment"], ascending=False
        )
        for place, quota in enumerate(of_period.itertuples()):
            is_all = quota.segment_type == "total"
            role, who = ("company", "Head of Sales") if is_all else ("manager", managers[quota.segment])
            commit = quota.amount * HABITS[place % len(HABITS)]
            rows += [
                (on, period, role, who, "commit", commit),
                (on, period, role, who, "best_case", commit * BEST_CASE),
            ]
        team = of_period[of_period["segment_type"] == "team"].iloc[0]
        reps = owners.get_group(team.segment)
        for place, rep in enumerate(reps["name"].head(REPS_SUBMITTING)):
            rows.append((on, period, "rep", rep, "commit", team.amount / len(reps) * HABITS[place]))
    submissions = pd.DataFrame(
        rows, columns=["submitted_on", "period", "role", "owner", "category", "amount"]
    )
    submissions["submitted_on"] = pd.to_datetime(submissions["submitted_on"])
    return submissions.assign(amount=submissions["amount"].round(-3), currency="EUR")


def _quarters_begun(periods: list[str], as_of: date) -> list[str]:
    """Those in which the day of submission is not after `as_of`."""
    late = timedelta(days=SUBMITTED_AFTER_DAYS)
    return [period for period in periods if _first_day(period) + late <= as_of]


def _first_day(period: str) -> date:
    """First day of a quarter of the example, whose fiscal year begins in January."""
    year, quarter = period.split("Q")
    return date(int(year), 3 * int(quarter) - 2, 1)
