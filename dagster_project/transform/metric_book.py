"""The metric book: every metric with its definition, formula, unit and traps, as one page without a server.

It is made of `mart_metric_definitions`, which dbt generates from the metadata of the models: it cannot differ
from what the tables hold.
"""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

from dagster_project.settings import Settings
from dagster_project.warehouse import Warehouse

_SQL = """
select
  definitions.name, definitions.table_name, definitions.column_name, definitions.definition,
  definitions.formula, definitions.unit, definitions.caveats, definitions.settings_in_force,
  definitions.metric_scope, definitions.definition_version,
  coalesce(string_agg(columns.column_name, ', ' order by columns.column_name), '') as beside
from marts.mart_metric_definitions as definitions
left join duckdb_columns() as columns
  on columns.table_name = definitions.table_name
    and columns.database_name = current_database()
    and columns.column_name in (
      regexp_replace(definitions.column_name, '_rate$', '') || '_numerator',
      regexp_replace(definitions.column_name, '_rate$', '') || '_denominator',
      definitions.column_name || '_numerator', definitions.column_name || '_denominator',
      definitions.column_name || '_reason', definitions.column_name || '_n'
    )
group by all
order by definitions.name, definitions.table_name, definitions.column_name
"""
_FACTS = (
    ("Formula", "formula"),
    ("Unit", "unit"),
    ("Counts beside it", "beside"),
    ("Traps", "caveats"),
    ("Settings in force", "settings_in_force"),
)
_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 2.2rem 0 .3rem; border-top: 1px solid #8886; padding-top: 1rem; }
dl { display: grid; grid-template-columns: 10rem 1fr; gap: .25rem 1rem; margin: .5rem 0 1rem; }
dt { color: GrayText; } dd { margin: 0; }
nav { columns: 16rem; } nav a { display: block; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dt { margin-top: .4rem; } }
@media print { nav { display: none; } h2 { break-after: avoid; } }
"""


def write_metric_book(settings: Settings) -> Path:
    """Write `<data>/docs/metrics.html` and return it. Raises `WarehouseMissing` before the first build."""
    warehouse = Warehouse(settings.paths.warehouse, settings.memory_limit, settings.threads)
    rows = warehouse.query(_SQL)
    page = settings.paths.root / "docs" / "metrics.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    told = rows.astype(object).where(rows.notna(), None).to_dict("records")
    page.write_text(metric_book(told, settings.business.name), encoding="utf-8")
    return page


def metric_book(rows: Sequence[Mapping[str, Any]], business: str) -> str:
    """The page. `rows`: the columns of `mart_metric_definitions` and `beside`, sorted by name."""
    names = list(dict.fromkeys(str(row["name"]) for row in rows))
    version = next((row["definition_version"] for row in rows), "default")
    scope = next((row["metric_scope"] for row in rows if row["metric_scope"]), None)
    links = "".join(f'<a href="#{escape(name)}">{escape(_words(name))}</a>' for name in names)
    parts = [
        "<!doctype html>",
        f'<html lang="en"><meta charset="utf-8"><title>Metric book: {escape(business)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style>",
        f"<h1>Metric book: {escape(business)}</h1>",
        f"<p>{len(names)} metrics, definitions in version <code>{escape(str(version))}</code>. "
        f"{escape(str(scope)) if scope else 'Every deal counts.'}</p>",
        f'<nav aria-label="Metrics">{links}</nav>',
    ]
    for name, found in groupby(rows, key=lambda row: str(row["name"])):
        parts.append(f'<h2 id="{escape(name)}">{escape(_words(name))}</h2>')
        parts += [_entry(row) for row in found]
    return "\n".join([*parts, "</html>\n"])


def _entry(row: Mapping[str, Any]) -> str:
    place = f"<code>{escape(row['table_name'])}.{escape(row['column_name'])}</code>"
    facts = [(title, str(row[key])) for title, key in _FACTS if row[key]]
    told = "".join(f"<dt>{title}</dt><dd>{escape(text)}</dd>" for title, text in facts)
    return f"<p>{escape(row['definition'] or '')}</p><dl><dt>Column</dt><dd>{place}</dd>{told}</dl>"


def _words(name: str) -> str:
    return name.replace("_", " ")
