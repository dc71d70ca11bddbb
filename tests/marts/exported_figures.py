"""Sales and pipeline figures worked out by pandas from the exported CSV files, without the ledger."""

from __future__ import annotations

import pandas as pd

from tests.marts.simulated_crm import END, Export, business_day, quarter

NONE = "(none)"
AS_OF_DAY = business_day(pd.Series([END - pd.Timedelta(seconds=1)])).iloc[0]


def euros(export: Export, amounts: pd.Series, currencies: pd.Series, days: pd.Series) -> pd.Series:
    """Amounts in euros at the newest weekly rate of each day."""
    rates = export.read("fx_rates", "rate_date").sort_values("rate_date")
    wanted = pd.DataFrame({"currency": currencies, "rate_date": days.astype(rates["rate_date"].dtype)})
    wanted["place"] = range(len(wanted))
    found = pd.merge_asof(wanted.sort_values("rate_date"), rates, on="rate_date", by="currency")
    rate = found.sort_values("place")["rate"].where(found.sort_values("place")["currency"] != "EUR", 1.0)
    return amounts * rate.to_numpy()


def closed_deals(export: Export) -> pd.DataFrame:
    """Won and lost deals that still exist: dated and priced by close date, owned by who closed them."""
    deals = export.deals
    deals = deals[deals["gone_at"].isna() & deals["status"].isin(["won", "lost"])].reset_index(drop=True)
    deals = deals[deals["close_date"] <= AS_OF_DAY]
    rows = export.history
    closing = rows[rows["stage"].str.endswith(("_won", "_lost")) & (rows["from_stage"] != rows["stage"])]
    closer = closing.drop_duplicates("deal_id", keep="last").set_index("deal_id")["owner"]
    owners = export.read("owners").set_index("owner_id")
    closed_by = deals["deal_id"].map(closer).fillna(deals["owner"])
    created_on = business_day(deals["created_at"])
    is_import = deals["created_at"] >= deals["closed_at"]
    cycle = (deals["close_date"] - created_on).dt.days
    return deals.assign(
        period=quarter(deals["close_date"]),
        total="all",
        owner=closed_by.map(owners["name"]),
        team=closed_by.map(owners["team"]),
        product=deals["product"].map(export.read("products").set_index("product_id")["name"]).fillna(NONE),
        euros=euros(export, deals["amount"], deals["currency"], deals["close_date"]),
        cycle=cycle.where((deals["status"] == "won") & ~is_import & (cycle >= 0)),
    )


def performance(deals: pd.DataFrame, segment_type: str) -> pd.DataFrame:
    """Won, lost, rate, cycle and bookings by quarter and member of a segment type (a column of the deals)."""
    won = deals["status"] == "won"
    cells = deals.assign(
        is_won=won, is_lost=~won, won_euros=deals["euros"].where(won), lost_euros=deals["euros"].where(~won)
    ).groupby(["period", segment_type])
    return cells.agg(
        deals_won=("is_won", "sum"),
        deals_lost=("is_lost", "sum"),
        win_rate_count=("is_won", "mean"),
        deals_in_cycle=("cycle", "count"),
        sales_cycle_mean_days=("cycle", "mean"),
        sales_cycle_p25_days=("cycle", lambda days: days.quantile(0.25)),
        sales_cycle_median_days=("cycle", "median"),
        sales_cycle_p90_days=("cycle", lambda days: days.quantile(0.9)),
        won_amount=("won_euros", "sum"),
        lost_amount=("lost_euros", "sum"),
        deals_priced=("won_euros", "count"),
        median_deal_amount=("won_euros", "median"),
    ).rename_axis(["period", "segment"])


def closed_by_product(export: Export, deals: pd.DataFrame, status: str) -> pd.Series:
    """Won or lost euros by quarter and product of the line items; what they leave of a deal is nobody's."""
    closed = deals[(deals["status"] == status) & deals["amount"].notna()]
    lines = export.read("line_items").rename(columns={"product": "product_id", "amount": "line_amount"})
    lines = lines[["deal_id", "product_id", "line_amount"]].merge(closed, on="deal_id")
    names = export.read("products").set_index("product_id")["name"]
    lines["product"] = lines["product_id"].map(names)
    lines["euros"] *= lines["line_amount"] / lines["amount"]
    unlisted = closed[~closed["deal_id"].isin(lines["deal_id"])]
    listed = closed[closed["deal_id"].isin(lines["deal_id"])]
    rest = listed["euros"] - listed["deal_id"].map(lines.groupby("deal_id")["euros"].sum())
    parts = [lines, unlisted, listed.assign(product=NONE, euros=rest)]
    columns = ["period", "product", "euros"]
    return pd.concat([part[columns] for part in parts]).groupby(columns[:2])["euros"].sum()


def open_deals_on(export: Export, day: pd.Timestamp) -> pd.DataFrame:
    """Deals open at the end of a business day, replayed from the history rows, with what was known of each.

    Columns: deal_id, stage, owner, amount, currency, close_date, euros. A creation that the CRM lost is known
    by stage and instant alone: old value, else the record.
    """
    deals, rows = export.deals, export.history
    end = (day + pd.Timedelta(days=1)).tz_localize("Europe/Amsterdam").tz_convert("UTC").tz_localize(None)
    first = rows.drop_duplicates("deal_id").set_index("deal_id")
    created = deals[["deal_id", "stage", "created_at"]].rename(columns={"created_at": "changed_at"})
    created["stage"] = (
        created["deal_id"].map(first["from_stage"].fillna(first["stage"])).fillna(created["stage"])
    )
    created = created.assign(
        sequence=0, currency=created["deal_id"].map(deals.set_index("deal_id")["currency"])
    )
    told = pd.concat([created, rows[[*created.columns, "amount", "close_date", "owner"]]])
    told = told[told["changed_at"] < end].sort_values(["deal_id", "changed_at", "sequence"])
    state = told.drop_duplicates("deal_id", keep="last").reset_index(drop=True)
    gone = set(deals.loc[deals["gone_at"] < end, "deal_id"])
    closed = state["stage"].str.endswith(("_won", "_lost"))
    state = state[~closed & ~state["deal_id"].isin(gone)].reset_index(drop=True)
    days = pd.Series(day, index=state.index)
    return state.assign(euros=euros(export, state["amount"], state["currency"], days))


def pipeline_on(export: Export, day: pd.Timestamp) -> pd.DataFrame:
    """Open deals and euros by stage at the end of a business day."""
    state = open_deals_on(export, day)
    days = pd.Series(day, index=state.index)
    in_quarter = quarter(state["close_date"]) == quarter(days)
    is_late = state["close_date"] < day
    cells = state.assign(
        quarter_euros=state["euros"].where(in_quarter),
        late_euros=state["euros"].where(is_late),
        is_in_quarter=in_quarter,
        is_late=is_late,
        is_unpriced=state["amount"].isna(),
    ).groupby("stage")
    counts = cells.agg(
        deals_open=("deal_id", "size"),
        deals_without_amount=("is_unpriced", "sum"),
        deals_in_quarter=("is_in_quarter", "sum"),
        deals_past_due=("is_late", "sum"),
    )
    # no deals are worth nothing; deals without amount are worth nobody knows what
    money = cells[["euros", "quarter_euros", "late_euros"]].sum(min_count=1)
    for column, deals_in in (("quarter_euros", "deals_in_quarter"), ("late_euros", "deals_past_due")):
        money.loc[counts[deals_in] == 0, column] = 0
    money = money.set_axis(["open_amount", "in_quarter_amount", "past_due_amount"], axis=1)
    return counts.join(money)
