"""The engine seam: what it writes is what it reads, and who holds the file is said in one line."""

import subprocess
import sys
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from dagster_project.warehouse import FrameMismatch, Warehouse, WarehouseBusy, WarehouseMissing

DAILY = {"as_of": "date", "part": "string", "amount": "decimal(20,3)", "deals": "bigint", "rate": "double"}

HOLD_WAREHOUSE = """
import sys, time, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse.duckdb", wait_seconds=0.3)


def daily(*rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(DAILY))


def stored(warehouse: Warehouse) -> list[tuple[object, ...]]:
    with warehouse.connect(read_only=True) as connection:
        return connection.execute("select * from forecast.daily order by all").fetchall()


def hold_in_another_process(path: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD_WAREHOUSE, str(path), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_append_makes_schema_and_table_and_keeps_every_type(warehouse: Warehouse) -> None:
    rows = daily(
        (date(2026, 3, 31), "won", Decimal("1234.567"), 3, 0.5), (date(2026, 4, 1), None, None, 0, None)
    )

    assert warehouse.append("forecast.daily", rows, DAILY) == 2

    assert stored(warehouse) == [
        (date(2026, 3, 31), "won", Decimal("1234.567"), 3, 0.5),
        (date(2026, 4, 1), None, None, 0, None),
    ]
    assert warehouse.table_columns("forecast.daily") == {
        "as_of": "DATE",
        "part": "VARCHAR",
        "amount": "DECIMAL(20,3)",
        "deals": "BIGINT",
        "rate": "DOUBLE",
    }


def test_append_takes_columns_in_any_order_and_an_empty_frame_makes_the_table(warehouse: Warehouse) -> None:
    warehouse.append("forecast.daily", daily(), DAILY)
    assert stored(warehouse) == []

    turned = daily((date(2026, 3, 31), "won", Decimal("1.5"), 3, 0.5))[
        ["rate", "deals", "amount", "part", "as_of"]
    ]
    warehouse.append("forecast.daily", turned)

    assert stored(warehouse) == [(date(2026, 3, 31), "won", Decimal("1.500"), 3, 0.5)]


def test_instants_with_a_time_zone_are_stored_in_utc(warehouse: Warehouse) -> None:
    amsterdam = pd.DataFrame(
        {"seen_at": pd.to_datetime(["2026-07-01 02:30"]).tz_localize("Europe/Amsterdam")}
    )

    warehouse.append("ops.seen", amsterdam, {"seen_at": "timestamp"})

    with warehouse.connect(read_only=True) as connection:
        assert connection.execute("select seen_at from ops.seen").fetchone() == (datetime(2026, 7, 1, 0, 30),)


def test_a_query_returns_a_frame_and_takes_named_and_positional_parameters(warehouse: Warehouse) -> None:
    warehouse.append(
        "forecast.daily",
        daily(
            (date(2026, 3, 31), "won", Decimal("10"), 3, 0.5),
            (date(2026, 4, 1), "open", Decimal("20"), 4, 0.6),
        ),
        DAILY,
    )

    named = warehouse.query(
        "select part, amount from forecast.daily where as_of = $day", {"day": date(2026, 4, 1)}
    )
    positional = warehouse.query("select deals from forecast.daily where part = ?", ["won"])

    assert named.to_dict("records") == [{"part": "open", "amount": 20.0}]
    assert positional["deals"].tolist() == [3]


def test_replace_rows_replaces_the_same_keys_and_leaves_the_rest(warehouse: Warehouse) -> None:
    first, second = date(2026, 3, 31), date(2026, 4, 1)
    warehouse.append(
        "forecast.daily",
        daily((first, "won", 1, 1, 0.1), (first, "open", 2, 2, 0.2), (second, "won", 3, 3, 0.3)),
        DAILY,
    )

    warehouse.replace_rows("forecast.daily", daily((first, "won", 9, 9, 0.9)), ["as_of"], DAILY)

    assert [row[:3] for row in stored(warehouse)] == [(first, "won", Decimal(9)), (second, "won", Decimal(3))]


def test_replace_rows_treats_null_as_a_value_of_the_key(warehouse: Warehouse) -> None:
    day = date(2026, 3, 31)
    warehouse.append("forecast.daily", daily((day, None, 1, 1, 0.1), (day, "won", 2, 2, 0.2)), DAILY)

    warehouse.replace_rows("forecast.daily", daily((day, None, 7, 7, 0.7)), ["as_of", "part"])

    assert sorted(row[3] for row in stored(warehouse)) == [2, 7]


def test_replace_rows_by_value_clears_a_day_that_has_no_rows_any_more(warehouse: Warehouse) -> None:
    first, second = date(2026, 3, 31), date(2026, 4, 1)
    warehouse.append("forecast.daily", daily((first, "won", 1, 1, 0.1), (second, "won", 3, 3, 0.3)), DAILY)

    assert warehouse.replace_rows("forecast.daily", daily(), {"as_of": first}, DAILY) == 0

    assert [row[0] for row in stored(warehouse)] == [second]


def test_a_failed_replace_keeps_the_old_rows(warehouse: Warehouse) -> None:
    day = date(2026, 3, 31)
    warehouse.append("forecast.daily", daily((day, "won", 1, 1, 0.1)), DAILY)

    with pytest.raises(FrameMismatch, match=r"does not fit forecast\.daily.*many"):
        warehouse.replace_rows("forecast.daily", daily((day, "won", 1, "many", 0.1)), ["as_of"])

    assert [row[3] for row in stored(warehouse)] == [1]


def test_a_frame_that_does_not_fit_names_the_columns(warehouse: Warehouse) -> None:
    frame = daily().rename(columns={"deals": "dealz"})

    with pytest.raises(FrameMismatch, match=r"forecast\.daily: unknown dealz; missing deals"):
        warehouse.append("forecast.daily", frame, DAILY)


def test_a_table_learns_a_new_column_but_never_changes_a_type(warehouse: Warehouse) -> None:
    warehouse.append("forecast.daily", daily((date(2026, 3, 31), "won", 1, 1, 0.1)), DAILY)

    warehouse.create_table("forecast.daily", {**DAILY, "method": "string"})
    with pytest.raises(
        FrameMismatch, match=r"forecast\.daily\.deals is BIGINT in the warehouse but should be string"
    ):
        warehouse.create_table("forecast.daily", {**DAILY, "deals": "string"})

    assert list(warehouse.table_columns("forecast.daily")) == [*DAILY, "method"]
    assert stored(warehouse)[0][-1] is None


def test_missing_warehouse_and_missing_table_say_what_to_do(warehouse: Warehouse) -> None:
    with pytest.raises(WarehouseMissing, match="make run"):
        warehouse.query("select 1")
    assert not warehouse.path.exists()
    assert not warehouse.has_table("forecast.daily")

    with pytest.raises(WarehouseMissing, match=r"forecast\.daily does not exist"):
        warehouse.append("forecast.daily", daily())


def test_tables_of_a_schema_are_listed_with_views(warehouse: Warehouse) -> None:
    warehouse.create_table("ops.build", {"run_id": "string"})
    warehouse.execute("create view ops.all_builds as select * from ops.build")
    warehouse.create_schema("marts")

    assert warehouse.tables("ops") == ["all_builds", "build"]
    assert warehouse.tables("marts") == []
    assert warehouse.has_table("ops.all_builds")


def test_a_name_that_is_not_a_name_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(ValueError, match="not a name"):
        warehouse.create_table('ops.build"; drop table x; --', {"run_id": "string"})


def test_a_locked_warehouse_names_the_process_that_holds_it(warehouse: Warehouse) -> None:
    warehouse.create_schema("ops")
    process = hold_in_another_process(warehouse.path, 30)
    try:
        started = time.monotonic()
        with pytest.raises(WarehouseBusy) as refused:
            warehouse.query("select 1")
        assert time.monotonic() - started < 5
    finally:
        process.kill()
        process.wait()

    assert f"process {process.pid}" in str(refused.value)
    assert "published/marts.duckdb" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_open_waits_until_the_holder_lets_go(warehouse: Warehouse) -> None:
    warehouse.create_schema("ops")
    process = hold_in_another_process(warehouse.path, 0.5)
    patient = Warehouse(warehouse.path, wait_seconds=20)

    assert patient.query("select 42 as answer")["answer"].tolist() == [42]
    process.wait()


def test_a_read_inside_a_write_of_the_same_process_works(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute("create table main.t as select 7 as x")
        assert warehouse.query("select x from main.t")["x"].tolist() == [7]


def test_a_write_inside_a_read_of_the_same_process_is_refused_with_a_reason(warehouse: Warehouse) -> None:
    warehouse.create_schema("ops")
    with warehouse.connect(read_only=True), pytest.raises(WarehouseBusy, match="this same process"):
        warehouse.execute("create table ops.t (x int)")


def test_other_errors_of_the_engine_are_not_taken_for_a_lock(tmp_path: Path) -> None:
    broken = tmp_path / "warehouse.duckdb"
    broken.write_bytes(b"not a database" * 500)

    with pytest.raises(Exception, match="not a valid DuckDB database") as refused:
        Warehouse(broken).query("select 1")
    assert not isinstance(refused.value, WarehouseBusy)


def test_utc_is_the_time_zone_of_every_connection(warehouse: Warehouse) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with warehouse.connect() as connection:
        answer = connection.execute("select cast(cast(? as timestamptz) as timestamp)", [at]).fetchone()
    assert answer == (datetime(2026, 1, 1),)
