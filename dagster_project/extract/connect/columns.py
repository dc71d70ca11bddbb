"""Which column of a table feeds which field, by vendors' headers, by words and by the kind of its values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dagster_project.contract import FIELD_HISTORY, SOURCE_ENTITIES, Entity, Kind
from dagster_project.extract.connect.joins import Join
from dagster_project.extract.connect.profile import Column, DateOrder, FileProfile, agreed_mark, agreed_order
from dagster_project.extract.connect.vocabulary import (
    EXACT,
    VendorExport,
    is_about_stages,
    likeness,
    vendor_exports,
    vocabulary,
    words,
)

# What a source may be made of; a field history is read as stage_history.
CONTRACTS: dict[str, Entity] = {**SOURCE_ENTITIES, FIELD_HISTORY.name: FIELD_HISTORY}
_KINDS: dict[Kind, tuple[str, ...]] = {
    "decimal": ("number",),
    "integer": ("number",),
    "probability": ("number",),
    "date": ("date", "instant"),
    "instant": ("date", "instant"),
    "boolean": ("boolean", "number"),
}
_LEAST_WORDS = 0.3
# Values of whatever field a row of a field history tells.
_ANYTHING = ("old_value", "new_value")


@dataclass(frozen=True)
class FieldMatch:
    """One field and the column proposed for it, with the evidence and how sure it is."""

    field: str
    column: Column
    evidence: str
    confidence: str


@dataclass(frozen=True)
class FileMatch:
    """What a file is taken for (`entity`), by which vendor's export, and its fields."""

    profile: FileProfile
    entity: str
    fields: Mapping[str, FieldMatch]
    evidence: str
    vendor: VendorExport | None = None
    joins: Mapping[str, Join] = field(default_factory=dict)
    """Field of this file → the join that tells which file it names."""
    told: Mapping[str, Column] = field(default_factory=dict)
    """Name of a field in a field history → the column of its new values alone."""
    targets: Mapping[str, str] = field(default_factory=dict)
    """Name of a field in a field history → our field."""

    def column(self, name: str) -> Column | None:
        """The column proposed for a field."""
        match = self.fields.get(name)
        return match.column if match else None

    @property
    def date_order(self) -> DateOrder | None:
        """The order of the dates that are read; None when all are ISO."""
        return agreed_order((*self.profile.columns, *self.told.values()))

    @property
    def decimal(self) -> str | None:
        """The decimal mark of the numbers that are read; None when digits and points are used alone."""
        return agreed_mark((*self.profile.columns, *self.told.values()))

    @property
    def unmapped(self) -> tuple[Column, ...]:
        """Columns that feed no field."""
        used = {match.column.index for match in self.fields.values()}
        return tuple(column for column in self.profile.columns if column.index not in used)


def find_vendor(profile: FileProfile) -> VendorExport | None:
    """The export whose headers the file has, when at least four and a third of its own are among them."""
    headers = {words(column.header) for column in profile.columns}
    ranked = sorted(vendor_exports(), key=lambda export: -len(headers & export.fields.keys()))
    hits = [len(headers & export.fields.keys()) for export in ranked]
    return ranked[0] if hits[0] >= 4 and 3 * hits[0] >= min(len(headers), 24) else None


def map_file(profile: FileProfile, entity: str, evidence: str) -> FileMatch:
    """Map the columns of a file that is taken for an entity, the surest pair first."""
    vendor = find_vendor(profile)
    vendor = vendor if vendor and vendor.entity == entity else None
    contract = CONTRACTS[entity]
    ranked: list[tuple[float, int, str, Column, str]] = []
    for place, (name, kind) in enumerate(contract.fields.items()):
        for column in profile.columns:
            if column.kind != "empty" and name not in _ANYTHING and not _fits(column, kind):
                continue
            if entity == "deals" and is_about_stages(column.header):
                continue
            if vendor and vendor.fields.get(words(column.header)) == name:
                why = f"{vendor.name} exports call it so"
                ranked.append((2.0, place, name, column, why))
                continue
            score = likeness(column.header, vocabulary().fields[entity].get(name, ()))
            if score >= (_LEAST_WORDS if column.kind != "empty" else EXACT):
                ranked.append((score, place, name, column, f"{column.header!r} reads like {name}"))
    fields: dict[str, FieldMatch] = {}
    used: set[int] = set()
    for score, _, name, column, why in sorted(ranked, key=lambda item: (-item[0], item[1])):
        if name in fields or column.index in used:
            continue
        confidence = "high" if score >= 0.9 else "medium" if score >= 0.5 else "low"
        fields[name] = FieldMatch(name, column, why, confidence)
        used.add(column.index)
    return FileMatch(profile, entity, _with_key(fields, profile, entity), evidence, vendor)


def _with_key(fields: dict[str, FieldMatch], profile: FileProfile, entity: str) -> dict[str, FieldMatch]:
    """The key of a file of things: the mapped one when its values are unique, else a column that is."""
    key = CONTRACTS[entity].key
    if not key:
        return fields
    current = fields.get(key[0])
    if current and current.column.is_key:
        why = f"{current.evidence}; unique in all {profile.rows:,} rows"
        return {**fields, key[0]: replace(current, evidence=why)}
    if current and entity == "deals":
        return fields
    taken = {match.column.index for name, match in fields.items() if name not in ("name", key[0])}
    unique = [
        c for c in profile.columns if c.is_key and c.kind in ("text", "number") and c.index not in taken
    ]
    if not unique:
        return fields
    column = next((c for c in unique if c.kind == "text"), unique[0])
    why, sure = f"unique in all {profile.rows:,} rows", "high"
    name = fields.get("name")
    if entity == "deals" and name is not None and name.column is column:
        why, sure = f"{why}, but two deals can bear one name: add the id to the export", "low"
    match = FieldMatch(key[0], column, why, sure)
    return {**{f: m for f, m in fields.items() if f != key[0]}, key[0]: match}


def _fits(column: Column, kind: Kind) -> bool:
    if kind not in _KINDS:
        return not column.is_dated
    if kind == "probability" and column.kind == "number":
        return bool(column.numbers.dropna().between(0, 100).all())
    return column.kind in _KINDS[kind]


def names(column: Column | None, known: Column | None) -> bool:
    """Whether most different values of a column are values of a known one."""
    if column is None or known is None or not column.distinct:
        return False
    return len(column.distinct & known.distinct) >= 0.6 * len(column.distinct)
