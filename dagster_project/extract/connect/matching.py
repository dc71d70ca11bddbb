"""What each file is, and which of its columns feeds which field: by vendors' headers, words and content."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dagster_project.contract import BUSINESS_ENTITIES, SOURCE_ENTITIES, Kind
from dagster_project.extract.connect.content import deals_by_content, fields_by_content, price_column
from dagster_project.extract.connect.joins import Join, find_joins
from dagster_project.extract.connect.profile import Column, FileProfile
from dagster_project.extract.connect.vocabulary import (
    ENTERED,
    VendorExport,
    file_likeness,
    likeness,
    vendor_exports,
    vocabulary,
    words,
)

_REFERENCES = {"accounts": "account", "products": "product", "owners": "owner"}
_KINDS: dict[Kind, tuple[str, ...]] = {
    "decimal": ("number",),
    "integer": ("number",),
    "probability": ("number",),
    "date": ("date", "instant"),
    "instant": ("date", "instant"),
    "boolean": ("boolean", "number"),
}
_LEAST_WORDS = 0.3


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

    def column(self, name: str) -> Column | None:
        """The column proposed for a field."""
        match = self.fields.get(name)
        return match.column if match else None

    @property
    def unmapped(self) -> tuple[Column, ...]:
        """Columns that feed no field."""
        used = {match.column.index for match in self.fields.values()}
        return tuple(column for column in self.profile.columns if column.index not in used)


@dataclass(frozen=True)
class Matching:
    """All files: one per entity, and those that nothing was found for."""

    files: tuple[FileMatch, ...]
    unknown: tuple[FileProfile, ...] = ()

    def of(self, entity: str) -> FileMatch | None:
        """The file of an entity."""
        return next((match for match in self.files if match.entity == entity), None)


def match_files(profiles: Sequence[FileProfile]) -> Matching:
    """Say what each file is and map its columns. The file of deals comes first.

    A stage log without a deals file stands for both: its newest row tells each deal as it is now.
    """
    left = [profile for profile in profiles if profile.rows]
    facts = [match for profile in left if (match := business_fact(profile))]
    left = [profile for profile in left if profile not in [match.profile for match in facts]]
    joins = find_joins(left)
    deals = _deals(left, joins)
    if deals is None:
        return Matching(tuple(facts), tuple(left))
    found = [deals]
    left = [profile for profile in left if profile is not deals.profile]
    if is_log(deals.profile):
        log = map_file(deals.profile, "stage_history", "its rows are the changes of the deals")
        deals = deals_of_log(deals, log)
        found = [deals, log]
    for profile in sorted(left, key=lambda p: -p.rows):
        if (match := _child(profile, deals)) and not any(m.entity == match.entity for m in found):
            found.append(match)
    left = [profile for profile in left if all(profile is not match.profile for match in found)]
    for match in _references(left, deals, joins):
        found.append(match)
    found[0] = _with_references(deals, found)
    left = [profile for profile in left if all(profile is not match.profile for match in found)]
    return Matching((*found, *facts), tuple(left))


def business_fact(profile: FileProfile) -> FileMatch | None:
    """A file whose headers are the fields of a table of business facts, such as quotas."""
    headers = {words(column.header).replace(" ", "_"): column for column in profile.columns}
    for name, entity in BUSINESS_ENTITIES.items():
        is_named = words(profile.path.stem) == words(name)
        own = headers.keys() & entity.fields.keys()
        enough = len(own) >= 2 or is_named
        if enough and set(entity.required) <= headers.keys() and (is_named or len(own) == len(headers)):
            if name == "teams" and not is_named:
                continue
            fields = {
                f: FieldMatch(f, headers[f], "its header is the field's name", "high")
                for f in entity.fields
                if f in headers
            }
            return FileMatch(profile, name, fields, f"its headers are those of the table {name}")
    return None


def find_vendor(profile: FileProfile) -> VendorExport | None:
    """The export whose headers the file has, when at least four and a third of its own are among them."""
    headers = {words(column.header) for column in profile.columns}
    ranked = sorted(vendor_exports(), key=lambda export: -len(headers & export.fields.keys()))
    hits = [len(headers & export.fields.keys()) for export in ranked]
    return ranked[0] if hits[0] >= 4 and 3 * hits[0] >= min(len(headers), 24) else None


def is_log(profile: FileProfile) -> bool:
    """Whether a file tells changes: a stage before and one after, or a stage of a deal that comes again."""
    fields = map_file(profile, "stage_history", "").fields
    return {"deal_id", "stage", "from_stage", "changed_at"} <= fields.keys() and not fields[
        "deal_id"
    ].column.is_key


def deals_of_log(deals: FileMatch, log: FileMatch) -> FileMatch:
    """The deals that a stage log tells: each as its newest row says, so the change is the modification."""
    why = "the newest row of each deal tells the deal as it is now"
    own = {"stage": "stage", "modified_at": "changed_at", "deal_id": "deal_id"}
    fixed = {f: replace(log.fields[of], field=f, evidence=why) for f, of in own.items()}
    changes = {
        log.fields[f].column.index
        for f in ("stage", "from_stage", "changed_at", "changed_by")
        if f in log.fields
    }
    rest = {f: m for f, m in deals.fields.items() if f not in own and m.column.index not in changes}
    return replace(deals, fields={**fixed, **rest}, evidence=why, vendor=log.vendor)


def map_file(profile: FileProfile, entity: str, evidence: str) -> FileMatch:
    """Map the columns of a file that is taken for an entity, the surest pair first."""
    vendor = find_vendor(profile)
    vendor = vendor if vendor and vendor.entity == entity else None
    contract = SOURCE_ENTITIES[entity]
    ranked: list[tuple[float, int, str, Column, str]] = []
    for place, (name, kind) in enumerate(contract.fields.items()):
        for column in profile.columns:
            if column.kind != "empty" and not _fits(column, kind):
                continue
            if entity == "deals" and ENTERED.match(column.header):
                continue
            if vendor and vendor.fields.get(words(column.header)) == name:
                why = f"{vendor.name} exports call it so"
                ranked.append((2.0, place, name, column, why))
                continue
            score = likeness(column.header, vocabulary().fields[entity].get(name, ()))
            if score >= _LEAST_WORDS:
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
    key = SOURCE_ENTITIES[entity].key
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


def _deals(profiles: Sequence[FileProfile], joins: Sequence[Join]) -> FileMatch | None:
    """The file of the deals: by its fields, by what it names in other files, by its name."""
    best: tuple[float, FileMatch] | None = None
    for profile in profiles:
        match = map_file(profile, "deals", "")
        score = _sureness(match.fields.values(), ("deal_id", "stage", "amount", "close_date", "owner"))
        key = match.column("deal_id")
        score += (key is not None and key.is_key) + file_likeness(profile.path.stem, "deals")
        score += 0.5 * len({join.target.path for join in joins if join.source is profile})
        score -= 2.0 * is_log(profile)
        score -= (
            1.0
            * any(join.source is not profile and join.target is profile for join in joins)
            * (match.column("stage") is None)
        )
        if best is None or score > best[0]:
            best = (score, match)
    if best is None:
        return None
    match = deals_by_content(best[1].profile, best[1].fields, joins, FieldMatch)
    if not {"deal_id", "stage"} <= match.keys():
        return None
    why = _vendor_evidence(best[1]) or f"it has a key, a stage and {len(match) - 2} more fields of deals"
    return replace(best[1], fields=match, evidence=why)


def _vendor_evidence(match: FileMatch) -> str | None:
    if match.vendor is None:
        return None
    hits = sum(words(column.header) in match.vendor.fields for column in match.profile.columns)
    return f"{hits} of its {len(match.profile.columns)} headers are those of the export {match.vendor.name}"


def _sureness(matches: Iterable[FieldMatch], wanted: Sequence[str]) -> float:
    weight = {"high": 1.0, "medium": 0.6, "low": 0.3}
    return sum(weight[match.confidence] for match in matches if match.field in wanted)


def _child(profile: FileProfile, deals: FileMatch) -> FileMatch | None:
    """A stage log, the line items or the list of stages: files that speak of the deals' ids or stages."""
    ids, stages = deals.column("deal_id"), deals.column("stage")
    if ids is None or stages is None:
        return None
    log = map_file(profile, "stage_history", "each row is a change of a deal")
    if {"deal_id", "changed_at", "stage"} <= log.fields.keys() and _names(log.column("deal_id"), ids):
        column = log.column("stage")
        if column is not None and _names(column, stages):
            return log
    items = map_file(profile, "line_items", "its rows belong to deals and have products")
    if "deal_id" in items.fields and _names(items.column("deal_id"), ids) and "product" in items.fields:
        return items
    told = map_file(profile, "stages", "it names the deals' stages")
    pipeline = deals.column("pipeline")
    tells = "stage_id" in told.fields and {"order", "outcome"} & told.fields.keys()
    if tells and (_names(stages, told.column("stage_id")) or _names(stages, told.column("name"))):
        return told
    lines = map_file(profile, "pipelines", "it names the deals' pipelines")
    if pipeline is not None and _names(pipeline, lines.column("pipeline_id")) and profile.rows <= 50:
        return lines
    return None


def _names(column: Column | None, known: Column | None) -> bool:
    if column is None or known is None or not column.distinct:
        return False
    return len(column.distinct & known.distinct) >= 0.6 * len(column.distinct)


def _references(profiles: Sequence[FileProfile], deals: FileMatch, joins: Sequence[Join]) -> list[FileMatch]:
    """Accounts, products and owners: files whose key the deals name."""
    ranked: list[tuple[float, str, FileMatch, Join]] = []
    for join in joins:
        if join.source is not deals.profile or not any(join.target is profile for profile in profiles):
            continue
        for entity, name in _REFERENCES.items():
            match = map_file(join.target, entity, "")
            score = likeness(join.column.header, vocabulary().fields["deals"][name])
            score += file_likeness(join.target.path.stem, entity)
            score += 0.3 * len([m for m in match.fields.values() if m.confidence == "high"])
            score += fields_by_content(entity, join, deals.column("amount"))
            ranked.append((score + join.share, entity, match, join))
    found: dict[str, FileMatch] = {}
    for _, entity, match, join in sorted(ranked, key=lambda item: -item[0]):
        taken = [m.profile for m in found.values()]
        if entity in found or any(match.profile is profile for profile in taken):
            continue
        key = SOURCE_ENTITIES[entity].key[0]
        why = f"{join.share:.0%} of the different values of {join.column.header!r} in the deals are its keys"
        fields = {f: m for f, m in match.fields.items() if m.column.index != join.key.index or f == "name"}
        fields[key] = FieldMatch(key, join.key, f"unique, and {why}", "high")
        fields.setdefault("name", FieldMatch("name", join.key, "the key is the name", "medium"))
        if entity == "products" and (price := price_column(join, deals.column("amount"))):
            why_price = "most deals of a product have an amount near it"
            fields.setdefault("list_price", FieldMatch("list_price", price, why_price, "medium"))
        found[entity] = replace(match, fields=fields, evidence=why, joins={key: join})
    return list(found.values())


def _with_references(deals: FileMatch, found: Sequence[FileMatch]) -> FileMatch:
    """The deals with the columns that were found to name other files."""
    fields, joins = dict(deals.fields), {}
    for match in found:
        for join in match.joins.values():
            name = _REFERENCES[match.entity]
            fields = {f: m for f, m in fields.items() if m.column.index != join.column.index}
            why = f"{join.share:.0%} of its different values are keys of {match.profile.path.name}"
            fields[name] = FieldMatch(name, join.column, why, "high")
            joins[name] = join
    return replace(deals, fields=fields, joins=joins)
