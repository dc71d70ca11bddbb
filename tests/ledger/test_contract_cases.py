"""The cases that came with the transition contract: through dbt, and through both ways of the bench."""

from pathlib import Path
from typing import Any

import pytest

from tests.ledger.contract_cases import CASES, case_book
from tests.ledger.ledger_bench import LedgerBench, LedgerTables

COLUMNS = (
    "from_stage_id",
    "to_stage_id",
    "transition_type",
    "stages_skipped",
    "visit_number",
    "hours",
    "is_inferred",
)


def transitions(tables: LedgerTables, deal_id: str) -> list[list[Any]]:
    where = f"deal_id = '{deal_id}'"
    return [
        list(row)
        for row in tables.rows("fct_stage_transitions", *COLUMNS, where=where, order="transition_number")
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_dbt_turns_the_landed_case_into_the_contracts_transitions(
    cases_by_dbt: LedgerTables, case: dict[str, Any]
) -> None:
    assert transitions(cases_by_dbt, case["deal"]["deal"]) == case["expect"]


def test_the_bench_gives_what_dbt_gives(
    cases_by_dbt: LedgerTables, bench: LedgerBench, tmp_path: Path
) -> None:
    everything = ("*",)
    told = [
        tables.rows("fct_stage_transitions", *everything)
        for tables in (cases_by_dbt, bench.build(case_book()))
    ]
    landed = bench.build_landed(case_book(), tmp_path).rows("fct_stage_transitions", *everything)
    assert told[0] == told[1] == landed
