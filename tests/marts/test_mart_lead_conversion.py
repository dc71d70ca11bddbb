"""How many leads become deals, and when: by hand."""

import pandas as pd
import pytest

from tests.ledger.ledger_bench import Model
from tests.marts.frames_bench import run_on_frames
from tests.marts.waterfall_bench import WaterfallBench

AS_OF = pd.Timestamp("2025-03-31")
QUARTER = ("quarter", "2025Q1")
# Converted, disqualified and won in so many days after the creation.
SEVEN = pd.DataFrame(
    [
        ("a", "web", "2025-01-01", 10, None, 40),
        ("b", "web", "2025-01-01", None, 20, None),
        ("c", "event", "2025-01-01", None, None, None),
        ("d", "event", "2025-02-01", 50, None, None),
        ("e", "event", "2025-03-11", None, None, None),
        ("f", "web", "2025-03-21", 5, None, None),
        ("g", "web", "2025-02-01", 3, None, None),
    ],
    columns=["lead_key", "lead_source", "created_on", "converted", "disqualified", "won"],
)


@pytest.fixture(scope="session")
def models(waterfall_bench: WaterfallBench) -> dict[str, Model]:
    return waterfall_bench.models


def told(models: dict[str, Model], leads: pd.DataFrame, min_sample: int = 1) -> pd.DataFrame:
    """The mart of these leads. D1 came of `a`, then `f`, D2 of `d`; of `g` no day of conversion is known."""
    created = pd.to_datetime(leads["created_on"])
    days = {
        name: pd.to_timedelta(leads[name].astype(float), unit="D") for name in ("converted", "disqualified")
    }
    is_known = leads["lead_key"] != "g"
    status = leads["converted"].notna().map({True: "converted", False: "open"})
    fct_leads = pd.DataFrame(
        {
            "lead_key": leads["lead_key"],
            "lead_source": leads["lead_source"],
            "owner": "(none)",
            "created_on": created,
            "status": status.mask(leads["disqualified"].notna(), "disqualified"),
            "days_to_conversion": leads["converted"].astype("Int64").where(is_known),
            "days_to_won": leads["won"].astype("Int64"),
            "deals_won": leads["won"].notna().astype(int),
            "deals_became": leads["lead_key"].isin(["a", "d", "f"]).astype(int),
            "is_created_unknown": False,
            "conversion_basis": is_known.map({True: "told", False: "last_seen"}),
            "converted_on": created + days["converted"],
            "disqualified_on": created + days["disqualified"],
            "is_deleted": leads.get("is_deleted", False),
            "excluded_by": None,
            "as_of": AS_OF,
        }
    )
    days_of_2025 = pd.date_range("2025-01-01", "2025-12-31")
    calendar = pd.DataFrame({"date_day": days_of_2025, "year_label": "2025"})
    calendar["month_label"] = days_of_2025.strftime("%Y-%m")
    calendar["quarter_label"] = "2025Q" + days_of_2025.quarter.astype(str)
    for kind, code in (("month", "M"), ("quarter", "Q"), ("year", "Y")):
        periods = days_of_2025.to_period(code)
        calendar[f"{kind}_start_on"] = periods.start_time
        calendar[f"{kind}_end_on"] = periods.end_time.normalize()
    parents = {
        "stg_run_context": pd.DataFrame(
            {"min_sample": [min_sample], "min_sample_median": [1], "definition_version": ["default"]}
        ),
        "fct_leads": fct_leads,
        "dim_date": calendar,
        "bridge_lead_deal": pd.DataFrame(
            {"lead_key": ["a", "f", "d"], "deal_key": ["D1", "D1", "D2"], "lead_number": [1, 2, 1]}
        ),
        "fct_deals": pd.DataFrame(
            {
                "deal_key": ["D1", "D2"],
                "status": ["won", "open"],
                "won_on": [pd.Timestamp("2025-02-10"), pd.NaT],
                "amount_base": [1000, 70],
                "is_deleted": False,
                "excluded_by": None,
                "as_of": AS_OF,
            }
        ),
    }
    rows = run_on_frames(models, ["mart_lead_conversion"], parents)
    return rows.set_index(["period_type", "period", "segment", "horizon"]).sort_index()


def test_seven_leads_by_hand(models: dict[str, Model]) -> None:
    """At least 30 days old are a, b, c and d, of which a converted within 30; 60 days old are a, b and c.

    Incidence of the six with known days: 1/6 on day 5; 5/6 x 1/5 more on day 10; b is disqualified on day 20,
    when e is 20 days old and open; on day 50 one of the two left (4/6 x 3/4 x 1/2 = 1/4) makes it 7/12.
    """
    rows = told(models, SEVEN).loc[(*QUARTER, "all")]
    counts = [
        "leads_created",
        "leads_converted",
        "leads_without_deal",
        "leads_disqualified",
        "leads_open",
        "leads_won",
        "leads_left_out",
    ]
    assert rows.loc["30d", counts].tolist() == [7, 4, 1, 1, 2, 1, 1]
    assert rows.loc["30d", ["conversion_numerator", "conversion_denominator", "won_numerator"]].tolist() == [
        1,
        4,
        0,
    ]
    assert rows.loc["60d", ["conversion_numerator", "conversion_denominator", "won_numerator"]].tolist() == [
        1,
        3,
        1,
    ]
    assert rows["conversion_rate"][["30d", "60d", "to_date"]].tolist() == [1 / 4, 1 / 3, 4 / 7]
    assert rows["won_rate"][["30d", "60d", "to_date"]].tolist() == [0, 1 / 3, 1 / 7]
    assert rows["matured_share"][["30d", "60d", "to_date"]].tolist() == [4 / 7, 3 / 7, 5 / 7]
    assert rows["conversion_incidence"][["30d", "60d"]].tolist() == pytest.approx([1 / 3, 7 / 12])
    assert rows["leads_at_risk"][["30d", "60d"]].tolist() == [2, 1]
    assert rows["conversion_incidence"][["90d", "to_date"]].isna().all()
    assert rows["median_days"].unique().tolist() == [50]
    # 5, 10 and 50 days: nine tenths of the way lie four fifths between the last two
    assert rows.loc[
        "30d", ["completed_median_days", "completed_p90_days", "completed_median_days_to_won"]
    ].tolist() == (pytest.approx([10, 42, 40]))


def test_a_deal_of_two_leads_counts_once_so_sources_add_up(models: dict[str, Model]) -> None:
    rows = told(models, SEVEN).xs((*QUARTER, "30d"), level=("period_type", "period", "horizon"))
    figures = rows.query("segment_type != 'owner'")[["deals_from_leads", "deals_won", "won_amount"]]
    assert figures.loc["all"].tolist() == [2, 1, 1000]
    assert figures.loc["web"].tolist() == [1, 1, 1000]
    assert figures.loc["event"].fillna(0).tolist() == [1, 0, 0]


def test_deleted_leads_are_left_out_and_those_older_than_the_calendar_are_in_all_alone(
    models: dict[str, Model],
) -> None:
    leads = SEVEN.assign(is_deleted=SEVEN["lead_key"] == "c")
    leads.loc[0, "created_on"] = "2023-05-01"
    rows = told(models, leads)["leads_created"].xs("to_date", level="horizon")
    assert rows.index.get_level_values("period").notna().all()
    assert rows[(*QUARTER, "all")] == 5
    assert rows[("all", "all", "all")] == 6


def test_a_source_that_differs_by_more_than_chance_says_so_and_a_small_one_has_no_rate(
    models: dict[str, Model],
) -> None:
    """50 of 100 against 20 of 100; of three leads nothing can be said."""
    sizes = (("web", 100, 50), ("event", 100, 20), ("fair", 3, 3))
    rows = [
        (f"{source} {n}", source, "2025-01-01", 5 if n < converted else None, None, None)
        for source, count, converted in sizes
        for n in range(count)
    ]
    leads = pd.DataFrame(rows, columns=SEVEN.columns)
    found = told(models, leads, min_sample=20).loc[QUARTER].xs("30d", level="horizon")
    found = found[found["segment_type"] == "source"]
    assert found["differs_from_total"].to_dict()["web"] is True
    assert found["differs_from_total"].to_dict()["event"] is True
    assert pd.isna(found.loc["fair", "conversion_rate"])
    assert pd.isna(found.loc["fair", "differs_from_total"])
    assert found["sample_too_small"].to_dict() == {"event": False, "fair": True, "web": False}
