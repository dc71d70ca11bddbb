"""A proposal as a commented pipeline.yaml: each line with its evidence, sample values and confidence."""

import csv
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dagster_project.extract.connect.columns import CONTRACTS, FieldMatch, FileMatch
from dagster_project.extract.connect.deliveries import Delivery, file_day
from dagster_project.extract.connect.joins import Alias
from dagster_project.extract.connect.matching import Matching, why_unused
from dagster_project.extract.connect.profile import Column
from dagster_project.extract.connect.proposal import Proposal
from dagster_project.extract.connect.stages import StageProposal
from dagster_project.extract.connect.status_words import StatusProposal
from dagster_project.extract.connect.vocabulary import dates_stage_change

ALIAS_FILE = "aliases.csv"
_WIDTH = 44
_SAMPLE_LENGTH = 24
# What most metrics stand on; said when no column was found.
_WANTED = {
    "amount": "deals are counted, but not priced",
    "created_at": "the sales cycle starts at the first dated stage",
    "close_date": "it cannot be said which quarter a deal is meant for",
    "owner": "no figures per owner and team",
    "lost_reason": "why deals are lost cannot be said",
}


class DraftExists(Exception):
    """The file to write is there already; a draft never overwrites."""


def write_draft(proposal: Proposal, out: Path) -> list[Path]:
    """Write the configuration, and beside it the aliases where there are any; give the files written.

    Errors: DraftExists.
    """
    texts = {out: render(proposal, out)}
    if alias_text := render_aliases(proposal):
        texts[out.with_name(ALIAS_FILE)] = alias_text
    for path in texts:
        if path.exists():
            raise DraftExists(
                f"{path} exists and is not overwritten. Name another file (OUT=my/other/pipeline.yaml), "
                "or move it away"
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


def render(proposal: Proposal, out: Path) -> str:
    """The text of the configuration; paths are relative to the folder of `out`."""
    return "\n".join(_lines(proposal, out)) + "\n"


def render_aliases(proposal: Proposal) -> str:
    """The aliases that are sure, as a table; empty when there are none."""
    rows = [(entity, alias.alias, alias.name) for entity, alias in _new_aliases(proposal)]
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("entity", "alias", "name"), *rows])
    return text.getvalue()


def _new_aliases(proposal: Proposal) -> list[tuple[str, Alias]]:
    """The sure aliases, unless the files bring a table of aliases of their own."""
    if proposal.matching.of("aliases"):
        return []
    return [(entity, a) for entity, found in proposal.aliases.items() for a in found if a.is_sure]


def scalar(text: str) -> str:
    """A text as a YAML value that reads back as the same text, also within braces."""
    is_plain = re.fullmatch(r"[A-Za-z_][\w./-]*( [\w./-]+)*", text) and text.lower() != "null"
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _lines(proposal: Proposal, out: Path) -> Iterator[str]:
    deals = proposal.deals
    yield "# A draft, written by `make connect` from what your files hold. Each line says why it is there:"
    yield "# evidence, some values, and how sure it is. Look at the lines marked CHECK, mend them, then"
    yield f"# try it without running anything:   make check CONFIG={out}"
    yield ""
    yield "business:"
    yield _line("  name: My business", "CHECK: shown in the report")
    yield _line("  time_zone: UTC", "CHECK: no file tells it; such as Europe/Amsterdam, America/New_York")
    evidence = proposal.currency_evidence
    note = f"{evidence} · medium" if evidence else "CHECK: no file names a currency, so this one is assumed"
    yield _line(f"  currency: {proposal.currency}", note)
    yield _line("  fiscal_year_start_month: 1", "2 = the fiscal year begins in February")
    yield ""
    yield "sources:"
    yield _line("  - name: crm_export", "appears as source_relation")
    yield "    type: files"
    yield _line("    # time_zone: UTC", "of instants without an offset, where not the business's own")
    for match in proposal.matching.files:
        if match.entity in CONTRACTS:
            yield from _table(match, proposal, out)
            if match is deals:
                yield from _entered(proposal)
                yield from _stages(proposal.stages.stages)
                yield from _statuses(proposal.statuses.words)
    yield from _facts(proposal, out)
    if proposal.closed_by_event:
        yield ""
        yield "metrics:"
        yield _line("  dates: {won: event, lost: event}", proposal.closed_by_event)
    yield from _left_over(proposal.matching)


def _table(match: FileMatch, proposal: Proposal, out: Path) -> Iterator[str]:
    profile = match.profile
    yield ""
    delivery = proposal.deliveries[profile.key]
    yield f"    # {profile.name}: {profile.row_count}; {match.evidence}"
    if delivery.earlier:
        yield f"    # the newest of {len(delivery.files)} files that deliver it ({_span_of(delivery)})"
    if profile.broken_rows:
        yield f"    # CHECK: {profile.broken_rows:,} of its rows are not as wide as the header"
    yield f"    {match.entity}:"
    yield f"      path: {scalar(relative(delivery.path, out))}"
    if delivery.member:
        yield _line(f"      member: {scalar(delivery.member)}", "the file in the archive")
    if profile.sheet:
        yield f"      sheet: {scalar(profile.sheet)}"
    if settings := _format(match):
        yield _line(f"      format: {{{settings}}}", "how dates and numbers are written in this file")
    yield "      columns:"
    order = list(CONTRACTS[match.entity].fields)
    for name in sorted(match.fields, key=order.index):
        yield _line(f"        {name}: {scalar(match.fields[name].column.header)}", _why(match.fields[name]))
    if match.targets:
        yield from _told(match)
    if match.entity == "deals":
        for name, loss in _WANTED.items():
            if name not in match.fields:
                yield f"        # {name}: no column was found; without it {loss}"
    entered = set(proposal.stages.entered.values()) if match.entity == "deals" else set()
    for column in match.unmapped:
        if column.header not in entered:
            yield f"        # not mapped: {_described(column)}"


def _told(match: FileMatch) -> Iterator[str]:
    """The fields of a field history: its own names, and ours."""
    yield _line("      fields:", "a field's name in the file: our field")
    for name, target in match.targets.items():
        column = match.told[name]
        yield _line(f"        {scalar(name)}: {target}", f"{len(column.values):,} changes{_values(column)}")
    for name in sorted(match.fields["field"].column.distinct - match.targets.keys()):
        yield f"        # not read: changes of {_short(name, 60)}"


def _span_of(delivery: Delivery) -> str:
    first, last = (file_day(profile) or profile.name for profile in (delivery.files[0], delivery.newest))
    return f"{first} to {last}"


def _entered(proposal: Proposal) -> Iterator[str]:
    entered = proposal.stages.entered
    if not entered:
        return
    yield ""
    yield "    # Stage: the column with the date of its entry. One named twice dates the stage a deal is in."
    yield "    stage_entered:"
    columns = {column.header: column for column in proposal.deals.profile.columns}
    for stage, header in entered.items():
        shared = list(entered.values()).count(header) > 1
        why = "filled when a deal is closed" if shared else "filled from this stage on, blank before"
        if dates_stage_change(header):
            why = "the last change of stage: dates the stage a deal is in"
        if "enter" in header.lower():
            why = "its header says so"
        yield _line(f"      {scalar(stage)}: {scalar(header)}", f"{why}{_values(columns[header])}")
    for note in proposal.notes:
        yield f"      # {note}"


def _stages(stages: Sequence[StageProposal]) -> Iterator[str]:
    if not stages:
        return
    yield ""
    yield "    # Stages in their order, and how the last ones end a deal."
    yield "    stages:"
    for stage in stages:
        parts = [f"name: {scalar(stage.name)}"]
        parts += [f"pipeline: {scalar(stage.pipeline)}"] if stage.pipeline else []
        parts += [f"order: {stage.order}"] if stage.outcome == "open" else [f"outcome: {stage.outcome}"]
        mark = "CHECK: " if stage.confidence == "low" else ""
        yield _line(
            f"      - {{{', '.join(parts)}}}",
            f"{mark}{stage.evidence} · {stage.deals:,} deals · {stage.confidence}",
        )


def _statuses(statuses: Sequence[StatusProposal]) -> Iterator[str]:
    if not statuses:
        return
    yield ""
    yield "    # The business's own words for the state of a deal."
    yield "    statuses:"
    for status in statuses:
        mark = "CHECK: " if status.confidence == "low" else ""
        yield _line(
            f"      {scalar(status.word)}: {status.outcome}",
            f"{mark}{status.evidence} · {status.deals:,} deals · {status.confidence}",
        )


def _facts(proposal: Proposal, out: Path) -> Iterator[str]:
    facts = [match for match in proposal.matching.files if match.entity not in CONTRACTS]
    aliases = [(entity, alias) for entity, found in proposal.aliases.items() for alias in found]
    if not facts and not aliases:
        return
    sure = _new_aliases(proposal)
    yield ""
    yield "# What your business knows beside its CRM." if facts or sure else "# Names that look like others:"
    if facts or sure:
        yield "tables:"
    for match in facts:
        delivery = proposal.deliveries[match.profile.key]
        parts = [f"path: {scalar(relative(delivery.path, out))}"]
        parts += [f"member: {scalar(delivery.member)}"] if delivery.member else []
        parts += [f"sheet: {scalar(match.profile.sheet)}"] if match.profile.sheet else []
        parts += [f"format: {{{settings}}}"] if (settings := _format(match)) else []
        yield _line(f"  {match.entity}: {{{', '.join(parts)}}}", match.evidence)
    if sure:
        yield _line(f"  aliases: {{path: {ALIAS_FILE}}}", "names in the deals that mean a known one:")
    for entity, alias in aliases:
        is_in = (entity, alias) in sure
        yield f"  # {'in it' if is_in else 'not in it, CHECK'}: {_spelling(entity, alias)}"


def _spelling(entity: str, alias: Alias) -> str:
    differs = "only blanks, case or marks differ" if alias.is_sure else "they are spelled nearly the same"
    return f"{entity} {alias.alias!r} → {alias.name!r} ({alias.rows:,} deals; {differs})"


def _left_over(matching: Matching) -> Iterator[str]:
    for profile in matching.unknown:
        yield ""
        yield f"# {profile.name} ({profile.row_count}) is not used: {why_unused(profile, matching)}. It has:"
        for column in profile.columns:
            yield f"#   {_described(column)}"


def _format(match: FileMatch) -> str:
    parts = []
    if match.profile.encoding == "cp1252":
        parts.append("encoding: cp1252")
    if match.date_order:
        parts.append(f"date_order: {match.date_order}")
    if match.decimal:
        parts.append(f"decimal: {json.dumps(match.decimal)}")
    return ", ".join(parts)


def _why(match: FieldMatch) -> str:
    mark = "CHECK: " if match.confidence == "low" else ""
    return f"{mark}{match.evidence}{_values(match.column)} · {match.confidence}"


def _values(column: Column) -> str:
    if span := column.span:
        return f" · {span[0]} to {span[1]}"
    samples = [_short(sample) for sample in column.samples[:2] if "@" not in sample]
    return f" · {', '.join(samples)}" if samples else ""


def _described(column: Column) -> str:
    return f"{_short(column.header, 60)} ({column.kind}, {column.fill_share:.0%} filled){_values(column)}"


def _short(text: str, length: int = _SAMPLE_LENGTH) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= length else f"{flat[: length - 1]}…"


def _line(text: str, comment: str) -> str:
    return f"{text:<{_WIDTH}}  # {comment}"


def relative(path: str, out: Path) -> str:
    """A path as the configuration names it: relative to its own folder."""
    return os.path.relpath(Path(path).absolute(), out.absolute().parent)
