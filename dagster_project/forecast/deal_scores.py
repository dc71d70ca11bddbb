"""Open deals as rows of `forecast_deals`: chances, expected amounts, and the reasons in words."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from dagster_project.forecast.evidence import LedgerContext

SIZES = {
    0: "no amount",
    1: "amount in the lower half",
    2: "amount above the median",
    3: "amount in the top quarter",
    4: "amount in the top tenth",
}
"""What the amount tiers of the evidence mean, against the open book of the month before."""

MEASURES = (
    "p_win_this_quarter",
    "p_win_by_next_quarter",
    "p_win_ever",
    "p_overall",
    "factor_stage",
    "factor_time",
    "factor_size",
    "factor_calendar",
)
COUNTS = ("deals_overall", "deals_stage", "deals_time", "n_similar_deals", "wins_calendar")
AMOUNTS = ("open_amount", "amount_if_won", "expected_this_quarter", "expected_next_quarter", "expected_ever")


def deal_rows(scores: pd.DataFrame, context: LedgerContext) -> pd.DataFrame:
    """Rows of `forecast_deals` without the kind, which the writer knows.

    `scores`: the columns of macro `deal_scores`, with deal_key, source_relation, deal_id and stage.
    """
    kept = ["as_of", "deal_key", "source_relation", "deal_id", "stage_key", "stage", "weeks_in_stage"]
    rows = scores[kept].copy()
    rows["amount_tier"] = scores["amount_tier"].map(SIZES).astype("str")
    rows[[*AMOUNTS, *MEASURES]] = scores[[*AMOUNTS, *MEASURES]]
    rows[list(COUNTS)] = scores[list(COUNTS)].astype("int64")
    rows["reason"] = list(_reasons(scores))
    rows["close_date"] = scores["close_date"]
    rows["p_slip_reason"] = _why_no_slip(scores)
    rows["p_slip"] = (1 - _won_by_close_date(scores)).where(rows["p_slip_reason"].isna())
    rows["evidence_on"] = scores["evidence_on"]
    rows["currency"] = context.currency
    rows["definition_version"] = context.definition_version
    rows["run_id"] = context.run_id
    return rows


def _won_by_close_date(scores: pd.DataFrame) -> pd.Series:
    """Chance of being won by the close date; beyond the reach of the curves, of being won at all."""
    return scores["p_win_by_close_date"].fillna(scores["p_win_ever"]).clip(0.0, 1.0)


def _why_no_slip(scores: pd.DataFrame) -> pd.Series:
    """Why a deal has no chance of slipping, in words; null where it has one."""
    has_no_history = ~scores["has_close_date_history"].astype(bool)
    reasons = pd.Series(None, index=scores.index, dtype="str")
    reasons[scores["close_date"] <= scores["as_of"]] = "the close date is over"
    reasons[has_no_history] = "the close date is known only as it is today"
    reasons[scores["close_date"].isna()] = "no close date"
    return reasons


def _reasons(scores: pd.DataFrame) -> Iterator[str]:
    for deal in scores.itertuples():
        weeks = "unknown time" if deal.weeks_in_stage < 0 else f"week {deal.weeks_in_stage + 1}"
        chain = (
            (deal.factor_stage, f"in {deal.stage}", deal.deals_stage, "deals"),
            (deal.factor_time, f"{weeks} in the stage", deal.deals_time, "deals"),
            (deal.factor_size, SIZES[deal.amount_tier], deal.n_similar_deals, "deals"),
            (deal.factor_calendar, "weeks left of the quarter", deal.wins_calendar, "wins"),
        )
        factors = "".join(
            f" × {factor:.2f} {what} ({int(behind):,} {unit})" for factor, what, behind, unit in chain
        )
        yield (
            f"{deal.p_win_this_quarter:.0%} by the end of the quarter = {deal.p_overall:.0%} of all deals "
            f"({int(deal.deals_overall):,}){factors}"
        )
