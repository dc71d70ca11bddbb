"""Which money field of a deal is the amount of all metrics: `metrics.amount_measure`.

The choice is made once. Files land all their money fields, and staging takes the chosen one. The property of
a CRM that holds the measure feeds the amount, as if `fields:` said so, with its history where there is one.
"""

from collections.abc import Mapping
from typing import Any

from dagster_project.api_settings import MEASURE_PROPERTIES, ExtensibleSource
from dagster_project.contract import AMOUNT_MEASURES
from dagster_project.yaml_document import YamlDocument

_LAYOUTS = ("deals", "stage_history")


def measured(source: Any, measure: str) -> Any:
    """The source with the property of the measure as its amount; file sources stay as they are."""
    if measure == "amount" or not isinstance(source, ExtensibleSource):
        return source
    told = source.fields.get(measure) or MEASURE_PROPERTIES.get(source.type, {})[measure]
    return source.model_copy(update={"fields": {**source.fields, "amount": told}})


def add_measure_problems(document: YamlDocument) -> None:
    """Note each source that does not say where its deals keep the chosen measure."""
    metrics, sources = document.data.get("metrics"), document.data.get("sources")
    chosen = metrics.get("amount_measure") if isinstance(metrics, dict) else None
    measure = chosen.lower() if isinstance(chosen, str) else chosen
    if measure not in AMOUNT_MEASURES or measure == "amount" or not isinstance(sources, list):
        return
    for index, source in enumerate(sources):
        if isinstance(source, dict):
            remedy = _remedy(source, measure)
            if remedy:
                name = source.get("name", index)
                told = f"metrics.amount_measure is {measure}, and {name!r} does not tell it; {remedy}"
                document.add(("sources", index), told)


def _remedy(source: Mapping[str, Any], measure: str) -> str | None:
    kind = source.get("type")
    if kind == "tryton":
        return "deals of Tryton have one amount: leave the measure at amount"
    if kind in MEASURE_PROPERTIES:
        fields = source.get("fields")
        is_named = isinstance(fields, dict) and measure in fields
        if is_named or measure in MEASURE_PROPERTIES[kind]:
            return None
        return f"name the property that holds it: `fields: {{{measure}: …}}`"
    if kind != "files" or any(_tells(source.get(layout), measure) for layout in _LAYOUTS):
        return None
    report = source.get("field_history")
    fields = report.get("fields") if isinstance(report, dict) else None
    if isinstance(fields, dict) and measure in fields.values():
        return None
    return f"name its column under `deals: columns`: `{measure}: Header`"


def _tells(table: Any, measure: str) -> bool:
    """A table without columns is read by the fields' own names, whatever they are."""
    if not isinstance(table, dict):
        return isinstance(table, str)
    columns = table.get("columns")
    return columns is None or (isinstance(columns, dict) and measure in columns)
