"""The blocks under `sources:` and `tables:`: which files there are, and how their columns map to fields."""

import re
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from dagster_project.contract import HISTORY_FIELDS, OUTCOMES, SOURCE_ENTITIES
from dagster_project.setting_types import Day, Section, Share, TimeZone

BUSINESS_SOURCE = "business"  # the source name under which the facts of `tables:` land


def source_name(value: str) -> str:
    """The name of a source, which becomes a folder, an asset and `source_relation`. Errors: ValueError."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", value) or value == BUSINESS_SOURCE:
        raise ValueError(
            f"{value!r} cannot name a source: use small letters, digits and _, begin with a letter, "
            f"and leave {BUSINESS_SOURCE!r} to the facts of `tables:`"
        )
    return value


class Format(Section):
    """How a file writes its values, where its header alone cannot tell."""

    delimiter: Literal[",", ";", "\t", "|"] | None = None
    encoding: Literal["utf-8", "utf-16", "cp1252", "latin-1"] | None = None
    decimal: Literal[".", ","] | None = None
    date_order: Literal["ymd", "dmy", "mdy", "serial"] | None = None

    @field_validator("delimiter", mode="before")
    @classmethod
    def _delimiter(cls, value: Any) -> Any:
        names = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
        return names.get(value, value)

    @field_validator("encoding", mode="before")
    @classmethod
    def _encoding(cls, value: Any) -> Any:
        text = str(value).lower().replace("_", "-")
        names = {"utf8": "utf-8", "utf-8-sig": "utf-8", "windows-1252": "cp1252", "latin1": "latin-1"}
        return None if value is None else names.get(text, text)


class Column(Section):
    """Where a field comes from: a column of the file, or one value for every row."""

    header: str | None = None
    value: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        return {"header": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _one_of_both(self) -> "Column":
        if (self.header is None) == (self.value is None):
            raise ValueError("write the name of a column, or {value: X} for the same value in every row")
        return self


class TableFile(Section):
    """Files of one entity: a path (globs allowed) and the column of each field.

    Without `columns` every field is looked for under its own name. `sheet` names the sheet of a workbook,
    `member` the files of a zip archive (globs allowed).
    """

    path: str
    sheet: str | None = None
    member: str | None = None
    columns: dict[str, Column] = Field(default_factory=dict)
    format: Format = Format()

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, data: Any) -> Any:
        return {"path": data} if isinstance(data, str) else data


class FieldHistoryFile(TableFile):
    """A report with one row per change of one field. `fields`: a field's name in the file → our field."""

    fields: dict[str, str] = Field(min_length=1)

    @field_validator("fields")
    @classmethod
    def _fields(cls, value: dict[str, str]) -> dict[str, str]:
        for name, target in value.items():
            if target not in HISTORY_FIELDS:
                raise ValueError(f"{name!r} cannot feed {target!r}; allowed: {', '.join(HISTORY_FIELDS)}")
        return value


class StageLine(Section):
    """One line of the `stages:` list: where the stage stands, or how it ends a deal."""

    name: str
    id: str | None = None
    pipeline: str | None = None
    order: int | None = None
    outcome: Literal["open", "won", "lost", "closed_other"] = "open"
    probability: Share | None = None
    forecast_category: str | None = None
    valid_from: Day | None = None

    @model_validator(mode="after")
    def _open_stages_have_an_order(self) -> "StageLine":
        if self.outcome == "open" and self.order is None:
            closed = ", ".join(outcome for outcome in OUTCOMES if outcome != "open")
            raise ValueError(f"an open stage needs `order:` (1, 2, …), a closed one `outcome:` ({closed})")
        return self

    @property
    def stage_id(self) -> str:
        """The id, which is the name unless the CRM has one of its own."""
        return self.id or self.name


def _list_or_file(value: Any) -> str:
    return "list" if isinstance(value, list | tuple) else "file"


Stages = Annotated[
    Annotated[tuple[StageLine, ...], Tag("list")] | Annotated[TableFile, Tag("file")],
    Discriminator(_list_or_file),
]


class FileSource(Section):
    """A source of type files: tables that map their columns onto the fields of the contract.

    `stage_entered` names, per stage, the column of the deals file that holds the date of its entry. A column
    named for several stages (a closing date for Won and Lost) dates only the stage the deal is in now.
    `statuses` names the source's own words for the state of a deal. `field_history` is read as stage_history.
    """

    name: str
    type: Literal["files"]
    time_zone: TimeZone | None = None
    data_as_of: Day | None = None
    format: Format = Format()
    deals: TableFile
    stage_history: TableFile | None = None
    field_history: FieldHistoryFile | None = None
    accounts: TableFile | None = None
    products: TableFile | None = None
    owners: TableFile | None = None
    line_items: TableFile | None = None
    deal_splits: TableFile | None = None
    leads: TableFile | None = None
    lead_history: TableFile | None = None
    pipelines: TableFile | None = None
    stages: Stages | None = None
    stage_entered: dict[str, str] = Field(default_factory=dict)
    statuses: dict[str, Literal["open", "won", "lost", "closed_other"]] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return source_name(value)

    @model_validator(mode="after")
    def _one_history(self) -> "FileSource":
        if self.stage_history is not None and self.field_history is not None:
            raise ValueError("write either stage_history or field_history: both tell the moves of the deals")
        return self

    def files(self) -> dict[str, TableFile]:
        """Entity → its files; stages come first, because deals are read against them."""
        named = {entity: getattr(self, entity) for entity in SOURCE_ENTITIES}
        named["stage_history"] = self.stage_history or self.field_history
        return {entity: table for entity, table in named.items() if isinstance(table, TableFile)}

    def stage_lines(self) -> tuple[StageLine, ...]:
        """The configured list of stages; empty when there is none, or a file tells them."""
        return self.stages if isinstance(self.stages, tuple) else ()


class BusinessFacts(Section):
    """The facts under `tables:`, seen as one more source, which is read and landed like the others."""

    name: Literal["business"] = BUSINESS_SOURCE
    time_zone: TimeZone | None = None
    format: Format = Format()
    tables: dict[str, TableFile] = Field(default_factory=dict)
    stage_entered: dict[str, str] = Field(default_factory=dict, max_length=0)

    def files(self) -> dict[str, TableFile]:
        """Entity → its files."""
        return dict(self.tables)

    def stage_lines(self) -> tuple[StageLine, ...]:
        """None: stages belong to the sources of deals."""
        return ()
