"""What moved a forecast since the one stored before it: every change of its parts, deal by deal, with cause.

Pure functions on frames, in whole thousandths of the reporting currency, so that the changes of a part add up
to its difference exactly. Where the served method does not score deals one by one, the chances of the deals
are taken in proportion to what it serves, and what is left is one row without a deal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from dagster_project.forecast.change_causes import (
    CORRECTION,
    EVIDENCE_CHANGED,
    METHOD_CHANGED,
    NOT_BY_DEAL,
    ROUNDING,
    TIME_PASSED,
    cause_of_a_booking,
    causes_of_open_deals,
)
from dagster_project.forecast.compared_pairs import Pair, Stored
from dagster_project.forecast.review_tables import CHANGES, NO_DEAL
from dagster_project.forecast.situations import HAZARDS

ALREADY_WON = "already_won"
OPEN = "open_expected"
NEW = "not_yet_created_expected"
PARTS = (ALREADY_WON, OPEN, NEW)

_BY_OFFSET = {0: "expected_this_quarter", 1: "expected_next_quarter"}
_WIDEST_PROPORTION = 5.0
_ROUNDING_OF_A_PART, _ROUNDING_OF_A_DEAL = 11.0, 1.0  # thousandths: cents of a part, thousandths of a deal


def change_rows(
    pair: Pair,
    totals: pd.DataFrame,
    deals_before: pd.DataFrame,
    deals_after: pd.DataFrame,
    touched: pd.DataFrame,
    bookings: pd.DataFrame,
) -> pd.DataFrame:
    """Rows of `forecast_changes` of one pair without version and run id; a deal that did not change has none.

    The frames are those of review_queries, `touched` and `bookings` of this pair's days alone.
    """
    before = _totals(totals, pair.prior)
    after = _totals(totals, pair.now)
    found = []
    for period in sorted(set(before.index) & set(after.index)):
        then, now = before.loc[period], after.loc[period]
        parts = (
            (ALREADY_WON, _booked(period, bookings, touched), CORRECTION),
            (OPEN, *_opened(then, now, deals_before, deals_after, touched)),
            (NEW, _nothing(), _cause_of_a_part(then, now, deals_before, deals_after, TIME_PASSED)),
        )
        for part, rows, cause_of_rest in parts:
            rest = int(now[part]) - int(then[part]) - int(rows["delta"].sum())
            if rest:
                rows = pd.concat([rows, _rest(rest, cause_of_rest, then[part], now[part])], ignore_index=True)
            found.append(
                rows.assign(
                    period=period,
                    quarter_offset=int(now["quarter_offset"]),
                    part=part,
                    method_before=then["served_method"],
                    method_after=now["served_method"],
                    currency=now["currency"],
                )
            )
    rows = pd.concat(found, ignore_index=True) if found else _nothing()
    rows = rows.assign(
        as_of=pd.Timestamp(pair.now.as_of),
        kind=pair.now.kind,
        prior_as_of=pd.Timestamp(pair.prior.as_of),
        prior_kind=pair.prior.kind,
    )
    for column in ("delta", "expected_before", "expected_after"):
        rows[column] = rows[column].astype("float64") / 1000.0
    kept = [name for name in CHANGES.columns if name not in ("definition_version", "run_id")]
    return rows.reindex(columns=kept)


def _totals(totals: pd.DataFrame, stored: Stored) -> pd.DataFrame:
    rows = totals[(totals["as_of"] == pd.Timestamp(stored.as_of)) & (totals["kind"] == stored.kind)]
    return rows.set_index("period")


_DEAL_COLUMNS = (
    "deal_key",
    "source_relation",
    "deal_id",
    "cause",
    "delta",
    "expected_before",
    "expected_after",
    "open_amount_before",
    "open_amount_after",
    "stage_before",
    "stage_after",
)


def _nothing() -> pd.DataFrame:
    return pd.DataFrame(columns=list(_DEAL_COLUMNS))


def _rest(delta: int, cause: str, before: int, after: int) -> pd.DataFrame:
    row = {
        "deal_key": NO_DEAL,
        "cause": cause,
        "delta": delta,
        "expected_before": before,
        "expected_after": after,
    }
    return pd.DataFrame([row], columns=list(_DEAL_COLUMNS))


def _cause_of_a_part(
    then: pd.Series, now: pd.Series, before: pd.DataFrame, after: pd.DataFrame, otherwise: str
) -> str:
    if then["served_method"] != now["served_method"]:
        return METHOD_CHANGED
    if otherwise == TIME_PASSED and _evidence(before) != _evidence(after):
        return EVIDENCE_CHANGED
    return otherwise


def _evidence(deals: pd.DataFrame) -> pd.Timestamp | None:
    return None if deals.empty else deals["evidence_on"].max()


def _booked(period: str, bookings: pd.DataFrame, touched: pd.DataFrame) -> pd.DataFrame:
    """Bookings of a quarter that came, went or changed."""
    own = bookings[bookings["period"] == period]
    own = own[own["before"] != own["after"]]
    if own.empty:
        return _nothing()
    state = touched.drop_duplicates("deal_key").set_index("deal_key")["state_after"]
    elsewhere = set(bookings.loc[bookings["period"] != period, "deal_key"])
    return pd.DataFrame(
        {
            "deal_key": own["deal_key"],
            "source_relation": own["source_relation"],
            "deal_id": own["deal_id"],
            "cause": [
                cause_of_a_booking(row, row.deal_key in elsewhere, state.get(row.deal_key))
                for row in own.itertuples()
            ],
            "delta": own["after"] - own["before"],
            "expected_before": own["before"],
            "expected_after": own["after"],
        },
        columns=list(_DEAL_COLUMNS),
    )


def _opened(
    then: pd.Series, now: pd.Series, before: pd.DataFrame, after: pd.DataFrame, touched: pd.DataFrame
) -> tuple[pd.DataFrame, str]:
    """Changes of what open deals are expected to bring, and the cause of what no deal explains."""
    cause = _cause_of_a_part(then, now, before, after, NOT_BY_DEAL)
    columns = _BY_OFFSET.get(then["quarter_offset"]), _BY_OFFSET.get(now["quarter_offset"])
    if None in columns or before.empty or after.empty:
        return _nothing(), cause
    deals = _side_by_side(before, columns[0], after, columns[1])
    scale = (
        _proportion(then, deals["expected_before"].sum()),
        _proportion(now, deals["expected_after"].sum()),
    )
    if None in scale:
        return _nothing(), cause
    deals["delta"] = np.rint((scale[0] + scale[1]) / 2 * (deals["expected_after"] - deals["expected_before"]))
    deals = deals.merge(
        touched[["deal_key", "state_before", "state_after", "is_same_amount"]], how="left", on="deal_key"
    )
    deals["cause"] = causes_of_open_deals(deals)
    deals["delta"] = deals["delta"].astype("int64")
    if then["served_method"] == now["served_method"] == HAZARDS:
        rest = abs(int(now[OPEN]) - int(then[OPEN]) - int(deals["delta"].sum()))
        cause = ROUNDING if rest <= 2 * _ROUNDING_OF_A_PART + _ROUNDING_OF_A_DEAL * len(deals) else CORRECTION
    return deals.loc[deals["delta"] != 0, list(_DEAL_COLUMNS)], cause


def _side_by_side(before: pd.DataFrame, was: str, after: pd.DataFrame, now: str) -> pd.DataFrame:
    """One row per deal open on either day; money in thousandths, except open amounts."""
    kept = ["deal_key", "source_relation", "deal_id", "stage_key", "stage", "open_amount", "amount_if_won"]
    left = before[[*kept, "evidence_on"]].assign(expected=before[was].fillna(0.0) * 1000.0, is_there=True)
    right = after[[*kept, "evidence_on"]].assign(expected=after[now].fillna(0.0) * 1000.0, is_there=True)
    both = left.merge(right, how="outer", on="deal_key", suffixes=("_before", "_after"), sort=True)
    for name in ("source_relation", "deal_id"):
        both[name] = both[f"{name}_after"].fillna(both[f"{name}_before"])
    both[["expected_before", "expected_after"]] = both[["expected_before", "expected_after"]].fillna(0.0)
    return both


def _proportion(total: pd.Series, expected: float) -> float | None:
    """What is served for each unit that the deals' chances expect; None where it is out of proportion."""
    if total["served_method"] == HAZARDS:
        return 1.0
    if expected <= 0:
        return None
    share = float(total[OPEN]) / expected
    return share if 1 / _WIDEST_PROPORTION <= share <= _WIDEST_PROPORTION else None


def unbalanced(changes: pd.DataFrame, totals: pd.DataFrame, pairs: Sequence[Pair]) -> Iterator[str]:
    """Where changes do not add up to the difference of the stored parts, one phrase each.

    `changes`: as_of, kind, prior_as_of, prior_kind, period, part, delta (thousandths), as stored;
    `totals`: both days' parts (review_queries.totals_of).
    """
    key = ["as_of", "kind", "period", "part"]
    told = changes.groupby(key)["delta"].sum() if len(changes) else pd.Series(dtype="int64")
    for pair in pairs:
        before, after = _totals(totals, pair.prior), _totals(totals, pair.now)
        for period in sorted(set(before.index) & set(after.index)):
            for part in PARTS:
                moved = int(after.loc[period, part]) - int(before.loc[period, part])
                place = (pd.Timestamp(pair.now.as_of), pair.now.kind, period, part)
                summed = int(told.get(place, 0))
                if moved != summed:
                    yield (
                        f"{pair.now.as_of} {pair.now.kind} {period} {part}: changes add up to "
                        f"{summed / 1000:,.3f}, the forecast moved by {moved / 1000:,.3f}"
                    )
