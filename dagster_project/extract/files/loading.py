"""Open one file by what it is, and type its rows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import duckdb

from dagster_project.contract import FIELD_HISTORY, Entity
from dagster_project.extract.files.archives import Member
from dagster_project.extract.files.arrivals import ends_in_the_middle
from dagster_project.extract.files.casting import Casting
from dagster_project.extract.files.field_history import FieldHistory
from dagster_project.extract.files.json_lines import read_json_lines
from dagster_project.extract.files.known_stages import KnownStages
from dagster_project.extract.files.mapping import map_columns, required_headers, wanted_headers
from dagster_project.extract.files.progress import ReadProgress, Tell, silent
from dagster_project.extract.files.reading import parquet_headers, read_csv, read_parquet_texts
from dagster_project.extract.files.rows import FileUnfinished, FileUnreadable, TextRows, Wanted
from dagster_project.extract.files.scratch import FileScratch
from dagster_project.extract.files.workbook import counts_from_1904, read_workbook
from dagster_project.settings import FieldHistoryFile, TableFile

WORKBOOKS = (".xlsx", ".xlsm")
TEXTS = ("", ".csv", ".txt", ".tsv")
JSON_LINES = (".jsonl", ".ndjson")
MEMBER_SUFFIXES = (*TEXTS, *WORKBOOKS, *JSON_LINES, ".parquet")


@dataclass(frozen=True)
class Loader:
    """How the files of one table are read."""

    entity: Entity
    table: TableFile
    stage_entered: Mapping[str, str]
    casting: Casting
    known: KnownStages
    tell: Tell = silent
    """Told in words how far the reading of a large file has come."""

    def load(self, member: Member, connection: duckdb.DuckDBPyConnection) -> FileScratch:
        """The rows of a file, typed. Errors: FileUnreadable, FileUnfinished."""
        if member.suffix not in MEMBER_SUFFIXES:
            raise FileUnreadable(f"is no file of a kind that is read ({', '.join(MEMBER_SUFFIXES[1:])})")
        if member.suffix == ".parquet":
            if ends_in_the_middle(member.path):
                raise FileUnfinished("has no end")
            if not isinstance(self.table, FieldHistoryFile):
                return self._load_parquet(member, connection)
        progress = ReadProgress(member.name, self.tell)
        progress.begin(member.path.stat().st_size)
        rows = self._rows(member)
        table, history = self.table, None
        if isinstance(table, FieldHistoryFile):
            history = FieldHistory(rows, table)
            rows, table = history.rows, history.table
        columns = map_columns(rows.headers, self.entity, table, self.stage_entered)
        scratch = FileScratch(connection, self.entity, columns, self._casting(member), self.known)
        scratch.load_text(rows, progress)
        if history is not None:
            history.check()
            scratch.fields_skipped = history.skipped
        return scratch

    def _rows(self, member: Member) -> TextRows:
        entity = FIELD_HISTORY if isinstance(self.table, FieldHistoryFile) else self.entity
        headers = wanted_headers(entity, self.table, self.stage_entered)
        wanted = Wanted(
            headers, tuple(h for h in required_headers(entity, self.table) if h != self._new_value)
        )
        options = self.casting.format
        if member.suffix in WORKBOOKS:
            return read_workbook(member.path, wanted, self.table.sheet, options.decimal)
        if member.suffix in JSON_LINES:
            return read_json_lines(member.path, options.decimal)
        if member.suffix == ".parquet":
            return read_parquet_texts(member.path)
        return read_csv(member.path, wanted.headers, options, required=wanted.required)

    @property
    def _new_value(self) -> str | None:
        """The header of new values, which are blank where a value was cleared."""
        column = self.table.columns.get("new_value")
        return column.header if column else None

    def _casting(self, member: Member) -> Casting:
        if member.suffix not in WORKBOOKS:
            return self.casting
        return replace(self.casting, serials="1904" if counts_from_1904(member.path) else "1900")

    def _load_parquet(self, member: Member, connection: duckdb.DuckDBPyConnection) -> FileScratch:
        headers = parquet_headers(member.path)
        columns = map_columns(headers, self.entity, self.table, self.stage_entered)
        scratch = FileScratch(connection, self.entity, columns, self.casting, self.known)
        try:
            scratch.load_parquet(member.path)
        except (duckdb.IOException, duckdb.InvalidInputException) as error:
            raise FileUnreadable(f"is a damaged Parquet file ({error}); write it anew") from None
        return scratch
