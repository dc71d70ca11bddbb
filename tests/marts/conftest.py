"""Builds that the tests of this folder share: hand-written cases, and a simulated CRM from its files on."""

import pytest

from tests.marts.marts_bench import Marts, build_marts
from tests.marts.simulated_crm import Simulated, build_simulated
from tests.marts.stage_cases import AS_OF, cases_book
from tests.marts.waterfall_bench import WaterfallBench, compile_waterfall


@pytest.fixture(scope="session")
def marts(tmp_path_factory: pytest.TempPathFactory) -> Marts:
    return build_marts(
        cases_book(),
        tmp_path_factory.mktemp("marts"),
        AS_OF,
        ["mart_pipeline_daily", "mart_stage_conversion", "mart_stage_durations"],
    )


@pytest.fixture(scope="session")
def waterfall_bench(tmp_path_factory: pytest.TempPathFactory) -> WaterfallBench:
    return compile_waterfall(tmp_path_factory.mktemp("waterfall"))


@pytest.fixture(scope="session")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    return build_simulated(tmp_path_factory.mktemp("truth"))
