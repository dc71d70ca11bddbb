"""Compiled models run on frames that stand in for the tables they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import pandas as pd

from tests.ledger.ledger_bench import Model


def run_on_frames(
    models: Mapping[str, Model], names: Sequence[str], parents: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """The last of the named models, after the others; `parents` holds what else they read, by model name.

    A frame needs only the columns that are read; its datetime columns become dates.
    """
    with duckdb.connect() as connection:
        connection.execute("attach ':memory:' as warehouse")
        for schema in ("staging", "ledger", "marts"):
            connection.execute(f"create schema warehouse.{schema}")
        for name, frame in parents.items():
            columns = ", ".join(
                f'cast("{column}" as date) as "{column}"' if kind == "M" else f'"{column}"'
                for column, kind in ((column, frame[column].dtype.kind) for column in frame.columns)
            )
            connection.register("told", frame)
            connection.execute(f"create table {models[name].relation} as select {columns} from told")
            connection.unregister("told")
        for name in names[:-1]:
            connection.execute(f"create table {models[name].relation} as {models[name].sql}")
        return connection.execute(models[names[-1]].sql).df()
