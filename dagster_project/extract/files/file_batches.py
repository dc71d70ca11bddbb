"""Copy what a file holds from its scratch database to Parquet in the landing's columns."""

from collections.abc import Callable
from pathlib import Path

from dagster_project.contract import SOURCE_ENTITIES
from dagster_project.extract.files.scratch import FileScratch, literal
from dagster_project.extract.landing import Stamp

# A row group is written out whole: with long texts, one of the default size took hundreds of MB.
_ROW_GROUP_BYTES, _MOST_IN_ROW_GROUP, _FIELDS_BYTES = 16_000_000, 122_880, 300
Fill = Callable[[Path], None]
_HISTORY = SOURCE_ENTITIES["stage_history"]


def kept_records(scratch: FileScratch, stamp: Stamp, file: str, sha256: str) -> Fill:
    """The kept rows as records of the file's entity."""
    fields = {name: _kept_value(scratch, name) for name in scratch.entity.fields}
    content = _json(fields)
    origin = (
        f"'extra', extra::json, 'file', {literal(file)}, 'row', line::varchar, 'sha256', {literal(sha256)}"
    )
    where = [*_json_pairs(fields), origin]
    modified = "try_cast(f_modified_at as timestamp)" if scratch.has("modified_at") else "null::timestamp"
    return _copy(
        scratch,
        stamp,
        record_id=_record_id(scratch, content),
        modified_at=modified,
        payload=f"json_object({', '.join(where)})",
        relation="kept",
    )


def stage_entries(scratch: FileScratch, stamp: Stamp, file: str) -> Fill:
    """The kept rows' date columns as records of stage_history, one per deal and filled date."""
    given = {
        "deal_id": "f_deal_id",
        "changed_at": "entered_at",
        "stage": "stage_id",
        "pipeline": "f_pipeline" if scratch.has("pipeline") else "null::varchar",
        "time_precision": "case when is_day then 'day' else 'event' end",
        "change_source": "'date_column'",
    }
    fields = {name: given.get(name, "null::varchar") for name in _HISTORY.fields}
    where = [*_json_pairs(fields), f"'extra', '{{}}'::json, 'file', {literal(file)}, 'row', line::varchar"]
    return _copy(
        scratch,
        stamp,
        record_id=f"md5({_json(fields)})",
        modified_at="null::timestamp",
        payload=f"json_object({', '.join(where)})",
        relation="entries",
    )


def reject_records(scratch: FileScratch, stamp: Stamp, file: str, sha256: str) -> Fill:
    """The rejected rows as records of the entity `rejects`, but those of purged records.

    `key`: the row's own key; `record`: the record that it belongs to, where the row names them.
    """
    key = next(iter(scratch.entity.key), "")
    fields = {
        "file": literal(file),
        "row": "line::varchar",
        "column": 'problem."column"',
        "value": 'problem."value"',
        "reason": "problem.reason",
        "entity": literal(scratch.entity.name),
        "hint": "problem.hint",
        "key": "key" if scratch.has(key) else "null::varchar",
        "record": "record",
        "sha256": literal(sha256),
    }
    return _copy(
        scratch,
        stamp,
        record_id=f"{literal(file + ':')} || line::varchar",
        modified_at="null::timestamp",
        payload=_json(fields),
        relation="told_rejects",
    )


def _kept_value(scratch: FileScratch, field: str) -> str:
    if scratch.entity.name == "stage_history" and field == "time_precision":
        return "case when is_day_changed_at then 'day' else 'event' end"
    if scratch.entity.name == "stage_history" and field == "change_source":
        return "'history'"
    if field in scratch.stage_fields():
        return f"id_{field}"
    if not scratch.has(field):
        return "null::varchar"
    if field == scratch.share_field and scratch.has_percentages():
        return f"decimal_text((f_{field}::decimal(38, 9) / 100)::varchar)"
    return f"f_{field}"


def _record_id(scratch: FileScratch, content: str) -> str:
    if scratch.entity.name == "stages":
        parts = [f"coalesce(f_{f}, '')" if scratch.has(f) else "''" for f in ("pipeline", "valid_from")]
        return f"concat_ws('/', {parts[0]}, f_stage_id, {parts[1]})"
    key = "event_id" if scratch.entity.name == "stage_history" else next(iter(scratch.entity.key), "")
    return f"coalesce(f_{key}, md5({content}))" if scratch.has(key) else f"md5({content})"


def _json_pairs(fields: dict[str, str]) -> list[str]:
    return [f"'{name}', {value}" for name, value in fields.items()]


def _json(fields: dict[str, str]) -> str:
    return f"json_object({', '.join(_json_pairs(fields))})::varchar"


def _copy(
    scratch: FileScratch, stamp: Stamp, *, record_id: str, modified_at: str, payload: str, relation: str
) -> Fill:
    extracted = stamp.extracted_at.strftime("%Y-%m-%d %H:%M:%S.%f")
    query = f"""
        select
            {literal(stamp.source)} as source_relation,
            ({record_id})::varchar as record_id,
            {modified_at} as modified_at,
            timestamp '{extracted}' as extracted_at,
            {literal(stamp.batch_id)} as batch_id,
            {str(stamp.is_initial_load).lower()} as is_initial_load,
            false as is_deleted,
            ({payload})::varchar as payload
        from {relation}
    """

    def fill(path: Path) -> None:
        scratch.connection.execute(
            f"copy ({query}) to {literal(str(path))} "
            f"(format parquet, compression zstd, row_group_size {_row_group(scratch)})"
        )

    return fill


def _row_group(scratch: FileScratch) -> int:
    """How many rows of a file make a row group of Parquet."""
    (extra,) = scratch.one("select coalesce(avg(length(extra)), 0)::bigint from typed")
    return max(2_048, min(_MOST_IN_ROW_GROUP, _ROW_GROUP_BYTES // (_FIELDS_BYTES + extra)))
