"""What each file is: the deals, their history, and what the deals name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dagster_project.contract import BUSINESS_ENTITIES, SOURCE_ENTITIES
from dagster_project.extract.connect.columns import FieldMatch, FileMatch, map_file, names
from dagster_project.extract.connect.content import deals_by_content, fields_by_content, price_column
from dagster_project.extract.connect.history import deals_of_log, field_history, is_log, tells_fields
from dagster_project.extract.connect.joins import Join, find_joins
from dagster_project.extract.connect.profile import FileProfile
from dagster_project.extract.connect.vocabulary import file_likeness, likeness, vocabulary, words

_REFERENCES = {"accounts": "account", "products": "product", "owners": "owner"}


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
        match = _child(profile, deals)
        if match and not any(_is_same_table(m.entity, match.entity) for m in found):
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
        is_named = words(profile.title) == words(name)
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


def _deals(profiles: Sequence[FileProfile], joins: Sequence[Join]) -> FileMatch | None:
    """The file of the deals: by its fields, by what it names in other files, by its name."""
    best: tuple[float, FileMatch] | None = None
    for profile in profiles:
        if tells_fields(profile):
            continue
        match = map_file(profile, "deals", "")
        if "deal_id" not in match.fields and is_log(profile):
            its_own = map_file(profile, "stage_history", "").fields["deal_id"]
            match = replace(match, fields={**match.fields, "deal_id": its_own})
        score = _sureness(match.fields.values(), ("deal_id", "stage", "amount", "close_date", "owner"))
        key = match.column("deal_id")
        score += (key is not None and key.is_key) + file_likeness(profile.title, "deals")
        score += 0.5 * len({join.target.key for join in joins if join.source is profile})
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


def why_unused(profile: FileProfile, matching: Matching) -> str:
    """Why a table is not in the draft."""
    deals = matching.files[0]
    if tells_fields(profile) or is_log(profile):
        return "it tells changes, but not of these deals, or another file tells them already"
    if {"deal_id", "stage"} <= map_file(profile, "deals", "").fields.keys():
        return (
            f"it looks like deals too, and {deals.profile.name} was taken. Files of one table are told by "
            "names that differ by a date alone (deals_2026-03-31.csv); other deals are a source of their own"
        )
    return "no deal names its rows"


def what_is_missing(profiles: Sequence[FileProfile]) -> str:
    """Why none of some files is one of deals, as a sentence of what to export."""
    for profile in profiles:
        if tells_fields(profile):
            return (
                f"{profile.name} tells changes of single fields, and no file holds the deals themselves: "
                "export the deals too, one row per deal with its id and stage, and name both in FILES="
            )
    for profile in profiles:
        fields = map_file(profile, "stage_history", "").fields
        known = {name: fields[name].column.header for name in ("deal_id", "stage") if name in fields}
        if len(known) == 1:
            has, lacks = ("ids of deals", "their stages")
            if "stage" in known:
                has, lacks = ("stages", "the id of the deals")
            (header,) = known.values()
            return f"{profile.name} has {has} ({header!r}) but not {lacks}: export it again with both"
    names = ", ".join(profile.name for profile in profiles) or "none"
    return (
        f"none of the files ({names}) looks like deals: one row per deal, with an id and a stage. "
        "Export the deals with these two columns at least, and name the file in FILES="
    )


def _is_same_table(one: str, other: str) -> bool:
    """Whether two entities may not stand beside each other: both histories tell the moves of the deals."""
    histories = ("stage_history", "field_history")
    return one == other or (one in histories and other in histories)


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
    if told := field_history(profile, deals):
        return told
    log = map_file(profile, "stage_history", "each row is a change of a deal")
    if {"deal_id", "changed_at", "stage"} <= log.fields.keys() and names(log.column("deal_id"), ids):
        column = log.column("stage")
        if column is not None and names(column, stages):
            return log
    items = map_file(profile, "line_items", "its rows belong to deals and have products")
    if "deal_id" in items.fields and names(items.column("deal_id"), ids) and "product" in items.fields:
        return items
    told = map_file(profile, "stages", "it names the deals' stages")
    pipeline = deals.column("pipeline")
    tells = "stage_id" in told.fields and {"order", "outcome"} & told.fields.keys()
    if tells and (names(stages, told.column("stage_id")) or names(stages, told.column("name"))):
        return told
    lines = map_file(profile, "pipelines", "it names the deals' pipelines")
    if pipeline is not None and names(pipeline, lines.column("pipeline_id")) and profile.rows <= 50:
        return lines
    return None


def _references(profiles: Sequence[FileProfile], deals: FileMatch, joins: Sequence[Join]) -> list[FileMatch]:
    """Accounts, products and owners: files whose key the deals name."""
    ranked: list[tuple[float, str, FileMatch, Join]] = []
    for join in joins:
        if join.source is not deals.profile or not any(join.target is profile for profile in profiles):
            continue
        for entity, name in _REFERENCES.items():
            match = map_file(join.target, entity, "")
            score = likeness(join.column.header, vocabulary().fields["deals"][name])
            score += file_likeness(join.target.title, entity)
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
            why = f"{join.share:.0%} of its different values are keys of {match.profile.name}"
            fields[name] = FieldMatch(name, join.column, why, "high")
            joins[name] = join
    return replace(deals, fields=fields, joins=joins)
