"""The choice of the served method: least error on shared completed origins, and readable fallbacks."""

import numpy as np
import pytest

from dagster_project.forecast.gate import CHOSEN, FALLBACK, NO_EVIDENCE, Maturity, choose

GROWN_UP = Maturity(won_deals=100, history_days=700, mean_cycle_days=50.0)
ACTUAL = np.array([100.0, 100.0, 200.0, 200.0])
NAN = float("nan")


def test_the_method_with_the_least_weighted_error_is_served() -> None:
    completed = {
        "run_rate": np.array([90.0, 110.0, 150.0, 250.0]),  # errors 10, 10, 50, 50: WAPE 120 / 600
        "yield": np.array([70.0, 130.0, 190.0, 210.0]),  # errors 30, 30, 10, 10: WAPE 80 / 600
    }
    choice = choose(completed, ACTUAL, ["run_rate", "yield"], GROWN_UP)
    assert (choice.method, choice.status, choice.origins) == ("yield", CHOSEN, 4)
    assert choice.wape == pytest.approx(80 / 600, abs=0.0005)
    assert choice.reason == "yield erred least: WAPE 0.13 over 4 completed origins; next run rate 0.20"
    assert choice.fallback_reason is None


def test_of_two_that_err_alike_the_simpler_is_served() -> None:
    same = np.array([90.0, 110.0, 190.0, 210.0])
    mirrored = 2 * ACTUAL - same
    choice = choose(
        {"stage_share": same, "run_rate": mirrored}, ACTUAL, ["stage_share", "run_rate"], GROWN_UP
    )
    assert choice.method == "run_rate"


def test_methods_are_compared_on_the_origins_they_share() -> None:
    # Over its own three origins run rate is off by 210 of 500; where yield exists too it is perfect.
    completed = {
        "run_rate": np.array([310.0, 100.0, 200.0, 200.0]),
        "yield": np.array([NAN, 101.0, 201.0, 201.0]),
    }
    choice = choose(completed, ACTUAL, ["run_rate", "yield"], GROWN_UP)
    assert (choice.method, choice.origins) == ("run_rate", 3)


def test_a_newcomer_with_less_than_half_the_origins_is_not_compared() -> None:
    actual = np.full(8, 100.0)
    completed = {"run_rate": np.full(8, 120.0), "yield": np.array([NAN] * 5 + [100.0] * 3)}
    choice = choose(completed, actual, ["run_rate", "yield"], GROWN_UP)
    assert (choice.method, choice.origins) == ("run_rate", 8)


def test_a_method_without_an_answer_today_cannot_be_served() -> None:
    completed = {"run_rate": ACTUAL * 1.5, "yield": ACTUAL}
    assert choose(completed, ACTUAL, ["run_rate"], GROWN_UP).method == "run_rate"


@pytest.mark.parametrize(
    ("maturity", "reason"),
    [
        (Maturity(29, 700, 50.0), "29 won deals on record (30 needed); yield stands in"),
        (
            Maturity(100, 90, 50.0),
            "90 days of history are less than two sales cycles of 50 days; yield stands in",
        ),
    ],
)
def test_small_data_falls_back_to_yield_and_says_why(maturity: Maturity, reason: str) -> None:
    completed = {"run_rate": ACTUAL, "yield": ACTUAL * 2}
    choice = choose(completed, ACTUAL, ["run_rate", "yield"], maturity)
    assert (choice.method, choice.status, choice.fallback_reason) == ("yield", FALLBACK, reason)


def test_two_completed_origins_are_too_few_and_run_rate_stands_in() -> None:
    completed = {"run_rate": np.array([100.0, 90.0]), "yield": np.array([100.0, 100.0])}
    choice = choose(completed, np.array([100.0, 100.0]), ["run_rate", "yield"], GROWN_UP)
    assert (choice.method, choice.status) == ("run_rate", FALLBACK)
    assert choice.reason == "2 completed origins for this horizon (3 needed); run rate stands in"


def test_the_stage_table_stands_in_where_there_is_no_run_rate() -> None:
    assert choose({}, np.empty(0), ["crm_probability"], GROWN_UP).method == "crm_probability"


def test_with_no_baseline_only_what_is_won_counts() -> None:
    choice = choose({}, np.empty(0), [], Maturity(0, 0, None))
    assert (choice.method, choice.status) == ("none", NO_EVIDENCE)
    assert choice.fallback_reason == "no baseline has any evidence yet: only what is won is counted"


def test_quarters_without_bookings_cannot_rank_methods() -> None:
    nothing = np.zeros(4)
    choice = choose({"run_rate": nothing + 1, "yield": nothing}, nothing, ["run_rate", "yield"], GROWN_UP)
    assert choice.status == FALLBACK
    assert "too few completed origins with bookings" in choice.reason
