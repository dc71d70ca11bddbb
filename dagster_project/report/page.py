"""One page as text: the sections in the order of the questions, put into the template, everything escaped."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from dagster_project.report.blocks import Choice, Figures, Fold, Section, Shown, Table, Words
from dagster_project.report.change_section import change_section
from dagster_project.report.deal_section import deal_section
from dagster_project.report.head_section import compare_choice, head_figures, slice_choice
from dagster_project.report.page_context import PageContext
from dagster_project.report.people_sections import loss_section, member_section
from dagster_project.report.quarter_section import quarter_section
from dagster_project.report.sentences import sentence_parts
from dagster_project.report.stage_sections import bottleneck_section, conversion_section, duration_section
from dagster_project.report.trust_sections import (
    alert_box,
    data_section,
    definition_section,
    readiness_box,
    record_section,
)
from dagster_project.report.words import long_date

FOLDER = Path(__file__).parent / "page"


def render_page(context: PageContext, settings: Sequence[tuple[str, str]] = ()) -> str:
    """The page as one HTML text that needs nothing else.

    `settings`: name and value of each metric setting that differs from its default.
    """
    choices = [choice for choice in (slice_choice(context), compare_choice(context)) if choice]
    head = head_figures(context)
    boxes = (alert_box(context), readiness_box(context))
    head += [Shown(box) for box in boxes if box is not None]
    sections = page_sections(context)
    sources = sorted({*sources_of(head), *(s for section in sections for s in sources_of(section.parts))})
    definitions = [context.marts.published.definition(source) for source in sources]
    sections.append(definition_section(context, definitions, settings))
    style, script = (_text(name) for name in ("report.css", "report.js"))
    picked = _defaults([*choices, *(choice for section in sections for choice in section.choices)])
    groups: dict[tuple[str, ...], str] = {}

    def meanings(sources: Sequence[str]) -> str:
        return groups.setdefault(tuple(sources), f"g{len(groups) + 1}")

    return _template().render(
        title=context.edition.title,
        business=context.business,
        currency=context.currency,
        as_of=long_date(context.marts.stamp.as_of),
        through=_data_through(context),
        stamp=context.marts.stamp,
        head_choices=choices,
        head_parts=head,
        sections=sections,
        definitions=definitions,
        definition={item.source: item for item in definitions}.__getitem__,
        meanings=meanings,
        groups=lambda: list(groups.items()),
        is_shown=lambda when: all(picked.get(key, value) == value for key, value in when.items()),
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
    )


def page_sections(context: PageContext) -> list[Section]:
    """Sections 1 to 11."""
    question = "What changed, how does the quarter go, why, and what to do?"
    return [
        Section(1, "In five sentences", question, sentence_parts(context)),
        quarter_section(context),
        change_section(context),
        deal_section(context),
        conversion_section(context),
        duration_section(context),
        bottleneck_section(context),
        member_section(context),
        loss_section(context),
        record_section(context),
        data_section(context),
    ]


def sources_of(parts: Sequence[Shown]) -> Iterator[str]:
    """The figures (table.column) that the parts show."""
    for shown in parts:
        block = shown.part
        if isinstance(block, Words):
            yield from (source for sentence in block.sentences for source in sentence.sources)
        elif isinstance(block, Figures):
            yield from (figure.source for figure in block.figures)
        else:
            tables = block.tables if isinstance(block, Fold) else [_table_of(block)]
            yield from (c.source for table in tables for c in table.columns if c.source)


def _table_of(block: object) -> Table:
    return block if isinstance(block, Table) else block.table


def _defaults(choices: Sequence[Choice]) -> Mapping[str, str]:
    return {choice.key: choice.options[0][0] for choice in choices}


def _data_through(context: PageContext) -> str | None:
    days = [row["data_fresh_as_of"] for row in context.marts.forecasts if row["data_fresh_as_of"]]
    return long_date(min(days)) if days and isinstance(days[0], date) else None


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, auto_reload=False
    )
    # Only pictures that this package has drawn; every text in them is escaped by the drawing library.
    environment.filters["picture"] = Markup
    return environment.get_template("report.html")


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """What the page may load: its own style and script, and nothing from anywhere."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; style-src 'sha256-{digest(style)}'; script-src 'sha256-{digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
