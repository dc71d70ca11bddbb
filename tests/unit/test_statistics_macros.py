"""The statistics that marts share, against published values."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from jinja2 import Environment
from scipy import stats

SOURCE = (Path(__file__).parents[2] / "dbt" / "macros" / "statistics.sql").read_text(encoding="utf-8")
MACROS = Environment().from_string(SOURCE).module


def value(sql: str) -> Any:
    (result,) = duckdb.connect().execute(f"select {sql}").fetchone() or (None,)
    return result


@pytest.mark.parametrize(
    ("num", "den", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_those_of_newcombe(num: int, den: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    told = (value(MACROS.wilson_low(num, den)), value(MACROS.wilson_high(num, den)))
    assert told == pytest.approx((low, high), abs=5e-5)


def test_an_interval_stays_between_none_and_all() -> None:
    assert value(MACROS.wilson_low(0, 3)) == 0
    assert value(MACROS.wilson_high(3, 3)) == 1


@pytest.mark.parametrize("macro", [MACROS.safe_rate, MACROS.wilson_low, MACROS.wilson_high])
def test_nothing_divided_by_nothing_is_unknown_not_zero(macro: Any) -> None:
    assert value(macro(0, 0)) is None
    assert value(macro("null", "null")) is None


def test_a_rate_of_few_deals_is_unknown() -> None:
    assert value(MACROS.safe_rate(3, 19)) == pytest.approx(3 / 19)
    assert value(MACROS.sampled_rate(3, 19, 20)) is None
    assert value(MACROS.sampled_rate(3, 20, 20)) == pytest.approx(0.15)
    assert value(MACROS.sampled_rate(0, 0, 0)) is None


@pytest.mark.parametrize("comparisons", [1, 2, 5, 36, 1000])
def test_the_corrected_limit_is_the_normal_quantile(comparisons: int) -> None:
    told = value(MACROS.corrected_critical_z(comparisons))
    assert told == pytest.approx(stats.norm.isf(0.025 / comparisons), abs=4.5e-4)


def test_the_two_proportion_test_is_the_chi_square_test_of_the_four_fold_table() -> None:
    told = value(MACROS.two_proportion_z(30, 80, 45, 90))
    chi_square = stats.chi2_contingency([[30, 50], [45, 45]], correction=False).statistic
    assert told == pytest.approx(-(chi_square**0.5))


def test_a_segment_is_compared_with_all_the_others_not_with_a_total_that_holds_it() -> None:
    # 30 of 80 against 80 of 150 (z = -2.28); against the total of 110 of 230 it would be z = -1.61
    assert value(MACROS.differs_from_rest(30, 80, 110, 230, 1)) is True
    assert value(MACROS.differs_from_rest(30, 80, 110, 230, 3)) is False


def test_too_few_deals_to_test_is_unknown_not_no() -> None:
    # 10 deals at a total rate of 20 in 100: 2 expected, fewer than 5
    assert value(MACROS.differs_from_rest(9, 10, 20, 100, 1)) is None
    assert value(MACROS.differs_from_rest(5, 20, 5, 20, 1)) is None
