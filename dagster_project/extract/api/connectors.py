"""From a type of source to the class that reads it."""

import importlib

from dagster_project.api_settings import CONNECTORS, ApiSource
from dagster_project.extract.api import redaction
from dagster_project.extract.api.protocol import Connector, EntitySpec


def connector_class(kind: str) -> type[Connector]:
    """The connector of a type of source."""
    module, _, name = CONNECTORS[kind].partition(":")
    found: type[Connector] = getattr(importlib.import_module(module), name)
    return found


def open_connector(source: ApiSource) -> Connector:
    """A connector for one account; its secrets are masked in logs from here on."""
    redaction.SECRETS.add(*source.secrets)
    redaction.install()
    return connector_class(source.type)(source)


def entities_of(source: ApiSource) -> tuple[EntitySpec, ...]:
    """What a source of this type lands."""
    return connector_class(source.type).ENTITIES


def api_entities() -> dict[str, tuple[str, ...]]:
    """Type of source → names of its entities, for all types that this version reads."""
    return {kind: tuple(spec.name for spec in connector_class(kind).ENTITIES) for kind in CONNECTORS}
