"""Deals to look at today: short lists, the largest stakes first, with the reason in words."""

from collections.abc import Callable

from dagster_project.report.blocks import Choice, Column, Section, Shown, Table, Words, nothing
from dagster_project.report.blocks import Sentence as Remark
from dagster_project.report.page_context import PageContext
from dagster_project.report.published import Row
from dagster_project.report.slices import Slice
from dagster_project.report.words import count, money

HEALTH = "mart_deal_health"
MOST_DEALS, MOST_DEALS_OF_A_PART = 25, 10
LISTS: dict[str, tuple[str, Callable[[Row], bool], str]] = {
    "today": ("Look at today", lambda row: row["worklist"] == "look_at_today", "No deal needs a look today."),
    "slipped": (
        "Pushed often",
        lambda row: bool(row["is_pushed_often"]) and row["worklist"] != "propose_to_close",
        "No close date was moved three times or more.",
    ),
    "stalled": ("Stalled", lambda row: row["pace"] == "stalled", "No deal is stalled."),
    "overdue": ("Past due", lambda row: bool(row["is_past_due"]), "No close date has passed."),
    "dead": (
        "Dead: close or revive",
        lambda row: row["worklist"] == "propose_to_close",
        "No deal is dead by its pace.",
    ),
}


def deal_section(context: PageContext) -> Section:
    """The section, for every slice; a page without names tells numbers alone."""
    title, question = "Deals to look at today", "Where does a word with the customer change the most?"
    if not context.edition.has_names:
        return Section(4, title, question, [_counted(context, part) for part in context.edition.slices])
    parts = []
    for part in context.edition.slices:
        rows = part.own_deals(context.marts.health)
        for key, (label, belongs, none) in LISTS.items():
            own = sorted((row for row in rows if belongs(row)), key=_order)
            most = MOST_DEALS if part == context.edition.base else MOST_DEALS_OF_A_PART
            block = _table(key, label, own, most, context.currency) if own else nothing(none)
            parts.append(Shown(block, context.when(part, deals=key)))
    has_chances = any(row["stake"] is not None for row in context.marts.health)
    order = (
        "Order: amount, times how open the outcome still is (4 × p × (1 - p), p the chance that the deal is "
        "ever won), so that large undecided deals come first."
        if has_chances
        else "Order: amount. There is no forecast of single deals to weigh it with."
    )
    parts.append(Shown(Words((Remark("", order, [f"{HEALTH}.worklist"]),))))
    lists = Choice("deals", "List", [(key, label) for key, (label, *_) in LISTS.items()])
    return Section(4, title, question, parts, [lists])


def _order(row: Row) -> tuple:
    return (-(row["stake"] or 0), -float(row["deal_amount"] or 0), row["deal_key"])


def _table(key: str, label: str, rows: list[Row], most: int, currency: str) -> Table:
    amount = sum(float(row["deal_amount"] or 0) for row in rows)
    worth = f", {money(amount, currency)}" if amount else ""
    return Table(
        f"deals-{key}",
        f"{label}: {count(len(rows))} {'deal' if len(rows) == 1 else 'deals'}{worth}",
        [
            Column("deal_name", "Deal", link="deal_url"),
            Column("deal_amount", f"Amount ({currency})", "amount", f"{HEALTH}.deal_amount"),
            Column("p_win_ever", "Chance to win", "share", "forecast_deals.p_win_ever"),
            Column("stage", "Stage"),
            Column("owner", "Owner"),
            Column("close_date", "Close date", "date", f"{HEALTH}.close_date"),
            Column("reason_text", "Why", source=f"{HEALTH}.reason_text"),
            Column("next_best_fix", "What to do", source=f"{HEALTH}.next_best_fix"),
        ],
        rows[:most],
        HEALTH,
        f"The first {most} of {len(rows):,}." if len(rows) > most else "",
    )


def _counted(context: PageContext, part: Slice) -> Shown:
    rows = part.own_deals(context.marts.health)
    counted = []
    for label, belongs, _ in LISTS.values():
        own = [row for row in rows if belongs(row)]
        amount = sum(float(row["deal_amount"] or 0) for row in own)
        counted.append({"list": label, "deals": len(own), "amount": amount or None})
    table = Table(
        "deals",
        "How many deals need a look",
        [
            Column("list", "List", source=f"{HEALTH}.worklist"),
            Column("deals", "Deals", "count"),
            Column("amount", f"Amount ({context.currency})", "amount", f"{HEALTH}.deal_amount"),
        ],
        counted,
        HEALTH,
        "A deal can be on several lists. This edition names no deals.",
    )
    return Shown(table, context.when(part))
