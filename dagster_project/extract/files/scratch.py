"""One file in a scratch database: its rows typed, ready to be judged, counted and landed.

Headers, constants and stage names reach the SQL as parameters; only places (`c3`) and field names of the
contract are written into it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa

from dagster_project.contract import AMOUNT_MEASURES, Entity, Kind
from dagster_project.extract.files.casting import DECIMAL_CHOICE, TWO_NUMBERS, Casting
from dagster_project.extract.files.known_stages import KnownStages
from dagster_project.extract.files.mapping import ColumnMap
from dagster_project.extract.files.progress import ReadProgress
from dagster_project.extract.files.rows import FileUnreadable, TextRows

# Kinds whose values must be readable; others take any text.
_STRICT_KINDS = ("decimal", "integer", "probability", "date", "instant", "boolean", "outcome")
_BULK_ROWS, _BULK_BYTES = 125_000, 32 * 1024 * 1024
_STAGE_FIELDS = {"deals": ("stage",), "stage_history": ("stage", "from_stage")}


class FileScratch:
    """The rows of one file of one entity.

    Tables: `typed` (every row: line, problem, fields `f_…`) and, once judged, `duplicates` (line) and
    `conflicts` (line, first_line). Views, once judged: `kept` (rows to land, with stages by id), `rejected`
    (line, problem, key) and, where there are date columns, `entries` (stage entries).
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        entity: Entity,
        columns: ColumnMap,
        casting: Casting,
        known: KnownStages,
    ) -> None:
        self.connection = connection
        self.entity = entity
        self.columns = columns
        self.lines_beside = 0
        self.fields_skipped: Mapping[str, int] = {}
        self._casting = casting
        self._parameters: list[str] = []
        casting.prepare(connection)
        known.create_tables(connection)
        mapped = (name for name in AMOUNT_MEASURES if name in entity.fields and name in columns.columns)
        # the money field that tells the currency where no column does
        self._money_field = next(mapped, "")
        self.has_codes = "currency" in entity.fields and self._money_field != ""
        self._constants = {field: self._constant(field) for field in columns.constants}

    def load_text(self, rows: TextRows, progress: ReadProgress) -> None:
        """Type the rows of a file of texts. Errors: those of its batches."""
        progress.expect(rows.total)
        self.lines_beside = rows.lines_beside
        query = self._typed_query()
        into = "create or replace table typed as"
        for table in _in_bulk(rows):
            self.connection.register("incoming", table)
            self.connection.execute(f"{into} {query}", self._parameters)
            self.connection.unregister("incoming")
            into = "insert into typed"
            progress.add(table.num_rows)

    def load_parquet(self, path: Path) -> None:
        """Type the rows of a Parquet file; their line is the number of the record."""
        source = f"read_parquet({literal(str(path))}, file_row_number = true)"
        names = [_quoted(header) for header in self.columns.headers]
        texts = "".join(f", {self._as_text(name, path)} as c{index}" for index, name in enumerate(names))
        self.connection.execute(
            "create or replace temp view incoming as "
            f"select file_row_number + 1 as line, cast(null as varchar) as broken{texts} from {source}"
        )
        query = self._typed_query()
        self.connection.execute(f"create or replace table typed as {query}", self._parameters)
        self.connection.execute("drop view incoming")

    def _as_text(self, column: str, path: Path) -> str:
        """A column's values as text; numbers bear the decimal sign that texts of the file are read with."""
        if self._casting.format.decimal != ",":
            return f"cast({column} as varchar)"
        kind = (
            self.one(f"select any_value(typeof({column})) from read_parquet({literal(str(path))})")[0] or ""
        )
        text = f"cast({column} as varchar)"
        return f"replace({text}, '.', ',')" if kind.startswith(("DECIMAL", "DOUBLE", "FLOAT")) else text

    def one(self, query: str) -> tuple:
        """The single row of a query."""
        return self.connection.execute(query).fetchall()[0]

    def _parameter(self, value: str) -> str:
        self._parameters.append(value)
        return f"${len(self._parameters)}"

    def _typed_query(self) -> str:
        self._parameters = []
        places = range(len(self.columns.headers))
        cells = ", ".join(f"c{index}" for index in places)
        clean = "".join(f", clean_cell(c{index}) as r{index}" for index in places)
        # In layers, so that what several expressions need is computed once: a third of the time of one layer.
        inputs = self._inputs()
        prepared = "".join(
            f", {self._casting.prepared(kind, f'r{index}')} as {name}_in"
            for name, (index, kind) in inputs.items()
        )
        cast = "".join(
            f", {self._casting.value(kind, f'{name}_in')} as {name}_cast"
            for name, (_, kind) in inputs.items()
        )
        fields = self._values(inputs)
        values = "".join(f", {sql} as {name}" for name, sql in fields.items())
        extra = ", ".join(
            f"{self._parameter(self._extra_name(index))}::varchar, r{index}"
            for index in self.columns.unmapped
        )
        names = "".join(f", {name}" for name in fields)
        return f"""
            select line, row_hash, {self._problem()} as problem{names}, json_object({extra})::varchar as extra
            from (
                select *{values} from (
                    select *{cast} from (
                        select *{prepared} from (
                            select line, broken, c0 as first_cell, hash({cells}) as row_hash{clean}
                            from incoming
                        )
                    )
                )
            )
        """

    def _constant(self, field: str) -> str:
        given, kind = self.columns.constants[field], self.entity.fields[field]
        prepared = f"select {self._casting.prepared(kind, 'clean($1::varchar)')} as x"
        query = f"select {self._casting.checked(kind, self._casting.value(kind, 'x'))} from ({prepared})"
        value = self.connection.execute(query, [given]).fetchall()[0][0]
        if value is None:
            raise FileUnreadable(f"cannot be read with `{field}: {{value: {given}}}`: that is no {kind}")
        return value

    def _extra_name(self, index: int) -> str:
        header = self.columns.headers[index] or f"column {index + 1}"
        before = self.columns.headers[:index].count(self.columns.headers[index])
        return f"{header} ({before + 1})" if before else header

    def _inputs(self) -> dict[str, tuple[int, Kind]]:
        """Name of each typed column → place and kind of its text."""
        fields = self.columns.columns.items()
        inputs = {f"f_{field}": (index, self.entity.fields[field]) for field, index in fields}
        places = sorted({column.index for column in self.columns.stage_columns})
        return {**inputs, **{f"e_{place}": (place, "instant") for place in places}}

    def _values(self, inputs: dict[str, tuple[int, Kind]]) -> dict[str, str]:
        values = {name: self._casting.checked(kind, f"{name}_cast") for name, (_, kind) in inputs.items()}
        values |= {
            f"is_day_{name[2:]}": self._casting.is_day_only(f"{name}_in")
            for name in inputs
            if name == "f_changed_at" or name.startswith("e_")
        }
        values |= {f"f_{name}": f"{self._parameter(text)}::varchar" for name, text in self._constants.items()}
        # What a number of the file could also mean is decided when all its rows are known.
        values |= {
            f"open_{name[2:]}": f"case when {self._casting.could_be_thousands(f'r{index}')} then r{index} end"
            for name, (index, kind) in inputs.items()
            if kind == "decimal"
        }
        if "f_status" in inputs:
            values["unknown_status"] = f"case when f_status_cast is null then r{inputs['f_status'][0]} end"
        if f"f_{self.share_field}" in inputs:
            place = inputs[f"f_{self.share_field}"][0]
            values["is_percent"] = f"coalesce({self._casting.is_percentage(f'r{place}')}, false)"
        if self.has_codes:
            values["told_currency"] = f"money_code(r{self.columns.columns[self._money_field]})"
            if not self._is_mapped("currency"):
                values["f_currency"] = values["told_currency"]
        return values

    def _problem(self) -> str:
        """SQL for the first thing wrong with a row: a struct of column, value, reason and hint, or null."""
        branches = [_struct("broken is not null", "null", "first_cell", "broken", "null")]
        for field in self.entity.required:
            if field in self.columns.columns:
                index = self.columns.columns[field]
                header = self._parameter(self.columns.headers[index])
                reason = "'is empty, and every row needs it'"
                branches.append(_struct(f"r{index} is null", header, "null", reason, "null"))
        for name, (index, kind) in self._inputs().items():
            if kind not in _STRICT_KINDS:
                continue
            raw = f"r{index}"
            branches.append(
                _struct(
                    f"{raw} is not null and {name} is null",
                    self._parameter(self.columns.headers[index]),
                    raw,
                    self._casting.reason(kind, raw),
                    self._casting.hint(kind, raw),
                )
            )
        if self.has_codes:
            branches.append(self._currency_problem())
        return f"case {' '.join(branches)} end"

    def _currency_problem(self) -> str:
        index = self.columns.columns[self._money_field]
        header = self._parameter(self.columns.headers[index])
        if self._is_mapped("currency"):
            condition = "told_currency <> '?' and told_currency <> upper(coalesce(f_currency, told_currency))"
            reason = "'is in ' || told_currency || ', and the column of currencies says ' || f_currency"
            hint = "'mend one of the two in the file'"
        else:
            condition = "told_currency = '?'"
            reason = "'bears the symbol of several currencies'"
            hint = "'columns: {currency: {value: USD}}, or map the column that tells the currency'"
        return _struct(condition, header, f"r{index}", reason, hint)

    def refuse_open_numbers(self) -> None:
        """Reject numbers like 1.234 where the same column also holds numbers with a decimal comma."""
        for field, index in self.columns.columns.items():
            if self.entity.fields[field] != "decimal" or self._casting.format.decimal is not None:
                continue
            header = self.columns.headers[index]
            self.connection.execute(
                f"""
                update typed set problem = struct_pack(
                    "column" := $1::varchar, "value" := open_{field},
                    reason := $2::varchar, hint := $3::varchar
                )
                where problem is null and open_{field} is not null
                    and exists (select 1 from typed where problem."column" = $1 and problem.reason = $2)
                """,
                [header, TWO_NUMBERS, DECIMAL_CHOICE],
            )

    @property
    def share_field(self) -> str:
        """The field of the entity that is a share of one; empty when there is none."""
        return next((name for name, kind in self.entity.fields.items() if kind == "probability"), "")

    def has_percentages(self) -> bool:
        """Whether shares are written on a scale to 100: then every value of the file is."""
        field = self.share_field
        if field not in self.columns.columns:
            return False
        is_percent = f"select coalesce(bool_or(is_percent) or max(f_{field}::double) > 1, false) from kept"
        return bool(self.one(is_percent)[0])

    def has(self, field: str) -> bool:
        """Whether the file feeds a field; a currency may come out of the amounts."""
        return self._is_mapped(field) or (field == "currency" and self.has_codes)

    def _is_mapped(self, field: str) -> bool:
        return field in self.columns.columns or field in self.columns.constants

    def stage_fields(self) -> tuple[str, ...]:
        """The fields that hold stages; the view `kept` has `id_…`, `outcome_…` and `is_unknown_…` of each."""
        return tuple(field for field in _STAGE_FIELDS.get(self.entity.name, ()) if self.has(field))


def _in_bulk(rows: TextRows) -> Iterator[pa.Table]:
    """The rows in tables of some size, at least one: what is inserted in small parts is written twice."""
    taken: list[pa.RecordBatch] = []
    given = False
    for batch in rows.batches:
        taken.append(batch)
        if (
            sum(part.num_rows for part in taken) >= _BULK_ROWS
            or sum(part.nbytes for part in taken) >= _BULK_BYTES
        ):
            yield pa.Table.from_batches(taken)
            taken, given = [], True
    if taken or not given:
        yield pa.Table.from_batches(taken, rows.schema)


def literal(text: str) -> str:
    """A text as SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _struct(condition: str, column: str, value: str, reason: str, hint: str) -> str:
    return (
        f'when {condition} then struct_pack("column" := {column}::varchar, "value" := {value}::varchar, '
        f"reason := {reason}::varchar, hint := {hint}::varchar)"
    )
