"""What every dbt model keeps to, so that any day can be built again and on any engine."""

import re
from pathlib import Path

import pytest
import yaml

DBT = Path(__file__).resolve().parents[2] / "dbt"
MODELS = sorted((DBT / "models").rglob("*.sql"))
LAYERS = {"staging", "ledger", "marts", "forecast"}

CLOCKS = re.compile(
    r"\b(current_date|current_timestamp|current_time|localtimestamp|now|today|getdate|sysdate|"
    r"get_current_timestamp|run_started_at|dbt_updated_at|invocation_id|modules\.datetime)\b",
    re.IGNORECASE,
)
NOT_PORTABLE = re.compile(
    r"\b(qualify|arg_max|arg_min|max_by|min_by|generate_series|unnest|quantile_cont|strftime|strptime|"
    r"asof|exclude|list_aggregate|merge\s+into)\b|ignore\s+nulls",
    re.IGNORECASE,
)
# The tables that hold all deals, and the marts' models that need not ask which of them count.
ALL_DEALS = re.compile(r"ref\('(fct_deals|fct_deal_versions|fct_stage_transitions|int_stage_visits)'\)")
COUNTED_BY_ANOTHER = {
    "bi_deals": "int_deal_outcomes",
    "bi_pipeline_weekly": "fct_pipeline_snapshot",
    "mart_pipeline_daily": "int_hygiene_checks, for what is dead",
    "int_lost_deals": "int_deal_outcomes",
    "int_periods": "the days that the data reach, whoever counts",
    "int_source_history": "what a source has told since when, whoever counts",
}
NIGHTLY_INPUT = re.compile(r"\bvar\s*\(")
PLACEHOLDER = re.compile(r"\b(todo|tbd|fixme|xxx|lorem|placeholder|n/a)\b|\.\.\.$", re.IGNORECASE)
# A BI tool shows one description at a time: whatever points at the column before it points at nothing.
POINTS_BACK = re.compile(
    r"^(Its|Their|The same|Of these|Those|The part of them|(Last|First) day of (it|them|that)|"
    r"(Upper|Lower) end of (it|its|that)|(Name|Label|Key|Team|Median|Share) of (that|their))\b|"
    r"\b(of|for) (it|them)\.$"
)


def code(path: Path) -> str:
    """The SQL without comments and without text in quotes."""
    text = re.sub(r"\{#.*?#\}", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    text = re.sub(r"--[^\n]*", " ", text)
    return re.sub(r"'[^'\n]*'", "''", text)


DOCUMENTS = {
    path: yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    for path in sorted((DBT / "models").rglob("*.yml"))
}


def properties() -> dict[str, dict]:
    """Model name → its block in a yml file, with the file under `_file`."""
    found: dict[str, dict] = {}
    for path, document in DOCUMENTS.items():
        for model in document.get("models", []):
            assert model["name"] not in found, f"{model['name']} is described twice"
            found[model["name"]] = {**model, "_file": path}
    return found


PROPERTIES = properties()


def is_public(block: dict) -> bool:
    """Whether a model is part of the published contract."""
    return "public" in (block.get("access"), block.get("config", {}).get("access"))


def test_there_are_models_to_look_at() -> None:
    assert len(MODELS) > 10
    assert {path.relative_to(DBT / "models").parts[0] for path in MODELS} <= LAYERS


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_no_model_looks_at_a_clock(path: Path) -> None:
    assert not CLOCKS.findall(code(path))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_no_model_reads_a_variable_that_could_change_from_night_to_night(path: Path) -> None:
    assert not NIGHTLY_INPUT.findall(code(path))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_model_uses_only_sql_that_every_engine_knows(path: Path) -> None:
    assert not NOT_PORTABLE.findall(code(path))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_a_model_has_its_description_beside_it_and_it_starts_with_the_grain(path: Path) -> None:
    block = PROPERTIES.get(path.stem)
    assert block is not None, f"{path.stem}.yml is missing"
    assert block["_file"] == path.with_suffix(".yml")
    assert block["description"].startswith("One row per ")


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_every_column_of_a_model_has_a_contract_type(path: Path) -> None:
    types = r"(string|bigint|int|date|timestamp|double|boolean|decimal\(\d+, ?\d+\))"
    wrong = {
        column["name"]: column.get("data_type")
        for column in PROPERTIES[path.stem].get("columns", [])
        if not re.fullmatch(types, str(column.get("data_type")))
    }
    assert not wrong


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_what_columns_may_hold_is_one_test_of_the_model(path: Path) -> None:
    """A test of dbt costs as much as a small model, so `column_values` looks at all columns at once."""
    dear = {"not_null", "accepted_values"}
    for column in PROPERTIES[path.stem].get("columns", []):
        named = {test if isinstance(test, str) else next(iter(test)) for test in column.get("data_tests", [])}
        assert not named & dear, column["name"]


def test_every_mart_asks_which_deals_metrics_exclude_leaves_out() -> None:
    marts = [path for path in MODELS if path.parent.name in ("marts", "forecast")]
    readers = {path.stem: path.read_text(encoding="utf-8") for path in marts}
    readers = {name: text for name, text in readers.items() if ALL_DEALS.search(text)}
    assert len(readers) > 15
    assert {name for name, text in readers.items() if "excluded" not in text} == set(COUNTED_BY_ANOTHER)


def told(block: dict) -> dict[str, str]:
    """The descriptions of a model or source table and of its columns, each in one line."""
    columns = {column["name"]: column.get("description") or "" for column in block.get("columns", [])}
    texts = {"": block.get("description") or "", **columns}
    return {name: " ".join(text.split()) for name, text in texts.items()}


def sources() -> dict[str, dict]:
    """Name of a source table → its block in a yml file."""
    return {
        f"{source['name']}.{table['name']}": table
        for document in DOCUMENTS.values()
        for source in document.get("sources", [])
        for table in source["tables"]
    }


SOURCES = sources()


@pytest.mark.parametrize("name", [*PROPERTIES, *SOURCES])
def test_what_is_described_is_described_in_a_sentence(name: str) -> None:
    block = PROPERTIES.get(name) or SOURCES[name]
    texts = told(block)
    assert texts[""].startswith("One row per ") and len(texts[""].split()) >= 4
    wrong = {
        column: text
        for column, text in texts.items()
        if len(text) < 8 or not text.endswith((".", ":", ")")) or PLACEHOLDER.search(text)
    }
    assert not wrong


@pytest.mark.parametrize("name", [name for name, block in PROPERTIES.items() if is_public(block)])
def test_a_published_column_is_understood_without_the_one_before_it(name: str) -> None:
    texts = told(PROPERTIES[name])
    assert len(texts[""]) >= 60, "say what the table is for, or what may be added up"
    assert not {column: text for column, text in texts.items() if POINTS_BACK.search(text)}
    repeated = [
        column
        for column, text in texts.items()
        for sentences in [re.split(r"(?<=[.;]) ", text)]
        if len(set(sentences)) < len(sentences)
    ]
    assert not repeated


def test_the_documentation_has_a_first_chapter_whose_tables_exist() -> None:
    text = (DBT / "models" / "overview.md").read_text(encoding="utf-8")
    assert "{% docs __overview__ %}" in text
    links = re.findall(
        r"\[(\w+)\]\(#!/(?:model/model\.stageledger|source/source\.stageledger\.\w+)\.(\w+)\)", text
    )
    assert len(links) > 15
    assert all(shown == target for shown, target in links)
    names = set(re.findall(r"`((?:mart|fct|dim|bi|int|forecast)_[a-z_]+)`", text)) - {"dim_", "int_"}
    tables = {name.rpartition(".")[2] for name in SOURCES}
    assert names | {shown for shown, _ in links} <= set(PROPERTIES) | tables


def test_every_described_model_exists() -> None:
    assert set(PROPERTIES) == {path.stem for path in MODELS}


def test_no_hub_packages_so_that_no_start_needs_the_network() -> None:
    assert not [name for name in ("packages.yml", "dependencies.yml") if (DBT / name).exists()]


def test_nothing_in_the_project_file_changes_from_night_to_night() -> None:
    text = (DBT / "dbt_project.yml").read_text(encoding="utf-8")
    # The types of the configured sources change with pipeline.yaml only.
    assert set(re.findall(r"env_var\(([^,)]*)", text)) <= {"'STAGELEDGER_SOURCE_TYPES'"}
    assert "vars" not in yaml.safe_load(text)


@pytest.mark.parametrize(
    ("sql", "is_found"),
    [
        ("select current_date", True),
        ("select now()", True),
        ("select known_on -- not now", False),
        ("select 'today' as label", False),
    ],
)
def test_the_search_for_clocks_finds_clocks_and_only_them(tmp_path: Path, sql: str, is_found: bool) -> None:
    file = tmp_path / "model.sql"
    file.write_text(sql)
    assert bool(CLOCKS.findall(code(file))) is is_found
