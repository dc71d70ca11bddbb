"""What a published file holds, as figures that two equal files share, and whether it is of one run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from tests.pipeline.nightly_bench import published_tables

Contents = Mapping[str, tuple[int, int]]


class NotWhole(AssertionError):
    """A published file is damaged, lacks rows that it says it has, or is of several runs."""


@dataclass(frozen=True)
class Fingerprint:
    """Table → rows and a checksum over all values but those that name a run; and the run that published."""

    tables: Contents
    run_id: str

    def differs_in(self, other: "Fingerprint") -> list[str]:
        """Tables that the two do not share."""
        names = sorted({*self.tables, *other.tables})
        return [name for name in names if self.tables.get(name) != other.tables.get(name)]


def fingerprint(path: Path) -> Fingerprint:
    """Read every value of a published file. Errors: NotWhole."""
    try:
        tables = published_tables(path)
        with duckdb.connect(str(path), read_only=True) as connection:
            listed = connection.execute(
                "select table_name, row_count, run_id, version from _publish"
            ).fetchall()
            runs = {(run, version) for _, _, run, version in listed}
            if len(runs) != 1:
                raise NotWhole(f"{path.name} was published by {len(runs)} runs")
            contents = {name: _contents(connection, name, columns) for name, columns in tables.items()}
    except duckdb.Error as error:
        raise NotWhole(f"{path.name} cannot be read: {error}") from error
    for name, rows, _, _ in listed:
        if name in contents and contents[name][0] != rows:
            raise NotWhole(f"{name} of {path.name} has {contents[name][0]} rows, {rows} were published")
    missing = set(contents) - {name for name, *_ in listed}
    if missing:
        raise NotWhole(f"{path.name} does not list {', '.join(sorted(missing))}")
    return Fingerprint(contents, str(listed[0][2]))


def _contents(connection: duckdb.DuckDBPyConnection, table: str, columns: list[str]) -> tuple[int, int]:
    row = ", ".join(f'"{column}"' for column in columns)
    found = connection.execute(
        f'select count(*), coalesce(sum(hash({row})::hugeint), 0) from "{table}"'
    ).fetchone()
    assert found is not None
    return int(found[0]), int(found[1])
