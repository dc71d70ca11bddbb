"""Which tables are published, under which names, with which comments and keys: read from the dbt manifest."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dagster_project.publish.errors import PublishRefused


@dataclass(frozen=True)
class PublishedTable:
    """One table of the published file: its place in the warehouse, its words and its key.

    `columns` maps a column to its comment. `is_built_by_dbt` tells marts from forecast tables, whose rows
    are written by runs of their own.
    """

    schema: str
    name: str
    description: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    primary_key: tuple[str, ...] = ()
    is_built_by_dbt: bool = False

    @property
    def source(self) -> str:
        """The table in the warehouse as schema.name."""
        return f"{self.schema}.{self.name}"


def read_published_tables(manifest_path: Path, extra: Sequence[str] = ()) -> tuple[PublishedTable, ...]:
    """The public models of the manifest, then the `extra` tables ("schema.name"), sorted by name.

    An extra table takes its words and key from the dbt source of the same schema and name, if there is one.
    The key is `config.meta.primary_key`, else a primary-key constraint, else a single column that dbt
    tests as unique and not null.

    Raises:
        PublishRefused: no manifest, no public model, or two tables that would get the same name.
    """
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PublishRefused(f"no dbt manifest at {manifest_path}: `make run` writes it") from error
    except ValueError as error:
        raise PublishRefused(
            f"the dbt manifest {manifest_path} cannot be read ({error}): delete it and `make run`"
        ) from error
    tables = [
        _described(node, is_built_by_dbt=True)
        for node in manifest["nodes"].values()
        if node["resource_type"] in ("model", "seed", "snapshot") and _access(node) == "public"
    ]
    if not tables:
        raise PublishRefused(f"no model of {manifest_path} has `access: public`: there is nothing to publish")
    sources = {f"{node['schema']}.{node['identifier']}": node for node in manifest["sources"].values()}
    known = {table.source for table in tables}
    for name in extra:
        if name not in known:
            schema, _, table = name.partition(".")
            tables.append(_described(sources[name]) if name in sources else PublishedTable(schema, table))
    doubled = [name for name, count in Counter(table.name for table in tables).items() if count > 1]
    if doubled:
        raise PublishRefused(
            f"two published tables are called {', '.join(doubled)}: the file has one schema, rename one"
        )
    return tuple(sorted(tables, key=lambda table: table.name))


def _described(node: Mapping[str, Any], is_built_by_dbt: bool = False) -> PublishedTable:
    return PublishedTable(
        schema=node["schema"],
        name=node.get("alias") or node.get("identifier") or node["name"],
        description=_one_text(node.get("description")),
        columns={name: _one_text(column.get("description")) for name, column in node["columns"].items()},
        primary_key=_primary_key(node),
        is_built_by_dbt=is_built_by_dbt,
    )


def _access(node: Mapping[str, Any]) -> str:
    return str(node.get("access") or node.get("config", {}).get("access") or "protected")


def _primary_key(node: Mapping[str, Any]) -> tuple[str, ...]:
    named = node.get("config", {}).get("meta", {}).get("primary_key") or node.get("meta", {}).get(
        "primary_key"
    )
    if named:
        return (named,) if isinstance(named, str) else tuple(named)
    for constraint in node.get("constraints", ()):
        if constraint["type"] == "primary_key":
            return tuple(constraint["columns"])
    # With several columns dbt means several keys of one column each, not one key of several.
    tested = tuple(node.get("primary_key") or ())
    return tested if len(tested) == 1 else ()


def _one_text(text: str | None) -> str:
    return " ".join((text or "").split())
