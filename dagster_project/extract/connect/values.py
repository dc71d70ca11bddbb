"""Texts as a run will read them: by the rules that cast a file's values, before there is a mapping."""

from functools import cache
from threading import Lock
from typing import Any

import duckdb
import pandas as pd

from dagster_project.contract import Kind
from dagster_project.extract.crm.casting import Casting
from dagster_project.settings import Format

_USING = Lock()
_USUAL = {"$": "USD", "¥": "JPY"}


def read_instants(values: pd.Series, order: str | None) -> pd.Series:
    """Texts as naive instants, days at midnight; missing where blank or unreadable.

    `order`: ymd, dmy, mdy or serial (days as Excel counts them).
    """
    known = order if order in ("ymd", "dmy", "mdy", "serial") else None
    found = _asked(values, Casting(Format(date_order=known), "UTC", "UTC"), "instant")
    return pd.to_datetime(values.map(found), errors="coerce", format="ISO8601")


def read_numbers(values: pd.Series, decimal: str | None) -> pd.Series:
    """Texts as numbers; missing where blank or unreadable. `decimal`: the mark, where it is known."""
    known = decimal if decimal in (".", ",") else None
    found = _asked(values, Casting(Format(decimal=known), "UTC", "UTC"), "decimal")
    return pd.to_numeric(values.map(found), errors="coerce").astype("float64")


def bare_numbers(values: list[str]) -> list[str | None]:
    """Amounts without the code or symbol of their currency; None where what stands beside is neither."""
    return _query("bare_amount(clean(x))", pd.Series(values, dtype="object"))


def money_codes(values: list[str]) -> set[str]:
    """The currencies that amounts bear by code or symbol; $ counts as USD, ¥ as JPY, other doubts not."""
    codes = _query("money_code(clean(x))", pd.Series(values, dtype="object"))
    found = {code for code in codes if code and code != "?"}
    doubtful = "".join(value for code, value in zip(codes, values, strict=True) if code == "?")
    return found | {code for symbol, code in _USUAL.items() if symbol in doubtful}


def _asked(values: pd.Series, casting: Casting, kind: Kind) -> dict[str, Any]:
    distinct = pd.Series(values.dropna().unique(), dtype="object")
    raw = "clean(x)"
    read = casting.checked(kind, casting.value(kind, "prepared"))
    inner = f"(select {read} from (select {casting.prepared(kind, raw)} as prepared))"
    return dict(zip(distinct, _query(inner, distinct), strict=True))


def _query(expression: str, values: pd.Series) -> list[Any]:
    if not len(values):
        return []
    with _USING:
        connection = _connection()
        connection.register("asked", pd.DataFrame({"place": range(len(values)), "x": values.astype(str)}))
        rows = connection.execute(f"select {expression} from asked order by place").fetchall()
        connection.unregister("asked")
    return [row[0] for row in rows]


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    # Dollars, crowns and francs stay undecided here.
    Casting(Format(), "UTC", "UTC").prepare(connection)
    return connection
