"""Which rows of a file are kept: every row ends as exactly one of kept, rejected or duplicate.

The first of exactly equal rows is judged, the others are duplicates. Where the versions of a deal stand in
the order of their `modified_at`, that order also tells the newest of those of one instant, and the others
count as duplicates. Any other row that names a record already met, with other values, is rejected: which of
the two is true cannot be known.
"""

from dagster_project.extract.files.scratch import FileScratch, literal

_OUT_OF_ORDER = 0.05  # share of the steps against the order of a file that is still in order


def judge(scratch: FileScratch) -> None:
    """Create `duplicates`, `conflicts`, `kept`, `rejected` and `entries` from `typed`."""
    scratch.refuse_open_numbers()
    scratch.connection.execute(
        """
        create or replace table duplicates as
        with repeated as (
            select row_hash, min(line) as first_line from typed group by row_hash having count(*) > 1
        )
        select typed.line
        from typed
        join repeated on repeated.row_hash = typed.row_hash and typed.line > repeated.first_line
        """
    )
    _add_older_of_one_instant(scratch)
    scratch.connection.execute(f"create or replace table conflicts as {_conflict_query(scratch)}")
    stage_ids = "".join(
        f", {field}_ids.stage_id as id_{field}, {field}_ids.outcome as outcome_{field}"
        f", {field}_ids.is_unknown as is_unknown_{field}"
        for field in scratch.stage_fields()
    )
    joins = "".join(
        f" left join stage_ids as {field}_ids on {field}_ids.written = k.f_{field}"
        f" and {field}_ids.pipeline is not distinct from {_pipeline(scratch, 'k')}"
        for field in scratch.stage_fields()
    )
    _create_stage_ids(scratch)
    scratch.connection.execute(
        f"""
        create or replace temp view kept as
        select k.*{stage_ids}
        from typed as k{joins}
        where k.problem is null
            and k.line not in (select line from duplicates)
            and k.line not in (select line from conflicts)
        """
    )
    _create_rejected(scratch)
    _create_entries(scratch)


def _add_older_of_one_instant(scratch: FileScratch) -> None:
    """Count the older versions of one record and instant as duplicates, if the file is in order of time."""
    names = [field for field in scratch.entity.key if field in scratch.columns.columns]
    if not names or names[0] != scratch.entity.key[0] or "modified_at" not in scratch.columns.columns:
        return
    first, *others = (f"f_{field}" for field in names)
    key = f"row({first}, {', '.join(others)})" if others else first
    scratch.connection.execute(
        f"""
        insert into duplicates
        with judged as (
            select line, {key} as key, f_modified_at as changed from typed
            where problem is null and {first} is not null and f_modified_at is not null
                and line not in (select line from duplicates)
        ),
        steps as (
            select changed, lag(changed) over (partition by key order by line) as before from judged
        ),
        direction as (
            select
                count(*) filter (where before < changed) as up,
                count(*) filter (where before > changed) as down
            from steps
        ),
        again as (
            select key, changed, min(line) as first_line, max(line) as last_line
            from judged group by key, changed having count(*) > 1
        )
        select judged.line
        from judged
        join again on again.key = judged.key and again.changed = judged.changed
        cross join direction
        where (up > 0 and down <= {_OUT_OF_ORDER} * up and judged.line < again.last_line)
            or (down > 0 and up <= {_OUT_OF_ORDER} * down and judged.line > again.first_line)
        """
    )


def _create_stage_ids(scratch: FileScratch) -> None:
    """Every spelling of a stage in the file, per pipeline, with the stage it means."""
    if not scratch.stage_fields():
        return
    written = " union ".join(
        f"select distinct f_{field} as written, {_pipeline(scratch, 'typed')} as pipeline from typed"
        for field in scratch.stage_fields()
    )
    scratch.connection.execute(
        f"""
        create or replace temp table stage_ids as
        select
            w.written,
            w.pipeline,
            coalesce(own.stage_id, any_pipeline.stage_id, w.written) as stage_id,
            coalesce(own.outcome, any_pipeline.outcome) as outcome,
            own.stage_id is null and any_pipeline.stage_id is null as is_unknown
        from ({written}) as w
        left join stage_texts as own
            on own.name = plain_text(w.written) and own.pipeline = plain_text(w.pipeline)
        left join stage_texts as any_pipeline
            on any_pipeline.name = plain_text(w.written) and any_pipeline.pipeline is null
        where w.written is not null
        """
    )


def _pipeline(scratch: FileScratch, relation: str) -> str:
    return f"{relation}.f_pipeline" if scratch.has("pipeline") else "cast(null as varchar)"


def _create_rejected(scratch: FileScratch) -> None:
    key = scratch.entity.key[0] if scratch.entity.key and scratch.has(scratch.entity.key[0]) else None
    value = f"t.f_{key}" if key else "null::varchar"
    # A row that cannot be told apart into values blames no column, and its values are not its own.
    named = f'case when problem."column" is not null then f_{key} end' if key else "null::varchar"
    header = scratch.columns.headers[scratch.columns.columns[key]] if key in scratch.columns.columns else key
    scratch.connection.execute(
        f"""
        create or replace temp view rejected as
        select line, problem, {named} as key from typed
        where problem is not null and line not in (select line from duplicates)
        union all
        select
            t.line,
            struct_pack(
                "column" := {literal(header or "")},
                "value" := {value},
                reason := 'is the same record as line ' || c.first_line::varchar || ', with other values',
                hint := 'keep one of the two rows, or map modified_at if both are versions of one record'
            ),
            {value}
        from conflicts as c
        join typed as t on t.line = c.line
        """
    )


def _create_entries(scratch: FileScratch) -> None:
    """Stage entries: a column shared by several stages dates only the stage the deal is in.

    A name that stages of several pipelines bear means the one of the deal's pipeline.
    """
    if not scratch.columns.stage_columns:
        return
    scratch.connection.execute(
        "create or replace temp table entry_stages (place int, is_shared boolean, stage varchar)"
    )
    for column in scratch.columns.stage_columns:
        scratch.connection.execute(
            "insert into entry_stages values ($1, $2, $3)", [column.index, column.is_shared, column.stage]
        )
    places = sorted({column.index for column in scratch.columns.stage_columns})
    dates = " union all ".join(
        f"select *, {place} as place, e_{place} as entered_at, is_day_{place} as is_day "
        f"from kept where e_{place} is not null"
        for place in places
    )
    scratch.connection.execute(
        f"""
        create or replace temp view entries as
        select d.*, coalesce(own.stage_id, t.stage_id, s.stage) as stage_id
        from ({dates}) as d
        join entry_stages as s on s.place = d.place
        left join stage_texts as own
            on own.name = plain_text(s.stage) and own.pipeline = plain_text({_pipeline(scratch, "d")})
        left join stage_texts as t on t.name = plain_text(s.stage) and t.pipeline is null
        where not s.is_shared
            or plain_text(d.id_stage) = plain_text(coalesce(own.stage_id, t.stage_id, s.stage))
        """
    )


def _conflict_query(scratch: FileScratch) -> str:
    key = [field for field in scratch.entity.key if field in scratch.columns.columns]
    if not key or len(key) < len(scratch.entity.key):
        return "select cast(null as bigint) as line, cast(null as bigint) as first_line where false"
    versioned = [*key, "modified_at"] if "modified_at" in scratch.columns.columns else key
    names = ", ".join(f"f_{field}" for field in versioned)
    same = " and ".join(f"typed.f_{field} is not distinct from again.f_{field}" for field in versioned)
    known = " and ".join(f"f_{field} is not null" for field in key)
    return f"""
        with judged as (
            select line, {names} from typed
            where problem is null and {known} and line not in (select line from duplicates)
        ),
        again as (
            select {names}, min(line) as first_line from judged group by {names} having count(*) > 1
        )
        select typed.line, again.first_line
        from judged as typed
        join again on {same} and typed.line > again.first_line
    """
