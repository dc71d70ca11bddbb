"""Which column of a file feeds which field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dagster_project.contract import Entity
from dagster_project.extract.files.rows import FileUnreadable, plain
from dagster_project.settings import Column, TableFile
from dagster_project.yaml_document import nearest


@dataclass(frozen=True)
class StageColumn:
    """A column that dates the entry into a stage; `is_shared` when it does so for several stages."""

    stage: str
    index: int
    is_shared: bool


@dataclass(frozen=True)
class ColumnMap:
    """One file's columns: field → index of its column, field → constant, and what is left over."""

    headers: tuple[str, ...]
    columns: Mapping[str, int]
    constants: Mapping[str, str]
    stage_columns: tuple[StageColumn, ...]
    unmapped: tuple[int, ...]
    missing: tuple[str, ...]

    def header(self, field: str) -> str:
        """The header that feeds a field."""
        return self.headers[self.columns[field]]


def wanted_headers(entity: Entity, table: TableFile, stage_entered: Mapping[str, str]) -> tuple[str, ...]:
    """The headers a table's files should have."""
    named = [column.header for column in _columns(entity, table).values()]
    return tuple(name for name in [*named, *stage_entered.values()] if name)


def required_headers(entity: Entity, table: TableFile) -> tuple[str, ...]:
    """The headers whose values every row of a table's files must have."""
    named = [column.header for field, column in _columns(entity, table).items() if field in entity.required]
    return tuple(name for name in named if name)


def map_columns(
    headers: Sequence[str], entity: Entity, table: TableFile, stage_entered: Mapping[str, str]
) -> ColumnMap:
    """Find the mapped columns among the headers, whatever their order, case and blanks.

    Errors: FileUnreadable when a required column is missing, or a mapped one occurs twice.
    """
    places: dict[str, list[int]] = {}
    for index, header in enumerate(headers):
        places.setdefault(plain(header), []).append(index)

    def place(header: str) -> int | None:
        found = places.get(plain(header), [])
        if len(found) > 1:
            raise FileUnreadable(f"has {len(found)} columns called {header!r}; leave one of them")
        return found[0] if found else None

    columns: dict[str, int] = {}
    constants: dict[str, str] = {}
    missing: list[str] = []
    for field, column in _columns(entity, table).items():
        if column.value is not None:
            constants[field] = column.value
        elif (index := place(column.header or "")) is not None:
            columns[field] = index
        elif field in entity.required:
            raise FileUnreadable(_missing_column(field, column.header or "", headers))
        elif table.columns:
            missing.append(column.header or "")
    stage_columns = []
    for stage, header in stage_entered.items():
        if (index := place(header)) is None:
            missing.append(header)
            continue
        shared = [plain(other) for other in stage_entered.values()].count(plain(header)) > 1
        stage_columns.append(StageColumn(stage, index, shared))
    used = {*columns.values(), *(column.index for column in stage_columns)}
    return ColumnMap(
        headers=tuple(headers),
        columns=columns,
        constants=constants,
        stage_columns=tuple(stage_columns),
        unmapped=tuple(index for index in range(len(headers)) if index not in used),
        missing=tuple(dict.fromkeys(missing)),
    )


def _columns(entity: Entity, table: TableFile) -> Mapping[str, Column]:
    if table.columns:
        return table.columns
    return {field: Column(header=field) for field in entity.fields}


def _missing_column(field: str, header: str, headers: Sequence[str]) -> str:
    if headers and headers[0].lstrip().startswith(("<", "{")):
        return f"begins with {headers[0][:40]!r}: it is no CSV file; export it again as CSV"
    if len(headers) == 1 and (marks := [mark for mark in ";\t|," if headers[0].count(mark) > 1]):
        mark = max(marks, key=headers[0].count)
        shown = "tab" if mark == "\t" else mark
        return (
            f"has one column only, {headers[0][:80]!r}: its values are parted by another sign; "
            f'write `format: {{delimiter: "{shown}"}}`'
        )
    guess = nearest(header, headers)
    remedy = f"did you mean {guess!r}? " if guess else ""
    return (
        f"has no column {header!r}, which `{field}` needs; {remedy}its columns are: "
        f"{', '.join(headers[:40])}. Mend `columns: {{{field}: …}}` or export the file anew"
    )
