"""A small simulated business in a folder, and what a test asks of its runs and its published file."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import duckdb
import pyarrow.parquet as pq

from dagster_project.cli.instance import open_instance
from dagster_project.cli.run import run_nightly
from dagster_project.publish.versions import current_file
from dagster_project.settings import REPOSITORY, Settings, load_settings
from dagster_project.simulate.config import SimulationConfig
from dagster_project.simulate.crm_export import write_crm_export
from dagster_project.simulate.world import simulate

AS_OF = date(2026, 5, 15)  # the day of the bundled configuration's export
LONG_AGO = datetime(2026, 5, 16, tzinfo=UTC).timestamp()
# A run's own id is in these columns, so two runs with equal results differ in them.
RUN_COLUMNS = ("run_id", "published_at", "built_by", "version")


@dataclass(frozen=True)
class Business:
    """Where the exports of a business lie, and the configuration that reads them."""

    export: Path
    config: Path
    data: Path

    def settings(self, as_of: date | None = None) -> Settings:
        """The settings as the command line reads them."""
        environ = {"STAGELEDGER_AS_OF": as_of.isoformat()} if as_of else {}
        return load_settings(self.config, self.data, environ)

    def nightly(self, *, as_of: date | None = None, rebuild: bool = False) -> None:
        """Land what is new and run the nightly job, as `make run` does."""
        run_nightly(self.settings(as_of), rebuild=rebuild)


def simulated_business(folder: Path, deals: int = 400, history_start: str = "2026-04-16") -> Business:
    """The bundled example with fewer deals and a short list of partitions."""
    export = folder / "export"
    write_crm_export(simulate(SimulationConfig(n_deals=deals)), export, AS_OF)
    settle(export)
    text = (REPOSITORY / "pipeline.yaml").read_text(encoding="utf-8")
    assert "data/example/" in text and "history_start: 2023-04-01" in text
    config = folder / "pipeline.yaml"
    config.write_text(
        text.replace("data/example/", f"{export}/").replace(
            "history_start: 2023-04-01", f"history_start: {history_start}"
        ),
        encoding="utf-8",
    )
    return Business(export, config, folder / "data")


def settle(export: Path) -> None:
    """Give the files an old time: a file written a moment ago is waited for, lest it grow."""
    import os

    for path in export.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))


@contextmanager
def published(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The version that readers see now."""
    path = current_file(settings.paths.published_dir)
    assert path is not None
    with duckdb.connect(str(path), read_only=True) as connection:
        yield connection


def published_tables(path: Path) -> dict[str, list[str]]:
    """Table → its columns without those that name a run; `_publish` is left out, it is about runs alone.

    Views are left out, too: they tell what is in the tables.
    """
    with duckdb.connect(str(path), read_only=True) as connection:
        rows = connection.execute(
            "select table_name, column_name from duckdb_columns() "
            "where not internal and table_name in (select table_name from duckdb_tables()) "
            "order by table_name, column_index"
        ).fetchall()
    tables: dict[str, list[str]] = {}
    for table, column in rows:
        if table != "_publish" and column not in RUN_COLUMNS:
            tables.setdefault(table, []).append(column)
    return tables


def differing_rows(first: Path, second: Path) -> Mapping[str, int]:
    """Rows that only one of two published files has, by table (EXCEPT ALL both ways)."""
    tables = published_tables(first)
    assert tables == published_tables(second)
    differing: dict[str, int] = {}
    with duckdb.connect() as connection:
        connection.execute(f"attach '{first}' as a (read_only); attach '{second}' as b (read_only)")
        for table, columns in tables.items():
            wanted = ", ".join(f'"{column}"' for column in columns)
            one, other = (f'select {wanted} from {side}."{table}"' for side in "ab")
            row = connection.execute(
                f"select (select count(*) from ({one} except all {other})) "
                f"+ (select count(*) from ({other} except all {one}))"
            ).fetchone()
            if row and row[0]:
                differing[table] = row[0]
    return differing


def runs(settings: Settings) -> list[dg.RunRecord]:
    """All runs of the data folder's instance, newest first."""
    with open_instance(settings) as instance:
        return list(instance.get_run_records())


def values(file: Path) -> Iterator[str]:
    """Every value of a DuckDB or Parquet file, whatever its compression."""
    if file.suffix == ".parquet":
        yield str(pq.read_table(file).to_pylist())
    elif file.suffix == ".duckdb" and not file.is_symlink():
        with closing(duckdb.connect(str(file), read_only=True)) as connection:
            tables = connection.execute("select schema_name, table_name from duckdb_tables()").fetchall()
            for schema, table in tables:
                rows = connection.execute(f'select t::varchar from "{schema}"."{table}" as t').fetchall()
                yield "\n".join(row for (row,) in rows)


def traces(root: Path, wanted: tuple[str, ...]) -> dict[str, set[str]]:
    """File → the wanted words that its bytes or values hold."""
    found: dict[str, set[str]] = {}
    for file in sorted(path for path in root.rglob("*") if path.is_file()):
        texts = [file.read_bytes().decode(errors="replace"), *values(file)]
        held = {word for word in wanted if any(word in text for text in texts)}
        if held:
            found[str(file.relative_to(root))] = held
    return found
