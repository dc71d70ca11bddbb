"""Win rates by segment under settings that are not the default, counted again by pandas from the files.

Only deals that had reached the qualified stage; lost without a decision is left out, "Bad timing" counts as
disqualified (a line of the aliases), and an open deal is lost after five days without a change or activity.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from tests.ledger.ledger_bench import compiled_models
from tests.marts.exported_figures import AS_OF_DAY, closed_deals
from tests.marts.marts_bench import Marts
from tests.marts.simulated_crm import DAY, Simulated, business_day, quarter

QUALIFIED = "Quote"  # a stage of each of the three pipelines, which was moved in one of them
STALE_DAYS = 5
LEFT_OUT = {"No decision", "Bad timing"}
SETTINGS = {
    "qualified_stage": QUALIFIED,
    "win_rate_population": "from_stage",
    "win_rate_no_decision": "excluded",
    "win_rate_stale_days": STALE_DAYS,
}
REBUILT = (
    "stg_run_context",
    "int_lost_deals",
    "fct_rated_deals",
    "int_sales_cells",
    "mart_sales_performance",
)


@pytest.fixture(scope="module")
def told(crm: Simulated, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The mart's quarters by segment_type, period, segment, built anew with the settings in a copy."""
    data = crm.export.folder.parent / "data"
    copy = shutil.copy(data / "warehouse.duckdb", tmp_path_factory.mktemp("settings") / "warehouse.duckdb")
    models = {model.name: model for model in compiled_models(data / "dbt_target", ("staging", "marts"))}
    connection = duckdb.connect(str(copy), config={"threads": 1})
    connection.execute("set TimeZone = 'UTC'")
    for name, value in SETTINGS.items():
        connection.execute(f"update ops.run_context set {name} = ?", [value])
    alias = {"source_relation": "business", "entity": "loss_class", "alias": "Bad timing"}
    connection.execute(
        "insert into staging.stg_aliases by name "
        "select $source_relation as source_relation, $entity as entity, $alias as alias, "
        "'disqualified' as canonical_name",
        alias,
    )
    for name in REBUILT:
        connection.execute(f"create or replace table {models[name].relation} as {models[name].sql}")
    sql = "select * from marts.mart_sales_performance where period_type = 'quarter'"
    rows = Marts(connection).frame(sql).set_index(["segment_type", "period", "segment"])
    connection.close()
    Path(copy).unlink()
    return rows


@pytest.fixture(scope="module")
def sides(crm: Simulated) -> pd.DataFrame:
    """Deals of a win rate by side (won, lost, excluded, stale), with quarter, owner and team."""
    reached = set(crm.reached.loc[crm.reached["target"].str.endswith("_quote"), "deal_id"])
    closed = closed_deals(crm.export)
    is_left_out = ~closed["deal_id"].isin(reached) | closed["lost_reason"].isin(LEFT_OUT)
    closed = closed.assign(side=closed["status"].mask(is_left_out, "excluded"))

    deals = crm.export.deals
    still = deals[deals["gone_at"].isna() & (deals["status"] == "open") & deals["deal_id"].isin(reached)]
    rows = crm.export.history
    values = ["stage", "amount", "currency", "close_date", "owner"]
    before = rows.groupby("deal_id")[values].shift(1)
    is_change = ((rows[values] != before) & ~(rows[values].isna() & before.isna())).any(axis=1)
    changed = rows[is_change].groupby("deal_id")["changed_at"].max()
    signs = pd.concat(
        [
            business_day(still["created_at"]),
            business_day(pd.to_datetime(still["last_activity_at"])),
            business_day(pd.to_datetime(still["deal_id"].map(changed))),
        ],
        axis=1,
    )
    stale_on = signs.max(axis=1) + STALE_DAYS * DAY
    owners = crm.export.read("owners").set_index("owner_id")
    stale = still.assign(
        side="stale",
        period=quarter(stale_on),
        owner=still["owner"].map(owners["name"]),
        team=still["owner"].map(owners["team"]),
    )[stale_on <= AS_OF_DAY]
    columns = ["deal_id", "side", "period", "owner", "team"]
    return pd.concat([closed[columns], stale[columns]]).assign(total="all")


@pytest.mark.parametrize(("segment_type", "at_least"), [("total", 12), ("team", 30), ("owner", 3)])
def test_pandas_counts_the_same_deals_on_each_side_of_the_win_rate(
    told: pd.DataFrame, sides: pd.DataFrame, segment_type: str, at_least: int
) -> None:
    counts = sides.groupby(["period", segment_type, "side"]).size().unstack(fill_value=0)
    found = told.loc[segment_type].reindex(counts.index.set_names(["period", "segment"]))
    counts.index = found.index
    won, decided = counts["won"], counts["won"] + counts["lost"] + counts["stale"]
    assert found["win_rate_count_numerator"].to_dict() == won.to_dict()
    assert found["win_rate_count_denominator"].to_dict() == decided.to_dict()
    assert found["deals_excluded"].to_dict() == counts["excluded"].to_dict()
    assert found["deals_stale_open"].to_dict() == counts["stale"].to_dict()
    assert counts.sum().min() > 20
    enough = decided[decided >= 20].index
    assert len(enough) >= at_least
    np.testing.assert_allclose(found.loc[enough, "win_rate_count"], (won / decided).loc[enough], rtol=1e-12)
    assert found.loc[decided[decided < 20].index, "win_rate_count"].isna().all()
    nobody = told.loc[segment_type].index.difference(counts.index)
    assert not told.loc[segment_type].loc[nobody, "win_rate_count_denominator"].any()
