"""Texts as a run will read them: by the rules that cast a file's values, before there is a mapping."""

from functools import cache
from threading import Lock
from typing import Any

import duckdb
import pandas as pd

from dagster_project.contract import Kind
from dagster_project.extract.files.casting import Casting
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
    return _query("bare_amount(x)", pd.Series(values, dtype="object"))


def known_statuses(values: list[str]) -> dict[str, str | None]:
    """Words for the state of a deal → what a run takes them for; None for those that need a line."""
    return dict(zip(values, _query("status_text(label(x))", pd.Series(values, dtype="object")), strict=True))


def money_codes(values: list[str]) -> set[str]:
    """The currencies that amounts bear by code or symbol; $ counts as USD, ¥ as JPY, other doubts not."""
    codes = _query("money_code(x)", pd.Series(values, dtype="object"))
    found = {code for code in codes if code and code != "?"}
    doubtful = "".join(value for code, value in zip(codes, values, strict=True) if code == "?")
    return found | {code for symbol, code in _USUAL.items() if symbol in doubtful}


def _asked(values: pd.Series, casting: Casting, kind: Kind) -> dict[str, Any]:
    distinct = pd.Series(values.dropna().unique(), dtype="object")
    read = casting.checked(kind, "value")
    found = _query(read, distinct, casting.value(kind, "prepared"), casting.prepared(kind, "x"))
    return dict(zip(distinct, found, strict=True))


def _query(last: str, values: pd.Series, value: str = "null", prepared: str = "null") -> list[Any]:
    """The last of three expressions for each value, in layers: of x, of what is prepared, of its value."""
    if not len(values):
        return []
    with _USING:
        connection = _connection()
        connection.register("asked", pd.DataFrame({"place": range(len(values)), "text": values.astype(str)}))
        rows = connection.execute(
            f"""
            select {last} from (
                select *, {value} as value from (
                    select *, {prepared} as prepared from (select place, clean(text) as x from asked)
                )
            )
            order by place
            """
        ).fetchall()
        connection.unregister("asked")
    return [row[0] for row in rows]


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    # Dollars, crowns and francs stay undecided here.
    Casting(Format(), "UTC", "UTC").prepare(connection)
    return connection
