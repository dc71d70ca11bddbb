"""Charts of forecasts: what stands in them, in numbers for people, and small enough to be kept with a run."""

import base64
import json
from datetime import date
from typing import Any

import pandas as pd
import pytest

from dagster_project.charts import chart_images
from dagster_project.charts.chart_images import NO_CHART, chart_markdown, svg_of
from dagster_project.charts.chart_spec import Spec, unit_of
from dagster_project.charts.forecast_change_chart import waterfall_chart, waterfall_steps
from dagster_project.charts.forecast_charts import (
    accuracy_chart,
    accuracy_points,
    calibration_chart,
    fan_chart,
)

MAY_13 = date(2025, 5, 13)


def bookings() -> pd.DataFrame:
    rows = [
        ("2025Q2", 0, 1.2e6, 4.0e6, 5.0e6, 6.5e6),
        ("2025Q3", 1, 0.0, 3.0e6, 4.5e6, 7.0e6),
    ]
    frame = pd.DataFrame(rows, columns=["period", "quarter_offset", "already_won", "p10", "p50", "p90"])
    return frame.assign(as_of=pd.Timestamp(MAY_13), currency="EUR")


def booked() -> pd.DataFrame:
    labels = [f"{year}Q{quarter}" for year in (2022, 2023, 2024) for quarter in (1, 2, 3, 4)]
    return pd.DataFrame({"period": [*labels, "2025Q1"], "actual": [1e6 * number for number in range(1, 14)]})


def values(spec: Spec, place: int) -> list[dict[str, Any]]:
    return spec["layer"][place]["data"]["values"]


def steps_of(rows: list[tuple[str, str, str, float]], before: float = 1000.0) -> pd.DataFrame:
    changes = pd.DataFrame(rows, columns=["deal_key", "part", "cause", "delta"])
    return waterfall_steps(changes, before, {"a": "Alpha", "b": "Beta"})


def test_the_fan_shows_eight_past_quarters_and_every_range_in_millions() -> None:
    spec = fan_chart(bookings(), booked())
    past, ahead = values(spec, 0), values(spec, 1)
    assert [row["quarter"] for row in past] == [
        "2023Q2", "2023Q3", "2023Q4", "2024Q1", "2024Q2", "2024Q3", "2024Q4", "2025Q1",
    ]  # fmt: skip
    assert past[-1]["booked"] == 13.0
    assert [(row["label"], row["range"], row["won"]) for row in ahead] == [
        ("5.0", "4.0–6.5", 1.2),
        ("4.5", "3.0–7.0", 0.0),
    ]
    assert spec["title"]["text"] == "Bookings per quarter: booked (grey) and forecast on 13 May 2025 (blue)"
    assert spec["layer"][0]["encoding"]["y"]["axis"]["title"] == "EUR million"


def test_the_fan_of_a_young_business_has_no_past() -> None:
    assert values(fan_chart(bookings(), booked().head(0)), 0) == []


def backtest() -> pd.DataFrame:
    """Two early origins with both methods, one without a baseline, and one of the next quarter."""
    rows = [
        ("2025-01-05", "this quarter, early", True, False, 110.0, 100.0),
        ("2025-01-05", "this quarter, early", False, True, 80.0, 100.0),
        ("2025-01-12", "this quarter, early", True, True, 90.0, 100.0),
        ("2025-01-19", "this quarter, early", True, False, 500.0, 100.0),
        ("2025-01-05", "quarter+1", True, False, 100.0, 100.0),
        ("2025-01-05", "quarter+1", False, True, 100.0, 100.0),
    ]
    names = ["origin", "horizon", "is_served", "is_best_baseline", "forecast", "actual"]
    return pd.DataFrame(rows, columns=names).assign(period="2025Q1")


def test_errors_are_compared_on_the_origins_that_both_methods_have() -> None:
    points = accuracy_points(backtest()).set_index("horizon")
    # Served: 10 + 10 of 200 booked; baseline: 20 + 10 of 200; the origin of 500 has no baseline.
    early = points.loc["this quarter, early"]
    assert (early["origins"], early["served"], early["baseline"]) == pytest.approx((2, 0.1, 0.15))
    assert list(points.index) == ["this quarter, early", "quarter+1"]


def test_the_chart_of_errors_says_both_numbers_in_words() -> None:
    spec = accuracy_chart(backtest())
    assert spec is not None
    assert values(spec, 3)[0]["label"] == "10% against 15% (2 forecasts)"
    assert accuracy_chart(backtest().head(0)) is None


def calibration() -> pd.DataFrame:
    rows = [(1, 10, 2.0, 1, 200_000.0, 100_000.0), (2, 10, 8.0, 9, 2_800_000.0, 2_900_000.0)]
    names = ["decile", "deals", "predicted_wins", "actual_wins", "predicted_amount", "actual_amount"]
    origins = {"first_origin": pd.Timestamp(2024, 1, 16), "last_origin": pd.Timestamp(2025, 3, 16)}
    return pd.DataFrame(rows, columns=names).assign(currency="EUR", **origins)


def test_calibration_is_shown_by_deals_and_by_amount() -> None:
    spec = calibration_chart(calibration())
    assert spec is not None
    by_deals, by_amount = spec["hconcat"]
    assert values(by_deals, 1) == [{"predicted": 0.2, "actual": 0.1}, {"predicted": 0.8, "actual": 0.9}]
    assert values(by_amount, 1) == [{"predicted": 0.2, "actual": 0.1}, {"predicted": 2.8, "actual": 2.9}]
    assert by_deals["title"]["text"] == "By deals: 1.00 won per win predicted"
    assert by_amount["title"]["text"] == "By amount: 1.00 booked per 1.00 predicted"
    assert spec["title"]["text"].startswith("Do the chances hold? 20 open deals of past quarters, 10 won")


def test_the_waterfall_leads_from_the_forecast_before_to_this_one() -> None:
    steps = steps_of(
        [
            ("a", "already_won", "won", 500.0),
            ("a", "open_expected", "won", -200.0),
            ("b", "open_expected", "lost", -100.0),
            ("(none)", "not_yet_created_expected", "time passed", -40.0),
        ]
    )
    assert list(steps[["label", "before", "after"]].itertuples(index=False, name=None)) == [
        ("forecast before", 1000.0, 1000.0),
        ("won: Alpha", 1000.0, 1300.0),
        ("lost: Beta", 1300.0, 1200.0),
        ("time passed: deals not yet created", 1200.0, 1160.0),
        ("forecast now", 1160.0, 1160.0),
    ]


def test_beyond_eight_deals_the_waterfall_tells_causes() -> None:
    rows = [(f"d{place}", "open_expected", "lost", -100.0 - place) for place in range(8)]
    rows += [("x", "open_expected", "time passed", -1.0), ("y", "open_expected", "time passed", -2.0)]
    labels = list(steps_of([*rows, ("z", "open_expected", "new deal", 4.0)])["label"])
    assert labels[1:9] == [f"lost: d{place}" for place in reversed(range(8))]
    assert labels[9:] == ["new deal: 1 other deal", "time passed: 2 other deals", "forecast now"]


def test_what_is_too_small_to_be_seen_is_in_the_sum_and_no_bar() -> None:
    steps = steps_of(
        [("a", "open_expected", "lost", -5000.0), ("(none)", "open_expected", "rounding", 0.002)], 9000.0
    )
    assert list(steps["delta"]) == [0.0, -5000.0, 0.002, 0.0]
    assert steps["after"].iloc[-1] == pytest.approx(4000.002, abs=1e-6)
    spec = waterfall_chart(steps, "EUR", "2025Q2", date(2025, 5, 12), MAY_13)
    drawn = ["forecast before", "lost: Alpha", "forecast now"]
    assert [row["step"] for row in values(spec, 2)] == drawn


def test_two_deals_of_one_name_are_two_steps() -> None:
    changes = pd.DataFrame(
        [("a", "open_expected", "lost", -9.0), ("b", "open_expected", "lost", -8.0)],
        columns=["deal_key", "part", "cause", "delta"],
    )
    steps = waterfall_steps(changes, 100.0, {"a": "Renewal", "b": "Renewal"})
    assert list(steps["label"][1:3]) == ["lost: Renewal", "lost: Renewal (2)"]


def test_gains_are_blue_and_losses_orange_with_their_sign() -> None:
    steps = steps_of([("a", "open_expected", "new deal", 30e3), ("b", "open_expected", "lost", -45e3)], 2.5e6)
    spec = waterfall_chart(steps, "EUR", "2025Q2", date(2025, 5, 12), MAY_13)
    assert {row["step"]: (row["kind"], row["label"]) for row in values(spec, 2)} == {
        "forecast before": ("total", "2.50"),
        "lost: Beta": ("down", "-45.0"),
        "new deal: Alpha": ("up", "+30.0"),
        "forecast now": ("total", "2.48"),
    }


@pytest.mark.parametrize(
    ("top", "unit"), [(1_999, (1.0, "")), (2_000, (1e3, " thousand")), (-3e9, (1e9, " billion"))]
)
def test_amounts_are_told_in_a_unit_that_leaves_one_digit_at_least(top: float, unit: tuple) -> None:
    assert unit_of(top) == unit


def all_charts() -> dict[str, Spec]:
    steps = steps_of([("a", "open_expected", "lost", -100.0)])
    charts = {
        "fan": fan_chart(bookings(), booked()),
        "accuracy": accuracy_chart(backtest()),
        "calibration": calibration_chart(calibration()),
        "waterfall": waterfall_chart(steps, "EUR", "2025Q2", date(2025, 5, 12), MAY_13),
    }
    return {name: spec for name, spec in charts.items() if spec is not None}


@pytest.mark.parametrize("name", ["fan", "accuracy", "calibration", "waterfall"])
def test_every_chart_is_drawn_without_network_and_stays_small(name: str) -> None:
    spec = all_charts()[name]
    text = chart_markdown(spec, "what is seen")
    assert text.startswith("![what is seen](data:image/svg+xml;base64,") and text.endswith(")")
    picture = base64.b64decode(text.split("base64,")[1][:-1]).decode()
    assert spec["title"]["text"].split(":")[0].split("?")[0] in picture
    assert 3_000 < len(text) < 60_000
    assert 'href="http' not in picture and "url(http" not in picture


def test_the_same_rows_are_the_same_picture() -> None:
    assert json.dumps(all_charts()) == json.dumps(all_charts())
    assert svg_of(all_charts()["fan"]) == svg_of(all_charts()["fan"])


def test_names_from_a_crm_cannot_break_out_of_a_picture() -> None:
    changes = pd.DataFrame(
        [("a", "open_expected", "lost", -9.0)], columns=["deal_key", "part", "cause", "delta"]
    )
    steps = waterfall_steps(changes, 100.0, {"a": "<script>x</script>&"})
    picture = svg_of(waterfall_chart(steps, "EUR", "2025Q2", date(2025, 5, 12), MAY_13))
    assert "<script" not in picture


def test_a_long_name_is_cut() -> None:
    changes = pd.DataFrame(
        [("a", "open_expected", "lost", -9.0)], columns=["deal_key", "part", "cause", "delta"]
    )
    assert waterfall_steps(changes, 100.0, {"a": "x" * 40})["label"][1] == "lost: " + "x" * 33 + "…"


def test_what_cannot_be_drawn_is_a_sentence_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chart_markdown(None, "nothing") == NO_CHART
    assert chart_markdown({"mark": 7}, "broken").startswith("the chart could not be drawn: ")
    assert chart_markdown(all_charts()["fan"], "many", days=32) == "not drawn in a run of more than 31 days"
    monkeypatch.setattr(chart_images, "MOST_BYTES", 1_000)
    assert chart_markdown(all_charts()["fan"], "big").startswith("the chart is too large to be kept")
