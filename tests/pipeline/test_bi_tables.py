"""What a point-and-click BI tool finds in the published file: sums that are right without filter or join."""

from collections.abc import Iterator

import duckdb
import pandas as pd
import pytest

from tests.pipeline.nightly_bench import AS_OF, Business, published

pytestmark = pytest.mark.slow

WIDE = ("bi_deals", "bi_transitions", "bi_pipeline_weekly")
# Marts that hold totals and segments in one table; mart_bottlenecks ranks its rows against each other.
LONG_MARTS = {
    "mart_sales_performance": ("deals_created", "deals_won", "deals_lost", "won_amount"),
    "mart_pipeline_waterfall": ("start_amount", "end_amount", "won_amount", "deals_start", "deals_won"),
    "mart_stage_conversion": ("conversion_numerator", "conversion_denominator", "deals_backward"),
    "mart_stage_durations": ("visits_completed", "visits_open"),
    "mart_win_rate_cohorts": ("deals_in_cohort", "deals_won", "deals_open"),
    "mart_pipeline_coverage": ("won_amount", "deals_open", "open_amount"),
    "mart_bookings_pacing": ("deals_won", "won_amount"),
    "mart_pipeline_generation": ("deals_generated", "as_created_amount"),
    "mart_close_date_slippage": ("deals_start", "deals_start_slipped"),
    "mart_loss_reasons": ("deals_lost", "lost_amount"),
    "mart_forecast_category_daily": ("deals", "category_amount"),
}
# What a deal lost of a product that was not its own one has no row there, as no deal is counted.
OWN_RULES = {("mart_loss_reasons", "product")}


@pytest.fixture(scope="module")
def file(business: Business) -> Iterator[duckdb.DuckDBPyConnection]:
    with published(business.settings()) as connection:
        yield connection


@pytest.fixture(scope="module")
def exported(business: Business) -> pd.DataFrame:
    """The deals of the export that are there, with the names behind their ids, by pandas alone."""

    def names(table: str, key: str, name: str) -> dict[str, str]:
        rows = pd.read_csv(business.export / f"{table}.csv", dtype=str)
        return dict(zip(rows[key], rows[name], strict=True))

    deals = pd.read_csv(business.export / "deals.csv", dtype=str)
    deals = deals[deals["Deleted At"].isna() & deals["Merged Into"].isna()]
    told = {
        "deal_id": deals["Deal ID"],
        "status": deals["Status"],
        "pipeline": deals["Pipeline"].map(names("pipelines", "Pipeline ID", "Pipeline Name")),
        "stage": deals["Deal Stage"].map(names("stages", "Stage ID", "Stage Name")),
        "current_owner": deals["Owner ID"].map(names("owners", "User ID", "Full Name")),
        "account": deals["Company ID"].map(names("accounts", "Company ID", "Company Name")).fillna("(none)"),
        "product": deals["Main Product"]
        .map(names("products", "Product Code", "Product Name"))
        .fillna("(none)"),
        "lead_source": deals["Lead Source"].fillna("(none)"),
        "close_date": deals["Close Date"],
        "amount_native": pd.to_numeric(deals["Amount"]),
    }
    return pd.DataFrame(told).sort_values("deal_id").reset_index(drop=True)


def views(file: duckdb.DuckDBPyConnection) -> set[str]:
    return {
        name for (name,) in file.execute("select view_name from duckdb_views() where not internal").fetchall()
    }


def columns(file: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    return {name for name, *_ in file.execute(f"describe {table}").fetchall()}


def segment_types(file: duckdb.DuckDBPyConnection, mart: str) -> list[str]:
    rows = file.execute(f"select distinct segment_type from {mart} where segment_type <> 'total'").fetchall()
    return sorted(name for (name,) in rows)


def test_the_wide_deals_are_those_of_the_export_with_names_for_ids(
    file: duckdb.DuckDBPyConnection, exported: pd.DataFrame
) -> None:
    found = file.execute(f"select {', '.join(exported.columns)} from bi_deals order by deal_id").df()
    found["close_date"] = found["close_date"].dt.strftime("%Y-%m-%d")
    found["amount_native"] = found["amount_native"].astype(float)
    pd.testing.assert_frame_equal(found, exported, check_dtype=False)


def test_the_team_of_a_deal_is_that_of_its_owner(file: duckdb.DuckDBPyConnection, business: Business) -> None:
    owners = pd.read_csv(business.export / "owners.csv", dtype=str)
    told = set(zip(owners["Full Name"], owners["Team"], owners["Manager"], strict=True))
    for table, names in (("bi_deals", "owner, team, manager"), ("bi_transitions", "owner, team, null")):
        found = set(file.execute(f"select distinct {names} from {table} where owner <> '(none)'").fetchall())
        assert len(found) > 10
        assert found <= told | {(owner, team, None) for owner, team, _ in told}, table


def test_a_plain_sum_of_deals_is_what_the_marts_say(file: duckdb.DuckDBPyConnection) -> None:
    performance = file.execute(
        "select period, deals_won, deals_lost, coalesce(won_amount, 0), coalesce(lost_amount, 0) "
        "from mart_sales_performance where period_type = 'quarter' and segment_type = 'total' "
        "and deals_won + deals_lost > 0 order by all"
    ).fetchall()
    assert len(performance) > 8
    assert (
        performance
        == file.execute(
            "select outcome_quarter, sum(deals_won), sum(deals_lost), coalesce(sum(won_amount), 0), "
            "coalesce(sum(lost_amount), 0) from bi_deals where outcome_quarter is not null group by 1 "
            "having sum(deals_won + deals_lost) > 0 order by all"
        ).fetchall()
    )
    created = file.execute(
        "select period, deals_created from mart_sales_performance "
        "where period_type = 'quarter' and segment_type = 'total' and deals_created > 0 order by all"
    ).fetchall()
    assert (
        created
        == file.execute(
            "select started_quarter, sum(deals_created) from bi_deals group by 1 order by all"
        ).fetchall()
    )


def test_a_plain_sum_of_open_deals_is_the_pipeline_of_the_day(file: duckdb.DuckDBPyConnection) -> None:
    daily = (
        "select stage_key, sum(deals_open), sum(open_amount) from mart_pipeline_daily "
        f"where period_start = date '{AS_OF}' and deals_open > 0 group by 1 order by all"
    )
    told = file.execute(daily).fetchall()
    assert len(told) > 5
    for table, condition in (("bi_deals", "deals_open = 1"), ("bi_pipeline_weekly", "is_newest")):
        assert (
            told
            == file.execute(
                f"select stage_key, sum(deals_open), coalesce(sum(open_amount), 0) from {table} "
                f"where {condition} group by 1 order by all"
            ).fetchall()
        )


def test_each_week_adds_up_to_the_pipeline_of_its_last_evening(file: duckdb.DuckDBPyConnection) -> None:
    weeks = file.execute(
        "select snapshot_on, pipeline, sum(deals_open), coalesce(sum(open_amount), 0) "
        "from bi_pipeline_weekly where not is_newest "
        "and snapshot_on >= (select min(period_start) from mart_pipeline_daily) group by all order by all"
    ).fetchall()
    assert len({day for day, *_ in weeks}) >= 4
    daily = file.execute(
        "select period_start, pipeline, sum(deals_open), sum(coalesce(open_amount, 0)) "
        "from mart_pipeline_daily join dim_date on period_start = date_day "
        "where period_start = week_end_on and deals_open > 0 group by all order by all"
    ).fetchall()
    assert weeks == daily
    evenings = "select count(distinct snapshot_on) as evenings from bi_pipeline_weekly group by week_end_on"
    assert file.execute(f"select distinct evenings from ({evenings})").fetchall() == [(1,)]


def test_every_deal_has_one_current_transition_and_it_leads_to_where_the_deal_is(
    file: duckdb.DuckDBPyConnection,
) -> None:
    current = (
        "select deal_key, to_stage, to_stage_sort, pipeline from bi_transitions where is_current order by all"
    )
    standing = "select deal_key, stage, stage_sort, pipeline from bi_deals order by all"
    assert file.execute(current).fetchall() == file.execute(standing).fetchall()
    won, lost = file.execute(
        "select sum(transitions_won), sum(transitions_lost) from bi_transitions"
    ).fetchone()
    # one that was won at once is an entry; one that was reopened was lost before
    assert won >= 0.9 * file.execute("select sum(deals_won) from bi_deals").fetchone()[0] > 50
    assert lost >= 0.9 * file.execute("select sum(deals_lost) from bi_deals").fetchone()[0] > 50


@pytest.mark.parametrize("table", WIDE)
def test_a_wide_table_says_who_may_see_a_row_and_sorts_each_label_by_one_number(
    file: duckdb.DuckDBPyConnection, table: str
) -> None:
    hidden = f"select count(*) from {table} where owner_key is null or team_key is null"
    assert file.execute(hidden).fetchall() == [(0,)]
    sorts = [name for name in columns(file, table) if name.endswith("_sort")]
    assert sorts
    for name in sorts:
        label = name.removesuffix("_sort")
        doubtful = (
            f"select {label} from {table} group by 1 "
            f"having count(distinct {name}) > 1 or count({label}) > count({name})"
        )
        assert file.execute(doubtful).fetchall() == [], name


@pytest.mark.parametrize("mart", LONG_MARTS)
def test_each_segment_type_of_a_long_mart_has_a_view_that_adds_up_to_the_total(
    file: duckdb.DuckDBPyConnection, mart: str
) -> None:
    found = segment_types(file, mart)
    assert found
    there = views(file)
    assert {name for name in there if name.startswith(f"{mart}_")} == {
        f"{mart}_total",
        *(f"{mart}_by_{name}" for name in found),
    }
    stage = ", stage_key" if "stage_key" in columns(file, f"{mart}_total") else ""
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in LONG_MARTS[mart])

    def told(view: str, periods: str) -> list[tuple[object, ...]]:
        """Sums by period (of `periods`) and stage; where nothing is, one table has a zero and one no row."""
        rows = file.execute(
            f"select period{stage}, {sums} from {view} where period in (select period from {periods}) "
            "group by all order by all"
        ).fetchall()
        return [row for row in rows if any(row[-len(LONG_MARTS[mart]) :])]

    for name in found:
        view = f"{mart}_by_{name}"
        assert not {"segment_type", "segment", "period_type"} & columns(file, view)
        added = told(view, view)
        assert added
        if (mart, name) not in OWN_RULES:
            assert added == told(f"{mart}_total", view), name


def test_the_key_beside_a_name_leads_to_the_member_of_that_name(file: duckdb.DuckDBPyConnection) -> None:
    for name in ("owner", "team", "product", "account", "pipeline"):
        view = f"mart_sales_performance_by_{name}"
        rows, matched = file.execute(
            f"select count(*), count(case when members.{name} = told.{name} then 1 end) from {view} as told "
            f"left join dim_{name} as members using ({name}_key)"
        ).fetchone()
        assert rows == matched > 0, name
    strangers = (
        "select count(*) from mart_sales_performance_by_owner as told join dim_owner as members "
        "using (owner_key) where told.team_key <> members.team_key"
    )
    assert file.execute(strangers).fetchall() == [(0,)]


def test_a_date_has_a_calendar_of_its_own_in_each_role(file: duckdb.DuckDBPyConnection) -> None:
    days = file.execute("select date_day, quarter_label from dim_date order by all").fetchall()
    for role in ("created", "close", "closed"):
        names = {name for name, *_ in file.execute(f"describe dim_date_{role}").fetchall()}
        assert names == {f"{role}_{name}" for name in columns(file, "dim_date")}
        asked = f"select {role}_date_day, {role}_quarter_label from dim_date_{role} order by all"
        assert file.execute(asked).fetchall() == days


def test_everything_in_the_file_says_what_it_is(file: duckdb.DuckDBPyConnection) -> None:
    silent = file.execute(
        "select table_name, column_name from duckdb_columns() "
        "where not internal and coalesce(comment, '') = ''"
    ).fetchall()
    assert silent == []
    for kind, name in (("tables", "table_name"), ("views", "view_name")):
        wrong = file.execute(
            f"select {name} from duckdb_{kind}() "
            "where not internal and coalesce(comment, '') not like 'One row per %'"
        ).fetchall()
        assert wrong == []


def test_the_newest_row_of_an_owners_history_is_the_owner(file: duckdb.DuckDBPyConnection) -> None:
    names = "owner_key, source_relation, owner_id, owner, team_key, team, manager, region, is_active"
    newest = f"select {names} from dim_owner_history where is_newest order by all"
    assert (
        file.execute(newest).fetchall()
        == file.execute(f"select {names} from dim_owner order by all").fetchall()
    )
