"""The causes of changes of a forecast, in words, and which one a change has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

WON = "won"
LOST = "lost"
NEW_DEAL = "new deal"
REOPENED = "reopened"
RESTORED = "restored"
AMOUNT_CHANGED = "amount changed"
EXCHANGE_RATE = "exchange rate"
STAGE_MOVED = "stage moved"
PUSHED = "pushed close date"
PULLED = "pulled close date"
TIME_PASSED = "time passed"
EVIDENCE_CHANGED = "evidence changed"
METHOD_CHANGED = "method changed"
MERGED = "merged"
DELETED = "deleted"
LEFT_OUT = "left out by settings"
CORRECTION = "correction"
NOT_BY_DEAL = "not known by deal"
ROUNDING = "rounding"
SHARED_OUT = "shared out anew"
"""Of segments alone: what their deals do not explain."""

CAUSES = (
    WON,
    LOST,
    NEW_DEAL,
    REOPENED,
    RESTORED,
    AMOUNT_CHANGED,
    EXCHANGE_RATE,
    STAGE_MOVED,
    PUSHED,
    PULLED,
    TIME_PASSED,
    EVIDENCE_CHANGED,
    METHOD_CHANGED,
    MERGED,
    DELETED,
    LEFT_OUT,
    CORRECTION,
    NOT_BY_DEAL,
    ROUNDING,
)

_LEFT_THE_BOOK = {
    "won": WON,
    "lost": LOST,
    "closed_other": LOST,
    "merged": MERGED,
    "deleted": DELETED,
    "left out": LEFT_OUT,
}
_UNBOOKED = {**_LEFT_THE_BOOK, "won": PUSHED, "open": REOPENED}
_CAME_FROM = {
    "won": REOPENED,
    "lost": REOPENED,
    "closed_other": REOPENED,
    "merged": RESTORED,
    "deleted": RESTORED,
    "left out": RESTORED,
}


def cause_of_a_booking(booking: Any, is_elsewhere: bool, state: str | None) -> str:
    """Why a quarter books a deal otherwise than before.

    `booking`: was_booked, is_booked. `is_elsewhere`: another quarter had booked it, or has booked it now. As
    no booking is seen before its day, it came from an earlier quarter, or went to one. `state`: of the deal
    now, None where nothing happened to it between the days.
    """
    if booking.was_booked and booking.is_booked:
        return AMOUNT_CHANGED
    if booking.is_booked:
        return PUSHED if is_elsewhere else WON
    if is_elsewhere:
        return PULLED
    return _UNBOOKED.get(state, CORRECTION)


def causes_of_open_deals(deals: pd.DataFrame) -> np.ndarray:
    """Why each deal is expected to bring another amount: one cause per row.

    `deals`: is_there, stage_key, open_amount, amount_if_won, expected and evidence_on, each of both days
    (_before and _after), state_before, state_after and is_same_amount (nothing where the deal was not touched
    between them). Of two things that changed together, amount and stage, the one that moved more money is the
    cause. Close dates are none: the chances do not look at them.
    """
    was, now = deals["is_there_before"].notna(), deals["is_there_after"].notna()
    is_touched = deals["state_after"].notna()
    stage = was & now & (deals["stage_key_before"] != deals["stage_key_after"])
    amount = was & now & _differs(deals["open_amount_before"], deals["open_amount_after"])
    is_same_amount = deals["is_same_amount"].fillna(False).astype(bool)
    evidence = deals["evidence_on_before"] != deals["evidence_on_after"]
    money = [deals[f"amount_if_won_{when}"].to_numpy(dtype=float) for when in ("before", "after")]
    expected = [deals[f"expected_{when}"].to_numpy(dtype=float) for when in ("before", "after")]
    chance = [
        np.divide(brings, worth, out=np.zeros_like(brings), where=worth > 0)
        for brings, worth in zip(expected, money, strict=True)
    ]
    by_amount = np.abs((chance[0] + chance[1]) / 2 * (money[1] - money[0]))
    by_chance = np.abs((money[0] + money[1]) / 2 * (chance[1] - chance[0]))
    came = (
        deals["state_before"]
        .map(_CAME_FROM)
        .where(deals["state_before"].notna(), other=np.where(is_touched, NEW_DEAL, CORRECTION))
    )
    went = deals["state_after"].map(_LEFT_THE_BOOK)
    return np.select(
        [
            ~was,
            ~now,
            (stage | amount) & ~is_touched,
            stage & ~(amount & (by_amount > by_chance)),
            amount & is_same_amount,
            amount,
            evidence,
        ],
        [
            came.fillna(CORRECTION),
            went.fillna(CORRECTION),
            CORRECTION,
            STAGE_MOVED,
            EXCHANGE_RATE,
            AMOUNT_CHANGED,
            EVIDENCE_CHANGED,
        ],
        default=TIME_PASSED,
    )


def _differs(left: pd.Series, right: pd.Series) -> pd.Series:
    return (left != right) & ~(left.isna() & right.isna())
