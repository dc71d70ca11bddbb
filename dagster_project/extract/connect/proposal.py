"""Everything a draft says: what the files are, stages, dates, currency and aliases, with their evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from dagster_project.extract.connect.columns import FieldMatch, FileMatch
from dagster_project.extract.connect.deliveries import Delivery, find_deliveries, snapshot_frame
from dagster_project.extract.connect.history import log_frame
from dagster_project.extract.connect.joins import Alias, find_aliases
from dagster_project.extract.connect.matching import Matching, match_files, what_is_missing
from dagster_project.extract.connect.profile import Column, FileProfile
from dagster_project.extract.connect.stage_facts import StageFacts
from dagster_project.extract.connect.stages import StageReading, read_stages
from dagster_project.extract.connect.status_words import StatusReading, read_statuses

_FEWEST, _MOSTLY = 5, 0.5
TableKey = tuple[Path, str | None, str | None]


class NothingToConnect(Exception):
    """No file of deals was found; the text says what was looked for."""


class Undecided(Exception):
    """The files can be read in two ways; the text says which, and how to say the right one."""

    def __init__(self, setting: str, choices: tuple[str, ...], text: str) -> None:
        self.setting = setting
        self.choices = choices
        super().__init__(text)


@dataclass(frozen=True)
class Proposal:
    """A draft before it is written.

    `deliveries`: table → the files that deliver it. `aliases`: entity → names to be read as others.
    """

    matching: Matching
    stages: StageReading
    deliveries: Mapping[TableKey, Delivery]
    currency: str
    currency_evidence: str | None
    statuses: StatusReading = field(default_factory=StatusReading)
    aliases: Mapping[str, tuple[Alias, ...]] = field(default_factory=dict)
    closed_by_event: str | None = None
    """Why closed deals are dated by their closing and not by their close date; None when these agree."""
    notes: tuple[str, ...] = ()

    @property
    def deals(self) -> FileMatch:
        """The file of the deals."""
        return self.matching.files[0]

    @property
    def to_check(self) -> int:
        """How many proposals are so unsure that a person should look."""
        fields = [m for match in self.matching.files for m in match.fields.values()]
        unsure = sum(match.confidence == "low" for match in fields)
        unsure += any(stage.confidence == "low" for stage in self.stages.stages)
        unsure += any(status.confidence == "low" for status in self.statuses.words)
        return unsure + (self.currency_evidence is None)


def propose(profiles: Sequence[FileProfile]) -> Proposal:
    """Say what some files are and how to read them.

    Errors: NothingToConnect; Undecided when dates or numbers can be read in two ways.
    """
    deliveries = find_deliveries(profiles)
    matching = match_files([delivery.newest for delivery in deliveries])
    for match in matching.files:
        _refuse_undecided(match)
    if not matching.files or matching.files[0].entity != "deals":
        raise NothingToConnect(what_is_missing(profiles))
    deals = matching.files[0]
    log = matching.of("stage_history") or matching.of("field_history")
    by_key = {delivery.newest.key: delivery for delivery in deliveries}
    reading = StageReading(())
    facts = _facts(deals, log)
    statuses = read_statuses(facts.status, facts.dates, facts.has_lost_reason)
    if matching.of("stages") is None:
        ids, stages = (deals.fields[name].column.header for name in ("deal_id", "stage"))
        snapshots = snapshot_frame(by_key[deals.profile.key].files, ids, stages)
        told = facts.status if facts.status is None else statuses.translated(facts.status)
        reading = read_stages(replace(facts, status=told, snapshots=snapshots))
    deals = _with_dates(deals, reading, statuses)
    files = tuple(_with_teams(match) for match in (deals, *matching.files[1:]))
    currency, evidence = _currency(files)
    return Proposal(
        matching=replace(matching, files=files),
        stages=reading,
        deliveries=by_key,
        currency=currency,
        currency_evidence=evidence,
        statuses=statuses,
        aliases=_aliases(files),
        closed_by_event=_closed_by_event(files[0], reading),
        notes=reading.notes,
    )


def _refuse_undecided(match: FileMatch) -> None:
    """Refuse columns that are read and can be read in two ways; what is not mapped may stay a riddle."""
    name = match.profile.name
    read = {found.column.index for found in match.fields.values()}
    for column in (*match.profile.columns, *match.told.values()):
        if column.date_order == "unknown" and (column.index in read or match.entity == "deals"):
            raise Undecided(
                "DATE_ORDER",
                ("dmy", "mdy"),
                f"{name}, column {column.header!r}: {column.samples[0]} can be day first or month first, "
                "and no value of the file decides it. Say it: add DATE_ORDER=dmy or DATE_ORDER=mdy "
                "to make connect",
            )
        if column.decimal == "unknown" and column.index in read:
            sample = next(value for value in column.filled if "," in value or "." in value)
            raise Undecided(
                "DECIMAL",
                (".", ","),
                f"{name}, column {column.header!r}: in {sample} the mark can part thousands or decimals, and "
                "no value of the file decides it. Say it: add DECIMAL=. or DECIMAL=, to make connect",
            )


def _facts(deals: FileMatch, log: FileMatch | None) -> StageFacts:
    stage = deals.fields["stage"].column
    rows = _newest_rows(deals) if log is not None and log.profile is deals.profile else stage.values.index

    def newest(column: Column | None) -> Column | None:
        return column and replace(column, values=column.values.loc[rows].reset_index(drop=True))

    pipeline, status = newest(deals.column("pipeline")), newest(deals.column("status"))
    created, ended = newest(deals.column("created_at")), newest(deals.column("closed_at"))
    amount, probability = newest(deals.column("amount")), newest(deals.column("probability"))
    lost_reason = newest(deals.column("lost_reason"))
    return StageFacts(
        stage=replace(stage, values=stage.values.loc[rows].reset_index(drop=True)).values,
        pipeline=pipeline and pipeline.values,
        dates=[found for column in deals.profile.columns if column.is_dated and (found := newest(column))],
        amount=amount and amount.numbers,
        status=status and status.values,
        probability=probability and probability.numbers,
        lived=(ended.days - created.days).dt.total_seconds() / 86_400 if created and ended else None,
        has_lost_reason=lost_reason and lost_reason.values.notna(),
        log=log and log_frame(log),
    )


def _newest_rows(deals: FileMatch) -> pd.Index:
    """The last row of each deal in a file of changes."""
    ids = deals.fields["deal_id"].column.values
    modified = deals.column("modified_at")
    if modified is None:
        return ids.drop_duplicates(keep="last").index
    frame = pd.DataFrame({"deal": ids, "at": modified.days}).sort_values("at", kind="stable")
    return frame.drop_duplicates("deal", keep="last").sort_index().index


def _with_dates(deals: FileMatch, reading: StageReading, statuses: StatusReading) -> FileMatch:
    """The deals with their dates by content: a closing date is no expected one, and the reverse."""
    fields = dict(deals.fields)
    mapped = fields.get("close_date")
    closing = deals.profile.column(reading.closing) if reading.closing else None
    if closing is not None:
        ends = ", ".join(stage.name for stage in reading.stages if stage.outcome != "open")
        why = f"filled in closed stages ({ends}) only: the day of closing, not an expectation"
        fields = {f: m for f, m in fields.items() if f not in ("close_date",) or m.column is not closing}
        fields["closed_at"] = FieldMatch("closed_at", closing, why, "high")
        if "close_date" not in fields:
            fields["close_date"] = FieldMatch("close_date", closing, why, "high")
    elif statuses.closing and "closed_at" not in fields:
        column = deals.profile.column(statuses.closing)
        why = "filled where the status says that a deal is closed"
        fields = {f: m for f, m in fields.items() if m.column is not column}
        fields["closed_at"] = FieldMatch("closed_at", column, why, "high")
        fields.setdefault("close_date", FieldMatch("close_date", column, why, "high"))
    elif mapped is not None:
        share = f"{mapped.column.fill_share:.0%} of all deals, open ones too"
        why = f"{mapped.evidence}; filled in {share}: expected while open"
        fields["close_date"] = replace(mapped, evidence=why)
    taken = {match.column.index for match in fields.values()} | {
        deals.profile.column(header).index for header in reading.entered.values()
    }
    if reading.created and "created_at" not in fields:
        column = deals.profile.column(reading.created)
        if column.index not in taken:
            why = "every deal has it, and it lies before all other dates"
            fields["created_at"] = FieldMatch("created_at", column, why, "medium")
    return replace(deals, fields=fields)


def _closed_by_event(deals: FileMatch, reading: StageReading) -> str | None:
    """Why the close date does not date the closing: some CRMs keep the expected day in it."""
    expected, closed_at = deals.column("close_date"), deals.column("closed_at")
    if expected is None or not expected.is_dated:
        return None
    ends = [
        stage.name for stage in reading.stages if stage.outcome != "open" and stage.name in reading.entered
    ]
    closed = deals.profile.column(reading.entered[ends[0]]).days if ends else None
    for name in ends[1:]:
        closed = closed.combine_first(deals.profile.column(reading.entered[name]).days)
    if closed_at is not None:
        closed = closed_at.days
    if closed is None:
        return None
    both = closed.notna() & expected.days.notna()
    agreeing = (closed[both].dt.normalize() == expected.days[both].dt.normalize()).mean()
    if both.sum() < _FEWEST or agreeing >= _MOSTLY:
        return None
    return (
        f"only {agreeing:.0%} of {both.sum():,} closed deals have their day of closing in "
        f"{expected.header!r}: it keeps the expected day"
    )


def _with_teams(match: FileMatch) -> FileMatch:
    if match.entity != "owners" or "team" in match.fields or "manager" not in match.fields:
        return match
    manager = match.fields["manager"]
    why = "there is no column of teams: those who share a manager are one"
    return replace(match, fields={**match.fields, "team": FieldMatch("team", manager.column, why, "medium")})


def _currency(files: Sequence[FileMatch]) -> tuple[str, str | None]:
    """The reporting currency: that of most deals, else what headers or amounts say, else an assumption."""
    for match in files:
        column = match.column("currency")
        codes = column.filled.str.upper() if column is not None else pd.Series(dtype="object")
        codes = codes[codes.str.fullmatch("[A-Z]{3}")] if len(codes) else codes
        if len(codes):
            top = str(codes.mode().iloc[0])
            share = (codes == top).mean()
            return top, f"{share:.0%} of the rows of {match.profile.name} are in {top}"
    for match in files:
        if code := match.profile.currency:
            return code, f"the amounts of {match.profile.name} name it"
    return "USD", None


def _aliases(files: Sequence[FileMatch]) -> dict[str, tuple[Alias, ...]]:
    found: dict[str, tuple[Alias, ...]] = {}
    table = next((match.column("alias") for match in files if match.entity == "aliases"), None)
    told = table.distinct if table is not None else frozenset()
    for match in files[1:]:
        for join in match.joins.values():
            aliases = find_aliases(join.column, join.key, match.column("name"))
            if untold := tuple(alias for alias in aliases if alias.alias not in told):
                found[match.entity.removesuffix("s")] = untold
    return found
