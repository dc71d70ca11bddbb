"""What a wrong configuration prints: every problem with its line, what is wrong and what is allowed."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dagster_project.amount_measure import add_measure_problems
from dagster_project.api_settings import API_SOURCES, CONNECTORS, OWN_FIELDS
from dagster_project.contract import BUSINESS_ENTITIES, FIELD_HISTORY, SOURCE_ENTITIES, Entity
from dagster_project.yaml_document import (
    YamlDocument,
    did_you_mean,
    dotted,
    environment_reference,
    secret_remedy,
)

# Keys of Settings that the environment fills, not the file.
_NOT_IN_FILE = ("config_path", "paths", "as_of_is_manual")
_TOP_LEVEL = (
    "business",
    "sources",
    "tables",
    "metrics",
    "publish",
    "alerts",
    "engine",
    "memory_limit",
    "threads",
)
_SECRET_KEYS = ("token", "api_key", "api_token", "password", "client_secret", "private_key")
# Fields that the connector fills itself.
_NOT_MAPPABLE = {"stage_history": ("time_precision", "change_source")}


def is_later(kind: Any) -> bool:
    """Whether a type of source has its settings, and no connector in this version."""
    return isinstance(kind, str) and kind in API_SOURCES and kind not in CONNECTORS


def add_configuration_problems(document: YamlDocument) -> None:
    """Note what types alone cannot tell: source types, field names, missing required fields, equal names."""
    data = document.data
    for key in _NOT_IN_FILE:
        if key in data:
            document.add((key,), "is not set in the file; " + did_you_mean(key, _TOP_LEVEL))
    sources = data.get("sources")
    if isinstance(sources, list):
        _add_source_problems(document, sources)
    tables = data.get("tables")
    if isinstance(tables, dict):
        for name, table in tables.items():
            if name not in BUSINESS_ENTITIES:
                message = f"unknown table {name!r}; {did_you_mean(name, BUSINESS_ENTITIES)}"
                document.add(("tables", name), message)
            else:
                _add_mapping_problems(document, ("tables", name), table, BUSINESS_ENTITIES[name])
    add_measure_problems(document)


def _add_source_problems(document: YamlDocument, sources: list[Any]) -> None:
    names: dict[str, int] = {}
    for index, source in enumerate(sources):
        if not isinstance(source, dict):
            continue
        at = ("sources", index)
        kind, name = source.get("type"), source.get("name")
        if is_later(kind):
            document.add(
                (*at, "type"),
                f"reading {kind} directly is not in this version; export its deals as CSV and use "
                "`type: files`",
            )
        elif kind is not None and kind not in ("files", *CONNECTORS):
            allowed = ", ".join(("files", *CONNECTORS))
            document.add((*at, "type"), f"{kind!r} is no type of source; allowed: {allowed}")
        if isinstance(name, str):
            if name in names:
                first = document.line(("sources", names[name], "name"))
                document.add((*at, "name"), f"{name!r} is already the name of the source in line {first}")
            names.setdefault(name, index)
        for key in _SECRET_KEYS:
            if source.get(key) and environment_reference(str(source[key])) is None:
                document.add((*at, key), secret_remedy((*at, key)))
        for entity, contract in SOURCE_ENTITIES.items():
            if isinstance(source.get(entity), dict):
                _add_mapping_problems(document, (*at, entity), source[entity], contract)
        if isinstance(source.get("field_history"), dict):
            _add_mapping_problems(document, (*at, "field_history"), source["field_history"], FIELD_HISTORY)
        fields = source.get("fields")
        for name in (
            fields if isinstance(fields, dict) and isinstance(kind, str) and kind in API_SOURCES else ()
        ):
            if name not in OWN_FIELDS:
                told = f"{name!r} is no field of a deal; {did_you_mean(str(name), OWN_FIELDS)}"
                document.add((*at, "fields", name), told)
        _add_stage_problems(document, at, source)


def _add_mapping_problems(
    document: YamlDocument, at: tuple[str | int, ...], table: Any, entity: Entity
) -> None:
    columns = table.get("columns") if isinstance(table, dict) else None
    if not isinstance(columns, dict):
        return
    allowed = [f for f in entity.fields if f not in _NOT_MAPPABLE.get(entity.name, ())]
    for name in columns:
        if name not in allowed:
            document.add((*at, "columns", name), f"unknown field {name!r}; {did_you_mean(name, allowed)}")
    for name in entity.required:
        if name not in columns:
            message = f"{entity.name} need the field {name!r}; name its column, as in `{name}: Header`"
            document.add((*at, "columns"), message)


def _add_stage_problems(document: YamlDocument, at: tuple[str | int, ...], source: Mapping[str, Any]) -> None:
    stages, entered = source.get("stages"), source.get("stage_entered")
    if not isinstance(stages, list):
        return
    lines = [line for line in stages if isinstance(line, dict)]
    seen: dict[tuple[Any, ...], int] = {}
    for index, line in enumerate(stages):
        if not isinstance(line, dict):
            continue
        # a list or block in their place is told by its type, later
        told = (line.get("pipeline"), line.get("id") or line.get("name"), line.get("valid_from"))
        key = tuple(str(part) for part in told)
        if key in seen:
            first = document.line((*at, "stages", seen[key]))
            document.add((*at, "stages", index), f"stage {key[1]!r} is already listed in line {first}")
        seen.setdefault(key, index)
    known = [str(line[part]) for line in lines for part in ("name", "id") if line.get(part)]
    for stage in entered if isinstance(entered, dict) else ():
        if stage.casefold() not in {name.casefold() for name in known}:
            message = f"{stage!r} is not in the list of stages; {did_you_mean(stage, dict.fromkeys(known))}"
            document.add((*at, "stage_entered", stage), message)
        alike = {str(line.get("id") or line.get("name")) for line in lines if _is_named(line, stage)}
        if len(alike) > 1 and stage not in alike and not _maps_pipeline(source):
            message = (
                f"{stage!r} is a stage of several pipelines ({', '.join(sorted(alike))}); write the `id` of "
                "the one that is meant, or map `pipeline` under `deals: columns`"
            )
            document.add((*at, "stage_entered", stage), message)


def _is_named(line: Mapping[str, Any], stage: str) -> bool:
    return str(line.get("name", "")).casefold() == stage.casefold()


def _maps_pipeline(source: Mapping[str, Any]) -> bool:
    deals = source.get("deals")
    columns = deals.get("columns") if isinstance(deals, dict) else None
    return isinstance(columns, dict) and "pipeline" in columns


def add_validation_problems(document: YamlDocument, error: ValidationError, root: type[BaseModel]) -> None:
    """Translate pydantic's findings into problems of the file, one for each place."""
    noted = {problem.key for problem in document.problems}
    for finding in error.errors(include_url=False):
        location = _in_file(document.data, finding["loc"])
        if dotted(location) in noted or _follows_from_another(document.data, finding, location):
            continue
        document.add(location, _message(finding, location, root, document.data))


def _follows_from_another(data: Any, finding: Mapping[str, Any], location: tuple[str | int, ...]) -> bool:
    if location[:1] in {(key,) for key in _NOT_IN_FILE}:
        return True
    if len(location) >= 2 and location[0] == "sources":
        source = data["sources"][location[1]]
        return isinstance(source, dict) and is_later(source.get("type"))
    # A list whose only entries are wrong seems empty to pydantic.
    return location == ("sources",) and finding["type"] == "too_short" and bool(data["sources"])


def _in_file(data: Any, loc: Iterable[str | int]) -> tuple[str | int, ...]:
    """The finding's place without the names pydantic adds for members of unions."""
    parts = list(loc)
    location: list[str | int] = []
    value = data
    for index, part in enumerate(parts):
        if _has(value, part):
            value = value[part]
        elif index == len(parts) - 1 and isinstance(value, dict) and isinstance(part, str):
            location.append(part)  # a key that is missing
            break
        else:
            continue
        location.append(part)
    return tuple(location)


def _has(value: Any, part: str | int) -> bool:
    if isinstance(value, dict):
        return part in value
    return isinstance(value, list) and isinstance(part, int) and part < len(value)


def _message(
    finding: Mapping[str, Any], location: tuple[str | int, ...], root: type[BaseModel], data: Any
) -> str:
    kind, given, context = finding["type"], finding.get("input"), finding.get("ctx", {})
    name = str(location[-1]) if location else ""
    if kind == "missing":
        return f"the key {name!r} is missing; add `{name}: …` here"
    if kind == "extra_forbidden":
        return f"unknown key {name!r}; {did_you_mean(name, _allowed_keys(location, root, data))}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        expected = [text.strip().strip("'") for text in context["expected"].replace(" or ", ",").split(",")]
        allowed = [text for text in expected if text] or [context["expected"]]
        return f"{given!r} is not allowed; {did_you_mean(str(given), allowed)}"
    if kind in ("int_parsing", "int_type", "int_from_float"):
        return f"{given!r} is no whole number"
    if kind in ("float_parsing", "float_type", "decimal_parsing", "decimal_type"):
        return f"{given!r} is no number; write it like 0.5"
    if kind in ("bool_parsing", "bool_type"):
        return f"{given!r} is not allowed; write true or false"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = context.get("ge", context.get("le"))
        side = "at least" if kind == "greater_than_equal" else "at most"
        return f"{given} is not allowed; it must be {side} {bound}"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "must be a block of `key: value` lines"
    if kind in ("tuple_type", "list_type"):
        return "must be a list; begin each entry with `- `"
    if kind == "too_short":
        return "needs at least one entry"
    if kind == "string_type":
        return "must be text; the value is empty" if given is None else "must be one text value"
    if kind == "string_pattern_mismatch":
        return f"{given!r} is not allowed; write a size such as 800MB or 2GB"
    return str(finding["msg"])


def _allowed_keys(location: tuple[str | int, ...], root: type[BaseModel], data: Any) -> list[str]:
    models: list[type[BaseModel]] = [root]
    for place, part in enumerate(location[:-1]):
        if isinstance(part, int):
            is_source = place == 1 and location[0] == "sources"
            if is_source and len(models) > 1 and isinstance(data["sources"][part], dict):
                kind = data["sources"][part].get("type")
                models = [API_SOURCES.get(str(kind), models[0])]
            continue
        fields = [m.model_fields[part] for m in models if part in m.model_fields]
        nested = [model for f in fields for model in _models_in(f.annotation)]
        models = nested or models
    keys = [field.alias or name for model in models for name, field in model.model_fields.items()]
    return [key for key in dict.fromkeys(keys) if key not in _NOT_IN_FILE]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Literal:
        return []
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
