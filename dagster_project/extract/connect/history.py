"""Files whose rows are changes: a stage log, an opportunity history, a history of single fields."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from dagster_project.extract.connect.columns import FieldMatch, FileMatch, map_file, names
from dagster_project.extract.connect.profile import Column, FileProfile, agreed, profile_column
from dagster_project.extract.connect.vocabulary import vocabulary, words

_CHANGE_OF_FIELD = ("deal_id", "field", "new_value", "changed_at")
_MOST_FIELDS = 200


def is_log(profile: FileProfile) -> bool:
    """Whether a file tells changes: stages before and after, or deals that come again in other stages."""
    fields = map_file(profile, "stage_history", "").fields
    if not {"deal_id", "stage", "changed_at"} <= fields.keys() or fields["deal_id"].column.is_key:
        return False
    return "from_stage" in fields or _moves(fields)


def _moves(fields: Mapping[str, FieldMatch]) -> bool:
    """Whether most deals that come again come in another stage; the products of a deal share its stage."""
    pairs = pd.DataFrame({"deal": fields["deal_id"].column.values, "stage": fields["stage"].column.values})
    by_deal = pairs.dropna().groupby("deal")["stage"].agg(["size", "nunique"])
    again = by_deal[by_deal["size"] > 1]
    return len(again) > 0 and bool((again["nunique"] > 1).mean() > 0.5)


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


def tells_fields(profile: FileProfile) -> bool:
    """Whether a file is a history of single fields: which field of which deal became what, and when."""
    fields = map_file(profile, "field_history", "").fields
    if not set(_CHANGE_OF_FIELD) <= fields.keys():
        return False
    told = fields["field"].column.distinct
    return len(told) <= _MOST_FIELDS and any(_target(name) for name in told)


def field_history(profile: FileProfile, deals: FileMatch) -> FileMatch | None:
    """A history of single fields of these deals, with the fields that it tells; None when it is none."""
    ids = deals.column("deal_id")
    if not tells_fields(profile):
        return None
    match = map_file(profile, "field_history", "each row is a change of one field of a deal")
    if not names(match.column("deal_id"), ids):
        return None
    told = _told(match)
    targets = {name: target for name in told if (target := _target(name))}
    if "stage" not in targets.values():
        # The field of the stages under a name of the business's own: its values are the deals' stages.
        targets |= {n: "stage" for n, column in told.items() if names(column, deals.column("stage"))}
    ranked = sorted(targets, key=lambda name: -len(told[name].values))
    read = agreed((*profile.columns, *(told[name] for name in ranked)))[len(profile.columns) :]
    return replace(
        match,
        told=dict(zip(ranked, read, strict=True)),
        targets={name: targets[name] for name in ranked},
    )


def log_frame(log: FileMatch) -> pd.DataFrame:
    """The stage changes of a log: deal, at, stage and, where it is told, from_stage."""
    columns = {
        name: log.fields[field].column for name, field in _frame_fields(log).items() if field in log.fields
    }
    frame = pd.DataFrame(
        {name: column.days if name == "at" else column.values for name, column in columns.items()}
    )
    if log.entity != "field_history":
        return frame
    of_stages = [name for name, target in log.targets.items() if target == "stage"]
    return frame[log.fields["field"].column.values.isin(of_stages)].reset_index(drop=True)


def _frame_fields(log: FileMatch) -> dict[str, str]:
    stage = ("new_value", "old_value") if log.entity == "field_history" else ("stage", "from_stage")
    return {"deal": "deal_id", "at": "changed_at", "stage": stage[0], "from_stage": stage[1]}


def _told(match: FileMatch) -> dict[str, Column]:
    """Name of each field → the column of its new values."""
    field, new = match.fields["field"].column, match.fields["new_value"].column
    return {
        name: profile_column(f"{new.header} ({name})", new.index, new.values[field.values == name])
        for name in field.distinct
    }


def _target(name: str) -> str | None:
    return vocabulary().history_fields.get(words(name))
